//! A request of chat completions, written for a client of another dialect.
//!
//! Mapped: instructions as one `system` message; turns as `user` and `assistant` messages; calls as `tool_calls`; results as
//! `tool` messages; images, files and sounds as their parts; tools, `tool_choice`, `parallel_tool_calls`, `response_format`,
//! `temperature`, `top_p`, `seed`, the penalties, `stop`, `n`, `logprobs`, `user`; effort, or the effort nearest to a budget, as
//! `reasoning_effort`; the output limit as `max_tokens`, or as the one field that the channel knows. The text of a result is its
//! message; its images and files follow in a `user` message, each behind the id of its call, because a `tool` message has none.
//!
//! Thoughts go back as `reasoning_content`, to whoever made them: what is left of them here is wanted.
//!
//! Dropped and named: `top_k`, cache marks (`cache_control`), Gemini's proof of a call
//! (`thought_signature`), that a result is an error (`is_error`), that thoughts shall not be shown (`reasoning.exclude`).
//!
//! Refused: files that a provider keeps, files and sounds by address.

use crate::catalog::OutputLimitField;
use crate::dialect::conversation::{
    CallResult, Conversation, Effort, Media, MediaKind, Message, OutputFormat, Part, Role, Sampling, Source,
};
use crate::dialect::format::{Dropped, Upstream, Written};
use crate::dialect::openai::out::Out;
use crate::dialect::openai::parts::{
    drop_caches, file_name, no_counterpart, write_audio, write_head, write_schema, write_tool, write_tool_choice, write_url,
};
use crate::refusal::Refusal;

/// Writes a request, as the table above says.
pub fn write(conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
    let mut dropped = Dropped::default();
    drop_caches(conversation, &mut dropped);
    let mut out = write_head(conversation, upstream);
    if upstream.stream {
        out.open_at("stream_options").member("include_usage", "true").close();
    }
    let field = upstream.limit_field.unwrap_or(OutputLimitField::MaxTokens);
    out.member(field.name(), &upstream.output_limit.to_string());
    out.list_at("messages");
    if !conversation.system.is_empty() {
        out.open().text("role", "system");
        write_content(&mut out, &conversation.system.iter().collect::<Vec<_>>())?;
        out.close();
    }
    for message in &conversation.messages {
        write_message(&mut out, message, &mut dropped)?;
    }
    out.end_list();
    write_rest(&mut out, conversation, &mut dropped)?;
    Ok(Written { body: out.done(), dropped })
}

fn write_rest(out: &mut Out, conversation: &Conversation<'_>, dropped: &mut Dropped) -> Result<(), Refusal> {
    if !conversation.tools.is_empty() {
        out.list_at("tools");
        for tool in &conversation.tools {
            out.open().text("type", "function").open_at("function");
            write_tool(out, tool);
            out.maybe_flag("strict", tool.strict).close().close();
        }
        out.end_list();
    }
    write_tool_choice(out, conversation, |out, name| {
        out.open_at("tool_choice").text("type", "function").open_at("function").text("name", name).close().close();
    })?;
    match &conversation.output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => _ = out.open_at("response_format").text("type", "json_object").close(),
        schema @ OutputFormat::Schema { .. } => {
            out.open_at("response_format").text("type", "json_schema").open_at("json_schema");
            write_schema(out, schema);
            out.close().close();
        }
    }
    let Sampling { temperature, top_p, top_k, seed, presence_penalty, frequency_penalty } = conversation.sampling;
    out.maybe("temperature", temperature).maybe("top_p", top_p).maybe("seed", seed);
    out.maybe("presence_penalty", presence_penalty).maybe("frequency_penalty", frequency_penalty);
    if top_k.is_some() {
        dropped.note("top_k");
    }
    if !conversation.stop.is_empty() {
        out.list_at("stop");
        for stop in &conversation.stop {
            out.string(&[stop]);
        }
        out.end_list();
    }
    if conversation.reasoning.as_ref().and_then(|reasoning| reasoning.is_shown) == Some(false) {
        dropped.note("reasoning.exclude");
    }
    if let Some(effort) = conversation.reasoning.as_ref().and_then(effort) {
        out.text("reasoning_effort", effort);
    }
    if let Some(alternatives) = conversation.logprobs {
        out.member("logprobs", "true");
        if alternatives > 0 {
            out.member("top_logprobs", &alternatives.to_string());
        }
    }
    if conversation.choices > 1 {
        out.member("n", &conversation.choices.to_string());
    }
    out.maybe_text("user", conversation.user.as_deref());
    Ok(())
}

/// OpenAI's word for how much to think.
pub fn effort(reasoning: &crate::dialect::conversation::Reasoning) -> Option<&'static str> {
    let effort = reasoning.effort.or_else(|| reasoning.budget.map(Effort::of_budget))?;
    Some(match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Most => "xhigh",
    })
}

