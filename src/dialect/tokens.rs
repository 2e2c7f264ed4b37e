//! How many tokens a text is, where upstream does not say.
//!
//! A real vocabulary weighs megabytes, more than the Worker has. This model of one is a few kilobytes: every character adds what
//! tokens begin there on average, by the pair it makes with the character before it, the place in its word, and how odd the
//! letters of late were. The weights are calibrated against real tokenizers.
//!
//! What always holds: the same text in other pieces counts the same, more text never counts less, and a text that is not empty
//! is one token at least. Integers only, no memory of the text.
//!
//! Deliberately absent: tokens that a provider adds around messages, and everything that is not text.

mod cells;
mod weights;

use cells::{CELLS, DIGITS, LETTERS, MARKS, NEWLINE, ODD, ODDNESS, SCRIPTS, SPACES, STARTS};
use weights::{PAIRS, weights};

/// A text that is longer is estimated from this many windows of it.
const WINDOWS: usize = 16;
/// What a window has, in bytes.
const WINDOW_BYTES: usize = 1024;

/// Counts the tokens of a text that comes in pieces.
#[derive(Debug, Clone)]
pub struct Counter {
    weights: &'static [u16; CELLS],
    thousandths: u64,
    is_empty: bool,
    /// The column of the last character in `PAIRS`, its group and whether it was a capital.
    last: usize,
    group: Group,
    was_capital: bool,
    /// How many characters of this group came in a row.
    run: usize,
    /// How odd the pairs of letters and digits were of late.
    oddness: usize,
    escape: Escape,
}

/// How far an escape of a JSON string is.
#[derive(Debug, Clone, Copy, Default)]
struct Escape {
    stage: Stage,
    /// The code unit so far.
    unit: u32,
    /// The first half of a surrogate pair, less its base.
    high: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    #[default]
    Plain,
    Backslash,
    /// Hexadecimal digits, with how many came.
    Hex(u8),
}

/// What a character is to a tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Space,
    Mark,
    Digit,
    Letter,
    /// Not ASCII; the number is its place in the weights.
    Script(usize),
}

impl Counter {
    /// A counter for the models of a family, as the catalogue names it: `gpt`, `claude`, `gemini`, ... A family that is not known
    /// counts as `gpt`.
    pub fn new(family: &str) -> Self {
        Self {
            weights: weights(family),
            thousandths: 0,
            is_empty: true,
            last: NEWLINE,
            group: Group::Mark,
            was_capital: false,
            run: 0,
            oddness: 0,
            escape: Escape::default(),
        }
    }

    /// Takes text.
    pub fn push(&mut self, text: &str) {
        text.chars().for_each(|character| self.take(character));
    }

    /// Takes text as it stands in a JSON string. An escape counts as what it means, also one that is split between two pieces; half
    /// a surrogate pair counts as the replacement character.
    pub fn push_json(&mut self, json: &str) {
        self.is_empty &= json.is_empty();
        for character in json.chars() {
            match (self.escape.stage, character) {
                (Stage::Plain, '\\') => self.escape.stage = Stage::Backslash,
                (Stage::Plain, _) => self.unescaped(character),
                (Stage::Backslash, 'u') => (self.escape.stage, self.escape.unit) = (Stage::Hex(0), 0),
                (Stage::Backslash, _) => {
                    self.escape.stage = Stage::Plain;
                    self.unescaped(match character {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        other => other,
                    });
                }
                (Stage::Hex(digits), _) => {
                    self.escape.unit = self.escape.unit << 4 | character.to_digit(16).unwrap_or(0);
                    self.escape.stage = if digits == 3 { Stage::Plain } else { Stage::Hex(digits.saturating_add(1)) };
                    if digits == 3 {
                        self.unit(self.escape.unit);
                    }
                }
            }
        }
    }

    /// How many tokens came, rounded up.
    pub fn tokens(&self) -> u64 {
        self.thousandths.div_ceil(1000).max(u64::from(!self.is_empty))
    }

