//! What attempts came to, by candidate and minute: the rows of `health_counts`.
//!
//! What always holds: an answer is of the moment at which it ended, or broke off, which its attempt says where that is its channel's
//! doing; one whose client left proves nothing of its end, so that it is counted and ends no row of failures.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::row::{Attempt, Receipt};
use crate::account::{AttemptStatus, RequestStatus};
use crate::routing::attempt::FailureKind;
use crate::routing::health::{CandidateId, RANGES, Span, range_of};
use crate::time::Timestamp;

/// When, of which kind, and in which words.
pub type Failed = (i64, String, String);

/// One attempt that says something of its candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    at: i64,
    is_ok: bool,
    is_done: bool,
    failed: Option<Failed>,
    first_ms: u64,
    whole_ms: u64,
}

/// What the attempts of one minute came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Minute {
    /// Answers without an error.
    pub ok: u64,
    /// Failures but for load.
    pub failed: u64,
    /// Failures by load.
    pub load: u64,
    /// Failures since the last answer that came to its end.
    pub in_row: u64,
    /// When that was, in milliseconds.
    pub ok_at: Option<i64>,
    /// The last failure, load or not.
    pub failure: Option<Failed>,
    /// How many first bytes came within each range.
    pub first_byte: [u64; RANGES],
    /// How many whole answers came within each range.
    pub latency: [u64; RANGES],
}

impl Minute {
    fn of(seen: &[Seen]) -> Self {
        let mut minute = Self { ok_at: seen.iter().filter(|seen| seen.is_done).map(|seen| seen.at).max(), ..Self::default() };
        for seen in seen {
            minute.ok = minute.ok.saturating_add(u64::from(seen.is_ok));
            match &seen.failed {
                Some((_, kind, _)) if *kind == FailureKind::Load.as_str() => minute.load = minute.load.saturating_add(1),
                Some(_) => {
                    minute.failed = minute.failed.saturating_add(1);
                    let is_since = seen.at > minute.ok_at.unwrap_or(0);
                    minute.in_row = minute.in_row.saturating_add(u64::from(is_since));
                }
                None => {}
            }
            minute.failure = minute.failure.take().max(seen.failed.clone());
            add(&mut minute.first_byte, seen.first_ms, seen.is_ok);
            add(&mut minute.latency, seen.whole_ms, seen.is_done);
        }
        minute
    }

    /// The last failure as it is stored: its text sorts by time.
    pub fn failure_text(&self) -> Option<String> {
        self.failure.as_ref().map(|(at, kind, words)| format!("{at:015} {kind} {words}"))
    }
}

/// Counts a time in its range.
fn add(ranges: &mut [u64; RANGES], ms: u64, is_counted: bool) {
    if let Some(count) = ranges.get_mut(range_of(ms)) {
        *count = count.saturating_add(u64::from(is_counted));
    }
}

/// The attempts of a batch, by candidate and the moment at which their minute began.
#[derive(Debug, Clone, Default)]
pub struct Minutes(BTreeMap<(CandidateId, Timestamp), Vec<Seen>>);

impl Minutes {
    /// Counts the attempts of a receipt that say something of their candidates.
    pub fn count(&mut self, receipt: &Receipt<'_>) {
        for attempt in receipt.attempts.iter().filter(|attempt| !attempt.is_aside) {
            let Some(seen) = seen(receipt, attempt) else { continue };
            let candidate =
                CandidateId { channel: attempt.channel.clone(), upstream_model: attempt.upstream_model.clone().into_owned() };
            let start = Span::Minute.start(Timestamp::from_millis(seen.at));
            self.0.entry((candidate, start)).or_default().push(seen);
        }
    }

    /// What each minute came to.
    pub fn sums(&self) -> impl Iterator<Item = (&CandidateId, Timestamp, Minute)> {
        self.0.iter().map(|((candidate, start), seen)| (candidate, *start, Minute::of(seen)))
    }

    /// The sums as rows, each a list: channel, upstream model, start in milliseconds, then the columns of `health_counts`. `witness`
    /// is what the account is called that met the failures.
    pub fn rows(&self, witness: &str) -> Value {
        let row = |(candidate, start, minute): (&CandidateId, Timestamp, Minute)| {
            let failure = minute.failure_text();
            let witnesses = failure.as_ref().map(|text| json!({witness: [minute.failed, text]}));
            let mut row = vec![
                json!(candidate.channel),
                json!(candidate.upstream_model),
                json!(start.millis()),
                json!(minute.ok),
                json!(minute.failed),
                json!(minute.load),
                json!(minute.in_row),
                json!(minute.ok_at),
                json!(failure),
                json!(witnesses),
            ];
            row.extend(minute.first_byte.iter().chain(&minute.latency).map(|count| json!(count)));
            Value::from(row)
        };
        self.sums().map(row).collect()
    }
}

