//! One connection of a WebSocket: its requests, each served like one over HTTP, one after the other.
//!
//! What always holds: a request of a connection is identified, planned, held and settled by [`serve`] alone, so that nothing
//! of money is open between two of them; a client that goes away in the middle of an answer has left it; a connection that is
//! at its end is closed.

use std::pin::pin;

use futures_util::StreamExt;
use futures_util::future::{Either, select};

use super::head::{Incoming, RequestHead};
use super::reply::{Reply, ReplyBody};
use super::serve::{place_of, serve};
use crate::body::{Body, Room, no_room};
pub use crate::dialect::openai::responses::socket::LONGEST_FRAME;
use crate::dialect::openai::responses::socket::{Connection, Cutter, Step};
use crate::dialect::{Endpoint, EndpointPath};
use crate::id::{AccountId, RequestId};
use crate::limits::Pool;
use crate::ports::Ports;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// Headers of answers that a frame tells.
const TOLD: [&str; 7] =
    ["retry-after", "request-id", "x-generation-id", "x-ratelimit-", "x-request-id", "x-should-retry", "x-tf-"];
/// Why a connection is closed, by the standard's numbers.
const GOING_AWAY: u16 = 1001;
const TOO_BIG: u16 = 1009;
const UNREADABLE: u16 = 1003;

/// What comes of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    /// A frame of text.
    Text(String),
    /// A frame that is no text.
    Binary,
    /// A frame that is longer than any may be, or more frames than are taken at once.
    TooMuch,
    /// The client is gone.
    Gone,
}

/// A connection that was accepted.
#[allow(async_fn_in_trait)] // EndpointPath on one thread only.
pub trait Wire {
    /// The next frame, once it is there. After the client is gone, that.
    async fn next(&self) -> Arrived;
    /// Resolves when the client is gone; frames that wait are left where they are.
    async fn gone(&self);
    /// Sends a frame of text; false if the connection takes no more.
    fn send(&self, text: &str) -> bool;
    /// Closes the connection.
    fn close(&self, code: u16, reason: &str);
}

/// Serves a connection of an account to its end. `head` is that of the request that opened it, and counts for each of its requests.
pub async fn converse<P: Ports, W: Wire>(ports: P, (head, account): (RequestHead, AccountId), wire: W) {
    let head = each(head);
    let mut session = Connection::new(milliseconds(ports.now()));
    // Who gets no room sends everything.
    let mut room = Room::of(Pool::Remembered, account.as_str());
    loop {
        let patience = u32::try_from(session.patience_ms(milliseconds(ports.now()))).unwrap_or(u32::MAX);
        let arrived = match select(pin!(wire.next()), pin!(ports.sleep(patience))).await {
            Either::Left((arrived, _)) => arrived,
            Either::Right(_) => {
                wire.send(&Connection::at_its_end());
                return wire.close(GOING_AWAY, "idle");
            }
        };
        let text = match arrived {
            Arrived::Text(text) => text,
            Arrived::Gone => return wire.close(GOING_AWAY, ""),
            Arrived::TooMuch => {
                wire.send(&Connection::unreadable("A frame is longer than the 16 MiB that one may have, or too many came at once. Send less, and wait for answers."));
                return wire.close(TOO_BIG, "too large");
            }
            Arrived::Binary => {
                wire.send(&Connection::unreadable("A frame was binary. Open a new connection and send frames of text."));
                return wire.close(UNREADABLE, "text only");
            }
        };
        let now = ports.now();
        let fresh = RequestId::new(now, ports.random());
        let act = session.frame(&text, milliseconds(now), fresh.as_str());
        drop(text);
        match act {
            Step::Send(frames) => {
                if !frames.iter().all(|frame| wire.send(frame)) {
                    return wire.close(GOING_AWAY, "");
                }
            }
            Step::End(frame) => {
                wire.send(&frame);
                return wire.close(GOING_AWAY, "limit reached");
            }
            Step::Serve(body) => {
                // What is served has room like any other body, and with it what is remembered meanwhile.
                let mut taken = place_of(&ports, &account);
                let is_remembered = room.make(session.taken_bytes());
                if !is_remembered {
                    session.forget();
                }
                let has_room = taken.hold(body.len()) && (is_remembered || room.make(session.taken_bytes()));
                let body = if has_room { Ok(Body::new(body, taken)) } else { Err(no_room()) };
                // Dropping what is served is how a client leaves.
                let is_there = match select(pin!(answer(&ports, &head, &mut session, body, &wire)), pin!(wire.gone())).await {
                    Either::Left((is_there, _)) => is_there,
                    Either::Right(_) => false,
                };
                if !is_there {
                    return wire.close(GOING_AWAY, "");
                }
            }
        }
        if !room.make(session.kept_bytes()) {
            room.make(0);
            session.forget();
        }
    }
}

/// Serves one request; false if the client is gone.
async fn answer<P: Ports, W: Wire>(
    ports: &P,
    head: &RequestHead,
    session: &mut Connection,
    body: Result<Body, Refusal>,
    wire: &W,
) -> bool {
    let called = EndpointPath { endpoint: Endpoint::Responses, model: None, stream: false };
    let incoming = Incoming { called, head: head.clone(), body: std::future::ready(body) };
    let Reply { status, headers, body, .. } = serve(ports.clone(), incoming).await;
    let is_told = |name: &str| TOLD.iter().any(|told| name.starts_with(told));
    let told = headers.iter().map(|(name, value)| (*name, value.as_str())).filter(|(name, _)| is_told(name));
    let mut stream = match body {
        ReplyBody::Full(bytes) => return wire.send(&session.refused(status, told, &bytes)),
        ReplyBody::Stream(stream) => stream,
    };
    session.answered(told);
    let mut cutter = Cutter::default();
    while let Some(Ok(bytes)) = stream.next().await {
        for data in cutter.push(&bytes) {
            if session.event(data).is_some_and(|frame| !wire.send(&frame)) {
                return false;
            }
        }
    }
    session.ended().is_none_or(|frame| wire.send(&frame))
}

/// What the head of a connection says to each of its requests. A caller's own key for a request is for one, and the header by
/// which clients ask for this transport is for the gateway.
fn each(head: RequestHead) -> RequestHead {
    let mut head = RequestHead { idempotency_key: None, content_type: None, ..head };
    for (_, value) in head.passed.iter_mut().filter(|(name, _)| *name == "openai-beta") {
        let kept: Vec<&str> = value.split(',').map(str::trim).filter(|beta| !beta.starts_with("responses_websockets")).collect();
        *value = kept.join(",");
    }
    head.passed.retain(|(_, value)| !value.is_empty());
    head
}

fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_connection_is_none_of_a_single_request() {
        let passed = vec![("openai-beta", "responses_websockets=2026-02-06, other=v1".to_owned())];
        let head = each(RequestHead { idempotency_key: Some("k".to_owned()), passed, ..RequestHead::default() });
        assert_eq!((head.idempotency_key, head.passed), (None, vec![("openai-beta", "other=v1".to_owned())]));
        let alone = vec![("openai-beta", "responses_websockets=2026-02-06".to_owned())];
        assert!(each(RequestHead { passed: alone, ..RequestHead::default() }).passed.is_empty());
    }
}
