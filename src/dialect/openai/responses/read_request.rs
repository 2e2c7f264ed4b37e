//! A request of responses, read for a provider that has chat completions only, or speaks another dialect.
//!
//! Mapped: `input` as a string or as items: messages of the roles user, assistant, system and developer with `input_text`,
//! `output_text`, `refusal`, `input_image`, `input_file` and `input_audio`; `function_call` and `function_call_output`;
//! `reasoning` with its `encrypted_content`; `instructions`; functions as `tools`; `tool_choice`; `parallel_tool_calls`;
//! `text.format`; `reasoning.effort` and whether a `summary` is wanted; `max_output_tokens`; `temperature`, `top_p`;
//! compactions that the gateway made, and the item `compaction_trigger`, which asks for one;
//! `top_logprobs`, and log probabilities asked for by `include`; `user`. Instructions in the middle of a conversation are put
//! with those above it.
//!
//! Dropped and named: `text.verbosity`, `metadata`, `store`, `service_tier`, `truncation`, `max_tool_calls`, `prompt_cache_key`,
//! `safety_identifier`, what else `include` asks for but encrypted thoughts, compactions of other makers, and whatever is not listed here.
//!
//! Refused with its path: `previous_response_id`, `conversation`, `prompt`, `background` and the item `item_reference`, because
//! only the provider that keeps them knows what they say; tools that are not functions, and the items of their calls; allowed
//! tools that are only some of those there are; unknown roles and unknown types of parts.

use std::borrow::Cow;

use super::{Responses, compact};
use crate::dialect::format::Read;
use crate::dialect::json::Object;
use crate::dialect::openai::chat::call_signature;
use crate::dialect::openai::node::{Node, drop_named};
use crate::dialect::openai::parts::{
    UNKNOWN, push, read_audio, read_cache, read_file, read_sampling, read_schema, read_tool, read_tool_choice, read_url,
};
use crate::dialect::talk::{
    Call, CallResult, Conversation, Effort, Media, MediaKind, Message, OutputFormat, Part, Reasoning, Role, Source, Thinking,
};
use crate::refusal::Refusal;

/// What is read here, or by the gateway itself.
const KNOWN: [&str; 27] = [
    "model",
    "models",
    "provider",
    "session_id",
    "stream",
    "stream_options",
    "max_output_tokens",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "include",
    "user",
    "previous_response_id",
    "conversation",
    "prompt",
    "background",
];

/// Before what a provider encrypted as a whole, to tell it from the proof of a thought.
pub const REDACTED: &str = "redacted:";

impl Responses {
    /// See the table above.
    pub(super) fn read<'a>(request: &Object<'a>) -> Result<Read<'a>, Refusal> {
        let root = Node::root(request);
        let mut dropped = Vec::new();
        root.drop_others(&KNOWN, &mut dropped);
        for name in ["previous_response_id", "conversation", "prompt"] {
            if root.raw(name).is_some() {
                return Err(root.wrong(name, "is kept by a provider that does not serve this model here"));
            }
        }
        if root.flag("background")?.unwrap_or(false) {
            return Err(root.wrong("background", UNKNOWN));
        }
        let mut conversation = Conversation { choices: 1, ..Conversation::default() };
        if let Some(text) = root.text("instructions")? {
            conversation.system.push(Part::Text { text, cache: None });
        }
        match root.raw("input") {
            Some(json) if json.starts_with('"') => {
                let parts = vec![Part::Text { text: root.required("input")?, cache: None }];
                conversation.messages.push(Message { role: Role::User, parts });
            }
            _ => {
                for item in root.nodes("input")? {
                    read_item(&item, &mut conversation)?;
                }
            }
        }
        compact::name_foreign(&root, &mut dropped)?;
        for tool in root.nodes("tools")? {
            if tool.required("type")? != "function" {
                return Err(tool.wrong("type", UNKNOWN));
            }
            conversation.tools.push(read_tool(&tool, read_cache(&tool)?)?);
        }
        conversation.tool_choice = read_tool_choice(&root, &conversation.tools)?;
        conversation.parallel_calls = root.flag("parallel_tool_calls")?;
        conversation.sampling = read_sampling(&root)?;
        conversation.output = read_output(&root, &mut dropped)?;
        conversation.reasoning = read_reasoning(&root, &mut dropped)?;
        conversation.logprobs = read_logprobs(&root, &mut dropped)?;
        conversation.user = root.owned("user")?;
        if root.raw("input").is_some_and(compact::is_asked) {
            compact::ask(&mut conversation);
        }
        Ok(Read { conversation, dropped })
    }
}

fn read_output<'a>(root: &Node<'a>, dropped: &mut Vec<String>) -> Result<OutputFormat<'a>, Refusal> {
    let Some(text) = root.object("text")? else { return Ok(OutputFormat::Text) };
    text.drop_others(&["format"], dropped);
    let Some(format) = text.object("format")? else { return Ok(OutputFormat::Text) };
    match format.required("type")?.as_ref() {
        "text" => Ok(OutputFormat::Text),
        "json_object" => Ok(OutputFormat::JsonObject),
        "json_schema" => read_schema(&format),
        _ => Err(format.wrong("type", UNKNOWN)),
    }
}

