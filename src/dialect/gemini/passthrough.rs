//! A stream on its way to a client that reads Gemini's dialect, too.
//!
//! What always holds: no comment is ever written, because Google's clients take every line that is not data for JSON; the last
//! object of a complete stream tells the cost, and no other.

use super::chunk::{Chunk, Seen};
use super::error::{broken, read_error_object};
use super::frame::ObjectWriter;
use super::usage::{read_usage, usage_with_cost};
use crate::dialect::format::{Counting, Passthrough, StreamWish};
use crate::dialect::json::{Edit, Object};
use crate::dialect::naming::Names;
use crate::dialect::sse::Data;
use crate::dialect::stream_state::{Progress, StreamState};
use crate::usage::UsageSource;

/// What an answer is called.
pub fn names(wish: &StreamWish) -> Names {
    Names::of(["responseId", "modelVersion"], "", wish)
}

/// Follows one stream.
pub struct GenerateLine {
    frame: ObjectWriter,
    names: Names,
    counting: Counting,
    seen: Seen,
    /// Upstream's own `usageMetadata`.
    reported: Option<String>,
    /// What may be the last chunk. It waits for the end, because only then the cost is known.
    held: Option<String>,
}

impl GenerateLine {
    pub fn new(wish: &StreamWish, counting: Counting) -> Self {
        Self {
            frame: ObjectWriter::new(wish.is_list),
            names: names(wish),
            counting,
            seen: Seen::default(),
            reported: None,
            held: None,
        }
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        if let Some(held) = self.held.take() {
            self.frame.write(&held, out);
        }
    }
}

impl Passthrough for GenerateLine {
    fn event(&mut self, event: &Data, stream: &mut StreamState, out: &mut Vec<u8>) {
        let data = event.data.as_str();
        if data.trim().is_empty() {
            return;
        }
        self.release(out);
        let Some(chunk) = Chunk::parse(data) else {
            // JSON of another shape passes; what is not JSON ends the stream.
            let Some(object) = Object::parse(data) else { return stream.break_off("an event is not a JSON object") };
            stream.flow();
            stream.output(data);
            return self.frame.write(&self.names.edited(&object), out);
        };
        if let Some(error) = chunk.error() {
            stream.progress = Progress::Broken(read_error_object(error));
            return;
        }
        stream.flow();
        for candidate in chunk.candidates() {
            candidate.said(|text| stream.output(text));
            stream.images = stream.images.saturating_add(candidate.images());
        }
        if let Some(reason) = chunk.candidates().find_map(|candidate| candidate.finish_reason()).or(chunk.block_reason()) {
            stream.finish_reason = Some(reason.to_owned());
        }
        if let Some(usage) = chunk.usage_metadata {
            // Each report is the sum so far.
            if let Some(read) = read_usage(usage.get(), self.counting) {
                stream.reported = Some(read);
                self.reported = Some(usage.get().to_owned());
            }
        }
        self.seen.take(&chunk);
        let pieces = self.names.pieces(data, [chunk.response_id, chunk.model_version]);
        if self.seen.is_complete() {
            self.held = Some(pieces.concat());
        } else {
            self.frame.write_pieces(&pieces, out);
        }
    }

    fn ping(&mut self, _: &mut Vec<u8>) {}

