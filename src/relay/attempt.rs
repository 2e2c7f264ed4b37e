//! One attempt: a call on one candidate, until its answer is the client's or it is known that there is none. A channel with
//! several credentials is called with another one when it did not like the first.

use super::answer::{self, Answer, Content, No, With, estimated};
use super::flow::Flow;
use super::prepare::Prepared;
use super::quote::{Leg, Quoted};
use super::reply::Reply;
use super::ticket::Ticket;
use crate::account::{Attempt, AttemptStatus, Served, Status};
use crate::catalog::Catalog;
use crate::dialect::proof::{usual, wanted_instead};
use crate::id::SecretName;
use crate::money::Money;
use crate::ports::Ports;
use crate::refusal::{Code, Refusal};
use crate::routing::Planned;
use crate::routing::attempt::FailureKind;
use crate::routing::credentials;
use crate::routing::health::{Observation, Witness};
use crate::time::Timestamp;

/// When nobody can say when to come back, this is a fair guess, in seconds.
const RETRY_AFTER_S: u64 = 5;
/// Nobody is told to wait longer, in seconds: clients do as they are told, and another candidate may answer long before.
const LONGEST_RETRY_AFTER_S: u64 = 3_600;
/// Why an attempt is not made that its balance would have to pay.
pub const NO_ROOM: &str = "the balance has no room for its smallest answer";
/// How many credentials of a channel one request tries.
const MOST_CREDENTIALS: usize = 3;

/// What became of an attempt.
pub enum Tried {
    /// It answers, and this goes to the client.
    Answered(Box<Reply>),
    /// The request itself is at fault.
    Rejected(Refusal),
    /// The next one.
    Failed(Vec<Failure>),
}

/// Why an attempt did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// In words; safe to show.
    pub message: String,
    pub provider_status: Option<u16>,
    pub retry_after_s: Option<u64>,
    /// Whether upstream says that it has too much to do.
    pub is_overload: bool,
    /// Whether it says something about the model there, and not only about the place at which it was asked.
    pub is_of_the_model: bool,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            provider_status: None,
            retry_after_s: None,
            is_overload: false,
            is_of_the_model: true,
        }
    }

    pub const fn status(mut self, status: u16) -> Self {
        self.provider_status = Some(status);
        self
    }

    /// Whether another credential of the same channel may fare better. A provider that is overloaded is so for all of them.
    const fn is_of_the_credential(&self) -> bool {
        match self.kind {
            FailureKind::Load => !self.is_overload,
            FailureKind::Credential | FailureKind::Forbidden | FailureKind::NotConfigured => true,
            _ => false,
        }
    }

    /// Whether it fails again whoever asks, until the operator does something.
    const fn is_lasting(&self) -> bool {
        matches!(self.kind, FailureKind::Credential | FailureKind::Forbidden | FailureKind::NotFound | FailureKind::Vanished)
    }

    /// Whether the candidate is only busy.
    fn is_busy(&self) -> bool {
        self.kind == FailureKind::Load || self.is_overload
    }
}

/// Makes one attempt, with as many of the channel's credentials as it takes.
pub async fn attempt<P: Ports>(ticket: &mut Ticket<P>, prepared: &Prepared<'_>, quoted: &Quoted) -> Tried {
    let counts_only = prepared.request.endpoint.is_free();
    let mut failures = Vec::new();
    let mut secrets = credentials_of(&ticket.ports, prepared, quoted).into_iter().peekable();
    while let Some(secret) = secrets.next() {
        let is_last = secrets.peek().is_none();
        match attempt_with(ticket, prepared, quoted, &secret, is_last).await {
            Ok(tried) => return tried,
            Err(failure) => {
                let is_worth_another = failure.is_of_the_credential() && !counts_only;
                failures.push(failure);
                if !is_worth_another {
                    break;
                }
            }
        }
    }
    let told = telling(&failures).cloned();
    if let Some(failure) = told.as_ref().filter(|_| counts_only)
        && let Some(reply) = estimate(ticket, prepared, quoted, failure)
    {
        return Tried::Answered(Box::new(reply));
    }
    if let Some(Failure { kind, message, retry_after_s, .. }) = told.filter(|failure| failure.is_of_the_model) {
        let by = Some(Witness::of(&ticket.account));
        observe(ticket, prepared, quoted, Observation::Failed { kind, message, retry_after_s, by });
    }
    Tried::Failed(failures)
}

