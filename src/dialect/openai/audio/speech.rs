//! Speech: sound from text, as bytes or as events.

use serde_json::json;

use crate::dialect::body::Body;
use crate::dialect::envelope::{Envelope, Fields};
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream};
use crate::dialect::json::{Edit, Object};
use crate::dialect::openai::events::{EventLine, Events};
use crate::dialect::openai::misplaced_error;
use crate::dialect::openai::non_chat::{MediaUsage, read_session, set_model, with_cost};
use crate::dialect::table::{Table, mapped};
use crate::refusal::Refusal;
use crate::usage::{Class, Usage};

/// The format of `/audio/speech`.
pub struct Speech;

const EVENTS: Events = Events { complete: &["speech.audio.done"], are_images: false, read: read_usage, write: usage_with_cost };

/// Members that decide what a request costs.
const MEMBERS: Table = Table::passing(&[mapped("input").decides()]);

impl Format for Speech {
    fn members(&self) -> &'static Table {
        &MEMBERS
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        let fields = Fields(&body.object);
        let input = fields.read::<String>("input", "a text")?;
        let input = input.ok_or_else(|| Refusal::invalid("input", "`input` is required and must be a text."))?;
        envelope.unreported.characters = u64::try_from(input.chars().count()).unwrap_or(u64::MAX);
        envelope.stream = fields.read::<String>("stream_format", "a string")?.is_some_and(|format| format == "sse");
        envelope.is_bytes = !envelope.stream;
        envelope.choices = 1;
        envelope.need(Class::AudioOutput);
        read_session(&fields, envelope)
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/audio/speech".to_owned()
    }

    fn pass_request(&self, _: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        set_model(upstream)
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        let error = answer.given("error");
        Err(error.map_or_else(|| "JSON in place of sound".to_owned(), misplaced_error))
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        vec![Edit::Set("usage", usage_with_cost(answer.get("usage"), usage, cost))]
    }

    fn passthrough(&self, wish: StreamWish, _: Counting) -> Box<dyn Passthrough> {
        Box::new(EventLine::new(EVENTS, &wish))
    }
}

/// All tokens out are sound.
fn read_usage(json: &str) -> Option<Usage> {
    let wire = MediaUsage::read(json)?;
    let (input, audio_output) = (wire.input_tokens.unwrap_or(0), wire.output_tokens.unwrap_or(0));
    Some(Usage { input, audio_output, ..Usage::default() })
}

fn usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    let own = json!({"input_tokens": usage.input_side(), "output_tokens": usage.output_side(), "total_tokens": usage.total()});
    with_cost(upstream, &own, cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::openai::testing::{cost, envelope, is_same_at_any_split, said, sent, streamed};
    use crate::dialect::stream_state::Progress;

    const STREAM: &str = include_str!("../../../../tests/golden/openai/audio/speech.sse");

    #[test]
    fn characters_are_counted_as_unicode_has_them() {
        // An accent of its own and a flag of two.
        let body = r#"{"model":"tts-1","input":"h\u00e9e\u0301 \ud83c\uddeb\ud83c\uddf7","voice":"alloy","speed":1.0}"#;
        let read = envelope(&Speech, body).unwrap();
        assert_eq!((read.unreported, read.is_bytes, read.stream), (Usage { characters: 7, ..Usage::default() }, true, false));
        assert_eq!(read.needs, [Class::AudioOutput]);
        // tts-1: 15 for a million characters: 7 * 15 / 1,000,000.
        assert_eq!(cost(r#"{"characters":"15"}"#, &read.unreported), "0.000105");
        assert_eq!(sent(&Speech, body), body.replace("tts-1", "upstream-1"));
        let events = envelope(&Speech, r#"{"model":"m","input":"x","stream_format":"sse"}"#).unwrap();
        assert!(events.stream && !events.is_bytes);
        let audio = envelope(&Speech, r#"{"model":"m","input":"x","stream_format":"audio"}"#).unwrap();
        assert!(!audio.stream && audio.is_bytes);
        for (body, param) in [
            (r#"{"model":"m"}"#, "input"),
            (r#"{"model":"m","input":["x"]}"#, "input"),
            (r#"{"model":"m","input":"x","stream_format":5}"#, "stream_format"),
        ] {
            assert_eq!(envelope(&Speech, body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn events_pass_and_the_last_tells_the_cost() {
        let read = streamed(&Speech, &[STREAM.as_bytes()]);
        assert_eq!(read.progress, Progress::Done);
        assert_eq!(read.usage.0, Usage { input: 14, audio_output: 101, ..Usage::default() });
        assert_eq!(read.out, STREAM.replace("\"total_tokens\":115}", "\"total_tokens\":115,\"cost\":115,\"cost_details\":{}}"));
        assert!(is_same_at_any_split(&Speech, STREAM));
        let cut = STREAM.find("data: {\"type\":\"speech.audio.done\"").unwrap();
        assert_eq!(streamed(&Speech, &[&STREAM.as_bytes()[..cut]]).progress, Progress::Flowing);
    }

    #[test]
    fn json_is_no_sound() {
        assert_eq!(said(&Speech, "{}").unwrap_err(), "JSON in place of sound");
        assert!(said(&Speech, r#"{"error":{"message":"our secret","code":"busy"}}"#).unwrap_err().ends_with("(busy)"));
    }
}
