//! Money: an exact, signed amount in nano-units, and the prices that turn tokens into it.
//!
//! What always holds: an amount is an integer of 1e-9 of a bucket's currency with `|x| <= 2^53 - 1`, so that SQLite, D1
//! and JavaScript all carry it exactly; every operation is checked; [`cost`] is the only function that turns usage into
//! money, and it rounds once, upwards, at the end.
//!
//! Deliberately absent: floats, currency conversion, and any default price.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::as_conversions)]

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::usage::{Class, Usage};

/// Nano-units in one unit of currency.
const NANOS_PER_UNIT: i64 = 1_000_000_000;
/// Prices are quoted per this many tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;
/// The largest amount: what JavaScript still counts exactly.
const MAX_NANOS: i64 = 9_007_199_254_740_991;
/// Digits after the decimal point that a nano-unit can carry.
const DECIMALS: usize = 9;

/// An amount in nano-units of some currency; which one, the bucket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
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

/// What tokens of each class cost: amounts per million tokens in the bucket's currency, never negative.
///
/// `input` and `output` are always there. A missing `cached_input` or `cache_write` costs what `input` costs, a missing
/// `reasoning` what `output` costs: providers bill them as such. Audio has no such default: without a price, a request
/// that asks for audio is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Fresh input tokens.
    pub input: Money,
    /// Input tokens read from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Money>,
    /// Input tokens written to the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Money>,
    /// Output tokens that the client sees.
    pub output: Money,
    /// Output tokens spent on reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Money>,
    /// Audio in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<Money>,
    /// Audio out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<Money>,
}

impl Price {
    /// The price of a million tokens of `class`. A class that upstream reports without a price of its own is charged as the
    /// dearest of its side: such a request should have been refused, and it is never free.
    pub fn rate(&self, class: Class) -> Money {
        match class {
            Class::Input => self.input,
            Class::CachedInput => self.cached_input.unwrap_or(self.input),
            Class::CacheWrite => self.cache_write.unwrap_or(self.input),
            Class::AudioInput => self.audio_input.unwrap_or_else(|| self.dearest_text_input()),
            Class::CacheWrite1h => self.cache_write.unwrap_or(self.input),
            Class::ImageInput | Class::Seconds | Class::Characters | Class::Searches => self.input,
            Class::ImageOutput | Class::Images | Class::Output => self.output,
            Class::Reasoning => self.reasoning.unwrap_or(self.output),
            Class::AudioOutput => self.audio_output.unwrap_or_else(|| self.dearest_text_output()),
        }
    }

    /// The most that a million tokens on the input side can cost.
    pub fn dearest_input(&self) -> Money {
        self.dearest_text_input().max(self.audio_input.unwrap_or_default())
    }

    /// The most that a million tokens on the output side can cost.
    pub fn dearest_output(&self) -> Money {
        self.dearest_text_output().max(self.audio_output.unwrap_or_default())
    }

    fn dearest_text_input(&self) -> Money {
        self.input.max(self.cached_input.unwrap_or_default()).max(self.cache_write.unwrap_or_default())
    }

    fn dearest_text_output(&self) -> Money {
        self.output.max(self.reasoning.unwrap_or_default())
    }
}

/// What `usage` costs at `price`: summed exactly over the classes, then rounded up once to a nano-unit.
///
/// Errors with [`MoneyError::OutOfRange`] when the sum is beyond [`Money::MAX`]; never a smaller number instead.
pub fn cost(price: &Price, usage: &Usage) -> Result<Money, MoneyError> {
    let mut sum: u128 = 0;
    for (class, tokens) in usage.by_class() {
        sum = add_tokens(sum, tokens, price.rate(class))?;
    }
    round_up(sum)
}

/// The most that a call can cost that reads at most `input_tokens` and writes at most `output_tokens`.
///
/// What always holds: `worst_cost(p, i, o) >= cost(p, u)` for every `u` with `u.input_side() <= i` and `u.output_side() <= o`.
pub fn worst_cost(price: &Price, input_tokens: u64, output_tokens: u64) -> Result<Money, MoneyError> {
    let sum = add_tokens(0, input_tokens, price.dearest_input())?;
    round_up(add_tokens(sum, output_tokens, price.dearest_output())?)
}

