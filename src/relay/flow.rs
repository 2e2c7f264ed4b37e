//! The flow of a stream from upstream to the client, metered on the way and settled at its end, whichever end that is.
//!
//! What always holds: nothing is held back beyond the event that is still incomplete; a stream that upstream cut ends in an
//! error event; a flow that is dropped was left by the client; one that upstream leaves in silence gives signs of life, which end
//! no time-out.

use std::pin::Pin;

use futures_util::future::{Either, select};
use futures_util::stream::{Stream, StreamExt, unfold};

use super::early::SIGN_MS;
use super::guard::{Ending, LEFT, SettlementGuard, client_left};
use crate::account::{Outcome, ReceiptError, RequestStatus, Served, Settlement};
use crate::catalog::CutPolicy;
use crate::dialect::condition::{Client, Condition};
use crate::dialect::format::UpstreamError;
use crate::dialect::meter::Meter;
use crate::dialect::stream_state::Progress;
use crate::ports::Ports;
use crate::refusal::joined;
use crate::routing::attempt::{FailureKind, bounded_wait};
use crate::routing::health::{CandidateId, Observation, Witness};
use crate::time::Timestamp;

/// How long a channel is read on after the client left, in milliseconds; the platform grants 30 seconds.
const LONGEST_DRAIN_MS: i64 = 25_000;

/// However often upstream says that it is still there, the client is told no more often, in milliseconds.
const SIGN_PAUSE_MS: u64 = 1_000;

/// A stream on its way.
pub struct Flow<P: Ports> {
    /// Gone when the flow has ended.
    open: Option<Open<P>>,
    /// What the client gets first.
    first: Vec<u8>,
    /// Whether the connection to the client is broken next: in bytes that nobody looks into, no error can be told.
    is_cut: bool,
    timer: Pin<Box<dyn Future<Output = ()>>>,
    /// How long upstream was waited for since it last said anything, in milliseconds; before the wait that is on.
    silent_ms: u64,
    /// Since when the client has waited; none while it has something to read.
    waits_since: Option<Timestamp>,
    /// When upstream's own signs of life were last passed on.
    signed_at: Option<Timestamp>,
}

struct Open<P: Ports> {
    guard: SettlementGuard<P>,
    /// Whether what is seen of the candidate is told.
    is_told: bool,
    body: P::Body,
    meter: Box<Meter>,
    served: Served,
    first_byte_ms: u64,
    idle_timeout_ms: u32,
    drains: bool,
}

/// What comes next of upstream.
enum Next {
    Bytes(Vec<u8>),
    End,
    Broke(&'static str),
    /// The client has not read for so long that the hold is about to end.
    Coming,
    /// Nothing for so long that the client wants to hear that somebody is there.
    Silence,
}

impl<P: Ports> Flow<P> {
    #[allow(clippy::too_many_arguments)] // All of them are the state of one stream.
    pub fn new(
        (guard, is_told): (SettlementGuard<P>, bool),
        body: P::Body,
        meter: Box<Meter>,
        served: Served,
        first: Vec<u8>,
        first_byte_ms: u64,
        idle_timeout_ms: u32,
        drains: bool,
    ) -> Self {
        let timer = Box::pin(guard.ports.sleep(idle_timeout_ms.min(guard.checkpoint_ms()).min(SIGN_MS)));
        let open = Some(Open { guard, is_told, body, meter, served, first_byte_ms, idle_timeout_ms, drains });
        Self { open, first, is_cut: false, timer, silent_ms: 0, waits_since: None, signed_at: None }
    }

    /// The bytes for the client.
    pub fn into_stream(self) -> impl Stream<Item = Result<Vec<u8>, String>> {
        unfold(self, |mut flow| async move {
            if flow.is_cut {
                flow.is_cut = false;
                return Some((Err("the answer was cut".to_owned()), flow));
            }
            flow.step().await.map(|bytes| (Ok(bytes), flow))
        })
    }