/// The gateway's own count, where the provider's did not come.
fn estimate<P: Ports>(ticket: &mut Ticket<P>, prepared: &Prepared<'_>, quoted: &Quoted, failure: &Failure) -> Option<Reply> {
    let answer = estimated(prepared, &quoted.planned.channel)?;
    let message = Some(format!("the gateway estimated it: {}", failure.message));
    let attempt = described(&quoted.planned, AttemptStatus::Answered, ticket.ports.now());
    let served = ticket.dispatch(prepared, quoted, attempt.clone());
    ticket.note(Attempt { dispatched: false, message, ..attempt });
    Some(answered(ticket, prepared, served, answer))
}

/// What the failures of one attempt say of its candidate: the last one tells. But where it was the credentials, and one of them
/// is only loaded, the channel is not out of order, whatever became of the others.
pub fn telling(failures: &[Failure]) -> Option<&Failure> {
    let last = failures.last()?;
    let loaded = failures.iter().find(|failure| failure.kind == FailureKind::Load);
    Some(loaded.filter(|_| last.is_of_the_credential()).unwrap_or(last))
}

/// Notes what was seen of a candidate.
fn observe<P: Ports>(ticket: &Ticket<P>, prepared: &Prepared<'_>, quoted: &Quoted, seen: Observation) {
    if is_told(prepared) {
        ticket.ports.observe(&quoted.planned.candidate_id(), seen);
    }
}

/// Whether what is seen says something of the candidate: what a probe sees is for the probe to tell, and whether a provider counts
/// tokens says nothing about its models.
fn is_told(prepared: &Prepared<'_>) -> bool {
    prepared.head.probed.is_none() && !prepared.request.endpoint.is_free()
}

/// The credentials to try, in order. What goes on from an earlier response needs the one that made it.
fn credentials_of<P: Ports>(ports: &P, prepared: &Prepared<'_>, quoted: &Quoted) -> Vec<SecretName> {
    if let Some((_, secret)) = &prepared.owned.maker {
        return vec![secret.clone()];
    }
    let secrets = &quoted.planned.channel.secrets;
    let mut order = credentials::order(secrets, &prepared.seed, |secret| ports.cooling(secret), ports.now());
    order.truncate(MOST_CREDENTIALS);
    order
}

