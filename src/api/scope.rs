//! Who may do what: the scope that each endpoint of administration needs.
//!
//! What always holds: an endpoint that does not stand here is nobody's; the tests hold this table against that of the endpoints.

use super::table;
use crate::operator::Scope::{Accounts, Catalog, Channels, Money, Read, Support, Tokens};
use crate::operator::{Operator, Scope};
use crate::refusal::{Code, Refusal};

/// Each endpoint with the scopes of which one is enough. Publishing and withdrawing look closer: see [`super::catalog`].
const MAY: [(&str, &str, &[Scope]); 38] = [
    ("GET", "/admin/v1/accounts", &[Read]),
    ("POST", "/admin/v1/accounts", &[Accounts]),
    ("GET", "/admin/v1/accounts/{account}", &[Read]),
    ("GET", "/admin/v1/accounts/{account}/projects", &[Read]),
    ("POST", "/admin/v1/accounts/{account}/projects", &[Accounts]),
    ("GET", "/admin/v1/accounts/{account}/keys", &[Read]),
    ("POST", "/admin/v1/accounts/{account}/keys", &[Accounts]),
    ("PATCH", "/admin/v1/accounts/{account}/keys/{key}", &[Accounts]),
    ("DELETE", "/admin/v1/accounts/{account}/keys/{key}", &[Accounts, Support]),
    ("DELETE", "/admin/v1/accounts/{account}/sessions", &[Accounts, Support]),
    ("POST", "/admin/v1/accounts/{account}/adjustments", &[Money]),
    ("GET", "/admin/v1/accounts/{account}/receipts/{id}", &[Read]),
    ("GET", "/admin/v1/accounts/{account}/topups", &[Read]),
    ("GET", "/admin/v1/accounts/{account}/topups/{order}", &[Read]),
    ("POST", "/admin/v1/accounts/{account}/topups/{order}/approve", &[Money]),
    ("POST", "/admin/v1/accounts/{account}/topups/{order}/reject", &[Money]),
    ("POST", "/admin/v1/accounts/{account}/topups/{order}/refunds", &[Money]),
    ("GET", "/admin/v1/topups", &[Read]),
    ("GET", "/admin/v1/codes", &[Read]),
    ("POST", "/admin/v1/codes", &[Money]),
    ("DELETE", "/admin/v1/codes/{id}", &[Money]),
    ("GET", "/admin/v1/receipts", &[Read]),
    ("GET", "/admin/v1/ledger", &[Read]),
    ("GET", "/admin/v1/audit", &[Read]),
    ("GET", "/admin/v1/spend", &[Read]),
    ("GET", "/admin/v1/reconcile", &[Read]),
    ("GET", "/admin/v1/catalog", &[Read]),
    ("PUT", "/admin/v1/catalog", &[Catalog, Channels]),
    ("GET", "/admin/v1/catalog/announced", &[Read]),
    ("DELETE", "/admin/v1/catalog/announced", &[Catalog, Channels]),
    ("GET", "/admin/v1/catalog/versions", &[Read]),
    ("GET", "/admin/v1/catalog/versions/{version}", &[Read]),
    ("GET", "/admin/v1/health", &[Read]),
    ("POST", "/admin/v1/probe", &[Channels]),
    ("GET", "/admin/v1/tokens", &[Tokens]),
    ("POST", "/admin/v1/tokens", &[Tokens]),
    ("DELETE", "/admin/v1/tokens/{token}", &[Tokens]),
    ("GET", "/admin/v1/attempts", &[Tokens]),
];

/// The scopes of which one is enough for a method at a path; none at a path that is not there.
fn needed(method: &str, path: &str) -> Option<&'static [Scope]> {
    let template = table::at(path).next()?.path;
    let is_it = |entry: &&(&str, &str, &'static [Scope])| (entry.0, entry.1) == (method, template);
    MAY.iter().find(is_it).map(|entry| entry.2)
}

/// Errors unless an operator may call this endpoint.
pub fn check(operator: &Operator, method: &str, path: &str) -> Result<(), Refusal> {
    let needed = needed(method, path).ok_or_else(super::nothing_here)?;
    if needed.iter().any(|scope| operator.may(*scope)) { Ok(()) } else { Err(missing(operator, needed)) }
}

/// What an operator is told who has none of these scopes.
pub fn missing(operator: &Operator, needed: &[Scope]) -> Refusal {
    let names: Vec<&str> = needed.iter().map(|scope| scope.as_str()).collect();
    let message = format!("The token `{}` may not do this: it needs the scope `{}`.", operator.name(), names.join("` or `"));
    let next_step = "Use a token that has it; POST /admin/v1/tokens makes one.";
    Refusal::new(Code::Forbidden, message, next_step).fact("scopes", names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::table::{TABLE, Who};

    #[test]
    fn every_endpoint_of_administration_needs_a_scope_and_every_entry_is_an_endpoint() {
        let rows: Vec<(&str, &str)> =
            TABLE.iter().filter(|row| row.who == Who::Operator).map(|row| (row.method, row.path)).collect();
        for (method, path) in &rows {
            let path = path.replace(['{', '}'], "");
            assert!(needed(method, &path).is_some_and(|scopes| !scopes.is_empty()), "{method} {path}");
        }
        let entries = MAY.iter();
        for (method, path, _) in entries.clone() {
            assert!(rows.contains(&(method, path)), "{method} {path}");
        }
        assert_eq!(entries.count(), rows.len(), "each once");
    }

    #[test]
    fn what_changes_something_is_not_for_who_only_reads() {
        for (method, path, scopes) in MAY.iter() {
            assert!(*method == "GET" || !scopes.contains(&Read), "{method} {path}");
        }
    }

    #[test]
    fn who_has_no_scope_is_told_which() {
        let refusal = missing(&Operator::root(), &[Accounts, Support]);
        assert_eq!((refusal.status(), refusal.message.contains("`accounts` or `support`")), (403, true));
        assert_eq!(check(&Operator::root(), "GET", "/admin/v1/nothing").unwrap_err().code, Code::NotFound);
        assert!(check(&Operator::root(), "GET", "/admin/v1/accounts/x").is_ok());
    }
}
