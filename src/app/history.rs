//! How a model's candidates fared over a time, as points for a chart, changes of status and incidents.

use std::collections::BTreeMap;

use serde::Serialize;

use super::models;
use super::principal::Principal;
use super::shown::{self, Shown};
use super::truth::{self, TruthByRoute};
use super::use_case::UseCase;
use crate::catalog::{Catalog, Model, Route, RouteKind};
use crate::id::ModelName;
use crate::ports::{self, HealthCopy, Runtime, Sold};
use crate::refusal::Refusal;
use crate::routing::health::{
    CandidateId, Counts, HealthStatus, HealthView, Incident, LastFailure, Percentiles, Probe, Span, StatusChange, bars,
    incidents, of_route, uptime, window,
};
use crate::time::Timestamp;

/// What is known of a model over a time.
pub struct History {
    /// How long a point is.
    pub span: Span,
    /// From when on.
    pub since: Timestamp,
    /// Until when.
    pub now: Timestamp,
    /// Of each candidate.
    pub counts: Vec<Counts>,
    /// Of each candidate, by `channel/upstream_model`.
    pub changes: BTreeMap<String, Vec<StatusChange>>,
}

/// A point of a chart. Times are those of requests, and only without any those of probes.
pub struct Point {
    /// When it begins.
    pub start: Timestamp,
    /// What requests came to.
    pub real: Option<Counts>,
    /// What probes came to.
    pub probes: Option<Counts>,
    /// The share of it in which the candidate was not down.
    pub uptime: Option<f64>,
    /// The worst status in it.
    pub worst: HealthStatus,
}

/// The candidates of a model, each once.
pub fn candidates(model: &Model) -> Vec<CandidateId> {
    let mut ids: Vec<CandidateId> = model.routes.iter().flat_map(|route| &route.candidates).map(CandidateId::of).collect();
    ids.sort();
    ids.dedup();
    ids
}

impl History {
    /// Reads what is known of candidates over a time.
    pub async fn read<P: Runtime + ports::History>(
        ports: &P,
        of: &[CandidateId],
        (span, since): (Span, Timestamp),
    ) -> Result<Self, Refusal> {
        let (counts, changes) = futures_util::future::join(ports.counts(of, span, since), ports.changes(of, since)).await;
        Ok(Self { span, since, now: ports.now(), counts: counts?, changes: changes? })
    }

    /// How a candidate's status changed.
    pub fn changes_of(&self, id: &CandidateId) -> &[StatusChange] {
        self.changes.get(&id.to_string()).map_or(&[], Vec::as_slice)
    }

    /// The points of candidates together, oldest first, without a gap; `changes` are those of the status that they have together.
    pub fn points(&self, ids: &[CandidateId], changes: &[StatusChange]) -> Vec<Point> {
        let mut points = Vec::new();
        let mut start = self.span.start(self.since);
        while start <= self.now {
            let end = start.plus(self.span.millis());
            let of = |is_probe: bool| {
                let is_own =
                    |counts: &&Counts| counts.start == start && counts.is_probe == is_probe && ids.contains(&counts.candidate);
                Counts::sum(self.counts.iter().filter(is_own))
            };
            let until = end.min(self.now);
            let (uptime, worst) = (uptime(changes, start, until), worst(changes, start, until));
            points.push(Point { start, real: of(false), probes: of(true), uptime, worst });
            start = end;
        }
        points
    }
}

/// The worst status between two moments.
pub fn worst(changes: &[StatusChange], from: Timestamp, to: Timestamp) -> HealthStatus {
    bars(changes, (from, to), 1).first().copied().unwrap_or_default()
}

/// How the status of a route changed, by the changes of its candidates.
pub fn changes_of(route: &Route, changes: &BTreeMap<String, Vec<StatusChange>>) -> Vec<StatusChange> {
    let named: Vec<(u8, String)> =
        route.candidates.iter().map(|candidate| (candidate.tier, CandidateId::of(candidate).to_string())).collect();
    let of = |name: &str| changes.get(name).map_or(&[][..], Vec::as_slice);
    of_route(&named.iter().map(|(tier, name)| (*tier, name.as_str(), of(name))).collect::<Vec<_>>())
}

/// How a model fared over a time.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct ModelHealth {
    pub object: &'static str,
    pub model: ModelName,
    /// How long it is, such as `1d`.
    pub window: String,
    pub since: Timestamp,
    pub until: Timestamp,
    pub seconds_per_point: i64,
    pub routes: Vec<RouteHealth>,
    pub candidates: Vec<CandidateHistory>,
    pub truth: TruthByRoute,
}

/// How a route fared: its candidates together.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct RouteHealth {
    pub route: RouteKind,
    /// In percent.
    pub uptime: Option<f64>,
    pub changes: Vec<StatusChange>,
    pub incidents: Vec<IncidentView>,
}

