//! How Gemini's JSON is read: every name in camelCase or in snake_case, and a list of one thing as the thing itself.
//!
//! What always holds: no member is there twice, whichever way it is spelled; what is embedded is borrowed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::dialect::json::{Object, quoted};
use crate::dialect::talk::Text;
use crate::refusal::Refusal;

/// The members of an object, by their names in camelCase. What is null is not there.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    /// Reads an object; `path` is what a refusal calls it.
    pub fn parse(json: &'a str, path: &str) -> Result<Self, Refusal> {
        parse(json, path, "an object")
    }

    /// The members of an object that was read before.
    pub fn of(object: &Object<'a>) -> Result<Self, Refusal> {
        let mut members = Self::default();
        for (name, value) in object.members() {
            members.add(name.to_owned(), value);
        }
        match members.repeated() {
            Some(name) => Err(Refusal::invalid(name, format!("`{name}` stands there twice."))),
            None => Ok(members),
        }
    }

    /// Adds a member. What is null is not there.
    fn add(&mut self, name: String, value: &'a str) {
        if value != "null" {
            self.0.push((camel(name), value));
        }
    }

    /// A name that is there twice.
    fn repeated(&self) -> Option<&str> {
        let mut seen = BTreeSet::new();
        self.0.iter().map(|(name, _)| name.as_str()).find(|name| !seen.insert(*name))
    }

    /// A member, as JSON.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }

    /// Each name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A member of a type; `path` is what a refusal calls the object.
    pub fn read<T: DeserializeOwned>(&self, name: &str, path: &str, what: &str) -> Result<Option<T>, Refusal> {
        let Some(json) = self.get(name) else { return Ok(None) };
        serde_json::from_str(json).map(Some).map_err(|_| wrong(&join(path, name), what))
    }

    /// A text, borrowed where it can be.
    pub fn text(&self, name: &str, path: &str) -> Result<Option<Text<'a>>, Refusal> {
        let Some(json) = self.get(name) else { return Ok(None) };
        text(json).map(Some).ok_or_else(|| wrong(&join(path, name), "a string"))
    }

    /// A number, as it stands there.
    pub fn number(&self, name: &str, path: &str) -> Result<Option<&'a str>, Refusal> {
        let Some(json) = self.get(name) else { return Ok(None) };
        let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if is_number { Ok(Some(json)) } else { Err(wrong(&join(path, name), "a number")) }
    }

    /// A whole number from 1.
    pub fn count(&self, name: &str, path: &str, most: u64) -> Result<Option<u64>, Refusal> {
        let what = format!("a whole number from 1 to {most}");
        let count = self.read::<u64>(name, path, &what)?;
        match count {
            Some(count) if !(1..=most).contains(&count) => Err(wrong(&join(path, name), &what)),
            _ => Ok(count),
        }
    }

    /// A member that is an object; an empty one if it is not there.
    pub fn object(&self, name: &str, path: &str) -> Result<Self, Refusal> {
        self.get(name).map_or_else(|| Ok(Self::default()), |json| Self::parse(json, &join(path, name)))
    }

    /// A member that is a list of objects.
    pub fn objects(&self, name: &str, path: &str) -> Result<Vec<Self>, Refusal> {
        let Some(json) = self.get(name) else { return Ok(Vec::new()) };
        parse::<Many<Self>>(json, &join(path, name), "a list of objects").map(|many| many.0)
    }

    /// A member that is a list of contents, or one of them.
    pub fn contents(&self, name: &str) -> Result<Vec<Content<'a>>, Refusal> {
        let Some(json) = self.get(name) else { return Ok(Vec::new()) };
        parse::<Many<Content<'a>>>(json, name, "a list of contents").map(|many| many.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Object<'a> {
            type Value = Members<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<String>()? {
                    members.add(name, map.next_value::<&RawValue>()?.get());
                }
                match members.repeated() {
                    Some(name) => Err(M::Error::custom(format_args!("`{name}` stands there twice"))),
                    None => Ok(members),
                }
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// A turn.
#[derive(Debug)]
pub struct Content<'a> {
    /// Who speaks.
    pub role: Option<String>,
    /// What is said.
    pub parts: Vec<Members<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(default)]
            role: Option<String>,
            #[serde(borrow, default)]
            parts: Option<Many<Members<'a>>>,
        }
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self { role: wire.role, parts: wire.parts.map_or_else(Vec::new, |parts| parts.0) })
    }
}

