//! Redeem codes in memory: who has taken one is decided here.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokens_forge::id::{AccountId, BucketId};
use tokens_forge::money::Money;
use tokens_forge::ports::{CodeTaken, NewCode};
use tokens_forge::time::Timestamp;

use super::database::most;

/// A code as it is stored.
#[derive(Debug, Clone)]
pub struct Code {
    pub id: String,
    /// What all codes that were made together have.
    common: Value,
    pub account: Option<AccountId>,
    pub taken_at: Option<i64>,
    pub credited_at: Option<i64>,
    revoked_at: Option<i64>,
}

/// By the hash of what redeems them.
#[derive(Default)]
pub struct Codes(pub BTreeMap<String, Code>);

impl Codes {
    pub fn put(&mut self, codes: &[NewCode], common: &Value) {
        for code in codes {
            let made = Code {
                id: code.id.to_string(),
                common: common.clone(),
                account: None,
                taken_at: None,
                credited_at: None,
                revoked_at: None,
            };
            assert!(self.0.insert(code.hash.clone(), made).is_none(), "a code is stored once");
        }
    }

    /// The first taker has it; again is the same, also after its end.
    pub fn take(&mut self, hash: &str, account: &AccountId, now: Timestamp) -> Option<CodeTaken> {
        let code = self.0.get_mut(hash)?;
        let is_free = code.account.is_none() && code.revoked_at.is_none() && code.moment("expires_at") > now.millis();
        if code.account.as_ref() != Some(account) && !is_free {
            return None;
        }
        code.account = Some(account.clone());
        code.taken_at.get_or_insert(now.millis());
        let text = |name: &str| code.common[name].as_str().map(ToOwned::to_owned);
        Some(CodeTaken {
            id: code.id.clone(),
            bucket: BucketId::parse(&text("bucket").unwrap()).unwrap(),
            amount: Money::parse(&text("amount").unwrap()).unwrap(),
            reason: text("reason").unwrap(),
            author: text("author").unwrap(),
            on_behalf_of: text("on_behalf_of"),
            note: text("note"),
        })
    }

    pub fn credited(&mut self, hash: &str, now: Timestamp) {
        if let Some(code) = self.0.get_mut(hash) {
            code.credited_at.get_or_insert(now.millis());
        }
    }

    pub fn uncredited(&self, before: Timestamp, limit: u32) -> Vec<(AccountId, String)> {
        let is_due = |code: &Code| code.credited_at.is_none() && code.taken_at.is_some_and(|at| at < before.millis());
        let mut due: Vec<(&String, &Code)> = self.0.iter().filter(|(_, code)| is_due(code)).collect();
        due.sort_by_key(|(_, code)| code.taken_at);
        due.into_iter().take(most(limit)).map(|(hash, code)| (code.account.clone().unwrap(), hash.clone())).collect()
    }

    pub fn list(&self, after: Option<&str>, limit: u32) -> Vec<Value> {
        let mut codes: Vec<&Code> = self.0.values().filter(|code| after.is_none_or(|after| code.id.as_str() < after)).collect();
        codes.sort_by(|a, b| b.id.cmp(&a.id));
        let told = |code: &Code| {
            let of = |name: &str| &code.common[name];
            json!({
                "id": code.id, "bucket": of("bucket"), "amount": of("amount"), "reason": of("reason"), "author": of("author"),
                "on_behalf_of": of("on_behalf_of"), "note": of("note"), "created_at": of("created_at"), "expires_at": of("expires_at"),
                "account": code.account, "taken_at": code.taken_at, "credited_at": code.credited_at, "revoked_at": code.revoked_at,
            })
        };
        codes.into_iter().take(most(limit)).map(told).collect()
    }

    pub fn revoke(&mut self, id: &str, now: Timestamp) -> bool {
        let is_free = |code: &&mut Code| code.id == id && code.account.is_none() && code.revoked_at.is_none();
        match self.0.values_mut().find(is_free) {
            Some(code) => {
                code.revoked_at = Some(now.millis());
                true
            }
            None => false,
        }
    }
}

impl Code {
    fn moment(&self, name: &str) -> i64 {
        self.common[name].as_i64().unwrap()
    }
}
