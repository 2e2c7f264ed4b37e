//! Streams of typed events, as images, speech and transcriptions have them: each event names its `type`, and those that
//! complete something carry `usage`.
//!
//! What always holds: every such event tells the cost so far, so that the last of them tells all of it.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::read_error_object;
use crate::dialect::format::{Cost, Passthrough, StreamWish};
use crate::dialect::json::{Edit, Object};
use crate::dialect::naming::Names;
use crate::dialect::sse::Data;
use crate::dialect::stream_state::{Progress, StreamState};
use crate::usage::Usage;

/// Written by some at the end, after the event that says the same.
const DONE: &str = "[DONE]";

/// What is known of the events of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Events {
    /// The types of events that complete something.
    pub complete: &'static [&'static str],
    /// Whether several may come, each with an image. The stream is then complete when it ends after one; else that event is
    /// the last.
    pub are_images: bool,
    /// Reads their `usage`.
    pub read: fn(&str) -> Option<Usage>,
    /// Writes it with the cost; upstream's own where there is one.
    pub write: fn(Option<&str>, &Usage, &Cost) -> String,
}

#[derive(Debug, Default, Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Follows one stream.
pub struct EventLine {
    events: Events,
    names: Names,
    is_complete: bool,
}

impl EventLine {
    /// At the start.
    pub fn new(events: Events, wish: &StreamWish) -> Self {
        Self { events, names: Names::new("", wish), is_complete: false }
    }

    /// Notes what an event says was used. A count that goes on grows; one that does not is the next image's own.
    fn note(&self, usage: Usage, stream: &mut StreamState) {
        let before = stream.reported.unwrap_or_default();
        let is_own = self.events.are_images && usage.output_side() <= before.output_side();
        stream.reported = Some(if is_own {
            Usage {
                output: usage.output.saturating_add(before.output),
                image_output: usage.image_output.saturating_add(before.image_output),
                ..usage
            }
        } else {
            usage
        });
    }
}

impl Passthrough for EventLine {
    fn event(&mut self, event: &Data, stream: &mut StreamState, out: &mut Vec<u8>) {
        let (name, data) = (event.name.as_deref(), event.data.as_str());
        if data.trim() == DONE {
            if self.is_complete {
                stream.progress = Progress::Done;
                Data::write(name, data, out);
            }
            return;
        }
        if data.is_empty() {
            return;
        }
        let Some(object) = Object::parse(data) else { return stream.break_off("an event is not a JSON object") };
        // One whose members stand twice is nobody's event, and passes.
        let read: Event<'_> = serde_json::from_str(data).unwrap_or_default();
        let kind: String = read.kind.and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default();
        let error = read.error.map(RawValue::get).filter(|error| *error != "null");
        if let Some(error) = error.or_else(|| (kind == "error").then_some(data)) {
            stream.progress = Progress::Broken(read_error_object(error));
            return;
        }
        stream.flow();
        if let Some(text) = read.delta.map(RawValue::get).and_then(|json| json.strip_prefix('"')?.strip_suffix('"')) {
            stream.output(text);
        }
        let mut edits = self.names.edits(&object);
        if !self.events.complete.contains(&kind.as_str()) {
            let edited = (!edits.is_empty()).then(|| object.edited(&edits));
            return Data::write(name, edited.as_deref().unwrap_or(data), out);
        }
        self.is_complete = true;
        if self.events.are_images {
            stream.images = stream.images.saturating_add(1);
        } else {
            stream.progress = Progress::Done;
        }
        let upstream = read.usage.map(RawValue::get);
        if let Some(usage) = upstream.and_then(self.events.read) {
            self.note(usage, stream);
        }
        let usage = (self.events.write)(upstream, &stream.usage().0, &stream.cost());
        edits.push(Edit::Set("usage", usage));
        Data::write(name, &object.edited(&edits), out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping\n\n");
    }

    fn end(&mut self, stream: &mut StreamState, _: &mut Vec<u8>) {
        if self.is_complete {
            stream.progress = Progress::Done;
        }
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        let error = json!({"message": message, "type": "upstream_error", "param": null, "code": code});
        Data::write(Some("error"), &json!({"type": "error", "error": error}).to_string(), out);
    }
}

#[cfg(test)]
mod tests {
    use crate::dialect::format::Format;
    use crate::dialect::openai::audio::{Speech, Transcriptions};
    use crate::dialect::openai::images::Generations;
    use crate::dialect::openai::testing::streamed;
    use crate::dialect::stream_state::Progress;
    use crate::usage::Usage;
    use proptest::prelude::*;

