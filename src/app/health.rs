//! The health of every candidate, for operators.

use serde::Serialize;

use super::page::Page;
use super::principal::Principal;
use super::use_case::UseCase;
use crate::catalog::RouteKind;
use crate::id::{ChannelId, ModelName};
use crate::ports::{HealthCopy, Sold};
use crate::refusal::Refusal;
use crate::routing::health::{CandidateId, Health};

/// A candidate of a route, with all that is known of it.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct CandidateHealth {
    pub model: ModelName,
    pub route: RouteKind,
    pub channel: ChannelId,
    pub upstream_model: String,
    pub tier: u8,
    pub health: Health,
}

/// Every candidate of every route, with what is known of it.
pub async fn candidates<P: Sold + HealthCopy>(ports: &P, who: &Principal) -> Result<Page<CandidateHealth>, Refusal> {
    who.operator(UseCase::ListCandidates)?;
    let catalog = ports.catalog().await?;
    let view = ports.health().await;
    let mut data = Vec::new();
    for model in catalog.models.values() {
        for route in &model.routes {
            data.extend(route.candidates.iter().map(|candidate| CandidateHealth {
                model: model.id.clone(),
                route: route.kind,
                channel: candidate.channel.clone(),
                upstream_model: candidate.upstream_model.clone(),
                tier: candidate.tier,
                health: view.of(&CandidateId::of(candidate)),
            }));
        }
    }
    Ok(Page::whole(data))
}
