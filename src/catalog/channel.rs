//! Channels: the upstreams that can be called, and what is known of each.

use serde::{Deserialize, Serialize};
use url::Url;

use super::model::ModelKind;
use crate::id::{ChannelId, SecretName};
use crate::money::Money;

/// One upstream that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its name in the catalogue.
    pub id: ChannelId,
    /// What customers call it; without one they see an alias.
    pub label: Option<String>,
    /// Whether customers see the ids that models have on it.
    pub shows_upstream_models: bool,
    /// The wire format that it speaks.
    pub dialect: Dialect,
    /// Where it is, without a slash at the end.
    pub base_url: Url,
    /// The host, where the operator says that it is meant although it looks like a private one.
    pub allow_host: Option<String>,
    /// The Worker secrets that hold its credentials, each named once.
    pub secrets: Vec<SecretName>,
    /// How long its first byte may take, in milliseconds.
    pub first_byte_timeout_ms: u32,
    /// How long it may be silent in a stream, in milliseconds.
    pub idle_timeout_ms: u32,
    /// What happens upstream when the client leaves.
    pub on_client_gone: OnClientGone,
    /// The only field by which it limits output, where it knows only one of the two.
    pub output_limit_field: Option<OutputLimitField>,
    /// Whether it serves OpenAI's responses itself; others get them as chat.
    pub responses: bool,
    /// Whether it is asked for the usage of a stream by `stream_options`; some refuse a request that has it, and tell usage
    /// anyway.
    pub stream_usage: bool,
    /// Where its reasoning tokens are; none is as the totals of its usage tell.
    pub reasoning_tokens: Option<ReasoningTokens>,
    /// Which thoughts of earlier turns go up with a conversation; none is as the model's id upstream tells.
    pub thoughts: Option<Thoughts>,
    /// Whether tools that nobody here knows go up: the operator says that they cost tokens alone.
    pub unknown_tools: bool,
    /// What probes of its candidates may cost in a day, in the currency of each bucket; nothing is no calls.
    pub probe_daily_cap: Money,
}

/// Which thoughts of earlier turns a channel gets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Thoughts {
    /// Those that it made.
    #[default]
    Own,
    /// In chat completions the words of everybody's, and a blank for a turn that has none: some providers refuse such turns.
    All,
    /// None: some refuse the field.
    None,
}

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// OpenAI's, and everyone's who is compatible.
    Openai,
    /// Anthropic's messages.
    Anthropic,
    /// Gemini's contents.
    Gemini,
    /// Cohere's, for rerank only.
    Cohere,
}

impl Dialect {
    /// As in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Cohere => "cohere",
        }
    }

    /// Whether models of this kind can be called in it.
    pub const fn serves(self, kind: ModelKind) -> bool {
        match self {
            Self::Openai => true,
            Self::Anthropic | Self::Gemini => matches!(kind, ModelKind::Chat),
            Self::Cohere => matches!(kind, ModelKind::Rerank),
        }
    }
}

/// Whether a channel counts reasoning within its completion tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReasoningTokens {
    /// Reasoning is a part of the completion.
    Inside,
    /// Reasoning stands beside the completion.
    Outside,
}

/// What happens upstream when the client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnClientGone {
    /// The call is cancelled; right where that stops the provider's bill.
    Cancel,
    /// The answer is read to its end for its usage; right where the provider bills it anyway.
    Drain,
}

/// The field of a chat request that limits its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum OutputLimitField {
    MaxTokens,
    MaxCompletionTokens,
}

impl OutputLimitField {
    /// The field's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}
