//! Going through what a request has: what is taken, what is left out and named, and what no other dialect has.
//!
//! What always holds: what is left out is named, and what is not known is refused.

use crate::dialect::format::{Dropped, UNKNOWN};
use crate::dialect::node::Node;
use crate::refusal::Refusal;

/// Goes through the names of an object: some are taken, hints are dropped, and nothing else may be there.
pub fn sift(object: &Node<'_>, taken: &[&str], hints: &[&str], dropped: &mut Dropped) -> Result<(), Refusal> {
    for name in object.names() {
        if hints.contains(&name) {
            dropped.note(name);
        } else if !taken.contains(&name) {
            return Err(object.wrong(name, UNKNOWN));
        }
    }
    Ok(())
}
