//! A stream of messages for a client of another dialect.
//!
//! What always holds: it is complete only after `message_stop`; the end is told once; a call always has arguments that are JSON.

use super::answer::finish_of;
use super::line::{Kind, broken_by, note};
use super::usage::Report;
use super::wire;
use crate::dialect::format::Reader;
use crate::dialect::json::Object;
use crate::dialect::sse::Data;
use crate::dialect::talk::{Delta, Finish};
use crate::dialect::tally::{Progress, Tally};

/// More calls open at the same time are no model's.
const MOST_OPEN: usize = 256;

/// A call whose block is open.
struct OpenCall {
    index: u64,
    call: u32,
    /// Arguments that came with the block itself, as some providers send them.
    input: String,
    has_json: bool,
}

/// Reads one stream.
#[derive(Default)]
pub struct MessagesReader {
    report: Option<Report>,
    is_started: bool,
    open: Vec<OpenCall>,
    calls: u32,
    finish: Option<Finish>,
}

impl MessagesReader {
    fn start(&mut self, message: Option<&Object<'_>>, deltas: &mut Vec<Delta>) {
        if !self.is_started {
            self.is_started = true;
            let text = |name| message.map(|message| wire::owned(message, name)).unwrap_or_default();
            deltas.push(Delta::Start { id: text("id"), model: text("model") });
        }
    }

    fn block_start(&mut self, index: u64, block: &Object<'_>, deltas: &mut Vec<Delta>) {
        let text = |name| Some(wire::owned(block, name)).filter(|text| !text.is_empty());
        match wire::member(block, "type").as_deref() {
            Some("text") => deltas.extend(text("text").map(|text| Delta::Text { choice: 0, text })),
            Some("thinking") => {
                deltas.extend(text("thinking").map(|text| Delta::Thinking { choice: 0, text }));
                deltas.extend(text("signature").map(|signature| Delta::Signature { choice: 0, signature }));
            }
            Some("redacted_thinking") => deltas.push(Delta::Redacted { choice: 0, data: wire::owned(block, "data") }),
            Some("tool_use") if self.open.len() < MOST_OPEN => {
                let call = self.calls;
                self.calls = call.saturating_add(1);
                let input = wire::given(block, "input").unwrap_or("{}").to_owned();
                self.open.push(OpenCall { index, call, input, has_json: false });
                let (id, name) = (wire::owned(block, "id"), wire::owned(block, "name"));
                deltas.push(Delta::Call { choice: 0, call, id, name, signature: None });
            }
            _ => {}
        }
    }

    fn block_delta(&mut self, index: u64, delta: &Object<'_>, deltas: &mut Vec<Delta>) {
        let text = |name| Some(wire::owned(delta, name)).filter(|text| !text.is_empty());
        match wire::member(delta, "type").as_deref() {
            Some("text_delta") => deltas.extend(text("text").map(|text| Delta::Text { choice: 0, text })),
            Some("thinking_delta") => deltas.extend(text("thinking").map(|text| Delta::Thinking { choice: 0, text })),
            Some("signature_delta") => {
                deltas.extend(text("signature").map(|signature| Delta::Signature { choice: 0, signature }));
            }
            Some("input_json_delta") => {
                let Some(open) = self.open.iter_mut().find(|open| open.index == index) else { return };
                let Some(json) = text("partial_json") else { return };
                open.has_json = true;
                deltas.push(Delta::Arguments { choice: 0, call: open.call, json });
            }
            _ => {}
        }
    }

    /// Calls that end; all of them where no index is given.
    fn close(&mut self, index: Option<u64>, deltas: &mut Vec<Delta>) {
        self.open.retain_mut(|open| {
            let ends = index.is_none_or(|index| index == open.index);
            if ends && !open.has_json {
                deltas.push(Delta::Arguments { choice: 0, call: open.call, json: std::mem::take(&mut open.input) });
            }
            !ends
        });
    }
}

impl Reader for MessagesReader {
    fn event(&mut self, event: &Data, tally: &mut Tally, deltas: &mut Vec<Delta>) {
        if event.data.is_empty() {
            return;
        }
        let Some(object) = Object::parse(&event.data) else {
            return tally.break_off("an event is not a JSON object");
        };
        let kind = Kind::of(event, &object);
        let part = |name: &str| object.get(name).and_then(Object::parse);
        let index = object.get("index").and_then(|json| json.parse().ok()).unwrap_or(0);
        match kind {
            Kind::Ping => return,
            Kind::Error => return tally.progress = broken_by(&object),
            Kind::Stop if !tally.has_chunks() => return tally.break_off("an answer ends before it begins"),
            Kind::Stop => {
                self.start(None, deltas);
                self.close(None, deltas);
                let finish = self.finish.take().unwrap_or_else(|| finish_of(None, None, self.calls > 0));
                deltas.push(Delta::Finish { choice: 0, finish });
                return tally.progress = Progress::Done;
            }
            _ => note(kind, &object, &mut self.report, tally),
        }
        match kind {
            Kind::Start => self.start(part("message").as_ref(), deltas),
            Kind::BlockStart | Kind::BlockDelta => {
                self.start(None, deltas);
                match (kind, part("content_block"), part("delta")) {
                    (Kind::BlockStart, Some(block), _) => self.block_start(index, &block, deltas),
                    (Kind::BlockDelta, _, Some(delta)) => self.block_delta(index, &delta, deltas),
                    _ => {}
                }
            }
            Kind::BlockStop => self.close(Some(index), deltas),
            Kind::Delta => {
                let Some(delta) = part("delta") else { return };
                let (reason, stop) = (wire::member(&delta, "stop_reason"), wire::member(&delta, "stop_sequence"));
                if reason.is_some() {
                    self.finish = Some(finish_of(reason.as_deref(), stop.as_deref(), self.calls > 0));
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, _: &mut Tally, _: &mut Vec<Delta>) {}
}
