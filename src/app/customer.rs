//! What an account's owner reads of its journal: receipts, ledger entries and orders, made of the fields that are for customers.
//!
//! What always holds: a field that is not named here is not shown, so that what the operator writes for himself (reasons,
//! authors, names of secrets, channels and ids upstream) stays with him unless the catalogue says otherwise.
//!
//! Deliberately absent: the operator's own views, which show journal rows as they are.

use serde_json::{Map, Value};

use crate::catalog::{Catalog, NamedCandidate};

/// The fields of a receipt that are for customers. Channel, id upstream, attempts, errors and corrections are told apart below.
const RECEIPT: &str = "id status created_at closed_at account project key key_label run endpoint stream requested_model counted_as \
                       model upstream_model route channel bucket why attempts retries fallbacks usage usage_source price catalog_version \
                       hold charge input_charge charge_policy in_review entry_ids balance_before balance_after no_charge_reason \
                       error next_step finish_reason first_byte_ms latency_ms dropped_parameters output_limit elsewhere promise";
const CORRECTION: &str = "id key key_label project run status model upstream_model route channel bucket usage usage_before \
                          usage_source charge_policy charge_before charge_after in_review finish_reason latency_ms reason promise \
                          promise_before";
/// All but the credential, which is the operator's own.
const ATTEMPT: &str = "model channel tier route bucket upstream_model reason dispatched status started_at latency_ms \
                       provider_status error message";
const REFUND: &str = "id order order_amount amount refunded_before already_used taken debt debt_after source reason note";

/// A journal row as its account's owner reads it.
pub fn row(catalog: &Catalog, mut row: Value) -> Value {
    let kind = row.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(doc) = row.get_mut("doc") {
        *doc = shown(catalog, &kind, &doc.take());
    }
    row
}

/// What a row is about.
fn shown(catalog: &Catalog, kind: &str, doc: &Value) -> Value {
    let text = |name: &str| doc.get(name).and_then(Value::as_str);
    match kind {
        "receipt" => receipt(catalog, doc),
        "correction" => correction(catalog, doc),
        "refund" => {
            let mut refund = only(doc, REFUND);
            // What a provider's message did, the gateway has put into words; the rest is the operator's.
            if text("source") != Some("webhook") {
                refund.shift_remove("reason");
            }
            refund.into()
        }
        "top_up" => {
            let mut top_up = only(doc, "order note");
            let paid = text("order").map(|order| format!("Order {order} was paid."));
            if let Some(paid) = paid.filter(|paid| text("reason") == Some(paid)) {
                top_up.insert("reason".to_owned(), paid.into());
            }
            top_up.into()
        }
        "debt_payment" => only(doc, "reason debt_after").into(),
        _ => only(doc, "note").into(),
    }
}

