//! Values that are bound to a statement of D1, and what its statements share.

use wasm_bindgen::JsValue;

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
