//! Laws of the formats, over generated conversations and over streams that are cut, mixed up and spoiled.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::chat::Chat;
use super::completions::Completions;
use super::responses::Responses;
use crate::dialect::conversation::{
    CallResult, Conversation, Media, MediaKind, Message, Part, Role, Source, Thinking, Tool, ToolCall, ToolChoice,
};
use crate::dialect::format::{Cost, Counting, Format, StreamWish, Translation, Upstream};
use crate::dialect::json::Object;
use crate::dialect::meter::{Meter, Transcoding};
use crate::dialect::stream_state::{Fallback, Progress};
use crate::dialect::tokens::Counter;

const CHAT: &str = include_str!("../../../tests/golden/openai/chat_stream_openrouter.sse");
const RESPONSES: &str = include_str!("../../../tests/golden/openai/responses_stream.sse");
const CHAT_REQUEST: &str = include_str!("../../../tests/golden/openai/chat_request.json");
const RESPONSES_REQUEST: &str = include_str!("../../../tests/golden/openai/responses_request.json");
const UPSTREAM: Upstream<'_> = Upstream { model: "up", output_limit: 99, limit_field: None, stream: true, ..Upstream::NOBODY };

/// Every way through this dialect, with a stream for it and the words without which such a stream is not complete.
fn ways() -> Vec<(Transcoding, &'static str, &'static [&'static str])> {
    // Or why it ended, and then its end.
    const DONE: &[&str] = &["[DONE]", "\"finish_reason\":\"", "\"finish_reason\": \""];
    const TERMINAL: &[&str] = &["response.completed", "response.incomplete"];
    let (wish, counting) = (StreamWish { include_usage: true, id: "w".to_owned(), ..StreamWish::default() }, Counting::default());
    vec![
        (Transcoding::Same(Chat.passthrough(wish.clone(), counting)), CHAT, DONE),
        (Transcoding::Same(Completions.passthrough(wish.clone(), counting)), CHAT, DONE),
        (Transcoding::Same(Responses.passthrough(wish.clone(), counting)), RESPONSES, TERMINAL),
        (Transcoding::Translated(Chat.reader(counting), Chat.writer(wish.clone())), CHAT, DONE),
        (Transcoding::Translated(Chat.reader(counting), Responses.writer(wish.clone())), CHAT, DONE),
        (Transcoding::Translated(Responses.reader(counting), Chat.writer(wish.clone())), RESPONSES, TERMINAL),
        (Transcoding::Translated(Responses.reader(counting), Responses.writer(wish)), RESPONSES, TERMINAL),
    ]
}

/// What comes out of pieces, and whether it is complete.
fn run(way: Transcoding, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let pricing = |_: &_, _, _| Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() };
    let mut meter = Meter::new(way, Fallback::default(), Counter::new("gpt"), Box::new(pricing));
    let mut out = Vec::new();
    for piece in pieces {
        meter.push(piece, &mut out);
    }
    meter.finish(&mut out);
    let is_done = *meter.progress() == Progress::Done;
    if !is_done {
        meter.broken("x", "y", &mut out);
    }
    (out, is_done)
}

/// Puts something else somewhere into a value.
fn spoil(value: &mut Value, picks: &[u8], with: &Value) {
    let Some((pick, rest)) = picks.split_first() else {
        *value = with.clone();
        return;
    };
    let pick = usize::from(*pick);
    match value {
        Value::Array(items) if !items.is_empty() => {
            let at = pick % items.len();
            spoil(&mut items[at], rest, with);
        }
        Value::Object(members) if !members.is_empty() => {
            let at = pick % members.len();
            spoil(members.values_mut().nth(at).unwrap(), rest, with);
        }
        other => *other = with.clone(),
    }
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!(u64::MAX)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, {"type": 5}, [[]]])),
        Just(json!({"type": "text", "text": "x", "index": 7})),
        ".{0,6}".prop_map(Value::String),
        "(function|reasoning|message|error|response\\.[a-z_.]{1,20})".prop_map(Value::String),
    ]
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z \"\\\\é🦀\n]{1,12}", Just("{\"a\": 1.0}".to_owned())]
}

fn said() -> impl Strategy<Value = Part<'static>> {
    words().prop_map(|text| Part::Text { text: text.into(), cache: None })
}

