//! One attempt: a call on one candidate, until its answer is the client's or it is known that there is none.

use futures_util::StreamExt;

use super::flow::Flow;
use super::prepare::{Prepared, Quoted, estimated_input};
use super::reply::Reply;
use super::ticket::Ticket;
use crate::account::{Attempt, AttemptStatus, Served, Status};
use crate::dialect::estimated_tokens;
use crate::dialect::meter::{Meter, Progress};
use crate::dialect::openai::{self, CHAT_PATH, Cost, PlainAnswer, Upstream, UpstreamError, read_error};
use crate::money::{Money, Price, cost};
use crate::ports::{Call, Ports, SendError, UpstreamResponse};
use crate::refusal::{Code, Refusal};
use crate::routing::Planned;
use crate::routing::attempt::{FailureKind, Verdict, classify};
use crate::routing::health::Observation;
use crate::time::Timestamp;
use crate::usage::{Bounds, Usage, UsageSource};

/// When nobody can say when to come back, this is a fair guess, in seconds.
const RETRY_AFTER_S: u64 = 5;

/// What became of an attempt.
pub enum Tried {
    /// It answers, and this goes to the client.
    Answered(Box<Reply>),
    /// The request itself is at fault.
    Rejected(Refusal),
    /// The next one.
    Failed(Failure),
}

/// Why an attempt did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// In words; safe to show.
    pub message: String,
    pub provider_status: Option<u16>,
    pub retry_after_s: Option<u64>,
}

impl Failure {
    fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), provider_status: None, retry_after_s: None }
    }

    const fn status(mut self, status: u16) -> Self {
        self.provider_status = Some(status);
        self
    }
}

/// Why a call is not answered.
enum No {
    Failed(Failure),
    Rejected(u16, UpstreamError),
}

impl From<Failure> for No {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Makes one attempt.
pub async fn attempt<P: Ports>(ticket: &mut Ticket<P>, prepared: &Prepared<'_>, quoted: &Quoted) -> Tried {
    let ports = ticket.ports.clone();
    let planned = &quoted.planned;
    let candidate = planned.candidate_id();
    let template = described(planned, AttemptStatus::Abandoned, ports.now());
    let served = ticket.dispatch(prepared, quoted, template.clone());
    ports.observe(&candidate, Observation::Tried);
    let called = call(ticket, prepared, quoted, &served).await;
    let template = Attempt { latency_ms: ports.now().since(template.started_at), ..template };
    match called {
        Ok(answer) => {
            ports.observe(&candidate, Observation::Answered);
            ticket.note(Attempt { status: AttemptStatus::Answered, provider_status: Some(answer.status), ..template });
            Tried::Answered(Box::new(answered(ticket, prepared, served, answer)))
        }
        Err(No::Rejected(status, error)) => {
            let (kind, message) = (Some("rejected".to_owned()), Some(error.message.clone()));
            ticket.note(Attempt {
                status: AttemptStatus::Rejected,
                provider_status: Some(status),
                error: kind,
                message,
                ..template
            });
            Tried::Rejected(rejected(status, error))
        }
        Err(No::Failed(failure)) => {
            let seen = Observation::Failed {
                kind: failure.kind,
                message: failure.message.clone(),
                retry_after_s: failure.retry_after_s,
            };
            ports.observe(&candidate, seen);
            let is_skipped = failure.kind == FailureKind::NotConfigured;
            ticket.note(Attempt {
                status: if is_skipped { AttemptStatus::Skipped } else { AttemptStatus::Failed },
                dispatched: !is_skipped,
                provider_status: failure.provider_status,
                error: Some(failure.kind.as_str().to_owned()),
                message: Some(failure.message.clone()),
                ..template
            });
            Tried::Failed(failure)
        }
    }
}

/// An attempt as it is planned.
fn described(planned: &Planned, status: AttemptStatus, started_at: Timestamp) -> Attempt {
    Attempt {
        channel: planned.candidate.channel.clone(),
        tier: planned.candidate.tier,
        route: planned.route,
        bucket: planned.bucket.clone(),
        upstream_model: planned.candidate.upstream_model.clone(),
        reason: planned.reason.clone(),
        dispatched: status != AttemptStatus::Skipped,
        status,
        started_at,
        latency_ms: 0,
        provider_status: None,
        error: None,
        message: None,
        credential: None,
    }
}

/// What a receipt tells of candidates that are tried last because of their health, if they are not tried at all.
pub fn resting(prepared: &Prepared<'_>, now: Timestamp) -> Vec<Attempt> {
    let planned = prepared.legs.iter().flat_map(|leg| &leg.attempts).map(|quoted| &quoted.planned);
    planned.filter(|planned| planned.is_resting).map(|planned| described(planned, AttemptStatus::Skipped, now)).collect()
}

/// An answer that is known to be one.
struct Answer<B> {
    status: u16,
    content: Content<B>,
}

enum Content<B> {
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
        idle_timeout_ms: u32,
        drains: bool,
    },
}

