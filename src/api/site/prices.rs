//! Prices as people read them: rows by class and tier, and how two routes compare.

use std::collections::BTreeMap;

use crate::catalog::{Bucket, ModelKind};
use crate::id::BucketId;
use crate::money::{Price, Rates};
use crate::pages::view::PriceRow;
use crate::usage::Class;

/// What a class is called.
const fn label(class: Class) -> &'static str {
    match class {
        Class::Input => "Input",
        Class::CachedInput => "Cached input",
        Class::CacheWrite => "Cache write",
        Class::CacheWrite1h => "Cache write, 1 hour",
        Class::AudioInput => "Audio input",
        Class::ImageInput => "Image input",
        Class::Output => "Output",
        Class::Reasoning => "Reasoning",
        Class::AudioOutput => "Audio output",
        Class::ImageOutput => "Image output",
        Class::Images => "Images",
        Class::Seconds => "Audio",
        Class::Characters => "Characters",
        Class::Searches => "Searches",
    }
}

/// What its rate is for.
const fn unit(class: Class) -> &'static str {
    match class {
        Class::Images => "per image",
        Class::Seconds => "per second",
        Class::Searches => "per search",
        Class::Characters => "per 1M characters",
        _ => "per 1M tokens",
    }
}

/// The classes that tell most of a price: what is charged instead of tokens, or else input and output.
fn headline(price: &Price, kind: ModelKind) -> Vec<Class> {
    if let Some(basis) = price.basis() {
        return vec![basis];
    }
    if kind == ModelKind::Rerank && price.rates.searches.is_some() {
        return vec![Class::Searches];
    }
    [Class::Input, Class::AudioInput, Class::Output, Class::ImageOutput]
        .into_iter()
        .filter(|class| price.rates.of(*class).is_some())
        .take(2)
        .collect()
}

/// A price as rows, the most important first.
pub fn rows(price: &Price, kind: ModelKind) -> Vec<PriceRow> {
    let first = headline(price, kind);
    let rest = Class::ALL.into_iter().filter(|class| !first.contains(class));
    let classes: Vec<Class> = first.iter().copied().chain(rest).collect();
    let row = |class: Class, rates: &Rates, tier: Option<u64>| {
        rates.of(class).map(|amount| PriceRow {
            class: label(class).to_owned(),
            amount: amount.to_string(),
            unit: unit(class).to_owned(),
            tier: tier.map(|above| format!("above {above} input tokens")),
            is_headline: tier.is_none() && first.contains(&class),
        })
    };
    let base = classes.iter().filter_map(|class| row(*class, &price.rates, None));
    let tiers = price.tiers.iter().flat_map(|tier| classes.iter().filter_map(|class| row(*class, &tier.rates, Some(tier.above))));
    base.chain(tiers).collect()
}

/// How many percent cheaper one price is than another, rounded towards zero; below zero if it is dearer. None where their
/// currencies cannot be compared, or they count different things.
pub fn saving(
    buckets: &BTreeMap<BucketId, Bucket>,
    (official, paid_by): (&Price, &BucketId),
    (other, other_paid_by): (&Price, &BucketId),
    kind: ModelKind,
) -> Option<i32> {
    let classes = headline(official, kind);
    if classes != headline(other, kind) || classes.is_empty() {
        return None;
    }
    let (from, to) = (buckets.get(paid_by)?, buckets.get(other_paid_by)?);
    let sum = |price: &Price| {
        let rates = classes.iter().filter_map(|class| price.rates.of(*class));
        rates.map(|rate| i128::from(rate.nanos())).sum::<i128>()
    };
    let (official, other) = match from.currency == to.currency {
        true => (sum(official), sum(other)),
        false => (
            sum(official).checked_mul(i128::from(from.worth()?.nanos()))?,
            sum(other).checked_mul(i128::from(to.worth()?.nanos()))?,
        ),
    };
    let saved = official.checked_sub(other)?.checked_mul(100)?.checked_div(official)?;
    i32::try_from(saved).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Money;
    use serde_json::{Value, json};

    fn price(value: Value) -> Price {
        serde_json::from_value(value).unwrap()
    }

    fn buckets() -> BTreeMap<BucketId, Bucket> {
        let bucket = |currency: &str, usd: Option<&str>| Bucket {
            label: currency.to_owned(),
            currency: currency.to_owned(),
            usd: usd.map(|text| Money::parse(text).unwrap()),
            top_up_url: None,
        };
        [("credit", bucket("USD", None)), ("wallet", bucket("CNY", Some("0.14"))), ("euro", bucket("EUR", None))]
            .map(|(id, bucket)| (BucketId::parse(id).unwrap(), bucket))
            .into()
    }

    #[test]
    fn a_saving_is_told_where_prices_can_be_compared() {
        let id = |text: &str| BucketId::parse(text).unwrap();
        let official = price(json!({"input": "1", "output": "10"}));
        for (other, bucket, expected) in [
            (json!({"input": "0.5", "output": "5"}), "credit", Some(50)),
            (json!({"input": "1", "output": "10"}), "credit", Some(0)),
            (json!({"input": "2", "output": "20"}), "credit", Some(-100)),
            (json!({"input": "4.5", "output": "36"}), "wallet", Some(48)),
            (json!({"input": "0.5", "output": "5"}), "euro", None),
            (json!({"images": "1"}), "credit", None),
        ] {
            let told = saving(&buckets(), (&official, &id("credit")), (&price(other.clone()), &id(bucket)), ModelKind::Chat);
            assert_eq!(told, expected, "{other} {bucket}");
        }
    }

    #[test]
    fn rows_tell_the_most_important_first_and_every_tier() {
        let tiered =
            price(json!({"output": "12", "input": "2", "cached_input": "0.5", "tiers": [{"above": 200_000, "input": "4"}]}));
        let told: Vec<(String, String, bool)> =
            rows(&tiered, ModelKind::Chat).into_iter().map(|row| (row.class, row.amount, row.is_headline)).collect();
        let row = |class: &str, amount: &str, is_headline| (class.to_owned(), amount.to_owned(), is_headline);
        assert_eq!(
            told,
            [row("Input", "2", true), row("Output", "12", true), row("Cached input", "0.5", false), row("Input", "4", false)]
        );
        let image = rows(&price(json!({"images": "0.04"})), ModelKind::Image);
        assert_eq!((image[0].unit.as_str(), image.len()), ("per image", 1));
    }
}
