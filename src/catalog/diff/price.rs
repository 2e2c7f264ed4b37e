//! What changed of a price, rate by rate, with percents.
//!
//! What always holds: percents are reckoned in integers, rounded to the nearest whole one, halves away from zero; what rounds to
//! none says so. Rates of different currencies have no percent.

use std::collections::BTreeMap;

use super::change::{ChangeKind, Changes, names};
use crate::money::{Money, Price, Rates, Tier};
use crate::usage::Class;

/// What a rate is quoted for.
const fn unit(class: Class) -> &'static str {
    match class {
        Class::Images => "image",
        Class::Seconds => "second",
        Class::Searches => "search",
        Class::Characters => "million characters",
        _ => "million tokens",
    }
}

/// A price as a whole, such as `input 4.5, output 36 CNY per million tokens`.
pub fn whole(price: &Price, currency: &str) -> String {
    let mut parts = vec![rates(&price.rates, currency)];
    parts.extend(price.tiers.iter().map(|tier| format!("{}{}", above(tier.above), rates(&tier.rates, currency))));
    parts.join("; ")
}

/// What differs above a size.
fn above(size: u64) -> String {
    format!("above {size} input tokens, ")
}

fn rates(rates: &Rates, currency: &str) -> String {
    let mut by_unit: Vec<(&str, Vec<String>)> = Vec::new();
    for class in Class::ALL {
        let Some(rate) = rates.of(class) else { continue };
        let text = format!("{} {rate}", class.name());
        match by_unit.iter_mut().find(|(known, _)| *known == unit(class)) {
            Some((_, texts)) => texts.push(text),
            None => by_unit.push((unit(class), vec![text])),
        }
    }
    let parts = by_unit.iter().map(|(unit, texts)| format!("{} {currency} per {unit}", texts.join(", ")));
    parts.collect::<Vec<_>>().join(", ")
}

/// What changed of a price.
pub fn prices(changes: &mut Changes, (old, new): (&Price, &Price), currencies: (&str, &str)) {
    let Price { rates: base, tiers } = new;
    for class in Class::ALL {
        rate(changes, ("", class), [(old.rates, old.rates), (*base, *base)], currencies);
    }
    let by_size = |tiers: &[Tier]| tiers.iter().map(|tier| (tier.above, tier.rates)).collect::<BTreeMap<u64, Rates>>();
    let (before, after) = (by_size(&old.tiers), by_size(tiers));
    for size in names(&before, &after) {
        let prefix = above(*size);
        match (before.get(size), after.get(size)) {
            (Some(own), Some(new_own)) => {
                let first = size.saturating_add(1);
                for class in Class::ALL {
                    let rates = [(*own, old.rates_at(first)), (*new_own, new.rates_at(first))];
                    rate(changes, (&prefix, class), rates, currencies);
                }
            }
            (None, Some(new)) => changes.note(ChangeKind::Price, format!("{prefix}now {}", self::rates(new, currencies.1))),
            (Some(_), None) => changes.note(ChangeKind::Price, format!("{prefix}no other rates any more")),
            (None, None) => {}
        }
    }
}

/// What changed of the rate of one class: of the rates that are written down, each with those that are charged.
fn rate(changes: &mut Changes, (prefix, class): (&str, Class), rates: [(Rates, Rates); 2], (from, to): (&str, &str)) {
    let [(before, after), (charged_before, charged_after)] = {
        let [(old_own, old), (new_own, new)] = rates;
        [(old_own.of(class), new_own.of(class)), (old.effective(class), new.effective(class))]
    };
    if before == after && (from == to || after.is_none()) {
        return;
    }
    let decimals = [charged_before, charged_after].into_iter().flatten().map(decimals).max().unwrap_or(0);
    let show = |own: Option<Money>, charged: Option<Money>| match (own, charged) {
        (None, None) => "no rate".to_owned(),
        (None, Some(rate)) => format!("{} (no rate of its own)", padded(rate, decimals)),
        (Some(rate), _) => padded(rate, decimals),
    };
    let (unit, name) = (unit(class), class.name());
    let (old, new) = (show(before, charged_before), show(after, charged_after));
    if from != to {
        changes.note(ChangeKind::Price, format!("{prefix}{name} {old} {from} -> {new} {to} per {unit}"));
        return;
    }
    let percent = if let (Some(old), Some(new)) = (charged_before, charged_after) { percent(old, new) } else { None };
    let percent = percent.map(|text| format!(" ({text})")).unwrap_or_default();
    changes.note(ChangeKind::Price, format!("{prefix}{name} {old} -> {new} {to} per {unit}{percent}"));
}

/// How many digits an amount has after its point.
fn decimals(amount: Money) -> usize {
    amount.to_string().split_once('.').map_or(0, |(_, fraction)| fraction.len())
}

/// An amount with at least so many digits after the point, so that two of them can be compared by eye.
fn padded(amount: Money, decimals: usize) -> String {
    let text = amount.to_string();
    if decimals == 0 {
        return text;
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}.{fraction:0<decimals$}")
}

/// By how much a rate changed, such as `-12 %`. None if it did not, or was nothing before.
pub fn percent(old: Money, new: Money) -> Option<String> {
    let (old, new) = (i128::from(old.nanos()), i128::from(new.nanos()));
    let change = new.checked_sub(old).filter(|change| *change != 0)?;
    let sign = if change < 0 { '-' } else { '+' };
    // Half of the divisor before the division rounds to the nearest.
    let doubled = change.checked_abs()?.checked_mul(200)?.checked_add(old)?;
    let percent = doubled.checked_div(old.checked_mul(2)?)?;
    Some(if percent == 0 { format!("less than {sign}1 %") } else { format!("{sign}{percent} %") })
}
