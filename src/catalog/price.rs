//! The check of prices: each rate, what a kind of model must have a rate for, and what cannot stand beside each other.

use super::fault::{Checker, join};
use super::model::ModelKind;
use super::raw::{self, Field};
use crate::money::{Money, Price, Rates, Tier};
use crate::usage::{Class, Side};

/// More sizes with rates of their own than this are a typing error.
const MAX_TIERS: usize = 16;

/// Sets of classes of which one must have all its rates.
const fn required(kind: ModelKind) -> &'static [&'static [Class]] {
    match kind {
        ModelKind::Chat => &[&[Class::Input, Class::Output]],
        ModelKind::Embedding | ModelKind::Moderation => &[&[Class::Input]],
        ModelKind::Image => &[&[Class::Images], &[Class::Input, Class::ImageOutput]],
        ModelKind::Speech => &[&[Class::Characters]],
        ModelKind::Transcription => &[&[Class::Seconds], &[Class::AudioInput, Class::Output]],
        ModelKind::Rerank => &[&[Class::Searches], &[Class::Input]],
    }
}

/// The only kind of model that a count says something of.
const fn only_kind(class: Class) -> Option<ModelKind> {
    match class {
        Class::Images => Some(ModelKind::Image),
        Class::Seconds => Some(ModelKind::Transcription),
        Class::Characters => Some(ModelKind::Speech),
        _ => None,
    }
}

/// The classes that have a rate, be it right or wrong.
fn given(rates: &raw::RawRates) -> Vec<Class> {
    rates.iter().filter(|(_, rate)| rate.is_some()).filter_map(|(name, _)| Class::named(name)).collect()
}

impl Checker {
    /// Reads a price of a model of this kind. Where a fault was noted, what is answered says nothing.
    pub(super) fn price(&mut self, path: &str, raw: raw::Price, kind: Option<ModelKind>) -> Price {
        let given = given(&raw.rates);
        let rates = self.rates(path, raw.rates);
        if let Some(kind) = kind {
            self.fits(path, &given, kind);
        }
        let is_count = |class: &&Class| only_kind(**class).is_some();
        if let Some(count) = given.iter().find(is_count) {
            for class in
                given.iter().filter(|class| class.side() != Side::Count || is_count(class)).filter(|class| *class != count)
            {
                let message = format!("cannot stand beside `{}`: the same thing would be charged twice", count.name());
                self.fault(join(path, class.name()), message);
            }
        }
        let tiers = self.optional(path, "tiers", raw.tiers).unwrap_or_default();
        if !tiers.is_empty() && !given.iter().any(|class| class.side() != Side::Count) {
            self.fault(join(path, "tiers"), "are for prices of tokens only");
        }
        Price { rates, tiers: self.tiers(&join(path, "tiers"), tiers) }
    }

    fn rates(&mut self, path: &str, raw: raw::RawRates) -> Rates {
        let mut rates = Rates::default();
        for (name, field) in raw {
            let path = join(path, &name);
            let Some(class) = Class::named(&name) else {
                self.fault(path, "is not a field of the catalogue");
                continue;
            };
            match field {
                Some(Field::Read(text)) => match Money::parse(&text) {
                    Ok(rate) if !rate.is_negative() => rates.set(class, Some(rate)),
                    Ok(_) => self.fault(path, "must not be negative"),
                    Err(error) => self.fault(path, error.to_string()),
                },
                Some(Field::Wrong(reason)) => self.fault(path, reason),
                None => {}
            }
        }
        rates
    }

    /// Whether what is given is what a model of this kind is charged by.
    fn fits(&mut self, path: &str, given: &[Class], kind: ModelKind) {
        let required = required(kind);
        let has_all = |classes: &&[Class]| classes.iter().all(|class| given.contains(class));
        match required {
            [only] => {
                for class in only.iter().filter(|class| !given.contains(class)) {
                    self.fault(join(path, class.name()), "is required");
                }
            }
            several if !several.iter().any(has_all) => {
                let quoted = |classes: &&[Class]| {
                    classes.iter().map(|class| format!("`{}`", class.name())).collect::<Vec<_>>().join(" and ")
                };
                let ways = several.iter().map(quoted).collect::<Vec<_>>().join(", or ");
                self.fault(path, format!("must have {ways}: that is what {} models are charged by", kind.as_str()));
            }
            _ => {}
        }
        for class in given {
            if let Some(only) = only_kind(*class).filter(|only| *only != kind) {
                self.fault(join(path, class.name()), format!("is for {} models only", only.as_str()));
            }
        }
    }

