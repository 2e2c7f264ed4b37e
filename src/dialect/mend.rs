//! What providers leave out of an answer is put in before a client of another dialect gets it, and what is not an answer is told.
//!
//! What always holds: an answer has an id and a model; each of its calls has an id, which no other call of it has and, where the
//! gateway makes it, no call of any other answer; half a call ends well only where the answer was cut for a reason that the client
//! is told; an answer that its provider could not finish does not end well.

use std::collections::{BTreeMap, BTreeSet};

use super::bounds::MOST_CALLS;
use super::conversation::{Answer, Delta, Finish, Part};
use super::format::{Reader, StreamWish, UpstreamError};
use super::scan::Scan;
use super::sse::Data;
use super::stream_state::StreamState;

/// Words for an end that is none: the provider broke off. OpenRouter's and vLLM's, vLLM's once more, DeepSeek's.
const BROKEN: [&str; 3] = ["error", "abort", "insufficient_system_resource"];
/// Gemini's words for an answer that could not be made. They stand within other words at its endpoint for clients of OpenAI.
const UNMADE: [&str; 5] =
    ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE"];

/// Whether a word says that no answer could be made. It is no end of its own where the client got nothing else.
pub fn is_unmade(word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    UNMADE.into_iter().any(|unmade| word.contains(unmade))
}

/// Whether a word for an end says that the provider broke off.
pub fn is_broken(word: &str) -> bool {
    BROKEN.contains(&word) || is_unmade(word)
}

/// Why an answer does not end well.
struct Fault {
    code: String,
    message: &'static str,
}

/// What is known of one answer.
struct Mend {
    id: String,
    model: String,
    /// The ids of its calls.
    ids: BTreeSet<String>,
    /// How far the arguments of each are, by its choice and its number.
    calls: BTreeMap<(u32, u32), Scan>,
    /// Which choices said something that is not a thought.
    said: u128,
}

impl Mend {
    fn new(wish: &StreamWish) -> Self {
        let (id, model) = (wish.id.clone(), wish.model.clone());
        Self { id, model, ids: BTreeSet::new(), calls: BTreeMap::new(), said: 0 }
    }

    /// The provider's id, or the gateway's own; the model as the client calls it.
    fn head(&self, id: &mut String, model: &mut String) {
        if id.is_empty() {
            id.clone_from(&self.id);
        }
        if !self.model.is_empty() {
            model.clone_from(&self.model);
        }
    }

    /// Gives a call an id where it has none, or one that another call of the answer has. Conversations name calls by nothing
    /// else, so the gateway's own is of the request and not of the provider's id of the answer, which some repeat.
    fn call(&mut self, id: &mut String) -> Result<(), Fault> {
        if self.ids.len() >= MOST_CALLS {
            return Err(Fault {
                code: "too_many_tool_calls".to_owned(),
                message: "an answer has more calls than can be followed",
            });
        }
        if id.is_empty() || self.ids.contains(id.as_str()) {
            let letter = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let own: String = self.id.chars().filter(letter).take(48).collect();
            *id = format!("call_{own}_{}", self.ids.len());
        }
        self.ids.insert(id.clone());
        Ok(())
    }

    fn said(&mut self, choice: u32) {
        self.said |= 1u128.checked_shl(choice).unwrap_or_default();
    }

    fn has_said(&self, choice: u32) -> bool {
        self.said & 1u128.checked_shl(choice).unwrap_or_default() != 0
    }

    /// Whether a choice can end like this.
    fn finish(&self, choice: u32, finish: &Finish) -> Result<(), Fault> {
        if let Finish::Other(word) = finish
            && (BROKEN.contains(&word.as_str()) || is_unmade(word) && !self.has_said(choice))
        {
            return Err(Fault { code: word.clone(), message: "the provider could not finish the answer" });
        }
        let is_cut = matches!(finish, Finish::Length | Finish::Filtered(_));
        if !is_cut && self.calls.iter().any(|((of, _), scan)| *of == choice && scan.is_half()) {
            let message = "an answer ended in the middle of a call's arguments";
            return Err(Fault { code: "unfinished_tool_call".to_owned(), message });
        }
        Ok(())
    }

