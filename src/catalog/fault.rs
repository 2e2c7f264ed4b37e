//! What is wrong in a catalogue, collected with its place while it is checked.

use std::fmt;

use serde::Serialize;

use super::hosts::UpstreamHosts;
use super::raw::{Entries, Field, Optional, Unknown};
use super::secrets;
use crate::money::Money;

/// Something wrong in a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where, such as `models.gpt-5.5.routes.official.price.input`.
    pub path: String,
    /// What.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Collects faults; every `Option` below is none exactly when a fault was noted.
pub struct Checker {
    pub(super) faults: Vec<Fault>,
    pub(super) hosts: UpstreamHosts,
}

impl Checker {
    pub(super) fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        // Wherever a key was pasted, it is not repeated.
        self.faults.push(Fault { path: secrets::masked(&path.into()), message: secrets::masked(&message.into()) });
    }

    pub(super) fn no_unknown(&mut self, path: &str, unknown: Unknown) {
        for name in unknown.into_keys() {
            self.fault(join(path, &name), "is not a field of the catalogue");
        }
    }

    pub(super) fn optional<T>(&mut self, path: &str, name: &str, field: Optional<T>) -> Option<T> {
        match field? {
            Field::Read(value) => Some(value),
            Field::Wrong(reason) => {
                self.fault(join(path, name), reason);
                None
            }
        }
    }

    pub(super) fn required<T>(&mut self, path: &str, name: &str, field: Optional<T>) -> Option<T> {
        if field.is_none() {
            self.fault(join(path, name), "is required");
        }
        self.optional(path, name, field)
    }

    /// Every entry of a table with its path, those of the wrong type noted and left out.
    pub(super) fn entries<T>(&mut self, name: &str, table: Option<Entries<T>>) -> Vec<(String, String, T)> {
        let mut entries = Vec::new();
        for (key, field) in table.unwrap_or_default() {
            let path = join(name, &key);
            match field {
                Field::Read(value) => entries.push((key, path, value)),
                Field::Wrong(reason) => self.fault(path, reason),
            }
        }
        entries
    }

    pub(super) fn amount(&mut self, path: &str, text: &str) -> Option<Money> {
        let amount = Money::parse(text).ok().filter(|amount| !amount.is_negative());
        if amount.is_none() {
            self.fault(path, "must be a decimal amount in a string, not below zero, such as \"0.05\"");
        }
        amount
    }
}

/// The path of a member.
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