async fn call<P: Ports>(
    ticket: &Ticket<P>,
    prepared: &Prepared<'_>,
    quoted: &Quoted,
    served: &Served,
) -> Result<Answer<P::Body>, No> {
    let (ports, channel) = (&ticket.ports, &quoted.planned.channel);
    let upstream = Upstream {
        model: &quoted.planned.candidate.upstream_model,
        output_limit: quoted.output_limit,
        limit_field: channel.output_limit_field,
    };
    let call = Call {
        url: format!("{}{CHAT_PATH}", channel.base_url.as_str().trim_end_matches('/')),
        secrets: channel.secrets.clone(),
        body: Some(openai::upstream_body(&prepared.envelope, upstream)),
    };
    let timeout_ms = channel.first_byte_timeout_ms;
    let no_byte = || Failure::new(FailureKind::Timeout, format!("no answer within {timeout_ms} ms"));
    let head = ticket.within(timeout_ms, ports.send(call)).await.ok_or_else(no_byte)?;
    let UpstreamResponse { status, retry_after_s, body } = head.map_err(|error| match error {
        SendError::NotConfigured => Failure::new(FailureKind::NotConfigured, "the channel has no credential set"),
        SendError::Connect(detail) => {
            ports.log(&format!("{}: {detail}", channel.id));
            Failure::new(FailureKind::Connect, "the connection failed")
        }
    })?;
    match classify(status) {
        Verdict::Read if prepared.envelope.stream => {
            let pricing = (served.price.clone(), ticket.hold, cost_details(prepared, served));
            let bounds = ticket.bounds;
            let pricing = Box::new(move |usage: &Usage, source, bytes| {
                let credible = credible(usage, source, bounds, bytes);
                cost_of(&pricing.0, pricing.1, &pricing.2, &credible, source)
            });
            let input = estimated_input(&prepared.envelope, &quoted.planned.model);
            let meter = Box::new(Meter::new(prepared.envelope.include_usage, input, pricing));
            let drains = channel.on_client_gone == crate::catalog::OnClientGone::Drain;
            let first = ticket.within(timeout_ms, first_event(body, meter)).await.ok_or_else(no_byte)?;
            let (body, meter, out) = first.map_err(|failure| failure.status(status))?;
            Ok(Answer { status, content: Content::Stream { body, meter, out, idle_timeout_ms: channel.idle_timeout_ms, drains } })
        }
        Verdict::Read => {
            let read = ticket.within(channel.idle_timeout_ms, ports.read_all(body)).await.ok_or_else(no_byte)?;
            let bytes = read.map_err(|_| {
                Failure::new(FailureKind::Connect, "the connection broke in the middle of the answer").status(status)
            })?;
            let content = plain(ticket, prepared, quoted, served, &bytes);
            Ok(Answer { status, content: content.map_err(|what| Failure::new(FailureKind::Unreadable, what).status(status))? })
        }
        Verdict::Client => Err(No::Rejected(status, read_error(&error_text(ticket, body).await))),
        Verdict::Next(kind) => {
            let error = read_error(&error_text(ticket, body).await);
            let mut failure = Failure::new(kind, explained(kind, status, &error)).status(status);
            failure.retry_after_s = retry_after_s;
            Err(failure.into())
        }
    }
}

