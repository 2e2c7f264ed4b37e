//! A stream for a client that reads messages, from a provider of another dialect.
//!
//! What always holds: one block is open at a time, and each is closed before the next; a call whose arguments are still coming is
//! cut by nothing: whatever else comes waits for it, in its order; `message_stop` is written after the complete end alone.

use std::collections::{BTreeMap, VecDeque};

use super::answer::{image_block, message, stop_of, text_block, thinking_block};
use super::passthrough::{PREFIX, write_broken, write_ping};
use super::usage::{usage_with_cost, write_usage};
use crate::dialect::conversation::{Delta, Finish, Thinking};
use crate::dialect::format::{Cost, StreamWish, Writer};
use crate::dialect::json::push_text;
use crate::dialect::scan::Scan;
use crate::dialect::sse::Data;
use crate::usage::Usage;

/// More than this does not wait for a call,
const MOST_WAITING: usize = 4_096;
/// nor do more bytes. An event that comes is no longer either.
const MOST_HELD: usize = 16 * 1024 * 1024;

/// The block that is open.
enum Open {
    None,
    Text,
    Thinking { is_signed: bool },
    Call { call: u32, scan: Scan },
}

/// What waits for the call that is open.
enum Waiting {
    Call { call: u32, id: String, name: String, json: String },
    Said(Delta),
}

/// Writes one stream.
pub struct MessagesWriter {
    /// The message's own; the model's, should upstream not name it.
    id: String,
    model: String,
    is_started: bool,
    open: Open,
    /// Of the next block.
    index: u64,
    waiting: VecDeque<Waiting>,
    /// How many things have waited, and wait no more,
    gone: usize,
    /// and where the first call of each number is among all of them.
    places: BTreeMap<u32, usize>,
    /// How many bytes wait.
    held: usize,
    finish: Finish,
    has_calls: bool,
    has_refused: bool,
    fault: Option<&'static str>,
}

impl MessagesWriter {
    /// A writer for a client that wishes this.
    pub fn new(wish: StreamWish) -> Self {
        Self {
            id: wish.answer_id(PREFIX, ""),
            model: wish.model,
            is_started: false,
            open: Open::None,
            index: 0,
            waiting: VecDeque::new(),
            gone: 0,
            places: BTreeMap::new(),
            held: 0,
            finish: Finish::Stop,
            has_calls: false,
            has_refused: false,
            fault: None,
        }
    }

    fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        let id = if self.id.is_empty() { id } else { self.id.as_str() };
        let model = if model.is_empty() { self.model.as_str() } else { model };
        // What went in is known at the end.
        let message = message(id, model, "[]", ["null", "null", &write_usage(&Usage::default())]);
        event("message_start", &format!(",\"message\":{message}"), out);
    }

    fn open(&mut self, open: Open, block: &str, out: &mut Vec<u8>) {
        self.close(out);
        event("content_block_start", &format!(",\"index\":{},\"content_block\":{block}", self.index), out);
        self.open = open;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::None) {
            self.open = Open::None;
            event("content_block_stop", &format!(",\"index\":{}", self.index), out);
            self.index = self.index.saturating_add(1);
        }
    }

    /// A block that is whole at once.
    fn whole(&mut self, block: &str, out: &mut Vec<u8>) {
        self.open(Open::Text, block, out);
        self.close(out);
    }

    fn add(&self, kind: &str, name: &str, text: &str, out: &mut Vec<u8>) {
        let mut rest = format!(",\"index\":{},\"delta\":{{\"type\":\"{kind}\",\"{name}\":", self.index);
        push_text(&mut rest, text);
        rest.push('}');
        event("content_block_delta", &rest, out);
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if !matches!(self.open, Open::Text) {
            self.open(Open::Text, &text_block(""), out);
        }
        self.add("text_delta", "text", text, out);
    }

    fn thinking(&mut self, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        // What is thought after a signature is not of it.
        if !matches!(self.open, Open::Thinking { is_signed: false }) {
            self.open(Open::Thinking { is_signed: false }, &thinking_block(&Thinking::default()), out);
        }
        self.add("thinking_delta", "thinking", text, out);
    }

    fn signature(&mut self, signature: &str, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::Thinking { .. }) {
            self.open(Open::Thinking { is_signed: true }, &thinking_block(&Thinking::default()), out);
        }
        self.open = Open::Thinking { is_signed: true };
        self.add("signature_delta", "signature", signature, out);
    }

    /// Writes what is said, or a call.
    fn said(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Text { text, .. } | Delta::Refusal { text, .. } => self.text(text, out),
            Delta::Thinking { text, .. } => self.thinking(text, out),
            Delta::Signature { signature, .. } => self.signature(signature, out),
            Delta::Redacted { data, .. } => {
                let thinking = Thinking { redacted: Some(data.clone()), ..Thinking::default() };
                self.whole(&thinking_block(&thinking), out);
            }
            Delta::Image { media_type, data, .. } => self.whole(&image_block(media_type, data), out),
            Delta::Call { call, id, name, .. } => {
                let block = super::answer::call_block(id, name, "{}");
                self.open(Open::Call { call: *call, scan: Scan::default() }, &block, out);
            }
            _ => {}
        }
    }

    /// Whether a call is open whose arguments may still come.
    const fn is_calling(&self) -> bool {
        matches!(&self.open, Open::Call { scan, .. } if !scan.is_whole())
    }

    /// Writes something, or lets it wait for the call that is open.
    fn next(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if !self.is_calling() {
            return self.said(delta, out);
        }
        self.held = self.held.saturating_add(length(delta));
        match (delta, self.waiting.back_mut()) {
            (Delta::Call { call, id, name, .. }, _) => {
                let (gone, at) = (self.gone, self.gone.saturating_add(self.waiting.len()));
                self.places.entry(*call).and_modify(|known| *known = if *known < gone { at } else { *known }).or_insert(at);
                self.waiting.push_back(Waiting::Call { call: *call, id: id.clone(), name: name.clone(), json: String::new() });
            }
            // Words that come piece by piece wait as one.
            (Delta::Text { text, .. }, Some(Waiting::Said(Delta::Text { text: before, .. })))
            | (Delta::Thinking { text, .. }, Some(Waiting::Said(Delta::Thinking { text: before, .. }))) => before.push_str(text),
            _ => self.waiting.push_back(Waiting::Said(delta.clone())),
        }
        self.bound(out);
    }

    fn arguments(&mut self, number: u32, json: &str, out: &mut Vec<u8>) {
        if json.is_empty() {
            return;
        }
        match &mut self.open {
            Open::Call { call, scan } if *call == number => {
                scan.push(json);
                self.add("input_json_delta", "partial_json", json, out);
            }
            _ => {
                let at = self.places.get(&number).and_then(|at| at.checked_sub(self.gone));
                let waiting = at.and_then(|at| self.waiting.get_mut(at)).and_then(|waiting| match waiting {
                    Waiting::Call { json, .. } => Some(json),
                    Waiting::Said(_) => None,
                });
                match waiting {
                    Some(waiting) => waiting.push_str(json),
                    // White space behind a whole object is no loss.
                    None if json.trim().is_empty() => return,
                    None => return self.fault = Some("arguments came for a call that had ended"),
                }
                self.held = self.held.saturating_add(json.len());
            }
        }
        if !self.is_calling() {
            self.release(out);
        }
        self.bound(out);
    }

    /// Writes what waits, up to a call whose arguments are still to come.
    fn release(&mut self, out: &mut Vec<u8>) {
        while let Some(waiting) = self.waiting.pop_front() {
            self.gone = self.gone.saturating_add(1);
            match waiting {
                Waiting::Said(delta) => {
                    self.held = self.held.saturating_sub(length(&delta));
                    self.said(&delta, out);
                }
                Waiting::Call { call, id, name, json } => {
                    self.held = self.held.saturating_sub(json.len());
                    self.said(&Delta::Call { choice: 0, call, id, name, signature: None }, out);
                    if let (Open::Call { scan, .. }, false) = (&mut self.open, json.is_empty()) {
                        scan.push(&json);
                        self.add("input_json_delta", "partial_json", &json, out);
                    }
                    if self.is_calling() {
                        return;
                    }
                }
            }
        }
    }

    /// Beyond the bounds a call that has no arguments is taken to have none, and one that has half of them cannot be waited for.
    fn bound(&mut self, out: &mut Vec<u8>) {
        while self.waiting.len() > MOST_WAITING || self.held > MOST_HELD {
            if matches!(&self.open, Open::Call { scan, .. } if scan.is_half()) {
                self.fault = Some("too much came between the arguments of a call");
                return;
            }
            self.release(out);
        }
    }

    /// Nothing more comes for the calls that are open or wait.
    fn settle(&mut self, out: &mut Vec<u8>) {
        while !self.waiting.is_empty() {
            self.release(out);
        }
    }
}

