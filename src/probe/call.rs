//! Level 2: a small real call through the relay, paid by the probe account: an account of the gateway's own, with receipts of its own,
//! whose keys have each channel's daily cap as their budget.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::future::{Either, select};

use super::purse::{Purse, WantedCall};
use super::schedule::ProbeTarget;
use crate::account::{AccountAnswer, AccountRecord, Adjustment, By, Command, KeyChange, Query, Signed};
use crate::catalog::{Catalog, Channel, Dialect, ModelKind};
use crate::dialect::probe_request::{ProbeRequest, probe_request, ran_into_its_limit};
use crate::dialect::read_error;
use crate::id::{AccountId, BucketId, ChannelId, KeyId, KeySecret, ProjectId, RequestId};
use crate::key::{Budget, KeyRecord, Policy};
use crate::money::Money;
use crate::ports::{Probing, Unavailable};
use crate::refusal::{Code, Refusal};
use crate::relay::{Early, Preparing, Reply, ReplyBody, RequestHead, attend, prepare};
use crate::routing::attempt::FailureKind;
use crate::routing::health::CandidateId;
use crate::time::{Period, Timestamp};

/// The account that pays for probes.
pub const PROBE_ACCOUNT: &str = "tf-house";
/// How long a call may take, in milliseconds; images take longer.
const TIMEOUT_MS: u32 = 12_000;
const IMAGE_TIMEOUT_MS: u32 = 15_000;

/// The account that pays for probes. Its rows are out of everyone's statistics.
pub fn probe_account() -> Option<AccountId> {
    AccountId::parse(PROBE_ACCOUNT)
}

/// A call that was made.
pub struct ProbeCall {
    pub candidate: CandidateId,
    pub at: Timestamp,
    pub latency_ms: u64,
    pub found: ProbeFinding,
    pub receipt: String,
}

/// What a call found.
pub enum ProbeFinding {
    Answered,
    Failed(FailureKind, String),
    /// The call itself was not right for this model: nothing is known.
    Inconclusive(String),
}

/// A call that the probe account pays.
pub struct Paid<'a> {
    target: &'a ProbeTarget,
    channel: &'a Channel,
    key: KeyRecord,
}

/// The probe account's keys that were looked up in a round, by channel.
pub type ProbeKeys = BTreeMap<ChannelId, KeyRecord>;

/// Whether the probe account pays for a call today; an error where it cannot be asked.
pub async fn pay<'a, P: Probing>(
    ports: &P,
    catalog: &'a Rc<Catalog>,
    target: &'a ProbeTarget,
    (keys, purse): (&mut ProbeKeys, &mut Purse),
) -> Result<Option<Paid<'a>>, Unavailable> {
    let Some(channel) = catalog.channel(&target.candidate.channel) else { return Ok(None) };
    let key = match keys.get(&channel.id) {
        Some(key) => key.clone(),
        None => {
            let key = key_of(ports, catalog, channel).await?;
            keys.insert(channel.id.clone(), key.clone());
            key
        }
    };
    let (preparing, body) = request(ports, catalog, target).await;
    let quote = match prepare(&preparing, &key, &body, preparing.arrived, &|_| None) {
        Ok(prepared) => prepared.legs.first().map(|leg| (leg.bucket.clone(), leg.quote)),
        Err(refusal) => {
            ports.log(&format!("probe of {}: the probe request was refused: {}", target.candidate, refusal.message));
            None
        }
    };
    let Some((bucket, quote)) = quote else { return Ok(None) };
    let wish = WantedCall { channel, bucket: &bucket, quote, is_reported: target.is_reported };
    let Some(needed) = purse.needs(&wish) else { return Ok(None) };
    if !is_covered(ports, catalog, &key, (&bucket, needed)).await? {
        purse.refused(&wish, needed);
        return Ok(None);
    }
    purse.take(&wish);
    Ok(Some(Paid { target, channel, key }))
}

/// The smallest useful request of a candidate.
async fn request<P: Probing>(ports: &P, catalog: &Rc<Catalog>, target: &ProbeTarget) -> (Preparing, Vec<u8>) {
    let at = ports.now();
    let ProbeRequest { called, content_type, body } =
        probe_request(&target.model, &format!("{}:{}", target.model.id, target.route.as_str()));
    let head = RequestHead {
        content_type: content_type.map(ToOwned::to_owned),
        probed: Some(target.candidate.clone()),
        ..RequestHead::default()
    };
    let preparing = Preparing {
        request: RequestId::new(at, ports.random()),
        arrived: at,
        called,
        head,
        catalog: Rc::clone(catalog),
        health: ports.health().await,
        early: Early::default(),
    };
    (preparing, body)
}

/// Calls one candidate.
pub async fn call<P: Probing>(ports: &P, catalog: &Rc<Catalog>, Paid { target, channel, key }: Paid<'_>) -> ProbeCall {
    let (preparing, body) = request(ports, catalog, target).await;
    let (at, receipt) = (preparing.arrived, preparing.request.to_string());
    let is_image = target.model.kind == ModelKind::Image;
    let timeout_ms = channel.first_byte_timeout_ms.min(if is_image { IMAGE_TIMEOUT_MS } else { TIMEOUT_MS });
    let answer = Box::pin(attend(ports.clone(), preparing, key, &body));
    let found = match select(answer, Box::pin(ports.sleep(timeout_ms))).await {
        Either::Right(_) => ProbeFinding::Failed(FailureKind::Timeout, format!("no answer within {timeout_ms} ms")),
        Either::Left((reply, _)) => match reply.failure {
            Some((kind, message)) => ProbeFinding::Failed(kind, message),
            None if reply.status < 300 || ran_out(&reply) => ProbeFinding::Answered,
            None => ProbeFinding::Inconclusive(format!("the probe itself was refused with status {}", reply.status)),
        },
    };
    let latency_ms = ports.now().since(at);
    ProbeCall { candidate: target.candidate.clone(), at, latency_ms, found, receipt }
}

