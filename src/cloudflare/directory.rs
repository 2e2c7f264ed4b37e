//! The accounts, which accounts there are, and where requests look up keys.

use super::outside::{Fetched, Outside, failed};
use super::{account_client, cache, clock};
use crate::account::{AccountAnswer, AccountRecord, Command};
use crate::id::AccountId;
use crate::key::KeyRecord;
use crate::ports::{Accounts, Directory, KeyDirectory};

impl Accounts for Outside {
    async fn command(&self, account: &AccountId, command: Command) -> Fetched<AccountAnswer> {
        account_client::command(self.front(), account, &command).await
    }
}

impl Directory for Outside {
    async fn accounts(&self, after: Option<&str>, limit: u32) -> Fetched<Vec<AccountRecord>> {
        let statement = "SELECT json_object('id', id, 'name', name, 'created_at', created_at) AS doc FROM accounts WHERE id > ?1 ORDER BY id LIMIT ?2";
        self.d1(statement, &[after.unwrap_or_default().into(), limit.into()]).await
    }
}

impl KeyDirectory for Outside {
    async fn publish_key(&self, record: &KeyRecord) -> Fetched<()> {
        cache::put_key(record, clock::now());
        let text = serde_json::to_string(record).map_err(failed)?;
        self.kv_put(&format!("key:{}", record.hash), &text).await
    }
}
