//! A simulated month: channels fail at known times, in every way that there is; requests and clients are what they are; the copy
//! dies and repeats itself. What is published of each route and day is what the clients and the channels saw, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use serde_json::{Value, json};
use support::copy::{Kept, SearchableCopy, Truths};
use support::outside::{Script, Simulation, secret};
use tokens_forge::account::Row;
use tokens_forge::catalog::{Catalog, RouteKind, UpstreamHosts};
use tokens_forge::dialect::EndpointPath;
use tokens_forge::id::{AccountId, ModelName};
use tokens_forge::relay::{Incoming, ReplyBody, RequestHead, serve};
use tokens_forge::routing::attempt::FailureKind;
use tokens_forge::routing::health::{CandidateId, HealthStatus, HealthView, LastFailure, Met, Observation, Recent, Witness};
use tokens_forge::time::{Period, Timestamp};
use tokens_forge::truth::{Entry, Miss, Missed, Promise, Truth, since};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// Some days more than are shown.
const DAYS: i64 = 33;
/// A midnight.
const START: i64 = 20_834 * DAY_MS;

const ANSWER: &str = r#"{"id":"x","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
const COUNTED: &str = r#"{"input_tokens":7}"#;
const BAD: &str = r#"{"error":{"message":"No.","type":"invalid_request_error","code":"bad"}}"#;
const UNKNOWN: &str = r#"{"error":{"message":"No such model.","type":"invalid_request_error","code":"model_not_found"}}"#;
const FIRST: &str =
    "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345678\"}}]}\n\n";
const FILTERED: &str =
    "data: {\"error\":{\"message\":\"No.\",\"type\":\"invalid_request_error\",\"code\":\"content_filter\"}}\n\n";
const DONE: &str = "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";

/// Every candidate in the catalogue's order: model, route, bucket, channel.
const CANDIDATES: [(&str, RouteKind, &str, &str); 7] = [
    ("m", RouteKind::Official, "credit", "a"),
    ("m", RouteKind::Official, "credit", "b"),
    ("m", RouteKind::Routed, "wallet", "c"),
    ("n", RouteKind::Official, "credit", "d"),
    // Both routes are paid by one bucket, and so are in one hold.
    ("o", RouteKind::Official, "credit", "e"),
    ("o", RouteKind::Routed, "credit", "f"),
    ("o", RouteKind::Routed, "credit", "g"),
];

fn catalog() -> Catalog {
    let channel = |name: &str| {
        json!({"dialect": "openai", "base_url": format!("https://{name}.example.com/v1"), "shows_upstream_models": true, "secrets": [format!("KEY_{name}").to_uppercase()],
               "first_byte_timeout_ms": 1000, "idle_timeout_ms": 5000, "on_client_gone": if name == "d" { "drain" } else { "cancel" }})
    };
    let mut models = json!({});
    for (model, route, bucket, channel) in CANDIDATES {
        let entry = &mut models[model];
        if entry.is_null() {
            *entry = json!({"name": "M", "family": "f", "kind": "chat", "context_length": 1000, "max_output_tokens": 100, "routes": {}});
        }
        let route = &mut entry["routes"][route.as_str()];
        if route.is_null() {
            *route = json!({"bucket": bucket, "price": {"input": "1", "output": "2"}, "candidates": []});
        }
        let candidates = route["candidates"].as_array_mut().unwrap();
        candidates.push(json!({"channel": channel, "upstream_model": format!("{model}-up"), "tier": candidates.len()}));
    }
    let channels: BTreeMap<&str, Value> = CANDIDATES.iter().map(|(_, _, _, name)| (*name, channel(name))).collect();
    let document = json!({
        "version": 3, "hold_timeout_ms": 60000, "channels": channels, "models": models,
        "buckets": {"credit": {"label": "C", "currency": "USD"}, "wallet": {"label": "W", "currency": "CNY"}},
    });
    Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
}

/// Numbers that are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn is_one_of(&mut self, end: u64) -> bool {
        self.below(end) == 0
    }
}

