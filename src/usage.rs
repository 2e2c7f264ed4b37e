//! Usage: how much of which class one request spent: tokens, images, seconds, characters, searches.
//!
//! What always holds: the classes are disjoint, so that no token is billed twice; the sums saturate.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions)]

use serde::{Deserialize, Serialize};

/// More of one class than this is a mistake of whoever reports it.
const MOST: u64 = 1_000_000_000_000;

/// The classes, written down once: hands them to a macro that does something with each of them. Those that receipts had from
/// the start are always written; the others only where something of them was used.
macro_rules! every_class {
    ($then:ident) => {
        $then! {
            /// Fresh input tokens.
            input => Input,
            /// Input tokens read from the provider's cache.
            cached_input => CachedInput,
            /// Input tokens written to the provider's cache, for 5 minutes where providers tell them apart.
            cache_write => CacheWrite,
            /// Input tokens written to the provider's cache for an hour.
            #[serde(skip_serializing_if = "is_zero")]
            cache_write_1h => CacheWrite1h,
            /// Tokens of audio in.
            audio_input => AudioInput,
            /// Tokens of images in, where a provider counts them apart.
            #[serde(skip_serializing_if = "is_zero")]
            image_input => ImageInput,
            /// Output tokens that the client sees.
            output => Output,
            /// Output tokens spent on reasoning.
            reasoning => Reasoning,
            /// Tokens of audio out.
            audio_output => AudioOutput,
            /// Tokens of images out.
            #[serde(skip_serializing_if = "is_zero")]
            image_output => ImageOutput,
            /// Images out.
            #[serde(skip_serializing_if = "is_zero")]
            images => Images,
            /// Seconds of audio in.
            #[serde(skip_serializing_if = "is_zero")]
            seconds => Seconds,
            /// Characters of text in, to be spoken.
            #[serde(skip_serializing_if = "is_zero")]
            characters => Characters,
            /// Searches.
            #[serde(skip_serializing_if = "is_zero")]
            searches => Searches,
        }
    };
}
pub(crate) use every_class;

macro_rules! classes {
    ($(#[doc = $doc:literal] $(#[serde($serde:meta)])? $field:ident => $class:ident,)+) => {
        /// A class of what is used, with a price of its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Class {
            $(#[doc = $doc] $class,)+
        }

        impl Class {
            /// Every class.
            pub const ALL: [Self; 14] = [$(Self::$class,)+];

            /// As in prices and receipts.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$class => stringify!($field),)+ }
            }
        }

        /// How much was used, by class; disjoint.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(default)]
        pub struct Usage {
            $(#[doc = $doc] $(#[serde($serde)])? pub $field: u64,)+
        }

        impl Usage {
            /// How much of one class.
            pub const fn of(&self, class: Class) -> u64 {
                match class { $(Class::$class => self.$field,)+ }
            }

            /// Only the classes that are `wanted`.
            pub fn only(&self, wanted: impl Fn(Class) -> bool) -> Self {
                Self { $($field: if wanted(Class::$class) { self.$field } else { 0 },)+ }
            }

            /// Class by class, what `how` makes of both.
            fn with(&self, other: &Self, how: impl Fn(u64, u64) -> u64) -> Self {
                Self { $($field: how(self.$field, other.$field),)+ }
            }
        }
    };
}

every_class!(classes);

const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Which side of a request a class is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Tokens that went in.
    Input,
    /// Tokens that came out.
    Output,
    /// No tokens: images, seconds, characters, searches, each counted by itself.
    Count,
}

impl Class {
    /// The class of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Which side of a request it is on.
    pub const fn side(self) -> Side {
        match self {
            Self::Input | Self::CachedInput | Self::CacheWrite | Self::CacheWrite1h | Self::AudioInput | Self::ImageInput => {
                Side::Input
            }
            Self::Output | Self::Reasoning | Self::AudioOutput | Self::ImageOutput => Side::Output,
            Self::Images | Self::Seconds | Self::Characters | Self::Searches => Side::Count,
        }
    }
}

impl Usage {
    /// Every class with its count.
    pub fn by_class(&self) -> [(Class, u64); 14] {
        Class::ALL.map(|class| (class, self.of(class)))
    }

    /// Both, class by class.
    pub fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What this is more, class by class.
    pub fn minus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    /// No class beyond what no model can do. What reports are summed in has an end, and must not be brought to it.
    pub fn countable(&self) -> Self {
        self.with(self, |count, _| count.min(MOST))
    }

    /// The input side alone.
    pub fn without_output(&self) -> Self {
        self.only(|class| class.side() != Side::Output && class != Class::Images)
    }

