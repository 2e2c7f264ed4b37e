//! The tally of a stream: how far it is, and what was used so far.

use super::exchange::{Cost, UpstreamError};
use super::tokens::Counter;
use crate::usage::{Class, Usage, UsageSource};

/// What a request costs, told the usage that was metered and the bytes that came.
pub type Pricing = Box<dyn Fn(&Usage, UsageSource, u64) -> Cost>;

/// What was used where upstream does not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fallback {
    /// All but what comes out.
    pub usage: Usage,
    /// What the price counts in place of tokens: images, seconds or characters.
    pub basis: Option<Class>,
}

impl Fallback {
    /// What was used: upstream's own count, with what it left out and the price counts; or all as it was counted here, with
    /// the tokens and images that came out.
    pub fn metered(&self, reported: Option<Usage>, output: u64, images: u64) -> (Usage, UsageSource) {
        let counted = Usage { output, images, ..self.usage };
        let own = match self.basis {
            Some(Class::Images | Class::Characters) => UsageSource::Counted,
            _ if counted == Usage::default() => UsageSource::None,
            _ => UsageSource::Estimated,
        };
        match reported.filter(|usage| *usage != Usage::default()) {
            Some(usage) => match self.basis.filter(|basis| usage.of(*basis) == 0) {
                Some(basis) => (usage.plus(&counted.only(|class| class == basis)), own),
                // Searches alone, where tokens are charged.
                None if usage.total() == 0 && counted.total() > 0 => (usage.plus(&counted), own),
                None => (usage, UsageSource::Upstream),
            },
            None => (counted, own),
        }
    }
}

/// How far a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nothing but comments so far.
    Silent,
    /// Events are coming.
    Flowing,
    /// The terminal event was seen.
    Done,
    /// Upstream told an error, or what comes cannot be read.
    Broken(UpstreamError),
}

/// What is known of one stream. Whoever reads events writes it.
pub struct StreamState {
    /// How far it is.
    pub progress: Progress,
    /// Upstream's own count; the last report counts.
    pub reported: Option<Usage>,
    /// Why the model stopped, in upstream's words.
    pub finish_reason: Option<String>,
    /// Images that came out.
    pub images: u64,
    /// Whether it broke at a limit of the gateway's own, so that upstream is not to blame.
    pub is_over_limit: bool,
    chunks: u64,
    output: Counter,
    fallback: Fallback,
    bytes: u64,
    pricing: Pricing,
}

impl StreamState {
    /// An empty one. `output` counts the tokens that come out, should upstream not.
    pub fn new(fallback: Fallback, output: Counter, pricing: Pricing) -> Self {
        Self {
            progress: Progress::Silent,
            reported: None,
            finish_reason: None,
            images: 0,
            is_over_limit: false,
            chunks: 0,
            output,
            fallback,
            bytes: 0,
            pricing,
        }
    }

    /// An event of the answer came.
    pub fn flow(&mut self) {
        self.progress = Progress::Flowing;
        self.chunks = self.chunks.saturating_add(1);
    }

    /// What comes cannot be read.
    pub fn break_off(&mut self, message: &str) {
        self.progress = Progress::Broken(UpstreamError { message: message.to_owned(), ..UpstreamError::default() });
    }

    /// What came cannot be the whole answer; the code says why.
    pub fn fail(&mut self, code: &str, message: &str) {
        let (message, code) = (message.to_owned(), Some(code.to_owned()));
        self.progress = Progress::Broken(UpstreamError { message, code, ..UpstreamError::default() });
    }

    /// So many bytes came.
    pub fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Text came out: thoughts, words, calls; as it stands in the JSON, quotes aside.
    pub fn output(&mut self, json: &str) {
        self.output.push_json(json);
    }

    /// Whether an answer has begun.
    pub const fn has_chunks(&self) -> bool {
        self.chunks > 0
    }

    /// How many bytes came.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether more is to come.
    pub const fn is_open(&self) -> bool {
        matches!(self.progress, Progress::Silent | Progress::Flowing)
    }

    /// What was used so far: upstream's own count, or an estimate.
    pub fn usage(&self) -> (Usage, UsageSource) {
        let output = self.output.tokens();
        let is_over = self.progress == Progress::Done;
        match self.reported {
            // A report in the middle may know the input only.
            Some(usage) if !is_over && usage.input_side() > 0 && usage.output_side() < output => {
                (Usage { output, reasoning: 0, audio_output: 0, ..usage }, UsageSource::Estimated)
            }
            Some(usage) if !is_over && usage.output_side() < output => self.fallback.metered(None, output, self.images),
            reported => self.fallback.metered(reported, output, self.images),
        }
    }

    /// What that costs.
    pub fn cost(&self) -> Cost {
        let (usage, source) = self.usage();
        (self.pricing)(&usage, source, self.bytes)
    }
}