fn write_message(out: &mut Out, message: &Message<'_>, dropped: &mut Dropped) -> Result<(), Refusal> {
    if message.role == Role::Assistant {
        return write_assistant(out, message, dropped);
    }
    // Results come right after the calls.
    let mut shown: Vec<(&CallResult<'_>, &Media<'_>)> = Vec::new();
    let mut rest: Vec<&Part<'_>> = Vec::new();
    for part in &message.parts {
        let Part::Result(result) = part else {
            rest.push(part);
            continue;
        };
        if result.is_error {
            dropped.note("is_error");
        }
        let media = result.parts.iter().filter_map(|part| match part {
            Part::Media { media, .. } => Some((result, media)),
            _ => None,
        });
        shown.extend(media);
        out.open().text("role", "tool").text("tool_call_id", &result.id);
        write_content(out, &result.parts.iter().filter(|part| !matches!(part, Part::Media { .. })).collect::<Vec<_>>())?;
        out.close();
    }
    if !shown.is_empty() {
        out.open().text("role", "user").list_at("content");
        for (result, media) in shown {
            out.open().text("type", "text").name("text").string(&["Result of ", &result.id, ":"]).close();
            write_media(out, media)?;
        }
        out.end_list().close();
    }
    if !rest.is_empty() {
        out.open().text("role", "user");
        write_content(out, &rest)?;
        out.close();
    }
    Ok(())
}

/// Writes `content`: a text alone as a string, anything else as a list of parts.
fn write_content(out: &mut Out, parts: &[&Part<'_>]) -> Result<(), Refusal> {
    match parts {
        [] => _ = out.text("content", ""),
        [Part::Text { text, .. }] => _ = out.text("content", text),
        _ => {
            out.list_at("content");
            for part in parts {
                match part {
                    Part::Text { text, .. } | Part::Refusal(text) => {
                        out.open().text("type", "text").text("text", text).close();
                    }
                    Part::Media { media, .. } => write_media(out, media)?,
                    // Neither stands in a user's turn.
                    Part::Thinking(_) | Part::Call(_) | Part::Result(_) => {}
                }
            }
            out.end_list();
        }
    }
    Ok(())
}

fn write_media(out: &mut Out, media: &Media<'_>) -> Result<(), Refusal> {
    match media.kind {
        MediaKind::Image => {
            out.open().text("type", "image_url").open_at("image_url");
            write_url(out, "url", media)?;
            out.maybe_text("detail", media.detail.as_deref()).close().close();
        }
        MediaKind::File => {
            if matches!(media.source, Source::Url(_)) {
                return Err(no_counterpart("file_url", "files by address in chat completions"));
            }
            out.open().text("type", "file").open_at("file").text("filename", &file_name(media));
            write_url(out, "file_data", media)?;
            out.close().close();
        }
        MediaKind::Audio => {
            out.open().text("type", "input_audio");
            write_audio(out, media)?;
            out.close();
        }
    }
    Ok(())
}

/// The model's own turn. Its texts are one: that is how it said them.
fn write_assistant(out: &mut Out, message: &Message<'_>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let mut texts: Vec<&str> = Vec::new();
    let mut refusals: Vec<&str> = Vec::new();
    let mut thoughts: Vec<&str> = Vec::new();
    let mut calls = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text { text, .. } => texts.push(text),
            Part::Refusal(text) => refusals.push(text),
            Part::Call(call) => calls.push(call),
            Part::Thinking(thinking) if thinking.text.is_empty() => {}
            Part::Thinking(thinking) => thoughts.push(&thinking.text),
            Part::Media { .. } => return Err(no_counterpart("messages", "media in what the model said")),
            Part::Result(_) => return Err(no_counterpart("messages", "results in what the model said")),
        }
    }
    if texts.is_empty() && refusals.is_empty() && calls.is_empty() {
        return Ok(());
    }
    out.open().text("role", "assistant");
    if texts.is_empty() {
        out.member("content", "null")
    } else {
        out.name("content").string(&texts)
    };
    if !refusals.is_empty() {
        out.name("refusal").string(&refusals);
    }
    if !thoughts.is_empty() {
        out.name("reasoning_content").string(&thoughts);
    }
    if !calls.is_empty() {
        out.list_at("tool_calls");
        for call in calls {
            if call.signature.is_some() {
                dropped.note("thought_signature");
            }
            out.open().text("id", &call.id).text("type", "function").open_at("function").text("name", &call.name);
            out.text("arguments", arguments(&call.arguments)).close().close();
        }
        out.end_list();
    }
    out.close();
    Ok(())
}

/// The arguments of a call, which are an object even where there are none.
pub fn arguments(json: &str) -> &str {
    if json.trim().is_empty() { "{}" } else { json }
}