    /// The next bytes for the client; none after the end.
    async fn step(&mut self) -> Option<Vec<u8>> {
        let mut out = std::mem::take(&mut self.first);
        self.waits_since = None;
        loop {
            self.pass_sign(&mut out);
            let open = self.open.as_mut()?;
            match open.meter.progress() {
                Progress::Done => {
                    self.complete();
                    return Some(out);
                }
                Progress::Broken(error) => {
                    // What is missing in the middle of an answer, nobody can tell.
                    let condition = Condition::of(error, 200).filter(|condition| *condition != Condition::NotFound);
                    if let Some(condition) = condition.filter(|_| !open.meter.is_over_limit()) {
                        let error = error.clone();
                        self.broke(condition, &error, &mut out);
                        return Some(out);
                    }
                    // Its words may name the provider's hosts and our account there; its code does not.
                    let message = match open.meter.is_over_limit() {
                        true => "An event of the answer is longer than the 16 MiB that the gateway passes on.".to_owned(),
                        false => format!("The provider broke off the answer with an error{}.", error.shown_code()),
                    };
                    let code = error.code.clone();
                    self.truncate(&message, code, &mut out);
                    return Some(out);
                }
                Progress::Silent | Progress::Flowing if !out.is_empty() => return Some(out),
                Progress::Silent | Progress::Flowing => {}
            }
            match self.next().await {
                Next::Bytes(bytes) => self.open.as_mut()?.meter.push(&bytes, &mut out),
                Next::End => {
                    let meter = &mut self.open.as_mut()?.meter;
                    meter.finish(&mut out);
                    if matches!(meter.progress(), Progress::Silent | Progress::Flowing) {
                        self.truncate("The provider ended the answer before it was complete.", None, &mut out);
                        return Some(out);
                    }
                }
                Next::Silence => self.open.as_mut()?.meter.ping(&mut out),
                Next::Coming => {
                    self.give_up(&mut out);
                    return Some(out);
                }
                Next::Broke(message) => {
                    self.truncate(message, None, &mut out);
                    return Some(out);
                }
            }
        }
    }

    /// Upstream's own signs of life, such as comments, become the client's.
    fn pass_sign(&mut self, out: &mut Vec<u8>) {
        let Some(open) = self.open.as_mut().filter(|open| open.meter.is_open()) else { return };
        if !open.meter.take_note() {
            return;
        }
        let now = open.guard.ports.now();
        if self.signed_at.is_none_or(|before| now.since(before) >= SIGN_PAUSE_MS) {
            self.signed_at = Some(now);
            open.meter.ping(out);
        }
    }

    /// Waits for upstream; on the way, notes what was relayed and notices silence.
    async fn next(&mut self) -> Next {
        // Only time spent waiting for upstream is upstream's silence: between two pulls it is the client that does not read.
        let Some(open) = self.open.as_ref() else { return Next::End };
        let since = open.guard.ports.now();
        if open.guard.is_forgotten(since) {
            return Next::Coming;
        }
        let mut waits_since = *self.waits_since.get_or_insert(since);
        loop {
            let Some(open) = self.open.as_mut() else { return Next::End };
            let ports = open.guard.ports.clone();
            match select(open.body.next(), &mut self.timer).await {
                Either::Left((Some(Ok(bytes)), _)) => {
                    self.silent_ms = 0;
                    open.guard.keep_alive(&open.served, open.meter.usage().0);
                    return Next::Bytes(bytes);
                }
                Either::Left((Some(Err(_)), _)) => {
                    return Next::Broke("The connection to the provider broke in the middle of the answer.");
                }
                Either::Left((None, _)) => return Next::End,
                Either::Right(_) => {
                    let now = ports.now();
                    let (idle_ms, sign_ms) = (u64::from(open.idle_timeout_ms), u64::from(SIGN_MS));
                    let silent_ms = self.silent_ms.saturating_add(now.since(since));
                    if silent_ms >= idle_ms {
                        return Next::Broke("The provider fell silent in the middle of the answer.");
                    }
                    open.guard.keep_alive(&open.served, open.meter.usage().0);
                    let is_due = now.since(waits_since) >= sign_ms;
                    if is_due {
                        waits_since = now;
                    }
                    let to_sign_ms = sign_ms.saturating_sub(now.since(waits_since));
                    let left_ms = u32::try_from(to_sign_ms.min(idle_ms.saturating_sub(silent_ms))).unwrap_or(u32::MAX);
                    self.timer = Box::pin(ports.sleep(left_ms.min(open.guard.checkpoint_ms()).max(1)));
                    if is_due {
                        (self.silent_ms, self.waits_since) = (silent_ms, Some(now));
                        return Next::Silence;
                    }
                }
            }
        }
    }

