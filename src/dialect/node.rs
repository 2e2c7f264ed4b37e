//! Reads an object of a request or an answer member by member, and knows where it stands, so that a refusal names what is
//! wrong: `messages[2].content[0].type`.
//!
//! What always holds: text is borrowed from the body wherever no letter of it is escaped; a member that is null is not there;
//! where names may be spelled in two ways, none stands there twice.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::conversation::Text;
use super::dropped::Dropped;
use super::json::{Members, Object, items, repeated, text_of, unclear};
use crate::refusal::Refusal;

/// An object and its place.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    members: Members<'a>,
    path: String,
    spelling: Spelling,
}

/// How names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// In one way.
    Exact,
    /// As Google's reader takes them: in camelCase or in `snake_case`, and a list of one thing as the thing itself.
    Camel,
}

impl<'a> Node<'a> {
    /// The object that everything else is in.
    pub fn root(object: &Object<'a>) -> Self {
        Self { members: object.as_members(), path: String::new(), spelling: Spelling::Exact }
    }

    /// The object that everything else is in, with names as Google's clients spell them.
    pub fn camel_root(object: &Object<'a>) -> Result<Self, Refusal> {
        Self::of(object.as_members(), String::new(), Spelling::Camel)
    }

    /// An object at a place.
    pub fn parse(json: &'a str, path: String) -> Result<Self, Refusal> {
        Self::read_at(json, path, Spelling::Exact)
    }

    fn read_at(json: &'a str, path: String, spelling: Spelling) -> Result<Self, Refusal> {
        match Members::parse(json) {
            Some(members) => Self::of(members, path, spelling),
            None => Err(Refusal::invalid(&path, format!("`{path}` must be an object."))),
        }
    }

    fn of(mut members: Members<'a>, path: String, spelling: Spelling) -> Result<Self, Refusal> {
        if spelling == Spelling::Camel {
            members.0.retain(|(_, json)| *json != "null");
            members.0.iter_mut().for_each(|(name, _)| *name = camel(std::mem::take(name)));
            let names = members.0.iter().map(|(name, _)| name.as_str());
            match repeated(names) {
                Some(name) if path.is_empty() => {
                    return Err(Refusal::invalid(name, format!("`{name}` stands there twice.")));
                }
                Some(name) => {
                    return Err(Refusal::invalid(&path, format!("`{path}` must be an object: `{name}` stands there twice.")));
                }
                None => {}
            }
        }
        Ok(Self { members, path, spelling })
    }

    /// Where it stands itself.
    pub fn path(&self) -> &str {
        &self.path
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

    /// A refusal of the object itself.
    pub fn wrong_itself(&self, what: &str) -> Refusal {
        Refusal::invalid(&self.path, format!("`{}` {what}.", self.path))
    }

    /// Refuses a `type` or a limit that upstream may read otherwise.
    pub fn clear(self) -> Result<Self, Refusal> {
        let names = || self.members.0.iter().map(|(name, _)| name.as_str());
        let is_read = |name: &str| ["type", "environment", "max_uses", "tools"].contains(&name);
        match unclear(names, is_read) {
            None => Ok(self),
            Some(name) => Err(self.wrong(name, "must stand there once, in lower case")),
        }
    }

    /// A member as JSON.
    pub fn given(&self, name: &str) -> Option<&'a str> {
        self.members.get(name).filter(|json| *json != "null")
    }

