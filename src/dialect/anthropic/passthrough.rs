//! A stream of messages on its way to a client that reads the same.
//!
//! What always holds: it is complete with `message_stop`, or when it ends after it has told why the model stopped; events pass byte for byte with their names, but for the id and the model in the first; the last
//! `message_delta` alone gets the cost, once it is known to be the last.

use super::error::{error_event, read_error_object};
use super::usage::{Report, usage_with_cost};
use crate::dialect::format::{Passthrough, StreamWish};
use crate::dialect::json::{Edit, Object, text_of, unquoted};
use crate::dialect::mend::is_broken;
use crate::dialect::naming::Names;
use crate::dialect::sse::Data;
use crate::dialect::stream_state::{Progress, StreamState};

/// What a message is called.
pub fn names(wish: &StreamWish) -> Names {
    Names::new(PREFIX, wish)
}

/// How ids of messages begin.
pub const PREFIX: &str = "msg_";

/// Follows one stream.
pub struct MessagesLine {
    report: Option<Report>,
    /// A `message_delta` that is kept until it is known what follows.
    held: Option<Data>,
    names: Names,
}

impl MessagesLine {
    /// Follows a stream for a client that wishes this.
    pub fn new(wish: &StreamWish) -> Self {
        Self { report: None, held: None, names: names(wish) }
    }

    /// The first event with the names of the message.
    fn named(&self, object: &Object<'_>) -> Option<String> {
        let message = object.get("message").and_then(Object::parse)?;
        Some(object.edited(&[Edit::Set("message", self.names.edited(&message))]))
    }

    /// What is held goes out as it came.
    fn release(&mut self, out: &mut Vec<u8>) {
        if let Some(event) = self.held.take() {
            Data::write(event.name.as_deref(), &event.data, out);
        }
    }

    /// The message is complete with its last event.
    fn done(&mut self, stop: &Data, stream: &mut StreamState, out: &mut Vec<u8>) {
        stream.progress = Progress::Done;
        self.release_priced(stream, out);
        Data::write(stop.name.as_deref(), &stop.data, out);
    }

    /// What is held goes out with the cost.
    fn release_priced(&mut self, stream: &StreamState, out: &mut Vec<u8>) {
        let Some(event) = self.held.take() else { return };
        let object = Object::parse(&event.data);
        let edited = object.map(|object| {
            let upstream = object.get("usage").filter(|json| json.starts_with('{'));
            object.edited(&[Edit::Set("usage", usage_with_cost(upstream, &stream.usage().0, &stream.cost()))])
        });
        Data::write(event.name.as_deref(), edited.as_deref().unwrap_or(&event.data), out);
    }
}

impl Passthrough for MessagesLine {
    fn event(&mut self, event: &Data, stream: &mut StreamState, out: &mut Vec<u8>) {
        if event.data.is_empty() {
            return;
        }
        let Some(object) = Object::parse(&event.data) else {
            return stream.break_off("an event is not a JSON object");
        };
        match EventKind::of(event, &object) {
            EventKind::Ping => return Data::write(event.name.as_deref(), &event.data, out),
            EventKind::Error => return stream.progress = broken_by(&object),
            EventKind::Stop if !stream.has_chunks() => return stream.break_off("an answer ends before it begins"),
            EventKind::Stop => return self.done(event, stream, out),
            kind => note(kind, &object, &mut self.report, stream),
        }
        self.release(out);
        match EventKind::of(event, &object) {
            EventKind::Delta => self.held = Some(event.clone()),
            EventKind::Start => {
                let named = self.named(&object);
                Data::write(event.name.as_deref(), named.as_deref().unwrap_or(&event.data), out);
            }
            _ => Data::write(event.name.as_deref(), &event.data, out),
        }
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        write_ping(out);
    }

