//! Thoughts as items: what they say, their proof, and whose they are.

use std::borrow::Cow;

use crate::dialect::conversation::Thinking;
use crate::dialect::maker::Maker;
use crate::dialect::node::Node;

/// Stands between the id of a thought and the word for its maker.
pub const MAKER: &str = "_m";

/// Before what a provider encrypted as a whole, to tell it from the proof of a thought.
pub const REDACTED: &str = "redacted:";

/// What a `reasoning` item says: its summary, else its text.
pub fn read_thought(item: &Node<'_>) -> Thinking {
    let words = |name: &str| {
        let texts: Vec<String> = item.nodes(name).unwrap_or_default().iter().map(|part| part.words("text")).collect();
        texts.join("\n\n")
    };
    let summary = words("summary");
    let text = if summary.is_empty() { words("content") } else { summary };
    let encrypted: Option<Cow<'_, str>> = item.text("encrypted_content").ok().flatten().filter(|text| !text.is_empty());
    let (signature, redacted) = match encrypted.as_deref().map(|text| (text, text.strip_prefix(REDACTED))) {
        Some((_, Some(data))) => (None, Some(data.to_owned())),
        Some((signature, None)) => (Some(signature.to_owned()), None),
        None => (None, None),
    };
    Thinking { text, signature, redacted, maker: maker_in_id(&item.words("id")) }
}

/// Whose thought an item of the gateway's own is, by its id.
pub fn maker_in_id(id: &str) -> Option<Maker> {
    id.strip_prefix("rs_")?.rsplit_once(MAKER).and_then(|(_, word)| Maker::parse(word))
}
