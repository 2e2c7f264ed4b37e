//! Google's own schemas (a part of OpenAPI's) as JSON Schema: types in small letters, `nullable` as a type, counts as numbers.

use serde_json::{Map, Value};

use crate::dialect::node::camel;

/// Keywords that hold a schema each, a list of schemas, or schemas by name.
const ONE: [&str; 2] = ["items", "additionalProperties"];
const LIST: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
const NAMED: [&str; 3] = ["properties", "$defs", "defs"];
/// Counts, which Google's clients may write as texts.
const COUNTS: [&str; 6] = ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];

/// A schema as JSON Schema; none if it is not an object.
pub fn json_schema(json: &str) -> Option<String> {
    // Its depth is limited by the parser.
    let value: Value = serde_json::from_str(json).ok()?;
    value.is_object().then(|| converted(value).to_string())
}

fn converted(schema: Value) -> Value {
    let Value::Object(members) = schema else { return schema };
    let mut out = Map::new();
    let mut is_nullable = false;
    for (name, value) in members {
        let name = camel(name);
        let value = match name.as_str() {
            "nullable" => {
                is_nullable = value == Value::Bool(true);
                continue;
            }
            // An order of properties is no rule of JSON Schema.
            "propertyOrdering" => continue,
            // Google's word for what the list of values says already.
            "format" if value == "enum" => continue,
            "type" => match value.as_str() {
                Some("TYPE_UNSPECIFIED") => continue,
                Some(word) => Value::from(word.to_ascii_lowercase()),
                None => value,
            },
            name if ONE.contains(&name) => converted(value),
            name if LIST.contains(&name) => match value {
                Value::Array(list) => list.into_iter().map(converted).collect(),
                value => value,
            },
            name if NAMED.contains(&name) => match value {
                Value::Object(named) => named.into_iter().map(|(name, schema)| (name, converted(schema))).collect(),
                value => value,
            },
            name if COUNTS.contains(&name) => match value.as_str().and_then(|text| text.parse::<u64>().ok()) {
                Some(count) => count.into(),
                None => value,
            },
            _ => value,
        };
        out.insert(if name == "defs" { "$defs".to_owned() } else { name }, value);
    }
    if is_nullable {
        allow_null(&mut out);
    }
    Value::Object(out)
}

/// Also null is of the schema.
fn allow_null(schema: &mut Map<String, Value>) {
    match schema.get_mut("type") {
        Some(kind) => {
            let own = kind.take();
            *kind = Value::from(vec![own, Value::from("null")]);
        }
        None => {
            if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
                choices.push(serde_json::json!({"type": "null"}));
            }
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn googles_schema_is_json_schema() {
        let google = r#"{"type":"OBJECT","property_ordering":["type","n"],"required":["type"],"description":"d","properties":{
            "type":{"type":"STRING","format":"enum","enum":["A","B"],"nullable":true},
            "n":{"type":"ARRAY","min_items":"1","maxItems":3,"items":{"anyOf":[{"type":"INTEGER","format":"int32"},{"type":"NUMBER","minimum":0.5}],"nullable":true}}}}"#;
        let expected = r#"{"type":"object","required":["type"],"description":"d","properties":{"type":{"type":["string","null"],"enum":["A","B",null]},"n":{"type":"array","minItems":1,"maxItems":3,"items":{"anyOf":[{"type":"integer","format":"int32"},{"type":"number","minimum":0.5},{"type":"null"}]}}}}"#;
        assert_eq!(json_schema(google).as_deref(), Some(expected));
        for json in ["[]", "5", "", &"{\"items\":".repeat(2_000)] {
            assert_eq!(json_schema(json), None);
        }
    }
}
