//! Models in OpenAI's list shape with OpenRouter's fields; what is ours stands under `tf`.

use serde_json::{Map, Value, json};

use crate::app::models::{EndpointList, EndpointView, ModelView, RouteView};
use crate::catalog::{Model, ModelKind, Route};
use crate::money::{Money, Price};
use crate::routing::health::HealthStatus;
use crate::usage::Class;

/// A model as lists have it.
pub fn entry(view: &ModelView) -> Value {
    let ModelView { model, availability, served_by, priced, routes, truth, catalog_version, announced } = view;
    let price = priced.and_then(|kind| model.route(kind)).and_then(|route| route.price.as_ref());
    let currency = routes.iter().find(|route| Some(route.kind) == *priced).and_then(|route| route.currency.as_deref());
    let most_output = Some(model.max_output_tokens).filter(|most| *most > 0);
    let reason = availability.reasons.first().filter(|_| !availability.callable).map(|reason| reason.message.as_str());
    let routes: Vec<Value> = model.routes.iter().zip(routes).map(|(route, view)| of_route(model, route, view)).collect();
    json!({
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": model.family,
        "name": model.name,
        "context_length": model.context_length,
        "architecture": architecture(model.kind, price),
        "pricing": price.map(|price| pricing(price, model.kind, currency)),
        "top_provider": {"context_length": model.context_length, "max_completion_tokens": most_output},
        "tf": {
            "callable": availability.callable, "reason": reason, "reasons": availability.reasons, "kind": model.kind,
            "aliases": model.aliases, "price": price, "currency": currency, "served_by": served_by, "routes": routes,
            "truth": truth, "catalog_version": catalog_version, "announced": announced,
        },
    })
}

fn of_route(model: &Model, route: &Route, view: &RouteView) -> Value {
    let currency = view.currency.as_deref();
    json!({
        "route": route.kind, "bucket": route.bucket, "currency": currency,
        "pricing": route.price.as_ref().map(|price| pricing(price, model.kind, currency)), "price": route.price,
        "allowed": view.is_allowed, "candidates": view.candidates,
    })
}

/// Every candidate of every route, in OpenRouter's shape.
pub fn endpoints(view: &EndpointList) -> Value {
    let model = &view.model;
    let price = model.routes.first().and_then(|route| route.price.as_ref());
    json!({"data": {
        "id": model.id, "name": model.name, "created": 0, "description": "", "architecture": architecture(model.kind, price),
        "endpoints": view.endpoints.iter().map(|view| endpoint(model, view)).collect::<Vec<_>>(), "tf": {
            "health_at": view.health_at, "catalog_version": view.catalog_version, "truth": view.truth,
        },
    }})
}

fn endpoint(model: &Model, view: &EndpointView) -> Value {
    let EndpointView { currency, is_callable, reasons, candidate, stats, .. } = view;
    let (route, currency) = (model.route(view.route), currency.as_deref());
    let price = route.and_then(|route| route.price.as_ref());
    let percent = |share: Option<f64>| share.map(|share| share * 100.0);
    let mut facts = json!(candidate);
    let more = json!({
        "route": view.route, "bucket": route.map(|route| &route.bucket), "currency": currency,
        "price": price, "route_callable": is_callable, "reasons": reasons,
        "uptime_last_30d": percent(stats.uptime.month), "total_latency_last_30m": stats.latency,
        "requests_last_30m": stats.requests, "failures_last_30m": stats.failures, "latency_by_probes": stats.is_by_probes,
    });
    if let (Some(facts), Value::Object(more)) = (facts.as_object_mut(), more) {
        facts.extend(more);
    }
    let channel = &candidate.channel;
    json!({
        "name": format!("{channel} | {}", candidate.upstream_model),
        "tag": format!("{}/{channel}", view.route.as_str()),
        "model_id": model.id, "model_name": model.name, "provider_name": channel, "quantization": null,
        "context_length": model.context_length, "max_completion_tokens": Some(model.max_output_tokens).filter(|most| *most > 0),
        "max_prompt_tokens": null, "supported_parameters": [],
        "pricing": price.map(|price| pricing(price, model.kind, currency)),
        "status": code(candidate.status),
        "uptime_last_5m": percent(stats.uptime.five_minutes), "uptime_last_30m": percent(stats.uptime.half_hour),
        "uptime_last_1d": percent(stats.uptime.day), "latency_last_30m": stats.first_byte, "throughput_last_30m": null,
        "tf": facts,
    })
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
fn pricing(price: &Price, kind: ModelKind, currency: Option<&str>) -> Value {
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
    prices.insert("currency".to_owned(), currency.into());
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
        assert_eq!(pricing(&price, ModelKind::Chat, None)["prompt"], "0.00000125");
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
            assert_eq!(pricing(&price, kind, Some("CNY")), expected, "{kind:?}");
            assert_eq!(architecture(kind, Some(&price))["modality"], modality);
        }
    }
}