/// How a channel is out of order for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Refused,
    Hangs,
    Busy,
    Broken,
    Credential,
    Forbidden,
    Unknown,
    Absent,
    Html,
    /// Streams break after the first event; what is not streamed breaks as well.
    Cuts,
    /// Streams fall silent after the first event.
    Silent,
    /// It asks for fewer requests in the middle of a stream.
    BusyMid,
}

const FAULTS: [Fault; 12] = [
    Fault::Refused,
    Fault::Hangs,
    Fault::Busy,
    Fault::Broken,
    Fault::Credential,
    Fault::Forbidden,
    Fault::Unknown,
    Fault::Absent,
    Fault::Html,
    Fault::Cuts,
    Fault::Silent,
    Fault::BusyMid,
];

impl Fault {
    /// What a channel answers that is out of order so.
    fn script(self, is_stream: bool) -> Script {
        match (self, is_stream) {
            (Self::Refused, _) => Script::Refused,
            (Self::Hangs, _) => Script::Hangs,
            (Self::Busy, _) => Script::Status(429, ""),
            (Self::Broken, _) => Script::Status(503, "oops"),
            (Self::Credential, _) => Script::Status(401, ""),
            (Self::Forbidden, _) => Script::Status(403, ""),
            (Self::Unknown, _) => Script::Status(404, UNKNOWN),
            (Self::Absent, _) => Script::Status(404, ""),
            (Self::Html, _) => Script::Status(200, "<html></html>"),
            (Self::Cuts, true) => Script::Broken(vec![FIRST]),
            (Self::Silent, true) => Script::Silent(vec![FIRST]),
            (Self::BusyMid, true) => Script::Pieces(vec![
                FIRST,
                "data: {\"error\":{\"message\":\"Slow down.\",\"type\":\"rate_limit_error\",\"code\":\"rate_limit_exceeded\"}}\n\n",
            ]),
            (Self::Cuts | Self::Silent | Self::BusyMid, false) => Script::Broken(vec!["{"]),
        }
    }

    /// What is said of a request that this left without an answer.
    fn reason(self, is_stream: bool) -> Missed {
        match self {
            Self::Refused => Missed::Connect,
            Self::Hangs => Missed::Timeout,
            Self::Busy => Missed::Load,
            Self::Broken => Missed::Server,
            Self::Credential => Missed::Credential,
            Self::Forbidden => Missed::Forbidden,
            Self::Unknown => Missed::NotFound,
            Self::Absent => Missed::Absent,
            Self::Html => Missed::Unreadable,
            Self::Cuts | Self::Silent | Self::BusyMid => {
                if is_stream {
                    Missed::Cut
                } else {
                    Missed::Connect
                }
            }
        }
    }
}

