//! A request of responses, written for a client of another format.
//!
//! Mapped: instructions as `instructions`, or where they have several parts, as a `system` message; turns as messages; calls and
//! results as items; thoughts with a proof as `reasoning` items; images, files and sounds as their parts; tools, `tool_choice`,
//! `parallel_tool_calls`, `text.format`, `temperature`, `top_p`, `top_logprobs`, `user`; effort, or the effort nearest to a
//! budget, as `reasoning.effort`; whether thoughts are shown as `reasoning.summary`; the output limit. `store` is false: nobody
//! goes on from such a response.
//!
//! Dropped and named: `top_k`, `seed`, the penalties, thoughts without a proof (`reasoning_content`), cache marks
//! (`cache_control`), Gemini's proof of a call (`thought_signature`), that a result is an error (`is_error`).
//!
//! Refused: `stop` and `n`, which would change the answer; files that a provider keeps; sounds by address.

use crate::dialect::conversation::{
    Conversation, Effort, Media, MediaKind, Message, OutputFormat, Part, Reasoning, Role, Sampling, Source, Thinking,
};
use crate::dialect::format::{Dropped, Upstream, Written};
use crate::dialect::openai::chat::{arguments, effort};
use crate::dialect::openai::out::Out;
use crate::dialect::openai::parts::{
    drop_caches, file_name, no_counterpart, write_audio, write_head, write_schema, write_tool, write_tool_choice, write_url,
};
use crate::refusal::Refusal;

/// Writes a request, as the table above says.
pub fn write(conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
    if !conversation.stop.is_empty() {
        return Err(no_counterpart("stop", "texts at which a response ends"));
    }
    if conversation.choices > 1 {
        return Err(no_counterpart("n", "responses with several choices"));
    }
    let mut dropped = Dropped::default();
    drop_caches(conversation, &mut dropped);
    let mut out = write_head(conversation, upstream);
    out.member("max_output_tokens", &upstream.output_limit.to_string()).member("store", "false");
    if let [Part::Text { text, .. }] = conversation.system.as_slice() {
        out.text("instructions", text);
    }
    out.list_at("input");
    if conversation.system.len() > 1 {
        write_message(&mut out, "system", &conversation.system.iter().collect::<Vec<_>>())?;
    }
    for message in &conversation.messages {
        write_turn(&mut out, message, &mut dropped)?;
    }
    out.end_list();
    write_rest(&mut out, conversation, &mut dropped)?;
    Ok(Written { body: out.done(), dropped })
}

fn write_rest(out: &mut Out, conversation: &Conversation<'_>, dropped: &mut Dropped) -> Result<(), Refusal> {
    if !conversation.tools.is_empty() {
        out.list_at("tools");
        for tool in &conversation.tools {
            out.open().text("type", "function");
            write_tool(out, tool);
            if tool.schema.is_none() {
                out.member("parameters", "null");
            }
            // Where nothing is said, this format takes it for strict and all the others do not.
            out.maybe_flag("strict", Some(tool.strict.unwrap_or(false))).close();
        }
        out.end_list();
    }
    write_tool_choice(out, conversation, |out, name| {
        out.open_at("tool_choice").text("type", "function").text("name", name).close();
    })?;
    match &conversation.output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => {
            out.open_at("text").open_at("format").text("type", "json_object").close().close();
        }
        schema @ OutputFormat::Schema { .. } => {
            out.open_at("text").open_at("format").text("type", "json_schema");
            write_schema(out, schema);
            out.close().close();
        }
    }
    let Sampling { temperature, top_p, top_k, seed, presence_penalty, frequency_penalty } = conversation.sampling;
    out.maybe("temperature", temperature).maybe("top_p", top_p);
    let absent =
        [("top_k", top_k), ("seed", seed), ("presence_penalty", presence_penalty), ("frequency_penalty", frequency_penalty)];
    for (name, _) in absent.into_iter().filter(|(_, value)| value.is_some()) {
        dropped.note(name);
    }
    write_reasoning(out, conversation);
    out.maybe_text("user", conversation.user.as_deref());
    Ok(())
}

