//! What the driver calls for requests and for the cron.

use std::rc::Rc;

use wasm_bindgen::prelude::wasm_bindgen;
use worker::Env;

use super::front::{Answer, Front};
use super::http::{self, Received};
use super::outside::Outside;
use super::platform::Call;
use super::{clock, socket};
use crate::api;
use crate::app;
use crate::ports::{Publishing, Rounds};
use crate::time::{HOUR_MS, MINUTE_MS, Timestamp};

/// A request, or a run of the cron, that is not over. Each call but the first answers whether it is now.
#[wasm_bindgen]
pub struct Running(Rc<Front>);

/// Begins to answer a request. Headers are names, in lower case, and values in turn, each ended by U+001E. None: it is over already.
#[wasm_bindgen]
pub fn begin(call: Call, env: Env, method: String, url: String, headers: String) -> Option<Running> {
    let front = Front::new(call);
    let received = Received { method, url, headers };
    match http::read(&received, &front) {
        Err(reply) => front.answer(async { Some(reply) }),
        Ok(request) => {
            let outside = Outside::new(env, Rc::clone(&front));
            if received.is_socket_asked() {
                front.answer(socket::answer(outside, request));
            } else {
                front.answer(async { Some(api::handle(outside, request).await) });
            }
        }
    }
    Running::new(front)
}

/// Begins what is done each minute.
#[wasm_bindgen(js_name = beginMinute)]
pub fn begin_minute(call: Call, env: Env) -> Option<Running> {
    let front = Front::new(call);
    front.spawn(minute(Outside::new(env, Rc::clone(&front))));
    Running::new(front)
}

/// Does nothing, in an instance that runs: where one ended in a trap, this begins the next.
#[wasm_bindgen]
pub fn alive() {}

/// The body of the answer of last resort.
#[wasm_bindgen(js_name = failureBody)]
pub fn failure_body() -> String {
    api::failure_body()
}

#[wasm_bindgen]
impl Running {
    /// An effect came to a text, with a status.
    pub fn text(&self, now: f64, effect: u32, status: u16, text: String) -> bool {
        self.0.enter(at(now), |front| front.answered(effect, Answer::Text(status, text)))
    }

    /// An effect came to bytes.
    pub fn bytes(&self, now: f64, effect: u32, bytes: Vec<u8>) -> bool {
        self.0.enter(at(now), |front| front.answered(effect, Answer::Bytes(bytes)))
    }

    /// An effect came to nothing: there is no more, or the time is over.
    pub fn nothing(&self, now: f64, effect: u32) -> bool {
        self.0.enter(at(now), |front| front.answered(effect, Answer::Nothing))
    }

    /// An effect failed.
    pub fn failed(&self, now: f64, effect: u32, what: String, is_retryable: bool) -> bool {
        self.0.enter(at(now), |front| front.answered(effect, Answer::Failed(what, is_retryable)))
    }

    /// The client reads on.
    pub fn pull(&self, now: f64) -> bool {
        self.0.enter(at(now), Front::pull)
    }

    /// The client reads on, and the next bytes of a fetch are there already.
    pub fn pulled(&self, now: f64, of: u32, bytes: Vec<u8>) -> bool {
        self.0.enter(at(now), |front| {
            front.arrived(of, bytes);
            front.pull();
        })
    }

    /// The client is gone.
    pub fn gone(&self, now: f64) -> bool {
        self.0.enter(at(now), Front::gone)
    }

    /// Something woke a task.
    pub fn poll(&self, now: f64) -> bool {
        self.0.enter(at(now), |_| ())
    }
}

/// The driver's time. Milliseconds are whole and far below 2^53.
#[allow(clippy::cast_possible_truncation)]
const fn at(now: f64) -> Timestamp {
    Timestamp::from_millis(now as i64)
}

impl Running {
    fn new(front: Rc<Front>) -> Option<Self> {
        let is_over = front.enter(front.now(), |_| ());
        (!is_over).then_some(Self(front))
    }
}

/// An announced catalogue that is due is published; one probe round, codes that were taken and not credited, and some accounts
/// reconciled. Once an hour, what is old of the health history moves on.
async fn minute(outside: Outside) {
    if let Err(error) = outside.move_announced().await {
        worker::console_error!("announced catalogue: {}", error.0);
    }
    if let Err(error) = crate::probe::round(&outside).await {
        worker::console_error!("probe round: {}", error.0);
    }
    if clock::now().millis().rem_euclid(HOUR_MS) < MINUTE_MS
        && let Err(error) = outside.tidy().await
    {
        worker::console_error!("health history: {}", error.0);
    }
    if let Err(refusal) = app::codes::credit_taken(&outside).await {
        worker::console_error!("codes: {} {}", refusal.message, refusal.detail.unwrap_or_default());
    }
    if let Err(refusal) = app::reconcile::reconcile_due(&outside).await {
        worker::console_error!("reconcile: {} {}", refusal.message, refusal.detail.unwrap_or_default());
    }
}
