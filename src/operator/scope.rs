//! What an operator may do.
//!
//! What always holds: a scope is written as it is read, and no scope includes another.

use serde::{Deserialize, Serialize};

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Reads everything but tokens.
    Read,
    /// Publishes catalogues whose channels stay as they are: models, routes, prices, buckets.
    Catalog,
    /// Publishes catalogues with other channels: where requests and credentials go. Runs probes.
    Channels,
    /// Credits, debits, verdicts on orders, refunds, codes.
    Money,
    /// Opens accounts, makes projects and keys, changes keys.
    Accounts,
    /// Takes away what may be in wrong hands: revokes keys, ends sessions.
    Support,
    /// Makes, lists and revokes tokens, with no more scopes than its own; reads who failed to present one.
    Tokens,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Catalog, Self::Channels, Self::Money, Self::Accounts, Self::Support, Self::Tokens];

    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Catalog => "catalog",
            Self::Channels => "channels",
            Self::Money => "money",
            Self::Accounts => "accounts",
            Self::Support => "support",
            Self::Tokens => "tokens",
        }
    }

    /// Reads a scope; none if there is no such.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}
