//! The truth rate: how often "callable" was followed by an answer.
//!
//! What always holds: a request has at most one promise, noted before anybody is called; whether it was kept is told once, on
//! the request's receipt; the rate is rounded down, so that only a promise that was always kept is `1.0000`.
//!
//! Deliberately absent: accounts, keys, channels and words of clients. What is published of a miss is when it was, and a reason
//! out of a closed list.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::RouteKind;
use crate::id::ModelName;
use crate::time::{DAY_MS, Timestamp};

/// How many of the last misses are told.
pub const MOST_MISSES: usize = 20;
/// How many are kept of each day: more than are told, because some are taken back.
pub const KEPT_MISSES: usize = 40;
/// How many days are counted together; the last one as far as it has come.
pub const DAYS: i64 = 30;

/// That somebody was expected to answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Promise {
    /// The model, by its public name.
    pub model: ModelName,
    /// Over this route.
    pub route: RouteKind,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.model, self.route.as_str())
    }
}

/// A promise, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Promise"))]
pub struct Promised {
    /// The model, by its public name.
    pub model: ModelName,
    /// Over this route.
    pub route: RouteKind,
    /// Why it was not kept; none if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
}

impl Promise {
    /// With what became of it.
    pub fn told(self, missed: Option<Missed>) -> Promised {
        Promised { model: self.model, route: self.route, missed }
    }
}

/// Why a promise was not kept. What upstream did is named as everywhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// No connection, or it broke before the first byte.
    Connect,
    /// No first byte in time.
    Timeout,
    /// Upstream asked for fewer requests.
    Load,
    /// Upstream failed on its side.
    Server,
    /// Upstream did not accept the gateway's credential.
    Credential,
    /// Upstream refused this to the gateway, and named neither credential nor model.
    Forbidden,
    /// Upstream did not know the model.
    NotFound,
    /// Upstream had nothing at that place.
    Absent,
    /// Upstream sent something that is no answer.
    Unreadable,
    /// The gateway had no credential.
    NotConfigured,
    /// Upstream broke off in the middle of the answer.
    Cut,
    /// The model answered, but over another route.
    OtherRoute,
    /// Another model answered, which the request named as a fallback.
    OtherModel,
    /// The gateway lost the request.
    Lost,
}

impl Missed {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::Connect,
        Self::Timeout,
        Self::Load,
        Self::Server,
        Self::Credential,
        Self::Forbidden,
        Self::NotFound,
        Self::Absent,
        Self::Unreadable,
        Self::NotConfigured,
        Self::Cut,
        Self::OtherRoute,
        Self::OtherModel,
        Self::Lost,
    ];

    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Load => "load",
            Self::Server => "server",
            Self::Credential => "credential",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
            Self::NotConfigured => "not_configured",
            Self::Cut => "cut",
            Self::OtherRoute => "other_route",
            Self::OtherModel => "other_model",
            Self::Lost => "lost",
        }
    }

    /// Reads what `as_str` writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|missed| missed.as_str() == text)
    }
}

/// One promise that was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// When the request ended, to the second.
    pub at: Timestamp,
    /// Why.
    pub reason: Missed,
}

/// A miss as it is kept: the request, when it ended in milliseconds, and the reason. Without one it takes back that the request
/// was lost: its settlement came after all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry(pub String, pub i64, pub Option<Missed>);

/// What the promises of one model over one route came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Truth {
    /// So many requests were promised an answer.
    pub callable: u64,
    /// So many of these got it, as promised.
    pub answered: u64,
    /// The last that did not, newest first.
    pub misses: Vec<Miss>,
}

impl Truth {
    /// Puts together what was counted, and the misses of all days in any order.
    pub fn new(callable: u64, answered: u64, entries: &[Entry]) -> Self {
        let is_taken_back = |request: &str| entries.iter().any(|Entry(id, _, reason)| id == request && reason.is_none());
        let miss = |Entry(id, at, reason): &Entry| {
            let reason = reason.filter(|reason| *reason != Missed::Lost || !is_taken_back(id))?;
            Some(Miss { at: Timestamp::from_millis(at.saturating_sub(at.rem_euclid(1000))), reason })
        };
        let mut misses: Vec<Miss> = entries.iter().filter_map(miss).collect();
        misses.sort_by_key(|miss| std::cmp::Reverse((miss.at, miss.reason)));
        misses.truncate(MOST_MISSES);
        Self { callable, answered, misses }
    }

