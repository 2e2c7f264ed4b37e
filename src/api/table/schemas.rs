//! The schemas of the document. Those of what the gateway reads and writes are made of its types, with their comments. What a provider
//! describes, and answers that are put together from parts of many types, are said by hand in `schemas.json`.
//!
//! What always holds: a name is one schema, and no member is told that a type does not have.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::account::{Correction, KeyView, Order, ProjectRecord, Receipt, RunOpened};
use crate::api::{openrouter, use_cases};
use crate::app::receipts::Cache;
use crate::app::{Page, accounts, adjustments, bounds, codes, currency, keys, probes, reconcile, runs, sessions, tokens, topups};
use crate::catalog::bounds::{LONGEST_NAME, MOST_ALIASES, MOST_BUCKETS, MOST_CHANNELS, MOST_MODELS};
use crate::catalog::{Change, Document};
use crate::id::ProjectId;
use crate::key::Policy;
use crate::operator::TokenRecord;
use crate::ports::{Attempts, Code};
use crate::routing::health::{Health, Percentiles, ProbeResult};
use crate::spend::Explained;

/// What a key is made with: whatever is not said of its policy is as by default.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
#[allow(dead_code)]
struct NewKey {
    /// What people call it.
    #[schemars(length(min = 1, max = crate::app::text::LONGEST_NAME))]
    label: String,
    /// The project that it belongs to; `default` if nothing is said.
    project: Option<ProjectId>,
    #[serde(flatten)]
    policy: Policy,
    #[serde(flatten)]
    by: probes::Wish,
}

/// What is to change of a key; the rest stays.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
#[allow(dead_code)]
struct KeyChange {
    /// What people call it.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = crate::app::text::LONGEST_NAME))]
    label: Option<String>,
    #[serde(flatten)]
    policy: Policy,
    #[serde(flatten)]
    by: probes::Wish,
}

/// The readable story of one request, paid or not. Amounts are in `currency`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Receipt")]
struct ReceiptTold {
    #[serde(flatten)]
    receipt: Receipt,
    /// Of the amounts (ISO 4217); null of a bucket that the catalogue no longer has.
    currency: Option<String>,
    /// What the request had of the provider's cache.
    cache: Cache,
    /// What a settlement changed that came after its hold had expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    correction: Option<Correction>,
}

/// What goes in.
fn read(generator: &mut SchemaGenerator) {
    of::<Document>(generator);
    of::<KeyChange>(generator);
    of::<NewKey>(generator);
    of::<accounts::NewAccount>(generator);
    of::<accounts::NewProject>(generator);
    of::<adjustments::NewAdjustment>(generator);
    of::<codes::NewCodes>(generator);
    of::<use_cases::RedeemRequest>(generator);
    of::<probes::Wish>(generator);
    of::<runs::NewRun>(generator);
    of::<tokens::NewToken>(generator);
    of::<topups::Judgement>(generator);
    of::<topups::NewOrder>(generator);
    of::<topups::NewRefund>(generator);
}

/// What comes out.
fn written(generator: &mut SchemaGenerator) {
    of::<Page<Attempts>>(generator);
    of::<Page<KeyView>>(generator);
    of::<Page<Order>>(generator);
    of::<Page<ProbeResult>>(generator);
    of::<Page<ProjectRecord>>(generator);
    of::<Page<ReceiptTold>>(generator);
    of::<Page<RunOpened>>(generator);
    of::<Page<accounts::Account>>(generator);
    of::<Page<currency::In<Code>>>(generator);
    of::<Page<tokens::Token>>(generator);
    of::<Page<topups::OwnOrder>>(generator);
    of::<TokenRecord>(generator);
    of::<adjustments::Adjusted>(generator);
    of::<codes::CodesMade>(generator);
    of::<codes::Redeemed>(generator);
    of::<keys::NewKey>(generator);
    of::<use_cases::Balances>(generator);
    of::<openrouter::KeyInfo>(generator);
    of::<reconcile::Reports>(generator);
    of::<runs::Run>(generator);
    of::<sessions::SessionsEnded>(generator);
    of::<tokens::TokenMade>(generator);
    of::<topups::Received>(generator);
    // Parts of what is said by hand.
    of::<Change>(generator);
    of::<Health>(generator);
    of::<Percentiles>(generator);
    of::<Explained>(generator);
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

/// Bounds that are not their type's: they hold of what is asked for anew, not of what is there.
fn bound(schemas: &mut Map<String, Value>) {
    for (schema, field, keyword, most) in [
        ("Catalog", "buckets", "maxProperties", MOST_BUCKETS),
        ("Catalog", "channels", "maxProperties", MOST_CHANNELS),
        ("Catalog", "models", "maxProperties", MOST_MODELS),
        ("CatalogBucket", "label", "maxLength", LONGEST_NAME),
        ("CatalogModel", "name", "maxLength", LONGEST_NAME),
        ("CatalogModel", "family", "maxLength", LONGEST_NAME),
        ("CatalogModel", "aliases", "maxItems", MOST_ALIASES),
    ] {
        schemas[schema]["properties"][field][keyword] = most.into();
    }
    for (schema, (field, most)) in ["NewKey", "KeyChange"].iter().flat_map(|schema| bounds::LISTS.map(|list| (schema, list))) {
        let list = &mut schemas[*schema]["properties"][field];
        list["maxItems"] = most.into();
        if ["models", "ip_allow"].contains(&field) {
            list["items"]["maxLength"] = bounds::LONGEST_TEXT.into();
        }
    }
    // What is not said of a key stays as it is.
    let members = schemas["KeyChange"]["properties"].as_object_mut().into_iter().flatten();
    members.filter_map(|(_, member)| member.as_object_mut()).for_each(|member| _ = member.shift_remove("default"));
}

fn derived(contract: Contract, types: fn(&mut SchemaGenerator)) -> Map<String, Value> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.contract = contract.clone();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    types(&mut generator);
    let mut schemas = generator.take_definitions(true);
    schemas.values_mut().for_each(|schema| readable(schema, &contract));
    schemas
}

