//! Models: their kinds, their routes, and who can serve these.

use serde::{Deserialize, Serialize};

use crate::id::{BucketId, ChannelId, ModelName};
use crate::money::Price;

/// A model under its public name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What a client asks for.
    pub id: ModelName,
    /// What people call it.
    pub name: String,
    /// Such as `gpt` or `claude`.
    pub family: String,
    /// What it does.
    pub kind: ModelKind,
    /// Tokens of input and output together; of one input, where a request may have many.
    pub context_length: u64,
    /// Tokens of output; 0 where the answer has none.
    pub max_output_tokens: u64,
    /// Other names for it.
    pub aliases: Vec<ModelName>,
    /// How it is served, at most one route of each kind.
    pub routes: Vec<Route>,
}

impl Model {
    /// Its route of this kind.
    pub fn route(&self, kind: RouteKind) -> Option<&Route> {
        self.routes.iter().find(|route| route.kind == kind)
    }
}

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Kind"))]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Text from messages.
    Chat,
    /// Vectors from text.
    Embedding,
    /// What is objectionable in text and images.
    Moderation,
    /// Images from text and images.
    Image,
    /// Audio from text.
    Speech,
    /// Text from audio.
    Transcription,
    /// Documents by relevance.
    Rerank,
}

impl ModelKind {
    /// As in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embedding => "embedding",
            Self::Moderation => "moderation",
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Rerank => "rerank",
        }
    }

    /// The endpoint that serves it; where there are several, the first to try.
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Embedding => "/v1/embeddings",
            Self::Moderation => "/v1/moderations",
            Self::Image => "/v1/images/generations",
            Self::Speech => "/v1/audio/speech",
            Self::Transcription => "/v1/audio/transcriptions",
            Self::Rerank => "/v1/rerank",
        }
    }

    /// What a first call has beside the model, in JSON; empty where it is a form. Pages show it, and whether a model can be
    /// called is said by it.
    pub const fn first_call(self) -> &'static str {
        match self {
            Self::Chat => r#""messages": [{"role": "user", "content": "Hello"}]"#,
            Self::Embedding | Self::Moderation => r#""input": "Hello""#,
            Self::Image => r#""prompt": "A lighthouse at dawn""#,
            Self::Speech => r#""input": "Hello", "voice": "alloy""#,
            Self::Transcription => "",
            Self::Rerank => r#""query": "coast", "documents": ["A lighthouse", "A mill"]"#,
        }
    }

    /// `context_length` and `max_output_tokens` where the catalogue names none. None where it has to: they decide what a
    /// request can cost. Where documents or audio come in any number, the context is larger than any of today's models has.
    pub(super) const fn default_tokens(self) -> (Option<u64>, Option<u64>) {
        match self {
            Self::Chat => (None, None),
            Self::Embedding => (None, Some(0)),
            Self::Moderation => (Some(32_768), Some(0)),
            Self::Image => (Some(65_536), Some(16_384)),
            Self::Speech => (Some(4_096), Some(0)),
            Self::Transcription => (Some(131_072), Some(16_384)),
            Self::Rerank => (Some(1_000_000), Some(0)),
        }
    }
}

/// How a route is served and settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Route"))]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// The provider's own service.
    Official,
    /// A lower-cost way to it.
    Routed,
}

impl RouteKind {
    /// Reads `official` or `routed`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "official" => Some(Self::Official),
            "routed" => Some(Self::Routed),
            _ => None,
        }
    }

    /// As in requests, headers and receipts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::Routed => "routed",
        }
    }
}

/// One way to serve a model: who pays, at which price, over which candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Official or routed.
    pub kind: RouteKind,
    /// The balance that pays.
    pub bucket: BucketId,
    /// What it costs; without one it is not sold.
    pub price: Option<Price>,
    /// Who can serve it, by tier.
    pub candidates: Vec<Candidate>,
}

/// A channel with the model's id there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The channel.
    pub channel: ChannelId,
    /// The model's id on that channel.
    pub upstream_model: String,
    /// 0 is primary, higher are backups.
    pub tier: u8,
    /// Its share among those of its tier.
    pub weight: u32,
}
