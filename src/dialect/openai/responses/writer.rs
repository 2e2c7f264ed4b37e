//! A stream of a response, written for a client whose upstream speaks another format.
//!
//! What always holds: events are numbered; an item is added before anything is said of it, and done once; items are numbered in
//! the order in which they are added; the terminal event has the whole response. Of several choices the first is told: this
//! format has no other.

use std::collections::BTreeMap;

use super::answer::{
    ResponseHead, ResponseStatus, call_item, call_prefix, image_item, logprobs_items, message_item, said_part, summary_part,
    thought_item, whole_arguments,
};
use super::passthrough::{write_error, write_failed, write_keepalive};
use crate::dialect::conversation::{Delta, Finish, Form, Thinking, ToolCall, ToolKind};
use crate::dialect::format::{Cost, StreamWish, Writer};
use crate::dialect::openai::out::Out;
use crate::dialect::openai::response_usage_with_cost;
use crate::dialect::sse::Data;
use crate::usage::Usage;

/// Writes one stream.
pub struct ResponsesWriter {
    wish: StreamWish,
    head: ResponseHead,
    is_started: bool,
    /// The number of the next event.
    next: u64,
    /// Items in their order; empty while they are open.
    items: Vec<String>,
    open: Open,
    /// Calls stay open to the end: their arguments may come in turns.
    calls: Vec<OpenCall>,
    /// The place of each among them, by its number.
    places: BTreeMap<u32, usize>,
    /// What calls are for the client that begin next.
    forms: BTreeMap<u32, Form>,
    finish: Finish,
}

/// The item that words are added to.
enum Open {
    Nothing,
    Message { index: usize, done: Vec<String>, part: AnswerFacts },
    Thought { index: usize, thought: Thinking },
}

/// The piece of a message that words are added to.
struct AnswerFacts {
    is_refusal: bool,
    text: String,
    /// Items of a list of log probabilities.
    logprobs: String,
}

struct OpenCall {
    index: usize,
    call: ToolCall,
}

impl ResponsesWriter {
    pub fn new(wish: StreamWish) -> Self {
        Self {
            head: ResponseHead::new("", &wish.model, &wish),
            wish,
            is_started: false,
            next: 0,
            items: Vec::new(),
            open: Open::Nothing,
            calls: Vec::new(),
            places: BTreeMap::new(),
            forms: BTreeMap::new(),
            finish: Finish::Stop,
        }
    }

    fn event(&mut self, kind: &str, fill: &dyn Fn(&mut Out), out: &mut Vec<u8>) {
        let mut event = Out::object();
        event.text("type", kind).member("sequence_number", &self.next.to_string());
        fill(&mut event);
        self.next = self.next.saturating_add(1);
        Data::write(Some(kind), &event.done(), out);
    }

    /// An event about an item.
    fn item_event(&mut self, kind: &str, id: &str, index: usize, fill: &dyn Fn(&mut Out), out: &mut Vec<u8>) {
        let fill = |event: &mut Out| {
            event.text("item_id", id).member("output_index", &index.to_string());
            fill(event);
        };
        self.event(kind, &fill, out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        self.next = self.wish.begun.get();
        // Signs of life before the answer have told that it began.
        if self.next > 0 {
            return;
        }
        let response = self.head.response(ResponseStatus::InProgress, &[], None);
        for kind in ["response.created", "response.in_progress"] {
            self.event(kind, &|event| _ = event.member("response", &response), out);
        }
    }

    /// Adds an item that is whole.
    pub(super) fn whole(&mut self, kind: &str, item: &dyn Fn(&str) -> String, out: &mut Vec<u8>) {
        self.close(ResponseStatus::Completed, out);
        let index = self.add(kind, item, out);
        let item = item(&self.head.item(kind, index));
        self.done(index, item, out);
    }

    /// Adds an item and answers its place; `item` makes it of its id.
    fn add(&mut self, kind: &str, item: &dyn Fn(&str) -> String, out: &mut Vec<u8>) -> usize {
        self.start(out);
        let index = self.items.len();
        self.items.push(String::new());
        let item = item(&self.head.item(kind, index));
        let fill = |event: &mut Out| _ = event.member("output_index", &index.to_string()).member("item", &item);
        self.event("response.output_item.added", &fill, out);
        index
    }

    /// An item is done.
    fn done(&mut self, index: usize, item: String, out: &mut Vec<u8>) {
        let fill = |event: &mut Out| _ = event.member("output_index", &index.to_string()).member("item", &item);
        self.event("response.output_item.done", &fill, out);
        if let Some(place) = self.items.get_mut(index) {
            *place = item;
        }
    }

    /// Ends the piece of a message: what it is, and that it is done.
    fn close_part(&mut self, index: usize, content: usize, part: &AnswerFacts, out: &mut Vec<u8>) -> String {
        let id = self.head.item("msg", index);
        let content = content.to_string();
        let whole = said_part(part.is_refusal, &part.text, &part.logprobs);
        let kind = if part.is_refusal { "response.refusal.done" } else { "response.output_text.done" };
        let words = |event: &mut Out| {
            event.member("content_index", &content);
            if part.is_refusal {
                event.text("refusal", &part.text);
            } else {
                event.text("text", &part.text).member("logprobs", &format!("[{}]", part.logprobs));
            }
        };
        self.item_event(kind, &id, index, &words, out);
        let fill = |event: &mut Out| _ = event.member("content_index", &content).member("part", &whole);
        self.item_event("response.content_part.done", &id, index, &fill, out);
        whole
    }

    /// Ends the item that words are added to.
    fn close(&mut self, status: ResponseStatus, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => {}
            Open::Message { index, mut done, part } => {
                done.push(self.close_part(index, done.len(), &part, out));
                let item = message_item(&self.head.item("msg", index), status, &done);
                self.done(index, item, out);
            }
            Open::Thought { index, thought } => {
                let id = self.head.item("rs", index);
                if !thought.text.is_empty() {
                    let part = summary_part(&thought.text);
                    let words = |event: &mut Out| _ = event.member("summary_index", "0").text("text", &thought.text);
                    self.item_event("response.reasoning_summary_text.done", &id, index, &words, out);
                    let fill = |event: &mut Out| _ = event.member("summary_index", "0").member("part", &part);
                    self.item_event("response.reasoning_summary_part.done", &id, index, &fill, out);
                }
                self.done(index, thought_item(&id, &thought), out);
            }
        }
    }

