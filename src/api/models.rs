//! The models that a key can call now, in OpenAI's list shape with OpenRouter's fields; what the planner says, and nothing else.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::{model_shapes, ok, owner};
use crate::account::Overview;
use crate::catalog::{Catalog, Dialect, Model, ModelKind, Route};
use crate::key::KeyRecord;
use crate::money::{Money, Price};
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, unavailable};
use crate::routing::health::{CandidateId, HealthView};
use crate::routing::{Ask, PlanInput, plan};
use crate::time::Timestamp;
use crate::usage::Class;

/// All that a model's entry depends on.
struct View<'a> {
    catalog: &'a Rc<Catalog>,
    health: HealthView,
    key: &'a KeyRecord,
    overview: Overview,
    now: Timestamp,
}

/// Answers `GET /v1/models`.
pub async fn list<P: Records>(ports: &P, key: &KeyRecord, include_unavailable: bool, dialect: Dialect) -> Result<Reply, Refusal> {
    let catalog = ports.catalog().await.map_err(unavailable)?;
    let view = view(ports, key, &catalog).await?;
    let entries = catalog.models.values().map(|model| view.entry(model));
    let data: Vec<Value> =
        entries.filter(|(is_callable, _)| *is_callable || include_unavailable).map(|(_, entry)| entry).collect();
    ok(&model_shapes::list(dialect, data))
}

/// Answers `GET /v1/models/{id}`, whether the key can call it or not: the entry says so.
pub async fn one<P: Records>(ports: &P, key: &KeyRecord, name: &str, dialect: Dialect) -> Result<Reply, Refusal> {
    let catalog = ports.catalog().await.map_err(unavailable)?;
    let Some(model) = catalog.model(name) else {
        let near = catalog.near_names(name);
        let refusal = Refusal::new(Code::ModelNotFound, "There is no such model.", "Choose a name from GET /v1/models.");
        return Err(refusal.param("model").fact("near", near));
    };
    ok(&model_shapes::one(dialect, view(ports, key, &catalog).await?.entry(model).1))
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
        let routes: Vec<Value> = model.routes.iter().map(|route| self.route(route, model.kind)).collect();
        let most_output = Some(model.max_output_tokens).filter(|most| *most > 0);
        let entry = json!({
            "id": model.id,
            "object": "model",
            "created": 0,
            "owned_by": model.family,
            "name": model.name,
            "context_length": model.context_length,
            "architecture": architecture(model.kind, price),
            "pricing": price.map(|price| pricing(price, model.kind)),
            "top_provider": {"context_length": model.context_length, "max_completion_tokens": most_output},
            "tf": {"callable": is_callable, "reason": reason, "kind": model.kind, "aliases": model.aliases, "price": price, "routes": routes},
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

    fn route(&self, route: &Route, kind: ModelKind) -> Value {
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
            "route": route.kind, "bucket": route.bucket, "currency": currency,
            "pricing": route.price.as_ref().map(|price| pricing(price, kind)), "price": route.price,
            "allowed": self.key.policy.routes.contains(&route.kind), "candidates": candidates,
        })
    }
}

/// OpenRouter's words for what goes in and comes out. Beyond what every model of a kind does, it is what has a price: without
/// one it cannot be asked for.
fn architecture(kind: ModelKind, price: Option<&Price>) -> Value {
    let has = |class: Class| price.is_some_and(|price| price.rates.of(class).is_some());
    let with = |always: &'static str, more: &[(&'static str, bool)]| -> Vec<&'static str> {
        let more = more.iter().filter(|(name, is_there)| *is_there && *name != always).map(|(name, _)| *name);
        [always].into_iter().chain(more).collect()
    };
    let media_in = [("image", has(Class::ImageInput)), ("audio", has(Class::AudioInput))];
    let media_out = [("image", has(Class::ImageOutput)), ("audio", has(Class::AudioOutput))];
    let (input, output) = match kind {
        ModelKind::Chat => (with("text", &media_in), with("text", &media_out)),
        ModelKind::Embedding => (with("text", &media_in), vec!["embeddings"]),
        ModelKind::Moderation => (with("text", &media_in), vec!["moderation"]),
        ModelKind::Image => (with("text", &media_in), vec!["image"]),
        ModelKind::Speech => (vec!["text"], vec!["audio"]),
        ModelKind::Transcription => (vec!["audio"], vec!["text"]),
        ModelKind::Rerank => (with("text", &media_in), vec!["rerank"]),
    };
    let modality = format!("{}->{}", input.join("+"), output.join("+"));
    json!({"modality": modality, "input_modalities": input, "output_modalities": output})
}