/// When which channel is out of order, and how: decided before anything happens.
struct Month(Vec<(&'static str, i64, i64, Fault)>);

impl Month {
    fn new(dice: &mut Dice) -> Self {
        let mut faults = Vec::new();
        for (_, _, _, channel) in CANDIDATES {
            for _ in 0..90 {
                let from = START + i64::try_from(dice.below(u64::try_from(DAYS * DAY_MS).unwrap())).unwrap();
                let minutes = [1, 4, 20, 90, 300][usize::try_from(dice.below(5)).unwrap()];
                faults.push((channel, from, from + minutes * MINUTE_MS, FAULTS[usize::try_from(dice.below(12)).unwrap()]));
            }
        }
        // Everybody at once, so that nobody is expected to answer.
        for day in [3, 11, 28] {
            let from = START + day * DAY_MS + 9 * 60 * MINUTE_MS;
            faults.splice(0..0, CANDIDATES.map(|(_, _, _, channel)| (channel, from, from + 180 * MINUTE_MS, Fault::Broken)));
        }
        // All who serve one model, while another one answers.
        for day in 0..DAYS {
            let from = START + day * DAY_MS + i64::try_from(dice.below(20 * 60)).unwrap() * MINUTE_MS;
            let fault = if dice.is_one_of(2) { Fault::Broken } else { Fault::Busy };
            faults.splice(0..0, ["e", "f", "g"].map(|channel| (channel, from, from + 120 * MINUTE_MS, fault)));
        }
        Self(faults)
    }

    fn fault(&self, channel: &str, now: i64) -> Option<Fault> {
        self.0.iter().find(|(of, from, to, _)| *of == channel && *from <= now && now < *to).map(|(_, _, _, fault)| *fault)
    }
}

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One that providers answer.
    Usual,
    /// One that providers refuse.
    Bad,
    /// One whose answer a provider keeps back in the middle.
    Filtered,
    /// A count of tokens, which is free.
    Count,
    /// The gateway's own.
    Probe,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    model: &'static str,
    has_fallback: bool,
    is_stream: bool,
    kind: Kind,
    /// After how many steps its client leaves.
    leaves_after: Option<u32>,
    /// How often its settlement is lost; more than six times is for ever.
    lost: u32,
}

impl Asked {
    fn new(dice: &mut Dice) -> Self {
        let kind = match dice.below(40) {
            0..=2 => Kind::Bad,
            3 | 4 => Kind::Filtered,
            5 => Kind::Count,
            6 => Kind::Probe,
            _ => Kind::Usual,
        };
        let leaves_after = (kind == Kind::Usual && dice.is_one_of(6)).then(|| u32::try_from(dice.below(30)).unwrap());
        let lost =
            if leaves_after.is_none() && dice.is_one_of(25) { [1, 100][usize::try_from(dice.below(2)).unwrap()] } else { 0 };
        Self {
            model: ["m", "n", "o"][usize::try_from(dice.below(3)).unwrap()],
            has_fallback: dice.is_one_of(3),
            is_stream: kind == Kind::Filtered || kind != Kind::Count && dice.is_one_of(2),
            kind,
            leaves_after,
            lost,
        }
    }

    fn body(&self) -> String {
        let mut body = json!({"model": self.model, "messages": [{"role": "user", "content": "hello"}]});
        if self.kind != Kind::Count {
            body["stream"] = json!(self.is_stream);
            body["max_tokens"] = json!(50);
        }
        if self.has_fallback {
            body["models"] = json!(["n"]);
        }
        body.to_string()
    }

    /// Candidates that may serve it, in the catalogue's order.
    fn candidates(&self) -> Vec<(&'static str, RouteKind, &'static str, &'static str)> {
        let models = if self.has_fallback && self.model != "n" { vec![self.model, "n"] } else { vec![self.model] };
        models.iter().flat_map(|model| CANDIDATES.into_iter().filter(move |(of, _, _, _)| of == model)).collect()
    }

    /// What a channel does with it.
    fn script(&self, month: &Month, channel: &str, now: i64) -> Script {
        match (month.fault(channel, now), self.kind, self.is_stream) {
            (Some(fault), _, is_stream) => fault.script(is_stream),
            (None, Kind::Bad, _) => Script::Status(400, BAD),
            (None, Kind::Count, _) => Script::Status(200, COUNTED),
            (None, Kind::Filtered, _) => Script::Pieces(vec![FIRST, FILTERED]),
            (None, _, true) => Script::Pieces(vec![FIRST, FIRST, DONE]),
            (None, _, false) => Script::Status(200, ANSWER),
        }
    }
}

/// What a client saw of its request.
#[derive(Debug, Default)]
struct Seen {
    status: Cell<u16>,
    /// Over which route, by which model of a provider.
    answered_by: RefCell<Option<(String, String)>>,
    is_over: Cell<bool>,
    /// Whether the stream ended with an error.
    is_broken: Cell<bool>,
}

/// Polls so often and then drops the future, as the platform does when the client is gone.
struct Impatient<F: Future> {
    future: Pin<Box<F>>,
    polls: u32,
}

impl<F: Future> Future for Impatient<F> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.polls == 0 {
            return Poll::Ready(());
        }
        self.polls -= 1;
        self.future.as_mut().poll(context).map(|_| ())
    }
}

/// What really happened, counted by what clients and channels saw.
#[derive(Default)]
struct Ledger {
    days: BTreeMap<(Promise, i64), (i64, i64)>,
    misses: BTreeMap<Promise, Vec<Miss>>,
    /// How often each thing happened.
    counts: BTreeMap<String, u64>,
}