    fn end(&mut self, stream: &mut StreamState, out: &mut Vec<u8>) {
        // Some providers close the connection in place of the last event.
        if stream.finish_reason.as_deref().is_some_and(|reason| !is_broken(reason)) {
            let stop = Data { name: Some("message_stop".to_owned()), data: "{\"type\":\"message_stop\"}".to_owned() };
            return self.done(&stop, stream, out);
        }
        self.release(out);
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.release(out);
        write_broken(code, message, out);
    }

    fn refused(&mut self, envelope: &str, out: &mut Vec<u8>) {
        Data::write(Some("error"), envelope, out);
    }
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
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

impl EventKind {
    /// By the type in the data; by the event's name where there is none.
    pub fn of(event: &Data, object: &Object<'_>) -> Self {
        let kind = object.maybe_text("type");
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
pub fn note(kind: EventKind, object: &Object<'_>, report: &mut Option<Report>, stream: &mut StreamState) {
    stream.flow();
    let part = |name: &str| object.get(name).and_then(Object::parse);
    match kind {
        EventKind::Start => merge(part("message").and_then(|message| message.get("usage")), report, stream),
        EventKind::BlockStart => said(part("content_block").as_ref(), &["text", "thinking", "name"], stream),
        EventKind::BlockDelta => said(part("delta").as_ref(), &["text", "thinking", "partial_json"], stream),
        EventKind::Delta => {
            merge(object.get("usage"), report, stream);
            if let Some(reason) = part("delta").and_then(|delta| delta.get("stop_reason")).and_then(text_of) {
                stream.finish_reason = Some(reason.into_owned());
            }
        }
        _ => {}
    }
}

fn merge(json: Option<&str>, report: &mut Option<Report>, stream: &mut StreamState) {
    let Some(later) = json.and_then(Report::read) else { return };
    let merged = report.get_or_insert_default();
    merged.merge(&later);
    stream.reported = Some(merged.usage());
}

fn said(object: Option<&Object<'_>>, names: &[&str], stream: &mut StreamState) {
    for name in names {
        let text = object.and_then(|object| object.get(name)).filter(|json| json.starts_with('"'));
        stream.output(text.map(unquoted).unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::super::tests::{STREAM, is_done, run, same};
    use super::*;
    use crate::usage::{Usage, UsageSource};
    use proptest::prelude::*;

    #[test]
    fn a_stream_passes_byte_for_byte_but_for_the_cost_at_its_end() {
        let mut meter = same();
        let out = run(&mut meter, &[STREAM.as_bytes()]);
        let cost = r#""thinking_tokens":61},"cost":0.8799,"cost_details":{"s":"Upstream"}}"#;
        assert_eq!(out, STREAM.replace(r#""thinking_tokens":61}}"#, cost));
        assert!(is_done(&meter));
        // Told at the start and at the end, and counted once.
        let usage = Usage { input: 412, cached_input: 6_400, cache_write: 1_800, output: 126, reasoning: 61, ..Usage::default() };
        assert_eq!(meter.usage(), (usage, UsageSource::Upstream));
        assert_eq!(meter.finish_reason().as_deref(), Some("tool_use"));
    }

    #[test]
    fn the_last_of_several_ends_tells_the_cost() {
        let delta = |tokens: u64| {
            format!(
                "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{}},\"usage\":{{\"output_tokens\":{tokens}}}}}\n\n"
            )
        };
        let stream = format!("{}{}event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n", delta(5), delta(9));
        let mut meter = same();
        let out = run(&mut meter, &[stream.as_bytes()]);
        assert!(out.starts_with(&delta(5)) && out.contains(r#""output_tokens":9,"cost":0.9,"#), "{out}");
        // Providers that leave usage out still tell the cost.
        let out = run(&mut same(), &[stream.replace(",\"usage\":{\"output_tokens\":9}", "").as_bytes()]);
        assert!(out.contains(r#""output_tokens":5,"#) && out.contains(r#""cost":0.5,"#), "{out}");
    }

    #[test]
    fn a_cut_stream_is_not_complete_and_ends_in_an_error() {
        let cut = STREAM.find("event: message_delta").unwrap();
        let mut meter = same();
        let mut out = run(&mut meter, &[&STREAM.as_bytes()[..cut]]).into_bytes();
        assert!(!is_done(&meter));
        meter.broken("upstream_cut", "gone", &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with(&STREAM[..cut]) && !out.contains("message_stop") && !out.contains("\"cost\""), "{out}");
        let end = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"gone\",\"code\":\"upstream_cut\"}}\n\n";
        assert!(out.ends_with(end), "{out}");
    }

    #[test]
    fn a_stream_that_has_told_why_it_ended_needs_no_last_event() {
        let (cut, mut meter) = (STREAM.find("event: message_stop").unwrap(), same());
        let out = run(&mut meter, &[&STREAM.as_bytes()[..cut]]);
        assert!(is_done(&meter));
        assert_eq!(out, run(&mut same(), &[STREAM.as_bytes()]));
    }

    #[test]
    fn an_error_event_breaks_the_stream_with_its_type() {
        let error =
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
        let mut meter = same();
        let out = run(&mut meter, &[error.as_bytes(), STREAM.as_bytes()]);
        assert!(matches!(meter.progress(), Progress::Broken(error) if error.code.as_deref() == Some("overloaded_error")));
        assert_eq!(out, "");
        for data in ["<html>", "[DONE]", "[]", r#"{"type":"message_stop"}"#] {
            let mut meter = same();
            run(&mut meter, &[format!("data: {data}\n\n").as_bytes()]);
            assert!(matches!(meter.progress(), Progress::Broken(_)), "{data}");
        }
    }

    #[test]
    fn pings_and_unknown_events_pass() {
        let events = "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: new_thing\ndata: {\"type\":\"new_thing\",\"x\":1.0}\n\n";
        assert_eq!(run(&mut same(), &[events.as_bytes()]), events);
        let mut meter = same();
        // When a comment becomes a sign of life is for the flow to say.
        assert_eq!((run(&mut meter, &[b": hello\n\n"]).as_str(), meter.take_note(), meter.take_note()), ("", true, false));
        let mut out = Vec::new();
        meter.ping(&mut out);
        assert_eq!(out, b"event: ping\ndata: {\"type\":\"ping\"}\n\n");
        let mut meter = same();
        run(&mut meter, &[b"event: ping\ndata: {\"type\":\"ping\"}\n\n"]);
        assert!(!meter.has_chunks());
    }

    #[test]
    fn without_a_report_the_output_is_estimated() {
        let text = "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"12345678\"}}\n\n";
        let mut meter = same();
        run(&mut meter, &[text.as_bytes(), b"data: {\"type\":\"message_stop\"}\n\n"]);
        assert_eq!(meter.usage(), (Usage { input: 10, output: 2, ..Usage::default() }, UsageSource::Estimated));
        assert!(is_done(&meter));
    }

    proptest! {
        #[test]
        fn a_split_changes_nothing(cuts in proptest::collection::btree_set(0..STREAM.len(), 0..6)) {
            let whole = run(&mut same(), &[STREAM.as_bytes()]);
            let mut from = 0;
            let mut chunks = Vec::new();
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                chunks.push(&STREAM.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(run(&mut same(), &chunks), whole);
        }

        #[test]
        fn damaged_streams_never_end_without_their_end(at in 0..STREAM.len(), with in any::<u8>(), cut in 0..STREAM.len()) {
            let mut bytes = STREAM.as_bytes().to_vec();
            bytes[at] = with;
            let mut meter = same();
            let out = run(&mut meter, &[&bytes[..cut]]);
            // Why it ended is told by the event before the last.
            let told = STREAM.rfind("\n\nevent: message_stop").unwrap();
            prop_assert!(cut >= told || !is_done(&meter));
            let has_end = out.contains("message_stop\"}\n\n");
            prop_assert_eq!(is_done(&meter), has_end);
        }
    }
}
