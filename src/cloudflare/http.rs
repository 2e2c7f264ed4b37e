//! HTTP in and out: the platform's request to ours, and our reply to the platform's.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use futures_channel::oneshot;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use worker::{Headers, Request, Response, ResponseBuilder};

use super::clock;
use crate::api;
use crate::body::{Arriving, Body, BodyRoom, grown, no_room};
use crate::id::RequestId;
use crate::limits::{ARRIVED_MS, ASKED_BYTES, ROOM_MS, SMALL_BYTES, STALLED_MS};
use crate::refusal::{Code, Refusal};
use crate::relay::{Misplaced, Reply, ReplyBody, RequestHead, gate};

/// Who waits for room looks again after this.
const LOOK_MS: u32 = 100;
/// Headers of clients that go up as they came.
const PASSED: [&str; 3] = ["anthropic-version", "anthropic-beta", "openai-beta"];

/// Headers in which clients name the session of a request: OpenRouter's, Claude Code's, Codex' of now and before, opencode's.
const SESSION: [&str; 6] =
    ["x-session-id", "x-claude-code-session-id", "session-id", "session_id", "x-session-affinity", "x-opencode-session"];

/// Resolves when the client closes the connection, and never otherwise.
pub fn client_gone(request: &Request) -> impl Future<Output = ()> + Unpin + use<> {
    let signal = request.inner().signal();
    let (sender, receiver) = oneshot::channel::<()>();
    let mut sender = Some(sender);
    let listener = Closure::<dyn FnMut()>::new(move || {
        if let Some(sender) = sender.take() {
            let _ = sender.send(());
        }
    });
    signal.set_onabort(Some(listener.as_ref().unchecked_ref()));
    let guard = Listener { signal, _listener: listener };
    Box::pin(async move {
        let _guard = guard;
        if receiver.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Takes the listener off again, so that nothing calls into what is gone.
struct Listener {
    signal: web_sys::AbortSignal,
    _listener: Closure<dyn FnMut()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.signal.set_onabort(None);
    }
}

/// A body that nobody has asked for yet.
pub struct Unread {
    request: Request,
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
pub fn read(request: Request) -> Result<api::Request<Unread>, Reply> {
    let Ok(url) = request.url() else { return Err(api::wrong_host(&RequestId::new(clock::now(), clock::random()))) };
    let headers = request.headers();
    let get = |name: &str| headers.get(name).ok().flatten();
    let authorization = get("authorization");
    let bearer = authorization.as_deref().and_then(|value| {
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    let keys = ["x-api-key", "x-goog-api-key"].into_iter().filter_map(|name| Some((name, get(name)?)));
    let presented = bearer.map(|token| ("authorization", token)).into_iter().chain(keys).next();
    let (presented_in, credential) = presented.unzip();
    let path = raw_path(&request.inner().url());
    let query: Vec<(String, String)> = url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    let passed = PASSED.into_iter().filter_map(|name| Some((name, get(name)?)));
    let head = RequestHead {
        misplaced: misplaced(authorization.as_deref(), get("api-key").is_some(), &query),
        credential,
        is_google: get("x-goog-api-key").is_some(),
        site: None,
        address: get("cf-connecting-ip").and_then(|text| text.parse().ok()),
        route: get("x-tf-route"),
        run: get("x-tf-run"),
        fit: get("x-tf-fit"),
        idempotency_key: get("idempotency-key"),
        session: SESSION.into_iter().find_map(|name| get(name).filter(|value| !value.is_empty())),
        content_type: get("content-type"),
        passed: passed.collect(),
        is_list: false,
        probed: None,
    };
    let place = match api::table::is_read_of_strangers(&path) {
        true => BodyRoom::of_stranger(&gate::by_address(head.address)),
        false => BodyRoom::of_sender(&gate::sender(&head)),
    };
    let most = api::table::most_bytes(&path);
    let declared = get("content-length").and_then(|text| text.parse::<usize>().ok());
    let (accept, signature) = (get("accept"), get("stripe-signature"));
    let (cookies, from) = (get("cookie"), get("origin"));
    let preflight = get("access-control-request-method").map(|method| api::Preflight {
        method,
        headers: get("access-control-request-headers").filter(|names| !names.is_empty()),
    });
    let origin = url.origin().ascii_serialization();
    // The platform's own type takes what it does not know for GET.
    let method = request.inner().method();
    Ok(api::Request {
        method,
        path,
        query,
        head,
        accept,
        cookies,
        from,
        preflight,
        presented_in,
        signature,
        origin,
        body: Unread { request, declared, most, place },
    })
}

/// Where a credential stands that is not read there.
fn misplaced(authorization: Option<&str>, has_other_header: bool, query: &[(String, String)]) -> Option<Misplaced> {
    let is_key = |(name, value): &(String, String)| name == "key" && (value.starts_with("sk-") || value.starts_with("AIza"));
    if authorization.is_some_and(|value| !value.is_empty()) {
        Some(Misplaced::Scheme)
    } else if has_other_header {
        Some(Misplaced::Header)
    } else {
        query.iter().any(is_key).then_some(Misplaced::Query)
    }
}

/// The path of an address, as it came: nothing in it is decoded or put right.
fn raw_path(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let path = rest.find(['/', '?', '#', '\\']).and_then(|at| rest.get(at..)).unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.is_empty() { "/".to_owned() } else { path.to_owned() }
}

/// Reads a body piece by piece: memory grows with what arrives, and only where there is room for it.
async fn body(Unread { mut request, declared, most, mut place }: Unread) -> Result<Body, Refusal> {
    if declared.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    if let Some(length) = declared.filter(|length| *length <= SMALL_BYTES) {
        find_room(&mut place, length).await?;
        let bytes = match select(Box::pin(request.bytes()), clock::sleep(STALLED_MS)).await {
            Either::Left((bytes, _)) => bytes.map_err(|error| broken(&error))?,
            Either::Right(_) => return Err(stalled()),
        };
        return Ok(Body::new(bytes, place));
    }
    let Ok(mut stream) = request.stream() else { return Ok(Vec::new().into()) };
    let begun = clock::now();
    let (mut bytes, mut arrived, mut watch) = (Vec::new(), begun, clock::sleep(STALLED_MS));
    loop {
        let piece = match select(stream.next(), watch).await {
            Either::Left((None, _)) => return Ok(Body::new(bytes, place)),
            Either::Left((Some(piece), rest)) => {
                watch = rest;
                piece.map_err(|error| broken(&error))?
            }
            // One timer for many pieces: what arrived meanwhile gives it more time.
            Either::Right(_) => {
                let silent_ms = u32::try_from(clock::now().since(arrived)).unwrap_or(u32::MAX);
                if silent_ms >= STALLED_MS || clock::now().since(begun) >= u64::from(ARRIVED_MS) {
                    return Err(stalled());
                }
                watch = clock::sleep(STALLED_MS.saturating_sub(silent_ms));
                continue;
            }
        };
        arrived = clock::now();
        let length = bytes.len().saturating_add(piece.len());
        if length > most {
            return Err(too_large(most));
        }
        let capacity = grown(bytes.capacity(), length, declared.unwrap_or(most));
        if capacity > bytes.capacity() {
            find_room(&mut place, capacity).await?;
            bytes.reserve_exact(capacity.saturating_sub(bytes.len()));
        }
        bytes.extend(piece);
    }
}

/// Waits a little for others to leave room.
async fn find_room(place: &mut BodyRoom, bytes: usize) -> Result<(), Refusal> {
    let begun = clock::now();
    while !place.hold(bytes) {
        if clock::now().since(begun) >= u64::from(ROOM_MS) {
            return Err(no_room());
        }
        clock::sleep(LOOK_MS).await;
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

fn broken(error: &worker::Error) -> Refusal {
    let refusal = Refusal::new(Code::InvalidRequest, "The request body did not arrive whole.", "Send the request again.");
    Refusal { detail: Some(error.to_string()), ..refusal }
}

/// Our reply as the platform's.
pub fn write(reply: Reply) -> worker::Result<Response> {
    let headers = Headers::new();
    for (name, value) in &reply.headers {
        headers.set(name, value)?;
    }
    let builder = ResponseBuilder::new().with_status(reply.status).with_headers(headers);
    match reply.body {
        // Some statuses may have no body, not even an empty one.
        ReplyBody::Full(bytes) if bytes.is_empty() => Ok(builder.empty()),
        ReplyBody::Full(bytes) => Ok(builder.fixed(bytes)),
        ReplyBody::Stream(stream) => builder.from_stream(stream.map(|piece| piece.map_err(worker::Error::RustError))),
    }
}

/// The answer of last resort.
pub fn failure(is_over_tls: bool) -> worker::Result<Response> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    headers.set("cache-control", "no-store")?;
    headers.set("retry-after", "2")?;
    headers.set("x-content-type-options", "nosniff")?;
    if is_over_tls {
        headers.set("strict-transport-security", api::HSTS)?;
    }
    Ok(ResponseBuilder::new().with_status(503).with_headers(headers).fixed(api::failure_body().into_bytes()))
}
