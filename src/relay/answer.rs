//! A call on a channel with one credential: what goes up, and what of upstream's answer is one.

use std::rc::Rc;

use futures_util::StreamExt;

use super::attempt::Failure;
use super::owned::sealed_item;
use super::prepare::{Prepared, sealed, sealed_id};
use super::quote::Quoted;
use super::ticket::{Limits, Ticket};
use super::verdict::{Asked, Rejection};
use crate::account::Served;
use crate::catalog::{Channel, Dialect, ReasoningTokens, Thoughts};
use crate::dialect::bridge::Bridge;
use crate::dialect::discreet::{Discretion, without_host, without_names};
use crate::dialect::format::{Cost, Counting, StreamWish, Translation, Upstream, UpstreamError};
use crate::dialect::hidden::Hidden;
use crate::dialect::maker::place;
use crate::dialect::mend::mend_answer;
use crate::dialect::meter::{self, Meter};
use crate::dialect::openai::responses::with_seal;
use crate::dialect::tally::{Fallback, Progress};
use crate::dialect::tokens::Counter;
use crate::dialect::{Edit, Endpoint, Object, Sent, Way, quoted as json_text, read_error, required_header};
use crate::id::{AccountId, ChannelId, SecretName};
use crate::money::{Money, Price, cost};
use crate::ports::{Call, Ports, SendError, UpstreamResponse};
use crate::refusal::Refusal;
use crate::routing::asked_model;
use crate::routing::attempt::{FailureKind, Verdict, bounded_wait, classify};
use crate::usage::{Usage, UsageSource};

/// Of a model whose catalogued context is no longer than this, no client may ask for more: the quote and what usage is cut to
/// go by it, and what is beyond costs more at the provider.
const USUAL_CONTEXT: u64 = 200_000;

/// How long a count of tokens may take, in milliseconds: clients wait for it before they ask anything, and the gateway's
/// estimate does as well.
const COUNT_TIMEOUT_MS: u32 = 10_000;
/// What stands in place of a stream is read up to this, in bytes.
const LONGEST_ERROR: usize = 65_536;

/// Why a call is not answered.
pub enum No {
    Failed(Failure),
    /// Upstream refuses the request itself.
    Rejected(Box<Rejection>),
    /// The request cannot be written for this channel.
    Unwritten(Box<Refusal>),
}

impl From<Failure> for No {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// An answer that is known to be one.
pub struct Answer<B> {
    /// Upstream's; none if the gateway answers by itself.
    pub status: Option<u16>,
    pub channel: Rc<Channel>,
    pub content: Content<B>,
}

pub enum Content<B> {
    Plain {
        body: String,
        usage: (Usage, UsageSource),
        bytes: u64,
        finish_reason: Option<String>,
    },
    /// A stream whose first event has come; `out` is what the client gets first.
    Stream {
        body: B,
        meter: Box<Meter>,
        out: Vec<u8>,
        content_type: String,
    },
}

/// All that reading an answer needs to know.
struct Reading<'a> {
    prepared: &'a Prepared<'a>,
    quoted: &'a Quoted,
    way: Way,
    /// Between upstream's format and the client's, where those differ.
    bridge: Option<Bridge>,
    wish: StreamWish,
    /// What of the model's name the client does not read.
    hidden: Option<Hidden>,
    fallback: Fallback,
    charging: Charging,
}

/// All that the charge of an answer depends on.
#[derive(Clone)]
struct Charging {
    price: Price,
    hold: Money,
    limits: Option<Limits>,
    currency: Option<String>,
    details: serde_json::Value,
}

/// With what a channel is called.
#[derive(Clone, Copy)]
pub struct With<'a> {
    /// One of its credentials.
    pub secret: &'a SecretName,
    /// Which thoughts of earlier turns go up.
    pub thoughts: Thoughts,
}

