//! A stream for Gemini's clients, of an answer that another dialect's provider gives.
//!
//! What always holds: a call is written whole; why the answer ended and what it cost stand in the last object, and nowhere else.

use std::collections::BTreeMap;

use super::answer::{call_part, candidate, image_part, object, text_part};
use super::chunk::finish_word;
use super::error::broken;
use super::frame::Frame;
use super::logprobs;
use super::usage::usage_with_cost;
use crate::dialect::envelope::MOST_CHOICES;
use crate::dialect::format::{Cost, StreamWish, Writer};
use crate::dialect::talk::{Call, Delta, Finish};
use crate::usage::Usage;

/// More bytes of arguments are not gathered: an event cannot be longer either.
const MOST_ARGUMENTS: usize = 16 * 1024 * 1024;

/// What is not written yet of one candidate.
#[derive(Debug, Default)]
struct State {
    /// By number, as they began. Some providers mix the arguments of several.
    calls: Vec<(u32, Call)>,
    finish: Option<Finish>,
}

/// Writes one stream.
pub struct GenerateWriter {
    frame: Frame,
    id: String,
    model: String,
    candidates: BTreeMap<u32, State>,
    gathered: usize,
}

impl GenerateWriter {
    pub fn new(wish: StreamWish) -> Self {
        let frame = Frame::new(wish.is_list);
        Self { frame, id: wish.id, model: String::new(), candidates: BTreeMap::new(), gathered: 0 }
    }

    /// Writes a part of a candidate, after the calls that came before it.
    fn part(&mut self, choice: u32, part: String, logprobs: Option<&str>, out: &mut Vec<u8>) {
        let calls = self.candidates.entry(choice).or_default().calls.drain(..);
        let mut parts: Vec<String> = calls.map(|(_, call)| call_part(&call)).collect();
        parts.push(part);
        let candidate = candidate(choice, &parts, None, logprobs);
        self.frame.write(&object(&[candidate], None, &self.model, &self.id), out);
    }
}

const fn choice_of(delta: &Delta) -> u32 {
    match delta {
        Delta::Start { .. } => 0,
        Delta::Text { choice, .. }
        | Delta::Refusal { choice, .. }
        | Delta::Thinking { choice, .. }
        | Delta::Signature { choice, .. }
        | Delta::Redacted { choice, .. }
        | Delta::Form { choice, .. }
        | Delta::Call { choice, .. }
        | Delta::Arguments { choice, .. }
        | Delta::Image { choice, .. }
        | Delta::Logprobs { choice, .. }
        | Delta::Finish { choice, .. } => *choice,
    }
}

