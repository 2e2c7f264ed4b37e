//! Who administers: the root token of the deployment, and tokens with names, scopes and an end.
//!
//! What always holds: a token's secret is stored as a hash and shown once; one that has ended works no more; what a token may do
//! stands on it, and only the root token may do everything.
//!
//! Deliberately absent: which endpoint needs which scope. That is one table, beside the endpoints.

mod strength;
mod token;

use serde::{Deserialize, Serialize};

pub use strength::{SHORTEST, weakness};
pub use token::{TokenRecord, TokenSecret};

use crate::id::TokenName;

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// Who was authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    name: String,
    scopes: Vec<Scope>,
}

impl Operator {
    /// The name of who presents the root token.
    pub const ROOT: &'static str = "root";

    /// Who presents the root token.
    pub fn root() -> Self {
        Self { name: Self::ROOT.to_owned(), scopes: Scope::ALL.to_vec() }
    }

    /// Who presents a token.
    pub fn of(token: &TokenRecord) -> Self {
        Self { name: token.name.to_string(), scopes: token.scopes.clone() }
    }

    /// What the audit calls them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether they may do what needs this scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Whether a name can be a token's: not one under which the gateway itself acts, or acted.
pub fn is_free(name: &TokenName) -> bool {
    const TAKEN: [&str; 6] = [Operator::ROOT, "admin", "gateway", "stripe", "system", "operator"];
    !TAKEN.iter().any(|taken| name.as_str().eq_ignore_ascii_case(taken))
}

/// Why an attempt to administer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Nothing was presented.
    Absent,
    /// What was presented can be no token of this gateway.
    Malformed,
    /// It can be one and is none.
    Unknown,
    /// It was one, and has expired or was revoked.
    Ended,
}

impl Failure {
    /// As stored and told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
            assert!(Operator::root().may(scope));
        }
        assert_eq!(Scope::parse("root"), None);
    }

    #[test]
    fn names_of_the_gateways_own_are_taken() {
        for (name, expected) in [("kim", true), ("root2", true), ("root", false), ("Root", false), ("STRIPE", false)] {
            assert_eq!(is_free(&TokenName::parse(name).unwrap()), expected, "{name}");
        }
    }
}
