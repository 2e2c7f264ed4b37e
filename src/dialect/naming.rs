//! What an answer calls itself and its model.
//!
//! What always holds: the id that a client is told has the id of its request in it, so that its receipt is found by it; the model
//! is told as the catalogue names it and never as the provider does. Where a provider tells neither, nothing is put in.

use serde_json::value::RawValue;

use super::exchange::StreamWish;
use super::json::{Edit, Object, quoted};
use super::sse::Data;

/// The names of one answer, as JSON.
#[derive(Debug, Clone)]
pub struct Names {
    members: [&'static str; 2],
    /// The id; none where it stays the provider's.
    id: Option<String>,
    /// The model; none where it stays as the provider names it.
    model: Option<String>,
}

impl Names {
    /// For a format whose answers have `id` and `model`, and whose ids begin like this.
    pub fn new(prefix: &str, wish: &StreamWish) -> Self {
        Self::of(["id", "model"], prefix, wish)
    }

    /// For a format that calls the two members otherwise.
    pub fn of(members: [&'static str; 2], prefix: &str, wish: &StreamWish) -> Self {
        let told = |text: String| Some(text).filter(|text| !text.is_empty()).map(|text| quoted(&text));
        Self { members, id: told(wish.answer_id(prefix, "")), model: told(wish.model.clone()) }
    }

    /// The id and the model for what the gateway itself writes into an answer that has these, all of it JSON.
    pub fn head(&self, [id, model]: [&str; 2]) -> [String; 2] {
        [(&self.id, id), (&self.model, model)].map(|(name, own)| name.clone().unwrap_or_else(|| own.to_owned()))
    }

    /// What must change in an answer, or in an event that has the two members.
    pub fn edits(&self, answer: &Object<'_>) -> Vec<Edit> {
        let names = self.members.into_iter().zip([&self.id, &self.model]);
        let is_told = |member: &str| answer.given(member).is_some();
        names.filter_map(|(member, name)| Some(Edit::Set(member, name.clone().filter(|_| is_told(member))?))).collect()
    }

    /// The text of an object with its names.
    pub fn edited(&self, object: &Object<'_>) -> String {
        object.edited(&self.edits(object))
    }

    /// Writes an event whose two members are known, without reading it once more: `id` and `model` are parts of `data`.
    pub fn write(&self, data: &str, [id, model]: [Option<&RawValue>; 2], out: &mut Vec<u8>) {
        Data::write_pieces(None, &self.pieces(data, [id, model]), out);
    }

    /// The text of an object whose two members are known, in pieces.
    pub fn pieces<'a>(&'a self, data: &'a str, [id, model]: [Option<&RawValue>; 2]) -> [&'a str; 5] {
        let place = |own: Option<&RawValue>, name: &'a Option<String>| {
            let own = own?.get();
            let start = own.as_ptr().addr().checked_sub(data.as_ptr().addr())?;
            let end = start.checked_add(own.len())?;
            // What is no part of this text stays as it is.
            data.get(start..end).filter(|text| *text == own)?;
            Some((start, end, name.as_deref()?))
        };
        // A place at the end where there is none, with nothing to put in.
        let none = (data.len(), data.len(), "");
        let mut places = [place(id, &self.id).unwrap_or(none), place(model, &self.model).unwrap_or(none)];
        places.sort_unstable_by_key(|(start, ..)| *start);
        let [(first, first_end, first_name), (second, second_end, second_name)] = places;
        let text = |from: usize, to: usize| data.get(from..to).unwrap_or_default();
        [text(0, first), first_name, text(first_end, second), second_name, text(second_end, data.len())]
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Chunk<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
        #[serde(borrow, default)]
        model: Option<&'a RawValue>,
    }

    fn names(id: &str, model: &str) -> Names {
        Names::new("chatcmpl-", &StreamWish { id: id.to_owned(), model: model.to_owned(), ..StreamWish::default() })
    }

    #[test]
    fn both_ways_of_naming_say_the_same_and_touch_nothing_else() {
        for (data, expected) in [
            (r#"{"id":"x","n":1.0,"model":"m-2026"}"#, r#"{"id":"chatcmpl-gen-1","n":1.0,"model":"gpt \"5\""}"#),
            (r#"{"model" : "m-2026" , "id":"x"}"#, r#"{"model" : "gpt \"5\"" , "id":"chatcmpl-gen-1"}"#),
            (r#"{"\u0069d":"x","\u006dodel":"y"}"#, r#"{"\u0069d":"chatcmpl-gen-1","\u006dodel":"gpt \"5\""}"#),
            (r#"{"id":"","choices":[{"id":"x","model":"y"}]}"#, r#"{"id":"chatcmpl-gen-1","choices":[{"id":"x","model":"y"}]}"#),
            (r#"{"id":7,"model":{}}"#, r#"{"id":"chatcmpl-gen-1","model":"gpt \"5\""}"#),
            (r#"{"id":null,"model":null}"#, r#"{"id":null,"model":null}"#),
            (r#"{"a":"model"}"#, r#"{"a":"model"}"#),
            ("{}", "{}"),
        ] {
            let names = names("gen-1", "gpt \"5\"");
            assert_eq!(names.edited(&Object::parse(data).unwrap()), expected, "{data}");
            let chunk: Chunk<'_> = serde_json::from_str(data).unwrap();
            let mut out = Vec::new();
            names.write(data, [chunk.id, chunk.model], &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("data: {expected}\n\n"));
        }
    }

    #[test]
    fn names_that_are_not_wished_for_stay() {
        let data = r#"{"id":"x","model":"m-2026"}"#;
        let chunk: Chunk<'_> = serde_json::from_str(data).unwrap();
        for (names, expected) in [
            (names("", ""), data.to_owned()),
            (names("gen-1", ""), data.replace("\"x\"", "\"chatcmpl-gen-1\"")),
            (names("", "m"), data.replace("m-2026", "m")),
        ] {
            assert_eq!(names.pieces(data, [chunk.id, chunk.model]).concat(), expected);
            assert_eq!(names.edited(&Object::parse(data).unwrap()), expected);
        }
        let elsewhere = r#"{"id":"x"}"#.to_owned();
        assert_eq!(names("gen-1", "m").pieces(&elsewhere, [chunk.id, chunk.model]).concat(), elsewhere);
    }
}
