//! What Gemini answers: the same object as a whole and as a chunk of a stream, as far as it must be known.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::dialect::conversation::Finish;
use crate::dialect::json::{Object, text_of, unquoted};

/// An answer, or a chunk of one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Only<Candidate<'a>>>>,
    #[serde(default)]
    prompt_feedback: Option<Only<Feedback>>,
    /// Usage so far.
    #[serde(borrow, default)]
    pub usage_metadata: Option<&'a RawValue>,
    /// The model, as JSON.
    #[serde(borrow, default)]
    pub model_version: Option<&'a RawValue>,
    /// The answer's id, as JSON.
    #[serde(borrow, default)]
    pub response_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    #[serde(default)]
    block_reason: Option<String>,
}

/// What one of the answers to a request gets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    index: Option<u32>,
    /// Log probabilities in Gemini's form.
    #[serde(borrow, default)]
    pub logprobs_result: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<Vec<Piece<'a>>>,
}

/// A part of an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece<'a> {
    /// Text, as JSON.
    #[serde(borrow, default)]
    pub text: Option<&'a RawValue>,
    /// Whether the text is a thought.
    #[serde(default)]
    pub thought: Option<bool>,
    /// The proof of what was thought before it.
    #[serde(default)]
    pub thought_signature: Option<String>,
    /// A call.
    #[serde(borrow, default)]
    pub function_call: Option<FunctionCall<'a>>,
    /// An image, or a sound.
    #[serde(borrow, default)]
    pub inline_data: Option<Blob<'a>>,
    /// Code that the model wrote and ran.
    #[serde(borrow, default)]
    executable_code: Option<&'a RawValue>,
}

/// A call; always whole.
#[derive(Debug, Deserialize)]
pub struct FunctionCall<'a> {
    /// Given by newer models only.
    #[serde(default)]
    pub id: Option<String>,
    /// The function.
    #[serde(default)]
    pub name: Option<String>,
    /// As JSON.
    #[serde(borrow, default)]
    pub args: Option<&'a RawValue>,
}

/// Something embedded.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob<'a> {
    /// What it is.
    #[serde(default)]
    pub mime_type: Option<String>,
    /// Base64, as JSON.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
}

/// What a member of an answer says of it; nothing where it is no text.
pub fn told(json: Option<&RawValue>) -> String {
    json.and_then(|json| text_of(json.get())).map(Cow::into_owned).unwrap_or_default()
}

/// An object and nothing else: a list would be read as the fields in their order.
#[derive(Debug)]
struct Only<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Only<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Object(PhantomData)).map(Only)
    }
}

impl<'a> Chunk<'a> {
    /// Reads an object; none if it has another shape.
    pub fn parse(json: &'a str) -> Option<Self> {
        // A list would be read as the fields in their order.
        json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
    }

    /// Reads a whole answer member by member, so that one of another shape does not hide the rest.
    pub fn of(answer: &Object<'a>) -> Self {
        let raw = |name| answer.get(name).and_then(|json| serde_json::from_str(json).ok());
        Self {
            candidates: answer.get("candidates").and_then(|json| serde_json::from_str(json).ok()),
            prompt_feedback: answer.get("promptFeedback").and_then(|json| serde_json::from_str(json).ok()),
            usage_metadata: None,
            model_version: raw("modelVersion"),
            response_id: raw("responseId"),
            error: None,
        }
    }

    /// The candidates.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate<'a>> {
        self.candidates.iter().flatten().map(|candidate| &candidate.0)
    }

    /// Why the prompt was not answered.
    pub fn block_reason(&self) -> Option<&str> {
        let reason = self.prompt_feedback.as_ref().and_then(|feedback| feedback.0.block_reason.as_deref());
        reason.filter(|reason| is_told(reason))
    }

    /// An error in place of an answer, as JSON.
    pub fn error(&self) -> Option<&'a str> {
        self.error.map(RawValue::get)
    }
}

impl<'a> Candidate<'a> {
    /// Which one it is.
    pub fn index(&self) -> u32 {
        self.index.unwrap_or(0)
    }

    /// What it gets.
    pub fn parts(&self) -> &[Piece<'a>] {
        self.content.as_ref().and_then(|content| content.parts.as_deref()).unwrap_or_default()
    }

    /// Why it ended, once it has.
    pub fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref().filter(|reason| is_told(reason))
    }

    /// How many images it gets, for prices that count them. Pictures of thoughts are none.
    pub fn images(&self) -> u64 {
        let blobs = self.parts().iter().filter(|part| part.thought != Some(true)).filter_map(|part| part.inline_data.as_ref());
        let types = blobs.filter_map(|blob| blob.mime_type.as_deref());
        types.filter(|media_type| media_type.starts_with("image/")).fold(0, |sum, _| sum.saturating_add(1))
    }

    /// Each text of it as it stands in the JSON, quotes aside.
    pub fn said(&self, mut take: impl FnMut(&str)) {
        for part in self.parts() {
            let call = part.function_call.as_ref();
            if let Some(name) = call.and_then(|call| call.name.as_deref()) {
                take(name);
            }
            for json in [part.text, call.and_then(|call| call.args), part.executable_code].into_iter().flatten() {
                take(unquoted(json.get()));
            }
        }
    }
}

