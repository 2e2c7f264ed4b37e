//! Tools that the provider runs itself: which of them have a price, and are bounded.

use super::{no_price, wire};
use crate::dialect::envelope::{Envelope, Fields};
use crate::dialect::json::Object;
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

/// Whether a tool is a plain function, described by the client.
pub fn is_function(kind: Option<&str>) -> bool {
    matches!(kind, None | Some("custom"))
}

/// Notes searches, and refuses tools whose cost cannot be told before.
pub fn check(object: &Object<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    let Some(json) = wire::given(object, "tools") else { return Ok(()) };
    let wrong = || Refusal::invalid("tools", "`tools` must be a list of tools.");
    for (at, json) in wire::list(json).ok_or_else(wrong)?.into_iter().enumerate() {
        let tool = Object::parse(json).ok_or_else(wrong)?;
        if let Some(name) = tool.unclear(&["type", "max_uses"]) {
            let param = format!("tools[{at}].{name}");
            return Err(Refusal::invalid(&param, format!("`{param}` must stand there once, in lower case.")));
        }
        let kind = wire::member(&tool, "type");
        let kind = kind.as_deref();
        let starts = |prefixes: &[&str]| kind.is_some_and(|kind| prefixes.iter().any(|prefix| kind.starts_with(prefix)));
        if is_function(kind) || starts(&CLIENT_TOOLS) {
            continue;
        }
        // What comes back goes in again, beside what the client sent.
        envelope.has_media = true;
        envelope.rounds = MOST_ROUNDS;
        if starts(&["web_search_"]) {
            let param = format!("tools[{at}].max_uses");
            let uses = Fields(&tool).count("max_uses", MOST_SEARCHES).map_err(|refusal| refusal.param(&param))?;
            let uses = uses.ok_or_else(|| {
                Refusal::invalid(
                    &param,
                    format!("`{param}` is required, so that the searches can be priced before they are made."),
                )
            })?;
            envelope.searches = envelope.searches.saturating_add(uses);
            envelope.need(Class::Searches);
        } else if !starts(&FREE_TOOLS) {
            return Err(no_price(&format!("tools[{at}].type")));
        }
    }
    Ok(())
}
