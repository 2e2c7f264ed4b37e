//! What of a passing request is not for Anthropic: thoughts that the gateway gave out for another provider.
//!
//! What always holds: a block that is kept is kept as it was written; a request without such blocks passes untouched.

use crate::catalog::Thoughts;
use crate::dialect::json::{Edit, ItemChange, Object, changed_list, has, may_have};
use crate::dialect::maker::MARK;

/// Takes out the thoughts of others, which have the gateway's mark or no proof; all of them, where the channel wants none back.
pub fn edit(request: &Object<'_>, thoughts: Thoughts) -> Option<Edit> {
    let messages = request.get("messages").filter(|json| may_have(json, "thinking"))?;
    if thoughts != Thoughts::None && !may_be_foreign(messages) {
        return None;
    }
    let changed = changed_list(messages, |json| {
        let Some(message) = Object::parse(json).filter(|_| may_have(json, "thinking")) else { return ItemChange::Keep };
        let content = message.get("content").unwrap_or_default();
        let is_gone = |json: &str| if is_foreign(json, thoughts) { ItemChange::Drop } else { ItemChange::Keep };
        match changed_list(content, is_gone) {
            None => ItemChange::Keep,
            // Nothing else was said.
            Some(content) if content == "[]" => ItemChange::Drop,
            Some(content) => ItemChange::Replace(message.edited(&[Edit::Set("content", content)])),
        }
    });
    changed.map(|json| Edit::Set("messages", json))
}

/// A thought as encoders write its type; one that is written otherwise is looked at more closely.
const THOUGHT: &str = ":\"thinking\"";

/// Whether there can be any, told by a look.
fn may_be_foreign(json: &str) -> bool {
    if may_have(json, "\"tf1.") {
        return true;
    }
    json.split("\"signature\"").skip(1).any(|after| {
        let value = after.trim_start().strip_prefix(':').unwrap_or_default().trim_start();
        value.starts_with("\"\"") || value.starts_with("null")
    }) || json.matches("\"signature\"").count() < json.matches(THOUGHT).count()
        || has(json, ": \"thinking\"")
}

fn is_foreign(json: &str, thoughts: Thoughts) -> bool {
    if !may_have(json, "thinking") {
        return false;
    }
    let Some(block) = Object::parse(json) else { return false };
    let proof = match block.maybe_text("type").as_deref() {
        Some("thinking") => block.maybe_text("signature").unwrap_or_default(),
        Some("redacted_thinking") => block.maybe_text("data").unwrap_or_default(),
        _ => return false,
    };
    proof.is_empty() || proof.starts_with(MARK) || thoughts == Thoughts::None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(messages: &str, thoughts: Thoughts) -> String {
        let text = format!("{{\"messages\": {messages} ,\"n\":1.0}}");
        let object = Object::parse(&text).unwrap();
        object.edited(&edit(&object, thoughts).into_iter().collect::<Vec<_>>())
    }

    #[test]
    fn only_the_thoughts_of_others_are_taken_out() {
        let own = r#"{"type":"thinking", "thinking":"a","signature":"EqQB"}"#;
        let said = r#"{"type":"text","text":"thinking 1.0"}"#;
        for foreign in [
            r#"{"type":"thinking","thinking":"hm","signature":"tf1.c0a1b2c."}"#,
            r#"{"type":"thinking","thinking":"hm","signature":""}"#,
            r#"{"type":"thinking","thinking":"hm"}"#,
            r#"{"type":"redacted_thinking","data":"tf1.g.x"}"#,
        ] {
            let out = edited(
                &format!(r#"[{{"role":"user","content":"x"}},{{"role":"assistant","content":[{foreign},{own}, {said}]}}]"#),
                Thoughts::Own,
            );
            let expected = format!(r#"[{{"role":"user","content":"x"}},{{"role":"assistant","content":[{own},{said}]}}]"#);
            assert_eq!(out, format!("{{\"messages\": {expected} ,\"n\":1.0}}"), "{foreign}");
            let alone = edited(
                &format!(r#"[{{"role":"assistant","content":[{foreign}]}},{{"role":"user","content":"x"}}]"#),
                Thoughts::Own,
            );
            assert!(alone.contains(r#"[{"role":"user","content":"x"}]"#), "{alone}");
        }
        let plain = format!(r#"[{{"role":"assistant", "content":[{own}, {said}]}}, {{"role":"user","content":"thinking"}}]"#);
        assert_eq!(edited(&plain, Thoughts::Own), format!("{{\"messages\": {plain} ,\"n\":1.0}}"));
        assert!(!edited(&plain, Thoughts::None).contains("EqQB"));
    }
}
