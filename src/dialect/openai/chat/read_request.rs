//! A request of chat completions, read for a provider of another dialect.
//!
//! What becomes of each member is in `table.rs`. What is in them:
//!
//! Mapped: messages of the roles system, developer, user, assistant and tool; text, `image_url`, `input_audio`, `file` and
//! refusals as their parts; `tool_calls` and their results; thoughts in `reasoning_details` or `reasoning_content`;
//! `cache_control` on parts, messages and tools. Instructions in the middle of a conversation are put with those above it.
//!
//! Dropped and named: the `name` of a speaker, and what is not known of `reasoning`.
//!
//! Refused with its path: other modalities than text, tools that are not functions, allowed tools that are only some of those there
//! are, unknown roles and unknown types of parts, and the role `function`, whose calls have no ids by which results could be
//! paired with them.

use std::borrow::Cow;

use super::table::{MORE_THAN_TEXT, TABLE};
use crate::dialect::conversation::{
    CallResult, Conversation, Effort, Form, Media, MediaKind, OutputFormat, Part, Reasoning, Role, Thinking, Tool, ToolCall,
    ToolKind,
};
use crate::dialect::format::{Dropped, Read, UNKNOWN};
use crate::dialect::json::{Object, items, text_of};
use crate::dialect::maker::{Maker, read_token};
use crate::dialect::node::Node;
use crate::dialect::openai::parts::{
    push, read_audio, read_cache, read_file, read_sampling, read_schema, read_tool, read_tool_choice, read_url,
};
use crate::refusal::Refusal;

/// Reads a request.
pub fn read<'a>(request: &Object<'a>) -> Result<Read<'a>, Refusal> {
    let root = Node::root(request);
    let mut dropped = Dropped::default();
    TABLE.sift(&root, &mut dropped)?;
    if root.texts("modalities")?.iter().any(|modality| modality != "text") {
        return Err(root.wrong("modalities", MORE_THAN_TEXT));
    }
    let mut conversation = Conversation { choices: root.count("n")?.unwrap_or(1), ..Conversation::default() };
    for message in root.nodes("messages")? {
        read_message(&message, &mut conversation, &mut dropped)?;
    }
    for tool in root.nodes("tools")? {
        conversation.tools.push(tool_of(&tool)?);
    }
    conversation.tool_choice = read_tool_choice(&root, &conversation.tools)?;
    conversation.parallel_calls = root.flag("parallel_tool_calls")?;
    conversation.output = read_output(&root)?;
    conversation.sampling = read_sampling(&root)?;
    conversation.stop = match root.given("stop") {
        Some(json) if json.starts_with('"') => vec![root.required("stop")?.into_owned()],
        _ => root.texts("stop")?,
    };
    conversation.reasoning = read_reasoning(&root, &mut dropped)?;
    if root.flag("logprobs")?.unwrap_or(false) {
        conversation.logprobs = Some(root.count("top_logprobs")?.unwrap_or(0));
    }
    conversation.user = root.owned("user")?;
    Ok(Read { conversation, dropped })
}

fn tool_of<'a>(node: &Node<'a>) -> Result<Tool<'a>, Refusal> {
    match node.required("type")?.as_ref() {
        "function" => {}
        "custom" => return custom_of(node),
        _ => {
            let what = "must be `function` or `custom`: other tools have no counterpart with the provider of this model";
            return Err(node.wrong("type", what));
        }
    }
    let function = node.object("function")?.ok_or_else(|| node.wrong("function", "is required"))?;
    let cache = read_cache(node)?.or(read_cache(&function)?);
    read_tool(&function, cache)
}

/// A tool whose input is free text.
fn custom_of<'a>(node: &Node<'a>) -> Result<Tool<'a>, Refusal> {
    let custom = node.object("custom")?.ok_or_else(|| node.wrong("custom", "is required"))?;
    let grammar = custom.object("format")?.filter(|format| format.words("type") != "text");
    Ok(Tool {
        name: custom.required("name")?.into_owned(),
        description: custom.text("description")?,
        cache: read_cache(node)?,
        form: Form { kind: ToolKind::Custom, namespace: None },
        grammar: grammar.and_then(|_| custom.given("format")).map(Into::into),
        ..Tool::default()
    })
}

fn read_output<'a>(root: &Node<'a>) -> Result<OutputFormat<'a>, Refusal> {
    let Some(format) = root.object("response_format")? else { return Ok(OutputFormat::Text) };
    match format.required("type")?.as_ref() {
        "text" => Ok(OutputFormat::Text),
        "json_object" => Ok(OutputFormat::JsonObject),
        "json_schema" => {
            let schema = format.object("json_schema")?.ok_or_else(|| format.wrong("json_schema", "is required"))?;
            read_schema(&schema)
        }
        _ => Err(format.wrong("type", UNKNOWN)),
    }
}

