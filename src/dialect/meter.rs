//! The meter of a stream: events pass on, usage and the end are noted on the way.
//!
//! What always holds: a stream is complete only when its terminal event was seen; the usage chunk reaches a client that asked
//! for it, once, as the last before the end, and no other; every byte that comes out belongs to a whole event.

use serde_json::json;

use super::estimated_tokens;
use super::json::{Edit, Object};
use super::openai::{Chunk, Cost, DONE, UpstreamError, read_error_object, read_usage, usage_with_cost};
use super::sse::{Broken, Event, Reader};
use crate::usage::{Usage, UsageSource};

/// What a request costs, told the usage that was metered and the bytes that came.
pub type Pricing = Box<dyn Fn(&Usage, UsageSource, u64) -> Cost>;

/// How far a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nothing but comments so far.
    Silent,
    /// Events are coming.
    Flowing,
    /// The terminal event was seen.
    Done,
    /// Upstream told an error, or what comes cannot be read.
    Broken(UpstreamError),
}

/// The meter of one stream.
pub struct Meter {
    reader: Reader,
    include_usage: bool,
    input_tokens: u64,
    pricing: Pricing,
    progress: Progress,
    reported: Option<(Usage, String)>,
    finish_reason: Option<String>,
    chunks: u64,
    output_bytes: u64,
    bytes: u64,
    /// `id`, `created` and `model` of the last chunk, as JSON, for chunks of our own.
    head: Option<[String; 3]>,
}

impl Meter {
    /// A meter for a client that did or did not ask for usage. `input_tokens` is the estimate of what went in, for the case
    /// that upstream reports nothing.
    pub fn new(include_usage: bool, input_tokens: u64, pricing: Pricing) -> Self {
        Self {
            reader: Reader::default(),
            include_usage,
            input_tokens,
            pricing,
            progress: Progress::Silent,
            reported: None,
            finish_reason: None,
            chunks: 0,
            output_bytes: 0,
            bytes: 0,
            head: None,
        }
    }

    /// How far the stream is.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether an answer has begun.
    pub const fn has_chunks(&self) -> bool {
        self.chunks > 0
    }

    /// Why the model stopped.
    pub fn finish_reason(&self) -> Option<String> {
        self.finish_reason.clone()
    }

    /// What was used so far: upstream's own count, or an estimate.
    pub fn usage(&self) -> (Usage, UsageSource) {
        let output = estimated_tokens(self.output_bytes);
        let is_over = self.progress == Progress::Done;
        match self.reported.as_ref().map(|(usage, _)| *usage) {
            Some(usage) if usage.total() > 0 && (is_over || usage.output_side() >= output) => (usage, UsageSource::Upstream),
            // A report in the middle may know the input only.
            Some(usage) if usage.input_side() > 0 => {
                (Usage { output, reasoning: 0, audio_output: 0, ..usage }, UsageSource::Estimated)
            }
            _ => (Usage { input: self.input_tokens, output, ..Usage::default() }, UsageSource::Estimated),
        }
    }

