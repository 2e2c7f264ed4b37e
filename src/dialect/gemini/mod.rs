//! Gemini's dialect: `generateContent`, `streamGenerateContent` and `countTokens`.

mod answer;
mod chunk;
mod count;
mod envelope;
mod error;
mod foreign;
mod frame;
mod logprobs;
mod media;
mod passthrough;
#[cfg(test)]
mod properties;
mod read_parts;
mod read_request;
mod reader;
mod schema;
mod sift;
mod table;
#[cfg(test)]
mod testing;
mod usage;
mod write_request;
mod writer;

use super::body::Body;
use super::conversation::{Answer, Conversation};
use super::envelope::Envelope;
use super::fit::Rules;
use super::format::{
    AnswerFacts, Cost, Counting, Format, Passthrough, Read, Reader, StreamWish, Translation, Upstream, Writer, Written,
};
use super::json::{Edit, Object};
use super::maker::{Maker, Marks};
use super::table::Table;
use crate::refusal::Refusal;
use crate::usage::Usage;

use table::TABLE;

pub use count::CountTokens;
pub use error::{read_error, write_error};
#[cfg(test)]
pub use table::GENERATION_CONFIG;

/// The format of `:generateContent` and `:streamGenerateContent`, which differ in their path alone. The model and whether the
/// answer is streamed are in the client's path, too, and stand in the envelope before it is read.
pub struct Generate;

impl Format for Generate {
    fn members(&self) -> &'static Table {
        &TABLE
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        envelope::read(body, envelope)
    }

    fn path(&self, upstream: &Upstream<'_>) -> String {
        path(upstream.model, if upstream.stream { "streamGenerateContent?alt=sse" } else { "generateContent" })
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        let mut edits = vec![Edit::Remove("model")];
        edits.extend(limit(request, upstream));
        edits.extend(foreign::edit(request, upstream.thoughts));
        edits
    }

    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String> {
        answer::said(answer, counting)
    }

    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        passthrough::names(wish).edits(answer)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        let upstream = answer.get("usageMetadata").filter(|json| usage::read_usage(json, Counting::default()).is_some());
        vec![Edit::Set("usageMetadata", usage::usage_with_cost(upstream, usage, cost))]
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        Box::new(passthrough::GenerateLine::new(&wish, counting))
    }

    fn translation(&self) -> Option<&dyn Translation> {
        Some(self)
    }
}

impl Translation for Generate {
    fn rules(&self) -> Rules {
        // Google: letters, digits and `_.:-`, 64 at most, a letter or an underscore first.
        Rules {
            longest_name: 64,
            more_letters: ".:",
            begins_with_letter: true,
            longest_id: 128,
            plain_ids: false,
            checks_strict: false,
        }
    }

    fn maker(&self, _: &str) -> Maker {
        Maker::Gemini
    }

    fn marks(&self) -> Marks {
        Marks::WithCalls
    }

    fn read_request<'a>(&self, request: &Object<'a>) -> Result<Read<'a>, Refusal> {
        read_request::read_request(request)
    }

    fn write_answer(&self, answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
        answer::write_answer(answer, usage, cost, wish)
    }

    fn writer(&self, wish: StreamWish) -> Box<dyn Writer> {
        Box::new(writer::GenerateWriter::new(wish))
    }

    fn write_request(&self, conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
        write_request::write_request(conversation, upstream)
    }

    fn read_answer(&self, answer: &Object<'_>, counting: Counting) -> Result<Answer, String> {
        answer::read_answer(answer, counting)
    }

    fn reader(&self, counting: Counting) -> Box<dyn Reader> {
        Box::new(reader::GenerateReader::new(counting))
    }
}

/// Where a method of a model is. The catalogue may write the id as `models/...`, as Google's list does.
fn path(model: &str, method: &str) -> String {
    let mut path = String::from("/models/");
    for byte in model.strip_prefix("models/").unwrap_or(model).bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path.push(':');
    path.push_str(method);
    path
}

