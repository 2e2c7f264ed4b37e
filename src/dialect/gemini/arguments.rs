//! Arguments of calls.

use crate::dialect::json::{Object, push_text};

/// The arguments of a call as the object that Gemini wants. What a model wrote that is none is kept as a text in one.
pub fn push_arguments(out: &mut String, json: &str) {
    let json = json.trim();
    if json.is_empty() {
        out.push_str("{}");
    } else if Object::parse(json).is_some() {
        out.push_str(json);
    } else {
        out.push_str("{\"arguments\":");
        push_text(out, json);
        out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_always_an_object() {
        for (json, expected) in [
            (" {\"a\": 1.0} ", r#"{"a": 1.0}"#),
            ("", "{}"),
            ("[1]", r#"{"arguments":"[1]"}"#),
            ("{\"a\":", r#"{"arguments":"{\"a\":"}"#),
        ] {
            let mut out = String::new();
            push_arguments(&mut out, json);
            assert_eq!(out, expected);
        }
    }
}