fn media() -> impl Strategy<Value = Part<'static>> {
    let of = |kind, source, name: Option<&str>| {
        let media = Media { kind, source, name: name.map(ToOwned::to_owned), detail: None };
        Part::Media { media, cache: None }
    };
    let base64 = |media_type: &str| Source::Base64 { media_type: media_type.to_owned(), data: "QUJD".into() };
    prop_oneof![
        Just(of(MediaKind::Image, base64("image/png"), None)),
        Just(of(MediaKind::Image, Source::Url("https://example.com/a.png".into()), None)),
        Just(of(MediaKind::File, base64("application/pdf"), Some("a.pdf"))),
        Just(of(MediaKind::Audio, base64("audio/mpeg"), None)),
    ]
}

fn result() -> impl Strategy<Value = Part<'static>> {
    ("[a-z]{1,4}", proptest::collection::vec(said(), 1..3))
        .prop_map(|(id, parts)| Part::Result(CallResult { id, parts, is_error: false, cache: None }))
}

fn own() -> impl Strategy<Value = Part<'static>> {
    let thought = (words(), proptest::option::of("[a-z]{1,4}"))
        .prop_map(|(text, signature)| Part::Thinking(Thinking { text, signature, redacted: None, ..Thinking::default() }));
    let call = ("[a-z]{1,4}", "[a-z]{1,4}", words())
        .prop_filter("no arguments are written as an empty object", |(.., arguments)| !arguments.trim().is_empty())
        .prop_map(|(id, name, arguments)| Part::Call(ToolCall { id, name, arguments, signature: None, ..ToolCall::default() }));
    prop_oneof![said(), words().prop_map(|text| Part::Refusal(text.into())), thought, call]
}

fn message() -> impl Strategy<Value = Message<'static>> {
    let user = proptest::collection::vec(prop_oneof![said(), media(), result()], 1..4);
    let assistant = proptest::collection::vec(own(), 1..4);
    prop_oneof![
        user.prop_map(|parts| Message { role: Role::User, parts }),
        assistant.prop_map(|parts| Message { role: Role::Assistant, parts }),
    ]
}

fn conversation() -> impl Strategy<Value = Conversation<'static>> {
    let tool = ("[a-z]{1,4}", proptest::option::of(words()), any::<bool>(), any::<bool>()).prop_map(
        |(name, description, has_schema, strict)| Tool {
            name,
            description: description.map(Into::into),
            schema: has_schema.then_some(r#"{"type": "object","n":1.0}"#.into()),
            strict: Some(strict),
            cache: None,
            ..Tool::default()
        },
    );
    let choice = prop_oneof![Just(ToolChoice::Auto), Just(ToolChoice::Required), Just(ToolChoice::Named("a".to_owned()))];
    (
        proptest::collection::vec(said(), 0..3),
        proptest::collection::vec(message(), 0..6),
        proptest::collection::vec(tool, 1..3),
        choice,
    )
        .prop_map(|(system, messages, tools, choice)| Conversation {
            system,
            messages,
            tools,
            tool_choice: Some(choice),
            choices: 1,
            ..Conversation::default()
        })
}