    fn complete(&mut self) {
        if let Some(mut open) = self.open.take() {
            open.observe(Observation::Answered);
            open.guard.keep(open.meter.kept());
            let outcome = open.outcome(RequestStatus::Completed);
            open.guard.settle(outcome, None);
        }
    }

    /// Ends a stream that its client does not read, while its hold still covers what was relayed.
    fn give_up(&mut self, out: &mut Vec<u8>) {
        let message = "The answer was not read for too long, so the gateway gave it up.".to_owned();
        let error = ReceiptError { code: "client_stalled".to_owned(), message, provider_code: None };
        self.break_off((RequestStatus::Aborted, None), error, out);
    }

    /// Ends a stream that upstream broke off with an error which clients know: they are told in their dialect's own words.
    fn broke(&mut self, condition: Condition, error: &UpstreamError, out: &mut Vec<u8>) {
        let Some(mut open) = self.open.take() else { return };
        let told = condition.told(Client::of_stream(open.guard.dialect), &error.message, bounded_wait(error.retry_after_s));
        // What is wrong with the request says nothing about who was to answer it.
        if !condition.is_the_clients() {
            let kind = if condition.is_load() { FailureKind::Load } else { FailureKind::Cut };
            let message = format!("it broke off in the middle of an answer{}", error.shown_code());
            let by = Some(Witness::of(&open.guard.account));
            let seen = Observation::Failed { kind, message, retry_after_s: bounded_wait(error.retry_after_s), by };
            open.observe(seen);
        }
        let next_step = match condition.is_the_clients() {
            true => "Correct the request; every provider of this model would refuse it.",
            false => "Send the request again.",
        };
        self.is_cut = !open.meter.broken(told.word(), &told.message, out);
        let provider_code = error.code.clone();
        let error = ReceiptError { code: "upstream_cut".to_owned(), message: told.message, provider_code };
        let mut outcome = open.outcome(RequestStatus::Truncated);
        // No provider of the model would have answered it to the end.
        outcome.promise = outcome.promise.filter(|_| !condition.is_the_clients());
        open.guard.settle(Outcome { error: Some(error), next_step: Some(next_step.to_owned()), ..outcome }, None);
    }

    /// Ends a stream that upstream cut.
    fn truncate(&mut self, message: &str, provider_code: Option<String>, out: &mut Vec<u8>) {
        if let Some(open) =
            self.open.as_mut().filter(|open| !open.meter.is_over_limit() && !is_unfinished(provider_code.as_deref()))
        {
            let message = "it broke off in the middle of an answer".to_owned();
            let by = Some(Witness::of(&open.guard.account));
            let seen = Observation::Failed { kind: FailureKind::Cut, message, retry_after_s: None, by };
            open.observe(seen);
        }
        let error = ReceiptError { code: "upstream_cut".to_owned(), message: message.to_owned(), provider_code };
        let is_too_long = self.open.as_ref().is_some_and(|open| open.meter.is_over_limit());
        let next_step = if is_too_long { "Ask for less in one answer." } else { "Send the request again." };
        self.break_off((RequestStatus::Truncated, Some(next_step.to_owned())), error, out);
    }

