//! WebSockets of clients: accepted here, served by the relay.
//!
//! What always holds: no more waits of a client than a longest frame; what is told by the platform's events is noted at once,
//! and read by the one task that serves the connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use worker::{WebSocket, WebSocketPair};

use super::http::Unread;
use super::outside::Outside;
use crate::api;
use crate::body::{BodyRoom, Room};
use crate::id::AccountId;
use crate::limits::Pool;
use crate::ports::Runtime;
use crate::relay::socket::{Arrived, Wire, converse};
use crate::relay::{Reply, place_of};

/// The longest frame, and what may wait in all, in UTF-16 units.
const LONGEST_FRAME: usize = crate::relay::socket::LONGEST_FRAME;
/// So many frames may wait while one is served.
const MOST_WAITING: usize = 32;

/// Answers a client that asks for one: accepted where there is one and the key is good, else as any other request. None: the client has
/// its connection.
pub async fn answer(outside: Outside, request: api::Request<Unread>) -> Option<Reply> {
    if !api::socket::is_socket(&request) {
        return Some(api::handle(outside, request).await);
    }
    let (head, account) = match api::socket::admit(&outside, request).await {
        Ok(admitted) => admitted,
        Err(reply) => return Some(*reply),
    };
    let mut place = Room::of(Pool::Sockets, account.as_str());
    if !place.make(1) {
        return Some(api::socket::too_many(&outside));
    }
    match open(&outside, place, &account) {
        // It lives as long as the connection, and a little longer: what a client leaves behind is settled then.
        Ok(wire) => outside.spawn(converse(outside.clone(), (head, account), wire)),
        Err(error) => {
            outside.log(&format!("a connection failed: {error}"));
            return Some(Reply::json(503, api::failure_body()));
        }
    }
    None
}

fn open(outside: &Outside, place: Room, account: &AccountId) -> worker::Result<Connection> {
    let WebSocketPair { client, server } = WebSocketPair::new()?;
    let wire = Connection::accept(server, place, place_of(outside, account))?;
    outside.front().call().socket(client.as_ref());
    Ok(wire)
}

/// What came and was not read yet.
struct Inbox {
    frames: VecDeque<Frame>,
    /// Of all frames together.
    units: usize,
    place: BodyRoom,
    is_gone: bool,
    waker: Option<Waker>,
}

enum Frame {
    Text(js_sys::JsString),
    Binary,
    TooMuch,
}

impl Inbox {
    fn take(&mut self, data: wasm_bindgen::JsValue) {
        // After too much, nothing is read.
        if matches!(self.frames.back(), Some(Frame::TooMuch)) {
            return;
        }
        let frame = match data.dyn_into::<js_sys::JsString>() {
            Err(_) => Frame::Binary,
            Ok(text) => {
                let length = usize::try_from(text.length()).unwrap_or(usize::MAX);
                self.units = self.units.saturating_add(length);
                let fits = self.units <= LONGEST_FRAME && self.frames.len() < MOST_WAITING && self.place.hold(self.units);
                if fits { Frame::Text(text) } else { Frame::TooMuch }
            }
        };
        self.frames.push_back(frame);
        self.wake();
    }

    fn leave(&mut self) {
        self.is_gone = true;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn next(&mut self) -> Option<Arrived> {
        // Who is gone does not wait for an answer.
        if self.is_gone {
            return Some(Arrived::Gone);
        }
        Some(match self.frames.pop_front()? {
            Frame::Binary => Arrived::Binary,
            Frame::TooMuch => Arrived::TooMuch,
            Frame::Text(text) => {
                self.units = self.units.saturating_sub(usize::try_from(text.length()).unwrap_or(usize::MAX));
                self.place.hold(self.units);
                Arrived::Text(text.into())
            }
        })
    }
}

/// An accepted connection. Its listeners are taken off when it is dropped.
struct Connection {
    socket: WebSocket,
    inbox: Rc<RefCell<Inbox>>,
    message: Closure<dyn FnMut(web_sys::MessageEvent)>,
    end: Closure<dyn FnMut(web_sys::Event)>,
    /// Among the connections that are open.
    _place: Room,
}

const ENDS: [&str; 2] = ["close", "error"];

impl Connection {
    fn accept(socket: WebSocket, place: Room, waiting: BodyRoom) -> worker::Result<Self> {
        let inbox =
            Rc::new(RefCell::new(Inbox { frames: VecDeque::new(), units: 0, place: waiting, is_gone: false, waker: None }));
        let (taking, leaving) = (Rc::clone(&inbox), Rc::clone(&inbox));
        let message = Closure::new(move |event: web_sys::MessageEvent| taking.borrow_mut().take(event.data()));
        let end = Closure::new(move |_: web_sys::Event| leaving.borrow_mut().leave());
        let raw = socket.as_ref();
        raw.add_event_listener_with_callback("message", message.as_ref().unchecked_ref())?;
        for name in ENDS {
            raw.add_event_listener_with_callback(name, end.as_ref().unchecked_ref())?;
        }
        socket.accept()?;
        Ok(Self { socket, inbox, message, end, _place: place })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let raw = self.socket.as_ref();
        let _ = raw.remove_event_listener_with_callback("message", self.message.as_ref().unchecked_ref());
        for name in ENDS {
            let _ = raw.remove_event_listener_with_callback(name, self.end.as_ref().unchecked_ref());
        }
    }
}

impl Wire for Connection {
    async fn next(&self) -> Arrived {
        poll_fn(|context| {
            let mut inbox = self.inbox.borrow_mut();
            if let Some(arrived) = inbox.next() {
                return Poll::Ready(arrived);
            }
            inbox.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn gone(&self) {
        poll_fn(|context| {
            let mut inbox = self.inbox.borrow_mut();
            if inbox.is_gone {
                return Poll::Ready(());
            }
            inbox.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn send(&self, text: &str) -> bool {
        !self.inbox.borrow().is_gone && self.socket.send_with_str(text).is_ok()
    }

    fn close(&self, code: u16, reason: &str) {
        // Of one that is closed already this is an error, and nothing to do.
        let _ = self.socket.close(Some(code), Some(reason));
    }
}
