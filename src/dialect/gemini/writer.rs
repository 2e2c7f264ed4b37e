//! A stream for Gemini's clients, of an answer that another dialect's provider gives.
//!
//! What always holds: a call is written whole, and what comes after its beginning comes after it; why the answer ended and what
//! it cost stand in the last object, and nowhere else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::answer::{call_part, candidate, image_part, object, text_part};
use super::chunk::finish_word;
use super::error::broken;
use super::frame::ObjectWriter;
use super::logprobs;
use super::usage::usage_with_cost;
use crate::dialect::conversation::{Delta, Finish, ToolCall};
use crate::dialect::envelope::MOST_CHOICES;
use crate::dialect::format::{Cost, StreamWish, Writer};
use crate::dialect::scan::Scan;
use crate::usage::Usage;

/// More bytes do not wait for the end of a call: an event cannot be longer either.
const MOST_HELD: usize = 16 * 1024 * 1024;
/// Nor do more pieces.
const MOST_WAITING: usize = 4_096;

/// What is not written yet of one candidate.
#[derive(Debug, Default)]
struct State {
    /// Calls as they began, and what came after them.
    waiting: VecDeque<Waiting>,
    /// How many things have waited, and wait no more. Places are counted from the first of them.
    gone: usize,
    /// The place of the last call of each number,
    calls: BTreeMap<u32, usize>,
    /// of the calls of which more may come,
    coming: BTreeSet<usize>,
    /// and of the parts.
    parts: BTreeSet<usize>,
    finish: Option<Finish>,
}

/// What waits.
#[derive(Debug)]
enum Waiting {
    /// A call, by its number. Some providers mix the arguments of several.
    Call { number: u32, call: ToolCall, scan: Scan },
    /// A part, with its log probabilities.
    Part { json: String, logprobs: Option<String> },
}

impl Waiting {
    /// Whether more of it may come.
    const fn is_coming(&self) -> bool {
        matches!(self, Self::Call { scan, .. } if !scan.is_whole())
    }

    const fn is_half(&self) -> bool {
        matches!(self, Self::Call { scan, .. } if scan.is_half())
    }
}

impl State {
    fn push(&mut self, waiting: Waiting) {
        let at = self.gone.saturating_add(self.waiting.len());
        match &waiting {
            Waiting::Call { number, .. } => _ = self.calls.insert(*number, at),
            Waiting::Part { .. } => _ = self.parts.insert(at),
        }
        if waiting.is_coming() {
            self.coming.insert(at);
        }
        self.waiting.push_back(waiting);
    }

    /// More of the arguments of a call; false if it does not wait.
    fn arguments(&mut self, number: u32, json: &str) -> bool {
        let Some(at) = self.calls.get(&number).copied() else { return false };
        let waiting = at.checked_sub(self.gone).and_then(|place| self.waiting.get_mut(place));
        let Some(waiting) = waiting else { return false };
        if let Waiting::Call { call, scan, .. } = waiting {
            scan.push(json);
            call.arguments.push_str(json);
        }
        if waiting.is_coming() {
            self.coming.insert(at);
        } else {
            self.coming.remove(&at);
        }
        true
    }

    /// Takes what can be written of what waits, as candidates: everything before a call that is still coming, or all of it. The
    /// last object takes what is left, so the calls at the end wait for it.
    fn ready(&mut self, is_all: bool) -> Vec<(Vec<String>, Option<String>)> {
        let coming = self.coming.first().copied().filter(|_| !is_all).unwrap_or(usize::MAX);
        let last = self.parts.range(..coming).next_back().map_or(self.gone, |at| at.saturating_add(1));
        let mut pieces = Vec::new();
        let mut parts = Vec::new();
        for waiting in self.waiting.drain(..last.saturating_sub(self.gone)) {
            match waiting {
                Waiting::Call { call, .. } => parts.push(call_part(&call)),
                Waiting::Part { json, logprobs } => {
                    parts.push(json);
                    pieces.push((std::mem::take(&mut parts), logprobs));
                }
            }
        }
        self.gone = last;
        for places in [&mut self.parts, &mut self.coming] {
            while places.first().is_some_and(|at| *at < last) {
                places.pop_first();
            }
        }
        pieces
    }
}

