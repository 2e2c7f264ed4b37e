//! Transcriptions and translations: text from speech. Requests are forms; answers are JSON, events, or text that passes as it
//! is. Some providers count tokens, others seconds.

use serde_json::json;

use crate::dialect::body::Body;
use crate::dialect::envelope::Envelope;
use crate::dialect::form::Form;
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream};
use crate::dialect::json::{Edit, Object};
use crate::dialect::openai::events::{EventLine, Events};
use crate::dialect::openai::misplaced_error;
use crate::dialect::openai::non_chat::{MediaUsage, form_flag, read_form_extras, rounded_up, set_model, with_cost};
use crate::dialect::table::Table;
use crate::refusal::{Code, Refusal};
use crate::usage::{Class, Usage};

/// Speech is not sent in fewer bytes than this: 8 kbit/s.
const LEAST_BYTES_PER_SECOND: u64 = 1_000;
/// What it is sent in mostly: 128 kbit/s.
const USUAL_BYTES_PER_SECOND: u64 = 16_000;
/// Members by which some providers fetch a file of any length.
const ADDRESSES: [&str; 3] = ["url", "file_url", "file_id"];

const EVENTS: Events =
    Events { complete: &["transcript.text.done"], are_images: false, read: read_usage, write: usage_with_cost };

/// The format of `/audio/transcriptions`.
pub struct Transcriptions;

/// The format of `/audio/translations`.
pub struct Translations;

/// Members that decide what a request costs.
const MEMBERS: Table = Table::passing(&[]);

impl Format for Transcriptions {
    fn members(&self) -> &'static Table {
        &MEMBERS
    }

    fn envelope(&self, _: &Body<'_>, _: &mut Envelope) -> Result<(), Refusal> {
        let next_step = "Send multipart/form-data with `file` and `model`.";
        Err(Refusal::new(Code::InvalidRequest, "This endpoint reads a form, and JSON was sent.", next_step))
    }

    fn form_envelope(&self, form: &Form<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        read_form_extras(form, envelope)?;
        if let Some(name) =
            ADDRESSES.into_iter().find(|name| form.has_file(name) || form.texts(name).any(|text| !text.is_empty()))
        {
            return Err(Refusal::invalid(name, format!("`{name}` names a file of unknown length; send it as `file`.")));
        }
        if !form.has_file("file") {
            return Err(Refusal::invalid("file", "`file` is required and must be a file."));
        }
        envelope.stream = form_flag(form, "stream")?;
        let written = form.text("response_format").map(str::trim).filter(|name| !name.is_empty()).unwrap_or("json");
        // Text and subtitles. Whatever is called JSON is JSON, such as `verbose_json`.
        envelope.is_bytes = !envelope.stream && !written.contains("json");
        envelope.choices = 1;
        envelope.seconds = form.file_bytes().div_ceil(LEAST_BYTES_PER_SECOND);
        envelope.unreported.seconds = form.file_bytes().div_ceil(USUAL_BYTES_PER_SECOND);
        envelope.need(Class::AudioInput);
        Ok(())
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/audio/transcriptions".to_owned()
    }

    fn pass_request(&self, _: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        set_model(upstream)
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        if let Some(error) = answer.given("error") {
            return Err(misplaced_error(error));
        }
        // Nobody speaks in silence: an empty text is an answer.
        let Some(text) = answer.get("text").and_then(|json| json.strip_prefix('"')?.strip_suffix('"')) else {
            return Err("an answer without text".to_owned());
        };
        let usage = answer.get("usage").and_then(read_usage).or_else(|| answer.get("duration").and_then(of_duration));
        let output = if usage.is_none() { text.to_owned() } else { String::new() };
        Ok(AnswerFacts { usage, output, ..AnswerFacts::default() })
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        vec![Edit::Set("usage", usage_with_cost(answer.get("usage"), usage, cost))]
    }

    fn passthrough(&self, wish: StreamWish, _: Counting) -> Box<dyn Passthrough> {
        Box::new(EventLine::new(EVENTS, &wish))
    }
}

impl Format for Translations {
    fn members(&self) -> &'static Table {
        &MEMBERS
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        Transcriptions.envelope(body, envelope)
    }

    fn form_envelope(&self, form: &Form<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        Transcriptions.form_envelope(form, envelope)
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/audio/translations".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        Transcriptions.pass_request(request, upstream)
    }

    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String> {
        Transcriptions.read_plain(answer, counting)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        Transcriptions.priced(answer, usage, cost)
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        Transcriptions.passthrough(wish, counting)
    }
}