/// OpenAI's effort, and OpenRouter's object, which counts where both are there.
fn read_reasoning(root: &Node<'_>, dropped: &mut Dropped) -> Result<Option<Reasoning>, Refusal> {
    let mut reasoning = Reasoning::default();
    let parse = |node: &Node<'_>, name: &str| match node.text(name)? {
        None => Ok(None),
        Some(text) => Effort::parse(&text).map(Some).ok_or_else(|| node.wrong(name, "is not an effort")),
    };
    reasoning.effort = parse(root, "reasoning_effort")?;
    reasoning.is_shown = root.flag("include_reasoning")?;
    if let Some(node) = root.object("reasoning")? {
        node.drop_others(&["effort", "max_tokens", "exclude", "enabled"], dropped);
        reasoning.effort = parse(&node, "effort")?.or(reasoning.effort);
        reasoning.budget = node.count("max_tokens")?;
        reasoning.is_shown = node.flag("exclude")?.map(|exclude| !exclude).or(reasoning.is_shown);
        match node.flag("enabled")? {
            Some(false) => (reasoning.effort, reasoning.budget) = (Some(Effort::None), None),
            // What OpenRouter takes it for.
            Some(true) if reasoning.effort.is_none() && reasoning.budget.is_none() => reasoning.effort = Some(Effort::Medium),
            _ => {}
        }
    }
    Ok(Some(reasoning).filter(|reasoning| *reasoning != Reasoning::default()))
}

fn read_message<'a>(node: &Node<'a>, conversation: &mut Conversation<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
    if node.given("name").is_some() {
        dropped.note("messages[].name");
    }
    match node.required("role")?.as_ref() {
        "system" | "developer" => {
            for part in read_content(node)? {
                if !matches!(part, Part::Text { .. }) {
                    return Err(node.wrong("content", "may have text only"));
                }
                conversation.system.push(part);
            }
        }
        "user" => {
            let parts = read_content(node)?;
            if parts.is_empty() {
                return Err(node.wrong("content", "is required"));
            }
            conversation.messages.push(crate::dialect::conversation::Message { role: Role::User, parts });
        }
        "assistant" => {
            let parts = read_assistant(node)?;
            if !parts.is_empty() {
                conversation.messages.push(crate::dialect::conversation::Message { role: Role::Assistant, parts });
            }
        }
        "tool" => {
            let cache = read_cache(node)?;
            let id = node.required("tool_call_id")?.into_owned();
            let result = CallResult { id, parts: contents(node)?, is_error: false, cache };
            push(conversation, Role::User, Part::Result(result), |last| matches!(last, Part::Result(_)));
        }
        _ => return Err(node.wrong("role", "must be `system`, `developer`, `user`, `assistant` or `tool`")),
    }
    Ok(())
}

/// What a message says; a cache mark of the message is that of its last part.
fn read_content<'a>(node: &Node<'a>) -> Result<Vec<Part<'a>>, Refusal> {
    let mut parts = contents(node)?;
    if let (Some(mark), Some(Part::Text { cache, .. } | Part::Media { cache, .. })) = (read_cache(node)?, parts.last_mut()) {
        *cache = cache.or(Some(mark));
    }
    Ok(parts)
}

fn contents<'a>(node: &Node<'a>) -> Result<Vec<Part<'a>>, Refusal> {
    match node.given("content") {
        None => Ok(Vec::new()),
        Some(json) if json.starts_with('"') => Ok(vec![Part::Text { text: node.required("content")?, cache: None }]),
        Some(_) => node.nodes("content")?.iter().map(read_part).collect(),
    }
}

fn read_part<'a>(node: &Node<'a>) -> Result<Part<'a>, Refusal> {
    let cache = read_cache(node)?;
    let inner = |name: &str| node.object(name)?.ok_or_else(|| node.wrong(name, "is required"));
    let media = match node.required("type")?.as_ref() {
        "text" => return Ok(Part::Text { text: node.required("text")?, cache }),
        "refusal" => return Ok(Part::Refusal(node.required("refusal")?)),
        "image_url" => read_image(node)?,
        "input_audio" => read_audio(&inner("input_audio")?)?,
        "file" => read_file(&inner("file")?)?,
        _ => return Err(node.wrong("type", UNKNOWN)),
    };
    Ok(Part::Media { media, cache })
}

/// An image; some clients give its address without an object around it.
fn read_image<'a>(node: &Node<'a>) -> Result<Media<'a>, Refusal> {
    let of = |source, detail| Media { kind: MediaKind::Image, source, name: None, detail };
    if node.given("image_url").is_some_and(|json| json.starts_with('"')) {
        return Ok(of(read_url(node.required("image_url")?, node, "image_url")?, None));
    }
    let image = node.object("image_url")?.ok_or_else(|| node.wrong("image_url", "is required"))?;
    Ok(of(read_url(image.required("url")?, &image, "url")?, image.owned("detail")?))
}

