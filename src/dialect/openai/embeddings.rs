//! Embeddings: vectors from text, as numbers or as base64, which pass as they are.

use serde_json::json;

use super::non_chat::{list_of, read_input_usage, set_model, with_cost, without_output};
use crate::dialect::body::Body;
use crate::dialect::envelope::{Envelope, Fields};
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream};
use crate::dialect::json::{Edit, Object};
use crate::dialect::openai::events::{EventLine, Events};
use crate::dialect::table::{Table, mapped};
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The format of `/embeddings`.
pub struct Embeddings;

/// Members that decide what a request costs.
const MEMBERS: Table = Table::passing(&[mapped("input").decides()]);

impl Format for Embeddings {
    fn members(&self) -> &'static Table {
        &MEMBERS
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        // A text, a list of texts, a list of tokens, or a list of such.
        if !body.object.get("input").is_some_and(|input| input.starts_with(['"', '['])) {
            return Err(Refusal::invalid("input", "`input` is required and must be a text or a list."));
        }
        envelope.has_media = ["image", "image_url", "audio", "video", "url"].iter().any(|name| body.mentions(name));
        without_output(&Fields(&body.object), envelope)
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/embeddings".to_owned()
    }

    fn pass_request(&self, _: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        set_model(upstream)
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        list_of(answer, "data")?;
        Ok(AnswerFacts { usage: answer.get("usage").and_then(read_input_usage), ..AnswerFacts::default() })
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        vec![Edit::Set("usage", usage_with_cost(answer.get("usage"), usage, cost))]
    }

    fn passthrough(&self, wish: StreamWish, _: Counting) -> Box<dyn Passthrough> {
        Box::new(EventLine::new(NO_STREAM, &wish))
    }
}

/// For endpoints without streams: nothing ever completes one.
pub const NO_STREAM: Events = Events { complete: &[], are_images: false, read: read_input_usage, write: usage_with_cost };

/// Usage with the cost, where only what goes in is counted.
pub fn usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    let input = usage.input_side();
    with_cost(upstream, &json!({"prompt_tokens": input, "total_tokens": input}), cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::openai::testing::{cost, envelope, priced, said, sent};

    #[test]
    fn every_input_is_taken_and_no_output_is_held() {
        for input in [r#""text""#, r#"["a","b"]"#, "[1,2,3]", "[[1,2],[3]]"] {
            let body = format!(r#"{{"model":"m","input":{input},"dimensions":256,"user":"u"}}"#);
            let envelope = envelope(&Embeddings, &body).unwrap();
            assert_eq!((envelope.default_output, envelope.output_limit, envelope.choices), (Some(0), None, 1));
            assert_eq!((envelope.session.as_deref(), envelope.has_media, envelope.stream), (Some("u"), false, false));
        }
        for body in [r#"{"model":"m"}"#, r#"{"model":"m","input":null}"#, r#"{"model":"m","input":{}}"#] {
            assert_eq!(envelope(&Embeddings, body).unwrap_err().param.as_deref(), Some("input"), "{body}");
        }
        assert!(envelope(&Embeddings, r#"{"model":"m","input":[{"image":"https://x"}]}"#).unwrap().has_media);
    }

    #[test]
    fn a_request_changes_its_model_only() {
        let body = r#"{ "input":"a", "encoding_format":"base64","dimensions":1.0,"model" : "gateway", "new":null }"#;
        assert_eq!(sent(&Embeddings, body), body.replace("gateway", "upstream-1"));
    }

    #[test]
    fn numbers_and_base64_pass_untouched_and_what_went_in_is_charged() {
        for vector in ["[0.0023064255,-1.0e-5]", "\"AACAPwAAgD8=\""] {
            let answer = format!(
                r#"{{"object":"list","data":[{{"object":"embedding","embedding":{vector},"index":0}}],"model":"text-embedding-3-small","usage":{{"prompt_tokens":800,"total_tokens":800}}}}"#
            );
            let usage = said(&Embeddings, &answer).unwrap().usage.unwrap();
            assert_eq!(usage, Usage { input: 800, ..Usage::default() });
            // 800 tokens at 0.02 a million: 800 * 0.02 / 1,000,000.
            assert_eq!(cost(r#"{"input":"0.02","output":"0"}"#, &usage), "0.000016");
            let expected = answer.replace(r#""total_tokens":800}"#, r#""total_tokens":800,"cost":0.5,"cost_details":{}}"#);
            assert_eq!(priced(&Embeddings, &answer, &usage), expected);
        }
    }

    #[test]
    fn usage_is_made_where_there_is_none() {
        let answer = r#"{"data":[{}]}"#;
        assert_eq!(said(&Embeddings, answer).unwrap().usage, None);
        let usage = Usage { input: 3, ..Usage::default() };
        let expected = r#"{"data":[{}],"usage":{"prompt_tokens":3,"total_tokens":3,"cost":0.5,"cost_details":{}}}"#;
        assert_eq!(priced(&Embeddings, answer, &usage), expected);
        // Some tell the total only.
        let answer = r#"{"data":[{}],"usage":{"total_tokens":7}}"#;
        assert_eq!(said(&Embeddings, answer).unwrap().usage.unwrap().input, 7);
        assert!(said(&Embeddings, r#"{"data":[]}"#).is_err());
    }
}
