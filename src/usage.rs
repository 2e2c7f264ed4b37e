//! Usage: how many tokens of which class one request spent.
//!
//! What always holds: the classes are disjoint, so that no token is billed twice; the sums saturate.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions)]

use serde::{Deserialize, Serialize};

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
