//! Money: an exact, signed amount in nano-units, and the prices that turn usage into it.
//!
//! What always holds: an amount is an integer of 1e-9 of a bucket's currency with `|x| <= 2^53 - 1`, so that SQLite, D1
//! and JavaScript all carry it exactly; every operation is checked; [`cost`] is the only function that turns usage into
//! money, and it rounds once, upwards, at the end.
//!
//! Deliberately absent: floats, currency conversion, and any default price.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::as_conversions)]

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::usage::{Class, Classes, Most, Side, Usage, every_class};

/// Nano-units in one unit of currency.
const NANOS_PER_UNIT: i64 = 1_000_000_000;
/// Prices of tokens and characters are quoted per this many.
const PER_MILLION: u128 = 1_000_000;
/// The largest amount: what JavaScript still counts exactly.
const MAX_NANOS: i64 = 9_007_199_254_740_991;
/// Digits after the decimal point that a nano-unit can carry.
const DECIMALS: usize = 9;

/// An amount in nano-units of some currency; which one, the bucket says. In JSON it is a decimal, such as `-0.25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("pattern" = r"^-?[0-9]+(\.[0-9]{1,9})?$")))]
#[serde(try_from = "String", into = "String")]
pub struct Money(i64);

/// Why an amount could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoneyError {
    /// The text is not a plain decimal such as `12`, `-0.5` or `3.141592653`.
    NotADecimal,
    /// More than nine digits after the point.
    TooPrecise,
    /// Beyond what is counted exactly, about 9 million units.
    OutOfRange,
}

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotADecimal => "must be a decimal string such as \"10.00\"",
            Self::TooPrecise => "has more than nine digits after the decimal point",
            Self::OutOfRange => "is out of range: at most 9007199.254740991",
        })
    }
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(MAX_NANOS);

    /// An amount of `nanos` nano-units.
    pub fn from_nanos(nanos: i64) -> Result<Self, MoneyError> {
        if (-MAX_NANOS..=MAX_NANOS).contains(&nanos) { Ok(Self(nanos)) } else { Err(MoneyError::OutOfRange) }
    }

    /// The amount in nano-units.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Reads a plain decimal: an optional sign, digits, and up to nine digits after a point.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return Err(MoneyError::NotADecimal);
        }
        if fraction.len() > DECIMALS {
            return Err(MoneyError::TooPrecise);
        }
        let whole: i64 = whole.parse().map_err(|_| MoneyError::OutOfRange)?;
        let fraction: i64 = format!("{fraction:0<DECIMALS$}").parse().map_err(|_| MoneyError::NotADecimal)?;
        let magnitude = whole.checked_mul(NANOS_PER_UNIT).and_then(|nanos| nanos.checked_add(fraction));
        let signed = magnitude.and_then(|nanos| if negative { nanos.checked_neg() } else { Some(nanos) });
        Self::from_nanos(signed.ok_or(MoneyError::OutOfRange)?)
    }

    /// `self + other`, or none when out of range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(|nanos| Self::from_nanos(nanos).ok())
    }

    /// `self - other`, or none when out of range.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(|nanos| Self::from_nanos(nanos).ok())
    }

    /// `-self`; the range is symmetric, so this cannot fail.
    pub fn negated(self) -> Self {
        Self(self.0.saturating_neg())
    }

    /// Whether this is above nothing.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// Whether this is below nothing.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let unit = NANOS_PER_UNIT.unsigned_abs();
        let whole = magnitude.checked_div(unit).unwrap_or(0);
        let fraction = magnitude.checked_rem(unit).unwrap_or(0);
        let sign = if self.0 < 0 { "-" } else { "" };
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:09}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl TryFrom<String> for Money {
    type Error = MoneyError;
    fn try_from(text: String) -> Result<Self, MoneyError> {
        Self::parse(&text)
    }
}

impl From<Money> for String {
    fn from(money: Money) -> Self {
        money.to_string()
    }
}

/// What one of a class is, in millionths of what its rate is quoted for: a million tokens or characters, one image, second
/// or search.
const fn millionths(class: Class) -> u128 {
    match class {
        Class::Images | Class::Seconds | Class::Searches => PER_MILLION,
        _ => 1,
    }
}

