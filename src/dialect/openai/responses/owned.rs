//! Items that a provider keeps, and references to them: each id comes down with a tag, by which it is known again whose it is.
//!
//! What always holds: no id of an item goes up as a reference that the channel and credential it goes to did not make for the same
//! account; an item that says itself what it is passes as it is, but for the tag.
//!
//! Deliberately absent: tags where the client said `store: false`. Then the provider keeps nothing that could be referred to.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::kept::request_of;
use crate::dialect::format::Tagger;
use crate::dialect::json::{Edit, ItemChange, Object, changed_list, items, may_have, quoted, text_of};
use crate::refusal::Refusal;

/// Stands between a provider's id and the gateway's proof of who made it.
pub const TAG: &str = "_tf";
/// How long a proof is: hexadecimal digits.
const PROOF: usize = 16;
/// Members of which any says what an item is, where its id alone does not.
const SAYING: [&str; 11] =
    ["content", "encrypted_content", "arguments", "output", "result", "input", "action", "tools", "call_id", "name", "approve"];
/// What a provider's own tools did: its words are in the answers that follow, so it can be left out as thoughts can.
const DONE: [&str; 5] = ["web_search_call", "file_search_call", "code_interpreter_call", "mcp_list_tools", "ghost_snapshot"];
/// What the member is called by which an approval names what it approves.
const APPROVED: &str = "approval_request_id";

/// An id with its proof.
pub fn with_tag(id: &str, proof: &str) -> String {
    format!("{id}{TAG}{proof}")
}

/// The provider's own id and the proof; none of an id without one.
pub fn untagged(id: &str) -> Option<(&str, &str)> {
    let (id, proof) = id.rsplit_once(TAG)?;
    let is_proof = proof.len() == PROOF && proof.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_proof && !id.is_empty()).then_some((id, proof))
}

/// What a request's input names of what a provider keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedItems {
    /// Ids that stand for an item, each with its place.
    pub references: Vec<(String, String)>,
    /// Ids of thoughts that only their provider can read. They can be left out.
    pub thoughts: Vec<String>,
}

/// What an item's id is to the provider.
enum Meaning {
    /// A name of what stands there itself.
    Own,
    /// The item itself.
    Reference,
    /// A thought that is not there in any other form.
    Thought,
}

fn text<'a>(item: &Object<'a>, name: &str) -> Option<Cow<'a, str>> {
    item.maybe_text(name).filter(|text| !text.is_empty())
}

fn meaning(item: &Object<'_>) -> Meaning {
    let Some(id) = text(item, "id") else { return Meaning::Own };
    // What the gateway wrote itself no provider keeps.
    if request_of(&id).is_some() {
        return Meaning::Own;
    }
    let is_given = |name: &str| item.given(name).is_some();
    let is_filled = |name: &str| item.get(name).is_some_and(|json| !matches!(json, "null" | "\"\"" | "[]"));
    let says = SAYING.into_iter().any(is_given);
    match text(item, "type").as_deref() {
        // An image is named by its call alone, whatever stands beside that.
        Some("item_reference" | "image_generation_call") => Meaning::Reference,
        Some("reasoning") if ["encrypted_content", "content"].into_iter().any(is_filled) => Meaning::Own,
        Some("reasoning") => Meaning::Thought,
        None if is_given("role") => Meaning::Own,
        None => Meaning::Reference,
        Some(_) if says => Meaning::Own,
        Some(kind) if DONE.contains(&kind) => Meaning::Thought,
        Some(_) => Meaning::Reference,
    }
}

/// Errors where an item has a member twice, or in other letters: a provider may read another one than is looked at here.
pub fn check(input: &str) -> Result<(), Refusal> {
    for (at, json) in items(input).unwrap_or_default().into_iter().enumerate() {
        let Some(item) = Object::parse(json) else { continue };
        if let Some(name) = item.unclear(&["id", "type", APPROVED]) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Refusal::invalid(
                &format!("input[{at}]"),
                format!("`{name}` stands more than once in this item, or not in small letters."),
            ));
        }
    }
    Ok(())
}

