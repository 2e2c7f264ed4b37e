//! A request on its way: before its body is looked at, and with its plan and quotes.
//!
//! What always holds: what is prepared does not change any more; what later stages ask of it, such as what an attempt uses where
//! nobody tells, is worked out here alone.

use std::rc::Rc;

use super::early::{Early, Granted};
use super::head::RequestHead;
use super::owned::Owned;
use super::quote::{Leg, Quoted};
use crate::account::{Facts, Free, OutputLimit, RateLimits};
use crate::catalog::Catalog;
use crate::dialect::format::StreamWish;
use crate::dialect::{Endpoint, EndpointPath, Request};
use crate::id::{RequestId, RunId};
use crate::key::KeyRecord;
use crate::routing::health::HealthView;
use crate::routing::{FirstChoice, Planned, asked_model};
use crate::time::Timestamp;
use crate::truth::Promise;
use crate::usage::{Class, Usage};

/// A request before its body is looked at.
pub struct Preparing {
    /// Its id.
    pub request: RequestId,
    /// When it arrived.
    pub arrived: Timestamp,
    /// What was called.
    pub called: EndpointPath,
    /// What its head says.
    pub head: RequestHead,
    /// What is sold.
    pub catalog: Rc<Catalog>,
    /// What is known of the candidates.
    pub health: Rc<HealthView>,
    /// What its client can be told while nobody answers.
    pub early: Early,
}

/// A request that can be run.
pub struct Prepared<'a> {
    /// What is known of it.
    pub facts: Facts,
    /// The request.
    pub request: Request<'a>,
    /// What its head says.
    pub head: &'a RequestHead,
    /// What is sold.
    pub catalog: Rc<Catalog>,
    /// The attempts, by the holds that they need.
    pub legs: Vec<Leg>,
    /// What will not be tried, and why.
    pub left_out: Vec<crate::routing::LeftOut>,
    /// What falling back is compared with.
    pub first_choice: Option<FirstChoice>,
    /// How many tokens go in, as far as it can be told without the provider.
    pub estimated_input: u64,
    /// Equal seeds choose equal candidates and credentials.
    pub seed: String,
    /// The response that it goes on from, by the provider's own id.
    pub previous: Option<String>,
    /// What it names that a provider keeps.
    pub owned: Owned,
    /// What its client can be told while nobody answers.
    pub early: Early,
}

impl Preparing {
    /// What is known of the request; the model only if the body can be read.
    pub fn facts(&self, key: &KeyRecord, body: Option<&[u8]>) -> Facts {
        let request = body.and_then(|body| Request::read(&self.called, body, self.head.content_type.as_deref()).ok());
        let envelope = request.map(|request| request.envelope);
        let model = envelope.as_ref().and_then(|envelope| envelope.models.first()).or(self.called.model.as_ref());
        let facts = Facts {
            request: self.request.clone(),
            created_at: self.arrived,
            account: key.account.clone(),
            project: key.project.clone(),
            key: key.id.clone(),
            key_label: key.label.clone(),
            run: self.head.run.as_deref().and_then(RunId::parse),
            endpoint: self.called.endpoint.name().to_owned(),
            stream: envelope.as_ref().map_or(self.called.stream, |envelope| envelope.stream),
            requested_model: String::new(),
            counted_as: None,
            catalog_version: self.catalog.version,
            promise: None,
        };
        asking(facts, &self.catalog, model)
    }
}

/// The same of a request for a model of this name.
pub(super) fn asking(facts: Facts, catalog: &Catalog, name: Option<&String>) -> Facts {
    let requested_model = name.map(|name| shown(name)).unwrap_or_default();
    let model = name.and_then(|name| asked_model(catalog, name));
    let counted_as = model.map(|model| model.id.to_string()).unwrap_or_default();
    let counted_as = Some(counted_as).filter(|name| *name != requested_model);
    Facts { requested_model, counted_as, ..facts }
}

