//! What the flow asks of the outside. The Worker answers with the platform, tests with a table in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;

use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::account::{
    AccountRecord, Answer, Command, ComparedRow, Extension, Facts, Filter, HoldAnswer, HoldRequest, KeptItems, Outcome,
    Settlement,
};
use crate::catalog::{self, Announcement, Catalog, Dialect, UpstreamHosts};
use crate::id::{AccountId, BucketId, CodeId, KeyHash, ModelName, OrderId, RequestId, SecretName, TokenId};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::money::Money;
use crate::operator::{Failure, TokenRecord};
use crate::payment::Checkout;
use crate::routing::health::{Board, CandidateId, Change, Counts, HealthView, Observation, ProbeResult, Recent, Span};
use crate::time::Timestamp;
use crate::truth::{Promise, Truth};

/// Makes the proof for a text that only the holder of one credential can make.
pub type Sealer = Rc<dyn Fn(&str) -> String>;

/// Something outside did not answer; the text is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl Unavailable {
    /// A new deployment has no catalogue until the operator publishes one.
    pub const NO_CATALOG: &'static str = "no catalogue has been published";
}

/// The outside. Clones share it.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Ports: Clone + 'static {
    /// An answer of upstream as it arrives. Dropping it ends the call.
    type Body: Stream<Item = Result<Vec<u8>, String>> + Unpin + 'static;

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

    /// The key of this hash; a copy that may be a minute old.
    async fn key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, Unavailable>;
    /// Whether it is remembered what key has this hash, or that none has: then asking costs nothing.
    fn remembers(&self, hash: &KeyHash) -> bool;
    /// The key as the account knows it now.
    async fn current_key(&self, key: &KeyRecord) -> Result<Option<KeyRecord>, Unavailable>;
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
    /// The catalogue; a copy that may be a minute old.
    async fn catalog(&self) -> Result<Rc<Catalog>, Unavailable>;
    /// What is known of the candidates. Knowing nothing is no failure.
    async fn health(&self) -> Rc<HealthView>;
    /// Notes what was seen of a candidate.
    fn observe(&self, candidate: &CandidateId, seen: Observation);

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

    /// Until when a credential rests, if it does.
    fn cooling(&self, secret: &SecretName) -> Option<Timestamp>;
    /// Lets a credential rest.
    fn cool_down(&self, secret: &SecretName, until: Timestamp);
    /// Makes short proofs that only the holder of a credential can make; none if the credential is not set.
    fn sealer(&self, secret: &SecretName) -> Option<Sealer>;
    /// A text of upstream's without a credential, in whatever form it repeats that.
    fn without_credential(&self, secret: &SecretName, text: &str) -> String;
    /// Calls upstream. Dropping the future ends the call.
    async fn send(&self, call: Call<'_>) -> Result<UpstreamResponse<Self::Body>, SendError>;
    /// Reads an error to its end, with our credential taken out should upstream repeat it.
    async fn read_error(&self, body: Self::Body) -> Result<Vec<u8>, String>;
    /// Reads an answer to its end.
    async fn read_all(&self, body: Self::Body) -> Result<Vec<u8>, String>;
}

/// Where what is known of the candidates is kept.
#[allow(async_fn_in_trait)]
pub trait HealthStore: Ports {
    /// What the last round came to; a copy that may be a minute old. Knowing nothing is no failure.
    async fn board(&self) -> Rc<Board>;
    /// Takes the round until a time, if nobody else has it, and answers what the last one ended with. None if somebody has it.
    async fn begin_round(&self, lease: &str, until: Timestamp) -> Result<Option<HealthView>, Unavailable>;
    /// Keeps and publishes what a round found, if it is still ours.
    async fn end_round(&self, lease: &str, ended: &Ended) -> Result<(), Unavailable>;
    /// What requests saw of these since then, in all isolates.
    async fn recent(&self, of: &[CandidateId], since: Timestamp) -> Result<Vec<(CandidateId, Recent)>, Unavailable>;
    /// What attempts on these came to, by spans of this length that began since then, oldest first.
    async fn counts(&self, of: &[CandidateId], span: Span, since: Timestamp) -> Result<Vec<Counts>, Unavailable>;
    /// The same since then in one sum for each.
    async fn counted(&self, of: &[CandidateId], since: Timestamp) -> Result<Vec<Counts>, Unavailable>;
    /// How the status of these changed since then, with the change before, by `channel/upstream_model`.
    async fn changes(&self, of: &[CandidateId], since: Timestamp) -> Result<BTreeMap<String, Vec<Change>>, Unavailable>;
    /// What the promises of the last days came to, by model and route.
    async fn truths(&self) -> Result<Vec<(Promise, Truth)>, Unavailable>;
    /// How the status of all these changed in as many days as are shown; a copy that may be some seconds old. Knowing nothing is
    /// no failure.
    async fn all_changes(&self, of: &[CandidateId]) -> Rc<BTreeMap<String, Vec<Change>>>;
    /// A page that everybody gets alike, if it was made some seconds ago.
    fn kept_page(&self, address: &str) -> Option<Kept>;
    /// Keeps such a page for some seconds.
    fn keep_page(&self, address: String, page: Kept);
    /// Moves old counts on to longer spans, and forgets what is older than is shown.
    async fn tidy(&self) -> Result<(), Unavailable>;
}

