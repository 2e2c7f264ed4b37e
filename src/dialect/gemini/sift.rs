//! Going through what a request has: what is taken, what is left out and named, and what no other dialect has.
//!
//! What always holds: what is left out is named, and what is not known is refused.

use super::wire::{Members, join};
use crate::dialect::format::drop_named;
use crate::refusal::Refusal;

/// A refusal of what no other dialect has.
pub fn no_counterpart(path: &str) -> Refusal {
    Refusal::invalid(path, format!("`{path}` has no counterpart at the provider that serves this model, and cannot be left out."))
}

/// Reads, and remembers what was left out.
#[derive(Default)]
pub struct RequestReader {
    /// Names of what was left out.
    pub dropped: Vec<String>,
}

impl RequestReader {
    /// Notes that something is left out.
    pub fn drop(&mut self, name: &str) {
        drop_named(&mut self.dropped, name);
    }

    /// Goes through the names of an object: some are taken, hints are dropped, and nothing else may be there.
    pub fn sift(&mut self, object: &Members<'_>, path: &str, taken: &[&str], hints: &[&str]) -> Result<(), Refusal> {
        for name in object.names() {
            if hints.contains(&name) {
                self.drop(name);
            } else if !taken.contains(&name) {
                return Err(no_counterpart(&join(path, name)));
            }
        }
        Ok(())
    }
}