/// Turns of one role in a row are one.
fn joined(messages: Vec<Message<'_>>) -> Vec<Message<'_>> {
    let mut all: Vec<Message<'_>> = Vec::new();
    for mut message in messages.into_iter().filter(|message| !message.parts.is_empty()) {
        match all.last_mut() {
            Some(last) if last.role == message.role => last.parts.append(&mut message.parts),
            _ => all.push(message),
        }
    }
    all
}

/// Makes of a turn what a format can say of it.
type Normal = fn(Message<'_>) -> Message<'_>;

/// A turn as chat completions can say it: results, then the rest; the words of thoughts, one text, one refusal, then calls.
fn as_chat(message: Message<'_>) -> Message<'_> {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    let (mut thought, mut text, mut refusal) = (String::new(), String::new(), String::new());
    for part in message.parts {
        match part {
            Part::Result(_) => first.push(part),
            Part::Text { text: more, .. } if message.role == Role::Assistant => text.push_str(&more),
            Part::Refusal(more) => refusal.push_str(&more),
            Part::Thinking(thinking) => thought.push_str(&thinking.text),
            _ => rest.push(part),
        }
    }
    if !text.is_empty() {
        first.push(Part::Text { text: text.into(), cache: None });
    }
    if !refusal.is_empty() {
        first.push(Part::Refusal(refusal.into()));
    }
    first.append(&mut rest);
    if !thought.is_empty() && !first.is_empty() {
        first.insert(0, Part::Thinking(Thinking { text: thought, ..Thinking::default() }));
    }
    Message { role: message.role, parts: first }
}

fn as_responses(mut message: Message<'_>) -> Message<'_> {
    message.parts.retain(|part| !matches!(part, Part::Thinking(Thinking { signature: None, .. })));
    message
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        for (at, (way, stream, _)) in ways().into_iter().enumerate() {
            let bytes = stream.as_bytes();
            let (whole, is_done) = run(ways().swap_remove(at).0, &[bytes]);
            prop_assert!(is_done);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(run(way, &pieces).0, whole);
        }
    }

    #[test]
    fn a_spoiled_stream_is_complete_only_with_its_end(
        moves in proptest::collection::vec((any::<u8>(), 0u8..4, proptest::collection::vec(any::<u8>(), 0..7), odd()), 0..8),
        noise in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
    ) {
        for (way, stream, ends) in ways() {
            let mut events: Vec<String> = stream.split("\n\n").filter(|event| !event.is_empty()).map(ToOwned::to_owned).collect();
            for (at, what, picks, with) in &moves {
                if events.is_empty() {
                    break;
                }
                let at = usize::from(*at) % events.len();
                match what {
                    0 => _ = events.remove(at),
                    1 => events.push(events[at].clone()),
                    2 => events.swap(at, 0),
                    _ => {
                        let data = events[at].rsplit_once("data: ").map_or("", |(_, data)| data);
                        if let Ok(mut value) = serde_json::from_str::<Value>(data) {
                            spoil(&mut value, picks, with);
                            events[at] = format!("data: {value}");
                        }
                    }
                }
            }
            let text: String = events.iter().map(|event| format!("{event}\n\n")).collect();
            let noise = noise.clone().unwrap_or_default();
            let (out, is_done) = run(way, &[&noise, text.as_bytes()]);
            prop_assert!(!is_done || ends.iter().any(|end| text.contains(end)));
            prop_assert!(String::from_utf8(out).is_ok());
        }
    }

    #[test]
    fn a_spoiled_request_is_read_or_refused(
        moves in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..7), odd()), 0..4),
    ) {
        let formats: [(&dyn Translation, &str); 2] = [(&Chat, CHAT_REQUEST), (&Responses, RESPONSES_REQUEST)];
        for (format, request) in formats {
            let mut value: Value = serde_json::from_str(request).unwrap();
            for (picks, with) in &moves {
                spoil(&mut value, picks, with);
            }
            let text = value.to_string();
            let Some(object) = Object::parse(&text) else { continue };
            let Ok(read) = format.read_request(&object) else { continue };
            for (to, _) in formats {
                if let Ok(written) = to.write_request(&read.conversation, &UPSTREAM) {
                    prop_assert!(Object::parse(&written.body).is_some(), "{}", written.body);
                }
            }
        }
    }

    #[test]
    fn a_spoiled_answer_is_read_or_refused(
        moves in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..7), odd()), 0..4),
    ) {
        let chat = json!({"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": {"content": []},
            "message": {"content": "x", "reasoning_details": [{"type": "reasoning.text", "text": "t", "signature": "s"}],
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}});
        let terminal = RESPONSES.rsplit_once("data: ").unwrap().1;
        let responses = serde_json::from_str::<Value>(terminal).unwrap()["response"].clone();
        let cost = Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() };
        let formats: [(&dyn Translation, Value); 2] = [(&Chat, chat), (&Responses, responses)];
        for (format, answer) in &formats {
            let mut value = answer.clone();
            for (picks, with) in &moves {
                spoil(&mut value, picks, with);
            }
            let text = value.to_string();
            let Some(object) = Object::parse(&text) else { continue };
            let Ok(answer) = format.read_answer(&object, Counting::default()) else { continue };
            for (to, _) in &formats {
                let written = to.write_answer(&answer, &answer.usage.unwrap_or_default(), &cost, &StreamWish::default());
                prop_assert!(Object::parse(&written).is_some(), "{}", written);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again(conversation in conversation()) {
        let formats: [(&dyn Translation, Normal); 2] = [(&Chat, as_chat), (&Responses, as_responses)];
        for (format, normal) in formats {
            let written = format.write_request(&conversation, &UPSTREAM).unwrap();
            let object = Object::parse(&written.body).unwrap();
            let read = format.read_request(&object).unwrap().conversation;
            let expected = joined(conversation.messages.clone().into_iter().map(normal).collect());
            prop_assert_eq!(joined(read.messages), expected);
            prop_assert_eq!(&read.system, &conversation.system);
            prop_assert_eq!(&read.tools, &conversation.tools);
            prop_assert_eq!(&read.tool_choice, &conversation.tool_choice);
        }
    }
}