/// Calls a channel and reads its answer, of a stream the first event.
pub async fn call<P: Ports>(
    ticket: &mut Ticket<P>,
    prepared: &Prepared<'_>,
    quoted: &Quoted,
    served: &Served,
    with: With<'_>,
) -> Result<Answer<P::Body>, No> {
    let With { secret, thoughts } = with;
    let channel = &quoted.planned.channel;
    let endpoint = prepared.request.endpoint;
    let Some(way) = endpoint.asked_of(channel) else {
        let missing = || Failure::new(FailureKind::NotConfigured, "the channel does not have this endpoint");
        return Ok(estimated(prepared, channel).ok_or_else(missing)?);
    };
    let discretion = discretion(ticket, channel, secret);
    let asked = Asked { prepared, quoted, way, discretion: &discretion };
    let own_items = prepared.owned.thoughts_of((&ticket.account, &channel.id), || ticket.ports.sealer(secret));
    let sent = sent((prepared, quoted), way, thoughts, &own_items).map_err(|refusal| No::Unwritten(Box::new(refusal)))?;
    ticket.dropped = sent.dropped;
    let bridge = way.translation(endpoint).map(|(down, up)| Bridge::new(sent.names, up.maker(&place(channel.id.as_str())), down));
    let ports = ticket.ports.clone();
    let mut headers = passed_headers(prepared, channel.dialect, quoted.planned.model.context_length);
    headers.push(("content-type", sent.content_type));
    let url = format!("{}{}", channel.base_url.as_str().trim_end_matches('/'), sent.path);
    let call = Call { url, secret: secret.clone(), dialect: channel.dialect, headers, body: Some(sent.body) };
    let patience_ms = if endpoint.is_free() { COUNT_TIMEOUT_MS } else { u32::MAX };
    let timeout_ms = channel.first_byte_timeout_ms.min(patience_ms);
    let no_byte = || Failure::new(FailureKind::Timeout, format!("no answer within {timeout_ms} ms"));
    let head = ticket.within(timeout_ms, ports.send(call)).await.ok_or_else(no_byte)?;
    let UpstreamResponse { status, retry_after_s: told_s, content_type, body } = head.map_err(|error| match error {
        SendError::NotConfigured => Failure::new(FailureKind::NotConfigured, "the credential is not set"),
        SendError::Connect(detail) => {
            ports.log(&format!("{}: {detail}", channel.id));
            Failure::new(FailureKind::Connect, "the connection failed")
        }
    })?;
    let retry_after_s = bounded_wait(told_s);
    let envelope = &prepared.request.envelope;
    let is_json = content_type.as_deref().is_some_and(|text| text.starts_with("application/json"));
    // Some models of transcription know no streams, and answer as if none had been asked for.
    let is_unstreamed = is_json && envelope.stream && endpoint == Endpoint::Transcriptions;
    let content = match classify(status) {
        Verdict::Read if (envelope.stream || envelope.is_bytes) && !is_unstreamed => {
            if is_json && endpoint == Endpoint::Speech {
                let text = error_text(ticket, body).await;
                return Err(misplaced(asked, status, &text, "JSON in place of sound".to_owned()));
            }
            let reading = Reading { bridge, ..reading(ticket, prepared, quoted, served, secret, way) };
            let content_type = shown_type(&reading, content_type);
            let meter = Box::new(meter_of(&reading).discreet(Rc::clone(&discretion)));
            let first = ticket.within(timeout_ms, first_event(body, meter)).await.ok_or_else(no_byte)?;
            let (body, meter, out) = first.map_err(|spoiled| match spoiled {
                Spoiled::Broke(what) => Failure::new(FailureKind::Connect, what).status(status).into(),
                Spoiled::Empty(text) => misplaced(asked, status, &text, "an empty stream".to_owned()),
                Spoiled::Error(error) => asked.judge(status, error, retry_after_s),
            })?;
            Content::Stream { body, meter, out, content_type }
        }
        Verdict::Read => {
            let read = ticket.within(channel.idle_timeout_ms.min(patience_ms), ports.read_all(body)).await.ok_or_else(no_byte)?;
            let bytes = read.map_err(|_| {
                Failure::new(FailureKind::Connect, "the connection broke in the middle of the answer").status(status)
            })?;
            let reading = Reading { bridge, ..reading(ticket, prepared, quoted, served, secret, way) };
            plain(&reading, &bytes).map_err(|what| misplaced(asked, status, &String::from_utf8_lossy(&bytes), what))?
        }
        Verdict::Client | Verdict::Next(_) => {
            let error = read_error(channel.dialect, &error_text(ticket, body).await);
            return Err(asked.judge(status, error, retry_after_s));
        }
    };
    Ok(Answer { status: Some(status), channel: Rc::clone(channel), content })
}

/// How words of an error are told: without what is between the gateway and its provider.
fn discretion<P: Ports>(ticket: &Ticket<P>, channel: &Rc<Channel>, secret: &SecretName) -> Discretion {
    let (ports, channel, secret) = (ticket.ports.clone(), Rc::clone(channel), secret.clone());
    Rc::new(move |text: &str| {
        let told = without_names(&ports.without_credential(&secret, text));
        without_host(&told, channel.base_url.host_str().unwrap_or_default())
    })
}

