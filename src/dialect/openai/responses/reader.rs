//! A stream of a response, read for a client of another format.
//!
//! What always holds: what an item says is told once, whether it comes in pieces or whole at its end; only the terminal event
//! completes the stream.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::{image_type, read_finish};
use super::passthrough::{EventKind, SIGNS, kind_of};
use super::response::{finish_reason, read_usage};
use super::thought::read_thought;
use crate::dialect::conversation::Delta;
use crate::dialect::format::{Counting, Reader};
use crate::dialect::json::{Object, unquoted};
use crate::dialect::node::Node;
use crate::dialect::openai::chat::read_arguments;
use crate::dialect::openai::read_error_object;
use crate::dialect::sse::Data;
use crate::dialect::stream_state::{Progress, StreamState};

/// No response has more items than this.
const MOST_ITEMS: usize = 4_096;

/// Reads one stream.
#[derive(Default)]
pub struct ResponsesReader {
    counting: Counting,
    is_started: bool,
    calls: u32,
    items: Vec<Item>,
    /// Where items are, by their place and by their id: the last of each.
    by_index: BTreeMap<u64, usize>,
    by_id: BTreeMap<String, usize>,
    /// Those of which more may come.
    open: BTreeSet<usize>,
}

/// An item as far as it came.
#[derive(Default)]
struct Item {
    /// Its id, where events name it.
    id: String,
    /// Its number, if it is a call.
    call: Option<u32>,
    /// What it says came by this kind of event,
    said: Option<&'static str>,
    /// and last of this part of it.
    part: u64,
    is_done: bool,
}

/// Events that say something in pieces, and that say it whole at its end, with where.
const SAYING: [(&str, &str, &str); 4] = [
    ("response.output_text.delta", "response.output_text.done", "text"),
    ("response.refusal.delta", "response.refusal.done", "refusal"),
    ("response.reasoning_summary_text.delta", "response.reasoning_summary_text.done", "text"),
    ("response.reasoning_text.delta", "response.reasoning_text.done", "text"),
];
const ARGUMENTS: &str = "response.function_call_arguments.delta";

const TOO_MANY: &str = "a response has more items than can be followed";

impl ResponsesReader {
    pub fn new(counting: Counting) -> Self {
        Self { counting, ..Self::default() }
    }

    fn start(&mut self, root: &Node<'_>, deltas: &mut Vec<Delta>) {
        if !self.is_started {
            self.is_started = true;
            let response = root.object("response").ok().flatten();
            let words = |name: &str| response.as_ref().map(|response| response.words(name)).unwrap_or_default();
            deltas.push(Delta::Start { id: words("id"), model: words("model") });
        }
    }

    /// The place of the item that an event is about. An event that names neither its place nor its id is about the last one that
    /// is open.
    fn place(&mut self, index: Option<u64>, id: &str) -> Option<usize> {
        let known = match index {
            Some(index) => self.by_index.get(&index).copied(),
            None if id.is_empty() => self.open.last().copied(),
            None => self.by_id.get(id).copied(),
        };
        let at = match known {
            Some(at) => at,
            None if self.items.len() >= MOST_ITEMS => return None,
            None => {
                let at = self.items.len();
                self.by_index.extend(index.map(|index| (index, at)));
                self.open.insert(at);
                self.items.push(Item::default());
                at
            }
        };
        let item = self.items.get_mut(at)?;
        if item.id.is_empty() && !id.is_empty() {
            id.clone_into(&mut item.id);
            let last = self.by_id.entry(id.to_owned()).or_insert(at);
            *last = at.max(*last);
        }
        Some(at)
    }

    fn item(&mut self, index: Option<u64>, id: &str) -> Option<&mut Item> {
        let at = self.place(index, id)?;
        self.items.get_mut(at)
    }

    fn item_of(&mut self, root: &Node<'_>) -> Option<&mut Item> {
        self.item(root.count("output_index").ok().flatten(), &root.words("item_id"))
    }