    fn tiers(&mut self, path: &str, raw: Vec<Field<raw::Tier>>) -> Vec<Tier> {
        if raw.len() > MAX_TIERS {
            self.fault(path, format!("must be at most {MAX_TIERS}"));
        }
        let mut tiers: Vec<Tier> = Vec::new();
        for (i, field) in raw.into_iter().enumerate() {
            let path = format!("{path}[{i}]");
            let raw = match field {
                Field::Read(raw) => raw,
                Field::Wrong(reason) => {
                    self.fault(path, reason);
                    continue;
                }
            };
            let above = self.required(&path, "above", raw.above);
            let given = given(&raw.rates);
            if given.is_empty() {
                self.fault(&path, "must have a rate that differs");
            }
            // Only tokens make a request larger.
            for class in given.into_iter().filter(|class| class.side() == Side::Count) {
                self.fault(join(&path, class.name()), "has no tiers");
            }
            let rates = self.rates(&path, raw.rates);
            let Some(above) = above else { continue };
            if tiers.last().is_some_and(|last| last.above >= above) {
                self.fault(join(&path, "above"), "must be larger than that of the tier before it");
            }
            tiers.push(Tier { above, rates });
        }
        tiers
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::{Catalog, UpstreamHosts};
    use serde_json::{Value, json};

    fn document(kind: &str, dialect: &str, price: &Value) -> Value {
        json!({
            "version": 1,
            "buckets": {"credit": {"label": "C", "currency": "USD"}},
            "channels": {"c": {"dialect": dialect, "base_url": "https://a.example.com/v1", "secrets": ["K"]}},
            "models": {"m": {"name": "M", "family": "f", "kind": kind, "context_length": 1000, "max_output_tokens": 100,
                "routes": {"official": {"bucket": "credit", "price": price, "candidates": [{"channel": "c", "upstream_model": "m"}]}}}},
        })
    }

    fn faults(kind: &str, dialect: &str, price: &Value) -> Vec<String> {
        let parsed = Catalog::parse(&document(kind, dialect, price).to_string(), UpstreamHosts::Public);
        let start = "models.m.routes.official.";
        parsed.err().unwrap_or_default().iter().map(|fault| fault.to_string().trim_start_matches(start).to_owned()).collect()
    }

    #[test]
    fn every_kind_is_charged_by_what_it_uses() {
        for (kind, price) in [
            ("chat", json!({"input": "1", "output": "2", "audio_input": "3", "searches": "0.01", "reasoning": null})),
            ("embedding", json!({"input": "0.02"})),
            ("moderation", json!({"input": "0"})),
            ("image", json!({"images": "0.04"})),
            ("image", json!({"input": "5", "cached_input": "1", "image_output": "40"})),
            ("speech", json!({"characters": "15"})),
            ("transcription", json!({"seconds": "0.0001"})),
            ("transcription", json!({"input": "2", "audio_input": "6", "output": "10"})),
            ("rerank", json!({"searches": "0.002"})),
            ("rerank", json!({"input": "0.05"})),
        ] {
            assert_eq!(faults(kind, "openai", &price), Vec::<String>::new(), "{kind} {price}");
        }
        assert_eq!(faults("chat", "openai", &Value::Null), Vec::<String>::new(), "what has no price is not sold");
    }

    #[test]
    fn a_price_that_says_too_little_or_two_things_is_refused_where_it_does() {
        for (kind, price, expected) in [
            ("chat", json!({}), vec!["price.input:", "price.output:"]),
            ("chat", json!({"input": "1"}), vec!["price.output:"]),
            ("chat", json!({"input": null, "output": "1"}), vec!["price.input:"]),
            (
                "chat",
                json!({"input": "1", "output": "2", "images": "3"}),
                vec!["price.images: is for", "price.input: cannot", "price.output: cannot"],
            ),
            ("embedding", json!({"output": "1"}), vec!["price.input:"]),
            ("image", json!({"input": "5", "output": "40"}), vec!["price: must have `images`, or `input` and `image_output`"]),
            ("image", json!({"images": "0.04", "input": "5"}), vec!["price.input: cannot stand beside `images`"]),
            ("speech", json!({"input": "1", "output": "2"}), vec!["price.characters:"]),
            (
                "transcription",
                json!({"seconds": "1", "characters": "1"}),
                vec!["price.characters: is for", "price.seconds: cannot"],
            ),
            ("transcription", json!({"output": "1"}), vec!["price: must have `seconds`"]),
            ("rerank", json!({"output": "1"}), vec!["price: must have `searches`"]),
            ("rerank", json!({"searches": 0.002}), vec!["price.searches: invalid type"]),
            ("embedding", json!({"input": "1", "cache_write1h": "1"}), vec!["price.cache_write1h: is not a field"]),
            ("embedding", json!({"input": "-1"}), vec!["price.input: must not be negative"]),
            ("embedding", json!([]), vec!["price: "]),
        ] {
            let found = faults(kind, "openai", &price);
            let mut all = found.clone();
            all.sort();
            assert_eq!(all.len(), expected.len(), "{kind} {price}: {found:?}");
            assert!(all.iter().zip(&expected).all(|(fault, start)| fault.starts_with(start)), "{kind} {price}: {found:?}");
        }
    }

    #[test]
    fn tiers_rise_and_have_rates_of_tokens() {
        let with = |tiers: Value| json!({"input": "1", "output": "2", "tiers": tiers});
        assert!(faults("chat", "openai", &with(json!([{"above": 0, "input": "2"}, {"above": 9, "output": "3"}]))).is_empty());
        for (tiers, expected) in [
            (json!([{"input": "2"}]), "price.tiers[0].above: is required"),
            (json!([{"above": 9}]), "price.tiers[0]: must have a rate"),
            (json!([{"above": 9, "input": "2"}, {"above": 9, "input": "3"}]), "price.tiers[1].above: must be larger"),
            (json!([{"above": 9, "input": "2", "searches": "1"}]), "price.tiers[0].searches: has no tiers"),
            (json!([{"above": 9, "input": "2", "below": "1"}]), "price.tiers[0].below: is not a field"),
            (json!([{"above": 9, "input": 2}]), "price.tiers[0].input: invalid type"),
            (json!([7]), "price.tiers[0]: invalid type"),
            (json!({"above": 9}), "price.tiers: invalid type"),
        ] {
            let found = faults("chat", "openai", &with(tiers));
            assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}: {found:?}");
        }
        let by_image = json!({"images": "1", "tiers": [{"above": 9, "input": "2"}]});
        assert_eq!(faults("image", "openai", &by_image), ["price.tiers: are for prices of tokens only"]);
    }

