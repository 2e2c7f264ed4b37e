//! Plain answers: what is known of one that passes, one that is read, and one that is written.

use super::error::misplaced_error;
use super::passthrough::PREFIX;
use super::usage::{read_usage, usage_with_cost};
use crate::dialect::arguments::{ANTHROPIC, as_object};
use crate::dialect::conversation::{Answer, Choice, Finish, Media, Part, Source, Thinking, ToolCall};
use crate::dialect::format::{AnswerFacts, Cost, StreamWish};
use crate::dialect::json::{Object, items, push_text, unquoted};
use crate::usage::Usage;

/// What is instead of an answer, in words of ours.
pub fn misplaced(answer: &Object<'_>, otherwise: &str) -> String {
    answer.given("error").map_or_else(|| otherwise.to_owned(), misplaced_error)
}

/// The content of an answer; none where it is something else.
fn content<'a>(answer: &Object<'a>) -> Result<Vec<Object<'a>>, String> {
    let blocks = answer.get("content").filter(|_| answer.given("error").is_none()).and_then(items);
    let blocks = blocks.ok_or_else(|| misplaced(answer, "an answer without content"))?;
    Ok(blocks.into_iter().filter_map(Object::parse).collect())
}

/// What must be known of an answer that passes.
pub fn said(answer: &Object<'_>) -> Result<AnswerFacts, String> {
    let blocks = content(answer)?;
    let usage = answer.get("usage").and_then(read_usage);
    let mut output = String::new();
    // Only where it is needed: it is a copy of the answer.
    if usage.is_none() {
        for block in &blocks {
            for name in ["text", "thinking", "name", "input"] {
                output.push_str(block.get(name).map(unquoted).unwrap_or_default());
            }
        }
    }
    let finish_reason = answer.maybe_text("stop_reason").map(Into::into);
    Ok(AnswerFacts { usage, finish_reason, output, images: 0 })
}

/// Upstream's answer. Blocks of tools that the provider runs are passed over: a translated request names none.
pub fn read(answer: &Object<'_>) -> Result<Answer, String> {
    let blocks = content(answer)?;
    let parts: Vec<Part<'static>> = blocks.iter().filter_map(read_block).collect();
    let has_calls = parts.iter().any(|part| matches!(part, Part::Call(_)));
    let (reason, stop) = (answer.maybe_text("stop_reason"), answer.maybe_text("stop_sequence"));
    let finish = finish_of(reason.as_deref(), stop.as_deref(), has_calls);
    Ok(Answer {
        id: answer.words("id"),
        model: answer.words("model"),
        choices: vec![Choice { parts, finish, logprobs: None }],
        usage: answer.get("usage").and_then(read_usage),
    })
}

