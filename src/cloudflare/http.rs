//! HTTP in: the platform's request to ours, and its body, which is read when somebody waits for it.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::rc::Rc;

use url::Url;

use super::clock;
use super::front::{Answer, Front};
use super::texts::END;
use crate::api;
use crate::body::{Arriving, Body, BodyRoom, grown, no_room};
use crate::id::RequestId;
use crate::limits::{ARRIVED_MS, ASKED_BYTES, ROOM_MS, SMALL_BYTES, STALLED_MS};
use crate::payment::SIGNATURE_HEADER;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, RequestHead, gate};

/// Who waits for room looks again after this.
const LOOK_MS: u32 = 100;

/// What the driver knows of a request when it begins.
pub struct Received {
    pub method: String,
    pub url: String,
    /// Names, in lower case, and values in turn, each ended by U+001E.
    pub headers: String,
}

impl Received {
    /// A header. There are some twenty.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut texts = self.headers.split(END);
        while let (Some(known), Some(value)) = (texts.next(), texts.next()) {
            if known.eq_ignore_ascii_case(name) {
                return Some(value);
            }
        }
        None
    }

    /// Whether a client asks for a WebSocket.
    pub fn is_socket_asked(&self) -> bool {
        self.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    }
}

/// A body that nobody has asked for yet.
pub struct Unread {
    front: Rc<Front>,
    declared: Option<usize>,
    most: usize,
    place: BodyRoom,
}

impl Arriving for Unread {
    fn within(self, place: BodyRoom) -> Self {
        Self { place, ..self }
    }
}

impl IntoFuture for Unread {
    type Output = Result<Body, Refusal>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(body(self))
    }
}

/// Reads the head of a request; the body stays on its way. An error is the answer to one that has no readable address.
pub fn read(received: &Received, front: &Rc<Front>) -> Result<api::Request<Unread>, Reply> {
    let Ok(url) = Url::parse(&received.url) else {
        return Err(api::wrong_host(&RequestId::new(front.now(), clock::random())));
    };
    let get = |name: &str| received.header(name).map(ToOwned::to_owned);
    let path = raw_path(&received.url);
    let query: Vec<(String, String)> = url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    let (head, presented_in) = RequestHead::read(get, &query);
    let place = match api::table::is_read_of_strangers(&path) {
        true => BodyRoom::of_stranger(&gate::by_address(head.address)),
        false => BodyRoom::of_sender(&gate::sender(&head)),
    };
    let most = api::table::most_bytes(&path);
    let declared = get("content-length").and_then(|text| text.parse::<usize>().ok());
    let (accept, signature) = (get("accept"), get(SIGNATURE_HEADER));
    let (cookies, from) = (get("cookie"), get("origin"));
    let preflight = get("access-control-request-method").map(|method| api::Preflight {
        method,
        headers: get("access-control-request-headers").filter(|names| !names.is_empty()),
    });
    let origin = url.origin().ascii_serialization();
    let method = received.method.clone();
    let body = Unread { front: Rc::clone(front), declared, most, place };
    Ok(api::Request { method, path, query, head, accept, cookies, from, preflight, presented_in, signature, origin, body })
}

/// The path of an address, as it came: nothing in it is decoded or put right.
fn raw_path(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let path = rest.find(['/', '?', '#', '\\']).and_then(|at| rest.get(at..)).unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.is_empty() { "/".to_owned() } else { path.to_owned() }
}

/// Reads a body piece by piece: memory grows with what arrives, and only where there is room for it.
async fn body(Unread { front, declared, most, mut place }: Unread) -> Result<Body, Refusal> {
    if declared.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    if let Some(length) = declared.filter(|length| *length <= SMALL_BYTES) {
        find_room(&front, &mut place, length).await?;
        return match front.ask(|call, effect| call.body(effect, STALLED_MS)).await {
            Answer::Bytes(bytes) => Ok(Body::new(bytes, place)),
            Answer::Failed(what, _) => Err(broken(what)),
            Answer::Nothing | Answer::Text(..) => Err(stalled()),
        };
    }
    let begun = front.now();
    let mut bytes = Vec::new();
    loop {
        let piece = match front.ask(|call, effect| call.piece(effect, STALLED_MS)).await {
            Answer::Bytes(piece) => piece,
            Answer::Nothing => return Ok(Body::new(bytes, place)),
            Answer::Failed(what, _) => return Err(broken(what)),
            Answer::Text(..) => return Err(stalled()),
        };
        if front.now().since(begun) >= u64::from(ARRIVED_MS) {
            return Err(stalled());
        }
        let length = bytes.len().saturating_add(piece.len());
        if length > most {
            return Err(too_large(most));
        }
        let capacity = grown(bytes.capacity(), length, declared.unwrap_or(most));
        if capacity > bytes.capacity() {
            find_room(&front, &mut place, capacity).await?;
            bytes.reserve_exact(capacity.saturating_sub(bytes.len()));
        }
        bytes.extend(piece);
    }
}

/// Waits a little for others to leave room.
async fn find_room(front: &Rc<Front>, place: &mut BodyRoom, bytes: usize) -> Result<(), Refusal> {
    let begun = front.now();
    while !place.hold(bytes) {
        if front.now().since(begun) >= u64::from(ROOM_MS) {
            return Err(no_room());
        }
        front.sleep(LOOK_MS).await;
    }
    Ok(())
}

fn too_large(most: usize) -> Refusal {
    let message = format!(
        "The request body is larger than {}.",
        if most >= 1 << 20 { format!("{} MiB", most >> 20) } else { format!("{} KiB", most >> 10) }
    );
    let next_step =
        if most == ASKED_BYTES { "Send less, or refer to images by URL instead of sending them." } else { "Send less." };
    Refusal::new(Code::BodyTooLarge, message, next_step).fact("limit_bytes", most)
}

fn stalled() -> Refusal {
    let message = "The request body did not arrive in time.";
    let next_step = format!("Send the request again, without pauses of more than {} seconds.", STALLED_MS / 1_000);
    Refusal::new(Code::BodyStalled, message, next_step)
}

fn broken(what: String) -> Refusal {
    let refusal = Refusal::new(Code::InvalidRequest, "The request body did not arrive whole.", "Send the request again.");
    Refusal { detail: Some(what), ..refusal }
}
