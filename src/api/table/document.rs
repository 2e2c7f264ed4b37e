//! The OpenAPI document, written from the table of endpoints, so that it cannot say anything else: out of the table, the refusals
//! and the schemas.
//!
//! What always holds: it is made by a test and kept in the repository, and the build puts it where the platform answers it, so that
//! the Worker carries neither it nor what makes it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::row::{About, Body, Handler, Row, SWITCHING, SitePage, Who};
use super::rows::TABLE;
use super::schemas::schemas;
use crate::app::UseCase;
use crate::refusal::Code;

const DESCRIPTION: &str = "An OpenAI-compatible AI gateway whose catalogue tells the truth and whose money is explained. \
    Amounts and prices are decimal strings in the currency of their bucket; times are RFC 3339 in UTC; ids are opaque. Lists page \
    by `limit` and `after`, which takes the `next` of the page before. A path's `model` may have slashes. Every answer has an id in \
    `x-request-id`, which is also that of the receipt. A method that a path does not have is answered 405 with `allow`; \
    `HEAD` is answered as `GET` without a body, and `OPTIONS` with the methods of a path. Files, such as this document, have no id \
    and take `GET` and `HEAD` alone.";

/// The schemas of errors; answers with one are named after it and their status.
const ENVELOPES: [&str; 4] = ["Error", "AnthropicError", "GeminiError", PAGE];
/// What Anthropic's clients are answered where every provider has too much to do.
const OVERLOADED: u16 = 529;
/// What is wrong with a request in the words of an upstream keeps its status; these have no code of their own here.
const REJECTED: [u16; 2] = [415, 422];
/// The name of errors that are pages and have no schema.
const PAGE: &str = "Page";

pub const ABOUT: [About; 9] = [
    About::Openai,
    About::Anthropic,
    About::Gemini,
    About::Models,
    About::Receipts,
    About::Money,
    About::Administration,
    About::Gateway,
    About::Pages,
];

/// The OpenAPI document. Its addresses are below that of the gateway which answers it.
pub fn document() -> Value {
    let mut paths = Map::new();
    for row in TABLE {
        let path = paths.entry(row.path).or_insert_with(|| json!({}));
        path[row.method.to_ascii_lowercase()] = operation(row);
    }
    let mut components = json!({"responses": {}});
    for envelope in ENVELOPES {
        for status in statuses() {
            components["responses"][format!("{envelope}{status}")] = error(envelope, status);
        }
    }
    let said: Map<String, Value> = serde_json::from_str(include_str!("parameters.json")).unwrap();
    components.as_object_mut().unwrap().extend(said);
    components["schemas"] = schemas().into();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tokens-forge", "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}, "description": DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "tags": ABOUT.map(|about| json!({"name": about.tag()})),
        "paths": paths,
        "components": components,
    })
}

fn reference(section: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{section}/{name}")})
}

/// Every status that a refusal can have.
fn statuses() -> BTreeSet<u16> {
    Code::ALL.iter().map(|code| code.row().status).chain([OVERLOADED]).chain(REJECTED).collect()
}

/// Whether programs that come to a page for people are told where theirs is.
const fn is_told_apart(row: &Row) -> bool {
    matches!(row.handler, Handler::Page(SitePage::Models | SitePage::Model))
}

/// The statuses of the errors that an endpoint can answer, besides the 405 of a method that its path does not have.
fn errors(row: &Row) -> Vec<u16> {
    let has_hole = row.path.contains('{');
    let has_body = row.body != Body::Nothing;
    let is_changing = row.method != "GET";
    let is_answered = |status: &u16| match (row.who, *status) {
        (_, OVERLOADED) => row.about == About::Anthropic && has_body,
        (Who::Anyone, 404) => has_hole || is_told_apart(row),
        (Who::Anyone, 401) => has_body,
        (Who::Anyone, 403) => is_changing,
        (Who::Anyone, 429 | 503) => row.about == About::Pages,
        (Who::Key, 405) => row.answer.status == SWITCHING,
        (Who::Anyone, _) | (_, 405) => false,
        (Who::Signature, _) => [400, 404, 408, 413, 429, 503].contains(status),
        // A dry run meets every refusal but those of upstreams.
        (Who::Key, 402 | 502 | 415 | 422) => row.about.is_asking() && has_body,
        (Who::Key, 401 | 403 | 429 | 503) | (Who::Operator, 401 | 403 | 404 | 429 | 503) => true,
        (_, 400) => has_body || has_hole || !row.query.is_empty(),
        (Who::Key, 404) => has_body || has_hole || !row.query.is_empty(),
        (_, 409) => is_changing,
        (_, 408 | 413) => has_body,
        _ => false,
    };
    statuses().into_iter().filter(is_answered).collect()
}