fn read_assistant<'a>(node: &Node<'a>) -> Result<Vec<Part<'a>>, Refusal> {
    for name in ["function_call", "audio"] {
        if node.given(name).is_some() {
            return Err(node.wrong(name, UNKNOWN));
        }
    }
    let mut parts: Vec<Part<'a>> = thoughts(node).into_iter().map(Part::Thinking).collect();
    let said = read_content(node)?.into_iter();
    parts.extend(said.filter(|part| !matches!(part, Part::Text { text, .. } if text.is_empty())));
    if let Some(refusal) = node.text("refusal")?.filter(|refusal| !refusal.is_empty()) {
        parts.push(Part::Refusal(refusal));
    }
    for call in node.nodes("tool_calls")? {
        let (kind, name, arguments) = match call.text("type")?.as_deref() {
            None | Some("function") => (ToolKind::Function, "function", "arguments"),
            Some("custom") => (ToolKind::Custom, "custom", "input"),
            Some(_) => return Err(call.wrong("type", UNKNOWN)),
        };
        let function = call.object(name)?.ok_or_else(|| call.wrong(name, "is required"))?;
        parts.push(Part::Call(ToolCall {
            id: call.required("id")?.into_owned(),
            name: function.required("name")?.into_owned(),
            arguments: function.owned(arguments)?.unwrap_or_default(),
            signature: call_signature(&call),
            form: Form { kind, namespace: None },
        }));
    }
    Ok(parts)
}

/// Gemini's proof of a call, where its own endpoint for clients of OpenAI has it.
pub fn call_signature(call: &Node<'_>) -> Option<String> {
    let google = call.object("extra_content").ok()??.object("google").ok()??;
    Some(google.words("thought_signature")).filter(|signature| !signature.is_empty())
}

/// Whose a detail is: by the gateway's own mark, else by OpenRouter's word for the form of its proof.
pub fn maker_of(detail: &Node<'_>) -> Option<Maker> {
    let (id, format) = (detail.words("id"), detail.words("format"));
    read_token(&id).map(|(maker, _)| maker).or_else(|| Maker::of_format(&format))
}

/// The thoughts of a message or a delta: `reasoning_details` with their proofs, else the words alone.
pub fn thoughts(node: &Node<'_>) -> Vec<Thinking> {
    let mut thoughts: Vec<Thinking> = Vec::new();
    // Texts in a row are one thought, until its proof ends it.
    let mut open: Option<String> = None;
    for detail in node.nodes("reasoning_details").unwrap_or_default() {
        let text = detail.words("text") + &detail.words("summary");
        let signature = Some(detail.words("signature")).filter(|signature| !signature.is_empty());
        let redacted = Some(detail.words("data")).filter(|data| !data.is_empty());
        let index = detail.given("index").unwrap_or_default().to_owned();
        match thoughts.last_mut() {
            Some(last) if redacted.is_none() && open.as_ref() == Some(&index) => {
                last.text.push_str(&text);
                last.signature.clone_from(&signature);
            }
            _ if text.is_empty() && signature.is_none() && redacted.is_none() => continue,
            _ => {
                let maker = maker_of(&detail);
                thoughts.push(Thinking { text, signature: signature.clone(), redacted: redacted.clone(), maker });
            }
        }
        open = (signature.is_none() && redacted.is_none()).then_some(index);
    }
    if thoughts.iter().all(|thought| thought.text.is_empty()) {
        let words = ["reasoning_content", "reasoning"].into_iter().map(|name| node.words(name));
        if let Some(text) = words.into_iter().find(|text| !text.is_empty()) {
            match thoughts.first_mut().filter(|first| first.redacted.is_none()) {
                Some(first) => first.text = text,
                None => thoughts.insert(0, Thinking { text, ..Thinking::default() }),
            }
        }
    }
    thoughts
}

/// The words of `content` in an answer, which Mistral also gives as a list of texts and thoughts.
pub fn said_in(node: &Node<'_>) -> Vec<Part<'static>> {
    let text = |text: String| Part::Text { text: Cow::Owned(text), cache: None };
    let Some(json) = node.given("content") else { return Vec::new() };
    if let Some(said) = text_of(json) {
        return if said.is_empty() { Vec::new() } else { vec![text(said.into_owned())] };
    }
    let mut parts = Vec::new();
    for part in items(json).unwrap_or_default().into_iter().filter_map(|json| Node::parse(json, String::new()).ok()) {
        let inner = part.nodes("thinking").unwrap_or_default();
        if !inner.is_empty() {
            let words: String = inner.iter().map(|thought| thought.words("text")).collect();
            parts.push(Part::Thinking(Thinking { text: words, ..Thinking::default() }));
        } else if part.given("text").is_some() {
            parts.push(text(part.words("text")));
        }
    }
    parts
}
