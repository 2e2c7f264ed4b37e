//! The gates, counted by the platform for each location, and remembered in this isolate.

use std::cell::RefCell;

use worker::Env;

use super::clock;
use crate::id::AccountId;
use crate::key::KeyRecord;
use crate::limits::{Gate, Memory};

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Counts one; false if there were too many. A counter that fails lets everybody through.
pub async fn admit(env: &Env, gate: Gate, subject: &str) -> bool {
    if rest(gate, subject).is_some() {
        return false;
    }
    let is_let_in = match counted(env, gate, subject).await {
        Ok(is_let_in) => is_let_in,
        Err(error) => {
            worker::console_error!("{}: {error}", gate.row().binding);
            true
        }
    };
    if !is_let_in {
        MEMORY.with_borrow_mut(|memory| memory.close(gate, subject, clock::now()));
    }
    is_let_in
}

async fn counted(env: &Env, gate: Gate, subject: &str) -> worker::Result<bool> {
    Ok(env.rate_limiter(gate.row().binding)?.limit(subject.to_owned()).await?.success)
}

/// For how many seconds more a subject rests.
pub fn rest(gate: Gate, subject: &str) -> Option<u64> {
    MEMORY.with_borrow(|memory| memory.rest(gate, subject, clock::now()))
}

/// Notes that a request of a key was answered.
pub fn granted(key: &KeyRecord) {
    MEMORY.with_borrow_mut(|memory| memory.granted((key.account.as_str(), key.id.as_str()), clock::now()));
}

/// Whether an account had an answer not long ago.
pub fn is_earning(account: &AccountId) -> bool {
    MEMORY.with_borrow(|memory| memory.is_earning(account.as_str(), clock::now()))
}

/// Notes that one was refused; whether that is to be counted.
pub fn refused(key: &KeyRecord) -> bool {
    MEMORY.with_borrow_mut(|memory| memory.refused(key.id.as_str(), clock::now()))
}
