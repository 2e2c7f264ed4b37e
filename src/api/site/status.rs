//! How every route is and was: the status page, its feed and its JSON.

use std::collections::BTreeMap;

use futures_util::future::join;

use crate::app::availability::Snapshot;
use crate::app::history::changes_of;
use crate::app::shown::of_route;
use crate::catalog::{Candidate, Catalog, Model, Route};
use crate::pages::view;
use crate::ports::Records;
use crate::probe;
use crate::routing::health::{CandidateId, HealthStatus, Incident, StatusChange, days, incidents, uptime};
use crate::time::{DAY_MS, MINUTE_MS, Timestamp};

const DAYS: u32 = 90;
/// For how long what is over is shown, in milliseconds.
const PAST_MS: i64 = 14 * DAY_MS;

/// The status of a route now: by the health that requests go by.
pub fn of_route_now(route: &Route, snapshot: &Snapshot) -> HealthStatus {
    let now = |candidate: &Candidate| {
        let id = CandidateId::of(candidate);
        let status = snapshot.health.of(&id).status;
        (id.to_string(), vec![StatusChange { at: Timestamp::default(), status, cause: String::new() }])
    };
    let changes: BTreeMap<String, Vec<StatusChange>> = route.candidates.iter().map(now).collect();
    changes_of(route, &changes).last().map_or(HealthStatus::Unknown, |change| change.status)
}

/// The status page.
pub async fn page<P: Records>(ports: &P, snapshot: &Snapshot) -> view::StatusPage {
    let ids = probe::candidates(&snapshot.catalog);
    let (changes, board) = join(ports.all_changes(&ids), ports.board()).await;
    let now = snapshot.now;
    let mut models = Vec::new();
    let (mut current, mut past) = (Vec::new(), Vec::new());
    for model in snapshot.catalog.models.values() {
        let mut routes = Vec::new();
        for route in &model.routes {
            let history = changes_of(route, &changes);
            let status = of_route_now(route, snapshot);
            for incident in incidents(&history, now) {
                let is_over = incident.ended_at;
                let shown = shown(&snapshot.catalog, (model, route), incident);
                match is_over {
                    None => current.push(shown),
                    Some(end) if now < end.plus(PAST_MS) => past.push(shown),
                    Some(_) => {}
                }
            }
            routes.push(view::StatusRoute {
                kind: route.kind,
                truth: board.truth(&model.id, route.kind),
                status,
                since: history.last().filter(|last| last.status == status).map(|last| last.at),
                uptime: uptime(&history, now.plus(i64::from(DAYS).saturating_mul(-DAY_MS)), now),
                days: days(&history, DAYS, now)
                    .into_iter()
                    .map(|day| view::Day {
                        date: day.start,
                        uptime: day.uptime,
                        worst: day.worst,
                        down_minutes: u32::try_from(day.down_ms.div_ceil(MINUTE_MS.unsigned_abs())).unwrap_or(u32::MAX),
                    })
                    .collect(),
            });
        }
        models.push(view::StatusModel { id: model.id.to_string(), name: model.name.clone(), routes });
    }
    current.sort_by_key(|incident: &view::Incident| std::cmp::Reverse(incident.started_at));
    past.sort_by_key(|incident: &view::Incident| std::cmp::Reverse(incident.started_at));
    let (status, sentence) = overall(&models);
    view::StatusPage { status, sentence, models, current, past }
}

fn shown(catalog: &Catalog, (model, route): (&Model, &Route), incident: Incident) -> view::Incident {
    view::Incident {
        id: format!("{}-{}-{}", model.id, route.kind.as_str(), incident.started_at.millis()),
        subject: format!("{}, {} route", model.id, route.kind.as_str()),
        models: vec![model.id.to_string()],
        status: incident.status,
        started_at: incident.started_at,
        ended_at: incident.ended_at,
        cause: of_route(catalog, model, route, &incident.cause),
    }
}

fn overall(models: &[view::StatusModel]) -> (HealthStatus, String) {
    let routes: Vec<HealthStatus> = models.iter().flat_map(|model| &model.routes).map(|route| route.status).collect();
    let count = |status: HealthStatus| routes.iter().filter(|of| **of == status).count();
    let (down, degraded, up) = (count(HealthStatus::Down), count(HealthStatus::Degraded), count(HealthStatus::Up));
    if down > 0 {
        let are = if down == 1 { "is" } else { "are" };
        return (HealthStatus::Down, format!("{down} of {} routes {are} down.", routes.len()));
    }
    if degraded > 0 {
        return (
            HealthStatus::Degraded,
            format!("All routes are served; {degraded} of {} not as well as they should be.", routes.len()),
        );
    }
    if up > 0 {
        return (HealthStatus::Up, "All routes that are known answer.".to_owned());
    }
    (HealthStatus::Unknown, "Nothing is known yet: no route was asked so far.".to_owned())
}
