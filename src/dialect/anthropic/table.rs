//! The members of a request of messages.

use crate::dialect::format::UNKNOWN;
use crate::dialect::table::{Fate, OWN, Row, Table, dropped, mapped, refused};

const ROWS: &[Row] = &[
    mapped("messages").decides(),
    mapped("system"),
    mapped("tools").decides(),
    mapped("tool_choice"),
    mapped("max_tokens").decides(),
    mapped("thinking").decides(),
    mapped("output_config"),
    mapped("output_format"),
    mapped("temperature"),
    mapped("top_p"),
    mapped("top_k"),
    mapped("stop_sequences"),
    mapped("metadata"),
    mapped("cache_control"),
    dropped("service_tier").priced(&["\"auto\"", "\"standard_only\""]),
    dropped("speed").priced(&["\"standard\""]),
    dropped("inference_geo").priced(&["\"global\""]),
    dropped("context_management").decides(),
    refused("container", UNKNOWN).decides(),
    // Each of these has a price of its own, or sends more than the client wrote.
    mapped("mcp_servers").priced(&["[]"]),
    dropped("fallbacks").priced(&["[]"]),
    dropped("fallback_credit_token").priced(&["[]"]),
    dropped("compaction").priced(&["[]"]),
    dropped("thread").priced(&["false"]),
];

pub const TABLE: Table = Table { own: &OWN, rows: ROWS, others: Fate::Dropped };
