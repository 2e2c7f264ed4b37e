//! What holds for everything that can come: streams at any split, events of any shape, conversations of any form.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::testing::{STREAM, meter, run};
use super::{CountTokens, Generate};
use crate::dialect::body::Body;
use crate::dialect::conversation::{
    CallResult, Conversation, Delta, Finish, Media, MediaKind, Message, Part, Role, Source, Thinking, Tool, ToolCall, ToolChoice,
};
use crate::dialect::envelope::Envelope;
use crate::dialect::format::{Cost, Counting, Format, StreamWish, Translation, Upstream};
use crate::dialect::json::Object;
use crate::dialect::meter::{Meter, Transcoding};
use crate::dialect::stream_state::Progress;
use crate::usage::Usage;

const UPSTREAM: Upstream<'_> = Upstream { model: "m", output_limit: 99, limit_field: None, stream: true, ..Upstream::NOBODY };
const REQUEST: &str = include_str!("../../../tests/golden/gemini/request.json");
const ANSWER: &str = include_str!("../../../tests/golden/gemini/answer.json");

fn meters() -> [Meter; 4] {
    let same =
        |is_list| Transcoding::Same(Generate.passthrough(StreamWish { is_list, ..StreamWish::default() }, Counting::default()));
    let other = |is_list| {
        let wish = StreamWish { is_list, ..StreamWish::default() };
        Transcoding::Translated(Generate.reader(Counting::default()), Generate.writer(wish))
    };
    [meter(same(false)), meter(same(true)), meter(other(false)), meter(other(true))]
}

/// Words that mean something in this dialect, so that random objects come near real ones.
const NAMES: [&str; 32] = [
    "candidates",
    "content",
    "parts",
    "text",
    "thought",
    "thoughtSignature",
    "functionCall",
    "name",
    "args",
    "id",
    "index",
    "inlineData",
    "mimeType",
    "data",
    "promptFeedback",
    "usageMetadata",
    "promptTokenCount",
    "candidatesTokenCount",
    "error",
    "contents",
    "role",
    "functionResponse",
    "response",
    "tools",
    "functionDeclarations",
    "generationConfig",
    "responseSchema",
    "thinkingConfig",
    "system_instruction",
    "fileData",
    "fileUri",
    "logprobsResult",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-2i64..200).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        proptest::sample::select(NAMES.as_slice()).prop_map(Value::from),
        proptest::sample::select(["STRING", "model", "image/png", "https://a.b/c.png", "QUJD"].as_slice()).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((proptest::sample::select(NAMES.as_slice()), inner), 0..5)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// A document with a few of its values replaced.
fn mutated(document: &'static str) -> impl Strategy<Value = Value> {
    vec((any::<prop::sample::Index>(), any_json()), 1..4).prop_map(move |changes| {
        let mut value: Value = serde_json::from_str(document).unwrap();
        for (at, new) in changes {
            let count = count(&value);
            replace(&mut value, &mut at.index(count), &new);
        }
        value
    })
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    }
}

fn count(value: &Value) -> usize {
    1 + children(value).into_iter().map(count).sum::<usize>()
}

fn replace(value: &mut Value, at: &mut usize, new: &Value) -> bool {
    if *at == 0 {
        *value = new.clone();
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(list) => list.iter_mut().any(|child| replace(child, at, new)),
        Value::Object(members) => members.values_mut().any(|child| replace(child, at, new)),
        _ => false,
    }
}

/// A part of a user's turn, or of a model's.
fn part(role: Role) -> impl Strategy<Value = Part<'static>> {
    let text = ".{1,12}".prop_map(|text| Part::Text { text: text.into(), cache: None });
    let image = "[A-Za-z0-9+/]{4}".prop_map(|data| {
        let source = Source::Base64 { media_type: "image/png".to_owned(), data: data.into() };
        Part::Media { media: Media { kind: MediaKind::Image, source, name: None, detail: None }, cache: None }
    });
    let thought = "[a-z]{1,8}".prop_map(|text| Part::Thinking(Thinking { text, ..Thinking::default() }));
    let call = (".{1,6}", "[a-z]{1,4}", any_json()).prop_map(|(_, name, value)| {
        let arguments = json!({"a": value}).to_string();
        Part::Call(ToolCall { id: String::new(), name, arguments, signature: None, ..ToolCall::default() })
    });
    if role == Role::User { prop_oneof![text, image].boxed() } else { prop_oneof![text, thought, call].boxed() }
}

