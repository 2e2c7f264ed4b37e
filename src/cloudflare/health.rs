//! What is known of the candidates, in D1: counts of attempts, changes of status, and the row that says who runs the probe round.
//!
//! What always holds: an attempt is counted in exactly one row, because its receipt arrives once and rows are moved in one
//! transaction; a round that lost its lease changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Value, json};
use wasm_bindgen::JsValue;

use super::bound::{IF_NEW, number};
use super::outside::{Fetched, Outside, failed};
use super::request_port::HEALTH_KEY;
use super::{cache, clock, truth};
use crate::ports::{History, Kept, PageCache, RoundEnd, Rounds, Runtime, Unavailable};
use crate::probe::PROBE_ACCOUNT;
use crate::routing::attempt::FailureKind;
use crate::routing::health::{
    Board, CandidateId, Counts, HealthStatus, HealthView, LastFailure, Met, ProbeResult, RANGES, Recent, Span, StatusChange,
    Witness,
};
use crate::time::{DAY_MS, HOUR_MS, Timestamp};
use crate::truth::{Promise, Truth};

const BOARD_KEY: &str = "health:board";
/// How long counts stay in each span, in milliseconds, before they go on to the next; and changes.
const MINUTES_MS: i64 = 3 * HOUR_MS;
const HOURS_MS: i64 = 32 * DAY_MS;
const DAYS_MS: i64 = 400 * DAY_MS;
const CHANGES_MS: i64 = 100 * DAY_MS;
/// How far back the status page shows, in milliseconds.
const SHOWN_MS: i64 = 91 * DAY_MS;
const PROBES_MS: i64 = 2 * DAY_MS;

/// For each range of both histograms, its column put into a pattern.
fn columns(pattern: &str) -> String {
    let mut text = String::new();
    for name in ["f", "l"] {
        for range in 0..RANGES {
            let _ = write!(text, ", {}", pattern.replace('#', &format!("{name}{range}")));
        }
    }
    text
}

/// What a row that is there becomes when another of the same candidate and span is added; `witnesses` is what becomes of those.
fn added(witnesses: &str) -> String {
    format!(
        "ON CONFLICT DO UPDATE SET ok = ok + excluded.ok, failed = failed + excluded.failed, load = load + excluded.load,
           in_row = CASE WHEN excluded.ok_at IS NOT NULL THEN excluded.in_row ELSE in_row + excluded.in_row END,
           ok_at = NULLIF(MAX(COALESCE(ok_at, 0), COALESCE(excluded.ok_at, 0)), 0),
           failure = NULLIF(MAX(COALESCE(failure, ''), COALESCE(excluded.failure, '')), ''), witnesses = {witnesses}{}",
        columns("# = # + excluded.#")
    )
}

/// Of one account's failures in a minute: how many, load apart, and the last one. An object by witness, of bounded length.
const WITNESSES: &str = "CASE WHEN excluded.witnesses IS NULL THEN witnesses WHEN witnesses IS NULL THEN excluded.witnesses
    WHEN length(witnesses) > 4000 AND json_extract(witnesses, '$.\"' || ?4 || '\"') IS NULL THEN witnesses
    ELSE json_set(witnesses, '$.\"' || ?4 || '\"', json_array(
      COALESCE(json_extract(witnesses, '$.\"' || ?4 || '\"[0]'), 0) + json_extract(excluded.witnesses, '$.\"' || ?4 || '\"[0]'),
      json_extract(excluded.witnesses, '$.\"' || ?4 || '\"[1]'))) END";

/// Adds what [`Minutes::rows`](crate::rollup::Minutes::rows) says: in the outbox's transaction. Bound besides what every statement of a
/// batch has: what the account is called as a witness.
pub fn counting() -> String {
    let ranges: String = (10..).take(2 * RANGES).map(|place| format!(", value->>{place}")).collect();
    format!(
        "INSERT INTO health_counts (channel, upstream_model, is_probe, span, start, ok, failed, load, in_row, ok_at, failure, witnesses{})
         SELECT value->>0, value->>1, ?2 = '{PROBE_ACCOUNT}', 60000, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8,
           value->>9{ranges} FROM json_each(?1) WHERE {} {}",
        columns("#"),
        IF_NEW,
        added(WITNESSES)
    )
}

/// The candidates as JSON, to be joined with.
fn listed(of: &[CandidateId]) -> JsValue {
    let pairs: Vec<Value> = of.iter().map(|id| json!([id.channel, id.upstream_model])).collect();
    JsValue::from_str(&Value::from(pairs).to_string())
}

