//! A response that is a compaction, written whole or as a stream.

use super::item::item;
use crate::dialect::conversation::{Answer, Delta, Finish, Part};
use crate::dialect::format::{Cost, StreamWish, Writer};
use crate::dialect::openai::response_usage_with_cost;
use crate::dialect::openai::responses::answer::{ResponseHead, ResponseStatus};
use crate::dialect::openai::responses::writer::ResponsesWriter;
use crate::usage::Usage;

/// After so many bytes of a summary that the client does not see, it gets a sign of life.
const QUIET_BYTES: usize = 2_048;

/// Stands for a summary that the model did not give: it was asked for one and paid for.
pub const NO_SUMMARY: &str = "No summary was made of the conversation before this point.";

/// The words of an answer that is a summary.
pub fn words(answer: &Answer) -> String {
    let parts = answer.choices.first().map(|choice| choice.parts.as_slice()).unwrap_or_default();
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text { text, .. } => Some(text.as_ref()),
        _ => None,
    });
    let said = texts.collect::<Vec<_>>().join("\n\n").trim().to_owned();
    if said.is_empty() { NO_SUMMARY.to_owned() } else { said }
}

/// A response that is a compaction.
pub fn write(answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
    let head = ResponseHead::new(&answer.id, &answer.model, wish);
    let usage = response_usage_with_cost(None, usage, cost);
    head.response(ResponseStatus::Completed, &[item(&head.item("cmp", 0), &words(answer))], Some(&usage))
}

/// A stream that ends in a compaction.
pub struct CompactWriter {
    inner: ResponsesWriter,
    summary: String,
    /// Bytes since the last sign of life.
    quiet: usize,
}

impl CompactWriter {
    /// A stream for such a wish.
    pub fn new(wish: StreamWish) -> Self {
        Self { inner: ResponsesWriter::new(wish), summary: String::new(), quiet: 0 }
    }
}

impl Writer for CompactWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Start { .. } | Delta::Finish { .. } => self.inner.delta(delta, out),
            Delta::Text { choice: 0, text } | Delta::Thinking { choice: 0, text } => {
                self.quiet = self.quiet.saturating_add(text.len());
                if self.quiet >= QUIET_BYTES {
                    self.quiet = 0;
                    self.inner.ping(out);
                }
                if matches!(delta, Delta::Text { .. }) {
                    self.summary.push_str(text);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, usage: &Usage, cost: &Cost, out: &mut Vec<u8>) {
        let summary = self.summary.trim();
        if summary.is_empty() {
            // Without the item the client keeps its conversation.
            self.inner.delta(&Delta::Finish { choice: 0, finish: Finish::Length }, out);
        } else {
            self.inner.whole("cmp", &|id| item(id, summary), out);
            self.inner.delta(&Delta::Finish { choice: 0, finish: Finish::Stop }, out);
        }
        self.inner.finish(usage, cost, out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        self.inner.ping(out);
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.inner.broken(code, message, out);
    }
}
