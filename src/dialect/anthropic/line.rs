//! A stream of messages on its way to a client that reads the same.
//!
//! What always holds: events pass byte for byte with their names; the last `message_delta` alone gets the cost, once it is known
//! to be the last.

use super::error::{error_event, read_error_object};
use super::usage::{Report, usage_with_cost};
use super::wire;
use crate::dialect::format::Line;
use crate::dialect::json::{Edit, Object};
use crate::dialect::sse::Data;
use crate::dialect::tally::{Progress, Tally};

/// Follows one stream.
#[derive(Default)]
pub struct MessagesLine {
    report: Option<Report>,
    /// A `message_delta` that is kept until it is known what follows.
    held: Option<Data>,
}

impl MessagesLine {
    /// What is held goes out as it came.
    fn release(&mut self, out: &mut Vec<u8>) {
        if let Some(event) = self.held.take() {
            Data::write(event.name.as_deref(), &event.data, out);
        }
    }

    /// What is held goes out with the cost.
    fn release_priced(&mut self, tally: &Tally, out: &mut Vec<u8>) {
        let Some(event) = self.held.take() else { return };
        let object = Object::parse(&event.data);
        let edited = object.map(|object| {
            let upstream = object.get("usage").filter(|json| json.starts_with('{'));
            object.edited(&[Edit::Set("usage", usage_with_cost(upstream, &tally.usage().0, &tally.cost()))])
        });
        Data::write(event.name.as_deref(), edited.as_deref().unwrap_or(&event.data), out);
    }
}

impl Line for MessagesLine {
    fn event(&mut self, event: &Data, tally: &mut Tally, out: &mut Vec<u8>) {
        if event.data.is_empty() {
            return;
        }
        let Some(object) = Object::parse(&event.data) else {
            return tally.break_off("an event is not a JSON object");
        };
        match Kind::of(event, &object) {
            Kind::Ping => return Data::write(event.name.as_deref(), &event.data, out),
            Kind::Error => return tally.progress = broken_by(&object),
            Kind::Stop if !tally.has_chunks() => return tally.break_off("an answer ends before it begins"),
            Kind::Stop => {
                tally.progress = Progress::Done;
                self.release_priced(tally, out);
                return Data::write(event.name.as_deref(), &event.data, out);
            }
            kind => note(kind, &object, &mut self.report, tally),
        }
        self.release(out);
        if Kind::of(event, &object) == Kind::Delta {
            self.held = Some(event.clone());
        } else {
            Data::write(event.name.as_deref(), &event.data, out);
        }
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        write_ping(out);
    }

    fn end(&mut self, _: &mut Tally, out: &mut Vec<u8>) {
        self.release(out);
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.release(out);
        write_broken(code, message, out);
    }
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `message_start`.
    Start,
    /// `content_block_start`.
    BlockStart,
    /// `content_block_delta`.
    BlockDelta,
    /// `content_block_stop`.
    BlockStop,
    /// `message_delta`.
    Delta,
    /// `message_stop`, the last.
    Stop,
    /// `ping`.
    Ping,
    /// `error`.
    Error,
    /// What is not known.
    Other,
}

impl Kind {
    /// By the type in the data; by the event's name where there is none.
    pub fn of(event: &Data, object: &Object<'_>) -> Self {
        let kind = wire::member(object, "type");
        match kind.as_deref().or(event.name.as_deref()).unwrap_or_default() {
            "message_start" => Self::Start,
            "content_block_start" => Self::BlockStart,
            "content_block_delta" => Self::BlockDelta,
            "content_block_stop" => Self::BlockStop,
            "message_delta" => Self::Delta,
            "message_stop" => Self::Stop,
            "ping" => Self::Ping,
            "error" => Self::Error,
            _ => Self::Other,
        }
    }
}

/// Notes what an event says that must be known: usage, why the model stopped, and the text that comes out.
pub fn note(kind: Kind, object: &Object<'_>, report: &mut Option<Report>, tally: &mut Tally) {
    tally.flow();
    let part = |name: &str| object.get(name).and_then(Object::parse);
    match kind {
        Kind::Start => merge(part("message").and_then(|message| message.get("usage")), report, tally),
        Kind::BlockStart => said(part("content_block").as_ref(), &["text", "thinking", "name"], tally),
        Kind::BlockDelta => said(part("delta").as_ref(), &["text", "thinking", "partial_json"], tally),
        Kind::Delta => {
            merge(object.get("usage"), report, tally);
            if let Some(reason) = part("delta").and_then(|delta| delta.get("stop_reason")).and_then(wire::text) {
                tally.finish_reason = Some(reason.into_owned());
            }
        }
        _ => {}
    }
}

fn merge(json: Option<&str>, report: &mut Option<Report>, tally: &mut Tally) {
    let Some(later) = json.and_then(Report::read) else { return };
    let merged = report.get_or_insert_default();
    merged.merge(&later);
    tally.reported = Some(merged.usage());
}

fn said(object: Option<&Object<'_>>, names: &[&str], tally: &mut Tally) {
    for name in names {
        let text = object.and_then(|object| object.get(name)).filter(|json| json.starts_with('"'));
        tally.output(text.map(wire::unquoted).unwrap_or_default());
    }
}

/// How an error event ends a stream.
pub fn broken_by(object: &Object<'_>) -> Progress {
    Progress::Broken(read_error_object(object.get("error").unwrap_or("null")))
}

/// Anthropic's own way of keeping a connection alive.
pub fn write_ping(out: &mut Vec<u8>) {
    Data::write(Some("ping"), "{\"type\":\"ping\"}", out);
}

/// The error that is the last of a stream that broke off.
pub fn write_broken(code: &str, message: &str, out: &mut Vec<u8>) {
    Data::write(Some("error"), &error_event(code, message), out);
}