impl Ledger {
    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn note(&mut self, promise: Promise, missed: Option<Missed>, at: i64) {
        let (callable, answered) =
            self.days.entry((promise.clone(), Period::Day.start(Timestamp::from_millis(at)).millis())).or_default();
        *callable += 1;
        *answered += i64::from(missed.is_none());
        self.count(format!("promise: {}", missed.map_or("kept", Missed::as_str)));
        if let Some(reason) = missed {
            self.misses.entry(promise).or_default().push(Miss { at: Timestamp::from_millis(at - at.rem_euclid(1000)), reason });
        }
    }
}

/// One day: an account of its own, what is known of the channels, and the faults of the month.
struct Day<'a> {
    simulation: Simulation,
    month: &'a Month,
    has_wallet: bool,
}

impl<'a> Day<'a> {
    fn new(month: &'a Month, health: HealthView, has_wallet: bool, now: i64) -> Self {
        let buckets: &[&str] = if has_wallet { &["credit", "wallet"] } else { &["credit"] };
        let simulation = Simulation::ready(catalog(), buckets, json!({"cross_routes": true}));
        *simulation.world.health.borrow_mut() = health;
        simulation.world.now.set(now);
        Self { simulation, month, has_wallet }
    }

    fn now(&self) -> i64 {
        self.simulation.world.now.get()
    }

    /// Who would be asked, in order, in legs of one bucket: what is promised first, if anybody is expected to answer.
    fn promised(&self, asked: &Asked) -> Option<(&'static str, RouteKind, &'static str)> {
        let health = self.simulation.world.health.borrow();
        let account = AccountId::parse("acct").unwrap();
        let (now, by) = (Timestamp::from_millis(self.now()), Witness::of(&account));
        let of = |model: &str, channel: &str| {
            let channel = tokens_forge::id::ChannelId::parse(channel).unwrap();
            // What the account met itself is believed for it alone.
            health.told_to(&CandidateId { channel, upstream_model: format!("{model}-up") }, Some(by), now)
        };
        let mut order = asked.candidates();
        order.sort_by_key(|(model, _, _, channel)| !of(model, channel).is_ready(now));
        // A leg that is not covered is passed over.
        order.retain(|(_, _, bucket, _)| self.has_wallet || *bucket != "wallet");
        let found = order.into_iter().find(|(model, _, _, channel)| of(model, channel).is_expected_to_answer(now));
        found.map(|(model, route, _, channel)| (model, route, channel))
    }

    /// Sends one request and counts what its client and the channels saw.
    fn request(&mut self, asked: Asked, ledger: &mut Ledger) {
        let world = Rc::clone(&self.simulation.world);
        let (promised, sent_at) = (self.promised(&asked), self.now());
        let faults: BTreeMap<&str, Option<Fault>> =
            CANDIDATES.iter().map(|(_, _, _, channel)| (*channel, self.month.fault(channel, sent_at))).collect();
        world.scripts.borrow_mut().clear();
        world.calls.borrow_mut().clear();
        world.cooling.borrow_mut().clear();
        for (_, _, _, channel) in asked.candidates() {
            for _ in 0..3 {
                self.simulation.script(&format!("{channel}.example.com"), asked.script(self.month, channel, sent_at));
            }
        }
        if asked.lost > 0 {
            world.failing.borrow_mut().insert("settle", asked.lost);
        }
        let seen = Rc::new(Seen::default());
        let watched = Rc::clone(&seen);
        let probed = asked.candidates().first().map(|(model, _, _, channel)| CandidateId {
            channel: tokens_forge::id::ChannelId::parse(channel).unwrap(),
            upstream_model: format!("{model}-up"),
        });
        let head = RequestHead {
            credential: Some(secret().reveal()),
            probed: probed.filter(|_| asked.kind == Kind::Probe),
            ..RequestHead::default()
        };
        let path = if asked.kind == Kind::Count { "/v1/messages/count_tokens" } else { "/v1/chat/completions" };
        let body = ready(Ok(asked.body().into_bytes().into()));
        let outside = self.simulation.outside();
        let client = async move {
            let reply = serve(outside, Incoming { called: EndpointPath::at(path).unwrap(), head, body }).await;
            let header = |name: &str| reply.headers.iter().find(|(of, _)| *of == name).map(|(_, value)| value.clone());
            watched.status.set(reply.status);
            if reply.status == 200 {
                *watched.answered_by.borrow_mut() = header("x-tf-route").zip(header("x-tf-upstream-model"));
            }
            if let ReplyBody::Stream(mut stream) = reply.body {
                let mut text = String::new();
                while let Some(piece) = stream.next().await {
                    text.push_str(&String::from_utf8(piece.unwrap()).unwrap());
                }
                watched.is_broken.set(text.contains("\"error\""));
            }
            watched.is_over.set(true);
        };
        self.simulation.run(Impatient { future: Box::pin(client), polls: asked.leaves_after.unwrap_or(u32::MAX) });
        let mut ended_at = self.now();
        let is_held = !world.memory.borrow().holds.is_empty();
        if asked.lost > 0 && is_held {
            if asked.lost > 6 {
                self.simulation.settle_down();
            }
            let expired_at = self.now() + 61_000;
            world.memory.borrow_mut().tick(Timestamp::from_millis(expired_at));
            // What comes late is written when the expiry was, at the earliest.
            ended_at = expired_at;
        }
        self.simulation.settle_down();
        world.failing.borrow_mut().clear();
        world.now.set(self.now().max(ended_at));
        assert!(world.memory.borrow().holds.is_empty(), "no hold stays open");
        let hosts: Vec<String> =
            world.calls.borrow().iter().map(|call| call.url.split(['/', '.']).nth(2).unwrap().to_owned()).collect();
        let happened = Happened { asked, promised, hosts, faults, is_lost: asked.lost > 6 && is_held };
        match happened.verdict(&seen) {
            Ok((promise, missed)) => ledger.note(promise, missed, ended_at),
            Err(why) => ledger.count(format!("not counted: {why}")),
        }
    }
}

