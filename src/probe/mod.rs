//! One probe round: what real requests saw, then what the providers' lists of models say, which is free, then small real calls
//! where nothing else tells enough. The cron runs it each minute.
//!
//! What always holds: a round ends, whoever hangs; of two at the same time one does nothing; what it spends is within each
//! channel's daily cap, because the probe account's keys have it as their budget.
//!
//! Deliberately absent: any influence on who is asked beyond the health that it leaves behind.

mod call;
mod lists;
mod purse;
mod schedule;
mod sold;

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::future::{join, select};
use futures_util::stream::iter;

pub use call::{PROBE_ACCOUNT, probe_account};
pub use sold::candidates;

use crate::catalog::Catalog;
use crate::id::ChannelId;
use crate::ports::{Probing, RoundEnd, Unavailable};
use crate::routing::health::{Board, CandidateId, Health, HealthStatus, HealthView, Observation, ProbeResult, StatusChange};
use crate::time::DAY_MS;

/// So many calls are made at once: the platform opens six connections, and some stay free for our own records.
const CALLS_AT_ONCE: usize = 3;
/// How long the calls may take together, in milliseconds.
const CALLS_MS: u32 = 16_000;
/// How long it may take to find out which calls are paid, in milliseconds.
const CHOOSING_MS: u32 = 5_000;
/// For how long nobody else begins a round, in milliseconds.
const LEASE_MS: i64 = 45_000;
/// What requests saw within this time is looked at, in milliseconds.
const RECENT_MS: i64 = 300_000;
const MONTH_MS: i64 = 30 * DAY_MS;

/// Runs a round; none if somebody else is at it.
pub async fn round<P: Probing>(ports: &P) -> Result<Option<Vec<ProbeResult>>, Unavailable> {
    let catalog = ports.catalog().await?;
    let lease = format!("{:032x}", ports.random());
    let before = match ports.begin_round(&lease, ports.now().plus(LEASE_MS)).await {
        Ok(Some(before)) => before,
        Ok(None) => return Ok(None),
        Err(error) => {
            // Without its history a round still tells requests what it finds.
            ports.log(&format!("health history: {}", error.0));
            HealthView::default()
        }
    };
    let ids = candidates(&catalog);
    let mut view = known(ports, &ids, &before).await;
    let mut probes = lists::round(ports, &catalog, &mut view).await;
    probes.extend(calls(ports, &catalog, &mut view).await);
    let changes = changed(&ids, &before, &view);
    let board = board(ports, &ids, &changes).await;
    ports.end_round(&lease, &RoundEnd { health: view, board, changes, probes: probes.clone() }).await?;
    Ok(Some(probes))
}

/// What the last round, this isolate and the requests of all isolates know, of the candidates that are sold.
async fn known<P: Probing>(ports: &P, ids: &[CandidateId], before: &HealthView) -> HealthView {
    let recent = ports.recent(ids, ports.now().plus(-RECENT_MS)).await.unwrap_or_else(|error| {
        ports.log(&format!("health history: {}", error.0));
        Vec::new()
    });
    let recent: BTreeMap<String, _> = recent.into_iter().map(|(id, recent)| (id.to_string(), recent)).collect();
    let mut merged = before.clone();
    merged.merge(&*ports.health().await);
    let learn = |id: &CandidateId| {
        let name = id.to_string();
        let health = merged.of(id).learn(&recent.get(&name).cloned().unwrap_or_default());
        (name, health)
    };
    HealthView { candidates: ids.iter().map(learn).collect() }
}

/// Calls the candidates that are due, a few at a time, and notes what came of it.
async fn calls<P: Probing>(ports: &P, catalog: &Rc<Catalog>, view: &mut HealthView) -> Vec<ProbeResult> {
    let due = schedule::due(catalog, view, ports.now());
    let mut choice = Choice::default();
    // What was found out in time counts.
    select(Box::pin(choose(ports, catalog, &due, &mut choice)), Box::pin(ports.sleep(CHOOSING_MS))).await;
    let Choice { paid, purse, failed } = choice;
    let unpaid = purse.told().into_iter().chain(failed);
    let calls = paid.into_iter().map(|paid| call::call(ports, catalog, paid));
    let calls = iter(calls).buffer_unordered(CALLS_AT_ONCE).take_until(ports.sleep(CALLS_MS));
    let called: Vec<call::ProbeCall> = calls.collect().await;
    let mut probes: Vec<ProbeResult> = unpaid.map(|(channel, why)| not_made(ports, channel, why)).collect();
    for call::ProbeCall { candidate, at, latency_ms, found, receipt } in called {
        let (ok, failure) = match &found {
            call::ProbeFinding::Answered => (true, None),
            call::ProbeFinding::Failed(_, message) | call::ProbeFinding::Inconclusive(message) => (false, Some(message.clone())),
        };
        let seen = match found {
            call::ProbeFinding::Answered => Observation::Called { failure: None, latency_ms },
            call::ProbeFinding::Failed(kind, message) => Observation::Called { failure: Some((kind, message)), latency_ms },
            call::ProbeFinding::Inconclusive(message) => Observation::Inconclusive { message, latency_ms },
        };
        view.observe(&candidate, seen, at.plus(i64::try_from(latency_ms).unwrap_or(0)));
        probes.push(ProbeResult {
            channel: candidate.channel.to_string(),
            upstream_model: Some(candidate.upstream_model),
            level: 2,
            at,
            ok,
            latency_ms,
            failure,
            receipt: Some(receipt),
        });
    }
    probes
}

