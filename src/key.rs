//! API keys: who a key belongs to and what it may do.
//!
//! What always holds: a key never changes its own policy; every change raises `version`, by which the account object finds
//! a caller that acted on an outdated copy.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::catalog::{Fit, Origins, RouteKind};
use crate::id::{AccountId, BucketId, KeyHash, KeyId, ModelName, ProjectId};
use crate::money::{Money, Ratio};
use crate::time::{Period, Timestamp};

/// Budgets of one key, project or run. Each can announce three levels.
pub const MOST_BUDGETS: usize = 16;

/// What is known of a key. KV holds a copy under the hash of its secret; the account object decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its public id.
    pub id: KeyId,
    /// The hash of its secret.
    pub hash: KeyHash,
    /// Who pays.
    pub account: AccountId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// What people call it.
    pub label: String,
    /// Raised by every change.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// What it may do.
    pub policy: Policy,
}

/// What a key may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Model names that it may call; `*` is all of them.
    pub models: Vec<String>,
    /// Kinds of routes, in order of preference.
    pub routes: Vec<RouteKind>,
    /// Whether a request may go on to a route that another bucket pays.
    pub cross_routes: bool,
    /// How many times as much as the first choice whoever serves instead may cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_ceiling: Option<Ratio>,
    /// What it may spend.
    pub budgets: Vec<Budget>,
    /// Requests a minute.
    pub rpm: Option<u32>,
    /// Tokens a minute.
    pub tpm: Option<u64>,
    /// Requests at the same time.
    pub concurrency: Option<u32>,
    /// What becomes of output limits that the balance has no room for.
    #[serde(skip_serializing_if = "Fit::is_default")]
    pub fit: Fit,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Addresses or networks that it may be used from; empty is anywhere.
    pub ip_allow: Vec<AddressRule>,
    /// Sites whose pages may call with it from a browser, beside those that the catalogue names.
    #[serde(skip_serializing_if = "Origins::is_empty")]
    pub browser_origins: Origins,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            models: vec!["*".to_owned()],
            routes: vec![RouteKind::Official, RouteKind::Routed],
            cross_routes: false,
            fallback_ceiling: None,
            budgets: Vec::new(),
            rpm: None,
            tpm: None,
            concurrency: None,
            fit: Fit::Balance,
            expires_at: None,
            ip_allow: Vec::new(),
            browser_origins: Origins::default(),
        }
    }
}

impl Policy {
    /// Whether the model of this public name may be called.
    pub fn allows_model(&self, name: &ModelName) -> bool {
        self.models.iter().any(|allowed| allowed == "*" || allowed == name.as_str())
    }

    /// Whether it may be used from this address. Where the address is unknown, a rule refuses.
    pub fn allows_address(&self, address: Option<IpAddr>) -> bool {
        self.ip_allow.is_empty() || address.is_some_and(|address| self.ip_allow.iter().any(|rule| rule.contains(address)))
    }

    /// Whether it has stopped working.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A spending limit on one bucket in one period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The bucket whose charges count.
    pub bucket: BucketId,
    /// When it starts again.
    pub period: Period,
    /// What may be spent, in the bucket's currency.
    pub limit: Money,
}

/// An address such as `203.0.113.7` or a network such as `2001:db8::/32`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct AddressRule(IpNet);

impl AddressRule {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl TryFrom<String> for AddressRule {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let rule = text.parse::<IpNet>().ok().or_else(single);
        rule.map(Self).ok_or("must be an address such as 203.0.113.7 or a network such as 2001:db8::/32")
    }
}

impl From<AddressRule> for String {
    fn from(rule: AddressRule) -> Self {
        if rule.0.prefix_len() == rule.0.max_prefix_len() { rule.0.addr().to_string() } else { rule.0.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_rules_match_networks_and_single_addresses() {
        let policy: Policy = serde_json::from_str(r#"{"ip_allow": ["203.0.113.7", "2001:db8::/32"]}"#).unwrap();
        for (address, allowed) in
            [("203.0.113.7", true), ("203.0.113.8", false), ("2001:db8::1", true), ("::ffff:203.0.113.7", true), ("::1", false)]
        {
            assert_eq!(policy.allows_address(address.parse().ok()), allowed, "{address}");
        }
        assert!(!policy.allows_address(None));
        assert!(Policy::default().allows_address(None));
    }

    #[test]
    fn a_policy_with_a_wrong_field_is_refused() {
        for text in [
            r#"{"rmp": 1}"#,
            r#"{"rpm": -1}"#,
            r#"{"ip_allow": ["here"]}"#,
            r#"{"expires_at": "soon"}"#,
            r#"{"browser_origins": ["here"]}"#,
        ] {
            assert!(serde_json::from_str::<Policy>(text).is_err(), "{text}");
        }
    }
}
