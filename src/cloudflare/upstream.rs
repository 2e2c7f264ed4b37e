//! Calls on channels. The credential is read here, for one call, and goes nowhere else.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use worker::{AbortController, ByteStream, Env, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, Response};

use crate::ports::{Call, SendError, UpstreamResponse};

/// An answer of upstream. Dropping it ends the call.
pub struct UpstreamBody {
    response: Option<Response>,
    stream: Option<ByteStream>,
    _abort: AbortOnDrop,
}

/// Ends a call when nobody waits for it any more; after its end this does nothing.
struct AbortOnDrop(Option<AbortController>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}

/// Calls upstream.
pub async fn send(env: &Env, call: Call) -> Result<UpstreamResponse<UpstreamBody>, SendError> {
    let secret = call.secrets.iter().find_map(|name| env.secret(name.as_str()).ok()).map(|secret| secret.to_string());
    let Some(secret) = secret.filter(|secret| !secret.is_empty()) else { return Err(SendError::NotConfigured) };
    let request = request(&call, &secret).map_err(|error| SendError::Connect(error.to_string()))?;
    let controller = AbortController::default();
    let signal = controller.signal();
    let abort = AbortOnDrop(Some(controller));
    let response =
        Fetch::Request(request).send_with_signal(&signal).await.map_err(|error| SendError::Connect(error.to_string()))?;
    let retry_after_s = retry_after(response.headers());
    let status = response.status_code();
    Ok(UpstreamResponse { status, retry_after_s, body: UpstreamBody { response: Some(response), stream: None, _abort: abort } })
}

/// Only these headers go up. Redirects are not followed: they would take the credential along.
fn request(call: &Call, secret: &str) -> worker::Result<Request> {
    let headers = Headers::new();
    headers.set("authorization", &format!("Bearer {secret}"))?;
    headers.set("accept-encoding", "identity")?;
    let mut init = RequestInit::new();
    init.with_redirect(RequestRedirect::Manual);
    if let Some(body) = &call.body {
        headers.set("content-type", "application/json")?;
        init.with_method(Method::Post).with_body(Some(body.as_str().into()));
    }
    init.with_headers(headers);
    Request::new_with_init(&call.url, &init)
}

/// Seconds until upstream wants to be called again, rounded up.
fn retry_after(headers: &Headers) -> Option<u64> {
    let get = |name: &str| headers.get(name).ok().flatten().and_then(|text| text.trim().parse::<u64>().ok());
    get("retry-after-ms").map(|ms| ms.div_ceil(1000)).or_else(|| get("retry-after"))
}

/// Reads an answer to its end.
pub async fn read_all(mut body: UpstreamBody) -> Result<Vec<u8>, String> {
    let Some(mut response) = body.response.take() else { return Err("the answer is already being read".to_owned()) };
    response.bytes().await.map_err(|error| error.to_string())
}

impl Stream for UpstreamBody {
    type Item = Result<Vec<u8>, String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(mut response) = self.response.take() {
            match response.stream() {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => return Poll::Ready(Some(Err(error.to_string()))),
            }
        }
        let Some(stream) = self.stream.as_mut() else { return Poll::Ready(None) };
        Pin::new(stream).poll_next(context).map(|piece| piece.map(|piece| piece.map_err(|error| error.to_string())))
    }
}