impl Prepared<'_> {
    /// What the remedies of a refusal go by: see [`super::with_remedy`].
    pub fn remedies(&self) -> (&Catalog, Option<&'static str>) {
        (&self.catalog, self.request.limit_member())
    }

    /// That an attempt is expected to answer, if it is. What is free promises nothing, nor does what the gateway asks itself.
    pub fn promise(&self, planned: &Planned) -> Option<Promise> {
        let is_promised = planned.is_expected && self.head.probed.is_none() && !self.request.endpoint.is_free();
        is_promised.then(|| Promise { model: planned.model.id.clone(), route: planned.route })
    }

    /// How many tokens an answer of an attempt may have, and why; `free` is what was free where that decided. None where the
    /// gateway does not limit it.
    pub fn output_limit(&self, quoted: &Quoted, free: Option<Free>) -> Option<OutputLimit> {
        self.request.endpoint.limit_member()?;
        let limit = OutputLimit::unfitted(self.request.envelope.output_limit, quoted.wanted);
        let leg = self.legs.iter().find(|leg| leg.bucket == quoted.planned.bucket);
        Some(match free.filter(|_| quoted.output_limit < quoted.wanted).zip(leg) {
            Some((free, leg)) => {
                limit.fitted((quoted.output_limit, quoted.floor), free, &format!("{} of `{}`", leg.currency, leg.bucket))
            }
            None => limit,
        })
    }

    /// What an attempt is charged by in place of tokens: images, seconds, characters, or the searches of a ranking.
    pub fn basis(&self, quoted: &Quoted) -> Option<Class> {
        let price = &quoted.planned.price;
        let is_by_search = self.request.endpoint == Endpoint::Rerank && price.rates.searches.is_some();
        price.basis().or(is_by_search.then_some(Class::Searches))
    }

    /// What an attempt uses if upstream tells nothing, but for the tokens that come out.
    pub fn unreported(&self, quoted: &Quoted) -> Usage {
        let envelope = &self.request.envelope;
        let basis = self.basis(quoted);
        // What is counted otherwise is not counted in tokens as well.
        let is_in_tokens = basis.is_none() && !self.request.endpoint.is_free();
        let input = if is_in_tokens { self.estimated_input.min(quoted.most.input) } else { 0 };
        let searches = if basis == Some(Class::Searches) { envelope.searches } else { 0 };
        Usage { input, searches, ..envelope.unreported }
    }

    /// What the client is told of the model that serves: its public name. Clients of Anthropic's messages are told the name that they
    /// asked for where it is one of this model: they forget thoughts of a model by another name.
    pub fn told_model(&self, quoted: &Quoted) -> String {
        let model = &quoted.planned.model.id;
        if self.request.endpoint != Endpoint::Messages {
            return model.to_string();
        }
        let is_it = |asked: &&String| asked_model(&self.catalog, asked).is_some_and(|asked| asked.id == *model);
        self.request.envelope.models.first().filter(is_it).cloned().unwrap_or_else(|| model.to_string())
    }

    /// Notes that the hold was granted: from here on the client can be told that somebody is there.
    pub fn open_early(&self, rates: RateLimits) {
        let (facts, endpoint) = (&self.facts, self.request.endpoint);
        let is_waiting = facts.stream && !self.request.envelope.is_bytes && endpoint.has_signs();
        if !is_waiting || self.early.is_open() {
            return;
        }
        let mut attempts = self.legs.iter().flat_map(|leg| &leg.attempts).peekable();
        let first = attempts.peek().copied();
        let is_native = |quoted: &Quoted| endpoint.asked_of(&quoted.planned.channel).is_some_and(|way| !way.is_translated);
        let wish = StreamWish {
            created: facts.created_at.millis() / 1000,
            id: facts.request.to_string(),
            model: first.map(|quoted| self.told_model(quoted)).unwrap_or_default(),
            begun: self.early.begun(),
            goes_on: self.request.envelope.keeps && attempts.any(is_native),
            ..StreamWish::default()
        };
        let (request, asked) = (facts.request.clone(), facts.requested_model.clone());
        self.early.open(Granted { request, asked, endpoint, wish, rates }, facts.created_at);
    }
}

/// A name from a caller, as it may stand in headers and rows.
pub fn shown(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(128).collect()
}
