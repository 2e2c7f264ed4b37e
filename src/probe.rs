//! One probe round: is every channel reachable with our credential? It asks for the provider's list of models, which is free.
//!
//! Deliberately absent: probes that spend tokens. A channel without such a list stays as real requests saw it.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::iter;
use serde::Serialize;

use crate::catalog::{Catalog, Channel};
use crate::dialect::openai::MODELS_PATH;
use crate::dialect::required_header;
use crate::ports::{Call, Ports, SendError};
use crate::routing::attempt::{FailureKind, Verdict, classify};
use crate::routing::health::{CandidateId, HealthView, Observation};
use crate::time::Timestamp;

/// The platform opens six connections at once; two stay free for our own records.
const AT_ONCE: usize = 4;
const TIMEOUT_MS: u32 = 8_000;

/// What a probe of a channel found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProbeResult {
    /// The channel.
    pub channel: String,
    /// When.
    pub at: Timestamp,
    /// Whether it answered well.
    pub ok: bool,
    /// How long it took.
    pub latency_ms: u64,
    /// What went wrong.
    pub failure: Option<String>,
}

enum Found {
    Reachable,
    Failed(FailureKind, String),
    /// The channel has no such list: nothing is known.
    NoList,
}

/// Probes every channel once and answers the health after it. Candidates that are no longer sold are forgotten.
pub async fn round<P: Ports>(ports: &P, catalog: &Rc<Catalog>, before: HealthView) -> (HealthView, Vec<ProbeResult>) {
    let probes = catalog.channels.values().map(|channel| probe(ports, channel));
    let found: Vec<(Rc<Channel>, Timestamp, u64, Found)> = iter(probes).buffer_unordered(AT_ONCE).collect().await;
    let by_channel: BTreeMap<&str, &(Rc<Channel>, Timestamp, u64, Found)> =
        found.iter().map(|probe| (probe.0.id.as_str(), probe)).collect();
    let mut after = HealthView::default();
    let routes = catalog.models.values().flat_map(|model| &model.routes);
    for candidate in routes.flat_map(|route| &route.candidates) {
        let id = CandidateId::of(candidate);
        let name = id.to_string();
        if after.candidates.contains_key(&name) {
            continue;
        }
        let mut health = before.of(&id);
        if let Some((_, at, latency_ms, found)) = by_channel.get(candidate.channel.as_str()) {
            let failure = match found {
                Found::Reachable => Some(None),
                Found::Failed(kind, message) => Some(Some((*kind, message.clone()))),
                Found::NoList => None,
            };
            if let Some(failure) = failure {
                health = health.observe(Observation::Probed { failure, latency_ms: *latency_ms }, *at);
            }
        }
        after.candidates.insert(name, health);
    }
    let results = found.iter().map(|(channel, at, latency_ms, found)| ProbeResult {
        channel: channel.id.to_string(),
        at: *at,
        ok: matches!(found, Found::Reachable),
        latency_ms: *latency_ms,
        failure: match found {
            Found::Reachable => None,
            Found::Failed(_, message) => Some(message.clone()),
            Found::NoList => Some("has no list of models; nothing is known".to_owned()),
        },
    });
    (after, results.collect())
}

async fn probe<P: Ports>(ports: &P, channel: &Rc<Channel>) -> (Rc<Channel>, Timestamp, u64, Found) {
    let at = ports.now();
    let url = format!("{}{MODELS_PATH}", channel.base_url.as_str().trim_end_matches('/'));
    let found = match select(Box::pin(first_answer(ports, channel, &url)), Box::pin(ports.sleep(TIMEOUT_MS))).await {
        Either::Right(_) => Found::Failed(FailureKind::Timeout, format!("no answer within {TIMEOUT_MS} ms")),
        Either::Left((Err(SendError::NotConfigured), _)) => {
            Found::Failed(FailureKind::NotConfigured, "the channel has no credential set".to_owned())
        }
        Either::Left((Err(SendError::Connect(_)), _)) => Found::Failed(FailureKind::Connect, "the connection failed".to_owned()),
        Either::Left((Ok(status), _)) => match classify(status) {
            Verdict::Read => Found::Reachable,
            Verdict::Client | Verdict::Next(FailureKind::NotFound) => Found::NoList,
            Verdict::Next(kind) => Found::Failed(kind, format!("its list of models answered status {status}")),
        },
    };
    (Rc::clone(channel), at, ports.now().since(at), found)
}

/// The status by which the channel answers the first of its credentials that is set.
async fn first_answer<P: Ports>(ports: &P, channel: &Channel, url: &str) -> Result<u16, SendError> {
    for secret in &channel.secrets {
        let headers = required_header(channel.dialect).map(|(name, value)| (name, value.to_owned()));
        let call = Call {
            url: url.to_owned(),
            secret: secret.clone(),
            dialect: channel.dialect,
            headers: headers.into_iter().collect(),
            body: None,
        };
        match ports.send(call).await {
            Err(SendError::NotConfigured) => {}
            answered => return answered.map(|response| response.status),
        }
    }
    Err(SendError::NotConfigured)
}
