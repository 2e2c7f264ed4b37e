//! The wait for an answer: the client of a stream that nobody has begun to answer gets signs of life.
//!
//! What always holds: nothing is told before the hold was granted, so that a refusal keeps its status; what is told changes
//! nothing of the answer that may still come; the request goes on only as long as its client listens, since the stream owns it.
//! Deliberately absent: dialects without a sign, and requests that are not streamed. They wait for their status.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::future::{Either, select};
use futures_util::stream::{Stream, StreamExt, unfold};

use super::reply::{Reply, ReplyBody};
use crate::account::RateLimits;
use crate::dialect::Endpoint;
use crate::dialect::format::{Counting, Passthrough, StreamWish};
use crate::id::RequestId;
use crate::ports::Ports;
use crate::time::Timestamp;

/// How long a client hears nothing, in milliseconds. Proxies and clients give up after 30 seconds and more.
pub const SIGN_MS: u32 = 15_000;

/// What the client of one request can be told while nobody answers. Clones share it.
#[derive(Clone, Default)]
pub struct Early(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// When it is first told something; none as long as it can be told nothing.
    due: Cell<Option<Timestamp>>,
    opened: Cell<Option<Box<Granted>>>,
    begun: Rc<Cell<u64>>,
}

/// What can be told to the client of a request whose hold is granted.
pub struct Granted {
    pub request: RequestId,
    /// The model that was asked for, as it may be shown.
    pub asked: String,
    pub endpoint: Endpoint,
    /// How its stream is written.
    pub wish: StreamWish,
    pub rates: RateLimits,
}

impl Early {
    /// How many events the client was told before the answer.
    pub fn begun(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.0.begun)
    }

    /// Whether its client can be told something, or was.
    pub fn is_open(&self) -> bool {
        self.0.due.get().is_some()
    }

    /// Notes what its client can be told, some time after the request came.
    pub fn open(&self, opened: Granted, created_at: Timestamp) {
        self.0.opened.set(Some(Box::new(opened)));
        self.0.due.set(Some(created_at.plus(i64::from(SIGN_MS))));
    }

    /// Waits for the answer; where it does not come in time, an answer that begins with signs of life.
    pub async fn watch<P: Ports>(self, ports: P, mut answer: Pin<Box<dyn Future<Output = Reply>>>) -> Reply {
        let mut timer = None;
        let answered = poll_fn(|context| {
            if let Poll::Ready(reply) = answer.as_mut().poll(context) {
                return Poll::Ready(Some(reply));
            }
            // Whoever cannot be told anything has no timer.
            let Some(due) = self.0.due.get() else { return Poll::Pending };
            let left_ms = || u32::try_from(due.since(ports.now())).unwrap_or(u32::MAX);
            let timer = timer.get_or_insert_with(|| Box::pin(ports.sleep(left_ms())));
            timer.as_mut().poll(context).map(|()| None)
        });
        if let Some(reply) = answered.await {
            return reply;
        }
        match self.0.opened.take() {
            Some(opened) => opened.reply(ports, answer),
            None => answer.await,
        }
    }
}

impl Granted {
    /// The beginning of an answer, with what is known of it.
    fn reply<P: Ports>(self, ports: P, answer: Pin<Box<dyn Future<Output = Reply>>>) -> Reply {
        let line = self.endpoint.format().passthrough(self.wish, Counting::default());
        let wait = Wait { ports, line, answer: Some(answer), rest: None, is_first: true };
        let stream = unfold(wait, |mut wait| async move { wait.next().await.map(|piece| (piece, wait)) });
        let reply = Reply::stream("text/event-stream; charset=utf-8", stream);
        reply.ids(&self.request).asked(&self.asked).rates(&self.rates)
    }
}

type Piece = Result<Vec<u8>, String>;

/// An answer that has begun before anybody knows what it is.
struct Wait<P> {
    ports: P,
    /// Writes signs of life, and an error if nobody answers.
    line: Box<dyn Passthrough>,
    answer: Option<Pin<Box<dyn Future<Output = Reply>>>>,
    /// What somebody answers.
    rest: Option<Pin<Box<dyn Stream<Item = Piece>>>>,
    is_first: bool,
}

impl<P: Ports> Wait<P> {
    async fn next(&mut self) -> Option<Piece> {
        let mut out = Vec::new();
        if std::mem::replace(&mut self.is_first, false) {
            self.line.ping(&mut out);
            return Some(Ok(out));
        }
        if let Some(answer) = &mut self.answer {
            match select(answer, Box::pin(self.ports.sleep(SIGN_MS))).await {
                Either::Right(_) => {
                    self.line.ping(&mut out);
                    return Some(Ok(out));
                }
                Either::Left((reply, _)) => {
                    self.answer = None;
                    match reply.body {
                        ReplyBody::Stream(stream) => self.rest = Some(stream),
                        ReplyBody::Full(body) => {
                            self.line.refused(&String::from_utf8_lossy(&body), &mut out);
                            return Some(Ok(out));
                        }
                    }
                }
            }
        }
        self.rest.as_mut()?.next().await
    }
}
