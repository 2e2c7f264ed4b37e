//! A stream of messages for a client of another dialect.
//!
//! What always holds: it is complete with `message_stop`, or when it ends after it has told why the model stopped; the end is told once; a call always has arguments that are JSON.

use super::answer::finish_of;
use super::passthrough::{EventKind, broken_by, note};
use super::usage::Report;
use crate::dialect::conversation::{Delta, Finish};
use crate::dialect::format::Reader;
use crate::dialect::json::Object;
use crate::dialect::mend::is_broken;
use crate::dialect::sse::Data;
use crate::dialect::stream_state::{Progress, StreamState};

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
            let text = |name| message.map(|message| message.words(name)).unwrap_or_default();
            deltas.push(Delta::Start { id: text("id"), model: text("model") });
        }
    }

    /// A block begins; false if it cannot be followed.
    fn block_start(&mut self, index: u64, block: &Object<'_>, deltas: &mut Vec<Delta>) -> bool {
        let text = |name| Some(block.words(name)).filter(|text| !text.is_empty());
        match block.maybe_text("type").as_deref() {
            Some("text") => deltas.extend(text("text").map(|text| Delta::Text { choice: 0, text })),
            Some("thinking") => {
                deltas.extend(text("thinking").map(|text| Delta::Thinking { choice: 0, text }));
                deltas.extend(text("signature").map(|signature| Delta::Signature { choice: 0, signature }));
            }
            Some("redacted_thinking") => deltas.push(Delta::Redacted { choice: 0, data: block.words("data") }),
            Some("tool_use") if self.open.len() >= MOST_OPEN => return false,
            Some("tool_use") => {
                let call = self.calls;
                self.calls = call.saturating_add(1);
                let input = block.given("input").unwrap_or("{}").to_owned();
                self.open.push(OpenCall { index, call, input, has_json: false });
                let (id, name) = (block.words("id"), block.words("name"));
                deltas.push(Delta::Call { choice: 0, call, id, name, signature: None });
            }
            _ => {}
        }
        true
    }

    fn block_delta(&mut self, index: u64, delta: &Object<'_>, deltas: &mut Vec<Delta>) {
        let text = |name| Some(delta.words(name)).filter(|text| !text.is_empty());
        match delta.maybe_text("type").as_deref() {
            Some("text_delta") => deltas.extend(text("text").map(|text| Delta::Text { choice: 0, text })),
            Some("thinking_delta") => deltas.extend(text("thinking").map(|text| Delta::Thinking { choice: 0, text })),
            Some("signature_delta") => {
                deltas.extend(text("signature").map(|signature| Delta::Signature { choice: 0, signature }));
            }
            Some("input_json_delta") => {
                let Some(open) = self.open.iter_mut().rev().find(|open| open.index == index) else { return };
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

impl MessagesReader {
    /// The message is complete.
    fn done(&mut self, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        self.start(None, deltas);
        self.close(None, deltas);
        let finish = self.finish.take().unwrap_or_else(|| finish_of(None, None, self.calls > 0));
        deltas.push(Delta::Finish { choice: 0, finish });
        stream.progress = Progress::Done;
    }
}

impl Reader for MessagesReader {
    fn event(&mut self, event: &Data, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        if event.data.is_empty() {
            return;
        }
        let Some(object) = Object::parse(&event.data) else {
            return stream.break_off("an event is not a JSON object");
        };
        let kind = EventKind::of(event, &object);
        let part = |name: &str| object.get(name).and_then(Object::parse);
        let index = object.get("index").and_then(|json| json.parse().ok()).unwrap_or(0);
        match kind {
            EventKind::Ping => return,
            EventKind::Error => return stream.progress = broken_by(&object),
            EventKind::Stop if !stream.has_chunks() => return stream.break_off("an answer ends before it begins"),
            EventKind::Stop => return self.done(stream, deltas),
            _ => note(kind, &object, &mut self.report, stream),
        }
        match kind {
            EventKind::Start => self.start(part("message").as_ref(), deltas),
            EventKind::BlockStart | EventKind::BlockDelta => {
                self.start(None, deltas);
                match (kind, part("content_block"), part("delta")) {
                    (EventKind::BlockStart, Some(block), _) if !self.block_start(index, &block, deltas) => {
                        stream.break_off("an answer has more calls than can be followed");
                    }
                    (EventKind::BlockDelta, _, Some(delta)) => self.block_delta(index, &delta, deltas),
                    _ => {}
                }
            }
            EventKind::BlockStop => self.close(Some(index), deltas),
            EventKind::Delta => {
                let Some(delta) = part("delta") else { return };
                let (reason, stop) = (delta.maybe_text("stop_reason"), delta.maybe_text("stop_sequence"));
                if reason.is_some() {
                    self.finish = Some(finish_of(reason.as_deref(), stop.as_deref(), self.calls > 0));
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        // Some providers close the connection in place of the last event.
        if stream.finish_reason.as_deref().is_some_and(|reason| !is_broken(reason)) {
            self.done(stream, deltas);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{STREAM, is_done, obeys_the_protocol, run, stream, translated};
    use super::*;
    use crate::usage::Usage;
    use proptest::prelude::*;

    /// What events say; each is its data.
    fn read(events: &[&str]) -> (Vec<Delta>, StreamState) {
        let (mut reader, mut stream, mut deltas) = (MessagesReader::default(), stream(), Vec::new());
        for data in events {
            reader.event(&Data { name: None, data: (*data).to_owned() }, &mut stream, &mut deltas);
        }
        (deltas, stream)
    }

    fn events() -> Vec<&'static str> {
        STREAM.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }

    #[test]
    fn a_stream_is_read_block_by_block() {
        let (deltas, stream) = read(&events());
        let text = |text: &str| Delta::Text { choice: 0, text: text.to_owned() };
        let thought = |text: &str| Delta::Thinking { choice: 0, text: text.to_owned() };
        let call = |call, id: &str, name: &str| Delta::Call {
            choice: 0,
            call,
            id: id.to_owned(),
            name: name.to_owned(),
            signature: None,
        };
        let json = |call, json: &str| Delta::Arguments { choice: 0, call, json: json.to_owned() };
        let expected = [
            Delta::Start { id: "msg_01Quince".to_owned(), model: "claude-sonnet-4-5-20250929".to_owned() },
            thought("Both towns lie west, so"),
            thought(" I ask for both.\n"),
            Delta::Signature { choice: 0, signature: "EqQBCkYIARgCKkDq7f/3c=".to_owned() },
            Delta::Redacted { choice: 0, data: "EmwKAhgBEgy3va3pzix/".to_owned() },
            text("I look up the \"weather\" 🌦"),
            text(" in Trás-os-Montes."),
            call(0, "toolu_01Porto", "weather"),
            json(0, "{\"town\": \"Bra"),
            json(0, "gança\"}"),
            call(1, "toolu_02Clock", "clock"),
            // No arguments are an object too.
            json(1, "{}"),
            Delta::Finish { choice: 0, finish: Finish::Calls },
        ];
        assert_eq!(deltas, expected);
        assert_eq!(stream.progress, Progress::Done);
        let usage = Usage { input: 412, cached_input: 6_400, cache_write: 1_800, output: 126, reasoning: 61, ..Usage::default() };
        assert_eq!((stream.reported, stream.finish_reason.as_deref()), (Some(usage), Some("tool_use")));
    }

    #[test]
    fn arguments_that_come_with_the_call_are_not_lost() {
        let (deltas, _) = read(&[
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"f","input":{"x":1.0}}}"#,
            r#"{"type":"message_stop"}"#,
        ]);
        assert!(deltas.contains(&Delta::Arguments { choice: 0, call: 0, json: "{\"x\":1.0}".to_owned() }), "{deltas:?}");
        assert_eq!(deltas.last(), Some(&Delta::Finish { choice: 0, finish: Finish::Calls }));
    }

    #[test]
    fn tools_of_the_provider_are_passed_over() {
        let (deltas, _) = read(&[
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"web_search_tool_result","content":[]}}"#,
        ]);
        assert_eq!(deltas, [Delta::Start { id: String::new(), model: String::new() }]);
    }

    #[test]
    fn why_it_ended_is_told_at_the_end() {
        for (delta, finish) in [
            (r#"{"stop_reason":"end_turn"}"#, Finish::Stop),
            (r#"{"stop_reason":"stop_sequence","stop_sequence":"END"}"#, Finish::StopText("END".to_owned())),
            (r#"{"stop_reason":"stop_sequence","stop_sequence":null}"#, Finish::Stop),
            (r#"{"stop_reason":"max_tokens"}"#, Finish::Length),
            (r#"{"stop_reason":"model_context_window_exceeded"}"#, Finish::Length),
            // There is no call.
            (r#"{"stop_reason":"tool_use"}"#, Finish::Stop),
            (r#"{"stop_reason":"refusal"}"#, Finish::Filtered("refusal".to_owned())),
            (r#"{"stop_reason":"pause_turn"}"#, Finish::Other("pause_turn".to_owned())),
            (r#"{"stop_reason":null}"#, Finish::Stop),
        ] {
            let event = format!(r#"{{"type":"message_delta","delta":{delta}}}"#);
            let (deltas, _) = read(&[&event, r#"{"type":"message_stop"}"#]);
            assert_eq!(deltas.last(), Some(&Delta::Finish { choice: 0, finish }), "{delta}");
        }
    }

    #[test]
    fn an_error_and_what_is_not_json_break_the_stream() {
        let (deltas, stream) = read(&[r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#]);
        assert!(deltas.is_empty());
        assert!(matches!(stream.progress, Progress::Broken(error) if error.kind.as_deref() == Some("overloaded_error")));
        for data in ["<html>", "[]", r#"{"type":"message_stop"}"#] {
            assert!(matches!(read(&[data]).1.progress, Progress::Broken(_)), "{data}");
        }
    }

    #[test]
    fn a_stream_between_two_of_this_dialect_says_the_same() {
        let mut meter = translated();
        let out = run(&mut meter, &[STREAM.as_bytes()]);
        assert!(is_done(&meter));
        obeys_the_protocol(&out);
        for same in STREAM.split("\n\n").filter(|event| event.contains("_delta\"")) {
            let is_told_otherwise = same.contains("message_delta") || same.contains("\"partial_json\":\"\"");
            assert!(is_told_otherwise || out.contains(same), "{same}\n{out}");
        }
        assert!(out.contains(r#""stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":412,"#), "{out}");
        assert!(out.contains(r#""cost":0.8799,"cost_details":{"s":"Upstream"}}"#), "{out}");
    }

    proptest! {
        #[test]
        fn a_split_changes_nothing(cuts in proptest::collection::btree_set(0..STREAM.len(), 0..6)) {
            let whole = run(&mut translated(), &[STREAM.as_bytes()]);
            let mut from = 0;
            let mut chunks = Vec::new();
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                chunks.push(&STREAM.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(run(&mut translated(), &chunks), whole);
        }

        #[test]
        fn events_in_any_order_with_anything_in_them_obey_the_protocol(
            order in proptest::collection::vec(0usize..40, 0..30),
            from in proptest::collection::vec(0usize..20, 0..30),
            with in prop_oneof![Just("null"), Just("[]"), Just("7"), Just("\"x\""), Just("{}")],
        ) {
            let events = events();
            let names = ["index", "delta", "content_block", "message", "usage", "type", "text", "partial_json", "id"];
            let mut stream = String::new();
            for (at, number) in order.iter().enumerate() {
                let Some(event) = events.get(*number) else { continue };
                let mut event = (*event).to_owned();
                // Some lose a member, or have something else there.
                if let Some(name) = from.get(at).and_then(|at| names.get(*at)) {
                    let object = Object::parse(&event).unwrap();
                    event = object.edited(&[crate::dialect::json::Edit::Set(name, with.to_owned())]);
                }
                stream.push_str(&format!("data: {event}\n\n"));
            }
            let mut meter = translated();
            let out = run(&mut meter, &[stream.as_bytes()]);
            let is_told = ["message_stop", "\"stop_reason\":\""].into_iter().any(|end| stream.contains(end));
            prop_assert!(!is_done(&meter) || is_told);
            if is_done(&meter) {
                obeys_the_protocol(&out);
            } else {
                prop_assert!(!out.contains("message_stop"));
            }
        }

        #[test]
        fn damaged_streams_never_end_without_their_end(at in 0..STREAM.len(), with in any::<u8>(), cut in 0..STREAM.len()) {
            let mut bytes = STREAM.as_bytes().to_vec();
            bytes[at] = with;
            let mut meter = translated();
            let out = run(&mut meter, &[&bytes[..cut]]);
            // Why it ended is told by the event before the last.
            let told = STREAM.rfind("\n\nevent: message_stop").unwrap();
            prop_assert!(cut >= told || !is_done(&meter));
            prop_assert_eq!(is_done(&meter), out.contains("message_stop"));
        }
    }
}
