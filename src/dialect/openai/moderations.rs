//! Moderations: what is objectionable in text and images. OpenAI tells no usage; those who do are read.

use super::embeddings::{NO_STREAM, usage_with_cost};
use super::events::EventLine;
use super::non_chat::{list_of, read_input_usage, set_model, without_output};
use crate::dialect::body::Body;
use crate::dialect::envelope::{Envelope, Fields};
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream};
use crate::dialect::json::{Edit, Object};
use crate::dialect::naming::Names;
use crate::dialect::table::{Table, mapped};
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The format of `/moderations`.
pub struct Moderations;

/// Members that decide what a request costs.
const MEMBERS: Table = Table::passing(&[mapped("input").decides()]);

impl Format for Moderations {
    fn members(&self) -> &'static Table {
        &MEMBERS
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        // A text, a list of texts, or a list of parts; one part alone with some.
        if !body.object.get("input").is_some_and(|input| input.starts_with(['"', '[', '{'])) {
            return Err(Refusal::invalid("input", "`input` is required and must be a text or a list."));
        }
        envelope.has_media = ["image_url", "url"].iter().any(|name| body.mentions(name));
        without_output(&Fields(&body.object), envelope)
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/moderations".to_owned()
    }

    fn pass_request(&self, _: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        set_model(upstream)
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        list_of(answer, "results")?;
        Ok(AnswerFacts { usage: answer.get("usage").and_then(read_input_usage), ..AnswerFacts::default() })
    }

    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        Names::new("modr-", wish).edits(answer)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        vec![Edit::Set("usage", usage_with_cost(answer.get("usage"), usage, cost))]
    }

    fn passthrough(&self, wish: StreamWish, _: Counting) -> Box<dyn Passthrough> {
        Box::new(EventLine::new(NO_STREAM, &wish))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::openai::testing::{envelope, priced, said, sent};

    #[test]
    fn text_lists_and_images_are_taken() {
        let image = r#"[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]"#;
        for (input, has_media) in [(r#""x""#, false), (r#"["x","image_url"]"#, false), (image, true)] {
            let envelope = envelope(&Moderations, &format!(r#"{{"input":{input}}}"#)).unwrap();
            assert_eq!((envelope.has_media, envelope.default_output, envelope.models.len()), (has_media, Some(0), 0), "{input}");
        }
        assert_eq!(envelope(&Moderations, "{}").unwrap_err().param.as_deref(), Some("input"));
    }

    #[test]
    fn a_request_without_a_model_gets_one() {
        assert_eq!(sent(&Moderations, r#"{"input":"x"}"#), r#"{"input":"x","model":"upstream-1"}"#);
    }

    #[test]
    fn scores_pass_as_they_are_and_the_cost_is_added() {
        let answer = r#"{"id":"modr-970d409ef3bef3b70c73d8232df86e7d","model":"omni-moderation-latest","results":[{"flagged":true,"categories":{"violence":true},"category_scores":{"violence":0.999992230649841},"category_applied_input_types":{"violence":["image"]}}]}"#;
        assert_eq!(said(&Moderations, answer).unwrap(), AnswerFacts::default());
        let usage = Usage { input: 9, ..Usage::default() };
        let tail = r#","usage":{"prompt_tokens":9,"total_tokens":9,"cost":0.5,"cost_details":{}}}"#;
        assert_eq!(priced(&Moderations, answer, &usage), format!("{}{tail}", answer.strip_suffix('}').unwrap()));
        // Mistral tells usage here.
        let answer = r#"{"results":[{}],"usage":{"prompt_tokens":12,"completion_tokens":0,"total_tokens":12}}"#;
        assert_eq!(said(&Moderations, answer).unwrap().usage.unwrap().input, 12);
    }
}
