//! A stream of chat completions, written for a client whose upstream speaks another dialect.
//!
//! What always holds: the first chunk of a choice has the role; the first of a call has its id and name; every choice ends with
//! one chunk that says why; entries of lists have an index, by which the SDKs join them.

use std::collections::BTreeSet;

use super::answer::{finish_reason, open_call, write_call_signature, write_detail, write_image};
use super::passthrough::{DONE, Shape, broken_by, broken_chunk};
use crate::dialect::conversation::{Delta, Finish, Thinking, ToolKind};
use crate::dialect::format::{Cost, StreamWish, Writer};
use crate::dialect::json::quoted;
use crate::dialect::openai::out::Out;
use crate::dialect::openai::usage_with_cost;
use crate::dialect::sse::Data;
use crate::usage::Usage;

/// Writes one stream.
pub struct ChatWriter {
    wish: StreamWish,
    id: String,
    model: String,
    choices: Vec<Choice>,
}

/// What was written of a choice.
#[derive(Default)]
struct Choice {
    index: u32,
    /// The thought that is being told.
    thought: usize,
    is_thinking: bool,
    images: usize,
    /// Calls that have no arguments yet.
    bare_calls: BTreeSet<u32>,
    /// Calls that are made with free text.
    free_calls: BTreeSet<u32>,
    is_finished: bool,
}

impl ChatWriter {
    pub fn new(wish: StreamWish) -> Self {
        Self { id: wish.answer_id(Shape::Chat.prefix(), ""), model: wish.model.clone(), wish, choices: Vec::new() }
    }

    fn head(&self) -> Out {
        let mut chunk = Out::object();
        chunk.text("id", &self.id).text("object", "chat.completion.chunk");
        chunk.member("created", &self.wish.created.to_string()).text("model", &self.model);
        chunk
    }

    /// A chunk with one choice.
    fn chunk(&self, choice: u32, delta: &str, logprobs: Option<&str>, finish: Option<&Finish>, out: &mut Vec<u8>) {
        let mut chunk = self.head();
        chunk.list_at("choices").open().member("index", &choice.to_string()).member("delta", delta);
        chunk.maybe("logprobs", logprobs);
        match finish {
            Some(finish) => chunk.text("finish_reason", finish_reason(finish)),
            None => chunk.member("finish_reason", "null"),
        };
        chunk.close().end_list();
        Data::write(None, &chunk.done(), out);
    }

