//! The body of a JSON request: its members, and its text without what is embedded.
//!
//! What always holds: every member is there at most once, so that upstream reads what was checked; what is embedded is passed
//! over in one go and never copied.

use std::borrow::Cow;

use memchr::memmem;

use super::bounds::{self, next_quote};
use super::json::{Object, has, has_escaped};
use crate::refusal::{Code, Refusal};

/// A string of base64 that is at least this long is taken for something embedded.
const SHORTEST_EMBEDDED: usize = 512;

/// A body that is one JSON object.
#[derive(Debug)]
pub struct Body<'a> {
    /// Its members.
    pub object: Object<'a>,
    /// The whole text without embedded images, files and sounds, and with no letter escaped: what names are looked for in.
    pub lean: Cow<'a, str>,
    /// The same as it was sent, where letters of names were escaped.
    pub as_sent: Option<Cow<'a, str>>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its size without what is embedded: what an estimate of its tokens goes by.
    pub text_bytes: u64,
}

impl<'a> Body<'a> {
    /// Reads a body; `next_step` says what should have been sent.
    pub fn parse(bytes: &'a [u8], next_step: &str) -> Result<Self, Refusal> {
        let not_json = |what: &str| Refusal::new(Code::InvalidJson, format!("The request body {what}."), next_step);
        if bytes.trim_ascii().is_empty() {
            return Err(not_json("is empty"));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| not_json(&format!("is not UTF-8 at byte {}", error.valid_up_to())))?;
        // What is no object is read no further than that.
        if bytes.trim_ascii_start().starts_with(b"{") {
            bounds::check(text)?;
        }
        let Some(object) = Object::parse(text) else {
            let fault = serde_json::from_str::<serde::de::IgnoredAny>(text).err();
            return Err(not_json(&fault.map_or("is not a JSON object".to_owned(), |fault| format!("is not JSON: {fault}"))));
        };
        if let Some(name) = object.repeated() {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Refusal::invalid(&name, format!("`{name}` stands more than once in the request.")));
        }
        let lean = lean(text);
        let text_bytes = lean.len();
        // Nobody needs to escape a letter; whoever does must not hide the names that are looked for.
        let plain = match has_escaped_names(&lean) {
            true => Some(serde_json::from_str::<serde_json::Value>(&lean).map_err(|_| not_json("is nested too deeply"))?),
            false => None,
        };
        let (lean, as_sent) = match plain {
            Some(value) => (Cow::Owned(value.to_string()), Some(lean)),
            None => (lean, None),
        };
        Ok(Self {
            object,
            lean,
            as_sent,
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            text_bytes: u64::try_from(text_bytes).unwrap_or(u64::MAX),
        })
    }

    /// Whether a member of this name is anywhere in it, at any depth.
    pub fn mentions(&self, name: &str) -> bool {
        let quoted = format!("\"{name}\"");
        let is_member = |at: usize| {
            let rest = self.lean.get(at.saturating_add(quoted.len())..).unwrap_or_default();
            rest.trim_start().starts_with(':')
        };
        memmem::find_iter(self.lean.as_bytes(), &quoted).any(is_member)
    }

    /// Whether a string of exactly this text is anywhere in it, such as the value of a `type`.
    pub fn has_text(&self, text: &str) -> bool {
        has(&self.lean, &format!("\"{text}\""))
    }
}

/// Whether a letter, a digit, a hyphen or an underscore is escaped: what the names are written with that are looked for.
fn has_escaped_names(json: &str) -> bool {
    has_escaped(json, |unit| unit.is_ascii_alphanumeric() || unit == b'-' || unit == b'_')
}

/// The text of a JSON document without the long strings of base64 in it.
fn lean(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut kept: Option<String> = None;
    let (mut copied, mut at) = (0, 0);
    while let Some(open) = next_quote(bytes, at) {
        let start = open.saturating_add(1);
        let Some(close) = next_quote(bytes, start) else { break };
        let string = text.get(start..close).unwrap_or_default();
        if string.len() >= SHORTEST_EMBEDDED && is_base64(string) {
            let kept = kept.get_or_insert_default();
            kept.push_str(text.get(copied..start).unwrap_or_default());
            // Of a data URL, what it says of itself stays.
            kept.push_str(string.split_once(";base64,").map_or("", |(head, _)| head));
            copied = close;
        }
        at = close.saturating_add(1);
    }
    match kept {
        None => Cow::Borrowed(text),
        Some(mut kept) => {
            kept.push_str(text.get(copied..).unwrap_or_default());
            Cow::Owned(kept)
        }
    }
}

