//! The smallest request of every kind of model: it can be planned, and what it may cost is next to nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::rc::Rc;

use serde_json::{Value, json};
use support::outside::Simulation;
use tokens_forge::catalog::{Catalog, UpstreamHosts};
use tokens_forge::dialect::probe_request::probe_request;
use tokens_forge::id::RequestId;
use tokens_forge::relay::{Early, Preparing, RequestHead, prepare};
use tokens_forge::routing::health::HealthView;
use tokens_forge::time::Timestamp;

/// Name, kind, price, and what the probe request is quoted at by it.
fn sold() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    vec![
        // The chat is a body of 97 bytes and 16 tokens: 97 * 1 + 16 * 10 millionths.
        ("chat", "chat", json!({"input": "1", "output": "10"}), "0.000257"),
        // 44 bytes.
        ("embedding", "embedding", json!({"input": "0.02"}), "0.00000088"),
        ("moderation", "moderation", json!({"input": "0"}), "0"),
        // One image.
        ("image", "image", json!({"images": "0.04"}), "0.04"),
        // Three characters.
        ("speech", "speech", json!({"characters": "15"}), "0.000045"),
        // 4,044 bytes of sound, of which the smallest format has a thousand a second.
        ("transcription", "transcription", json!({"seconds": "0.0001"}), "0.0005"),
        ("rerank", "rerank", json!({"searches": "0.002"}), "0.002"),
        ("ranked-at-cohere", "rerank", json!({"searches": "0.002"}), "0.002"),
        ("chat-at-anthropic", "chat", json!({"input": "1", "output": "10"}), "0.00027"),
        ("chat-at-gemini", "chat", json!({"input": "1", "output": "10"}), "0.000267"),
    ]
}

fn catalog() -> Catalog {
    let dialects = ["openai", "anthropic", "gemini", "cohere"];
    let channel =
        |dialect: &str| json!({"dialect": dialect, "base_url": format!("https://{dialect}.example.com/v1"), "secrets": ["K"]});
    let channels: serde_json::Map<String, Value> =
        dialects.into_iter().map(|dialect| (dialect.to_owned(), channel(dialect))).collect();
    let model = |name: &str, kind: &str, price: Value| {
        let channel = dialects.into_iter().find(|dialect| name.ends_with(dialect)).unwrap_or("openai");
        let mut model = json!({"name": "M", "family": "f", "kind": kind, "routes": {
            "official": {"bucket": "credit", "price": price, "candidates": [{"channel": channel, "upstream_model": "up"}]}}});
        match kind {
            "chat" => (model["context_length"], model["max_output_tokens"]) = (json!(8_000), json!(1_000)),
            "embedding" => model["context_length"] = json!(8_000),
            _ => {}
        }
        (name.to_owned(), model)
    };
    let models: serde_json::Map<String, Value> =
        sold().into_iter().map(|(name, kind, price, _)| model(name, kind, price)).collect();
    let document =
        json!({"version": 1, "buckets": {"credit": {"label": "C", "currency": "USD"}}, "channels": channels, "models": models});
    Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
}

#[test]
fn every_recipe_is_planned_and_quoted_at_its_least() {
    let simulation = Simulation::ready(catalog(), &["credit"], json!({}));
    let key = simulation.world.key.borrow().clone().unwrap();
    let catalog = Rc::clone(&simulation.world.catalog);
    let now = Timestamp::from_millis(1_800_000_000_000);
    for (name, _, _, quote) in sold() {
        let probe_request = probe_request(catalog.model(name).unwrap(), &format!("{name}:official"));
        let preparing = Preparing {
            request: RequestId::new(now, 1),
            arrived: now,
            called: probe_request.called,
            head: RequestHead { content_type: probe_request.content_type.map(ToOwned::to_owned), ..RequestHead::default() },
            catalog: Rc::clone(&catalog),
            health: HealthView::default().into(),
            early: Early::default(),
        };
        let prepared = prepare(&preparing, &key, &probe_request.body, now, &|_| None).unwrap();
        let [leg] = prepared.legs.as_slice() else { panic!("{name}: one leg") };
        assert_eq!(leg.quote.to_string(), quote, "{name}: {} bytes", probe_request.body.len());
        assert_eq!((leg.attempts.len(), prepared.left_out.len()), (1, 0), "{name}");
        assert_eq!(leg.attempts[0].planned.candidate_id().to_string().split('/').next_back(), Some("up"), "{name}");
    }
}
