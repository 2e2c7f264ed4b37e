//! Texts as they cross between here and the driver: each ends with U+001E, which JSON never has.

use serde_json::Value;
use worker::{Error, Result};

/// Ends each text.
pub const END: char = '\u{1e}';

/// Texts that are known not to have [`END`].
pub fn ended<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut all = String::new();
    for text in texts {
        all.push_str(text);
        all.push(END);
    }
    all
}

/// Values for a statement: a text after `'`, or JSON. What is stored is JSON in itself, and would be twice as long if it were
/// written as a text of JSON.
pub fn values(values: &[Value]) -> Result<String> {
    let mut all = String::new();
    for value in values {
        match value {
            Value::String(text) if text.contains(END) => {
                return Err(Error::RustError("a text with U+001E cannot be stored".to_owned()));
            }
            Value::String(text) => all.extend(["'", text]),
            other => all += &other.to_string(),
        }
        all.push(END);
    }
    Ok(all)
}
