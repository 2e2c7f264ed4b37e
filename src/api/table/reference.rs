//! What the repository keeps of the table of endpoints: the OpenAPI document, and the list of endpoints in the API reference. Tests
//! compare both with the table, or write them if that was asked for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::document::{ABOUT, document, operation_id};
use super::row::{Handler, Row, Who};
use super::rows::TABLE;
use crate::refusal::Code;

const DOCUMENT: &str = "docs/reference/openapi.json";
const REFERENCE: &str = "docs/reference/api.md";
/// What stands around the list of endpoints.
const BEGIN: &str = "<!-- Written by src/api/table/reference.rs. -->\n";
const END: &str = "<!-- Until here. -->\n";

/// The list of endpoints in Markdown: a table for what they are about.
fn list() -> String {
    let mut text = String::new();
    for about in ABOUT {
        text.push_str(&format!("\n**{}**\n\n| endpoint | for | does |\n| --- | --- | --- |\n", about.tag()));
        for row in TABLE.iter().filter(|row| row.about == about) {
            let who = match row.who {
                Who::Anyone => "anyone",
                Who::Key => "key",
                Who::Operator => "admin",
                Who::Signature => "signature",
            };
            text.push_str(&format!("| {} `{}` | {who} | {} |\n", row.method, row.path, row.summary));
        }
    }
    text.push('\n');
    text
}

/// Compares a file with what belongs there, or writes it if that was asked for.
fn keep(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("TF_WRITE").is_some() {
        return fs::write(path, expected).unwrap();
    }
    let is_kept = fs::read_to_string(path).is_ok_and(|found| found == expected);
    assert!(is_kept, "{name} is not what the table of endpoints says. Write it: TF_WRITE=1 cargo test --lib reference");
}

#[test]
fn the_document_is_written_from_the_table() {
    keep(DOCUMENT, &(serde_json::to_string_pretty(&document()).unwrap() + "\n"));
}

#[test]
fn the_reference_lists_every_endpoint() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(REFERENCE)).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    keep(REFERENCE, &[before, BEGIN, &list(), END, after].concat());
}

/// Every `$ref` in a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// The answers that the document has for an endpoint.
fn responses(method: &str, path: &str) -> Value {
    document()["paths"][path][method]["responses"].clone()
}

#[test]
fn the_document_has_what_upstreams_and_wrong_addresses_are_answered_with() {
    for (path, envelope) in [("/v1/chat/completions", "Error"), ("/v1/messages", "AnthropicError")] {
        for status in ["415", "422"] {
            assert_eq!(responses("post", path)[status]["$ref"], format!("#/components/responses/{envelope}{status}"));
        }
    }
    assert_eq!(document()["components"]["responses"]["Error422"]["description"], Code::UpstreamRejected.row().code);
    assert!(responses("post", "/v1/runs").get("422").is_none());
    assert_eq!(responses("get", "/v1/responses")["405"]["$ref"], "#/components/responses/Error405");
    for path in ["/models", "/models/{model}"] {
        let content = responses("get", path)["404"]["content"].clone();
        assert!(content["text/html"].is_object() && content["application/json"]["schema"]["anyOf"].is_array(), "{path}");
    }
    let versions = document()["paths"]["/admin/v1/catalog/versions"]["get"]["parameters"].clone();
    assert!(versions.as_array().unwrap().iter().any(|parameter| parameter["$ref"] == "#/components/parameters/model"));
}

#[test]
fn an_idempotency_key_is_named_where_it_counts_alone() {
    let document = document();
    let takes_it = |row: &Row| {
        let parameters = document["paths"][row.path][row.method.to_ascii_lowercase()]["parameters"].as_array().unwrap();
        parameters.iter().any(|parameter| parameter["$ref"] == "#/components/parameters/Idempotency-Key")
    };
    let others: Vec<&str> =
        TABLE.iter().filter(|row| takes_it(row) && row.handler != Handler::Model).map(|row| row.path).collect();
    let account = "/admin/v1/accounts/{account}";
    assert_eq!(others, ["/v1/topups", &format!("{account}/adjustments"), &format!("{account}/topups/{{order}}/refunds")]);
    assert!(TABLE.iter().filter(|row| row.handler == Handler::Model).all(takes_it));
}

#[test]
fn a_member_is_required_once() {
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(required.iter().collect::<BTreeSet<_>>().len(), required.len(), "{name}: {required:?}");
    }
}

#[test]
fn every_row_is_an_operation_with_a_name_of_its_own() {
    let document = document();
    let operations = document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len());
    assert_eq!(operations.sum::<usize>(), TABLE.len());
    assert_eq!(TABLE.iter().map(operation_id).collect::<BTreeSet<_>>().len(), TABLE.len());
    assert!(TABLE.iter().all(|row| ABOUT.contains(&row.about)));
}

#[test]
fn what_is_referred_to_is_there_and_nothing_else_is() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for section in ["schemas", "parameters", "headers"] {
        for name in document["components"][section].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/{section}/{name}")), "nobody uses {section}/{name}");
        }
    }
}

#[test]
fn every_code_of_an_error_is_told() {
    let document = document();
    for code in Code::ALL {
        let row = code.row();
        let told = document["components"]["responses"][format!("Error{}", row.status)]["description"].as_str().unwrap();
        assert!(told.split(", ").any(|code| code == row.code), "{}", row.code);
    }
}

/// Every description in a value.
fn descriptions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("description").and_then(Value::as_str));
            fields.values().for_each(|value| descriptions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| descriptions(value, found)),
        _ => {}
    }
}

#[test]
fn what_is_said_needs_no_source_code() {
    let document = document();
    let mut found = Vec::new();
    descriptions(&document, &mut found);
    for text in found {
        assert!(!text.contains("[`") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn every_member_of_what_is_read_and_written_here_is_explained() {
    let document = document();
    let said: Value = serde_json::from_str(include_str!("schemas.json")).unwrap();
    for (name, schema) in
        document["components"]["schemas"].as_object().unwrap().iter().filter(|(name, _)| said.get(name).is_none())
    {
        assert!(!name.ends_with(|last: char| last.is_ascii_digit()), "{name} is the name of two types");
        for (member, value) in schema["properties"].as_object().into_iter().flatten() {
            assert!(value.get("description").is_some(), "{name}.{member}");
        }
    }
}
