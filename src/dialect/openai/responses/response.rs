//! What is read of a whole response, and what changes in it, plain or within an event.

use super::owned::Tagging;
use crate::dialect::format::{Cost, Counting, StreamWish};
use crate::dialect::json::{Edit, Object, quoted};
use crate::dialect::naming::Names;
use crate::dialect::node::Node;
use crate::dialect::openai::{misplaced_error, read_response_usage, response_usage_with_cost};
use crate::usage::Usage;

/// Whether an answer is one that came to its end; an error says what it is instead.
pub fn whole(root: &Node<'_>) -> Result<(), String> {
    if let Some(error) = root.given("error") {
        return Err(misplaced_error(error));
    }
    if !root.given("output").is_some_and(|output| output.starts_with('[')) {
        return Err("an answer without output".to_owned());
    }
    match root.words("status").as_str() {
        "" | "completed" | "incomplete" => Ok(()),
        "failed" | "cancelled" | "queued" | "in_progress" => Err("an answer that did not come to its end".to_owned()),
        _ => Err("an answer of an unknown status".to_owned()),
    }
}

/// Why a response ended, in OpenAI's words.
pub fn finish_reason(response: &Node<'_>) -> String {
    let details = response.object("incomplete_details").ok().flatten();
    let reason = details.map(|details| details.words("reason")).filter(|reason| !reason.is_empty());
    reason.unwrap_or_else(|| "completed".to_owned())
}

/// Reads the usage of a response, with the searches that its output tells of.
pub fn read_usage(response: &Node<'_>, json: &str, counting: Counting) -> Option<Usage> {
    let usage = read_response_usage(json, counting)?;
    let is_search = |item: &Node<'_>| {
        // Pages that are opened cost their tokens alone.
        let action = item.object("action").ok().flatten().map(|action| action.words("type"));
        item.words("type") == "web_search_call" && action.is_none_or(|action| action == "search")
    };
    let has_searches = response.given("output").is_some_and(|output| output.contains("web_search_call"));
    let items = if has_searches { response.nodes("output").unwrap_or_default() } else { Vec::new() };
    let searches = u64::try_from(items.iter().filter(|item| is_search(item)).count()).unwrap_or(u64::MAX);
    Some(Usage { searches, ..usage })
}

/// The usage of a response with its cost.
pub fn priced_usage(response: &Object<'_>, usage: &Usage, cost: &Cost) -> Edit {
    let upstream = response.get("usage").filter(|json| read_response_usage(json, Counting::default()).is_some());
    Edit::Set("usage", response_usage_with_cost(upstream, usage, cost))
}

/// What must change in a response, plain or within an event: its names, where its id says who made it, too; and the response
/// before it, which is told as the client named it.
pub fn named(response: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
    let text = |name| response.maybe_text(name);
    let mut edits = Names::new("resp_", wish).edits(response);
    if let (Some(tag), Some(id)) = (&wish.tag, text("id")) {
        edits.retain(|edit| edit.name() != "id");
        edits.push(Edit::Set("id", quoted(&tag(&id))));
    }
    edits.extend(Tagging::new(wish.tag_item.clone()).response(response));
    let previous = wish.previous.as_deref().filter(|_| text("previous_response_id").is_some());
    edits.extend(previous.map(|id| Edit::Set("previous_response_id", quoted(id))));
    edits
}
