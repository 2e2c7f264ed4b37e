//! The meter of a stream: what passes on its way to the client is noted, whatever its format.
//!
//! What always holds: a stream is complete only when its terminal event was seen; every byte that comes out belongs to a whole
//! event.

use super::bridge::{Bridge, Bridged};
use super::conversation::Delta;
use super::discreet::Discretion;
use super::format::{Passthrough, Reader, StreamWish, Writer};
use super::hidden::Hidden;
use super::mend::Mended;
use super::sse::{self, Broken, Event};
use super::stream_state::{Fallback, Pricing, Progress, StreamState};
use super::tokens::Counter;
use super::told::told_event;
use crate::usage::{Usage, UsageSource};

/// How upstream's bytes become the client's.
pub enum Transcoding {
    /// Events of one format.
    Same(Box<dyn Passthrough>),
    /// Events that are translated.
    Translated(Box<dyn Reader>, Box<dyn Writer>),
    /// Bytes that are not looked into, such as sound; complete when they end.
    Bytes,
}

impl Transcoding {
    /// A translation: what upstream leaves out is put in as the client may expect it, then what the client calls otherwise gets
    /// its names and marks.
    pub fn translated(reader: Box<dyn Reader>, writer: Box<dyn Writer>, wish: &StreamWish, bridge: Option<Bridge>) -> Self {
        let mended = Box::new(Mended::new(reader, wish));
        match bridge {
            Some(bridge) => Self::Translated(Box::new(Bridged::new(mended, bridge)), writer),
            None => Self::Translated(mended, writer),
        }
    }
}

/// The meter of one stream.
pub struct Meter {
    reader: sse::SseReader,
    way: Transcoding,
    stream: StreamState,
    /// Whether something came that says nothing to the client.
    is_noted: bool,
    /// What of the model's name the client does not read.
    hidden: Option<Hidden>,
    /// What of an error nobody reads.
    discretion: Option<Discretion>,
}

impl Meter {
    /// A meter for a stream. `fallback` is what is used if upstream reports nothing, but for the tokens that come out, which
    /// `counter` counts.
    pub fn new(way: Transcoding, fallback: Fallback, counter: Counter, pricing: Pricing) -> Self {
        let stream = StreamState::new(fallback, counter, pricing);
        Self { reader: sse::SseReader::default(), way, stream, is_noted: false, hidden: None, discretion: None }
    }

    /// The same for a client that reads the model under its own name for it.
    pub fn hiding(self, hidden: Option<Hidden>) -> Self {
        Self { hidden, ..self }
    }

    /// The same with words of errors such as may be read.
    pub fn discreet(self, discretion: Discretion) -> Self {
        Self { discretion: Some(discretion), ..self }
    }

    /// How far the stream is.
    pub const fn progress(&self) -> &Progress {
        &self.stream.progress
    }

    /// Whether an answer has begun.
    pub const fn has_chunks(&self) -> bool {
        self.stream.has_chunks()
    }

    /// Whether more is to come.
    pub const fn is_open(&self) -> bool {
        self.stream.is_open()
    }

    /// Why the model stopped.
    pub fn finish_reason(&self) -> Option<String> {
        self.stream.finish_reason.clone()
    }

    /// What was used so far: upstream's own count, or an estimate.
    pub fn usage(&self) -> (Usage, UsageSource) {
        self.stream.usage()
    }

    /// Whether it broke at a limit of the gateway's own.
    pub const fn is_over_limit(&self) -> bool {
        self.stream.is_over_limit
    }

    /// What was written, where a later request may refer to it.
    pub fn kept(&self) -> Option<String> {
        match &self.way {
            Transcoding::Translated(_, writer) => writer.kept(),
            Transcoding::Same(_) | Transcoding::Bytes => None,
        }
    }

    /// How many bytes came.
    pub const fn bytes(&self) -> u64 {
        self.stream.bytes()
    }

    /// Whether something came that says nothing to the client, such as a comment, since this was last asked.
    pub const fn take_note(&mut self) -> bool {
        std::mem::replace(&mut self.is_noted, false)
    }

    /// A sign of life for the client, in its dialect's form; nothing where that has none.
    pub fn ping(&mut self, out: &mut Vec<u8>) {
        match &mut self.way {
            Transcoding::Same(line) => line.ping(out),
            Transcoding::Translated(_, writer) => writer.ping(out),
            Transcoding::Bytes => {}
        }
    }

