//! What can be said to an account, and what it answers: the wire between the Worker and the account object.
//!
//! Both may run different versions for some minutes, so fields are only added, and with defaults.

use serde::{Deserialize, Serialize};

use super::record::{
    AccountRecord, Adjustment, Extension, Facts, HandedOver, HoldAnswer, HoldRequest, KeptItems, KeyChange, OperatorAct, Order,
    Outcome, PaymentEvent, ProjectRecord, Redemption, RefundRequest, Review, RunRecord, Session, SessionEnd, Settlement, Signed,
    StoredRow, Wanted, Weighed,
};
use super::view::{BudgetView, KeyView, Overview, RunOpened, RunView};
use crate::id::{BucketId, KeyId, OrderId, RequestId, RunId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// Something for an account to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Set an amount aside.
    Hold(Box<HoldRequest>),
    /// End a request.
    Settle(Box<Settlement>),
    /// Let a hold live on.
    Checkpoint(Box<Extension>),
    /// Write the receipt of a request that was refused before any hold.
    RecordRefused(Box<(Facts, Outcome)>),
    /// Open the account.
    Open(Signed<AccountRecord>),
    /// Make or replace a project.
    PutProject(Signed<ProjectRecord>),
    /// Make a key.
    PutKey(Box<Signed<KeyRecord>>),
    /// Change or revoke a key.
    ChangeKey(KeyId, KeyChange),
    /// Credit or debit.
    Adjust(Adjustment),
    /// Open a run.
    OpenRun(RunRecord),
    /// Make an order.
    Place(Box<Order>),
    /// Note what the payment provider said to an order.
    Opened(OrderId, HandedOver),
    /// Take a payment provider's verified message.
    Pay(Box<PaymentEvent>),
    /// Approve or reject an order.
    Verdict(OrderId, Review),
    /// Give a payment back.
    Refund(RefundRequest),
    /// Credit a redeem code.
    Redeem(Redemption, BucketId, Money),
    /// Note what the operator did about no account.
    Act(Box<OperatorAct>),
    /// End sessions of the pages.
    EndSessions(SessionEnd),
    /// Copy what is new to the searchable store now.
    Flush,
    /// Tell.
    Read(Query),
}

/// Something for an account to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Itself, its balances and its open holds.
    Overview,
    /// One receipt.
    Receipt(RequestId),
    /// Journal rows, newest first.
    Journal(Box<JournalFilter>, Window),
    /// What a key spent.
    Key(KeyId),
    /// A key as it is now.
    Record(KeyId),
    /// The key of a session as it is now; nothing if the session was ended.
    Session(Session),
    /// The last end of sessions that is noted: what a session knows that begins now.
    LastEnd,
    /// What holds of exactly so much would be refused with, if a request of the key asked for one now.
    Preview(KeyId, Vec<(BucketId, Money)>),
    /// What would become of these holds, if a request of the key asked for one now.
    Weigh(KeyId, Vec<Wanted>),
    /// All keys.
    Keys,
    /// All projects.
    Projects,
    /// One run.
    Run(RunId),
    /// Runs, in rising order of their ids.
    Runs(Option<String>, u32),
    /// What is kept of the answers to these requests.
    Kept(Vec<RequestId>),
    /// One order.
    Order(OrderId),
    /// Orders, newest first; after this one.
    Orders(Option<String>, u32),
    /// Whether the state agrees with itself, from row `after` on.
    Audit {
        /// What was found in order before.
        after: u64,
        /// How many rows.
        limit: u32,
    },
}

/// Which kinds of journal rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Listed {
    /// Requests, paid or not.
    #[default]
    Receipts,
    /// What changed a balance.
    Entries,
    /// What people did: everything but requests.
    Records,
}

/// Which journal rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct JournalFilter {
    pub listed: Listed,
    pub key: Option<String>,
    pub project: Option<String>,
    pub model: Option<String>,
    pub route: Option<String>,
    pub bucket: Option<String>,
    pub status: Option<String>,
    pub run: Option<String>,
    pub kind: Option<String>,
    /// The one row that is about this.
    pub subject: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Which part of a list: at most `limit` rows that come after row `before`, in falling order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Window {
    pub before: Option<u64>,
    pub limit: u32,
}

/// What an account answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AccountAnswer {
    /// To a hold.
    Hold(HoldAnswer),
    /// It is done, or was before.
    Done,
    /// It cannot be done.
    Refused(Refusal),
    /// The key as it is now.
    Key(Box<KeyRecord>),
    /// The order as it is now.
    Order(Box<Order>),
    /// To [`Query::LastEnd`]: its number.
    LastEnd(Timestamp),
    /// To [`Query::Overview`].
    Overview(Box<Overview>),
    /// To [`Query::Audit`].
    Audit(Box<Audit>),
    /// To [`Query::Preview`]: none where the hold would be granted.
    Previewed(Vec<Option<Refusal>>),
    /// To [`Query::Weigh`].
    Weighed(Vec<Weighed>),
    /// To [`Query::Kept`]: without those of which nothing is kept.
    Kept(Vec<(RequestId, KeptItems)>),
    /// There is none.
    Nothing,
    /// To [`Query::Keys`].
    Keys(Vec<KeyView>),
    /// To [`Query::Key`].
    Budgets(Vec<BudgetView>),
    /// To [`Query::Projects`].
    Projects(Vec<ProjectRecord>),
    /// To [`Query::Run`].
    Run(Box<RunView>),
    /// To [`Query::Runs`].
    Runs(Vec<RunOpened>),
    /// To [`Query::Orders`].
    Orders(Vec<Order>),
    /// To [`Query::Receipt`] and [`Query::Journal`]: rows with their documents as they are stored.
    Journal(Vec<StoredRow>),
}

impl AccountAnswer {
    /// Which kind of answer, for the log: what it says is the account's own.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hold(_) => "hold",
            Self::Done => "done",
            Self::Refused(_) => "refused",
            Self::Key(_) => "key",
            Self::Order(_) => "order",
            Self::Audit(_) => "audit",
            Self::LastEnd(_) => "last end",
            Self::Previewed(_) => "previewed",
            Self::Weighed(_) => "weighed",
            Self::Overview(_) => "overview",
            Self::Kept(_) => "kept",
            Self::Nothing => "nothing",
            Self::Keys(_) => "keys",
            Self::Budgets(_) => "budgets",
            Self::Projects(_) => "projects",
            Self::Run(_) => "run",
            Self::Runs(_) => "runs",
            Self::Orders(_) => "orders",
            Self::Journal(_) => "journal",
        }
    }
}

/// What a row is compared by with its copy: number, bucket, amount in nano-units, milliseconds since 1970, and how long its
/// text is.
pub type ComparedRow = (i64, Option<String>, Option<i64>, i64, u64);

/// What a part of the journal adds up to, and every row in it that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Audit {
    /// The newest row there is.
    pub head: u64,
    /// The newest row that the searchable copy is known to have.
    pub copied: u64,
    /// The last row that was looked at.
    pub last: u64,
    /// How many rows were looked at.
    pub rows: u64,
    /// What is wrong: the row, and what.
    pub faults: Vec<(u64, String)>,
    /// The looked-at rows, to be compared with their copies.
    pub entries: Vec<ComparedRow>,
}
