//! What of a conversation says something to Anthropic, which refuses blocks of white space and thoughts that it cannot prove.

use crate::dialect::conversation::{Message, Part, Thinking};

/// Whether a part is worth a block.
pub fn says_something(part: &Part<'_>) -> bool {
    match part {
        Part::Text { text, .. } | Part::Refusal(text) => !text.trim().is_empty(),
        Part::Thinking(thinking) => is_provable(thinking),
        Part::Media { .. } | Part::Call(_) | Part::Result(_) => true,
    }
}

/// Whether Anthropic made a thought.
pub const fn is_provable(thinking: &Thinking) -> bool {
    thinking.signature.is_some() || thinking.redacted.is_some()
}

/// The messages that say something; what says nothing must not stand between two that are one.
pub fn said_by<'m, 'a>(messages: &'m [Message<'a>]) -> Vec<&'m Message<'a>> {
    messages.iter().filter(|message| message.parts.iter().any(says_something)).collect()
}
