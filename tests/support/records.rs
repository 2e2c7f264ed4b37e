//! The ports of whoever owns, administers or looks at accounts, over tables in memory.

use serde_json::Value;
use tokens_forge::account::{AccountAnswer, AccountRecord, Command, ComparedRow, JournalFilter, Order};
use tokens_forge::catalog::UpstreamHosts;
use tokens_forge::id::{AccountId, OrderId};
use tokens_forge::key::KeyRecord;
use tokens_forge::payment::Checkout;
use tokens_forge::ports::{
    Accounts, Code, Codes, Copies, Cursor, Directory, Journals, Kept, KeyDirectory, NewCodes, PageCache, Payments, Reconciled,
    Runtime, Settings, Sum, Sums, Unavailable,
};
use tokens_forge::time::Timestamp;

use super::outside::{Outside, Yield};

/// Pages may be so old, in milliseconds; while one request makes a page anew, others are shown the last one for so long.
const SHOWN_MS: u64 = 5_000;
const ANEW_MS: u64 = 1_000;

type Found<T> = Result<T, Unavailable>;

/// A page as it is kept: when it was made, and when somebody began to make it anew.
pub struct Shown {
    page: Kept,
    at: Timestamp,
    anew_at: Timestamp,
}

impl Accounts for Outside {
    async fn command(&self, account: &AccountId, command: Command) -> Found<AccountAnswer> {
        Yield(false).await;
        let answer = if command == Command::Flush {
            self.0.fails("command")?;
            self.0.copy(account).map(|()| AccountAnswer::Done)
        } else {
            let name = if matches!(command, Command::Redeem(..)) { "redeem" } else { "command" };
            self.0.command(account, name, command)
        };
        Yield(false).await;
        answer
    }
}

impl Directory for Outside {
    async fn accounts(&self, after: Option<&str>, limit: u32) -> Found<Vec<AccountRecord>> {
        Ok(self.database().await?.accounts(after, limit))
    }
}

impl KeyDirectory for Outside {
    async fn publish_key(&self, record: &KeyRecord) -> Found<()> {
        Yield(false).await;
        let mut kv = self.kv()?;
        if !(self.0.are_keys_late.get() && kv.keys.contains_key(&record.hash)) {
            kv.keys.insert(record.hash.clone(), record.clone());
        }
        Ok(())
    }
}

impl Settings for Outside {
    fn hosts(&self) -> UpstreamHosts {
        UpstreamHosts::Public
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.0.settings.borrow().get(name).filter(|text| !text.trim().is_empty()).cloned()
    }
}

impl Journals for Outside {
    async fn journal(
        &self,
        account: Option<&str>,
        filter: &JournalFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Found<Vec<(String, Value)>> {
        Ok(self.database().await?.journal(account, filter, after, limit))
    }

    async fn sums(&self, sums: Sums) -> Found<Vec<Sum>> {
        Ok(self.database().await?.sums(&sums))
    }
}

impl Copies for Outside {
    async fn copied(&self, account: &AccountId, after: u64, last: u64) -> Found<Vec<ComparedRow>> {
        Ok(self.database().await?.copied(account, after, last))
    }

    async fn copied_beyond(&self, account: &AccountId, head: u64) -> Found<Vec<u64>> {
        Ok(self.database().await?.copied_beyond(account, head))
    }

    async fn unreconciled(&self, before: Timestamp, limit: u32) -> Found<Vec<(AccountId, u64)>> {
        Ok(self.database().await?.unreconciled(before, limit))
    }

    async fn note_reconciled(&self, done: &Reconciled) -> Found<()> {
        self.database().await?.reconciled.insert(done.account.clone(), done.clone());
        Ok(())
    }
}

impl Payments for Outside {
    async fn orders(&self, state: &str, after: Option<&str>, limit: u32) -> Found<Vec<Order>> {
        Ok(self.database().await?.orders(state, after, limit))
    }

    async fn order_of_payment(&self, payment: &str) -> Found<Option<(AccountId, OrderId)>> {
        Ok(self.database().await?.order_of_payment(payment))
    }

    /// As scripted; each call takes the next. Where nothing is, a page is opened, the same for the same key.
    async fn checkout(&self, checkout: &Checkout, credential: &str) -> Result<(u16, String), String> {
        Yield(false).await;
        self.0.checkouts.borrow_mut().push((checkout.clone(), credential.to_owned()));
        let scripted = self.0.pages_to_pay.borrow_mut().pop_front();
        scripted.unwrap_or_else(|| {
            let id = format!("cs_test_{}", checkout.idempotency_key);
            let url = format!("https://checkout.stripe.com/c/pay/{id}");
            Ok((200, serde_json::json!({"id": id, "object": "checkout.session", "url": url}).to_string()))
        })
    }
}

impl Codes for Outside {
    async fn put_codes(&self, new: &NewCodes) -> Found<()> {
        self.database().await?.codes.put(new);
        Ok(())
    }

    async fn take_code(&self, hash: &str, account: &AccountId) -> Found<Option<Code>> {
        let now = self.now();
        Ok(self.database().await?.codes.take(hash, account, now))
    }

    async fn code_credited(&self, hash: &str) -> Found<()> {
        let now = self.now();
        self.database().await?.codes.credited(hash, now);
        Ok(())
    }

    async fn uncredited_codes(&self, before: Timestamp, limit: u32) -> Found<Vec<(AccountId, String)>> {
        Ok(self.database().await?.codes.uncredited(before, limit))
    }

    async fn codes(&self, after: Option<&str>, limit: u32) -> Found<Vec<Code>> {
        Ok(self.database().await?.codes.list(after, limit))
    }

    async fn revoke_code(&self, id: &str) -> Found<bool> {
        let now = self.now();
        Ok(self.database().await?.codes.revoke(id, now))
    }
}

impl PageCache for Outside {
    /// When a page is too old, one asks in vain and makes it anew, and others see it meanwhile.
    fn kept_page(&self, address: &str) -> Option<Kept> {
        let (mut pages, now) = (self.0.pages.borrow_mut(), self.now());
        let shown = pages.get_mut(address)?;
        let is_made_anew = now.since(shown.at) < 2 * SHOWN_MS && now.since(shown.anew_at) < ANEW_MS;
        if now.since(shown.at) < SHOWN_MS || is_made_anew {
            return Some(shown.page.clone());
        }
        shown.anew_at = now;
        None
    }

    fn keep_page(&self, address: String, page: Kept) {
        let shown = Shown { page, at: self.now(), anew_at: Timestamp::default() };
        self.0.pages.borrow_mut().insert(address, shown);
    }
}