/// How many output tokens `amount` can pay for after `input_tokens`, at worst; rounds down.
pub fn affordable_output(price: &Price, input_tokens: u64, amount: Money) -> u64 {
    let Ok(input) = worst_cost(price, input_tokens, 0) else { return 0 };
    let left = amount.checked_sub(input).map_or(0, |left| u128::try_from(left.nanos()).unwrap_or(0));
    let rate = u128::try_from(price.dearest_output().nanos()).unwrap_or(0);
    let tokens = left.checked_mul(TOKENS_PER_PRICE).and_then(|scaled| scaled.checked_div(rate));
    tokens.map_or(u64::MAX, |tokens| u64::try_from(tokens).unwrap_or(u64::MAX))
}

fn add_tokens(sum: u128, tokens: u64, rate: Money) -> Result<u128, MoneyError> {
    let rate = u128::try_from(rate.nanos()).map_err(|_| MoneyError::OutOfRange)?;
    let part = u128::from(tokens).checked_mul(rate).ok_or(MoneyError::OutOfRange)?;
    sum.checked_add(part).ok_or(MoneyError::OutOfRange)
}

fn round_up(scaled: u128) -> Result<Money, MoneyError> {
    let nanos = i64::try_from(scaled.div_ceil(TOKENS_PER_PRICE)).map_err(|_| MoneyError::OutOfRange)?;
    Money::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(input: &str, output: &str) -> Price {
        Price {
            input: Money::parse(input).unwrap(),
            cached_input: None,
            cache_write: None,
            output: Money::parse(output).unwrap(),
            reasoning: None,
            audio_input: None,
            audio_output: None,
        }
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
        let cheap = price("0.000001", "0.000001");
        let usage = Usage { input: 1, output: 1, reasoning: 1, ..Usage::default() };
        assert_eq!(cost(&cheap, &usage).unwrap().nanos(), 1);
        // 1000 in at 1.25 and 500 out at 10 per million: 0.00125 + 0.005.
        let usage = Usage { input: 1000, output: 500, ..Usage::default() };
        assert_eq!(cost(&price("1.25", "10"), &usage).unwrap().to_string(), "0.00625");
    }

    #[test]
    fn a_cost_beyond_range_is_an_error_and_never_smaller() {
        let usage = Usage { input: u64::MAX, ..Usage::default() };
        assert_eq!(cost(&price("9000000", "1"), &usage), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn an_audio_class_without_a_price_is_never_free() {
        let usage = Usage { audio_output: 1_000_000, ..Usage::default() };
        assert_eq!(cost(&price("1", "2"), &usage).unwrap().to_string(), "2");
    }

    proptest! {
        #[test]
        fn money_survives_its_text(nanos in -MAX_NANOS..=MAX_NANOS) {
            let money = Money::from_nanos(nanos).unwrap();
            prop_assert_eq!(Money::parse(&money.to_string()), Ok(money));
        }

        #[test]
        fn the_quote_covers_every_usage_within_it(
            rates in proptest::array::uniform7(0i64..50_000_000_000),
            tokens in proptest::array::uniform7(0u64..300_000),
            given in 0u8..32,
        ) {
            let rate = |i: usize| Money::from_nanos(rates[i]).unwrap();
            let optional = |i: usize| (given & (1 << i) != 0).then(|| rate(i));
            let price = Price {
                input: rate(5), output: rate(6), cached_input: optional(0), cache_write: optional(1), reasoning: optional(2),
                audio_input: optional(3), audio_output: optional(4),
            };
            let usage = Usage {
                input: tokens[0], cached_input: tokens[1], cache_write: tokens[2], audio_input: tokens[3],
                output: tokens[4], reasoning: tokens[5], audio_output: tokens[6], ..Usage::default()
            };
            let quote = worst_cost(&price, usage.input_side(), usage.output_side()).unwrap();
            prop_assert!(quote >= cost(&price, &usage).unwrap());
        }

        #[test]
        fn affordable_output_is_affordable(input in 0u64..1_000_000, nanos in 0i64..10_000_000_000, rate in 1i64..50_000_000_000) {
            let mut price = price("1.25", "10");
            price.output = Money::from_nanos(rate).unwrap();
            let amount = Money::from_nanos(nanos).unwrap();
            let tokens = affordable_output(&price, input, amount);
            if tokens > 0 {
                prop_assert!(worst_cost(&price, input, tokens).unwrap() <= amount);
            }
        }
    }
}
