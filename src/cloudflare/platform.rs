//! What the platform offers and the crates do not bind, or only at a cost that shows on every request: their `Request` and
//! `Response` read bodies through a stream and build objects that nobody looks at.
//!
//! The binding macro writes the unsafe calls; no other file may have any.
#![allow(unsafe_code)]

use js_sys::Promise;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use web_sys::RequestInit;

#[wasm_bindgen]
extern "C" {
    /// Fills with random bytes; at most 65,536, and it does not fail below that.
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    pub fn fill_random(bytes: &mut [u8]);

    /// Calls once, after so many milliseconds; answers the timer's number.
    #[wasm_bindgen(js_name = setTimeout)]
    pub fn set_timeout(call: &Closure<dyn FnMut()>, ms: u32) -> f64;

    /// Takes a timer off; after its time this does nothing.
    #[wasm_bindgen(js_name = clearTimeout)]
    pub fn clear_timeout(id: f64);

    /// Sends a request; resolves to a response when its head is there.
    #[wasm_bindgen(catch, js_name = fetch)]
    pub fn fetch(url: &str, init: &RequestInit) -> Result<Promise, JsValue>;

    /// A stub of an account object.
    pub type ObjectStub;

    /// Sends a request to the object.
    #[wasm_bindgen(method, catch, js_name = fetch)]
    pub fn fetch(this: &ObjectStub, url: &str, init: &RequestInit) -> Result<Promise, JsValue>;

    /// An account object's SQLite, as the driver hands it over.
    pub type Sql;

    /// Runs a statement over values, a list as JSON. Answers the first column of each row, each ended by U+001E.
    #[wasm_bindgen(method, catch)]
    pub fn run(this: &Sql, statement: &str, values: &str) -> Result<String, JsValue>;

    /// Runs `body`, once, in a transaction: what it throws rolls back.
    #[wasm_bindgen(method, catch)]
    pub fn transaction(this: &Sql, body: &mut dyn FnMut() -> Result<(), JsValue>) -> Result<(), JsValue>;
}
