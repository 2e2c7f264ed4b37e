//! What customers read of candidates: names and words by the catalogue's rules of what is shown, see `catalog/public.rs`.
//!
//! What always holds: whatever a customer's view tells of a candidate comes from here; the operator's views do not.

use std::borrow::Cow;

use crate::catalog::{Catalog, Model, NamedCandidate, Route};
use crate::routing::health::{CandidateId, Health, StatusChange};

/// A candidate of a model, as customers see it.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    catalog: &'a Catalog,
    named: NamedCandidate<'a>,
}

impl<'a> Shown<'a> {
    /// Of a candidate that serves a model of this public name.
    pub fn new(catalog: &'a Catalog, candidate: &'a CandidateId, model: &'a str) -> Self {
        let named = NamedCandidate { channel: candidate.channel.as_str(), upstream_model: &candidate.upstream_model, model };
        Self { catalog, named }
    }

    /// What they call the channel.
    pub fn channel(&self) -> String {
        self.catalog.shown_channel(self.named.channel)
    }

    /// What they see of the model's id there.
    pub fn upstream_model(&self) -> &'a str {
        self.catalog.shown_upstream(self.named)
    }

    /// Words about it.
    pub fn text(&self, text: &str) -> String {
        self.catalog.shown_text(text, self.named)
    }

    /// Its health, in words that they may read.
    pub fn health(&self, mut health: Health) -> Health {
        health.lone.clear();
        if let Some(failure) = &mut health.last_failure {
            failure.message = self.text(&failure.message);
        }
        if let Some(message) = health.last_probe.as_mut().and_then(|probe| probe.message.as_mut()) {
            *message = self.text(message);
        }
        if let Some(listing) = health.listing.as_mut().filter(|_| !self.catalog.shows_upstream(self.named.channel)) {
            listing.near.clear();
        }
        health
    }

    /// How its status changed.
    pub fn changes(&self, changes: &[StatusChange]) -> Vec<StatusChange> {
        changes.iter().map(|change| StatusChange { cause: self.text(&change.cause), ..change.clone() }).collect()
    }
}

/// Words about a route: whichever of its candidates they are about.
pub fn of_route(catalog: &Catalog, model: &Model, route: &Route, text: &str) -> String {
    let candidates = route.candidates.iter().map(CandidateId::of);
    let shown = |text: Cow<'_, str>, id: CandidateId| Cow::Owned(Shown::new(catalog, &id, model.id.as_str()).text(&text));
    candidates.fold(Cow::Borrowed(text), shown).into_owned()
}
