//! What stays the same at the head of a conversation: by it, a session that does not say which one it is is known again.
//!
//! What always holds: the first turn of a conversation and every later one have the same prefix; marks that move from turn to
//! turn, such as where a cache ends, are not a part of it, nor is the billing line that changes with each request; only the first
//! items of a list are looked at.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::anthropic::without_billing;
use super::json::{Object, text_of};

/// So many items of a list are looked at for the first words of the user.
const MOST_ITEMS: usize = 16;
/// A text counts up to here, in bytes: by then two conversations differ.
const MOST_BYTES: usize = 16 * 1024;

/// Where instructions stand, in any dialect.
const INSTRUCTIONS: [&str; 4] = ["instructions", "system", "systemInstruction", "system_instruction"];
/// Where the turns stand.
const TURNS: [&str; 3] = ["messages", "input", "contents"];

/// A hash of the instructions and the user's first words; none where the user has said nothing in words.
pub fn of(request: &Object<'_>) -> Option<String> {
    let mut hasher = Sha256::new();
    for json in INSTRUCTIONS.into_iter().filter_map(|name| request.get(name)) {
        texts(json, &mut |text| _ = add(&mut hasher, "system", without_billing(text).unwrap_or(text)));
    }
    let turns = TURNS.into_iter().find_map(|name| request.get(name))?;
    let mut has_words = false;
    if turns.starts_with('"') {
        texts(turns, &mut |text| has_words |= add(&mut hasher, "user", text));
    }
    for turn in first_items(turns).into_iter().filter_map(Object::parse) {
        let role = turn.get("role").and_then(text_of);
        match role.as_deref() {
            Some("system" | "developer") => {
                said(&turn, &mut |text| _ = add(&mut hasher, "system", without_billing(text).unwrap_or(text)))
            }
            // Gemini's may be left out.
            Some("user") | None => said(&turn, &mut |text| has_words |= add(&mut hasher, "user", text)),
            Some(_) => break,
        }
        if has_words {
            break;
        }
    }
    has_words.then(|| hex::encode(hasher.finalize()))
}

/// Adds a text; false if there is nothing in it.
fn add(hasher: &mut Sha256, who: &str, text: &str) -> bool {
    if text.trim().is_empty() {
        return false;
    }
    let bytes = text.as_bytes();
    hasher.update(who.as_bytes());
    hasher.update(bytes.len().to_le_bytes());
    hasher.update(bytes.get(..MOST_BYTES).unwrap_or(bytes));
    true
}

/// What a turn says in words.
fn said(turn: &Object<'_>, each: &mut dyn FnMut(&str)) {
    for json in ["content", "parts"].into_iter().filter_map(|name| turn.get(name)) {
        texts(json, each);
    }
}

/// The texts of a string, of a part, or of the first parts of a list.
fn texts(json: &str, each: &mut dyn FnMut(&str)) {
    if let Some(text) = text_of(json) {
        return each(&text);
    }
    if json.starts_with('[') {
        return first_items(json).into_iter().filter(|item| !item.starts_with('[')).for_each(|item| texts(item, each));
    }
    let Some(part) = Object::parse(json) else { return };
    if let Some(text) = part.get("text").and_then(text_of) {
        each(&text);
    }
    if let Some(parts) = part.get("parts").filter(|json| json.starts_with('[')) {
        texts(parts, each);
    }
}