/// A name for an endpoint: its method and its path.
pub fn operation_id(row: &Row) -> String {
    let words = row.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    [row.method.to_ascii_lowercase().as_str()].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

fn operation(row: &Row) -> Value {
    let schemes: &[&str] = match row.who {
        Who::Anyone => &[],
        Who::Key => &["bearer", "x_api_key", "x_goog_api_key"],
        Who::Operator => &["operator"],
        Who::Signature => &["stripe_signature"],
    };
    let in_path = row.path.split('{').skip(1).map(|rest| format!("path_{}", rest.split_once('}').unwrap().0));
    let in_query = row.query.split_whitespace().map(ToOwned::to_owned);
    let headers: &[&str] = match () {
        () if row.answer.status == SWITCHING => &["x-tf-run", "x-tf-route", "x-tf-fit"],
        () if row.about.is_asking() => &["Idempotency-Key", "x-tf-run", "x-tf-route", "x-tf-fit"],
        // What is done twice elsewhere is the same, or can be seen and taken back.
        () if matches!(row.handler, Handler::Use(UseCase::PlaceOrder | UseCase::Adjust | UseCase::RefundOrder)) => {
            &["Idempotency-Key"]
        }
        () => &[],
    };
    let parameters = in_path.chain(in_query).chain(headers.iter().map(|&name| name.to_owned()));
    let mut operation = json!({
        "operationId": operation_id(row),
        "tags": [row.about.tag()],
        "summary": row.summary,
        "security": schemes.iter().map(|&scheme| json!({scheme: []})).collect::<Vec<_>>(),
        "parameters": parameters.map(|name| reference("parameters", &name)).collect::<Vec<_>>(),
    });
    let (types, schema): (&[&str], _) = match row.body {
        Body::Nothing => (&[], ""),
        Body::Json(schema) => (&["application/json"], schema),
        Body::Form(schema) => (&["multipart/form-data"], schema),
        Body::JsonOrForm(schema) => (&["application/json", "multipart/form-data"], schema),
        Body::Page(schema) => (&["application/x-www-form-urlencoded"], schema),
    };
    if !types.is_empty() {
        let content: Map<_, _> =
            types.iter().map(|&kind| (kind.to_owned(), json!({"schema": reference("schemas", schema)}))).collect();
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation["responses"] = responses(row);
    operation
}

fn responses(row: &Row) -> Value {
    let description = match row.answer.status {
        SWITCHING => "The connection goes on as a WebSocket.",
        201 => "It is made.",
        303 => "On to the next page.",
        _ => "The answer.",
    };
    let mut good = json!({"description": description});
    if row.about.is_asking() && row.answer.status != SWITCHING {
        let told = ["request-id", "tf-upstream-model", "tf-route", "tf-channel", "tf-bucket", "tf-attempts", "tf-output-limit"];
        let headers = told.map(|name| format!("x-{name}")).map(|name| (name.clone(), reference("headers", &name)));
        good["headers"] = headers.into_iter().collect::<Map<_, _>>().into();
    }
    let json = row.answer.schema.map(|schema| ("application/json", json!({"schema": reference("schemas", schema)})));
    let others = row.answer.types.split_whitespace().map(|kind| (kind, json!({})));
    let content: Map<_, _> = json.into_iter().chain(others).map(|(kind, value)| (kind.to_owned(), value)).collect();
    if !content.is_empty() {
        good["content"] = content.into();
    }
    let envelope = match row.about {
        // People are told in a page.
        About::Pages => PAGE,
        About::Anthropic => "AnthropicError",
        About::Gemini => "GeminiError",
        _ if row.path.starts_with("/v1beta/") => "GeminiError",
        _ => "Error",
    };
    let mut responses = json!({row.answer.status.to_string(): good});
    for status in errors(row) {
        responses[status.to_string()] = reference("responses", &format!("{envelope}{status}"));
    }
    if is_told_apart(row) {
        let envelopes = ENVELOPES.iter().filter(|&&envelope| envelope != PAGE).map(|envelope| reference("schemas", envelope));
        let mut told = error(PAGE, 404);
        told["content"]["application/json"] = json!({"schema": {"anyOf": envelopes.collect::<Vec<_>>()}});
        responses["404"] = told;
    }
    responses
}

/// The answer with an error of this status.
fn error(envelope: &str, status: u16) -> Value {
    let is_of = |code: &&Code| match **code {
        Code::UpstreamOverloaded if status == OVERLOADED => true,
        Code::UpstreamRejected if REJECTED.contains(&status) => true,
        code => code.row().status == status,
    };
    let mut codes: Vec<&str> = Code::ALL.iter().filter(is_of).map(|code| code.row().code).collect();
    codes.dedup();
    let mut error = json!({"description": codes.join(", ")});
    if matches!(status, 409 | 429 | 502 | 503 | OVERLOADED) {
        error["headers"] = json!({"retry-after": reference("headers", "retry-after")});
    }
    error["content"] = match envelope {
        PAGE => json!({"text/html": {}}),
        _ => json!({"application/json": {"schema": reference("schemas", envelope)}}),
    };
    error
}