    /// Takes bytes as they come and appends to `out` what the client gets of them.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.stream.take(bytes.len());
        if matches!(self.way, Transcoding::Bytes) {
            if !bytes.is_empty() {
                self.stream.flow();
                out.extend_from_slice(bytes);
            }
            return;
        }
        self.reader.push(bytes);
        self.drain(out);
    }

    /// Says that upstream has no more bytes.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.reader.finish();
        self.drain(out);
        if !self.stream.is_open() {
            return;
        }
        match &mut self.way {
            Transcoding::Same(line) => line.end(&mut self.stream, out),
            Transcoding::Translated(reader, writer) => {
                let mut deltas = Vec::new();
                reader.end(&mut self.stream, &mut deltas);
                write(&mut self.stream, writer.as_mut(), &deltas, out);
            }
            Transcoding::Bytes if self.stream.has_chunks() => self.stream.progress = Progress::Done,
            Transcoding::Bytes => {}
        }
    }

    /// The end of a stream that broke off: an error in the client's dialect, and no terminal event. False if it cannot be told,
    /// because the client gets bytes that have no place for it.
    pub fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) -> bool {
        let message = &self.hidden.as_ref().map_or_else(|| message.to_owned(), |hidden| hidden.text(message));
        match &mut self.way {
            Transcoding::Same(line) => line.broken(code, message, out),
            Transcoding::Translated(_, writer) => writer.broken(code, message, out),
            Transcoding::Bytes => return false,
        }
        true
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        while self.stream.is_open() {
            let mut next = self.reader.next_event();
            if let (Ok(Some(Event::Data(data))), Some(discretion)) = (&mut next, &self.discretion)
                && let Some(told) = told_event(data.name.as_deref(), &data.data, discretion)
            {
                data.data = told;
            }
            match (next, &mut self.way) {
                (Ok(None), _) | (_, Transcoding::Bytes) => return,
                (Ok(Some(Event::Comment)), _) => self.is_noted = true,
                (Ok(Some(Event::Data(mut data))), Transcoding::Same(line)) => {
                    if let Some(told) = self.hidden.as_ref().and_then(|hidden| hidden.event(&data.data)) {
                        data.data = told;
                    }
                    line.event(&data, &mut self.stream, out);
                }
                (Ok(Some(Event::Data(data))), Transcoding::Translated(reader, writer)) => {
                    let mut deltas = Vec::new();
                    reader.event(&data, &mut self.stream, &mut deltas);
                    // What says nothing to the client still tells that somebody is there.
                    self.is_noted |= deltas.is_empty();
                    write(&mut self.stream, writer.as_mut(), &deltas, out);
                }
                (Err(Broken::TooLong), _) => {
                    self.stream.is_over_limit = true;
                    self.stream.break_off("an event is longer than 16 MiB");
                }
                (Err(Broken::NotUtf8), _) => self.stream.break_off("an event is not UTF-8"),
            }
        }
    }
}

