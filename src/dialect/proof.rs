//! Proofs: by what a provider knows its own thoughts again.
//!
//! A client keeps what the model thought and sends it again with the next turn, also after it has changed to a model of another
//! provider. Providers refuse a turn with somebody else's proof, and some refuse a turn without the thoughts that they made.
//!
//! What always holds: a proof goes up to nobody but its maker, which `maker` marks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::conversation::{Conversation, Part, Thinking};
use super::format::UpstreamError;
use super::maker::{CODED_MARK, MARK, Maker, by_looks, read_token, token};
use crate::catalog::{Dialect, Thoughts};

/// Words of a thought beyond this are not carried in a proof, in bytes.
const MOST_CARRIED: usize = 48 * 1024;

/// A whole thought as a signature of Google's: its clients keep those of calls, and forget thoughts.
pub fn carried(maker: &Maker, thoughts: &[Thinking]) -> Option<String> {
    let mut room = MOST_CARRIED;
    let mut entries = Vec::new();
    for thought in thoughts {
        let proof = [&thought.signature, &thought.redacted].into_iter().flatten().map(String::len).sum::<usize>();
        if thought.text.len().saturating_add(proof) > room {
            // Words without a proof may be cut; what is proven is whole or nothing.
            if proof > 0 {
                return None;
            }
            let mut end = room;
            while !thought.text.is_char_boundary(end) {
                end = end.saturating_sub(1);
            }
            entries.push(json!({"t": thought.text.get(..end).unwrap_or_default()}));
            break;
        }
        room = room.saturating_sub(thought.text.len()).saturating_sub(proof);
        entries.push(json!({"t": thought.text, "s": thought.signature, "d": thought.redacted}));
    }
    (!entries.is_empty()).then(|| STANDARD.encode(token(maker, &Value::from(entries).to_string())))
}

/// Reads what `carried` writes: none if it is Google's own.
pub fn read_carried(signature: &str) -> Option<Vec<Thinking>> {
    if !signature.starts_with(CODED_MARK) {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(signature).ok()?).ok()?;
    let (maker, proof) = read_token(&text)?;
    let entries: Vec<Value> = serde_json::from_str(proof).ok()?;
    let text = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    let thought = |entry: &Value| Thinking {
        text: text(entry, "t").unwrap_or_default(),
        signature: text(entry, "s"),
        redacted: text(entry, "d"),
        maker: Some(maker.clone()),
    };
    Some(entries.iter().map(thought).collect())
}

/// Whether a signature of Google's form is one of the gateway's own.
pub fn is_carried(signature: &str) -> bool {
    signature.starts_with(CODED_MARK)
}

/// Models whose providers refuse a turn with calls and without thoughts, by what their ids have in them: DeepSeek's and Moonshot's
/// (<https://api-docs.deepseek.com/guides/thinking_mode>, <https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model>).
const WANTING: [&str; 3] = ["deepseek", "kimi", "moonshot"];

/// Which thoughts a model gets back where the catalogue does not say it.
pub fn usual(upstream_model: &str) -> Thoughts {
    let id = upstream_model.to_ascii_lowercase();
    if WANTING.iter().any(|name| id.contains(name)) { Thoughts::All } else { Thoughts::Own }
}

/// Which thoughts a provider wants instead of those that it got, where its refusal is about them.
pub fn wanted_instead(error: &UpstreamError, sent: Thoughts) -> Option<Thoughts> {
    const UNKNOWN: [&str; 8] =
        ["unsupported", "not supported", "extra", "not permitted", "unexpected", "unrecognized", "unknown", "additional"];
    let words = error.message.to_lowercase().replace('`', "");
    let has = |text: &str| words.contains(text);
    let is_proof = (has("signature") && (has("thinking") || has("thought")))
        || has("encrypted content")
        || has("encrypted_content")
        || error.code.as_deref() == Some("invalid_encrypted_content");
    let wanted = match has("reasoning_content") {
        true if UNKNOWN.iter().any(|word| has(word)) => Thoughts::None,
        true => Thoughts::All,
        false if is_proof => Thoughts::None,
        false => return None,
    };
    (wanted != sent).then_some(wanted)
}

/// Says of every thought of a conversation who made it: by its token, by what stands beside it, by its looks, else whoever a
/// client of this dialect has its thoughts from.
pub fn tell_makers(conversation: &mut Conversation<'_>, client: Dialect) {
    for part in conversation.messages.iter_mut().flat_map(|message| &mut message.parts) {
        if let Part::Thinking(thinking) = part {
            tell(thinking, client);
        }
    }
}

