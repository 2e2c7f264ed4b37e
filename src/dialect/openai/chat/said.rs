//! What a message or a delta says, as far as it is counted.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::json::unquoted;

/// What a delta or a message says, without its wrapping.
#[derive(Debug, Default, Deserialize)]
struct Words<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

/// Each text of a delta or a message as it stands in the JSON, quotes aside.
pub fn each(json: Option<&str>, mut take: impl FnMut(&str)) {
    let words: Words<'_> = json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let parts = [words.content, words.reasoning_content.or(words.reasoning), words.refusal, words.tool_calls];
    for raw in parts.into_iter().flatten().map(RawValue::get).filter(|raw| *raw != "null") {
        take(unquoted(raw));
    }
}
