//! The models that a key can call now, in OpenAI's list shape with OpenRouter's fields, and the route tree of one of them; what
//! the planner, the account and the health of the candidates say, and nothing else.

use std::rc::Rc;

use futures_util::future::join;
use serde_json::{Map, Value, json};

use super::availability::{self, Availability, Reason, Snapshot, Viewer};
use super::output::ok;
use super::shown::Shown;
use super::{model_shapes, truth};
use crate::app::{Holder, currency};
use crate::catalog::{Candidate, Catalog, Dialect, Model, ModelKind, Route};
use crate::key::Policy;
use crate::money::{Money, Price};
use crate::ports::Records;
use crate::refusal::Refusal;
use crate::relay::Reply;
use crate::routing::health::{Board, CandidateId, Health, HealthStatus, Witness};
use crate::routing::{asked_model, model_not_found};
use crate::usage::Class;

/// All that a model's entry depends on.
struct View<'a> {
    snapshot: &'a Snapshot,
    board: &'a Board,
    policy: Policy,
    /// Who looks at it; what that account alone has met counts for it.
    by: Option<Witness>,
}

/// A model as lists have it.
pub fn entry((snapshot, board): (&Snapshot, &Board), viewer: &Viewer<'_>, model: &Rc<Model>, told: &Availability) -> Value {
    let (policy, by) = match viewer {
        Viewer::Key(key, _) => (key.policy.clone(), Some(Witness::of(&key.account))),
        Viewer::Anyone => (Policy::default(), None),
    };
    View { snapshot, board, policy, by }.entry(model, told)
}

/// What is sold and known now, and what was seen of it lately.
pub async fn seen<P: Records>(ports: &P) -> Result<(Snapshot, Rc<Board>), Refusal> {
    let (snapshot, board) = join(Snapshot::take(ports), ports.board()).await;
    Ok((snapshot?, board))
}

/// Answers `GET /v1/models`.
pub async fn list<P: Records>(ports: &P, holder: &Holder, include_unavailable: bool, dialect: Dialect) -> Result<Reply, Refusal> {
    let (snapshot, board) = seen(ports).await?;
    let asked: Vec<_> = snapshot.catalog.models.values().map(|model| (Rc::clone(model), None)).collect();
    let told = availability::of(ports, &Viewer::Key(&holder.key, holder.address), &snapshot, &asked).await?;
    let view = View {
        snapshot: &snapshot,
        board: &board,
        policy: holder.key.policy.clone(),
        by: Some(Witness::of(&holder.key.account)),
    };
    let shown = asked.iter().zip(&told).filter(|(_, told)| told.callable || include_unavailable);
    let data: Vec<Value> = shown.map(|((model, _), told)| view.entry(model, told)).collect();
    ok(&model_shapes::list(dialect, data))
}

/// Answers `GET /v1/models/{id}`, whether the key can call it or not: the entry says so.
pub async fn one<P: Records>(ports: &P, holder: &Holder, name: &str, dialect: Dialect) -> Result<Reply, Refusal> {
    let (snapshot, board) = seen(ports).await?;
    let asked = [(Rc::clone(found(&snapshot.catalog, name)?), None)];
    let told = availability::of(ports, &Viewer::Key(&holder.key, holder.address), &snapshot, &asked).await?;
    let view = View {
        snapshot: &snapshot,
        board: &board,
        policy: holder.key.policy.clone(),
        by: Some(Witness::of(&holder.key.account)),
    };
    let entry = asked.iter().zip(&told).map(|((model, _), told)| view.entry(model, told)).next();
    ok(&model_shapes::one(dialect, entry.unwrap_or_default()))
}

