//! The items of a request's input, read into a conversation.

use std::borrow::Cow;

use super::compact::item::{is_compaction, read_item};
use super::kept::kept_elsewhere;
use super::thought::read_thought;
use crate::dialect::conversation::{
    CallResult, Conversation, Form, Media, MediaKind, Message, Part, Role, Source, Thinking, ToolCall, ToolKind,
};
use crate::dialect::format::{Dropped, UNKNOWN};
use crate::dialect::node::Node;
use crate::dialect::openai::chat::call_signature;
use crate::dialect::openai::parts::{push, read_audio, read_cache, read_file, read_url};
use crate::refusal::Refusal;

/// What a provider's own tools did in earlier turns. Its words are in the answers that follow; the rest is of no use to another.
const DONE_ELSEWHERE: [&str; 9] = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "image_generation_call",
    "ghost_snapshot",
];

/// Reads an item.
pub fn read<'a>(item: &Node<'a>, conversation: &mut Conversation<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let kind = item.text("type")?;
    match kind.as_deref() {
        None | Some("message") => read_message(item, conversation)?,
        Some("function_call") => {
            let form = Form { kind: ToolKind::Function, namespace: item.owned("namespace")? };
            let arguments = item.owned("arguments")?.unwrap_or_default();
            push_call(item, conversation, (item.required("name")?, form), arguments)?;
        }
        Some("custom_tool_call") => {
            let form = Form { kind: ToolKind::Custom, namespace: item.owned("namespace")? };
            push_call(item, conversation, (item.required("name")?, form), item.owned("input")?.unwrap_or_default())?;
        }
        Some("tool_search_call") => {
            let form = Form { kind: ToolKind::Search, namespace: None };
            let arguments = item.given("arguments").filter(|json| json.starts_with('{')).unwrap_or("{}");
            push_call(item, conversation, ("tool_search".into(), form), arguments.to_owned())?;
        }
        Some("local_shell_call") => {
            let form = Form { kind: ToolKind::Shell, namespace: None };
            let action = item.given("action").filter(|json| json.starts_with('{')).unwrap_or("{}");
            push_call(item, conversation, ("local_shell".into(), form), action.to_owned())?;
        }
        // Some programs tell the model news in the form of a result that nobody called for.
        Some("function_call_output") if item.given("call_id").is_none() && item.given("name").is_some() => {
            let text = format!("{}:", item.words("name"));
            let mut parts = vec![Part::Text { text: text.into(), cache: None }];
            parts.extend(contents(item, "output")?);
            conversation.messages.push(Message { role: Role::User, parts });
        }
        Some("function_call_output" | "custom_tool_call_output" | "local_shell_call_output") => {
            push_result(item, conversation, contents(item, "output")?)?;
        }
        Some("tool_search_output") => {
            // The tools themselves are offered with the others.
            let names: Vec<String> = item.nodes("tools")?.iter().map(|tool| tool.words("name")).collect();
            let text = match names.is_empty() {
                true => "No tools were found.".to_owned(),
                false => format!("These tools can be called now: {}.", names.join(", ")),
            };
            push_result(item, conversation, vec![Part::Text { text: text.into(), cache: None }])?;
        }
        Some("reasoning") => {
            for thought in [read_thought(item)].into_iter().filter(|thought| *thought != Thinking::default()) {
                push(conversation, Role::Assistant, Part::Thinking(thought), |_| true);
            }
        }
        Some(kind) if is_compaction(kind) => read_item(item, conversation),
        // Asked for behind the input.
        Some("additional_tools" | "compaction_trigger") => {}
        Some("item_reference") => return Err(kept_elsewhere(&item.at("id"))),
        Some(kind) if DONE_ELSEWHERE.contains(&kind) => dropped.note(&format!("input[].{kind}")),
        Some(_) => return Err(item.wrong("type", UNKNOWN)),
    }
    Ok(())
}

/// The id that pairs a call with its result; some items have only one of their own.
fn pair_id<'a>(item: &Node<'a>) -> Result<Cow<'a, str>, Refusal> {
    match item.text("call_id")? {
        Some(id) => Ok(id),
        None => item.text("id")?.ok_or_else(|| item.wrong("call_id", "is required and must be a string")),
    }
}

fn push_call<'a>(
    item: &Node<'a>,
    conversation: &mut Conversation<'a>,
    (name, form): (Cow<'_, str>, Form),
    arguments: String,
) -> Result<(), Refusal> {
    let (id, signature) = (pair_id(item)?.into_owned(), call_signature(item));
    let call = ToolCall { id, name: name.into_owned(), arguments, signature, form };
    push(conversation, Role::Assistant, Part::Call(call), |_| true);
    Ok(())
}

fn push_result<'a>(item: &Node<'a>, conversation: &mut Conversation<'a>, parts: Vec<Part<'a>>) -> Result<(), Refusal> {
    let result = CallResult { id: pair_id(item)?.into_owned(), parts, is_error: false, cache: read_cache(item)? };
    push(conversation, Role::User, Part::Result(result), |last| matches!(last, Part::Result(_)));
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
    match item.given(name) {
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
