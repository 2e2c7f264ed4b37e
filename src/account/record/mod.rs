//! What is stored and said: plain records with the small functions that need nothing but them.
//!
//! What always holds: a record knows other records and no state, and the names of its fields are those of rows that are stored
//! and of messages between versions, so fields are only added, and with defaults.

mod account;
mod act;
mod adjustment;
mod alert;
mod attempt;
mod claim;
mod correction;
mod counted;
mod counters;
mod elsewhere;
mod event;
mod facts;
mod free;
mod head;
mod hold;
mod hold_request;
mod journal;
mod kept;
mod key_change;
mod kind;
mod order;
mod outcome;
mod output;
mod payment;
mod promise;
mod receipt;
mod refund;
mod run;
mod session;
mod settlement;
mod top_up;

pub use account::{AccountRecord, ProjectRecord};
pub use act::{ActKind, By, Done, Noted, OPERATOR, OperatorAct, Signed};
pub use adjustment::{Adjustment, AdjustmentRecord};
pub use alert::{Alert, ScopeKind};
pub use attempt::{Attempt, AttemptStatus};
pub use claim::{CLAIM_MS, Claim, replayable};
pub use correction::{Correction, Expired};
pub use counters::{Announced, Counters, Spent};
pub use elsewhere::{Comparison, Elsewhere};
pub use event::Event;
pub use facts::Facts;
pub use free::Free;
pub use head::{Balances, JournalHead};
pub use hold::{Checkpoint, HeldSum, Hold};
pub use hold_request::{Granted, HoldAnswer, HoldRequest, RateLimits, Replay, Wanted, Weighed};
pub use journal::{Journaled, Row, StoredRow};
pub use kept::{KEPT_MS, KeptAnswer, KeptItems, LONGEST_KEPT, MOST_KEPT, MOST_READ, SWEPT_AFTER_MS};
pub use key_change::KeyChange;
pub use kind::RowKind;
pub use order::{Delivery, Dispute, Order, OrderRefund, OrderState, Provider};
pub use outcome::{Outcome, ReceiptError, RequestStatus, Served};
pub use output::{LimitBy, OutputLimit};
pub use payment::{HandedOver, PaymentChange, PaymentEvent, Review};
pub use receipt::Receipt;
pub use refund::{DebtPayment, IfUsed, Refund, RefundRequest};
pub use run::{RunBook, RunLine, RunRecord};
pub use session::{EndedSessions, NOTED_MS, SESSION_MS, Session, SessionEnd, marks};
pub use settlement::{Extension, Settlement};
pub use top_up::{Redemption, TopUp};

pub(super) use counted::{Corrected, Counted};
pub(super) use counters::seconds_left;
pub(super) use journal::entry_id;
pub(super) use promise::{HOLD_EXPIRED, judged};