    fn delta(&mut self, delta: &mut Delta) -> Result<(), Fault> {
        match delta {
            Delta::Start { id, model } => self.head(id, model),
            Delta::Text { choice, text } | Delta::Refusal { choice, text } if !text.is_empty() => self.said(*choice),
            Delta::Image { choice, .. } => self.said(*choice),
            Delta::Call { choice, call, id, .. } => {
                self.call(id)?;
                self.said(*choice);
                self.calls.insert((*choice, *call), Scan::default());
            }
            Delta::Arguments { choice, call, json } => {
                if let Some(scan) = self.calls.get_mut(&(*choice, *call)) {
                    scan.push(json);
                }
            }
            Delta::Finish { choice, finish } => self.finish(*choice, finish)?,
            _ => {}
        }
        Ok(())
    }
}

/// A reader whose answer is mended on its way.
pub struct Mended {
    reader: Box<dyn Reader>,
    mend: Mend,
}

impl Mended {
    /// A reader for a client that wishes this.
    pub fn new(reader: Box<dyn Reader>, wish: &StreamWish) -> Self {
        Self { reader, mend: Mend::new(wish) }
    }

    fn mend(&mut self, from: usize, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        let mut whole = from;
        for delta in deltas.iter_mut().skip(from) {
            if let Err(Fault { code, message }) = self.mend.delta(delta) {
                stream.fail(&code, message);
                return deltas.truncate(whole);
            }
            whole = whole.saturating_add(1);
        }
    }
}

impl Reader for Mended {
    fn event(&mut self, event: &Data, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        let from = deltas.len();
        self.reader.event(event, stream, deltas);
        self.mend(from, stream, deltas);
    }

    fn end(&mut self, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        let from = deltas.len();
        self.reader.end(stream, deltas);
        self.mend(from, stream, deltas);
    }
}