/// Reads until the first event, so that a stream that starts with an error, or has nothing, can still go elsewhere.
async fn first_event<B: futures_util::Stream<Item = Result<Vec<u8>, String>> + Unpin>(
    mut body: B,
    mut meter: Box<Meter>,
) -> Result<(B, Box<Meter>, Vec<u8>), Failure> {
    let mut out = Vec::new();
    loop {
        let next = body.next().await;
        match &next {
            Some(Ok(bytes)) => meter.push(bytes, &mut out),
            Some(Err(_)) => return Err(Failure::new(FailureKind::Connect, "the connection broke before the first event")),
            None => meter.finish(&mut out),
        }
        match meter.progress() {
            Progress::Flowing => return Ok((body, meter, out)),
            Progress::Done if meter.has_chunks() => return Ok((body, meter, out)),
            Progress::Done => return Err(Failure::new(FailureKind::Unreadable, "an empty stream")),
            // A stream that breaks after its first events is the client's already.
            Progress::Broken(_) if meter.has_chunks() => return Ok((body, meter, out)),
            Progress::Broken(error) => {
                return Err(Failure::new(
                    FailureKind::Unreadable,
                    format!("an error in place of an answer{}", error.shown_code()),
                ));
            }
            Progress::Silent if next.is_none() => return Err(Failure::new(FailureKind::Unreadable, "an empty stream")),
            // Of what keeps the connection alive before the first event, the last is enough.
            Progress::Silent => out.truncate(8),
        }
    }
}

fn plain<P: Ports, B>(
    ticket: &Ticket<P>,
    prepared: &Prepared<'_>,
    quoted: &Quoted,
    served: &Served,
    bytes: &[u8],
) -> Result<Content<B>, String> {
    let answer = PlainAnswer::parse(bytes)?;
    let usage = match answer.usage {
        Some(usage) => (usage, UsageSource::Upstream),
        None => {
            let input = estimated_input(&prepared.envelope, &quoted.planned.model);
            let output = estimated_tokens(answer.output_bytes).min(quoted.output_tokens);
            (Usage { input, output, ..Usage::default() }, UsageSource::Estimated)
        }
    };
    let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let credible = credible(&usage.0, usage.1, ticket.bounds, bytes);
    let cost = cost_of(&served.price, ticket.hold, &cost_details(prepared, served), &credible, usage.1);
    let body = answer.with_cost(&usage.0, &cost);
    Ok(Content::Plain { body, usage, bytes, finish_reason: answer.finish_reason })
}

fn answered<P: Ports>(ticket: &mut Ticket<P>, prepared: &Prepared<'_>, served: Served, answer: Answer<P::Body>) -> Reply {
    let first_byte_ms = ticket.ports.now().since(ticket.arrived);
    let headers = |ticket: &Ticket<P>, reply: Reply| {
        let reply = reply.ids(&ticket.request).asked(&prepared.facts.requested_model).rates(&ticket.rates);
        match ticket.attempts.last() {
            Some(last) => ticket.account_for(reply, last),
            None => reply,
        }
    };
    match answer.content {
        Content::Plain { body, usage, bytes, finish_reason } => {
            let reply = headers(ticket, Reply::json(200, body.clone()));
            let mut outcome = ticket.outcome(Status::Completed, served, usage, Some(first_byte_ms), bytes);
            outcome.finish_reason = finish_reason;
            ticket.settle(outcome, Some(body));
            reply
        }
        Content::Stream { body, meter, out, idle_timeout_ms, drains } => {
            let reply = headers(ticket, Reply::json(200, String::new()));
            let flow = Flow::new(ticket.take_over(), body, meter, served, out, first_byte_ms, idle_timeout_ms, drains);
            let names = ["content-type", "cache-control"];
            let mut events = Reply::events(flow.into_stream());
            events.headers.extend(reply.headers.into_iter().filter(|(name, _)| !names.contains(name)));
            events
        }
    }
}

/// The body of an error; nothing if it does not come.
async fn error_text<P: Ports>(ticket: &Ticket<P>, body: P::Body) -> Vec<u8> {
    ticket.within(5_000, ticket.ports.read_error(body)).await.and_then(Result::ok).unwrap_or_default()
}

