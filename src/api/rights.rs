//! Which use case an endpoint is; who may ask for it is said there.
//!
//! What always holds: an endpoint of a key's holder or of operators that does not stand here is nobody's; the tests hold this table
//! against that of the endpoints.

use super::table;
use crate::app::UseCase::{self, *};
use crate::refusal::Refusal;

/// Each endpoint with its use case. Several endpoints may be one.
const USE_CASES: &[(&str, &str, UseCase)] = &[
    ("POST", "/v1/route", ExplainRoute),
    ("GET", "/v1/models", ListModels),
    ("GET", "/v1/models/{model}/endpoints", ListEndpoints),
    ("GET", "/v1/models/{model}", ShowModel),
    ("GET", "/v1beta/models", ListModels),
    ("GET", "/v1beta/models/{model}", ShowModel),
    ("GET", "/v1/health/{model}", ShowHealth),
    ("GET", "/v1/receipts", ListReceipts),
    ("GET", "/v1/receipts/{id}", ShowReceipt),
    ("GET", "/v1/generation", ShowGeneration),
    ("GET", "/v1/activity", ShowActivity),
    ("GET", "/v1/runs", ListRuns),
    ("POST", "/v1/runs", OpenRun),
    ("GET", "/v1/runs/{id}", ShowRun),
    ("GET", "/v1/ledger", ListEntries),
    ("GET", "/v1/balances", ShowBalances),
    ("GET", "/v1/credits", ShowCredits),
    ("GET", "/v1/key", ShowKey),
    ("GET", "/v1/topups", ListOrders),
    ("POST", "/v1/topups", PlaceOrder),
    ("GET", "/v1/topups/{id}", ShowOrder),
    ("POST", "/v1/redeem", RedeemCode),
    ("GET", "/admin/v1/accounts", ListAccounts),
    ("POST", "/admin/v1/accounts", OpenAccount),
    ("GET", "/admin/v1/accounts/{account}", ShowAccount),
    ("GET", "/admin/v1/accounts/{account}/projects", ListProjects),
    ("POST", "/admin/v1/accounts/{account}/projects", PutProject),
    ("GET", "/admin/v1/accounts/{account}/keys", ListKeys),
    ("POST", "/admin/v1/accounts/{account}/keys", MakeKey),
    ("PATCH", "/admin/v1/accounts/{account}/keys/{key}", ChangeKey),
    ("DELETE", "/admin/v1/accounts/{account}/keys/{key}", RevokeKey),
    ("DELETE", "/admin/v1/accounts/{account}/sessions", EndSessions),
    ("POST", "/admin/v1/accounts/{account}/adjustments", Adjust),
    ("GET", "/admin/v1/accounts/{account}/receipts/{id}", ShowReceiptOf),
    ("GET", "/admin/v1/accounts/{account}/topups", ListOrdersOf),
    ("GET", "/admin/v1/accounts/{account}/topups/{order}", ShowOrderOf),
    ("POST", "/admin/v1/accounts/{account}/topups/{order}/approve", ApproveOrder),
    ("POST", "/admin/v1/accounts/{account}/topups/{order}/reject", RejectOrder),
    ("POST", "/admin/v1/accounts/{account}/topups/{order}/refunds", RefundOrder),
    ("GET", "/admin/v1/topups", ListAllOrders),
    ("GET", "/admin/v1/codes", ListCodes),
    ("POST", "/admin/v1/codes", MakeCodes),
    ("DELETE", "/admin/v1/codes/{id}", RevokeCode),
    ("GET", "/admin/v1/receipts", ListAllReceipts),
    ("GET", "/admin/v1/ledger", ListAllEntries),
    ("GET", "/admin/v1/audit", ListAudit),
    ("GET", "/admin/v1/spend", ShowSpend),
    ("GET", "/admin/v1/reconcile", Reconcile),
    ("GET", "/admin/v1/catalog", ShowCatalogue),
    ("PUT", "/admin/v1/catalog", PublishCatalogue),
    ("GET", "/admin/v1/catalog/announced", ShowAnnounced),
    ("DELETE", "/admin/v1/catalog/announced", WithdrawAnnounced),
    ("GET", "/admin/v1/catalog/versions", ListVersions),
    ("GET", "/admin/v1/catalog/versions/{version}", ShowVersion),
    ("GET", "/admin/v1/health", ListCandidates),
    ("POST", "/admin/v1/probe", Probe),
    ("GET", "/admin/v1/tokens", ListTokens),
    ("POST", "/admin/v1/tokens", MakeToken),
    ("DELETE", "/admin/v1/tokens/{token}", RevokeToken),
    ("GET", "/admin/v1/attempts", ListAttempts),
];

/// The use case that is asked for by a method at a path.
pub fn use_case(method: &str, path: &str) -> Result<UseCase, Refusal> {
    let template = table::at(path).next().ok_or_else(table::nothing_here)?.path;
    let found = USE_CASES.iter().find(|entry| (entry.0, entry.1) == (method, template));
    found.map(|entry| entry.2).ok_or_else(table::nothing_here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::table::{SWITCHING, TABLE, Who};
    use crate::app::May;
    use crate::operator::Scope;

    #[test]
    fn every_endpoint_is_a_use_case_of_who_may_call_it() {
        let rows = TABLE.iter().filter(|row| !row.about.is_asking() && row.answer.status != SWITCHING);
        let mut count = 0;
        for row in rows.filter(|row| matches!(row.who, Who::Key | Who::Operator)) {
            count += 1;
            let path = row.path.replace(['{', '}'], "");
            let is_operators = matches!(use_case(row.method, &path).unwrap().may(), May::Operator(_));
            assert_eq!(is_operators, row.who == Who::Operator, "{} {}", row.method, row.path);
        }
        assert_eq!(count, USE_CASES.len(), "each once, and no others");
        for known in UseCase::ALL {
            assert!(USE_CASES.iter().any(|entry| entry.2 == *known), "{known:?} has an endpoint");
        }
    }

    #[test]
    fn what_changes_something_is_not_for_who_only_reads() {
        for (method, path, use_case) in USE_CASES {
            let May::Operator(scopes) = use_case.may() else { continue };
            assert!(*method == "GET" || !scopes.contains(&Scope::Read), "{method} {path}");
        }
        assert_eq!(use_case("GET", "/admin/v1/nothing").unwrap_err().code, crate::refusal::Code::NotFound);
    }
}
