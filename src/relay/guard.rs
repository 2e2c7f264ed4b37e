//! The guard: what stands between a granted hold and its settlement.
//!
//! What always holds: from the grant on, exactly one message ends the request, also when the guard is merely dropped because
//! the client left. The task that acts on it was handed to the platform before anything went upstream.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;

use futures_channel::oneshot;
use futures_util::future::{Either, select};

use super::elsewhere::Others;
use super::kept::Keeper;
use super::prepared::Prepared;
use super::quote::Quoted;
use super::reply::{Reply, refusal_reply};
use super::retry::retried;
use crate::account::{
    Attempt, Checkpoint, Extension, Facts, Free, Granted, HoldAnswer, HoldRequest, Outcome, OutputLimit, RateLimits,
    ReceiptError, RequestStatus, Served, Settlement, replayable,
};
use crate::catalog::{Catalog, CutPolicy, Dialect};
use crate::dialect::openai::responses::own_output;
use crate::id::{AccountId, RequestId};
use crate::money::Money;
use crate::ports::{Ports, Unavailable};
use crate::refusal::Refusal;
use crate::routing::attempt::FailureKind;
use crate::time::Timestamp;
use crate::truth::Promise;
use crate::usage::{Bounds, Usage, UsageSource};

/// How often a long request tells the account that it is alive, in milliseconds; sooner where holds are short.
const CHECKPOINT_MS: i64 = 20_000;

/// How many tokens a provider may add to a prompt before its count is doubted.
const PROMPT_SLACK: u64 = 1_024;

/// How a request ends.
pub enum Ending {
    /// Like this.
    Settle(Box<Settlement>),
    /// As this says when it is done: the client left, and the channel is read to its end first.
    Drain(Pin<Box<dyn Future<Output = Settlement>>>),
}

/// An open request.
pub struct SettlementGuard<P: Ports> {
    pub ports: P,
    pub account: AccountId,
    pub request: RequestId,
    pub arrived: Timestamp,
    pub attempts: Vec<Attempt>,
    resting: Vec<Attempt>,
    /// Time spent in upstream calls, in milliseconds.
    pub upstream_ms: u64,
    /// What is set aside by the current leg.
    pub hold: Money,
    /// What was free before that, where it is less than was wanted.
    fitted: Option<Free>,
    /// How many tokens the answer of the current attempt may have.
    output_limit: Option<OutputLimit>,
    /// What the current attempt is compared with.
    comparison: Others,
    pub rates: RateLimits,
    pub upstream_cut: CutPolicy,
    pub hold_timeout_ms: i64,
    pub keeps_body: bool,
    /// What the usage of the current attempt cannot be beyond.
    pub limits: Option<Limits>,
    /// Members of the client's request that the current attempt leaves out.
    pub dropped: Vec<String>,
    /// The dialect that the client speaks.
    pub dialect: Dialect,
    /// Who was expected to answer, and was asked.
    pub promise: Option<Promise>,
    keeper: Option<Keeper>,
    /// The items of the answer, where a later request may refer to them.
    items: Option<String>,
    in_flight: Option<InFlight>,
    /// When the account was last told that the request is alive.
    noted_at: Cell<Timestamp>,
    ending: Option<oneshot::Sender<Ending>>,
}

/// What the usage of an attempt cannot be beyond, but for the bytes of its answer.
#[derive(Clone, Copy)]
pub struct Limits {
    bounds: Bounds,
    /// Whether the channel sends all that it counts as output and not as reasoning.
    shows_output: bool,
}

impl Limits {
    /// The bounds, with so many bytes of the answer.
    pub fn with(&self, bytes: u64) -> Bounds {
        Bounds { visible: if self.shows_output { bytes } else { u64::MAX }, ..self.bounds }
    }
}

/// A call that has not answered yet; for the case that the client leaves.
struct InFlight {
    attempt: Attempt,
    served: Served,
    usage: Usage,
}

