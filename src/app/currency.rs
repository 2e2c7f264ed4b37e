//! The currency of amounts: whoever reads an object that names a bucket is told in which currency its amounts are, since tools
//! take a number without one for dollars.
//!
//! What always holds: a currency is the one that the catalogue says of the bucket; of a bucket that the catalogue no longer has
//! it is null, and never a guess.

use serde::Serialize;
use serde_json::{Map, Value};

use std::rc::Rc;

use crate::catalog::Catalog;
use crate::ports::Sold;

/// The catalogue for its words. Without one channels are told by their aliases, and amounts without a currency.
pub async fn words<P: Sold>(ports: &P) -> Rc<Catalog> {
    ports.catalog().await.unwrap_or_else(|_| Rc::new(Catalog::nothing()))
}

/// The currency of a bucket.
pub fn of(catalog: &Catalog, bucket: &str) -> Option<String> {
    let found = catalog.buckets.iter().find(|(id, _)| id.as_str() == bucket);
    found.map(|(_, bucket)| bucket.currency.clone())
}

/// Something with the currency of its amounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct In<T> {
    /// The amounts, and the bucket that they are of.
    #[serde(flatten)]
    pub of: T,
    /// The bucket's; none of one that the catalogue no longer has.
    pub currency: Option<String>,
}

#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for In<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = T::json_schema(generator);
        let told = "Of the amounts (ISO 4217); null of a bucket that the catalogue no longer has.";
        if let Some(fields) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
            fields.insert("currency".to_owned(), serde_json::json!({"type": ["string", "null"], "description": told}));
        }
        if let Some(required) = schema.pointer_mut("/required").and_then(Value::as_array_mut) {
            required.push("currency".into());
        }
        schema
    }
}

impl<T> In<T> {
    /// In the currency of this bucket.
    pub fn bucket(of_bucket: T, catalog: &Catalog, bucket: &str) -> Self {
        Self { of: of_bucket, currency: of(catalog, bucket) }
    }
}

/// Puts the currency beside every `bucket` within a document, and `currencies` beside `charges`, which are by bucket.
fn within(value: &mut Value, catalog: &Catalog) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| within(item, catalog)),
        Value::Object(fields) => {
            *fields = with_currency(std::mem::take(fields), catalog);
        }
        _ => {}
    }
}

/// The same of facts that are handed on.
pub fn with_currency(mut facts: Map<String, Value>, catalog: &Catalog) -> Map<String, Value> {
    facts.values_mut().for_each(|fact| within(fact, catalog));
    beside_bucket(&mut facts, catalog);
    beside_charges(&mut facts, catalog);
    facts
}

fn code(catalog: &Catalog, bucket: &str) -> Value {
    of(catalog, bucket).into()
}

fn beside_bucket(fields: &mut Map<String, Value>, catalog: &Catalog) {
    if fields.contains_key("currency") {
        return;
    }
    let Some(code) = fields.get("bucket").map(|bucket| bucket.as_str().map_or(Value::Null, |bucket| code(catalog, bucket)))
    else {
        return;
    };
    let place = fields.keys().position(|name| name == "bucket").unwrap_or(0);
    fields.shift_insert(place.saturating_add(1), "currency".to_owned(), code);
}

fn beside_charges(fields: &mut Map<String, Value>, catalog: &Catalog) {
    let Some(charges) = fields.get("charges").and_then(Value::as_object) else { return };
    let codes: Map<String, Value> = charges.keys().map(|bucket| (bucket.clone(), code(catalog, bucket))).collect();
    fields.insert("currencies".to_owned(), codes.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::UpstreamHosts;

    fn catalog() -> Catalog {
        let buckets = json!({"credit": {"label": "C", "currency": "USD"}, "wallet": {"label": "W", "currency": "CNY"}});
        let document = json!({"version": 1, "buckets": buckets, "channels": {}, "models": {}});
        Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
    }

    #[test]
    fn every_object_with_a_bucket_says_its_currency() {
        let value = json!({
            "bucket": "wallet", "quote": "1", "reasons": [{"bucket": "credit", "limit": "2"}, {"code": "x"}],
            "known": {"bucket": "credit", "currency": "EUR"}, "none": {"bucket": null}, "gone": {"bucket": "old", "amount": "1"},
            "totals": {"charges": {"credit": "1", "wallet": "2", "old": "3"}},
        });
        let expected = json!({
            "bucket": "wallet", "currency": "CNY", "quote": "1",
            "reasons": [{"bucket": "credit", "currency": "USD", "limit": "2"}, {"code": "x"}],
            "known": {"bucket": "credit", "currency": "EUR"}, "none": {"bucket": null, "currency": null},
            "gone": {"bucket": "old", "currency": null, "amount": "1"},
            "totals": {"charges": {"credit": "1", "wallet": "2", "old": "3"},
                "currencies": {"credit": "USD", "wallet": "CNY", "old": null}},
        });
        // As text, since the currency stands beside its bucket.
        let Value::Object(facts) = value else { panic!("facts are an object") };
        assert_eq!(Value::from(with_currency(facts, &catalog())).to_string(), expected.to_string());
    }
}