/// Writes one stream.
pub struct GenerateWriter {
    frame: ObjectWriter,
    id: String,
    model: String,
    candidates: BTreeMap<u32, State>,
    /// How many bytes were gathered for calls, and have waited.
    held: usize,
    fault: Option<&'static str>,
}

impl GenerateWriter {
    pub fn new(wish: StreamWish) -> Self {
        let frame = ObjectWriter::new(wish.is_list);
        Self { frame, id: wish.id, model: wish.model, candidates: BTreeMap::new(), held: 0, fault: None }
    }

    /// Writes a part of a candidate, after the calls that came before it; it waits while one of them is still coming.
    fn part(&mut self, choice: u32, json: String, logprobs: Option<String>, out: &mut Vec<u8>) {
        let state = self.candidates.entry(choice).or_default();
        let is_waiting = !state.coming.is_empty();
        let size = json.len();
        state.push(Waiting::Part { json, logprobs });
        let is_beyond = state.waiting.len() > MOST_WAITING;
        if is_waiting && self.hold(size) && !is_beyond {
            return;
        }
        self.release(choice, is_waiting, out);
    }

    /// Counts bytes that are kept; false if they are too many.
    const fn hold(&mut self, bytes: usize) -> bool {
        self.held = self.held.saturating_add(bytes);
        self.held <= MOST_HELD
    }

    /// Writes what can be. Beyond the bounds that is everything: a call that has no arguments is taken to have none, and one that
    /// has half of them cannot be waited for.
    fn release(&mut self, choice: u32, is_all: bool, out: &mut Vec<u8>) {
        let Some(state) = self.candidates.get_mut(&choice) else { return };
        if is_all && state.waiting.iter().any(Waiting::is_half) {
            self.fault = Some("too much came between the arguments of a call");
            return;
        }
        for (parts, logprobs) in state.ready(is_all) {
            let candidate = candidate(choice, &parts, None, logprobs.as_deref());
            self.frame.write(&object(&[candidate], None, &self.model, &self.id), out);
        }
    }

    fn arguments(&mut self, choice: u32, number: u32, json: &str, out: &mut Vec<u8>) {
        let is_held = self.hold(json.len());
        let state = self.candidates.entry(choice).or_default();
        match is_held.then(|| state.arguments(number, json)) {
            Some(true) => self.release(choice, false, out),
            // White space behind a whole object is no loss.
            Some(false) if json.trim().is_empty() => {}
            Some(false) => self.fault = Some("arguments came for a call that had ended"),
            None => self.fault = Some("a call has more arguments than can be followed"),
        }
    }
}

