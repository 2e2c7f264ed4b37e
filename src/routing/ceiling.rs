//! How much falling back may cost: at most so many times the first choice.
//!
//! What always holds: whatever a request uses, an attempt that stays costs at most that; prices that nobody can compare are
//! above every ceiling.

use std::rc::Rc;

use super::ask::Ask;
use super::planned::{LeftOut, Planned};
use crate::catalog::{Catalog, Model, RouteKind};
use crate::id::BucketId;
use crate::key::Policy;
use crate::money::{Money, Price, Ratio};

/// What would serve if everything were as it should be: the first that is taken, in the order in which request and key prefer
/// them, before health changes it.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct FirstChoice {
    pub model: Rc<Model>,
    pub route: RouteKind,
    pub bucket: BucketId,
    pub price: Rc<Price>,
}

impl FirstChoice {
    pub(super) fn of(planned: &Planned) -> Self {
        Self {
            model: Rc::clone(&planned.model),
            route: planned.route,
            bucket: planned.bucket.clone(),
            price: Rc::clone(&planned.price),
        }
    }
}

/// A ceiling, and whether the key set it.
pub(super) struct Ceiling {
    ratio: Ratio,
    is_of_the_key: bool,
}

impl Ceiling {
    /// That of the key or of the request; the smaller one holds.
    pub(super) fn of(policy: &Policy, ask: &Ask) -> Option<Self> {
        let (ours, theirs) = (policy.fallback_ceiling, ask.provider.fallback_ceiling);
        let ratio = ours.into_iter().chain(theirs).min()?;
        Some(Self { ratio, is_of_the_key: ours == Some(ratio) })
    }

    /// Takes out what may cost more, and says so.
    pub(super) fn leave_out(&self, attempts: &mut Vec<Planned>, first: &FirstChoice, catalog: &Catalog) -> Vec<LeftOut> {
        let is_first = |planned: &Planned| (&planned.model.id, planned.route) == (&first.model.id, first.route);
        let worths = |planned: &Planned| worths(catalog, &planned.bucket, &first.bucket);
        let is_within = |planned: &Planned| {
            worths(planned)
                .is_some_and(|(worth, first_worth)| self.ratio.covers((&planned.price, worth), (&first.price, first_worth)))
        };
        let all = std::mem::take(attempts).into_iter();
        let (kept, dearer): (Vec<_>, Vec<_>) = all.partition(|planned| is_first(planned) || is_within(planned));
        *attempts = kept;
        dearer.iter().map(|planned| self.dearer(planned, worths(planned).is_some())).collect()
    }

    fn dearer(&self, planned: &Planned, is_comparable: bool) -> LeftOut {
        let reason = match is_comparable {
            true => format!("the {} route may cost more than {} times the first choice", planned.route.as_str(), self.ratio),
            false => format!(
                "nobody says what the currency of the {} route is worth, so it cannot be compared with the first choice",
                planned.route.as_str()
            ),
        };
        let next_step = match self.is_of_the_key {
            true => "Ask the key's owner for a higher `fallback_ceiling`.",
            false => "Send a higher `provider.fallback_ceiling`, or none.",
        };
        LeftOut {
            model: planned.model.id.to_string(),
            route: Some(planned.route),
            channel: Some(planned.channel.shown().into_owned()),
            reason,
            code: self.is_of_the_key.then_some("fallback_too_dear"),
            next_step: Some(next_step.to_owned()),
        }
    }
}

/// What a unit of two buckets is worth: the same where they have one currency; none where nobody says.
fn worths(catalog: &Catalog, one: &BucketId, other: &BucketId) -> Option<(Money, Money)> {
    let (one, other) = (catalog.buckets.get(one)?, catalog.buckets.get(other)?);
    let same = Money::from_nanos(1).ok()?;
    if one.currency == other.currency { Some((same, same)) } else { Some((one.worth()?, other.worth()?)) }
}
