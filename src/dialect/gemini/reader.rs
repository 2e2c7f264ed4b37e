//! A stream of Gemini's, read for a client of another dialect.
//!
//! What always holds: the ends of the candidates are told when no more can come, because Gemini has no last event.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::answer::piece_parts;
use super::chunk::{Candidate, Chunk, Seen, blocked, finish, told};
use super::error::read_error_object;
use super::logprobs;
use super::usage::read_usage;
use crate::dialect::conversation::{Delta, Finish, Media, Part, Source};
use crate::dialect::format::{Counting, Reader};
use crate::dialect::mend::is_unmade;
use crate::dialect::sse::Data;
use crate::dialect::stream_state::{Progress, StreamState};

/// What is known of one candidate.
#[derive(Debug, Default)]
struct State {
    calls: u32,
    reason: Option<String>,
}

/// Reads one stream.
pub struct GenerateReader {
    counting: Counting,
    seen: Seen,
    is_started: bool,
    candidates: BTreeMap<u32, State>,
    block_reason: Option<String>,
}

impl GenerateReader {
    pub fn new(counting: Counting) -> Self {
        Self { counting, seen: Seen::default(), is_started: false, candidates: BTreeMap::new(), block_reason: None }
    }

    fn start(&mut self, chunk: &Chunk<'_>, deltas: &mut Vec<Delta>) {
        if !self.is_started {
            self.is_started = true;
            deltas.push(Delta::Start { id: told(chunk.response_id), model: told(chunk.model_version) });
        }
    }

    fn candidate(&mut self, candidate: &Candidate<'_>, deltas: &mut Vec<Delta>) {
        let choice = candidate.index();
        if choice >= u128::BITS {
            return;
        }
        let state = self.candidates.entry(choice).or_default();
        for piece in candidate.parts() {
            for part in piece_parts(piece) {
                part_deltas(choice, part, &mut state.calls, deltas);
            }
        }
        if let Some(json) = candidate.logprobs_result.and_then(|raw| logprobs::to_openai(raw.get())) {
            deltas.push(Delta::Logprobs { choice, json });
        }
        if let Some(reason) = candidate.finish_reason() {
            state.reason = Some(reason.to_owned());
        }
    }
}

/// What a part adds. Calls come whole, and each gets its own number.
fn part_deltas(choice: u32, part: Part<'static>, calls: &mut u32, deltas: &mut Vec<Delta>) {
    match part {
        Part::Text { text, .. } => deltas.push(Delta::Text { choice, text: text.into_owned() }),
        Part::Thinking(thinking) => deltas.push(Delta::Thinking { choice, text: thinking.text }),
        Part::Call(own) => {
            let call = *calls;
            *calls = calls.saturating_add(1);
            deltas.push(Delta::Call { choice, call, id: own.id, name: own.name, signature: own.signature });
            deltas.push(Delta::Arguments { choice, call, json: own.arguments });
        }
        Part::Media { media: Media { source: Source::Base64 { media_type, data }, .. }, .. } => {
            deltas.push(Delta::Image { choice, media_type, data: Cow::into_owned(data) });
        }
        Part::Media { .. } | Part::Refusal(_) | Part::Result(_) => {}
    }
}

/// Why there is no answer, of a chunk that says so and nothing else.
fn unmade<'a>(chunk: &'a Chunk<'_>) -> Option<&'a str> {
    let reason = chunk.candidates().filter_map(Candidate::finish_reason).find(|reason| is_unmade(reason))?;
    let mut is_silent = chunk.candidates().all(|candidate| candidate.images() == 0);
    chunk.candidates().for_each(|candidate| candidate.said(|text| is_silent &= text.is_empty()));
    is_silent.then_some(reason)
}

impl Reader for GenerateReader {
    fn event(&mut self, event: &Data, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        let data = event.data.as_str();
        if data.trim().is_empty() {
            return;
        }
        let Some(chunk) = Chunk::parse(data) else {
            return stream.break_off("an event is not one of Gemini's answers");
        };
        if let Some(error) = chunk.error() {
            stream.progress = Progress::Broken(read_error_object(error));
            return;
        }
        // As long as the client got nothing, what is no answer goes elsewhere.
        if let Some(reason) = unmade(&chunk).filter(|_| !stream.has_chunks()) {
            return stream.fail(reason, "the provider could not make an answer");
        }
        stream.flow();
        self.start(&chunk, deltas);
        if let Some(usage) = chunk.usage_metadata.and_then(|raw| read_usage(raw.get(), self.counting)) {
            stream.reported = Some(usage);
        }
        for candidate in chunk.candidates() {
            candidate.said(|text| stream.output(text));
            stream.images = stream.images.saturating_add(candidate.images());
            if let Some(reason) = candidate.finish_reason() {
                stream.finish_reason = Some(reason.to_owned());
            }
            self.candidate(candidate, deltas);
        }
        if let Some(reason) = chunk.block_reason() {
            self.block_reason = Some(reason.to_owned());
            stream.finish_reason = Some(reason.to_owned());
        }
        self.seen.take(&chunk);
    }

