//! The gates, counted by the platform for each location, and remembered in this isolate.

use std::cell::RefCell;

use super::outside::Outside;
use crate::id::AccountId;
use crate::key::KeyRecord;
use crate::limits::{Gate, Memory};
use crate::ports::Runtime;
use crate::time::Timestamp;

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Counts one; false if there were too many. A counter that fails lets everybody through.
pub async fn admit(outside: &Outside, gate: Gate, subject: &str) -> bool {
    if rest(gate, subject, outside.now()).is_some() {
        return false;
    }
    let is_let_in = match counted(outside, gate, subject).await {
        Ok(is_let_in) => is_let_in,
        Err(error) => {
            worker::console_error!("{}: {error}", gate.row().binding);
            true
        }
    };
    if !is_let_in {
        MEMORY.with_borrow_mut(|memory| memory.close(gate, subject, outside.now()));
    }
    is_let_in
}

async fn counted(outside: &Outside, gate: Gate, subject: &str) -> worker::Result<bool> {
    Ok(outside.env().rate_limiter(gate.row().binding)?.limit(subject.to_owned()).await?.success)
}

/// For how many seconds more a subject rests.
pub fn rest(gate: Gate, subject: &str, now: Timestamp) -> Option<u64> {
    MEMORY.with_borrow(|memory| memory.rest(gate, subject, now))
}

/// Notes that a request of a key was answered.
pub fn granted(key: &KeyRecord, now: Timestamp) {
    MEMORY.with_borrow_mut(|memory| memory.granted((key.account.as_str(), key.id.as_str()), now));
}

/// Whether an account had an answer not long ago.
pub fn is_earning(account: &AccountId, now: Timestamp) -> bool {
    MEMORY.with_borrow(|memory| memory.is_earning(account.as_str(), now))
}

/// Notes that one was refused; whether that is to be counted.
pub fn refused(key: &KeyRecord, now: Timestamp) -> bool {
    MEMORY.with_borrow_mut(|memory| memory.refused(key.id.as_str(), now))
}
