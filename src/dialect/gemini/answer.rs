//! Answers as a whole: Gemini's, read; and others', written for Gemini's clients.

use std::borrow::Cow;

use super::chunk::{Candidate, Chunk, Piece, blocked, finish, finish_word, told};
use super::logprobs;
use super::usage::{read_usage, usage_with_cost};
use crate::dialect::arguments::{GEMINI, as_object};
use crate::dialect::conversation::{Answer, Choice, Finish, Media, MediaKind, Part, Source, Thinking, ToolCall};
use crate::dialect::format::{AnswerFacts, Cost, Counting, StreamWish};
use crate::dialect::json::{Object, push_text, text_of};
use crate::dialect::openai::misplaced_error;
use crate::usage::Usage;

/// What must be known of an answer that passes.
pub fn said(answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String> {
    let chunk = Chunk::of(answer);
    let raw = answer.get("candidates").filter(|json| json.starts_with('[') && json.contains('{'));
    if raw.is_none() && chunk.block_reason().is_none() {
        return Err(no_answer(answer));
    }
    let usage = answer.get("usageMetadata").and_then(|json| read_usage(json, counting));
    let mut output = String::new();
    // Only where it is needed: it is a copy of the answer.
    if usage.is_none() {
        chunk.candidates().for_each(|candidate| candidate.said(|text| output.push_str(text)));
    }
    let reason = chunk.candidates().find_map(Candidate::finish_reason).or(chunk.block_reason());
    let images = chunk.candidates().fold(0u64, |sum, candidate| sum.saturating_add(candidate.images()));
    Ok(AnswerFacts { usage, finish_reason: reason.map(ToOwned::to_owned), output, images })
}

fn no_answer(answer: &Object<'_>) -> String {
    let error = answer.given("error");
    error.map_or_else(|| "an answer without candidates".to_owned(), misplaced_error)
}

/// Reads an answer. A blocked prompt is an answer, too: the provider's refusal.
pub fn read_answer(answer: &Object<'_>, counting: Counting) -> Result<Answer, String> {
    let chunk = Chunk::of(answer);
    let (id, model) = (told(chunk.response_id), told(chunk.model_version));
    let mut choices: Vec<Choice> = chunk.candidates().map(choice).collect();
    if let Some(reason) = chunk.block_reason().filter(|_| choices.is_empty()) {
        let parts = vec![Part::Refusal(Cow::Owned(blocked(reason)))];
        choices.push(Choice { parts, finish: Finish::Filtered(reason.to_owned()), logprobs: None });
    }
    if choices.is_empty() {
        return Err(no_answer(answer));
    }
    let usage = answer.get("usageMetadata").and_then(|json| read_usage(json, counting));
    Ok(Answer { id, model, choices, usage })
}

fn choice(candidate: &Candidate<'_>) -> Choice {
    let mut parts: Vec<Part<'static>> = Vec::new();
    for piece in candidate.parts() {
        for part in piece_parts(piece) {
            // Neighbours of one kind are one piece that came in parts.
            match (parts.last_mut(), part) {
                (Some(Part::Text { text: before, .. }), Part::Text { text, .. }) => before.to_mut().push_str(&text),
                (Some(Part::Thinking(before)), Part::Thinking(thought)) => before.text.push_str(&thought.text),
                (_, part) => parts.push(part),
            }
        }
    }
    let has_calls = parts.iter().any(|part| matches!(part, Part::Call(_)));
    // A whole answer that says nothing of its end has come to it.
    let finish = finish(candidate.finish_reason().unwrap_or("STOP"), has_calls);
    let logprobs = candidate.logprobs_result.and_then(|raw| logprobs::to_openai(raw.get()));
    Choice { parts, finish, logprobs }
}

/// What a part of an answer says. The proof of thoughts goes along with calls alone, where it must come back; on a text it is of
/// use to no other dialect. A call has the id that newer models give it, or none.
pub fn piece_parts(piece: &Piece<'_>) -> Vec<Part<'static>> {
    let mut parts = Vec::new();
    let words = piece.text.and_then(|raw| text_of(raw.get())).map(Cow::into_owned).filter(|words| !words.is_empty());
    match words {
        Some(text) if piece.thought == Some(true) => parts.push(Part::Thinking(Thinking { text, ..Thinking::default() })),
        Some(text) => parts.push(Part::Text { text: Cow::Owned(text), cache: None }),
        None => {}
    }
    if let Some(call) = &piece.function_call {
        parts.push(Part::Call(ToolCall {
            id: call.id.clone().unwrap_or_default(),
            name: call.name.clone().unwrap_or_default(),
            arguments: call.args.map_or("{}", |args| args.get()).to_owned(),
            signature: piece.thought_signature.clone(),
            ..ToolCall::default()
        }));
    }
    if let Some(blob) = &piece.inline_data {
        let media_type = blob.mime_type.clone().unwrap_or_default();
        let data = blob.data.and_then(|raw| text_of(raw.get())).map(Cow::into_owned);
        // Pictures of thoughts are not part of the answer.
        if let Some(data) = data.filter(|_| media_type.starts_with("image/") && piece.thought != Some(true)) {
            let source = Source::Base64 { media_type, data: Cow::Owned(data) };
            parts.push(Part::Media { media: Media { kind: MediaKind::Image, source, name: None, detail: None }, cache: None });
        }
    }
    parts
}

/// Writes an answer for a client.
pub fn write_answer(answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
    let mut candidates = Vec::new();
    for (index, choice) in (0u32..).zip(&answer.choices) {
        let parts: Vec<String> = choice.parts.iter().filter_map(part).collect();
        let logprobs = choice.logprobs.as_deref().and_then(logprobs::from_openai);
        candidates.push(candidate(index, &parts, Some(finish_word(&choice.finish)), logprobs.as_deref()));
    }
    let id = wish.answer_id("", &answer.id);
    object(&candidates, Some(&usage_with_cost(None, usage, cost)), &answer.model, &id)
}

fn part(part: &Part<'static>) -> Option<String> {
    match part {
        Part::Text { text, .. } | Part::Refusal(text) => Some(text_part(text, false, None)),
        // What a provider hides as a whole has no place here.
        Part::Thinking(thinking) if thinking.redacted.is_some() => None,
        Part::Thinking(thinking) => Some(text_part(&thinking.text, true, thinking.signature.as_deref())),
        Part::Call(call) => Some(call_part(call)),
        Part::Media { media: Media { source: Source::Base64 { media_type, data }, .. }, .. } => {
            Some(image_part(media_type, data))
        }
        Part::Media { .. } | Part::Result(_) => None,
    }
}

/// A part of text or of a thought.
pub fn text_part(text: &str, is_thought: bool, signature: Option<&str>) -> String {
    let mut out = String::from("{\"text\":");
    push_text(&mut out, text);
    if is_thought {
        out.push_str(",\"thought\":true");
    }
    push_signature(&mut out, signature);
    out.push('}');
    out
}

/// A part with a call.
pub fn call_part(call: &ToolCall) -> String {
    let mut out = String::from("{\"functionCall\":{\"id\":");
    push_text(&mut out, &call.id);
    out.push_str(",\"name\":");
    push_text(&mut out, &call.name);
    out.push_str(",\"args\":");
    out.push_str(&as_object(&call.arguments, GEMINI));
    out.push('}');
    push_signature(&mut out, call.signature.as_deref());
    out.push('}');
    out
}

/// A part with an image.
pub fn image_part(media_type: &str, data: &str) -> String {
    let mut out = String::with_capacity(data.len().saturating_add(128));
    out.push_str("{\"inlineData\":{\"mimeType\":");
    push_text(&mut out, media_type);
    out.push_str(",\"data\":");
    push_text(&mut out, data);
    out.push_str("}}");
    out
}

/// Google's clients decode signatures, so what is no base64 would break them.
fn push_signature(out: &mut String, signature: Option<&str>) {
    let is_base64 =
        |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_'));
    if let Some(signature) = signature.filter(|text| !text.is_empty()).filter(is_base64) {
        out.push_str(",\"thoughtSignature\":");
        push_text(out, signature);
    }
}

/// A candidate with its parts, each as JSON.
pub fn candidate(index: u32, parts: &[String], finish_reason: Option<&str>, logprobs: Option<&str>) -> String {
    // Clients look at the first part unasked.
    let parts = if parts.is_empty() { "{\"text\":\"\"}".to_owned() } else { parts.join(",") };
    let mut out = format!(r#"{{"content":{{"parts":[{parts}],"role":"model"}}"#);
    if let Some(reason) = finish_reason {
        out.push_str(&format!(r#","finishReason":"{reason}""#));
    }
    out.push_str(&format!(",\"index\":{index}"));
    if let Some(logprobs) = logprobs {
        out.push_str(",\"logprobsResult\":");
        out.push_str(logprobs);
    }
    out.push('}');
    out
}

/// An answer or a chunk of one, of candidates as JSON.
pub fn object(candidates: &[String], usage: Option<&str>, model: &str, id: &str) -> String {
    let mut out = format!("{{\"candidates\":[{}]", candidates.join(","));
    if let Some(usage) = usage {
        out.push_str(",\"usageMetadata\":");
        out.push_str(usage);
    }
    out.push_str(",\"modelVersion\":");
    push_text(&mut out, model);
    out.push_str(",\"responseId\":");
    push_text(&mut out, id);
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = include_str!("../../../tests/golden/gemini/answer.json");

    fn read(json: &str) -> Result<Answer, String> {
        read_answer(&Object::parse(json).unwrap(), Counting::default())
    }

    fn cost() -> Cost {
        Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() }
    }

    #[test]
    fn an_answer_is_read() {
        let answer = read(ANSWER).unwrap();
        assert_eq!((answer.id.as_str(), answer.model.as_str()), ("Vh8-aP_x", "gemini-3-flash-preview"));
        let [first, second] = answer.choices.as_slice() else { panic!() };
        let call = |id: &str, arguments: &str, signature: Option<&str>| {
            Part::Call(ToolCall {
                id: id.to_owned(),
                name: "weather".to_owned(),
                arguments: arguments.to_owned(),
                signature: signature.map(ToOwned::to_owned),
                ..ToolCall::default()
            })
        };
        let expected = [
            Part::Thinking(Thinking { text: "Two cities.".to_owned(), ..Thinking::default() }),
            Part::Text { text: "I look \"it\" up.".into(), cache: None },
            call("", r#"{"city": "Köln", "days": 1.0}"#, Some("CpwBAb4=")),
            call("own-id", "{}", None),
        ];
        assert_eq!(first.parts, expected);
        assert_eq!((&first.finish, &second.finish), (&Finish::Calls, &Finish::Filtered("SAFETY".to_owned())));
        // 1,000 in, 800 of them cached; 30 of the answers, 70 of thoughts.
        let usage = Usage { input: 200, cached_input: 800, output: 30, reasoning: 70, ..Usage::default() };
        assert_eq!(answer.usage, Some(usage));
    }

    #[test]
    fn a_blocked_prompt_is_a_refusal_that_was_metered() {
        let answer =
            read(r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":9}}"#).unwrap();
        assert_eq!(answer.choices[0].finish, Finish::Filtered("PROHIBITED_CONTENT".to_owned()));
        assert!(matches!(&answer.choices[0].parts[0], Part::Refusal(text) if text.contains("(PROHIBITED_CONTENT)")));
        assert_eq!(answer.usage.unwrap().total(), 9);
    }

    #[test]
    fn what_is_not_an_answer_is_named() {
        for (body, words) in [
            (r#"{"error":{"message":"our secret","code":500}}"#, "error with status 200 (500)"),
            (r#"{"candidates":[]}"#, "without candidates"),
            (r#"{"candidates":[5],"error":null}"#, "without candidates"),
            ("{}", "without candidates"),
        ] {
            assert!(read(body).unwrap_err().contains(words), "{body}");
            assert!(said(&Object::parse(body).unwrap(), Counting::default()).unwrap_err().contains(words), "{body}");
        }
    }

    #[test]
    fn an_answer_of_another_shape_still_passes() {
        let body = r#"{"candidates":[{"index":"zero"}],"usageMetadata":{"promptTokenCount":1}}"#;
        assert_eq!(said(&Object::parse(body).unwrap(), Counting::default()).unwrap().usage.unwrap().input, 1);
        assert!(read(body).is_err());
    }

    #[test]
    fn without_usage_the_text_is_there_to_be_counted() {
        let body = r#"{"candidates":[{"content":{"parts":[{"text":"a\nb"},{"functionCall":{"name":"f","args":{"x":1}}}]}}]}"#;
        assert_eq!(said(&Object::parse(body).unwrap(), Counting::default()).unwrap().output, r#"a\nbf"x":1"#);
    }

    #[test]
    fn images_are_counted_and_pictures_of_thoughts_are_not() {
        let part = r#"{"inlineData":{"mimeType":"image/png","data":"QUJD"}"#;
        let body =
            format!(r#"{{"candidates":[{{"content":{{"parts":[{part}}},{part},"thought":true}},{part}}},{{"text":"x"}}]}}}}]}}"#);
        assert_eq!(said(&Object::parse(&body).unwrap(), Counting::default()).unwrap().images, 2);
        assert_eq!(read(&body).unwrap().choices[0].parts.len(), 3);
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let image = Media {
            kind: MediaKind::Image,
            source: Source::Base64 { media_type: "image/png".to_owned(), data: "QUJD".into() },
            name: None,
            detail: None,
        };
        let mut answer = read(ANSWER).unwrap();
        answer.choices[1].parts.push(Part::Media { media: image, cache: None });
        answer.choices[0].logprobs =
            Some(r#"{"content":[{"token":"a","logprob":-0.25,"bytes":[97],"top_logprobs":[]}],"refusal":null}"#.to_owned());
        let written = write_answer(&answer, &answer.usage.unwrap(), &cost(), &StreamWish::default());
        assert!(written.contains(r#""cost":0.5,"cost_details":{}"#), "{written}");
        assert_eq!(read(&written).unwrap(), answer);
        answer.id = String::new();
        let wish = StreamWish { id: "own".to_owned(), ..StreamWish::default() };
        assert!(write_answer(&answer, &Usage::default(), &cost(), &wish).ends_with(r#""responseId":"own"}"#));
    }

    #[test]
    fn a_signature_that_is_not_base64_is_left_out() {
        assert_eq!(text_part("", true, Some("ab+/=")), r#"{"text":"","thought":true,"thoughtSignature":"ab+/="}"#);
        assert_eq!(text_part("x", true, Some("a b")), r#"{"text":"x","thought":true}"#);
    }
}