    fn end(&mut self, stream: &mut StreamState, out: &mut Vec<u8>) {
        if !self.seen.is_complete() {
            return;
        }
        stream.progress = Progress::Done;
        let (usage, source) = stream.usage();
        let reported = self.reported.as_deref().filter(|_| source == UsageSource::Upstream);
        let edit = Edit::Set("usageMetadata", usage_with_cost(reported, &usage, &stream.cost()));
        // After the last chunk nothing but objects of another shape can have come.
        let last = self.held.take().unwrap_or_else(|| "{}".to_owned());
        let last = Object::parse(&last).map(|object| object.edited(&[edit])).unwrap_or(last);
        self.frame.write(&last, out);
        self.frame.end(out);
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.release(out);
        self.frame.write(&broken(code, message), out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Generate;
    use super::super::testing::{STREAM, meter, run};
    use super::*;
    use crate::dialect::format::Format;
    use crate::dialect::meter::{Meter, Transcoding};
    use crate::usage::Usage;

    fn same(is_list: bool) -> Meter {
        meter(Transcoding::Same(Generate.passthrough(StreamWish { is_list, ..StreamWish::default() }, Counting::default())))
    }

    #[test]
    fn a_stream_passes_as_it_came_and_tells_its_cost_at_the_end() {
        let mut meter = same(false);
        let out = run(&mut meter, &[STREAM.as_bytes()]);
        let expected = STREAM.replace("\r\n", "\n").replace(
            r#""totalTokenCount":43,"promptTokensDetails":[{"modality":"TEXT","tokenCount":10}]}"#,
            r#""totalTokenCount":43,"promptTokensDetails":[{"modality":"TEXT","tokenCount":10}],"cost":0.43,"cost_details":{}}"#,
        );
        assert_eq!(out, expected);
        assert_eq!(out.matches("\"cost\"").count(), 1);
        // 10 in; 13 of the answer and 20 of thoughts beside it.
        assert_eq!(meter.usage(), (Usage { input: 10, output: 13, reasoning: 20, ..Usage::default() }, UsageSource::Upstream));
        assert_eq!((meter.progress(), meter.finish_reason().as_deref()), (&Progress::Done, Some("STOP")));
    }

    #[test]
    fn a_list_is_a_list_and_open_until_the_complete_end() {
        let out = run(&mut same(true), &[STREAM.as_bytes()]);
        let list: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
        assert_eq!(list.len(), STREAM.matches("data: ").count());
        assert_eq!(list.last().unwrap()["usageMetadata"]["cost_details"], serde_json::json!({}));
        let mut meter = same(true);
        let first = STREAM.find("\r\n\r\n").unwrap() + 4;
        let mut out = run(&mut meter, &[&STREAM.as_bytes()[..first]]).into_bytes();
        meter.broken("upstream_cut", "gone", &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("[{") && !out.ends_with(']'));
        let list: Vec<serde_json::Value> = serde_json::from_str(&(out + "]")).unwrap();
        assert_eq!((list.len(), &list[1]["error"]["status"]), (2, &serde_json::json!("UNAVAILABLE")));
    }

    #[test]
    fn a_split_at_any_byte_changes_nothing() {
        for is_list in [false, true] {
            let whole = run(&mut same(is_list), &[STREAM.as_bytes()]);
            for at in 0..=STREAM.len() {
                let (a, b) = STREAM.as_bytes().split_at(at);
                assert_eq!(run(&mut same(is_list), &[a, b]), whole, "at {at}");
            }
        }
    }

    #[test]
    fn a_cut_stream_is_not_complete() {
        let cut = STREAM.rfind("data: ").unwrap();
        let mut meter = same(false);
        let mut out = run(&mut meter, &[&STREAM.as_bytes()[..cut]]).into_bytes();
        assert_eq!(meter.progress(), &Progress::Flowing);
        meter.broken("upstream_cut", "gone", &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(!out.contains("\"cost\"") && out.ends_with("\n\n"), "{out}");
        assert!(
            out.rsplit("data: ").next().unwrap().starts_with(r#"{"error":{"code":502,"message":"gone","status":"UNAVAILABLE""#)
        );
    }

    #[test]
    fn what_comes_after_the_last_chunk_is_passed_before_the_cost() {
        let stream = concat!(
            "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":1}}\n\n",
            ": ping\n\ndata: {\"usageMetadata\":{\"promptTokenCount\":1,\"candidatesTokenCount\":4}}\n\n",
        );
        let out = run(&mut same(false), &[stream.as_bytes()]);
        assert!(
            !out.contains("ping")
                && out.starts_with(
                    "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":1}}\n\n"
                )
        );
        assert!(out.ends_with("\"candidatesTokenCount\":4,\"cost\":0.5,\"cost_details\":{}}}\n\n"), "{out}");
    }

    #[test]
    fn a_blocked_prompt_is_complete_and_an_error_is_not() {
        let mut blocked = same(false);
        let out = run(
            &mut blocked,
            &[b"data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":9}}\n\n"],
        );
        assert!(out.contains("\"cost\":0.9") && blocked.progress() == &Progress::Done, "{out}");
        assert_eq!(blocked.finish_reason().as_deref(), Some("SAFETY"));
        let mut failed = same(false);
        let error = b"data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\ndata: {\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}\n\n";
        run(&mut failed, &[error]);
        assert!(
            matches!(failed.progress(), Progress::Broken(error) if error.message == "overloaded" && error.code.as_deref() == Some("UNAVAILABLE"))
        );
        let mut html = same(false);
        run(&mut html, &[b"data: <html>\n\n"]);
        assert!(matches!(html.progress(), Progress::Broken(_)));
    }

    #[test]
    fn an_event_of_many_lines_becomes_one() {
        let stream = b"data: {\ndata: \"candidates\":[\ndata: {\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n";
        let out = run(&mut same(false), &[stream]);
        assert_eq!(out, "data: { \"candidates\":[ {\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n");
    }
}
