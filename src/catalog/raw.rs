//! The catalogue as JSON, before it is checked: every field may be missing or of the wrong type, and says so later.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::channel::{Dialect, OnClientGone, OutputLimitField, ReasoningTokens, Thoughts};
use super::model::ModelKind;
use super::origins::Origins;
use super::version::CutPolicy;

/// Time-outs, weights and counts beyond these are typing errors.
pub const MAX_TIMEOUT_MS: u32 = 3_600_000;
pub const MAX_WEIGHT: u32 = 10_000;
pub const MAX_TOKENS: u64 = 100_000_000;
pub const MAX_OUTPUT_FLOOR_TOKENS: u64 = 1_000_000;
pub const MAX_CANDIDATES: usize = 16;
pub const MAX_SECRETS: usize = 16;
/// In bytes.
pub const MAX_LABEL: usize = 64;

/// A value that was not of its type keeps the reason, so that one wrong field does not hide the others.
#[derive(Debug)]
pub enum Field<T> {
    /// As it should be.
    Read(T),
    /// What is wrong with it.
    Wrong(String),
}

#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<T>()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By way of text: reading types from text and from values would be every type's code twice.
        let text = Value::deserialize(deserializer)?.to_string();
        Ok(serde_json::from_str(&text).map_or_else(|error| Self::Wrong(reason(&error)), Self::Read))
    }
}

/// What is wrong, without the place in a text that nobody has seen.
pub fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.clone(), |(reason, _)| reason.to_owned())
}

pub type Optional<T> = Option<Field<T>>;
pub type Entries<T> = BTreeMap<String, Field<T>>;
/// A rate that is null is one that is missing.
pub type RawRates = BTreeMap<String, Optional<String>>;
/// Fields that the document has and the format does not.
pub type Unknown = BTreeMap<String, Value>;

/// The whole document.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("additionalProperties" = false)))]
pub struct Catalog {
    /// Its number; each one published is above the one before.
    #[cfg_attr(test, schemars(required))]
    pub version: Optional<u64>,
    /// The balances that accounts have.
    #[cfg_attr(test, schemars(required))]
    pub buckets: Optional<Entries<Bucket>>,
    /// The upstreams that can be called.
    #[cfg_attr(test, schemars(required))]
    pub channels: Optional<Entries<Channel>>,
    /// What is sold, by public name.
    #[cfg_attr(test, schemars(required))]
    pub models: Optional<Entries<Model>>,
    /// What is charged when something goes wrong.
    pub charge_policy: Optional<ChargePolicy>,
    /// How long a hold lives that nobody extends, in milliseconds.
    #[cfg_attr(test, schemars(range(min = 1, max = MAX_TIMEOUT_MS)))]
    pub hold_timeout_ms: Optional<u32>,
    /// Sites whose pages may call with any key.
    pub browser_origins: Optional<Origins>,
    /// The smallest limit that output is fitted to, in tokens.
    #[cfg_attr(test, schemars(range(min = 1, max = MAX_OUTPUT_FLOOR_TOKENS)))]
    pub output_floor_tokens: Optional<u64>,
    /// What the format does not have; a fault each.
    #[serde(flatten)]
    #[cfg_attr(test, schemars(skip))]
    pub unknown: Unknown,
}

/// A balance that accounts have.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CatalogBucket", extend("additionalProperties" = false)))]
pub struct Bucket {
    /// What people call it.
    #[cfg_attr(test, schemars(required))]
    pub label: Optional<String>,
    /// Of its amounts, in three capitals, such as `USD`.
    #[cfg_attr(test, schemars(required, regex(pattern = "^[A-Z]{3}$")))]
    pub currency: Optional<String>,
    /// What a unit of its currency is worth in US dollars, a decimal; to compare prices, never to convert.
    pub usd: Optional<String>,
    /// Where customers top it up, if not here.
    pub top_up_url: Optional<String>,
    #[serde(flatten)]
    #[cfg_attr(test, schemars(skip))]
    pub unknown: Unknown,
}

