//! Spend: why cost went up or down between two periods of equal length, told from daily roll-ups.
//!
//! What always holds: the parts of a change add up to it exactly. They are whole nano-units; what a division leaves over, and
//! what cannot be told apart because a number is missing or beyond counting, is in [`Cause::PriceAndMix`].
//!
//! Deliberately absent: floats, sums over buckets, and guesses at causes that the roll-ups do not carry.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::money::Money;

/// How many models are listed for a bucket.
const LISTED: usize = 5;

/// What one model over one route cost one bucket, such as in a day. Amounts are in nano-units.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// The model's public name.
    pub model: String,
    /// Over which route.
    pub route: String,
    /// Which balance paid.
    pub bucket: String,
    /// How many requests.
    pub requests: u64,
    /// Tokens of the input side.
    pub input_tokens: u64,
    /// Tokens of the output side.
    pub output_tokens: u64,
    /// What they cost.
    pub charge: i64,
    /// The part of it that the input side cost; what is above the charge does not count.
    pub input_charge: i64,
    /// The part of it for requests that a backup answered.
    pub fallback_charge: i64,
    /// The part of it for requests that were tried again.
    pub retry_charge: i64,
}

/// A cause of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Cause {
    /// Models, or routes of them, that were not used before.
    NewModels,
    /// Models, or routes of them, that are no longer used.
    GoneModels,
    /// More or fewer requests, at what one cost before.
    Requests,
    /// More or fewer input tokens in a request, at what one costs now.
    ContextGrowth,
    /// More or fewer output tokens in a request, at what one costs now.
    LongerOutput,
    /// The rest: other prices, and another mix of classes of tokens.
    PriceAndMix,
}

/// A change by cause: amounts that add up to it, in nano-units; in JSON decimals, one for each cause.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts(BTreeMap<Cause, i128>);

/// An amount in both periods, in nano-units; in JSON decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Compared"))]
pub struct BeforeAndAfter {
    /// In the period before.
    #[serde(serialize_with = "decimal")]
    #[cfg_attr(test, schemars(with = "Money"))]
    pub before: i128,
    /// In this one.
    #[serde(serialize_with = "decimal")]
    #[cfg_attr(test, schemars(with = "Money"))]
    pub now: i128,
    /// The difference.
    #[serde(serialize_with = "decimal")]
    #[cfg_attr(test, schemars(with = "Money"))]
    pub change: i128,
}

/// What one model over one route has to do with the change. Amounts are in nano-units; in JSON decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CostGroup"))]
pub struct Group {
    /// The model's public name.
    pub model: String,
    /// Over which route.
    pub route: String,
    /// What it cost; its fields stand beside the others.
    #[serde(flatten)]
    pub cost: BeforeAndAfter,
    /// What the difference is made of.
    pub parts: Parts,
}

/// How the cost on one bucket changed, and why. Amounts are in nano-units; in JSON decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CostChange"))]
pub struct Explained {
    /// The bucket.
    pub bucket: String,
    /// Of its amounts; none of a bucket that the catalogue no longer has.
    pub currency: Option<String>,
    /// What was spent; its fields stand beside the others.
    #[serde(flatten)]
    pub cost: BeforeAndAfter,
    /// What the difference is made of.
    pub parts: Parts,
    /// The charges of requests that a backup answered; they cut across the parts.
    pub fallback: BeforeAndAfter,
    /// The charges of requests that were tried again; they cut across the parts.
    pub retries: BeforeAndAfter,
    /// The models with the largest changes.
    pub groups: Vec<Group>,
    /// The largest part in one English sentence.
    pub sentence: String,
}

/// Explains the change of every bucket, ordered by name. Lines of one model, route and bucket are summed.
pub fn explain(before: &[Line], now: &[Line], currency: impl Fn(&str) -> Option<String>) -> Vec<Explained> {
    let mut buckets: BTreeMap<&str, (Periods, Groups)> = BTreeMap::new();
    for (line, is_now) in before.iter().map(|line| (line, false)).chain(now.iter().map(|line| (line, true))) {
        let (total, groups) = buckets.entry(&line.bucket).or_default();
        for periods in [total, groups.entry((&line.model, &line.route)).or_default()] {
            if is_now { &mut periods.now } else { &mut periods.before }.add(line);
        }
    }
    buckets.into_iter().map(|(bucket, (total, groups))| explain_bucket((bucket, currency(bucket)), &total, &groups)).collect()
}

