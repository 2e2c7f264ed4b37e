//! A whole answer of chat completions, read and written.

use super::passthrough::Shape;
use super::read_request::{call_signature, said_in, thoughts};
use super::write_request::arguments;
use crate::dialect::conversation::{Answer, Choice, Finish, Media, MediaKind, Part, Source, Thinking, ToolCall, ToolKind};
use crate::dialect::format::{Cost, Counting, StreamWish};
use crate::dialect::json::Object;
use crate::dialect::maker::{Maker, token};
use crate::dialect::node::Node;
use crate::dialect::openai::out::Out;
use crate::dialect::openai::parts::read_url;
use crate::dialect::openai::{misplaced_error, read_usage, usage_with_cost};
use crate::usage::Usage;

/// Writes an answer.
pub fn write(answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
    let mut out = Out::object();
    out.text("id", &wish.answer_id(Shape::Chat.prefix(), &answer.id)).text("object", "chat.completion");
    out.member("created", &wish.created.to_string()).text("model", &answer.model).list_at("choices");
    for (index, choice) in answer.choices.iter().enumerate() {
        out.open().member("index", &index.to_string()).open_at("message").text("role", "assistant");
        write_message(&mut out, &choice.parts, wish.maker.as_ref());
        out.close().member("logprobs", choice.logprobs.as_deref().unwrap_or("null"));
        out.text("finish_reason", finish_reason(&choice.finish)).close();
    }
    out.end_list().member("usage", &usage_with_cost(None, usage, cost));
    out.done()
}

/// Reads an answer.
pub fn read(answer: &Object<'_>, counting: Counting) -> Result<Answer, String> {
    let root = Node::root(answer);
    let choices = root.nodes("choices").unwrap_or_default();
    if choices.is_empty() {
        return Err(root.given("error").map_or_else(|| "an answer without choices".to_owned(), misplaced_error));
    }
    Ok(Answer {
        choices: choices.iter().map(read_choice).collect(),
        id: root.words("id"),
        model: root.words("model"),
        usage: root.given("usage").and_then(|json| read_usage(json, counting)),
    })
}

/// Why an answer ended, in OpenAI's words.
pub const fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopText(_) | Finish::Other(_) => "stop",
        Finish::Length => "length",
        Finish::Calls => "tool_calls",
        Finish::Filtered(_) => "content_filter",
    }
}

/// The same, read. Some providers say `stop` after calls, some say nothing, and some tell of calls where there are none.
pub fn read_finish(reason: &str, has_calls: bool) -> Finish {
    match reason {
        "" | "stop" | "eos" | "tool_calls" | "function_call" if has_calls => Finish::Calls,
        "" | "stop" | "eos" | "tool_calls" | "function_call" => Finish::Stop,
        "length" => Finish::Length,
        "content_filter" => Finish::Filtered(reason.to_owned()),
        other => Finish::Other(other.to_owned()),
    }
}

/// A thought as an entry of `reasoning_details`.
///
/// `maker` is whose it is: its form by OpenRouter's word, and as an id the gateway's own mark.
pub fn write_detail(out: &mut Out, index: usize, thought: &Thinking, maker: Option<&Maker>) {
    out.open();
    match &thought.redacted {
        Some(data) => out.text("type", "reasoning.encrypted").text("data", data),
        None => out.text("type", "reasoning.text").text("text", &thought.text),
    };
    if let Some(maker) = maker {
        out.text("id", &token(maker, "")).text("format", maker.format());
    }
    out.maybe_text("signature", thought.signature.as_deref()).member("index", &index.to_string()).close();
}

/// Gemini's proof of a call, where its own endpoint for clients of OpenAI has it.
pub fn write_call_signature(out: &mut Out, signature: Option<&str>) {
    if let Some(signature) = signature {
        out.open_at("extra_content").open_at("google").text("thought_signature", signature).close().close();
    }
}

/// An image as OpenRouter's users know it.
pub fn write_image(out: &mut Out, index: usize, media_type: &str, data: &str) {
    out.open().text("type", "image_url").open_at("image_url");
    out.name("url").string(&["data:", media_type, ";base64,", data]);
    out.close().member("index", &index.to_string()).close();
}

