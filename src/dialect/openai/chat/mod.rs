//! Chat completions.

mod answer;
mod foreign;
mod members;
mod passthrough;
mod read_request;
mod reader;
mod said;
mod table;
mod write_request;
mod writer;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use answer::{read_arguments, write_call_signature};
pub use members::{SERVICE_TIERS, ask_for_usage, include_usage, read_session};
pub use passthrough::{ChatLine, Shape};
pub use read_request::call_signature;
use table::TABLE;
pub use write_request::{arguments, effort};

use super::parts::read_cache_needs;
use super::{misplaced_error, read_usage, usage_with_cost};
use crate::catalog::OutputLimitField;
use crate::dialect::body::Body;
use crate::dialect::conversation::{Answer, Conversation};
use crate::dialect::envelope::{Envelope, Fields, MOST_CHOICES, MOST_TOKENS};
use crate::dialect::fit::Rules;
use crate::dialect::format::{
    AnswerFacts, Cost, Counting, Format, Passthrough, Read, Reader, StreamWish, Translation, Upstream, Writer, Written,
};
use crate::dialect::json::{Edit, Object, quoted};
use crate::dialect::maker::{Maker, Marks};
use crate::dialect::node::Node;
use crate::dialect::table::Table;
use crate::refusal::Refusal;
use crate::usage::{Class, Usage};

/// The format of `/chat/completions`.
pub struct Chat;

impl Format for Chat {
    fn members(&self) -> &'static Table {
        &TABLE
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        let object = &body.object;
        let fields = Fields(object);
        envelope.stream = fields.flag("stream")?;
        envelope.include_usage = include_usage(object)?;
        if !object.get("messages").is_some_and(|messages| messages.starts_with('[')) {
            return Err(Refusal::invalid("messages", "`messages` is required and must be a list of messages."));
        }
        read_session(&fields, envelope)?;
        // The larger of both limits, so that the quote covers what either allows.
        envelope.output_limit = fields.count("max_tokens", MOST_TOKENS)?.max(fields.count("max_completion_tokens", MOST_TOKENS)?);
        envelope.choices = fields.count("n", MOST_CHOICES)?.unwrap_or(1);
        let modalities = fields.read::<Vec<String>>("modalities", "a list of strings")?.unwrap_or_default();
        if modalities.iter().any(|modality| modality == "audio") {
            envelope.need(Class::AudioOutput);
        }
        let has_audio = body.has_text("input_audio") || body.mentions("audio");
        if has_audio && !modalities.iter().any(|modality| modality == "audio") || body.mentions("input_audio") {
            envelope.need(Class::AudioInput);
        }
        read_cache_needs(body, envelope);
        TABLE.check_prices(&fields)?;
        check_tools(body, envelope)?;
        envelope.has_media = has_audio
            || ["image_url", "image", "file", "video_url", "video", "audio_url", "document_url", "file_id", "url"]
                .iter()
                .any(|name| body.mentions(name));
        Ok(())
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/chat/completions".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        let mut edits = vec![Edit::Set("model", quoted(upstream.model))];
        let is_given = |field: OutputLimitField| request.given(field.name()).is_some();
        let (old, new) = (OutputLimitField::MaxTokens, OutputLimitField::MaxCompletionTokens);
        match upstream.limit_field {
            // The channel knows one of the two: whatever the client wrote stands there.
            Some(field) => {
                let other = if field == old { new } else { old };
                edits.push(Edit::Set(field.name(), upstream.output_limit.to_string()));
                edits.push(Edit::Remove(other.name()));
            }
            None if is_given(old) || is_given(new) => {
                let is_above = |field: &OutputLimitField| {
                    let asked = request.get(field.name()).and_then(|json| json.parse::<u64>().ok());
                    asked.is_some_and(|asked| asked > upstream.output_limit)
                };
                let above = [old, new].into_iter().filter(is_above);
                edits.extend(above.map(|field| Edit::Set(field.name(), upstream.output_limit.to_string())));
            }
            None => edits.push(Edit::Set(old.name(), upstream.output_limit.to_string())),
        }
        if upstream.stream {
            edits.push(ask_for_usage(request));
        }
        edits.extend(foreign::edit(request, upstream));
        edits
    }

    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String> {
        let choices = answer.get("choices").and_then(|json| serde_json::from_str::<Vec<PlainChoice<'_>>>(json).ok());
        let Some(choices) = choices.filter(|choices| !choices.is_empty()) else {
            return Err(match answer.given("error") {
                Some(error) => misplaced_error(error),
                None => "an answer without choices".to_owned(),
            });
        };
        let usage = answer.get("usage").and_then(|json| read_usage(json, counting));
        let mut output = String::new();
        // Only where it is needed: it is a copy of the answer.
        if usage.is_none() {
            choices.iter().for_each(|choice| {
                said::each(choice.message.map(RawValue::get), |text| output.push_str(text));
            });
        }
        let finish_reason = choices.into_iter().find_map(|choice| choice.finish_reason);
        Ok(AnswerFacts { usage, finish_reason, output, images: 0 })
    }

    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        Shape::Chat.names(wish).edits(answer)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        let upstream = answer.get("usage").filter(|json| read_usage(json, Counting::default()).is_some());
        vec![Edit::Set("usage", usage_with_cost(upstream, usage, cost))]
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        Box::new(ChatLine::new(Shape::Chat, wish, counting))
    }

    fn translation(&self) -> Option<&dyn Translation> {
        Some(self)
    }
}

