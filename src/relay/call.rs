//! A call on a channel with one credential: what goes up, and whether an answer comes.
//!
//! What always holds: a call ends within the channel's time limits; of the client's own headers only those go up that the channel's
//! dialect knows; words of an error are told without what is between the gateway and its provider.

use std::rc::Rc;

use super::failure::Failure;
use super::guard::SettlementGuard;
use super::prepared::Prepared;
use super::quote::Quoted;
use super::read::{Content, Reading, Spoiled, first_event, meter_of, plain, shown_type};
use super::verdict::{FailedCall, No};
use crate::account::Served;
use crate::catalog::{Channel, Dialect, Thoughts};
use crate::dialect::bridge::Bridge;
use crate::dialect::discreet::{Discretion, without_host, without_names};
use crate::dialect::format::Upstream;
use crate::dialect::maker::place;
use crate::dialect::{Edit, Endpoint, Sent, Way, quoted as json_text, read_error, required_header};
use crate::id::SecretName;
use crate::ports::{Ports, SendError, UpstreamCall, UpstreamResponse};
use crate::refusal::Refusal;
use crate::routing::attempt::{FailureKind, Verdict, bounded_wait, classify};
use crate::usage::{Usage, UsageSource};

/// Of a model whose catalogued context is no longer than this, no client may ask for more: the quote and what usage is cut to
/// go by it, and what is beyond costs more at the provider.
const USUAL_CONTEXT: u64 = 200_000;

/// How long a count of tokens may take, in milliseconds: clients wait for it before they ask anything, and the gateway's
/// estimate does as well.
const COUNT_TIMEOUT_MS: u32 = 10_000;

/// An answer of upstream's that is known to be one.
pub struct UpstreamAnswer<B> {
    /// Upstream's; none if the gateway answers by itself.
    pub status: Option<u16>,
    pub channel: Rc<Channel>,
    pub content: Content<B>,
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
    guard: &mut SettlementGuard<P>,
    prepared: &Prepared<'_>,
    quoted: &Quoted,
    served: &Served,
    with: With<'_>,
) -> Result<UpstreamAnswer<P::Body>, No> {
    let With { secret, thoughts } = with;
    let channel = &quoted.planned.channel;
    let endpoint = prepared.request.endpoint;
    let Some(way) = endpoint.asked_of(channel) else {
        let missing = || Failure::new(FailureKind::NotConfigured, "the channel does not have this endpoint");
        return Ok(estimated(prepared, channel).ok_or_else(missing)?);
    };
    let discretion = discretion(guard, channel, secret);
    let asked = FailedCall { prepared, quoted, way, discretion: &discretion };
    let own_items = prepared.owned.thoughts_of((&guard.account, &channel.id), || guard.ports.signer(secret));
    let sent = sent((prepared, quoted), way, thoughts, &own_items).map_err(|refusal| No::Unwritten(Box::new(refusal)))?;
    guard.dropped = sent.dropped;
    let bridge = way.translation(endpoint).map(|(down, up)| Bridge::new(sent.names, up.maker(&place(channel.id.as_str())), down));
    let ports = guard.ports.clone();
    let mut headers = passed_headers(prepared, channel.dialect, quoted.planned.model.context_length);
    headers.push(("content-type", sent.content_type));
    let url = format!("{}{}", channel.base_url.as_str().trim_end_matches('/'), sent.path);
    let call = UpstreamCall { url, secret: secret.clone(), dialect: channel.dialect, headers, body: Some(sent.body) };
    let patience_ms = if endpoint.is_free() { COUNT_TIMEOUT_MS } else { u32::MAX };
    let timeout_ms = channel.first_byte_timeout_ms.min(patience_ms);
    let no_byte = || Failure::new(FailureKind::Timeout, format!("no answer within {timeout_ms} ms"));
    let head = guard.within(timeout_ms, ports.send(call)).await.ok_or_else(no_byte)?;
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
                let text = error_text(guard, body).await;
                return Err(misplaced(asked, status, &text, "JSON in place of sound".to_owned()));
            }
            let reading = Reading::new(guard, prepared, quoted, served, secret, way).over(bridge);
            let content_type = shown_type(&reading, content_type);
            let meter = Box::new(meter_of(&reading).discreet(Rc::clone(&discretion)));
            let first = guard.within(timeout_ms, first_event(body, meter)).await.ok_or_else(no_byte)?;
            let (body, meter, out) = first.map_err(|spoiled| match spoiled {
                Spoiled::Broke(what) => Failure::new(FailureKind::Connect, what).status(status).into(),
                Spoiled::Empty(text) => misplaced(asked, status, &text, "an empty stream".to_owned()),
                Spoiled::Error(error) => asked.judge(status, error, retry_after_s),
            })?;
            Content::Stream { body, meter, out, content_type }
        }
        Verdict::Read => {
            let read = guard.within(channel.idle_timeout_ms.min(patience_ms), ports.read_all(body)).await.ok_or_else(no_byte)?;
            let bytes = read.map_err(|_| {
                Failure::new(FailureKind::Connect, "the connection broke in the middle of the answer").status(status)
            })?;
            let reading = Reading::new(guard, prepared, quoted, served, secret, way).over(bridge);
            plain(&reading, &bytes).map_err(|what| misplaced(asked, status, &String::from_utf8_lossy(&bytes), what))?
        }
        Verdict::Client | Verdict::Next(_) => {
            let error = read_error(channel.dialect, &error_text(guard, body).await);
            return Err(asked.judge(status, error, retry_after_s));
        }
    };
    Ok(UpstreamAnswer { status: Some(status), channel: Rc::clone(channel), content })
}

/// How words of an error are told: without what is between the gateway and its provider.
fn discretion<P: Ports>(guard: &SettlementGuard<P>, channel: &Rc<Channel>, secret: &SecretName) -> Discretion {
    let (ports, channel, secret) = (guard.ports.clone(), Rc::clone(channel), secret.clone());
    Rc::new(move |text: &str| {
        let told = without_names(&ports.without_credential(&secret, text));
        without_host(&told, channel.base_url.host_str().unwrap_or_default())
    })
}

/// What the gateway itself answers where tokens are to be counted and no provider does.
pub fn estimated<B>(prepared: &Prepared<'_>, channel: &Rc<Channel>) -> Option<UpstreamAnswer<B>> {
    let body = prepared.request.endpoint.format().write_count(prepared.estimated_input)?;
    let content = Content::Plain { body, usage: (Usage::default(), UsageSource::None), bytes: 0, finish_reason: None };
    Some(UpstreamAnswer { status: None, channel: Rc::clone(channel), content })
}

/// What stands where an answer should be: an error that is judged as if it had come with a status of its own, or something else,
/// which `what` names.
fn misplaced(asked: FailedCall<'_>, status: u16, text: &str, what: String) -> No {
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

/// The text of an error; nothing if it does not come.
async fn error_text<P: Ports>(guard: &SettlementGuard<P>, body: P::Body) -> String {
    let bytes = guard.within(5_000, guard.ports.read_error(body)).await.and_then(Result::ok).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
