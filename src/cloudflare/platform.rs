//! What the platform offers and the crates do not bind, or only at a cost that shows on every request: their `Request` and
//! `Response` read bodies through a stream and build objects that nobody looks at.
//!
//! The binding macro writes the unsafe calls; no other file may have any.
#![allow(unsafe_code)]

use js_sys::{Promise, Uint8Array};
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

    /// What the driver does for one request. Effects have a number, under which their answer comes; those with a time in
    /// milliseconds answer nothing when it is over.
    #[derive(Clone)]
    pub type Call;

    /// Runs the tasks again, soon: something outside of the driver woke one.
    #[wasm_bindgen(method)]
    pub fn wake(this: &Call);

    /// Cancels an effect that nobody waits for, or what came of it.
    #[wasm_bindgen(method)]
    pub fn cancel(this: &Call, effect: u32);

    /// Answers nothing after so many milliseconds.
    #[wasm_bindgen(method)]
    pub fn sleep(this: &Call, effect: u32, ms: u32);

    /// Answers the whole body of the request.
    #[wasm_bindgen(method)]
    pub fn body(this: &Call, effect: u32, ms: u32);

    /// Answers the next piece of the body of the request; nothing at its end, an empty text when it did not come in time.
    #[wasm_bindgen(method)]
    pub fn piece(this: &Call, effect: u32, ms: u32);

    /// Says a text to an account object, which takes it in this way; answers a status, 200 if all is well, and a text.
    #[wasm_bindgen(method)]
    pub fn command(this: &Call, effect: u32, account: &str, how: &str, text: &str, ms: u32);

    /// Sends a request, a post if it has a body; answers the status and the headers that are read of it: `retry-after`,
    /// `retry-after-ms`, `content-type`, `content-length`.
    #[wasm_bindgen(method)]
    pub fn fetch(this: &Call, effect: u32, url: &str, headers: &str, body: Option<Uint8Array>);

    /// Answers the next piece of what came of a fetch; nothing at its end.
    #[wasm_bindgen(method)]
    pub fn read(this: &Call, effect: u32, of: u32);

    /// Answers all that is left of what came of a fetch.
    #[wasm_bindgen(method, js_name = readAll)]
    pub fn read_all(this: &Call, effect: u32, of: u32);

    /// The answer to the client, whole. Headers are names and values in turn, each ended by U+001E.
    #[wasm_bindgen(method)]
    pub fn reply(this: &Call, status: u16, headers: &str, body: &[u8]);

    /// The answer to the client is a WebSocket.
    #[wasm_bindgen(method)]
    pub fn socket(this: &Call, client: &web_sys::WebSocket);

    /// The answer to the client is a stream.
    #[wasm_bindgen(method)]
    pub fn stream(this: &Call, status: u16, headers: &str);

    /// The next piece of the stream.
    #[wasm_bindgen(method)]
    pub fn chunk(this: &Call, bytes: &[u8]);

    /// The next piece of the stream is the last one that was read, as it came.
    #[wasm_bindgen(method)]
    pub fn same(this: &Call);

    /// The stream is over.
    #[wasm_bindgen(method)]
    pub fn end(this: &Call);

    /// The stream broke.
    #[wasm_bindgen(method)]
    pub fn broke(this: &Call, what: &str);

    /// An account object's SQLite, as the driver hands it over.
    pub type Sql;

    /// Runs a statement over values, each ended by U+001E: a text after `'`, a number as JSON, or `null`. Answers the first column
    /// of each row, ended likewise.
    #[wasm_bindgen(method, catch)]
    pub fn run(this: &Sql, statement: &str, values: &str) -> Result<String, JsValue>;

    /// Runs `body`, once, in a transaction: what it throws rolls back.
    #[wasm_bindgen(method, catch)]
    pub fn transaction(this: &Sql, body: &mut dyn FnMut() -> Result<(), JsValue>) -> Result<(), JsValue>;
}
