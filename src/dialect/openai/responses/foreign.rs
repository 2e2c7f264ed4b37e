//! What of a passing request is not for this provider: thoughts that the gateway gave out for another one, and compactions of its
//! own, which become the messages that they stand for.
//!
//! What always holds: an item that is kept is kept as it was written; a request without such items passes untouched.

use super::compact::item::{OWN, own_as_message};
use super::thought::{REDACTED, maker_in_id};
use crate::catalog::Thoughts;
use crate::dialect::json::{Edit, ItemChange, Object, changed_list, may_have};
use crate::dialect::maker::{MARK, Maker};

/// Where the gateway tells Gemini's proof of a call.
const EXTRA: &str = "extra_content";

/// Takes out the thoughts of others; all that are proven, where the channel wants none back.
pub fn edit(request: &Object<'_>, thoughts: Thoughts) -> Option<Edit> {
    let has = |text: &&str| text.starts_with('[') && ["reasoning", EXTRA, OWN].iter().any(|name| may_have(text, name));
    let input = request.get("input").filter(has)?;
    let changed = changed_list(input, |json| {
        if is_foreign(json, thoughts) {
            return ItemChange::Drop;
        }
        if let Some(message) = own_as_message(json) {
            return ItemChange::Replace(message);
        }
        let item = Object::parse(json).filter(|item| item.get(EXTRA).is_some());
        item.map_or(ItemChange::Keep, |item| ItemChange::Replace(item.edited(&[Edit::Remove(EXTRA)])))
    });
    changed.map(|json| Edit::Set("input", json))
}

fn is_foreign(json: &str, thoughts: Thoughts) -> bool {
    if !may_have(json, "reasoning") {
        return false;
    }
    let Some(item) = Object::parse(json) else { return false };
    let text = |name: &str| item.maybe_text(name).unwrap_or_default();
    if text("type") != "reasoning" {
        return false;
    }
    let proof = text("encrypted_content");
    let is_others = maker_in_id(&text("id")).is_some_and(|maker| maker != Maker::Openai);
    is_others || proof.starts_with(MARK) || proof.starts_with(REDACTED) || thoughts == Thoughts::None && !proof.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(input: &str, thoughts: Thoughts) -> String {
        let text = format!("{{\"input\": {input} ,\"n\":1.0}}");
        let object = Object::parse(&text).unwrap();
        object.edited(&edit(&object, thoughts).into_iter().collect::<Vec<_>>())
    }

    #[test]
    fn only_the_thoughts_of_others_are_taken_out() {
        let own = r#"{"type":"reasoning", "id":"rs_1","summary":[],"encrypted_content":"gAAAAAB"}"#;
        let said = r#"{"role":"user","content":"about \"reasoning\" 1.0"}"#;
        for foreign in [
            r#"{"type":"reasoning","id":"rs_gen-1_0_ma","summary":[],"encrypted_content":"SIG=="}"#,
            r#"{"type":"reasoning","id":"rs_gen-1_0_mc0a1b2c","summary":[]}"#,
            r#"{"type":"reasoning","summary":[],"encrypted_content":"tf1.a.x"}"#,
            r#"{"type":"reasoning","summary":[],"encrypted_content":"redacted:x"}"#,
        ] {
            let out = edited(&format!("[{said}, {foreign},{own}]"), Thoughts::Own);
            assert_eq!(out, format!("{{\"input\": [{said},{own}] ,\"n\":1.0}}"));
        }
        for input in [format!("[{own}, {said} ]"), "\"reasoning\"".to_owned(), "[1, \"reasoning\"]".to_owned()] {
            assert_eq!(edited(&input, Thoughts::Own), format!("{{\"input\": {input} ,\"n\":1.0}}"));
        }
        let call = r#"{"type":"function_call","call_id":"c","extra_content":{"google":{"thought_signature":"s"}}}"#;
        let out = edited(&format!("[{call}]"), Thoughts::Own);
        assert!(out.contains("\"call_id\":\"c\"}") && !out.contains("signature"), "{out}");
        assert_eq!(edited(&format!("[{own},{said}]"), Thoughts::None), format!("{{\"input\": [{said}] ,\"n\":1.0}}"));
    }
}