    const IMAGES: &str = include_str!("../../../tests/golden/openai/images/gpt-image-1.sse");
    const SPEECH: &str = include_str!("../../../tests/golden/openai/audio/speech.sse");
    const TEXT: &str = include_str!("../../../tests/golden/openai/audio/gpt-4o-transcribe.sse");

    fn formats() -> [(&'static dyn Format, &'static str, &'static str); 3] {
        [
            (&Generations, IMAGES, "image_generation.completed"),
            (&Speech, SPEECH, "speech.audio.done"),
            (&Transcriptions, TEXT, "transcript.text.done"),
        ]
    }

    #[test]
    fn an_error_ends_a_stream_in_either_form() {
        for (format, stream, _) in formats() {
            for error in [
                r#"{"error":{"message":"overloaded","code":"busy"}}"#,
                r#"{"type":"error","error":{"message":"overloaded","code":"busy"}}"#,
                r#"{"type":"error","message":"overloaded","code":"busy"}"#,
            ] {
                let broken = format!("data: {error}\n\n{stream}");
                let read = streamed(format, &[broken.as_bytes()]);
                let Progress::Broken(told) = read.progress else { panic!("{error}") };
                assert_eq!((told.message.as_str(), told.code.as_deref(), read.out.as_str()), ("overloaded", Some("busy"), ""));
            }
            let broken = streamed(format, &[b"data: <html>\n\n"]);
            assert!(matches!(broken.progress, Progress::Broken(_)) && broken.out.is_empty());
            let mut out = Vec::new();
            format.passthrough(Default::default(), Default::default()).broken("upstream_cut", "gone", &mut out);
            let expected =
                r#"{"type":"error","error":{"message":"gone","type":"upstream_error","param":null,"code":"upstream_cut"}}"#;
            assert_eq!(String::from_utf8(out).unwrap(), format!("event: error\ndata: {expected}\n\n"));
        }
    }

    #[test]
    fn what_is_unknown_passes_as_it_is_and_completes_nothing() {
        let stream = ": ping\n\ndata: {\"type\":\"transcript.text.segment\",\"id\":\"seg_1\",\"end\":1.0}\n\nevent: odd\ndata: {\"type\":5,\"new\":null}\n\n";
        for (format, _, _) in formats() {
            let read = streamed(format, &[stream.as_bytes()]);
            assert_eq!((read.out.as_str(), read.progress, read.usage.0), (stream, Progress::Flowing, Usage::default()));
            assert_eq!(streamed(format, &[b""]).progress, Progress::Silent);
        }
    }

    #[test]
    fn usage_is_made_where_the_last_event_has_none() {
        let read = streamed(&Speech, &[b"data: {\"type\":\"speech.audio.done\"}\n\n"]);
        let usage = r#"{"input_tokens":0,"output_tokens":0,"total_tokens":0,"cost":0,"cost_details":{}}"#;
        assert_eq!(read.out, format!("data: {{\"type\":\"speech.audio.done\",\"usage\":{usage}}}\n\n"));
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("-1".to_owned()),
            Just("1e400".to_owned()),
            Just("18446744073709551615".to_owned()),
            Just("\"speech.audio.done\"".to_owned()),
            Just("\"transcript.text.done\"".to_owned()),
            Just("\"image_generation.completed\"".to_owned()),
            "\"[a-z]{0,5}\"",
        ];
        let name = "(type|usage|delta|input_tokens|output_tokens|seconds|input_tokens_details|image_tokens|text_tokens)";
        leaf.prop_recursive(3, 20, 5, move |inner| {
            let member = (name, inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
            prop_oneof![
                proptest::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(","))),
                proptest::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_event_is_too_odd(events in proptest::collection::vec(json(), 0..5)) {
            let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            for (format, _, last) in formats() {
                let read = streamed(format, &[stream.as_bytes()]);
                prop_assert!(read.progress != Progress::Done || stream.contains(last), "{}", stream);
            }
        }

        #[test]
        fn a_damaged_stream_is_complete_only_with_its_last_event(at in 0usize..900, byte in any::<u8>(), split in 0usize..900) {
            for (format, stream, last) in formats() {
                let mut bytes = stream.as_bytes().to_vec();
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
                let split = split.min(bytes.len());
                let whole = streamed(format, &[&bytes]);
                prop_assert_eq!(&whole, &streamed(format, &[&bytes[..split], &bytes[split..]]));
                let cut = streamed(format, &[&bytes[..split]]);
                for read in [whole, cut] {
                    prop_assert!(read.progress != Progress::Done || read.out.contains(last));
                }
            }
        }
    }
}
