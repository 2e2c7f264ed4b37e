//! The board: what the last minutes and days of every candidate came to. Each probe round makes a new one; pages and lists
//! show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CandidateId, Histogram, Percentiles, Span, StatusChange, uptime};
use crate::catalog::RouteKind;
use crate::id::ModelName;
use crate::time::{DAY_MS, HOUR_MS, Timestamp};
use crate::truth::{Promise, Truth};

/// What attempts on a candidate came to within a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Whose.
    #[serde(flatten)]
    pub candidate: CandidateId,
    /// Whether they were probes.
    pub is_probe: bool,
    /// When the span began.
    pub start: Timestamp,
    /// So many were answered.
    pub ok: u64,
    /// So many failed, load apart.
    pub failed: u64,
    /// So many were asked to come later.
    pub load: u64,
    /// How long the first byte took.
    pub first_byte: Histogram,
    /// How long the whole answer took.
    pub latency: Histogram,
}

/// The share of time in which a candidate was not down; none where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Uptime {
    /// Of the last five minutes.
    #[serde(rename = "5m")]
    pub five_minutes: Option<f64>,
    /// Of the last half hour.
    #[serde(rename = "30m")]
    pub half_hour: Option<f64>,
    /// Of the last 24 hours.
    #[serde(rename = "1d")]
    pub day: Option<f64>,
    /// Of the last 30 days.
    #[serde(rename = "30d")]
    pub month: Option<f64>,
}

impl Uptime {
    /// Up to now.
    pub fn of(changes: &[StatusChange], now: Timestamp) -> Self {
        let last = |ms: i64| uptime(changes, now.plus(-ms), now);
        Self {
            five_minutes: last(300_000),
            half_hour: last(1_800_000),
            day: last(DAY_MS),
            month: last(DAY_MS.saturating_mul(30)),
        }
    }
}

/// What is shown of one candidate beside its health.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Uptime.
    pub uptime: Uptime,
    /// To the first byte, in the last half hour; of a plain answer, to its end.
    pub first_byte: Option<Percentiles>,
    /// To the end of the answer, in the last half hour.
    pub latency: Option<Percentiles>,
    /// Whether these times are those of probes, because there was no request.
    pub is_by_probes: bool,
    /// Requests in the last half hour.
    pub requests: u64,
    /// Of these, failed.
    pub failures: u64,
}

/// Stats of all candidates at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Board {
    /// When it was made.
    pub at: Timestamp,
    /// By `channel/upstream_model`.
    pub candidates: BTreeMap<String, Stats>,
    /// What promises came to, by `model:route`.
    pub truths: BTreeMap<String, Truth>,
}

impl Board {
    /// Puts together what is known: the changes of each candidate, and its counts of the last half hour.
    pub fn new(ids: &[CandidateId], changes: &BTreeMap<String, Vec<StatusChange>>, counts: &[Counts], now: Timestamp) -> Self {
        let mut candidates = BTreeMap::new();
        for id in ids {
            let name = id.to_string();
            let changes = changes.get(&name).map_or(&[][..], Vec::as_slice);
            let of = |is_probe: bool| {
                Counts::sum(counts.iter().filter(|counts| counts.candidate == *id && counts.is_probe == is_probe))
            };
            let (real, probes) = (of(false), of(true));
            let is_timed = |counts: &&Counts| counts.first_byte.total() > 0;
            let times = real.as_ref().filter(is_timed).or(probes.as_ref());
            let stats = Stats {
                uptime: Uptime::of(changes, now),
                first_byte: times.and_then(|counts| counts.first_byte.percentiles()),
                latency: times.and_then(|counts| counts.latency.percentiles()),
                is_by_probes: times.is_some_and(|counts| counts.is_probe),
                requests: real.as_ref().map_or(0, Counts::total),
                failures: real.as_ref().map_or(0, |counts| counts.failed),
            };
            candidates.insert(name, stats);
        }
        Self { at: now, candidates, truths: BTreeMap::new() }
    }

    /// The same with what promises came to.
    #[must_use]
    pub fn with(mut self, truths: Vec<(Promise, Truth)>) -> Self {
        self.truths = truths.into_iter().map(|(promise, truth)| (promise.to_string(), truth)).collect();
        self
    }

    /// What promises of a model over a route came to.
    pub fn truth(&self, model: &ModelName, route: RouteKind) -> Truth {
        let promise = Promise { model: model.clone(), route };
        self.truths.get(&promise.to_string()).cloned().unwrap_or_default()
    }

    /// What is shown of a candidate; nothing is a fine answer.
    pub fn of(&self, id: &CandidateId) -> Stats {
        self.candidates.get(&id.to_string()).cloned().unwrap_or_default()
    }
}

impl Counts {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.ok.saturating_add(self.failed).saturating_add(self.load)
    }

    /// Several together; none if there are none.
    pub fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Option<Self> {
        all.fold(None, |sum: Option<Self>, counts| Some(sum.map_or_else(|| counts.clone(), |sum| sum.plus(counts))))
    }

    /// Both together, from the earlier start on.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            candidate: self.candidate.clone(),
            is_probe: self.is_probe,
            start: self.start.min(other.start),
            ok: self.ok.saturating_add(other.ok),
            failed: self.failed.saturating_add(other.failed),
            load: self.load.saturating_add(other.load),
            first_byte: self.first_byte.plus(&other.first_byte),
            latency: self.latency.plus(&other.latency),
        }
    }
}

/// Spans of what is asked for on a chart: how long each point is, and since when.
pub const fn window(name: &str, now: Timestamp) -> Option<(Span, Timestamp)> {
    match name.as_bytes() {
        b"1h" => Some((Span::Minute, now.plus(-HOUR_MS))),
        b"1d" => Some((Span::Hour, now.plus(-DAY_MS))),
        b"30d" => Some((Span::Day, now.plus(-30 * DAY_MS))),
        b"90d" => Some((Span::Day, now.plus(-90 * DAY_MS))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChannelId;

    fn id(channel: &str) -> CandidateId {
        CandidateId { channel: ChannelId::parse(channel).unwrap(), upstream_model: "m".to_owned() }
    }

    fn counts(channel: &str, is_probe: bool, place: usize) -> Counts {
        let mut histogram = vec![0; 24];
        histogram[place] = 10;
        Counts {
            candidate: id(channel),
            is_probe,
            start: Timestamp::from_millis(0),
            ok: 8,
            failed: 2,
            load: 1,
            first_byte: Histogram(histogram.clone()),
            latency: Histogram(histogram),
        }
    }

    #[test]
    fn times_are_those_of_requests_and_only_without_any_those_of_probes() {
        let ids = [id("a"), id("b"), id("c")];
        let rows = [counts("a", false, 4), counts("a", false, 4), counts("a", true, 20), counts("b", true, 20)];
        let board = Board::new(&ids, &BTreeMap::new(), &rows, Timestamp::from_millis(DAY_MS));
        let a = board.of(&id("a"));
        assert_eq!((a.requests, a.failures, a.is_by_probes), (22, 4, false));
        assert!(a.first_byte.unwrap().p50 <= 100);
        let b = board.of(&id("b"));
        assert_eq!((b.requests, b.is_by_probes), (0, true));
        assert!(b.first_byte.unwrap().p50 > 20_000);
        assert_eq!(board.of(&id("c")).first_byte, None);
        assert_eq!(board.of(&id("z")), Stats::default());
    }
}
