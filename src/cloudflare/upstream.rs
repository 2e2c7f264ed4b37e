//! Calls on channels. The credential is read here, for one call, and goes nowhere else.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use js_sys::Uint8Array;
use sha2::Sha256;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, RequestInit, RequestRedirect, Response};
use worker::{ByteStream, Env};

use super::{clock, platform};
use crate::catalog::{Dialect, secrets};
use crate::id::SecretName;
use crate::ports::{SendError, Signer, UpstreamCall, UpstreamResponse};
use crate::relay;
use crate::routing::attempt::wait_in_seconds;
use crate::time::Timestamp;

/// The largest plain answer: it stands in memory about three times on its way, of 128 MB in all.
const LARGEST_ANSWER: usize = 24 * 1024 * 1024;

/// A body up to this is put together here.
const SMALL_BODY: usize = 64 * 1024;

/// An answer of upstream. Dropping it ends the call.
pub struct UpstreamBody {
    response: Response,
    secret: String,
    stream: Option<ByteStream>,
    abort: AbortOnDrop,
}

/// Ends a call when nobody waits for it any more.
struct AbortOnDrop(Option<AbortController>);

impl AbortOnDrop {
    /// The call has ended by itself.
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}

/// Calls upstream.
pub async fn send(env: &Env, call: UpstreamCall<'_>) -> Result<UpstreamResponse<UpstreamBody>, SendError> {
    let Some(secret) = credential(env, &call.secret) else { return Err(SendError::NotConfigured) };
    let failed = |error: JsValue| SendError::Connect(format!("{error:?}"));
    let controller = AbortController::new().map_err(failed)?;
    let init = init(&call, &secret, &controller).map_err(failed)?;
    let abort = AbortOnDrop(Some(controller));
    let promise = platform::fetch(&call.url, &init).map_err(failed)?;
    // The platform has its own copy of the body now; one that was written for this call is not kept until it answers.
    drop(call);
    let response: Response = JsFuture::from(promise).await.map_err(failed)?.unchecked_into();
    let retry_after_s = retry_after(&response.headers());
    let content_type = response.headers().get("content-type").ok().flatten();
    let status = response.status();
    Ok(UpstreamResponse { status, retry_after_s, content_type, body: UpstreamBody { response, secret, stream: None, abort } })
}

/// A credential; none if it is not set, or empty, or not meant for channels: a catalogue of before may still name it.
fn credential(env: &Env, name: &SecretName) -> Option<String> {
    let declared = env.var(secrets::DECLARED).map(|list| list.to_string()).unwrap_or_default();
    if !secrets::allows(&declared, name.as_str()) {
        return None;
    }
    let secret = env.secret(name.as_str()).ok().map(|secret| secret.to_string());
    // Who pastes one often pastes the end of its line as well.
    secret.map(|secret| secret.trim().to_owned()).filter(|secret| !secret.is_empty())
}

/// A text without a credential, in whatever form a server repeats it.
pub fn without_credential(env: &Env, name: &SecretName, text: &str) -> String {
    credential(env, name).map_or_else(|| text.to_owned(), |secret| relay::without_credential(text, &secret))
}

/// Proofs that only the holder of a credential can make: 16 hexadecimal digits of an HMAC-SHA-256. What they begin with is worked
/// out once for all texts.
pub fn signer(env: &Env, name: &SecretName) -> Option<Signer> {
    let begun = Hmac::<Sha256>::new_from_slice(credential(env, name)?.as_bytes()).ok()?;
    Some(Rc::new(move |text: &str| {
        let mut mac = begun.clone();
        mac.update(text.as_bytes());
        hex::encode(mac.finalize().into_bytes()).chars().take(16).collect()
    }))
}