impl Translation for Chat {
    fn rules(&self) -> Rules {
        // OpenAI takes ids of 40 letters in chat, and names of 64.
        Rules {
            longest_name: 64,
            more_letters: "",
            begins_with_letter: false,
            longest_id: 40,
            plain_ids: false,
            checks_strict: true,
        }
    }

    fn maker(&self, place: &str) -> Maker {
        Maker::Chat(place.to_owned())
    }

    fn marks(&self) -> Marks {
        Marks::Words
    }

    fn read_request<'a>(&self, request: &Object<'a>) -> Result<Read<'a>, Refusal> {
        read_request::read(request)
    }

    fn write_answer(&self, answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
        answer::write(answer, usage, cost, wish)
    }

    fn writer(&self, wish: StreamWish) -> Box<dyn Writer> {
        Box::new(writer::ChatWriter::new(wish))
    }

    fn write_request(&self, conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
        write_request::write(conversation, upstream)
    }

    fn read_answer(&self, answer: &Object<'_>, counting: Counting) -> Result<Answer, String> {
        answer::read(answer, counting)
    }

    fn reader(&self, counting: Counting) -> Box<dyn Reader> {
        Box::new(reader::ChatReader::new(counting))
    }
}

/// What kinds of tools providers run themselves are called: OpenAI's, xAI's, OpenRouter's, Moonshot's, Zhipu's, Groq's.
const HOSTED: [&str; 16] = [
    "web_search",
    "x_search",
    "live_search",
    "file_search",
    "collections_search",
    "code_interpreter",
    "code_execution",
    "image_generation",
    "browser_search",
    "retrieval",
    "mcp",
    "openrouter:",
    "builtin_function",
    "connector",
    "document_library",
    "web_browser",
];

