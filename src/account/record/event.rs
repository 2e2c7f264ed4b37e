//! What a decision changes of what is stored.
//!
//! What always holds: the events of one decision are applied in order and in one transaction, all or none.

use super::account::{AccountRecord, ProjectRecord};
use super::claim::Claim;
use super::counters::Counters;
use super::hold::{Checkpoint, Hold};
use super::journal::Row;
use super::kept::KeptAnswer;
use super::order::Order;
use super::run::RunBook;
use super::session::EndedSessions;
use crate::id::{KeyId, ProjectId, RequestId};
use crate::key::KeyRecord;
use crate::time::Timestamp;

/// One change of what is stored. Applied in order, all or none.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A hold is open; it replaces the request's earlier one.
    Opened(Box<Hold>),
    /// An open hold lives on, with what was relayed so far.
    Extended {
        /// Whose.
        request: RequestId,
        /// Until when.
        deadline: Timestamp,
        /// What was relayed.
        checkpoint: Box<Checkpoint>,
    },
    /// A hold left Open.
    Closed(RequestId),
    /// A row was appended to the journal.
    Journaled(Box<Row>),
    /// The account's own record.
    AccountStored(AccountRecord),
    /// A project's record, and what it spent.
    ProjectStored(ProjectRecord, Counters),
    /// A key's record, and what it did.
    KeyStored(Box<KeyRecord>, Counters),
    /// What a key did.
    KeyTallied(KeyId, Counters),
    /// What a project spent.
    ProjectTallied(ProjectId, Counters),
    /// A run, and what its requests came to.
    RunStored(Box<RunBook>),
    /// An order as it stands now.
    OrderStored(Box<Order>),
    /// The alert in this journal row is to be sent.
    Alerted(u64),
    /// An idempotency key was taken, or its answer became known.
    Claimed(Claim),
    /// An idempotency key is free again.
    Unclaimed(String),
    /// An answer is kept, so that it can be referred to.
    Kept(Box<KeptAnswer>),
    /// Answers up to this journal row are no longer kept.
    Forgotten(u64),
    /// Sessions were ended.
    SessionsEnded(EndedSessions),
}