    #[test]
    fn a_candidate_speaks_a_dialect_that_knows_the_kind() {
        let (chat, embedding, rerank) = (json!({"input": "1", "output": "2"}), json!({"input": "1"}), json!({"searches": "1"}));
        for (dialect, kind, price, can) in [
            ("anthropic", "chat", &chat, true),
            ("gemini", "chat", &chat, true),
            ("cohere", "chat", &chat, false),
            ("cohere", "rerank", &rerank, true),
            ("openai", "rerank", &rerank, true),
            ("anthropic", "embedding", &embedding, false),
            ("gemini", "embedding", &embedding, false),
        ] {
            let found = faults(kind, dialect, price);
            assert_eq!(found.is_empty(), can, "{dialect} {kind}: {found:?}");
            assert!(can || found[0].starts_with("candidates[0].channel: speaks"), "{found:?}");
        }
    }

    #[test]
    fn what_says_nothing_of_a_kind_may_be_left_out() {
        for (kind, price, expected) in [
            ("moderation", json!({"input": "0"}), (32_768, 0)),
            ("image", json!({"images": "1"}), (65_536, 16_384)),
            ("speech", json!({"characters": "1"}), (4_096, 0)),
            ("transcription", json!({"seconds": "1"}), (131_072, 16_384)),
            ("rerank", json!({"searches": "1"}), (1_000_000, 0)),
        ] {
            let mut document = document(kind, "openai", &price);
            for field in ["context_length", "max_output_tokens"] {
                document["models"]["m"].as_object_mut().unwrap().remove(field);
            }
            let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
            let model = catalog.model("m").unwrap();
            assert_eq!((model.context_length, model.max_output_tokens), expected, "{kind}");
        }
        let mut document = document("embedding", "openai", &json!({"input": "1"}));
        document["models"]["m"].as_object_mut().unwrap().remove("max_output_tokens");
        assert_eq!(
            Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap().model("m").unwrap().max_output_tokens,
            0
        );
        document["models"]["m"].as_object_mut().unwrap().remove("context_length");
        assert_eq!(Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap_err()[0].path, "models.m.context_length");
    }
}