fn read_block(block: &Object<'_>) -> Option<Part<'static>> {
    Some(match block.maybe_text("type")?.as_ref() {
        "text" => Part::Text { text: Some(block.words("text")).filter(|text| !text.is_empty())?.into(), cache: None },
        "tool_use" => Part::Call(ToolCall {
            id: block.words("id"),
            name: block.words("name"),
            arguments: block.get("input").unwrap_or("{}").to_owned(),
            ..ToolCall::default()
        }),
        kind => Part::Thinking(read_thinking(kind, |name| block.words(name))?),
    })
}

/// A block of thoughts, by the words of its members; none if it is of another type.
pub fn read_thinking(kind: &str, words: impl Fn(&str) -> String) -> Option<Thinking> {
    match kind {
        "thinking" => Some(Thinking {
            text: words("thinking"),
            signature: Some(words("signature")).filter(|signature| !signature.is_empty()),
            ..Thinking::default()
        }),
        "redacted_thinking" => Some(Thinking { redacted: Some(words("data")), ..Thinking::default() }),
        _ => None,
    }
}

/// Why an answer ended, by Anthropic's words.
pub fn finish_of(reason: Option<&str>, stop: Option<&str>, has_calls: bool) -> Finish {
    match (reason, stop) {
        (Some("stop_sequence"), Some(stop)) => Finish::StopText(stop.to_owned()),
        (None | Some("tool_use"), _) if has_calls => Finish::Calls,
        (None | Some("end_turn" | "stop_sequence" | "tool_use"), _) => Finish::Stop,
        (Some("max_tokens" | "model_context_window_exceeded"), _) => Finish::Length,
        (Some("refusal"), _) => Finish::Filtered("refusal".to_owned()),
        (Some(other), _) => Finish::Other(other.to_owned()),
    }
}

/// `stop_reason` and `stop_sequence`, as JSON. Strict clients know no other words than Anthropic's own.
pub fn stop_of(finish: &Finish, has_calls: bool, has_refused: bool) -> (&'static str, String) {
    let none = || "null".to_owned();
    match finish {
        Finish::Filtered(_) => ("\"refusal\"", none()),
        Finish::Length => ("\"max_tokens\"", none()),
        Finish::Other(word) if word == "pause_turn" => ("\"pause_turn\"", none()),
        _ if has_refused => ("\"refusal\"", none()),
        Finish::Calls => ("\"tool_use\"", none()),
        Finish::StopText(stop) => ("\"stop_sequence\"", crate::dialect::json::quoted(stop)),
        Finish::Stop | Finish::Other(_) if has_calls => ("\"tool_use\"", none()),
        Finish::Stop | Finish::Other(_) => ("\"end_turn\"", none()),
    }
}

/// An answer for a client of this dialect: the first choice, which is the only one that it can have asked for.
pub fn write(answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
    let none = Choice { parts: Vec::new(), finish: Finish::Stop, logprobs: None };
    let choice = answer.choices.first().unwrap_or(&none);
    let mut content = String::from("[");
    for part in &choice.parts {
        if let Some(block) = write_block(part) {
            content.push_str(if content.len() > 1 { "," } else { "" });
            content.push_str(&block);
        }
    }
    content.push(']');
    let has = |wanted: fn(&Part<'_>) -> bool| choice.parts.iter().any(wanted);
    let has_calls = has(|part| matches!(part, Part::Call(_)));
    let (reason, stop) = stop_of(&choice.finish, has_calls, has(|part| matches!(part, Part::Refusal(_))));
    let id = wish.answer_id(PREFIX, &answer.id);
    let usage = usage_with_cost(None, usage, cost);
    message(&id, &answer.model, &content, [reason, &stop, &usage])
}

/// A message object; `content`, and at last `stop_reason`, `stop_sequence` and `usage`, are JSON.
pub fn message(id: &str, model: &str, content: &str, [reason, stop, usage]: [&str; 3]) -> String {
    let mut out = String::from("{\"id\":");
    push_text(&mut out, id);
    out.push_str(",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    push_text(&mut out, model);
    for (name, json) in [("content", content), ("stop_reason", reason), ("stop_sequence", stop), ("usage", usage)] {
        out.push_str(",\"");
        out.push_str(name);
        out.push_str("\":");
        out.push_str(json);
    }
    out.push('}');
    out
}

/// A block as JSON; none for what says nothing.
fn write_block(part: &Part<'_>) -> Option<String> {
    match part {
        Part::Text { text, .. } | Part::Refusal(text) => (!text.is_empty()).then(|| text_block(text)),
        Part::Thinking(thinking) => Some(thinking_block(thinking)),
        Part::Call(call) => Some(call_block(&call.id, &call.name, &as_object(&call.arguments, ANTHROPIC))),
        Part::Media { media: Media { source: Source::Base64 { media_type, data }, .. }, .. } => {
            Some(image_block(media_type, data))
        }
        Part::Media { .. } | Part::Result(_) => None,
    }
}

/// A block of text.
pub fn text_block(text: &str) -> String {
    let mut out = String::from("{\"type\":\"text\",\"text\":");
    push_text(&mut out, text);
    out.push('}');
    out
}

/// A block of thoughts. Strict clients want the signature to be there, even an empty one.
pub fn thinking_block(thinking: &Thinking) -> String {
    let mut out = String::new();
    if let Some(data) = &thinking.redacted {
        out.push_str("{\"type\":\"redacted_thinking\",\"data\":");
        push_text(&mut out, data);
    } else {
        out.push_str("{\"type\":\"thinking\",\"thinking\":");
        push_text(&mut out, &thinking.text);
        out.push_str(",\"signature\":");
        push_text(&mut out, thinking.signature.as_deref().unwrap_or_default());
    }
    out.push('}');
    out
}

/// A call; `input` is a JSON object.
pub fn call_block(id: &str, name: &str, input: &str) -> String {
    let mut out = String::from("{\"type\":\"tool_use\",\"id\":");
    push_text(&mut out, id);
    out.push_str(",\"name\":");
    push_text(&mut out, name);
    out.push_str(",\"input\":");
    out.push_str(input);
    out.push('}');
    out
}

/// An image, in the form that it has in requests: answers of Claude have none.
pub fn image_block(media_type: &str, data: &str) -> String {
    let mut out = String::from("{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":");
    push_text(&mut out, media_type);
    out.push_str(",\"data\":");
    push_text(&mut out, data);
    out.push_str("}}");
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::MESSAGE;
    use super::*;
    use serde_json::{Value, json};

    fn cost() -> Cost {
        Cost { amount: "0.25".to_owned(), details: "{}".to_owned(), ..Cost::default() }
    }

    fn written(parts: Vec<Part<'static>>, finish: Finish) -> Value {
        let answer = Answer { choices: vec![Choice { parts, finish, logprobs: None }], ..Answer::default() };
        let wish = StreamWish { id: "gen-1".to_owned(), ..StreamWish::default() };
        serde_json::from_str(&write(&answer, &Usage::default(), &cost(), &wish)).unwrap()
    }

    #[test]
    fn an_answer_that_is_read_and_written_says_the_same() {
        let answer = read(&Object::parse(MESSAGE).unwrap()).unwrap();
        assert_eq!((answer.choices[0].parts.len(), &answer.choices[0].finish), (5, &Finish::Calls));
        let Part::Call(call) = &answer.choices[0].parts[3] else { panic!() };
        assert_eq!(call.arguments, "{\"town\": \"Bragança\", \"days\": 1.0}");
        let usage = answer.usage.unwrap();
        let got = write(&answer, &usage, &cost(), &StreamWish::default());
        let mut expected: Value = serde_json::from_str(MESSAGE).unwrap();
        expected["content"][2].as_object_mut().unwrap().remove("citations");
        expected["usage"]["cost"] = json!(0.25);
        expected["usage"]["cost_details"] = json!({});
        assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), expected);
        assert!(got.contains("\"days\": 1.0"), "{got}");
    }

    #[test]
    fn an_answer_without_usage_is_estimated_by_its_text() {
        let object =
            Object::parse(r#"{"content":[{"type":"text","text":"h\u00e9"},{"type":"tool_use","name":"f","input":{"a":1}}]}"#);
        assert_eq!(said(&object.unwrap()).unwrap().output, "h\\u00e9f\"a\":1");
    }

    #[test]
    fn blocks_are_what_clients_know() {
        let call = ToolCall {
            id: "c".to_owned(),
            name: "f".to_owned(),
            arguments: "{broken".to_owned(),
            signature: None,
            ..ToolCall::default()
        };
        let source = Source::Base64 { media_type: "image/png".to_owned(), data: "QUJD".into() };
        let image = Media { kind: crate::dialect::conversation::MediaKind::Image, source, name: None, detail: None };
        let thinking = Thinking { text: "hm".to_owned(), ..Thinking::default() };
        let parts = vec![
            Part::Thinking(thinking),
            Part::Text { text: "".into(), cache: None },
            Part::Media { media: image, cache: None },
            Part::Call(call),
        ];
        let answer = written(parts, Finish::Stop);
        let expected = json!([
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"INVALID_JSON": "{broken"}},
        ]);
        assert_eq!(
            (&answer["content"], &answer["stop_reason"], &answer["id"]),
            (&expected, &json!("tool_use"), &json!("msg_gen-1"))
        );
    }

    #[test]
    fn what_was_kept_back_is_a_refusal() {
        let answer = written(vec![Part::Refusal("I cannot.".into())], Finish::Stop);
        assert_eq!((&answer["stop_reason"], &answer["content"][0]["text"]), (&json!("refusal"), &json!("I cannot.")));
        assert_eq!(written(Vec::new(), Finish::Filtered("SAFETY".to_owned()))["stop_reason"], "refusal");
        let stopped = written(Vec::new(), Finish::StopText("END".to_owned()));
        assert_eq!((&stopped["stop_reason"], &stopped["stop_sequence"]), (&json!("stop_sequence"), &json!("END")));
    }
}