    /// The place of a choice among those that were begun; begins it if it was not.
    fn place(&mut self, index: u32, out: &mut Vec<u8>) -> usize {
        if let Some(at) = self.choices.iter().position(|choice| choice.index == index) {
            return at;
        }
        self.choices.push(Choice { index, ..Choice::default() });
        self.chunk(index, r#"{"role":"assistant","content":""}"#, None, None, out);
        self.choices.len().saturating_sub(1)
    }

    fn say(&mut self, index: u32, name: &str, text: &str, out: &mut Vec<u8>) {
        self.place(index, out);
        let mut delta = Out::object();
        delta.text(name, text);
        self.chunk(index, &delta.done(), None, None, out);
    }

    /// A piece of a thought, or its proof, which ends it.
    fn think(&mut self, index: u32, thought: &Thinking, out: &mut Vec<u8>) {
        let at = self.place(index, out);
        let Some(choice) = self.choices.get_mut(at) else { return };
        let mut delta = Out::object();
        if !thought.text.is_empty() {
            delta.text("reasoning_content", &thought.text);
        }
        if thought.redacted.is_some() && choice.is_thinking {
            choice.thought = choice.thought.saturating_add(1);
        }
        delta.list_at("reasoning_details");
        write_detail(&mut delta, choice.thought, thought, self.wish.maker.as_ref());
        delta.end_list();
        choice.is_thinking = thought.redacted.is_none() && thought.signature.is_none();
        if !choice.is_thinking {
            choice.thought = choice.thought.saturating_add(1);
        }
        self.chunk(index, &delta.done(), None, None, out);
    }

    fn call(&mut self, index: u32, call: u32, id: &str, name: &str, signature: Option<&str>, out: &mut Vec<u8>) {
        let at = self.place(index, out);
        let mut kind = ToolKind::Function;
        if let Some(choice) = self.choices.get_mut(at) {
            if choice.free_calls.contains(&call) {
                kind = ToolKind::Custom;
            } else {
                choice.bare_calls.insert(call);
            }
        }
        let mut delta = Out::object();
        delta.list_at("tool_calls").open().member("index", &call.to_string());
        open_call(&mut delta, id, name, kind);
        delta.text(if kind == ToolKind::Custom { "input" } else { "arguments" }, "").close();
        write_call_signature(&mut delta, signature);
        delta.close().end_list();
        self.chunk(index, &delta.done(), None, None, out);
    }

    fn arguments(&mut self, index: u32, call: u32, json: &str, out: &mut Vec<u8>) {
        let at = self.place(index, out);
        if json.is_empty() {
            return;
        }
        let mut of = ("function", "arguments");
        if let Some(choice) = self.choices.get_mut(at) {
            choice.bare_calls.remove(&call);
            if choice.free_calls.contains(&call) {
                of = ("custom", "input");
            }
        }
        let mut delta = Out::object();
        delta.list_at("tool_calls").open().member("index", &call.to_string());
        delta.open_at(of.0).text(of.1, json).close().close().end_list();
        self.chunk(index, &delta.done(), None, None, out);
    }

    fn end_choice(&mut self, index: u32, finish: &Finish, out: &mut Vec<u8>) {
        let at = self.place(index, out);
        // Arguments are an object even where there are none.
        let bare = self.choices.get_mut(at).map(|choice| std::mem::take(&mut choice.bare_calls));
        for call in bare.unwrap_or_default() {
            self.arguments(index, call, "{}", out);
        }
        if let Some(choice) = self.choices.get_mut(at).filter(|choice| !choice.is_finished) {
            choice.is_finished = true;
            self.chunk(index, "{}", None, Some(finish), out);
        }
    }
}

impl Writer for ChatWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Start { id, model } => {
                if self.id.is_empty() {
                    self.id.clone_from(id);
                }
                if !model.is_empty() {
                    self.model.clone_from(model);
                }
                self.place(0, out);
            }
            Delta::Text { choice, text } => self.say(*choice, "content", text, out),
            Delta::Refusal { choice, text } => self.say(*choice, "refusal", text, out),
            Delta::Thinking { choice, text } => {
                self.think(*choice, &Thinking { text: text.clone(), ..Thinking::default() }, out);
            }
            Delta::Signature { choice, signature } => {
                self.think(*choice, &Thinking { signature: Some(signature.clone()), ..Thinking::default() }, out);
            }
            Delta::Redacted { choice, data } => {
                self.think(*choice, &Thinking { redacted: Some(data.clone()), ..Thinking::default() }, out);
            }
            Delta::Form { choice, call, form } => {
                let at = self.place(*choice, out);
                if let Some(choice) = self.choices.get_mut(at).filter(|_| form.kind == ToolKind::Custom) {
                    choice.free_calls.insert(*call);
                }
            }
            Delta::Call { choice, call, id, name, signature } => {
                self.call(*choice, *call, id, name, signature.as_deref(), out);
            }
            Delta::Arguments { choice, call, json } => self.arguments(*choice, *call, json, out),
            Delta::Image { choice, media_type, data } => {
                let at = self.place(*choice, out);
                let Some(state) = self.choices.get_mut(at) else { return };
                let mut delta = Out::object();
                delta.list_at("images");
                write_image(&mut delta, state.images, media_type, data);
                delta.end_list();
                state.images = state.images.saturating_add(1);
                self.chunk(*choice, &delta.done(), None, None, out);
            }
            Delta::Logprobs { choice, json } => {
                self.place(*choice, out);
                self.chunk(*choice, "{}", Some(json), None, out);
            }
            Delta::Finish { choice, finish } => self.end_choice(*choice, finish, out),
        }
    }

    fn finish(&mut self, usage: &Usage, cost: &Cost, out: &mut Vec<u8>) {
        self.place(0, out);
        let open: Vec<u32> = self.choices.iter().filter(|choice| !choice.is_finished).map(|choice| choice.index).collect();
        for index in open {
            self.end_choice(index, &Finish::Stop, out);
        }
        if self.wish.include_usage {
            let mut chunk = self.head();
            chunk.list_at("choices").end_list().member("usage", &usage_with_cost(None, usage, cost));
            Data::write(None, &chunk.done(), out);
        }
        Data::write(None, DONE, out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping\n\n");
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        let head = [quoted(&self.id), self.wish.created.to_string(), quoted(&self.model)];
        broken_chunk(Shape::Chat, &head, &broken_by(code, message), out);
    }
}