fn write_reasoning(out: &mut Out, conversation: &Conversation<'_>) {
    let effort = conversation.reasoning.as_ref().and_then(effort);
    let is_shown = conversation.reasoning.as_ref().and_then(|reasoning| reasoning.is_shown) == Some(true);
    if effort.is_some() || is_shown {
        out.open_at("reasoning").maybe_text("effort", effort);
        out.maybe_text("summary", is_shown.then_some("auto")).close();
    }
    // Models that do not think refuse to be asked for their thoughts.
    let thinks = |reasoning: &Reasoning| reasoning.effort != Some(Effort::None) && reasoning.budget != Some(0);
    let has_thoughts = conversation.reasoning.as_ref().is_some_and(thinks);
    if has_thoughts || conversation.logprobs.is_some() {
        out.list_at("include");
        if has_thoughts {
            out.string(&["reasoning.encrypted_content"]);
        }
        if conversation.logprobs.is_some() {
            out.string(&["message.output_text.logprobs"]);
        }
        out.end_list();
    }
    if let Some(alternatives) = conversation.logprobs.filter(|alternatives| *alternatives > 0) {
        out.member("top_logprobs", &alternatives.to_string());
    }
}

/// Writes a turn as items, in order; parts in a row that are said are one message.
fn write_turn(out: &mut Out, message: &Message<'_>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let role = if message.role == Role::Assistant { "assistant" } else { "user" };
    let mut said: Vec<&Part<'_>> = Vec::new();
    for part in &message.parts {
        if matches!(part, Part::Text { .. } | Part::Refusal(_) | Part::Media { .. }) {
            said.push(part);
            continue;
        }
        write_message(out, role, &std::mem::take(&mut said))?;
        match part {
            Part::Thinking(Thinking { text, signature: Some(signature), .. }) => {
                out.open().text("type", "reasoning").list_at("summary");
                if !text.is_empty() {
                    out.open().text("type", "summary_text").text("text", text).close();
                }
                out.end_list().text("encrypted_content", signature).close();
            }
            Part::Thinking(_) => dropped.note("reasoning_content"),
            Part::Call(call) => {
                if call.signature.is_some() {
                    dropped.note("thought_signature");
                }
                out.open().text("type", "function_call").text("call_id", &call.id).text("name", &call.name);
                out.text("arguments", arguments(&call.arguments)).close();
            }
            Part::Result(result) => {
                if result.is_error {
                    dropped.note("is_error");
                }
                out.open().text("type", "function_call_output").text("call_id", &result.id);
                match result.parts.as_slice() {
                    [] => _ = out.text("output", ""),
                    [Part::Text { text, .. }] => _ = out.text("output", text),
                    parts => write_parts(out, "output", "input_text", &parts.iter().collect::<Vec<_>>())?,
                }
                out.close();
            }
            Part::Text { .. } | Part::Refusal(_) | Part::Media { .. } => {}
        }
    }
    write_message(out, role, &said)
}

fn write_message(out: &mut Out, role: &str, parts: &[&Part<'_>]) -> Result<(), Refusal> {
    if parts.is_empty() {
        return Ok(());
    }
    out.open().text("type", "message").text("role", role);
    write_parts(out, "content", if role == "assistant" { "output_text" } else { "input_text" }, parts)?;
    out.close();
    Ok(())
}

fn write_parts(out: &mut Out, name: &str, text_type: &str, parts: &[&Part<'_>]) -> Result<(), Refusal> {
    out.list_at(name);
    for part in parts {
        match part {
            Part::Text { text, .. } => _ = out.open().text("type", text_type).text("text", text).close(),
            Part::Refusal(text) => _ = out.open().text("type", "refusal").text("refusal", text).close(),
            Part::Media { .. } if text_type == "output_text" => {
                return Err(no_counterpart("messages", "media in what the model said"));
            }
            Part::Media { media, .. } => write_media(out, media)?,
            // They are items of their own.
            Part::Thinking(_) | Part::Call(_) | Part::Result(_) => {}
        }
    }
    out.end_list();
    Ok(())
}

fn write_media(out: &mut Out, media: &Media<'_>) -> Result<(), Refusal> {
    match media.kind {
        MediaKind::Image => {
            out.open().text("type", "input_image");
            write_url(out, "image_url", media)?;
            out.maybe_text("detail", media.detail.as_deref()).close();
        }
        MediaKind::File => {
            out.open().text("type", "input_file");
            if matches!(media.source, Source::Url(_)) {
                write_url(out, "file_url", media)?;
            } else {
                out.text("filename", &file_name(media));
                write_url(out, "file_data", media)?;
            }
            out.close();
        }
        MediaKind::Audio => {
            out.open().text("type", "input_audio");
            write_audio(out, media)?;
            out.close();
        }
    }
    Ok(())
}