/// Mends a plain answer; an error says why it is none.
pub fn mend_answer(answer: &mut Answer, wish: &StreamWish) -> Result<(), String> {
    let told = |Fault { code, message }: Fault| {
        let error = UpstreamError { code: Some(code), ..UpstreamError::default() };
        format!("{message}{}", error.shown_code())
    };
    let mut mend = Mend::new(wish);
    mend.head(&mut answer.id, &mut answer.model);
    for (index, choice) in (0u32..).zip(&mut answer.choices) {
        for part in &mut choice.parts {
            match part {
                Part::Call(call) => {
                    mend.call(&mut call.id).map_err(told)?;
                    mend.said(index);
                }
                Part::Text { text, .. } | Part::Refusal(text) if text.is_empty() => {}
                Part::Text { .. } | Part::Refusal(_) | Part::Media { .. } => mend.said(index),
                Part::Thinking(_) | Part::Result(_) => {}
            }
        }
        mend.finish(index, &choice.finish).map_err(told)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::format::{Cost, Counting, Translation};
    use crate::dialect::json::Object;
    use crate::dialect::openai::chat::Chat;
    use crate::dialect::sse;
    use crate::dialect::stream_state::{Fallback, Progress};
    use crate::dialect::tokens::Counter;

    fn wish(id: &str) -> StreamWish {
        StreamWish { id: id.to_owned(), model: "public".to_owned(), ..StreamWish::default() }
    }

    /// What chunks with these choices say, as mended for a request.
    fn told(id: &str, choices: &[&str]) -> (Vec<Delta>, Progress) {
        let pricing = Box::new(|_: &_, _, _| Cost { amount: "0".to_owned(), details: "{}".to_owned(), ..Cost::default() });
        let mut stream = StreamState::new(Fallback::default(), Counter::new("gpt"), pricing);
        let mut reader = Mended::new(Chat.reader(Counting::default()), &wish(id));
        let mut deltas = Vec::new();
        let chunks = choices.iter().map(|choice| format!("{{\"choices\":[{choice}]}}"));
        for data in chunks.chain(["[DONE]".to_owned()]) {
            if stream.is_open() {
                reader.event(&sse::Data { name: None, data }, &mut stream, &mut deltas);
            }
        }
        (deltas, stream.progress)
    }

    fn answer(id: &str, choice: &str) -> Result<Answer, String> {
        let body = format!("{{\"choices\":[{choice}]}}");
        let mut answer = Chat.read_answer(&Object::parse(&body).unwrap(), Counting::default()).unwrap();
        mend_answer(&mut answer, &wish(id)).map(|()| answer)
    }

    fn ids(deltas: &[Delta]) -> Vec<&str> {
        let calls = deltas.iter().filter_map(|delta| match delta {
            Delta::Call { id, .. } => Some(id.as_str()),
            _ => None,
        });
        calls.collect()
    }

    const CALL: &str = r#"{"function":{"name":"f","arguments":"{}"}}"#;

    #[test]
    fn an_answer_without_an_id_and_a_model_gets_the_requests_own() {
        let (deltas, _) = told("gen-1", &[r#"{"delta":{"content":"x"}}"#]);
        assert_eq!(deltas[0], Delta::Start { id: "gen-1".to_owned(), model: "public".to_owned() });
        let answer = answer("gen-1", r#"{"message":{"content":"x"}}"#).unwrap();
        assert_eq!((answer.id.as_str(), answer.model.as_str()), ("gen-1", "public"));
    }

    #[test]
    fn no_two_calls_have_the_same_id_not_even_of_two_answers() {
        let delta = format!(r#"{{"delta":{{"tool_calls":[{CALL},{CALL}]}}}}"#);
        let (first, _) = told("gen-1", &[&delta]);
        let (second, _) = told("gen-2", &[&delta]);
        assert_eq!(ids(&first), ["call_gen-1_0", "call_gen-1_1"]);
        assert_eq!(ids(&second), ["call_gen-2_0", "call_gen-2_1"]);
        // Of two choices, and where a provider repeats its own.
        let named = r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#;
        let of = |index: u32, call: &str| format!(r#"{{"index":{index},"delta":{{"tool_calls":[{call}]}}}}"#);
        let (both, _) = told("gen-1", &[&of(0, CALL), &of(1, CALL), &of(2, named), &of(3, named)]);
        assert_eq!(ids(&both), ["call_gen-1_0", "call_gen-1_1", "a", "call_gen-1_3"]);
        let of = |id: &str| {
            let answer = answer(id, &format!(r#"{{"message":{{"tool_calls":[{CALL},{CALL},{named},{named}]}}}}"#)).unwrap();
            let parts = answer.choices[0].parts.iter();
            parts.map(|part| if let Part::Call(call) = part { call.id.clone() } else { String::new() }).collect::<Vec<_>>()
        };
        assert_eq!(of("gen-3"), ["call_gen-3_0", "call_gen-3_1", "a", "call_gen-3_3"]);
    }

    #[test]
    fn what_a_provider_could_not_finish_does_not_end_well() {
        const UNMADE: &str = "function_call_filter: MALFORMED_FUNCTION_CALL";
        for (said, reason, is_well) in [
            (r#""content":"x""#, "stop", true),
            (r#""content":"x""#, "odd", true),
            (r#""content":"x""#, UNMADE, true),
            (r#""content":"""#, UNMADE, false),
            (r#""reasoning_content":"hm""#, UNMADE, false),
            (r#""content":"x""#, "error", false),
            (r#""content":"x""#, "insufficient_system_resource", false),
            (r#""refusal":"no""#, "UNEXPECTED_TOOL_CALL", true),
        ] {
            let (deltas, progress) = told("w", &[&format!(r#"{{"delta":{{{said}}},"finish_reason":"{reason}"}}"#)]);
            let has_end = deltas.iter().any(|delta| matches!(delta, Delta::Finish { .. }));
            assert_eq!((progress == Progress::Done, has_end), (is_well, is_well), "{said} {reason}");
            let code = |error: &UpstreamError| error.code.as_deref() == Some(reason);
            assert!(is_well || matches!(progress, Progress::Broken(error) if code(&error)), "{reason}");
            let answer = answer("w", &format!(r#"{{"message":{{{said}}},"finish_reason":"{reason}"}}"#));
            assert_eq!(answer.is_ok(), is_well, "{said} {reason}");
        }
    }

    #[test]
    fn an_answer_has_no_more_calls_than_can_be_followed() {
        let mut mend = Mend::new(&wish("w"));
        assert!((0..MOST_CALLS).all(|_| mend.call(&mut String::new()).is_ok()));
        assert!(mend.call(&mut String::new()).is_err());
    }
}
