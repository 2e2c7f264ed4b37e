//! What of a passing request is not for Gemini: signatures in which the gateway keeps the thoughts of another provider.
//!
//! What always holds: a part that is kept is kept as it was written; a request without such signatures passes untouched.

use std::collections::BTreeSet;

use super::write_request::NO_SIGNATURE;
use crate::catalog::Thoughts;
use crate::dialect::json::{Edit, ItemChange, Object, changed_list, may_have, quoted};
use crate::dialect::maker::CODED_MARK;

/// Both spellings of the member.
const NAMES: [&str; 2] = ["thoughtSignature", "thought_signature"];

/// Takes those signatures out, or all of them, where the channel wants none back; a call gets Google's documented word in its
/// place, because newer models want one. Results that stand there twice go, too: some programs repeat them after they took a
/// session up again, and Google refuses more results than calls.
pub fn edit(request: &Object<'_>, thoughts: Thoughts) -> Option<Edit> {
    let mark = match thoughts {
        Thoughts::None => "\"".to_owned(),
        _ => format!("\"{CODED_MARK}"),
    };
    let contents = request.get("contents")?;
    let count = |names: [&str; 2]| names.iter().map(|name| contents.matches(name).count()).sum::<usize>();
    let may_repeat = count(["\"functionResponse\"", "\"function_response\""]) > count(["\"functionCall\"", "\"function_call\""]);
    if !may_repeat && !may_have(contents, &mark) {
        return None;
    }
    let of_content = |json: &str| {
        let Some(content) = Object::parse(json) else { return ItemChange::Keep };
        let parts = content.get("parts").unwrap_or_default();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut changed = |json: &str| if is_repeated(json, &mut seen) { ItemChange::Drop } else { of_part(json, &mark) };
        let parts = match (parts.starts_with('{'), parts) {
            (true, part) => match changed(part) {
                ItemChange::Replace(part) => Some(part),
                ItemChange::Keep | ItemChange::Drop => None,
            },
            (false, parts) => changed_list(parts, changed),
        };
        parts.map_or(ItemChange::Keep, |parts| ItemChange::Replace(content.edited(&[Edit::Set("parts", parts)])))
    };
    let changed = match contents.starts_with('{') {
        true => match of_content(contents) {
            ItemChange::Replace(content) => Some(content),
            _ => None,
        },
        false => changed_list(contents, of_content),
    };
    changed.map(|json| Edit::Set("contents", json))
}

/// Whether a part is a result by an id that another of its turn has.
fn is_repeated(json: &str, seen: &mut BTreeSet<String>) -> bool {
    let part = Object::parse(json);
    let result = part.and_then(|part| part.get("functionResponse").or_else(|| part.get("function_response")));
    let id = result.and_then(Object::parse).and_then(|result| result.get("id")).filter(|id| id.len() > 2).map(ToOwned::to_owned);
    id.is_some_and(|id| !seen.insert(id))
}

/// Whether a signature begins with the mark, however it is written.
fn is_marked(json: &str, mark: &str) -> bool {
    json.starts_with(mark) || serde_json::from_str::<String>(json).is_ok_and(|text| quoted(&text).starts_with(mark))
}

fn of_part(json: &str, mark: &str) -> ItemChange {
    let Some(part) = Object::parse(json) else { return ItemChange::Keep };
    let Some(name) = NAMES.into_iter().find(|name| part.get(name).is_some_and(|text| is_marked(text, mark))) else {
        return ItemChange::Keep;
    };
    let is_call = part.names().any(|name| matches!(name, "functionCall" | "function_call"));
    let edit = if is_call { Edit::Set(name, quoted(NO_SIGNATURE)) } else { Edit::Remove(name) };
    ItemChange::Replace(part.edited(&[edit]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateways_own_signatures_are_taken_out() {
        let edited = |contents: &str| {
            let text = format!("{{\"contents\": {contents} ,\"n\":1.0}}");
            let object = Object::parse(&text).unwrap();
            object.edited(&edit(&object, Thoughts::Own).into_iter().collect::<Vec<_>>())
        };
        let own = r#"{"functionCall":{"name":"f"}, "thoughtSignature":"CpwBAb4="}"#;
        let foreign = r#"{"functionCall":{"name":"f"},"thoughtSignature":"dGYxLmEue30="}"#;
        let thought = r#"{"text":"dGYxL","thought":true,"thought_signature":"dGYxLmEue30="}"#;
        let out = edited(&format!(r#"[{{"role":"model","parts":[{thought},{own}, {foreign}]}}]"#));
        let call = foreign.replace("dGYxLmEue30=", NO_SIGNATURE);
        assert_eq!(
            out,
            format!(r#"{{"contents": [{{"role":"model","parts":[{{"text":"dGYxL","thought":true}},{own},{call}]}}] ,"n":1.0}}"#)
        );
        assert!(edited(&format!(r#"{{"parts":{foreign}}}"#)).contains(NO_SIGNATURE));
        let result = r#"{"functionResponse":{"id":"c1","name":"f","response":{}}}"#;
        let twice = edited(&format!(r#"[{{"role":"user","parts":[{result}, {result},{{"text":"x"}}]}}]"#));
        assert!(twice.contains(&format!(r#""parts":[{result},{{"text":"x"}}]"#)), "{twice}");
        let plain = format!(r#"[{{"role":"model", "parts":[{own}]}}]"#);
        assert_eq!(edited(&plain), format!("{{\"contents\": {plain} ,\"n\":1.0}}"));
    }
}