/// Writes what a stream added, and its end when it is complete.
fn write(stream: &mut StreamState, writer: &mut dyn Writer, deltas: &[Delta], out: &mut Vec<u8>) {
    for delta in deltas {
        writer.delta(delta, out);
    }
    if let Some(reason) = writer.fault() {
        return stream.break_off(reason);
    }
    if stream.progress == Progress::Done {
        writer.finish(&stream.usage().0, &stream.cost(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::format::{Cost, Counting, Format, StreamWish};
    use crate::dialect::openai::chat::Chat;
    use crate::dialect::tokens::estimate;

    fn meter(include_usage: bool) -> Meter {
        let pricing = |usage: &Usage, _: UsageSource, _: u64| Cost {
            amount: format!("0.{}", usage.total()),
            details: "{}".to_owned(),
            ..Cost::default()
        };
        let line = Chat.passthrough(StreamWish { include_usage, ..StreamWish::default() }, Counting::default());
        let input = Usage { input: 10, ..Usage::default() };
        Meter::new(Transcoding::Same(line), Fallback { usage: input, basis: None }, Counter::new("gpt"), Box::new(pricing))
    }

    fn chunk(rest: &str) -> String {
        format!("data: {{\"id\":\"c\",\"created\":1,\"model\":\"m\",{rest}}}\n\n")
    }

    fn golden() -> String {
        [
            ": hello\r\n\r\nid: 7\nevent: x\n".to_owned(),
            chunk(
                r#""choices":[{"index":0,"delta":{"role":"assistant","content":"h\u00e9"},"finish_reason":null}],"usage":null"#,
            ),
            chunk(r#""choices":[{"index":0,"delta":{"content":"🦀 ünï"},"finish_reason":null}]"#),
            chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null"#),
            chunk(r#""choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}"#),
            "data: [DONE]\n\n".to_owned(),
        ]
        .concat()
    }

    fn run(meter: &mut Meter, chunks: &[&[u8]]) -> String {
        let mut out = Vec::new();
        for chunk in chunks {
            meter.push(chunk, &mut out);
        }
        meter.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn usage_is_stripped_from_a_client_that_did_not_ask() {
        let mut meter = meter(false);
        let out = run(&mut meter, &[golden().as_bytes()]);
        assert!(!out.contains("usage") && !out.contains("\"choices\":[]"), "{out}");
        assert!(out.ends_with("data: [DONE]\n\n") && !out.contains("id: 7") && !out.contains("event:"), "{out}");
        assert_eq!(meter.usage(), (Usage { input: 7, output: 5, ..Usage::default() }, UsageSource::Upstream));
        assert_eq!((meter.progress(), meter.finish_reason().as_deref()), (&Progress::Done, Some("stop")));
    }

    #[test]
    fn usage_comes_last_and_once_with_its_cost() {
        let out = run(&mut meter(true), &[golden().as_bytes()]);
        assert_eq!(out.matches("\"usage\":{").count(), 1);
        assert!(out.contains(r#""total_tokens":12,"cost":0.12,"cost_details":{}}"#), "{out}");
        let tail = out.rsplit("data: ").nth(1).unwrap();
        assert!(tail.contains("\"choices\":[]"), "{tail}");
    }

    #[test]
    fn a_split_at_any_byte_changes_nothing() {
        for include_usage in [false, true] {
            let golden = golden();
            let bytes = golden.as_bytes();
            let whole = run(&mut meter(include_usage), &[bytes]);
            for at in 0..=bytes.len() {
                assert_eq!(run(&mut meter(include_usage), &[&bytes[..at], &bytes[at..]]), whole, "at {at}");
            }
        }
    }

    #[test]
    fn a_cut_stream_is_not_complete() {
        let golden = golden();
        let told = golden.find("\"finish_reason\":\"").unwrap();
        let cut = golden[..told].rfind("data: ").unwrap();
        let mut meter = meter(true);
        let out = run(&mut meter, &[&golden.as_bytes()[..cut]]);
        assert_eq!(meter.progress(), &Progress::Flowing);
        assert!(!out.contains("[DONE]"));
        let mut end = Vec::new();
        meter.broken("upstream_cut", "gone", &mut end);
        let end = String::from_utf8(end).unwrap();
        assert!(end.contains("\"finish_reason\":\"error\"") && end.contains("\"id\":\"c\"") && !end.contains("[DONE]"), "{end}");
    }

    #[test]
    fn a_stream_that_has_told_why_it_ended_needs_no_last_event() {
        let golden = golden();
        let whole = run(&mut meter(true), &[golden.as_bytes()]);
        let mut meter = meter(true);
        assert_eq!(run(&mut meter, &[golden.split("data: [DONE]").next().unwrap().as_bytes()]), whole);
        assert_eq!(meter.progress(), &Progress::Done);
    }

    #[test]
    fn usage_on_every_chunk_counts_once_and_the_last_wins() {
        let stream: String = (1..=3)
            .map(|n| {
                chunk(&format!(
                    r#""choices":[{{"index":0,"delta":{{"content":"x"}}}}],"usage":{{"prompt_tokens":7,"completion_tokens":{n}}}"#
                ))
            })
            .chain(["data: [DONE]\n\n".to_owned()])
            .collect();
        let mut meter = meter(true);
        let out = run(&mut meter, &[stream.as_bytes()]);
        assert_eq!(meter.usage().0.output, 3);
        assert_eq!(out.matches("\"usage\":{").count(), 1, "{out}");
    }

    #[test]
    fn a_report_in_the_middle_does_not_replace_what_was_relayed() {
        for (report, input) in
            [(r#"{"prompt_tokens":7,"completion_tokens":0}"#, 7), (r#"{"prompt_tokens":0,"completion_tokens":0}"#, 10)]
        {
            let stream = chunk(&format!(r#""choices":[{{"index":0,"delta":{{"content":"12345678"}}}}],"usage":{report}"#));
            let mut meter = meter(false);
            run(&mut meter, &[stream.as_bytes()]);
            let output = estimate("gpt", "12345678");
            assert_eq!(meter.usage(), (Usage { input, output, ..Usage::default() }, UsageSource::Estimated), "{report}");
        }
    }

    #[test]
    fn without_a_report_the_output_is_estimated() {
        let stream = chunk(r#""choices":[{"index":0,"delta":{"content":"12345678"}}]"#) + "data: [DONE]\n\n";
        let mut meter = meter(false);
        run(&mut meter, &[stream.as_bytes()]);
        let output = estimate("gpt", "12345678");
        assert_eq!(meter.usage(), (Usage { input: 10, output, ..Usage::default() }, UsageSource::Estimated));
    }

    #[test]
    fn an_error_event_breaks_the_stream_with_upstreams_own_words() {
        let stream = chunk(r#""choices":[{"index":0,"delta":{"content":"x"}}]"#)
            + "data: {\"error\":{\"message\":\"overloaded\",\"code\":\"busy\"}}\n\ndata: [DONE]\n\n";
        let mut meter = meter(false);
        let out = run(&mut meter, &[stream.as_bytes()]);
        assert!(
            matches!(meter.progress(), Progress::Broken(error) if error.message == "overloaded" && error.code.as_deref() == Some("busy"))
        );
        assert!(!out.contains("[DONE]"));
    }

    #[test]
    fn what_is_not_json_breaks_the_stream() {
        let mut meter = meter(false);
        run(&mut meter, &[b"data: <html>\n\n"]);
        assert!(matches!(meter.progress(), Progress::Broken(_)));
    }
}
