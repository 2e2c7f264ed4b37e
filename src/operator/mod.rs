//! Who administers: the root token of the deployment, and tokens with names, scopes and an end.
//!
//! What always holds: a token's secret is stored as a hash and shown once; one that has ended works no more; what a token may do
//! stands on it, and only the root token may do everything.
//!
//! Deliberately absent: which endpoint needs which scope. That is one table, beside the endpoints.

mod scope;
mod strength;
mod token;

pub use scope::Scope;
pub use strength::{SHORTEST, weakness};
pub use token::{TokenRecord, TokenSecret};

use crate::id::TokenName;

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

/// Whether a name can be a token's: not one under which the gateway itself acts, or acted. Payment providers' are not looked at.
pub fn is_free(name: &TokenName) -> bool {
    const TAKEN: [&str; 5] = [Operator::ROOT, "admin", "gateway", "system", "operator"];
    !TAKEN.iter().any(|taken| name.as_str().eq_ignore_ascii_case(taken))
}

/// Why an attempt to administer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminFailure {
    /// Nothing was presented.
    Absent,
    /// What was presented can be no token of this gateway.
    Malformed,
    /// It can be one and is none.
    Unknown,
    /// It was one, and has expired or was revoked.
    Ended,
}

impl AdminFailure {
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
        for (name, expected) in [("kim", true), ("root2", true), ("root", false), ("Root", false), ("SYSTEM", false)] {
            assert_eq!(is_free(&TokenName::parse(name).unwrap()), expected, "{name}");
        }
    }
}
