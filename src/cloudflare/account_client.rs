//! Saying something to an account object, and not waiting for ever: a panic on the other side is silence on this one.

use futures_util::future::{Either, select};
use js_sys::Reflect;
use wasm_bindgen::JsValue;
use worker::{Env, Error, Method, Request, RequestInit};

use super::clock::sleep;
use crate::account::{Answer, Command};
use crate::id::AccountId;
use crate::ports::Unavailable;

/// The binding of the account objects.
const BINDING: &str = "ACCOUNTS";
const TIMEOUT_MS: u32 = 10_000;
/// Only what the platform calls retryable is tried again; every command is the same when it is repeated.
const TRIES: u32 = 3;

/// Says something to an account.
pub async fn command(env: &Env, account: &AccountId, command: &Command) -> Result<Answer, Unavailable> {
    let text = serde_json::to_string(command).map_err(|error| Unavailable(error.to_string()))?;
    let mut last = String::new();
    for attempt in 0..TRIES {
        match select(Box::pin(call(env, account, &text)), Box::pin(sleep(TIMEOUT_MS))).await {
            Either::Right(_) => return Err(Unavailable(format!("account {account}: silent for {TIMEOUT_MS} ms"))),
            Either::Left((Ok(answer), _)) => return Ok(answer),
            Either::Left((Err(error), _)) => {
                last = error.to_string();
                if !is_retryable(&error) {
                    break;
                }
                sleep(50 << attempt).await;
            }
        }
    }
    Err(Unavailable(format!("account {account}: {last}")))
}

async fn call(env: &Env, account: &AccountId, text: &str) -> worker::Result<Answer> {
    let stub = env.durable_object(BINDING)?.get_by_name(account.as_str())?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(JsValue::from_str(text)));
    let mut response = stub.fetch_with_request(Request::new_with_init("https://account/command", &init)?).await?;
    let status = response.status_code();
    let text = response.text().await?;
    if status != 200 {
        return Err(Error::RustError(format!("status {status}: {text}")));
    }
    serde_json::from_str(&text).map_err(|error| Error::RustError(format!("an answer that cannot be read: {error}")))
}

/// An overloaded object is never asked again at once.
fn is_retryable(error: &Error) -> bool {
    let Error::UnknownJsError { original, .. } = error else { return false };
    let flag = |name: &str| Reflect::get(original, &name.into()).is_ok_and(|value| value.is_truthy());
    flag("retryable") && !flag("overloaded")
}
