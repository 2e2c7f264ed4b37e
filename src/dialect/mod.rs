//! Dialects: wire formats, bytes in and bytes out.
//!
//! What always holds: a body that stays in its dialect is never re-encoded. It is parsed for what must be known, and only the
//! members that must change are spliced; numbers, unknown fields and odd white space pass byte for byte.
//!
//! Deliberately absent: prices, routes and accounts.

mod body;
pub mod cohere;
pub mod envelope;
pub mod form;
pub mod format;
pub mod json;
pub mod meter;
pub mod openai;
pub mod sse;
pub mod talk;
pub mod tally;
pub mod tokens;

pub use body::Body;
