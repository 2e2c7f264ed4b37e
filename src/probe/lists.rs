//! Level 1: the providers' lists of models. Is the channel reachable with our credential, and does it still have the ids that
//! are sold?

use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::iter;

use super::sold::candidates;
use crate::catalog::{Catalog, Channel, Dialect};
use crate::dialect::listing;
use crate::dialect::required_header;
use crate::ports::{Ports, SendError, UpstreamCall};
use crate::routing::attempt::{FailureKind, Verdict, classify};
use crate::routing::health::{CandidateId, HealthView, InList, Observation, ProbeResult};
use crate::time::Timestamp;

/// So many lists are asked for at once: the platform opens six connections, and some stay free for our own records.
const AT_ONCE: usize = 4;
/// How long all of them may take together, in milliseconds.
const ALL_MS: u32 = 10_000;
/// How long one list may take, in milliseconds.
const TIMEOUT_MS: u32 = 8_000;

/// What a list says.
enum Listed {
    /// All ids in it.
    Ids(Vec<String>),
    Failed(FailureKind, String),
    /// The channel has no such list, or none that can be read: nothing is known.
    NoList,
}

/// Asks every channel once, and notes what that says of its candidates.
pub async fn round<P: Ports>(ports: &P, catalog: &Catalog, view: &mut HealthView) -> Vec<ProbeResult> {
    let asked = iter(catalog.channels.values().map(|channel| ask(ports, channel)));
    let asked: Vec<_> = asked.buffer_unordered(AT_ONCE).take_until(ports.sleep(ALL_MS)).collect().await;
    let ids = candidates(catalog);
    let mut results = Vec::new();
    for (channel, at, latency_ms, listed) in asked {
        for id in ids.iter().filter(|id| id.channel == channel.id) {
            if let Some(found) = told(&listed, channel.dialect, id) {
                view.observe(id, Observation::Listed { found, latency_ms }, at);
            }
        }
        results.push(ProbeResult {
            channel: channel.id.to_string(),
            upstream_model: None,
            level: 1,
            at,
            ok: matches!(listed, Listed::Ids(_)),
            latency_ms,
            failure: match listed {
                Listed::Ids(_) => None,
                Listed::Failed(_, message) => Some(message),
                Listed::NoList => Some("has no list of models; nothing is known".to_owned()),
            },
            receipt: None,
        });
    }
    results
}

/// What a list says of one candidate; none if nothing.
fn told(listed: &Listed, dialect: Dialect, id: &CandidateId) -> Option<Result<Option<InList>, (FailureKind, String)>> {
    match listed {
        Listed::NoList => None,
        Listed::Failed(kind, message) => Some(Err((*kind, message.clone()))),
        Listed::Ids(ids) if ids.is_empty() => Some(Ok(None)),
        Listed::Ids(ids) if listing::is_listed(dialect, ids, &id.upstream_model) => Some(Ok(Some(InList::There))),
        Listed::Ids(ids) => Some(Ok(Some(InList::Missing(listing::near(ids, &id.upstream_model))))),
    }
}

async fn ask<P: Ports>(ports: &P, channel: &Rc<Channel>) -> (Rc<Channel>, Timestamp, u64, Listed) {
    let at = ports.now();
    let listed = match select(Box::pin(pages(ports, channel)), Box::pin(ports.sleep(TIMEOUT_MS))).await {
        Either::Left((listed, _)) => listed,
        Either::Right(_) => {
            Listed::Failed(FailureKind::Timeout, format!("its list of models did not come within {TIMEOUT_MS} ms"))
        }
    };
    (Rc::clone(channel), at, ports.now().since(at), listed)
}

/// Reads all pages, each with the first of the channel's credentials that is accepted.
async fn pages<P: Ports>(ports: &P, channel: &Channel) -> Listed {
    let mut next = Some(listing::first_page(channel));
    let mut ids = Vec::new();
    for _ in 0..listing::MOST_PAGES {
        let Some(url) = next.take() else { return Listed::Ids(ids) };
        match page(ports, channel, &url).await {
            Ok(page) => {
                ids.extend(page.ids);
                next = page.next;
            }
            Err(listed) => return listed,
        }
    }
    // Of a list that was not read to its end nobody knows what is missing in it.
    if next.is_some() { Listed::NoList } else { Listed::Ids(ids) }
}

/// One credential that is refused or has asked for too much says nothing of a channel that has others: requests use those.
async fn page<P: Ports>(ports: &P, channel: &Channel, url: &str) -> Result<listing::ListingPage, Listed> {
    let mut failed = Listed::Failed(FailureKind::NotConfigured, "the channel has no credential set".to_owned());
    for secret in &channel.secrets {
        let headers = required_header(channel.dialect).map(|(name, value)| (name, value.to_owned()));
        let headers = headers.into_iter().collect();
        let call = UpstreamCall { url: url.to_owned(), secret: secret.clone(), dialect: channel.dialect, headers, body: None };
        let response = match ports.send(call).await {
            Err(SendError::NotConfigured) => continue,
            Err(SendError::Connect(_)) => return Err(Listed::Failed(FailureKind::Connect, "the connection failed".to_owned())),
            Ok(response) => response,
        };
        let status = response.status;
        return match classify(status) {
            Verdict::Read => {
                let body = ports.read_all(response.body).await;
                let body = body.map_err(|_| Listed::Failed(FailureKind::Connect, "its list of models broke off".to_owned()))?;
                listing::read_page(channel.dialect, &body, url).map_err(|_| Listed::NoList)
            }
            Verdict::Client | Verdict::Next(FailureKind::Absent) => Err(Listed::NoList),
            // A credential that may not list may call all the same.
            Verdict::Next(FailureKind::Forbidden) => {
                failed = Listed::NoList;
                continue;
            }
            Verdict::Next(kind) => {
                let no = Listed::Failed(kind, format!("its list of models answered status {status}"));
                if matches!(kind, FailureKind::Credential | FailureKind::Load) {
                    failed = no;
                    continue;
                }
                Err(no)
            }
        };
    }
    Err(failed)
}
