//! The account: the money state machine. A command and the time go in, a decision and its events come out.
//!
//! What always holds, after every event and under every interleaving, duplicate and crash:
//! - `available = balance - held` and `0 <= held <= balance`, per bucket;
//! - `balance` is the sum of the journal's amounts, and the newest journal row carries it;
//! - a hold leaves Open exactly once: captured, released or expired;
//! - a request has at most one receipt, and a charge is a part of that receipt's own journal row.
//!
//! How it is used: load [`Books`] for one command, decide, apply the events, all in one transaction. The rows written are
//! few because the journal is the only book: a row with an amount is a ledger entry, a row with a receipt is a receipt, a
//! charge is both, and balances are read from the newest row instead of being kept in a row of their own.
//!
//! Deliberately absent: HTTP, SQL, clocks, and every kind of memory between commands.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::as_conversions)]

mod books;
mod command;
mod hold;
mod manage;
mod order;
mod receipt;
mod settle;
mod tally;

pub use books::{Balances, Books, Event, Head, Held, Journaled, KeyBook, Kind, ProjectBook, Row};
pub use command::{Answer, BalanceView, Command, LedgerFilter, OpenHold, Overview, Page, Query, ReceiptFilter};
pub use hold::{Checkpoint, Claim, Granted, Hold, HoldAnswer, HoldRequest, Rates, Replay, hold};
pub use manage::{
    AccountRecord, Adjustment, AdjustmentRecord, KeyChange, ProjectRecord, adjust, change_key, open_account, put_key, put_project,
};
pub use order::{Delivery, Dispute, Order, OrderState, PaymentChange, PaymentEvent, Provider};
pub use receipt::{Attempt, AttemptStatus, Facts, Outcome, Receipt, ReceiptError, Served, Status};
pub use settle::{Extension, Settlement, checkpoint, expire, record_refused, settle};
pub use tally::{Spent, Tally};
