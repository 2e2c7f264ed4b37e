//! One attempt: a call on one candidate, until its answer is the client's or it is known that there is none. A channel with
//! several credentials is called with another one when it did not like the first.

use super::call::{UpstreamAnswer, With, call, estimated};
use super::failure::{Failure, telling};
use super::flow::Flow;
use super::guard::SettlementGuard;
use super::prepared::Prepared;
use super::quote::{Leg, Quoted};
use super::read::Content;
use super::reply::Reply;
use super::verdict::No;
use crate::account::{Attempt, AttemptStatus, RequestStatus, Served};
use crate::dialect::proof::{usual, wanted_instead};
use crate::id::SecretName;
use crate::money::Money;
use crate::ports::Ports;
use crate::refusal::Refusal;
use crate::routing::Planned;
use crate::routing::attempt::FailureKind;
use crate::routing::credentials;
use crate::routing::health::{Observation, Witness};
use crate::time::Timestamp;

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

/// Makes one attempt, with as many of the channel's credentials as it takes.
pub async fn attempt<P: Ports>(guard: &mut SettlementGuard<P>, prepared: &Prepared<'_>, quoted: &Quoted) -> Tried {
    let counts_only = prepared.request.endpoint.is_free();
    let mut failures = Vec::new();
    let mut secrets = credentials_of(&guard.ports, prepared, quoted).into_iter().peekable();
    while let Some(secret) = secrets.next() {
        let is_last = secrets.peek().is_none();
        match attempt_with(guard, prepared, quoted, &secret, is_last).await {
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
        && let Some(reply) = estimate(guard, prepared, quoted, failure)
    {
        return Tried::Answered(Box::new(reply));
    }
    if let Some(Failure { kind, message, retry_after_s, .. }) = told.filter(|failure| failure.is_of_the_model) {
        let by = Some(Witness::of(&guard.account));
        observe(guard, prepared, quoted, Observation::Failed { kind, message, retry_after_s, by });
    }
    Tried::Failed(failures)
}

/// The gateway's own count, where the provider's did not come.
fn estimate<P: Ports>(
    guard: &mut SettlementGuard<P>,
    prepared: &Prepared<'_>,
    quoted: &Quoted,
    failure: &Failure,
) -> Option<Reply> {
    let answer = estimated(prepared, &quoted.planned.channel)?;
    let message = Some(format!("the gateway estimated it: {}", failure.message));
    let attempt = described(&quoted.planned, AttemptStatus::Answered, guard.ports.now());
    let served = guard.dispatch(prepared, quoted, attempt.clone());
    guard.note(Attempt { dispatched: false, message, ..attempt });
    Some(answered(guard, prepared, served, answer))
}

/// Notes what was seen of a candidate.
fn observe<P: Ports>(guard: &SettlementGuard<P>, prepared: &Prepared<'_>, quoted: &Quoted, seen: Observation) {
    if is_told(prepared) {
        guard.ports.observe(&quoted.planned.candidate_id(), seen);
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
    guard: &mut SettlementGuard<P>,
    prepared: &Prepared<'_>,
    quoted: &Quoted,
    secret: &SecretName,
    is_last: bool,
) -> Result<Tried, Failure> {
    let ports = guard.ports.clone();
    let planned = &quoted.planned;
    let label = Some(secret.to_string());
    let template = Attempt { credential: label, ..described(planned, AttemptStatus::Abandoned, ports.now()) };
    let served = guard.dispatch(prepared, quoted, template.clone());
    observe(guard, prepared, quoted, Observation::Tried { by: Some(Witness::of(&guard.account)) });
    let counts_only = prepared.request.endpoint.is_free();
    let with = With { secret, thoughts: planned.channel.thoughts.unwrap_or_else(|| usual(&planned.candidate.upstream_model)) };
    let called = match asked(guard, (prepared, quoted, &served), with, &template).await {
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
                observe(guard, prepared, quoted, seen);
            }
            let message = (!dispatched).then(|| "the gateway estimated it: this channel does not count tokens".to_owned());
            let is_aside = counts_only;
            guard.note(Attempt { status: AttemptStatus::Answered, dispatched, provider_status, message, is_aside, ..template });
            Ok(Tried::Answered(Box::new(answered(guard, prepared, served, answer))))
        }
        Err(No::Rejected(rejection)) => {
            let (kind, message) = (Some("rejected".to_owned()), Some(rejection.error.message.clone()));
            guard.note(Attempt {
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
            guard.note(Attempt { status: AttemptStatus::Skipped, dispatched: false, message, ..template });
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
                guard.note(Attempt {
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
    guard: &mut SettlementGuard<P>,
    (prepared, quoted, served): (&Prepared<'_>, &Quoted, &Served),
    with: With<'_>,
    template: &Attempt,
) -> Result<UpstreamAnswer<P::Body>, No> {
    let called = call(guard, prepared, quoted, served, with).await;
    let Err(No::Rejected(rejection)) = &called else { return called };
    let Some(thoughts) = wanted_instead(&rejection.error, with.thoughts) else { return called };
    let message = "it refused the thoughts of earlier turns as they were sent; it was asked again in the way that it wants";
    guard.note(Attempt {
        status: AttemptStatus::Rejected,
        provider_status: Some(rejection.status),
        error: Some("thoughts".to_owned()),
        message: Some(message.to_owned()),
        latency_ms: guard.ports.now().since(template.started_at),
        ..template.clone()
    });
    let again = Attempt { started_at: guard.ports.now(), ..template.clone() };
    guard.dispatch(prepared, quoted, again);
    call(guard, prepared, quoted, served, With { thoughts, ..with }).await
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
    guard: &mut SettlementGuard<P>,
    prepared: &Prepared<'_>,
    served: Served,
    answer: UpstreamAnswer<P::Body>,
) -> Reply {
    let first_byte_ms = guard.ports.now().since(guard.arrived);
    let headers = |guard: &SettlementGuard<P>, reply: Reply| {
        let reply = reply.ids(&guard.request).asked(&prepared.facts.requested_model).rates(&guard.rates);
        match guard.attempts.last() {
            Some(last) => guard.account_for(reply, last, &prepared.catalog),
            None => reply,
        }
    };
    match answer.content {
        Content::Plain { body, usage, bytes, finish_reason } => {
            let reply = headers(guard, Reply::json(200, body.clone()));
            let mut outcome = guard.outcome(RequestStatus::Completed, served, usage, Some(first_byte_ms), bytes);
            outcome.finish_reason = finish_reason;
            guard.settle(outcome, Some(body));
            reply
        }
        Content::Stream { body, meter, out, content_type } => {
            let channel = answer.channel;
            let reply = headers(guard, Reply::json(200, String::new()));
            let drains = channel.on_client_gone == crate::catalog::OnClientGone::Drain;
            let is_told = is_told(prepared);
            let flow =
                Flow::new((guard.take_over(), is_told), body, meter, served, out, first_byte_ms, channel.idle_timeout_ms, drains);
            let names = ["content-type", "cache-control", "x-content-type-options"];
            let mut stream = Reply::stream(&content_type, flow.into_stream());
            stream.headers.extend(reply.headers.into_iter().filter(|(name, _)| !names.contains(name)));
            stream
        }
    }
}