    /// A code unit of UTF-16 that was escaped.
    fn unit(&mut self, unit: u32) {
        match (unit, self.escape.high) {
            (0xd800..=0xdbff, _) => {
                self.lone();
                self.escape.high = Some(unit & 0x3ff);
            }
            (0xdc00..=0xdfff, Some(high)) => {
                self.escape.high = None;
                self.take(char::from_u32(0x1_0000 + (high << 10 | unit & 0x3ff)).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            _ => self.unescaped(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }

    fn unescaped(&mut self, character: char) {
        self.lone();
        self.take(character);
    }

    /// A first half whose second one does not come.
    fn lone(&mut self) {
        if self.escape.high.take().is_some() {
            self.take(char::REPLACEMENT_CHARACTER);
        }
    }

    fn take(&mut self, character: char) {
        let cell = self.cell(character);
        let weight = self.weights.get(cell).copied().unwrap_or(1000);
        self.thousandths = self.thousandths.saturating_add(u64::from(weight));
        self.is_empty = false;
    }

    /// The weight that a character adds, as its place among the weights, and one character further.
    fn cell(&mut self, character: char) -> usize {
        let (group, column) = place(character);
        let is_capital = character.is_ascii_uppercase();
        let pair =
            PAIRS.get(self.last).and_then(|row| row.get(column)).map_or(7, |digit| usize::from(digit.wrapping_sub(b'0') & 7));
        let odd = ODDNESS.iter().filter(|bound| self.oddness >= **bound).count();
        let same = self.group == group;
        let cell = match (group, self.group) {
            (Group::Letter, Group::Letter) => {
                let case = match (self.was_capital, is_capital) {
                    (false, false) => usize::from(self.run > 1) + usize::from(self.run > 4),
                    (true, false) => 3,
                    (true, true) => 4,
                    (false, true) => 5,
                };
                LETTERS + (case * ODD + odd) * 8 + pair
            }
            (Group::Letter, _) => {
                let after = if self.group == Group::Space {
                    2 + usize::from(self.run > 1)
                } else {
                    usize::from(self.group == Group::Digit)
                };
                STARTS + ((after * 2 + usize::from(is_capital)) * 2 + usize::from(odd > 2)) * 8 + pair
            }
            (Group::Digit, Group::Digit) => DIGITS + (self.run % 3) * 2 + usize::from(odd > 2),
            (Group::Digit, Group::Space) => DIGITS + 6 + usize::from(self.run > 1),
            (Group::Digit, _) => DIGITS + 8 + pair,
            (Group::Space, Group::Space) => SPACES + self.run.min(8),
            (Group::Space, _) => SPACES,
            (Group::Mark, _) => {
                let after = if self.group == Group::Space {
                    2 + usize::from(self.run > 1)
                } else {
                    usize::from(same && column == self.last)
                };
                MARKS + after * 8 + pair
            }
            (Group::Script(script), _) => {
                let after = if same { self.run.min(3) } else { usize::from(self.group == Group::Space) * 4 };
                SCRIPTS + script * 5 + after
            }
        };
        if matches!(group, Group::Letter | Group::Digit) && matches!(self.group, Group::Letter | Group::Digit) {
            self.oddness = self.oddness - self.oddness / 16 + pair * pair;
        } else if matches!(group, Group::Script(0)) {
            self.oddness = self.oddness - self.oddness / 16 + 16;
        }
        self.run = if same { self.run.saturating_add(1) } else { 1 };
        (self.group, self.last, self.was_capital) = (group, column, is_capital);
        cell
    }
}

/// How many tokens a text is, looking at 16 KiB of it at most.
pub fn estimate(family: &str, text: &str) -> u64 {
    sampled(family, text, Counter::push)
}

/// The same for text as it stands in JSON, escaped; a whole body too.
pub fn estimate_json(family: &str, json: &str) -> u64 {
    sampled(family, json, Counter::push_json)
}

/// Counts windows spread evenly from the beginning to the end, and takes the rest to be like them.
fn sampled(family: &str, text: &str, push: fn(&mut Counter, &str)) -> u64 {
    let mut counter = Counter::new(family);
    let size = text.len();
    if size <= WINDOWS * WINDOW_BYTES {
        push(&mut counter, text);
        return counter.tokens();
    }
    let mut seen = 0_usize;
    for window in 0..WINDOWS {
        let from = text.ceil_char_boundary((size - WINDOW_BYTES) / (WINDOWS - 1) * window);
        let piece = text.get(from..text.floor_char_boundary(from.saturating_add(WINDOW_BYTES))).unwrap_or_default();
        // An escape that a window cut off ends there.
        counter.escape = Escape::default();
        push(&mut counter, piece);
        seen = seen.saturating_add(piece.len());
    }
    let wide = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    counter.thousandths.saturating_mul(wide(size)).div_ceil(wide(seen).max(1).saturating_mul(1000)).max(1)
}

/// The group of a character, and its row and column in `PAIRS`.
fn place(character: char) -> (Group, usize) {
    let code = u32::from(character);
    let below = |base: u8| usize::try_from(code).unwrap_or_default().saturating_sub(usize::from(base));
    match character {
        ' ' => (Group::Space, 0),
        '\n' => (Group::Mark, NEWLINE),
        '0'..='9' => (Group::Digit, 3),
        'a'..='z' => (Group::Letter, below(b'a') + 4),
        'A'..='Z' => (Group::Letter, below(b'A') + 4),
        '!'..='/' => (Group::Mark, below(b'!') + 30),
        ':'..='@' => (Group::Mark, below(b':') + 45),
        '['..='`' => (Group::Mark, below(b'[') + 52),
        '{'..='~' => (Group::Mark, below(b'{') + 58),
        '\0'..='\x7f' => (Group::Mark, 2),
        _ => match script(code) {
            0 => (Group::Script(0), 62),
            script => (Group::Script(script), 63),
        },
    }
}

/// Scripts that tokenizers know about as well as each other.
fn script(code: u32) -> usize {
    match code {
        0xc0..=0x24f | 0x1e00..=0x1eff => 0,
        0x80..=0xbf => 1,
        0x370..=0x3ff | 0x1f00..=0x1fff => 2,
        0x404 | 0x406..=0x407 | 0x454 | 0x456..=0x457 | 0x490..=0x52f => 22,
        0x400..=0x48f => 3,
        0x530..=0x58f => 4,
        0x10a0..=0x10ff => 23,
        0x590..=0x5ff => 5,
        0x600..=0x6ff => 6,
        0x900..=0x97f => 7,
        0x980..=0xb7f => 8,
        0xb80..=0xdff => 24,
        0xe00..=0xe7f => 9,
        0xe80..=0x109f => 10,
        0x1200..=0x139f => 25,
        0x1780..=0x17ff => 26,
        0x2000..=0x206f => 11,
        0x2070..=0x24ff => 12,
        0x2500..=0x2bff => 13,
        0x3000..=0x303f | 0xff00..=0xffef => 14,
        0x3040..=0x309f => 15,
        0x30a0..=0x30ff => 16,
        0x4e00..=0x9fff => 17,
        0xac00..=0xd7af => 18,
        0x300..=0x36f | 0xfe00..=0xfe0f => 19,
        0x1f000..=0x1faff => 20,
        _ => 21,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FAMILIES: [&str; 9] = ["gpt", "claude", "claude-3", "gemini", "llama", "qwen", "deepseek", "mistral", "unheard-of"];

    fn count(family: &str, text: &str) -> u64 {
        let mut counter = Counter::new(family);
        counter.push(text);
        counter.tokens()
    }

    /// The whole string escaped, as the most cautious writers do.
    fn ascii_json(text: &str) -> String {
        text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
    }

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![".{0,60}", "[ -~\n\t]{0,200}", "([a-z]{1,12} ){0,20}", "[0-9a-f]{0,80}", "[а-я一-龥ぁ-ん가-힣😀-🙏 ]{0,60}"]
    }

    #[test]
    fn no_text_is_no_token_and_any_text_is_one() {
        for family in FAMILIES {
            assert_eq!(count(family, ""), 0);
            assert_eq!(estimate(family, ""), 0);
            for text in [" ", "\n", "a", "\0", "é", "😀", "\u{10ffff}"] {
                assert!(count(family, text) >= 1, "{family} {text:?}");
                assert!(estimate(family, text) >= 1, "{family} {text:?}");
            }
        }
    }

    #[test]
    fn an_unknown_family_counts_as_gpt() {
        let text = "Ein Satz, den niemand kennt: 12345 Wörter.";
        assert_eq!(count("unheard-of", text), count("gpt", text));
        assert_ne!(count("claude", &text.repeat(20)), count("gpt", &text.repeat(20)));
    }

    #[test]
    fn every_script_has_weights_of_its_own() {
        let (end, last) = (SCRIPTS + 27 * 5, script(0x1780));
        assert_eq!((end, last), (CELLS, 26));
        assert!((0x80..0x11_0000).all(|code| script(code) <= last));
    }

    #[test]
    fn escapes_count_as_what_they_mean() {
        let cases = [
            (r#"a\nb\tc\r\b\f\/\"\\"#, "a\nb\tc\r\u{8}\u{c}/\"\\"),
            (r"\u0041\u00e9\u4e2d\ud83d\ude00!", "Aé中😀!"),
            (r"\ud83d.\ude00\ud83d\ud83d\ude00", "\u{fffd}.\u{fffd}\u{fffd}😀"),
        ];
        for (json, text) in cases {
            let (mut escaped, mut plain) = (Counter::new("gpt"), Counter::new("gpt"));
            escaped.push_json(json);
            plain.push(text);
            assert_eq!(escaped.thousandths, plain.thousandths, "{json}");
        }
    }

    #[test]
    fn a_long_text_is_estimated_from_windows_of_it() {
        let text = "The quick brown fox jumps over the lazy dog. Zwölf Boxkämpfer jagen Viktor. 敏捷的狐狸。\n".repeat(3000);
        for family in FAMILIES {
            let (exact, sampled) = (count(family, &text), estimate(family, &text));
            assert!(sampled.abs_diff(exact) * 100 <= exact * 3, "{family}: {sampled} for {exact}");
        }
        let body = "{\"text\":\"one line\\nand \\u00fc\\n\"}".repeat(3000);
        let mut counter = Counter::new("gpt");
        counter.push_json(&body);
        let (exact, sampled) = (counter.tokens(), estimate_json("gpt", &body));
        assert!(sampled.abs_diff(exact) * 100 <= exact * 3, "{sampled} for {exact}");
    }

    #[test]
    fn a_short_text_is_estimated_whole() {
        let text = "One, two, three. ".repeat(900);
        assert_eq!(estimate("gemini", &text), count("gemini", &text));
    }

    proptest! {
        #[test]
        fn pieces_count_as_the_whole(text in texts(), cuts in proptest::collection::vec(0..400_usize, 0..6), family in 0..9_usize) {
            let json = serde_json::to_string(&text).unwrap();
            let ascii = ascii_json(&text);
            for (text, push) in [(text.as_str(), Counter::push as fn(&mut Counter, &str)), (&json, Counter::push_json), (&ascii, Counter::push_json)] {
                let (mut whole, mut pieces) = (Counter::new(FAMILIES[family]), Counter::new(FAMILIES[family]));
                push(&mut whole, text);
                let mut ends: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(*cut)).chain([text.len()]).collect();
                ends.sort_unstable();
                let mut from = 0;
                for end in ends {
                    push(&mut pieces, &text[from..end]);
                    from = end;
                }
                prop_assert_eq!((whole.thousandths, whole.tokens()), (pieces.thousandths, pieces.tokens()));
            }
        }

        #[test]
        fn more_text_never_counts_less(text in texts(), more in texts(), family in 0..9_usize) {
            let mut counter = Counter::new(FAMILIES[family]);
            counter.push(&text);
            let before = counter.tokens();
            prop_assert_eq!(before == 0, text.is_empty());
            counter.push(&more);
            prop_assert!(counter.tokens() >= before);
        }

        #[test]
        fn json_counts_as_what_it_means(text in texts(), family in 0..9_usize) {
            let quoted = serde_json::to_string(&text).unwrap();
            for json in [&quoted[1..quoted.len() - 1], &ascii_json(&text)] {
                let mut counter = Counter::new(FAMILIES[family]);
                counter.push_json(json);
                prop_assert_eq!(counter.tokens(), count(FAMILIES[family], &text));
            }
        }

        #[test]
        fn broken_escapes_do_not_panic(json in "([\\\\u0-9a-fDd]|.){0,60}") {
            let mut counter = Counter::new("gpt");
            counter.push_json(&json);
            prop_assert_eq!(counter.tokens() == 0, json.is_empty());
        }
    }
}