fn read_reasoning(root: &Node<'_>, dropped: &mut Vec<String>) -> Result<Option<Reasoning>, Refusal> {
    let Some(node) = root.object("reasoning")? else { return Ok(None) };
    node.drop_others(&["effort", "summary", "generate_summary"], dropped);
    let effort = match node.text("effort")? {
        None => None,
        Some(text) => Some(Effort::parse(&text).ok_or_else(|| node.wrong("effort", "is not an effort"))?),
    };
    let is_shown = (node.raw("summary").is_some() || node.raw("generate_summary").is_some()).then_some(true);
    Ok(Some(Reasoning { effort, budget: None, is_shown }).filter(|reasoning| *reasoning != Reasoning::default()))
}

fn read_logprobs(root: &Node<'_>, dropped: &mut Vec<String>) -> Result<Option<u64>, Refusal> {
    let mut logprobs = root.count("top_logprobs")?.filter(|alternatives| *alternatives > 0);
    for wanted in root.texts("include")? {
        match wanted.as_str() {
            "message.output_text.logprobs" => logprobs = logprobs.or(Some(0)),
            // They are always given.
            "reasoning.encrypted_content" => {}
            _ => drop_named(dropped, "include"),
        }
    }
    Ok(logprobs)
}

fn read_item<'a>(item: &Node<'a>, conversation: &mut Conversation<'a>) -> Result<(), Refusal> {
    let kind = item.text("type")?;
    match kind.as_deref() {
        None | Some("message") => read_message(item, conversation)?,
        Some("function_call") => {
            let call = Call {
                id: item.required("call_id")?.into_owned(),
                name: item.required("name")?.into_owned(),
                arguments: item.owned("arguments")?.unwrap_or_default(),
                signature: call_signature(item),
            };
            push(conversation, Role::Assistant, Part::Call(call), |_| true);
        }
        Some("function_call_output") => {
            let id = item.required("call_id")?.into_owned();
            let parts = contents(item, "output")?;
            let result = CallResult { id, parts, is_error: false, cache: read_cache(item)? };
            push(conversation, Role::User, Part::Result(result), |last| matches!(last, Part::Result(_)));
        }
        Some("reasoning") => {
            for thought in [read_thought(item)].into_iter().filter(|thought| *thought != Thinking::default()) {
                push(conversation, Role::Assistant, Part::Thinking(thought), |_| true);
            }
        }
        Some(kind) if compact::is_compaction(kind) => compact::read_item(item, conversation),
        // What it asks for is asked at the end; in the middle it was answered.
        Some("compaction_trigger") => {}
        Some(_) => return Err(item.wrong("type", UNKNOWN)),
    }
    Ok(())
}

fn read_message<'a>(item: &Node<'a>, conversation: &mut Conversation<'a>) -> Result<(), Refusal> {
    let parts = contents(item, "content")?;
    match item.required("role")?.as_ref() {
        "user" if parts.is_empty() => return Err(item.wrong("content", "is required")),
        "user" => conversation.messages.push(Message { role: Role::User, parts }),
        "assistant" => {
            for part in parts {
                push(conversation, Role::Assistant, part, |_| true);
            }
        }
        "system" | "developer" => {
            if parts.iter().any(|part| !matches!(part, Part::Text { .. })) {
                return Err(item.wrong("content", "may have text only"));
            }
            conversation.system.extend(parts);
        }
        _ => return Err(item.wrong("role", "must be `user`, `assistant`, `system` or `developer`")),
    }
    Ok(())
}

fn contents<'a>(item: &Node<'a>, name: &str) -> Result<Vec<Part<'a>>, Refusal> {
    match item.raw(name) {
        None => Ok(Vec::new()),
        Some(json) if json.starts_with('"') => Ok(vec![Part::Text { text: item.required(name)?, cache: None }]),
        Some(_) => item.nodes(name)?.iter().map(read_part).collect(),
    }
}

fn read_part<'a>(node: &Node<'a>) -> Result<Part<'a>, Refusal> {
    let cache = read_cache(node)?;
    let media = match node.required("type")?.as_ref() {
        "input_text" | "output_text" | "text" => return Ok(Part::Text { text: node.required("text")?, cache }),
        "refusal" => return Ok(Part::Refusal(node.required("refusal")?)),
        "input_image" => {
            let source = match (node.text("image_url")?, node.owned("file_id")?) {
                (Some(url), _) => read_url(url, node, "image_url")?,
                (None, Some(id)) => Source::Id(id),
                (None, None) => return Err(node.wrong("image_url", "is required")),
            };
            Media { kind: MediaKind::Image, source, name: None, detail: node.owned("detail")? }
        }
        "input_file" => read_file(node)?,
        "input_audio" => {
            let audio = node.object("input_audio")?.ok_or_else(|| node.wrong("input_audio", "is required"))?;
            read_audio(&audio)?
        }
        _ => return Err(node.wrong("type", UNKNOWN)),
    };
    Ok(Part::Media { media, cache })
}

/// What a `reasoning` item says: its summary, else its text.
pub fn read_thought(item: &Node<'_>) -> Thinking {
    let words = |name: &str| {
        let texts: Vec<String> = item.nodes(name).unwrap_or_default().iter().map(|part| part.words("text")).collect();
        texts.join("\n\n")
    };
    let summary = words("summary");
    let text = if summary.is_empty() { words("content") } else { summary };
    let encrypted: Option<Cow<'_, str>> = item.text("encrypted_content").ok().flatten().filter(|text| !text.is_empty());
    match encrypted.as_deref().map(|text| (text, text.strip_prefix(REDACTED))) {
        Some((_, Some(data))) => Thinking { text, signature: None, redacted: Some(data.to_owned()) },
        Some((signature, None)) => Thinking { text, signature: Some(signature.to_owned()), redacted: None },
        None => Thinking { text, ..Thinking::default() },
    }
}
