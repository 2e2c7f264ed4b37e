//! HTTP in and out: the platform's request to ours, and our reply to the platform's.

use std::future::Future;

use futures_channel::oneshot;
use futures_util::StreamExt;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use worker::{Headers, Request, Response, ResponseBuilder};

use super::clock;
use crate::api;
use crate::id::RequestId;
use crate::refusal::{Code, Refusal};
use crate::relay::{Head, Misplaced, Reply, ReplyBody};

/// The largest body: 30 MB of images are 40 MB of base64. It stands in memory twice on its way, once here and once where the
/// platform sends it from, of 128 MB in all.
const LARGEST_BODY: usize = 42 * 1024 * 1024;
/// A body up to this is read as a whole.
const SMALL_BODY: usize = 64 * 1024;
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

type Body = std::pin::Pin<Box<dyn Future<Output = Result<Vec<u8>, Refusal>>>>;

/// Reads the head of a request; the body stays on its way. An error is the answer to one that has no readable address.
pub fn read(request: Request) -> Result<api::Request<Body>, Reply> {
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
    let head = Head {
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
        body: Box::pin(body(request, declared)),
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

async fn body(mut request: Request, declared: Option<usize>) -> Result<Vec<u8>, Refusal> {
    if declared.is_some_and(|length| length > LARGEST_BODY) {
        return Err(too_large());
    }
    if declared.is_some_and(|length| length <= SMALL_BODY) {
        return request.bytes().await.map_err(|error| broken(&error));
    }
    // A large one is read piece by piece, so that it never stands here twice, and no further than the limit.
    let Ok(mut stream) = request.stream() else { return Ok(Vec::new()) };
    let mut bytes = Vec::with_capacity(declared.unwrap_or(SMALL_BODY));
    while let Some(piece) = stream.next().await {
        bytes.extend(piece.map_err(|error| broken(&error))?);
        if bytes.len() > LARGEST_BODY {
            return Err(too_large());
        }
    }
    Ok(bytes)
}

fn too_large() -> Refusal {
    let mib = LARGEST_BODY >> 20;
    let message = format!("The request body is larger than {mib} MiB.");
    Refusal::new(Code::BodyTooLarge, message, "Send less, or refer to images by URL instead of sending them.")
        .fact("limit_bytes", LARGEST_BODY)
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