/// The first items of a JSON list; none of anything else. What follows them is not read.
fn first_items(json: &str) -> Vec<&str> {
    struct First<'a, 'v>(&'v mut Vec<&'a str>);
    impl<'a> Visitor<'a> for First<'a, '_> {
        type Value = IgnoredAny;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while self.0.len() < MOST_ITEMS {
                match list.next_element::<&'a RawValue>()? {
                    Some(item) => self.0.push(item.get()),
                    None => break,
                }
            }
            Ok(IgnoredAny)
        }
    }
    let mut items = Vec::new();
    if json.starts_with('[') {
        // It ends in an error where there is more, which does not matter.
        let _ = serde_json::Deserializer::from_str(json).deserialize_seq(First(&mut items));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn prefix(body: &Value) -> Option<String> {
        of(&Object::parse(&body.to_string()).unwrap())
    }

    const BILLING: &str = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=";

    #[test]
    fn the_first_turn_and_every_later_one_agree() {
        let mark = json!({"type": "ephemeral"});
        for (first, later) in [
            (
                json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}]}),
                json!({"temperature": 1, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"},
                    {"role": "assistant", "content": "hi"}, {"role": "user", "content": "more"}]}),
            ),
            (
                json!({"system": [{"type": "text", "text": format!("{BILLING}1;")}, {"type": "text", "text": "s", "cache_control": mark}],
                    "messages": [{"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": mark}]}]}),
                json!({"system": [{"type": "text", "text": format!("{BILLING}2;")}, {"type": "text", "text": "s"}],
                    "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}, {"role": "assistant", "content": "hi"},
                        {"role": "user", "content": [{"type": "text", "text": "more", "cache_control": mark}]}]}),
            ),
            (
                json!({"system": "s", "messages": [{"role": "user", "content": "hello"}]}),
                json!({"system": format!("{BILLING}3;\ns"), "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}),
            ),
            (
                json!({"instructions": "s", "input": "hello"}),
                json!({"instructions": "s", "input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "item_reference", "id": "x"}]}),
            ),
            (
                json!({"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [{"parts": [{"text": "hello"}]}]}),
                json!({"system_instruction": {"parts": [{"text": "s"}]}, "contents": [{"role": "user", "parts": [{"text": "hello"}]},
                    {"role": "model", "parts": [{"text": "hi"}]}, {"role": "user", "parts": [{"text": "more"}]}]}),
            ),
        ] {
            assert!(prefix(&first).is_some());
            assert_eq!(prefix(&first), prefix(&later), "{first}");
        }
    }

    #[test]
    fn other_words_are_another_conversation() {
        let base = json!({"system": "s", "messages": [{"role": "user", "content": "hello"}]});
        for other in [
            json!({"system": "t", "messages": [{"role": "user", "content": "hello"}]}),
            json!({"system": "s", "messages": [{"role": "user", "content": "hallo"}]}),
            json!({"messages": [{"role": "user", "content": "shello"}]}),
            json!({"system": "shello", "messages": [{"role": "user", "content": "?"}]}),
        ] {
            assert_ne!(prefix(&base), prefix(&other), "{other}");
        }
    }

    #[test]
    fn what_has_no_words_of_the_user_has_no_prefix() {
        for body in [
            json!({}),
            json!({"system": "s"}),
            json!({"system": "s", "messages": []}),
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
            json!({"messages": [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "hello"}]}),
            json!({"messages": [{"role": "user", "content": "  "}]}),
            json!({"messages": "  ", "input": 5, "contents": {}}),
            json!({"messages": [1, null, [["x"]]]}),
        ] {
            assert_eq!(prefix(&body), None, "{body}");
        }
    }

    #[test]
    fn only_the_first_items_are_read() {
        assert_eq!(first_items(r#"[1, {"a":2} , "x"]"#), ["1", r#"{"a":2}"#, "\"x\""]);
        let long = format!("[{}", "0,".repeat(MOST_ITEMS)) + "this is not JSON";
        assert_eq!(first_items(&long).len(), MOST_ITEMS);
        assert_eq!(first_items("{}"), [""; 0]);
    }

    proptest! {
        #[test]
        fn what_comes_after_the_first_words_changes_nothing(system in ".{0,30}", first in ".{1,30}", turns in proptest::collection::vec(".{0,20}", 0..30)) {
            let roles = ["assistant", "user"].into_iter().cycle();
            let mut messages = vec![json!({"role": "system", "content": system}), json!({"role": "user", "content": first})];
            let one = prefix(&json!({"messages": messages}));
            messages.extend(turns.iter().zip(roles).map(|(text, role)| json!({"role": role, "content": text})));
            prop_assume!(!first.trim().is_empty());
            prop_assert_eq!(one, prefix(&json!({"messages": messages})));
        }
    }
}