    /// As much of it as can be true. What was paid for by mistake would be hard to get back.
    pub fn bounded(&self, bounds: &Bounds) -> Self {
        let mut input_left = bounds.input;
        let mut output_left = bounds.output;
        let take = |wanted: u64, left: &mut u64| {
            let taken = wanted.min(*left);
            *left = left.saturating_sub(taken);
            taken
        };
        Self {
            input: take(self.input, &mut input_left),
            audio_input: take(self.audio_input, &mut input_left),
            image_input: take(self.image_input, &mut input_left),
            cache_write_1h: take(self.cache_write_1h, &mut input_left),
            cache_write: take(self.cache_write, &mut input_left),
            cached_input: take(self.cached_input, &mut input_left),
            output: take(self.output.min(bounds.visible), &mut output_left),
            reasoning: take(self.reasoning, &mut output_left),
            audio_output: take(self.audio_output, &mut output_left),
            image_output: take(self.image_output, &mut output_left),
            images: self.images.min(bounds.images),
            seconds: self.seconds.min(bounds.seconds),
            characters: self.characters.min(bounds.characters),
            searches: self.searches.min(bounds.searches),
        }
    }

    /// All tokens that went in.
    pub fn input_side(&self) -> u64 {
        self.on(Side::Input)
    }

    /// How many of the tokens that went in came from the provider's cache: a share of one with two decimals, rounded down, so
    /// that only what came from it whole is `1.00`. None where nothing went in.
    pub fn cache_share(&self) -> Option<String> {
        let hundredths = self.cached_input.saturating_mul(100).checked_div(self.input_side())?.min(100);
        Some(format!("{}.{:02}", hundredths.checked_div(100)?, hundredths.checked_rem(100)?))
    }

    /// All tokens that came out.
    pub fn output_side(&self) -> u64 {
        self.on(Side::Output)
    }

    fn on(&self, side: Side) -> u64 {
        let of_side = |class: &Class| class.side() == side;
        Class::ALL.into_iter().filter(of_side).fold(0, |sum: u64, class| sum.saturating_add(self.of(class)))
    }

    /// All tokens.
    pub fn total(&self) -> u64 {
        self.input_side().saturating_add(self.output_side())
    }
}

/// A set of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes(u16);

impl Classes {
    /// Whether a class is in it.
    pub fn has(self, class: Class) -> bool {
        self.0 & Self::bit(class) != 0
    }

    fn bit(class: Class) -> u16 {
        let place = Class::ALL.into_iter().position(|known| known == class).and_then(|place| u32::try_from(place).ok());
        place.and_then(|place| 1_u16.checked_shl(place)).unwrap_or(0)
    }
}

impl FromIterator<Class> for Classes {
    fn from_iter<T: IntoIterator<Item = Class>>(classes: T) -> Self {
        Self(classes.into_iter().fold(0, |set, class| set | Self::bit(class)))
    }
}

/// What one request can use at most: tokens of each side, and counts. A price makes its worst-case cost of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Most {
    /// Tokens in, of all classes together.
    pub input: u64,
    /// Tokens out, of all classes together.
    pub output: u64,
    /// Images out.
    pub images: u64,
    /// Seconds of audio in.
    pub seconds: u64,
    /// Characters to be spoken.
    pub characters: u64,
    /// Searches.
    pub searches: u64,
    /// Tokens of these classes are not among them: the request does not ask for any.
    pub unasked: Classes,
}

impl Most {
    /// The count of a class that is no token.
    pub const fn of(&self, class: Class) -> u64 {
        match class {
            Class::Images => self.images,
            Class::Seconds => self.seconds,
            Class::Characters => self.characters,
            Class::Searches => self.searches,
            _ => 0,
        }
    }

    /// What usage cannot be beyond, as far as the request alone tells.
    pub const fn bounds(&self) -> Bounds {
        let Self { input, output, images, seconds, characters, searches, unasked: _ } = *self;
        Bounds { input, output, visible: u64::MAX, images, seconds, characters, searches }
    }
}

/// What usage cannot be beyond, whatever upstream reports. Bounds that were stored before anything but tokens was counted
/// allow nothing else, as nothing else was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// Tokens in: what was sent, and what fits into the context.
    pub input: u64,
    /// Tokens out: what upstream was told to stop at.
    pub output: u64,
    /// Tokens out that the client sees: a token is at least a byte of the answer.
    pub visible: u64,
    /// Images out: as many as were asked for.
    #[serde(default)]
    pub images: u64,
    /// Seconds of audio in.
    #[serde(default)]
    pub seconds: u64,
    /// Characters to be spoken: as many as were sent.
    #[serde(default)]
    pub characters: u64,
    /// Searches.
    #[serde(default)]
    pub searches: u64,
}

