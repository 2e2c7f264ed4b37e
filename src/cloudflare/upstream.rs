//! Calls on channels. The credential is read here, once in an isolate, and goes nowhere but into calls.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use js_sys::Uint8Array;
use sha2::Sha256;
use worker::Env;

use super::clock;
use super::front::{Answer, Effect, Front};
use super::outside::Outside;
use super::texts::{self, END};
use crate::catalog::secrets;
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
    front: Rc<Front>,
    /// The effect that it came of.
    of: u32,
    declared: Option<usize>,
    secret: String,
    reading: Option<Effect>,
    is_over: bool,
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if !self.is_over {
            self.front.call().cancel(self.of);
        }
    }
}

/// Calls upstream.
pub async fn send(outside: &Outside, call: UpstreamCall<'_>) -> Result<UpstreamResponse<UpstreamBody>, SendError> {
    let Some(secret) = credential(outside.env(), &call.secret) else { return Err(SendError::NotConfigured) };
    let front = outside.front();
    let headers = headers(&call, &secret);
    let body = call.body.as_ref().map(|pieces| joined(pieces)).transpose().map_err(SendError::Connect)?;
    let asked = front.ask(|driver, effect| driver.fetch(effect, &call.url, &headers, body));
    // The platform has its own copy of the body now; one that was written for this call is not kept until it answers.
    drop(call);
    let of = asked.id();
    match asked.await {
        Answer::Text(status, headers) => {
            let mut headers = headers.split(END).map(|text| Some(text).filter(|text| !text.is_empty()));
            let mut next = || headers.next().flatten();
            let retry_after_s = retry_after(next(), next());
            let content_type = next().map(ToOwned::to_owned);
            let declared = next().and_then(|text| text.parse().ok());
            let front = Rc::clone(front);
            let body = UpstreamBody { front, of, declared, secret, reading: None, is_over: false };
            Ok(UpstreamResponse { status, retry_after_s, content_type, body })
        }
        Answer::Failed(what, _) => Err(SendError::Connect(what)),
        Answer::Nothing | Answer::Bytes(_) => Err(SendError::Connect("no answer".to_owned())),
    }
}

/// Credentials that were read, of those that a catalogue names; forgotten, all at once, when there are more than this.
const MOST_CREDENTIALS: usize = 256;

thread_local! {
    /// They are the same as long as the isolate lives, and each look at the environment is several calls of the platform's.
    static CREDENTIALS: RefCell<HashMap<SecretName, Option<String>>> = RefCell::new(HashMap::new());
}

/// A credential; none if it is not set, or empty, or not meant for channels: a catalogue of before may still name it.
fn credential(env: &Env, name: &SecretName) -> Option<String> {
    if let Some(known) = CREDENTIALS.with_borrow(|known| known.get(name).cloned()) {
        return known;
    }
    let read = read_credential(env, name);
    CREDENTIALS.with_borrow_mut(|known| {
        if known.len() >= MOST_CREDENTIALS {
            known.clear();
        }
        known.insert(name.clone(), read.clone());
    });
    read
}

fn read_credential(env: &Env, name: &SecretName) -> Option<String> {
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

/// Only these headers go up.
fn headers(call: &UpstreamCall<'_>, secret: &str) -> String {
    let (name, prefix) = call.credential;
    let credential = format!("{prefix}{secret}");
    let own = [name, credential.as_str(), "accept-encoding", "identity"];
    texts::ended(own.into_iter().chain(call.headers.iter().flat_map(|(name, value)| [*name, value.as_str()])))
}

/// Pieces as one array of the platform's. Large ones are copied once, out of this memory; of small ones the copy costs less
/// than each crossing.
fn joined(pieces: &[Cow<'_, [u8]>]) -> Result<Uint8Array, String> {
    let length = pieces.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
    if length <= SMALL_BODY {
        return Ok(Uint8Array::from(pieces.concat().as_slice()));
    }
    let too_long = |_| "a body of more than 4 GB".to_owned();
    let whole = Uint8Array::new_with_length(u32::try_from(length).map_err(too_long)?);
    let mut from = 0_u32;
    for piece in pieces {
        let to = from.saturating_add(u32::try_from(piece.len()).map_err(too_long)?);
        whole.subarray(from, to).copy_from(piece);
        from = to;
    }
    Ok(whole)
}

/// Seconds until upstream wants to be called again, rounded up.
fn retry_after(told: Option<&str>, told_ms: Option<&str>) -> Option<u64> {
    let seconds = |text: &str| wait_in_seconds(text).or_else(|| seconds_until(text));
    let ms = || told_ms.and_then(wait_in_seconds).map(|ms| ms.div_ceil(1000));
    told.and_then(seconds).or_else(ms)
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
    match body.declared {
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
            return Ok(bytes);
        }
    }
    let of = body.of;
    match body.front.ask(|call, effect| call.read_all(effect, of)).await {
        Answer::Bytes(bytes) => {
            body.is_over = true;
            Ok(bytes)
        }
        Answer::Failed(what, _) => Err(what),
        Answer::Nothing | Answer::Text(..) => Err("no answer".to_owned()),
    }
}

impl Stream for UpstreamBody {
    type Item = Result<Vec<u8>, String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let (front, of) = (Rc::clone(&self.front), self.of);
        if self.reading.is_none()
            && let Some(bytes) = front.ahead(of)
        {
            return Poll::Ready(Some(Ok(bytes)));
        }
        let reading = self.reading.get_or_insert_with(|| front.ask(|call, effect| call.read(effect, of)));
        let Poll::Ready(answer) = Pin::new(reading).poll(context) else { return Poll::Pending };
        self.reading = None;
        Poll::Ready(match answer {
            Answer::Bytes(bytes) => Some(Ok(bytes)),
            Answer::Failed(what, _) => Some(Err(what)),
            Answer::Nothing | Answer::Text(..) => {
                self.is_over = true;
                None
            }
        })
    }
}