/// Begins a call, up to what it is made with.
pub fn open_call(out: &mut Out, id: &str, name: &str, kind: ToolKind) {
    let word = if kind == ToolKind::Custom { "custom" } else { "function" };
    out.text("id", id).text("type", word).open_at(word).text("name", name);
}

fn write_message(out: &mut Out, parts: &[Part<'static>], maker: Option<&Maker>) {
    let mut texts: Vec<&str> = Vec::new();
    let mut refusals: Vec<&str> = Vec::new();
    let mut thoughts: Vec<&Thinking> = Vec::new();
    let mut calls: Vec<&ToolCall> = Vec::new();
    let mut images: Vec<(&str, &str)> = Vec::new();
    for part in parts {
        match part {
            Part::Text { text, .. } => texts.push(text),
            Part::Refusal(text) => refusals.push(text),
            Part::Thinking(thought) => thoughts.push(thought),
            Part::Call(call) => calls.push(call),
            Part::Media { media: Media { source: Source::Base64 { media_type, data }, .. }, .. } => {
                images.push((media_type, data));
            }
            Part::Media { .. } | Part::Result(_) => {}
        }
    }
    if texts.is_empty() {
        out.member("content", "null")
    } else {
        out.name("content").string(&texts)
    };
    if refusals.is_empty() {
        out.member("refusal", "null")
    } else {
        out.name("refusal").string(&refusals)
    };
    if !thoughts.is_empty() {
        let words: Vec<&str> = thoughts.iter().map(|thought| thought.text.as_str()).collect();
        out.name("reasoning_content").string(&words).list_at("reasoning_details");
        thoughts.iter().enumerate().for_each(|(index, thought)| write_detail(out, index, thought, maker));
        out.end_list();
    }
    if !images.is_empty() {
        out.list_at("images");
        images.iter().enumerate().for_each(|(index, (media_type, data))| write_image(out, index, media_type, data));
        out.end_list();
    }
    if !calls.is_empty() {
        out.list_at("tool_calls");
        for call in calls {
            out.open();
            open_call(out, &call.id, &call.name, call.form.kind);
            match call.form.kind {
                ToolKind::Custom => out.text("input", &call.arguments),
                _ => out.text("arguments", arguments(&call.arguments)),
            };
            out.close();
            write_call_signature(out, call.signature.as_deref());
            out.close();
        }
        out.end_list();
    }
}

fn read_choice(choice: &Node<'_>) -> Choice {
    let mut parts: Vec<Part<'static>> = Vec::new();
    if let Ok(Some(message)) = choice.object("message") {
        parts.extend(thoughts(&message).into_iter().map(Part::Thinking));
        parts.extend(said_in(&message));
        let refusal = message.words("refusal");
        if !refusal.is_empty() {
            parts.push(Part::Refusal(refusal.into()));
        }
        parts.extend(images(&message).into_iter().map(|(media_type, data)| {
            let source = Source::Base64 { media_type, data: data.into() };
            Part::Media { media: Media { kind: MediaKind::Image, source, name: None, detail: None }, cache: None }
        }));
        for call in message.nodes("tool_calls").unwrap_or_default() {
            let Ok(Some(function)) = call.object("function") else { continue };
            parts.push(Part::Call(ToolCall {
                id: call.words("id"),
                name: function.words("name"),
                arguments: read_arguments(&function),
                signature: call_signature(&call),
                ..ToolCall::default()
            }));
        }
    }
    let has_calls = parts.iter().any(|part| matches!(part, Part::Call(_)));
    Choice {
        parts,
        finish: read_finish(&choice.words("finish_reason"), has_calls),
        logprobs: choice.given("logprobs").map(ToOwned::to_owned),
    }
}

/// Arguments, which some providers give as an object and not as its text.
pub fn read_arguments(function: &Node<'_>) -> String {
    match function.given("arguments") {
        Some(json) if json.starts_with('{') => json.to_owned(),
        _ => function.words("arguments"),
    }
}

/// The images of a message or a delta: media type and data of each.
pub fn images(message: &Node<'_>) -> Vec<(String, String)> {
    let of = |image: Node<'_>| {
        let inner = image.object("image_url").ok()??;
        match read_url(inner.text("url").ok()??, &inner, "url").ok()? {
            Source::Base64 { media_type, data } => Some((media_type, data.into_owned())),
            _ => None,
        }
    };
    message.nodes("images").unwrap_or_default().into_iter().filter_map(of).collect()
}
