//! A stream of chat completions, read for a client of another dialect.
//!
//! What always holds: why a choice ended is told at the end, after all that it said; a call is told once, with its name; the
//! stream is complete with `[DONE]`, or when it ends after each choice has told why it ended.

use std::collections::BTreeMap;

use super::answer::{images, read_arguments, read_finish};
use super::passthrough::DONE;
use super::read_request::{call_signature, said_in, thoughts};
use super::said;
use crate::dialect::bounds::MOST_CALLS;
use crate::dialect::conversation::{Delta, Part};
use crate::dialect::envelope::MOST_CHOICES;
use crate::dialect::format::{Counting, Reader};
use crate::dialect::json::Object;
use crate::dialect::mend::is_broken;
use crate::dialect::node::Node;
use crate::dialect::openai::{read_error_object, read_usage};
use crate::dialect::scan::Scan;
use crate::dialect::sse::Data;
use crate::dialect::stream_state::{Progress, StreamState};

/// Arguments whose function is not named yet are not kept beyond this.
const MOST_PENDING: usize = 65_536;

/// Reads one stream.
#[derive(Default)]
pub struct ChatReader {
    counting: Counting,
    is_started: bool,
    choices: Vec<Choice>,
}

#[derive(Default)]
struct Choice {
    index: u32,
    calls: Vec<ToolCall>,
    places: Places,
    finish: Option<String>,
}

/// A call as far as it came.
#[derive(Default)]
struct ToolCall {
    /// Upstream's number of it, if it gives one.
    index: Option<u64>,
    /// Upstream's id of it, if it gives one.
    id: String,
    /// Empty until it comes.
    name: String,
    /// How far its arguments are.
    scan: Scan,
    /// Arguments that came before the name.
    pending: String,
}

impl ToolCall {
    const fn is_named(&self) -> bool {
        !self.name.is_empty()
    }

    /// Whether a fragment that is numbered like this call, or like none, begins another. What has no name goes on, whatever id it
    /// carries: some providers make a new id for each fragment.
    fn is_before(&self, id: &str, name: &str, json: &str) -> bool {
        if name.is_empty() || !self.is_named() {
            return false;
        }
        let is_other = !id.is_empty() && !self.id.is_empty() && self.id != id || self.name != name;
        // Some repeat the name in every fragment, and some number every call 0, or not at all.
        is_other || self.scan.is_whole() && !json.trim().is_empty()
    }
}

impl ChatReader {
    pub fn new(counting: Counting) -> Self {
        Self { counting, ..Self::default() }
    }

    fn start(&mut self, root: &Node<'_>, deltas: &mut Vec<Delta>) {
        if !self.is_started {
            self.is_started = true;
            deltas.push(Delta::Start { id: root.words("id"), model: root.words("model") });
        }
    }

    /// Takes a chunk; an error says why the stream cannot be followed.
    fn chunk(&mut self, root: &Node<'_>, stream: &mut StreamState, deltas: &mut Vec<Delta>) -> Result<(), &'static str> {
        if let Some(usage) = root.given("usage").and_then(|json| read_usage(json, self.counting)) {
            stream.reported = Some(usage);
        }
        let choices = root.nodes("choices").unwrap_or_default();
        if !choices.is_empty() {
            self.start(root, deltas);
        }
        for node in &choices {
            let index = node.count("index").ok().flatten().unwrap_or(0);
            let index = u32::try_from(index.min(MOST_CHOICES)).unwrap_or(0);
            let at = self.choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
                self.choices.push(Choice { index, ..Choice::default() });
                self.choices.len().saturating_sub(1)
            });
            let Some(choice) = self.choices.get_mut(at) else { continue };
            said::each(node.given("delta"), |text| stream.output(text));
            if let Ok(Some(delta)) = node.object("delta") {
                choice.words(&delta, stream, deltas);
                choice.calls(&delta, deltas)?;
            }
            if let Some(json) = node.object("logprobs").ok().flatten().and_then(|_| node.given("logprobs")) {
                deltas.push(Delta::Logprobs { choice: index, json: json.to_owned() });
            }
            let finish = node.words("finish_reason");
            if !finish.is_empty() {
                stream.finish_reason = Some(finish.clone());
                choice.finish = Some(finish);
            }
        }
        Ok(())
    }

    /// The answer is complete.
    fn done(&mut self, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        if self.choices.iter().any(|choice| choice.calls.iter().any(|call| !call.is_named())) {
            return stream.break_off("a call names no function");
        }
        stream.progress = Progress::Done;
        if !self.is_started {
            self.is_started = true;
            deltas.push(Delta::Start { id: String::new(), model: String::new() });
        }
        for choice in &self.choices {
            let reason = choice.finish.as_deref().unwrap_or_default();
            let finish = read_finish(reason, choice.calls.iter().any(ToolCall::is_named));
            deltas.push(Delta::Finish { choice: choice.index, finish });
        }
    }
}

