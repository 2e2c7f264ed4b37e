//! The models that a key can call now, and the route tree of one of them: what the planner, the account and the health of the
//! candidates say, and nothing else.
//!
//! Deliberately absent: the shapes of providers' lists, which are for `api` to make.

use std::rc::Rc;

use futures_util::future::join;
use serde::Serialize;

use super::availability::{self, Availability, Coming, Reason, Snapshot, Viewer};
use super::currency;
use super::principal::Principal;
use super::shown::Shown;
use super::truth::{self, TruthByRoute};
use super::use_case::UseCase;
use crate::catalog::{Candidate, Catalog, Model, Route, RouteKind};
use crate::id::BucketId;
use crate::key::Policy;
use crate::money::{Money, Price};
use crate::ports::ModelReads;
use crate::refusal::Refusal;
use crate::routing::health::{Board, CandidateId, Health, HealthStatus, LastFailure, Listing, Probe, Stats, Witness};
use crate::routing::{asked_model, model_not_found};
use crate::time::Timestamp;

/// A model as somebody is told of it.
pub struct ModelView {
    /// What is sold.
    pub model: Rc<Model>,
    /// Whether it can be called, and why not.
    pub availability: Availability,
    /// Who would serve it.
    pub served_by: Option<Serving>,
    /// The route whose price it goes by: that which would serve, or the first that the key allows, or the first.
    pub priced: Option<RouteKind>,
    /// In the order of the model's routes.
    pub routes: Vec<RouteView>,
    /// How often "callable" was true.
    pub truth: TruthByRoute,
    /// Which catalogue says so.
    pub catalog_version: u64,
    /// What is announced for it.
    pub announced: Option<Coming>,
}

/// A route as somebody is told of it.
pub struct RouteView {
    /// Which.
    pub kind: RouteKind,
    /// Of what it costs: its bucket's.
    pub currency: Option<String>,
    /// Whether the key allows it.
    pub is_allowed: bool,
    /// In the order of the route's candidates.
    pub candidates: Vec<CandidateView>,
}

/// A candidate as customers are told of it.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct CandidateView {
    pub channel: String,
    pub upstream_model: String,
    pub tier: u8,
    pub status: HealthStatus,
    pub since: Option<Timestamp>,
    pub last_probe: Option<Probe>,
    pub last_failure: Option<LastFailure>,
    pub last_success_at: Option<Timestamp>,
    pub listing: Option<Listing>,
    pub expected_to_answer: bool,
    /// In one sentence.
    pub summary: String,
}

/// Who would serve a plain request, and who would pay.
#[derive(Debug, Clone, Serialize)]
pub struct Serving {
    /// Over this route.
    pub route: RouteKind,
    /// Paid by this balance.
    pub bucket: BucketId,
    /// The bucket's.
    pub currency: Option<String>,
    /// At this price.
    pub price: Rc<Price>,
    /// By one of these.
    pub candidates: Vec<ShownCandidate>,
    /// What would be set aside for it at least.
    pub smallest_quote: Money,
}

/// What customers call a candidate.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct ShownCandidate {
    pub channel: String,
    pub upstream_model: String,
}

/// Every candidate of every route of a model.
pub struct EndpointList {
    /// The model.
    pub model: Rc<Model>,
    /// In the order of routes and candidates.
    pub endpoints: Vec<EndpointView>,
    /// When the numbers were made.
    pub health_at: Timestamp,
    /// Which catalogue says so.
    pub catalog_version: u64,
    /// How often "callable" was true.
    pub truth: TruthByRoute,
}

/// One candidate of a route, with what was seen of it lately.
pub struct EndpointView {
    /// Over which route.
    pub route: RouteKind,
    /// The currency of its prices.
    pub currency: Option<String>,
    /// Whether the route can be used.
    pub is_callable: bool,
    /// Why not.
    pub reasons: Vec<Reason>,
    /// The candidate.
    pub candidate: CandidateView,
    /// Times, counts and uptime.
    pub stats: Stats,
}

/// What is sold and known now, and who looks at it.
struct View {
    snapshot: Snapshot,
    board: Rc<Board>,
    policy: Policy,
    /// Who looks at it; what that account alone has met counts for it.
    by: Option<Witness>,
}

/// The models that a key can call now, or all of them.
pub async fn list<P: ModelReads>(ports: &P, who: &Principal, includes_unavailable: bool) -> Result<Vec<ModelView>, Refusal> {
    let holder = who.holder(UseCase::ListModels)?;
    let viewer = Viewer::Key(&holder.key, holder.address);
    seen(ports, &viewer, None, |availability| availability.callable || includes_unavailable).await
}

/// One model by name or alias, whether the key can call it or not.
pub async fn show<P: ModelReads>(ports: &P, who: &Principal, name: &str) -> Result<ModelView, Refusal> {
    let holder = who.holder(UseCase::ShowModel)?;
    one(ports, &Viewer::Key(&holder.key, holder.address), name).await
}

/// Every model, as whoever looks at a page is told of it.
pub async fn all<P: ModelReads>(ports: &P, viewer: &Viewer<'_>) -> Result<Vec<ModelView>, Refusal> {
    seen(ports, viewer, None, |_| true).await
}

/// One of them.
pub async fn one<P: ModelReads>(ports: &P, viewer: &Viewer<'_>, name: &str) -> Result<ModelView, Refusal> {
    let lost = || Refusal::unavailable("a model that is sold was not told of");
    seen(ports, viewer, Some(name), |_| true).await?.pop().ok_or_else(lost)
}

