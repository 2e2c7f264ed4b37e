//! The legacy completions: a prompt in, text out. Served by channels of the same dialect only.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chat::{ChatLine, SERVICE_TIERS, Shape, ask_for_usage, include_usage, read_session};
use super::{misplaced_error, read_usage, usage_with_cost};
use crate::dialect::body::Body;
use crate::dialect::envelope::{Envelope, Fields, MOST_CHOICES, MOST_TOKENS};
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream};
use crate::dialect::json::{Edit, Object, items, quoted, unquoted};
use crate::dialect::table::{Table, mapped, own};
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The format of `/completions`.
pub struct Completions;

/// How many tokens each answer may have where the client says nothing; the format's own default.
const DEFAULT_OUTPUT: u64 = 16;

/// Members that decide what a request costs.
const MEMBERS: Table = Table::passing(&[
    own("stream_options").decides(),
    mapped("prompt").decides(),
    mapped("max_tokens").decides(),
    mapped("n").decides(),
    mapped("best_of").decides(),
    mapped("logprobs").decides(),
    mapped("service_tier").priced(&SERVICE_TIERS),
]);

impl Format for Completions {
    fn members(&self) -> &'static Table {
        &MEMBERS
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        let object = &body.object;
        let fields = Fields(object);
        envelope.stream = fields.flag("stream")?;
        envelope.include_usage = include_usage(object)?;
        read_session(&fields, envelope)?;
        envelope.output_limit = fields.count("max_tokens", MOST_TOKENS)?;
        envelope.default_output = Some(DEFAULT_OUTPUT);
        // All of the answers that the best is taken of are made, and paid for.
        let made = fields.count("n", MOST_CHOICES)?.max(fields.count("best_of", MOST_CHOICES)?).unwrap_or(1);
        envelope.choices = prompts(object.get("prompt"))?.saturating_mul(made);
        MEMBERS.check_prices(&fields)
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/completions".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        let mut edits =
            vec![Edit::Set("model", quoted(upstream.model)), Edit::Set("max_tokens", upstream.output_limit.to_string())];
        if upstream.stream {
            edits.push(ask_for_usage(request));
        }
        edits
    }

    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String> {
        let choices = answer.get("choices").and_then(|json| serde_json::from_str::<Vec<Choice<'_>>>(json).ok());
        let Some(choices) = choices.filter(|choices| !choices.is_empty()) else {
            return Err(match answer.given("error") {
                Some(error) => misplaced_error(error),
                None => "an answer without choices".to_owned(),
            });
        };
        let usage = answer.get("usage").and_then(|json| read_usage(json, counting));
        let texts = choices.iter().filter(|_| usage.is_none()).filter_map(|choice| choice.text);
        let output = texts.map(|text| unquoted(text.get())).collect();
        let finish_reason = choices.iter().find_map(|choice| choice.finish_reason.clone());
        Ok(AnswerFacts { usage, finish_reason, output, images: 0 })
    }

    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        Shape::Text.names(wish).edits(answer)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        let upstream = answer.get("usage").filter(|json| read_usage(json, Counting::default()).is_some());
        vec![Edit::Set("usage", usage_with_cost(upstream, usage, cost))]
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        Box::new(ChatLine::new(Shape::Text, wish, counting))
    }
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(default)]
    finish_reason: Option<String>,
}