async fn attempt_with<P: Ports>(
    ticket: &mut Ticket<P>,
    prepared: &Prepared<'_>,
    quoted: &Quoted,
    secret: &SecretName,
    is_last: bool,
) -> Result<Tried, Failure> {
    let ports = ticket.ports.clone();
    let planned = &quoted.planned;
    let label = Some(secret.to_string());
    let template = Attempt { credential: label, ..described(planned, AttemptStatus::Abandoned, ports.now()) };
    let served = ticket.dispatch(prepared, quoted, template.clone());
    observe(ticket, prepared, quoted, Observation::Tried { by: Some(Witness::of(&ticket.account)) });
    let counts_only = prepared.request.endpoint.is_free();
    let with = With { secret, thoughts: planned.channel.thoughts.unwrap_or_else(|| usual(&planned.candidate.upstream_model)) };
    let called = match asked(ticket, (prepared, quoted, &served), with, &template).await {
        // A provider that does not count says so in many ways.
        Err(No::Rejected(rejection)) if counts_only && !rejection.is_plain() => {
            let message = format!("the provider refused to count, status {}", rejection.status);
            Err(Failure::new(FailureKind::Absent, message).status(rejection.status).into())
        }
        called => called,
    };
    let template = Attempt { latency_ms: ports.now().since(template.started_at), ..template };
    match called {
        Ok(answer) => {
            let (dispatched, provider_status) = (answer.status.is_some(), answer.status);
            if dispatched {
                // Whether a stream comes to its end, it tells itself.
                let is_stream = matches!(answer.content, Content::Stream { .. });
                let seen = if is_stream { Observation::Begun } else { Observation::Answered };
                observe(ticket, prepared, quoted, seen);
            }
            let message = (!dispatched).then(|| "the gateway estimated it: this channel does not count tokens".to_owned());
            let is_aside = counts_only;
            ticket.note(Attempt { status: AttemptStatus::Answered, dispatched, provider_status, message, is_aside, ..template });
            Ok(Tried::Answered(Box::new(answered(ticket, prepared, served, answer))))
        }
        Err(No::Rejected(rejection)) => {
            let (kind, message) = (Some("rejected".to_owned()), Some(rejection.error.message.clone()));
            ticket.note(Attempt {
                status: AttemptStatus::Rejected,
                provider_status: Some(rejection.status),
                error: kind,
                message,
                ..template
            });
            Ok(Tried::Rejected(rejection.refusal()))
        }
        Err(No::Unwritten(refusal)) => {
            let message = Some(refusal.message.clone());
            ticket.note(Attempt { status: AttemptStatus::Skipped, dispatched: false, message, ..template });
            Ok(Tried::Rejected(*refusal))
        }
        Err(No::Failed(failure)) => {
            let is_about_it = !counts_only && failure.is_of_the_credential();
            if let Some(ms) = credentials::cool_down(failure.kind, failure.retry_after_s).filter(|_| is_about_it) {
                if failure.kind == FailureKind::Credential && ports.cooling(secret).is_none() {
                    ports.log(&format!("credential {secret} of channel {}: {}", planned.channel.id, failure.message));
                }
                ports.cool_down(secret, ports.now().plus(ms));
            }
            let is_final = is_last || !failure.is_of_the_credential();
            let is_skipped = failure.kind == FailureKind::NotConfigured;
            if is_final || !is_skipped {
                ticket.note(Attempt {
                    status: if is_skipped { AttemptStatus::Skipped } else { AttemptStatus::Failed },
                    dispatched: !is_skipped,
                    provider_status: failure.provider_status,
                    error: Some(failure.kind.as_str().to_owned()),
                    message: Some(failure.message.clone()),
                    is_aside: counts_only || !failure.is_of_the_model,
                    ..template
                });
            }
            Err(failure)
        }
    }
}

