//! The catalogue: what is sold. Buckets, channels, and models with their routes, prices and candidates.
//!
//! What always holds: a [`Catalog`] was checked as a whole when it was made by [`Catalog::parse`]; every name that it mentions
//! exists, every alias leads to one model, every price is in range. It is looked up afterwards and never checked again.
//!
//! Deliberately absent: balances, health, and any way to change a catalogue in place. A new version replaces it.

mod announced;
pub mod bounds;
mod bucket;
mod check;
mod diff;
mod hosts;
mod labels;
mod names;
mod origins;
mod price;
mod public;
mod raw;
pub mod secrets;

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use url::Url;

pub use announced::{Announcement, Published, Standing};
pub use check::Fault;
pub use diff::{Change, ChangeKind, changes};
pub use origins::Origins;
pub use public::{Named, replaced};

use crate::id::{BucketId, ChannelId, ModelName, SecretName};
use crate::money::{Money, Price};

/// One checked version of the catalogue.
#[derive(Debug)]
pub struct Catalog {
    /// Raised by every publication.
    pub version: u64,
    /// The balances that accounts have.
    pub buckets: BTreeMap<BucketId, Bucket>,
    /// The upstreams.
    pub channels: BTreeMap<ChannelId, Rc<Channel>>,
    /// The models by public name.
    pub models: BTreeMap<ModelName, Rc<Model>>,
    /// What a stream that upstream cut short costs.
    pub upstream_cut: CutPolicy,
    /// The sites whose pages may call with any key.
    pub browser_origins: Origins,
    /// How long a hold lives without a sign of life of its request, in milliseconds.
    pub hold_timeout_ms: i64,
    /// No limit that is fitted to a balance is below so many tokens.
    pub output_floor_tokens: u64,
    aliases: BTreeMap<ModelName, ModelName>,
    folded: names::Folded,
}

/// Which addresses a channel may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamHosts {
    /// Only `https` and public hosts.
    Public,
    /// Also `http` and this machine or its network; for development.
    Any,
}

impl Catalog {
    /// Reads and checks the whole document; answers every fault with its path, not only the first.
    pub fn parse(json: &str, hosts: UpstreamHosts) -> Result<Self, Vec<Fault>> {
        check::catalog(json, hosts)
    }

    /// The same catalogue under another version.
    #[must_use]
    pub fn with_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// The model of this name or alias; else the only one that it can be in another case, with its provider before it, or with a
    /// date that a candidate of it has upstream.
    pub fn model(&self, name: &str) -> Option<&Rc<Model>> {
        let exact = ModelName::parse(name).and_then(|name| self.models.get(self.aliases.get(&name).unwrap_or(&name)));
        exact.or_else(|| self.models.get(self.folded.find(name, |model, dated| self.is_upstream(model, dated))?))
    }

    /// Whether a candidate of a model has this name upstream, and its channel lets that be known.
    fn is_upstream(&self, model: &ModelName, name: &str) -> bool {
        let routes = self.models.get(model).map(|model| model.routes.as_slice()).unwrap_or_default();
        let mut candidates = routes.iter().flat_map(|route| &route.candidates);
        candidates.any(|candidate| {
            candidate.upstream_model.eq_ignore_ascii_case(name) && self.shows_upstream(candidate.channel.as_str())
        })
    }

    /// The channel of a candidate; the check made sure that it exists.
    pub fn channel(&self, id: &ChannelId) -> Option<&Rc<Channel>> {
        self.channels.get(id)
    }

    /// Public names that look like `name`, nearest first, at most three. What is longer than any name is near to none.
    pub fn near_names(&self, name: &str) -> Vec<String> {
        if !names::is_short(name) {
            return Vec::new();
        }
        let undated = self.folded.without_date(name);
        let mut near: Vec<(f64, &ModelName)> = self
            .models
            .keys()
            .chain(self.aliases.keys())
            .map(|known| (strsim::jaro_winkler(name, known.as_str()), known))
            .collect();
        near.retain(|(score, _)| *score > 0.75);
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let near = near.into_iter().map(|(_, name)| name).filter(|name| Some(*name) != undated);
        undated.into_iter().chain(near).take(3).map(ToString::to_string).collect()
    }
}

/// A balance that accounts have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// What people call it.
    pub label: String,
    /// ISO 4217.
    pub currency: String,
    /// About how much a unit of it is worth in US dollars. Prices are compared by it where people look at them, and nothing is
    /// ever charged by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<Money>,
    /// Where people add to it, if there is such a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_up_url: Option<String>,
}

impl Bucket {
    /// About how much a unit is worth in US dollars; none where nobody says.
    pub fn worth(&self) -> Option<Money> {
        self.usd.or_else(|| Money::parse("1").ok().filter(|_| self.currency == "USD"))
    }
}

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

/// What becomes of an output limit that the balance has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// It is fitted to the balance.
    #[default]
    Balance,
    /// The request is refused.
    Never,
}

impl Fit {
    /// Reads `balance` or `never`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "balance" => Some(Self::Balance),
            "never" => Some(Self::Never),
            _ => None,
        }
    }

    /// Whether it is what holds where nobody says anything.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[serde(rename_all = "snake_case")]
pub enum ReasoningTokens {
    /// Reasoning is a part of the completion.
    Inside,
    /// Reasoning stands beside the completion.
    Outside,
}

/// What happens upstream when the client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnClientGone {
    /// The call is cancelled; right where that stops the provider's bill.
    Cancel,
    /// The answer is read to its end for its usage; right where the provider bills it anyway.
    Drain,
}

/// The field of a chat request that limits its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a stream that upstream cut short costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutPolicy {
    /// Nothing.
    #[default]
    Free,
    /// What arrived.
    Usage,
}

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
    const fn default_tokens(self) -> (Option<u64>, Option<u64>) {
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
