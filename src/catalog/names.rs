//! What people call models: names in another case, with a provider's name before them or a date behind them.
//!
//! What always holds: the exact name and the alias win, before anything here is asked; two models that fold alike are found by
//! neither; what is longer than any name is not looked at.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::model::Model;
use crate::id::ModelName;

/// No name of a model is longer, with its provider and its route.
const LONGEST: usize = 256;

/// Who stands before a slash in the names that other gateways, SDKs and clouds have for the same models.
const PROVIDERS: [&str; 32] = [
    "ai21",
    "alibaba",
    "amazon",
    "anthropic",
    "azure",
    "bedrock",
    "cohere",
    "deepseek",
    "fireworks_ai",
    "gemini",
    "google",
    "groq",
    "meta",
    "meta-llama",
    "microsoft",
    "minimax",
    "mistral",
    "mistralai",
    "models",
    "moonshot",
    "moonshotai",
    "nvidia",
    "openai",
    "openrouter",
    "perplexity",
    "qwen",
    "tokens-forge",
    "vertex_ai",
    "x-ai",
    "xai",
    "z-ai",
    "zai",
];

/// Who is meant by a folded name; none if it could be two.
type Meant = BTreeMap<String, Option<ModelName>>;

/// The names of a catalogue, folded once when it is checked.
#[derive(Debug, Default)]
pub struct Folded {
    /// In lower case.
    lower: Meant,
    /// In lower case and without a provider.
    bare: Meant,
}

impl Folded {
    /// Folds every name and alias.
    pub fn of(models: &BTreeMap<ModelName, Rc<Model>>) -> Self {
        let mut folded = Self::default();
        for model in models.values() {
            for name in model.aliases.iter().chain([&model.id]) {
                let lower = name.as_str().to_ascii_lowercase();
                note(&mut folded.bare, bare(&lower), &model.id);
                note(&mut folded.lower, &lower, &model.id);
            }
        }
        folded
    }

    /// Who is meant by a name that is nobody's exact one. A date, or `latest`, may stand behind it where `is_upstream` says that
    /// it is what the model is called by who serves it.
    pub fn find(&self, asked: &str, is_upstream: impl Fn(&ModelName, &str) -> bool) -> Option<&ModelName> {
        let lower = folded(asked)?;
        if let Some(found) = self.undated(&lower) {
            return Some(found);
        }
        let dated = bare(&lower);
        self.undated(without_date(&lower)?).filter(|model| is_upstream(model, dated))
    }

    /// The model that a name would be of without its date.
    pub fn without_date(&self, asked: &str) -> Option<&ModelName> {
        self.undated(without_date(&folded(asked)?)?)
    }

    fn undated(&self, lower: &str) -> Option<&ModelName> {
        // What is two in lower case is not looked for any further.
        self.lower.get(lower).or_else(|| self.bare.get(bare(lower)))?.as_ref()
    }
}

fn note(meant: &mut Meant, name: &str, model: &ModelName) {
    match meant.get_mut(name) {
        Some(known) if known.as_ref() == Some(model) => {}
        Some(known) => *known = None,
        None => {
            meant.insert(name.to_owned(), Some(model.clone()));
        }
    }
}

/// A name in lower case without white space around it; none if it is longer than any.
fn folded(asked: &str) -> Option<String> {
    let asked = asked.trim();
    (1..=LONGEST).contains(&asked.len()).then(|| asked.to_ascii_lowercase())
}

/// Whether a name is short enough to be looked at.
pub fn is_short(asked: &str) -> bool {
    asked.len() <= LONGEST
}

/// A name in lower case without the providers before it: some have two, such as `openrouter/openai/`.
fn bare(lower: &str) -> &str {
    let mut name = lower;
    while let Some((_, rest)) = name.split_once('/').filter(|(who, rest)| !rest.is_empty() && PROVIDERS.contains(who)) {
        name = rest;
    }
    name
}

