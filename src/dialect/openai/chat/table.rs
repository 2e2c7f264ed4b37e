//! The members of a request of chat completions.

use crate::dialect::format::UNKNOWN;
use crate::dialect::openai::chat::members::SERVICE_TIERS;
use crate::dialect::table::{Fate, OWN, Row, Table, dropped, mapped, own, refused};

const LEGACY: &str = "is the legacy form of `tools` and `tool_choice`; use those";

const ROWS: &[Row] = &[
    own("stream_options").decides(),
    own("usage"),
    mapped("messages").decides(),
    mapped("tools").decides(),
    mapped("tool_choice"),
    mapped("parallel_tool_calls"),
    mapped("response_format"),
    mapped("modalities").decides(),
    mapped("max_tokens").decides(),
    mapped("max_completion_tokens").decides(),
    mapped("n").decides(),
    mapped("temperature"),
    mapped("top_p"),
    mapped("top_k"),
    mapped("seed"),
    mapped("presence_penalty"),
    mapped("frequency_penalty"),
    mapped("stop"),
    mapped("logprobs").decides(),
    mapped("top_logprobs").decides(),
    mapped("reasoning_effort"),
    mapped("reasoning"),
    mapped("include_reasoning"),
    mapped("user"),
    dropped("verbosity"),
    dropped("metadata"),
    dropped("store"),
    dropped("service_tier").priced(&SERVICE_TIERS),
    dropped("prediction"),
    dropped("logit_bias"),
    dropped("prompt_cache_key"),
    dropped("safety_identifier"),
    refused("functions", LEGACY),
    refused("function_call", LEGACY),
    refused("audio", MORE_THAN_TEXT),
    // Searches of OpenAI, OpenRouter and xAI.
    refused("web_search_options", UNKNOWN).priced(&[]),
    dropped("plugins").priced(&["[]"]),
    refused("search_parameters", UNKNOWN).priced(&[]),
    // Alibaba's.
    dropped("enable_search").priced(&["false"]),
];

/// Why a request for sound is refused.
pub const MORE_THAN_TEXT: &str = "asks for more than text, which the provider of this model does not answer with here";

pub const TABLE: Table = Table { own: &OWN, rows: ROWS, others: Fate::Dropped };
