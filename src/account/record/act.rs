//! Who did what, and why: beside every record that an operator's command leaves in the journal.
//!
//! What always holds: who and why stand in the journal's row alone, not in the record that it is about, so that no copy of the
//! record that a customer's view is made of has them; fields are told with what they were and what they became, hashes never.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::kind::RowKind;

/// The account whose journal has what the operator did about no account. It has no balance, no project and no key, and is in no
/// list of accounts.
pub const OPERATOR: &str = "tf-operator";
/// Fields of records that are never told as changed.
const UNTOLD: [&str; 2] = ["hash", "version"];

/// Who does something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Who was authenticated: the name of a token.
    pub author: String,
    /// For whom, as the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A record with who wants it stored. Commands of earlier versions do not say who.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// What is to be stored.
    #[serde(flatten)]
    pub record: T,
    /// Who wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
}

impl<T> From<T> for Signed<T> {
    fn from(record: T) -> Self {
        Self { record, by: None }
    }
}

/// A record in the journal, with what was done to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Noted<T> {
    /// As it is from now on.
    #[serde(flatten)]
    pub record: T,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Done>,
}

/// What somebody did to a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Who, and why.
    #[serde(flatten)]
    pub by: By,
    /// What, in words.
    pub what: String,
    /// What its fields were and what they became.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// Something that the operator did and that is about no account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorAct {
    /// To what.
    pub kind: ActKind,
    /// What, by whom and why.
    #[serde(flatten)]
    pub done: Done,
}

/// What the operator acts on besides accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// The catalogue.
    Catalog,
    /// Redeem codes.
    Code,
    /// The probes.
    Probe,
    /// Tokens of operators.
    Token,
    /// Sessions of customers.
    Session,
}

impl OperatorAct {
    /// The kind of its row.
    pub const fn row_kind(&self) -> RowKind {
        match self.kind {
            ActKind::Catalog => RowKind::Catalog,
            ActKind::Code => RowKind::Code,
            ActKind::Probe => RowKind::Probe,
            ActKind::Token => RowKind::Token,
            ActKind::Session => RowKind::Session,
        }
    }
}

impl<T: Serialize> Noted<T> {
    /// A new record, or one that was there as `before`. `name` is what people call it.
    pub(in crate::account) fn new(name: &str, before: Option<&T>, record: T, by: Option<By>) -> Self {
        let Some(by) = by else { return Self { record, change: None } };
        let fields = before.map(|before| changed(before, &record)).unwrap_or_default();
        let what = match before {
            None => format!("{name} made"),
            Some(_) if fields.is_empty() => format!("{name}: nothing changed"),
            Some(_) => format!("{name} changed: {}", sentence(&fields)),
        };
        Self { record, change: Some(Done { by, what, fields }) }
    }
}

/// The fields that differ, each with what it was and what it became; those of a policy stand beside the others.
fn changed<T: Serialize>(before: &T, after: &T) -> Map<String, Value> {
    let (before, after) = (flat(before), flat(after));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let differs = names.filter(|name| !UNTOLD.contains(&name.as_str()) && before.get(*name) != after.get(*name));
    differs.map(|name| (name.clone(), json!({"before": before.get(name), "after": after.get(name)}))).collect()
}

fn flat<T: Serialize>(record: &T) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(record) else { return Map::new() };
    if let Some(Value::Object(policy)) = fields.remove("policy") {
        fields.extend(policy);
    }
    fields
}

fn sentence(fields: &Map<String, Value>) -> String {
    let value = |change: &Value, name: &str| change.get(name).cloned().unwrap_or_default().to_string();
    let one = |(name, change): (&String, &Value)| format!("{name} {} -> {}", value(change, "before"), value(change, "after"));
    fields.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::ProjectRecord;

    fn project(name: &str) -> ProjectRecord {
        let doc = json!({"id": "p", "account": "a", "name": name, "budgets": [], "created_at": "2026-11-22T16:33:44Z"});
        serde_json::from_str(&doc.to_string()).unwrap()
    }

    fn kim() -> Option<By> {
        Some(By { author: "kim".to_owned(), on_behalf_of: None, reason: Some("because".to_owned()) })
    }

    #[test]
    fn a_change_is_told_with_what_was_and_what_became() {
        let (one, two) = (project("One"), project("Two"));
        for (before, by, what) in [
            (None, kim(), Some("project p made")),
            (Some(&one), kim(), Some("project p changed: name \"One\" -> \"Two\"")),
            (Some(&two), kim(), Some("project p: nothing changed")),
            // A command of an earlier version does not say who.
            (None, None, None),
        ] {
            let noted = Noted::new("project p", before, two.clone(), by);
            assert_eq!(noted.change.as_ref().map(|done| done.what.as_str()), what);
            let row = serde_json::to_value(&noted).unwrap();
            assert_eq!(row["name"], "Two", "the record stands as it did before");
            assert_eq!(row.pointer("/change/author").and_then(Value::as_str), what.map(|_| "kim"));
        }
    }

    #[test]
    fn commands_are_read_with_and_without_who_gives_them() {
        let plain = serde_json::to_string(&project("One")).unwrap();
        let unsigned: Signed<ProjectRecord> = serde_json::from_str(&plain).unwrap();
        assert_eq!(unsigned, project("One").into());
        let signed = Signed { record: project("One"), by: kim() };
        let text = serde_json::to_string(&signed).unwrap();
        assert_eq!(serde_json::from_str::<Signed<ProjectRecord>>(&text).unwrap(), signed);
        assert_eq!(serde_json::from_str::<ProjectRecord>(&text).unwrap(), project("One"), "as an earlier version reads it");
    }
}