    fn end(&mut self, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        if !self.seen.is_complete() {
            return;
        }
        stream.progress = Progress::Done;
        for (choice, state) in &self.candidates {
            let reason = state.reason.as_deref().unwrap_or_default();
            deltas.push(Delta::Finish { choice: *choice, finish: finish(reason, state.calls > 0) });
        }
        if let Some(reason) = self.block_reason.take().filter(|_| self.candidates.is_empty()) {
            deltas.push(Delta::Refusal { choice: 0, text: blocked(&reason) });
            deltas.push(Delta::Finish { choice: 0, finish: Finish::Filtered(reason) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{STREAM, read};
    use super::*;
    use crate::usage::{Usage, UsageSource};

    #[test]
    fn a_stream_is_read() {
        let (deltas, stream) = read(STREAM);
        let call = |call: u32, signature: Option<&str>| Delta::Call {
            choice: 0,
            call,
            id: String::new(),
            name: "weather".to_owned(),
            signature: signature.map(ToOwned::to_owned),
        };
        let expected = [
            Delta::Start { id: "mDQ-aKx_Lr".to_owned(), model: "gemini-2.5-flash".to_owned() },
            Delta::Thinking { choice: 0, text: "**Weather** I need two cities.".to_owned() },
            Delta::Text { choice: 0, text: "Ich sehe nach: 🌦 ".to_owned() },
            call(0, Some("CpwBAb4=")),
            Delta::Arguments { choice: 0, call: 0, json: "{\"city\": \"K\\u00f6ln\",\"days\": 1.0}".to_owned() },
            call(1, None),
            Delta::Arguments { choice: 0, call: 1, json: "{}".to_owned() },
            Delta::Finish { choice: 0, finish: Finish::Calls },
        ];
        assert_eq!(deltas, expected);
        assert_eq!(stream.progress, Progress::Done);
        assert_eq!(stream.usage(), (Usage { input: 10, output: 13, reasoning: 20, ..Usage::default() }, UsageSource::Upstream));
    }

    #[test]
    fn a_cut_stream_tells_no_end() {
        let (deltas, stream) = read(&STREAM[..STREAM.rfind("data: ").unwrap()]);
        assert_eq!(stream.progress, Progress::Flowing);
        assert!(!deltas.iter().any(|delta| matches!(delta, Delta::Finish { .. })));
    }

    #[test]
    fn every_candidate_has_its_own_end() {
        let stream = concat!(
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}},{\"content\":{\"parts\":[{\"text\":\"b\"}]},\"index\":1,\"finishReason\":\"MAX_TOKENS\"}]}\n\n",
            "data: {\"candidates\":[{\"finishReason\":\"STOP\",\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"a\"}]}}]}\n\n",
        );
        let (deltas, stream) = read(stream);
        assert_eq!(stream.progress, Progress::Done);
        assert!(matches!(&deltas[3], Delta::Logprobs { choice: 0, json } if json.contains("\"bytes\":[97]")));
        let ends = [Delta::Finish { choice: 0, finish: Finish::Stop }, Delta::Finish { choice: 1, finish: Finish::Length }];
        assert_eq!(deltas[4..], ends);
    }

    #[test]
    fn a_blocked_prompt_is_a_refusal() {
        let (deltas, stream) =
            read("data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":9}}\n\n");
        assert!(
            matches!(&deltas[1..], [Delta::Refusal { .. }, Delta::Finish { finish: Finish::Filtered(reason), .. }] if reason == "SAFETY")
        );
        assert_eq!((stream.progress.clone(), stream.usage().0.total()), (Progress::Done, 9));
    }

    #[test]
    fn an_answer_that_could_not_be_made_is_none() {
        let unmade = r#"data: {"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#;
        let (deltas, stream) = read(&format!("{unmade}\n\n"));
        assert!(matches!(&stream.progress, Progress::Broken(error) if error.code.as_deref() == Some("MALFORMED_FUNCTION_CALL")));
        assert!(deltas.is_empty() && !stream.has_chunks());
        let thought = r#"data: {"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true}]}}]}"#;
        let (deltas, stream) = read(&format!("{thought}\n\n{unmade}\n\n"));
        let finish = Finish::Other("MALFORMED_FUNCTION_CALL".to_owned());
        assert_eq!((deltas.last(), stream.has_chunks()), (Some(&Delta::Finish { choice: 0, finish }), true));
    }

    #[test]
    fn an_error_and_what_is_no_answer_break_the_stream() {
        for stream in [
            "data: {\"error\":{\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}\n\n",
            "data: <html>\n\n",
            "data: [\"a\"]\n\n",
            "data: {\"candidates\":[{\"index\":\"x\"}]}\n\n",
        ] {
            assert!(matches!(read(stream).1.progress, Progress::Broken(_)), "{stream}");
        }
    }
}