impl Writer for GenerateWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let choice = delta.choice().unwrap_or(0);
        if u64::from(choice) >= MOST_CHOICES {
            return;
        }
        match delta {
            Delta::Start { id, model } => {
                if self.id.is_empty() {
                    self.id.clone_from(id);
                }
                if !model.is_empty() {
                    self.model.clone_from(model);
                }
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
                    self.part(choice, text_part("", false, None), Some(logprobs), out);
                }
            }
            Delta::Call { call, id, name, signature, .. } => {
                let own = ToolCall { id: id.clone(), name: name.clone(), signature: signature.clone(), ..ToolCall::default() };
                let waiting = Waiting::Call { number: *call, call: own, scan: Scan::default() };
                self.candidates.entry(choice).or_default().push(waiting);
            }
            Delta::Arguments { call, json, .. } => self.arguments(choice, *call, json, out),
            Delta::Finish { finish, .. } => self.candidates.entry(choice).or_default().finish = Some(finish.clone()),
        }
    }

    fn finish(&mut self, usage: &Usage, cost: &Cost, out: &mut Vec<u8>) {
        let mut states = std::mem::take(&mut self.candidates);
        if states.is_empty() {
            states.insert(0, State::default());
        }
        let mut candidates = Vec::new();
        for (choice, mut state) in states {
            for (parts, logprobs) in state.ready(true) {
                let candidate = candidate(choice, &parts, None, logprobs.as_deref());
                self.frame.write(&object(&[candidate], None, &self.model, &self.id), out);
            }
            let call = |waiting: &Waiting| match waiting {
                Waiting::Call { call, .. } => Some(call_part(call)),
                Waiting::Part { .. } => None,
            };
            let parts: Vec<String> = state.waiting.iter().filter_map(call).collect();
            // Upstream ended well and gave no reason.
            let word = state.finish.as_ref().map_or("OTHER", finish_word);
            candidates.push(candidate(choice, &parts, Some(word), None));
        }
        let usage = usage_with_cost(None, usage, cost);
        self.frame.write(&object(&candidates, Some(&usage), &self.model, &self.id), out);
        self.frame.end(out);
    }

    fn ping(&mut self, _: &mut Vec<u8>) {}

    fn fault(&self) -> Option<&'static str> {
        self.fault
    }

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
    use crate::dialect::meter::{Meter, Transcoding};

    fn through(wish: StreamWish) -> Meter {
        meter(Transcoding::Translated(Generate.reader(Counting::default()), Generate.writer(wish)))
    }

    fn write(deltas: &[Delta]) -> String {
        let mut writer = GenerateWriter::new(StreamWish { id: "gen-1".to_owned(), ..StreamWish::default() });
        let mut out = Vec::new();
        deltas.iter().for_each(|delta| writer.delta(delta, &mut out));
        let cost = Cost { amount: "0.1".to_owned(), details: "{}".to_owned(), ..Cost::default() };
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
            r#""cost":0.1,"cost_details":{}},"modelVersion":"","responseId":"gen-1"}"#,
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
    fn what_comes_between_the_fragments_of_a_call_waits_for_it() {
        let call = |call: u32| Delta::Call { choice: 0, call, id: format!("c{call}"), name: "f".to_owned(), signature: None };
        let more = |call: u32, json: &str| Delta::Arguments { choice: 0, call, json: json.to_owned() };
        let text = |text: &str| Delta::Text { choice: 0, text: text.to_owned() };
        let out = write(&[text("a"), call(0), more(0, "{\"a\""), text("b"), call(1), more(0, ":1}"), text("c"), more(1, "{}")]);
        let events: Vec<&str> = out.split("\n\n").collect();
        assert!(events[0].contains(r#"[{"text":"a"}]"#), "{out}");
        assert!(events[1].contains(r#"[{"functionCall":{"id":"c0","name":"f","args":{"a":1}}},{"text":"b"}]"#), "{out}");
        assert!(events[2].contains(r#"[{"functionCall":{"id":"c1","name":"f","args":{}}},{"text":"c"}]"#), "{out}");
        let mut writer = GenerateWriter::new(StreamWish::default());
        let mut out = Vec::new();
        for delta in [call(0), more(0, "{}"), text("b"), more(0, " \n")] {
            writer.delta(&delta, &mut out);
        }
        assert_eq!(writer.fault(), None);
        writer.delta(&more(0, "{}"), &mut out);
        assert!(writer.fault().is_some(), "what cannot be told any more is no complete answer");
    }

    #[test]
    fn what_waits_has_an_end() {
        let call = Delta::Call { choice: 0, call: 0, id: "c".to_owned(), name: "f".to_owned(), signature: None };
        let half = Delta::Arguments { choice: 0, call: 0, json: "{".to_owned() };
        let long = Delta::Text { choice: 0, text: "x".repeat(MOST_HELD + 1) };
        for (deltas, is_lost) in [(vec![call.clone(), half, long.clone()], true), (vec![call, long], false)] {
            let mut writer = GenerateWriter::new(StreamWish::default());
            let mut out = Vec::new();
            deltas.iter().for_each(|delta| writer.delta(delta, &mut out));
            assert_eq!((writer.fault().is_some(), out.is_empty()), (is_lost, is_lost));
        }
    }

    #[test]
    fn nothing_at_all_is_still_an_answer() {
        let out = write(&[Delta::Start { id: "i".to_owned(), model: "m".to_owned() }]);
        assert!(out.contains(r#"{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"OTHER","index":0}"#), "{out}");
        assert!(out.contains(r#""modelVersion":"m","responseId":"gen-1""#));
    }
}
