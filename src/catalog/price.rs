//! The check of prices: each rate, what a kind of model must have a rate for, and what cannot stand beside each other.

use super::ModelKind;
use super::check::{Checker, join};
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
fn given(rates: &raw::Rates) -> Vec<Class> {
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

    fn rates(&mut self, path: &str, raw: raw::Rates) -> Rates {
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
