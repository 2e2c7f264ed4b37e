//! The health of every candidate, for operators.

use serde_json::json;

use super::output::ok;
use crate::ports::Records;
use crate::refusal::Refusal;
use crate::relay::Reply;
use crate::routing::health::CandidateId;

/// Every candidate of every route, with what is known of it.
pub async fn candidates<P: Records>(ports: &P) -> Result<Reply, Refusal> {
    let catalog = ports.catalog().await?;
    let view = ports.health().await;
    let mut data = Vec::new();
    for model in catalog.models.values() {
        for (route, candidate) in
            model.routes.iter().flat_map(|route| route.candidates.iter().map(move |candidate| (route, candidate)))
        {
            data.push(json!({
                "model": model.id, "route": route.kind, "channel": candidate.channel, "upstream_model": candidate.upstream_model,
                "tier": candidate.tier, "health": view.of(&CandidateId::of(candidate)),
            }));
        }
    }
    ok(&json!({"data": data, "next": null}))
}
