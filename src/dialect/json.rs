//! JSON as text: its members and items, without a tree in between; and changing members of an object without touching the rest
//! of its text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memmem;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of an object in their order: name and value, as JSON.
#[derive(Debug, Clone, Default)]
pub struct Members<'a>(pub Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    /// Reads the text of an object; none if it is anything else, or not JSON.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, json)| *json)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de str)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((name, map.next_value::<&RawValue>()?.get()));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object).map(Self)
    }
}

/// The members of an object, each with the place of its value in the text.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    text: &'a str,
    members: Vec<Member<'a>>,
}

#[derive(Debug, Clone)]
struct Member<'a> {
    name: String,
    value: &'a str,
    place: Range<usize>,
}

/// A change of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It has this value, given as JSON; it is added at the end if it was not there.
    Set(&'static str, String),
    /// It is not there.
    Remove(&'static str),
}

impl Edit {
    /// Of which member.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Set(name, _) | Self::Remove(name) => name,
        }
    }
}

impl<'a> Object<'a> {
    /// Reads the text of an object; none if it is anything else, or not JSON.
    pub fn parse(text: &'a str) -> Option<Self> {
        let members = Members::parse(text)?.0.into_iter().map(|(name, value)| {
            // The value is borrowed from the text, so its distance from the start is its place.
            let start = value.as_ptr().addr().saturating_sub(text.as_ptr().addr());
            Member { name, value, place: start..start.saturating_add(value.len()) }
        });
        let members = members.collect();
        Some(Self { text, members })
    }

    /// The whole of it, as it is written.
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// The value of a member, as JSON.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.members.iter().find(|member| member.name == name).map(|member| member.value)
    }

    /// A member that is neither absent nor null, as JSON.
    pub fn given(&self, name: &str) -> Option<&'a str> {
        self.get(name).filter(|json| *json != "null")
    }

    /// A member that is a string.
    pub fn maybe_text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(text_of)
    }

    /// A member that is a string; empty if it is anything else.
    pub fn words(&self, name: &str) -> String {
        self.maybe_text(name).unwrap_or_default().into_owned()
    }

    /// Its members without their places.
    pub fn as_members(&self) -> Members<'a> {
        Members(self.members.iter().map(|member| (member.name.clone(), member.value)).collect())
    }

    /// Its members, in order: the name and the value as JSON.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.members.iter().map(|member| (member.name.as_str(), member.value))
    }

    /// The names of its members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// A name that stands more than once. Readers disagree on which of them counts.
    pub fn repeated(&self) -> Option<&str> {
        repeated(self.names())
    }

    /// A name that readers may disagree on: one that stands more than once, or that is one of `known` but for the case of its
    /// letters.
    pub fn unclear(&self, known: &[&str]) -> Option<&str> {
        unclear(|| self.names(), |name| known.contains(&name))
    }

    /// The text with these changes.
    pub fn edited(&self, edits: &[Edit]) -> String {
        let mut out = String::with_capacity(self.text.len().saturating_add(256));
        self.splice(edits, |piece| out.push_str(&piece));
        out
    }

    /// The same in pieces, so that what does not change is not copied.
    pub fn pieces(&self, edits: &[Edit]) -> Vec<Cow<'a, [u8]>> {
        let mut pieces = Vec::new();
        self.splice(edits, |piece| {
            pieces.push(match piece {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            });
        });
        pieces
    }

    fn splice(&self, edits: &[Edit], mut put: impl FnMut(Cow<'a, str>)) {
        let mut from = self.text.find('{').map_or(0, |at| at.saturating_add(1));
        // What is unchanged from here on, and not put yet.
        let mut kept = 0..from;
        let mut is_first = true;
        for member in &self.members {
            let lead = from..member.place.start;
            from = member.place.end;
            let edit = edits.iter().find(|edit| edit.name() == member.name);
            if matches!(edit, Some(Edit::Remove(_))) {
                continue;
            }
            // The first that stays must not begin with the comma of one that went. A key begins with a quote, so the comma
            // before it is the first.
            let text = self.text.get(lead.clone()).unwrap_or_default();
            let comma = text.len().saturating_sub(text.trim_start().strip_prefix(',').map_or(text.len(), str::len));
            let start = if is_first { lead.start.saturating_add(comma) } else { lead.start };
            is_first = false;
            if start != kept.end {
                put(Cow::Borrowed(self.text.get(kept.clone()).unwrap_or_default()));
                kept = start..start;
            }
            match edit {
                Some(Edit::Set(_, value)) => {
                    put(Cow::Borrowed(self.text.get(kept.start..lead.end).unwrap_or_default()));
                    put(Cow::Owned(value.clone()));
                    kept = from..from;
                }
                _ => kept.end = from,
            }
        }
        put(Cow::Borrowed(self.text.get(kept).unwrap_or_default()));
        for edit in edits {
            let Edit::Set(name, value) = edit else { continue };
            if self.members.iter().any(|member| member.name == *name) {
                continue;
            }
            put(Cow::Owned(format!("{}\"{name}\":{value}", if is_first { "" } else { "," })));
            is_first = false;
        }
        put(Cow::Borrowed(self.text.get(from..).unwrap_or_default()));
    }
}