/// All that is known of a request outside of the gateway.
struct Happened<'a> {
    asked: Asked,
    promised: Option<(&'static str, RouteKind, &'static str)>,
    /// The channels that were called, in order.
    hosts: Vec<String>,
    faults: BTreeMap<&'a str, Option<Fault>>,
    is_lost: bool,
}

impl Happened<'_> {
    /// Whether it was answered as promised, and if not, why; an error says why it does not count.
    fn verdict(&self, seen: &Seen) -> Result<(Promise, Option<Missed>), &'static str> {
        let Asked { kind, is_stream, .. } = self.asked;
        if matches!(kind, Kind::Count | Kind::Probe) {
            return Err("free, or the gateway's own");
        }
        let (model, route, channel) = self.promised.ok_or("nobody was expected to answer")?;
        let promise = Promise { model: ModelName::parse(model).unwrap(), route };
        if self.is_lost {
            return Ok((promise, Some(Missed::Lost)));
        }
        if !self.hosts.iter().any(|host| host == channel) {
            return Err("whoever was expected to answer was not asked");
        }
        let fault_of = |host: &String| self.faults[host.as_str()];
        let is_at_fault = self.hosts.last().and_then(fault_of).is_some();
        let missed = match (&*seen.answered_by.borrow(), is_at_fault) {
            (Some(_), false) if seen.is_broken.get() => return Err("kept back in the middle"),
            (Some((_, by)), _) if *by != format!("{model}-up") => Some(Missed::OtherModel),
            (Some((over, _)), _) if over != route.as_str() => Some(Missed::OtherRoute),
            (Some(_), _) => seen.is_broken.get().then_some(Missed::Cut),
            (None, _) if !seen.is_over.get() => return Err("left before an answer"),
            (None, false) => return Err("refused by the provider"),
            (None, true) => {
                let is_of_route = |host: &&String| CANDIDATES.iter().any(|(_, of, _, name)| name == host && *of == route);
                self.hosts.iter().rev().find(is_of_route).and_then(fault_of).map(|fault| fault.reason(is_stream))
            }
        };
        Ok((promise, missed))
    }
}

