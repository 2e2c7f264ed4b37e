//! Dialects: wire formats, bytes in and bytes out.
//!
//! What always holds: a body that stays in its dialect is never re-encoded. It is parsed for what must be known, and only the
//! members that must change are spliced; numbers, unknown fields and odd white space pass byte for byte.
//!
//! Deliberately absent: prices, routes and accounts.

pub mod anthropic;
mod arguments;
mod body;
pub mod bounds;
pub mod bridge;
pub mod cohere;
pub mod condition;
mod conversation;
pub mod discreet;
mod dropped;
mod endpoint;
mod envelope;
mod exchange;
pub mod fit;
mod form;
pub mod format;
pub mod gemini;
pub mod hidden;
mod host_names;
#[cfg(test)]
mod hostile;
mod hosts;
mod json;
pub mod listing;
pub mod maker;
pub mod mend;
pub mod meter;
mod naming;
#[cfg(test)]
mod naming_tests;
mod node;
mod objects;
pub mod openai;
mod prefix;
pub mod probe_request;
pub mod proof;
mod request;
mod scan;
#[cfg(test)]
mod session_properties;
mod sse;
#[cfg(test)]
mod stream_properties;
pub mod stream_state;
mod strict;
mod table;
pub mod tokens;
mod told;
mod waits;
#[cfg(test)]
mod work;

pub use endpoint::{Endpoint, EndpointPath, Way};
pub use envelope::Envelope;
pub use json::{Edit, Object, quoted};
pub use request::{Request, Sent};

use crate::catalog::Dialect;
use crate::dialect::format::UpstreamError;
use crate::id::RequestId;
use crate::refusal::Refusal;

/// A header that a dialect's servers insist on, with what they are told where the client says nothing.
pub const fn required_header(dialect: Dialect) -> Option<(&'static str, &'static str)> {
    match dialect {
        Dialect::Anthropic => Some(("anthropic-version", "2023-06-01")),
        _ => None,
    }
}

/// Reads the body of an error of a dialect's server; what is not its envelope gets words of ours.
pub fn read_error(dialect: Dialect, body: &str) -> UpstreamError {
    match dialect {
        Dialect::Openai => openai::read_error(body),
        Dialect::Anthropic => anthropic::read_error(body),
        Dialect::Gemini => gemini::read_error(body),
        Dialect::Cohere => cohere::read_error(body),
    }
}

/// The HTTP status of a refusal for a dialect's clients.
pub fn error_status(dialect: Dialect, refusal: &Refusal) -> u16 {
    match dialect {
        Dialect::Anthropic => anthropic::error_status(refusal),
        _ => refusal.status(),
    }
}

/// A refusal in the envelope that a dialect's clients know. `receipt` is the request's id, where it has a receipt.
pub fn write_error(dialect: Dialect, refusal: &Refusal, receipt: Option<&RequestId>) -> String {
    match dialect {
        // Cohere's clients are OpenAI's here.
        Dialect::Openai | Dialect::Cohere => openai::error_body(refusal, receipt),
        Dialect::Anthropic => anthropic::error_body(refusal, receipt),
        Dialect::Gemini => gemini::write_error(refusal, receipt),
    }
}
