//! Items of answers that the gateway itself wrote, and references to them.
//!
//! An answer that is translated has the id of its request, `resp_gen-...`, and its items have theirs from it:
//! `msg_gen-..._0`. So an id says which answer an item is of, and no two answers have an item of the same id, whatever upstream
//! calls them.

use std::collections::BTreeMap;

use memchr::memmem;

use super::thought::MAKER;
use crate::dialect::bounds;
use crate::dialect::envelope::Fields;
use crate::dialect::json::{Edit, Object, items, text_of};
use crate::dialect::maker::Maker;
use crate::id::RequestId;
use crate::refusal::Refusal;

/// What every id of an item has in it that the gateway made.
const OWN: &[u8] = b"_gen-";
/// A body with the items that it refers to is no longer than this.
const LONGEST_RESOLVED: usize = 16 * 1024 * 1024;
/// What there is to do for a client whose items are not known.
const WHAT_TO_DO: &str = "Set `store: false` (AI SDK: `providerOptions: { openai: { store: false } }`), so that the client sends \
                          whole items in place of references, or send the items themselves.";

/// A reference to an item that the gateway wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its place in `input`.
    pub place: usize,
    /// The item.
    pub id: String,
    /// The request whose answer it is of.
    pub request: RequestId,
}

/// The request whose answer an item is of, by the item's id; none of an id that somebody else made.
pub fn request_of(id: &str) -> Option<RequestId> {
    let (kind, rest) = id.split_once('_')?;
    // The id of a thought says whose it is, too.
    let rest = rest.rsplit_once(MAKER).filter(|(_, word)| Maker::parse(word).is_some()).map_or(rest, |(before, _)| before);
    let (request, index) = rest.rsplit_once('_')?;
    let is_item = !kind.is_empty() && !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    RequestId::own(request).filter(|_| is_item)
}

/// The items of a body that are references to what the gateway wrote. What cannot be read has none: who reads it for its
/// envelope says what is wrong.
pub fn references(body: &[u8]) -> Vec<Reference> {
    // Nearly every body has none, and is not read for it.
    if memmem::find(body, OWN).is_none() {
        return Vec::new();
    }
    let text = std::str::from_utf8(body).ok().filter(|text| bounds::check(text).is_ok());
    let object = text.and_then(Object::parse);
    let input = object.and_then(|object| object.get("input")).and_then(items).unwrap_or_default();
    input.into_iter().enumerate().filter_map(|(place, item)| reference(place, item)).collect()
}

fn reference(place: usize, item: &str) -> Option<Reference> {
    let item = Object::parse(item)?;
    let given = |name: &str| item.given(name);
    // The type may be left out.
    let is_reference = match given("type").map(text_of) {
        Some(kind) => kind.as_deref() == Some("item_reference"),
        None => given("role").is_none() && given("content").is_none(),
    };
    let id = given("id").and_then(text_of).filter(|_| is_reference)?.into_owned();
    let request = request_of(&id)?;
    Some(Reference { place, id, request })
}

/// The body with the items in place of the references to them, found in the lists that are kept of each request's answer.
pub fn resolved(body: &[u8], references: &[Reference], kept: &BTreeMap<RequestId, String>) -> Result<String, Refusal> {
    let unreadable = || Refusal::invalid("input", "`input` must be a list of items.");
    let object = std::str::from_utf8(body).ok().and_then(Object::parse).ok_or_else(unreadable)?;
    let mut input = object.get("input").and_then(items).ok_or_else(unreadable)?;
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for item in kept.values().filter_map(|list| items(list)).flatten() {
        let id = Object::parse(item).and_then(|item| item.get("id")).and_then(text_of);
        known.extend(id.map(|id| (id.into_owned(), item)));
    }
    let mut room = LONGEST_RESOLVED.saturating_sub(body.len());
    for reference in references {
        let item = known.get(&reference.id).ok_or_else(|| not_kept(&format!("input[{}].id", reference.place)))?;
        // One item may be referred to again and again.
        room = room.checked_sub(item.len()).ok_or_else(|| too_long(&format!("input[{}].id", reference.place)))?;
        if let Some(place) = input.get_mut(reference.place) {
            *place = item;
        }
    }
    Ok(object.edited(&[Edit::Set("input", format!("[{}]", input.join(",")))]))
}

/// References to more than a request may have.
fn too_long(path: &str) -> Refusal {
    let mib = LONGEST_RESOLVED >> 20;
    Refusal::invalid(path, format!("With the items that `input` refers to, the request is longer than {mib} MiB."))
}

/// A reference to what the gateway wrote and does not have.
pub fn not_kept(path: &str) -> Refusal {
    let message = format!(
        "`{path}` refers to an item of an answer that is not kept here: of models whose answers are translated they are kept for \
         24 hours, up to 900 kB each, for the API key that they were given to, unless the request said `store: false`. {WHAT_TO_DO}"
    );
    Refusal { next_step: WHAT_TO_DO.to_owned(), ..Refusal::invalid(path, message) }
}

/// A reference to what only the provider has that made it, where another is to be asked.
pub fn kept_elsewhere(path: &str) -> Refusal {
    let message = format!(
        "`{path}` refers to an item that only the provider keeps that made it, and no channel of this model is that provider's. \
         {WHAT_TO_DO}"
    );
    Refusal { next_step: WHAT_TO_DO.to_owned(), ..Refusal::invalid(path, message) }
}

/// A reference to what was not made for who refers to it, as far as anybody can tell.
pub fn not_ours(path: &str) -> Refusal {
    let message = format!(
        "`{path}` refers to an item that was not made for this account over a channel that serves this model now. {WHAT_TO_DO}"
    );
    Refusal { next_step: WHAT_TO_DO.to_owned(), ..Refusal::invalid(path, message) }
}

