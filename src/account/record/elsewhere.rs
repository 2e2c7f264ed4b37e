//! What a request would have cost elsewhere, for the same usage.
//!
//! What always holds: amounts of different currencies are never subtracted.

use serde::{Deserialize, Serialize};

use crate::catalog::RouteKind;
use crate::id::{BucketId, ModelName};
use crate::money::Money;

/// What a request would have cost elsewhere, for the same usage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Elsewhere {
    /// Why it is compared.
    pub of: Comparison,
    /// By this model.
    pub model: ModelName,
    /// Over this route.
    pub route: RouteKind,
    /// Paid by this balance.
    pub bucket: BucketId,
    /// In this currency.
    pub currency: String,
    /// So much.
    pub cost: Money,
    /// How much more than that the request cost; below zero is saved. None where the currencies differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Money>,
}

/// What a cost is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ElsewhereOf"))]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// What would have served if nobody had to fall back.
    FirstChoice,
    /// Another route of the model that served.
    OtherRoute,
}
