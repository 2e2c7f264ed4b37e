//! Anthropic's dialect: messages, and the count of a request's tokens.

mod answer;
mod billing;
mod error;
mod foreign;
mod members;
mod model;
mod passthrough;
mod read_request;
mod read_tools;
mod reader;
mod said;
mod table;
mod thinking;
mod tools;
mod usage;

mod write_media;
mod write_request;
mod writer;

pub use billing::without_billing;
pub use error::{error_body, error_status, read_error};

use members::{no_price, user_id};
use table::TABLE;

use super::body::Body;
use super::conversation::{Answer, Conversation};
use super::envelope::{Envelope, Fields, MOST_TOKENS};
use super::fit::Rules;
use super::format::{
    AnswerFacts, Cost, Counting, Format, Passthrough, Read, Reader, StreamWish, Translation, Upstream, Writer, Written,
};
use super::json::{Edit, Object, quoted};
use super::maker::{Maker, Marks};
use super::table::Table;
use crate::refusal::Refusal;
use crate::usage::{Class, Usage};

/// Anthropic refuses a budget for thoughts below 1,024 tokens, and as much again is for the answer.
const LEAST_WITH_THOUGHTS: u64 = 2_048;

/// The format of `/messages`.
pub struct Messages;

/// The format of `/messages/count_tokens`. It is free, and has no counterpart.
pub struct CountTokens;

impl Format for Messages {
    fn members(&self) -> &'static Table {
        &TABLE
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        let object = &body.object;
        let fields = Fields(object);
        envelope.stream = fields.flag("stream")?;
        envelope.choices = 1;
        messages_are_a_list(object)?;
        // Thoughts are within it.
        envelope.output_limit = Some(output_limit(object)?);
        envelope.least_output = thinking_budget(object).map_or(0, |_| LEAST_WITH_THOUGHTS);
        if envelope.session.is_none() {
            envelope.session = user_id(object)?;
        }
        for (is_there, class) in cache_times(&body.lean).into_iter().zip([Class::CacheWrite, Class::CacheWrite1h]) {
            if is_there {
                envelope.need(class);
            }
        }
        refuse_threads(body)?;
        let why = "containers are kept at the provider, under an account that is not the client's";
        fields.not_served("container", why, "Leave it out; code that the provider runs has no price here.")?;
        TABLE.check_prices(&fields)?;
        if object.get("context_management").is_some_and(|json| json.contains("\"compact")) {
            return Err(no_price("context_management"));
        }
        tools::check(object, envelope)?;
        let is_media = ["image", "document", "file", "container_upload"].iter().any(|kind| body.has_text(kind));
        envelope.has_media |= is_media && body.mentions("source") || body.mentions("file_id") || body.mentions("thread");
        Ok(())
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/messages".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        let mut edits = vec![Edit::Set("model", quoted(upstream.model))];
        edits.extend(billing::edit(request));
        // A client may ask for no tokens at all, to fill the cache.
        let asked = request.get("max_tokens").and_then(|json| json.parse::<u64>().ok());
        if asked.is_none_or(|asked| asked > upstream.output_limit) {
            edits.push(Edit::Set("max_tokens", upstream.output_limit.to_string()));
            edits.extend(thinking_within(request, upstream.output_limit));
        }
        edits.extend(tools::edit(request, upstream.leaves_out_hosted));
        edits.extend(foreign::edit(request, upstream.thoughts));
        edits
    }

    fn left_out(&self, request: &Object<'_>) -> Vec<String> {
        billing::edit(request).map(|_| billing::NAME.to_owned()).into_iter().collect()
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        answer::said(answer)
    }

    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        passthrough::names(wish).edits(answer)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        let upstream = answer.get("usage").filter(|json| usage::read_usage(json).is_some());
        vec![Edit::Set("usage", usage::usage_with_cost(upstream, usage, cost))]
    }

    fn passthrough(&self, wish: StreamWish, _: Counting) -> Box<dyn Passthrough> {
        Box::new(passthrough::MessagesLine::new(&wish))
    }

    fn translation(&self) -> Option<&dyn Translation> {
        Some(self)
    }
}

impl Translation for Messages {
    fn rules(&self) -> Rules {
        // Anthropic refuses other letters in ids.
        Rules {
            longest_name: 128,
            more_letters: "",
            begins_with_letter: false,
            longest_id: 64,
            plain_ids: true,
            checks_strict: false,
        }
    }

