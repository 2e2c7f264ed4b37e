//! What is known of the candidates, in memory: counts of attempts, changes of status, and who runs the probe round.

use std::collections::BTreeMap;
use std::rc::Rc;

use tokens_forge::account::Row;
use tokens_forge::id::AccountId;
use tokens_forge::ports::{History, RoundEnd, Rounds, Runtime, Unavailable};
use tokens_forge::probe::PROBE_ACCOUNT;
use tokens_forge::rollup::{Minute, Rollup};
use tokens_forge::routing::attempt::FailureKind;
use tokens_forge::routing::health::{
    Board, CandidateId, Counts, HealthStatus, HealthView, Histogram, LastFailure, Met, ProbeResult, RANGES, Recent, Span,
    StatusChange, Witness,
};
use tokens_forge::time::Timestamp;
use tokens_forge::truth::{Promise, Truth};

use super::copy::stored;
use super::outside::{Outside, Yield};

/// How long counts stay in each span, in milliseconds, before they go on to the next; and changes.
const MINUTES_MS: i64 = 3 * 3_600_000;
const HOURS_MS: i64 = 32 * 86_400_000;
const DAYS_MS: i64 = 400 * 86_400_000;
const CHANGES_MS: i64 = 100 * 86_400_000;
const PROBES_MS: i64 = 2 * 86_400_000;
/// How far back the status page shows, in milliseconds.
const SHOWN_MS: i64 = 91 * 86_400_000;
/// More witnesses than this, in characters of their JSON, are not told apart in one minute.
const MOST_WITNESSES: usize = 4_000;

/// Candidate, length of the span, when it began, whether of probes.
type Place = (CandidateId, i64, i64, bool);
type Found<T> = Result<T, Unavailable>;

/// When, of which kind, and in which words.
type Told = (i64, String, String);

/// What attempts came to in one span.
#[derive(Debug, Clone)]
struct Count {
    ok: u64,
    failed: u64,
    load: u64,
    in_row: u32,
    ok_at: Option<i64>,
    failure: Option<Told>,
    witnesses: BTreeMap<String, (u64, Told)>,
    first_byte: [u64; RANGES],
    latency: [u64; RANGES],
}

impl Default for Count {
    fn default() -> Self {
        Self {
            ok: 0,
            failed: 0,
            load: 0,
            in_row: 0,
            ok_at: None,
            failure: None,
            witnesses: BTreeMap::new(),
            first_byte: [0; RANGES],
            latency: [0; RANGES],
        }
    }
}

#[derive(Default)]
pub struct HealthTables {
    counts: BTreeMap<Place, Count>,
    changes: BTreeMap<CandidateId, BTreeMap<Timestamp, StatusChange>>,
    pub probes: Vec<ProbeResult>,
    round: Round,
}

#[derive(Default)]
struct Round {
    health: HealthView,
    lease: String,
    until: Timestamp,
}

impl Count {
    fn of(minute: Minute, witness: &str) -> Self {
        let Minute { ok, failed, load, in_row, ok_at, failure, first_byte, latency } = minute;
        let witnesses = failure.clone().map(|told| (witness.to_owned(), (failed, told))).into_iter().collect();
        Self { ok, failed, load, in_row: in_row.try_into().unwrap(), ok_at, failure, witnesses, first_byte, latency }
    }

    /// What a row becomes when another of the same candidate and span is added.
    fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.load += other.load;
        self.in_row = if other.ok_at.is_some() { other.in_row } else { self.in_row + other.in_row };
        self.ok_at = self.ok_at.max(other.ok_at);
        self.failure = self.failure.take().max(other.failure);
        let add = |all: &mut [u64; RANGES], more: [u64; RANGES]| all.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        add(&mut self.first_byte, other.first_byte);
        add(&mut self.latency, other.latency);
        for (witness, (failed, told)) in other.witnesses {
            let is_full = serde_json::to_string(&self.witnesses).unwrap().len() > MOST_WITNESSES;
            if !is_full || self.witnesses.contains_key(&witness) {
                let met = self.witnesses.entry(witness).or_insert((0, told.clone()));
                *met = (met.0 + failed, told);
            }
        }
    }

    fn told(&self, candidate: &CandidateId, is_probe: bool, start: i64) -> Counts {
        Counts {
            candidate: candidate.clone(),
            is_probe,
            start: Timestamp::from_millis(start),
            ok: self.ok,
            failed: self.failed,
            load: self.load,
            first_byte: Histogram(self.first_byte.to_vec()),
            latency: Histogram(self.latency.to_vec()),
        }
    }
}