macro_rules! rates {
    ($(#[doc = $doc:literal] $(#[serde($serde:meta)])? $field:ident => $class:ident,)+) => {
        /// What each class costs, in the bucket's currency, never negative: per million tokens or characters, per one image,
        /// second or search.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(default)]
        pub struct Rates {
            $(#[doc = $doc] #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<Money>,)+
        }

        impl Rates {
            /// The rate of one class, if it has its own.
            pub const fn of(&self, class: Class) -> Option<Money> {
                match class { $(Class::$class => self.$field,)+ }
            }

            /// Gives a class its rate.
            pub const fn set(&mut self, class: Class, rate: Option<Money>) {
                match class { $(Class::$class => self.$field = rate,)+ }
            }

            /// These, and where one is missing, that of `base`.
            fn over(&self, base: &Self) -> Self {
                Self { $($field: self.$field.or(base.$field),)+ }
            }
        }
    };
}

every_class!(rates);

impl Rates {
    /// The rate that a class is charged at: its own, or that of the class that it falls back to. `cached_input`,
    /// `cache_write` and `image_input` fall back to `input`, `cache_write_1h` to `cache_write`, `reasoning` to `output`:
    /// providers without prices for these bill them as such. The others have no fallback.
    pub fn effective(&self, class: Class) -> Option<Money> {
        let fallback = match class {
            Class::CachedInput | Class::ImageInput | Class::CacheWrite => self.input,
            Class::CacheWrite1h => self.cache_write.or(self.input),
            Class::Reasoning => self.output,
            _ => None,
        };
        self.of(class).or(fallback)
    }

    /// The most that a token of a side can cost that is of none of these classes.
    fn dearest(&self, side: Side, without: Classes) -> Option<Money> {
        let of_side = Class::ALL.into_iter().filter(|class| class.side() == side && !without.has(*class));
        of_side.filter_map(|class| self.effective(class)).max()
    }

    /// Whether no class has a rate.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Other rates for requests above a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PriceTier"))]
pub struct Tier {
    /// It applies to the whole of a request with more input tokens, of all classes, than this.
    pub above: u64,
    /// What differs. A class that is not named here costs what it costs below.
    #[serde(flatten)]
    pub rates: Rates,
}

/// What a model costs over a route; in JSON the rates stand beside `tiers`.
///
/// Two things are told apart. A price with a rate for `images`, `seconds` or `characters` charges that count and no tokens; the
/// catalogue refuses token rates beside it, and [`billable`] leaves tokens out that upstream reports. Any other price
/// charges tokens, and leaves these counts out. `searches` are charged beside either.
///
/// A class without a rate falls back as [`Rates::effective`] says. One that has no fallback must not be asked for,
/// see [`Price::covers`]; used nevertheless, it is charged as the dearest of its side, so that it is never free.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(
    test,
    schemars(description = "What a model costs: per million tokens or characters, per one image, second or search.")
)]
pub struct Price {
    /// The rates.
    #[serde(flatten)]
    pub rates: Rates,
    /// Other rates for larger requests. Of those that apply, the highest does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
}

impl Price {
    /// The count that is charged instead of tokens: images, seconds or characters; none where tokens are.
    pub fn basis(&self) -> Option<Class> {
        [Class::Images, Class::Seconds, Class::Characters].into_iter().find(|class| self.rates.of(*class).is_some())
    }

    /// The rates of a request with so many input tokens.
    pub fn rates_at(&self, input_side: u64) -> Rates {
        let applies = self.tiers.iter().filter(|tier| input_side > tier.above).max_by_key(|tier| tier.above);
        applies.map_or(self.rates, |tier| tier.rates.over(&self.rates))
    }

    /// What a class costs in a request with so many input tokens. A class without a rate and a fallback costs what the dearest
    /// of its side does; none where there is none.
    pub fn rate(&self, class: Class, input_side: u64) -> Option<Money> {
        charged(&self.rates_at(input_side), class)
    }

    /// Whether a request may ask for a class: it has a rate, or what it falls back to is what providers bill. A write to the
    /// cache costs more than input, so that who asks for one needs a rate for it; one for an hour, a rate for that.
    pub fn covers(&self, class: Class) -> bool {
        match class {
            // No token is charged, so none needs a rate.
            _ if class.side() != Side::Count && self.basis().is_some() => true,
            Class::CacheWrite | Class::CacheWrite1h => self.rates.of(class).is_some(),
            _ => self.rates.effective(class).is_some(),
        }
    }

    /// Whether nothing is charged at all, as of endpoints that are free. The catalogue has no such price.
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.tiers.is_empty()
    }

    /// Whether a class is charged at this price.
    fn charges(&self, class: Class) -> bool {
        match class {
            Class::Searches => true,
            Class::Images | Class::Seconds | Class::Characters => self.rates.of(class).is_some(),
            _ => self.basis().is_none(),
        }
    }

    /// The largest input of each stretch with the same rates, up to `input`: what is dearest of a stretch is there.
    fn ends(&self, input: u64) -> impl Iterator<Item = u64> {
        self.tiers.iter().map(|tier| tier.above).filter(move |above| *above < input).chain([input])
    }
}