/// What a guard has to know before its hold is granted.
#[derive(Debug, Clone)]
pub struct Opening {
    pub upstream_cut: CutPolicy,
    pub hold_timeout_ms: i64,
    /// Whether a plain answer is kept for replays.
    pub keeps_body: bool,
    /// Candidates that are tried last, as the receipt tells of them if they are not tried.
    pub resting: Vec<Attempt>,
    /// The dialect that the client speaks.
    pub dialect: Dialect,
    /// Seals the answer where a later request may refer to it.
    pub keeper: Option<Keeper>,
}

/// The answer to the first hold.
pub enum First<P: Ports> {
    Granted(Box<SettlementGuard<P>>),
    Other(Box<HoldAnswer>),
}

impl<P: Ports> SettlementGuard<P> {
    /// Asks for the first hold of a request. The call is not the client's to cancel: if the client leaves while it is under way,
    /// the guard that it brings is dropped, and that settles it.
    pub async fn open(ports: &P, opening: Opening, request: HoldRequest) -> Result<First<P>, Unavailable> {
        let (sender, receiver) = oneshot::channel();
        let outside = ports.clone();
        ports.spawn(async move {
            let answer = outside.hold(&request.facts.account, request.clone()).await;
            let first = answer.map(|answer| match answer {
                HoldAnswer::Granted(granted) => First::Granted(Box::new(Self::new(outside, opening, request.facts, &granted))),
                other => First::Other(Box::new(other)),
            });
            let _ = sender.send(first);
        });
        receiver.await.unwrap_or_else(|oneshot::Canceled| Err(Unavailable("the hold was lost on its way".to_owned())))
    }

    fn new(ports: P, opening: Opening, facts: Facts, granted: &Granted) -> Self {
        let (sender, receiver) = oneshot::channel::<Ending>();
        let (outside, payer, now) = (ports.clone(), facts.account.clone(), ports.now());
        ports.spawn(async move {
            let settlement = match receiver.await {
                Ok(Ending::Settle(settlement)) => *settlement,
                Ok(Ending::Drain(drain)) => drain.await,
                // The guard always sends before it goes; the hold's deadline covers the impossible.
                Err(oneshot::Canceled) => return,
            };
            retried(&outside, "settle", || outside.settle(&payer, settlement.clone())).await;
        });
        Self {
            ports,
            account: facts.account,
            request: facts.request,
            arrived: facts.created_at,
            attempts: Vec::new(),
            resting: opening.resting,
            upstream_ms: 0,
            hold: granted.amount,
            fitted: granted.fitted,
            output_limit: None,
            comparison: Others::default(),
            rates: granted.rates,
            upstream_cut: opening.upstream_cut,
            hold_timeout_ms: opening.hold_timeout_ms,
            keeps_body: opening.keeps_body,
            limits: None,
            dropped: Vec::new(),
            dialect: opening.dialect,
            promise: None,
            keeper: opening.keeper,
            items: None,
            in_flight: None,
            noted_at: Cell::new(now),
            ending: Some(sender),
        }
    }

    /// Notes that another hold took the place of the first.
    pub fn crossed(&mut self, granted: &Granted) {
        self.hold = granted.amount;
        self.fitted = granted.fitted;
        self.rates = granted.rates;
    }

    /// Notes attempts that are not made.
    pub fn skip(&mut self, attempts: Vec<Attempt>) {
        self.resting.extend(attempts);
    }