fn failure((at, kind, message): &Told) -> LastFailure {
    let kind = FailureKind::parse(kind).unwrap();
    LastFailure { at: Timestamp::from_millis(*at), kind, message: message.clone() }
}

impl HealthTables {
    /// How the status of a candidate changed, oldest first.
    pub fn statuses(&self, channel: &str, upstream_model: &str) -> Vec<HealthStatus> {
        let of = self.changes.iter().filter(|(id, _)| id.channel.as_str() == channel && id.upstream_model == upstream_model);
        of.flat_map(|(_, changes)| changes.values().map(|change| change.status)).collect()
    }

    /// Counts the attempts of the receipts of a batch.
    pub fn count(&mut self, account: &AccountId, rows: &[Row]) {
        let (is_probe, witness) = (account.as_str() == PROBE_ACCOUNT, Witness::of(account).name());
        let mut rollup = Rollup::default();
        rollup.count_stored(&stored(rows)).unwrap();
        for (candidate, start, minute) in rollup.minutes.sums() {
            self.put((candidate.clone(), Span::Minute.millis(), start.millis(), is_probe), Count::of(minute, &witness));
        }
    }

    fn put(&mut self, place: Place, count: Count) {
        match self.counts.get_mut(&place) {
            Some(known) => known.add(count),
            None => drop(self.counts.insert(place, count)),
        }
    }

    /// By spans of this length; without one in one sum of the minutes.
    fn counts(&self, of: &[CandidateId], span: Option<Span>, since: Timestamp) -> Vec<Counts> {
        let longest = span.unwrap_or(Span::Minute).millis();
        let since = span.map_or(since, |span| span.start(since)).millis();
        let mut sums: BTreeMap<(i64, CandidateId, bool), Counts> = BTreeMap::new();
        for ((candidate, length, start, is_probe), count) in &self.counts {
            if !of.contains(candidate) || *length > longest || *start < since {
                continue;
            }
            let begins = span.map_or(0, |span| span.start(Timestamp::from_millis(*start)).millis());
            let told = count.told(candidate, *is_probe, if span.is_some() { begins } else { *start });
            let place = (begins, candidate.clone(), *is_probe);
            let sum = sums.get(&place).map_or(told.clone(), |sum| sum.plus(&told));
            sums.insert(place, sum);
        }
        sums.into_values().collect()
    }

    fn recent(&self, of: &[CandidateId], since: Timestamp) -> Vec<(CandidateId, Recent)> {
        let mut together: BTreeMap<CandidateId, Recent> = BTreeMap::new();
        for ((candidate, length, start, is_probe), count) in &self.counts {
            if !of.contains(candidate) || *length != Span::Minute.millis() || *start < since.millis() || *is_probe {
                continue;
            }
            let sum = together.entry(candidate.clone()).or_default();
            sum.in_row = if count.ok_at.is_some() { count.in_row } else { sum.in_row + count.in_row };
            sum.ok += count.ok;
            sum.failed += count.failed;
            sum.ok_at = sum.ok_at.max(count.ok_at.map(Timestamp::from_millis));
            if let Some(told) = &count.failure
                && sum.failure.as_ref().is_none_or(|old| old.at.millis() <= told.0)
            {
                sum.failure = Some(failure(told));
            }
            for (name, (failed, told)) in &count.witnesses {
                let by = Witness::parse(name).unwrap();
                let met = sum.by.entry(by).or_insert_with(|| Met { failed: 0, failure: failure(told) });
                met.failed += failed;
                met.failure = failure(told);
            }
        }
        together.into_iter().collect()
    }

    /// With the change before.
    fn changes(&self, of: &[CandidateId], since: Timestamp) -> BTreeMap<String, Vec<StatusChange>> {
        let of_candidate = |id: &CandidateId| {
            let changes = self.changes.get(id)?;
            let from = changes.range(..=since).next_back().map_or(Timestamp::default(), |(at, _)| *at);
            let shown: Vec<StatusChange> = changes.range(from..).map(|(_, change)| change.clone()).collect();
            Some((id.to_string(), shown)).filter(|(_, shown)| !shown.is_empty())
        };
        of.iter().filter_map(of_candidate).collect()
    }