const OF_LISTED: &str = "FROM json_each(?1) c JOIN health_counts h ON h.channel = c.value->>0 AND h.upstream_model = c.value->>1";

fn counts_doc(of: &str, start: &str) -> String {
    let list = |name: &str| (0..RANGES).map(|range| of.replace('#', &format!("h.{name}{range}"))).collect::<Vec<_>>().join(", ");
    let one = |name: &str| of.replace('#', &format!("h.{name}"));
    format!(
        "json_object('channel', h.channel, 'upstream_model', h.upstream_model, 'is_probe', json(CASE WHEN h.is_probe THEN 'true' ELSE 'false' END),
           'start', strftime('%Y-%m-%dT%H:%M:%SZ', {start} / 1000, 'unixepoch'), 'ok', {}, 'failed', {}, 'load', {},
           'first_byte', json_array({}), 'latency', json_array({})) AS doc",
        one("ok"),
        one("failed"),
        one("load"),
        list("f"),
        list("l")
    )
}

/// What attempts came to by span. What has not moved on to that span yet is summed up from shorter ones.
pub async fn counts(outside: &Outside, of: &[CandidateId], span: Span, since: Timestamp) -> Fetched<Vec<Counts>> {
    let start = format!("(h.start - h.start % {})", span.millis());
    let statement = format!(
        "SELECT {} {OF_LISTED} AND h.span <= CAST(?2 AS INTEGER) AND h.start >= CAST(?3 AS INTEGER)
         GROUP BY h.channel, h.upstream_model, h.is_probe, {start} ORDER BY {start}",
        counts_doc("SUM(#)", &start)
    );
    outside.d1(&statement, &[listed(of), number(span.millis()), number(span.start(since).millis())]).await
}

/// What attempts came to since then, in one sum for each candidate.
pub async fn counted(outside: &Outside, of: &[CandidateId], since: Timestamp) -> Fetched<Vec<Counts>> {
    let statement = format!(
        "SELECT {} {OF_LISTED} AND h.span = 60000 AND h.start >= CAST(?2 AS INTEGER) GROUP BY h.channel, h.upstream_model, h.is_probe",
        counts_doc("SUM(#)", "MIN(h.start)")
    );
    outside.d1(&statement, &[listed(of), number(since.millis())]).await
}

#[derive(Deserialize)]
struct Minute {
    #[serde(flatten)]
    candidate: CandidateId,
    ok: u64,
    failed: u64,
    in_row: u32,
    ok_at: Option<i64>,
    failure: Option<String>,
    witnesses: Option<BTreeMap<String, (u64, String)>>,
}

/// What requests saw since then, those of probes apart.
pub async fn recent(outside: &Outside, of: &[CandidateId], since: Timestamp) -> Fetched<Vec<(CandidateId, Recent)>> {
    let statement = format!(
        "SELECT json_object('channel', h.channel, 'upstream_model', h.upstream_model, 'ok', h.ok, 'failed', h.failed, 'in_row', h.in_row,
           'ok_at', h.ok_at, 'failure', h.failure, 'witnesses', json(h.witnesses)) AS doc
         {OF_LISTED} AND h.span = 60000 AND h.start >= CAST(?2 AS INTEGER) AND h.is_probe = 0 ORDER BY h.start"
    );
    let minutes: Vec<Minute> = outside.d1(&statement, &[listed(of), number(since.millis())]).await?;
    let mut together: BTreeMap<CandidateId, Recent> = BTreeMap::new();
    for minute in minutes {
        let sum = together.entry(minute.candidate).or_default();
        sum.in_row = if minute.ok_at.is_some() { minute.in_row } else { sum.in_row.saturating_add(minute.in_row) };
        sum.ok = sum.ok.saturating_add(minute.ok);
        sum.failed = sum.failed.saturating_add(minute.failed);
        sum.ok_at = sum.ok_at.max(minute.ok_at.map(Timestamp::from_millis));
        if let Some(failure) =
            minute.failure.as_deref().and_then(failure).filter(|new| sum.failure.as_ref().is_none_or(|old| old.at <= new.at))
        {
            sum.failure = Some(failure);
        }
        for (name, (failed, text)) in minute.witnesses.unwrap_or_default() {
            let Some((by, failure)) = Witness::parse(&name).zip(failure(&text)) else { continue };
            let met = sum.by.entry(by).or_insert_with(|| Met { failed: 0, failure: failure.clone() });
            met.failed = met.failed.saturating_add(failed);
            met.failure = failure;
        }
    }
    Ok(together.into_iter().collect())
}

