//! Channels in memory: they answer as scripted.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::stream::Stream;
use tokens_forge::id::{SecretName, sha256_hex};
use tokens_forge::ports::{Runtime, SendError, Signer, Upstream, UpstreamCall, UpstreamResponse};
use tokens_forge::relay::without_credential;
use tokens_forge::time::Timestamp;

use super::outside::{Outside, Sleep, World, Yield};

/// How a channel answers one call.
#[derive(Debug, Clone)]
pub enum Script {
    /// With this status and body, then a clean end.
    Status(u16, &'static str),
    /// With 200 and these pieces, then a clean end.
    Pieces(Vec<&'static str>),
    /// With 200 and these pieces, then a broken connection.
    Broken(Vec<&'static str>),
    /// With 200 and these pieces, then silence.
    Silent(Vec<&'static str>),
    /// With 200 and these pieces, so many milliseconds apart, then a clean end.
    Slow(u32, Vec<&'static str>),
    /// Not at all.
    Hangs,
    /// With a refused connection.
    Refused,
}

/// A call as it went up.
pub struct Sent {
    pub url: String,
    pub secret: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// An answer on its way; it counts as an open call until it is dropped.
pub struct ScriptedBody {
    world: Rc<World>,
    pieces: VecDeque<&'static str>,
    end: End,
    has_yielded: bool,
    has_started: bool,
    gap_ms: Option<u32>,
    waiting: Option<Sleep>,
}

#[derive(Clone, Copy)]
enum End {
    Clean,
    Broken,
    Silent,
}

impl Drop for ScriptedBody {
    fn drop(&mut self) {
        self.world.open_calls.set(self.world.open_calls.get() - 1);
    }
}

impl Stream for ScriptedBody {
    type Item = Result<Vec<u8>, String>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !std::mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(ms) = self.gap_ms.filter(|_| self.has_started) {
            let until = self.world.now.get() + i64::from(ms);
            let world = Rc::clone(&self.world);
            let waiting = self.waiting.get_or_insert_with(|| Sleep(world, until));
            if Pin::new(waiting).poll(context).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
        (self.has_yielded, self.has_started) = (false, true);
        match (self.pieces.pop_front(), self.end) {
            (Some(piece), _) => Poll::Ready(Some(Ok(piece.as_bytes().to_vec()))),
            (None, End::Clean) => Poll::Ready(None),
            (None, End::Broken) => Poll::Ready(Some(Err("connection reset".to_owned()))),
            (None, End::Silent) => Poll::Pending,
        }
    }
}

impl Upstream for Outside {
    type Body = ScriptedBody;

    fn cooling(&self, secret: &SecretName) -> Option<Timestamp> {
        self.0.cooling.borrow().get(secret).copied().filter(|until| *until > self.now())
    }

    fn cool_down(&self, secret: &SecretName, until: Timestamp) {
        self.0.cooling.borrow_mut().insert(secret.clone(), until);
    }

    fn signer(&self, secret: &SecretName) -> Option<Signer> {
        let secret = secret.clone();
        Some(Rc::new(move |text: &str| sha256_hex(&[secret.as_str().as_bytes(), b"\n", text.as_bytes()])[..16].to_owned()))
    }

    fn without_credential(&self, secret: &SecretName, text: &str) -> String {
        without_credential(text, &format!("value-of-{secret}\n"))
    }

    async fn send(&self, call: UpstreamCall<'_>) -> Result<UpstreamResponse<ScriptedBody>, SendError> {
        let host = call.url.split('/').nth(2).unwrap().to_owned();
        self.0.note(format!("send {host}"));
        self.0.calls.borrow_mut().push(Sent {
            url: call.url,
            secret: call.secret.to_string(),
            headers: call.headers,
            body: String::from_utf8_lossy(&call.body.unwrap_or_default().concat()).into_owned(),
        });
        let script = self.0.scripts.borrow_mut().get_mut(&host).and_then(VecDeque::pop_front);
        let script = script.or_else(|| self.0.otherwise.borrow().clone());
        let script = script.unwrap_or_else(|| panic!("{host} has no script left"));
        Yield(false).await;
        let gap_ms = if let Script::Slow(ms, _) = script { Some(ms) } else { None };
        let (status, pieces, end) = match script {
            Script::Status(status, body) => (status, vec![body], End::Clean),
            Script::Pieces(pieces) => (200, pieces, End::Clean),
            Script::Broken(pieces) => (200, pieces, End::Broken),
            Script::Silent(pieces) => (200, pieces, End::Silent),
            Script::Slow(_, ref pieces) => (200, pieces.clone(), End::Clean),
            Script::Hangs => std::future::pending().await,
            Script::Refused => return Err(SendError::Connect("refused".to_owned())),
        };
        self.0.open_calls.set(self.0.open_calls.get() + 1);
        let body = ScriptedBody {
            world: Rc::clone(&self.0),
            pieces: pieces.into(),
            end,
            has_yielded: false,
            has_started: false,
            gap_ms,
            waiting: None,
        };
        Ok(UpstreamResponse { status, retry_after_s: (status == 429).then_some(9), content_type: None, body })
    }

    async fn read_error(&self, body: ScriptedBody) -> Result<Vec<u8>, String> {
        self.read_all(body).await
    }

    async fn read_all(&self, mut body: ScriptedBody) -> Result<Vec<u8>, String> {
        use futures_util::StreamExt;
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            bytes.extend(piece?);
        }
        Ok(bytes)
    }
}
