//! One change, how those of one subject are collected, and what two tables have in common.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::id::ModelName;

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A model, route, channel or bucket that was not there.
    Added,
    /// One that is not there any more.
    Removed,
    /// What something costs.
    Price,
    /// Who serves a route.
    Candidates,
    /// Sizes, and time-outs.
    Limits,
    /// Which balance pays, and what a balance is.
    Bucket,
    /// How a channel is called.
    Channel,
    /// The other names of a model.
    Aliases,
    /// What is charged when something goes wrong.
    ChargePolicy,
    /// Names and kinds.
    #[serde(other)]
    Other,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CatalogChange"))]
pub struct Change {
    /// The model that it is about; none where it is about a channel, a bucket or the whole.
    pub model: Option<ModelName>,
    /// What it is about.
    pub kind: ChangeKind,
    /// The sentence.
    pub text: String,
    /// The sentence for customers, where they read another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
}

impl Change {
    /// The sentence as customers read it; none where it is not for them.
    pub fn shown(&self) -> Option<&str> {
        let is_private = matches!(self.kind, ChangeKind::Candidates | ChangeKind::Channel) || self.text.contains("; served by ");
        self.public.as_deref().or_else(|| (!is_private).then_some(self.text.as_str()))
    }
}

/// Collects changes of one subject.
pub struct Changes {
    pub subject: String,
    pub model: Option<ModelName>,
    pub found: Vec<Change>,
}

impl Changes {
    pub fn of(subject: String, model: Option<ModelName>) -> Self {
        Self { subject, model, found: Vec::new() }
    }

    /// Notes a change; the subject stands before it.
    pub fn note(&mut self, kind: ChangeKind, text: impl Display) {
        self.say(kind, format!("{}: {text}", self.subject));
    }

    /// Notes a whole sentence.
    pub fn say(&mut self, kind: ChangeKind, text: String) {
        self.found.push(Change { model: self.model.clone(), kind, text, public: None });
    }

    /// Notes a change that customers read in other words; the subject stands before both.
    pub fn note_both(&mut self, kind: ChangeKind, text: impl Display, public: impl Display) {
        self.note(kind, text);
        if let Some(change) = self.found.last_mut() {
            change.public = Some(format!("{}: {public}", self.subject));
        }
    }

    /// Notes a value that became another.
    pub fn value<T: PartialEq>(&mut self, kind: ChangeKind, what: &str, pair: (&T, &T), show: impl Fn(&T) -> String) {
        if pair.0 != pair.1 {
            self.note(kind, format!("{what} {} -> {}", show(pair.0), show(pair.1)));
        }
    }
}

/// The names of both tables, each once, in order.
pub fn names<'a, K: Ord, V>(old: &'a BTreeMap<K, V>, new: &'a BTreeMap<K, V>) -> Vec<&'a K> {
    let mut names: Vec<&K> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What both tables have under each name.
pub fn pairs<'a, K: Ord, V>(old: &'a BTreeMap<K, V>, new: &'a BTreeMap<K, V>) -> Vec<(Option<&'a V>, Option<&'a V>)> {
    names(old, new).into_iter().map(|name| (old.get(name), new.get(name))).collect()
}