impl Writer for GenerateWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let choice = choice_of(delta);
        if u64::from(choice) >= MOST_CHOICES {
            return;
        }
        match delta {
            Delta::Start { id, model } => {
                if !id.is_empty() {
                    self.id.clone_from(id);
                }
                self.model.clone_from(model);
            }
            Delta::Text { text, .. } | Delta::Refusal { text, .. } => self.part(choice, text_part(text, false, None), None, out),
            Delta::Thinking { text, .. } => self.part(choice, text_part(text, true, None), None, out),
            // An empty thought: with the words before it, it is the whole.
            Delta::Signature { signature, .. } => self.part(choice, text_part("", true, Some(signature)), None, out),
            // What a provider hides as a whole has no place here.
            Delta::Redacted { .. } | Delta::Form { .. } => {}
            Delta::Image { media_type, data, .. } => self.part(choice, image_part(media_type, data), None, out),
            Delta::Logprobs { json, .. } => {
                if let Some(logprobs) = logprobs::from_openai(json) {
                    self.part(choice, text_part("", false, None), Some(&logprobs), out);
                }
            }
            Delta::Call { call, id, name, signature, .. } => {
                let own = Call {
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                    signature: signature.clone(),
                    ..Call::default()
                };
                self.candidates.entry(choice).or_default().calls.push((*call, own));
            }
            Delta::Arguments { call, json, .. } => {
                self.gathered = self.gathered.saturating_add(json.len());
                let calls = &mut self.candidates.entry(choice).or_default().calls;
                let own = calls.iter_mut().rev().find(|(number, _)| number == call);
                if let Some((_, own)) = own.filter(|_| self.gathered <= MOST_ARGUMENTS) {
                    own.arguments.push_str(json);
                }
            }
            Delta::Finish { finish, .. } => self.candidates.entry(choice).or_default().finish = Some(finish.clone()),
        }
    }

    fn finish(&mut self, usage: &Usage, cost: &Cost, out: &mut Vec<u8>) {
        let mut states = std::mem::take(&mut self.candidates);
        if states.is_empty() {
            states.insert(0, State::default());
        }
        let mut candidates = Vec::new();
        for (choice, state) in states {
            let parts: Vec<String> = state.calls.iter().map(|(_, call)| call_part(call)).collect();
            // Upstream ended well and gave no reason.
            let word = state.finish.as_ref().map_or("OTHER", finish_word);
            candidates.push(candidate(choice, &parts, Some(word), None));
        }
        let usage = usage_with_cost(None, usage, cost);
        self.frame.write(&object(&candidates, Some(&usage), &self.model, &self.id), out);
        self.frame.end(out);
    }

    fn ping(&mut self, _: &mut Vec<u8>) {}

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.frame.write(&broken(code, message), out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Generate;
    use super::super::testing::{STREAM, meter, read, run};
    use super::*;
    use crate::dialect::format::{Counting, Translation};
    use crate::dialect::meter::{Meter, Way};

    fn through(wish: StreamWish) -> Meter {
        meter(Way::Translated(Generate.reader(Counting::default()), Generate.writer(wish)))
    }

    fn write(deltas: &[Delta]) -> String {
        let mut writer = GenerateWriter::new(StreamWish { id: "own".to_owned(), ..StreamWish::default() });
        let mut out = Vec::new();
        deltas.iter().for_each(|delta| writer.delta(delta, &mut out));
        let cost = Cost { amount: "0.1".to_owned(), details: "{}".to_owned() };
        writer.finish(&Usage { input: 3, output: 2, ..Usage::default() }, &cost, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let out = run(&mut through(StreamWish::default()), &[STREAM.as_bytes()]);
        assert_eq!(read(&out).0, read(STREAM).0);
        assert_eq!(read(&out).1.usage(), read(STREAM).1.usage());
        assert_eq!(out.matches("\"cost\":0.43").count(), 1, "{out}");
        assert!(out.rsplit("data: ").next().unwrap().contains("\"finishReason\":\"STOP\""));
    }

    #[test]
    fn a_list_is_whole_at_the_complete_end_only() {
        let wish = StreamWish { is_list: true, ..StreamWish::default() };
        let out = run(&mut through(wish.clone()), &[STREAM.as_bytes()]);
        assert!(serde_json::from_str::<Vec<serde_json::Value>>(&out).unwrap().len() > 2);
        let mut meter = through(wish);
        let mut out = run(&mut meter, &[&STREAM.as_bytes()[..STREAM.rfind("data: ").unwrap()]]).into_bytes();
        meter.broken("upstream_cut", "gone", &mut out);
        assert!(out.starts_with(b"[{") && !out.ends_with(b"]"));
    }

    #[test]
    fn calls_are_whole_even_if_their_arguments_come_mixed() {
        let call = |call: u32| Delta::Call { choice: 0, call, id: format!("c{call}"), name: "f".to_owned(), signature: None };
        let more = |call: u32, json: &str| Delta::Arguments { choice: 0, call, json: json.to_owned() };
        let finish = Delta::Finish { choice: 0, finish: Finish::Calls };
        let out = write(&[call(0), more(0, "{\"a\""), call(1), more(1, "{}"), more(0, ":1}"), more(7, "lost"), finish]);
        let expected = concat!(
            r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"id":"c0","name":"f","args":{"a":1}}},"#,
            r#"{"functionCall":{"id":"c1","name":"f","args":{}}}],"role":"model"},"finishReason":"STOP","index":0}],"#,
            r#""usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5,"#,
            r#""promptTokensDetails":[{"modality":"TEXT","tokenCount":3}],"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":2}],"#,
            r#""cost":0.1,"cost_details":{}},"modelVersion":"","responseId":"own"}"#,
            "\n\n"
        );
        assert_eq!(out, expected);
    }

    #[test]
    fn text_after_a_call_comes_after_it() {
        let out = write(&[
            Delta::Call { choice: 0, call: 0, id: "c".to_owned(), name: "f".to_owned(), signature: None },
            Delta::Text { choice: 0, text: "x".to_owned() },
        ]);
        let first = out.split("\n\n").next().unwrap();
        assert!(first.contains(r#""args":{}}},{"text":"x"}"#), "{first}");
        assert!(out.contains(r#""finishReason":"OTHER""#));
    }

    #[test]
    fn nothing_at_all_is_still_an_answer() {
        let out = write(&[Delta::Start { id: "i".to_owned(), model: "m".to_owned() }]);
        assert!(out.contains(r#"{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"OTHER","index":0}"#), "{out}");
        assert!(out.contains(r#""modelVersion":"m","responseId":"i""#));
    }
}