/// OpenRouter's prices: decimal strings per token, image or request, without tiers. It always has the first two.
fn pricing(price: &Price, kind: ModelKind) -> Value {
    let mut prices = Map::new();
    let mut put = |name: &str, rate: Option<String>| {
        if let Some(rate) = rate {
            prices.insert(name.to_owned(), rate.into());
        }
    };
    let rates = &price.rates;
    let nothing = Some("0".to_owned());
    put("prompt", rates.input.map(per_one).or_else(|| nothing.clone()));
    put("completion", rates.output.map(per_one).or(nothing));
    put("input_cache_read", rates.cached_input.map(per_one));
    put("input_cache_write", rates.cache_write.map(per_one));
    put("internal_reasoning", rates.reasoning.map(per_one));
    put("audio", rates.audio_input.map(per_one));
    put("audio_output", rates.audio_output.map(per_one));
    put("image_token", rates.image_input.map(per_one));
    put("image_output", rates.image_output.map(per_one));
    put("image", rates.images.map(|rate| rate.to_string()));
    // A rerank request is one search at least; elsewhere searches come on top.
    let name = if kind == ModelKind::Rerank { "request" } else { "web_search" };
    put(name, rates.searches.map(|rate| rate.to_string()));
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
        assert_eq!(pricing(&price, ModelKind::Chat)["prompt"], "0.00000125");
    }

    #[test]
    fn every_kind_has_its_prices_and_modalities() {
        for (kind, price, modality, expected) in [
            (
                ModelKind::Chat,
                json!({"input": "1", "cached_input": "0.1", "cache_write": "1.25", "output": "2", "audio_input": "8", "searches": "0.01"}),
                "text+audio->text",
                json!({"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001",
                    "input_cache_write": "0.00000125", "audio": "0.000008", "web_search": "0.01"}),
            ),
            (
                ModelKind::Embedding,
                json!({"input": "0.02"}),
                "text->embeddings",
                json!({"prompt": "0.00000002", "completion": "0"}),
            ),
            (
                ModelKind::Image,
                json!({"input": "5", "image_input": "10", "image_output": "40"}),
                "text+image->image",
                json!({"prompt": "0.000005", "completion": "0", "image_token": "0.00001", "image_output": "0.00004"}),
            ),
            (
                ModelKind::Image,
                json!({"images": "0.04"}),
                "text->image",
                json!({"prompt": "0", "completion": "0", "image": "0.04"}),
            ),
            (ModelKind::Speech, json!({"characters": "15"}), "text->audio", json!({"prompt": "0", "completion": "0"})),
            (ModelKind::Transcription, json!({"seconds": "0.0001"}), "audio->text", json!({"prompt": "0", "completion": "0"})),
            (
                ModelKind::Rerank,
                json!({"searches": "0.002"}),
                "text->rerank",
                json!({"prompt": "0", "completion": "0", "request": "0.002"}),
            ),
        ] {
            let price: Price = serde_json::from_value(price).unwrap();
            assert_eq!(pricing(&price, kind), expected, "{kind:?}");
            assert_eq!(architecture(kind, Some(&price))["modality"], modality);
        }
    }
}