    /// Makes room for words or a refusal: opens a message or a piece of it where none is open.
    fn open_part(&mut self, is_refusal: bool, out: &mut Vec<u8>) -> (usize, usize) {
        if let Open::Message { index, done, part } = &self.open
            && part.is_refusal == is_refusal
        {
            return (*index, done.len());
        }
        let part = AnswerFacts { is_refusal, text: String::new(), logprobs: String::new() };
        let (index, done) = match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Message { index, mut done, part } => {
                done.push(self.close_part(index, done.len(), &part, out));
                (index, done)
            }
            other => {
                self.open = other;
                self.close(ResponseStatus::Completed, out);
                (self.add("msg", &|id| message_item(id, ResponseStatus::InProgress, &[]), out), Vec::new())
            }
        };
        let content = done.len();
        let empty = said_part(is_refusal, "", "");
        let fill = |event: &mut Out| _ = event.member("content_index", &content.to_string()).member("part", &empty);
        self.item_event("response.content_part.added", &self.head.item("msg", index), index, &fill, out);
        self.open = Open::Message { index, done, part };
        (index, content)
    }

    fn say(&mut self, is_refusal: bool, text: &str, logprobs: &str, out: &mut Vec<u8>) {
        let (index, content) = self.open_part(is_refusal, out);
        if let Open::Message { part, .. } = &mut self.open {
            part.text.push_str(text);
            if !logprobs.is_empty() {
                part.logprobs.push_str(if part.logprobs.is_empty() { "" } else { "," });
                part.logprobs.push_str(logprobs);
            }
        }
        let fill = |event: &mut Out| {
            event.member("content_index", &content.to_string()).text("delta", text);
            if !is_refusal {
                event.member("logprobs", &format!("[{logprobs}]"));
            }
        };
        let kind = if is_refusal { "response.refusal.delta" } else { "response.output_text.delta" };
        self.item_event(kind, &self.head.item("msg", index), index, &fill, out);
    }

    /// Makes room for a thought.
    fn open_thought(&mut self, out: &mut Vec<u8>) -> usize {
        if let Open::Thought { index, .. } = &self.open {
            return *index;
        }
        self.close(ResponseStatus::Completed, out);
        let index = self.add("rs", &|id| thought_item(id, &Thinking::default()), out);
        self.open = Open::Thought { index, thought: Thinking::default() };
        index
    }

    fn think(&mut self, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let index = self.open_thought(out);
        let id = self.head.item("rs", index);
        let Open::Thought { thought, .. } = &mut self.open else { return };
        let is_first = thought.text.is_empty();
        thought.text.push_str(text);
        if is_first {
            let fill = |event: &mut Out| _ = event.member("summary_index", "0").member("part", &summary_part(""));
            self.item_event("response.reasoning_summary_part.added", &id, index, &fill, out);
        }
        let fill = |event: &mut Out| _ = event.member("summary_index", "0").text("delta", text);
        self.item_event("response.reasoning_summary_text.delta", &id, index, &fill, out);
    }

    /// The proof of a thought ends it.
    fn prove(&mut self, signature: Option<&str>, redacted: Option<&str>, out: &mut Vec<u8>) {
        if redacted.is_some() {
            self.close(ResponseStatus::Completed, out);
        }
        self.open_thought(out);
        if let Open::Thought { thought, .. } = &mut self.open {
            thought.signature = signature.map(ToOwned::to_owned);
            thought.redacted = redacted.map(ToOwned::to_owned);
        }
        self.close(ResponseStatus::Completed, out);
    }

    fn call(&mut self, number: u32, call: ToolCall, out: &mut Vec<u8>) {
        self.close(ResponseStatus::Completed, out);
        let index = self.add(call_prefix(call.form.kind), &|id| call_item(id, ResponseStatus::InProgress, &call), out);
        self.places.entry(number).or_insert(self.calls.len());
        self.calls.push(OpenCall { index, call });
    }

    fn arguments(&mut self, number: u32, json: &str, out: &mut Vec<u8>) {
        let Some(open) = self.places.get(&number).and_then(|at| self.calls.get_mut(*at)) else { return };
        open.call.arguments.push_str(json);
        let (index, kind) = (open.index, open.call.form.kind);
        let Some((event, _)) = told_by(kind) else { return };
        let id = self.head.item(call_prefix(kind), index);
        let fill = |event: &mut Out| _ = event.text("delta", json);
        self.item_event(&format!("{event}.delta"), &id, index, &fill, out);
    }

    fn close_calls(&mut self, status: ResponseStatus, out: &mut Vec<u8>) {
        for open in std::mem::take(&mut self.calls) {
            let kind = open.call.form.kind;
            let id = self.head.item(call_prefix(kind), open.index);
            let json = whole_arguments(&open.call).to_owned();
            if let Some((event, name)) = told_by(kind) {
                let fill = |event: &mut Out| _ = event.text("name", &open.call.name).text(name, &json);
                self.item_event(&format!("{event}.done"), &id, open.index, &fill, out);
            }
            let item = call_item(&id, status, &ToolCall { arguments: json, ..open.call });
            self.done(open.index, item, out);
        }
    }
}