/// A page that everybody gets alike: its headers and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Kept {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// What a probe round ended with.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// What is known now.
    pub health: HealthView,
    /// What that and the counts come to.
    pub board: Board,
    /// Whose status changed, and how.
    pub changes: Vec<(CandidateId, Change)>,
    /// What was probed.
    pub probes: Vec<ProbeResult>,
}

/// The outside as the account's owner and the operator see it.
#[allow(async_fn_in_trait)]
pub trait Records: HealthStore {
    /// Says something to an account.
    async fn command(&self, account: &AccountId, command: Command) -> Result<Answer, Unavailable>;
    /// Accounts by id, from the searchable copy.
    async fn accounts(&self, after: Option<&str>, limit: u32) -> Result<Vec<AccountRecord>, Unavailable>;
    /// Puts a key's record where requests look it up.
    async fn publish_key(&self, record: &KeyRecord) -> Result<(), Unavailable>;
    /// The catalogue's document that runs now, as far as KV or the history know it.
    async fn catalog_document(&self) -> Result<Option<String>, Unavailable>;
    /// The newest version that was ever published or announced, as far as it is known.
    async fn newest_catalog_version(&self) -> u64;
    /// Publishes a checked catalogue now, or announces it, in the place of what was announced before.
    async fn publish_catalog(&self, publication: Publication) -> Result<(), Unavailable>;
    /// The catalogue that is announced, for pages: a copy that may be some minutes old. None once it is in use.
    async fn announced(&self) -> Option<Announced>;
    /// The announcement that stands, due or not, as the history and KV know it now.
    async fn announcement(&self) -> Result<Option<Announcement>, Unavailable>;
    /// Withdraws every announcement whose time has not come; their versions.
    async fn withdraw_announced(&self) -> Result<Vec<u64>, Unavailable>;
    /// Makes the announcement that is due the published catalogue. Again, or at the same time as another, is the same.
    async fn move_announced(&self) -> Result<(), Unavailable>;
    /// Versions of the catalogue, newest first, below `after`. With a model only those that changed it, with these changes, and
    /// without those that were withdrawn.
    async fn catalog_versions(
        &self,
        model: Option<&ModelName>,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<VersionRow>, Unavailable>;
    /// One version with its document.
    async fn catalog_version(&self, version: u64) -> Result<Option<(VersionRow, String)>, Unavailable>;
    /// Where channels may be.
    fn hosts(&self) -> UpstreamHosts;
    /// A secret or setting of the operator's; none if it is not set, or empty.
    fn setting(&self, name: &str) -> Option<String>;

    /// Journal rows of all accounts, or of one, from the searchable copy, newest first; each with the cursor behind it.
    async fn journal(
        &self,
        account: Option<&str>,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<(String, Value)>, Unavailable>;
    /// Sums of what was used and charged.
    async fn sums(&self, sums: Sums) -> Result<Vec<Value>, Unavailable>;
    /// The copy of an account's rows behind `after`, up to `last`: number, bucket, amount in nano-units.
    async fn copied(&self, account: &AccountId, after: u64, last: u64) -> Result<Vec<ComparedRow>, Unavailable>;
    /// Copied rows that are newer than the account's newest.
    async fn copied_beyond(&self, account: &AccountId, head: u64) -> Result<Vec<u64>, Unavailable>;
    /// Accounts that were last reconciled before this, and up to which row they were in order.
    async fn unreconciled(&self, before: Timestamp, limit: u32) -> Result<Vec<(AccountId, u64)>, Unavailable>;
    /// Notes how far an account was reconciled.
    async fn note_reconciled(&self, done: &Reconciled) -> Result<(), Unavailable>;

    /// Orders of all accounts in one state, newest first.
    async fn orders(&self, state: &str, after: Option<&str>, limit: u32) -> Result<Vec<Value>, Unavailable>;
    /// The order that a provider's payment belongs to.
    async fn order_of_payment(&self, payment: &str) -> Result<Option<(AccountId, OrderId)>, Unavailable>;
    /// Asks the payment provider for a page, with our credential there; answers status and body, or what went wrong.
    async fn checkout(&self, checkout: &Checkout, credential: &str) -> Result<(u16, String), String>;
    /// Stores new redeem codes.
    async fn put_codes(&self, codes: &[NewCode], common: &Value) -> Result<(), Unavailable>;
    /// Takes a code for an account, once and for all. None if there is none that this account can take; again is the same.
    async fn take_code(&self, hash: &str, account: &AccountId) -> Result<Option<CodeTaken>, Unavailable>;
    /// Notes that the account has credited a code.
    async fn code_credited(&self, hash: &str) -> Result<(), Unavailable>;
    /// Codes that were taken before this, by whom, and are not known to be credited.
    async fn uncredited_codes(&self, before: Timestamp, limit: u32) -> Result<Vec<(AccountId, String)>, Unavailable>;
    /// Codes, newest first.
    async fn codes(&self, after: Option<&str>, limit: u32) -> Result<Vec<Value>, Unavailable>;
    /// Ends a code that nobody has taken; false if there is none.
    async fn revoke_code(&self, id: &str) -> Result<bool, Unavailable>;

    /// The token whose secret has this hash, as it is now, whether it works or not.
    async fn token(&self, hash: &str) -> Result<Option<TokenRecord>, Unavailable>;
    /// Stores a new token; false if one of its name works already, or so many do.
    async fn put_token(&self, token: &TokenRecord, hash: &str, most: u32) -> Result<bool, Unavailable>;
    /// Tokens, newest first.
    async fn tokens(&self, after: Option<&str>, limit: u32) -> Result<Vec<TokenRecord>, Unavailable>;
    /// Revokes a token that works; none if there is no such.
    async fn revoke_token(&self, id: &TokenId) -> Result<Option<TokenRecord>, Unavailable>;
    /// Notes behind the answer that a token was used, once an hour.
    fn note_token_used(&self, token: &TokenRecord);
    /// Counts a failed attempt to administer, behind the answer and with others of its time.
    fn note_attempt(&self, address: Option<IpAddr>, failure: Failure);
    /// Failed attempts by hour and address, newest first.
    async fn attempts(&self, after: Option<(Timestamp, String)>, limit: u32) -> Result<Vec<Attempts>, Unavailable>;
}

/// Failed attempts to administer, from one address in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// When the hour began.
    pub hour: Timestamp,
    /// The address; of version 6 its network of 64 bits, and `others` where there were too many.
    pub address: String,
    /// Nothing was presented.
    pub absent: u64,
    /// What was presented could be no token.
    pub malformed: u64,
    /// It could be one and was none.
    pub unknown: u64,
    /// It was one, and had ended.
    pub ended: u64,
    /// When the last of them was.
    pub last_at: Timestamp,
}

/// A catalogue on its way to become the running one.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Checked, under its version.
    pub catalog: Rc<Catalog>,
    /// The text that it was read from, with that version.
    pub document: String,
    /// From when it is to run; none is now.
    pub effective_at: Option<Timestamp>,
    /// Who publishes it.
    pub author: String,
    /// For whom, as the client says it.
    pub on_behalf_of: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// From the one that ran before.
    pub changes: Vec<catalog::Change>,
}

