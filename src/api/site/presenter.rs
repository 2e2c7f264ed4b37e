//! From the catalogue, the planner's word and the health to what the pages of models show.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::prices;
use super::status::of_route_now;
use crate::account::Overview;
use crate::app::availability::{self, Availability, Coming, Snapshot, Viewer};
use crate::app::history::{History, Point, candidates, changes_of, worst};
use crate::app::shown::Shown;
use crate::app::{ask, models};
use crate::catalog::{self, Candidate, Model, Route, RouteKind};
use crate::id::BucketId;
use crate::pages::{view, words};
use crate::ports::{Records, VersionRow};
use crate::probe;
use crate::refusal::Refusal;
use crate::routing::attempt::FailureKind;
use crate::routing::health::{Board, CandidateId, Counts, HealthStatus, Percentiles, Span, StatusChange, uptime};
use crate::time::{DAY_MS, HOUR_MS, Timestamp};
use crate::truth::Missed;

const HOURS: i64 = 24;
/// Versions of the catalogue on a model's page.
const VERSIONS: u32 = 20;
const MONTH_MS: i64 = 30 * DAY_MS;

/// All that a page about models is made of.
pub struct Presenter {
    snapshot: Snapshot,
    board: Rc<Board>,
    changes: Rc<BTreeMap<String, Vec<StatusChange>>>,
    key: Option<Signed>,
    presented: Vec<Presented>,
}

/// Who is signed in, with the balances.
struct Signed {
    label: String,
    routes: Vec<RouteKind>,
    overview: Overview,
}

/// What was found out about one model.
struct Presented {
    model: Rc<Model>,
    any: Availability,
    /// In the order of the model's routes.
    routes: Vec<Availability>,
}

impl Presenter {
    /// Finds out about all models.
    pub async fn new<P: Records>(ports: &P, viewer: Viewer<'_>) -> Result<Self, Refusal> {
        let snapshot = Snapshot::take(ports).await?;
        let key = match &viewer {
            Viewer::Anyone => None,
            Viewer::Key(key, _) => Some(Signed {
                label: key.label.clone(),
                routes: key.policy.routes.clone(),
                overview: ask::overview(ports, &key.account).await?,
            }),
        };
        let mut asked: Vec<(Rc<Model>, Option<RouteKind>)> = Vec::new();
        for model in snapshot.catalog.models.values() {
            asked.push((Rc::clone(model), None));
            asked.extend(model.routes.iter().map(|route| (Rc::clone(model), Some(route.kind))));
        }
        let mut presented: Vec<Presented> = Vec::new();
        for ((model, route), availability) in asked.iter().zip(availability::of(ports, &viewer, &snapshot, &asked).await?) {
            match (route, presented.last_mut()) {
                (Some(_), Some(last)) => last.routes.push(availability),
                _ => presented.push(Presented { model: Rc::clone(model), any: availability, routes: Vec::new() }),
            }
        }
        let ids = probe::candidates(&snapshot.catalog);
        let (board, changes) = futures_util::future::join(ports.board(), ports.all_changes(&ids)).await;
        Ok(Self { snapshot, board, changes, key, presented })
    }

    /// Every model, without its long history.
    pub fn models(&self) -> Vec<view::Model> {
        self.presented.iter().map(|presented| self.model(presented, None)).collect()
    }

    /// One model with its history, and the versions of the catalogue that changed it.
    pub async fn whole<P: Records>(&self, ports: &P, name: &str) -> Result<(view::Model, Vec<view::Version>), Refusal> {
        let model = models::found(&self.snapshot.catalog, name)?;
        let Some(presented) = self.presented.iter().find(|presented| presented.model.id == model.id) else {
            return Err(Refusal::unavailable("a model that is sold was not presented of"));
        };
        let (ids, now) = (candidates(model), self.snapshot.now);
        let read = |span: Span, ms: i64| History::read(ports, &ids, (span, now.plus(-ms)));
        let (hours, days) = futures_util::future::join(read(Span::Hour, HOURS * HOUR_MS), read(Span::Day, MONTH_MS)).await;
        // A page without its charts is better than none.
        let lost = |refusal: &Refusal| ports.log(&format!("page: {}", refusal.detail.clone().unwrap_or_default()));
        let histories = hours.inspect_err(lost).ok().zip(days.inspect_err(lost).ok());
        let versions = ports.catalog_versions(Some(&model.id), None, VERSIONS).await.unwrap_or_else(|error| {
            ports.log(&format!("page: {}", error.0));
            Vec::new()
        });
        Ok((
            self.model(presented, histories.as_ref()),
            versions.into_iter().map(version).filter(|version| !version.changes.is_empty()).collect(),
        ))
    }

