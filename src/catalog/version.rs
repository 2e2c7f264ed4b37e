//! One checked version of the catalogue, and how it is looked up.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::model::Model;
use super::names::{Folded, is_short};
use super::origins::Origins;
use crate::id::{BucketId, ChannelId, ModelName};
use crate::money::Money;

/// Long enough for the slowest plain answer; a living stream renews its hold.
pub(super) const DEFAULT_HOLD_TIMEOUT_MS: u32 = 900_000;
/// Where the catalogue sets none: enough for most answers, and little money.
pub(super) const DEFAULT_OUTPUT_FLOOR_TOKENS: u64 = 4_096;

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
    pub(super) aliases: BTreeMap<ModelName, ModelName>,
    pub(super) folded: Folded,
}

impl Catalog {
    /// One that sells nothing, with what holds where a document says nothing.
    pub fn nothing() -> Self {
        Self {
            version: 0,
            buckets: BTreeMap::new(),
            channels: BTreeMap::new(),
            models: BTreeMap::new(),
            upstream_cut: CutPolicy::default(),
            hold_timeout_ms: i64::from(DEFAULT_HOLD_TIMEOUT_MS),
            browser_origins: Origins::default(),
            output_floor_tokens: DEFAULT_OUTPUT_FLOOR_TOKENS,
            aliases: BTreeMap::new(),
            folded: Folded::default(),
        }
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

    pub(super) fn channel_of(&self, id: &str) -> Option<&Channel> {
        self.channels.get(&ChannelId::parse(id)?).map(Rc::as_ref)
    }

    /// Whether customers see the ids that models have on a channel.
    pub fn shows_upstream(&self, channel: &str) -> bool {
        self.channel_of(channel).is_some_and(|channel| channel.shows_upstream_models)
    }

    /// The channel of a candidate; the check made sure that it exists.
    pub fn channel(&self, id: &ChannelId) -> Option<&Rc<Channel>> {
        self.channels.get(id)
    }

    /// Public names that look like `name`, nearest first, at most three. What is longer than any name is near to none.
    pub fn near_names(&self, name: &str) -> Vec<String> {
        if !is_short(name) {
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

/// What a stream that upstream cut short costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CutPolicy {
    /// Nothing.
    #[default]
    Free,
    /// What arrived.
    Usage,
}

/// What becomes of an output limit that the balance has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
