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
//! How it is used: [`decide`] loads [`AccountState`] for one command and decides; its events are applied in the same transaction. The rows written are
//! few because the journal is the only book: a row with an amount is a ledger entry, a row with a receipt is a receipt, a
//! charge is both, and balances are read from the newest row instead of being kept in a row of their own.
//!
//! How it is built, each part on those before it: records in `record/`, which know each other only; the state, the budgets, the
//! charge and the refusals; the use cases, one file each; [`decide`], which loads and asks; [`Memory`], a copy of what is stored; a
//! [`Group`], which decides on commands that waited in one transaction. No file needs one that needs it.
//!
//! Deliberately absent: HTTP, SQL, clocks, and anything in memory that is not stored.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::as_conversions)]

mod audit;
mod budget;
mod charge;
mod command;
mod decide;
mod group;
mod hold;
mod kept;
mod late;
mod manage;
mod memory;
mod order;
mod record;
mod refund;
mod refusal;
mod run;
mod session;
mod settle;
mod state;
mod true_up;
mod view;

pub use audit::{AuditRow, audit};
pub use command::{AccountAnswer, Audit, Command, ComparedRow, JournalFilter, Listed, Query, Window};
pub use decide::{AccountStore, AccountWriter, Decided, Touches, decide, end_hold, end_order, forget};
pub use group::{Atomically, Group, MOST_IN_A_GROUP, Together, together, within};
pub use hold::weigh;
pub use memory::{MOST_HOLDS, MOST_KEYS, MOST_LINES, MOST_RUNS, MOST_SUBJECTS, Memory};
pub use record::{
    AccountRecord, ActKind, Adjustment, AdjustmentRecord, Alert, Announced, Attempt, AttemptStatus, Balances, By, CLAIM_MS,
    Checkpoint, Claim, Comparison, Correction, Counters, DebtPayment, Delivery, Dispute, Done, Elsewhere, EndedSessions, Event,
    Expired, Extension, Facts, Free, Granted, HandedOver, HeldSum, Hold, HoldAnswer, HoldRequest, IfUsed, JournalHead, Journaled,
    KEPT_MS, KeptAnswer, KeptItems, KeyChange, LONGEST_KEPT, LimitBy, MOST_KEPT, MOST_READ, NOTED_MS, Noted, OPERATOR,
    OperatorAct, Order, OrderRefund, OrderState, Outcome, OutputLimit, PaymentChange, PaymentEvent, ProjectRecord, Provider,
    RateLimits, Receipt, ReceiptError, Redemption, Refund, RefundRequest, Replay, RequestStatus, Review, Row, RowKind, RunBook,
    RunLine, RunRecord, SESSION_MS, SWEPT_AFTER_MS, ScopeKind, Served, Session, SessionEnd, Settlement, Signed, Spent, StoredRow,
    TopUp, Wanted, Weighed, marks, replayable,
};
pub use refusal::other_adjustment;
pub use state::{AccountState, KeyBook, ProjectBook};
pub use view::{BalanceView, BudgetView, InFlight, KeyView, OpenHold, Overview, RunBudget, RunOpened, RunView};