/// What the input of a request names.
pub fn named(input: &str) -> NamedItems {
    let mut named = NamedItems::default();
    let mut approvals = Vec::new();
    let mut asked = BTreeSet::new();
    for (at, json) in items(input).unwrap_or_default().into_iter().enumerate() {
        let Some(item) = Object::parse(json) else { continue };
        if let Some(id) = text(&item, "id") {
            match meaning(&item) {
                Meaning::Own => {
                    asked.insert(id.into_owned());
                }
                Meaning::Reference => named.references.push((format!("input[{at}].id"), id.into_owned())),
                Meaning::Thought => named.thoughts.push(id.into_owned()),
            }
        }
        approvals.extend(text(&item, APPROVED).map(|id| (format!("input[{at}].{APPROVED}"), id.into_owned())));
    }
    // What it approves may stand there itself.
    named.references.extend(approvals.into_iter().filter(|(_, id)| !asked.contains(id)));
    named
}

/// The input as it goes up to a channel and credential: without tags, and without thoughts that these did not make. `own` are the
/// ids of those that they made, sorted. None where nothing changes; else also whether a thought was left out.
pub fn passed(input: &str, own: &[String]) -> Option<(String, bool)> {
    if !["reasoning", "_call", "mcp_list_tools", "ghost_snapshot", TAG].iter().any(|word| may_have(input, word)) {
        return None;
    }
    let mut is_less = false;
    let changed = changed_list(input, |json| {
        let Some(item) = Object::parse(json) else { return ItemChange::Keep };
        let id = text(&item, "id");
        let is_own = id.as_ref().is_some_and(|id| own.binary_search_by(|known| known.as_str().cmp(id)).is_ok());
        if matches!(meaning(&item), Meaning::Thought) && !is_own {
            is_less = true;
            return ItemChange::Drop;
        }
        let bare = |name: &'static str| {
            let id = text(&item, name)?;
            untagged(&id).map(|(id, _)| Edit::Set(name, quoted(id)))
        };
        let edits: Vec<Edit> = ["id", APPROVED].into_iter().filter_map(bare).collect();
        if edits.is_empty() { ItemChange::Keep } else { ItemChange::Replace(item.edited(&edits)) }
    });
    changed.map(|input| (input, is_less))
}

/// Tags the ids of items on their way to the client.
#[derive(Clone, Default)]
pub struct Tagging {
    tag: Option<Tagger>,
    /// The id that was tagged last: many events are about the same item.
    last: Option<(String, String)>,
}

impl Tagging {
    /// With a tag; none leaves ids as they are.
    pub const fn new(tag: Option<Tagger>) -> Self {
        Self { tag, last: None }
    }

    fn tagged(&mut self, json: &str) -> Option<String> {
        let id = text_of(json).filter(|id| !id.is_empty())?;
        if let Some((known, tagged)) = &self.last
            && *known == *id
        {
            return Some(quoted(tagged));
        }
        let tagged = self.tag.as_ref()?(&id);
        self.last = Some((id.into_owned(), tagged.clone()));
        Some(quoted(&tagged))
    }

    fn item(&mut self, json: &str) -> Option<String> {
        let item = Object::parse(json)?;
        let id = self.tagged(item.get("id")?)?;
        Some(item.edited(&[Edit::Set("id", id)]))
    }

    /// What changes in an event.
    pub fn event(&mut self, event: &Object<'_>) -> Vec<Edit> {
        if self.tag.is_none() {
            return Vec::new();
        }
        let of_item = event.get("item_id").and_then(|json| self.tagged(json)).map(|id| Edit::Set("item_id", id));
        let item = event.get("item").and_then(|json| self.item(json)).map(|item| Edit::Set("item", item));
        of_item.into_iter().chain(item).collect()
    }