/// Reads what `counting` wrote.
fn failure(text: &str) -> Option<LastFailure> {
    let (at, rest) = text.split_once(' ')?;
    let (kind, message) = rest.split_once(' ')?;
    Some(LastFailure {
        at: Timestamp::from_millis(at.parse().ok()?),
        kind: FailureKind::parse(kind)?,
        message: message.to_owned(),
    })
}

#[derive(Deserialize)]
struct ChangeRow {
    candidate: String,
    at: i64,
    status: HealthStatus,
    cause: String,
}

/// How the status changed since then, with the change before.
pub async fn changes(outside: &Outside, of: &[CandidateId], since: Timestamp) -> Fetched<BTreeMap<String, Vec<StatusChange>>> {
    let statement = "SELECT json_object('candidate', h.channel || '/' || h.upstream_model, 'at', h.at, 'status', h.status, 'cause', h.cause) AS doc
         FROM json_each(?1) c JOIN health_changes h ON h.channel = c.value->>0 AND h.upstream_model = c.value->>1
         WHERE h.at >= (SELECT COALESCE(MAX(b.at), 0) FROM health_changes b
           WHERE b.channel = h.channel AND b.upstream_model = h.upstream_model AND b.at <= CAST(?2 AS INTEGER)) ORDER BY h.at";
    let rows: Vec<ChangeRow> = outside.d1(statement, &[listed(of), number(since.millis())]).await?;
    let mut by_candidate: BTreeMap<String, Vec<StatusChange>> = BTreeMap::new();
    for ChangeRow { candidate, at, status, cause } in rows {
        by_candidate.entry(candidate).or_default().push(StatusChange { at: Timestamp::from_millis(at), status, cause });
    }
    Ok(by_candidate)
}

/// Takes the round.
pub async fn begin_round(outside: &Outside, lease: &str, until: Timestamp) -> Fetched<Option<HealthView>> {
    let statement = "UPDATE health_round SET lease = ?1, lease_until = CAST(?2 AS INTEGER) WHERE id = 1 AND lease_until <= CAST(?3 AS INTEGER) RETURNING doc";
    let docs = outside.texts(statement, &[lease.into(), number(until.millis()), number(clock::now().millis())]).await?;
    docs.first().map(|doc| serde_json::from_str(doc).map_err(failed)).transpose()
}

/// Keeps what a round found; false if it is not ours any more. Changes come first: a round that dies in between repeats them.
pub async fn end_round(outside: &Outside, lease: &str, ended: &RoundEnd) -> Fetched<bool> {
    let row = |(id, change): &(CandidateId, StatusChange)| {
        json!([id.channel, id.upstream_model, change.at.millis(), change.status, change.cause])
    };
    let rows = Value::from(ended.changes.iter().map(row).collect::<Vec<_>>()).to_string();
    let statement = "INSERT OR IGNORE INTO health_changes (channel, upstream_model, at, status, cause)
         SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(?1) WHERE EXISTS (SELECT 1 FROM health_round WHERE lease = ?2)";
    if !ended.changes.is_empty() {
        outside.texts(statement, &[rows.as_str().into(), lease.into()]).await?;
    }
    let doc = serde_json::to_string(&ended.health).map_err(failed)?;
    let statement =
        "UPDATE health_round SET doc = ?1, lease = '', lease_until = 0 WHERE id = 1 AND lease = ?2 RETURNING '' AS doc";
    let is_ours = !outside.texts(statement, &[doc.as_str().into(), lease.into()]).await?.is_empty();
    let statement = "INSERT OR IGNORE INTO probes (channel, at, ok, latency_ms, failure) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(?1)";
    let row = |probe: &ProbeResult| json!([probe.name(), probe.at.millis(), probe.ok, probe.latency_ms, probe.failure]);
    let rows = Value::from(ended.probes.iter().map(row).collect::<Vec<_>>()).to_string();
    outside.texts(statement, &[rows.as_str().into()]).await?;
    Ok(is_ours)
}

