//! The models that a key can call now, in OpenAI's list shape with OpenRouter's fields; what the planner says, and nothing else.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::{ok, owner};
use crate::account::Overview;
use crate::catalog::{Catalog, Model, Route};
use crate::key::KeyRecord;
use crate::money::{Money, Price};
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, unavailable};
use crate::routing::health::{CandidateId, HealthView};
use crate::routing::{Ask, PlanInput, plan};
use crate::time::Timestamp;

/// All that a model's entry depends on.
struct View<'a> {
    catalog: &'a Rc<Catalog>,
    health: HealthView,
    key: &'a KeyRecord,
    overview: Overview,
    now: Timestamp,
}

/// Answers `GET /v1/models`.
pub async fn list<P: Records>(ports: &P, key: &KeyRecord, include_unavailable: bool) -> Result<Reply, Refusal> {
    let catalog = ports.catalog().await.map_err(unavailable)?;
    let view = view(ports, key, &catalog).await?;
    let entries = catalog.models.values().map(|model| view.entry(model));
    let data: Vec<Value> =
        entries.filter(|(is_callable, _)| *is_callable || include_unavailable).map(|(_, entry)| entry).collect();
    ok(&json!({"object": "list", "data": data}))
}

/// Answers `GET /v1/models/{id}`, whether the key can call it or not: the entry says so.
pub async fn one<P: Records>(ports: &P, key: &KeyRecord, name: &str) -> Result<Reply, Refusal> {
    let catalog = ports.catalog().await.map_err(unavailable)?;
    let Some(model) = catalog.model(name) else {
        let near = catalog.near_names(name);
        let refusal = Refusal::new(Code::ModelNotFound, "There is no such model.", "Choose a name from GET /v1/models.");
        return Err(refusal.param("model").fact("near", near));
    };
    ok(&view(ports, key, &catalog).await?.entry(model).1)
}

async fn view<'a, P: Records>(ports: &P, key: &'a KeyRecord, catalog: &'a Rc<Catalog>) -> Result<View<'a>, Refusal> {
    let overview = owner::overview(ports, &key.account).await?;
    Ok(View { catalog, health: ports.health().await, key, overview, now: ports.now() })
}

impl View<'_> {
    /// Whether the model can be called, and its entry.
    fn entry(&self, model: &Rc<Model>) -> (bool, Value) {
        let (is_callable, reason) = self.callable(model);
        let first = self.key.policy.routes.iter().find_map(|kind| model.route(*kind)).or(model.routes.first());
        let price = first.and_then(|route| route.price.as_ref());
        let routes: Vec<Value> = model.routes.iter().map(|route| self.route(route)).collect();
        let entry = json!({
            "id": model.id,
            "object": "model",
            "created": 0,
            "owned_by": model.family,
            "name": model.name,
            "context_length": model.context_length,
            "architecture": {"modality": "text->text", "input_modalities": ["text"], "output_modalities": ["text"]},
            "pricing": price.map(per_token),
            "top_provider": {"context_length": model.context_length, "max_completion_tokens": model.max_output_tokens},
            "tf": {"callable": is_callable, "reason": reason, "kind": model.kind, "aliases": model.aliases, "routes": routes},
        });
        (is_callable, entry)
    }

    /// The planner's word, and a balance above nothing in a bucket that it names.
    fn callable(&self, model: &Model) -> (bool, Option<String>) {
        let ask = Ask { models: vec![model.id.to_string()], ..Ask::default() };
        let input = PlanInput {
            catalog: self.catalog,
            policy: &self.key.policy,
            ask: &ask,
            health: &self.health,
            now: self.now,
            seed: self.key.id.as_str(),
        };
        let plan = match plan(input) {
            Ok(plan) => plan,
            Err(refusal) => return (false, Some(refusal.message)),
        };
        let is_covered = plan.attempts.iter().any(|planned| {
            let balance = self.overview.balances.iter().find(|view| view.bucket == planned.bucket);
            balance.is_some_and(|view| view.available.is_positive())
        });
        let buckets: Vec<&str> = plan.attempts.iter().map(|planned| planned.bucket.as_str()).take(1).collect();
        let reason = (!is_covered).then(|| format!("The balance that pays, `{}`, has nothing available.", buckets.join("`, `")));
        (is_covered, reason)
    }

    fn route(&self, route: &Route) -> Value {
        let currency = self.catalog.buckets.get(&route.bucket).map(|bucket| bucket.currency.as_str());
        let candidates: Vec<Value> = route
            .candidates
            .iter()
            .map(|candidate| {
                let health = self.health.of(&CandidateId::of(candidate));
                // Only what kind of failure it was: its words come from somebody's request.
                let failure = health.last_failure.as_ref().map(|failure| json!({"at": failure.at, "kind": failure.kind}));
                json!({
                    "channel": candidate.channel, "upstream_model": candidate.upstream_model, "tier": candidate.tier,
                    "status": health.status, "last_probe": health.last_probe, "last_failure": failure,
                })
            })
            .collect();
        json!({
            "route": route.kind, "bucket": route.bucket, "currency": currency, "pricing": route.price.as_ref().map(per_token),
            "allowed": self.key.policy.routes.contains(&route.kind), "candidates": candidates,
        })
    }
}

/// OpenRouter's prices: decimal strings per token.
fn per_token(price: &Price) -> Value {
    let mut prices = Map::new();
    let mut put = |name: &str, rate: Option<Money>| {
        if let Some(rate) = rate {
            prices.insert(name.to_owned(), per_one(rate).into());
        }
    };
    put("prompt", price.rates.input);
    put("completion", price.rates.output);
    put("input_cache_read", price.rates.cached_input);
    put("input_cache_write", price.rates.cache_write);
    put("internal_reasoning", price.rates.reasoning);
    put("audio", price.rates.audio_input);
    prices.into()
}

/// A rate per million as a rate per one; exact, since it only moves the decimal point.
fn per_one(rate: Money) -> String {
    let digits = format!("{:015}", rate.nanos().unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(15));
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::cost;
    use crate::usage::Usage;

    #[test]
    fn prices_per_token_only_move_the_point() {
        for (rate, one) in [
            ("1.25", "0.00000125"),
            ("0.000000001", "0.000000000000001"),
            ("0", "0"),
            ("1000000", "1"),
            ("2500000.5", "2.5000005"),
        ] {
            assert_eq!(per_one(Money::parse(rate).unwrap()), one);
        }
    }

    #[test]
    fn a_listed_price_is_the_charged_price() {
        let price: Price = serde_json::from_value(json!({"input": "1.25", "output": "10"})).unwrap();
        let charge = cost(&price, &Usage { input: 1_000_000, ..Usage::default() }).unwrap();
        assert_eq!(charge.to_string(), "1.25");
        assert_eq!(per_token(&price)["prompt"], "0.00000125");
    }
}