/// A name that stands more than once. Readers disagree on which of them counts.
pub fn repeated<'n>(names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    })
}

/// A letter in lower case, as readers that do not mind the case take it; two of other alphabets are among them.
const fn folded(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    }
}

/// A name that is known but for the case of its letters. Some readers, such as Go's, do not mind the case.
fn disguised<'n>(mut names: impl Iterator<Item = &'n str>, is_known: impl Fn(&str) -> bool) -> Option<&'n str> {
    names.find(|name| {
        let folded: String = name.chars().map(folded).collect();
        folded != **name && is_known(&folded)
    })
}

/// A name that readers may disagree on: one that stands more than once, or that is known but for the case of its letters.
pub fn unclear<'n, N: Iterator<Item = &'n str>>(names: impl Fn() -> N, is_known: impl Fn(&str) -> bool) -> Option<&'n str> {
    repeated(names()).or_else(|| disguised(names(), is_known))
}

/// The string that a JSON text is; borrowed unless something in it is escaped.
pub fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

/// The items of a JSON text that is a list.
pub fn items(json: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// What becomes of an item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemChange {
    /// It stays as it is written.
    Keep,
    /// It goes.
    Drop,
    /// This stands in its place, as JSON.
    Replace(String),
}

/// A list with some of its items changed; none if it is no list or nothing changes.
pub fn changed_list(json: &str, mut change: impl FnMut(&str) -> ItemChange) -> Option<String> {
    let items = items(json)?;
    let mut is_changed = false;
    let mut kept: Vec<Cow<'_, str>> = Vec::with_capacity(items.len());
    for item in items {
        match change(item) {
            ItemChange::Keep => kept.push(Cow::Borrowed(item)),
            ItemChange::Drop => is_changed = true,
            ItemChange::Replace(text) => {
                is_changed = true;
                kept.push(Cow::Owned(text));
            }
        }
    }
    is_changed.then(|| format!("[{}]", kept.join(",")))
}

/// Whether a character of such a kind is escaped as `\u00..` anywhere in a JSON text.
pub fn has_escaped(json: &str, is_wanted: impl Fn(u8) -> bool) -> bool {
    memmem::find_iter(json.as_bytes(), "\\u00").any(|at| {
        let unit = json.get(at.saturating_add(4)..at.saturating_add(6)).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        unit.is_some_and(&is_wanted)
    })
}

/// Whether a text has a word. Of long texts this is several times as fast as the standard library's search.
pub fn has(text: &str, word: &str) -> bool {
    memmem::find(text.as_bytes(), word.as_bytes()).is_some()
}

/// Whether a word may stand in a JSON text: as it is, or in letters that are escaped, which nobody needs. Cheap: it looks, and
/// reads nothing. Some encoders escape what HTML minds; no word that is looked for has that.
pub fn may_have(json: &str, word: &str) -> bool {
    let is_odd = |unit: u8| unit.is_ascii_graphic() && !matches!(unit, b'<' | b'>' | b'&' | b'\'');
    has(json, word) || has_escaped(json, is_odd)
}

/// What stands between the quotes, or the brackets.
pub fn unquoted(json: &str) -> &str {
    json.get(1..json.len().saturating_sub(1)).unwrap_or_default()
}