fn explain_bucket((bucket, currency): (&str, Option<String>), total: &Periods, by_name: &Groups) -> Explained {
    let cost = total.compared(|sum| sum.charge);
    let (fallback, retries) = (total.compared(|sum| sum.fallback_charge), total.compared(|sum| sum.retry_charge));
    let mut parts = Parts::default();
    let mut groups = Vec::new();
    for ((model, route), periods) in by_name {
        let (model, route) = ((*model).to_owned(), (*route).to_owned());
        let group = Group { model, route, cost: periods.compared(|sum| sum.charge), parts: periods.parts() };
        group.parts.0.iter().for_each(|(cause, amount)| *parts.0.entry(*cause).or_default() += amount);
        groups.push(group);
    }
    groups.sort_by_key(|group| Reverse(group.cost.change.abs()));
    groups.truncate(LISTED);
    let largest = largest(cost, &parts, by_name);
    let aside = [aside("a backup answered", cost, fallback), aside("was tried again", cost, retries)].concat();
    let sentence = format!("Cost on `{bucket}` {largest}{aside}.");
    Explained { bucket: bucket.to_owned(), currency, cost, parts, fallback, retries, groups, sentence }
}

/// Lines of one period, summed. An `i128` holds more sums of 64 bits than there can be lines.
#[derive(Default)]
struct Sum {
    requests: i128,
    input_tokens: i128,
    output_tokens: i128,
    charge: i128,
    input_charge: i128,
    fallback_charge: i128,
    retry_charge: i128,
}

impl Sum {
    fn add(&mut self, line: &Line) {
        self.requests += i128::from(line.requests);
        self.input_tokens += i128::from(line.input_tokens);
        self.output_tokens += i128::from(line.output_tokens);
        self.charge += i128::from(line.charge);
        self.input_charge += i128::from(line.input_charge.clamp(0, line.charge.max(0)));
        self.fallback_charge += i128::from(line.fallback_charge);
        self.retry_charge += i128::from(line.retry_charge);
    }
}

/// The same lines in both periods.
#[derive(Default)]
struct Periods {
    before: Sum,
    now: Sum,
}

/// By model and route.
type Groups<'a> = BTreeMap<(&'a str, &'a str), Periods>;

impl Periods {
    fn compared(&self, amount: fn(&Sum) -> i128) -> BeforeAndAfter {
        let (before, now) = (amount(&self.before), amount(&self.now));
        BeforeAndAfter { before, now, change: now - before }
    }

    fn parts(&self) -> Parts {
        let Self { before, now } = self;
        let change = now.charge - before.charge;
        let only = |cause| Parts(BTreeMap::from([(cause, change)]));
        // A charge alone, such as that of a correction, does not mean that a model was used.
        match (before.requests, now.requests) {
            (0, 0) => return only(Cause::PriceAndMix),
            (0, _) => return only(Cause::NewModels),
            (_, 0) => return only(Cause::GoneModels),
            _ => {}
        }
        let requests = scaled(&[before.charge, now.requests - before.requests], &[before.requests]).unwrap_or(0);
        // What a side costs, less what it would if as many requests had carried as many tokens each as before.
        let growth = |charge: i128, was: i128, is: i128| {
            scaled(&[charge, now.requests, was], &[before.requests, is]).map_or(0, |expected| charge - expected)
        };
        let context = growth(now.input_charge, before.input_tokens, now.input_tokens);
        let output = growth(now.charge - now.input_charge, before.output_tokens, now.output_tokens);
        Parts(BTreeMap::from([
            (Cause::Requests, requests),
            (Cause::ContextGrowth, context),
            (Cause::LongerOutput, output),
            (Cause::PriceAndMix, change - requests - context - output),
        ]))
    }
}

