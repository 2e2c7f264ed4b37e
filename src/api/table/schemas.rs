//! The schemas of the document.
#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value};

/// Every schema by its name.
pub fn schemas() -> Map<String, Value> {
    let said: Map<String, Value> = serde_json::from_str(include_str!("schemas.json")).unwrap();
    said
}