/// The events that tell what a call is made with, and the name of it in them; of some calls only the item tells.
const fn told_by(kind: ToolKind) -> Option<(&'static str, &'static str)> {
    match kind {
        ToolKind::Function => Some(("response.function_call_arguments", "arguments")),
        ToolKind::Custom => Some(("response.custom_tool_call_input", "input")),
        ToolKind::Search | ToolKind::Shell => None,
    }
}

impl Writer for ResponsesWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Start { id, model } if !self.is_started => {
                if self.wish.begun.get() == 0 {
                    self.head = ResponseHead::new(id, model, &self.wish);
                }
                self.start(out);
            }
            Delta::Text { choice: 0, text } => self.say(false, text, "", out),
            Delta::Refusal { choice: 0, text } => self.say(true, text, "", out),
            Delta::Logprobs { choice: 0, json } => {
                let items = logprobs_items(json);
                if !items.is_empty() {
                    self.say(false, "", items, out);
                }
            }
            Delta::Thinking { choice: 0, text } => self.think(text, out),
            Delta::Signature { choice: 0, signature } => self.prove(Some(signature), None, out),
            Delta::Redacted { choice: 0, data } => self.prove(None, Some(data), out),
            Delta::Form { choice: 0, call, form } => _ = self.forms.insert(*call, form.clone()),
            Delta::Call { choice: 0, call, id, name, signature } => {
                let (id, name, signature) = (id.clone(), name.clone(), signature.clone());
                let form = self.forms.remove(call).unwrap_or_default();
                self.call(*call, ToolCall { id, name, arguments: String::new(), signature, form }, out);
            }
            Delta::Arguments { choice: 0, call, json } => self.arguments(*call, json, out),
            Delta::Image { choice: 0, media_type, data } => {
                self.close(ResponseStatus::Completed, out);
                let index = self.add("ig", &|id| image_item(id, ResponseStatus::InProgress, media_type, None), out);
                let item = image_item(&self.head.item("ig", index), ResponseStatus::Completed, media_type, Some(data));
                self.done(index, item, out);
            }
            Delta::Finish { choice: 0, finish } => self.finish = finish.clone(),
            _ => {}
        }
    }

    fn finish(&mut self, usage: &Usage, cost: &Cost, out: &mut Vec<u8>) {
        self.start(out);
        let status = ResponseStatus::of(&self.finish);
        self.close(status, out);
        self.close_calls(status, out);
        let usage = response_usage_with_cost(None, usage, cost);
        let response = self.head.response(status, &self.items, Some(&usage));
        let kind = if status == ResponseStatus::Completed { "response.completed" } else { "response.incomplete" };
        self.event(kind, &|event| _ = event.member("response", &response), out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        if !self.is_started {
            return self.start(out);
        }
        if !self.items.is_empty() {
            write_keepalive(self.next, out);
            self.next = self.next.saturating_add(1);
            return;
        }
        let response = self.head.response(ResponseStatus::InProgress, &[], None);
        self.event("response.in_progress", &|event| _ = event.member("response", &response), out);
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        write_error(self.next, code, message, out);
        let response = self.head.response(ResponseStatus::InProgress, &[], None);
        write_failed(self.next.saturating_add(1), &response, (code, message), out);
    }

    fn kept(&self) -> Option<String> {
        self.wish.keeps.then(|| format!("[{}]", self.items.join(",")))
    }
}
