//! `GET /openapi.json`: the OpenAPI document of the gateway, written from the table of endpoints, the table of refusals and
//! `schemas.json`, which has what is said by hand.
//!
//! Deliberately absent: fields of requests to models that only a provider reads. They pass, and are the provider's to describe.

use super::table::{About, Answer, Body, Row, SWITCHING, TABLE, Who};
use crate::refusal::Code;
use crate::relay::Reply;

/// The components of the document, but for the answers that are errors.
const COMPONENTS: &str = include_str!("schemas.json");
/// How long a copy of the document may be used, in seconds.
const MAX_AGE_S: u32 = 300;

const DESCRIPTION: &str = "An OpenAI-compatible AI gateway whose catalogue tells the truth and whose money is explained. \
    Amounts and prices are decimal strings in the currency of their bucket; times are RFC 3339 in UTC; ids are opaque. Lists page \
    by `limit` and `after`, which takes the `next` of the page before. A path's `model` may have slashes. Every answer has an id in \
    `x-request-id`, which is also that of the receipt. A method that a path does not have is answered 405 with `allow`; \
    `HEAD` is answered as `GET` without a body, and `OPTIONS` with the methods of a path.";

/// The schemas of errors; answers with one are named after it and their status.
const ENVELOPES: [&str; 4] = ["Error", "AnthropicError", "GeminiError", PAGE];
/// What Anthropic's clients are answered where every provider has too much to do.
const OVERLOADED: u16 = 529;
/// The name of errors that are pages and have no schema.
const PAGE: &str = "Page";

/// Answers `GET /openapi.json`.
pub fn answer(origin: &str) -> Reply {
    let mut reply = Reply::json(200, document(origin));
    for (_, value) in reply.headers.iter_mut().filter(|(name, _)| *name == "cache-control") {
        *value = format!("public, max-age={MAX_AGE_S}");
    }
    reply
}

