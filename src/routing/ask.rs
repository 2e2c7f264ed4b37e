//! What a request asks of the planner.
//!
//! What always holds: it says what is wished for and what cannot be, and nothing of what the key may do or how the candidates fare.

use serde::Deserialize;

use super::health::CandidateId;
use crate::catalog::{ModelKind, RouteKind};
use crate::id::{ChannelId, SecretName};
use crate::money::{Money, Ratio};
use crate::refusal::Refusal;
use crate::usage::Class;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ask {
    /// The model, then the fallbacks; each may end in `:official` or `:routed`.
    pub models: Vec<String>,
    /// The route that the request insists on.
    pub route: Option<RouteKind>,
    /// What it prefers among channels.
    pub provider: ProviderPreferences,
    /// How many tokens each answer may have, where the request says.
    pub output_limit: Option<u64>,
    /// The kinds of model that the endpoint serves; empty is all.
    pub kinds: &'static [ModelKind],
    /// What the request asks for that not every request has: each needs a price.
    pub needs: Vec<Class>,
    /// The same of what only some channels are asked for, such as to keep a prefix in a cache: those that are not.
    pub spared: Vec<(ChannelId, Class)>,
    /// The channels that this request cannot be said to, each with why.
    pub unable: Vec<(ChannelId, Refusal)>,
    /// The only channel that can serve it, by the credential that made what the request refers to.
    pub pinned: Option<(ChannelId, SecretName)>,
    /// The only candidate that a probe is about.
    pub probed: Option<CandidateId>,
}

impl Ask {
    /// Whether a channel is not asked for this class of usage.
    pub(super) fn spares(&self, channel: &ChannelId, class: Class) -> bool {
        self.spared.iter().any(|(spared, of)| spared == channel && *of == class)
    }
}

/// The `provider` object of a request, as OpenRouter has it; names are labels, aliases or ids of channels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderPreferences {
    /// Channels to try first, in this order.
    pub order: Vec<String>,
    /// The only channels to use; empty is all.
    pub only: Vec<String>,
    /// Channels not to use.
    pub ignore: Vec<String>,
    /// Whether more than one candidate may be tried.
    pub allow_fallbacks: Option<bool>,
    /// `price`: the cheapest route first.
    pub sort: Option<Sort>,
    /// What a million tokens may cost at most, of a request of any size; in the bucket's currency.
    pub max_price: Option<MaxPrice>,
    /// How many times as much as the first choice whoever serves instead may cost.
    pub fallback_ceiling: Option<Ratio>,
}

/// What the cheapest route is preferred by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The price of input and output together, where the routes have one currency.
    Price,
}

/// A limit on prices per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaxPrice {
    /// Of input.
    pub prompt: Option<Money>,
    /// Of output.
    pub completion: Option<Money>,
}