/// These fields of an object, in the order in which they stand there.
fn only(doc: &Value, names: &str) -> Map<String, Value> {
    let is_named = |name: &str| names.split(' ').any(|known| known == name);
    let fields = doc.as_object().into_iter().flatten();
    fields.filter(|(name, _)| is_named(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn receipt(catalog: &Catalog, doc: &Value) -> Value {
    let mut receipt = only(doc, RECEIPT);
    let asked = doc.get("requested_model").and_then(Value::as_str).unwrap_or_default();
    let attempts = doc.get("attempts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<NamedCandidate<'_>> = attempts.iter().map(|attempt| named(catalog, attempt, asked)).collect();
    if let Some(Value::String(message)) = receipt.get_mut("error").and_then(|error| error.get_mut("message")) {
        // Told to the client before, but by receipts of earlier versions with names in it.
        *message = names.iter().fold(std::mem::take(message), |text, named| catalog.shown_text(&text, *named));
    }
    name(catalog, &mut receipt, named(catalog, doc, asked));
    let shown = attempts.iter().zip(&names).map(|(doc, named)| attempt(catalog, doc, *named)).collect();
    if let Some(attempts) = receipt.get_mut("attempts") {
        *attempts = Value::Array(shown);
    }
    if let Some(found) = doc.get("correction") {
        receipt.insert("correction".to_owned(), correction(catalog, found));
    }
    receipt.into()
}

fn correction(catalog: &Catalog, doc: &Value) -> Value {
    let mut correction = only(doc, CORRECTION);
    name(catalog, &mut correction, named(catalog, doc, ""));
    correction.into()
}

fn attempt(catalog: &Catalog, doc: &Value, named: NamedCandidate<'_>) -> Value {
    let mut attempt = only(doc, ATTEMPT);
    for field in ["reason", "message"] {
        if let Some(Value::String(text)) = attempt.get_mut(field) {
            *text = catalog.shown_text(text, named);
        }
    }
    name(catalog, &mut attempt, named);
    attempt.into()
}

/// The names in a document. Attempts of before do not name the model: it is the one that the catalogue has the candidate for,
/// or as it was asked for.
fn named<'a>(catalog: &'a Catalog, doc: &'a Value, asked: &'a str) -> NamedCandidate<'a> {
    let text = |name: &str| doc.get(name).and_then(Value::as_str);
    let (channel, upstream_model) = (text("channel").unwrap_or_default(), text("upstream_model").unwrap_or_default());
    let model = text("model").or_else(|| catalog.model_served(channel, upstream_model)).unwrap_or(asked);
    NamedCandidate { channel, upstream_model, model }
}

/// Puts what is shown in the place of channel and id.
fn name(catalog: &Catalog, fields: &mut Map<String, Value>, named: NamedCandidate<'_>) {
    if let Some(channel @ Value::String(_)) = fields.get_mut("channel") {
        *channel = catalog.shown_channel(named.channel).into();
    }
    if let Some(upstream @ Value::String(_)) = fields.get_mut("upstream_model") {
        *upstream = catalog.shown_upstream(named).into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::account::{Attempt, AttemptStatus, Correction, Receipt};

    fn attempt_of(channel: &str) -> Value {
        json!({"model": "m", "channel": channel, "tier": 0, "route": "official", "bucket": "credit", "upstream_model": "x-1",
            "reason": "primary channel", "dispatched": true, "status": "failed", "started_at": "2026-11-22T16:33:44Z",
            "latency_ms": 7, "provider_status": 400, "error": "rejected", "message": "x-1 on pool refuses", "credential": "POOL_KEY"})
    }

    fn receipt_of() -> Value {
        json!({
            "id": "gen-1", "status": "failed", "created_at": "2026-11-22T16:33:44Z", "closed_at": "2026-11-22T16:33:45Z",
            "account": "a", "project": "p", "key": "k", "key_label": "l", "run": null, "endpoint": "/v1/chat/completions",
            "stream": false, "requested_model": "m", "model": "m", "upstream_model": "x-1", "route": "official",
            "channel": "pool", "bucket": "credit", "why": "w", "attempts": [attempt_of("pool")], "retries": 0, "fallbacks": 0,
            "usage": {}, "usage_source": "none", "price": {"input": "1"}, "catalog_version": 1, "hold": "1", "charge": "0",
            "input_charge": "0", "charge_policy": "", "in_review": null, "entry_ids": [], "balance_before": null,
            "balance_after": null, "no_charge_reason": null, "error": {"code": "c", "message": "x-1 refuses", "provider_code": null},
            "next_step": null, "finish_reason": null, "first_byte_ms": null, "latency_ms": 1, "dropped_parameters": ["seed"],
        })
    }

    /// What is stored of a document, read and written again: every field that it can have.
    fn stored<T: serde::de::DeserializeOwned + serde::Serialize>(doc: Value) -> Map<String, Value> {
        match serde_json::to_value(serde_json::from_str::<T>(&doc.to_string()).unwrap()).unwrap() {
            Value::Object(fields) => fields,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_stored_field_is_for_customers_or_the_operators_own() {
        let correction = json!({"id": "gen-1", "key": "k", "key_label": "l", "project": "p", "run": null, "status": "completed",
            "model": "m", "upstream_model": "x", "route": "official", "channel": "c", "bucket": "credit", "usage": {},
            "usage_before": {}, "usage_source": "upstream", "charge_policy": "", "charge_before": "0", "charge_after": "1",
            "in_review": null, "finish_reason": null, "latency_ms": 1, "reason": "late"});
        for (fields, shown, own) in [
            (stored::<Receipt>(receipt_of()), RECEIPT, ""),
            (stored::<Attempt>(attempt_of("pool")), ATTEMPT, "credential"),
            (stored::<Correction>(correction), CORRECTION, ""),
        ] {
            for name in fields.keys() {
                let is_decided = [shown, own].iter().any(|names| names.split(' ').any(|known| known == name));
                assert!(is_decided, "whether customers see `{name}`: name it in one of the lists of app/customer.rs, or here");
            }
        }
        assert_eq!(serde_json::to_value(AttemptStatus::Failed).unwrap(), "failed");
    }

    #[test]
    fn a_receipt_has_neither_credentials_nor_names_of_channels() {
        let row = json!({"seq": 1, "kind": "receipt", "doc": receipt_of()});
        let shown = row_of(row);
        let text = shown.to_string();
        for name in ["POOL_KEY", "credential", "x-1", "\"pool\""] {
            assert!(!text.contains(name), "{name}: {text}");
        }
        let alias = Catalog::nothing().shown_channel("pool");
        assert_eq!(shown["doc"]["channel"], alias.as_str(), "one that left the catalogue");
        assert_eq!(shown["doc"]["attempts"][0]["message"], format!("m on {alias} refuses"));
        assert_eq!((&shown["doc"]["upstream_model"], &shown["doc"]["error"]["message"]), (&json!("m"), &json!("m refuses")));
    }

    fn row_of(value: Value) -> Value {
        row(&Catalog::nothing(), value)
    }

    #[test]
    fn what_the_operator_says_for_himself_stays_with_him_and_his_note_does_not() {
        let said = json!({"id": "i", "order": "o", "reason": "MARK", "author": "MARK", "note": "Welcome", "source": "admin"});
        for kind in ["adjustment", "top_up", "refund", "redemption", "unknown"] {
            let shown = row_of(json!({"kind": kind, "doc": said}));
            assert!(!shown.to_string().contains("MARK"), "{kind}: {shown}");
            assert_eq!(shown["doc"]["note"], "Welcome", "{kind}");
        }
    }

    #[test]
    fn what_the_gateway_says_itself_is_told() {
        for (kind, doc, reason) in [
            ("top_up", json!({"order": "o-1", "reason": "Order o-1 was paid.", "author": "stripe"}), "Order o-1 was paid."),
            ("refund", json!({"source": "webhook", "reason": "Refunded there.", "author": "stripe"}), "Refunded there."),
            ("debt_payment", json!({"reason": "It was owed.", "debt_after": "0"}), "It was owed."),
        ] {
            assert_eq!(row_of(json!({"kind": kind, "doc": doc}))["doc"]["reason"], reason, "{kind}");
        }
    }
}
