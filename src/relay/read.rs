//! Reading upstream's answer: what of it is one, what the client gets of it, and what it costs.
//!
//! What always holds: what is charged is never more than is held, and what usage is told is cut to what can be true; a stream is
//! only an answer once its first event is neither an error nor unreadable.

use std::rc::Rc;

use futures_util::StreamExt;

use super::guard::{Limits, SettlementGuard};
use super::owned::tagged_item;
use super::prepare::{tagged, tagged_id};
use super::prepared::Prepared;
use super::quote::Quoted;
use crate::account::Served;
use crate::catalog::ReasoningTokens;
use crate::dialect::bridge::Bridge;
use crate::dialect::format::{Cost, Counting, StreamWish, Translation, UpstreamError};
use crate::dialect::hidden::Hidden;
use crate::dialect::maker::place;
use crate::dialect::mend::mend_answer;
use crate::dialect::meter::{self, Meter};
use crate::dialect::openai::responses::with_tag;
use crate::dialect::stream_state::{Fallback, Progress};
use crate::dialect::tokens::Counter;
use crate::dialect::{Endpoint, Object, Way};
use crate::id::{AccountId, ChannelId, SecretName};
use crate::money::{Money, Price, cost};
use crate::ports::Ports;
use crate::usage::{Usage, UsageSource};

/// What stands in place of a stream is read up to this, in bytes.
const LONGEST_ERROR: usize = 65_536;

/// All that reading an answer needs to know.
pub struct Reading<'a> {
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

/// What an answer has for the client.
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

impl<'a> Reading<'a> {
    /// Of a call that was made, in the client's own format.
    pub fn new<P: Ports>(
        guard: &SettlementGuard<P>,
        prepared: &'a Prepared<'_>,
        quoted: &'a Quoted,
        served: &Served,
        secret: &SecretName,
        way: Way,
    ) -> Self {
        let (account, channel, request) = (guard.account.clone(), quoted.planned.channel.id.clone(), guard.request.clone());
        let passes = prepared.request.endpoint == Endpoint::Responses && !way.is_translated;
        let signer = passes.then(|| guard.ports.signer(secret)).flatten();
        let prove = move |text: &dyn Fn(&AccountId, &ChannelId) -> String| {
            signer.as_ref().map(|signer| signer(&text(&account, &channel)))
        };
        // Whoever goes on from this response has to come back to who made it, and so with its items.
        let prove_item = prove.clone();
        let tag = move |response: &str| {
            let proof = prove(&|account, channel| tagged(account, channel, response)).unwrap_or_default();
            tagged_id(&request, response, &proof)
        };
        let tag_item = move |item: &str| {
            let proof = prove_item(&|account, channel| tagged_item(account, channel, item));
            proof.map_or_else(|| item.to_owned(), |proof| with_tag(item, &proof))
        };
        let envelope = &prepared.request.envelope;
        let currency = prepared.catalog.buckets.get(&served.bucket).map(|bucket| bucket.currency.clone());
        let maker =
            way.translation(prepared.request.endpoint).map(|(_, up)| up.maker(&place(quoted.planned.channel.id.as_str())));
        Self {
            prepared,
            quoted,
            way,
            bridge: None,
            wish: StreamWish {
                maker,
                include_usage: envelope.include_usage,
                is_list: prepared.head.is_list && envelope.stream,
                created: guard.ports.now().millis() / 1000,
                id: guard.request.to_string(),
                model: prepared.told_model(quoted),
                previous: envelope.previous_response.clone(),
                begun: prepared.early.begun(),
                keeps: envelope.keeps && way.is_translated,
                goes_on: envelope.keeps && !way.is_translated,
                tag: passes.then(|| Rc::new(tag) as _),
                tag_item: (passes && envelope.keeps).then(|| Rc::new(tag_item) as _),
                compacts: envelope.compacts,
            },
            hidden: (!quoted.planned.channel.shows_upstream_models)
                .then(|| Hidden { upstream: quoted.planned.candidate.upstream_model.clone(), told: prepared.told_model(quoted) }),
            fallback: Fallback { usage: prepared.unreported(quoted), basis: prepared.basis(quoted) },
            charging: Charging {
                price: served.price.clone(),
                hold: guard.hold,
                limits: guard.limits,
                details: cost_details(served, currency.as_deref()),
                currency,
            },
        }
    }
}

impl Reading<'_> {
    /// The same over a bridge from upstream's format, where there is one.
    pub fn over(self, bridge: Option<Bridge>) -> Self {
        Self { bridge, ..self }
    }

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

pub fn meter_of(reading: &Reading<'_>) -> Meter {
    let (wish, counting) = (reading.wish.clone(), reading.counting());
    let way = match reading.translation() {
        _ if reading.prepared.request.envelope.is_bytes => meter::Transcoding::Bytes,
        Some((down, up)) => {
            let bridge = reading.bridge.clone();
            meter::Transcoding::translated(up.reader(counting), down.writer(wish), &reading.wish, bridge)
        }
        None => meter::Transcoding::Same(reading.way.format.passthrough(wish, counting)),
    };
    let charging = reading.charging.clone();
    let pricing = Box::new(move |usage: &Usage, source, bytes| charging.cost(usage, source, bytes));
    Meter::new(way, reading.fallback, reading.counter(), pricing).hiding(reading.hidden.clone())
}

/// What the client is told that a stream is. Of upstream's word only what can do no harm in a browser.
pub fn shown_type(reading: &Reading<'_>, upstream: Option<String>) -> String {
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
pub enum Spoiled {
    /// The connection broke.
    Broke(&'static str),
    /// There is no event in it, but perhaps this text, such as an error that came as if no stream had been asked for.
    Empty(String),
    /// It begins with an error, or with what cannot be read.
    Error(UpstreamError),
}

/// Reads until the first event, so that a stream that starts with an error, or has nothing, can still go elsewhere.
pub async fn first_event<B: futures_util::Stream<Item = Result<Vec<u8>, String>> + Unpin>(
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
pub fn plain<B>(reading: &Reading<'_>, bytes: &[u8]) -> Result<Content<B>, String> {
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

fn cost_details(served: &Served, currency: Option<&str>) -> serde_json::Value {
    let mut details =
        serde_json::json!({"currency": currency, "bucket": served.bucket, "route": served.route, "price": served.price});
    let told = served.output_limit.as_ref().filter(|limit| limit.because.is_some());
    if let (Some(fields), Some(limit)) = (details.as_object_mut(), told) {
        fields.insert("output_limit".to_owned(), serde_json::json!(limit));
    }
    details
}