fn seen(receipt: &Receipt<'_>, attempt: &Attempt<'_>) -> Option<Seen> {
    let kind = attempt.error.as_deref().unwrap_or_default();
    let is_answer = attempt.status == AttemptStatus::Answered && attempt.dispatched;
    let is_tried = is_answer || attempt.status == AttemptStatus::Failed;
    let is_completed = receipt.status == RequestStatus::Completed;
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let (started, first) = (attempt.started_at.millis(), signed(attempt.latency_ms));
    let before = started.saturating_sub(receipt.created_at.millis());
    let whole = signed(receipt.latency_ms).saturating_sub(before);
    let took = if is_answer && (!kind.is_empty() || is_completed) { first.max(whole) } else { first };
    let at = started.saturating_add(took);
    let failed =
        (is_tried && !kind.is_empty()).then(|| (at, kind.to_owned(), attempt.message.as_deref().unwrap_or_default().to_owned()));
    let is_ok = is_answer && kind.is_empty();
    (is_ok || failed.is_some()).then(|| Seen {
        at,
        is_ok,
        is_done: is_answer && is_completed,
        failed,
        first_ms: attempt.latency_ms,
        whole_ms: u64::try_from(whole).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(latency_ms: u64, status: &str, attempts: &Value) -> String {
        json!({
            "id": "gen-1-1", "status": status, "created_at": "2026-12-01T10:00:00Z", "closed_at": "2026-12-01T10:02:00Z",
            "account": "a", "project": "p", "key": "k", "key_label": "l", "run": null, "endpoint": "/v1/chat/completions", "stream": true,
            "requested_model": "m", "model": null, "upstream_model": null, "route": null, "channel": null, "bucket": null, "why": "",
            "attempts": attempts, "fallbacks": 0, "usage": {}, "usage_source": "none", "price": null, "catalog_version": 1,
            "hold": null, "charge": "0", "charge_policy": "", "in_review": null, "entry_ids": [], "balance_before": null,
            "balance_after": null, "no_charge_reason": null, "error": null, "next_step": null, "finish_reason": null,
            "first_byte_ms": null, "latency_ms": latency_ms
        }).to_string()
    }

    fn attempt(channel: &str, status: &str, started: &str, latency_ms: u64, error: Option<&str>) -> Value {
        json!({
            "channel": channel, "tier": 0, "route": "official", "bucket": "credit", "upstream_model": "u", "reason": "", "dispatched": true,
            "status": status, "started_at": started, "latency_ms": latency_ms, "provider_status": null, "error": error,
            "message": error.map(|_| "words")
        })
    }

    fn minutes(receipts: &[String]) -> Vec<(String, i64, Minute)> {
        let mut minutes = Minutes::default();
        receipts.iter().for_each(|receipt| minutes.count(&serde_json::from_str(receipt).unwrap()));
        minutes
            .sums()
            .map(|(candidate, start, minute)| (candidate.channel.to_string(), start.millis() % 3_600_000, minute))
            .collect()
    }

    #[test]
    fn an_answer_is_of_the_minute_in_which_it_ended_and_ends_a_row_of_failures() {
        let failed = |at: &str| receipt(50, "failed", &json!([attempt("a", "failed", at, 50, Some("timeout"))]));
        let answered = receipt(90_000, "completed", &json!([attempt("a", "answered", "2026-12-01T10:00:30Z", 200, None)]));
        let (before, after) = (failed("2026-12-01T10:01:10Z"), failed("2026-12-01T10:01:40Z"));
        let found = minutes(&[before, answered, after]);
        let [(channel, start, minute)] = found.as_slice() else { panic!("{found:?}") };
        // 30 s after it arrived it was sent, and 60 s later it was over.
        assert_eq!((channel.as_str(), *start), ("a", 60_000));
        assert_eq!((minute.ok, minute.failed, minute.load, minute.in_row), (1, 2, 0, 1));
        let end = Timestamp::parse("2026-12-01T10:01:30Z").unwrap().millis();
        assert_eq!(minute.ok_at, Some(end));
        assert_eq!(minute.failure_text(), Some(format!("{:015} timeout words", end + 10_050)));
        let of = |ranges: [u64; RANGES], ms: u64| ranges[range_of(ms)];
        assert_eq!((of(minute.first_byte, 200), of(minute.latency, 60_000)), (1, 1));
        assert_eq!((minute.first_byte.iter().sum::<u64>(), minute.latency.iter().sum::<u64>()), (1, 1));
    }

    #[test]
    fn what_says_nothing_of_a_candidate_is_not_counted() {
        let mut aside = attempt("a", "failed", "2026-12-01T10:00:00Z", 1, Some("absent"));
        aside["is_aside"] = json!(true);
        let mut unsent = attempt("a", "answered", "2026-12-01T10:00:00Z", 1, None);
        unsent["dispatched"] = json!(false);
        let others =
            ["skipped", "rejected", "abandoned"].map(|status| attempt("a", status, "2026-12-01T10:00:00Z", 1, Some("timeout")));
        let attempts = Value::from([vec![aside, unsent], others.to_vec()].concat());
        assert_eq!(minutes(&[receipt(5, "failed", &attempts)]), []);
    }

    #[test]
    fn load_is_no_failure_and_who_left_ends_nothing() {
        let load = receipt(5, "failed", &json!([attempt("a", "failed", "2026-12-01T10:00:05Z", 5, Some("load"))]));
        let left = receipt(9_000, "aborted", &json!([attempt("a", "answered", "2026-12-01T10:00:01Z", 300, None)]));
        let found = minutes(&[load, left]);
        let [(_, 0, minute)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((minute.ok, minute.failed, minute.load, minute.in_row, minute.ok_at), (1, 0, 1, 0, None));
        assert!(minute.failure_text().unwrap().ends_with(" load words"));
        assert_eq!((minute.first_byte.iter().sum::<u64>(), minute.latency.iter().sum::<u64>()), (1, 0));
    }
}