fn charged(rates: &Rates, class: Class) -> Option<Money> {
    rates.effective(class).or_else(|| match class.side() {
        Side::Count => None,
        side => rates.dearest(side, Classes::default()),
    })
}

/// The part of usage that `price` charges: counts or tokens, and searches; never two of them for the same thing.
pub fn billable(price: &Price, usage: &Usage) -> Usage {
    usage.only(|class| price.charges(class))
}

/// What `usage` costs at `price`: summed exactly over the classes that it charges, then rounded up once to a nano-unit.
///
/// Errors with [`MoneyError::OutOfRange`] when the sum is beyond [`Money::MAX`]; never a smaller number instead.
pub fn cost(price: &Price, usage: &Usage) -> Result<Money, MoneyError> {
    let rates = price.rates_at(usage.input_side());
    let mut sum: u128 = 0;
    for (class, count) in billable(price, usage).by_class() {
        sum = add(sum, count, charged(&rates, class), millionths(class))?;
    }
    round_up(sum)
}

/// How many times as much, such as 1.5: above nothing, and at most 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("pattern" = r"^[0-9]+(\.[0-9]{1,9})?$")))]
#[serde(try_from = "String", into = "String")]
pub struct Ratio(Money);

impl TryFrom<String> for Ratio {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let most = Self::MOST.saturating_mul(NANOS_PER_UNIT);
        let ratio = Money::parse(&text).ok().filter(|ratio| ratio.is_positive() && ratio.nanos() <= most);
        ratio.map(Self).ok_or("must be a decimal string above 0 and up to 1000, such as \"1.5\"")
    }
}

