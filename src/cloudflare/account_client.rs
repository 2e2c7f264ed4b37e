//! Saying something to an account object, and not waiting for ever: a panic on the other side is silence on this one.

use std::rc::Rc;

use super::front::{Answer, Front};
use crate::account::{AccountAnswer, Command};
use crate::id::AccountId;
use crate::ports::Unavailable;

const TIMEOUT_MS: u32 = 10_000;
/// Only what the platform calls retryable is tried again; every command is the same when it is repeated.
const TRIES: u32 = 3;

/// Says something to an account.
pub async fn command(front: &Rc<Front>, account: &AccountId, command: &Command) -> Result<AccountAnswer, Unavailable> {
    let text = serde_json::to_string(command).map_err(|error| Unavailable(error.to_string()))?;
    let failed = |what: &str| Unavailable(format!("account {account}: {what}"));
    let mut last = String::new();
    for attempt in 0..TRIES {
        match front.ask(|call, effect| call.command(effect, account.as_str(), how(command), &text, TIMEOUT_MS)).await {
            Answer::Text(200, answer) => {
                let unreadable = |error| failed(&format!("an answer that cannot be read: {error}"));
                return serde_json::from_str(&answer).map_err(unreadable);
            }
            Answer::Text(status, answer) => return Err(failed(&format!("status {status}: {answer}"))),
            Answer::Nothing | Answer::Bytes(_) => return Err(failed(&format!("silent for {TIMEOUT_MS} ms"))),
            Answer::Failed(what, false) => return Err(failed(&what)),
            Answer::Failed(what, true) => {
                last = what;
                front.sleep(50 << attempt).await;
            }
        }
    }
    Err(failed(&last))
}

/// How a command is taken. Settlements may wait some milliseconds for others, with which they are stored.
const fn how(command: &Command) -> &'static str {
    match command {
        Command::Settle(_) | Command::Checkpoint(_) | Command::RecordRefused(_) => "patient",
        Command::Flush => "flush",
        _ => "command",
    }
}