/// A conversation whose calls all have results, in the turn after them.
fn conversation() -> impl Strategy<Value = Conversation<'static>> {
    let turn = (vec(part(Role::User), 1..3), vec(part(Role::Assistant), 1..4), vec(".{0,9}", 4), any::<bool>());
    let tool = ("[a-z]{1,6}", proptest::option::of(".{0,9}"), any::<bool>()).prop_map(|(name, description, has_schema)| Tool {
        name,
        description: description.map(Into::into),
        schema: has_schema.then(|| r#"{"type": "object"}"#.into()),
        strict: None,
        cache: None,
        ..Tool::default()
    });
    (vec(turn, 1..4), vec(tool, 0..3), vec(".{1,9}", 0..2)).prop_map(|(turns, tools, system)| {
        let mut messages = Vec::new();
        let mut calls = 0;
        let mut results: Vec<Part<'static>> = Vec::new();
        for (mut user, mut model, words, is_error) in turns {
            let mut parts = std::mem::take(&mut results);
            parts.append(&mut user);
            messages.push(Message { role: Role::User, parts });
            for part in &mut model {
                let Part::Call(call) = part else { continue };
                call.id = format!("id_{calls}");
                calls += 1;
                let text = words[calls % words.len()].clone();
                let parts = vec![Part::Text { text: text.into(), cache: None }];
                results.push(Part::Result(CallResult { id: call.id.clone(), parts, is_error, cache: None }));
            }
            messages.push(Message { role: Role::Assistant, parts: model });
        }
        messages.push(Message { role: Role::User, parts: results });
        messages.retain(|message| !message.parts.is_empty());
        let system = system.into_iter().map(|text| Part::Text { text: text.into(), cache: None }).collect();
        let tool_choice = (!tools.is_empty()).then_some(ToolChoice::Auto);
        Conversation { system, messages, tools, tool_choice, choices: 1, ..Conversation::default() }
    })
}