/// Refuses what only a provider keeps, under the gateway's account there.
pub fn not_kept_here(fields: &Fields<'_, '_>) -> Result<(), Refusal> {
    fields.not_served("conversation", "conversations are not kept here", "Send the whole conversation in `input`.")?;
    let instead = "Send the prompt itself, in `instructions` and `input`.";
    fields.not_served("prompt", "it names a prompt that is kept at a provider, and no account here has any there", instead)
}

/// The items of a plain answer that the gateway wrote to this request; none of an answer that somebody else made.
pub fn own_output<'a>(answer: &'a str, request: &RequestId) -> Option<&'a str> {
    // It is not read through for that: whoever wrote it put its id first.
    let is_own = answer.strip_prefix("{\"id\":\"resp_").is_some_and(|rest| rest.starts_with(&format!("{request}\"")));
    if is_own { Object::parse(answer)?.get("output") } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const REQUEST: &str = "gen-01j00000000000000000000000";

    fn request() -> RequestId {
        RequestId::own(REQUEST).unwrap()
    }

    fn kept(items: &Value) -> BTreeMap<RequestId, String> {
        BTreeMap::from([(request(), items.to_string())])
    }

    #[test]
    fn an_id_says_which_answer_an_item_is_of() {
        for kind in ["msg", "rs", "fc", "ctc"] {
            assert_eq!(request_of(&format!("{kind}_{REQUEST}_12")), Some(request()));
            assert_eq!(request_of(&format!("{kind}_{REQUEST}_12_mc0a1b2c")), Some(request()));
        }
        for other in ["msg_68abc", "msg_gen-1_0", "x", "", "msg__0", "_gen-01j00000000000000000000000_0"] {
            assert_eq!(request_of(other), None, "{other}");
        }
        for other in [format!("msg_{REQUEST}"), format!("msg_{REQUEST}_"), format!("msg_{REQUEST}_x"), REQUEST.to_uppercase()] {
            assert_eq!(request_of(&other), None, "{other}");
        }
    }

    #[test]
    fn only_references_to_our_own_items_are_found() {
        let own = |n: u32| format!("msg_{REQUEST}_{n}");
        let body = json!({"model": "m", "input": [
            {"role": "user", "content": own(7)},
            {"type": "item_reference", "id": own(0)},
            {"type": "item_reference", "id": "msg_68abc"},
            {"id": own(1)},
            {"type": null, "id": own(2)},
            {"type": "message", "id": own(3), "role": "assistant", "content": "whole"},
            {"role": "assistant", "id": own(4), "content": "whole too"},
            {"type": "item_reference", "id": 5},
            "text",
        ]});
        let found = references(body.to_string().as_bytes());
        let found: Vec<_> = found.into_iter().map(|reference| (reference.place, reference.id)).collect();
        assert_eq!(found, [(1, own(0)), (3, own(1)), (4, own(2))]);
        for body in [format!("{{\"input\":\"_gen- {}\"}}", own(0)), format!("no JSON {}", own(0)), "{}".to_owned()] {
            assert_eq!(references(body.as_bytes()), [], "{body}");
        }
    }

    #[test]
    fn an_item_takes_the_place_of_its_reference_and_nothing_else_changes() {
        let items = json!([{"id": format!("rs_{REQUEST}_0"), "type": "reasoning", "summary": []},
            {"id": format!("msg_{REQUEST}_1"), "type": "message", "role": "assistant", "content": []}]);
        let body = format!(
            "{{ \"n\":1.0, \"input\" : [{{\"role\":\"user\",\"content\":\"a\\u00e9\"}},{{\"type\":\"item_reference\",\"id\":\"msg_{REQUEST}_1\"}}, {{\"id\":\"rs_{REQUEST}_0\"}}] , \"x\":null}}"
        );
        let found = references(body.as_bytes());
        let out = resolved(body.as_bytes(), &found, &kept(&items)).unwrap();
        let expected = format!(
            "{{ \"n\":1.0, \"input\" : [{{\"role\":\"user\",\"content\":\"a\\u00e9\"}},{},{}] , \"x\":null}}",
            items[1], items[0]
        );
        assert_eq!(out, expected);
    }

    #[test]
    fn what_is_not_kept_is_named_with_what_to_do() {
        let body =
            json!({"input": [{"role": "user", "content": "a"}, {"type": "item_reference", "id": format!("msg_{REQUEST}_9")}]});
        let body = body.to_string();
        let found = references(body.as_bytes());
        for kept in
            [BTreeMap::new(), kept(&json!([{"id": format!("msg_{REQUEST}_0")}])), BTreeMap::from([(request(), "?".to_owned())])]
        {
            let refusal = resolved(body.as_bytes(), &found, &kept).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some("input[1].id"));
            assert!(
                refusal.message.contains("store: false") && refusal.message.contains("providerOptions"),
                "{}",
                refusal.message
            );
        }
    }

    #[test]
    fn only_an_answer_with_our_own_id_has_items_to_keep() {
        let answer = |id: &str| format!("{{\"id\":\"{id}\",\"object\":\"response\",\"output\":[{{\"id\":\"msg_1\"}}]}}");
        assert_eq!(own_output(&answer(&format!("resp_{REQUEST}")), &request()), Some("[{\"id\":\"msg_1\"}]"));
        for other in ["resp_1", "resp_gen-01j00000000000000000000001", REQUEST] {
            assert_eq!(own_output(&answer(other), &request()), None, "{other}");
        }
    }
}