impl Parts {
    /// The part of a cause.
    pub fn of(&self, cause: Cause) -> i128 {
        self.0.get(&cause).copied().unwrap_or(0)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Parts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CostParts".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let amount = generator.subschema_for::<Money>();
        let causes = Cause::json_schema(generator);
        let causes = causes.get("oneOf").and_then(serde_json::Value::as_array).into_iter().flatten();
        let told = causes.filter_map(|cause| {
            let mut amount = amount.clone();
            amount.insert("description".to_owned(), cause.get("description")?.clone());
            Some((cause.get("const")?.as_str()?.to_owned(), serde_json::Value::from(amount)))
        });
        let fields: serde_json::Map<_, _> = told.collect();
        let names: Vec<&String> = fields.keys().collect();
        schemars::json_schema!({"type": "object", "description": "They add up to the change.", "required": names, "properties": fields})
    }
}

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Cause::ALL.map(|cause| (cause, money(self.of(cause)))))
    }
}

/// The product of `factors` by that of `divisors`, towards zero; none if that is undefined or beyond any amount of money.
fn scaled(factors: &[i128], divisors: &[i128]) -> Option<i128> {
    let product = |numbers: &[i128]| numbers.iter().try_fold(1_i128, |product, number| product.checked_mul(*number));
    product(factors)?.checked_div(product(divisors)?).filter(|result| i64::try_from(*result).is_ok())
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 6] =
        [Self::NewModels, Self::GoneModels, Self::Requests, Self::ContextGrowth, Self::LongerOutput, Self::PriceAndMix];

    /// In words, with the model that has most of it.
    fn told(self, is_rise: bool, name: &str, periods: &Periods) -> String {
        let Periods { before, now } = periods;
        let [more, context, output, price] = if is_rise {
            ["more", "context growth", "longer output", "more"]
        } else {
            ["fewer", "shorter contexts", "shorter output", "less"]
        };
        // How many times as many tokens in a request; in words where two digits after the point do not show it.
        let times = |was: i128, is: i128| match scaled(&[100, is, before.requests], &[was, now.requests]) {
            Some(0 | 100) | None => more.to_owned(),
            Some(hundredths) => format!("{} times as many", money(hundredths * 10_000_000)),
        };
        let input_tokens = times(before.input_tokens, now.input_tokens);
        let output_tokens = times(before.output_tokens, now.output_tokens);
        match self {
            Self::NewModels => format!("new models: {name} was not used before"),
            Self::GoneModels => format!("models that are gone: {name} is no longer used"),
            Self::Requests => format!("{more} requests: {name} got {} instead of {}", now.requests, before.requests),
            Self::ContextGrowth => format!("{context}: requests to {name} carried {input_tokens} input tokens"),
            Self::LongerOutput => format!("{output}: answers of {name} had {output_tokens} output tokens"),
            Self::PriceAndMix => format!("prices or the mix of tokens: a token of {name} cost {price} on average"),
        }
    }
}

/// What became of the cost, and the largest part of that.
fn largest(cost: BeforeAndAfter, parts: &Parts, by_name: &Groups) -> String {
    let BeforeAndAfter { before, now, change } = cost;
    if change == 0 {
        return format!("did not change: it is {}", money(now));
    }
    let size = |parts: &Parts, cause: Cause| parts.of(cause) * change.signum();
    let cause = Cause::ALL.into_iter().min_by_key(|cause| Reverse(size(parts, *cause))).unwrap_or(Cause::PriceAndMix);
    let group = by_name.iter().max_by_key(|(_, periods)| size(&periods.parts(), cause));
    let told = group.map(|((model, route), periods)| cause.told(change > 0, &format!("`{model}` over `{route}`"), periods));
    let most = if size(parts, cause) * 2 >= change.abs() { "most" } else { "the largest part" };
    let direction = if change > 0 { "up" } else { "down" };
    let (before, now, by) = (money(before), money(now), money(change.abs()));
    format!("went {direction} by {by} (from {before} to {now}), {most} of it because of {}", told.unwrap_or_default())
}

/// Adds what cuts across the parts where it changed as the whole did, and by at least half as much.
fn aside(which: &str, cost: BeforeAndAfter, side: BeforeAndAfter) -> String {
    let by = side.change;
    if by == 0 || by.signum() != cost.change.signum() || by.abs() * 2 < cost.change.abs() {
        return String::new();
    }
    format!("; what {which} cost {} {} than before", money(by.abs()), if by > 0 { "more" } else { "less" })
}

