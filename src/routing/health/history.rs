//! What the changes of a status add up to: uptime, days, bars, incidents; and the status of a route by that of its candidates.
//!
//! What always holds: only changes are kept, so a status holds until the next one; time in which nothing was known counts
//! neither for nor against. Changes are in rising order of time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::HealthStatus;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, Period, Timestamp};

/// What is only degraded and shorter than this is no incident, in milliseconds.
const SHORT_MS: u64 = 300_000;

/// From when on a status holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// From when on.
    pub at: Timestamp,
    /// Which.
    pub status: HealthStatus,
    /// Why, in words; empty where it is up.
    pub cause: String,
}

/// How long the counts of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Span {
    Minute,
    Hour,
    Day,
}

impl Span {
    /// Its length, in milliseconds.
    pub const fn millis(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// The start of the span that a moment is in.
    pub const fn start(self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.millis().saturating_sub(at.millis().rem_euclid(self.millis())))
    }
}

/// One day in UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// When it began.
    pub start: Timestamp,
    /// The share of its known time in which the status was not down.
    pub uptime: Option<f64>,
    /// The worst status in it.
    pub worst: HealthStatus,
    /// For how long it was down, in milliseconds.
    pub down_ms: u64,
}

/// A time in which something was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The worst of it.
    pub status: HealthStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over; none if it is not.
    pub ended_at: Option<Timestamp>,
    /// Why, in words.
    pub cause: String,
}

/// The status at a moment.
pub fn status_at(changes: &[StatusChange], at: Timestamp) -> HealthStatus {
    changes.iter().rev().find(|change| change.at <= at).map_or(HealthStatus::Unknown, |change| change.status)
}

/// How long each status held between two moments, in order.
fn pieces(changes: &[StatusChange], from: Timestamp, to: Timestamp) -> Vec<(HealthStatus, u64)> {
    let mut pieces = Vec::new();
    let (mut status, mut since) = (status_at(changes, from), from);
    for change in changes.iter().filter(|change| change.at > from && change.at < to) {
        pieces.push((status, change.at.since(since)));
        (status, since) = (change.status, change.at);
    }
    pieces.push((status, to.since(since)));
    pieces
}

/// The share of the known time between two moments in which the status was not down; none if nothing was known.
pub fn uptime(changes: &[StatusChange], from: Timestamp, to: Timestamp) -> Option<f64> {
    let sum = |of: &dyn Fn(HealthStatus) -> bool| {
        pieces(changes, from, to).iter().filter(|(status, _)| of(*status)).fold(0_u64, |sum, (_, ms)| sum.saturating_add(*ms))
    };
    let known = sum(&|status| status != HealthStatus::Unknown);
    let down = sum(&|status| status == HealthStatus::Down);
    (known > 0).then(|| known.saturating_sub(down) as f64 / known as f64)
}

/// The last days, oldest first; the last one as far as it has come.
pub fn days(changes: &[StatusChange], count: u32, now: Timestamp) -> Vec<Day> {
    let today = Period::Day.start(now);
    let day = |back: u32| {
        let start = today.plus(i64::from(back).saturating_mul(-DAY_MS));
        let end = start.plus(DAY_MS).min(now);
        let pieces = pieces(changes, start, end);
        let down_ms = pieces
            .iter()
            .filter(|(status, _)| *status == HealthStatus::Down)
            .fold(0, |sum: u64, (_, ms)| sum.saturating_add(*ms));
        Day { start, uptime: uptime(changes, start, end), worst: worst(&pieces), down_ms }
    };
    (0..count).rev().map(day).collect()
}

/// The worst status in each of so many equal parts of a time, oldest first.
pub fn bars(changes: &[StatusChange], (from, to): (Timestamp, Timestamp), count: u32) -> Vec<HealthStatus> {
    let length = i64::try_from(to.since(from)).unwrap_or(0).checked_div(i64::from(count)).unwrap_or(0);
    let start = |place: u32| from.plus(length.saturating_mul(i64::from(place)));
    (0..count).map(|place| worst(&pieces(changes, start(place), start(place.saturating_add(1))))).collect()
}