/// What the gateway itself answers where tokens are to be counted and no provider does.
pub fn estimated<B>(prepared: &Prepared<'_>, channel: &Rc<Channel>) -> Option<Answer<B>> {
    let body = prepared.request.endpoint.format().write_count(prepared.estimated_input)?;
    let content = Content::Plain { body, usage: (Usage::default(), UsageSource::None), bytes: 0, finish_reason: None };
    Some(Answer { status: None, channel: Rc::clone(channel), content })
}

/// What stands where an answer should be: an error that is judged as if it had come with a status of its own, or something else,
/// which `what` names.
fn misplaced(asked: Asked<'_>, status: u16, text: &str, what: String) -> No {
    match asked.judge(status, read_error(asked.quoted.planned.channel.dialect, text), None) {
        No::Failed(failure) if failure.kind == FailureKind::Unreadable => Failure { message: what, ..failure }.into(),
        judged => judged,
    }
}

/// What goes up.
fn sent<'a>(
    (prepared, quoted): (&'a Prepared<'_>, &Quoted),
    way: Way,
    thoughts: Thoughts,
    own_items: &[String],
) -> Result<Sent<'a>, Refusal> {
    let upstream = Upstream {
        model: &quoted.planned.candidate.upstream_model,
        output_limit: quoted.output_limit,
        is_fitted: quoted.output_limit < quoted.wanted,
        limit_field: quoted.planned.channel.output_limit_field,
        stream: prepared.request.envelope.stream,
        place: &place(quoted.planned.channel.id.as_str()),
        thoughts,
        leaves_out_hosted: quoted.leaves_out_hosted,
        own_items,
    };
    let previous = prepared.previous.as_ref();
    let previous = previous.map(|response| Edit::Set("previous_response_id", json_text(response)));
    let unasked = (!quoted.planned.channel.stream_usage).then_some(Edit::Remove("stream_options"));
    prepared.request.sent(way, &upstream, previous.into_iter().chain(unasked).collect())
}

/// The client's own headers that a dialect knows.
fn passed_headers(prepared: &Prepared<'_>, dialect: Dialect, context_length: u64) -> Vec<(&'static str, String)> {
    let prefix = match dialect {
        Dialect::Anthropic => "anthropic-",
        Dialect::Openai => "openai-",
        Dialect::Gemini | Dialect::Cohere => return Vec::new(),
    };
    let mut headers: Vec<_> = prepared.head.passed.iter().filter(|(name, _)| name.starts_with(prefix)).cloned().collect();
    if context_length <= USUAL_CONTEXT {
        for (_, value) in headers.iter_mut().filter(|(name, _)| *name == "anthropic-beta") {
            let kept: Vec<&str> = value.split(',').map(str::trim).filter(|beta| !beta.starts_with("context-1m")).collect();
            *value = kept.join(",");
        }
        headers.retain(|(_, value)| !value.is_empty());
    }
    if let Some((name, value)) = required_header(dialect).filter(|(name, _)| !headers.iter().any(|(given, _)| given == name)) {
        headers.push((name, value.to_owned()));
    }
    headers
}

fn reading<'a, P: Ports>(
    ticket: &Ticket<P>,
    prepared: &'a Prepared<'_>,
    quoted: &'a Quoted,
    served: &Served,
    secret: &SecretName,
    way: Way,
) -> Reading<'a> {
    let (account, channel, request) = (ticket.account.clone(), quoted.planned.channel.id.clone(), ticket.request.clone());
    let passes = prepared.request.endpoint == Endpoint::Responses && !way.is_translated;
    let sealer = passes.then(|| ticket.ports.sealer(secret)).flatten();
    let prove =
        move |text: &dyn Fn(&AccountId, &ChannelId) -> String| sealer.as_ref().map(|sealer| sealer(&text(&account, &channel)));
    // Whoever goes on from this response has to come back to who made it, and so with its items.
    let prove_item = prove.clone();
    let seal = move |response: &str| {
        let proof = prove(&|account, channel| sealed(account, channel, response)).unwrap_or_default();
        sealed_id(&request, response, &proof)
    };
    let seal_item = move |item: &str| {
        let proof = prove_item(&|account, channel| sealed_item(account, channel, item));
        proof.map_or_else(|| item.to_owned(), |proof| with_seal(item, &proof))
    };
    let envelope = &prepared.request.envelope;
    let currency = prepared.catalog.buckets.get(&served.bucket).map(|bucket| bucket.currency.clone());
    let maker = way.translation(prepared.request.endpoint).map(|(_, up)| up.maker(&place(quoted.planned.channel.id.as_str())));
    Reading {
        prepared,
        quoted,
        way,
        bridge: None,
        wish: StreamWish {
            maker,
            include_usage: envelope.include_usage,
            is_list: prepared.head.is_list && envelope.stream,
            created: ticket.ports.now().millis() / 1000,
            id: ticket.request.to_string(),
            model: told_model(prepared, quoted),
            previous: envelope.previous_response.clone(),
            begun: prepared.early.begun(),
            keeps: envelope.keeps && way.is_translated,
            goes_on: envelope.keeps && !way.is_translated,
            seal: passes.then(|| Rc::new(seal) as _),
            seal_item: (passes && envelope.keeps).then(|| Rc::new(seal_item) as _),
            compacts: envelope.compacts,
        },
        hidden: (!quoted.planned.channel.shows_upstream_models)
            .then(|| Hidden { upstream: quoted.planned.candidate.upstream_model.clone(), told: told_model(prepared, quoted) }),
        fallback: Fallback { usage: prepared.unreported(quoted), basis: prepared.basis(quoted) },
        charging: Charging {
            price: served.price.clone(),
            hold: ticket.hold,
            limits: ticket.limits,
            details: cost_details(served, currency.as_deref()),
            currency,
        },
    }
}