/// As an amount of money, the largest one for what is beyond.
fn money(nanos: i128) -> Money {
    let largest = if nanos < 0 { Money::MAX.negated() } else { Money::MAX };
    i64::try_from(nanos).ok().and_then(|nanos| Money::from_nanos(nanos).ok()).unwrap_or(largest)
}

fn decimal<S: Serializer>(nanos: &i128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&money(*nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNIT: i64 = 1_000_000_000;

    /// A line on `credit` in which an input token costs `rates.0` units and an output token `rates.1`.
    fn line(model: &str, requests: u64, tokens: (u64, u64), rates: (i64, i64)) -> Line {
        let cost = |tokens: u64, rate: i64| i64::try_from(tokens).unwrap() * rate * UNIT;
        Line {
            model: model.to_owned(),
            route: "official".to_owned(),
            bucket: "credit".to_owned(),
            requests,
            input_tokens: tokens.0,
            output_tokens: tokens.1,
            charge: cost(tokens.0, rates.0) + cost(tokens.1, rates.1),
            input_charge: cost(tokens.0, rates.0),
            ..Line::default()
        }
    }

    fn units(units: i64) -> i128 {
        i128::from(units * UNIT)
    }

    fn only(before: &[Line], now: &[Line]) -> Explained {
        let mut all = explain(before, now, |_| None);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn sum(parts: &Parts) -> i128 {
        parts.0.values().sum()
    }

    /// The parts in units, in the order of their JSON.
    fn in_units(it: &Explained) -> [i128; 6] {
        Cause::ALL.map(|cause| {
            assert_eq!(it.parts.of(cause) % units(1), 0);
            it.parts.of(cause) / units(1)
        })
    }

    #[test]
    fn growing_contexts_are_named() {
        // 10 requests with 100 tokens each at 1, then with 240 each: 1400 more. Output stays at 50 tokens at 2.
        let it = only(&[line("m", 10, (1000, 50), (1, 2))], &[line("m", 10, (2400, 50), (1, 2))]);
        assert_eq!(in_units(&it), [0, 0, 0, 1400, 0, 0]);
        assert_eq!(
            it.sentence,
            "Cost on `credit` went up by 1400 (from 1100 to 2500), most of it because of context growth: requests to `m` over \
             `official` carried 2.4 times as many input tokens."
        );
    }

    #[test]
    fn longer_and_shorter_output_are_named() {
        let (short, long) = (line("m", 10, (1000, 50), (1, 2)), line("m", 20, (2000, 150), (1, 2)));
        // Twice the requests at 110: 1100. Then 150 tokens instead of 100 at 2: 100.
        let it = only(std::slice::from_ref(&short), std::slice::from_ref(&long));
        assert_eq!(in_units(&it), [0, 0, 1100, 0, 100, 0]);
        // Back: half of the requests at 115: -1150. Then 50 tokens instead of 75 at 2: -50.
        let it = only(&[long], &[short]);
        assert_eq!(in_units(&it), [0, 0, -1150, 0, -50, 0]);
        let it = only(&[line("m", 3, (3, 90), (1, 1))], &[line("m", 3, (3, 30), (1, 1))]);
        assert_eq!(
            it.sentence,
            "Cost on `credit` went down by 60 (from 93 to 33), most of it because of shorter output: answers of `m` over \
             `official` had 0.33 times as many output tokens."
        );
    }

    #[test]
    fn more_requests_are_named() {
        let it = only(&[line("m", 10, (1000, 50), (1, 2))], &[line("m", 30, (3000, 150), (1, 2))]);
        assert_eq!(in_units(&it), [0, 0, 2200, 0, 0, 0]);
        assert_eq!(
            it.sentence,
            "Cost on `credit` went up by 2200 (from 1100 to 3300), most of it because of more requests: `m` over `official` got \
             30 instead of 10."
        );
    }

    #[test]
    fn a_dearer_price_is_named() {
        let it = only(&[line("m", 10, (1000, 50), (1, 2))], &[line("m", 10, (1000, 50), (2, 3))]);
        assert_eq!(in_units(&it), [0, 0, 0, 0, 0, 1050]);
        assert_eq!(
            it.sentence,
            "Cost on `credit` went up by 1050 (from 1100 to 2150), most of it because of prices or the mix of tokens: a token of \
             `m` over `official` cost more on average."
        );
    }

    #[test]
    fn new_and_gone_models_are_named() {
        let (old, new) = (line("old", 1, (3, 0), (1, 0)), line("new", 1, (5, 0), (1, 0)));
        let it = only(std::slice::from_ref(&old), &[old.clone(), new.clone()]);
        assert_eq!(in_units(&it), [5, 0, 0, 0, 0, 0]);
        assert_eq!(
            it.sentence,
            "Cost on `credit` went up by 5 (from 3 to 8), most of it because of new models: `new` over `official` was not used \
             before."
        );
        let it = only(&[old.clone(), new.clone()], std::slice::from_ref(&old));
        assert_eq!(in_units(&it), [0, -5, 0, 0, 0, 0]);
        assert!(it.sentence.ends_with("because of models that are gone: `new` over `official` is no longer used."));
        assert_eq!(in_units(&only(&[new], &[old])), [3, -5, 0, 0, 0, 0]);
    }

    #[test]
    fn a_fallback_to_a_dearer_route_is_seen_beside_the_parts() {
        // 4 of 10 requests of one token move from a route at 1 to one at 3, because a backup answers them.
        let routed = |requests| Line { route: "routed".to_owned(), ..line("m", requests, (requests, 0), (1, 0)) };
        let official = |requests, fallback: i64| Line {
            fallback_charge: fallback * UNIT,
            retry_charge: UNIT,
            ..line("m", requests, (requests, 0), (3, 0))
        };
        let it = only(&[routed(10), official(1, 0)], &[routed(6), official(5, 12)]);
        assert_eq!((it.cost.before, it.cost.now, it.cost.change), (units(13), units(21), units(8)));
        assert_eq!(in_units(&it), [0, 0, -4 + 12, 0, 0, 0]);
        assert_eq!(it.fallback, BeforeAndAfter { before: 0, now: units(12), change: units(12) });
        assert_eq!(it.retries, BeforeAndAfter { before: units(1), now: units(1), change: 0 });
        assert_eq!(
            it.groups.iter().map(|group| (group.route.as_str(), group.cost.change)).collect::<Vec<_>>(),
            [("official", units(12)), ("routed", units(-4))]
        );
        assert_eq!(
            it.sentence,
            "Cost on `credit` went up by 8 (from 13 to 21), most of it because of more requests: `m` over `official` got 5 instead \
             of 1; what a backup answered cost 12 more than before."
        );
    }

    #[test]
    fn days_are_summed_and_buckets_are_not() {
        let day = line("m", 1, (2, 0), (1, 0));
        let wallet = Line { bucket: "wallet".to_owned(), ..day.clone() };
        let all = explain(&[day.clone(), wallet.clone(), day.clone()], &[wallet, day], |_| None);
        assert_eq!(all.iter().map(|it| it.bucket.as_str()).collect::<Vec<_>>(), ["credit", "wallet"]);
        assert_eq!((all[0].cost.before, all[0].cost.now), (units(4), units(2)));
        assert_eq!(all[1].sentence, "Cost on `wallet` did not change: it is 2.");
        assert_eq!(explain(&[], &[], |_| None), []);
    }

    #[test]
    fn a_part_that_is_not_most_of_the_change_is_not_called_so() {
        // 1 request more at 3; 1 more token in and out at 2 in each of 4 requests; 1 more for each of 4 tokens of input.
        let it = only(&[line("m", 3, (3, 3), (1, 2))], &[line("m", 4, (8, 8), (2, 2))]);
        assert_eq!(in_units(&it), [0, 0, 3, 8, 8, 4]);
        assert!(it.sentence.contains("(from 9 to 32), the largest part of it because of context growth"), "{}", it.sentence);
    }

    #[test]
    fn a_charge_without_requests_is_not_a_use() {
        let correction = Line { charge: UNIT, ..line("m", 0, (0, 0), (0, 0)) };
        let used = line("m", 1, (3, 0), (1, 0));
        let parts = |before: &Line, now: &Line| in_units(&only(std::slice::from_ref(before), std::slice::from_ref(now)));
        assert_eq!(parts(&used, &correction), [0, -2, 0, 0, 0, 0]);
        assert_eq!(parts(&correction, &used), [2, 0, 0, 0, 0, 0]);
        assert_eq!(parts(&correction, &Line { charge: 3 * UNIT, ..correction.clone() }), [0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn what_a_division_leaves_over_is_not_lost() {
        // A third more requests of 10 nano-units are 3, not 3.33.
        let nanos = |requests, charge| Line { charge, ..line("m", requests, (0, 0), (0, 0)) };
        let it = only(&[nanos(3, 10)], &[nanos(4, 13)]);
        assert_eq!((it.parts.of(Cause::Requests), it.parts.of(Cause::PriceAndMix)), (3, 0));
        let it = only(&[nanos(3, 10)], &[nanos(4, 14)]);
        assert_eq!((it.parts.of(Cause::Requests), it.parts.of(Cause::PriceAndMix)), (3, 1));
    }

    #[test]
    fn the_five_largest_changes_are_listed() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let lines: Vec<Line> = names.iter().zip(1..).map(|(name, tokens)| line(name, 1, (tokens, 0), (1, 0))).collect();
        let it = only(&[], &lines);
        assert_eq!(it.groups.iter().map(|group| group.model.as_str()).collect::<Vec<_>>(), ["f", "e", "d", "c", "b"]);
    }

    #[test]
    fn amounts_are_decimals_in_json() {
        let it = only(&[], &[Line { charge: i64::MAX, input_charge: i64::MAX, ..line("m", 1, (1, 0), (1, 0)) }]);
        let json = serde_json::to_value(&it).unwrap();
        assert_eq!(json["change"], "9007199.254740991");
        assert_eq!(json["groups"][0]["parts"]["new_models"], "9007199.254740991");
        let names: Vec<&String> = json["parts"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["new_models", "gone_models", "requests", "context_growth", "longer_output", "price_and_mix"]);
        assert_eq!(json["parts"]["requests"], "0");
        assert_eq!(json["fallback"], serde_json::json!({"before": "0", "now": "0", "change": "0"}));
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..4u64, 0..1_000_000u64, any::<u64>(), Just(u64::MAX)]
    }

    fn amount() -> impl Strategy<Value = i64> {
        prop_oneof![0..1_000_000_000_000i64, -4..4i64, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
    }

    fn lines() -> impl Strategy<Value = Vec<Line>> {
        let names = (0..3u8, 0..2u8, 0..2u8);
        let line = (names, number(), number(), number(), proptest::array::uniform4(amount())).prop_map(
            |((model, route, bucket), requests, input_tokens, output_tokens, amounts)| Line {
                model: model.to_string(),
                route: route.to_string(),
                bucket: bucket.to_string(),
                requests,
                input_tokens,
                output_tokens,
                charge: amounts[0],
                input_charge: amounts[1],
                fallback_charge: amounts[2],
                retry_charge: amounts[3],
            },
        );
        proptest::collection::vec(line, 0..12)
    }

    proptest! {
        #[test]
        fn the_parts_add_up_to_the_change(before in lines(), now in lines()) {
            for it in explain(&before, &now, |_| None) {
                let spent = |lines: &[Line]| -> i128 {
                    lines.iter().filter(|line| line.bucket == it.bucket).map(|line| i128::from(line.charge)).sum()
                };
                prop_assert_eq!((it.cost.before, it.cost.now), (spent(&before), spent(&now)));
                prop_assert_eq!(it.cost.change, it.cost.now - it.cost.before);
                prop_assert_eq!(sum(&it.parts), it.cost.change);
                for group in &it.groups {
                    prop_assert_eq!(sum(&group.parts), group.cost.change);
                    prop_assert_eq!(group.cost.change, group.cost.now - group.cost.before);
                }
                prop_assert!(it.sentence.ends_with('.'));
                prop_assert!(serde_json::to_string(&it).is_ok());
            }
        }
    }
}