    fn bucket(&self, id: &BucketId) -> view::Bucket {
        let bucket = self.snapshot.catalog.buckets.get(id);
        view::Bucket {
            id: id.to_string(),
            label: bucket.map_or_else(|| id.to_string(), |bucket| bucket.label.clone()),
            currency: bucket.map(|bucket| bucket.currency.clone()).unwrap_or_default(),
        }
    }

    fn model(&self, presented: &Presented, histories: Option<&(History, History)>) -> view::Model {
        let model = &presented.model;
        let official = model.route(RouteKind::Official);
        let routes = model.routes.iter().zip(&presented.routes).map(|(route, availability)| {
            let saving = official.filter(|official| official.kind != route.kind).and_then(|official| {
                let (first, other) = (official.price.as_ref()?, route.price.as_ref()?);
                let buckets = &self.snapshot.catalog.buckets;
                prices::saving(buckets, (first, &official.bucket), (other, &route.bucket), model.kind)
            });
            view::Route { saving_percent: saving, ..self.route(model, route, availability, histories) }
        });
        view::Model {
            id: model.id.to_string(),
            name: model.name.clone(),
            family: model.family.clone(),
            kind: model.kind,
            context_length: model.context_length,
            max_output_tokens: model.max_output_tokens,
            aliases: model.aliases.iter().map(ToString::to_string).collect(),
            availability: self.availability(&presented.any),
            routes: routes.collect(),
            announced: self.snapshot.coming(&model.id).map(announced).into_iter().collect(),
        }
    }

    fn availability(&self, presented: &Availability) -> view::Availability {
        let reason = |reason: &availability::Reason| view::Reason {
            code: reason.code.to_owned(),
            message: reason.message.clone(),
            next_step: reason.next_step.clone(),
        };
        let payer = presented.served_by.as_ref().map(|served| {
            let balances = self.key.as_ref().map(|key| &key.overview.balances);
            let view = balances.and_then(|balances| balances.iter().find(|view| view.bucket == served.bucket));
            view::Payer {
                bucket: self.bucket(&served.bucket),
                available: view.map(|view| view.available.to_string()),
                is_affordable: self.key.as_ref().map(|_| true),
            }
        });
        view::Availability {
            is_callable: presented.callable,
            key_label: self.key.as_ref().map(|key| key.label.clone()),
            reasons: presented.reasons.iter().map(reason).collect(),
            payer,
            channel: presented
                .served_by
                .as_ref()
                .and_then(|served| served.candidates.first())
                .map(|id| self.snapshot.catalog.shown_channel(id.channel.as_str())),
        }
    }

    fn route(
        &self,
        model: &Model,
        route: &Route,
        presented: &Availability,
        histories: Option<&(History, History)>,
    ) -> view::Route {
        let now = self.snapshot.now;
        let changes = changes_of(route, &self.changes);
        let status = of_route_now(route, &self.snapshot);
        let since = changes.last().filter(|last| last.status == status).map(|last| last.at);
        let hours = match histories {
            Some((hours, _)) => points(hours, route),
            None => (0..HOURS).rev().map(|back| bare_point(&changes, now.plus(back.saturating_mul(-HOUR_MS)), now)).collect(),
        };
        view::Route {
            kind: route.kind,
            bucket: self.bucket(&route.bucket),
            prices: route.price.as_ref().map(|price| prices::rows(price, model.kind)).unwrap_or_default(),
            saving_percent: None,
            is_allowed: self.key.as_ref().is_none_or(|key| key.routes.contains(&route.kind)),
            is_callable: presented.callable,
            status,
            since,
            sentence: self.sentence((model, route), presented, status),
            truth: self.board.truth(&model.id, route.kind),
            candidates: route.candidates.iter().map(|candidate| self.candidate(candidate, model)).collect(),
            hours,
            days: histories.map(|(_, days)| points(days, route)).unwrap_or_default(),
        }
    }

    fn sentence(&self, (model, route): (&Model, &Route), presented: &Availability, status: HealthStatus) -> String {
        let shown = |id| Shown::new(&self.snapshot.catalog, id, model.id.as_str());
        let first = presented.served_by.as_ref().and_then(|served| served.candidates.first());
        match (status, first) {
            (_, None) => {
                presented.reasons.first().map_or_else(|| "It cannot be used now.".to_owned(), |reason| reason.message.clone())
            }
            (HealthStatus::Up, Some(first)) => format!("{} answers.", shown(first).channel()),
            (HealthStatus::Unknown, Some(_)) => "Nothing is known of it yet; a request finds out.".to_owned(),
            (_, Some(first))
                if route.candidates.iter().any(|candidate| candidate.channel == first.channel && candidate.tier > 0) =>
            {
                format!("The primary is not well; the backup {} answers.", shown(first).channel())
            }
            (_, Some(first)) => shown(first).health(self.snapshot.health.of(first)).sentence(self.snapshot.now),
        }
    }