    /// The share of promises that was kept, in parts of 10,000, rounded down; none if nothing was promised.
    pub fn parts(&self) -> Option<u64> {
        let parts = u128::from(self.answered.min(self.callable)).saturating_mul(10_000);
        u64::try_from(parts.checked_div(u128::from(self.callable))?).ok()
    }

    /// The same as a decimal: `0.9987`.
    pub fn rate(&self) -> Option<String> {
        let parts = self.parts()?;
        Some(format!("{}.{:04}", parts.checked_div(10_000)?, parts.checked_rem(10_000)?))
    }
}

/// When the first of the days began that are counted together.
pub const fn since(now: Timestamp) -> Timestamp {
    let midnight = now.millis().saturating_sub(now.millis().rem_euclid(DAY_MS));
    Timestamp::from_millis(midnight).plus((DAYS - 1).saturating_mul(-DAY_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(callable: u64, answered: u64) -> Truth {
        Truth { callable, answered, misses: Vec::new() }
    }

    #[test]
    fn a_rate_is_rounded_down_and_only_whole_when_every_promise_was_kept() {
        for (callable, answered, rate) in [
            (0, 0, None),
            (1, 0, Some("0.0000")),
            (1, 1, Some("1.0000")),
            (3, 2, Some("0.6666")),
            (10_000, 9_987, Some("0.9987")),
            (1_000_000, 999_999, Some("0.9999")),
            (u64::MAX, u64::MAX - 1, Some("0.9999")),
            (u64::MAX, u64::MAX, Some("1.0000")),
        ] {
            assert_eq!(truth(callable, answered).rate().as_deref(), rate, "{answered} of {callable}");
        }
    }

    #[test]
    fn only_the_last_misses_are_told_newest_first_to_the_second() {
        let entries: Vec<Entry> = (0..30).map(|at| Entry(format!("gen-{at}"), at * 1_000 + 999, Some(Missed::Timeout))).collect();
        let misses = Truth::new(40, 10, &entries).misses;
        assert_eq!(misses.len(), MOST_MISSES);
        assert_eq!(misses[0], Miss { at: Timestamp::from_millis(29_000), reason: Missed::Timeout });
        assert_eq!(misses[19].at, Timestamp::from_millis(10_000));
    }

    #[test]
    fn a_request_that_was_not_lost_after_all_is_no_miss_for_that() {
        let entry = |id: &str, at, reason| Entry(id.to_owned(), at, reason);
        let lost = [entry("a", 1_000, Some(Missed::Lost)), entry("b", 2_000, Some(Missed::Lost)), entry("a", 5_000, None)];
        assert_eq!(Truth::new(2, 1, &lost).misses, [Miss { at: Timestamp::from_millis(2_000), reason: Missed::Lost }]);
        let cut = [entry("a", 1_000, Some(Missed::Lost)), entry("a", 5_000, None), entry("a", 5_000, Some(Missed::Cut))];
        assert_eq!(Truth::new(1, 0, &cut).misses, [Miss { at: Timestamp::from_millis(5_000), reason: Missed::Cut }]);
    }

    #[test]
    fn a_window_is_thirty_days_with_this_one() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        assert_eq!(since(at("2026-11-30T23:59:59Z")), at("2026-11-01T00:00:00Z"));
        assert_eq!(since(at("2026-12-01T00:00:00Z")), at("2026-11-02T00:00:00Z"));
    }

    #[test]
    fn a_promise_that_was_kept_says_no_more_than_what_was_promised() {
        let promise = Promise { model: ModelName::parse("m").unwrap(), route: RouteKind::Official };
        let kept = promise.clone().told(None);
        assert_eq!(serde_json::to_string(&kept).unwrap(), r#"{"model":"m","route":"official"}"#);
        let missed = promise.told(Some(Missed::OtherRoute));
        assert_eq!(serde_json::to_string(&missed).unwrap(), r#"{"model":"m","route":"official","missed":"other_route"}"#);
        for missed in Missed::ALL {
            assert_eq!(serde_json::to_string(&missed).unwrap(), format!("\"{}\"", missed.as_str()));
            assert_eq!(Missed::parse(missed.as_str()), Some(missed));
        }
    }
}
