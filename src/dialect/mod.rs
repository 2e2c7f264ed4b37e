//! Dialects: wire formats, bytes in and bytes out.
//!
//! What always holds: a body that stays in its dialect is never re-encoded. It is parsed for what must be known, and only the
//! members that must change are spliced; numbers, unknown fields and odd white space pass byte for byte.
//!
//! Deliberately absent: prices, routes and accounts.

pub mod envelope;
pub mod json;
pub mod meter;
pub mod openai;
pub mod sse;

/// A token is about this many bytes of text, where nothing better is known.
const BYTES_PER_TOKEN: u64 = 4;

/// How many tokens so many bytes of text may be; rounds up.
pub const fn estimated_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}