/// Moves old counts on, in one transaction each, and forgets what is older than is shown.
pub async fn tidy(outside: &Outside) -> Fetched<()> {
    let now = clock::now();
    for (from, to, keep_ms) in [(Span::Minute, Span::Hour, MINUTES_MS), (Span::Hour, Span::Day, HOURS_MS)] {
        let (from, length) = (from.millis(), to.millis());
        let moving = format!(
            "INSERT INTO health_counts (channel, upstream_model, is_probe, span, start, ok, failed, load, in_row, ok_at, failure, witnesses{})
             SELECT channel, upstream_model, is_probe, {length}, start - start % {length}, SUM(ok), SUM(failed), SUM(load), 0, MAX(ok_at), MAX(failure), NULL{}
             FROM health_counts WHERE span = {from} AND start < CAST(?1 AS INTEGER) GROUP BY 1, 2, 3, 5 {}",
            columns("#"),
            columns("SUM(#)"),
            added("NULL")
        );
        let moved = format!("DELETE FROM health_counts WHERE span = {from} AND start < CAST(?1 AS INTEGER)");
        let before = to.start(now.plus(-keep_ms));
        outside.together(&[(&moving, &[number(before.millis())]), (&moved, &[number(before.millis())])]).await?;
    }
    let forget = |ms: i64| [number(now.plus(-ms).millis())];
    let days = format!("DELETE FROM health_counts WHERE span = {} AND start < CAST(?1 AS INTEGER)", Span::Day.millis());
    let changes = "DELETE FROM health_changes AS a WHERE at < CAST(?1 AS INTEGER) AND EXISTS (SELECT 1 FROM health_changes b
        WHERE b.channel = a.channel AND b.upstream_model = a.upstream_model AND b.at > a.at AND b.at <= CAST(?1 AS INTEGER))";
    let probes = "DELETE FROM probes WHERE at < CAST(?1 AS INTEGER)";
    let (truths, unshown) = truth::forgetting(now);
    let forgotten: [(&str, &[JsValue]); 4] =
        [(&days, &forget(DAYS_MS)), (changes, &forget(CHANGES_MS)), (probes, &forget(PROBES_MS)), (truths, &unshown)];
    outside.together(&forgotten).await
}

impl History for Outside {
    async fn board(&self) -> Rc<Board> {
        let (board, is_stale) = cache::board(clock::now());
        if !is_stale {
            return board;
        }
        match self.kv_text(BOARD_KEY).await {
            Ok(text) => {
                let read = text.and_then(|text| serde_json::from_str::<Board>(&text).ok());
                cache::put_board(Rc::new(read.unwrap_or_default()), clock::now())
            }
            Err(error) => {
                self.log(&format!("board: {}", error.0));
                board
            }
        }
    }

    async fn counts(&self, of: &[CandidateId], span: Span, since: Timestamp) -> Fetched<Vec<Counts>> {
        counts(self, of, span, since).await
    }

    async fn changes(&self, of: &[CandidateId], since: Timestamp) -> Fetched<BTreeMap<String, Vec<StatusChange>>> {
        changes(self, of, since).await
    }

    async fn all_changes(&self, of: &[CandidateId]) -> Rc<BTreeMap<String, Vec<StatusChange>>> {
        let now = clock::now();
        if let Some(known) = cache::changes(now) {
            return known;
        }
        match changes(self, of, now.plus(-SHOWN_MS)).await {
            Ok(read) => cache::put_changes(Rc::new(read), now),
            Err(error) => {
                self.log(&format!("health history: {}", error.0));
                Rc::default()
            }
        }
    }
}

impl Rounds for Outside {
    async fn begin_round(&self, lease: &str, until: Timestamp) -> Fetched<Option<HealthView>> {
        begin_round(self, lease, until).await
    }

    async fn end_round(&self, lease: &str, ended: &RoundEnd) -> Fetched<()> {
        match end_round(self, lease, ended).await {
            Ok(true) => {}
            Ok(false) => return Err(Unavailable("the probe round took too long, and another one has begun".to_owned())),
            // The copy for requests does not wait for the history.
            Err(error) => self.log(&format!("health history: {}", error.0)),
        }
        cache::merge_health(&ended.health);
        let board = cache::put_board(Rc::new(ended.board.clone()), clock::now());
        self.kv_put(HEALTH_KEY, &serde_json::to_string(&ended.health).map_err(failed)?).await?;
        self.kv_put(BOARD_KEY, &serde_json::to_string(&*board).map_err(failed)?).await
    }

    async fn recent(&self, of: &[CandidateId], since: Timestamp) -> Fetched<Vec<(CandidateId, Recent)>> {
        recent(self, of, since).await
    }

    async fn counted(&self, of: &[CandidateId], since: Timestamp) -> Fetched<Vec<Counts>> {
        counted(self, of, since).await
    }

    async fn truths(&self) -> Fetched<Vec<(Promise, Truth)>> {
        truth::sums(self, clock::now()).await
    }

    async fn tidy(&self) -> Fetched<()> {
        tidy(self).await
    }
}

impl PageCache for Outside {
    fn kept_page(&self, address: &str) -> Option<Kept> {
        cache::page(address, clock::now())
    }

    fn keep_page(&self, address: String, page: Kept) {
        cache::put_page(address, page, clock::now());
    }
}