/// The routes of a model with the health of each candidate.
pub async fn endpoints<P: ModelReads>(ports: &P, who: &Principal, name: &str) -> Result<EndpointList, Refusal> {
    let holder = who.holder(UseCase::ListEndpoints)?;
    let viewer = Viewer::Key(&holder.key, holder.address);
    let view = View::of(ports, &viewer).await?;
    let model = found(&view.snapshot.catalog, name)?;
    let asked: Vec<_> = model.routes.iter().map(|route| (Rc::clone(model), Some(route.kind))).collect();
    let availabilities = availability::of(ports, &viewer, &view.snapshot, &asked).await?;
    let mut endpoints = Vec::new();
    for (route, availability) in model.routes.iter().zip(&availabilities) {
        endpoints.extend(route.candidates.iter().map(|candidate| EndpointView {
            route: route.kind,
            currency: view.currency(route),
            is_callable: availability.callable,
            reasons: availability.reasons.clone(),
            candidate: view.candidate(candidate, model),
            stats: view.board.of(&CandidateId::of(candidate)),
        }));
    }
    Ok(EndpointList {
        model: Rc::clone(model),
        endpoints,
        health_at: view.board.at,
        catalog_version: view.snapshot.catalog.version,
        truth: truth::of_model(model, &view.board),
    })
}

/// The model that a name in a path means: as in a request, with or without a route.
pub fn found<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Rc<Model>, Refusal> {
    asked_model(catalog, name).ok_or_else(|| model_not_found(catalog, name))
}

/// Since when a status holds; nothing of one that is unknown.
pub fn since(health: &Health) -> Option<Timestamp> {
    Some(health.since).filter(|_| health.status != HealthStatus::Unknown)
}

/// All models or one, of which the viewer is told.
async fn seen<P: ModelReads>(
    ports: &P,
    viewer: &Viewer<'_>,
    name: Option<&str>,
    is_told: impl Fn(&Availability) -> bool,
) -> Result<Vec<ModelView>, Refusal> {
    let view = View::of(ports, viewer).await?;
    let catalog = &view.snapshot.catalog;
    let asked: Vec<_> = match name {
        Some(name) => vec![(Rc::clone(found(catalog, name)?), None)],
        None => catalog.models.values().map(|model| (Rc::clone(model), None)).collect(),
    };
    let availabilities = availability::of(ports, viewer, &view.snapshot, &asked).await?;
    let told = asked.into_iter().zip(availabilities).filter(|(_, availability)| is_told(availability));
    Ok(told.map(|((model, _), availability)| view.model(model, availability)).collect())
}

impl View {
    async fn of<P: ModelReads>(ports: &P, viewer: &Viewer<'_>) -> Result<Self, Refusal> {
        let (snapshot, board) = join(Snapshot::take(ports), ports.board()).await;
        let (policy, by) = match viewer {
            Viewer::Key(key, _) => (key.policy.clone(), Some(Witness::of(&key.account))),
            Viewer::Anyone => (Policy::default(), None),
        };
        Ok(Self { snapshot: snapshot?, board, policy, by })
    }

    fn model(&self, model: Rc<Model>, availability: Availability) -> ModelView {
        let served = availability.served_by.as_ref();
        let kinds = served.map(|served| served.route).into_iter().chain(self.policy.routes.iter().copied());
        let priced = kinds.into_iter().find_map(|kind| model.route(kind)).or(model.routes.first()).map(|route| route.kind);
        ModelView {
            served_by: served.map(|served| Serving {
                route: served.route,
                bucket: served.bucket.clone(),
                currency: currency::of(&self.snapshot.catalog, served.bucket.as_str()),
                price: Rc::clone(&served.price),
                candidates: served.candidates.iter().map(|id| self.named(id, &model)).collect(),
                smallest_quote: served.quote,
            }),
            priced,
            routes: model.routes.iter().map(|route| self.route(route, &model)).collect(),
            truth: truth::of_model(&model, &self.board),
            catalog_version: self.snapshot.catalog.version,
            announced: self.snapshot.coming(&model.id),
            availability,
            model,
        }
    }

    fn named(&self, id: &CandidateId, model: &Model) -> ShownCandidate {
        let shown = Shown::new(&self.snapshot.catalog, id, model.id.as_str());
        ShownCandidate { channel: shown.channel(), upstream_model: shown.upstream_model().to_owned() }
    }

    fn currency(&self, route: &Route) -> Option<String> {
        currency::of(&self.snapshot.catalog, route.bucket.as_str())
    }

    fn route(&self, route: &Route, model: &Model) -> RouteView {
        RouteView {
            kind: route.kind,
            currency: self.currency(route),
            is_allowed: self.policy.routes.contains(&route.kind),
            candidates: route.candidates.iter().map(|candidate| self.candidate(candidate, model)).collect(),
        }
    }

    /// What the viewer's account knows of a candidate.
    fn candidate(&self, candidate: &Candidate, model: &Model) -> CandidateView {
        let (id, now) = (CandidateId::of(candidate), self.snapshot.now);
        let shown = Shown::new(&self.snapshot.catalog, &id, model.id.as_str());
        let health = shown.health(self.snapshot.health.told_to(&id, self.by, now));
        CandidateView {
            channel: shown.channel(),
            upstream_model: shown.upstream_model().to_owned(),
            tier: candidate.tier,
            status: health.status,
            since: since(&health),
            expected_to_answer: health.is_expected_to_answer(now),
            summary: health.sentence(now),
            last_probe: health.last_probe,
            last_failure: health.last_failure,
            last_success_at: health.last_success_at,
            listing: health.listing,
        }
    }
}
