//! The members of a request of responses.

use crate::dialect::openai::chat::SERVICE_TIERS;
use crate::dialect::table::{Fate, OWN, Row, Table, dropped, mapped, own, refused};

const KEPT: &str = "is kept by a provider that does not serve this model here";

const ROWS: &[Row] = &[
    own("stream_options").decides(),
    own("store"),
    mapped("input").decides(),
    mapped("instructions"),
    mapped("tools").decides(),
    mapped("tool_choice"),
    mapped("parallel_tool_calls"),
    mapped("text"),
    mapped("reasoning"),
    mapped("max_output_tokens").decides(),
    mapped("temperature"),
    mapped("top_p"),
    mapped("top_k"),
    mapped("seed"),
    mapped("presence_penalty"),
    mapped("frequency_penalty"),
    mapped("top_logprobs").decides(),
    mapped("include"),
    mapped("user"),
    // Nobody would be there for the usage at the end.
    mapped("background").priced(&["false"]),
    dropped("metadata"),
    dropped("service_tier").priced(&SERVICE_TIERS),
    dropped("truncation"),
    dropped("max_tool_calls").decides(),
    dropped("prompt_cache_key"),
    dropped("safety_identifier"),
    refused("previous_response_id", KEPT).decides(),
    refused("conversation", KEPT).decides(),
    refused("prompt", KEPT).decides(),
];

pub const TABLE: Table = Table { own: &OWN, rows: ROWS, others: Fate::Dropped };