fn worst(pieces: &[(HealthStatus, u64)]) -> HealthStatus {
    pieces.iter().filter(|(_, ms)| *ms > 0).map(|(status, _)| *status).max().unwrap_or_default()
}

/// The changes of a route by those of its candidates, each with its tier and its name.
pub fn of_route(candidates: &[(u8, &str, &[StatusChange])]) -> Vec<StatusChange> {
    let mut moments: BTreeMap<Timestamp, ()> = BTreeMap::new();
    moments.extend(candidates.iter().flat_map(|(_, _, changes)| changes.iter().map(|change| (change.at, ()))));
    let mut together: Vec<StatusChange> = Vec::new();
    for at in moments.into_keys() {
        let now: Vec<(u8, &str, Option<&StatusChange>)> = candidates
            .iter()
            .map(|(tier, name, changes)| (*tier, *name, changes.iter().rev().find(|change| change.at <= at)))
            .collect();
        let (status, cause) = route_status(&now);
        if together.last().map_or(HealthStatus::Unknown, |last| last.status) != status {
            together.push(StatusChange { at, status, cause });
        }
    }
    together
}

/// Up while a primary is; down when everything is; in between, a backup serves.
fn route_status(candidates: &[(u8, &str, Option<&StatusChange>)]) -> (HealthStatus, String) {
    let first = candidates.iter().map(|(tier, _, _)| *tier).min().unwrap_or(0);
    let status = |change: &Option<&StatusChange>| change.map_or(HealthStatus::Unknown, |change| change.status);
    let told = |of: &dyn Fn(u8, HealthStatus) -> bool| {
        let found = candidates.iter().find(|(tier, _, change)| of(*tier, status(change)));
        found.and_then(|(_, name, change)| change.map(|change| format!("{name}: {}", change.cause))).unwrap_or_default()
    };
    let primary = || candidates.iter().filter(|(tier, _, _)| *tier == first).map(|(_, _, change)| status(change));
    if primary().any(|status| status == HealthStatus::Up) {
        return (HealthStatus::Up, String::new());
    }
    if !candidates.is_empty() && candidates.iter().all(|(_, _, change)| status(change) == HealthStatus::Down) {
        return (HealthStatus::Down, told(&|_, status| status == HealthStatus::Down));
    }
    if primary().any(|status| status != HealthStatus::Unknown) {
        return (HealthStatus::Degraded, told(&|tier, status| tier == first && status != HealthStatus::Unknown));
    }
    (HealthStatus::Unknown, String::new())
}