/// Only these headers go up. Redirects are not followed: they would take the credential along.
fn init(call: &UpstreamCall<'_>, secret: &str, controller: &AbortController) -> Result<RequestInit, JsValue> {
    let headers = Headers::new()?;
    match call.dialect {
        Dialect::Openai | Dialect::Cohere => headers.set("authorization", &format!("Bearer {secret}"))?,
        Dialect::Anthropic => headers.set("x-api-key", secret)?,
        Dialect::Gemini => headers.set("x-goog-api-key", secret)?,
    }
    for (name, value) in &call.headers {
        headers.set(name, value)?;
    }
    headers.set("accept-encoding", "identity")?;
    let init = RequestInit::new();
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(&controller.signal()));
    if let Some(pieces) = &call.body {
        init.set_method("POST");
        init.set_body(&joined(pieces)?);
    }
    init.set_headers(&headers);
    Ok(init)
}

/// Pieces as one array of the platform's. Large ones are copied once, out of this memory; of small ones the copy costs less
/// than each crossing.
fn joined(pieces: &[Cow<'_, [u8]>]) -> Result<JsValue, JsValue> {
    let length = pieces.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
    if length <= SMALL_BODY {
        return Ok(Uint8Array::from(pieces.concat().as_slice()).into());
    }
    let too_long = |_| JsValue::from_str("a body of more than 4 GB");
    let whole = Uint8Array::new_with_length(u32::try_from(length).map_err(too_long)?);
    let mut from = 0_u32;
    for piece in pieces {
        let to = from.saturating_add(u32::try_from(piece.len()).map_err(too_long)?);
        whole.subarray(from, to).copy_from(piece);
        from = to;
    }
    Ok(whole.into())
}

/// Seconds until upstream wants to be called again, rounded up.
fn retry_after(headers: &Headers) -> Option<u64> {
    let get = |name: &str| headers.get(name).ok().flatten();
    let seconds = |text: &str| wait_in_seconds(text).or_else(|| seconds_until(text));
    let ms = || get("retry-after-ms").and_then(|text| wait_in_seconds(&text)).map(|ms| ms.div_ceil(1000));
    get("retry-after").and_then(|text| seconds(&text)).or_else(ms)
}

/// Seconds until an HTTP date; none if it is not one.
fn seconds_until(date: &str) -> Option<u64> {
    let at = js_sys::Date::parse(date);
    // Milliseconds since 1970 are whole and far below 2^53.
    #[allow(clippy::cast_possible_truncation)]
    at.is_finite().then(|| Timestamp::from_millis(at as i64).since(clock::now()).div_ceil(1000))
}

/// Reads an error to its end. Some providers repeat the credential in it, which must not come down.
pub async fn read_error(body: UpstreamBody) -> Result<Vec<u8>, String> {
    let secret = body.secret.clone();
    let text = read_all(body).await?;
    Ok(relay::without_credential(&String::from_utf8_lossy(&text), &secret).into_bytes())
}

/// Reads an answer to its end.
pub async fn read_all(mut body: UpstreamBody) -> Result<Vec<u8>, String> {
    let failed = |error: JsValue| format!("{error:?}");
    let declared = body.response.headers().get("content-length").ok().flatten().and_then(|text| text.parse::<usize>().ok());
    match declared {
        Some(length) if length > LARGEST_ANSWER => return Err(format!("an answer of {length} bytes")),
        Some(_) => {}
        // Without a declared length it is read piece by piece, and no further than the limit.
        None => {
            let mut bytes = Vec::new();
            while let Some(piece) = body.next().await {
                bytes.extend(piece?);
                if bytes.len() > LARGEST_ANSWER {
                    return Err(format!("an answer of more than {LARGEST_ANSWER} bytes"));
                }
            }
            body.abort.disarm();
            return Ok(bytes);
        }
    }
    let promise = body.response.array_buffer().map_err(failed)?;
    let buffer = JsFuture::from(promise).await.map_err(failed)?;
    body.abort.disarm();
    Ok(Uint8Array::new(&buffer).to_vec())
}

impl Stream for UpstreamBody {
    type Item = Result<Vec<u8>, String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.stream.is_none() {
            self.stream = self.response.body().map(ByteStream::from);
        }
        let Some(stream) = self.stream.as_mut() else { return Poll::Ready(None) };
        Pin::new(stream).poll_next(context).map(|piece| piece.map(|piece| piece.map_err(|error| error.to_string())))
    }
}