/// Answers `GET /v1/models/{id}/endpoints`: every candidate of every route, in OpenRouter's shape.
pub async fn endpoints<P: Records>(ports: &P, holder: &Holder, name: &str) -> Result<Reply, Refusal> {
    let (snapshot, board) = seen(ports).await?;
    let model = found(&snapshot.catalog, name)?;
    let asked: Vec<_> = model.routes.iter().map(|route| (Rc::clone(model), Some(route.kind))).collect();
    let told = availability::of(ports, &Viewer::Key(&holder.key, holder.address), &snapshot, &asked).await?;
    let view = View {
        snapshot: &snapshot,
        board: &board,
        policy: holder.key.policy.clone(),
        by: Some(Witness::of(&holder.key.account)),
    };
    let mut endpoints = Vec::new();
    for (route, told) in model.routes.iter().zip(&told) {
        endpoints.extend(route.candidates.iter().map(|candidate| view.endpoint(model, (route, told), candidate)));
    }
    let price = model.routes.first().and_then(|route| route.price.as_ref());
    ok(&json!({"data": {
        "id": model.id, "name": model.name, "created": 0, "description": "", "architecture": architecture(model.kind, price),
        "endpoints": endpoints, "tf": {
            "health_at": board.at, "catalog_version": snapshot.catalog.version, "truth": truth::of_model(model, &board),
        },
    }}))
}

/// The model that a name in a path means: as in a request, with or without a route.
pub fn found<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Rc<Model>, Refusal> {
    asked_model(catalog, name).ok_or_else(|| model_not_found(catalog, name))
}