/// What the client is told of the model that serves: its public name. Clients of Anthropic's messages are told the name that they
/// asked for where it is one of this model: they forget thoughts of a model by another name.
pub fn told_model(prepared: &Prepared<'_>, quoted: &Quoted) -> String {
    let model = &quoted.planned.model.id;
    if prepared.request.endpoint != Endpoint::Messages {
        return model.to_string();
    }
    let is_it = |asked: &&String| asked_model(&prepared.catalog, asked).is_some_and(|asked| asked.id == *model);
    prepared.request.envelope.models.first().filter(is_it).cloned().unwrap_or_else(|| model.to_string())
}

impl Reading<'_> {
    fn counting(&self) -> Counting {
        let told = self.quoted.planned.channel.reasoning_tokens;
        Counting { reasoning_outside: told.map(|told| told == ReasoningTokens::Outside) }
    }

    fn counter(&self) -> Counter {
        Counter::new(&self.quoted.planned.model.family)
    }

    /// The client's side of a translation and upstream's.
    fn translation(&self) -> Option<(&'static dyn Translation, &'static dyn Translation)> {
        self.way.translation(self.prepared.request.endpoint)
    }
}

impl Charging {
    /// What is charged for usage: as much of it as can be true, and never more than is held.
    fn cost(&self, usage: &Usage, source: UsageSource, bytes: u64) -> Cost {
        let limits = self.limits.filter(|_| source == UsageSource::Upstream);
        let usage = limits.map_or(*usage, |limits| usage.bounded(&limits.with(bytes)));
        let amount = cost(&self.price, &usage).unwrap_or(Money::MAX).min(self.hold);
        let mut details = self.details.clone();
        if let Some(fields) = details.as_object_mut() {
            fields.insert("usage_source".to_owned(), serde_json::to_value(source).unwrap_or_default());
            tell_end(fields, usage.output_side());
        }
        Cost { amount: amount.to_string(), currency: self.currency.clone(), details: details.to_string() }
    }
}

/// Says of an answer that ended at a limit that was made smaller that it did.
fn tell_end(details: &mut serde_json::Map<String, serde_json::Value>, output: u64) {
    let Some(limit) = details.get_mut("output_limit").and_then(|limit| limit.as_object_mut()) else { return };
    let is_reached = limit.get("tokens").and_then(|tokens| tokens.as_u64()).is_some_and(|tokens| output >= tokens);
    limit.insert("reached".to_owned(), is_reached.into());
}

fn meter_of(reading: &Reading<'_>) -> Meter {
    let (wish, counting) = (reading.wish.clone(), reading.counting());
    let way = match reading.translation() {
        _ if reading.prepared.request.envelope.is_bytes => meter::Way::Bytes,
        Some((down, up)) => {
            let bridge = reading.bridge.clone();
            meter::Way::translated(up.reader(counting), down.writer(wish), &reading.wish, bridge)
        }
        None => meter::Way::Same(reading.way.format.line(wish, counting)),
    };
    let charging = reading.charging.clone();
    let pricing = Box::new(move |usage: &Usage, source, bytes| charging.cost(usage, source, bytes));
    Meter::new(way, reading.fallback, reading.counter(), pricing).hiding(reading.hidden.clone())
}