fn tell(thinking: &mut Thinking, client: Dialect) {
    for proof in [&mut thinking.signature, &mut thinking.redacted] {
        let Some(text) = proof.as_deref() else { continue };
        if let Some((maker, own)) = read_token(text) {
            let own = Some(own.to_owned()).filter(|own| !own.is_empty());
            thinking.maker = Some(maker);
            *proof = own;
        } else if text.starts_with(MARK) {
            // A mark of a form that nobody here writes.
            *proof = None;
        }
    }
    let proof = thinking.signature.as_deref().or(thinking.redacted.as_deref());
    if let (None, Some(proof)) = (&thinking.maker, proof) {
        thinking.maker = Some(match client {
            Dialect::Anthropic => Maker::Anthropic,
            Dialect::Gemini => Maker::Gemini,
            Dialect::Openai | Dialect::Cohere => by_looks(proof).unwrap_or(Maker::Openai),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn makers() -> [Maker; 4] {
        [Maker::Anthropic, Maker::Gemini, Maker::Openai, Maker::Chat("0a1b2c".to_owned())]
    }

    #[test]
    fn what_no_client_marks_is_of_its_own_dialect() {
        for (client, proof, maker) in [
            (Dialect::Anthropic, "s", Maker::Anthropic),
            (Dialect::Gemini, "s", Maker::Gemini),
            (Dialect::Openai, "s", Maker::Openai),
            (Dialect::Openai, "EqQBCkYIARgCKkDq7f/3c=aaaaaa", Maker::Anthropic),
            (Dialect::Anthropic, "tf1.g.s", Maker::Gemini),
        ] {
            let mut thinking = Thinking { signature: Some(proof.to_owned()), ..Thinking::default() };
            tell(&mut thinking, client);
            assert_eq!(
                (thinking.maker, thinking.signature.as_deref()),
                (Some(maker), Some("s").filter(|_| proof.len() < 9).or(Some(proof))),
                "{proof}"
            );
        }
        let mut unproven = Thinking { signature: Some("tf1.cabc.".to_owned()), ..Thinking::default() };
        tell(&mut unproven, Dialect::Anthropic);
        assert_eq!((unproven.maker, unproven.signature), (Some(Maker::Chat("abc".to_owned())), None));
        let mut odd = Thinking { signature: Some("tf1.?".to_owned()), ..Thinking::default() };
        tell(&mut odd, Dialect::Anthropic);
        assert_eq!((odd.maker, odd.signature), (None, None));
    }

    #[test]
    fn a_refusal_says_which_thoughts_are_wanted() {
        for (message, code, expected) in [
            ("The `reasoning_content` in the thinking mode must be passed back to the API.", "", Some(Thoughts::All)),
            (
                "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
                "",
                Some(Thoughts::All),
            ),
            ("'messages.2' : property 'reasoning_content' is unsupported", "", Some(Thoughts::None)),
            ("Extra inputs are not permitted: reasoning_content", "", Some(Thoughts::None)),
            ("messages.1.content.0: Invalid `signature` in `thinking` block", "", Some(Thoughts::None)),
            ("Corrupted thought signature.", "", Some(Thoughts::None)),
            ("The encrypted content could not be verified.", "", Some(Thoughts::None)),
            ("No.", "invalid_encrypted_content", Some(Thoughts::None)),
            ("`messages` is required", "", None),
        ] {
            let error = UpstreamError { message: message.to_owned(), code: Some(code.to_owned()), ..UpstreamError::default() };
            assert_eq!(wanted_instead(&error, Thoughts::Own), expected, "{message}");
            assert_eq!(expected.and_then(|wanted| wanted_instead(&error, wanted)), None, "{message}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_or_left_out() {
        let words = Thinking { text: "ü".repeat(MOST_CARRIED), ..Thinking::default() };
        let back = read_carried(&carried(&makers()[3], &[words]).unwrap()).unwrap();
        assert_eq!(back[0].text.len(), MOST_CARRIED);
        let proven = Thinking { text: "x".repeat(MOST_CARRIED), signature: Some("s".to_owned()), ..Thinking::default() };
        assert_eq!(carried(&Maker::Anthropic, &[proven]), None);
        assert_eq!(carried(&Maker::Anthropic, &[]), None);
    }

    proptest! {
        #[test]
        fn what_is_carried_comes_back(texts in proptest::collection::vec((".*", proptest::option::of(".*")), 1..4), at in 0usize..4) {
            let maker = makers()[at].clone();
            let thoughts: Vec<Thinking> = texts
                .into_iter()
                .map(|(text, signature)| Thinking { text, signature, redacted: None, maker: Some(maker.clone()) })
                .collect();
            let carried = carried(&maker, &thoughts).unwrap();
            prop_assert!(is_carried(&carried));
            prop_assert_eq!(read_carried(&carried), Some(thoughts));
        }

        #[test]
        fn no_text_is_too_odd(text in ".*") {
            let _ = (read_token(&text), read_carried(&text), by_looks(&text));
            let coded = format!("{CODED_MARK}{text}");
            let _ = read_carried(&coded);
        }
    }
}
