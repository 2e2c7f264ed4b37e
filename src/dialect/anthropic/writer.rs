//! A stream for a client that reads messages, from a provider of another dialect.
//!
//! What always holds: one block is open at a time, and each is closed before the next; a call whose arguments are still coming is
//! not cut by another, which waits; `message_stop` is written after the complete end alone.

use std::collections::VecDeque;

use super::answer::{image_block, message, stop_of, text_block, thinking_block};
use super::line::{write_broken, write_ping};
use super::usage::{usage_with_cost, write_usage};
use super::wire::push_text;
use crate::dialect::format::{Cost, Writer};
use crate::dialect::sse::Data;
use crate::dialect::talk::{Delta, Finish, Thinking};
use crate::usage::Usage;

/// More calls than this do not wait for one before them,
const MOST_WAITING: usize = 256;
/// nor do more bytes of arguments.
const MOST_HELD: usize = 1024 * 1024;

/// The block that is open.
enum Open {
    None,
    Text,
    Thinking { is_signed: bool },
    Call { call: u32, scan: Scan },
}

/// A call that waits for the one before it.
struct Waiting {
    call: u32,
    id: String,
    name: String,
    json: String,
}

/// Writes one stream.
pub struct MessagesWriter {
    id: String,
    is_started: bool,
    open: Open,
    /// Of the next block.
    index: u64,
    waiting: VecDeque<Waiting>,
    finish: Finish,
    has_calls: bool,
    has_refused: bool,
}

impl MessagesWriter {
    /// A writer with an id for the message, should upstream give none.
    pub const fn new(id: String) -> Self {
        Self {
            id,
            is_started: false,
            open: Open::None,
            index: 0,
            waiting: VecDeque::new(),
            finish: Finish::Stop,
            has_calls: false,
            has_refused: false,
        }
    }

    fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        let id = if id.is_empty() { self.id.as_str() } else { id };
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
        self.settle(out);
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
        self.settle(out);
        if !matches!(self.open, Open::Text) {
            self.open(Open::Text, &text_block(""), out);
        }
        self.add("text_delta", "text", text, out);
    }

    fn thinking(&mut self, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        self.settle(out);
        // What is thought after a signature is not of it.
        if !matches!(self.open, Open::Thinking { is_signed: false }) {
            self.open(Open::Thinking { is_signed: false }, &thinking_block(&Thinking::default()), out);
        }
        self.add("thinking_delta", "thinking", text, out);
    }

    fn signature(&mut self, signature: &str, out: &mut Vec<u8>) {
        self.settle(out);
        if !matches!(self.open, Open::Thinking { .. }) {
            self.open(Open::Thinking { is_signed: true }, &thinking_block(&Thinking::default()), out);
        }
        self.open = Open::Thinking { is_signed: true };
        self.add("signature_delta", "signature", signature, out);
    }

    fn call(&mut self, call: u32, id: &str, name: &str, out: &mut Vec<u8>) {
        self.has_calls = true;
        if self.waiting.is_empty() && !matches!(&self.open, Open::Call { scan, .. } if !scan.is_whole()) {
            return self.open_call(call, id, name, out);
        }
        self.waiting.push_back(Waiting { call, id: id.to_owned(), name: name.to_owned(), json: String::new() });
        if self.waiting.len() > MOST_WAITING {
            self.settle(out);
        }
    }

    fn open_call(&mut self, call: u32, id: &str, name: &str, out: &mut Vec<u8>) {
        let block = super::answer::call_block(id, name, "{}");
        self.open(Open::Call { call, scan: Scan::default() }, &block, out);
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
                let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.call == number) else { return };
                waiting.json.push_str(json);
            }
        }
        let is_over = matches!(&self.open, Open::Call { scan, .. } if scan.is_whole());
        let held: usize = self.waiting.iter().map(|waiting| waiting.json.len()).sum();
        if !self.waiting.is_empty() && (is_over || held > MOST_HELD) {
            self.next_calls(out);
        }
    }

    /// Opens the calls that wait, up to one whose arguments are still to come.
    fn next_calls(&mut self, out: &mut Vec<u8>) {
        while !self.waiting.is_empty() {
            self.next_call(out);
            if matches!(&self.open, Open::Call { scan, .. } if !scan.is_whole()) {
                return;
            }
        }
    }

    fn next_call(&mut self, out: &mut Vec<u8>) {
        let Some(Waiting { call, id, name, json }) = self.waiting.pop_front() else { return };
        self.open_call(call, &id, &name, out);
        if let (Open::Call { scan, .. }, false) = (&mut self.open, json.is_empty()) {
            scan.push(&json);
            self.add("input_json_delta", "partial_json", &json, out);
        }
    }

    /// Nothing more comes for the calls that wait.
    fn settle(&mut self, out: &mut Vec<u8>) {
        while !self.waiting.is_empty() {
            self.next_call(out);
        }
    }
}

impl Writer for MessagesWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if let Delta::Start { id, model } = delta {
            return self.start(id, model, out);
        }
        self.start("", "", out);
        match delta {
            Delta::Text { choice: 0, text } => self.text(text, out),
            Delta::Refusal { choice: 0, text } => {
                self.has_refused = true;
                self.text(text, out);
            }
            Delta::Thinking { choice: 0, text } => self.thinking(text, out),
            Delta::Signature { choice: 0, signature } => self.signature(signature, out),
            Delta::Redacted { choice: 0, data } => {
                let thinking = Thinking { redacted: Some(data.clone()), ..Thinking::default() };
                self.whole(&thinking_block(&thinking), out);
            }
            Delta::Call { choice: 0, call, id, name, .. } => self.call(*call, id, name, out),
            Delta::Arguments { choice: 0, call, json } => self.arguments(*call, json, out),
            Delta::Image { choice: 0, media_type, data } => self.whole(&image_block(media_type, data), out),
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

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        write_broken(code, message, out);
    }
}

/// Writes an event; `rest` is what its data has after the type.
fn event(name: &str, rest: &str, out: &mut Vec<u8>) {
    Data::write(Some(name), &format!("{{\"type\":\"{name}\"{rest}}}"), out);
}

/// Whether a JSON object that comes in pieces is whole.
#[derive(Default)]
struct Scan {
    depth: u64,
    has_begun: bool,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    fn push(&mut self, json: &str) {
        for byte in json.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => {
                    self.has_begun = true;
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    const fn is_whole(&self) -> bool {
        self.has_begun && self.depth == 0 && !self.in_string
    }
}