    /// Notes that a call goes out.
    pub fn dispatch(&mut self, prepared: &Prepared<'_>, quoted: &Quoted, attempt: Attempt) -> Served {
        let planned = &quoted.planned;
        self.promise = self.promise.take().or_else(|| prepared.promise(planned));
        let is_crossing = prepared.legs.first().is_some_and(|first| first.bucket != planned.bucket);
        let route = planned.route.as_str();
        let why = match (is_crossing, self.attempts.is_empty()) {
            (true, _) => format!(
                "`{}` paid, because the {route} route served the request after every earlier route failed or was not covered, and the key may cross routes.",
                planned.bucket
            ),
            (false, true) => {
                format!("`{}` paid, because it is the balance of the {route} route, which served the request.", planned.bucket)
            }
            (false, false) => format!(
                "`{}` paid, because it is the balance of the {route} route, whose {} served the request after {} failed attempt(s).",
                planned.bucket,
                if planned.candidate.tier == 0 { "primary tier" } else { "backup" },
                self.attempts.len()
            ),
        };
        let served = Served {
            model: planned.model.id.clone(),
            upstream_model: planned.candidate.upstream_model.clone(),
            route: planned.route,
            channel: planned.candidate.channel.clone(),
            bucket: planned.bucket.clone(),
            price: (*planned.price).clone(),
            why,
            output_limit: prepared.output_limit(quoted, self.fitted),
        };
        self.output_limit.clone_from(&served.output_limit);
        self.comparison = Others::new(prepared, quoted);
        let usage = prepared.unreported(quoted);
        let most = quoted.most;
        // Providers add words of their own to a prompt, such as a description of tools; those count, within the context.
        let input = most.input.saturating_add(PROMPT_SLACK).min(planned.model.context_length.max(most.input));
        let bounds = Bounds { input, ..most.bounds() };
        // Anthropic counts thoughts as output, and does not always show them.
        self.limits = Some(Limits { bounds, shows_output: planned.channel.dialect != Dialect::Anthropic });
        self.in_flight = Some(InFlight { attempt, served: served.clone(), usage });
        served
    }

    /// Notes what became of a call.
    pub fn note(&mut self, attempt: Attempt) {
        self.in_flight = None;
        self.upstream_ms = self.upstream_ms.saturating_add(attempt.latency_ms);
        self.attempts.push(attempt);
    }

