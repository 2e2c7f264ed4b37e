//! Counting the tokens of a request. Nothing is generated, and nothing is charged.

use super::envelope::lean;
use super::passthrough::GenerateLine;
use super::table::TABLE;
use super::{path, spelled};
use crate::dialect::body::Body;
use crate::dialect::envelope::Envelope;
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream};
use crate::dialect::json::{Edit, Object, quoted};
use crate::dialect::openai::misplaced_error;
use crate::dialect::table::Table;
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The format of `:countTokens`.
pub struct CountTokens;

impl Format for CountTokens {
    fn members(&self) -> &'static Table {
        &TABLE
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        let request = lean(body)?;
        request.within("generateContentRequest")?;
        if request.given("contents").is_none() && request.given("generateContentRequest").is_none() {
            return Err(Refusal::invalid("contents", "Either `contents` or `generateContentRequest` is required."));
        }
        envelope.choices = 1;
        Ok(())
    }

    fn write_count(&self, tokens: u64) -> Option<String> {
        Some(format!("{{\"totalTokens\":{tokens}}}"))
    }

    fn path(&self, upstream: &Upstream<'_>) -> String {
        path(upstream.model, "countTokens")
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        let mut edits = vec![Edit::Remove("model")];
        let (name, inner) = spelled(request, ["generateContentRequest", "generate_content_request"]);
        if let Some(inner) = inner.and_then(Object::parse) {
            let model = upstream.model.strip_prefix("models/").unwrap_or(upstream.model);
            let model = Edit::Set("model", quoted(&format!("models/{model}")));
            edits.push(Edit::Set(name, inner.edited(&[model])));
        }
        edits
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        if answer.given("totalTokens").and_then(|json| serde_json::from_str::<u64>(json).ok()).is_some() {
            return Ok(AnswerFacts { usage: Some(Usage::default()), ..AnswerFacts::default() });
        }
        Err(answer.given("error").map_or_else(|| "an answer without `totalTokens`".to_owned(), misplaced_error))
    }

    fn priced(&self, _: &Object<'_>, _: &Usage, _: &Cost) -> Vec<Edit> {
        Vec::new()
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        // It has no streams; what comes all the same is followed like an answer's.
        Box::new(GenerateLine::new(&wish, counting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_within_is_upstreams_own() {
        let upstream =
            Upstream { model: "gemini-2.5-pro", output_limit: 9, limit_field: None, stream: false, ..Upstream::NOBODY };
        assert_eq!(CountTokens.path(&upstream), "/models/gemini-2.5-pro:countTokens");
        for (body, expected) in [
            (r#"{"contents":[ ]}"#, r#"{"contents":[ ]}"#),
            (
                r#"{"generate_content_request":{"model":"models/m","contents":[], "x":1.0}}"#,
                r#"{"generate_content_request":{"model":"models/gemini-2.5-pro","contents":[], "x":1.0}}"#,
            ),
            (r#"{"model":"m","generateContentRequest":{}}"#, r#"{"generateContentRequest":{"model":"models/gemini-2.5-pro"}}"#),
        ] {
            let object = Object::parse(body).unwrap();
            assert_eq!(object.edited(&CountTokens.pass_request(&object, &upstream)), expected);
        }
    }

    #[test]
    fn something_must_be_there_to_count() {
        let read = |body: &str| CountTokens.envelope(&Body::parse(body.as_bytes(), "").unwrap(), &mut Envelope::default());
        for (body, param) in [("{}", "contents"), (r#"{"generateContentRequest":5}"#, "generateContentRequest")] {
            assert_eq!(read(body).unwrap_err().param.as_deref(), Some(param));
        }
        assert!(read(r#"{"contents":[]}"#).is_ok() && read(r#"{"generate_content_request":{}}"#).is_ok());
    }

    #[test]
    fn a_count_costs_nothing() {
        let read = |body: &str| CountTokens.read_plain(&Object::parse(body).unwrap(), Counting::default());
        assert_eq!(read(r#"{"totalTokens":31,"promptTokensDetails":[]}"#).unwrap().usage, Some(Usage::default()));
        assert!(read(r#"{"error":{"message":"secret"}}"#).unwrap_err().contains("status 200"));
        assert!(read("{}").unwrap_err().contains("totalTokens"));
    }
}