/// How many bytes something is that waits.
const fn length(delta: &Delta) -> usize {
    match delta {
        Delta::Text { text, .. } | Delta::Refusal { text, .. } | Delta::Thinking { text, .. } => text.len(),
        Delta::Signature { signature: data, .. } | Delta::Redacted { data, .. } | Delta::Image { data, .. } => data.len(),
        _ => 0,
    }
}

impl Writer for MessagesWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if let Delta::Start { id, model } = delta {
            return self.start(id, model, out);
        }
        self.start("", "", out);
        match delta {
            Delta::Text { choice: 0, text } | Delta::Thinking { choice: 0, text } if text.is_empty() => {}
            Delta::Refusal { choice: 0, .. } => {
                self.has_refused = true;
                self.next(delta, out);
            }
            Delta::Call { choice: 0, .. } => {
                self.has_calls = true;
                self.next(delta, out);
            }
            Delta::Text { choice: 0, .. }
            | Delta::Thinking { choice: 0, .. }
            | Delta::Signature { choice: 0, .. }
            | Delta::Redacted { choice: 0, .. }
            | Delta::Image { choice: 0, .. } => self.next(delta, out),
            Delta::Arguments { choice: 0, call, json } => self.arguments(*call, json, out),
            Delta::Finish { choice: 0, finish } => self.finish = finish.clone(),
            // More choices than one and log probabilities cannot be asked for in this dialect.
            _ => {}
        }
    }

    fn finish(&mut self, usage: &Usage, cost: &Cost, out: &mut Vec<u8>) {
        self.start("", "", out);
        self.settle(out);
        self.close(out);
        let (reason, stop) = stop_of(&self.finish, self.has_calls, self.has_refused);
        let usage = usage_with_cost(None, usage, cost);
        let delta = format!(",\"delta\":{{\"stop_reason\":{reason},\"stop_sequence\":{stop}}},\"usage\":{usage}");
        event("message_delta", &delta, out);
        event("message_stop", "", out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        write_ping(out);
    }

    fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        write_broken(code, message, out);
    }
}

/// Writes an event; `rest` is what its data has after the type.
fn event(name: &str, rest: &str, out: &mut Vec<u8>) {
    Data::write(Some(name), &format!("{{\"type\":\"{name}\"{rest}}}"), out);
}

#[cfg(test)]
mod tests {
    use super::super::tests::obeys_the_protocol;
    use super::*;
    use proptest::prelude::*;

    fn wish() -> StreamWish {
        StreamWish { id: "gen-1".to_owned(), ..StreamWish::default() }
    }