    /// The client gets the error as the last event, the receipt the same error.
    fn break_off(&mut self, (status, next_step): (RequestStatus, Option<String>), error: ReceiptError, out: &mut Vec<u8>) {
        if let Some(mut open) = self.open.take() {
            let told = joined(&error.message, next_step.as_deref().unwrap_or_default());
            self.is_cut = !open.meter.broken(&error.code, &told, out);
            let is_unfinished = is_unfinished(error.provider_code.as_deref());
            let mut outcome = Outcome { error: Some(error), next_step, ..open.outcome(status) };
            // What the gateway itself does not pass on was made, and is paid; so is what the model left unfinished.
            if open.meter.is_over_limit() || is_unfinished {
                outcome.upstream_cut = CutPolicy::Usage;
            }
            // How long an answer may be, and where it stops, is the request's and the model's.
            outcome.promise = outcome.promise.filter(|_| !is_unfinished);
            open.guard.settle(outcome, None);
        }
    }
}

/// Whether an answer came to its end in the middle of a call: the model left it so, or a stop text of the client cut it.
fn is_unfinished(provider_code: Option<&str>) -> bool {
    provider_code == Some("unfinished_tool_call")
}

impl<P: Ports> Open<P> {
    /// Notes how the stream ended.
    fn observe(&mut self, seen: Observation) {
        let Served { channel, upstream_model, .. } = &self.served;
        let candidate = CandidateId { channel: channel.clone(), upstream_model: upstream_model.clone() };
        if self.is_told {
            if let Observation::Failed { kind, message, .. } = &seen {
                self.guard.broke_off(*kind, message);
            }
            self.guard.ports.observe(&candidate, seen);
        }
    }

    fn outcome(&self, status: RequestStatus) -> Outcome {
        let outcome =
            self.guard.outcome(status, self.served.clone(), self.meter.usage(), Some(self.first_byte_ms), self.meter.bytes());
        Outcome { finish_reason: self.meter.finish_reason(), ..outcome }
    }

    fn left(&self) -> Outcome {
        Outcome { error: Some(client_left()), next_step: Some(LEFT.to_owned()), ..self.outcome(RequestStatus::Aborted) }
    }
}

impl<P: Ports> Drop for Flow<P> {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        // Once the model has stopped, reading on costs nothing more and tells the usage.
        if !open.drains && open.meter.finish_reason().is_none() {
            let outcome = open.left();
            return open.guard.settle(outcome, None);
        }
        if let Some(ending) = open.guard.take_ending() {
            let _ = ending.send(Ending::Drain(Box::pin(Drain(open).run())));
        }
    }
}

/// What is left of a stream whose client is gone: read to its end, for its usage.
struct Drain<P: Ports>(Open<P>);

impl<P: Ports> Drain<P> {
    /// Reads on, and says how the request ended.
    async fn run(mut self) -> Settlement {
        let open = &mut self.0;
        let ports = open.guard.ports.clone();
        let until = ports.now().plus(LONGEST_DRAIN_MS);
        let step_ms = open.idle_timeout_ms.min(open.guard.checkpoint_ms());
        let (mut active_at, mut unread) = (ports.now(), Vec::new());
        while ports.now() < until && matches!(open.meter.progress(), Progress::Silent | Progress::Flowing) {
            match select(open.body.next(), Box::pin(ports.sleep(step_ms))).await {
                Either::Left((Some(Ok(bytes)), _)) => {
                    open.meter.push(&bytes, &mut unread);
                    unread.clear();
                    active_at = ports.now();
                }
                Either::Left(_) => break,
                Either::Right(_) if ports.now().since(active_at) >= u64::from(open.idle_timeout_ms) => break,
                Either::Right(_) => {}
            }
            open.guard.keep_alive(&open.served, open.meter.usage().0);
        }
        // What breaks off after its client is gone is held against nobody.
        if matches!(open.meter.progress(), Progress::Done) {
            open.observe(Observation::Answered);
        }
        Settlement { request: self.0.guard.request.clone(), outcome: self.0.left(), body: None, kept: None }
    }
}