    fn maker(&self, _: &str) -> Maker {
        Maker::Anthropic
    }

    fn marks(&self) -> Marks {
        Marks::InProof
    }

    fn read_request<'a>(&self, request: &Object<'a>) -> Result<Read<'a>, Refusal> {
        read_request::read(request)
    }

    fn write_answer(&self, answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
        answer::write(answer, usage, cost, wish)
    }

    fn writer(&self, wish: StreamWish) -> Box<dyn Writer> {
        Box::new(writer::MessagesWriter::new(wish))
    }

    fn write_request(&self, conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
        write_request::write(conversation, upstream)
    }

    fn read_answer(&self, answer: &Object<'_>, _: Counting) -> Result<Answer, String> {
        answer::read(answer)
    }

    fn reader(&self, _: Counting) -> Box<dyn Reader> {
        Box::new(reader::MessagesReader::default())
    }
}

impl Format for CountTokens {
    fn members(&self) -> &'static Table {
        &TABLE
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        envelope.choices = 1;
        // Nothing comes out but a number.
        envelope.output_limit = Some(1);
        if envelope.session.is_none() {
            envelope.session = user_id(&body.object)?;
        }
        messages_are_a_list(&body.object)
    }

    fn write_count(&self, tokens: u64) -> Option<String> {
        Some(format!("{{\"input_tokens\":{tokens}}}"))
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/messages/count_tokens".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        [Edit::Set("model", quoted(upstream.model))].into_iter().chain(billing::edit(request)).collect()
    }

    fn left_out(&self, request: &Object<'_>) -> Vec<String> {
        Messages.left_out(request)
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        match answer.get("input_tokens").and_then(|json| json.parse::<u64>().ok()) {
            Some(_) => Ok(AnswerFacts::default()),
            None => Err(answer::misplaced(answer, "an answer without a count")),
        }
    }

    fn priced(&self, _: &Object<'_>, _: &Usage, _: &Cost) -> Vec<Edit> {
        Vec::new()
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        Messages.passthrough(wish, counting)
    }
}

/// `thinking.budget_tokens`, where a client sets one.
fn thinking_budget(object: &Object<'_>) -> Option<u64> {
    Object::parse(object.given("thinking")?)?.get("budget_tokens")?.parse().ok()
}

/// A budget for thoughts is less than the output that they are a part of: where that becomes less, half of it is for them.
fn thinking_within(request: &Object<'_>, output_limit: u64) -> Option<Edit> {
    thinking_budget(request).filter(|budget| *budget >= output_limit)?;
    let thinking = Object::parse(request.get("thinking")?)?;
    let budget = Edit::Set("budget_tokens", (output_limit / 2).to_string());
    Some(Edit::Set("thinking", thinking.edited(&[budget])))
}

fn messages_are_a_list(object: &Object<'_>) -> Result<(), Refusal> {
    if object.get("messages").is_some_and(|messages| messages.starts_with('[')) {
        return Ok(());
    }
    Err(Refusal::invalid("messages", "`messages` is required and must be a list of messages."))
}

/// `max_tokens`, which has no default. Nothing asked for is held as one token.
fn output_limit(object: &Object<'_>) -> Result<u64, Refusal> {
    if object.get("max_tokens") == Some("0") {
        return Ok(1);
    }
    let limit = Fields(object).count("max_tokens", MOST_TOKENS)?;
    limit.ok_or_else(|| Refusal::invalid("max_tokens", "`max_tokens` is required: how many tokens the answer may have."))
}

/// Whether a cache is to be kept for 5 minutes, and whether for an hour, anywhere in a request.
fn cache_times(lean: &str) -> [bool; 2] {
    let mut found = [false, false];
    for rest in lean.split("\"cache_control\"").skip(1) {
        let Some(value) = rest.trim_start().strip_prefix(':').map(str::trim_start) else { continue };
        let Some(members) = value.strip_prefix('{') else { continue };
        let is_hour = members.split('}').next().is_some_and(|members| members.contains("\"1h\""));
        let [minutes, hour] = &mut found;
        *(if is_hour { hour } else { minutes }) = true;
    }
    found
}