    /// Takes an event; an error says why the stream cannot be followed.
    fn more(
        &mut self,
        kind: &str,
        root: &Node<'_>,
        stream: &mut StreamState,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), &'static str> {
        if let Some((saying, whole, name)) = SAYING.into_iter().find(|(saying, whole, _)| [*saying, *whole].contains(&kind)) {
            let place = if kind.contains("summary") { "summary_index" } else { "content_index" };
            let part = root.count(place).ok().flatten().unwrap_or(0);
            let item = self.item_of(root).ok_or(TOO_MANY)?;
            // A thought comes as its summary or as its text; who tells both tells it twice.
            let is_other = kind.contains("reasoning") && item.said.is_some_and(|said| said != saying);
            let is_told = kind == whole && item.said == Some(saying) && item.part == part;
            if is_other || is_told {
                return Ok(());
            }
            (item.said, item.part) = (Some(saying), part);
            let text = root.words(if kind == whole { name } else { "delta" });
            if kind == whole {
                stream.output(&text);
            }
            if !text.is_empty() {
                deltas.push(match saying {
                    "response.output_text.delta" => Delta::Text { choice: 0, text },
                    "response.refusal.delta" => Delta::Refusal { choice: 0, text },
                    _ => Delta::Thinking { choice: 0, text },
                });
            }
            deltas.extend(logprobs(root));
            return Ok(());
        }
        match kind {
            "response.output_item.added" => {
                let Ok(Some(item)) = root.object("item") else { return Ok(()) };
                let (id, index) = (item.words("id"), root.count("output_index").ok().flatten());
                // One that names neither is another than the one before it.
                if index.is_none() && id.is_empty() {
                    for at in std::mem::take(&mut self.open) {
                        self.done(at);
                    }
                }
                self.item(index, &id).ok_or(TOO_MANY)?;
                if item.words("type") == "function_call" && !item.words("name").is_empty() {
                    self.call((index, &id), &item, deltas).ok_or(TOO_MANY)?;
                }
            }
            "response.reasoning_summary_part.added" if root.given("summary_index").is_some_and(|index| index != "0") => {
                deltas.push(Delta::Thinking { choice: 0, text: "\n\n".to_owned() });
            }
            ARGUMENTS => {
                let item = self.item_of(root).ok_or(TOO_MANY)?;
                // Of a call that is not named yet they are told when it is whole.
                if let Some(call) = item.call {
                    item.said = Some(ARGUMENTS);
                    deltas.push(Delta::Arguments { choice: 0, call, json: root.words("delta") });
                }
            }
            "response.function_call_arguments.done" => {
                let item = self.item_of(root).ok_or(TOO_MANY)?;
                let json = read_arguments(root);
                if let Some(call) = item.call.filter(|_| item.said.is_none() && !json.is_empty()) {
                    item.said = Some(ARGUMENTS);
                    stream.output(&json);
                    deltas.push(Delta::Arguments { choice: 0, call, json });
                }
            }
            "response.output_item.done" => {
                if let Ok(Some(item)) = root.object("item") {
                    let (id, index) = (item.words("id"), root.count("output_index").ok().flatten());
                    self.item_done((index, &id), &item, stream, deltas).ok_or(TOO_MANY)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing more comes of an item.
    fn done(&mut self, at: usize) {
        self.open.remove(&at);
        if let Some(item) = self.items.get_mut(at) {
            item.is_done = true;
        }
    }

    /// A call begins, unless it has.
    fn call(&mut self, (index, id): (Option<u64>, &str), node: &Node<'_>, deltas: &mut Vec<Delta>) -> Option<u32> {
        let number = self.calls;
        let item = self.item(index, id)?;
        if let Some(call) = item.call {
            return Some(call);
        }
        item.call = Some(number);
        self.calls = number.saturating_add(1);
        let (id, name) = (node.words("call_id"), node.words("name"));
        deltas.push(Delta::Call { choice: 0, call: number, id, name, signature: None });
        Some(number)
    }

    /// An item is whole: tells what did not come in pieces.
    fn item_done(
        &mut self,
        (index, id): (Option<u64>, &str),
        node: &Node<'_>,
        stream: &mut StreamState,
        deltas: &mut Vec<Delta>,
    ) -> Option<()> {
        let item = self.item(index, id)?;
        if item.is_done {
            return Some(());
        }
        let has_said = item.said.is_some();
        match node.words("type").as_str() {
            "message" if !has_said => {
                for part in node.nodes("content").unwrap_or_default() {
                    let (text, refusal) = (part.words("text"), part.words("refusal"));
                    stream.output(&text);
                    stream.output(&refusal);
                    if !text.is_empty() {
                        deltas.push(Delta::Text { choice: 0, text });
                    }
                    if !refusal.is_empty() {
                        deltas.push(Delta::Refusal { choice: 0, text: refusal });
                    }
                    deltas.extend(logprobs(&part));
                }
            }
            "reasoning" => {
                let thought = read_thought(node);
                if !has_said && !thought.text.is_empty() {
                    stream.output(&thought.text);
                    deltas.push(Delta::Thinking { choice: 0, text: thought.text });
                }
                deltas.extend(thought.signature.map(|signature| Delta::Signature { choice: 0, signature }));
                deltas.extend(thought.redacted.map(|data| Delta::Redacted { choice: 0, data }));
            }
            "function_call" => {
                let call = self.call((index, id), node, deltas)?;
                let json = read_arguments(node);
                if !has_said {
                    stream.output(&json);
                    // No arguments are an object too, and nothing waits for more of them.
                    let json = if json.trim().is_empty() { "{}".to_owned() } else { json };
                    deltas.push(Delta::Arguments { choice: 0, call, json });
                }
            }
            "image_generation_call" => {
                let data = node.words("result");
                if !data.is_empty() {
                    stream.images = stream.images.saturating_add(1);
                    deltas.push(Delta::Image { choice: 0, media_type: image_type(node), data });
                }
            }
            _ => {}
        }
        let at = self.place(index, id)?;
        self.done(at);
        Some(())
    }

    /// The response is whole: tells what is in it, where no event has told of any item.
    fn untold(&mut self, response: &Node<'_>, stream: &mut StreamState, deltas: &mut Vec<Delta>) -> Option<()> {
        if self.items.is_empty() {
            for (index, item) in (0u64..).zip(response.nodes("output").unwrap_or_default()) {
                self.item_done((Some(index), ""), &item, stream, deltas)?;
            }
        }
        Some(())
    }
}

/// Log probabilities in chat's form.
fn logprobs(node: &Node<'_>) -> Option<Delta> {
    let items = node.given("logprobs").filter(|json| json.starts_with('[')).map(unquoted)?.trim();
    let json = (!items.is_empty()).then(|| format!(r#"{{"content":[{items}],"refusal":null}}"#))?;
    Some(Delta::Logprobs { choice: 0, json })
}

impl Reader for ResponsesReader {
    fn event(&mut self, event: &Data, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        let data = event.data.as_str();
        if data.is_empty() {
            return;
        }
        let Some(object) = Object::parse(data) else { return stream.break_off("an event is not a JSON object") };
        let root = Node::root(&object);
        let (kind, what) = kind_of(&root, event.name.as_deref());
        match what {
            EventKind::Error(error) | EventKind::Failed(error) => stream.progress = Progress::Broken(read_error_object(&error)),
            EventKind::Terminal => {
                let Ok(Some(response)) = root.object("response") else {
                    return stream.break_off("the last event has no response");
                };
                stream.flow();
                self.start(&root, deltas);
                if self.untold(&response, stream, deltas).is_none() {
                    return stream.break_off(TOO_MANY);
                }
                let reason = finish_reason(&response);
                if let Some(usage) = response.given("usage").and_then(|json| read_usage(&response, json, self.counting)) {
                    stream.reported = Some(usage);
                }
                deltas.push(Delta::Finish { choice: 0, finish: read_finish(&reason, self.calls > 0) });
                stream.finish_reason = Some(reason);
                stream.progress = Progress::Done;
            }
            EventKind::More if SIGNS.contains(&kind.as_str()) => {}
            EventKind::More => {
                stream.flow();
                let from = deltas.len();
                if root.given("response").is_some() {
                    self.start(&root, deltas);
                }
                if let Some(delta) = root.given("delta").filter(|delta| delta.starts_with('"')) {
                    stream.output(unquoted(delta));
                }
                if let Err(reason) = self.more(&kind, &root, stream, deltas) {
                    stream.break_off(reason);
                }
                if deltas.len() > from && !self.is_started {
                    self.is_started = true;
                    deltas.insert(from, Delta::Start { id: String::new(), model: String::new() });
                }
            }
        }
    }

    fn end(&mut self, _: &mut StreamState, _: &mut Vec<Delta>) {}
}
