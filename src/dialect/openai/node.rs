//! Reads an object of a request or an answer member by member, and knows where it stands, so that a refusal names what is
//! wrong: `messages[2].content[0].type`.
//!
//! What always holds: text is borrowed from the body wherever no letter of it is escaped; a member that is null is not there.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dialect::format::drop_named;
use crate::dialect::json::Object;
use crate::dialect::talk::Text;
use crate::refusal::Refusal;

/// An object and its place.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    object: Object<'a>,
    path: String,
}

impl<'a> Node<'a> {
    /// The object that everything else is in.
    pub fn root(object: &Object<'a>) -> Self {
        Self { object: object.clone(), path: String::new() }
    }

    /// An object at a place.
    pub fn parse(json: &'a str, path: String) -> Result<Self, Refusal> {
        match Object::parse(json) {
            Some(object) => Ok(Self { object, path }),
            None => Err(Refusal::invalid(&path, format!("`{path}` must be an object."))),
        }
    }

    /// The object as it is written.
    pub const fn text_of_object(&self) -> &'a str {
        self.object.text()
    }

    /// Where a member stands.
    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A refusal of a member.
    pub fn wrong(&self, name: &str, what: &str) -> Refusal {
        let path = self.at(name);
        Refusal::invalid(&path, format!("`{path}` {what}."))
    }

    /// Refuses a `type` or a limit that upstream may read otherwise.
    pub fn clear(self) -> Result<Self, Refusal> {
        match self.object.unclear(&["type", "environment", "max_uses", "tools"]) {
            None => Ok(self),
            Some(name) => Err(self.wrong(name, "must stand there once, in lower case")),
        }
    }

    /// A member as JSON.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.object.get(name).filter(|json| *json != "null")
    }

    /// A string.
    pub fn text(&self, name: &str) -> Result<Option<Text<'a>>, Refusal> {
        let read = |json| text_of(json).ok_or_else(|| self.wrong(name, "must be a string"));
        self.raw(name).map(read).transpose()
    }

    /// A string that must be there.
    pub fn required(&self, name: &str) -> Result<Text<'a>, Refusal> {
        self.text(name)?.ok_or_else(|| self.wrong(name, "is required and must be a string"))
    }

    /// A string that is kept.
    pub fn owned(&self, name: &str) -> Result<Option<String>, Refusal> {
        Ok(self.text(name)?.map(Cow::into_owned))
    }

    /// A string of an answer; empty if it is anything else.
    pub fn words(&self, name: &str) -> String {
        self.raw(name).and_then(text_of).unwrap_or_default().into_owned()
    }

    /// A number, as it is written.
    pub fn number(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let json = self.raw(name);
        if json.is_some_and(|json| !json.starts_with(|c: char| c == '-' || c.is_ascii_digit())) {
            return Err(self.wrong(name, "must be a number"));
        }
        Ok(json)
    }

    /// A whole number from 0.
    pub fn count(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let read = |json: &str| json.parse().map_err(|_| self.wrong(name, "must be a whole number from 0"));
        self.raw(name).map(read).transpose()
    }

    /// A boolean.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.raw(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "must be a boolean")),
        }
    }

    /// An object.
    pub fn object(&self, name: &str) -> Result<Option<Self>, Refusal> {
        self.raw(name).map(|json| Self::parse(json, self.at(name))).transpose()
    }

    /// The items of a list, each as JSON with its place; none of a list that is not there.
    pub fn list(&self, name: &str) -> Result<Vec<(&'a str, String)>, Refusal> {
        let Some(json) = self.raw(name) else { return Ok(Vec::new()) };
        let items = items(json).ok_or_else(|| self.wrong(name, "must be a list"))?;
        Ok(items.into_iter().enumerate().map(|(at, item)| (item, self.at(&format!("{name}[{at}]")))).collect())
    }

    /// The objects of a list.
    pub fn nodes(&self, name: &str) -> Result<Vec<Self>, Refusal> {
        self.list(name)?.into_iter().map(|(json, path)| Self::parse(json, path)).collect()
    }

    /// The strings of a list.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let read = |(json, path): (&'a str, String)| {
            let text = text_of(json).map(Cow::into_owned);
            text.ok_or_else(|| Refusal::invalid(&path, format!("`{path}` must be a string.")))
        };
        self.list(name)?.into_iter().map(read).collect()
    }

    /// Notes the members that nobody here reads.
    pub fn drop_others(&self, known: &[&str], dropped: &mut Vec<String>) {
        for (name, _) in self.object.members().filter(|(name, json)| !known.contains(name) && *json != "null") {
            drop_named(dropped, &self.at(name));
        }
    }
}

/// The string that a JSON text is; borrowed unless something in it is escaped.
pub fn text_of(json: &str) -> Option<Text<'_>> {
    if !json.starts_with('"') {
        return None;
    }
    match serde_json::from_str::<&str>(json) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// The items of a JSON text that is a list.
pub fn items(json: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_place() {
        let json = r#"{"a":[{"b":1},{"b":"x","c":null}],"n":"1","s":5}"#;
        let object = Object::parse(json).unwrap();
        let root = Node::root(&object);
        let nodes = root.nodes("a").unwrap();
        assert_eq!(nodes[0].text("b").unwrap_err().param.as_deref(), Some("a[0].b"));
        assert_eq!((nodes[1].text("b").unwrap().as_deref(), nodes[1].text("c").unwrap()), (Some("x"), None));
        assert_eq!(root.number("n").unwrap_err().param.as_deref(), Some("n"));
        assert_eq!(root.nodes("s").unwrap_err().param.as_deref(), Some("s"));
        assert_eq!(root.texts("a").unwrap_err().param.as_deref(), Some("a[0]"));
        let mut dropped = vec!["n".to_owned()];
        root.drop_others(&["a"], &mut dropped);
        assert_eq!(dropped, ["n", "s"]);
    }

    #[test]
    fn text_is_borrowed_unless_it_is_escaped() {
        assert!(matches!(text_of("\"plain\""), Some(Cow::Borrowed("plain"))));
        assert!(matches!(text_of("\"a\\nb\""), Some(Cow::Owned(text)) if text == "a\nb"));
        assert_eq!(text_of("5"), None);
    }
}