/// What the client is told that a stream is. Of upstream's word only what can do no harm in a browser.
fn shown_type(reading: &Reading<'_>, upstream: Option<String>) -> String {
    if !reading.prepared.request.envelope.is_bytes {
        let name = if reading.wish.is_list { "application/json" } else { "text/event-stream; charset=utf-8" };
        return name.to_owned();
    }
    let is_harmless =
        |name: &String| name.starts_with("audio/") || ["text/plain", "text/vtt"].iter().any(|known| name.starts_with(known));
    let first = upstream.and_then(|names| names.split(',').next().map(|name| name.trim().to_owned()));
    first.filter(is_harmless).unwrap_or_else(|| "application/octet-stream".to_owned())
}

/// Why a stream is none.
enum Spoiled {
    /// The connection broke.
    Broke(&'static str),
    /// There is no event in it, but perhaps this text, such as an error that came as if no stream had been asked for.
    Empty(String),
    /// It begins with an error, or with what cannot be read.
    Error(UpstreamError),
}

/// Reads until the first event, so that a stream that starts with an error, or has nothing, can still go elsewhere.
async fn first_event<B: futures_util::Stream<Item = Result<Vec<u8>, String>> + Unpin>(
    mut body: B,
    mut meter: Box<Meter>,
) -> Result<(B, Box<Meter>, Vec<u8>), Spoiled> {
    let (mut out, mut text) = (Vec::new(), Vec::new());
    loop {
        let next = body.next().await;
        // What kept the connection alive before the first event is of no use to anybody.
        out.clear();
        meter.take_note();
        match &next {
            Some(Ok(bytes)) => {
                let room = LONGEST_ERROR.saturating_sub(text.len());
                text.extend(bytes.iter().take(room));
                meter.push(bytes, &mut out);
            }
            Some(Err(_)) => return Err(Spoiled::Broke("the connection broke before the first event")),
            None => meter.finish(&mut out),
        }
        match meter.progress() {
            Progress::Flowing => return Ok((body, meter, out)),
            Progress::Done if meter.has_chunks() => return Ok((body, meter, out)),
            Progress::Done => return Err(Spoiled::Empty(String::new())),
            // A stream that breaks after its first events is the client's already.
            Progress::Broken(_) if meter.has_chunks() => return Ok((body, meter, out)),
            Progress::Broken(error) => return Err(Spoiled::Error(error.clone())),
            Progress::Silent if next.is_none() => return Err(Spoiled::Empty(String::from_utf8_lossy(&text).into_owned())),
            Progress::Silent => {}
        }
    }
}

/// Reads a plain answer; an error says what it is instead.
fn plain<B>(reading: &Reading<'_>, bytes: &[u8]) -> Result<Content<B>, String> {
    if bytes.trim_ascii().is_empty() {
        return Err("an empty answer".to_owned());
    }
    let object = std::str::from_utf8(bytes).ok().and_then(Object::parse).ok_or("something that is not a JSON object")?;
    let counting = reading.counting();
    let said = reading.way.format.read_plain(&object, counting)?;
    let mut counter = reading.counter();
    counter.push_json(&said.output);
    let output = counter.tokens().min(reading.quoted.most.output);
    let (usage, source) = reading.fallback.metered(said.usage, output, said.images);
    let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let cost = reading.charging.cost(&usage, source, bytes);
    let body = match reading.translation() {
        Some((down, up)) => {
            let mut answer = up.read_answer(&object, counting)?;
            mend_answer(&mut answer, &reading.wish)?;
            let answer = match reading.bridge.clone() {
                Some(bridge) => bridge.answer(answer),
                None => answer,
            };
            down.write_answer(&answer, &usage, &cost, &reading.wish)
        }
        None => {
            let mut edits = reading.way.format.priced(&object, &usage, &cost);
            edits.extend(reading.way.format.named(&object, &reading.wish));
            object.edited(&edits)
        }
    };
    Ok(Content::Plain { body, usage: (usage, source), bytes, finish_reason: said.finish_reason })
}

/// The text of an error; nothing if it does not come.
async fn error_text<P: Ports>(ticket: &Ticket<P>, body: P::Body) -> String {
    let bytes = ticket.within(5_000, ticket.ports.read_error(body)).await.and_then(Result::ok).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn cost_details(served: &Served, currency: Option<&str>) -> serde_json::Value {
    let mut details =
        serde_json::json!({"currency": currency, "bucket": served.bucket, "route": served.route, "price": served.price});
    let told = served.output_limit.as_ref().filter(|limit| limit.because.is_some());
    if let (Some(fields), Some(limit)) = (details.as_object_mut(), told) {
        fields.insert("output_limit".to_owned(), serde_json::json!(limit));
    }
    details
}