/// A thread is a conversation that the provider keeps. Clients that are told so send the whole conversation again.
fn refuse_threads(body: &Body<'_>) -> Result<(), Refusal> {
    if body.object.get("thread").is_none_or(|json| matches!(json, "null" | "false")) {
        return Ok(());
    }
    let details = serde_json::json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]});
    let refusal = Refusal::invalid("thread", "`thread` is not served here: conversations are not kept.");
    Err(Refusal { next_step: "Send the whole conversation in `messages`.".to_owned(), ..refusal }.fact("details", details))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::meter::{Meter, Transcoding};
    use crate::dialect::stream_state::{Fallback, Pricing, Progress, StreamState};
    use crate::dialect::tokens::Counter;
    use serde_json::Value;

    /// Of the tests of every file: a stream as upstream sends it.
    pub const STREAM: &str = include_str!("../../../tests/golden/anthropic/stream_thinking.sse");
    /// The same as a plain answer.
    pub const MESSAGE: &str = include_str!("../../../tests/golden/anthropic/message.json");
    pub const REQUEST: &str = include_str!("../../../tests/golden/anthropic/request.json");

    fn pricing() -> Pricing {
        Box::new(|usage, source, _| Cost {
            amount: format!("0.{}", usage.total()),
            details: format!("{{\"s\":\"{source:?}\"}}"),
            ..Cost::default()
        })
    }

    fn fallback() -> Fallback {
        Fallback { usage: Usage { input: 10, ..Usage::default() }, basis: None }
    }

    pub fn stream() -> StreamState {
        StreamState::new(fallback(), Counter::new("claude"), pricing())
    }

    pub fn meter(way: Transcoding) -> Meter {
        Meter::new(way, fallback(), Counter::new("claude"), pricing())
    }

    pub fn same() -> Meter {
        meter(Transcoding::Same(Messages.passthrough(StreamWish::default(), Counting::default())))
    }

    /// Both ends in this dialect, with the conversation's own words between them.
    pub fn translated() -> Meter {
        let wish = StreamWish { id: "gen-1".to_owned(), ..StreamWish::default() };
        meter(Transcoding::Translated(Messages.reader(Counting::default()), Messages.writer(wish)))
    }

    pub fn run(meter: &mut Meter, chunks: &[&[u8]]) -> String {
        let mut out = Vec::new();
        for chunk in chunks {
            meter.push(chunk, &mut out);
        }
        meter.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    pub fn is_done(meter: &Meter) -> bool {
        *meter.progress() == Progress::Done
    }

    /// Checks what every client of this dialect relies on, and says what the blocks came to: type, text or arguments.
    pub fn obeys_the_protocol(out: &str) -> Vec<(Value, String)> {
        let mut blocks: Vec<(Value, String)> = Vec::new();
        let mut is_open = false;
        let mut names = Vec::new();
        for event in out.trim_end().split("\n\n") {
            let (name, data) = event.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            let kind = data["type"].as_str().unwrap().to_owned();
            assert_eq!(name, format!("event: {kind}"));
            let index = data["index"].as_u64().map(|index| usize::try_from(index).unwrap());
            match kind.as_str() {
                "content_block_start" => {
                    assert!(!is_open && index == Some(blocks.len()), "{event}");
                    is_open = true;
                    blocks.push((data["content_block"].clone(), String::new()));
                }
                "content_block_delta" => {
                    assert!(is_open && index == Some(blocks.len() - 1), "{event}");
                    let (block, text) = blocks.last_mut().unwrap();
                    let (of, name) = match data["delta"]["type"].as_str().unwrap() {
                        "text_delta" => ("text", "text"),
                        "thinking_delta" => ("thinking", "thinking"),
                        "signature_delta" => ("thinking", "signature"),
                        "input_json_delta" => ("tool_use", "partial_json"),
                        other => panic!("{other}"),
                    };
                    assert_eq!(block["type"], of);
                    if name != "signature" {
                        text.push_str(data["delta"][name].as_str().unwrap());
                    }
                }
                "content_block_stop" => {
                    assert!(is_open && index == Some(blocks.len() - 1), "{event}");
                    is_open = false;
                }
                "message_start" => assert!(names.iter().all(|name| name == "ping"), "{event}"),
                _ => {}
            }
            names.push(kind);
        }
        names.retain(|name| name != "ping");
        assert!(!is_open && names.first().unwrap() == "message_start");
        assert_eq!(names[names.len() - 2..], ["message_delta", "message_stop"]);
        assert_eq!(names.iter().filter(|name| name.starts_with("message_")).count(), 3);
        blocks
    }

    pub fn up<'a>(model: &'a str, output_limit: u64) -> Upstream<'a> {
        Upstream { model, output_limit, limit_field: None, stream: false, ..Upstream::NOBODY }
    }

    fn read(body: &str) -> Result<Envelope, Refusal> {
        let body = Body::parse(body.as_bytes(), "")?;
        let mut envelope = Envelope::default();
        Messages.envelope(&body, &mut envelope)?;
        Ok(envelope)
    }

    fn with(members: &str) -> String {
        format!("{{\"model\":\"claude\",\"max_tokens\":100,\"messages\":[],{members}}}")
    }

    #[test]
    fn what_has_no_price_is_refused_by_name() {
        for (members, param) in [
            (r#""service_tier":"priority""#, "service_tier"),
            (r#""speed":"fast""#, "speed"),
            (r#""inference_geo":"us""#, "inference_geo"),
            (r#""container":"container_1""#, "container"),
            (r#""mcp_servers":[{"type":"url"}]"#, "mcp_servers"),
            (r#""fallbacks":[{"model":"claude-opus-4-6"}]"#, "fallbacks"),
            (r#""context_management":{"edits":[{"type":"compact_20260112"}]}"#, "context_management"),
            (r#""tools":[{"name":"a"},{"type":"code_execution_20250825","name":"b"}]"#, "tools[1].type"),
            (r#""tools":[{"type":"advisor_20260301","name":"b"}]"#, "tools[0].type"),
            (r#""tools":[{"type":"web_search_20250305","max_uses":0}]"#, "tools[0].max_uses"),
            (r#""tools":{}"#, "tools"),
            (r#""tools":[1]"#, "tools"),
            (r#""stream":"yes""#, "stream"),
            (r#""metadata":[]"#, "metadata"),
            (r#""metadata":{"user_id":7}"#, "metadata"),
        ] {
            assert_eq!(read(&with(members)).unwrap_err().param.as_deref(), Some(param), "{members}");
        }
        for (body, param) in [
            (r#"{"messages":[]}"#, "max_tokens"),
            (r#"{"messages":[],"max_tokens":null}"#, "max_tokens"),
            (r#"{"messages":[],"max_tokens":-1}"#, "max_tokens"),
            (r#"{"messages":{},"max_tokens":1}"#, "messages"),
            (r#"{"max_tokens":1}"#, "messages"),
        ] {
            assert_eq!(read(body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
        assert!(
            read(&with(r#""service_tier":"auto","mcp_servers":[],"container":null,"speed":"standard","tools":null"#)).is_ok()
        );
    }

    #[test]
    fn the_envelope_of_a_request_is_read() {
        let envelope = read(REQUEST).unwrap();
        assert!(envelope.stream && envelope.has_media);
        assert_eq!((envelope.output_limit, envelope.choices), (Some(4_096), 1));
        assert_eq!(envelope.session.as_deref(), Some("user-7"));
        assert_eq!(envelope.needs, [Class::CacheWrite, Class::CacheWrite1h]);
        let envelope =
            read(&with(r#""cache_control": {"type":"ephemeral"},"system":"\"cache_control\":{\"ttl\":\"1h\"} an image""#));
        let envelope = envelope.unwrap();
        assert_eq!(envelope.needs, [Class::CacheWrite]);
        assert!(!envelope.has_media);
        let hour = read(&with(r#""system":[{"type":"text","text":"x","cache_control":{"ttl" : "1h","type":"ephemeral"}}]"#));
        assert_eq!(hour.unwrap().needs, [Class::CacheWrite1h]);
        assert!(read(&with(r#""cache_control":null"#)).unwrap().needs.is_empty());
    }

    #[test]
    fn searches_are_counted_before_they_are_made() {
        let envelope = read(&with(
            r#""tools":[{"type":"web_search_20260209","max_uses":5},{"type":"web_search_20250305","max_uses":2},{"type":"web_fetch_20250910"},{"type":"bash_20250124"},{"type":"custom","name":"x"}]"#,
        ))
        .unwrap();
        assert_eq!((envelope.searches, envelope.needs.as_slice()), (7, [Class::Searches].as_slice()));
        assert!(envelope.rounds > 0 && !envelope.is_hosted_offered, "a fetch is offered, too");
        let own = read(&with(r#""tools":[{"type":"text_editor_20250728"},{"name":"x"}]"#)).unwrap();
        assert_eq!((own.rounds, own.has_media), (0, false));
        let unbounded = read(&with(r#""tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"x"}]"#)).unwrap();
        assert_eq!((unbounded.searches, unbounded.is_hosted_offered), (4, true));
        let unknown = read(&with(r#""tools":[{"type":"brand_new_20270101","name":"x"}]"#)).unwrap();
        assert_eq!(unknown.unknown_tool.as_deref(), Some("tools[0].type"));
    }

    #[test]
    fn a_request_goes_up_as_it_came_but_for_the_model() {
        let up = |body: &str, limit: u64| {
            let object = Object::parse(body).unwrap();
            object.edited(&Messages.pass_request(&object, &up("claude-x", limit)))
        };
        let body = r#"{"model":"c", "max_tokens":50 ,"top_k":1.0,"new":{"a":null},"messages":[]}"#;
        assert_eq!(up(body, 50), body.replace("\"c\"", "\"claude-x\""));
        // No more comes out than was held.
        assert_eq!(up(body, 20), body.replace("\"c\"", "\"claude-x\"").replace("50", "20"));
        assert_eq!(up(r#"{"max_tokens":0}"#, 1), r#"{"max_tokens":0,"model":"claude-x"}"#);
        let object = Object::parse(body).unwrap();
        let counted = object.edited(&CountTokens.pass_request(&object, &super::tests::up("claude-x", 1)));
        assert_eq!(counted, body.replace("\"c\"", "\"claude-x\""));
    }

    #[test]
    fn a_plain_answer_gets_its_cost_and_nothing_else() {
        let object = Object::parse(MESSAGE).unwrap();
        let said = Messages.read_plain(&object, Counting::default()).unwrap();
        assert_eq!((said.finish_reason.as_deref(), said.output.as_str()), (Some("tool_use"), ""));
        let usage = said.usage.unwrap();
        // 412 fresh at 3, 6,400 read at 0.30, 1,800 written at 3.75, 126 out and 61 thought at 15, each for a million:
        // 1,236 + 1,920 + 6,750 + 1,890 + 915 = 12,711 millionths.
        let price = r#"{"input":"3","cached_input":"0.30","cache_write":"3.75","output":"15"}"#;
        let price: crate::money::Price = serde_json::from_str(price).unwrap();
        assert_eq!(crate::money::cost(&price, &usage).unwrap().to_string(), "0.012711");
        let cost = Cost { amount: "0.012711".to_owned(), details: "{}".to_owned(), ..Cost::default() };
        let expected = MESSAGE
            .replace("\"server_tool_use\": null\n  }", "\"server_tool_use\": null,\"cost\":0.012711,\"cost_details\":{}\n  }");
        let expected = expected.replace("null\n  ,", "null,");
        let got = object.edited(&Messages.priced(&object, &usage, &cost));
        assert_eq!(got.replace(char::is_whitespace, ""), expected.replace(char::is_whitespace, ""));
        assert!(got.starts_with(MESSAGE.split("\"server_tool_use\"").next().unwrap()));
    }

    #[test]
    fn what_is_not_an_answer_is_named() {
        for (body, words) in [
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"host 10.0.0.1"}}"#,
                "status 200 (overloaded_error)",
            ),
            (r#"{"content":null}"#, "without content"),
            (r#"{"content":"text"}"#, "without content"),
            ("{}", "without content"),
        ] {
            let object = Object::parse(body).unwrap();
            let error = Messages.read_plain(&object, Counting::default()).unwrap_err();
            assert!(error.contains(words) && !error.contains("10.0.0.1"), "{error}");
            assert_eq!(Messages.read_answer(&object, Counting::default()).unwrap_err(), error);
        }
    }

    #[test]
    fn a_count_of_tokens_is_free_and_passes_as_it_is() {
        let object = Object::parse(r#"{"input_tokens": 2095}"#).unwrap();
        assert_eq!(CountTokens.read_plain(&object, Counting::default()), Ok(AnswerFacts::default()));
        let cost = Cost { amount: "1".to_owned(), details: "{}".to_owned(), ..Cost::default() };
        assert!(CountTokens.priced(&object, &Usage::default(), &cost).is_empty());
        assert!(CountTokens.read_plain(&Object::parse("{}").unwrap(), Counting::default()).is_err());
        let body = Body::parse(br#"{"model":"c","messages":[]}"#, "").unwrap();
        assert!(CountTokens.envelope(&body, &mut Envelope::default()).is_ok());
        assert!(CountTokens.translation().is_none());
    }
}
