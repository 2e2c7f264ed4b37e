//! How long the lists of small requests may be: budgets, models, addresses. `docs/reference/limits.md` has the same numbers; a
//! test compares them.
//!
//! What always holds: a list is refused before anything is made of it, with how long it is and how long it may be; no record has
//! so many budgets that one request announces more than a page of them.

use serde_json::{Map, Value};

use crate::key::MOST_BUDGETS;
use crate::refusal::Refusal;

/// Models that a key names.
pub const MOST_MODELS: usize = 500;
/// Addresses and networks that a key may be used from.
pub const MOST_ADDRESSES: usize = 100;
/// Routes of a key; there are no more.
pub const MOST_ROUTES: usize = 2;
/// In each of these lists, a text has no more bytes.
pub const LONGEST_TEXT: usize = 256;

/// The lists of a policy. That of sites has its bound where it is read.
pub const LISTS: [(&str, usize); 4] =
    [("models", MOST_MODELS), ("ip_allow", MOST_ADDRESSES), ("routes", MOST_ROUTES), ("budgets", MOST_BUDGETS)];

/// Refuses budgets of which there are too many.
pub fn check_budgets(count: usize) -> Result<(), Refusal> {
    check("budgets", count, MOST_BUDGETS)
}

/// Refuses the fields of a policy in which there is too much.
pub fn check_policy(fields: &Map<String, Value>) -> Result<(), Refusal> {
    for (name, most) in LISTS {
        let Some(items) = fields.get(name).and_then(Value::as_array) else { continue };
        check(name, items.len(), most)?;
        if items.iter().filter_map(Value::as_str).any(|text| text.len() > LONGEST_TEXT) {
            return Err(Refusal::invalid(name, format!("A text in `{name}` may have at most {LONGEST_TEXT} bytes.")));
        }
    }
    Ok(())
}

fn check(name: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count <= most {
        return Ok(());
    }
    let refusal = Refusal::invalid(name, format!("`{name}` has {count} entries; it may have at most {most}."));
    Err(refusal.fact("count", count).fact("limit", most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_may_be_as_long_as_is_said_and_no_longer() {
        for (name, most) in LISTS {
            let of = |count: usize| Map::from_iter([(name.to_owned(), json!(vec!["x"; count]))]);
            assert!(check_policy(&of(most)).is_ok(), "{name}");
            let refusal = check_policy(&of(most + 1)).unwrap_err();
            assert_eq!((refusal.param.as_deref(), &refusal.facts["count"]), (Some(name), &json!(most + 1)));
        }
        let long = Map::from_iter([("models".to_owned(), json!(["x".repeat(LONGEST_TEXT + 1)]))]);
        assert!(check_policy(&long).is_err());
        assert!(check_policy(&Map::from_iter([("models".to_owned(), json!("*"))])).is_ok(), "what is no list is for its reader");
    }
}