/// A text as JSON.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Appends a text as a JSON string; what needs no escape, such as base64, is copied once.
pub fn push_text(out: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        return out.push_str(&quoted(text));
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn edited(text: &str, edits: &[Edit]) -> String {
        Object::parse(text).unwrap().edited(edits)
    }

    #[test]
    fn a_word_in_escaped_letters_may_be_there_and_accents_alone_are_not_one() {
        assert!(may_have(r#"["thinking"]"#, "thinking"));
        assert!(may_have(r#"["th\u0069nking"]"#, "thinking"));
        assert!(may_have(r#"["web\u005fsearch"]"#, "web_search"));
        assert!(may_have(r#"["\u0022tf1."]"#, "\"tf1."));
        assert!(!may_have(r#"["caf\u00e9 \u003cb\u003e \u000b \u00"]"#, "thinking"));
    }

    #[test]
    fn text_is_borrowed_unless_it_is_escaped() {
        assert!(matches!(text_of("\"plain\""), Some(Cow::Borrowed("plain"))));
        assert!(matches!(text_of("\"a\\nb\""), Some(Cow::Owned(text)) if text == "a\nb"));
        assert_eq!(text_of(r#""a\"\u00e9""#).as_deref(), Some("a\"é"));
        for json in ["1", "null", "\"", "[\"a\"]"] {
            assert_eq!(text_of(json), None, "{json}");
        }
        for text in ["", "plain", "a\"b\\c\n\u{1}", "🦀é"] {
            let mut out = String::new();
            push_text(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn only_what_must_change_changes() {
        let text = "{ \"model\" : \"a\" ,\n \"n\":1.0, \"big\":9007199254740993,\"x\":null , \"f\":0.30000000000000004 }";
        let out = edited(text, &[Edit::Set("model", quoted("b"))]);
        assert_eq!(out, text.replace("\"a\"", "\"b\""));
    }

    #[test]
    fn members_come_and_go_anywhere() {
        let text = r#"{"a":1, "b":2 , "c":3}"#;
        assert_eq!(edited(text, &[Edit::Remove("a")]), r#"{ "b":2 , "c":3}"#);
        assert_eq!(edited(text, &[Edit::Remove("b")]), r#"{"a":1 , "c":3}"#);
        assert_eq!(edited(text, &[Edit::Remove("c")]), r#"{"a":1, "b":2}"#);
        assert_eq!(
            edited(text, &[Edit::Remove("a"), Edit::Remove("b"), Edit::Remove("c"), Edit::Set("d", "4".into())]),
            r#"{"d":4}"#
        );
        assert_eq!(edited("{}", &[Edit::Set("d", "4".into())]), r#"{"d":4}"#);
        assert_eq!(edited("{}", &[Edit::Remove("d")]), "{}");
    }

    #[test]
    fn a_name_is_compared_as_what_it_means() {
        let text = r#"{"mod\u0065l":"a","model":"b"}"#;
        assert_eq!(Object::parse(text).unwrap().repeated(), Some("model"));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in ["", "null", "[]", "1", "\"{}\"", "{", "{} {}", "{\"a\":}", "{\"a\":1,}"] {
            assert!(Object::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_edit_is_what_it_would_be_on_the_value(
            members in proptest::collection::btree_map("[abcd]", 0u64..100, 0..5),
            remove in proptest::bool::ANY,
            space in "[ \n\t]{0,2}",
        ) {
            let body: Vec<String> = members.iter().map(|(name, value)| format!("{space}\"{name}\"{space}:{space}{value}{space}")).collect();
            let text = format!("{space}{{{}}}{space}", body.join(","));
            let edits = [if remove { Edit::Remove("b") } else { Edit::Set("b", "7".to_owned()) }, Edit::Set("z", "1".to_owned())];
            let mut expected: std::collections::BTreeMap<String, u64> = members.clone();
            if remove { expected.remove("b"); } else { expected.insert("b".to_owned(), 7); }
            expected.insert("z".to_owned(), 1);
            let object = Object::parse(&text).unwrap();
            let joined = object.pieces(&edits).concat();
            prop_assert_eq!(String::from_utf8(joined).unwrap(), object.edited(&edits));
            let got: Value = serde_json::from_str(&object.edited(&edits)).unwrap();
            prop_assert_eq!(got, serde_json::to_value(expected).unwrap());
        }
    }
}
