//! What of a passing request is not for this provider: thoughts and proofs that the gateway gave out for another one.
//!
//! What always holds: a message that is kept is kept as it was written; a request without such thoughts passes untouched.

use crate::catalog::Thoughts;
use crate::dialect::fit::NO_THOUGHT;
use crate::dialect::format::Upstream;
use crate::dialect::json::{Edit, ItemChange, Object, changed_list, items, may_have, quoted};
use crate::dialect::maker::Maker;
use crate::dialect::node::Node;

use super::read_request::maker_of;

/// Where words of thoughts stand.
const THOUGHTS: &str = "reasoning_content";

/// Takes out what is marked as another's, and Gemini's proofs of calls where no Gemini is asked.
pub fn edit(request: &Object<'_>, upstream: &Upstream<'_>) -> Option<Edit> {
    let messages = request.get("messages")?;
    let is_gemini = upstream.model.contains("gemini");
    let may_be_marked = may_have(messages, "\"tf1.");
    let may_be_signed = !is_gemini && may_have(messages, "thought_signature");
    let may_lack_thoughts = upstream.thoughts == Thoughts::All && may_have(messages, "tool_calls");
    if !may_be_marked && !may_be_signed && !may_lack_thoughts {
        return None;
    }
    let own = Maker::Chat(upstream.place.to_owned());
    let changed = changed_list(messages, |json| {
        let Some(message) = Object::parse(json) else { return ItemChange::Keep };
        let mut edits = Vec::new();
        if may_be_marked && is_of_another(json, &own) {
            edits.extend([Edit::Remove("reasoning_details"), Edit::Remove(THOUGHTS)]);
        }
        if may_be_signed {
            let calls = message.get("tool_calls").and_then(|calls| changed_list(calls, unsigned));
            edits.extend(calls.map(|calls| Edit::Set("tool_calls", calls)));
        }
        if may_lack_thoughts && lacks_thoughts(&message) {
            edits.retain(|edit| edit.name() != THOUGHTS);
            edits.push(Edit::Set(THOUGHTS, quoted(NO_THOUGHT)));
        }
        if edits.is_empty() { ItemChange::Keep } else { ItemChange::Replace(message.edited(&edits)) }
    });
    changed.map(|json| Edit::Set("messages", json))
}

/// Whether a message has calls and none of the thoughts that its provider wants with them: some programs forget them.
fn lacks_thoughts(message: &Object<'_>) -> bool {
    let is_there = |name: &str| message.given(name).is_some();
    is_there("tool_calls") && !is_there(THOUGHTS) && !is_there("reasoning")
}

/// Whether the thoughts of a message have the gateway's mark, and it says another maker.
fn is_of_another(json: &str, own: &Maker) -> bool {
    let Some(message) = Object::parse(json) else { return false };
    let details = message.get("reasoning_details").and_then(items).unwrap_or_default();
    let marked = details.into_iter().filter(|detail| may_have(detail, "\"tf1."));
    let makers = marked.filter_map(|detail| maker_of(&Node::parse(detail, String::new()).ok()?));
    makers.into_iter().any(|maker| maker != *own)
}

fn unsigned(call: &str) -> ItemChange {
    match Object::parse(call).filter(|call| call.get("extra_content").is_some()) {
        Some(call) => ItemChange::Replace(call.edited(&[Edit::Remove("extra_content")])),
        None => ItemChange::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_wants_thoughts_gets_a_blank_where_a_program_forgot_them() {
        let edited = |messages: &str, thoughts| {
            let text = format!("{{\"messages\":{messages}}}");
            let object = Object::parse(&text).unwrap();
            let upstream = Upstream { thoughts, ..Upstream::NOBODY };
            object.edited(&edit(&object, &upstream).into_iter().collect::<Vec<_>>())
        };
        let (bare, own) =
            (r#"{"role":"assistant","tool_calls":[]}"#, r#"{"role":"assistant","reasoning_content":"hm","tool_calls":[]}"#);
        let messages = format!("[{bare},{own}]");
        let filled = messages.replacen("[]}", r#"[],"reasoning_content":" "}"#, 1);
        assert_eq!(edited(&messages, Thoughts::All), format!("{{\"messages\":{filled}}}"));
        assert_eq!(edited(&messages, Thoughts::Own), format!("{{\"messages\":{messages}}}"));
    }

    #[test]
    fn only_what_is_anothers_is_taken_out() {
        let edited = |messages: &str, model: &str| {
            let text = format!("{{\"messages\": {messages} ,\"n\":1.0}}");
            let object = Object::parse(&text).unwrap();
            let upstream = Upstream { model, place: "0a1b2c", ..Upstream::NOBODY };
            object.edited(&edit(&object, &upstream).into_iter().collect::<Vec<_>>())
        };
        let with = |id: &str| {
            format!(
                r#"[{{"role":"assistant", "content":null,"reasoning_content":"hm","reasoning_details":[{{"type":"reasoning.text","text":"hm","id":"{id}"}}],"tool_calls":[{{"id":"c","extra_content":{{"google":{{"thought_signature":"s"}}}}}}]}}]"#
            )
        };
        let claudes = edited(&with("tf1.a."), "gpt");
        assert_eq!(
            claudes,
            "{\"messages\": [{\"role\":\"assistant\", \"content\":null,\"tool_calls\":[{\"id\":\"c\"}]}] ,\"n\":1.0}"
        );
        assert!(edited(&with("tf1.a."), "gemini-3-pro").contains("thought_signature"));
        for (id, model) in [("tf1.c0a1b2c.", "gemini-3"), ("rs_1", "google/gemini-3")] {
            assert_eq!(edited(&with(id), model), format!("{{\"messages\": {} ,\"n\":1.0}}", with(id)));
        }
    }
}
