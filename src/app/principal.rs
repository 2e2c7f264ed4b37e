//! Who wants something: the holder of a key, or an operator.
//!
//! What always holds: what a principal may do stands in one table, [`super::UseCase`]; the account of a holder is that of the key, and
//! never one that a request names.
//!
//! Deliberately absent: the gateway itself. What it does by the clock is for nobody to ask, and takes no principal.

use std::net::IpAddr;

use super::text::name;
use super::use_case::{May, UseCase};
use crate::account::By;
use crate::id::AccountId;
use crate::key::KeyRecord;
use crate::operator::{Operator, Scope};
use crate::refusal::{Code, Refusal};

/// Who wants something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The holder of a key.
    Holder(Box<Holder>),
    /// An operator, with scopes.
    Operator(Operator),
}

/// The holder of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The key, as the account knows it now.
    pub key: KeyRecord,
    /// Where the call came from.
    pub address: Option<IpAddr>,
}

impl Principal {
    /// Errors unless this one may ask for it.
    pub fn may(&self, use_case: UseCase) -> Result<(), Refusal> {
        match use_case.may() {
            May::Holder => self.holder(use_case).map(|_| ()),
            May::Operator(_) => self.operator(use_case).map(|_| ()),
        }
    }

    /// The holder of a key who may do this.
    pub fn holder(&self, use_case: UseCase) -> Result<&Holder, Refusal> {
        match (self, use_case.may()) {
            (Self::Holder(holder), May::Holder) => Ok(holder),
            _ => Err(self.may_not()),
        }
    }

    /// The operator who may do this.
    pub fn operator(&self, use_case: UseCase) -> Result<&Operator, Refusal> {
        match (self, use_case.may()) {
            (Self::Operator(operator), May::Operator(scopes)) if scopes.iter().any(|scope| operator.may(*scope)) => Ok(operator),
            (Self::Operator(operator), May::Operator(scopes)) => Err(missing(operator, scopes)),
            _ => Err(self.may_not()),
        }
    }

    /// What this one is told of what only others may do.
    fn may_not(&self) -> Refusal {
        let (message, next_step) = match self {
            Self::Holder(_) => ("A key may not do this.", "Use a token of an operator's."),
            Self::Operator(_) => ("A token of an operator's may not do this.", "Use a key of the account's."),
        };
        Refusal::new(Code::Forbidden, message, next_step)
    }
}

impl Holder {
    /// Whose key it is.
    pub const fn account(&self) -> &AccountId {
        &self.key.account
    }
}

/// Who an operator says that something is for, and why. Its `author` is not the author: that is who was authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Signature {
    pub author: Option<String>,
    pub reason: Option<String>,
}

impl Signature {
    /// Signed by an operator.
    pub fn by(self, operator: &Operator) -> Result<By, Refusal> {
        let on_behalf_of = self.author.map(|author| name("author", author)).transpose()?;
        let reason = self.reason.map(|reason| name("reason", reason)).transpose()?;
        Ok(By { author: operator.name().to_owned(), on_behalf_of, reason })
    }
}

/// What an operator is told who has none of these scopes.
pub fn missing(operator: &Operator, needed: &[Scope]) -> Refusal {
    let names: Vec<&str> = needed.iter().map(|scope| scope.as_str()).collect();
    let message = format!("The token `{}` may not do this: it needs the scope `{}`.", operator.name(), names.join("` or `"));
    let next_step = "Use a token that has it; POST /admin/v1/tokens makes one.";
    Refusal::new(Code::Forbidden, message, next_step).fact("scopes", names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::TokenRecord;

    fn with(scope: Scope) -> Principal {
        let token = json!({"id": "1", "name": "kim", "scopes": [scope], "created_by": "root",
            "created_at": "2026-12-01T00:00:00Z", "expires_at": "2027-12-01T00:00:00Z"});
        Principal::Operator(Operator::of(&serde_json::from_str::<TokenRecord>(&token.to_string()).unwrap()))
    }

    #[test]
    fn an_operator_may_what_one_of_the_scopes_allows_and_nothing_else() {
        for use_case in UseCase::ALL.iter().copied() {
            let May::Operator(needed) = use_case.may() else { continue };
            assert!(!needed.is_empty(), "{use_case:?}");
            for scope in Scope::ALL {
                let answer = with(scope).may(use_case);
                assert_eq!(answer.is_ok(), needed.contains(&scope), "{use_case:?} with {scope:?}");
                if let Err(refusal) = answer {
                    assert_eq!((refusal.code, &refusal.facts["scopes"]), (Code::Forbidden, &json!(needed)));
                }
            }
            assert!(Principal::Operator(Operator::root()).may(use_case).is_ok(), "{use_case:?}");
        }
    }

    #[test]
    fn a_holder_and_an_operator_may_not_what_the_other_may() {
        let key = json!({"id": "k", "hash": "h", "account": "a", "project": "p", "label": "l", "version": 1,
            "created_at": "2026-12-01T00:00:00Z", "policy": {}});
        let key: KeyRecord = serde_json::from_str(&key.to_string()).unwrap();
        let holder = Principal::Holder(Box::new(Holder { key, address: None }));
        let root = Principal::Operator(Operator::root());
        for use_case in UseCase::ALL.iter().copied() {
            let is_holders = use_case.may() == May::Holder;
            assert_eq!((holder.may(use_case).is_ok(), root.may(use_case).is_ok()), (is_holders, !is_holders), "{use_case:?}");
            assert!(holder.operator(use_case).is_err() && root.holder(use_case).is_err(), "{use_case:?}");
        }
    }
}
