//! Writes JSON piece by piece, so that what is large is copied once: from the client's body into the one that goes up.

/// JSON that is being written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Out(String);

impl Out {
    /// An object that is open.
    pub fn object() -> Self {
        Self("{".to_owned())
    }

    /// The same with room for so many bytes, so that what is large does not move while it is written.
    pub fn object_for(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self(text)
    }

    /// The comma before the next member or item. A value never ends with what opens one.
    fn comma(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[', ':']) {
            self.0.push(',');
        }
    }

    /// Opens an object as the next item.
    pub fn open(&mut self) -> &mut Self {
        self.raw("{")
    }

    /// Opens an object as a member.
    pub fn open_at(&mut self, name: &str) -> &mut Self {
        self.name(name).raw("{")
    }

    /// Opens a list as a member.
    pub fn list_at(&mut self, name: &str) -> &mut Self {
        self.name(name).raw("[")
    }

    /// Closes the object.
    pub fn close(&mut self) -> &mut Self {
        self.0.push('}');
        self
    }

    /// Closes the list.
    pub fn end_list(&mut self) -> &mut Self {
        self.0.push(']');
        self
    }

    /// Closes the last list, and that is all.
    pub fn list_done(mut self) -> String {
        self.0.push(']');
        self.0
    }

    /// Closes the last object, and that is all.
    pub fn done(mut self) -> String {
        self.0.push('}');
        self.0
    }

    /// The name of the next value. Names are ours and need no escapes.
    pub fn name(&mut self, name: &str) -> &mut Self {
        self.comma();
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
        self
    }

    /// A value as JSON.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.comma();
        self.0.push_str(json);
        self
    }

    /// A string, given in pieces.
    pub fn string(&mut self, pieces: &[&str]) -> &mut Self {
        self.comma();
        self.0.push('"');
        for piece in pieces {
            self.escaped(piece);
        }
        self.0.push('"');
        self
    }

    /// A member as JSON.
    pub fn member(&mut self, name: &str, json: &str) -> &mut Self {
        self.name(name).raw(json)
    }

    /// A member as JSON, where there is one.
    pub fn maybe(&mut self, name: &str, json: Option<&str>) -> &mut Self {
        match json {
            Some(json) => self.member(name, json),
            None => self,
        }
    }

    /// A member that is a string.
    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.name(name).string(&[text])
    }

    /// A member that is a string, where there is one.
    pub fn maybe_text(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// A member that is a boolean, where there is one.
    pub fn maybe_flag(&mut self, name: &str, flag: Option<bool>) -> &mut Self {
        self.maybe(name, flag.map(|flag| if flag { "true" } else { "false" }))
    }

    fn escaped(&mut self, text: &str) {
        let mut from = 0;
        for (at, byte) in text.bytes().enumerate() {
            let short = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0..=0x1f => "",
                _ => continue,
            };
            self.0.push_str(text.get(from..at).unwrap_or_default());
            if short.is_empty() {
                self.0.push_str(&format!("\\u{byte:04x}"));
            } else {
                self.0.push_str(short);
            }
            from = at.saturating_add(1);
        }
        self.0.push_str(text.get(from..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn commas_stand_where_they_must() {
        let mut out = Out::object();
        out.member("a", "1").list_at("b").open().close().string(&["{", "["]).raw("2").end_list();
        out.open_at("c").maybe("x", None).maybe_text("y", Some("{")).maybe_flag("z", Some(true)).close();
        let value: Value = serde_json::from_str(&out.done()).unwrap();
        assert_eq!(value, json!({"a": 1, "b": [{}, "{[", 2], "c": {"y": "{", "z": true}}));
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_it_is(text in "\\PC*|[\\x00-\\x7f]*", more in ".*") {
            let mut out = Out::object();
            out.name("a").string(&[&text, &more]);
            let value: Value = serde_json::from_str(&out.done()).unwrap();
            prop_assert_eq!(value, json!({"a": format!("{text}{more}")}));
        }
    }
}
