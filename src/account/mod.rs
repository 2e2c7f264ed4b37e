//! The account: the money state machine. A command and the time go in, a decision and its events come out.
//!
//! What always holds, after every event and under every interleaving, duplicate and crash:
//! - `available = balance - held` and `0 <= held <= balance`, per bucket;
//! - `balance` is the sum of the journal's amounts, and the newest journal row carries it;
//! - a hold leaves Open exactly once: captured, released or expired;
//! - a request has at most one receipt, and a charge is a part of that receipt's own journal row;
//! - an order, a refund, a code and a correction of a request change a balance at most once each;
//! - what is spent, set aside and asked for together never passes a budget.
//!
//! How it is used: [`decide`] loads [`Books`] for one command and decides; its events are applied in the same transaction. The rows written are
//! few because the journal is the only book: a row with an amount is a ledger entry, a row with a receipt is a receipt, a
//! charge is both, and balances are read from the newest row instead of being kept in a row of their own.
//!
//! Deliberately absent: HTTP, SQL, clocks, and every kind of memory between commands.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::as_conversions)]

mod act;
mod audit;
mod books;
mod budget;
mod command;
mod decide;
mod fit;
mod hold;
mod kept;
mod late;
mod manage;
mod order;
mod output;
mod promise;
mod receipt;
mod refund;
mod run;
mod session;
mod settle;
mod tally;

pub use act::{Act, ActKind, By, Done, Noted, OPERATOR, Signed};
pub use audit::{AuditRow, audit};
pub use books::{Balances, Books, Event, Head, Held, Journaled, KeyBook, Kind, ProjectBook, Row};
pub use budget::{Alert, ScopeKind};
pub use command::{Answer, Audit, BalanceView, Command, ComparedRow, Filter, Listed, OpenHold, Overview, Page, Query};
pub use decide::{Decided, Shelf, Touches, decide, end_hold, end_order};
pub use fit::Free;
pub use hold::{CLAIM_MS, Checkpoint, Claim, Granted, Hold, HoldAnswer, HoldRequest, Rates, Replay, Wanted, Weighed, weigh};
pub use kept::{KEPT_MS, KeptAnswer, KeptItems, LONGEST_KEPT, MOST_KEPT, MOST_READ, SWEPT_AFTER_MS, forget};
pub use late::{Correction, Expired};
pub use manage::{AccountRecord, Adjustment, AdjustmentRecord, KeyChange, ProjectRecord};
pub use order::{Delivery, Dispute, Opened, Order, OrderRefund, OrderState, PaymentChange, PaymentEvent, Provider, Verdict};
pub use output::{Compared, Elsewhere, LimitBy, OutputLimit};
pub use receipt::{Attempt, AttemptStatus, Facts, Outcome, Receipt, ReceiptError, Served, Status};
pub use refund::{DebtPayment, IfUsed, Redemption, Refund, RefundRequest, TopUp};
pub use run::{RunBook, RunLine, RunRecord};
pub use session::{Ended, NOTED_MS, SESSION_MS, Session, SessionEnd, marks};
pub use settle::{Extension, Settlement};
pub use tally::{Announced, Spent, Tally};