    /// What changes in a response.
    pub fn response(&mut self, response: &Object<'_>) -> Option<Edit> {
        self.tag.as_ref()?;
        let output = changed_list(response.get("output")?, |json| self.item(json).map_or(ItemChange::Keep, ItemChange::Replace));
        output.map(|output| Edit::Set("output", output))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    const PROVEN: &str = "_tf0123456789abcdef";

    fn tagging() -> Tagging {
        Tagging::new(Some(Rc::new(|id: &str| format!("{id}{PROVEN}"))))
    }

    #[test]
    fn an_item_that_can_be_read_in_two_ways_is_refused() {
        for item in [
            r#"{"type":"item_reference","id":null,"id":"msg_1"}"#,
            r#"{"type":"item_reference","id":"","id":"msg_1"}"#,
            r#"{"type":"message","type":"item_reference","id":"msg_1","content":[]}"#,
            r#"{"type":"item_reference","Id":"msg_1"}"#,
            r#"{"type":"item_reference","\u0069d":null,"id":"msg_1"}"#,
            r#"{"approval_request_id":null,"approval_request_id":"mcpr_1"}"#,
        ] {
            let refusal = check(&format!(r#"[{{"role":"user","content":"a"}},{item}]"#)).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some("input[1]"), "{item}");
        }
        assert!(check(r#"[{"role":"user","content":"a"},{"type":"item_reference","id":"msg_1"},"x"]"#).is_ok());
        assert!(check(r#""a""#).is_ok());
    }

    #[test]
    fn what_stands_for_something_else_is_told_from_what_is_there_itself() {
        for (item, is_reference) in [
            (r#"{"type":"item_reference","id":"msg_1"}"#, true),
            (r#"{"type":"item_reference","id":"msg_1","content":"a"}"#, true),
            (r#"{"id":"msg_1"}"#, true),
            (r#"{"type":null,"id":"msg_1","role":null}"#, true),
            (r#"{"id":"msg_1","content":[]}"#, true),
            (r#"{"type":"whatever_comes_next","id":"x_1"}"#, true),
            (r#"{"type":"image_generation_call","id":"ig_1","result":"AAAA"}"#, true),
            (r#"{"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":true}"#, true),
            (r#"{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"a"}]}"#, false),
            (r#"{"id":"msg_1","role":"assistant","content":"a"}"#, false),
            (r#"{"role":"user","content":"a"}"#, false),
            (r#"{"type":"message","id":"msg_1","role":"assistant","content":[]}"#, false),
            (r#"{"type":"custom_tool_call","id":"ctc_1","call_id":"c","name":"f","input":""}"#, false),
            (r#"{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}"}"#, false),
            (r#"{"type":"web_search_call","id":"ws_1","action":{"type":"search"}}"#, false),
            (r#"{"type":"item_reference","id":"msg_gen-01j00000000000000000000000_0"}"#, false),
            (r#"{"type":"function_call_output","call_id":"c","output":"a"}"#, false),
        ] {
            let named = named(&format!("[{item}]"));
            assert_eq!((named.references.len(), named.thoughts.len()), (usize::from(is_reference), 0), "{item}");
        }
        let thought = |members: &str| named(&format!(r#"[{{"type":"reasoning","id":"rs_1","summary":[]{members}}}]"#));
        for (members, is_kept) in [
            ("", true),
            (r#","encrypted_content":null,"content":[]"#, true),
            (r#","encrypted_content":"gAAA""#, false),
            (r#","content":[{"type":"reasoning_text","text":"a"}]"#, false),
        ] {
            assert_eq!(thought(members).thoughts.len(), usize::from(is_kept), "{members}");
        }
        let search = r#"[{"type":"web_search_call","id":"ws_1","status":"completed"}]"#;
        assert_eq!(named(search).thoughts, ["ws_1"]);
        let both = r#"[{"type":"mcp_approval_request","id":"mcpr_1","arguments":"{}"},{"type":"mcp_approval_response","approval_request_id":"mcpr_1"}]"#;
        assert_eq!(named(both), NamedItems::default());
        assert_eq!(named("\"item_reference\""), NamedItems::default());
    }

    #[test]
    fn tags_are_taken_off_and_the_thoughts_of_others_left_out() {
        let own = format!("rs_1{PROVEN}");
        let input = format!(
            r#"[{{"role":"user","content":"reasoning 1.0"}}, {{"type":"reasoning","id":"{own}","summary":[]}},{{"type":"reasoning","id":"rs_2{PROVEN}","summary":[]}},{{"type":"reasoning","id":"rs_3","summary":[]}},{{"type":"reasoning","id":"rs_4{PROVEN}","encrypted_content":"gAAA"}},{{ "type":"item_reference", "id":"msg_1{PROVEN}"}},{{"type":"mcp_approval_response","approval_request_id":"mcpr_1{PROVEN}"}}]"#
        );
        let (out, is_less) = passed(&input, std::slice::from_ref(&own)).unwrap();
        let expected = r#"[{"role":"user","content":"reasoning 1.0"},{"type":"reasoning","id":"rs_1","summary":[]},{"type":"reasoning","id":"rs_4","encrypted_content":"gAAA"},{ "type":"item_reference", "id":"msg_1"},{"type":"mcp_approval_response","approval_request_id":"mcpr_1"}]"#;
        assert_eq!((out.as_str(), is_less), (expected, true));
        for untouched in [
            r#"[{"type":"reasoning","id":"rs_1","encrypted_content":"gAAA"}, 1]"#,
            "\"reasoning\"",
            r#"[{"role":"user","content":"the _tf tag"},{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":""}]"#,
        ] {
            assert_eq!(passed(untouched, &[]), None, "{untouched}");
        }
    }

    #[test]
    fn ids_come_down_tagged_and_nothing_else_changes() {
        let mut tagging = tagging();
        for (event, expected) in [
            (
                r#"{"type":"response.output_item.added","output_index":0, "item":{"id":"msg_1", "n":1.0}}"#,
                format!(r#"{{"type":"response.output_item.added","output_index":0, "item":{{"id":"msg_1{PROVEN}", "n":1.0}}}}"#),
            ),
            (
                r#"{"type":"response.output_text.delta","item_id":"msg_1","delta":"msg_1"}"#,
                format!(r#"{{"type":"response.output_text.delta","item_id":"msg_1{PROVEN}","delta":"msg_1"}}"#),
            ),
            (r#"{"type":"x","item":5,"item_id":null}"#, r#"{"type":"x","item":5,"item_id":null}"#.to_owned()),
        ] {
            let object = Object::parse(event).unwrap();
            assert_eq!(object.edited(&tagging.event(&object)), expected);
        }
        let response = r#"{"id":"resp_1","output":[{"id":"rs_1"},{"type":"x"}, {"id":"msg_1"}]}"#;
        let object = Object::parse(response).unwrap();
        let edits: Vec<Edit> = tagging.response(&object).into_iter().collect();
        let expected = format!(r#"{{"id":"resp_1","output":[{{"id":"rs_1{PROVEN}"}},{{"type":"x"}},{{"id":"msg_1{PROVEN}"}}]}}"#);
        assert_eq!(object.edited(&edits), expected);
        assert!(Tagging::default().event(&object).is_empty() && Tagging::default().response(&object).is_none());
    }

    #[test]
    fn an_id_is_the_same_again_without_its_tag() {
        assert_eq!(untagged(&with_tag("msg_1_tf2", "0123456789abcdef")), Some(("msg_1_tf2", "0123456789abcdef")));
        for other in ["msg_1", "msg_1_tf", "msg_1_tf0123", "msg_1_tf0123456789abcdeg", "_tf0123456789abcdef", ""] {
            assert_eq!(untagged(other), None, "{other}");
        }
    }
}
