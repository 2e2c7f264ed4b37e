//! What operators do that is about no account, noted where every account notes its own.
//!
//! What always holds: every change that an operator can make leaves a row with author, reason and what changed.

use serde_json::{Map, json};

use crate::account::{ActKind, By, Command, Done, OPERATOR, OperatorAct};
use crate::id::AccountId;
use crate::ports::{Accounts, Runtime};

/// Notes what an operator did. It is done already: where it cannot be noted, the log has it.
pub async fn note<P: Accounts + Runtime>(ports: &P, kind: ActKind, by: By, what: String) {
    let act = OperatorAct { kind, done: Done { by, what, fields: Map::new() } };
    let line = json!(act).to_string();
    let Some(account) = AccountId::parse(OPERATOR) else { return };
    for command in [Command::Act(Box::new(act)), Command::Flush] {
        if let Err(error) = ports.command(&account, command).await {
            ports.log(&format!("audit: {line}: {}", error.0));
        }
    }
}