/// Who is called in a round.
#[derive(Default)]
struct Choice<'a> {
    paid: Vec<call::Paid<'a>>,
    purse: purse::Purse,
    /// Why the probe account could not be asked, and for whom first.
    failed: Option<(ChannelId, String)>,
}

/// Finds out who is called: what the probe account does not pay takes no place from what it pays.
async fn choose<'a, P: Probing>(ports: &P, catalog: &'a Rc<Catalog>, due: &'a [schedule::ProbeTarget], choice: &mut Choice<'a>) {
    let (mut places, mut keys) = (schedule::Places::default(), call::ProbeKeys::default());
    for target in due {
        if places.is_full() {
            break;
        }
        if !places.has_room(target) {
            continue;
        }
        match call::pay(ports, catalog, target, (&mut keys, &mut choice.purse)).await {
            Ok(Some(paid)) => {
                places.take(target);
                choice.paid.push(paid);
            }
            Ok(None) => {}
            Err(error) => {
                let why = format!("the probe account could not be asked to pay for {}: {}", target.candidate, error.0);
                choice.failed = Some((target.candidate.channel.clone(), why));
                break;
            }
        }
    }
}

/// What is told of a channel whose calls the probe account does not pay: in the log and among what was probed.
fn not_made<P: Probing>(ports: &P, channel: ChannelId, why: String) -> ProbeResult {
    ports.log(&format!("probes of channel {channel}: {why}"));
    ProbeResult {
        channel: channel.to_string(),
        upstream_model: None,
        level: 2,
        at: ports.now(),
        ok: false,
        latency_ms: 0,
        failure: Some(why),
        receipt: None,
    }
}

/// Whose status is another than at the end of the last round, and since when.
fn changed(ids: &[CandidateId], before: &HealthView, after: &HealthView) -> Vec<(CandidateId, StatusChange)> {
    let change = |id: &CandidateId| {
        let (old, new): (Health, Health) = (before.of(id), after.of(id));
        let cause = match new.status {
            HealthStatus::Degraded | HealthStatus::Down => new.last_failure.map(|failure| failure.message).unwrap_or_default(),
            HealthStatus::Up | HealthStatus::Unknown => String::new(),
        };
        (old.status != new.status).then(|| (id.clone(), StatusChange { at: new.since, status: new.status, cause }))
    };
    ids.iter().filter_map(change).collect()
}

/// What is shown of all candidates until the next round.
async fn board<P: Probing>(ports: &P, ids: &[CandidateId], new: &[(CandidateId, StatusChange)]) -> Board {
    let now = ports.now();
    let lost = |error: Unavailable| ports.log(&format!("health history: {}", error.0));
    let mut changes = ports.changes(ids, now.plus(-MONTH_MS)).await.map_err(lost).unwrap_or_default();
    for (id, change) in new {
        let known = changes.entry(id.to_string()).or_default();
        known.push(change.clone());
        known.sort_by_key(|change| change.at);
    }
    let (counts, truths) = join(ports.counted(ids, now.plus(-1_800_000)), ports.truths()).await;
    let board = Board::new(ids, &changes, &counts.map_err(lost).unwrap_or_default(), now);
    match truths {
        Ok(truths) => board.with(truths),
        // What was true a minute ago says more than nothing.
        Err(error) => {
            lost(error);
            Board { truths: ports.board().await.truths.clone(), ..board }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChannelId;
    use crate::routing::attempt::FailureKind;
    use crate::time::Timestamp;

    #[test]
    fn only_what_changed_is_told_with_its_cause_and_when_it_began() {
        let id = |channel: &str| CandidateId { channel: ChannelId::parse(channel).unwrap(), upstream_model: "m".to_owned() };
        let at = Timestamp::from_millis;
        let mut before = HealthView::default();
        before.observe(&id("a"), Observation::Answered, at(1));
        before.observe(&id("b"), Observation::Answered, at(1));
        let mut after = before.clone();
        let failed =
            Observation::Failed { kind: FailureKind::Credential, message: "no".to_owned(), retry_after_s: None, by: None };
        after.observe(&id("b"), failed, at(7));
        after.observe(&id("c"), Observation::Called { failure: None, latency_ms: 1 }, at(8));
        let told = changed(&[id("a"), id("b"), id("c"), id("d")], &before, &after);
        let expected = [
            (id("b"), StatusChange { at: at(7), status: HealthStatus::Down, cause: "no".to_owned() }),
            (id("c"), StatusChange { at: at(8), status: HealthStatus::Up, cause: String::new() }),
        ];
        assert_eq!(told, expected);
        assert_eq!(changed(&[id("b")], &after, &after), []);
    }
}
