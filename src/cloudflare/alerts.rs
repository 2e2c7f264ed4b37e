//! Alerts on their way to the operator's webhook: signed, each at least once, in the background.

use serde_json::Value;
use worker::{Env, Result};

use super::store::Store;
use super::{clock, http_client};
use crate::id::AccountId;
use crate::time::HOUR_MS;
use crate::webhook::signature;

const TIMEOUT_MS: u32 = 5_000;
/// After a failure, doubled each time up to an hour; given up after so many tries, which is about a day.
const RETRY_MS: i64 = 10_000;
const LONGEST_RETRY_MS: i64 = HOUR_MS;
const MOST_TRIES: u32 = 30;

/// Sends what is due. What is not taken is tried again; what cannot be sent anywhere stays in the journal alone.
pub async fn send(store: &Store, env: &Env, account: &AccountId) -> Result<()> {
    let set = |name: &str| env.secret(name).ok().map(|secret| secret.to_string()).filter(|text| !text.trim().is_empty());
    for (seq, tries, alert) in store.due_alerts(clock::now())? {
        let (Some(url), Some(secret)) = (set("ALERT_WEBHOOK_URL"), set("ALERT_WEBHOOK_SECRET")) else {
            store.drop_alert(seq)?;
            continue;
        };
        match deliver(&url, &secret, account, alert).await {
            Ok(()) => store.drop_alert(seq)?,
            Err(what) if tries >= MOST_TRIES => {
                worker::console_error!("alert {seq} of account {account} given up: {what}");
                store.drop_alert(seq)?;
            }
            Err(what) => {
                worker::console_error!("alert {seq} of account {account}: {what}");
                let wait = RETRY_MS.saturating_mul(1 << tries.min(10)).min(LONGEST_RETRY_MS);
                store.put_off_alert(seq, clock::now().plus(wait))?;
                // What does not take this one will not take the next.
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn deliver(url: &str, secret: &str, account: &AccountId, mut alert: Value) -> std::result::Result<(), String> {
    if let Some(fields) = alert.as_object_mut() {
        fields.insert("account".to_owned(), account.as_str().into());
    }
    let body = alert.to_string();
    let signed = signature(secret, clock::now(), body.as_bytes()).ok_or("the secret cannot sign")?;
    let headers = [("content-type", "application/json"), ("tokens-forge-signature", signed.as_str())];
    match http_client::post(url, &headers, &body, TIMEOUT_MS).await? {
        (200..=299, _) => Ok(()),
        (status, _) => Err(format!("status {status}")),
    }
}
