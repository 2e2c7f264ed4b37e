//! Usage: how many tokens of which class one request spent.
//!
//! What always holds: the classes are disjoint, so that no token is billed twice; the sums saturate.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions)]

use serde::{Deserialize, Serialize};

/// More tokens of one class than these are a mistake of whoever reports them.
const MOST_TOKENS: u64 = 1_000_000_000_000;

/// A class of tokens with a price of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenClass {
    /// Fresh input.
    Input,
    /// Input read from the provider's cache.
    CachedInput,
    /// Input written to the provider's cache.
    CacheWrite,
    /// Audio in.
    AudioInput,
    /// Output that the client sees.
    Output,
    /// Output spent on reasoning.
    Reasoning,
    /// Audio out.
    AudioOutput,
}

/// Tokens by class; disjoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Fresh input.
    pub input: u64,
    /// Input read from the provider's cache.
    pub cached_input: u64,
    /// Input written to the provider's cache.
    pub cache_write: u64,
    /// Audio in.
    pub audio_input: u64,
    /// Output that the client sees.
    pub output: u64,
    /// Output spent on reasoning.
    pub reasoning: u64,
    /// Audio out.
    pub audio_output: u64,
}

impl Usage {
    /// Every class with its tokens.
    pub fn by_class(&self) -> [(TokenClass, u64); 7] {
        [
            (TokenClass::Input, self.input),
            (TokenClass::CachedInput, self.cached_input),
            (TokenClass::CacheWrite, self.cache_write),
            (TokenClass::AudioInput, self.audio_input),
            (TokenClass::Output, self.output),
            (TokenClass::Reasoning, self.reasoning),
            (TokenClass::AudioOutput, self.audio_output),
        ]
    }

    /// Both, class by class.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            audio_input: self.audio_input.saturating_add(other.audio_input),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            audio_output: self.audio_output.saturating_add(other.audio_output),
        }
    }

    /// What this is more, class by class.
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_sub(other.input),
            cached_input: self.cached_input.saturating_sub(other.cached_input),
            cache_write: self.cache_write.saturating_sub(other.cache_write),
            audio_input: self.audio_input.saturating_sub(other.audio_input),
            output: self.output.saturating_sub(other.output),
            reasoning: self.reasoning.saturating_sub(other.reasoning),
            audio_output: self.audio_output.saturating_sub(other.audio_output),
        }
    }

    /// No class beyond what no model can do. What reports are summed in has an end, and must not be brought to it.
    pub fn countable(&self) -> Self {
        let of = |tokens: u64| tokens.min(MOST_TOKENS);
        Self {
            input: of(self.input),
            cached_input: of(self.cached_input),
            cache_write: of(self.cache_write),
            audio_input: of(self.audio_input),
            output: of(self.output),
            reasoning: of(self.reasoning),
            audio_output: of(self.audio_output),
        }
    }

    /// The input side alone.
    pub fn without_output(&self) -> Self {
        Self { output: 0, reasoning: 0, audio_output: 0, ..*self }
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
            cache_write: take(self.cache_write, &mut input_left),
            cached_input: take(self.cached_input, &mut input_left),
            output: take(self.output.min(bounds.visible), &mut output_left),
            reasoning: take(self.reasoning, &mut output_left),
            audio_output: take(self.audio_output, &mut output_left),
        }
    }

    /// All tokens that went in.
    pub fn input_side(&self) -> u64 {
        self.input.saturating_add(self.cached_input).saturating_add(self.cache_write).saturating_add(self.audio_input)
    }

    /// All tokens that came out.
    pub fn output_side(&self) -> u64 {
        self.output.saturating_add(self.reasoning).saturating_add(self.audio_output)
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
