//! Whether a JSON Schema is one that OpenAI takes with `strict: true`: every object forbids other members and requires all that
//! it has. Source: OpenAI's guide to structured outputs, supported schemas.

use std::collections::BTreeSet;

use serde_json::Value;

/// Deeper than this nobody looks.
const DEEPEST: u8 = 32;

/// Whether a schema, given as JSON text, may be asked for to the letter.
pub fn is_strict(schema: &str) -> bool {
    serde_json::from_str::<Value>(schema).is_ok_and(|schema| is_closed(&schema, DEEPEST))
}

fn is_closed(schema: &Value, depth: u8) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let Value::Object(members) = schema else { return true };
    if let Some(Value::Object(properties)) = members.get("properties") {
        let required = members.get("required").and_then(Value::as_array).into_iter().flatten();
        let required: BTreeSet<&str> = required.filter_map(Value::as_str).collect();
        let is_required = |name: &String| required.contains(name.as_str());
        let is_shut = members.get("additionalProperties") == Some(&Value::Bool(false));
        if !is_shut || !properties.keys().all(is_required) {
            return false;
        }
    } else if members.get("type").is_some_and(|kind| kind == "object") {
        return false;
    }
    members.iter().all(|(name, value)| match (name.as_str(), value) {
        ("properties" | "$defs" | "definitions", Value::Object(inner)) => inner.values().all(|inner| is_closed(inner, depth)),
        ("anyOf", Value::Array(inner)) => inner.iter().all(|inner| is_closed(inner, depth)),
        ("items", inner) => is_closed(inner, depth),
        // Words that OpenAI does not take in a strict schema.
        ("oneOf" | "allOf" | "not" | "if" | "patternProperties" | "dependentRequired" | "dependentSchemas", _) => false,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_required_and_no_other_allowed() {
        for (schema, expected) in [
            (r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#, true),
            (r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}"#, false),
            (r#"{"type":"object","properties":{"a":{},"b":{}},"required":["a"],"additionalProperties":false}"#, false),
            (
                r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{"b":{}}}}},"required":["a"],"additionalProperties":false}"#,
                false,
            ),
            (r#"{"type":"object"}"#, false),
            (r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#, true),
            (r#"{"oneOf":[]}"#, false),
            ("not json", false),
        ] {
            assert_eq!(is_strict(schema), expected, "{schema}");
        }
        let deep = format!("{}1{}", "{\"items\":".repeat(100), "}".repeat(100));
        assert!(!is_strict(&deep));
    }
}