/// One upstream that can be called.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CatalogChannel", extend("additionalProperties" = false)))]
pub struct Channel {
    /// What customers call it; without one they see an alias.
    #[cfg_attr(test, schemars(length(max = MAX_LABEL)))]
    pub label: Optional<String>,
    /// Whether customers see the ids that models have on it.
    pub shows_upstream_models: Optional<bool>,
    /// The wire format that it speaks.
    #[cfg_attr(test, schemars(required))]
    pub dialect: Optional<Dialect>,
    /// Where it is, with `https`.
    #[cfg_attr(test, schemars(required))]
    pub base_url: Optional<String>,
    /// The host, where it is meant although it looks private.
    pub allow_host: Optional<String>,
    /// Names of the secrets that hold its credentials: those that begin with `UPSTREAM_` or stand in the variable UPSTREAM_SECRETS.
    // Of any type, so that no fault repeats what stands there: it may be a key.
    #[cfg_attr(test, schemars(with = "Vec<String>", required, length(min = 1, max = MAX_SECRETS), inner(regex(pattern = "^[A-Z][A-Z0-9_]{2,63}$"))))]
    pub secrets: Optional<Value>,
    /// How long its first byte may take, in milliseconds.
    #[cfg_attr(test, schemars(range(min = 1, max = MAX_TIMEOUT_MS)))]
    pub first_byte_timeout_ms: Optional<u32>,
    /// How long it may be silent in a stream, in milliseconds.
    #[cfg_attr(test, schemars(range(min = 1, max = MAX_TIMEOUT_MS)))]
    pub idle_timeout_ms: Optional<u32>,
    /// What happens upstream when the client leaves.
    pub on_client_gone: Optional<OnClientGone>,
    /// The only field by which it limits output, where it knows only one of the two.
    pub output_limit_field: Optional<OutputLimitField>,
    /// Whether it serves OpenAI's responses itself; others get them as chat.
    pub responses: Optional<bool>,
    /// Whether it is asked for the usage of a stream by `stream_options`.
    pub stream_usage: Optional<bool>,
    /// Where its reasoning tokens are; without it, as the totals of its usage tell.
    pub reasoning_tokens: Optional<ReasoningTokens>,
    /// Which thoughts of earlier turns go up with a conversation; without it, as the model's id upstream tells.
    pub thoughts: Optional<Thoughts>,
    /// Whether tools that nobody here knows go up: they cost tokens alone.
    pub unknown_tools: Optional<bool>,
    /// What probes of its candidates may cost in a day, in the currency of each bucket, a decimal; `0` is no calls.
    pub probe_daily_cap: Optional<String>,
    #[serde(flatten)]
    #[cfg_attr(test, schemars(skip))]
    pub unknown: Unknown,
}

/// A model under its public name.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CatalogModel", extend("additionalProperties" = false)))]
pub struct Model {
    /// What people call it.
    #[cfg_attr(test, schemars(required))]
    pub name: Optional<String>,
    /// Such as `gpt` or `claude`.
    #[cfg_attr(test, schemars(required))]
    pub family: Optional<String>,
    /// What it does.
    #[cfg_attr(test, schemars(required))]
    pub kind: Optional<ModelKind>,
    /// Tokens of input and output together. Chat and embedding models need it.
    #[cfg_attr(test, schemars(range(min = 1, max = MAX_TOKENS)))]
    pub context_length: Optional<u64>,
    /// Tokens of output. Chat models need it.
    #[cfg_attr(test, schemars(range(min = 1, max = MAX_TOKENS)))]
    pub max_output_tokens: Optional<u64>,
    /// Other names for it.
    pub aliases: Optional<Vec<String>>,
    /// How it is served: `official`, `routed`, or both.
    #[cfg_attr(test, schemars(required, extend("propertyNames" = {"enum": ["official", "routed"]})))]
    pub routes: Optional<Entries<Route>>,
    #[serde(flatten)]
    #[cfg_attr(test, schemars(skip))]
    pub unknown: Unknown,
}

/// One way to serve a model.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CatalogRoute", extend("additionalProperties" = false)))]
pub struct Route {
    /// The balance that pays.
    #[cfg_attr(test, schemars(required))]
    pub bucket: Optional<String>,
    /// What it costs; without one it is not sold.
    pub price: Optional<Price>,
    /// Who can serve it.
    #[cfg_attr(test, schemars(required, length(min = 1, max = MAX_CANDIDATES)))]
    pub candidates: Optional<Vec<Field<Candidate>>>,
    #[serde(flatten)]
    #[cfg_attr(test, schemars(skip))]
    pub unknown: Unknown,
}

/// Per million tokens or characters; per one image, second or search.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CatalogPrice", extend("additionalProperties" = false)))]
pub struct Price {
    /// Other rates for larger requests.
    pub tiers: Optional<Vec<Field<Tier>>>,
    // By class; names that are none are found later.
    #[serde(flatten)]
    #[cfg_attr(test, schemars(with = "crate::money::Rates"))]
    pub rates: RawRates,
}

/// Other rates for requests above a size.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CatalogTier", extend("additionalProperties" = false)))]
pub struct Tier {
    /// It applies to the whole of a request with more input tokens than this.
    #[cfg_attr(test, schemars(required))]
    pub above: Optional<u64>,
    #[serde(flatten)]
    #[cfg_attr(test, schemars(with = "crate::money::Rates"))]
    pub rates: RawRates,
}

/// A channel with the model's id there.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CatalogCandidate", extend("additionalProperties" = false)))]
pub struct Candidate {
    /// The channel.
    #[cfg_attr(test, schemars(required))]
    pub channel: Optional<String>,
    /// The model's id there.
    #[cfg_attr(test, schemars(required, regex(pattern = "^[!-~]+$")))]
    pub upstream_model: Optional<String>,
    /// 0 is primary, higher ones are backups; 0 if nothing is said.
    pub tier: Optional<u8>,
    /// Its share among those of its tier; 1 if nothing is said.
    #[cfg_attr(test, schemars(range(min = 1, max = MAX_WEIGHT)))]
    pub weight: Optional<u32>,
    #[serde(flatten)]
    #[cfg_attr(test, schemars(skip))]
    pub unknown: Unknown,
}

/// What is charged when something goes wrong.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("additionalProperties" = false)))]
pub struct ChargePolicy {
    /// What a stream costs that upstream cut short; `free` if nothing is said.
    pub upstream_cut: Optional<CutPolicy>,
    #[serde(flatten)]
    #[cfg_attr(test, schemars(skip))]
    pub unknown: Unknown,
}
