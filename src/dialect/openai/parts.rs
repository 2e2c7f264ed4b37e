//! What requests of chat completions and of responses have in common: media, cache marks, tools, numbers.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::out::Out;
use crate::dialect::body::Body;
use crate::dialect::conversation::{
    Cache, Conversation, Media, MediaKind, OutputFormat, Part, Role, Sampling, Source, Text, Tool, ToolChoice,
};
use crate::dialect::envelope::Envelope;
use crate::dialect::format::{Dropped, Upstream};
use crate::dialect::node::Node;
use crate::refusal::Refusal;
use crate::usage::Class;

/// Notes which writes to a cache a request may ask for.
pub fn read_cache_needs(body: &Body<'_>, envelope: &mut Envelope) {
    if body.mentions("cache_control") {
        envelope.need(Class::CacheWrite);
        if body.mentions("ttl") && body.has_text("1h") {
            envelope.need(Class::CacheWrite1h);
        }
    }
}

/// Reads `cache_control`, which clients of OpenRouter and LiteLLM write for Claude.
pub fn read_cache(node: &Node<'_>) -> Result<Option<Cache>, Refusal> {
    let Some(control) = node.object("cache_control")? else { return Ok(None) };
    if control.required("type")? != "ephemeral" {
        return Err(control.wrong("type", "must be `ephemeral`"));
    }
    match control.text("ttl")?.as_deref() {
        None | Some("5m") => Ok(Some(Cache::FiveMinutes)),
        Some("1h") => Ok(Some(Cache::Hour)),
        Some(_) => Err(control.wrong("ttl", "must be `5m` or `1h`")),
    }
}

/// Where something embedded is: in a data URL, or at an address.
pub fn read_url<'a>(url: Text<'a>, node: &Node<'a>, name: &str) -> Result<Source<'a>, Refusal> {
    if let Some(rest) = url.strip_prefix("data:") {
        let Some((head, _)) = rest.split_once(";base64,") else {
            return Err(node.wrong(name, "is a data URL that is not in base64"));
        };
        let media_type = head.split(';').next().unwrap_or_default().to_owned();
        let at = "data:".len().saturating_add(head.len()).saturating_add(";base64,".len());
        let data = match url {
            Cow::Borrowed(url) => Cow::Borrowed(url.get(at..).unwrap_or_default()),
            Cow::Owned(mut url) => Cow::Owned(url.split_off(at)),
        };
        return Ok(Source::Base64 { media_type, data });
    }
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(Source::Url(url));
    }
    Err(node.wrong(name, "must be a data URL or an address"))
}

/// A sound: `data` and its `format`.
pub fn read_audio<'a>(node: &Node<'a>) -> Result<Media<'a>, Refusal> {
    let format = node.required("format")?;
    if format.is_empty() || !format.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(node.wrong("format", "must be the name of a format, such as `wav` or `mp3`"));
    }
    let media_type = if format == "mp3" { "audio/mpeg".to_owned() } else { format!("audio/{format}") };
    let source = Source::Base64 { media_type, data: node.required("data")? };
    Ok(Media { kind: MediaKind::Audio, source, name: None, detail: None })
}

/// A file: `file_data`, `file_url` or `file_id`, and its name.
pub fn read_file<'a>(node: &Node<'a>) -> Result<Media<'a>, Refusal> {
    let source = match (node.text("file_data")?, node.text("file_url")?, node.owned("file_id")?) {
        (Some(data), ..) if data.starts_with("data:") || data.starts_with("http") => read_url(data, node, "file_data")?,
        (Some(data), ..) => Source::Base64 { media_type: "application/pdf".to_owned(), data },
        (None, Some(url), _) => read_url(url, node, "file_url")?,
        (None, None, Some(id)) => Source::Id(id),
        (None, None, None) => return Err(node.wrong("file_data", "is required")),
    };
    Ok(Media { kind: MediaKind::File, source, name: node.owned("filename")?, detail: None })
}

/// A function, from the object that has its name.
pub fn read_tool<'a>(node: &Node<'a>, cache: Option<Cache>) -> Result<Tool<'a>, Refusal> {
    let schema = node.object("parameters")?.and_then(|_| node.given("parameters"));
    Ok(Tool {
        name: node.required("name")?.into_owned(),
        description: node.text("description")?,
        schema: schema.map(Cow::Borrowed),
        strict: node.flag("strict")?,
        cache,
        ..Tool::default()
    })
}

