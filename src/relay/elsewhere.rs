//! What a request would have cost elsewhere, for the same usage: at the first choice, where it fell back, and over the other
//! routes of the model that served.
//!
//! Deliberately absent: currencies turned into each other. A difference is only told where both are the same.

use std::rc::Rc;

use super::prepared::Prepared;
use super::quote::Quoted;
use crate::account::{Comparison, Elsewhere};
use crate::id::{BucketId, ModelName};
use crate::money::{Price, cost};
use crate::usage::Usage;

/// What the current attempt is compared with.
#[derive(Default)]
pub struct Others {
    own: Option<Place>,
    others: Vec<(Comparison, Place)>,
}

/// A model over a route, at a price.
struct Place {
    model: ModelName,
    route: crate::catalog::RouteKind,
    bucket: BucketId,
    currency: String,
    price: Rc<Price>,
}

impl Others {
    /// For an attempt of a request.
    pub fn new(prepared: &Prepared<'_>, quoted: &Quoted) -> Self {
        if prepared.request.endpoint.is_free() {
            return Self::default();
        }
        let currency = |bucket: &BucketId| prepared.catalog.buckets.get(bucket).map(|bucket| bucket.currency.clone());
        let place = |model: &ModelName, route, bucket: &BucketId, price: Rc<Price>| Place {
            model: model.clone(),
            route,
            bucket: bucket.clone(),
            currency: currency(bucket).unwrap_or_default(),
            price,
        };
        let planned = &quoted.planned;
        let own = place(&planned.model.id, planned.route, &planned.bucket, Rc::clone(&planned.price));
        let first = prepared
            .first_choice
            .as_ref()
            .map(|first| place(&first.model.id, first.route, &first.bucket, Rc::clone(&first.price)));
        let first = first.filter(|first| (&first.model, first.route) != (&own.model, own.route));
        let is_first = |route| first.as_ref().is_some_and(|first| first.model == own.model && first.route == route);
        let routes = planned.model.routes.iter().filter(|route| route.kind != planned.route && !is_first(route.kind));
        let others = routes.filter_map(|route| {
            let price = Rc::new(route.price.clone()?);
            Some((Comparison::OtherRoute, place(&planned.model.id, route.kind, &route.bucket, price)))
        });
        let others: Vec<_> = others.collect();
        Self { own: Some(own), others: first.map(|first| (Comparison::FirstChoice, first)).into_iter().chain(others).collect() }
    }

    /// What usage would have cost there. What cannot be counted, or is counted otherwise there, is left out.
    pub fn of(&self, usage: &Usage) -> Vec<Elsewhere> {
        let Some(own) = &self.own else { return Vec::new() };
        let here = cost(&own.price, usage).ok();
        let comparable = self.others.iter().filter(|(_, place)| place.price.basis() == own.price.basis());
        let told = comparable.filter_map(|(of, place)| {
            let there = cost(&place.price, usage).ok()?;
            let is_one_currency = place.currency == own.currency;
            Some(Elsewhere {
                of: *of,
                model: place.model.clone(),
                route: place.route,
                bucket: place.bucket.clone(),
                currency: place.currency.clone(),
                cost: there,
                difference: here.filter(|_| is_one_currency).and_then(|here| here.checked_sub(there)),
            })
        });
        told.collect()
    }
}