impl From<Ratio> for String {
    fn from(ratio: Ratio) -> Self {
        ratio.0.to_string()
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Ratio {
    /// A larger one is a typing error.
    const MOST: i64 = 1_000;

    /// Whether every usage costs at `price` at most so many times what it costs at `first`. Each comes with what a unit of its
    /// currency is worth. What `first` does not charge is not compared; prices that count different things are not within any.
    pub fn covers(self, (price, worth): (&Price, Money), (first, first_worth): (&Price, Money)) -> bool {
        if price.basis() != first.basis() {
            return false;
        }
        let sizes = price.tiers.iter().chain(&first.tiers).map(|tier| tier.above.saturating_add(1)).chain([0]);
        let is_within = |class: Class, size: u64| {
            let Some(most) = first.rate(class, size).filter(|_| first.charges(class)) else { return true };
            let rate = price.rate(class, size).filter(|_| price.charges(class)).unwrap_or_default();
            // Two amounts of 53 bits and a ratio of 20 are within 128: it is taken in thousandths, rounded down.
            let thousandths = self.0.nanos().checked_div(NANOS_PER_UNIT.checked_div(1_000).unwrap_or(1)).unwrap_or(0);
            let side = |factors: [i64; 3]| {
                factors.into_iter().try_fold(1_i128, |product, factor| product.checked_mul(i128::from(factor)))
            };
            match (side([rate.nanos(), worth.nanos(), 1_000]), side([most.nanos(), first_worth.nanos(), thousandths])) {
                (Some(cost), Some(limit)) => cost <= limit,
                _ => false,
            }
        };
        sizes.into_iter().all(|size| Class::ALL.into_iter().all(|class| is_within(class, size)))
    }
}

/// The most that a request can cost that uses no more than `most`.
///
/// What always holds: `worst_cost(p, most) >= cost(p, u)` for every `u` whose sides and counts are within `most`, and that has
/// nothing of the classes that `most` leaves out.
///
pub fn worst_cost(price: &Price, most: &Most) -> Result<Money, MoneyError> {
    let mut worst: u128 = 0;
    for end in price.ends(most.input) {
        let (sum, output_rate) = without_output(price, most, end)?;
        worst = worst.max(add(sum, most.output, output_rate, 1)?);
    }
    round_up(worst)
}

/// How many output tokens `amount` can pay for beside the rest of `most`, at worst; rounds down.
pub fn affordable_output(price: &Price, most: &Most, amount: Money) -> u64 {
    let amount = u128::try_from(amount.nanos()).unwrap_or(0).saturating_mul(PER_MILLION);
    let at = |end: u64| {
        let Ok((sum, output_rate)) = without_output(price, most, end) else { return 0 };
        let Some(left) = amount.checked_sub(sum) else { return 0 };
        let rate = output_rate.and_then(|rate| u128::try_from(rate.nanos()).ok()).unwrap_or(0);
        left.checked_div(rate).map_or(u64::MAX, |tokens| u64::try_from(tokens).unwrap_or(u64::MAX))
    };
    price.ends(most.input).map(at).min().unwrap_or(0)
}

/// What all but the output can cost of a request with `end` input tokens, in millionths of a nano-unit, and what a token
/// of its output can.
fn without_output(price: &Price, most: &Most, end: u64) -> Result<(u128, Option<Money>), MoneyError> {
    let rates = price.rates_at(end);
    let counts = Class::ALL.into_iter().filter(|class| class.side() == Side::Count && price.charges(*class));
    let mut sum: u128 = 0;
    for class in counts {
        sum = add(sum, most.of(class), rates.of(class), millionths(class))?;
    }
    if price.basis().is_some() {
        return Ok((sum, None));
    }
    let dearest = |side| rates.dearest(side, most.unasked);
    Ok((add(sum, end, dearest(Side::Input), 1)?, dearest(Side::Output)))
}

/// Adds what `count` costs, in millionths of a nano-unit; one of them is so many millionths of what the rate is for.
fn add(sum: u128, count: u64, rate: Option<Money>, millionths: u128) -> Result<u128, MoneyError> {
    let rate = u128::try_from(rate.unwrap_or_default().nanos()).map_err(|_| MoneyError::OutOfRange)?;
    let part = u128::from(count).checked_mul(millionths).and_then(|part| part.checked_mul(rate));
    part.and_then(|part| sum.checked_add(part)).ok_or(MoneyError::OutOfRange)
}

fn round_up(scaled: u128) -> Result<Money, MoneyError> {
    let nanos = i64::try_from(scaled.div_ceil(PER_MILLION)).map_err(|_| MoneyError::OutOfRange)?;
    Money::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)] // Of small numbers.

    use super::*;
    use proptest::prelude::*;

    fn price(json: &str) -> Price {
        serde_json::from_str(json).unwrap()
    }

    fn costs(price: &Price, usage: Usage) -> String {
        cost(price, &usage).unwrap().to_string()
    }

