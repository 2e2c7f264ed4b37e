//! How much a catalogue may have of what is gone through for each request or page. Only what is published anew is held to it: one
//! that runs goes on. `docs/reference/limits.md` has the same numbers; a test compares them.

use super::fault::Fault;
use super::version::Catalog;

/// Balances.
pub const MOST_BUCKETS: usize = 32;
/// Channels.
pub const MOST_CHANNELS: usize = 1_000;
/// Models.
pub const MOST_MODELS: usize = 5_000;
/// Further names of one model.
pub const MOST_ALIASES: usize = 32;
/// Names and labels for people, in bytes.
pub const LONGEST_NAME: usize = 200;

impl Catalog {
    /// What a catalogue that is published anew has too much of.
    pub fn unfit_sizes(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut check = |path: String, count: usize, most: usize, of: &str| {
            if count > most {
                faults.push(Fault { path, message: format!("has {count} {of}; there may be at most {most}") });
            }
        };
        check("buckets".to_owned(), self.buckets.len(), MOST_BUCKETS, "buckets");
        check("channels".to_owned(), self.channels.len(), MOST_CHANNELS, "channels");
        check("models".to_owned(), self.models.len(), MOST_MODELS, "models");
        for (id, bucket) in &self.buckets {
            check(format!("buckets.{id}.label"), bucket.label.len(), LONGEST_NAME, "bytes");
        }
        for model in self.models.values() {
            check(format!("models.{}.aliases", model.id), model.aliases.len(), MOST_ALIASES, "names");
            for (name, text) in [("name", &model.name), ("family", &model.family)] {
                check(format!("models.{}.{name}", model.id), text.len(), LONGEST_NAME, "bytes");
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::UpstreamHosts;
    use serde_json::json;

    #[test]
    fn what_there_is_too_much_of_is_named() {
        let faults = |aliases: usize, buckets: usize, name: usize| {
            let aliases: Vec<String> = (0..aliases).map(|at| format!("alias-{at}")).collect();
            let buckets: serde_json::Map<_, _> =
                (0..buckets).map(|at| (format!("b{at}"), json!({"label": "B", "currency": "USD"}))).collect();
            let model = json!({"name": "M".repeat(name), "family": "f", "kind": "chat", "context_length": 10, "max_output_tokens": 5,
                "aliases": aliases, "routes": {}});
            let document = json!({"version": 1, "buckets": buckets, "channels": {}, "models": {"m": model}});
            let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
            catalog.unfit_sizes().into_iter().map(|fault| fault.path).collect::<Vec<_>>()
        };
        assert!(faults(MOST_ALIASES, MOST_BUCKETS, LONGEST_NAME).is_empty());
        assert_eq!(
            faults(MOST_ALIASES + 1, MOST_BUCKETS + 1, LONGEST_NAME + 1),
            ["buckets", "models.m.aliases", "models.m.name"]
        );
    }
}
