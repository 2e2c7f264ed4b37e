//! How much was too much, as far as the words tell it.

/// Tokens; each only where a provider told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// How many go in.
    pub input: Option<u64>,
    /// How many were to come out, where that is what made it too much.
    pub output: Option<u64>,
    /// How many there may be.
    pub most: Option<u64>,
}

/// What stands before the most that there may be.
const MOST: [&str; 17] = [
    "maximum context length is",
    "maximum context length of",
    "maximum context length (",
    "context length is only",
    "context length of only",
    "context size (",
    "maximum prompt length is",
    "maximum model length of",
    "maximum input length is",
    "maximum input length of",
    "maximum number of tokens allowed",
    "exceeds the limit of",
    "configured limit of",
    "model token limit:",
    "while limit is",
    "context length (",
    "input length should be [1,",
];
/// What stands before the number of tokens that go in.
const INPUT: [&str; 17] = [
    "context window of this model:",
    "your request has",
    "prompt is too long:",
    "messages resulted in",
    "prompt contains at least",
    "prompt contains",
    "request contains",
    "input token count (",
    "input token count of",
    "prompt token count of",
    "input length (",
    "prompt (length",
    "current length is",
    "(requested:",
    "request (",
    "the input (",
    "however, you requested about",
];
/// What stands behind it.
const INPUT_BEFORE: [&str; 3] = ["in the messages", "in your prompt", "of text input"];
/// What stands behind the number of tokens that were to come out.
const OUTPUT_BEFORE: [&str; 4] = ["in the completion", "for the completion", "in the output", "output tokens"];

impl Size {
    /// Reads words in lower case, without code marks.
    pub fn read(words: &str) -> Self {
        // Anthropic's sum: `188240 + 21333 > 200000`.
        if let Some((input, rest)) = words.split_once("exceed context limit:").and_then(|(_, sum)| sum.split_once('+')) {
            let (output, most) = rest.split_once('>').unwrap_or((rest, ""));
            return Self { input: leading(input), output: leading(output), most: leading(most) };
        }
        let most = MOST.iter().find_map(|phrase| after(words, phrase)).or_else(|| with_most(words));
        let output = OUTPUT_BEFORE.iter().find_map(|phrase| before(words, phrase)).or_else(|| after(words, "is too large:"));
        let input = INPUT_BEFORE.iter().find_map(|phrase| before(words, phrase));
        let input = input.or_else(|| INPUT.iter().find_map(|phrase| after(words, phrase)));
        let input = input.or_else(|| after(words, "you requested").filter(|_| output.is_none()));
        Self { input, output, most }
    }

    /// Whether the input alone would fit, so that less output does.
    pub fn is_for_its_output(self) -> Option<(u64, u64, u64)> {
        let (input, output, most) = (self.input?, self.output?, self.most?);
        (input < most && input.saturating_add(output) > most).then_some((input, output, most))
    }
}

/// Anthropic's `200000 maximum`, Mistral's `32768 maximum context length`, and the gateway's own `200000 at most`.
fn with_most(words: &str) -> Option<u64> {
    before(words, "maximum").or_else(|| before(words, "at most"))
}

/// The number behind a phrase, if nothing but a few signs stand between.
fn after(words: &str, phrase: &str) -> Option<u64> {
    words.split_once(phrase).and_then(|(_, rest)| leading(rest))
}

/// The number at the start, signs apart.
fn leading(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '(', ':', '=', '~']);
    number(text.chars().take_while(|c| is_of_a_number(*c)))
}

/// The number before a phrase, with `tokens` between or without.
fn before(words: &str, phrase: &str) -> Option<u64> {
    let (head, _) = words.split_once(phrase)?;
    let head = head.trim_end().trim_end_matches("tokens").trim_end();
    let digits: Vec<char> = head.chars().rev().take_while(|c| is_of_a_number(*c)).collect();
    number(digits.into_iter().rev())
}

const fn is_of_a_number(c: char) -> bool {
    c.is_ascii_digit() || c == ','
}

fn number(chars: impl Iterator<Item = char>) -> Option<u64> {
    let digits: String = chars.filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(input: u64, output: u64, most: u64) -> Size {
        let given = |count: u64| Some(count).filter(|count| *count > 0);
        Size { input: given(input), output: given(output), most: given(most) }
    }

    #[test]
    fn the_numbers_are_read_from_each_providers_words() {
        for (words, expected) in [
            ("prompt is too long: 213456 tokens > 200000 maximum", size(213_456, 0, 200_000)),
            (
                "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again",
                size(188_240, 21_333, 200_000),
            ),
            (
                "This model's maximum context length is 128000 tokens. However, your messages resulted in 130543 tokens. Please reduce the length of the messages.",
                size(130_543, 0, 128_000),
            ),
            (
                "This model's maximum context length is 128,000 tokens. However, your messages resulted in 130,543 tokens.",
                size(130_543, 0, 128_000),
            ),
            (
                "This model's maximum context length is 4096 tokens. However, you requested 5048 tokens (3000 in the messages, 2048 in the completion).",
                size(3_000, 2_048, 4_096),
            ),
            (
                "This model's maximum context length is 8191 tokens, however you requested 10346 tokens (10346 in your prompt; 0 for the completion).",
                Size { output: Some(0), ..size(10_346, 0, 8_191) },
            ),
            (
                "This model's maximum context length is 524288 tokens. However, you requested 1 output tokens and your prompt contains at least 524288 input tokens, for a total of at least 524289 tokens.",
                size(524_288, 1, 524_288),
            ),
            (
                "This endpoint's maximum context length is 131072 tokens. However, you requested about 200000 tokens (190000 of text input, 10000 in the output).",
                size(190_000, 10_000, 131_072),
            ),
            (
                "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300001 tokens.",
                size(300_001, 0, 272_000),
            ),
            (
                "The input token count (1196265) exceeds the maximum number of tokens allowed (1048576).",
                size(1_196_265, 0, 1_048_576),
            ),
            ("The input token count exceeds the maximum number of tokens allowed 1048576.", size(0, 0, 1_048_576)),
            (
                "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
                size(40_000, 0, 32_768),
            ),
            ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.", size(537_812, 0, 131_072)),
            ("prompt token count of 130000 exceeds the limit of 128000", size(130_000, 0, 128_000)),
            ("Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)", size(291_351, 0, 262_144)),
            ("request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it", size(9_000, 0, 8_192)),
            ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", size(5_000, 0, 4_096)),
            (
                "Please reduce the length of the messages or completion. Current length is 9001 while limit is 8192",
                size(9_001, 0, 8_192),
            ),
            ("Range of input length should be [1, 129024]", size(0, 0, 129_024)),
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 200000. This model's maximum context length is 131072 tokens and your request has 30 input tokens (200000 > 131072 - 30).",
                size(30, 200_000, 131_072),
            ),
            ("Your input exceeds the context window of this model.", size(0, 0, 0)),
            ("", size(0, 0, 0)),
            ("maximum context length is 99999999999999999999999999 tokens", size(0, 0, 0)),
        ] {
            assert_eq!(Size::read(&words.to_lowercase().replace('`', "")), expected, "{words}");
        }
    }

    #[test]
    fn less_output_helps_only_where_the_input_fits() {
        assert_eq!(size(3_000, 2_048, 4_096).is_for_its_output(), Some((3_000, 2_048, 4_096)));
        for other in [size(5_000, 2_048, 4_096), size(3_000, 0, 4_096), size(0, 2_048, 4_096), size(100, 100, 4_096)] {
            assert_eq!(other.is_for_its_output(), None, "{other:?}");
        }
    }
}