impl Choice {
    fn words(&self, delta: &Node<'_>, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        let choice = self.index;
        let mut think = |text: String| {
            if !text.is_empty() {
                deltas.push(Delta::Thinking { choice, text });
            }
        };
        let mut proofs = Vec::new();
        for thought in thoughts(delta) {
            think(thought.text);
            proofs.extend(thought.signature.map(|signature| Delta::Signature { choice, signature }));
            proofs.extend(thought.redacted.map(|data| Delta::Redacted { choice, data }));
        }
        deltas.append(&mut proofs);
        for part in said_in(delta) {
            match part {
                Part::Text { text, .. } => deltas.push(Delta::Text { choice, text: text.into_owned() }),
                Part::Thinking(thought) => deltas.push(Delta::Thinking { choice, text: thought.text }),
                _ => {}
            }
        }
        let refusal = delta.words("refusal");
        if !refusal.is_empty() {
            deltas.push(Delta::Refusal { choice, text: refusal });
        }
        for (media_type, data) in images(delta) {
            stream.images = stream.images.saturating_add(1);
            deltas.push(Delta::Image { choice, media_type, data });
        }
    }

    fn calls(&mut self, delta: &Node<'_>, deltas: &mut Vec<Delta>) -> Result<(), &'static str> {
        for node in delta.nodes("tool_calls").unwrap_or_default() {
            let function = node.object("function").ok().flatten();
            let (name, arguments) = function.map_or_else(Default::default, |function| {
                let name = function.words("name");
                (name, read_arguments(&function))
            });
            let at = self.place(node.count("index").ok().flatten(), &node.words("id"), (&name, &arguments));
            if at >= MOST_CALLS {
                return Err("an answer has more calls than can be followed");
            }
            let (choice, number) = (self.index, u32::try_from(at).unwrap_or(u32::MAX));
            let Some(call) = self.calls.get_mut(at) else { continue };
            call.scan.push(&arguments);
            let mut json = arguments;
            if !call.is_named() {
                if name.is_empty() {
                    call.pending.push_str(&json);
                    if call.pending.len() > MOST_PENDING {
                        return Err("a call names no function");
                    }
                    continue;
                }
                call.name.clone_from(&name);
                deltas.push(Delta::Call { choice, call: number, id: call.id.clone(), name, signature: call_signature(&node) });
                json = std::mem::take(&mut call.pending) + &json;
            }
            if !json.is_empty() {
                deltas.push(Delta::Arguments { choice, call: number, json });
            }
        }
        Ok(())
    }

    /// Which call a fragment belongs to. Providers number their calls, or give them ids, or send each of them whole; some repeat
    /// id and name in every fragment, some give every call the number 0, and some leave that number out.
    fn place(&mut self, index: Option<u64>, id: &str, (name, json): (&str, &str)) -> usize {
        let (known, last) = self.places.of(index, id, self.calls.len());
        let is_same = |at: &usize| self.calls.get(*at).is_some_and(|call| !call.is_before(id, name, json));
        match known.filter(|at| index.is_some() || is_same(at)).or_else(|| last.filter(is_same)) {
            Some(at) => {
                if let Some(call) = self.calls.get_mut(at).filter(|call| call.id.is_empty() && !id.is_empty()) {
                    id.clone_into(&mut call.id);
                    self.places.name(at, call.index, id);
                }
                at
            }
            None if self.calls.len() >= MOST_CALLS => MOST_CALLS,
            None => {
                let at = self.calls.len();
                self.places.add(at, index, id);
                self.calls.push(ToolCall { index, id: id.to_owned(), ..ToolCall::default() });
                at
            }
        }
    }
}

/// Where calls are, by upstream's numbers and ids of them: the last of each.
#[derive(Default)]
struct Places {
    by_index: BTreeMap<Option<u64>, usize>,
    by_id: BTreeMap<String, Named>,
}

/// Where the calls of one id are.
#[derive(Default)]
struct Named {
    by_index: BTreeMap<Option<u64>, usize>,
    last: usize,
}

impl Places {
    /// The last call of this number and id, and the last one of this number. A fragment without a number is of any call as long
    /// as each of them has one.
    fn of(&self, index: Option<u64>, id: &str, calls: usize) -> (Option<usize>, Option<usize>) {
        let is_any = index.is_none() && !self.by_index.contains_key(&None);
        let named = self.by_id.get(id);
        match is_any {
            true => (named.map(|named| named.last), calls.checked_sub(1)),
            false => (named.and_then(|named| named.by_index.get(&index)).copied(), self.by_index.get(&index).copied()),
        }
    }

    /// A call begins.
    fn add(&mut self, at: usize, index: Option<u64>, id: &str) {
        self.by_index.insert(index, at);
        if !id.is_empty() {
            self.name(at, index, id);
        }
    }

    /// A call has an id.
    fn name(&mut self, at: usize, index: Option<u64>, id: &str) {
        let named = self.by_id.entry(id.to_owned()).or_default();
        named.last = named.last.max(at);
        let last = named.by_index.entry(index).or_default();
        *last = at.max(*last);
    }
}

impl Reader for ChatReader {
    fn event(&mut self, event: &Data, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        let data = event.data.as_str();
        if data.trim() == DONE {
            return self.done(stream, deltas);
        }
        if data.is_empty() {
            return;
        }
        let Some(object) = Object::parse(data) else { return stream.break_off("an event is not a JSON object") };
        let root = Node::root(&object);
        if let Some(error) = root.given("error") {
            stream.progress = Progress::Broken(read_error_object(error));
            return;
        }
        stream.flow();
        if let Err(reason) = self.chunk(&root, stream, deltas) {
            stream.break_off(reason);
        }
    }

    fn end(&mut self, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        // Some providers close the connection in place of the last event.
        let has_ended = |choice: &Choice| choice.finish.as_deref().is_some_and(|reason| !is_broken(reason));
        if !self.choices.is_empty() && self.choices.iter().all(has_ended) {
            self.done(stream, deltas);
        }
    }
}
