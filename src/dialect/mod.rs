//! Dialects: wire formats, bytes in and bytes out.
//!
//! What always holds: a body that stays in its dialect is never re-encoded. It is parsed for what must be known, and only the
//! members that must change are spliced; numbers, unknown fields and odd white space pass byte for byte.
//!
//! Deliberately absent: prices, routes and accounts.

pub mod anthropic;
mod body;
pub mod cohere;
mod endpoint;
mod envelope;
mod form;
pub mod format;
pub mod gemini;
#[cfg(test)]
mod hostile;
mod json;
pub mod meter;
pub mod openai;
mod request;
mod sse;
mod talk;
pub mod tally;
pub mod tokens;

pub use endpoint::{Called, Endpoint, Way};
pub use json::{Edit, Object, quoted};
pub use request::{Request, Sent};

use crate::catalog::Dialect;
use crate::id::RequestId;
use crate::refusal::Refusal;

/// A header that a dialect's servers insist on, with what they are told where the client says nothing.
pub const fn required_header(dialect: Dialect) -> Option<(&'static str, &'static str)> {
    match dialect {
        Dialect::Anthropic => Some(("anthropic-version", "2023-06-01")),
        _ => None,
    }
}

/// A refusal in the envelope of a dialect. `receipt` is the request's id, where it has a receipt.
pub fn write_error(dialect: Dialect, refusal: &Refusal, receipt: Option<&RequestId>) -> String {
    let endpoint = match dialect {
        Dialect::Openai | Dialect::Cohere => Endpoint::Chat,
        Dialect::Anthropic => Endpoint::Messages,
        Dialect::Gemini => Endpoint::Generate,
    };
    endpoint.format().write_error(refusal, receipt)
}
