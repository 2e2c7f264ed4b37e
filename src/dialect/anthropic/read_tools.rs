//! The tools of a request of this dialect, read for a channel of another.
//!
//! Carried over: functions with their schema; the tools that Anthropic describes and the client runs (a shell, an editor, a memory,
//! a screen), as functions of what Anthropic's documentation says that they take.
//!
//! Dropped and named: a web search that is only offered beside such tools, the provider's search for tools (all are described
//! instead), and what describes a function beyond its schema (`tools[].defer_loading` and the like).
//!
//! Refused with the path: a web search that is all there is or is insisted on, and every other tool.

use serde_json::json;

use super::members::cache;
use super::tools::{is_forced, is_function};
use crate::dialect::conversation::{Conversation, Tool};
use crate::dialect::format::{Dropped, UNKNOWN};
use crate::dialect::node::Node;
use crate::refusal::Refusal;

/// Members of a function that are read.
const KNOWN: [&str; 6] = ["type", "name", "description", "input_schema", "strict", "cache_control"];

/// Reads `tools`.
pub fn read<'a>(root: &Node<'a>, conversation: &mut Conversation<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let mut offered = None;
    for tool in root.nodes("tools")? {
        match tool.maybe_text("type").as_deref() {
            kind if is_function(kind) => conversation.tools.push(function(&tool, dropped)?),
            Some(kind) if kind.starts_with("web_search_") => offered = Some(tool),
            Some(kind) if kind.starts_with("tool_search_tool_") => dropped.note("tools[].tool_search"),
            kind => match kind.and_then(described) {
                Some((about, schema)) => conversation.tools.push(Tool {
                    name: tool.words("name"),
                    description: Some(about.into()),
                    schema: Some(schema.into()),
                    cache: cache(&tool),
                    ..Tool::default()
                }),
                None => return Err(tool.wrong("type", UNKNOWN)),
            },
        }
    }
    if let Some(search) = offered {
        let choice = root.object("tool_choice").ok().flatten();
        if conversation.tools.is_empty() || is_forced(choice.and_then(|choice| choice.maybe_text("type")).as_deref()) {
            return Err(search.wrong("type", UNKNOWN));
        }
        dropped.note(&search.at("web_search"));
    }
    Ok(())
}

fn function<'a>(tool: &Node<'a>, dropped: &mut Dropped) -> Result<Tool<'a>, Refusal> {
    let name = Some(tool.words("name")).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| tool.wrong("name", "is required"))?;
    for name in tool.names().filter(|name| !KNOWN.contains(name)) {
        dropped.note(&format!("tools[].{name}"));
    }
    let strict = tool.given("strict").map(|json| json == "true");
    let schema = tool.given("input_schema").map(Into::into);
    Ok(Tool { name, description: tool.maybe_text("description"), schema, strict, cache: cache(tool), ..Tool::default() })
}

/// What a tool is for and takes that the client runs and Anthropic's models know without a description
/// (<https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview>).
fn described(kind: &str) -> Option<(&'static str, String)> {
    let text = || json!({"type": "string"});
    let place = || json!({"type": "array", "items": {"type": "integer"}, "description": "x and y, in pixels"});
    let lines = || json!({"type": "array", "items": {"type": "integer"}, "description": "first and last line, from 1"});
    let (about, properties, required) = match kind.split('_').next()? {
        "bash" => (
            "Runs a command in a shell that stays open between calls, and answers with its output.",
            json!({"command": text(), "restart": {"type": "boolean", "description": "starts the shell anew"}}),
            json!([]),
        ),
        "text" => (
            "Shows, makes and changes files. `command` is one of `view`, `create`, `str_replace` (replaces `old_str`, which must \
             stand there once, by `new_str`) and `insert` (puts `insert_text` behind the line `insert_line`).",
            json!({
                "command": text(), "path": text(), "file_text": text(), "old_str": text(), "new_str": text(),
                "insert_line": {"type": "integer"}, "insert_text": text(), "view_range": lines(),
            }),
            json!(["command", "path"]),
        ),
        "memory" => (
            "Keeps files under `/memories` from one conversation to the next. `command` is one of `view`, `create`, \
             `str_replace`, `insert`, `delete` and `rename`.",
            json!({
                "command": text(), "path": text(), "file_text": text(), "old_str": text(), "new_str": text(),
                "insert_line": {"type": "integer"}, "insert_text": text(), "view_range": lines(), "old_path": text(),
                "new_path": text(),
            }),
            json!(["command"]),
        ),
        "computer" => (
            "Looks at a screen and uses mouse and keyboard. `action` is one of `screenshot`, `left_click`, `right_click`, \
             `middle_click`, `double_click`, `triple_click`, `mouse_move`, `left_click_drag`, `left_mouse_down`, `left_mouse_up`, \
             `scroll`, `type`, `key`, `hold_key`, `wait` and `zoom`.",
            json!({
                "action": text(), "coordinate": place(), "start_coordinate": place(), "text": text(), "scroll_direction": text(),
                "scroll_amount": {"type": "integer"}, "duration": {"type": "number"}, "region": place(),
            }),
            json!(["action"]),
        ),
        _ => return None,
    };
    Some((about, json!({"type": "object", "properties": properties, "required": required}).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::json::Object;

    /// Each tool's name, and whether it has a schema.
    type Told = Vec<(String, bool)>;

    fn tools(json: &str) -> Result<(Told, Dropped), Refusal> {
        let text = format!("{{\"tools\":{json}}}");
        let (mut conversation, mut dropped) = (Conversation::default(), Dropped::default());
        read(&Node::root(&Object::parse(&text).unwrap()), &mut conversation, &mut dropped)?;
        Ok((conversation.tools.into_iter().map(|tool| (tool.name, tool.schema.is_some())).collect(), dropped))
    }

    #[test]
    fn what_the_client_runs_becomes_a_function() {
        let own = r#"[{"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728","name":"str_replace_based_edit_tool"},
            {"type":"memory_20250818","name":"memory"},{"type":"computer_20251124","name":"computer","display_width_px":1}]"#;
        let (read, dropped) = tools(own).unwrap();
        let names: Vec<&str> = read.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["bash", "str_replace_based_edit_tool", "memory", "computer"]);
        assert!(read.iter().all(|(_, has_schema)| *has_schema) && dropped.is_empty());
    }

    #[test]
    fn a_search_of_the_provider_may_be_missing_where_it_is_only_offered() {
        let search = r#"{"type":"web_search_20250305","name":"web_search","max_uses":5}"#;
        let (read, dropped) = tools(&format!(
            r#"[{{"name":"f","defer_loading":true}},{search},{{"type":"tool_search_tool_regex_20251119","name":"t"}}]"#
        ))
        .unwrap();
        assert_eq!(
            (read.len(), &*dropped),
            (
                1,
                ["tools[].defer_loading".to_owned(), "tools[].tool_search".to_owned(), "tools[1].web_search".to_owned()]
                    .as_slice()
            )
        );
        assert_eq!(tools(&format!("[{search}]")).unwrap_err().param.as_deref(), Some("tools[0].type"));
        assert_eq!(
            tools(r#"[{"type":"code_execution_20250825","name":"c"}]"#).unwrap_err().param.as_deref(),
            Some("tools[0].type")
        );
    }
}