    fn candidate(&self, candidate: &Candidate, model: &Model) -> view::Candidate {
        let id = CandidateId::of(candidate);
        let shown = Shown::new(&self.snapshot.catalog, &id, model.id.as_str());
        let (health, stats) = (shown.health(self.snapshot.health.of(&id)), self.board.of(&id));
        let since = models::since(&health);
        view::Candidate {
            channel: shown.channel(),
            upstream_model: shown.upstream_model().to_owned(),
            tier: candidate.tier,
            status: health.status,
            since,
            last_probe: health.last_probe.map(|probe| view::Probe {
                at: probe.at,
                is_ok: probe.ok,
                level: if probe.level == 1 { "list of models" } else { "small call" }.to_owned(),
                latency_ms: probe.latency_ms,
                words: probe.message.unwrap_or_default(),
            }),
            last_failure: health.last_failure.map(|failure| view::FailureView {
                at: failure.at,
                kind: words(failure.kind).to_owned(),
                message: failure.message,
            }),
            first_byte: percentiles(stats.first_byte),
            latency: percentiles(stats.latency),
            uptime: view::Uptimes {
                m5: stats.uptime.five_minutes,
                m30: stats.uptime.half_hour,
                d1: stats.uptime.day,
                d30: stats.uptime.month,
            },
            requests: stats.requests,
            failures: stats.failures,
            missing: health
                .listing
                .filter(|listing| !listing.is_there)
                .map(|listing| view::Missing { since: listing.since, near: listing.near }),
        }
    }
}

/// A version of the catalogue that changed a model.
fn version(row: VersionRow) -> view::Version {
    view::Version {
        version: row.version,
        published_at: row.published_at,
        effective_at: row.effective_at.unwrap_or(row.published_at),
        changes: row.changes.unwrap_or_default().iter().filter_map(catalog::Change::shown).map(ToOwned::to_owned).collect(),
    }
}

/// What an announced version will change of a model.
fn announced(coming: Coming) -> view::Version {
    view::Version {
        version: coming.version,
        published_at: coming.effective_at,
        effective_at: coming.effective_at,
        changes: coming.changes,
    }
}

/// The home page's figures.
pub fn home(presenter: &Presenter) -> view::HomePage {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let callable = || presenter.presented.iter().filter(|presented| presented.any.callable);
    let routes = || presenter.presented.iter().flat_map(|presented| &presented.model.routes);
    let is_up = |route: &&Route| matches!(of_route_now(route, &presenter.snapshot), HealthStatus::Up | HealthStatus::Degraded);
    let mut medians: Vec<u64> =
        presenter.board.candidates.values().filter_map(|stats| stats.first_byte.map(|times| times.p50)).collect();
    medians.sort_unstable();
    let example =
        callable().find(|presented| presented.model.kind == crate::catalog::ModelKind::Chat).or_else(|| callable().next());
    view::HomePage {
        models_callable: count(callable().count()),
        models: count(presenter.presented.len()),
        routes_up: count(routes().filter(is_up).count()),
        routes: count(routes().count()),
        first_byte_ms: medians.get(medians.len() / 2).copied(),
        example: example.map(|presented| (presented.model.id.to_string(), presented.model.kind)),
    }
}

fn percentiles(times: Option<Percentiles>) -> view::Percentiles {
    view::Percentiles { p50: times.map(|times| times.p50), p90: times.map(|times| times.p90), p99: times.map(|times| times.p99) }
}

/// An hour of which only the status is shown.
fn bare_point(changes: &[StatusChange], start: Timestamp, now: Timestamp) -> view::ChartPoint {
    let start = start.plus(-HOUR_MS);
    let end = start.plus(HOUR_MS).min(now);
    view::ChartPoint {
        start,
        seconds: 3_600,
        requests: 0,
        failures: 0,
        uptime: uptime(changes, start, end),
        worst: worst(changes, start, end),
        first_byte: view::Percentiles::default(),
    }
}

/// The points of a route: its candidates together.
fn points(history: &History, route: &Route) -> Vec<view::ChartPoint> {
    let changes = changes_of(route, &history.changes);
    let ids: Vec<CandidateId> = route.candidates.iter().map(CandidateId::of).collect();
    let seconds = u32::try_from(history.span.millis().div_euclid(1000)).unwrap_or(u32::MAX);
    let point = |point: &Point| view::ChartPoint {
        start: point.start,
        seconds,
        requests: point.real.as_ref().map_or(0, Counts::total),
        failures: point.real.as_ref().map_or(0, |counts| counts.failed),
        uptime: point.uptime,
        worst: point.worst,
        first_byte: percentiles(point.times().and_then(|counts| counts.first_byte.percentiles())),
    };
    history.points(&ids, &changes).iter().map(point).collect()
}

/// What kind of failure it was, for people.
fn words(kind: FailureKind) -> &'static str {
    Missed::parse(kind.as_str()).map_or("Gone from the provider's list", words::missed)
}