/// Copies a journal piece by piece, as an outbox does that dies between any two steps, and is told what it has already.
fn copied(rows: &[Row], dice: &mut Dice, ledger: &mut Ledger) -> SearchableCopy {
    let (mut copy, mut mark) = (SearchableCopy::default(), 0);
    while mark < rows.len() {
        let end = (mark + 1 + usize::try_from(dice.below(40)).unwrap()).min(rows.len());
        match dice.below(6) {
            // It died within the transaction.
            0 => {
                let mut transaction = copy.clone();
                transaction.write(&rows[mark..end]);
                ledger.count("copy: rolled back");
            }
            // It died before it noted that it was done.
            1 => {
                copy.write(&rows[mark..end]);
                ledger.count("copy: done, and not noted");
            }
            2 => {
                copy.write(&rows[mark..end]);
                copy.write(&rows[mark..end]);
                ledger.count("copy: done twice");
                mark = end;
            }
            _ => {
                copy.write(&rows[mark..end]);
                mark = end;
            }
        }
    }
    copy
}

/// What is published of the days since a moment.
fn published(truths: &[Truths], from: Timestamp) -> BTreeMap<Promise, Truth> {
    let mut sums: BTreeMap<Promise, (i64, i64, Vec<Entry>)> = BTreeMap::new();
    for ((promise, _), Kept { callable, answered, misses }) in
        truths.iter().flatten().filter(|((_, day), _)| *day >= from.millis())
    {
        let sum = sums.entry(promise.clone()).or_default();
        (sum.0, sum.1) = (sum.0 + callable, sum.1 + answered);
        sum.2.extend(misses.iter().cloned());
    }
    let count = |sum: i64| u64::try_from(sum).unwrap();
    sums.into_iter()
        .map(|(promise, (callable, answered, entries))| (promise, Truth::new(count(callable), count(answered), &entries)))
        .collect()
}

#[test]
fn the_truth_rate_of_a_month_with_known_faults_is_what_really_happened() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let month = Month::new(&mut dice);
    let (mut ledger, mut health, mut truths) = (Ledger::default(), HealthView::default(), Vec::new());
    for number in 0..DAYS {
        let mut day = Day::new(&month, health, !dice.is_one_of(4), START + number * DAY_MS);
        let midnight = START + (number + 1) * DAY_MS;
        loop {
            let pause_ms = i64::try_from(dice.below(100 * 60_000)).unwrap();
            day.simulation.world.now.set(day.now() + pause_ms);
            // A request ends on the day on which it began.
            if day.now() + 10 * MINUTE_MS >= midnight {
                break;
            }
            for _ in 0..=dice.below(6) {
                let seconds = [0, 1, 3, 30][usize::try_from(dice.below(4)).unwrap()];
                day.simulation.world.now.set(day.now() + seconds * 1000);
                day.request(Asked::new(&mut dice), &mut ledger);
            }
        }
        health = day.simulation.world.health.borrow().clone();
        let rows = day.simulation.world.memory.borrow().journal.clone();
        truths.push(copied(&rows, &mut dice, &mut ledger).truths);
    }
    for (what, times) in &ledger.counts {
        println!("{times:>6}  {what}");
    }
    let mut days: BTreeMap<(Promise, i64), (i64, i64)> = BTreeMap::new();
    for (of, kept) in truths.iter().flatten().filter(|(_, kept)| kept.callable != 0) {
        let day = days.entry(of.clone()).or_default();
        (day.0, day.1) = (day.0 + kept.callable, day.1 + kept.answered);
    }
    for (of, told) in &days {
        assert_eq!(Some(told), ledger.days.get(of), "{} on day {}", of.0, (of.1 - START) / DAY_MS);
    }
    assert_eq!(days, ledger.days, "each route on each day");
    let from = since(Timestamp::from_millis(START + DAYS * DAY_MS - 1));
    for (promise, truth) in published(&truths, from) {
        let (mut callable, mut answered) = (0, 0);
        for (_, day) in ledger.days.iter().filter(|((of, day), _)| *of == promise && *day >= from.millis()) {
            (callable, answered) = (callable + day.0, answered + day.1);
        }
        let mut misses = ledger.misses.get(&promise).cloned().unwrap_or_default();
        misses.retain(|miss| miss.at >= from);
        misses.sort_by_key(|miss| std::cmp::Reverse((miss.at, miss.reason)));
        misses.truncate(20);
        assert_eq!(truth.misses, misses, "{promise}");
        println!("{promise}: {} of {} callable, rate {:?}", truth.answered, truth.callable, truth.rate());
        assert_eq!(
            (truth.callable, truth.answered),
            (u64::try_from(callable).unwrap(), u64::try_from(answered).unwrap()),
            "{promise}"
        );
    }
    // A month in which not everything happens proves nothing.
    for what in Missed::ALL.map(|missed| format!("promise: {}", missed.as_str())) {
        assert!(ledger.counts.contains_key(&what) || what.ends_with("not_configured"), "never happened: {what}");
    }
    for why in ["free, or", "nobody was", "whoever was", "kept back", "left before", "refused by"] {
        let what = format!("not counted: {why}");
        assert!(ledger.counts.keys().any(|counted| counted.starts_with(&what)), "never happened: {what}");
    }
}

