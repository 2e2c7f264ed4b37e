//! Calls that are no model's: payment providers and the operator's webhook.

use futures_util::future::{Either, select};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, RequestInit, RequestRedirect, Response};

use super::{clock, platform};

/// Posts text and reads the answer. Redirects are not followed.
pub async fn post(url: &str, headers: &[(&str, &str)], body: &str, timeout_ms: u32) -> Result<(u16, String), String> {
    let controller = AbortController::new().map_err(shown)?;
    let call = send(url, headers, body, &controller);
    match select(Box::pin(call), Box::pin(clock::sleep(timeout_ms))).await {
        Either::Left((answered, _)) => answered.map_err(shown),
        Either::Right(_) => {
            controller.abort();
            Err(format!("silent for {timeout_ms} ms"))
        }
    }
}

async fn send(url: &str, headers: &[(&str, &str)], body: &str, controller: &AbortController) -> Result<(u16, String), JsValue> {
    let sent = Headers::new()?;
    for (name, value) in headers {
        sent.set(name, value)?;
    }
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(&controller.signal()));
    init.set_headers(&sent);
    init.set_body(&JsValue::from_str(body));
    let response: Response = JsFuture::from(platform::fetch(url, &init)?).await?.unchecked_into();
    let text = JsFuture::from(response.text()?).await?.as_string().unwrap_or_default();
    Ok((response.status(), text))
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn shown(error: JsValue) -> String {
    format!("{error:?}")
}
