//! What one request asks of the outside, in small ports: a stage of the relay names those that it needs.

use std::borrow::Cow;
use std::future::Future;
use std::rc::Rc;

use futures_util::Stream;

use super::unavailable::Unavailable;
use crate::account::{Extension, Facts, HoldAnswer, HoldRequest, KeptItems, Outcome, Settlement};
use crate::catalog::{Catalog, Dialect};
use crate::id::{AccountId, KeyHash, RequestId, SecretName};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::routing::health::{CandidateId, HealthView, Observation};
use crate::time::Timestamp;

/// Makes the proof for a text that only the holder of one credential can make.
pub type Signer = Rc<dyn Fn(&str) -> String>;

/// Time, chance, and what goes on behind an answer. Clones share the outside.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Runtime: Clone + 'static {
    /// The time.
    fn now(&self) -> Timestamp;
    /// 128 random bits.
    fn random(&self) -> u128;
    /// Waits.
    fn sleep(&self, ms: u32) -> impl Future<Output = ()> + 'static;
    /// Runs on after the answer, even if the client leaves.
    fn spawn(&self, future: impl Future<Output = ()> + 'static);
    /// Writes a line to the operator's log.
    fn log(&self, line: &str);
}

/// The keys, as requests find them.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Keys {
    /// The key of this hash; a copy that may be a minute old.
    async fn key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, Unavailable>;
    /// Whether it is remembered what key has this hash, or that none has: then asking costs nothing.
    fn remembers(&self, hash: &KeyHash) -> bool;
    /// The key as the account knows it now.
    async fn current_key(&self, key: &KeyRecord) -> Result<Option<KeyRecord>, Unavailable>;
}

/// What may be had without paying is counted here.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Gates {
    /// Counts one at a gate; false if there were too many, and then the subject rests. What cannot be counted is let through.
    async fn admit(&self, gate: Gate, subject: &str) -> bool;
    /// For how many seconds more a subject rests at a gate, as far as is known here.
    fn rest(&self, gate: Gate, subject: &str) -> Option<u64>;
    /// Notes that a request of a key was answered.
    fn granted(&self, key: &KeyRecord);
    /// Whether an account had an answer not long ago, as far as is known here.
    fn is_earning(&self, account: &AccountId) -> bool;
    /// Notes that a request of a key was refused; whether [`Gate::Refused`] has to count it.
    fn refused(&self, key: &KeyRecord) -> bool;
}

/// What is sold.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Sold {
    /// The catalogue; a copy that may be a minute old.
    async fn catalog(&self) -> Result<Rc<Catalog>, Unavailable>;
}

/// How the candidates fare.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait HealthCopy {
    /// What is known of the candidates. Knowing nothing is no failure.
    async fn health(&self) -> Rc<HealthView>;
    /// Notes what was seen of a candidate.
    fn observe(&self, candidate: &CandidateId, seen: Observation);
}

/// What a request says to its account.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Holds {
    /// Asks the account for a hold.
    async fn hold(&self, account: &AccountId, request: HoldRequest) -> Result<HoldAnswer, Unavailable>;
    /// Settles a request; again is the same.
    async fn settle(&self, account: &AccountId, settlement: Settlement) -> Result<(), Unavailable>;
    /// Lets the hold of a long stream live on.
    async fn checkpoint(&self, account: &AccountId, extension: Extension) -> Result<(), Unavailable>;
    /// Writes the receipt of a request that was refused before any hold; again is the same.
    async fn record_refused(&self, account: &AccountId, facts: Facts, outcome: Outcome) -> Result<(), Unavailable>;
    /// What is kept of the answers to these requests; those of which nothing is are left out.
    async fn kept(&self, account: &AccountId, requests: Vec<RequestId>) -> Result<Vec<(RequestId, KeptItems)>, Unavailable>;
}

/// The channels, and our credentials there.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Upstream {
    /// An answer of upstream as it arrives. Dropping it ends the call.
    type Body: Stream<Item = Result<Vec<u8>, String>> + Unpin + 'static;

    /// Until when a credential rests, if it does.
    fn cooling(&self, secret: &SecretName) -> Option<Timestamp>;
    /// Lets a credential rest.
    fn cool_down(&self, secret: &SecretName, until: Timestamp);
    /// Makes short proofs that only the holder of a credential can make; none if the credential is not set.
    fn signer(&self, secret: &SecretName) -> Option<Signer>;
    /// A text of upstream's without a credential, in whatever form it repeats that.
    fn without_credential(&self, secret: &SecretName, text: &str) -> String;
    /// Calls upstream. Dropping the future ends the call.
    async fn send(&self, call: UpstreamCall<'_>) -> Result<UpstreamResponse<Self::Body>, SendError>;
    /// Reads an error to its end, with our credential taken out should upstream repeat it.
    async fn read_error(&self, body: Self::Body) -> Result<Vec<u8>, String>;
    /// Reads an answer to its end.
    async fn read_all(&self, body: Self::Body) -> Result<Vec<u8>, String>;
}

/// A call on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamCall<'a> {
    /// Where.
    pub url: String,
    /// With this credential.
    pub secret: SecretName,
    /// In the header that this dialect has for it.
    pub dialect: Dialect,
    /// Further headers; names in lower case. No others go up.
    pub headers: Vec<(&'static str, String)>,
    /// What to post, in pieces; none is a GET.
    pub body: Option<Vec<Cow<'a, [u8]>>>,
}

/// Upstream's answer, as far as it is known when its head arrived.
#[derive(Debug)]
pub struct UpstreamResponse<B> {
    /// HTTP status.
    pub status: u16,
    /// When upstream asks to be called again, in seconds.
    pub retry_after_s: Option<u64>,
    /// What the rest is.
    pub content_type: Option<String>,
    /// The rest.
    pub body: B,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// The secret is not set.
    NotConfigured,
    /// No connection, or it broke; the text is for the log.
    Connect(String),
}
