//! The catalogue as JSON, before it is checked: every field may be missing or of the wrong type, and says so later.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::channel::{Dialect, OnClientGone, OutputLimitField, ReasoningTokens, Thoughts};
use super::model::ModelKind;
use super::origins::Origins;
use super::version::CutPolicy;

/// A value that was not of its type keeps the reason, so that one wrong field does not hide the others.
#[derive(Debug)]
pub enum Field<T> {
    /// As it should be.
    Read(T),
    /// What is wrong with it.
    Wrong(String),
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

#[derive(Debug, Deserialize)]
pub struct Catalog {
    pub version: Optional<u64>,
    pub buckets: Optional<Entries<Bucket>>,
    pub channels: Optional<Entries<Channel>>,
    pub models: Optional<Entries<Model>>,
    pub charge_policy: Optional<ChargePolicy>,
    pub hold_timeout_ms: Optional<u32>,
    pub browser_origins: Optional<Origins>,
    pub output_floor_tokens: Optional<u64>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Deserialize)]
pub struct Bucket {
    pub label: Optional<String>,
    pub currency: Optional<String>,
    pub usd: Optional<String>,
    pub top_up_url: Optional<String>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Deserialize)]
pub struct Channel {
    pub label: Optional<String>,
    pub shows_upstream_models: Optional<bool>,
    pub dialect: Optional<Dialect>,
    pub base_url: Optional<String>,
    pub allow_host: Optional<String>,
    /// Of any type, so that no fault repeats what stands there: it may be a key.
    pub secrets: Optional<Value>,
    pub first_byte_timeout_ms: Optional<u32>,
    pub idle_timeout_ms: Optional<u32>,
    pub on_client_gone: Optional<OnClientGone>,
    pub output_limit_field: Optional<OutputLimitField>,
    pub responses: Optional<bool>,
    pub stream_usage: Optional<bool>,
    pub reasoning_tokens: Optional<ReasoningTokens>,
    pub thoughts: Optional<Thoughts>,
    pub unknown_tools: Optional<bool>,
    pub probe_daily_cap: Optional<String>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Deserialize)]
pub struct Model {
    pub name: Optional<String>,
    pub family: Optional<String>,
    pub kind: Optional<ModelKind>,
    pub context_length: Optional<u64>,
    pub max_output_tokens: Optional<u64>,
    pub aliases: Optional<Vec<String>>,
    pub routes: Optional<Entries<Route>>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Deserialize)]
pub struct Route {
    pub bucket: Optional<String>,
    pub price: Optional<Price>,
    pub candidates: Optional<Vec<Field<Candidate>>>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Deserialize)]
pub struct Price {
    pub tiers: Optional<Vec<Field<Tier>>>,
    /// By class; names that are none are found later.
    #[serde(flatten)]
    pub rates: RawRates,
}

#[derive(Debug, Deserialize)]
pub struct Tier {
    pub above: Optional<u64>,
    #[serde(flatten)]
    pub rates: RawRates,
}

#[derive(Debug, Deserialize)]
pub struct Candidate {
    pub channel: Optional<String>,
    pub upstream_model: Optional<String>,
    pub tier: Optional<u8>,
    pub weight: Optional<u32>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Deserialize)]
pub struct ChargePolicy {
    pub upstream_cut: Optional<CutPolicy>,
    #[serde(flatten)]
    pub unknown: Unknown,
}
