//! A closed loop: each connection sends its next request when the answer to the last one is complete.
//! It ends at the number of requests or at the time limit, whichever comes first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::upstream::CHUNKS;
use crate::{Fault, wall_us};

const ONE_REQUEST: Duration = Duration::from_secs(15);

pub struct Options {
    uri: Uri,
    address: SocketAddr,
    body: Bytes,
    headers: Vec<(String, String)>,
    connections: u32,
    requests: u32,
    limit: Duration,
    stream: bool,
    /// Connections start one after the other over this time, so that paced streams do not all tick together.
    spread: Duration,
}

impl Options {
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Fault> {
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        let mut headers = Vec::new();
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            if name == "--header" {
                let (key, value) = value.split_once(": ").ok_or("a header is 'name: value'")?;
                headers.push((key.to_owned(), value.to_owned()));
            } else {
                named.insert(name, value);
            }
        }
        let number = |name: &str, default: u32| named.get(name).map_or(Ok(default), |text| text.parse::<u32>());
        let uri: Uri = named.get("--url").ok_or("--url is missing")?.parse()?;
        let address: SocketAddr = uri.authority().ok_or("the URL has no host")?.as_str().parse()?;
        if !address.ip().is_loopback() {
            return Err("the load goes to loopback addresses only".into());
        }
        Ok(Self {
            body: named.get("--body").cloned().unwrap_or_default().into(),
            connections: number("--connections", 1)?.clamp(1, 256),
            requests: number("--requests", 100)?.min(1_000_000),
            limit: Duration::from_secs(number("--seconds", 10)?.min(120).into()),
            stream: number("--stream", 0)? == 1,
            spread: Duration::from_millis(number("--spread-ms", 0)?.into()),
            uri,
            address,
            headers,
        })
    }

    /// `{n}` in a header's value becomes the request's number, so that each can have a key of its own.
    fn request(&self, number: u32) -> Result<Request<Full<Bytes>>, Fault> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().uri(path).header("host", self.address.to_string());
        for (name, value) in &self.headers {
            request = request.header(name, value.replace("{n}", &number.to_string()));
        }
        let method = if self.body.is_empty() { Method::GET } else { Method::POST };
        Ok(request.method(method).body(Full::new(self.body.clone()))?)
    }
}

#[derive(Default)]
struct Tally {
    taken: u32,
    errors: u32,
    first_error: Option<String>,
    total_us: Vec<u64>,
    first_us: Vec<u64>,
    late_us: Vec<u64>,
}

pub async fn run(options: Options) -> Result<Value, Fault> {
    let options = Rc::new(options);
    let tally = Rc::new(RefCell::new(Tally::default()));
    let began = Instant::now();
    let workers: Vec<_> = (0..options.connections)
        .map(|number| tokio::task::spawn_local(connection(number, began, options.clone(), tally.clone())))
        .collect();
    for worker in workers {
        worker.await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut tally = tally.borrow_mut();
    let done = tally.total_us.len();
    Ok(json!({
        "requests": done,
        "errors": tally.errors,
        "first_error": tally.first_error,
        "seconds": seconds,
        "per_second": done as f64 / seconds,
        "chunks": tally.late_us.len(),
        "total_us": summary(&mut tally.total_us),
        "first_us": summary(&mut tally.first_us),
        "late_us": summary(&mut tally.late_us),
    }))
}

async fn connection(number: u32, began: Instant, options: Rc<Options>, tally: Rc<RefCell<Tally>>) {
    tokio::time::sleep(options.spread * number / options.connections).await;
    let mut sender = None;
    loop {
        let taken = {
            let mut tally = tally.borrow_mut();
            if tally.taken >= options.requests || began.elapsed() > options.limit {
                return;
            }
            tally.taken += 1;
            tally.taken
        };
        let outcome = timeout(ONE_REQUEST, exchange(&mut sender, &options, taken, &tally)).await;
        if let Err(fault) = outcome.unwrap_or_else(|_| Err("no answer in 15 s".into())) {
            sender = None;
            let mut tally = tally.borrow_mut();
            tally.errors += 1;
            tally.first_error.get_or_insert(fault.to_string());
        }
    }
}

async fn exchange(
    sender: &mut Option<SendRequest<Full<Bytes>>>,
    options: &Options,
    number: u32,
    tally: &RefCell<Tally>,
) -> Result<(), Fault> {
    let mut open = match sender.take() {
        Some(open) if !open.is_closed() => open,
        _ => connect(options.address).await?,
    };
    let request = options.request(number)?;
    let began = Instant::now();
    open.ready().await?;
    let response = open.send_request(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let text = body.collect().await?.to_bytes();
        return Err(format!("status {status}: {}", String::from_utf8_lossy(&text)).into());
    }
    let mut events = Events::default();
    while let Some(frame) = body.frame().await {
        if let (true, Ok(bytes)) = (options.stream, frame?.into_data()) {
            events.take(&bytes, began);
        }
    }
    let total = began.elapsed().as_micros() as u64;
    if options.stream && (events.late_us.len() != CHUNKS as usize || !events.done) {
        return Err(format!("a stream ended after {} chunks, [DONE]: {}", events.late_us.len(), events.done).into());
    }
    let mut tally = tally.borrow_mut();
    tally.total_us.push(total);
    tally.first_us.extend(events.first_us);
    tally.late_us.append(&mut events.late_us);
    *sender = Some(open);
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Fault> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// Cuts a body into SSE events, wherever the reads fall. An event counts as arrived when its last byte has.
#[derive(Default)]
struct Events {
    pending: Vec<u8>,
    first_us: Option<u64>,
    late_us: Vec<u64>,
    done: bool,
}

impl Events {
    fn take(&mut self, bytes: &[u8], began: Instant) {
        let now = wall_us();
        self.pending.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(length) = find(&self.pending[start..], b"\n\n") {
            let event = &self.pending[start..start + length];
            if let Some(sent) = sent_at(event) {
                self.first_us.get_or_insert(began.elapsed().as_micros() as u64);
                self.late_us.push(now.saturating_sub(sent));
            }
            self.done |= event.starts_with(b"data: [DONE]");
            start += length + 2;
        }
        self.pending.drain(..start);
    }
}

/// The send time that the upstream wrote into the chunk's content.
fn sent_at(event: &[u8]) -> Option<u64> {
    let start = find(event, b" t=")? + 3;
    std::str::from_utf8(event.get(start..start + 16)?).ok()?.parse().ok()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn summary(samples: &mut [u64]) -> Value {
    samples.sort_unstable();
    let at = |share: f64| samples.get(((samples.len() as f64 * share) as usize).min(samples.len().saturating_sub(1)));
    json!({ "p50": at(0.50), "p99": at(0.99), "max": samples.last() })
}