/// Calls a channel. Where it refuses the thoughts of earlier turns, or that they are missing, it is called once more in the way
/// that it wants: the client can mend neither.
async fn asked<P: Ports>(
    ticket: &mut Ticket<P>,
    (prepared, quoted, served): (&Prepared<'_>, &Quoted, &Served),
    with: With<'_>,
    template: &Attempt,
) -> Result<Answer<P::Body>, No> {
    let called = answer::call(ticket, prepared, quoted, served, with).await;
    let Err(No::Rejected(rejection)) = &called else { return called };
    let Some(thoughts) = wanted_instead(&rejection.error, with.thoughts) else { return called };
    let message = "it refused the thoughts of earlier turns as they were sent; it was asked again in the way that it wants";
    ticket.note(Attempt {
        status: AttemptStatus::Rejected,
        provider_status: Some(rejection.status),
        error: Some("thoughts".to_owned()),
        message: Some(message.to_owned()),
        latency_ms: ticket.ports.now().since(template.started_at),
        ..template.clone()
    });
    let again = Attempt { started_at: ticket.ports.now(), ..template.clone() };
    ticket.dispatch(prepared, quoted, again);
    answer::call(ticket, prepared, quoted, served, With { thoughts, ..with }).await
}

/// An attempt as it is planned.
fn described(planned: &Planned, status: AttemptStatus, started_at: Timestamp) -> Attempt {
    Attempt {
        model: Some(planned.model.id.clone()),
        channel: planned.candidate.channel.clone(),
        tier: planned.candidate.tier,
        route: planned.route,
        bucket: planned.bucket.clone(),
        upstream_model: planned.candidate.upstream_model.clone(),
        credential: None,
        reason: planned.reason.clone(),
        dispatched: status != AttemptStatus::Skipped,
        status,
        started_at,
        latency_ms: 0,
        provider_status: None,
        error: None,
        message: None,
        is_aside: false,
    }
}

/// What a receipt tells of attempts that a hold does not cover.
pub fn uncovered(leg: &Leg, hold: Money, now: Timestamp) -> Vec<Attempt> {
    let message = || Some(NO_ROOM.to_owned());
    leg.beyond(hold)
        .map(|quoted| Attempt { message: message(), ..described(&quoted.planned, AttemptStatus::Skipped, now) })
        .collect()
}

/// What a receipt tells of candidates that are tried last because of their health, if they are not tried at all.
pub fn resting(prepared: &Prepared<'_>, now: Timestamp) -> Vec<Attempt> {
    let planned = prepared.legs.iter().flat_map(|leg| &leg.attempts).map(|quoted| &quoted.planned);
    planned.filter(|planned| planned.is_resting).map(|planned| described(planned, AttemptStatus::Skipped, now)).collect()
}

fn answered<P: Ports>(
    ticket: &mut Ticket<P>,
    prepared: &Prepared<'_>,
    served: crate::account::Served,
    answer: Answer<P::Body>,
) -> Reply {
    let first_byte_ms = ticket.ports.now().since(ticket.arrived);
    let headers = |ticket: &Ticket<P>, reply: Reply| {
        let reply = reply.ids(&ticket.request).asked(&prepared.facts.requested_model).rates(&ticket.rates);
        match ticket.attempts.last() {
            Some(last) => ticket.account_for(reply, last, &prepared.catalog),
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
        Content::Stream { body, meter, out, content_type } => {
            let channel = answer.channel;
            let reply = headers(ticket, Reply::json(200, String::new()));
            let drains = channel.on_client_gone == crate::catalog::OnClientGone::Drain;
            let is_told = is_told(prepared);
            let flow = Flow::new(
                (ticket.take_over(), is_told),
                body,
                meter,
                served,
                out,
                first_byte_ms,
                channel.idle_timeout_ms,
                drains,
            );
            let names = ["content-type", "cache-control", "x-content-type-options"];
            let mut stream = Reply::stream(&content_type, flow.into_stream());
            stream.headers.extend(reply.headers.into_iter().filter(|(name, _)| !names.contains(name)));
            stream
        }
    }
}

/// The answer when every attempt failed; `failures` are those of each candidate.
pub fn nobody_answered<P: Ports>(
    failures: &[Vec<Failure>],
    refused: Option<&Refusal>,
    ticket: &Ticket<P>,
    catalog: &Catalog,
) -> Refusal {
    let told: Vec<&Failure> = failures.iter().filter_map(|failures| telling(failures)).collect();
    let code = code_of(&told);
    let wait = failures.iter().flatten().filter_map(|failure| failure.retry_after_s).max();
    let wait = wait.map(|seconds| seconds.min(LONGEST_RETRY_AFTER_S));
    let is_busy = matches!(code, Code::UpstreamRateLimited | Code::UpstreamOverloaded);
    let wait = wait.or_else(|| is_busy.then_some(RETRY_AFTER_S));
    let last = told.last().map_or("no attempt could be made", |failure| failure.message.as_str());
    let count = failures.iter().flatten().count();
    let what = if is_busy { "Every provider is busy," } else { "No provider answered" };
    let message = format!("{what} after {count} attempt(s); the last one: {last}. Nothing was charged.");
    let next_step = match (wait, refused) {
        (_, Some(refused)) => format!("Another route was not covered: {} {}", refused.message, refused.next_step),
        (Some(seconds), None) => format!("Send the request again in {seconds} s, or name fallback models in `models`."),
        (None, None) if code.is_final() => "Name fallback models in `models`, or tell the operator of this gateway.".to_owned(),
        (None, None) => "Send the request again, or name fallback models in `models`.".to_owned(),
    };
    let attempts: Vec<serde_json::Value> = ticket
        .attempts
        .iter()
        .map(|attempt| {
            let named = attempt.named();
            serde_json::json!({
                "channel": catalog.shown_channel(named.channel), "upstream_model": catalog.shown_upstream(named),
                "tier": attempt.tier, "route": attempt.route, "error": attempt.error,
                "message": attempt.message.as_deref().map(|text| catalog.shown_text(text, named)),
                "provider_status": attempt.provider_status,
            })
        })
        .collect();
    let refusal = Refusal { retry_after_s: wait, ..Refusal::new(code, message, next_step) };
    refusal.limit("upstream").fact("attempts", attempts)
}

/// What it is when every candidate failed in its way: only where each of those that could be asked was busy, it passes, and only
/// where each refused the gateway's own account, or does not have the model, it is of no use to try again.
fn code_of(told: &[&Failure]) -> Code {
    let asked: Vec<&&Failure> = told.iter().filter(|failure| failure.kind != FailureKind::NotConfigured).collect();
    match told.is_empty() {
        true => Code::NoRouteAvailable,
        _ if asked.iter().all(|failure| failure.is_lasting()) => Code::UpstreamRefusesUs,
        _ if !asked.iter().all(|failure| failure.is_busy()) => Code::NoRouteAvailable,
        _ if asked.iter().all(|failure| failure.is_overload) => Code::UpstreamOverloaded,
        _ => Code::UpstreamRateLimited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_every_candidate_is_busy_the_answer_is_to_come_back() {
        use FailureKind::{Credential, Load, NotConfigured, NotFound, Server};
        let failure = |kind, is_overload| Failure { is_overload, ..Failure::new(kind, "no") };
        for (told, code) in [
            (&[(Load, false)][..], Code::UpstreamRateLimited),
            (&[(Load, false), (Load, false)], Code::UpstreamRateLimited),
            (&[(Server, true)], Code::UpstreamOverloaded),
            (&[(Load, true), (Server, true)], Code::UpstreamOverloaded),
            (&[(Load, false), (Server, true)], Code::UpstreamRateLimited),
            // Nobody set a credential there, so nobody was asked.
            (&[(NotConfigured, false), (Load, false)], Code::UpstreamRateLimited),
            (&[(Load, false), (Server, false)], Code::NoRouteAvailable),
            (&[(Load, false), (Credential, false)], Code::NoRouteAvailable),
            (&[(NotConfigured, false)], Code::UpstreamRefusesUs),
            (&[(NotFound, false), (Credential, false)], Code::UpstreamRefusesUs),
            (&[(NotFound, false), (Server, false)], Code::NoRouteAvailable),
            (&[(Credential, false), (NotConfigured, false)], Code::UpstreamRefusesUs),
            (&[], Code::NoRouteAvailable),
        ] {
            let failures: Vec<Failure> = told.iter().map(|(kind, is_overload)| failure(*kind, *is_overload)).collect();
            assert_eq!(code_of(&failures.iter().collect::<Vec<_>>()), code, "{told:?}");
        }
    }

    #[test]
    fn a_pool_is_only_loaded_while_one_of_its_credentials_is() {
        use FailureKind::{Credential, Load, NotConfigured, Server};
        for (kinds, told) in [
            (&[Load, Credential][..], Some(Load)),
            (&[Credential, Load], Some(Load)),
            (&[Load, NotConfigured], Some(Load)),
            (&[Credential, Credential], Some(Credential)),
            // The server's own fault is everybody's.
            (&[Load, Server], Some(Server)),
            (&[], None),
        ] {
            let failures: Vec<Failure> = kinds.iter().map(|kind| Failure::new(*kind, "no")).collect();
            assert_eq!(telling(&failures).map(|failure| failure.kind), told, "{kinds:?}");
        }
    }
}