/// The document for a gateway at this origin.
pub fn document(origin: &str) -> String {
    let mut text = Text(String::with_capacity(128 * 1024));
    text.push(&[r#"{"openapi":"3.1.0","info":{"title":"tokens-forge","version":""#, env!("CARGO_PKG_VERSION")]);
    text.push(&[r#"","license":{"name":"Apache-2.0","identifier":"Apache-2.0"},"description":""#, DESCRIPTION]);
    text.push(&[r#""},"servers":[{"url":""#, origin, r#""}],"tags":["#]);
    text.list(ABOUT.into_iter(), |text, about| text.push(&[r#"{"name":""#, about.tag(), r#""}"#]));
    text.push(&[r#"],"paths":{"#]);
    // Rows of one path stand together.
    let firsts = TABLE.iter().enumerate().filter(|(index, row)| {
        let before = index.checked_sub(1).and_then(|before| TABLE.get(before));
        before.is_none_or(|before| before.path != row.path)
    });
    text.list(firsts, |text, (_, first)| {
        text.push(&["\"", first.path, "\":{"]);
        text.list(TABLE.iter().filter(|row| row.path == first.path), Text::operation);
        text.push(&["}"]);
    });
    text.push(&[r#"},"components":{"responses":{"#]);
    let errors = ENVELOPES.into_iter().flat_map(|envelope| statuses().into_iter().map(move |status| (envelope, status)));
    text.list(errors, |text, (envelope, status)| text.error(envelope, status));
    text.push(&["},", COMPONENTS.trim().strip_prefix('{').unwrap_or_default(), "}"]);
    text.0
}

const ABOUT: [About; 9] = [
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

/// Every status that a refusal can have.
fn statuses() -> Vec<u16> {
    let mut statuses: Vec<u16> = Code::ALL.iter().map(|code| code.row().status).chain([OVERLOADED]).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

/// The statuses of the errors that an endpoint can answer, besides 405.
fn errors(row: &Row) -> Vec<u16> {
    let has_hole = row.path.contains('{');
    let has_body = row.body != Body::Nothing;
    let is_changing = row.method != "GET";
    statuses()
        .into_iter()
        .filter(|status| match (row.who, *status) {
            (_, OVERLOADED) => row.about == About::Anthropic && has_body,
            (Who::Anyone, 404) => has_hole,
            (Who::Anyone, 401) => has_body,
            (Who::Anyone, 403) => is_changing,
            (Who::Anyone, 429 | 503) => row.about == About::Pages,
            (Who::Anyone, _) | (_, 405) => false,
            (Who::Signature, _) => [400, 404, 408, 413, 429, 503].contains(status),
            // A dry run meets every refusal but those of upstreams.
            (Who::Key, 402 | 502) => row.about.is_asking() && has_body,
            (Who::Key, 401 | 403 | 429 | 503) | (Who::Operator, 401 | 403 | 404 | 429 | 503) => true,
            (_, 400) => has_body || has_hole || !row.query.is_empty(),
            (Who::Key, 404) => has_body || has_hole || !row.query.is_empty(),
            (_, 409) => is_changing,
            (_, 408 | 413) => has_body,
            _ => false,
        })
        .collect()
}

/// A JSON text as it grows. What goes in needs no escapes, which a test sees to.
struct Text(String);

impl Text {
    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.0.push_str(part));
    }

    /// Pieces with commas between them.
    fn list<T>(&mut self, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.push(&[","]);
            }
            write(self, item);
        }
    }

    fn reference(&mut self, section: &str, name: &str) {
        self.push(&[r##"{"$ref":"#/components/"##, section, "/", name, r#""}"#]);
    }

    fn operation(&mut self, row: &Row) {
        self.push(&["\"", &row.method.to_ascii_lowercase(), r#"":{"operationId":""#, &operation_id(row)]);
        self.push(&[r#"","tags":[""#, row.about.tag(), r#""],"summary":""#, row.summary, r#"","security":["#]);
        let schemes: &[&str] = match row.who {
            Who::Anyone => &[],
            Who::Key => &["bearer", "x_api_key", "x_goog_api_key"],
            Who::Operator => &["operator"],
            Who::Signature => &["stripe_signature"],
        };
        self.list(schemes.iter(), |text, scheme| text.push(&["{\"", scheme, "\":[]}"]));
        self.push(&[r#"],"parameters":["#]);
        let in_path = row.path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| ("path_", name));
        let in_query = row.query.split_whitespace().map(|name| ("", name));
        let headers: &[&str] = match () {
            () if row.answer.status == SWITCHING => &["x-tf-run", "x-tf-route", "x-tf-fit"],
            () if row.about.is_asking() => &["Idempotency-Key", "x-tf-run", "x-tf-route", "x-tf-fit"],
            () if row.body != Body::Nothing && matches!(row.who, Who::Key | Who::Operator) => &["Idempotency-Key"],
            () => &[],
        };
        let parameters = in_path.chain(in_query).chain(headers.iter().map(|name| ("", *name)));
        self.list(parameters, |text, (place, name)| text.reference("parameters", &[place, name].concat()));
        self.push(&["],"]);
        self.body(row.body);
        self.push(&[r#""responses":{"#]);
        self.answer(row);
        let envelope = match row.about {
            // People are told in a page.
            About::Pages => PAGE,
            About::Anthropic => "AnthropicError",
            _ if row.path.starts_with("/v1beta/") => "GeminiError",
            About::Gemini => "GeminiError",
            _ => "Error",
        };
        for status in errors(row) {
            let status = status.to_string();
            self.push(&[",\"", &status, "\":"]);
            self.reference("responses", &[envelope, &status].concat());
        }
        self.push(&["}}"]);
    }

    fn body(&mut self, body: Body) {
        let (types, schema): (&[&str], _) = match body {
            Body::Nothing => return,
            Body::Json(schema) => (&["application/json"], schema),
            Body::Form(schema) => (&["multipart/form-data"], schema),
            Body::JsonOrForm(schema) => (&["application/json", "multipart/form-data"], schema),
            Body::Page(schema) => (&["application/x-www-form-urlencoded"], schema),
        };
        self.push(&[r#""requestBody":{"required":true,"content":{"#]);
        self.list(types.iter(), |text, kind| {
            text.push(&["\"", kind, r#"":{"schema":"#]);
            text.reference("schemas", schema);
            text.push(&["}"]);
        });
        self.push(&["}},"]);
    }

    fn answer(&mut self, row: &Row) {
        let Answer { status, schema, types } = row.answer;
        let description = match status {
            SWITCHING => "The connection goes on as a WebSocket.",
            201 => "It is made.",
            303 => "On to the next page.",
            _ => "The answer.",
        };
        self.push(&["\"", &status.to_string(), r#"":{"description":""#, description, "\""]);
        if row.about.is_asking() && status != SWITCHING {
            self.push(&[r#","headers":{"#]);
            let names = [
                "x-request-id",
                "x-tf-upstream-model",
                "x-tf-route",
                "x-tf-channel",
                "x-tf-bucket",
                "x-tf-attempts",
                "x-tf-output-limit",
            ];
            self.list(names.iter(), |text, name| {
                text.push(&["\"", name, "\":"]);
                text.reference("headers", name);
            });
            self.push(&["}"]);
        }
        if schema.is_some() || !types.is_empty() {
            self.push(&[r#","content":{"#]);
            let json = schema.into_iter().map(|schema| ("application/json", schema));
            self.list(json.chain(types.split_whitespace().map(|kind| (kind, ""))), |text, (kind, schema)| {
                text.push(&["\"", kind, r#"":{"#]);
                if !schema.is_empty() {
                    text.push(&[r#""schema":"#]);
                    text.reference("schemas", schema);
                }
                text.push(&["}"]);
            });
            self.push(&["}"]);
        }
        self.push(&["}"]);
    }

    /// The answer with an error of this status.
    fn error(&mut self, envelope: &str, status: u16) {
        let is_of = |code: &&Code| code.row().status == status || status == OVERLOADED && **code == Code::UpstreamOverloaded;
        let mut codes: Vec<&str> = Code::ALL.iter().filter(is_of).map(|code| code.row().code).collect();
        codes.dedup();
        self.push(&["\"", envelope, &status.to_string(), r#"":{"description":""#, &codes.join(", "), "\""]);
        if matches!(status, 409 | 429 | 502 | 503 | OVERLOADED) {
            self.push(&[r#","headers":{"retry-after":"#]);
            self.reference("headers", "retry-after");
            self.push(&["}"]);
        }
        if envelope == PAGE {
            return self.push(&[r#","content":{"text/html":{}}}"#]);
        }
        self.push(&[r#","content":{"application/json":{"schema":"#]);
        self.reference("schemas", envelope);
        self.push(&["}}}"]);
    }
}

/// A name for an endpoint: its method and its path.
fn operation_id(row: &Row) -> String {
    let mut id = row.method.to_ascii_lowercase();
    for word in row.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        id.push('_');
        id.push_str(word);
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn parsed() -> Value {
        serde_json::from_str(&document("https://gateway.example")).unwrap()
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

    #[test]
    fn every_row_is_an_operation_and_every_operation_a_row() {
        let document = parsed();
        assert_eq!(document["servers"][0]["url"], "https://gateway.example");
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        });
        let rows: BTreeSet<_> = TABLE.iter().map(|row| (row.method.to_owned(), row.path.to_owned())).collect();
        assert_eq!(operations.collect::<BTreeSet<_>>(), rows);
        let ids: BTreeSet<String> = TABLE.iter().map(operation_id).collect();
        assert_eq!(ids.len(), TABLE.len());
    }

    #[test]
    fn what_is_referred_to_is_there_and_nothing_else_is() {
        let document = parsed();
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
        let document = parsed();
        for code in Code::ALL {
            let row = code.row();
            let told = document["components"]["responses"][format!("Error{}", row.status)]["description"].as_str().unwrap();
            assert!(told.split(", ").any(|code| code == row.code), "{}", row.code);
        }
    }
}
