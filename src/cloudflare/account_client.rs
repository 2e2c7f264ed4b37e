//! Saying something to an account object, and not waiting for ever: a panic on the other side is silence on this one.

use futures_util::future::{Either, select};
use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestInit, Response};
use worker::Env;

use super::clock::sleep;
use super::platform::ObjectStub;
use crate::account::{AccountAnswer, Command};
use crate::id::AccountId;
use crate::ports::Unavailable;

/// The binding of the account objects.
const BINDING: &str = "ACCOUNTS";
const TIMEOUT_MS: u32 = 10_000;
/// Only what the platform calls retryable is tried again; every command is the same when it is repeated.
const TRIES: u32 = 3;

/// Says something to an account.
pub async fn command(env: &Env, account: &AccountId, command: &Command) -> Result<AccountAnswer, Unavailable> {
    let text = serde_json::to_string(command).map_err(|error| Unavailable(error.to_string()))?;
    let mut last = String::new();
    for attempt in 0..TRIES {
        match select(Box::pin(call(env, account, (path(command), &text))), Box::pin(sleep(TIMEOUT_MS))).await {
            Either::Right(_) => return Err(Unavailable(format!("account {account}: silent for {TIMEOUT_MS} ms"))),
            Either::Left((Ok(answer), _)) => return Ok(answer),
            Either::Left((Err(failed), _)) => {
                last = failed.what;
                if !failed.is_retryable {
                    break;
                }
                sleep(50 << attempt).await;
            }
        }
    }
    Err(Unavailable(format!("account {account}: {last}")))
}

/// Settlements may wait some milliseconds for other commands, with which they are stored.
const fn path(command: &Command) -> &'static str {
    match command {
        Command::Settle(_) | Command::Checkpoint(_) | Command::RecordRefused(_) => "https://account/patient",
        Command::Flush => "https://account/flush",
        _ => "https://account/command",
    }
}

async fn call(env: &Env, account: &AccountId, (path, text): (&str, &str)) -> Result<AccountAnswer, Failed> {
    let stub: ObjectStub = env.durable_object(BINDING)?.get_by_name(account.as_str())?.into_rpc();
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(&JsValue::from_str(text));
    let response: Response = JsFuture::from(stub.fetch(path, &init)?).await?.unchecked_into();
    let answer = JsFuture::from(response.text()?).await?.as_string().unwrap_or_default();
    if response.status() != 200 {
        return Err(Failed { what: format!("status {}: {answer}", response.status()), is_retryable: false });
    }
    let unreadable = |error| Failed { what: format!("an answer that cannot be read: {error}"), is_retryable: false };
    serde_json::from_str(&answer).map_err(unreadable)
}

/// Why a call did not answer, and whether the platform says that it may be tried again.
struct Failed {
    what: String,
    is_retryable: bool,
}

impl From<worker::Error> for Failed {
    fn from(error: worker::Error) -> Self {
        Self { what: error.to_string(), is_retryable: false }
    }
}

impl From<JsValue> for Failed {
    /// An overloaded object is never asked again at once.
    fn from(error: JsValue) -> Self {
        let flag = |name: &str| Reflect::get(&error, &name.into()).is_ok_and(|value| value.is_truthy());
        Self { is_retryable: flag("retryable") && !flag("overloaded"), what: format!("{error:?}") }
    }
}