/// The times in which it was not as it should be, newest first: all outages, and what was degraded for some minutes.
pub fn incidents(changes: &[StatusChange], now: Timestamp) -> Vec<Incident> {
    let mut incidents: Vec<Incident> = Vec::new();
    let mut open: Option<Incident> = None;
    for change in changes {
        let is_fine = matches!(change.status, HealthStatus::Up | HealthStatus::Unknown);
        open = match open.take() {
            Some(incident) if is_fine => {
                incidents.push(Incident { ended_at: Some(change.at), ..incident });
                None
            }
            Some(incident) if change.status > incident.status => {
                Some(Incident { status: change.status, cause: change.cause.clone(), ..incident })
            }
            Some(incident) => Some(incident),
            None if is_fine => None,
            None => Some(Incident { status: change.status, started_at: change.at, ended_at: None, cause: change.cause.clone() }),
        };
    }
    incidents.extend(open);
    let length = |incident: &Incident| incident.ended_at.unwrap_or(now).since(incident.started_at);
    incidents.retain(|incident| incident.status == HealthStatus::Down || length(incident) >= SHORT_MS);
    incidents.reverse();
    incidents
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(20_000 * DAY_MS + minutes * 60_000)
    }

    fn change(minutes: i64, status: HealthStatus) -> StatusChange {
        StatusChange { at: at(minutes), status, cause: format!("{} at {minutes}", status.as_str()) }
    }

    use HealthStatus::{Degraded, Down, Unknown, Up};

    #[test]
    fn uptime_is_the_share_of_the_known_time_that_was_not_down() {
        let changes = [change(10, Up), change(20, Down), change(25, Degraded), change(30, Up)];
        for (from, to, expected) in [
            (0, 10, None),
            (0, 20, Some(1.0)),
            (10, 30, Some(0.75)),
            (20, 25, Some(0.0)),
            (21, 29, Some(0.5)),
            (30, 90, Some(1.0)),
            (40, 40, None),
        ] {
            assert_eq!(uptime(&changes, at(from), at(to)), expected, "{from} to {to}");
        }
        assert_eq!(uptime(&[], at(0), at(10)), None);
    }

    #[test]
    fn days_and_bars_tell_the_worst_of_each() {
        let changes = [change(60, Up), change(1440 + 30, Down), change(1440 + 60, Up), change(2 * 1440 + 5, Degraded)];
        let told: Vec<(HealthStatus, u64)> =
            days(&changes, 4, at(2 * 1440 + 90)).iter().map(|day| (day.worst, day.down_ms / 60_000)).collect();
        assert_eq!(told, [(Unknown, 0), (Up, 0), (Down, 30), (Degraded, 0)]);
        assert_eq!(bars(&changes, (at(1440), at(1440 + 120)), 4), [Up, Down, Up, Up]);
        assert_eq!(bars(&[], (at(0), at(0)), 2), [Unknown, Unknown]);
    }

    #[test]
    fn a_route_is_down_when_everything_is_and_degraded_while_a_backup_serves() {
        let primary = [change(0, Up), change(10, Down), change(40, Up)];
        let backup = [change(0, Up), change(20, Down), change(30, Up)];
        let route = of_route(&[(0, "a/m", &primary), (1, "b/m", &backup)]);
        let told: Vec<(Timestamp, HealthStatus)> = route.iter().map(|change| (change.at, change.status)).collect();
        assert_eq!(told, [(at(0), Up), (at(10), Degraded), (at(20), Down), (at(30), Degraded), (at(40), Up)]);
        assert_eq!(route[1].cause, "a/m: down at 10");
        assert!(of_route(&[(0, "a/m", &[])]).is_empty());
        let unknown = of_route(&[(0, "a/m", &[]), (1, "b/m", &backup)]);
        assert!(unknown.is_empty(), "of the primary nothing is known: {unknown:?}");
    }

    #[test]
    fn an_incident_is_an_outage_or_what_lasts() {
        let changes = [
            change(0, Up),
            change(10, Degraded),
            change(11, Up),
            change(20, Degraded),
            change(21, Down),
            change(50, Up),
            change(60, Degraded),
        ];
        let told = incidents(&changes, at(62));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].status, told[0].started_at, told[0].ended_at), (Down, at(20), Some(at(50))));
        assert_eq!(told[0].cause, "down at 21");
        assert_eq!(incidents(&changes, at(65)).first().map(|incident| incident.ended_at), Some(None));
    }

    proptest! {
        #[test]
        fn the_parts_of_a_time_add_up(steps in prop::collection::vec((1_i64..400, 0_usize..4), 0..30), cut in 0_i64..3_000) {
            let mut minute = 0;
            let mut changes = Vec::new();
            for (step, status) in steps {
                minute += step;
                changes.push(change(minute, [Unknown, Up, Degraded, Down][status]));
            }
            let (from, middle, to) = (at(0), at(cut), at(3_000));
            let sum = |pieces: Vec<(HealthStatus, u64)>| {
                pieces.into_iter().fold([0_u64; 4], |mut sum, (status, ms)| { sum[status as usize] += ms; sum })
            };
            let (a, b) = (sum(pieces(&changes, from, middle)), sum(pieces(&changes, middle, to)));
            let both: Vec<u64> = a.iter().zip(b).map(|(a, b)| a + b).collect();
            prop_assert_eq!(&both[..], &sum(pieces(&changes, from, to))[..]);
            prop_assert_eq!(both.iter().sum::<u64>(), 3_000 * 60_000);
            let share = uptime(&changes, from, to);
            prop_assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)));
        }
    }
}
