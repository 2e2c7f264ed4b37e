//! The item that stands for a conversation that was made short, and how one is asked for.

use crate::dialect::conversation::{Conversation, Message, OutputFormat, Part, Role, ToolChoice};
use crate::dialect::format::Dropped;
use crate::dialect::json::{Object, items, may_have};
use crate::dialect::node::Node;
use crate::dialect::openai::out::Out;
use crate::refusal::Refusal;

/// Before a summary that the gateway had made.
pub const OWN: &str = "tf1.compact.";
/// The item that asks for a compaction.
const TRIGGER: &str = "compaction_trigger";
/// What the model is asked for.
pub const ASK: &str = "Stop working here. The conversation above is about to be replaced by a summary, and whoever goes on has that summary alone. \
Write it now, as plain text. Include: what the user asked for, in the user's own words where they matter, with every constraint and preference; \
what was done and decided, and why; the state of things now, with the exact names of files, functions, commands, identifiers and values that are needed again; \
errors that were met and what they led to; what is left to do, and the very next step. Leave out what nobody needs again. Do not call tools, \
do not address anybody, and write nothing before or after the summary.";

/// Before a summary in a conversation.
pub const PREFACE: &str = "The conversation before this was replaced by a summary of it:";

/// Whether the input of a response ends with the item that asks for a compaction.
pub fn is_asked(input: &str) -> bool {
    let kind =
        || items(input)?.last().and_then(|item| Object::parse(item))?.get("type").map(|kind| kind == "\"compaction_trigger\"");
    input.contains(TRIGGER) && kind().unwrap_or(false)
}

/// Makes a conversation one that asks for its own summary.
pub fn ask(conversation: &mut Conversation<'_>) {
    let parts = vec![Part::Text { text: ASK.into(), cache: None }];
    conversation.messages.push(Message { role: Role::User, parts });
    // The tools stay, since calls of them stand in the conversation.
    conversation.tool_choice = (!conversation.tools.is_empty()).then_some(ToolChoice::None);
    conversation.parallel_calls = None;
    conversation.output = OutputFormat::Text;
    conversation.logprobs = None;
}

/// Whether an item is a compaction, by the names that there are for it.
pub fn is_compaction(kind: &str) -> bool {
    matches!(kind, "compaction" | "compaction_summary")
}

/// The summary in an item of the gateway's own, as it stands in a conversation; none of another maker's.
fn summary(item: &Node<'_>) -> Option<String> {
    let content = item.text("encrypted_content").ok().flatten()?;
    content.strip_prefix(OWN).map(|summary| format!("{PREFACE}\n\n{summary}"))
}

/// Reads a compaction item. What cannot be read is named by [`name_foreign`].
pub fn read_item(item: &Node<'_>, conversation: &mut Conversation<'_>) {
    if let Some(text) = summary(item) {
        conversation.messages.push(Message { role: Role::User, parts: vec![Part::Text { text: text.into(), cache: None }] });
    }
}

/// Names the compactions of other makers, which are left out.
pub fn name_foreign(root: &Node<'_>, dropped: &mut Dropped) -> Result<(), Refusal> {
    if root.given("input").is_some_and(|input| input.starts_with('[') && input.contains("compaction")) {
        let is_foreign = |item: &Node<'_>| is_compaction(&item.words("type")) && summary(item).is_none();
        if root.nodes("input")?.iter().any(is_foreign) {
            dropped.note("input.compaction");
        }
    }
    Ok(())
}

/// An item of the input that is a compaction of the gateway's own, as the message that it stands for: no provider can read it.
pub fn own_as_message(item: &str) -> Option<String> {
    let object = Object::parse(item).filter(|_| may_have(item, OWN))?;
    let node = Node::root(&object);
    let text = Some(&node).filter(|node| is_compaction(&node.words("type"))).and_then(summary)?;
    let mut out = Out::object();
    out.text("type", "message").text("role", "user").list_at("content");
    out.open().text("type", "input_text").text("text", &text).close().end_list();
    Some(out.done())
}

/// An item with a summary.
pub fn item(id: &str, summary: &str) -> String {
    let mut item = Out::object();
    item.text("id", id).text("type", "compaction").name("encrypted_content").string(&[OWN, summary]);
    item.done()
}
