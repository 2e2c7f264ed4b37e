//! Tools that the provider runs itself: which of them have a price, and are bounded.

use super::members::no_price;
use crate::dialect::envelope::{Envelope, Fields};
use crate::dialect::json::{Edit, ItemChange, Object, changed_list, items, may_have};
use crate::refusal::Refusal;
use crate::usage::Class;

/// More searches in one request than this are a typing error.
const MOST_SEARCHES: u64 = 1_000;
/// Tools that the client runs; their types end in a date.
const CLIENT_TOOLS: [&str; 5] = ["bash_", "text_editor_", "computer_", "memory_", "browser_"];
/// So many times a provider reads the conversation again for its own tools before it gives the turn back
/// (<https://docs.claude.com/en/api/handling-stop-reasons>, `pause_turn`).
const MOST_ROUNDS: u64 = 10;
/// Tools that the provider runs for nothing but the tokens.
const FREE_TOOLS: [&str; 2] = ["web_fetch_", "tool_search_tool_"];

/// The provider's searches, which have a price.
const SEARCH: &str = "web_search_";
/// So many of them are allowed where the client sets no bound.
const USUAL_SEARCHES: u64 = 4;
/// Tools of the provider that cost more than tokens, or that nobody can bound.
const COSTLY_TOOLS: [&str; 3] = ["code_execution_", "advisor_", "mcp_toolset"];

/// Whether a tool is a plain function, described by the client.
pub fn is_function(kind: Option<&str>) -> bool {
    matches!(kind, None | Some("custom"))
}

/// Whether a call of some tool is forced by this type of `tool_choice`.
pub fn is_forced(choice: Option<&str>) -> bool {
    matches!(choice, Some("any" | "tool"))
}

/// Notes searches, and refuses tools whose cost cannot be told before.
pub fn check(object: &Object<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    let Some(json) = object.given("tools") else { return Ok(()) };
    let wrong = || Refusal::invalid("tools", "`tools` must be a list of tools.");
    let (mut has_own, mut has_others) = (false, false);
    for (at, json) in items(json).ok_or_else(wrong)?.into_iter().enumerate() {
        let tool = Object::parse(json).ok_or_else(wrong)?;
        if let Some(name) = tool.unclear(&["type", "max_uses"]) {
            let param = format!("tools[{at}].{name}");
            return Err(Refusal::invalid(&param, format!("`{param}` must stand there once, in lower case.")));
        }
        let kind = tool.maybe_text("type");
        let kind = kind.as_deref();
        let starts = |prefixes: &[&str]| kind.is_some_and(|kind| prefixes.iter().any(|prefix| kind.starts_with(prefix)));
        if is_function(kind) || starts(&CLIENT_TOOLS) {
            has_own = true;
            continue;
        }
        if starts(&COSTLY_TOOLS) {
            return Err(no_price(&format!("tools[{at}].type")));
        }
        if !starts(&FREE_TOOLS) && !starts(&[SEARCH]) {
            envelope.unknown_tool.get_or_insert(format!("tools[{at}].type"));
            continue;
        }
        // What comes back goes in again, beside what the client sent.
        envelope.rounds = MOST_ROUNDS;
        if starts(&[SEARCH]) {
            let param = format!("tools[{at}].max_uses");
            let uses = Fields(&tool).count("max_uses", MOST_SEARCHES).map_err(|refusal| refusal.param(&param))?;
            envelope.searches = envelope.searches.saturating_add(uses.unwrap_or(USUAL_SEARCHES));
            envelope.need(Class::Searches);
        } else {
            has_others = true;
        }
    }
    let choice = object.given("tool_choice").and_then(Object::parse);
    let is_forced = is_forced(choice.and_then(|choice| choice.maybe_text("type")).as_deref());
    envelope.is_hosted_offered = envelope.searches > 0 && has_own && !has_others && !is_forced;
    Ok(())
}

/// What must change in the tools of a request that passes: searches that have no price are left out, and those without a bound
/// get one.
pub fn edit(request: &Object<'_>, leaves_out_hosted: bool) -> Option<Edit> {
    let tools = request.get("tools").filter(|json| may_have(json, SEARCH))?;
    let changed = changed_list(tools, |json| {
        let tool = Object::parse(json);
        let is_search = |tool: &Object<'_>| tool.maybe_text("type").is_some_and(|kind| kind.starts_with(SEARCH));
        match tool.filter(is_search) {
            Some(_) if leaves_out_hosted => ItemChange::Drop,
            Some(tool) if tool.given("max_uses").is_none() => {
                ItemChange::Replace(tool.edited(&[Edit::Set("max_uses", USUAL_SEARCHES.to_string())]))
            }
            _ => ItemChange::Keep,
        }
    });
    changed.map(|json| Edit::Set("tools", json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_gets_a_bound_or_is_left_out() {
        let edited = |tools: &str, leaves_out| {
            let text = format!("{{\"tools\": {tools} }}");
            let object = Object::parse(&text).unwrap();
            object.edited(&edit(&object, leaves_out).into_iter().collect::<Vec<_>>())
        };
        let (own, search) = (r#"{"name":"web_search_ of mine"}"#, r#"{"type":"web_search_20250305", "name":"web_search"}"#);
        let bounded = search.replace('}', ",\"max_uses\":4}");
        assert_eq!(edited(&format!("[{own}, {search}]"), false), format!("{{\"tools\": [{own},{bounded}] }}"));
        assert_eq!(edited(&format!("[{own}, {bounded}]"), false), format!("{{\"tools\": [{own}, {bounded}] }}"));
        assert_eq!(edited(&format!("[{own}, {bounded}]"), true), format!("{{\"tools\": [{own}] }}"));
    }
}
