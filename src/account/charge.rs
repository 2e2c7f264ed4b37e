//! What a request costs: the rule that its end is charged by, and the amount.
//!
//! What always holds: the charge is never above what was set aside, nor above what can be true of the usage; where nothing is
//! charged, there is a reason that the customer can read.

use super::record::{Outcome, RequestStatus};
use crate::catalog::CutPolicy;
use crate::id::BucketId;
use crate::money::{Money, cost};
use crate::usage::UsageSource;

/// What a request costs.
pub(super) struct Charge {
    /// By what was reported.
    pub full: Money,
    /// What is charged of that: as much as can be true, and as was held.
    pub charge: Money,
    pub policy: ChargePolicy,
}

/// Whether usage is charged, by which rule, and if not, why.
pub(super) struct ChargePolicy {
    pub rule: &'static str,
    pub no_charge_reason: Option<&'static str>,
}

fn charge_policy(outcome: &Outcome) -> ChargePolicy {
    let charged = |rule| ChargePolicy { rule, no_charge_reason: None };
    let free = |rule, reason| ChargePolicy { rule, no_charge_reason: Some(reason) };
    let by = |reported, estimated, counted| match outcome.usage_source {
        UsageSource::Estimated => charged(estimated),
        UsageSource::Counted => charged(counted),
        UsageSource::Upstream | UsageSource::None => charged(reported),
    };
    let is_free = outcome.served.as_ref().is_some_and(|served| served.price.is_empty());
    match (outcome.status, outcome.served.is_some()) {
        (RequestStatus::Refused, _) => free("refused: nothing is charged", "The request was refused."),
        (RequestStatus::Aborted, false) => free("client left before anyone answered: nothing is charged", "Nothing was relayed."),
        (_, false) | (RequestStatus::Failed, _) => free("failed: nothing is charged", "No upstream answered the request."),
        (RequestStatus::Completed, true) if is_free => free("completed: nothing is charged", "Requests of this kind are free."),
        (RequestStatus::Completed, true) => by(
            "completed: charged by the usage that upstream reported",
            "completed: charged by usage, estimated because upstream reported none",
            "completed: charged by what was counted here, exactly: images answered, characters sent",
        ),
        (RequestStatus::Aborted, true) => by(
            "client left: charged by the usage that upstream reported",
            "client left: charged by the input and the output relayed, estimated",
            "client left: charged by what was counted here, exactly: images answered, characters sent",
        ),
        (RequestStatus::Truncated, true) => match outcome.upstream_cut {
            CutPolicy::Free => free("upstream cut the stream: nothing is charged", "Upstream broke off before the end."),
            CutPolicy::Usage => charged("upstream cut the stream: charged by what arrived"),
        },
    }
}

/// What a request costs that ended like this, with so much set aside of a bucket.
pub(super) fn charge_of(outcome: &Outcome, bucket: &BucketId, held: Money) -> Charge {
    priced(outcome, charge_policy(outcome), bucket, held)
}

/// The same by another rule.
pub(super) fn priced(outcome: &Outcome, policy: ChargePolicy, bucket: &BucketId, held: Money) -> Charge {
    let served = outcome.served.as_ref().filter(|served| served.bucket == *bucket && policy.no_charge_reason.is_none());
    let credible = outcome.bounds.map_or(outcome.usage, |bounds| outcome.usage.bounded(&bounds));
    // A cost beyond counting is beyond the hold too, and goes to review.
    let of = |usage| served.map_or(Money::ZERO, |served| cost(&served.price, &usage).unwrap_or(Money::MAX));
    Charge { full: of(outcome.usage), charge: of(credible).min(held), policy }
}
