//! The billing line of Claude Code. It puts `x-anthropic-billing-header: cc_version=...; cc_entrypoint=...; cch=...;` at the head of
//! the system prompt, for Anthropic's own accounts of who calls. It is another one with each request, so that no two prompts
//! begin alike and no prompt cache is ever hit: it is left out, on every channel, and named among what was left out.

use std::borrow::Cow;

use crate::dialect::conversation::Part;
use crate::dialect::format::Dropped;
use crate::dialect::json::{Edit, Object, quoted, text_of};

/// How the line begins.
const BILLING: &str = "x-anthropic-billing-header:";
/// How a receipt names it.
pub const NAME: &str = "x-anthropic-billing-header";

/// What a text of the system prompt says behind a billing line at its head, none if there is no such line.
pub fn without_billing(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix(BILLING)?;
    let (_, rest) = text.trim_start().split_once('\n').unwrap_or_default();
    Some(rest.trim_start_matches(['\n', '\r']))
}

/// What must change in the system prompt of a request so that it has no billing line; nothing if it has none.
pub fn edit(request: &Object<'_>) -> Option<Edit> {
    let system = request.given("system")?;
    // Nearly every request has none, and is not read for it.
    if !system.contains(BILLING) {
        return None;
    }
    if let Some(text) = text_of(system) {
        let rest = without_billing(&text)?;
        return Some(if rest.is_empty() { Edit::Remove("system") } else { Edit::Set("system", quoted(rest)) });
    }
    let blocks: Vec<&serde_json::value::RawValue> = serde_json::from_str(system).ok()?;
    let cut: Vec<Option<Cow<'_, str>>> = blocks.iter().map(|block| cut(block.get())).collect();
    let is_cut = cut.iter().zip(&blocks).any(|(cut, block)| cut.as_deref() != Some(block.get()));
    let left: Vec<Cow<'_, str>> = cut.into_iter().flatten().collect();
    let set = if left.is_empty() { Edit::Remove("system") } else { Edit::Set("system", format!("[{}]", left.join(","))) };
    is_cut.then_some(set)
}

/// Takes the line out of a system prompt that was read for another dialect.
pub fn leave_out(system: &mut Vec<Part<'_>>, dropped: &mut Dropped) {
    let mut is_cut = false;
    system.retain_mut(|part| {
        let Part::Text { text, .. } = part else { return true };
        let rest = match text {
            Cow::Borrowed(text) => without_billing(text).map(Cow::Borrowed),
            Cow::Owned(text) => without_billing(text).map(|rest| Cow::Owned(rest.to_owned())),
        };
        let Some(rest) = rest else { return true };
        is_cut = true;
        *text = rest;
        !text.is_empty()
    });
    if is_cut {
        dropped.note(NAME);
    }
}

/// A block without a billing line at its head; none if nothing is left of it.
fn cut(block: &str) -> Option<Cow<'_, str>> {
    let object = Object::parse(block);
    let text = object.as_ref().and_then(|object| object.given("text")).and_then(text_of);
    let rest = text.as_deref().and_then(without_billing);
    match (object, rest) {
        (_, Some("")) => None,
        (Some(object), Some(rest)) => Some(Cow::Owned(object.edited(&[Edit::Set("text", quoted(rest))]))),
        _ => Some(Cow::Borrowed(block)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "x-anthropic-billing-header: cc_version=2.1.197.a1b; cc_entrypoint=cli; cch=00000;";

    fn edited(body: &str) -> String {
        let object = Object::parse(body).unwrap();
        object.edited(&edit(&object).into_iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_line_goes_and_the_rest_stays_as_it_came() {
        let mark = r#"{"type": "text" ,"text":"You are \u0043laude","cache_control":{"type":"ephemeral"}}"#;
        let body = |system: &str| format!(r#"{{ "model":"c", "system" : {system} ,"max_tokens":1.0,"x":null}}"#);
        for (system, left) in [
            (format!(r#"[{{"type":"text","text":"{LINE}"}}, {mark}]"#), format!("[{mark}]")),
            (format!(r#"[{{"type":"text","text":"{LINE}\n"}}, {mark}]"#), format!("[{mark}]")),
            (
                format!(r#"[{{"type":"text","text":"{LINE}\n\nBe brief.","a":1.0}}]"#),
                r#"[{"type":"text","text":"Be brief.","a":1.0}]"#.to_owned(),
            ),
            (format!(r#"[{mark},{{"text":" {LINE}","type":"text"}}]"#), format!("[{mark}]")),
            (format!("\"{LINE}\\nYou are Claude.\\nBe brief.\""), "\"You are Claude.\\nBe brief.\"".to_owned()),
        ] {
            assert_eq!(edited(&body(&system)), body(&left), "{system}");
        }
        for system in [format!("\"{LINE}\""), format!(r#"[{{"type":"text","text":"{LINE}"}}]"#)] {
            assert_eq!(edited(&body(&system)), r#"{ "model":"c" ,"max_tokens":1.0,"x":null}"#, "{system}");
        }
    }

    #[test]
    fn the_line_goes_to_no_other_dialect_either() {
        let part = |text: &'static str| Part::Text { text: text.into(), cache: None };
        let mut system =
            vec![part(LINE), part("Be brief."), Part::Text { text: format!("{LINE}\nAnd kind.").into(), cache: None }];
        let mut dropped = Dropped::default();
        leave_out(&mut system, &mut dropped);
        assert_eq!((system, dropped.to_vec()), (vec![part("Be brief."), part("And kind.")], vec![NAME.to_owned()]));
        let (mut system, mut dropped) = (vec![part("Be brief.")], Dropped::default());
        leave_out(&mut system, &mut dropped);
        assert_eq!((system.len(), dropped.len()), (1, 0));
    }

    #[test]
    fn what_is_no_billing_line_is_left_alone() {
        for system in [
            "null".to_owned(),
            "\"You are Claude.\"".to_owned(),
            format!("\"Never write `{LINE}`.\""),
            format!(r#"[{{"type":"text","text":"It says {LINE}"}}]"#),
            format!(r#"[1,"{LINE}",{{"type":"image","source":{{"text":"{LINE}"}}}}]"#),
            format!(r#"{{"text":"{LINE}"}}"#),
        ] {
            let body = format!(r#"{{"system":{system},"messages":[{{"role":"user","content":"{LINE}"}}]}}"#);
            assert_eq!(edited(&body), body);
        }
    }
}
