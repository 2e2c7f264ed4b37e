//! Redeem codes in memory: who has taken one is decided here.

use std::collections::BTreeMap;

use tokens_forge::id::AccountId;
use tokens_forge::ports::{Code, NewCodes};
use tokens_forge::time::Timestamp;

use super::database::most;

/// By the hash of what redeems them.
#[derive(Default)]
pub struct Codes(pub BTreeMap<String, Code>);

impl Codes {
    pub fn put(&mut self, new: &NewCodes) {
        for code in &new.codes {
            let made = Code {
                id: code.id.to_string(),
                bucket: new.bucket.clone(),
                amount: new.amount,
                reason: new.by.reason.clone().unwrap(),
                author: new.by.author.clone(),
                on_behalf_of: new.by.on_behalf_of.clone(),
                note: new.note.clone(),
                created_at: new.created_at,
                expires_at: new.expires_at,
                account: None,
                taken_at: None,
                credited_at: None,
                revoked_at: None,
            };
            assert!(self.0.insert(code.hash.clone(), made).is_none(), "a code is stored once");
        }
    }

    /// The first taker has it; again is the same, also after its end.
    pub fn take(&mut self, hash: &str, account: &AccountId, now: Timestamp) -> Option<Code> {
        let code = self.0.get_mut(hash)?;
        let is_free = code.account.is_none() && code.revoked_at.is_none() && code.expires_at > now;
        if code.account.as_ref() != Some(account) && !is_free {
            return None;
        }
        code.account = Some(account.clone());
        code.taken_at.get_or_insert(now);
        Some(code.clone())
    }

    pub fn credited(&mut self, hash: &str, now: Timestamp) {
        if let Some(code) = self.0.get_mut(hash) {
            code.credited_at.get_or_insert(now);
        }
    }

    pub fn uncredited(&self, before: Timestamp, limit: u32) -> Vec<(AccountId, String)> {
        let is_due = |code: &Code| code.credited_at.is_none() && code.taken_at.is_some_and(|at| at < before);
        let mut due: Vec<(&String, &Code)> = self.0.iter().filter(|(_, code)| is_due(code)).collect();
        due.sort_by_key(|(_, code)| code.taken_at);
        due.into_iter().take(most(limit)).map(|(hash, code)| (code.account.clone().unwrap(), hash.clone())).collect()
    }

    pub fn list(&self, after: Option<&str>, limit: u32) -> Vec<Code> {
        let is_after = |code: &&Code| after.is_none_or(|after| code.id.as_str() < after);
        let mut codes: Vec<Code> = self.0.values().filter(is_after).cloned().collect();
        codes.sort_by(|a, b| b.id.cmp(&a.id));
        codes.truncate(most(limit));
        codes
    }

    pub fn revoke(&mut self, id: &str, now: Timestamp) -> bool {
        let is_free = |code: &&mut Code| code.id == id && code.account.is_none() && code.revoked_at.is_none();
        match self.0.values_mut().find(is_free) {
            Some(code) => {
                code.revoked_at = Some(now);
                true
            }
            None => false,
        }
    }
}