/// The strings of a JSON text as they are written, each with whether it is the name of a member.
pub fn strings(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = next_quote(text.as_bytes(), at)?.saturating_add(1);
        let close = next_quote(text.as_bytes(), start)?;
        at = close.saturating_add(1);
        let is_name = text.get(at..)?.trim_ascii_start().starts_with(':');
        Some((text.get(start..close)?, is_name))
    })
}

/// Whether a long string is base64 from its first byte to its last, with or without the head of a data URL.
fn is_base64(string: &str) -> bool {
    let data = string.split_once(";base64,").map_or(string, |(_, data)| data);
    data.bytes().all(|byte| is_base64_byte(&byte))
}

/// Also the `\/` that some encoders write.
const fn is_base64_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(text: &str) -> Body<'_> {
        Body::parse(text.as_bytes(), "Send a JSON object.").unwrap()
    }

    #[test]
    fn a_body_that_is_not_an_object_is_the_callers_400() {
        for text in ["", "  ", "hello", "[]", "null", "\"model\"", "1", "{\"model\":\"a\"", "{}{}"] {
            assert_eq!(Body::parse(text.as_bytes(), "").unwrap_err().code, Code::InvalidJson, "{text}");
        }
        assert_eq!(Body::parse(b"{\"model\":\"\xff\"}", "").unwrap_err().code, Code::InvalidJson);
        assert_eq!(Body::parse(br#"{"a":1,"\u0061":2}"#, "").unwrap_err().param.as_deref(), Some("a"));
    }

    #[test]
    fn an_escaped_letter_hides_nothing() {
        let text = r#"{"messages":[{"content":[{"type":"image\u005furl","image\u005furl":{"\u0075rl":"https://x"}}]}]}"#;
        assert!(body(text).mentions("image_url") && body(text).has_text("image_url"));
        let text = r#"{"messages":[{"content":"the escape \\u0041 and \"image_url\": in a text"}]}"#;
        assert!(!body(text).mentions("image_url"));
    }

    #[test]
    fn what_is_embedded_is_left_out_however_it_is_written() {
        let image = "QUJD".repeat(2_500);
        for member in [
            format!(r#""url":"data:image/png;base64,{image}""#),
            format!(r#""data": "{image}""#),
            format!(r#""file_data" : "data:application/pdf;base64,{}""#, image.replace('Q', "\\/")),
        ] {
            let text = format!(r#"{{"a":"x \" y","b":[{{{member}}}],"c":"after"}}"#);
            let body = body(&text);
            assert!(body.bytes > 10_000 && body.text_bytes < 100, "{}", body.text_bytes);
            assert!(body.lean.contains("after") && serde_json::from_str::<serde_json::Value>(&body.lean).is_ok());
        }
    }

    #[test]
    fn long_text_is_not_taken_for_something_embedded() {
        let text = format!(r#"{{"content":"{}"}}"#, "many words of a story ".repeat(100));
        assert_eq!(body(&text).text_bytes, body(&text).bytes);
    }

    proptest! {
        #[test]
        fn a_lean_body_is_the_same_object_but_for_long_strings(texts in proptest::collection::vec(".{0,40}", 0..6), long in 0usize..2_000) {
            let values: Vec<String> = texts.iter().cloned().chain(["A".repeat(long)]).collect();
            let json = serde_json::to_string(&serde_json::json!({"v": values})).unwrap();
            let lean: serde_json::Value = serde_json::from_str(&lean(&json)).unwrap();
            let expected = if long >= SHORTEST_EMBEDDED { String::new() } else { "A".repeat(long) };
            let expected: Vec<String> = texts.into_iter().chain([expected]).collect();
            prop_assert_eq!(lean["v"].clone(), serde_json::json!(expected));
        }
    }
}
