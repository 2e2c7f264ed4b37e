//! Values that are bound to a statement of D1.

use wasm_bindgen::JsValue;

/// A text, or nothing.
pub(super) fn text(value: Option<&str>) -> JsValue {
    value.map_or(JsValue::NULL, JsValue::from_str)
}

/// Numbers go as text and are cast: a bound number is of 32 bits, or not an integer.
pub(super) fn number(value: impl ToString) -> JsValue {
    JsValue::from_str(&value.to_string())
}
