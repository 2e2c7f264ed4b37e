//! Arguments of calls, for formats that want an object and no text of one.

use std::borrow::Cow;

use super::json::{Object, quoted};

/// Under which name Gemini gets what is no object.
pub const GEMINI: &str = "arguments";
/// Under which name Anthropic gets it, which calls it so itself.
pub const ANTHROPIC: &str = "INVALID_JSON";

/// Arguments as an object. What a model wrote that is none is kept as a text in one, under this name.
pub fn as_object<'a>(arguments: &'a str, name: &str) -> Cow<'a, str> {
    let arguments = arguments.trim();
    if arguments.is_empty() {
        Cow::Borrowed("{}")
    } else if Object::parse(arguments).is_some() {
        Cow::Borrowed(arguments)
    } else {
        Cow::Owned(format!("{{\"{name}\":{}}}", quoted(arguments)))
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
            (" ", "{}"),
            ("[1]", r#"{"arguments":"[1]"}"#),
            ("{\"a\":", r#"{"arguments":"{\"a\":"}"#),
        ] {
            assert_eq!(as_object(json, GEMINI), expected);
        }
        assert_eq!(as_object("{\"a\":", ANTHROPIC), r#"{"INVALID_JSON":"{\"a\":"}"#);
    }
}
