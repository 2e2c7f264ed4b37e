//! Items of conversations as JSON texts with commas between them, and the events of an answer.

use crate::dialect::json::{Object, items, text_of};
use crate::dialect::node::Node;
use crate::dialect::openai::out::Out;
use crate::dialect::sse;

/// What an item is.
pub fn kind_of(item: &str) -> Option<String> {
    Object::parse(item).and_then(|item| item.get("type")).and_then(text_of).map(std::borrow::Cow::into_owned)
}

/// Whether a provider that keeps nothing can be sent an item of its own again. A thought that it has neither kept nor encrypted
/// it does not know; the gateway's own thoughts have ids made of the response's.
pub fn can_return(item: &str, response: &str) -> bool {
    let Some(item) = Object::parse(item) else { return false };
    let node = Node::root(&item);
    let is_own = !response.is_empty() && node.words("id").contains(response);
    node.words("type") != "reasoning" || is_own || !node.words("encrypted_content").is_empty()
}

/// The items of an input, with commas between them.
pub fn new_items(json: &str) -> Option<String> {
    if json.starts_with('"') {
        let mut message = Out::object();
        message.text("type", "message").text("role", "user").list_at("content");
        message.open().text("type", "input_text").member("text", json).close().end_list();
        return Some(message.done());
    }
    items(json)?;
    json.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).map(|inner| inner.trim().to_owned())
}

/// The items of both.
pub fn joined(before: &str, after: &str) -> String {
    let comma = if before.is_empty() || after.is_empty() { "" } else { "," };
    format!("{before}{comma}{after}")
}

/// Cuts an answer's bytes into the data of its events.
#[derive(Debug, Default)]
pub struct Cutter(sse::SseReader);

impl Cutter {
    /// The events that are whole with these bytes. An event that cannot be read ends them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.push(bytes);
        let mut found = Vec::new();
        while let Ok(Some(event)) = self.0.next_event() {
            if let sse::Event::Data(data) = event {
                found.push(data.data);
            }
        }
        found
    }
}
