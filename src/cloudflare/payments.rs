//! Orders in D1, and the calls to payment providers.

use super::http_client;
use super::outside::{Fetched, Outside};
use crate::account::Order;
use crate::id::{AccountId, OrderId};
use crate::payment::Checkout;
use crate::ports::{Payments, Settings};

const STRIPE: &str = "https://api.stripe.com";
const CHECKOUT_TIMEOUT_MS: u32 = 15_000;

impl Payments for Outside {
    async fn orders(&self, state: &str, after: Option<&str>, limit: u32) -> Fetched<Vec<Order>> {
        let statement = "SELECT doc FROM orders WHERE state = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
        self.d1(statement, &[state.into(), after.unwrap_or("~").into(), limit.into()]).await
    }

    async fn order_of_payment(&self, payment: &str) -> Fetched<Option<(AccountId, OrderId)>> {
        let statement = "SELECT json_array(account, id) AS doc FROM orders WHERE payment = ?1 LIMIT 1";
        Ok(self.d1(statement, &[payment.into()]).await?.into_iter().next())
    }

    async fn checkout(&self, checkout: &Checkout, credential: &str) -> Result<(u16, String), String> {
        let host = self.setting("STRIPE_API_URL").unwrap_or_else(|| STRIPE.to_owned());
        let credential = format!("Bearer {credential}");
        let headers = [
            ("authorization", credential.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
            ("idempotency-key", checkout.idempotency_key.as_str()),
        ];
        http_client::post(&format!("{host}{}", checkout.path), &headers, &checkout.body, CHECKOUT_TIMEOUT_MS).await
    }
}