    /// How many bytes came.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes bytes as they come and appends to `out` what the client gets of them.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.reader.push(bytes);
        self.drain(out);
    }

    /// Says that upstream has no more bytes.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.reader.finish();
        self.drain(out);
    }

    /// The end of a stream that broke off: one chunk with the error, and no terminal event.
    pub fn error_chunk(&self, code: &str, message: &str, out: &mut Vec<u8>) {
        let [id, created, model] = self.head.clone().unwrap_or_else(|| ["\"\"".to_owned(), "0".to_owned(), "\"\"".to_owned()]);
        let choices = json!([{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]);
        let error = json!({"message": message, "type": "upstream_error", "param": null, "code": code});
        let chunk = format!(
            r#"{{"id":{id},"object":"chat.completion.chunk","created":{created},"model":{model},"choices":{choices},"error":{error}}}"#
        );
        write_event(&chunk, out);
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        while matches!(self.progress, Progress::Silent | Progress::Flowing) {
            match self.reader.next_event() {
                Ok(None) => return,
                Ok(Some(Event::Comment)) => out.extend_from_slice(b": ping\n\n"),
                Ok(Some(Event::Data(data))) => self.event(&data, out),
                Err(broken) => self.break_off(match broken {
                    Broken::TooLong => "an event is longer than 16 MiB",
                    Broken::NotUtf8 => "an event is not UTF-8",
                }),
            }
        }
    }

    fn flow(&mut self) {
        self.progress = Progress::Flowing;
        self.chunks = self.chunks.saturating_add(1);
    }

    fn break_off(&mut self, message: &str) {
        self.progress = Progress::Broken(UpstreamError { message: message.to_owned(), ..UpstreamError::default() });
    }

    fn event(&mut self, data: &str, out: &mut Vec<u8>) {
        if data.trim() == DONE {
            self.progress = Progress::Done;
            if self.include_usage {
                self.usage_chunk(out);
            }
            write_event(DONE, out);
            return;
        }
        if data.is_empty() {
            return;
        }
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(data) else {
            return self.unknown_event(data, out);
        };
        if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
            self.progress = Progress::Broken(read_error_object(error.get()));
            return;
        }
        self.flow();
        self.chunk(data, &chunk, out);
    }

    /// JSON of another shape passes; what is not JSON ends the stream.
    fn unknown_event(&mut self, data: &str, out: &mut Vec<u8>) {
        if Object::parse(data).is_none() {
            return self.break_off("an event is not a JSON object");
        }
        self.flow();
        self.output_bytes = self.output_bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        write_event(data, out);
    }

    fn chunk(&mut self, data: &str, chunk: &Chunk<'_>, out: &mut Vec<u8>) {
        if let (Some(id), Some(created), Some(model), None) = (chunk.id, chunk.created, chunk.model, self.head.as_ref()) {
            self.head = Some([id.get().to_owned(), created.get().to_owned(), model.get().to_owned()]);
        }
        let choices = chunk.choices.as_deref().unwrap_or_default();
        for choice in choices {
            self.output_bytes = self.output_bytes.saturating_add(choice.output_bytes());
            if choice.finish_reason.is_some() {
                self.finish_reason.clone_from(&choice.finish_reason);
            }
        }
        let Some(usage) = chunk.usage else { return write_event(data, out) };
        // The last report counts; some providers repeat it on every chunk, growing.
        if let Some(read) = read_usage(usage.get()) {
            self.reported = Some((read, usage.get().to_owned()));
            if choices.is_empty() {
                return;
            }
        }
        let edit = if self.include_usage { Edit::Set("usage", "null".to_owned()) } else { Edit::Remove("usage") };
        match Object::parse(data) {
            Some(object) => write_event(&object.edited(&[edit]), out),
            None => write_event(data, out),
        }
    }

    fn usage_chunk(&self, out: &mut Vec<u8>) {
        let (usage, source) = self.usage();
        let reported = self.reported.as_ref().filter(|_| source == UsageSource::Upstream).map(|(_, json)| json.as_str());
        let usage = usage_with_cost(reported, &usage, &(self.pricing)(&usage, source, self.bytes));
        let [id, created, model] = self.head.clone().unwrap_or_else(|| ["\"\"".to_owned(), "0".to_owned(), "\"\"".to_owned()]);
        let chunk = format!(
            r#"{{"id":{id},"object":"chat.completion.chunk","created":{created},"model":{model},"choices":[],"usage":{usage}}}"#
        );
        write_event(&chunk, out);
    }
}

/// Writes an event as every client of this dialect reads it: one `data` line, no id and no name.
fn write_event(data: &str, out: &mut Vec<u8>) {
    for line in data.split('\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(include_usage: bool) -> Meter {
        let pricing =
            |usage: &Usage, _: UsageSource, _: u64| Cost { amount: format!("0.{}", usage.total()), details: "{}".to_owned() };
        Meter::new(include_usage, 10, Box::new(pricing))
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
        let cut = golden.find("data: [DONE]").unwrap();
        let mut meter = meter(true);
        let out = run(&mut meter, &[&golden.as_bytes()[..cut]]);
        assert_eq!(meter.progress(), &Progress::Flowing);
        assert!(!out.contains("[DONE]"));
        let mut end = Vec::new();
        meter.error_chunk("upstream_cut", "gone", &mut end);
        let end = String::from_utf8(end).unwrap();
        assert!(end.contains("\"finish_reason\":\"error\"") && end.contains("\"id\":\"c\"") && !end.contains("[DONE]"), "{end}");
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
            assert_eq!(meter.usage(), (Usage { input, output: 2, ..Usage::default() }, UsageSource::Estimated), "{report}");
        }
    }

    #[test]
    fn without_a_report_the_output_is_estimated() {
        let stream = chunk(r#""choices":[{"index":0,"delta":{"content":"12345678"}}]"#) + "data: [DONE]\n\n";
        let mut meter = meter(false);
        run(&mut meter, &[stream.as_bytes()]);
        assert_eq!(meter.usage(), (Usage { input: 10, output: 2, ..Usage::default() }, UsageSource::Estimated));
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