    fn write(deltas: &[Delta]) -> String {
        let mut writer = MessagesWriter::new(wish());
        let mut out = Vec::new();
        for delta in deltas {
            writer.delta(delta, &mut out);
        }
        let cost = Cost { amount: "0.5".to_owned(), details: "{\"currency\":\"USD\"}".to_owned(), ..Cost::default() };
        let usage = Usage { input: 7, cached_input: 2, output: 5, reasoning: 3, ..Usage::default() };
        Writer::finish(&mut writer, &usage, &cost, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn call(call: u32) -> Delta {
        Delta::Call { choice: 0, call, id: format!("call_{call}"), name: format!("f{call}"), signature: None }
    }

    fn json(call: u32, json: &str) -> Delta {
        Delta::Arguments { choice: 0, call, json: json.to_owned() }
    }

    fn text(text: &str) -> Delta {
        Delta::Text { choice: 0, text: text.to_owned() }
    }

    #[test]
    fn an_empty_answer_has_its_beginning_and_its_end() {
        let out = write(&[]);
        assert!(obeys_the_protocol(&out).is_empty());
        let start = r#"{"type":"message_start","message":{"id":"msg_gen-1","type":"message","role":"assistant","model":"","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"#;
        assert!(out.contains(start), "{out}");
        let end = r#""delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":7,"cache_creation_input_tokens":0,"cache_read_input_tokens":2,"#;
        assert!(out.contains(end) && out.contains(r#""output_tokens":8,"output_tokens_details":{"thinking_tokens":3}"#), "{out}");
        assert!(out.contains(r#","cost":0.5,"cost_details":{"currency":"USD"}}}"#), "{out}");
    }

    #[test]
    fn blocks_follow_one_another() {
        let thought = |text: &str| Delta::Thinking { choice: 0, text: text.to_owned() };
        let sign = |signature: &str| Delta::Signature { choice: 0, signature: signature.to_owned() };
        let out = write(&[
            Delta::Start { id: "a".to_owned(), model: "m".to_owned() },
            thought("one"),
            thought(" more"),
            sign("s1"),
            thought("two"),
            text("x"),
            text(""),
            text("y"),
            sign("s2"),
            Delta::Redacted { choice: 0, data: "secret".to_owned() },
            Delta::Image { choice: 0, media_type: "image/png".to_owned(), data: "QUJD".to_owned() },
            call(0),
            Delta::Finish { choice: 0, finish: Finish::Stop },
        ]);
        let blocks = obeys_the_protocol(&out);
        let kinds: Vec<(&str, &str)> =
            blocks.iter().map(|(block, text)| (block["type"].as_str().unwrap(), text.as_str())).collect();
        let expected = [
            ("thinking", "one more"),
            ("thinking", "two"),
            ("text", "xy"),
            ("thinking", ""),
            ("redacted_thinking", ""),
            ("image", ""),
            ("tool_use", ""),
        ];
        assert_eq!(kinds, expected);
        assert_eq!((&blocks[4].0["data"], &blocks[6].0["input"]), (&"secret".into(), &serde_json::json!({})));
        // Whoever stops to call a tool says so.
        assert!(out.contains(r#""stop_reason":"tool_use""#), "{out}");
    }

    #[test]
    fn calls_whose_arguments_come_in_turns_are_told_apart() {
        let deltas = [
            call(0),
            json(0, "{\"a\":"),
            call(1),
            json(1, "{\"b\":\"}"),
            json(0, "1}"),
            json(1, "\"}"),
            call(2),
            json(2, "{}"),
            text("done"),
        ];
        let blocks = obeys_the_protocol(&write(&deltas));
        let said: Vec<&str> = blocks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(said, ["{\"a\":1}", "{\"b\":\"}\"}", "{}", "done"]);
        assert_eq!(blocks[1].0["id"], "call_1");
    }

    #[test]
    fn what_comes_between_the_fragments_of_a_call_waits_for_it_in_its_order() {
        let thought = Delta::Thinking { choice: 0, text: "hm".to_owned() };
        let deltas = [
            call(0),
            json(0, "{\"a\""),
            text("x"),
            text("y"),
            thought,
            Delta::Signature { choice: 0, signature: "s".to_owned() },
            call(1),
            Delta::Refusal { choice: 0, text: "z".to_owned() },
            json(0, ":1}"),
            json(1, "{}"),
            json(0, "\n"),
        ];
        let blocks = obeys_the_protocol(&write(&deltas));
        let said: Vec<(&str, &str)> =
            blocks.iter().map(|(block, text)| (block["type"].as_str().unwrap(), text.as_str())).collect();
        let expected = [("tool_use", "{\"a\":1}"), ("text", "xy"), ("thinking", "hm"), ("tool_use", "{}"), ("text", "z")];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_waits_has_an_end_and_what_cannot_be_told_is_a_fault() {
        let long = || text(&"x".repeat(MOST_HELD + 1));
        for (deltas, is_lost) in [
            (vec![call(0), json(0, "{"), long()], true),
            (vec![call(0), long()], false),
            (vec![call(0), long(), json(0, "{}")], true),
            (vec![call(0), json(0, "{}"), text("x"), json(0, "{}")], true),
            (vec![json(3, "{}")], true),
        ] {
            let mut writer = MessagesWriter::new(wish());
            let mut out = Vec::new();
            deltas.iter().for_each(|delta| writer.delta(delta, &mut out));
            assert_eq!(writer.fault().is_some(), is_lost, "{}", deltas.len());
        }
    }

    #[test]
    fn a_call_goes_out_as_it_comes() {
        let mut writer = MessagesWriter::new(wish());
        let mut out = Vec::new();
        for delta in [call(0), json(0, "{}"), call(1), json(1, "{\"b\"")] {
            writer.delta(&delta, &mut out);
        }
        let out = String::from_utf8(out).unwrap();
        assert!(out.ends_with("\"partial_json\":\"{\\\"b\\\"\"}}\n\n"), "{out}");
    }

    #[test]
    fn the_reason_is_one_of_anthropics_own() {
        let refused = Delta::Refusal { choice: 0, text: "no".to_owned() };
        for (first, finish, words) in [
            (text("x"), Finish::Length, "\"max_tokens\",\"stop_sequence\":null"),
            (text("x"), Finish::StopText("E\"".to_owned()), "\"stop_sequence\",\"stop_sequence\":\"E\\\"\""),
            (text("x"), Finish::Filtered("SAFETY".to_owned()), "\"refusal\",\"stop_sequence\":null"),
            (refused, Finish::Stop, "\"refusal\",\"stop_sequence\":null"),
            (text("x"), Finish::Other("pause_turn".to_owned()), "\"pause_turn\",\"stop_sequence\":null"),
            (text("x"), Finish::Other("ODD".to_owned()), "\"end_turn\",\"stop_sequence\":null"),
            (call(0), Finish::Calls, "\"tool_use\",\"stop_sequence\":null"),
        ] {
            let out = write(&[first, Delta::Finish { choice: 0, finish }]);
            assert!(out.contains(&format!("\"stop_reason\":{words}")), "{words} {out}");
        }
    }

    #[test]
    fn a_broken_stream_ends_in_an_error_alone() {
        let mut writer = MessagesWriter::new(wish());
        let mut out = Vec::new();
        writer.delta(&text("x"), &mut out);
        writer.broken("overloaded_error", "busy", &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.ends_with("\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\",\"code\":\"overloaded_error\"}}\n\n")
        );
        assert!(!out.contains("message_stop"));
    }

    proptest! {
        #[test]
        fn nothing_said_is_lost_whatever_its_order(
            said in proptest::collection::vec((0u8..7, 0u32..3, "[a-z{}\\[\\]\"\\\\\n]{0,6}"), 0..40),
        ) {
            let mut deltas = Vec::new();
            let (mut words, mut thoughts) = (String::new(), String::new());
            let mut arguments: Vec<(u32, String)> = Vec::new();
            for (kind, number, piece) in said {
                match kind {
                    0 | 1 => {
                        words.push_str(&piece);
                        deltas.push(text(&piece));
                    }
                    2 => {
                        thoughts.push_str(&piece);
                        deltas.push(Delta::Thinking { choice: 0, text: piece });
                    }
                    3 => deltas.push(Delta::Signature { choice: 0, signature: piece }),
                    4 => deltas.push(Delta::Start { id: piece.clone(), model: piece }),
                    5 if !arguments.iter().any(|(known, _)| *known == number) => {
                        // Calls are numbered in their order and say what they have to before anything else does.
                        arguments.push((number, format!("{{{piece:?}:1}}")));
                        deltas.push(call(number));
                        let (first, second) = arguments.last().unwrap().1.split_at(2);
                        deltas.extend([json(number, first), json(number, second)]);
                    }
                    _ => deltas.push(Delta::Redacted { choice: 0, data: piece }),
                }
            }
            let blocks = obeys_the_protocol(&write(&deltas));
            let of = |kind: &str| blocks.iter().filter(|(block, _)| block["type"] == kind).map(|(_, text)| text.as_str()).collect::<Vec<_>>();
            prop_assert_eq!(of("text").concat(), words);
            prop_assert_eq!(of("thinking").concat(), thoughts);
            let arguments: Vec<&str> = arguments.iter().map(|(_, json)| json.as_str()).collect();
            prop_assert_eq!(of("tool_use"), arguments);
        }
    }
}
