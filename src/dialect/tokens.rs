//! How many tokens a text is, where upstream does not say.

/// A token is about this many bytes of text, where nothing better is known.
const BYTES_PER_TOKEN: u64 = 4;

/// Counts the tokens of a text that comes in pieces.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    bytes: u64,
}

impl Counter {
    /// A counter for the models of a family, as the catalogue names it: `gpt`, `claude`, `gemini`, ...
    pub fn new(_family: &str) -> Self {
        Self::default()
    }

    /// Takes text.
    pub fn push(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
    }

    /// Takes text as it stands in JSON, escaped.
    pub fn push_json(&mut self, json: &str) {
        self.push(json);
    }

    /// How many tokens came.
    pub const fn tokens(&self) -> u64 {
        self.bytes.div_ceil(BYTES_PER_TOKEN)
    }
}

/// How many tokens a whole text may be.
pub fn estimate(family: &str, text: &str) -> u64 {
    let mut counter = Counter::new(family);
    counter.push(text);
    counter.tokens()
}