/// Where the numbers of a receipt come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// Upstream reported them.
    Upstream,
    /// Upstream did not; estimated here from what was sent and relayed.
    Estimated,
    /// Counted here, exactly: images answered, characters sent.
    Counted,
    /// Nothing was used, or nothing is known.
    #[default]
    None,
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len().saturating_mul(2));
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_true_is_left_out() {
        let bounds = Bounds { input: 100, output: 50, visible: 20, ..Bounds::default() };
        let reported = Usage { input: 60, cached_input: 70, output: 30, reasoning: 40, images: 3, ..Usage::default() };
        let expected = Usage { input: 60, cached_input: 40, output: 20, reasoning: 30, ..Usage::default() };
        assert_eq!(reported.bounded(&bounds), expected);
        let fine = Usage { input: 60, cached_input: 40, output: 20, reasoning: 30, ..Usage::default() };
        assert_eq!(fine.bounded(&bounds), fine);
        let absurd = Usage { input: u64::MAX, output: u64::MAX, reasoning: u64::MAX, ..Usage::default() };
        let least = absurd.bounded(&bounds);
        assert_eq!((least.input_side(), least.output_side()), (100, 50));
    }

    #[test]
    fn the_share_of_the_cache_is_of_all_that_went_in() {
        let share = |cached_input, cache_write, input| {
            Usage { input, cached_input, cache_write, output: 9, ..Usage::default() }.cache_share()
        };
        assert_eq!(share(0, 0, 0), None);
        assert_eq!(share(0, 10, 90).as_deref(), Some("0.00"));
        assert_eq!(share(870, 30, 100).as_deref(), Some("0.87"));
        assert_eq!(share(9_999, 0, 1).as_deref(), Some("0.99"));
        assert_eq!(share(7, 0, 0).as_deref(), Some("1.00"));
        assert_eq!(share(u64::MAX, 0, u64::MAX).as_deref(), Some("0.01"));
    }

    #[test]
    fn bounds_of_the_first_version_still_settle() {
        let stored: Bounds = serde_json::from_str(r#"{"input": 100, "output": 50, "visible": 20}"#).unwrap();
        let tokens = Usage { input: 7, output: 5, ..Usage::default() };
        assert_eq!(tokens.bounded(&stored), tokens);
        assert_eq!(Usage { searches: 1, ..tokens }.bounded(&stored), tokens);
    }

    #[test]
    fn a_class_that_was_not_used_is_written_only_where_it_always_was() {
        let written = serde_json::to_string(&Usage { input: 8, ..Usage::default() }).unwrap();
        let first = r#"{"input":8,"cached_input":0,"cache_write":0,"audio_input":0,"output":0,"reasoning":0,"audio_output":0}"#;
        assert_eq!(written, first);
        let all = Class::ALL.iter().map(|class| format!("\"{}\":1", class.name())).collect::<Vec<_>>().join(",");
        let usage: Usage = serde_json::from_str(&format!("{{{all}}}")).unwrap();
        assert!(usage.by_class().iter().all(|(_, count)| *count == 1));
        assert_eq!((usage.input_side(), usage.output_side(), usage.total()), (6, 4, 10));
        assert_eq!(serde_json::to_string(&usage).unwrap(), format!("{{{all}}}"));
        assert!(Class::ALL.into_iter().all(|class| Class::named(class.name()) == Some(class)));
    }

    proptest! {
        #[test]
        fn what_is_bounded_is_within_its_bounds(
            counts in proptest::array::uniform14(0u64..1_000),
            most in proptest::array::uniform6(0u64..3_000),
            visible in 0u64..1_000,
        ) {
            let [input, cached_input, cache_write, cache_write_1h, audio_input, image_input, output, reasoning, audio_output,
                image_output, images, seconds, characters, searches] = counts;
            let usage = Usage { input, cached_input, cache_write, cache_write_1h, audio_input, image_input, output, reasoning,
                audio_output, image_output, images, seconds, characters, searches };
            let [input, output, images, seconds, characters, searches] = most;
            let most = Most { input, output, images, seconds, characters, searches, ..Most::default() };
            let bounds = Bounds { visible, ..most.bounds() };
            let bounded = usage.bounded(&bounds);
            prop_assert!(bounded.input_side() <= input && bounded.output_side() <= output && bounded.output <= visible);
            for (class, count) in bounded.by_class() {
                prop_assert!(count <= usage.of(class), "{:?} grew", class);
                prop_assert!(class.side() != Side::Count || count <= most.of(class), "{:?} is beyond its bound", class);
            }
            prop_assert_eq!(bounded.bounded(&bounds), bounded);
            if usage.input_side() <= input {
                prop_assert_eq!(bounded.input_side(), usage.input_side());
            }
        }
    }
}