/// Output is always limited: by the client, or by what was set aside for it.
fn limit(request: &Object<'_>, upstream: &Upstream<'_>) -> Option<Edit> {
    let output_limit = upstream.output_limit;
    let (config_name, config) = spelled(request, ["generationConfig", "generation_config"]);
    // A config that is null counts as none.
    let config = Object::parse(config.unwrap_or_default());
    let Some(config) = config else {
        return Some(Edit::Set(config_name, format!(r#"{{"maxOutputTokens":{output_limit}}}"#)));
    };
    let (name, given) = spelled(&config, ["maxOutputTokens", "max_output_tokens"]);
    let asked = given.filter(|json| *json != "null").map(|json| whole(json).unwrap_or(u64::MAX));
    if asked.is_some_and(|asked| asked <= output_limit) {
        return None;
    }
    let mut edits = vec![Edit::Set(name, output_limit.to_string())];
    if upstream.is_fitted {
        edits.extend(thinking(&config, output_limit));
    }
    Some(Edit::Set(config_name, config.edited(&edits)))
}

/// Thoughts are a part of the output here: where it becomes less than what was to be thought, half of it is for them.
fn thinking(config: &Object<'_>, output_limit: u64) -> Option<Edit> {
    let (thinking_name, thinking) = spelled(config, ["thinkingConfig", "thinking_config"]);
    let thinking = Object::parse(thinking?)?;
    let (name, budget) = spelled(&thinking, ["thinkingBudget", "thinking_budget"]);
    let budget = whole(budget?)?;
    let edit = Edit::Set(name, (output_limit / 2).to_string());
    (budget >= output_limit).then(|| Edit::Set(thinking_name, thinking.edited(&[edit])))
}

/// A whole number as Google's JSON takes it: in digits, in a string, or as `5e4`. None below zero.
fn whole(json: &str) -> Option<u64> {
    let text = json.trim_matches('"');
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; below zero is left out")]
    let of = |number: f64| (number.is_finite() && number >= 0.0).then_some(number as u64);
    text.parse().ok().or_else(|| of(text.parse().ok()?))
}

/// A member and how the client spells its name; the first way if it is not there. It is not null in one and given in the other:
/// the envelope has refused what stands there twice.
fn spelled<'a>(object: &Object<'a>, names: [&'static str; 2]) -> (&'static str, Option<&'a str>) {
    let [first, second] = names;
    let given = |name| object.given(name).map(|json| (name, Some(json)));
    let null = |name| object.get(name).map(|json| (name, Some(json)));
    given(first).or_else(|| given(second)).or_else(|| null(first)).or_else(|| null(second)).unwrap_or((first, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(body: &str) -> String {
        let object = Object::parse(body).unwrap();
        object.edited(&Generate.pass_request(&object, &upstream("m", false)))
    }

    fn upstream(model: &str, stream: bool) -> Upstream<'_> {
        Upstream { model, output_limit: 99, limit_field: None, stream, ..Upstream::NOBODY }
    }

    #[test]
    fn the_path_names_model_and_method() {
        for (model, stream, expected) in [
            ("gemini-2.5-pro", false, "/models/gemini-2.5-pro:generateContent"),
            ("models/gemini-2.5-pro", true, "/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
            ("a/b:c?d ü", false, "/models/a%2Fb%3Ac%3Fd%20%C3%BC:generateContent"),
        ] {
            assert_eq!(Generate.path(&upstream(model, stream)), expected);
        }
    }

    #[test]
    fn the_body_goes_up_as_it_came_but_for_the_limit() {
        for (body, expected) in [
            (r#"{"contents":[ ],"x":1.0}"#, r#"{"contents":[ ],"x":1.0,"generationConfig":{"maxOutputTokens":99}}"#),
            (r#"{"generationConfig":null}"#, r#"{"generationConfig":{"maxOutputTokens":99}}"#),
            (
                r#"{"generation_config": {"top_k":1.0}, "model":"m"}"#,
                r#"{"generation_config": {"top_k":1.0,"maxOutputTokens":99}}"#,
            ),
            (
                r#"{"generation_config":{"max_output_tokens":null},"generationConfig":null}"#,
                r#"{"generation_config":{"max_output_tokens":99},"generationConfig":null}"#,
            ),
            (r#"{"generationConfig":{"max_output_tokens":7}}"#, r#"{"generationConfig":{"max_output_tokens":7}}"#),
        ] {
            assert_eq!(up(body), expected);
        }
    }

    #[test]
    fn a_fitted_limit_bounds_thoughts_however_their_number_is_written() {
        for (budget, expected) in [("50000", "49"), ("\"50000\"", "49"), ("5e4", "49"), ("98", "98"), ("-1", "-1")] {
            let body =
                format!(r#"{{"generationConfig":{{"maxOutputTokens":500,"thinkingConfig":{{"thinkingBudget":{budget}}}}}}}"#);
            let object = Object::parse(&body).unwrap();
            let fitted = Upstream { is_fitted: true, ..upstream("m", false) };
            let expected = body.replace("500,", "99,").replace(&format!(":{budget}}}"), &format!(":{expected}}}"));
            assert_eq!(object.edited(&Generate.pass_request(&object, &fitted)), expected, "{budget}");
        }
        for limit in ["\"500\"", "5e2"] {
            let body = format!(r#"{{"generationConfig":{{"maxOutputTokens":{limit}}}}}"#);
            assert_eq!(up(&body), r#"{"generationConfig":{"maxOutputTokens":99}}"#);
        }
    }

    #[test]
    fn the_cost_is_added_and_nothing_else() {
        let body = r#"{"candidates":[{"finishReason":"STOP", "new":1.0}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2, "new":[]}}"#;
        let object = Object::parse(body).unwrap();
        let said = Generate.read_plain(&object, Counting::default()).unwrap();
        let cost = Cost { amount: "0.00125".to_owned(), details: r#"{"currency":"USD"}"#.to_owned(), ..Cost::default() };
        let expected = body.replace("[]}", r#"[],"cost":0.00125,"cost_details":{"currency":"USD"}}"#);
        assert_eq!(object.edited(&Generate.priced(&object, &said.usage.unwrap(), &cost)), expected);
        assert_eq!(said.finish_reason.as_deref(), Some("STOP"));
    }
}