    /// Notes that the answer of the last call broke off, where that is its channel's doing.
    pub fn broke_off(&mut self, kind: FailureKind, message: &str) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.error = Some(kind.as_str().to_owned());
            attempt.message = Some(message.to_owned());
        }
    }

    /// Every attempt, behind those that were skipped.
    fn story(&self) -> Vec<Attempt> {
        let is_same =
            |a: &Attempt, b: &Attempt| (&a.channel, &a.upstream_model, a.route) == (&b.channel, &b.upstream_model, b.route);
        let skipped = self.resting.iter().filter(|resting| !self.attempts.iter().any(|made| is_same(made, resting)));
        skipped.chain(&self.attempts).cloned().collect()
    }

    /// The outcome of a request that somebody answered.
    pub fn outcome(
        &self,
        status: RequestStatus,
        served: Served,
        usage: (Usage, UsageSource),
        first_byte_ms: Option<u64>,
        bytes: u64,
    ) -> Outcome {
        let bounds = self.limits.filter(|_| usage.1 == UsageSource::Upstream).map(|limits| limits.with(bytes));
        let elsewhere = self.comparison.of(&bounds.map_or(usage.0, |bounds| usage.0.bounded(&bounds)));
        Outcome {
            status,
            served: Some(served),
            attempts: self.story(),
            usage: usage.0,
            usage_source: usage.1,
            bounds,
            upstream_cut: self.upstream_cut,
            dropped_parameters: self.dropped.clone(),
            promise: self.promise.clone(),
            elsewhere,
            finish_reason: None,
            error: None,
            next_step: None,
            first_byte_ms,
            latency_ms: self.ports.now().since(self.arrived),
        }
    }

    /// Notes the items of a streamed answer, where a later request may refer to them.
    pub fn keep(&mut self, items: Option<String>) {
        self.items = items;
    }

    /// The items of the answer as they are kept.
    fn sealed(&mut self, body: Option<&str>) -> Option<String> {
        let keeper = self.keeper.as_ref()?;
        let items = self.items.take();
        let items = items.as_deref().or_else(|| own_output(body?, &self.request))?;
        keeper.seal((&self.account, &self.request), self.ports.random(), items)
    }

    /// Ends the request.
    pub fn settle(&mut self, outcome: Outcome, body: Option<String>) {
        self.in_flight = None;
        let kept = self.sealed(body.as_deref());
        // What is too long to be kept would only make the call to the account too long to be sent.
        let body = replayable(body.filter(|_| self.keeps_body));
        let settlement = Settlement { request: self.request.clone(), outcome, body, kept };
        if let Some(ending) = self.take_ending() {
            // The receiving task lives as long as the request does.
            let _ = ending.send(Ending::Settle(Box::new(settlement)));
        }
    }

    /// Hands the request over; this one no longer ends it.
    pub fn take_over(&mut self) -> Self {
        self.in_flight = None;
        Self {
            ports: self.ports.clone(),
            account: self.account.clone(),
            request: self.request.clone(),
            arrived: self.arrived,
            attempts: std::mem::take(&mut self.attempts),
            resting: std::mem::take(&mut self.resting),
            upstream_ms: self.upstream_ms,
            hold: self.hold,
            fitted: self.fitted,
            output_limit: self.output_limit.take(),
            comparison: std::mem::take(&mut self.comparison),
            rates: self.rates,
            upstream_cut: self.upstream_cut,
            hold_timeout_ms: self.hold_timeout_ms,
            keeps_body: self.keeps_body,
            limits: self.limits,
            dropped: std::mem::take(&mut self.dropped),
            dialect: self.dialect,
            promise: self.promise.take(),
            keeper: self.keeper.take(),
            items: self.items.take(),
            in_flight: None,
            noted_at: self.noted_at.clone(),
            ending: self.ending.take(),
        }
    }

    /// The only way to end the request; without it, this one no longer does.
    pub fn take_ending(&mut self) -> Option<oneshot::Sender<Ending>> {
        self.ending.take()
    }

    /// Whether the request is still to be ended.
    pub fn is_open(&self) -> bool {
        self.ending.is_some()
    }

    /// Ends a request that nobody answered, and answers the client.
    pub fn fail(&mut self, prepared: &Prepared<'_>, refusal: &Refusal) -> Reply {
        let outcome = Outcome::unserved(RequestStatus::Failed, self.story(), refusal, self.ports.now().since(self.arrived));
        self.settle(Outcome { promise: self.promise.clone(), ..outcome }, None);
        let reply =
            refusal_reply(refusal, &self.request, true, self.dialect).asked(&prepared.facts.requested_model).rates(&self.rates);
        match self.attempts.last() {
            Some(last) => self.account_for(reply, last, &prepared.catalog),
            None => reply,
        }
    }

    /// Headers that tell who answered, who paid, and what it took.
    pub fn account_for(&self, reply: Reply, last: &Attempt, catalog: &Catalog) -> Reply {
        let attempts = self.attempts.iter().filter(|attempt| attempt.dispatched).count();
        let overhead = self.ports.now().since(self.arrived).saturating_sub(self.upstream_ms);
        let reply = match self.dropped.is_empty() {
            true => reply,
            false => reply.header("x-tf-dropped-parameters", self.dropped.join(", ")),
        };
        let told = self.output_limit.as_ref().filter(|limit| limit.because.is_some());
        let reply = match told {
            Some(limit) => {
                reply.header("x-tf-output-limit", limit.tokens.to_string()).header("x-tf-output-limit-by", limit.by.as_str())
            }
            None => reply,
        };
        reply
            .header("x-tf-upstream-model", catalog.shown_upstream(last.named()))
            .header("x-tf-route", last.route.as_str())
            .header("x-tf-channel", catalog.shown_channel(last.channel.as_str()))
            .header("x-tf-bucket", last.bucket.as_str())
            .header("x-tf-attempts", attempts.to_string())
            .header("x-tf-overhead-ms", overhead.to_string())
    }

    /// How often the account is told that a request is alive: well before its hold would end.
    pub fn checkpoint_ms(&self) -> u32 {
        u32::try_from(CHECKPOINT_MS.min(self.hold_timeout_ms / 3).max(1)).unwrap_or(u32::MAX)
    }

    /// Waits for upstream, but not for ever, and lets the hold live on meanwhile. None is a time-out.
    pub async fn within<T>(&self, timeout_ms: u32, future: impl Future<Output = T>) -> Option<T> {
        let mut future = Box::pin(future);
        let mut left_ms = timeout_ms;
        while left_ms > 0 {
            let step_ms = left_ms.min(self.checkpoint_ms());
            match select(future, Box::pin(self.ports.sleep(step_ms))).await {
                Either::Left((value, _)) => return Some(value),
                Either::Right((_, unfinished)) => future = unfinished,
            }
            left_ms = left_ms.saturating_sub(step_ms);
            if let Some(InFlight { served, usage, .. }) = &self.in_flight {
                self.checkpoint(served.clone(), *usage);
                self.noted_at.set(self.ports.now());
            }
        }
        None
    }

    /// Whether the account has not heard of the request for so long that its hold is about to end.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        let longest = u64::try_from(self.hold_timeout_ms).unwrap_or(0) / 3 * 2;
        now.since(self.noted_at.get()) >= longest.max(1)
    }

    /// Tells the account that a request is alive, if it is time to.
    pub fn keep_alive(&self, served: &Served, usage: Usage) {
        let now = self.ports.now();
        if now.since(self.noted_at.get()) >= u64::from(self.checkpoint_ms()) {
            self.noted_at.set(now);
            self.checkpoint(served.clone(), usage);
        }
    }

    /// Tells the account that a request is alive, and what it used so far.
    fn checkpoint(&self, served: Served, usage: Usage) {
        let (outside, account) = (self.ports.clone(), self.account.clone());
        let checkpoint = Checkpoint { served, attempts: self.story(), usage };
        let extension = Extension { request: self.request.clone(), checkpoint, timeout_ms: self.hold_timeout_ms };
        self.ports.spawn(async move {
            // The next one comes soon; a lost one is no loss.
            if let Err(error) = outside.checkpoint(&account, extension).await {
                outside.log(&format!("checkpoint: {}", error.0));
            }
        });
    }
}

