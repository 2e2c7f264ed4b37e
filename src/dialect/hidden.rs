//! An answer of a channel whose ids of models are the operator's own: the client reads the model under its own name for it.
//!
//! What always holds: nothing but the member that names the model changes, and in errors the id where it stands as a word.
//! Deliberately absent: what the model itself says. That passes as it came.

use super::json::{Edit, Object, quoted};
use crate::catalog::replaced;

/// The members that name the model in an answer, and those that an answer stands in within an event.
const NAMES: [&str; 2] = ["model", "modelVersion"];
const WITHIN: [&str; 2] = ["response", "message"];

/// What the client does not read, and what it reads instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// The model's id upstream.
    pub upstream: String,
    /// What the client calls the model.
    pub told: String,
}

impl Hidden {
    /// What changes in a whole answer.
    pub fn edits(&self, answer: &Object<'_>) -> Vec<Edit> {
        let is_there = |name: &&str| answer.get(name).is_some_and(|json| json.starts_with('"'));
        NAMES.into_iter().filter(is_there).map(|name| Edit::Set(name, quoted(&self.told))).collect()
    }

    /// An event of a stream as the client reads it; none where nothing changes.
    pub fn event(&self, data: &str) -> Option<String> {
        let event = Object::parse(data)?;
        let is_error = |object: &Object<'_>| object.given("error").is_some();
        let mut edits = self.edits(&event);
        let mut has_failed = is_error(&event) || event.get("type") == Some("\"error\"");
        for name in WITHIN {
            let Some(inner) = event.get(name).and_then(Object::parse) else { continue };
            has_failed |= is_error(&inner);
            let inner_edits = self.edits(&inner);
            if !inner_edits.is_empty() {
                edits.push(Edit::Set(name, inner.edited(&inner_edits)));
            }
        }
        if edits.is_empty() && !has_failed {
            return None;
        }
        let edited = event.edited(&edits);
        Some(if has_failed { self.text(&edited) } else { edited })
    }

    /// Words of upstream's about the request.
    pub fn text(&self, text: &str) -> String {
        replaced(text, &self.upstream, &self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_told_by_its_public_name_and_nothing_else_changes() {
        let hidden = Hidden { upstream: "secret-1".to_owned(), told: "m".to_owned() };
        for (event, told) in [
            (
                r#"{"id":"a", "model" : "secret-1-2026","choices":[{"n":1.0}]}"#,
                r#"{"id":"a", "model" : "m","choices":[{"n":1.0}]}"#,
            ),
            (r#"{"modelVersion":"secret-1","candidates":[]}"#, r#"{"modelVersion":"m","candidates":[]}"#),
            (r#"{"type":"x","response":{"model":"secret-1","n":null}}"#, r#"{"type":"x","response":{"model":"m","n":null}}"#),
            (r#"{"message":{"model":"secret-1","content":[]}}"#, r#"{"message":{"model":"m","content":[]}}"#),
            (
                r#"{"type":"error","error":{"message":"secret-1 is full, not secret-12"}}"#,
                r#"{"type":"error","error":{"message":"m is full, not secret-12"}}"#,
            ),
            (
                r#"{"response":{"model":"secret-1","error":{"message":"`secret-1` failed"}}}"#,
                r#"{"response":{"model":"m","error":{"message":"`m` failed"}}}"#,
            ),
        ] {
            assert_eq!(hidden.event(event).as_deref(), Some(told), "{event}");
        }
        for event in [r#"{"choices":[{"delta":{"content":"I am secret-1"}}]}"#, r#"{"message":"secret-1"}"#, "[DONE]"] {
            assert_eq!(hidden.event(event), None, "{event}");
        }
    }
}