impl View<'_> {
    fn entry(&self, model: &Rc<Model>, told: &Availability) -> Value {
        let first = told.served_by.as_ref().map(|served| served.route);
        let first = first.into_iter().chain(self.policy.routes.iter().copied()).find_map(|kind| model.route(kind));
        let shown = first.or(model.routes.first());
        let price = shown.and_then(|route| route.price.as_ref());
        let currency = shown.map_or(Value::Null, |route| self.currency(route));
        let routes: Vec<Value> = model.routes.iter().map(|route| self.route(route, model)).collect();
        let most_output = Some(model.max_output_tokens).filter(|most| *most > 0);
        let reasons: Vec<Value> = told.reasons.iter().map(Reason::json).collect();
        let reason = told.reasons.first().filter(|_| !told.callable).map(|reason| reason.message.as_str());
        let entry = json!({
            "id": model.id,
            "object": "model",
            "created": 0,
            "owned_by": model.family,
            "name": model.name,
            "context_length": model.context_length,
            "architecture": architecture(model.kind, price),
            "pricing": price.map(|price| pricing(price, model.kind, &currency)),
            "top_provider": {"context_length": model.context_length, "max_completion_tokens": most_output},
            "tf": {
                "callable": told.callable, "reason": reason, "reasons": reasons, "kind": model.kind, "aliases": model.aliases,
                "price": price, "currency": currency,
                "served_by": told.served_by.as_ref().map(|served| served.json(&self.snapshot.catalog)), "routes": routes,
                "truth": truth::of_model(model, self.board),
                "catalog_version": self.snapshot.catalog.version,
                "announced": self.snapshot.coming(&model.id).map(|coming| coming.json()),
            },
        });
        currency::told(entry, &self.snapshot.catalog)
    }

    /// Of what a route costs: its bucket's.
    fn currency(&self, route: &Route) -> Value {
        currency::of(&self.snapshot.catalog, route.bucket.as_str()).into()
    }

    fn route(&self, route: &Route, model: &Model) -> Value {
        let currency = self.currency(route);
        let candidates: Vec<Value> = route.candidates.iter().map(|candidate| self.candidate(candidate, model)).collect();
        json!({
            "route": route.kind, "bucket": route.bucket, "currency": currency,
            "pricing": route.price.as_ref().map(|price| pricing(price, model.kind, &currency)), "price": route.price,
            "allowed": self.policy.routes.contains(&route.kind), "candidates": candidates,
        })
    }

    /// What the caller's account knows of a candidate.
    fn health(&self, id: &CandidateId) -> Health {
        self.snapshot.health.told_to(id, self.by, self.snapshot.now)
    }

    fn candidate(&self, candidate: &Candidate, model: &Model) -> Value {
        let id = CandidateId::of(candidate);
        let shown = Shown::new(&self.snapshot.catalog, &id, model.id.as_str());
        let health = shown.health(self.health(&id));
        json!({
            "channel": shown.channel(), "upstream_model": shown.upstream_model(), "tier": candidate.tier,
            "status": health.status, "since": since(&health), "last_probe": health.last_probe, "last_failure": health.last_failure,
            "last_success_at": health.last_success_at, "listing": health.listing,
            "expected_to_answer": health.is_expected_to_answer(self.snapshot.now), "summary": health.sentence(self.snapshot.now),
        })
    }

    fn endpoint(&self, model: &Model, (route, told): (&Route, &Availability), candidate: &Candidate) -> Value {
        let id = CandidateId::of(candidate);
        let (status, stats) = (self.health(&id).status, self.board.of(&id));
        let percent = |share: Option<f64>| share.map(|share| share * 100.0);
        let currency = self.currency(route);
        let mut facts = self.candidate(candidate, model);
        let shown = Shown::new(&self.snapshot.catalog, &id, model.id.as_str());
        let channel = shown.channel();
        let more = json!({
            "route": route.kind, "bucket": route.bucket,
            "currency": currency,
            "price": route.price, "route_callable": told.callable, "reasons": told.reasons.iter().map(Reason::json).collect::<Vec<_>>(),
            "uptime_last_30d": percent(stats.uptime.month), "total_latency_last_30m": stats.latency,
            "requests_last_30m": stats.requests, "failures_last_30m": stats.failures, "latency_by_probes": stats.is_by_probes,
        });
        if let (Some(facts), Value::Object(more)) = (facts.as_object_mut(), more) {
            facts.extend(more);
        }
        json!({
            "name": format!("{channel} | {}", shown.upstream_model()),
            "tag": format!("{}/{channel}", route.kind.as_str()),
            "model_id": model.id, "model_name": model.name, "provider_name": channel, "quantization": null,
            "context_length": model.context_length, "max_completion_tokens": Some(model.max_output_tokens).filter(|most| *most > 0),
            "max_prompt_tokens": null, "supported_parameters": [],
            "pricing": route.price.as_ref().map(|price| pricing(price, model.kind, &currency)),
            "status": code(status),
            "uptime_last_5m": percent(stats.uptime.five_minutes), "uptime_last_30m": percent(stats.uptime.half_hour),
            "uptime_last_1d": percent(stats.uptime.day), "latency_last_30m": stats.first_byte, "throughput_last_30m": null,
            "tf": currency::told(facts, &self.snapshot.catalog),
        })
    }
}

/// Since when a status holds; nothing of one that is unknown.
pub fn since(health: &crate::routing::health::Health) -> Option<crate::time::Timestamp> {
    Some(health.since).filter(|_| health.status != HealthStatus::Unknown)
}

/// OpenRouter's number for a status: 0 is fine, the lower the worse.
const fn code(status: HealthStatus) -> i8 {
    match status {
        HealthStatus::Up | HealthStatus::Unknown => 0,
        HealthStatus::Degraded => -5,
        HealthStatus::Down => -10,
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

/// OpenRouter's prices: decimal strings per token, image or request, without tiers. It always has the first two, and says in which
/// currency they are.
fn pricing(price: &Price, kind: ModelKind, currency: &Value) -> Value {
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
    prices.insert("currency".to_owned(), currency.clone());
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
        assert_eq!(pricing(&price, ModelKind::Chat, &Value::Null)["prompt"], "0.00000125");
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
            let mut expected = expected;
            expected["currency"] = json!("CNY");
            assert_eq!(pricing(&price, kind, &json!("CNY")), expected, "{kind:?}");
            assert_eq!(architecture(kind, Some(&price))["modality"], modality);
        }
    }
}