/// A catalogue that is not in use yet.
#[derive(Debug, Clone)]
pub struct Announced {
    /// From when it is in use.
    pub effective_at: Timestamp,
    /// Its version.
    pub version: u64,
    /// What it says.
    pub catalog: Rc<Catalog>,
}

/// A version of the catalogue in the history. Rows of the first versions of this program know neither author nor changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// The version.
    pub version: u64,
    /// When it was published or announced.
    pub published_at: Timestamp,
    /// From when it was to run, if it was announced.
    pub effective_at: Option<Timestamp>,
    /// When it was withdrawn or replaced, before it ran.
    pub withdrawn_at: Option<Timestamp>,
    /// Who published it.
    pub author: Option<String>,
    /// For whom, as the client said it.
    pub on_behalf_of: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// From the one that ran before.
    pub changes: Option<Vec<catalog::Change>>,
}

impl VersionRow {
    /// From when it ran, or is to run.
    pub fn runs_from(&self) -> Timestamp {
        self.effective_at.unwrap_or(self.published_at)
    }
}

/// Where a page of all accounts' rows ended: time of the batch, account, number of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub i64, pub String, pub u64);

impl Cursor {
    /// Reads `at:account:seq`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let read = Self(parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(read)
    }
}

/// Which sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// Of these days; all where none is named.
    pub days: Vec<String>,
    /// Told apart by these dimensions.
    pub by: Vec<&'static str>,
    /// Only where a dimension has this value.
    pub filters: Vec<(&'static str, String)>,
}

/// How far an account was reconciled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reconciled {
    pub account: AccountId,
    /// When; none while there are newer rows to compare.
    pub at: Option<Timestamp>,
    /// In order up to this row.
    pub seq: u64,
    /// The report.
    pub doc: String,
}

/// A redeem code to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NewCode {
    pub hash: String,
    pub id: CodeId,
}

/// A redeem code that an account has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CodeTaken {
    pub id: String,
    pub bucket: BucketId,
    pub amount: Money,
    pub reason: String,
    pub author: String,
    pub on_behalf_of: Option<String>,
    pub note: Option<String>,
}

/// A call on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
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