    #[test]
    fn decimals_are_read_and_written_exactly() {
        for (text, nanos) in [("0", 0), ("10.00", 10_000_000_000), ("-0.5", -500_000_000), ("0.000000001", 1)] {
            assert_eq!(Money::parse(text).unwrap().nanos(), nanos, "{text}");
        }
        assert_eq!(Money::from_nanos(1_250_000).unwrap().to_string(), "0.00125");
        assert_eq!(Money::from_nanos(-10_000_000_000).unwrap().to_string(), "-10");
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "1e3", "1,5", " 1", "+1", "--1", "0x1", "NaN", "1.2.3", "٣"] {
            assert_eq!(Money::parse(text), Err(MoneyError::NotADecimal), "{text:?}");
        }
        assert_eq!(Money::parse("0.0000000001"), Err(MoneyError::TooPrecise));
        assert_eq!(Money::parse("9007199.254740992"), Err(MoneyError::OutOfRange));
        assert_eq!(Money::parse("99999999999999999999"), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn a_charge_is_rounded_up_once() {
        // 1 token at 0.000001 a million is 1e-12: one nano-unit, not zero, and not one per class.
        let cheap = price(r#"{"input": "0.000001", "output": "0.000001"}"#);
        let usage = Usage { input: 1, output: 1, reasoning: 1, ..Usage::default() };
        assert_eq!(cost(&cheap, &usage).unwrap().nanos(), 1);
        // 1000 in at 1.25 and 500 out at 10 per million: 0.00125 + 0.005.
        let usage = Usage { input: 1000, output: 500, ..Usage::default() };
        assert_eq!(costs(&price(r#"{"input": "1.25", "output": "10"}"#), usage), "0.00625");
    }

    #[test]
    fn a_cost_beyond_range_is_an_error_and_never_smaller() {
        let usage = Usage { input: u64::MAX, images: u64::MAX, ..Usage::default() };
        assert_eq!(cost(&price(r#"{"input": "9000000", "output": "1"}"#), &usage), Err(MoneyError::OutOfRange));
        let by_image = price(r#"{"images": "9000000"}"#);
        assert_eq!(cost(&by_image, &usage), Err(MoneyError::OutOfRange));
        assert_eq!(affordable_output(&by_image, &Most { images: u64::MAX, ..Most::default() }, Money::MAX), 0);
    }

    #[test]
    fn an_audio_class_without_a_price_is_never_free() {
        let usage = Usage { audio_output: 1_000_000, ..Usage::default() };
        assert_eq!(costs(&price(r#"{"input": "1", "output": "2"}"#), usage), "2");
        let usage = Usage { audio_input: 1_000_000, ..Usage::default() };
        assert_eq!(costs(&price(r#"{"input": "1", "cache_write_1h": "3", "output": "2"}"#), usage), "3");
    }

    #[test]
    fn a_stored_price_of_the_first_version_is_read_and_written_as_it_was() {
        let text = r#"{"input":"1.25","cached_input":"0.125","output":"10"}"#;
        let read = price(text);
        assert_eq!(read.rates.cached_input, Some(Money::parse("0.125").unwrap()));
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        let tiered = r#"{"input":"1.25","output":"10","tiers":[{"above":200000,"input":"2.5"}]}"#;
        assert_eq!(serde_json::to_string(&price(tiered)).unwrap(), tiered);
        assert!(price("{}").is_empty() && !price(text).is_empty());
    }

    #[test]
    fn each_class_has_its_rate_or_falls_back() {
        let bare = price(r#"{"input": "1", "output": "2"}"#);
        for (usage, expected) in [
            (Usage { cached_input: 1_000_000, ..Usage::default() }, "1"),
            (Usage { cache_write: 1_000_000, ..Usage::default() }, "1"),
            (Usage { cache_write_1h: 1_000_000, ..Usage::default() }, "1"),
            (Usage { image_input: 1_000_000, ..Usage::default() }, "1"),
            (Usage { reasoning: 1_000_000, ..Usage::default() }, "2"),
            (Usage { image_output: 1_000_000, ..Usage::default() }, "2"),
            (Usage { searches: 3, ..Usage::default() }, "0"),
        ] {
            assert_eq!(costs(&bare, usage), expected, "{usage:?}");
        }
        // 5 minutes at 1.25 times the input, an hour at twice, a read at a tenth: 1.25 + 2 + 0.1.
        let cached =
            price(r#"{"input": "1", "cached_input": "0.1", "cache_write": "1.25", "cache_write_1h": "2", "output": "5"}"#);
        let usage = Usage { cached_input: 1_000_000, cache_write: 1_000_000, cache_write_1h: 1_000_000, ..Usage::default() };
        assert_eq!(costs(&cached, usage), "3.35");
        let mut five_minutes = cached;
        five_minutes.rates.cache_write_1h = None;
        assert_eq!(costs(&five_minutes, Usage { cache_write_1h: 1_000_000, ..Usage::default() }), "1.25");
    }

    #[test]
    fn a_ratio_is_read_and_compares_every_rate() {
        let ratio = |text: &str| Ratio::try_from(text.to_owned());
        for text in ["0", "-1", "1000.1", "two", ""] {
            assert!(ratio(text).is_err(), "{text}");
        }
        let first = price(r#"{"input": "1", "output": "4"}"#);
        let same = |text: &str, other: &str| ratio(text).unwrap().covers((&price(other), Money(1)), (&first, Money(1)));
        assert!(same("1", r#"{"input": "1", "output": "4"}"#));
        assert!(same("2", r#"{"input": "2", "output": "8"}"#));
        assert!(!same("2", r#"{"input": "2", "output": "8.01"}"#), "one rate is enough");
        assert!(!same("2", r#"{"input": "1", "output": "4", "cache_write": "2.5"}"#), "what the first bills as input");
        assert!(!same("2", r#"{"input": "1", "output": "4", "tiers": [{"above": 9, "input": "3"}]}"#), "in a larger request");
        assert!(!same("1000", r#"{"images": "0.01"}"#), "counted otherwise");
        // A unit of the other currency is worth a seventh.
        let yuan = price(r#"{"input": "7", "output": "28"}"#);
        assert!(ratio("1").unwrap().covers((&yuan, Money(1)), (&first, Money(7))));
        assert!(!ratio("0.999").unwrap().covers((&yuan, Money(1)), (&first, Money(7))));
    }

    #[test]
    fn what_a_request_does_not_ask_for_is_not_held() {
        let claude = price(r#"{"input": "3", "cache_write": "3.75", "cache_write_1h": "6", "output": "15"}"#);
        let worst = |unasked: &[Class]| {
            let most = Most { input: 1_000_000, unasked: unasked.iter().copied().collect(), ..Most::default() };
            worst_cost(&claude, &most).unwrap().to_string()
        };
        assert_eq!(worst(&[]), "6");
        assert_eq!(worst(&[Class::CacheWrite1h]), "3.75");
        assert_eq!(worst(&[Class::CacheWrite, Class::CacheWrite1h]), "3");
    }

    #[test]
    fn what_may_be_asked_for_has_a_price() {
        let bare = price(r#"{"input": "1", "output": "2"}"#);
        let covered: Vec<Class> = Class::ALL.into_iter().filter(|class| bare.covers(*class)).collect();
        assert_eq!(covered, [Class::Input, Class::CachedInput, Class::ImageInput, Class::Output, Class::Reasoning]);
        let five_minutes = price(r#"{"input": "1", "cache_write": "1.25", "output": "2", "searches": "0.01"}"#);
        assert!(five_minutes.covers(Class::CacheWrite) && five_minutes.covers(Class::Searches));
        assert!(!five_minutes.covers(Class::CacheWrite1h), "an hour costs more than five minutes");
        let by_image = price(r#"{"images": "0.04"}"#);
        assert!(by_image.covers(Class::Images) && by_image.covers(Class::ImageInput) && !by_image.covers(Class::Seconds));
        // A rate of a tier alone says nothing of smaller requests.
        let in_tier = price(r#"{"input": "1", "output": "2", "tiers": [{"above": 9, "audio_input": "3"}]}"#);
        assert!(!in_tier.covers(Class::AudioInput));
    }

    #[test]
    fn a_tier_is_for_the_whole_of_a_larger_request() {
        let tiered = price(
            r#"{"input": "1.25", "cached_input": "0.125", "output": "10", "tiers": [
                {"above": 200000, "input": "2.5", "output": "15"}, {"above": 400000, "input": "4"}]}"#,
        );
        let costs = |input, cached_input| costs(&tiered, Usage { input, cached_input, output: 1_000, ..Usage::default() });
        // 0.2 x 1.25 + 0.001 x 10.
        assert_eq!(costs(200_000, 0), "0.26");
        // 0.200001 x 2.5 + 0.001 x 15: all of it, and one token more than below.
        assert_eq!(costs(200_001, 0), "0.5150025");
        // Cached tokens count for the size, and cost what they cost below: 0.1 x 2.5 + 0.2 x 0.125 + 0.015.
        assert_eq!(costs(100_000, 200_000), "0.29");
        // The highest that applies does, with the output of the base: 0.5 x 4 + 0.01.
        assert_eq!(costs(500_000, 0), "2.01");
        assert_eq!(tiered.rate(Class::ImageInput, 300_000), Some(Money::parse("2.5").unwrap()));
        assert_eq!(tiered.rate(Class::Searches, 300_000), None);
    }

    #[test]
    fn tokens_and_counts_of_the_same_thing_are_not_both_billed() {
        let usage = Usage {
            input: 1_000_000,
            output: 1_000_000,
            image_output: 1_000_000,
            images: 2,
            seconds: 30,
            searches: 1,
            ..Usage::default()
        };
        assert_eq!(costs(&price(r#"{"images": "0.04"}"#), usage), "0.08");
        assert_eq!(costs(&price(r#"{"seconds": "0.0001"}"#), usage), "0.003");
        assert_eq!(costs(&price(r#"{"characters": "15"}"#), Usage { characters: 1_000, ..usage }), "0.015");
        // By tokens, with a search beside: 1 + 2 + 40 + 0.01.
        let by_token = price(r#"{"input": "1", "output": "2", "image_output": "40", "searches": "0.01"}"#);
        assert_eq!(costs(&by_token, usage), "43.01");
        assert_eq!(billable(&by_token, &usage), Usage { images: 0, seconds: 0, ..usage });
        assert_eq!(costs(&price(r#"{"searches": "0.002"}"#), usage), "0.002");
        assert_eq!(costs(&Price::default(), usage), "0");
    }

    /// Any price, also such as no catalogue has: rates of any classes, and tiers in any order.
    fn any_price() -> impl Strategy<Value = Price> {
        let rates = || {
            let rate = proptest::option::of((0i64..50_000_000_000).prop_map(|nanos| Money::from_nanos(nanos).unwrap()));
            (proptest::collection::vec(rate, 14), 0u8..4).prop_map(|(rates, by_count)| {
                let mut all = Rates::default();
                Class::ALL.into_iter().zip(rates).for_each(|(class, rate)| all.set(class, rate));
                // Most prices are for tokens.
                if by_count > 0 {
                    [Class::Images, Class::Seconds, Class::Characters].into_iter().for_each(|class| all.set(class, None));
                }
                all
            })
        };
        let tier = (0u64..2_000_000, rates()).prop_map(|(above, rates)| Tier { above, rates });
        (rates(), proptest::collection::vec(tier, 0..4)).prop_map(|(rates, tiers)| Price { rates, tiers })
    }

    fn any_usage() -> impl Strategy<Value = Usage> {
        proptest::array::uniform14(prop_oneof![Just(0), 0u64..300_000]).prop_map(|counts| {
            let [
                input,
                cached_input,
                cache_write,
                cache_write_1h,
                audio_input,
                image_input,
                output,
                reasoning,
                audio_output,
                image_output,
                images,
                seconds,
                characters,
                searches,
            ] = counts;
            Usage {
                input,
                cached_input,
                cache_write,
                cache_write_1h,
                audio_input,
                image_input,
                output,
                reasoning,
                audio_output,
                image_output,
                images,
                seconds,
                characters,
                searches,
            }
        })
    }

    fn most_of(usage: &Usage, more: u64) -> Most {
        let Usage { images, seconds, characters, searches, .. } = *usage;
        Most {
            input: usage.input_side().saturating_add(more),
            output: usage.output_side(),
            images,
            seconds,
            characters,
            searches,
            unasked: Classes::default(),
        }
    }

    proptest! {
        #[test]
        fn money_survives_its_text(nanos in -MAX_NANOS..=MAX_NANOS) {
            let money = Money::from_nanos(nanos).unwrap();
            prop_assert_eq!(Money::parse(&money.to_string()), Ok(money));
        }

        #[test]
        fn a_price_survives_its_text(price in any_price()) {
            let text = serde_json::to_string(&price).unwrap();
            prop_assert_eq!(serde_json::from_str::<Price>(&text).unwrap(), price);
        }

        #[test]
        fn the_quote_covers_every_usage_within_it(
            price in any_price(), usage in any_usage(), more in 0u64..2_000_000, unasked in proptest::array::uniform4(any::<bool>()),
        ) {
            // What may be left out has a rate of its own where it has one, and else counts as another.
            let optional = [Class::CacheWrite, Class::CacheWrite1h, Class::AudioInput, Class::ImageOutput];
            let unasked: Classes = optional.into_iter().zip(unasked).filter(|(_, is_unasked)| *is_unasked).map(|(class, _)| class).collect();
            let has_all = unasked == Classes::default();
            let usage = usage.only(|class| has_all || !unasked.has(class) && price.rates.effective(class).is_some());
            let charge = cost(&price, &usage);
            match worst_cost(&price, &Most { unasked, ..most_of(&usage, more) }) {
                Ok(quote) => prop_assert!(quote >= charge.unwrap()),
                Err(error) => prop_assert_eq!(error, MoneyError::OutOfRange),
            }
        }

        #[test]
        fn what_is_within_a_ratio_never_costs_more_than_so_many_times(
            first in any_price(), other in any_price(), usage in any_usage(), thousandths in 1i64..3_000_000, worth in 1i64..20,
        ) {
            let ratio = Ratio(Money(thousandths * 1_000_000));
            let (one, worth) = (Money(1), Money(worth));
            // Usage of what the first does not charge is not compared.
            let usage = usage.only(|class| first.rate(class, 0).is_some() && first.charges(class));
            if ratio.covers((&other, worth), (&first, one))
                && let (Ok(there), Ok(here)) = (cost(&other, &usage), cost(&first, &usage))
            {
                // Both are rounded up to a nano-unit.
                let limit = i128::from(here.nanos()) * i128::from(thousandths);
                prop_assert!(i128::from(there.nanos() - 1) * i128::from(worth.nanos()) * 1_000 <= limit);
            }
        }

        #[test]
        fn what_is_billed_is_one_of_counts_and_tokens(price in any_price(), usage in any_usage()) {
            let billed = billable(&price, &usage);
            match price.basis() {
                Some(_) => prop_assert_eq!(billed.total(), 0),
                None => prop_assert_eq!((billed.total(), billed.images.max(billed.seconds).max(billed.characters)), (usage.total(), 0)),
            }
            prop_assert_eq!(billed.searches, usage.searches);
            prop_assert_eq!(billable(&price, &billed), billed);
        }

        #[test]
        fn what_is_used_and_has_a_dearest_rate_is_never_free(price in any_price(), usage in any_usage()) {
            let rates = price.rates_at(usage.input_side());
            for (class, count) in billable(&price, &usage).by_class() {
                if count > 0 && class.side() != Side::Count && rates.of(class).is_none() && rates.dearest(class.side(), Classes::default()).is_some() {
                    prop_assert!(price.rate(class, usage.input_side()).is_some());
                }
            }
        }

        #[test]
        fn affordable_output_is_affordable(price in any_price(), usage in any_usage(), nanos in 0i64..10_000_000_000_000) {
            let (most, amount) = (most_of(&usage, 0), Money::from_nanos(nanos).unwrap());
            let tokens = affordable_output(&price, &most, amount);
            if (1..u64::MAX).contains(&tokens) {
                let within = worst_cost(&price, &Most { output: tokens, ..most }).unwrap();
                prop_assert!(within <= amount);
                let more = worst_cost(&price, &Most { output: tokens.saturating_add(1), ..most });
                prop_assert!(more.is_err() || more.unwrap() > amount, "and no token more is");
            }
        }
    }
}