/// Thoughts that stand side by side are one.
fn joined(mut conversation: Conversation<'static>) -> Conversation<'static> {
    for message in &mut conversation.messages {
        let mut parts: Vec<Part<'static>> = Vec::new();
        for part in message.parts.drain(..) {
            match (parts.last_mut(), part) {
                (Some(Part::Thinking(before)), Part::Thinking(thought)) => before.text.push_str(&thought.text),
                (_, part) => parts.push(part),
            }
        }
        message.parts = parts;
    }
    conversation
}

fn delta() -> impl Strategy<Value = Delta> {
    let (choice, call) = (0u32..3, 0u32..3);
    prop_oneof![
        (".{0,4}", ".{0,4}").prop_map(|(id, model)| Delta::Start { id, model }),
        (choice.clone(), ".{0,6}").prop_map(|(choice, text)| Delta::Text { choice, text }),
        (choice.clone(), ".{0,6}").prop_map(|(choice, text)| Delta::Thinking { choice, text }),
        (choice.clone(), ".{0,6}").prop_map(|(choice, signature)| Delta::Signature { choice, signature }),
        (choice.clone(), call.clone(), ".{0,4}").prop_map(|(choice, call, name)| Delta::Call {
            choice,
            call,
            id: name.clone(),
            name,
            signature: None
        }),
        (any::<u32>(), call, "[{}\",:a]{0,6}").prop_map(|(choice, call, json)| Delta::Arguments {
            choice: choice % 200,
            call,
            json
        }),
        (choice.clone(), any_json()).prop_map(|(choice, json)| Delta::Logprobs { choice, json: json.to_string() }),
        choice.prop_map(|choice| Delta::Finish { choice, finish: Finish::Calls }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same(mut cuts in vec(0..STREAM.len(), 0..6)) {
        cuts.sort_unstable();
        for (mut whole, mut split) in meters().into_iter().zip(meters()) {
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.iter().copied().chain([STREAM.len()]) {
                pieces.push(&STREAM.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(run(&mut whole, &[STREAM.as_bytes()]), run(&mut split, &pieces));
            prop_assert_eq!(whole.usage(), split.usage());
        }
    }

    #[test]
    fn a_stream_that_names_no_end_is_never_complete(events in vec(any_json(), 0..6), raw in vec(any::<u8>(), 0..40)) {
        let mut stream: Vec<u8> = events.iter().flat_map(|event| format!("data: {event}\n\n").into_bytes()).collect();
        stream.extend_from_slice(&raw);
        // None of the names is that of an end.
        for mut meter in meters() {
            let mut out = Vec::new();
            meter.push(&stream, &mut out);
            meter.finish(&mut out);
            meter.broken("upstream_cut", "gone", &mut out);
            prop_assert_ne!(meter.progress(), &Progress::Done);
        }
    }

    #[test]
    fn a_changed_event_panics_nowhere_and_a_cut_never_completes(event in mutated(ANSWER), at in any::<prop::sample::Index>()) {
        let whole = format!("data: {event}\n\n");
        // The golden stream up to its last event, and one that was changed.
        let before = &STREAM[..STREAM.rfind("data: ").unwrap()];
        let mut cut = at.index(whole.len() - 2);
        while !whole.is_char_boundary(cut) {
            cut -= 1;
        }
        for mut meter in meters() {
            run(&mut meter, &[before.as_bytes(), whole.as_bytes()]);
            // Whatever it says, the chunks before it were an answer.
            prop_assert!(meter.has_chunks());
        }
        for mut meter in meters() {
            run(&mut meter, &[before.as_bytes(), &whole.as_bytes()[..cut]]);
            prop_assert_ne!(meter.progress(), &Progress::Done);
        }
        let json = event.to_string();
        if let Some(answer) = Object::parse(&json) {
            let passed = Generate.read_plain(&answer, Counting::default());
            let read = Generate.read_answer(&answer, Counting::default());
            // What can be read can be passed.
            prop_assert!(passed.is_ok() || read.is_err());
            if let Ok(read) = read {
                let cost = Cost { amount: "0".to_owned(), details: "{}".to_owned(), ..Cost::default() };
                let written = Generate.write_answer(&read, &Usage::default(), &cost, &StreamWish::default());
                prop_assert!(serde_json::from_str::<Value>(&written).is_ok(), "{}", written);
            }
        }
        prop_assert!(!super::read_error(&json).message.is_empty());
    }

    #[test]
    fn any_request_is_read_or_refused(request in prop_oneof![mutated(REQUEST), any_json()]) {
        let json = request.to_string();
        let Ok(body) = Body::parse(json.as_bytes(), "") else { return Ok(()) };
        let is_fine = Generate.envelope(&body, &mut Envelope::default()).is_ok();
        let _ = CountTokens.envelope(&body, &mut Envelope::default());
        for edits in [Generate.pass_request(&body.object, &UPSTREAM), CountTokens.pass_request(&body.object, &UPSTREAM)] {
            prop_assert!(serde_json::from_str::<Value>(&body.object.edited(&edits)).is_ok());
        }
        let read = Generate.read_request(&body.object).ok().filter(|_| is_fine);
        if let Some(Ok(written)) = read.map(|read| Generate.write_request(&read.conversation, &UPSTREAM)) {
            prop_assert!(serde_json::from_str::<Value>(&written.body).is_ok(), "{}", written.body);
        }
    }

    #[test]
    fn writing_and_reading_keeps_a_conversation(conversation in conversation()) {
        let conversation = joined(conversation);
        let written = Generate.write_request(&conversation, &UPSTREAM).unwrap();
        prop_assert!(written.dropped.is_empty());
        let read = Generate.read_request(&Object::parse(&written.body).unwrap()).unwrap();
        prop_assert_eq!(read.conversation, conversation);
        prop_assert!(read.dropped.is_empty());
    }

    #[test]
    fn whatever_is_written_is_json(deltas in vec(delta(), 0..20), is_list in any::<bool>(), breaks in any::<bool>()) {
        let mut writer = Generate.writer(StreamWish { is_list, ..StreamWish::default() });
        let mut out = Vec::new();
        deltas.iter().for_each(|delta| writer.delta(delta, &mut out));
        if breaks {
            writer.broken("upstream_cut", "gone\n", &mut out);
        } else {
            writer.finish(&Usage::default(), &Cost { amount: "0".to_owned(), details: "{}".to_owned(), ..Cost::default() }, &mut out);
        }
        let out = String::from_utf8(out).unwrap();
        if is_list {
            let list = if breaks { out + "]" } else { out };
            prop_assert!(serde_json::from_str::<Vec<Value>>(&list).is_ok(), "{}", list);
        } else {
            for event in out.strip_suffix("\n\n").unwrap().split("\n\n") {
                prop_assert!(serde_json::from_str::<Value>(event.strip_prefix("data: ").unwrap()).is_ok(), "{}", event);
            }
        }
    }
}