/// Our own words for what upstream answered: its text may name its hosts and our account there.
fn explained(kind: FailureKind, status: u16, error: &UpstreamError) -> String {
    let code = error.shown_code();
    match kind {
        FailureKind::Credential => format!("the provider did not accept the gateway's credential, status {status}"),
        FailureKind::NotFound => format!("the provider does not know the model, status {status}"),
        FailureKind::Load => format!("the provider asked for fewer requests, status {status}{code}"),
        FailureKind::Timeout => format!("the provider timed out, status {status}"),
        _ => format!("the provider failed with status {status}{code}"),
    }
}

/// An error that is the client's, as upstream told it.
fn rejected(status: u16, error: UpstreamError) -> Refusal {
    let next_step = "Correct the request; every provider of this model would refuse it.";
    let refusal = Refusal::new(Code::UpstreamRejected, error.message, next_step).limit("upstream");
    let refusal = Refusal { param: error.param.clone(), upstream_status: Some(status), ..refusal };
    refusal
        .fact("provider_status", status)
        .fact("provider_type", error.kind)
        .fact("provider_param", error.param)
        .fact("provider_code", error.code)
}

/// The answer when every attempt failed.
pub fn nobody_answered<P: Ports>(failures: &[Failure], refused: Option<&Refusal>, ticket: &Ticket<P>) -> Refusal {
    let is_passing = failures.iter().any(|failure| failure.kind == FailureKind::Load || failure.provider_status == Some(503));
    let retry_after_s = failures.iter().filter_map(|failure| failure.retry_after_s).max();
    let (code, wait) = match (is_passing, retry_after_s) {
        (true, wait) => (Code::NoRouteForNow, Some(wait.unwrap_or(RETRY_AFTER_S))),
        (false, wait) => (Code::NoRouteAvailable, wait),
    };
    let last = failures.last().map_or("no attempt could be made", |failure| failure.message.as_str());
    let message = format!("No provider answered after {} attempt(s); the last one: {last}. Nothing was charged.", failures.len());
    let next_step = match (wait, refused) {
        (_, Some(refused)) => format!("Another route was not covered: {} {}", refused.message, refused.next_step),
        (Some(seconds), None) => format!("Send the request again in {seconds} s, or name fallback models in `models`."),
        (None, None) => "Send the request again, or name fallback models in `models`.".to_owned(),
    };
    let attempts: Vec<serde_json::Value> = ticket
        .attempts
        .iter()
        .map(|attempt| {
            serde_json::json!({
                "channel": attempt.channel, "upstream_model": attempt.upstream_model, "tier": attempt.tier, "route": attempt.route,
                "error": attempt.error, "message": attempt.message, "provider_status": attempt.provider_status,
            })
        })
        .collect();
    let refusal = Refusal { retry_after_s: wait, ..Refusal::new(code, message, next_step) };
    refusal.limit("upstream").fact("attempts", attempts)
}

/// As much of upstream's count as can be true; what was estimated is.
fn credible(usage: &Usage, source: UsageSource, bounds: Option<Bounds>, bytes: u64) -> Usage {
    let bounds = bounds.filter(|_| source == UsageSource::Upstream);
    bounds.map_or(*usage, |bounds| usage.bounded(&Bounds { visible: bytes, ..bounds }))
}

/// What is charged for usage: never more than is held.
fn cost_of(price: &Price, hold: Money, details: &serde_json::Value, usage: &Usage, source: UsageSource) -> Cost {
    let amount = cost(price, usage).unwrap_or(Money::MAX).min(hold);
    let mut details = details.clone();
    if let Some(fields) = details.as_object_mut() {
        fields.insert("usage_source".to_owned(), serde_json::to_value(source).unwrap_or_default());
    }
    Cost { amount: amount.to_string(), details: details.to_string() }
}

fn cost_details(prepared: &Prepared<'_>, served: &Served) -> serde_json::Value {
    let currency = prepared.catalog.buckets.get(&served.bucket).map(|bucket| bucket.currency.clone());
    serde_json::json!({"currency": currency, "bucket": served.bucket, "route": served.route, "price_per_million": served.price})
}
