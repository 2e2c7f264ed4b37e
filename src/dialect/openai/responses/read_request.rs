//! A request of responses, read for a provider that has chat completions only, or speaks another dialect.
//!
//! What becomes of each member is in `table.rs`. What is in them:
//!
//! Mapped: `input` as a string or as items: messages of the roles user, assistant, system and developer with `input_text`,
//! `output_text`, `refusal`, `input_image`, `input_file` and `input_audio`; `function_call`, `custom_tool_call`,
//! `tool_search_call`, `local_shell_call` and their outputs; tools of `additional_tools` and `tool_search_output`;
//! `reasoning` with its `encrypted_content`; as `tools` what the client runs: functions, free text, groups of them, its search
//! for tools, its shell; `text.format`; `reasoning.effort` and whether a `summary` is wanted; compactions that the gateway made,
//! and the item `compaction_trigger`, which asks for one; log probabilities asked for by `include`. Instructions in the middle of
//! a conversation are put with those above it.
//!
//! Read by the gateway itself: items that are references to what it wrote.
//!
//! Dropped and named: `text.verbosity`, what else `include` asks for but encrypted thoughts, a web search that is offered beside
//! other tools, what tools of a provider did in earlier turns.
//!
//! Refused with its path: the item `item_reference` to what a provider wrote, because only the provider that keeps it knows what it
//! says; other tools that a provider runs, and tools that nobody knows; allowed tools that are only some of those there are;
//! unknown roles and unknown types of parts.

use super::compact::item;
use super::table::TABLE;
use super::{items, tools};
use crate::dialect::conversation::{Conversation, Effort, Message, OutputFormat, Part, Reasoning, Role};
use crate::dialect::format::{Dropped, Read, UNKNOWN};
use crate::dialect::json::Object;
use crate::dialect::node::Node;
use crate::dialect::openai::parts::{read_sampling, read_schema, read_tool_choice};
use crate::refusal::Refusal;

/// Reads a request.
pub fn read<'a>(request: &Object<'a>) -> Result<Read<'a>, Refusal> {
    let root = Node::root(request);
    let mut dropped = Dropped::default();
    TABLE.sift(&root, &mut dropped)?;
    if root.flag("background")?.unwrap_or(false) {
        return Err(root.wrong("background", UNKNOWN));
    }
    let mut conversation = Conversation { choices: 1, ..Conversation::default() };
    if let Some(text) = root.text("instructions")? {
        conversation.system.push(Part::Text { text, cache: None });
    }
    match root.given("input") {
        Some(json) if json.starts_with('"') => {
            let parts = vec![Part::Text { text: root.required("input")?, cache: None }];
            conversation.messages.push(Message { role: Role::User, parts });
        }
        _ => {
            for node in root.nodes("input")? {
                items::read(&node, &mut conversation, &mut dropped)?;
            }
        }
    }
    conversation.tools = tools::read(request, &mut dropped)?;
    item::name_foreign(&root, &mut dropped)?;
    conversation.tool_choice = read_tool_choice(&root, &conversation.tools)?;
    conversation.parallel_calls = root.flag("parallel_tool_calls")?;
    conversation.sampling = read_sampling(&root)?;
    conversation.output = read_output(&root, &mut dropped)?;
    conversation.reasoning = read_reasoning(&root, &mut dropped)?;
    conversation.logprobs = read_logprobs(&root, &mut dropped)?;
    conversation.user = root.owned("user")?;
    if root.given("input").is_some_and(item::is_asked) {
        item::ask(&mut conversation);
    }
    Ok(Read { conversation, dropped })
}

fn read_output<'a>(root: &Node<'a>, dropped: &mut Dropped) -> Result<OutputFormat<'a>, Refusal> {
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

fn read_reasoning(root: &Node<'_>, dropped: &mut Dropped) -> Result<Option<Reasoning>, Refusal> {
    let Some(node) = root.object("reasoning")? else { return Ok(None) };
    node.drop_others(&["effort", "summary", "generate_summary"], dropped);
    let effort = match node.text("effort")? {
        None => None,
        Some(text) => Some(Effort::parse(&text).ok_or_else(|| node.wrong("effort", "is not an effort"))?),
    };
    let is_shown = (node.given("summary").is_some() || node.given("generate_summary").is_some()).then_some(true);
    Ok(Some(Reasoning { effort, budget: None, is_shown }).filter(|reasoning| *reasoning != Reasoning::default()))
}

fn read_logprobs(root: &Node<'_>, dropped: &mut Dropped) -> Result<Option<u64>, Refusal> {
    let mut logprobs = root.count("top_logprobs")?.filter(|alternatives| *alternatives > 0);
    for wanted in root.texts("include")? {
        match wanted.as_str() {
            "message.output_text.logprobs" => logprobs = logprobs.or(Some(0)),
            // They are always given.
            "reasoning.encrypted_content" => {}
            _ => dropped.note("include"),
        }
    }
    Ok(logprobs)
}