/// How many prompts there are: a string or a list of tokens is one, a list of those is as many as it has.
fn prompts(json: Option<&str>) -> Result<u64, Refusal> {
    let wrong = || Refusal::invalid("prompt", "`prompt` must be a string, a list of strings, or lists of token numbers.");
    let is_text = |json: &&str| json.starts_with('"');
    let is_token = |json: &&str| json.bytes().all(|byte| byte.is_ascii_digit());
    let is_tokens = |json: &&str| {
        json.starts_with('[') && items(json).is_some_and(|tokens| !tokens.is_empty() && tokens.iter().all(is_token))
    };
    let json = match json {
        None | Some("null") => return Ok(1),
        Some(json) if is_text(&json) || is_tokens(&json) => return Ok(1),
        Some(json) => json,
    };
    let prompts = Some(json).filter(|json| json.starts_with('[')).and_then(items).ok_or_else(wrong)?;
    if prompts.is_empty() || !(prompts.iter().all(is_text) || prompts.iter().all(is_tokens)) {
        return Err(wrong());
    }
    Ok(u64::try_from(prompts.len()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::meter::{Meter, Transcoding};
    use crate::dialect::stream_state::Fallback;
    use crate::dialect::tokens::Counter;
    use crate::usage::UsageSource;

    fn read(body: &str) -> Result<Envelope, Refusal> {
        let body = Body::parse(body.as_bytes(), "")?;
        let mut envelope = Envelope::default();
        Completions.envelope(&body, &mut envelope)?;
        Ok(envelope)
    }

    #[test]
    fn every_answer_that_is_made_counts() {
        for (body, choices) in [
            (r#"{"prompt":"a"}"#, 1),
            (r#"{}"#, 1),
            (r#"{"prompt":[1,22,333]}"#, 1),
            (r#"{"prompt":["a","b"],"n":2}"#, 4),
            (r#"{"prompt":[[1],[2,3],[4]],"n":2,"best_of":5}"#, 15),
        ] {
            let envelope = read(body).unwrap();
            assert_eq!((envelope.choices, envelope.default_output, envelope.output_limit), (choices, Some(16), None), "{body}");
        }
        for (body, param) in [
            (r#"{"prompt":5}"#, "prompt"),
            (r#"{"prompt":[]}"#, "prompt"),
            (r#"{"prompt":[[]]}"#, "prompt"),
            (r#"{"prompt":["a",1]}"#, "prompt"),
            (r#"{"prompt":[1.5]}"#, "prompt"),
            (r#"{"prompt":{}}"#, "prompt"),
            (r#"{"best_of":0}"#, "best_of"),
            (r#"{"max_tokens":0}"#, "max_tokens"),
            (r#"{"service_tier":"priority"}"#, "service_tier"),
        ] {
            assert_eq!(read(body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn the_body_goes_up_as_it_came_but_for_what_must_change() {
        let body = r#"{"model":"m", "prompt":"a","suffix":"z","echo":true,"logprobs":3,"max_tokens":5,"top_p":1.0}"#;
        let object = Object::parse(body).unwrap();
        let upstream = Upstream { model: "m-2", output_limit: 5, limit_field: None, stream: false, ..Upstream::NOBODY };
        let expected = body.replace("\"m\"", "\"m-2\"");
        assert_eq!(object.edited(&Completions.pass_request(&object, &upstream)), expected);
        let object = Object::parse(r#"{"prompt":"a","stream":true}"#).unwrap();
        let upstream = Upstream { model: "m-2", output_limit: 16, limit_field: None, stream: true, ..Upstream::NOBODY };
        let expected = r#"{"prompt":"a","stream":true,"model":"m-2","max_tokens":16,"stream_options":{"include_usage":true}}"#;
        assert_eq!(object.edited(&Completions.pass_request(&object, &upstream)), expected);
    }

    #[test]
    fn an_answer_tells_its_cost_and_what_is_none_is_named() {
        let body = r#"{"id":"c","choices":[{"text":"hi","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
        let object = Object::parse(body).unwrap();
        let said = Completions.read_plain(&object, Counting::default()).unwrap();
        assert_eq!((said.finish_reason.as_deref(), said.output.as_str()), (Some("length"), ""));
        let usage = said.usage.unwrap();
        assert_eq!((usage.input, usage.output), (3, 2));
        let cost = Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() };
        let edited = object.edited(&Completions.priced(&object, &usage, &cost));
        assert!(edited.ends_with(r#""completion_tokens":2,"cost":0.5,"cost_details":{}}}"#), "{edited}");
        let object = Object::parse(r#"{"choices":[{"text":"h\n"}]}"#).unwrap();
        assert_eq!(Completions.read_plain(&object, Counting::default()).unwrap().output, "h\\n");
        let object = Object::parse(r#"{"error":{"message":"secret","code":"x"}}"#).unwrap();
        assert_eq!(Completions.read_plain(&object, Counting::default()).unwrap_err(), "an error with status 200 (x)");
    }

    fn run(include_usage: bool, stream: &str) -> (String, (Usage, UsageSource)) {
        let pricing =
            |_: &Usage, _: UsageSource, _: u64| Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() };
        let line = Completions.passthrough(StreamWish { include_usage, ..StreamWish::default() }, Counting::default());
        let fallback = Fallback { usage: Usage { input: 10, ..Usage::default() }, basis: None };
        let mut meter = Meter::new(Transcoding::Same(line), fallback, Counter::new("gpt"), Box::new(pricing));
        let mut out = Vec::new();
        meter.push(stream.as_bytes(), &mut out);
        meter.finish(&mut out);
        (String::from_utf8(out).unwrap(), meter.usage())
    }

    #[test]
    fn the_usage_of_a_stream_comes_last_and_only_if_asked_for() {
        let head = r#""id":"c","object":"text_completion","created":1,"model":"m""#;
        let text = format!("data: {{{head},\"choices\":[{{\"text\":\"12345678\",\"index\":0,\"finish_reason\":null}}]}}\n\n");
        let usage = format!("data: {{{head},\"choices\":[],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":2}}}}\n\n");
        let (out, used) = run(false, &format!("{text}{usage}data: [DONE]\n\n"));
        assert_eq!(out, format!("{text}data: [DONE]\n\n"));
        assert_eq!(used, (Usage { input: 3, output: 2, ..Usage::default() }, UsageSource::Upstream));
        let (out, _) = run(true, &format!("{text}{usage}data: [DONE]\n\n"));
        let chunk = format!(
            r#"{{{head},"choices":[],"usage":{{"prompt_tokens":3,"completion_tokens":2,"cost":0.5,"cost_details":{{}}}}}}"#
        );
        assert_eq!(out, format!("{text}data: {chunk}\n\ndata: [DONE]\n\n"));
        let (_, used) = run(false, &format!("{text}data: [DONE]\n\n"));
        let output = crate::dialect::tokens::estimate("gpt", "12345678");
        assert_eq!(used, (Usage { input: 10, output, ..Usage::default() }, UsageSource::Estimated));
    }
}