impl<P: Ports> Drop for SettlementGuard<P> {
    fn drop(&mut self) {
        if !self.is_open() {
            return;
        }
        let latency_ms = self.ports.now().since(self.arrived);
        let outcome = match self.in_flight.take() {
            Some(InFlight { attempt, served, usage }) => {
                let latency_ms = self.ports.now().since(attempt.started_at);
                self.note(Attempt { latency_ms, ..attempt });
                self.outcome(RequestStatus::Aborted, served, (usage, UsageSource::Estimated), None, 0)
            }
            None => Outcome { latency_ms, ..self.nobody() },
        };
        self.settle(Outcome { error: Some(client_left()), next_step: Some(LEFT.to_owned()), ..outcome }, None);
    }
}

impl<P: Ports> SettlementGuard<P> {
    /// The outcome of a request that the client left before anybody was called.
    fn nobody(&self) -> Outcome {
        Outcome {
            status: RequestStatus::Aborted,
            served: None,
            attempts: self.story(),
            usage: Usage::default(),
            usage_source: UsageSource::None,
            bounds: None,
            upstream_cut: self.upstream_cut,
            dropped_parameters: Vec::new(),
            promise: self.promise.clone(),
            elsewhere: Vec::new(),
            finish_reason: None,
            error: None,
            next_step: None,
            first_byte_ms: None,
            latency_ms: 0,
        }
    }
}

/// What there is to do after the client left.
pub const LEFT: &str = "Nothing, if the client meant to stop. Otherwise send the request again, with a longer time-out.";

/// What a receipt says when the client left.
pub fn client_left() -> ReceiptError {
    let message = "The client closed the connection before the answer was complete.".to_owned();
    ReceiptError { code: "client_left".to_owned(), message, provider_code: None }
}