/// One candidate that fails every large request and answers every small one, as isolates and rounds see it.
struct Large {
    isolates: [HealthView; 2],
    round: HealthView,
    /// When whose request failed how, as the counts in D1 have it.
    failures: Vec<(Timestamp, Witness, FailureKind)>,
    outages: Vec<i64>,
}

impl Large {
    fn id() -> CandidateId {
        CandidateId { channel: tokens_forge::id::ChannelId::parse("a").unwrap(), upstream_model: "m-up".to_owned() }
    }

    fn status(&self) -> HealthStatus {
        self.round.of(&Self::id()).status
    }

    /// A large request: there is nobody else, so it is sent whatever is known.
    fn request(&mut self, isolate: usize, by: Witness, kind: Option<FailureKind>, now: Timestamp) {
        let view = &mut self.isolates[isolate];
        let mut observe = |seen: Observation| {
            if view.is_news(&Self::id(), &seen, now) {
                view.observe(&Self::id(), seen, now);
            }
        };
        observe(Observation::Tried { by: Some(by) });
        if matches!(kind, None | Some(FailureKind::Cut)) {
            observe(Observation::Begun);
        }
        match kind {
            None => observe(Observation::Answered),
            Some(kind) => {
                observe(Observation::Failed { kind, message: "no".to_owned(), retry_after_s: None, by: Some(by) });
                self.failures.push((now, by, kind));
            }
        }
    }

    /// What the counts say of the last five minutes.
    fn recent(&self, now: Timestamp) -> Recent {
        let mut recent = Recent::default();
        for (at, by, kind) in self.failures.iter().filter(|(at, _, _)| now.since(*at) < 300_000) {
            let failure = LastFailure { at: *at, kind: *kind, message: "no".to_owned() };
            recent.failed += 1;
            recent.in_row += 1;
            let met = recent.by.entry(*by).or_insert_with(|| Met { failed: 0, failure: failure.clone() });
            (met.failed, met.failure) = (met.failed + 1, failure.clone());
            recent.failure = Some(failure);
        }
        recent
    }

    /// A round in the first isolate: it hears of what requests met, and its small call is answered.
    fn round(&mut self, now: Timestamp) {
        let was_down = self.status() == HealthStatus::Down;
        self.round.merge(&self.isolates[0]);
        let heard = self.round.of(&Self::id()).learn(&self.recent(now));
        let is_new = heard.status == HealthStatus::Down && !was_down;
        self.round.candidates.insert(Self::id().to_string(), heard);
        self.round.observe(&Self::id(), Observation::Called { failure: None, latency_ms: 5 }, now);
        if is_new {
            self.outages.push(now.millis());
        }
        for isolate in &mut self.isolates {
            isolate.merge(&self.round);
        }
    }
}

