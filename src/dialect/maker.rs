//! Who made a thought, and the mark that says so.
//!
//! Where a dialect has a place beside the proof of a thought, its maker stands there (the id of an item of responses, the
//! `format` of a detail in chat). Where it has none, a proof that is not of the client's own dialect is written as a token,
//! `tf1.<maker>.<proof>`; Google's clients get the same in base64.
//!
//! Deliberately absent: secrets. A client may forge a mark; all that it gets is the provider's refusal.

use crate::id::sha256_hex;

/// What a token begins with.
pub const MARK: &str = "tf1.";
/// The same in base64, whose first letters are the same whatever follows.
pub const CODED_MARK: &str = "dGYxL";

/// Whose thoughts they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// Claude, wherever it runs: its signatures count on every platform.
    Anthropic,
    /// Gemini.
    Gemini,
    /// A model behind OpenAI's responses.
    Openai,
    /// A model behind chat completions, at the place of this name. Its thoughts have words and no proof.
    Chat(String),
}

impl Maker {
    /// A word for it that fits into ids: letters and digits.
    pub fn word(&self) -> String {
        match self {
            Self::Anthropic => "a".to_owned(),
            Self::Gemini => "g".to_owned(),
            Self::Openai => "o".to_owned(),
            Self::Chat(place) => format!("c{place}"),
        }
    }

    /// Reads what `word` writes.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "a" => Some(Self::Anthropic),
            "g" => Some(Self::Gemini),
            "o" => Some(Self::Openai),
            _ => {
                let place = word.strip_prefix('c').filter(|place| place.len() <= 8)?;
                place.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| Self::Chat(place.to_owned()))
            }
        }
    }

    /// OpenRouter's word for the form of a proof, by which its clients tell them apart.
    pub const fn format(&self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic-claude-v1",
            Self::Gemini => "google-gemini-v1",
            Self::Openai => "openai-responses-v1",
            Self::Chat(_) => "unknown",
        }
    }

    /// Reads that word.
    pub fn of_format(format: &str) -> Option<Self> {
        [Self::Anthropic, Self::Gemini, Self::Openai].into_iter().find(|maker| maker.format() == format)
    }
}

/// A short name for where a channel is.
pub fn place(channel: &str) -> String {
    sha256_hex(&[channel.as_bytes()]).chars().take(6).collect()
}

/// A proof with the mark of its maker.
pub fn token(maker: &Maker, proof: &str) -> String {
    format!("{MARK}{}.{proof}", maker.word())
}

/// Reads a token: the maker and the proof, which may be empty.
pub fn read_token(text: &str) -> Option<(Maker, &str)> {
    let (word, proof) = text.strip_prefix(MARK)?.split_once('.')?;
    Some((Maker::parse(word)?, proof))
}

/// How a client's format says whose a thought is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// In the proof, unless it is of this dialect's own provider (messages).
    InProof,
    /// Beside the proof; who made no proof gets a token, because clients forget thoughts without one (responses).
    Beside,
    /// Beside the proof, or nowhere (chat).
    Words,
    /// With the first call, because clients forget thoughts (Gemini).
    WithCalls,
}

/// Whose a proof is by its looks, where nothing else tells: OpenAI's are Fernet tokens, Anthropic's and Google's are messages of
/// protocol buffers in base64, whose first field tells them apart.
pub fn by_looks(proof: &str) -> Option<Maker> {
    const SHORTEST: usize = 24;
    let mut bytes = proof.bytes();
    let second = (bytes.next(), bytes.next());
    match second {
        _ if proof.starts_with("gAAAA") => Some(Maker::Openai),
        (Some(b'E'), Some(b'g'..=b'v')) if proof.len() >= SHORTEST => Some(Maker::Anthropic),
        (Some(b'C'), Some(b'g'..=b'v')) if proof.len() >= SHORTEST => Some(Maker::Gemini),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_who_made_it() {
        for maker in [Maker::Anthropic, Maker::Gemini, Maker::Openai, Maker::Chat("0a1b2c".to_owned())] {
            assert_eq!(read_token(&token(&maker, "a.b==")), Some((maker.clone(), "a.b==")));
            assert_eq!(Maker::parse(&maker.word()), Some(maker));
        }
        for text in ["", "tf1.", "tf1.a", "tf1.x.y", "tf1.c0a1b2c3d4e.y", "tf1.czz.y", "EqQB", "tf2.a.b"] {
            assert_eq!(read_token(text), None, "{text}");
        }
    }

    #[test]
    fn the_looks_tell_providers_apart() {
        assert_eq!(by_looks("gAAAAABopenai"), Some(Maker::Openai));
        assert_eq!(by_looks("EqQBCkYIARgCKkDq7f/3c=aaaaaa"), Some(Maker::Anthropic));
        assert_eq!(by_looks("CpwBAb4+9vvY2QaaaaaaaaaaaaaaA="), Some(Maker::Gemini));
        for text in ["", "E", "SIG==", "Eq", "proof"] {
            assert_eq!(by_looks(text), None, "{text}");
        }
    }
}