/// A name without the date or the `latest` behind it; none if it has none.
fn without_date(lower: &str) -> Option<&str> {
    if let Some(name) = lower.strip_suffix("-latest") {
        return Some(name).filter(|name| !name.is_empty());
    }
    [(10, "dddd-dd-dd"), (8, "dddddddd")].into_iter().find_map(|(length, form)| {
        let (name, date) = lower.split_at_checked(lower.len().checked_sub(length)?)?;
        let fits =
            date.bytes().zip(form.bytes()).all(|(byte, form)| if form == b'd' { byte.is_ascii_digit() } else { byte == form });
        name.strip_suffix(['-', '@']).filter(|name| fits && !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Catalog, UpstreamHosts};
    use serde_json::{Value, json};

    fn catalog(models: &[(&str, &[&str], &str)]) -> Catalog {
        let model = |aliases: &[&str], upstream: &str| {
            json!({"name": "M", "family": "m", "kind": "chat", "context_length": 1000, "max_output_tokens": 100, "aliases": aliases,
                "routes": {"official": {"bucket": "credit", "price": {"input": "1", "output": "1"},
                    "candidates": [{"channel": "c", "upstream_model": upstream}]}}})
        };
        let models: Value = models.iter().map(|(id, aliases, upstream)| ((*id).to_owned(), model(aliases, upstream))).collect();
        let document = json!({"version": 1, "buckets": {"credit": {"label": "C", "currency": "USD"}},
            "channels": {"c": {"dialect": "openai", "base_url": "https://api.openai.com/v1", "secrets": ["S"],
                "shows_upstream_models": true}}, "models": models});
        Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
    }

    #[test]
    fn a_name_in_another_spelling_is_the_model_that_it_can_only_be() {
        let catalog = catalog(&[
            ("gpt-5.5", &["gpt-5.5-chat"], "gpt-5.5-2026-04-01"),
            ("Qwen3-Max", &[], "qwen3-max-20260401"),
            ("meta-llama/llama-4", &[], "llama-4-latest"),
            ("claude-x", &[], "CLAUDE-X@20260401"),
            // Two that differ by their case alone, and two by their provider.
            ("twin", &[], "a"),
            ("TWIN", &[], "b"),
            ("azure/pair", &[], "c"),
            ("openai/pair", &[], "d"),
        ]);
        for (asked, found) in [
            ("gpt-5.5", Some("gpt-5.5")),
            ("GPT-5.5", Some("gpt-5.5")),
            (" gpt-5.5\n", Some("gpt-5.5")),
            ("openai/gpt-5.5", Some("gpt-5.5")),
            ("OpenAI/GPT-5.5-Chat", Some("gpt-5.5")),
            ("openrouter/openai/gpt-5.5", Some("gpt-5.5")),
            ("models/gpt-5.5", Some("gpt-5.5")),
            ("qwen/qwen3-max", Some("Qwen3-Max")),
            ("Llama-4", Some("meta-llama/llama-4")),
            // Dates: only that of a candidate.
            ("gpt-5.5-2026-04-01", Some("gpt-5.5")),
            ("openai/GPT-5.5-2026-04-01", Some("gpt-5.5")),
            ("qwen3-max-20260401", Some("Qwen3-Max")),
            ("meta-llama/llama-4-latest", Some("meta-llama/llama-4")),
            ("claude-x@20260401", Some("claude-x")),
            ("gpt-5.5-2026-04-02", None),
            ("gpt-5.5-20260401", None),
            ("gpt-5.5-latest", None),
            ("gpt-5.5-chat-2026-04-01", None),
            // Neither of two.
            ("twin", Some("twin")),
            ("TWIN", Some("TWIN")),
            ("Twin", None),
            ("openai/twin", None),
            ("azure/pair", Some("azure/pair")),
            ("Azure/Pair", Some("azure/pair")),
            ("pair", None),
            ("google/pair", None),
            // Not anybody is a provider.
            ("acme/gpt-5.5", None),
            ("openai/", None),
            ("/gpt-5.5", None),
            ("", None),
            (" ", None),
            ("-latest", None),
            ("gpt-6", None),
        ] {
            assert_eq!(catalog.model(asked).map(|model| model.id.as_str()), found, "{asked:?}");
        }
        assert!(catalog.model(&format!("{}gpt-5.5", "openai/".repeat(35))).is_some());
        assert!(catalog.model(&format!("{}gpt-5.5", "openai/".repeat(100_000))).is_none());
    }

    #[test]
    fn a_wrong_date_is_hinted_first() {
        let catalog = catalog(&[("gpt-5.5", &[], "gpt-5.5"), ("gpt-5.5-2026-04-01-mini", &[], "mini")]);
        assert_eq!(catalog.near_names("openai/gpt-5.5-2026-04-01").first().map(String::as_str), Some("gpt-5.5"));
        assert!(catalog.near_names(&"gpt-5.5".repeat(100)).is_empty());
    }
}