    fn end(&mut self, lease: &str, ended: &RoundEnd) -> bool {
        let is_ours = self.round.lease == lease;
        if is_ours {
            for (id, change) in &ended.changes {
                self.changes.entry(id.clone()).or_default().entry(change.at).or_insert_with(|| change.clone());
            }
            self.round = Round { health: ended.health.clone(), ..Round::default() };
        }
        for probe in &ended.probes {
            let is_known = self.probes.iter().any(|known| known.name() == probe.name() && known.at == probe.at);
            if !is_known {
                self.probes.push(probe.clone());
            }
        }
        is_ours
    }

    pub fn tidy(&mut self, now: Timestamp) {
        for (from, to, keep_ms) in [(Span::Minute, Span::Hour, MINUTES_MS), (Span::Hour, Span::Day, HOURS_MS)] {
            let before = to.start(now.plus(-keep_ms)).millis();
            let is_old = |place: &Place| place.1 == from.millis() && place.2 < before;
            let old: Vec<(Place, Count)> = self.counts.extract_if(.., |place, _| is_old(place)).collect();
            for ((candidate, _, start, is_probe), count) in old {
                let start = to.start(Timestamp::from_millis(start)).millis();
                let moved = Count { in_row: 0, witnesses: BTreeMap::new(), ..count };
                self.put((candidate, to.millis(), start, is_probe), moved);
            }
        }
        self.counts.retain(|place, _| place.1 != Span::Day.millis() || place.2 >= now.plus(-DAYS_MS).millis());
        let before = now.plus(-CHANGES_MS);
        for changes in self.changes.values_mut() {
            let stays = changes.range(..=before).next_back().map(|(at, _)| *at);
            changes.retain(|at, _| *at >= before || stays.is_none_or(|stays| *at >= stays));
        }
        self.probes.retain(|probe| probe.at >= now.plus(-PROBES_MS));
    }
}

impl Rounds for Outside {
    async fn begin_round(&self, lease: &str, until: Timestamp) -> Found<Option<HealthView>> {
        let now = self.now();
        let round = &mut self.database().await?.health.round;
        if round.until > now {
            return Ok(None);
        }
        (round.lease, round.until) = (lease.to_owned(), until);
        Ok(Some(round.health.clone()))
    }

    async fn end_round(&self, lease: &str, ended: &RoundEnd) -> Found<()> {
        match self.database().await.map(|mut database| database.health.end(lease, ended)) {
            Ok(true) => {}
            Ok(false) => return Err(Unavailable("the probe round took too long, and another one has begun".to_owned())),
            // The copy for requests does not wait for the history.
            Err(error) => self.log(&format!("health history: {}", error.0)),
        }
        self.0.health.borrow_mut().merge(&ended.health);
        let mut kv = self.kv()?;
        kv.health = ended.health.clone();
        if ended.board.at >= kv.board.at {
            kv.board = Rc::new(ended.board.clone());
        }
        Ok(())
    }

    async fn recent(&self, of: &[CandidateId], since: Timestamp) -> Found<Vec<(CandidateId, Recent)>> {
        Ok(self.database().await?.health.recent(of, since))
    }

    async fn counted(&self, of: &[CandidateId], since: Timestamp) -> Found<Vec<Counts>> {
        Ok(self.database().await?.health.counts(of, None, since))
    }

    async fn truths(&self) -> Found<Vec<(Promise, Truth)>> {
        let now = self.now();
        Ok(self.database().await?.truths(now))
    }

    async fn tidy(&self) -> Found<()> {
        let now = self.now();
        self.database().await?.tidy(now);
        Ok(())
    }
}

impl History for Outside {
    async fn board(&self) -> Rc<Board> {
        Yield(false).await;
        self.kv().map(|kv| Rc::clone(&kv.board)).unwrap_or_default()
    }

    async fn counts(&self, of: &[CandidateId], span: Span, since: Timestamp) -> Found<Vec<Counts>> {
        Ok(self.database().await?.health.counts(of, Some(span), since))
    }

    async fn changes(&self, of: &[CandidateId], since: Timestamp) -> Found<BTreeMap<String, Vec<StatusChange>>> {
        Ok(self.database().await?.health.changes(of, since))
    }

    async fn all_changes(&self, of: &[CandidateId]) -> Rc<BTreeMap<String, Vec<StatusChange>>> {
        let since = self.now().plus(-SHOWN_MS);
        let changes = self.changes(of, since).await;
        Rc::new(changes.unwrap_or_default())
    }
}
