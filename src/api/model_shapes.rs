//! Lists of models as the clients of each dialect expect them, made from the one that OpenAI's clients get.

use serde_json::{Value, json};

use crate::catalog::Dialect;

/// A list of entries.
pub fn list(dialect: Dialect, entries: Vec<Value>) -> Value {
    match dialect {
        Dialect::Openai | Dialect::Cohere => json!({"object": "list", "data": entries}),
        Dialect::Anthropic => {
            let data: Vec<Value> = entries.iter().filter(|entry| is_chat(entry)).map(anthropic).collect();
            let id = |entry: Option<&Value>| entry.and_then(|entry| entry.get("id")).cloned();
            json!({"first_id": id(data.first()), "last_id": id(data.last()), "has_more": false, "data": data})
        }
        Dialect::Gemini => {
            json!({"models": entries.iter().filter(|entry| is_chat(entry)).map(gemini).collect::<Vec<_>>()})
        }
    }
}

/// One entry.
pub fn one(dialect: Dialect, entry: Value) -> Value {
    match dialect {
        Dialect::Openai | Dialect::Cohere => entry,
        Dialect::Anthropic => anthropic(&entry),
        Dialect::Gemini => gemini(&entry),
    }
}

/// Clients of the other dialects know of no others.
fn is_chat(entry: &Value) -> bool {
    entry.pointer("/tf/kind").and_then(Value::as_str) == Some("chat")
}

fn anthropic(entry: &Value) -> Value {
    let of = |path: &str| entry.pointer(path).cloned();
    json!({
        "type": "model", "id": of("/id"), "display_name": of("/name"), "created_at": "1970-01-01T00:00:00Z",
        "max_input_tokens": of("/context_length"), "max_tokens": of("/top_provider/max_completion_tokens"),
        // What is in the catalogue can be called; of what a model can do beside, and of its line, nothing is known here.
        "lifecycle": "active", "deprecated_at": null, "retires_at": null, "line": null, "capabilities": null, "tf": of("/tf"),
    })
}

fn gemini(entry: &Value) -> Value {
    let of = |path: &str| entry.pointer(path).cloned();
    let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
    json!({
        "name": format!("models/{id}"), "baseModelId": id, "version": "1", "displayName": of("/name"),
        "inputTokenLimit": of("/context_length"), "outputTokenLimit": of("/top_provider/max_completion_tokens"),
        "supportedGenerationMethods": ["generateContent", "countTokens"], "tf": of("/tf"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_its_own_shape_of_the_same_models() {
        let entry = |id: &str, kind: &str| json!({"id": id, "name": "M", "context_length": 1000, "top_provider": {"max_completion_tokens": 100}, "tf": {"kind": kind}});
        let entries = || vec![entry("a", "chat"), entry("e", "embedding"), entry("z", "chat")];
        let anthropic = list(Dialect::Anthropic, entries());
        assert_eq!((&anthropic["first_id"], &anthropic["last_id"]), (&json!("a"), &json!("z")));
        assert_eq!(anthropic["data"].as_array().unwrap().len(), 2);
        // All that the type `ModelInfo` of Anthropic's SDK 1.12 requires.
        for name in [
            "id",
            "capabilities",
            "created_at",
            "deprecated_at",
            "display_name",
            "lifecycle",
            "line",
            "max_input_tokens",
            "max_tokens",
            "retires_at",
            "type",
        ] {
            assert!(anthropic["data"][0].get(name).is_some(), "{name}");
        }
        assert_eq!(anthropic["data"][0]["lifecycle"], "active");
        let gemini = list(Dialect::Gemini, entries());
        assert_eq!(gemini["models"][1]["name"], "models/z");
        assert_eq!(gemini["models"][0]["outputTokenLimit"], 100);
        assert_eq!(list(Dialect::Openai, entries())["data"].as_array().unwrap().len(), 3);
    }
}