/// Whether a model that reasons used up the few tokens of the probe request: it works.
fn ran_out(reply: &Reply) -> bool {
    matches!(&reply.body, ReplyBody::Full(body) if ran_into_its_limit(&read_error(Dialect::Openai, &String::from_utf8_lossy(body))))
}

/// Whether the probe account pays so much for a channel today. What it lacks it is given, up to the caps of all channels.
async fn is_covered<P: Probing>(
    ports: &P,
    catalog: &Catalog,
    key: &KeyRecord,
    (bucket, quote): (&BucketId, Money),
) -> Result<bool, Unavailable> {
    let refused = preview(ports, key, (bucket, quote)).await?;
    if refused.as_ref().is_none_or(|refusal| refusal.code != Code::InsufficientBalance) {
        return Ok(refused.is_none());
    }
    let caps = catalog.channels.values().try_fold(quote, |sum, channel| sum.checked_add(channel.probe_daily_cap));
    let today = ports.now().day();
    let given = Adjustment {
        id: format!("probes-{bucket}-{today}"),
        bucket: bucket.clone(),
        amount: caps.unwrap_or(quote),
        reason: "What probes may cost today".to_owned(),
        author: "gateway".to_owned(),
        on_behalf_of: None,
        note: None,
    };
    // Once a day; when that is used up, there are no calls until tomorrow.
    ports.command(&key.account, Command::Adjust(given)).await?;
    Ok(preview(ports, key, (bucket, quote)).await?.is_none())
}

async fn preview<P: Probing>(
    ports: &P,
    key: &KeyRecord,
    (bucket, quote): (&BucketId, Money),
) -> Result<Option<Refusal>, Unavailable> {
    match ports.command(&key.account, Command::Read(Query::Preview(key.id.clone(), vec![(bucket.clone(), quote)]))).await? {
        AccountAnswer::Previewed(mut refused) => Ok(refused.pop().flatten()),
        other => Err(Unavailable(format!("the probe account answered with {}", other.kind()))),
    }
}

/// Who acts where nobody does.
fn gateway() -> By {
    By { author: "gateway".to_owned(), on_behalf_of: None, reason: Some("Probes are paid by the probe account".to_owned()) }
}

/// The probe account's key for a channel, with the channel's cap as its budget. Nobody knows its secret.
async fn key_of<P: Probing>(ports: &P, catalog: &Catalog, channel: &Channel) -> Result<KeyRecord, Unavailable> {
    let no_name = || Unavailable("the probe account has no name".to_owned());
    let account = probe_account().ok_or_else(no_name)?;
    let short = crate::id::sha256_hex(&[channel.id.as_str().as_bytes()]);
    let id = KeyId::parse(&format!("probe-{}", short.get(..16).unwrap_or_default())).ok_or_else(no_name)?;
    let budget = |bucket: &BucketId| Budget { bucket: bucket.clone(), period: Period::Day, limit: channel.probe_daily_cap };
    let policy = Policy { budgets: catalog.buckets.keys().map(budget).collect(), ..Policy::default() };
    let known = match ports.command(&account, Command::Read(Query::Record(id.clone()))).await? {
        AccountAnswer::Key(known) if known.policy == policy => return Ok(*known),
        AccountAnswer::Key(known) => Some(known),
        _ => None,
    };
    let now = ports.now();
    if let Some(known) = known {
        let budgets = serde_json::to_value(&policy.budgets).map_err(|error| Unavailable(error.to_string()))?;
        let fields = [("budgets".to_owned(), budgets)].into_iter().collect();
        let change = KeyChange { policy: fields, label: None, revoke: false, by: Some(gateway()) };
        return match ports.command(&account, Command::ChangeKey(known.id.clone(), change)).await? {
            AccountAnswer::Key(changed) => Ok(*changed),
            other => Err(Unavailable(format!("the probe account answered with {}", other.kind()))),
        };
    }
    let record = AccountRecord { id: account.clone(), name: "Probes of the gateway".to_owned(), created_at: now };
    // Refused where it is open already.
    ports.command(&account, Command::Open(Signed { record, by: Some(gateway()) })).await?;
    let mut random = [0_u8; 24];
    let bits = [ports.random().to_le_bytes(), ports.random().to_le_bytes()].concat();
    random.iter_mut().zip(bits).for_each(|(to, from)| *to = from);
    let key = KeyRecord {
        id,
        hash: KeySecret::new(random).hash(),
        account: account.clone(),
        project: ProjectId::first(),
        label: format!("probes of {}", channel.id),
        version: 1,
        created_at: now,
        revoked_at: None,
        policy,
    };
    match ports.command(&account, Command::PutKey(Box::new(Signed { record: key.clone(), by: Some(gateway()) }))).await? {
        AccountAnswer::Done => Ok(key),
        other => Err(Unavailable(format!("the probe account answered with {}", other.kind()))),
    }
}