/// How a candidate fared.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct CandidateHistory {
    pub channel: String,
    pub upstream_model: String,
    pub status: HealthStatus,
    pub since: Option<Timestamp>,
    /// In percent.
    pub uptime: Option<f64>,
    pub last_probe: Option<Probe>,
    pub last_failure: Option<LastFailure>,
    pub changes: Vec<StatusChange>,
    pub incidents: Vec<IncidentView>,
    pub points: Vec<PointView>,
}

/// A time in which something was not as it should be.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct IncidentView {
    pub status: HealthStatus,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub cause: String,
}

/// A point of a chart.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct PointView {
    pub start: Timestamp,
    /// In percent.
    pub uptime: Option<f64>,
    pub requests: u64,
    pub failures: u64,
    /// Requests that were refused because there were too many.
    pub load: u64,
    pub probes: u64,
    pub first_byte: Option<Percentiles>,
    pub latency: Option<Percentiles>,
    /// Whether the times are those of probes.
    pub by_probes: bool,
}

/// How a model fared over the last hour, day, month or three months.
pub async fn show<P: Runtime + Sold + HealthCopy + ports::History>(
    ports: &P,
    who: &Principal,
    name: &str,
    asked: Option<&str>,
) -> Result<ModelHealth, Refusal> {
    who.holder(UseCase::ShowHealth)?;
    let catalog = &*ports.catalog().await?;
    let model = models::found(catalog, name)?;
    let asked = asked.unwrap_or("1d");
    let Some(wanted) = window(asked, ports.now()) else {
        return Err(Refusal::invalid("window", "`window` must be 1h, 1d, 30d or 90d."));
    };
    let ids = candidates(model);
    let history = History::read(ports, &ids, wanted).await?;
    let (view, board) = futures_util::future::join(ports.health(), ports.board()).await;
    let candidate = |id| candidate(&history, (id, Shown::new(catalog, id, model.id.as_str())), &view);
    Ok(ModelHealth {
        object: "health",
        model: model.id.clone(),
        window: asked.to_owned(),
        since: history.since,
        until: history.now,
        seconds_per_point: history.span.millis().div_euclid(1000),
        routes: model.routes.iter().map(|route| of_one(catalog, (model, route), &history)).collect(),
        candidates: ids.iter().map(candidate).collect(),
        truth: truth::of_model(model, &board),
    })
}

/// How a route fared, in words for customers.
fn of_one(catalog: &Catalog, (model, route): (&Model, &Route), history: &History) -> RouteHealth {
    let mut changes = changes_of(route, &history.changes);
    for change in &mut changes {
        change.cause = shown::of_route(catalog, model, route, &change.cause);
    }
    RouteHealth {
        route: route.kind,
        uptime: percent(uptime(&changes, history.since, history.now)),
        incidents: incidents(&changes, history.now).into_iter().map(incident).collect(),
        changes,
    }
}

fn candidate(history: &History, (id, shown): (&CandidateId, Shown<'_>), view: &HealthView) -> CandidateHistory {
    let health = shown.health(view.of(id));
    let changes = shown.changes(history.changes_of(id));
    CandidateHistory {
        channel: shown.channel(),
        upstream_model: shown.upstream_model().to_owned(),
        status: health.status,
        since: models::since(&health),
        uptime: percent(uptime(&changes, history.since, history.now)),
        last_probe: health.last_probe,
        last_failure: health.last_failure,
        incidents: incidents(&changes, history.now).into_iter().map(incident).collect(),
        points: history.points(std::slice::from_ref(id), &changes).iter().map(Point::view).collect(),
        changes,
    }
}

impl Point {
    /// The counts that times are taken from.
    pub fn times(&self) -> Option<&Counts> {
        self.real.as_ref().filter(|counts| counts.first_byte.total() > 0).or(self.probes.as_ref())
    }

    fn view(&self) -> PointView {
        let of = |count: fn(&Counts) -> u64| self.real.as_ref().map_or(0, count);
        PointView {
            start: self.start,
            uptime: percent(self.uptime),
            requests: of(Counts::total),
            failures: of(|counts| counts.failed),
            load: of(|counts| counts.load),
            probes: self.probes.as_ref().map_or(0, Counts::total),
            first_byte: self.times().and_then(|counts| counts.first_byte.percentiles()),
            latency: self.times().and_then(|counts| counts.latency.percentiles()),
            by_probes: self.times().is_some_and(|counts| counts.is_probe),
        }
    }
}

fn incident(incident: Incident) -> IncidentView {
    let Incident { status, started_at, ended_at, cause } = incident;
    IncidentView { status, started_at, ended_at, cause }
}

fn percent(share: Option<f64>) -> Option<f64> {
    share.map(|share| share * 100.0)
}
