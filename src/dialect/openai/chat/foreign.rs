//! What of a passing request is not for this provider: thoughts and proofs that the gateway gave out for another one.
//!
//! What always holds: a message that is kept is kept as it was written; a request without such thoughts passes untouched.

use crate::dialect::format::Upstream;
use crate::dialect::json::{Change, Edit, Object, changed_list, may_have};
use crate::dialect::maker::Maker;
use crate::dialect::openai::node::{Node, items};

use super::read_request::maker_of;

/// Takes out what is marked as another's, and Gemini's proofs of calls where no Gemini is asked.
pub fn edit(request: &Object<'_>, upstream: &Upstream<'_>) -> Option<Edit> {
    let messages = request.get("messages")?;
    let is_gemini = upstream.model.contains("gemini");
    let may_be_marked = may_have(messages, "\"tf1.");
    let may_be_signed = !is_gemini && may_have(messages, "thought_signature");
    if !may_be_marked && !may_be_signed {
        return None;
    }
    let own = Maker::Chat(upstream.place.to_owned());
    let changed = changed_list(messages, |json| {
        let Some(message) = Object::parse(json) else { return Change::Keep };
        let mut edits = Vec::new();
        if may_be_marked && is_of_another(json, &own) {
            edits.extend([Edit::Remove("reasoning_details"), Edit::Remove("reasoning_content")]);
        }
        if may_be_signed {
            let calls = message.get("tool_calls").and_then(|calls| changed_list(calls, unsigned));
            edits.extend(calls.map(|calls| Edit::Set("tool_calls", calls)));
        }
        if edits.is_empty() { Change::Keep } else { Change::Replace(message.edited(&edits)) }
    });
    changed.map(|json| Edit::Set("messages", json))
}

/// Whether the thoughts of a message have the gateway's mark, and it says another maker.
fn is_of_another(json: &str, own: &Maker) -> bool {
    let Some(message) = Object::parse(json) else { return false };
    let details = message.get("reasoning_details").and_then(items).unwrap_or_default();
    let marked = details.into_iter().filter(|detail| may_have(detail, "\"tf1."));
    let makers = marked.filter_map(|detail| maker_of(&Node::parse(detail, String::new()).ok()?));
    makers.into_iter().any(|maker| maker != *own)
}

fn unsigned(call: &str) -> Change {
    match Object::parse(call).filter(|call| call.get("extra_content").is_some()) {
        Some(call) => Change::Replace(call.edited(&[Edit::Remove("extra_content")])),
        None => Change::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