/// Whether a word of an enum is more than its default.
fn is_told(word: &str) -> bool {
    !word.is_empty() && !word.ends_with("_UNSPECIFIED")
}

/// Which candidates were seen in a stream, and which of them ended.
///
/// What always holds: what cannot be counted never ends.
#[derive(Debug, Default)]
pub struct Seen {
    open: u128,
    ended: u128,
    is_blocked: bool,
    is_beyond: bool,
}

impl Seen {
    /// Takes a chunk.
    pub fn take(&mut self, chunk: &Chunk<'_>) {
        for candidate in chunk.candidates() {
            let Some(bit) = 1u128.checked_shl(candidate.index()) else {
                self.is_beyond = true;
                continue;
            };
            self.open |= bit;
            if candidate.finish_reason().is_some() {
                self.ended |= bit;
            }
        }
        self.is_blocked |= chunk.block_reason().is_some();
    }

    /// Whether a stream that ends now is complete: every candidate ended, or the prompt was blocked and none began.
    pub const fn is_complete(&self) -> bool {
        !self.is_beyond && if self.open == 0 { self.is_blocked } else { self.open == self.ended }
    }
}

/// What Gemini's word for the end of an answer means. It says `STOP` for calls, too.
pub fn finish(reason: &str, has_calls: bool) -> Finish {
    match reason {
        "STOP" if has_calls => Finish::Calls,
        "STOP" => Finish::Stop,
        "MAX_TOKENS" => Finish::Length,
        _ if FILTERS.contains(&reason) => Finish::Filtered(reason.to_owned()),
        _ => Finish::Other(reason.to_owned()),
    }
}

/// Words for an answer that was kept back.
const FILTERS: [&str; 9] = [
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
];
/// Words for another end.
const OTHERS: [&str; 7] = [
    "LANGUAGE",
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "NO_IMAGE",
    "IMAGE_OTHER",
];

/// Gemini's word for an end. What another provider calls it is none of its words.
pub fn finish_word(finish: &Finish) -> &'static str {
    let known =
        |word: &str, words: &[&'static str], otherwise| words.iter().find(|known| **known == word).copied().unwrap_or(otherwise);
    match finish {
        Finish::Stop | Finish::StopText(_) | Finish::Calls => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filtered(word) => known(word, &FILTERS, "SAFETY"),
        Finish::Other(word) => known(word, &OTHERS, "OTHER"),
    }
}

/// The words for a prompt that was not answered.
pub fn blocked(reason: &str) -> String {
    format!("The provider blocked the prompt ({reason}).")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(chunks: &[&str]) -> bool {
        let mut seen = Seen::default();
        chunks.iter().for_each(|json| seen.take(&Chunk::parse(json).unwrap()));
        seen.is_complete()
    }

    #[test]
    fn a_stream_is_complete_when_every_candidate_ended() {
        let (open, first, second) = (
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}},{"index":1}]}"#,
            r#"{"candidates":[{"finishReason":"STOP"}]}"#,
            r#"{"candidates":[{"finishReason":"MAX_TOKENS","index":1}]}"#,
        );
        assert!(complete(&[open, first, second]) && complete(&[first]));
        assert!(!complete(&[open, first]) && !complete(&[open]) && !complete(&[]) && !complete(&["{}"]));
        assert!(complete(&[r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#]));
        for never in [
            r#"{"promptFeedback":{"blockReason":"BLOCK_REASON_UNSPECIFIED"}}"#,
            r#"{"candidates":[{"finishReason":"FINISH_REASON_UNSPECIFIED"}]}"#,
            r#"{"candidates":[{"finishReason":"STOP","index":128}]}"#,
        ] {
            assert!(!complete(&[never]), "{never}");
            assert!(!complete(&[open, r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#, never]), "{never}");
        }
    }

    #[test]
    fn a_list_is_no_object() {
        for json in [r#"{"promptFeedback":["SAFETY"]}"#, r#"{"candidates":[[null,"STOP"]]}"#, r#"[[{"finishReason":"STOP"}]]"#] {
            assert!(Chunk::parse(json).is_none(), "{json}");
        }
    }

    #[test]
    fn every_end_has_a_word_on_both_sides() {
        for (reason, expected) in [
            ("STOP", Finish::Stop),
            ("MAX_TOKENS", Finish::Length),
            ("SPII", Finish::Filtered("SPII".to_owned())),
            ("MALFORMED_FUNCTION_CALL", Finish::Other("MALFORMED_FUNCTION_CALL".to_owned())),
        ] {
            assert_eq!(finish(reason, false), expected);
            assert_eq!(finish_word(&expected), reason);
        }
        assert_eq!(finish("STOP", true), Finish::Calls);
        assert_eq!(finish("MAX_TOKENS", true), Finish::Length);
        assert_eq!(finish_word(&Finish::Filtered("content_filter".to_owned())), "SAFETY");
        assert_eq!(finish_word(&Finish::Other("pause_turn".to_owned())), "OTHER");
    }
}