    /// The names of the members that are there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.0.iter().filter(|(_, json)| *json != "null").map(|(name, _)| name.as_str())
    }

    /// A member of a type.
    pub fn read<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>, Refusal> {
        let read = |json| serde_json::from_str(json).map_err(|_| self.wrong(name, &format!("must be {what}")));
        self.given(name).map(read).transpose()
    }

    /// A string.
    pub fn text(&self, name: &str) -> Result<Option<Text<'a>>, Refusal> {
        let read = |json| text_of(json).ok_or_else(|| self.wrong(name, "must be a string"));
        self.given(name).map(read).transpose()
    }

    /// A string that must be there.
    pub fn required(&self, name: &str) -> Result<Text<'a>, Refusal> {
        self.text(name)?.ok_or_else(|| self.wrong(name, "is required and must be a string"))
    }

    /// A string that is kept.
    pub fn owned(&self, name: &str) -> Result<Option<String>, Refusal> {
        Ok(self.text(name)?.map(Cow::into_owned))
    }

    /// A string; none if it is anything else.
    pub fn maybe_text(&self, name: &str) -> Option<Text<'a>> {
        self.given(name).and_then(text_of)
    }

    /// A string; empty if it is anything else.
    pub fn words(&self, name: &str) -> String {
        self.maybe_text(name).unwrap_or_default().into_owned()
    }

    /// A number, as it is written.
    pub fn number(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let json = self.given(name);
        if json.is_some_and(|json| !json.starts_with(|c: char| c == '-' || c.is_ascii_digit())) {
            return Err(self.wrong(name, "must be a number"));
        }
        Ok(json)
    }

    /// A whole number from 0.
    pub fn count(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let read = |json: &str| json.parse().map_err(|_| self.wrong(name, "must be a whole number from 0"));
        self.given(name).map(read).transpose()
    }

    /// A whole number from 1.
    pub fn count_to(&self, name: &str, most: u64) -> Result<Option<u64>, Refusal> {
        let wrong = || self.wrong(name, &format!("must be a whole number from 1 to {most}"));
        let read = |json: &str| json.parse().ok().filter(|count| (1..=most).contains(count)).ok_or_else(wrong);
        self.given(name).map(read).transpose()
    }

    /// A boolean.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.given(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "must be a boolean")),
        }
    }

    /// An object.
    pub fn object(&self, name: &str) -> Result<Option<Self>, Refusal> {
        self.given(name).map(|json| Self::read_at(json, self.at(name), self.spelling)).transpose()
    }

    /// An object; an empty one if it is not there.
    pub fn within(&self, name: &str) -> Result<Self, Refusal> {
        let empty = || Self { members: Members::default(), path: self.at(name), spelling: self.spelling };
        Ok(self.object(name)?.unwrap_or_else(empty))
    }

    /// The items of a list, each as JSON with its place; none of a list that is not there.
    pub fn list(&self, name: &str) -> Result<Vec<(&'a str, String)>, Refusal> {
        let Some(json) = self.given(name) else { return Ok(Vec::new()) };
        let items = items(json).ok_or_else(|| self.wrong(name, "must be a list"))?;
        Ok(items.into_iter().enumerate().map(|(at, item)| (item, self.at(&format!("{name}[{at}]")))).collect())
    }

    /// The objects of a list.
    pub fn nodes(&self, name: &str) -> Result<Vec<Self>, Refusal> {
        let Some(json) = self.given(name) else { return Ok(Vec::new()) };
        let at = |index: usize| self.at(&format!("{name}[{index}]"));
        if self.spelling == Spelling::Camel && json.starts_with('{') {
            return Ok(vec![Self::read_at(json, at(0), self.spelling)?]);
        }
        // All of them in one go, unless one is wrong, which is then looked for.
        match serde_json::from_str::<Vec<Members<'a>>>(json) {
            Ok(list) => {
                let list = list.into_iter().enumerate();
                list.map(|(index, members)| Self::of(members, at(index), self.spelling)).collect()
            }
            Err(_) => self.list(name)?.into_iter().map(|(json, path)| Self::read_at(json, path, self.spelling)).collect(),
        }
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
    pub fn drop_others(&self, known: &[&str], dropped: &mut Dropped) {
        for name in self.names().filter(|name| !known.contains(name)) {
            dropped.note(&self.at(name));
        }
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
    fn a_refusal_names_the_place() {
        let json = r#"{"a":[{"b":1},{"b":"x","c":null}],"n":"1","s":5,"m":[{},5]}"#;
        let object = Object::parse(json).unwrap();
        let root = Node::root(&object);
        let nodes = root.nodes("a").unwrap();
        assert_eq!(nodes[0].text("b").unwrap_err().param.as_deref(), Some("a[0].b"));
        assert_eq!((nodes[1].text("b").unwrap().as_deref(), nodes[1].text("c").unwrap()), (Some("x"), None));
        assert_eq!(root.number("n").unwrap_err().param.as_deref(), Some("n"));
        assert_eq!(root.nodes("s").unwrap_err().param.as_deref(), Some("s"));
        assert_eq!(root.nodes("m").unwrap_err().param.as_deref(), Some("m[1]"));
        assert_eq!(root.texts("a").unwrap_err().param.as_deref(), Some("a[0]"));
        let mut dropped = Dropped::default();
        dropped.note("n");
        root.drop_others(&["a", "m"], &mut dropped);
        assert_eq!(dropped, ["n", "s"]);
    }

    fn google<'a>(object: &Object<'a>) -> Node<'a> {
        Node::camel_root(object).unwrap()
    }

    #[test]
    fn both_spellings_are_one_name() {
        let object = Object::parse(r#"{"max_output_tokens":5,"topP":null,"thought_signature":"a\u0062"}"#).unwrap();
        let node = google(&object);
        assert_eq!(node.count_to("maxOutputTokens", 9).unwrap(), Some(5));
        assert_eq!(node.names().collect::<Vec<_>>(), ["maxOutputTokens", "thoughtSignature"]);
        assert_eq!(node.text("thoughtSignature").unwrap().as_deref(), Some("ab"));
        let object = Object::parse(r#"{"generation_config":{"top_p":1,"topP":2}}"#).unwrap();
        let refusal = google(&object).object("generationConfig").unwrap_err();
        assert_eq!(refusal.param.as_deref(), Some("generationConfig"));
        assert!(refusal.message.contains("`topP` stands there twice"), "{}", refusal.message);
        let object = Object::parse(r#"{"top_p":1,"topP":2}"#).unwrap();
        assert_eq!(Node::camel_root(&object).unwrap_err().param.as_deref(), Some("topP"));
    }

    #[test]
    fn a_list_of_one_may_be_the_thing_itself_for_google() {
        for json in [r#"{"contents":[{"parts":[{"text":"x"}]}]}"#, r#"{"contents":{"parts":{"text":"x"}}}"#] {
            let object = Object::parse(json).unwrap();
            let contents = google(&object).nodes("contents").unwrap();
            assert_eq!(contents[0].nodes("parts").unwrap()[0].given("text"), Some("\"x\""), "{json}");
        }
        for json in [r#"{"contents":5}"#, r#"{"contents":[5]}"#] {
            assert!(google(&Object::parse(json).unwrap()).nodes("contents").is_err(), "{json}");
        }
        let exact = Object::parse(r#"{"contents":{}}"#).unwrap();
        assert!(Node::root(&exact).nodes("contents").is_err());
    }
}
