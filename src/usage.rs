//! Usage: how much of which class one request spent: tokens, images, seconds, characters, searches.
//!
//! What always holds: the classes are disjoint, so that no token is billed twice; the sums saturate.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions)]

use serde::{Deserialize, Serialize};

/// More of one class than this is a mistake of whoever reports it.
const MOST: u64 = 1_000_000_000_000;

/// Writes the classes down once: the enum, the counts, and what is done to every one of them.
macro_rules! classes {
    ($($(#[$doc:meta])+ $field:ident => $class:ident,)+) => {
        /// A class of what is used, with a price of its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Class {
            $($(#[$doc])+ $class,)+
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
        #[serde(default)]
        pub struct Usage {
            $($(#[$doc])+ pub $field: u64,)+
        }

        impl Usage {
            /// How much of one class.
            pub const fn of(&self, class: Class) -> u64 {
                match class { $(Class::$class => self.$field,)+ }
            }

            /// Class by class, what `how` makes of both.
            fn with(&self, other: &Self, how: impl Fn(u64, u64) -> u64) -> Self {
                Self { $($field: how(self.$field, other.$field),)+ }
            }
        }
    };
}

classes! {
    /// Fresh input tokens.
    input => Input,
    /// Input tokens read from the provider's cache.
    cached_input => CachedInput,
    /// Input tokens written to the provider's cache, for 5 minutes where providers tell them apart.
    cache_write => CacheWrite,
    /// Input tokens written to the provider's cache for an hour.
    cache_write_1h => CacheWrite1h,
    /// Tokens of audio in.
    audio_input => AudioInput,
    /// Tokens of images in, where a provider counts them apart.
    image_input => ImageInput,
    /// Output tokens that the client sees.
    output => Output,
    /// Output tokens spent on reasoning.
    reasoning => Reasoning,
    /// Tokens of audio out.
    audio_output => AudioOutput,
    /// Tokens of images out.
    image_output => ImageOutput,
    /// Images out.
    images => Images,
    /// Seconds of audio in.
    seconds => Seconds,
    /// Characters of text in, to be spoken.
    characters => Characters,
    /// Searches.
    searches => Searches,
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
        Self { output: 0, reasoning: 0, audio_output: 0, image_output: 0, images: 0, ..*self }
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
            images: self.images,
            seconds: self.seconds,
            characters: self.characters,
            searches: self.searches,
        }
    }

    /// All tokens that went in.
    pub fn input_side(&self) -> u64 {
        let cache = self.cached_input.saturating_add(self.cache_write).saturating_add(self.cache_write_1h);
        self.input.saturating_add(cache).saturating_add(self.audio_input).saturating_add(self.image_input)
    }

    /// All tokens that came out.
    pub fn output_side(&self) -> u64 {
        self.output.saturating_add(self.reasoning).saturating_add(self.audio_output).saturating_add(self.image_output)
    }

    /// Whether nothing was used.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All tokens.
    pub fn total(&self) -> u64 {
        self.input_side().saturating_add(self.output_side())
    }
}

/// What usage cannot be beyond, whatever upstream reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Tokens in: what was sent, and what fits into the context.
    pub input: u64,
    /// Tokens out: what upstream was told to stop at.
    pub output: u64,
    /// Tokens out that the client sees: a token is at least a byte of the answer.
    pub visible: u64,
}

/// Where the numbers of a receipt come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// Upstream reported them.
    Upstream,
    /// Upstream did not; counted here from what was sent and relayed.
    Estimated,
    /// Nothing was used, or nothing is known.
    #[default]
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_true_is_left_out() {
        let bounds = Bounds { input: 100, output: 50, visible: 20 };
        let reported = Usage { input: 60, cached_input: 70, output: 30, reasoning: 40, ..Usage::default() };
        let expected = Usage { input: 60, cached_input: 40, output: 20, reasoning: 30, ..Usage::default() };
        assert_eq!(reported.bounded(&bounds), expected);
        let fine = Usage { input: 60, cached_input: 40, output: 20, reasoning: 30, ..Usage::default() };
        assert_eq!(fine.bounded(&bounds), fine);
        let absurd = Usage { input: u64::MAX, output: u64::MAX, reasoning: u64::MAX, ..Usage::default() };
        let least = absurd.bounded(&bounds);
        assert_eq!((least.input_side(), least.output_side()), (100, 50));
    }
}