/// The name of a function, in either form.
fn read_tool_name(node: &Node<'_>) -> Result<String, Refusal> {
    let kind = node.required("type")?;
    if kind == "local_shell" || kind == "tool_search" {
        return Ok(kind.into_owned());
    }
    if kind != "function" && kind != "custom" {
        return Err(node.wrong("type", "must be `function`: other tools have no counterpart with the provider of this model"));
    }
    let name = match node.object(&kind)? {
        Some(function) => function.required("name")?,
        None => node.required("name")?,
    };
    Ok(name.into_owned())
}

/// Reads `tool_choice`. Allowed tools have a counterpart if they are all there are, or if there is one that must be called.
pub fn read_tool_choice(root: &Node<'_>, tools: &[Tool<'_>]) -> Result<Option<ToolChoice>, Refusal> {
    let name = "tool_choice";
    let Some(json) = root.given(name) else { return Ok(None) };
    let mode = |text: &str| match text {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "required" | "any" => Some(ToolChoice::Required),
        _ => None,
    };
    if json.starts_with('"') {
        let text = root.required(name)?;
        return mode(&text).map(Some).ok_or_else(|| root.wrong(name, "must be `auto`, `none`, `required` or an object"));
    }
    let node = Node::parse(json, root.at(name))?;
    if node.required("type")? != "allowed_tools" {
        return Ok(Some(ToolChoice::Named(read_tool_name(&node)?)));
    }
    let allowed = node.object("allowed_tools")?.unwrap_or(node);
    let names: BTreeSet<String> = allowed.nodes("tools")?.iter().map(read_tool_name).collect::<Result<_, _>>()?;
    let choice = mode(&allowed.required("mode")?).ok_or_else(|| allowed.wrong("mode", "must be `auto` or `required`"))?;
    match (names.first().filter(|_| names.len() == 1), &choice) {
        (Some(only), ToolChoice::Required) => Ok(Some(ToolChoice::Named(only.clone()))),
        _ if tools.iter().all(|tool| names.contains(&tool.name)) => Ok(Some(choice)),
        _ => Err(root.wrong(name, "allows some of the tools only, which the provider of this model cannot be told")),
    }
}

/// Reads `json_schema`, or the flat form of it.
pub fn read_schema<'a>(node: &Node<'a>) -> Result<OutputFormat<'a>, Refusal> {
    let schema = node.object("schema")?.and_then(|_| node.given("schema"));
    Ok(OutputFormat::Schema {
        name: node.owned("name")?,
        description: node.owned("description")?,
        schema: schema.map(Cow::Borrowed).ok_or_else(|| node.wrong("schema", "is required and must be an object"))?,
        strict: node.flag("strict")?,
    })
}

/// Reads the numbers that steer the choice of tokens.
pub fn read_sampling<'a>(root: &Node<'a>) -> Result<Sampling<'a>, Refusal> {
    Ok(Sampling {
        temperature: root.number("temperature")?,
        top_p: root.number("top_p")?,
        top_k: root.number("top_k")?,
        seed: root.number("seed")?,
        presence_penalty: root.number("presence_penalty")?,
        frequency_penalty: root.number("frequency_penalty")?,
    })
}

/// Adds a part to the turn of a role: to the last one if it is of that role and `joins` likes its last part, else to a new one.
pub fn push<'a>(conversation: &mut Conversation<'a>, role: Role, part: Part<'a>, joins: fn(&Part<'a>) -> bool) {
    if let Some(last) = conversation.messages.last_mut()
        && last.role == role
        && last.parts.last().is_some_and(joins)
    {
        return last.parts.push(part);
    }
    conversation.messages.push(crate::dialect::conversation::Message { role, parts: vec![part] });
}

/// A refusal of what the conversation has and this dialect has not.
pub fn no_counterpart(name: &str, what: &str) -> Refusal {
    Refusal::invalid(name, format!("The provider of this model speaks OpenAI's dialect, which has no {what}."))
}

/// Writes where an image or a file is, as a URL.
pub fn write_url(out: &mut Out, name: &str, media: &Media<'_>) -> Result<(), Refusal> {
    match &media.source {
        Source::Base64 { media_type, data } => out.name(name).string(&["data:", media_type, ";base64,", data]),
        Source::Url(url) => out.text(name, url),
        Source::Id(_) => return Err(no_counterpart("file_id", "files of another provider")),
    };
    Ok(())
}

/// The name that a file must have.
pub fn file_name(media: &Media<'_>) -> String {
    let by_type = match &media.source {
        Source::Base64 { media_type, .. } if media_type == "application/pdf" => "document.pdf",
        Source::Base64 { media_type, .. } if media_type.starts_with("text/") => "document.txt",
        _ => "document",
    };
    media.name.clone().unwrap_or_else(|| by_type.to_owned())
}

