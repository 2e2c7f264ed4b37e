//! Reading and writing JSON text without a tree in between, so that what is embedded is borrowed or copied once.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dialect::json::{Object, quoted};
use crate::dialect::talk::Text;

/// A string. Without escapes it is borrowed.
pub fn text(json: &str) -> Option<Text<'_>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

/// What a list has in it, each as JSON.
pub fn list(json: &str) -> Option<Vec<&str>> {
    let values: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    Some(values.into_iter().map(RawValue::get).collect())
}

/// A member that is neither absent nor null.
pub fn given<'a>(object: &Object<'a>, name: &str) -> Option<&'a str> {
    object.get(name).filter(|json| *json != "null")
}

/// A member that is a string.
pub fn member<'a>(object: &Object<'a>, name: &str) -> Option<Text<'a>> {
    object.get(name).and_then(text)
}

/// The same, where a copy is needed; empty if it is none.
pub fn owned(object: &Object<'_>, name: &str) -> String {
    member(object, name).map(Cow::into_owned).unwrap_or_default()
}

/// Appends a text as a JSON string; what needs no escape is copied once.
pub fn push_text(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&quoted(text));
    }
}

/// Arguments as the object that Anthropic wants. What the model wrote wrong is kept under the name that Anthropic gives it.
pub fn input_object(arguments: &str) -> Cow<'_, str> {
    let arguments = arguments.trim();
    if arguments.is_empty() {
        Cow::Borrowed("{}")
    } else if Object::parse(arguments).is_some() {
        Cow::Borrowed(arguments)
    } else {
        Cow::Owned(format!("{{\"INVALID_JSON\":{}}}", quoted(arguments)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_escapes_is_borrowed() {
        assert!(matches!(text("\"abc\""), Some(Cow::Borrowed("abc"))));
        assert_eq!(text(r#""a\"\u00e9""#).as_deref(), Some("a\"é"));
        for json in ["1", "null", "\"", "[\"a\"]"] {
            assert_eq!(text(json), None, "{json}");
        }
        let mut out = String::new();
        push_text(&mut out, "a\"\n\u{1}é");
        assert_eq!(text(&out).as_deref(), Some("a\"\n\u{1}é"));
    }

    #[test]
    fn arguments_are_always_an_object() {
        assert_eq!(input_object(" "), "{}");
        assert_eq!(input_object("{\"a\":1.0}"), "{\"a\":1.0}");
        assert_eq!(input_object("{\"a\":"), r#"{"INVALID_JSON":"{\"a\":"}"#);
    }
}