/// Reads `usage` into disjoint classes: tokens, seconds, or both; a price charges one of them. What is not told to be text
/// is sound.
fn read_usage(json: &str) -> Option<Usage> {
    let wire = MediaUsage::read(json)?;
    let tokens_in = wire.input_tokens.unwrap_or(0);
    let kinds = wire.input_tokens_details.unwrap_or_default();
    let input = kinds.text_tokens.or_else(|| Some(tokens_in.saturating_sub(kinds.audio_tokens?)));
    let input = input.unwrap_or(0).min(tokens_in);
    Some(Usage {
        input,
        audio_input: tokens_in.saturating_sub(input),
        output: wire.output_tokens.unwrap_or(0),
        seconds: wire.seconds().unwrap_or(0),
        ..Usage::default()
    })
}

/// The `duration` of `verbose_json`, in seconds; some write it as text.
fn of_duration(json: &str) -> Option<Usage> {
    let number: Option<f64> = serde_json::from_str(json.trim_matches('"')).ok();
    let seconds = number.and_then(rounded_up).filter(|seconds| *seconds > 0)?;
    Some(Usage { seconds, ..Usage::default() })
}

fn usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    let tokens = json!({
        "type": "tokens",
        "input_tokens": usage.input_side(),
        "input_token_details": {"text_tokens": usage.input, "audio_tokens": usage.audio_input},
        "output_tokens": usage.output_side(),
        "total_tokens": usage.total(),
    });
    let duration = json!({"type": "duration", "seconds": usage.seconds});
    with_cost(upstream, if usage.seconds > 0 { &duration } else { &tokens }, cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::openai::testing::{
        FORM, cost, envelope, form, form_envelope, is_same_at_any_split, priced, said, streamed,
    };
    use crate::dialect::stream_state::Progress;

    const TOKENS: &str = include_str!("../../../../tests/golden/openai/audio/gpt-4o-transcribe.json");
    const VERBOSE: &str = include_str!("../../../../tests/golden/openai/audio/whisper-1-verbose.json");
    const STREAM: &str = include_str!("../../../../tests/golden/openai/audio/gpt-4o-transcribe.sse");

    #[test]
    fn a_form_tells_how_long_its_file_can_be() {
        for (bytes, most, usual) in [(0, 0, 0), (1, 1, 1), (16_000, 16, 1), (16_001, 17, 2), (26_214_400, 26_215, 1_639)] {
            let read = form_envelope(&Transcriptions, &form(&[("model", "m")], Some(("file", bytes)))).unwrap();
            assert_eq!((read.seconds, read.unreported), (most, Usage { seconds: usual, ..Usage::default() }), "{bytes}");
        }
        for (texts, stream, is_bytes) in [
            (vec![], false, false),
            (vec![("response_format", "verbose_json")], false, false),
            (vec![("response_format", "text")], false, true),
            (vec![("response_format", "srt"), ("stream", "false")], false, true),
            (vec![("response_format", "vtt"), ("stream", "")], false, true),
            (vec![("response_format", "json"), ("stream", "true")], true, false),
        ] {
            let read = form_envelope(&Translations, &form(&texts, Some(("file", 1)))).unwrap();
            assert_eq!((read.stream, read.is_bytes, read.choices), (stream, is_bytes, 1), "{texts:?}");
            assert_eq!(read.needs, [Class::AudioInput]);
        }
    }

    #[test]
    fn what_cannot_be_bounded_or_read_is_named() {
        for (texts, param) in [
            (vec![], "file"),
            (vec![("file", "not a file")], "file"),
            (vec![("file_url", "https://example.com/a.mp3")], "file_url"),
            (vec![("url", "https://example.com/a.mp3")], "url"),
        ] {
            let refusal = form_envelope(&Transcriptions, &form(&texts, None)).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some(param), "{texts:?}");
        }
        let odd = form(&[("stream", "yes")], Some(("file", 1)));
        assert_eq!(form_envelope(&Transcriptions, &odd).unwrap_err().param.as_deref(), Some("stream"));
        assert!(envelope(&Transcriptions, r#"{"model":"m"}"#).unwrap_err().message.contains("form"));
    }

    #[test]
    fn a_form_goes_up_with_another_model_and_no_extras() {
        let body = form(&[("session_id", "s"), ("model", "m"), ("language", "en")], Some(("file", 5_000)));
        let read = Form::parse(body.as_bytes(), FORM).unwrap();
        let sent = read.edited(&[("model", "whisper-1")], &["models", "provider", "session_id"]).concat();
        let expected = form(&[("model", "whisper-1"), ("language", "en")], Some(("file", 5_000)));
        assert_eq!(String::from_utf8(sent).unwrap(), expected);
    }

    #[test]
    fn tokens_are_charged_by_kind() {
        let usage = said(&Transcriptions, TOKENS).unwrap().usage.unwrap();
        assert_eq!(usage, Usage { input: 4, audio_input: 10, output: 45, ..Usage::default() });
        // gpt-4o-transcribe, per million: 2.50 for text in, 6 for sound in, 10 for text out.
        // 4 * 2.5 + 10 * 6 + 45 * 10 = 10 + 60 + 450 = 520 millionths.
        assert_eq!(cost(r#"{"input":"2.5","audio_input":"6","output":"10"}"#, &usage), "0.00052");
        let (end, told) = ("\"total_tokens\": 59\n", "\"total_tokens\": 59,\"cost\":0.5,\"cost_details\":{}\n");
        assert_eq!(priced(&Transcriptions, TOKENS, &usage), TOKENS.replace(end, told));
    }

    #[test]
    fn seconds_are_charged_where_they_are_told() {
        let usage = said(&Transcriptions, VERBOSE).unwrap().usage.unwrap();
        assert_eq!(usage, Usage { seconds: 9, ..Usage::default() });
        // whisper-1: 0.006 a minute, 0.0001 a second: 9 * 0.0001.
        assert_eq!(cost(r#"{"seconds":"0.0001"}"#, &usage), "0.0009");
        // Without usage, a begun second of the duration counts: 8.47 are 9.
        let bare = VERBOSE.replace(",\n  \"usage\": {\"type\": \"duration\", \"seconds\": 9}", "");
        assert!(!bare.contains("usage"));
        assert_eq!(said(&Transcriptions, &bare).unwrap().usage.unwrap(), usage);
        let own = r#","usage":{"type":"duration","seconds":9,"cost":0.5,"cost_details":{}}"#;
        assert!(priced(&Transcriptions, &bare, &usage).contains(own));
    }

    #[test]
    fn what_is_told_by_nobody_is_left_to_the_estimate() {
        let read = said(&Translations, r#"{"text":"h\u00e9 \"x\""}"#).unwrap();
        assert_eq!((read.usage, read.output.as_str()), (None, r#"h\u00e9 \"x\""#));
        assert!(said(&Translations, r#"{"text":""}"#).is_ok());
        for (answer, words) in [
            ("{}", "without text"),
            (r#"{"text":null}"#, "without text"),
            (r#"{"text":"x","error":{"message":"our secret","code":"busy"}}"#, "(busy)"),
        ] {
            assert!(said(&Translations, answer).unwrap_err().contains(words), "{answer}");
        }
        let tokens = Usage { input: 1, audio_input: 2, output: 3, ..Usage::default() };
        let own = r#"{"text":"","usage":{"type":"tokens","input_tokens":3,"input_token_details":{"text_tokens":1,"audio_tokens":2},"output_tokens":3,"total_tokens":6,"cost":0.5,"cost_details":{}}}"#;
        assert_eq!(priced(&Translations, r#"{"text":""}"#, &tokens), own);
    }

    #[test]
    fn every_way_to_tell_usage_is_read() {
        for (json, expected) in [
            // Without kinds all is sound.
            (r#"{"type":"tokens","input_tokens":9,"output_tokens":1}"#, Usage { audio_input: 9, output: 1, ..Usage::default() }),
            (
                r#"{"input_tokens":9,"input_token_details":{"audio_tokens":7}}"#,
                Usage { input: 2, audio_input: 7, ..Usage::default() },
            ),
            (r#"{"input_tokens":9,"input_token_details":{"text_tokens":99}}"#, Usage { input: 9, ..Usage::default() }),
            (r#"{"type":"duration","seconds":12.1}"#, Usage { seconds: 13, ..Usage::default() }),
            // Mistral's.
            (
                r#"{"prompt_audio_seconds":203,"prompt_tokens":4,"total_tokens":3264,"completion_tokens":635}"#,
                Usage { audio_input: 4, output: 635, seconds: 203, ..Usage::default() },
            ),
        ] {
            assert_eq!(read_usage(json), Some(expected), "{json}");
        }
        for (json, seconds) in [("\"8.47\"", Some(9)), ("8", Some(8)), ("0", None), ("-1", None), ("null", None), ("[]", None)] {
            assert_eq!(of_duration(json).map(|usage| usage.seconds), seconds, "{json}");
        }
    }

    #[test]
    fn events_pass_and_the_last_tells_the_cost() {
        let read = streamed(&Transcriptions, &[STREAM.as_bytes()]);
        assert_eq!(read.progress, Progress::Done);
        assert_eq!(read.usage.0, Usage { input: 4, audio_input: 10, output: 31, ..Usage::default() });
        assert_eq!(read.out, STREAM.replace("\"total_tokens\":45}", "\"total_tokens\":45,\"cost\":45,\"cost_details\":{}}"));
        assert!(is_same_at_any_split(&Transcriptions, STREAM));
        // A cut stream is not complete; what was heard so far is estimated.
        let cut = STREAM.find("data: {\"type\":\"transcript.text.done\"").unwrap();
        let cut = streamed(&Transcriptions, &[&STREAM.as_bytes()[..cut]]);
        assert_eq!(cut.progress, Progress::Flowing);
        assert!(cut.usage.0.output > 0 && cut.usage.0.without_output() == Usage::default(), "{:?}", cut.usage);
    }
}