/// Writes the object of a sound.
pub fn write_audio(out: &mut Out, media: &Media<'_>) -> Result<(), Refusal> {
    let Source::Base64 { media_type, data } = &media.source else {
        return Err(no_counterpart("input_audio", "sounds by address"));
    };
    let format = match media_type.strip_prefix("audio/").unwrap_or(media_type) {
        "mpeg" | "mp3" | "mpga" => "mp3",
        "wav" | "x-wav" | "wave" | "vnd.wave" => "wav",
        other => other,
    };
    out.open_at("input_audio").text("data", data).text("format", format).close();
    Ok(())
}

/// Writes whether tools may be called, and several at once. Without tools, OpenAI knows neither.
pub fn write_tool_choice(out: &mut Out, conversation: &Conversation<'_>, named: fn(&mut Out, &str)) -> Result<(), Refusal> {
    let choice = conversation.tool_choice.as_ref();
    if conversation.tools.is_empty() {
        return match choice {
            Some(ToolChoice::Required | ToolChoice::Named(_)) => {
                Err(Refusal::invalid("tool_choice", "A call is asked for, and there are no tools."))
            }
            _ => Ok(()),
        };
    }
    match choice {
        None => {}
        Some(ToolChoice::Auto) => _ = out.text("tool_choice", "auto"),
        Some(ToolChoice::None) => _ = out.text("tool_choice", "none"),
        Some(ToolChoice::Required) => _ = out.text("tool_choice", "required"),
        Some(ToolChoice::Named(name)) => named(out, name),
    }
    out.maybe_flag("parallel_tool_calls", conversation.parallel_calls);
    Ok(())
}

/// Writes the members of a function.
pub fn write_tool(out: &mut Out, tool: &Tool<'_>) {
    out.text("name", &tool.name).maybe_text("description", tool.description.as_deref());
    out.maybe("parameters", tool.schema.as_deref());
}

/// Writes the members of a JSON Schema for the answer, which must have a name.
pub fn write_schema(out: &mut Out, format: &OutputFormat<'_>) {
    if let OutputFormat::Schema { name, description, schema, strict } = format {
        out.text("name", name.as_deref().unwrap_or("answer")).maybe_text("description", description.as_deref());
        out.member("schema", schema).maybe_flag("strict", *strict);
    }
}

/// About how long a conversation is when it is written.
fn length(conversation: &Conversation<'_>) -> usize {
    /// For what stands around each part.
    const AROUND: usize = 128;
    let of_media = |media: &Media<'_>| match &media.source {
        Source::Base64 { data, .. } => data.len(),
        Source::Url(url) => url.len(),
        Source::Id(_) => 0,
    };
    let of_inner = |part: &Part<'_>| match part {
        Part::Text { text, .. } | Part::Refusal(text) => text.len(),
        Part::Media { media, .. } => of_media(media),
        Part::Call(call) => call.arguments.len(),
        Part::Thinking(_) | Part::Result(_) => 0,
    };
    let of_part = |part: &Part<'_>| match part {
        Part::Result(result) => result.parts.iter().map(of_inner).fold(0, usize::saturating_add),
        other => of_inner(other),
    };
    let parts = conversation.messages.iter().flat_map(|message| &message.parts).chain(&conversation.system);
    let said = parts.map(|part| of_part(part).saturating_add(AROUND)).fold(0, usize::saturating_add);
    let schemas = conversation.tools.iter().map(|tool| tool.schema.as_ref().map_or(0, |schema| schema.len()));
    said.saturating_add(schemas.fold(0, usize::saturating_add)).saturating_add(4_096)
}

/// Begins a request.
pub fn write_head(conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Out {
    let mut out = Out::object_for(length(conversation));
    out.text("model", upstream.model);
    if upstream.stream {
        out.member("stream", "true");
    }
    out
}

/// Names what was asked of a provider's cache, which OpenAI's keeps by itself.
pub fn drop_caches(conversation: &Conversation<'_>, dropped: &mut Dropped) {
    let of_part = |part: &Part<'_>| match part {
        Part::Text { cache, .. } | Part::Media { cache, .. } => cache.is_some(),
        Part::Result(result) => {
            let of_inner =
                |part: &Part<'_>| matches!(part, Part::Text { cache: Some(_), .. } | Part::Media { cache: Some(_), .. });
            result.cache.is_some() || result.parts.iter().any(of_inner)
        }
        _ => false,
    };
    let parts = conversation.messages.iter().flat_map(|message| &message.parts).chain(&conversation.system);
    if parts.into_iter().any(of_part) || conversation.tools.iter().any(|tool| tool.cache.is_some()) {
        dropped.note("cache_control");
    }
}