/// Says the same in fewer words, as tools read it.
fn readable(schema: &mut Value, contract: &Contract) {
    let Value::Object(fields) = schema else {
        return schema.as_array_mut().into_iter().flatten().for_each(|part| readable(part, contract));
    };
    choices(fields);
    by_names(fields);
    if contract.is_serialize() {
        // A later version may answer more.
        if fields.contains_key("properties") {
            fields.shift_remove("additionalProperties");
        }
        // What may be left out is left out where it would be null. That of what is read is a default of the reader's.
        fields.shift_remove("default");
        let required: Vec<Value> = fields.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let members = fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten();
        members.filter(|(name, _)| !required.contains(&name.as_str().into())).for_each(|(_, member)| without_null(member));
    } else if fields.get("default") == Some(&Value::Null) {
        fields.shift_remove("default");
    }
    if let Some(Value::String(told)) = fields.get_mut("description") {
        *told = told.replace('\n', " ");
    }
    fields.values_mut().for_each(|part| readable(part, contract));
}

/// Texts of which one is meant, as one list of them with what each says.
fn choices(fields: &mut Map<String, Value>) {
    let Some(found) = fields.get("oneOf").and_then(Value::as_array) else { return };
    let words: Vec<&str> = found.iter().filter_map(|one| one.get("const").and_then(Value::as_str)).collect();
    if words.len() != found.len() {
        return;
    }
    let told = |one: &Value| Some(format!("`{}`: {}", one["const"].as_str()?, one.get("description")?.as_str()?));
    let told: Vec<String> = fields
        .get("description")
        .and_then(Value::as_str)
        .map(ToOwned::to_owned)
        .into_iter()
        .chain(found.iter().filter_map(told))
        .collect();
    let choice = [("type", "string".into()), ("enum", words.into()), ("description", told.join(" ").into())];
    *fields = choice.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
}

/// An object with names of one pattern, as most tools know it.
fn by_names(fields: &mut Map<String, Value>) {
    let patterns = fields.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
    if let [(pattern, schema)] =
        patterns.map(|(pattern, schema)| (pattern.clone(), schema.clone())).collect::<Vec<_>>().as_slice()
    {
        fields.shift_remove("patternProperties");
        fields.insert("propertyNames".to_owned(), serde_json::json!({"pattern": pattern}));
        fields.insert("additionalProperties".to_owned(), schema.clone());
    }
}

fn without_null(member: &mut Value) {
    let null = |value: &Value| value == "null" || value.get("type").is_some_and(|kind| kind == "null");
    for word in ["type", "anyOf"] {
        let Some(mut rest) = member.get(word).and_then(Value::as_array).cloned() else { continue };
        rest.retain(|one| !null(one));
        if let [one] = rest.as_slice() {
            let fields = member.as_object_mut().unwrap();
            match one {
                Value::Object(one) => {
                    fields.shift_remove(word);
                    one.iter().for_each(|(name, value)| _ = fields.shift_insert(0, name.clone(), value.clone()));
                }
                one => _ = fields.insert(word.to_owned(), one.clone()),
            }
        }
    }
}

/// Every schema by its name.
pub fn schemas() -> Map<String, Value> {
    let mut schemas: Map<String, Value> = serde_json::from_str(include_str!("schemas.json")).unwrap();
    let parts = derived(Contract::Deserialize, read).into_iter().chain(derived(Contract::Serialize, written));
    for (name, schema) in parts {
        // What goes in may have no more members; that is all by which it may differ from what comes out.
        let open = |mut schema: Value| {
            schema.as_object_mut().unwrap().shift_remove("additionalProperties");
            schema
        };
        let known = schemas.entry(&name).or_insert_with(|| schema.clone());
        assert_eq!(open(known.clone()), open(schema), "two schemas have the name {name}");
    }
    bound(&mut schemas);
    schemas.sort_keys();
    schemas
}
