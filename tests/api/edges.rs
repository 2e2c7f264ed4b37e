//! Values at the edge of what is valid: what is beyond is refused, and nothing that is written is unreadable afterwards.

use serde_json::{Value, json};

use crate::gateway::Gateway;

const NONE: Value = Value::Null;

/// Times that are none of the years 0 to 9999 in UTC.
const BEYOND: [&str; 3] = ["9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00%2B00:01", "10000-01-01T00:00:00Z"];

#[test]
fn a_time_beyond_what_can_be_written_is_refused_wherever_one_is_said() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (key, secret) = gateway.key(&account, &json!({}));
    let catalog = gateway.admin("GET", "/admin/v1/catalog", &NONE).ok();
    for time in BEYOND {
        for path in ["/v1/receipts?since=", "/v1/receipts?until=", "/v1/ledger?since="] {
            gateway.get(&secret, &format!("{path}{time}")).refused(400, "invalid_request");
        }
        gateway.admin("PUT", &format!("/admin/v1/catalog?effective_at={time}"), &catalog).refused(400, "invalid_request");
        let (keys, body) = (format!("/admin/v1/accounts/{account}/keys"), json!({"expires_at": time.replace("%2B", "+")}));
        gateway.admin("POST", &keys, &body).refused(400, "invalid_request");
        gateway.admin("PATCH", &format!("{keys}/{key}"), &body).refused(400, "invalid_request");
    }
    // The last moment of all is one, and the key can be read, used and revoked.
    let (last, secret) = gateway.key(&account, &json!({"expires_at": "9999-12-31T23:59:59.999Z"}));
    assert_eq!(gateway.call(&secret, "one").status, 200);
    gateway.admin("DELETE", &format!("/admin/v1/accounts/{account}/keys/{last}"), &NONE).ok();
    gateway.get(&secret, "/v1/receipts?since=0000-01-01T00:00:00Z&until=9999-12-31T23:59:59Z").refused(401, "invalid_api_key");
}

#[test]
fn days_at_the_edge_have_a_period_that_can_be_written() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    for query in
        ["date=9999-12-31", "date=0000-01-01", "until=0000-01-03", "since=0000-01-01&until=0000-01-02", "since=9999-12-31"]
    {
        gateway.get(&secret, &format!("/v1/activity?{query}")).refused(400, "invalid_request");
    }
    let answer = gateway.get(&secret, "/v1/activity?date=9999-12-30").ok();
    let period = &answer["tf"]["period"];
    assert!(period.is_null() || period["until"] == "9999-12-31T00:00:00Z", "{answer}");
    let answer = gateway.get(&secret, "/v1/activity?date=0000-01-02").ok();
    assert!(!answer.to_string().contains("1970"), "{answer}");
}

#[test]
fn what_stands_before_or_behind_a_day_or_a_number_is_refused() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (_, secret) = gateway.key(&account, &json!({}));
    for day in ["2026-12-02garbage", "2026-12-02T00:00:00Z", "%202026-12-02", "2026-12-2", "%2B026-12-02"] {
        for name in ["date", "since", "until"] {
            gateway.get(&secret, &format!("/v1/activity?{name}={day}")).refused(400, "invalid_request");
        }
    }
    for number in ["%2B5", "05", "5x", "%205", "5.0"] {
        for path in ["/v1/receipts?limit=", "/v1/receipts?after=", "/v1/ledger?after="] {
            gateway.get(&secret, &format!("{path}{number}")).refused(400, "invalid_request");
        }
        for path in ["/accounts?limit=", "/catalog/versions?after=", "/reconcile?from=", "/ledger?after=1:a:", "/ledger?after="] {
            gateway.admin("GET", &format!("/admin/v1{path}{number}"), &NONE).refused(400, "invalid_request");
        }
    }
    for version in ["+1", "01", "1.0", "1x"] {
        gateway.admin("GET", &format!("/admin/v1/catalog/versions/{version}"), &NONE).refused(404, "not_found");
    }
    gateway.admin("GET", "/admin/v1/catalog/versions/1", &NONE).ok();
}
