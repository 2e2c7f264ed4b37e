//! Values that are bound to a statement of D1 or of an account object, and what statements share.

use serde_json::Value;
use wasm_bindgen::JsValue;
use worker::Result;

/// Ends each text that crosses to an account object's tables or back; JSON never has it.
pub(super) const END: char = '\u{1e}';

/// A text, or nothing.
pub(super) fn text(value: Option<&str>) -> JsValue {
    value.map_or(JsValue::NULL, JsValue::from_str)
}

/// Numbers go to D1 as text and are cast: a bound number is of 32 bits, or not an integer.
pub(super) fn number(value: impl ToString) -> JsValue {
    JsValue::from_str(&value.to_string())
}

/// A condition of the statements that write a batch of journal rows; bound are the account as 2 and the number of its first row as 3. The
/// database has no row of the batch yet, so that a batch is taken whole, with what it adds to the sums, or not at all.
pub(super) const IF_NEW: &str = "(SELECT COALESCE(MAX(seq), 0) FROM journal WHERE account = ?2) < CAST(?3 AS INTEGER)";

/// Values as they cross to the driver, each ended: a text after `'`, or JSON. What is stored is JSON in itself, and would be twice
/// as long if it were written as a text of JSON.
pub(super) fn crossing(values: &[Value]) -> Result<String> {
    let mut texts = String::new();
    for value in values {
        match value {
            Value::String(text) if text.contains(END) => {
                return Err(worker::Error::RustError("a text with U+001E cannot be stored".to_owned()));
            }
            Value::String(text) => texts.extend(["'", text]),
            other => texts += &other.to_string(),
        }
        texts.push(END);
    }
    Ok(texts)
}