#[test]
fn an_outage_of_large_requests_alone_does_not_come_and_go_with_every_probe() {
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    for (seed, kinds) in [
        (1, &[FailureKind::Cut][..]),
        (2, &[FailureKind::Timeout]),
        (3, &[FailureKind::Server, FailureKind::Cut, FailureKind::Timeout, FailureKind::Unreadable]),
    ] {
        for most_pause_s in [5, 40, 120] {
            let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ seed);
            let by: Vec<Witness> = (0..5).map(|n| Witness::of(&AccountId::parse(&format!("acct{n}")).unwrap())).collect();
            let mut large =
                Large { isolates: Default::default(), round: HealthView::default(), failures: Vec::new(), outages: Vec::new() };
            let (mut now, mut next_round) = (START, START);
            let (mut expected_down, mut known) = (0_u32, 0_u32);
            while now < START + 24 * HOUR_MS {
                now += i64::try_from(1 + dice.below(most_pause_s)).unwrap() * 1000;
                while next_round <= now {
                    large.round(Timestamp::from_millis(next_round));
                    large.failures.retain(|(at, _, _)| next_round - at.millis() < 300_000);
                    next_round += MINUTE_MS;
                    known += 1;
                    expected_down += u32::from(large.status() == HealthStatus::Down);
                }
                let place = |dice: &mut Dice, of: usize| usize::try_from(dice.below(u64::try_from(of).unwrap())).unwrap();
                let (isolate, who, kind) = (place(&mut dice, 2), place(&mut dice, 5), place(&mut dice, kinds.len()));
                large.request(isolate, by[who], Some(kinds[kind]), Timestamp::from_millis(now));
            }
            let in_hour = |hour: i64| {
                let (from, to) = (START + hour * HOUR_MS, START + (hour + 1) * HOUR_MS);
                large.outages.iter().filter(|at| (from..to).contains(*at)).count()
            };
            let counts: Vec<usize> = (0..24).map(in_hour).collect();
            println!(
                "{kinds:?} up to {most_pause_s} s apart: outages in each hour {counts:?}, down {expected_down} of {known} rounds"
            );
            assert!((1..=5).contains(&counts[0]), "{counts:?}");
            assert!(counts[1..].iter().all(|count| *count <= 2), "{counts:?}");
            assert!(expected_down * 10 > known * 9, "it is told as what it is: {expected_down} of {known}");
            // And once a large request is answered it is over at once, however long it lasted.
            large.request(0, by[0], None, Timestamp::from_millis(now + 1000));
            large.round(Timestamp::from_millis(next_round.max(now + 2000)));
            assert_ne!(large.status(), HealthStatus::Down);
            assert_eq!(large.isolates[1].of(&Large::id()).agreed, None);
        }
    }
}

#[test]
fn a_stream_that_breaks_is_not_well_because_it_began_and_a_client_that_leaves_is_no_failure() {
    let (broken_from, whole_from) = (START + 60 * MINUTE_MS, START + 120 * MINUTE_MS);
    let month = Month(vec![("d", broken_from, whole_from, Fault::Cuts)]);
    let mut day = Day::new(&month, HealthView::default(), false, START);
    let mut ledger = Ledger::default();
    let usual = Asked { model: "n", has_fallback: false, is_stream: true, kind: Kind::Usual, leaves_after: None, lost: 0 };
    let told = |day: &Day<'_>| {
        let channel = tokens_forge::id::ChannelId::parse("d").unwrap();
        let by = Witness::of(&AccountId::parse("acct").unwrap());
        let id = CandidateId { channel, upstream_model: "n-up".to_owned() };
        day.simulation.world.health.borrow().told_to(&id, Some(by), Timestamp::from_millis(day.now()))
    };
    for polls in 0..40 {
        day.request(Asked { leaves_after: Some(polls), ..usual }, &mut ledger);
        assert!(told(&day).status <= HealthStatus::Up && told(&day).last_failure.is_none(), "left after {polls}");
    }
    assert!(told(&day).begun_at.is_some(), "some of them had begun");
    for n in 0..6 {
        day.simulation.world.now.set(broken_from + n * MINUTE_MS);
        day.request(usual, &mut ledger);
        assert_eq!(told(&day).status, if n == 0 { HealthStatus::Degraded } else { HealthStatus::Down }, "stream {n}");
        let before = told(&day);
        day.request(Asked { kind: Kind::Probe, ..usual }, &mut ledger);
        assert_eq!(told(&day), before, "what a probe sees is for the probe to tell");
    }
    day.simulation.world.now.set(whole_from);
    day.request(usual, &mut ledger);
    assert_eq!((told(&day).status, told(&day).last_success_at), (HealthStatus::Up, Some(Timestamp::from_millis(whole_from))));
}