/// A list, or its only member alone, as Google's own reader takes it.
#[derive(Debug)]
struct Many<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Many<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let mut members = Vec::new();
                while let Some(member) = list.next_element()? {
                    members.push(member);
                }
                Ok(Many(members))
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|only| Many(vec![only]))
            }
        }
        deserializer.deserialize_any(List(PhantomData))
    }
}

/// An object and nothing else: a list would be read as the fields in their order.
#[derive(Debug)]
pub struct Only<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Only<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Object(PhantomData)).map(Only)
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str, path: &str, what: &str) -> Result<T, Refusal> {
    serde_json::from_str(json).map_err(|fault| {
        let name = if path.is_empty() { "The request".to_owned() } else { format!("`{path}`") };
        Refusal::invalid(path, format!("{name} must be {what}: {fault}."))
    })
}

/// A refusal of a member that is not what it has to be.
pub fn wrong(path: &str, what: &str) -> Refusal {
    Refusal::invalid(path, format!("`{path}` must be {what}."))
}

/// The path of a member.
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The text of a JSON string, borrowed where nothing in it is escaped.
pub fn text(json: &str) -> Option<Text<'_>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(json).ok().map(Cow::Owned)
}

/// Writes a text as JSON. What needs no escape, such as base64, is copied once.
pub fn push_quoted(out: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        return out.push_str(&quoted(text));
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// The arguments of a call as the object that Gemini wants. What a model wrote that is none is kept as a text in one.
pub fn push_arguments(out: &mut String, json: &str) {
    let json = json.trim();
    if json.is_empty() {
        out.push_str("{}");
    } else if Object::parse(json).is_some() {
        out.push_str(json);
    } else {
        out.push_str("{\"arguments\":");
        push_quoted(out, json);
        out.push('}');
    }
}

/// A name in camelCase.
pub fn camel(name: String) -> String {
    if !name.contains('_') || name.starts_with('_') {
        return name;
    }
    let mut out = String::with_capacity(name.len());
    let mut is_start = false;
    for c in name.chars() {
        match c {
            '_' => is_start = true,
            c if is_start => {
                is_start = false;
                out.push(c.to_ascii_uppercase());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_name() {
        let members = Members::parse(r#"{"max_output_tokens":5,"topP":null,"thought_signature":"a\u0062"}"#, "").unwrap();
        assert_eq!(members.count("maxOutputTokens", "", 9).unwrap(), Some(5));
        assert_eq!(members.names().collect::<Vec<_>>(), ["maxOutputTokens", "thoughtSignature"]);
        assert_eq!(members.text("thoughtSignature", "").unwrap().as_deref(), Some("ab"));
        let refusal = Members::parse(r#"{"top_p":1,"topP":2}"#, "generationConfig").unwrap_err();
        assert_eq!(refusal.param.as_deref(), Some("generationConfig"));
        assert!(refusal.message.contains("`topP` stands there twice"), "{}", refusal.message);
    }

    #[test]
    fn a_list_of_one_may_be_the_thing_itself() {
        for json in [r#"{"contents":[{"parts":[{"text":"x"}]}]}"#, r#"{"contents":{"parts":{"text":"x"}}}"#] {
            let contents = Members::parse(json, "").unwrap().contents("contents").unwrap();
            assert_eq!(contents[0].parts[0].get("text"), Some("\"x\""), "{json}");
        }
        for json in [r#"{"contents":5}"#, r#"{"contents":[5]}"#, r#"{"contents":[{"parts":["x"]}]}"#] {
            assert!(Members::parse(json, "").unwrap().contents("contents").is_err(), "{json}");
        }
    }

    #[test]
    fn a_text_is_written_as_json() {
        for text in ["", "plain", "a\"b\\c\n\u{1}", "🦀"] {
            let mut out = String::new();
            push_quoted(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

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