/// Tools that run at the provider have costs of their own, wherever in a request they stand.
fn check_tools(body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    let root = Node::root(&body.object);
    let mut tools = root.nodes("tools")?;
    if body.lean.matches("\"tools\"").count() > usize::from(!tools.is_empty()) {
        for message in root.nodes("messages").unwrap_or_default() {
            tools.extend(message.nodes("tools")?);
        }
    }
    for tool in tools {
        let tool = tool.clear()?;
        match tool.text("type")?.as_deref() {
            None | Some("function" | "custom") => {}
            Some(kind) if HOSTED.iter().any(|hosted| kind.starts_with(hosted)) => {
                return Err(tool.wrong("type", "has costs beyond tokens and no price here; it may be `function` or `custom`"));
            }
            Some(_) => _ = envelope.unknown_tool.get_or_insert(tool.at("type")),
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct PlainChoice<'a> {
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod translation_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Envelope, Refusal> {
        let body = Body::parse(body.as_bytes(), "")?;
        let mut envelope = Envelope::default();
        envelope.read_model(&body.object)?;
        envelope.read_extras(&body.object)?;
        Chat.envelope(&body, &mut envelope)?;
        Ok(envelope)
    }

    fn with(members: &str) -> String {
        format!("{{\"messages\":[],{members}}}")
    }

    fn up(body: &str, limit_field: Option<OutputLimitField>, stream: bool) -> String {
        let object = Object::parse(body).unwrap();
        object.edited(
            &Chat.pass_request(&object, &Upstream { model: "m-2026", output_limit: 99, limit_field, stream, ..Upstream::NOBODY }),
        )
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (members, param) in [
            ("\"model\":5", "model"),
            ("\"model\":[\"a\"]", "model"),
            ("\"model\":\"a\",\"models\":\"b\"", "models"),
            ("\"model\":\"a\",\"stream\":\"yes\"", "stream"),
            ("\"model\":\"a\",\"stream\":1", "stream"),
            ("\"model\":\"a\",\"stream_options\":true", "stream_options"),
            ("\"model\":\"a\",\"max_tokens\":-1", "max_tokens"),
            ("\"model\":\"a\",\"max_tokens\":0", "max_tokens"),
            ("\"model\":\"a\",\"max_tokens\":1.5", "max_tokens"),
            ("\"model\":\"a\",\"max_tokens\":\"9\"", "max_tokens"),
            ("\"model\":\"a\",\"max_completion_tokens\":1e99", "max_completion_tokens"),
            ("\"model\":\"a\",\"max_tokens\":99999999999999999999999", "max_tokens"),
            ("\"model\":\"a\",\"n\":0", "n"),
            ("\"model\":\"a\",\"n\":1000000", "n"),
            ("\"model\":\"a\",\"model\":\"b\"", "model"),
            ("\"model\":\"a\",\"max_tokens\":1,\"m\\u0061x_tokens\":9", "max_tokens"),
            ("\"service_tier\":\"priority\"", "service_tier"),
            ("\"web_search_options\":{}", "web_search_options"),
            ("\"plugins\":[{\"id\":\"web\"}]", "plugins"),
            ("\"search_parameters\":{\"mode\":\"on\"}", "search_parameters"),
            ("\"tools\":[{\"type\":\"function\"},{\"type\":\"browser_search\"}]", "tools[1].type"),
        ] {
            assert_eq!(read(&with(members)).unwrap_err().param.as_deref(), Some(param), "{members}");
        }
        assert_eq!(read("{\"model\":\"a\"}").unwrap_err().param.as_deref(), Some("messages"));
        assert_eq!(read("{\"model\":\"a\",\"messages\":{}}").unwrap_err().param.as_deref(), Some("messages"));
        assert!(read(&with("\"service_tier\":\"auto\",\"web_search_options\":null")).is_ok());
    }

    #[test]
    fn a_good_request_is_read() {
        let envelope = read(&with(
            r#""model":"a","models":["b","a"],"stream":true,"stream_options":{"include_usage":true,"x":1},"max_tokens":5,"max_completion_tokens":9,"temperature":null"#,
        ))
        .unwrap();
        assert_eq!(envelope.models, ["a", "b"]);
        assert!(envelope.stream && envelope.include_usage);
        assert_eq!((envelope.output_limit, envelope.choices), (Some(9), 1));
    }

    #[test]
    fn audio_and_media_are_seen_and_text_about_them_is_not() {
        let body = r#"{"messages":[{"content":[{"type":"input_audio","input_audio":{}}]}],"modalities":["text","audio"]}"#;
        let envelope = read(body).unwrap();
        assert_eq!(envelope.needs, [Class::AudioOutput, Class::AudioInput]);
        assert!(envelope.has_media);
        let body = r#"{"messages":[{"content":"what is \"input_audio\": and \"image_url\": there?"}]}"#;
        let envelope = read(body).unwrap();
        assert!(envelope.needs.is_empty() && !envelope.has_media);
    }

    #[test]
    fn a_cache_mark_needs_a_price_for_what_it_writes() {
        let message =
            |mark: &str| format!(r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"x"{mark}}}]}}]}}"#);
        assert_eq!(read(&message("")).unwrap().needs, []);
        assert_eq!(read(&message(r#","cache_control":{"type":"ephemeral"}"#)).unwrap().needs, [Class::CacheWrite]);
        let hour = read(&message(r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#)).unwrap();
        assert_eq!(hour.needs, [Class::CacheWrite, Class::CacheWrite1h]);
    }

    #[test]
    fn a_cache_key_or_a_user_is_a_session() {
        assert_eq!(read(&with(r#""user":"u","prompt_cache_key":"k""#)).unwrap().session.as_deref(), Some("k"));
        assert_eq!(read(&with(r#""user":"u""#)).unwrap().session.as_deref(), Some("u"));
        assert_eq!(read(&with(r#""user":"u","session_id":"s""#)).unwrap().session.as_deref(), Some("s"));
    }

    #[test]
    fn the_body_goes_up_as_it_came_but_for_what_must_change() {
        let body = r#"{"model":"m","messages":[{"role":"developer","content":"x"}],"top_k":1.0,"new":{"a":null},"max_tokens":5}"#;
        let expected =
            r#"{"model":"m-2026","messages":[{"role":"developer","content":"x"}],"top_k":1.0,"new":{"a":null},"max_tokens":5}"#;
        assert_eq!(up(body, None, false), expected);
    }

    #[test]
    fn output_is_always_limited_in_the_channels_own_field() {
        assert_eq!(up(r#"{"model":"m","messages":[]}"#, None, false), r#"{"model":"m-2026","messages":[],"max_tokens":99}"#);
        assert_eq!(
            up(r#"{"model":"m","messages":[],"max_tokens":null}"#, None, false),
            r#"{"model":"m-2026","messages":[],"max_tokens":99}"#
        );
        let new = Some(OutputLimitField::MaxCompletionTokens);
        assert_eq!(
            up(r#"{"model":"m","messages":[],"max_tokens":99}"#, new, false),
            r#"{"model":"m-2026","messages":[],"max_completion_tokens":99}"#
        );
        let old = Some(OutputLimitField::MaxTokens);
        assert_eq!(
            up(r#"{"model":"m","max_completion_tokens":7,"messages":[]}"#, old, false),
            r#"{"model":"m-2026","messages":[],"max_tokens":99}"#
        );
    }

    #[test]
    fn a_stream_is_asked_for_its_usage() {
        let body = r#"{"model":"m","messages":[],"max_tokens":1,"stream":true}"#;
        assert!(up(body, None, true).ends_with(r#""stream":true,"stream_options":{"include_usage":true}}"#));
        let body = r#"{"model":"m","messages":[],"max_tokens":1,"stream":true,"stream_options":{"include_usage":false,"x":1}}"#;
        assert!(up(body, None, true).ends_with(r#""stream_options":{"include_usage":true,"x":1}}"#));
        let body = r#"{"model":"m","messages":[],"max_tokens":1,"stream":true,"stream_options":null}"#;
        assert!(up(body, None, true).ends_with(r#""stream_options":{"include_usage":true}}"#));
    }

    #[test]
    fn what_is_not_an_answer_is_named() {
        for (body, words) in [
            (r#"{"error":{"message":"our secret","code":"over_quota"}}"#, "error with status 200 (over_quota)"),
            (r#"{"choices":[]}"#, "without choices"),
            (r#"{"choices":null,"error":null}"#, "without choices"),
        ] {
            let said = Chat.read_plain(&Object::parse(body).unwrap(), Counting::default());
            assert!(said.unwrap_err().contains(words), "{body}");
        }
    }

    #[test]
    fn the_cost_is_added_and_nothing_else() {
        let body = r#"{"id":"x","choices":[{"index":0,"finish_reason":"stop","logprobs":null}], "usage":{"prompt_tokens":1,"completion_tokens":2,"new":1.0}}"#;
        let object = Object::parse(body).unwrap();
        let usage = Chat.read_plain(&object, Counting::default()).unwrap().usage.unwrap();
        let cost = Cost { amount: "0.00125".to_owned(), details: r#"{"currency":"USD"}"#.to_owned(), ..Cost::default() };
        let expected = r#"{"id":"x","choices":[{"index":0,"finish_reason":"stop","logprobs":null}], "usage":{"prompt_tokens":1,"completion_tokens":2,"new":1.0,"cost":0.00125,"cost_details":{"currency":"USD"}}}"#;
        assert_eq!(object.edited(&Chat.priced(&object, &usage, &cost)), expected);
    }
}
