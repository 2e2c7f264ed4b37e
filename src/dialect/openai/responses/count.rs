//! Counting the tokens that a request for a response has. Nothing is generated, and nothing is charged.

use super::kept::not_kept_here;
use super::table::TABLE;
use super::{Responses, foreign};
use crate::dialect::body::Body;
use crate::dialect::envelope::{Envelope, Fields};
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream};
use crate::dialect::json::{Edit, Object, quoted};
use crate::dialect::openai::chat::read_session;
use crate::dialect::openai::misplaced_error;
use crate::dialect::table::Table;
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The format of `/responses/input_tokens`.
pub struct CountTokens;

impl Format for CountTokens {
    fn members(&self) -> &'static Table {
        &TABLE
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        let fields = Fields(&body.object);
        if body.object.get("input").is_some_and(|input| input != "null" && !input.starts_with(['"', '['])) {
            return Err(Refusal::invalid("input", "`input` must be a string or a list of items."));
        }
        not_kept_here(&fields)?;
        read_session(&fields, envelope)?;
        envelope.previous_response = fields.read("previous_response_id", "a string")?;
        envelope.choices = 1;
        // Nothing comes out but a number.
        envelope.output_limit = Some(1);
        Ok(())
    }

    fn write_count(&self, tokens: u64) -> Option<String> {
        Some(format!("{{\"object\":\"response.input_tokens\",\"input_tokens\":{tokens}}}"))
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/responses/input_tokens".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        let model = Edit::Set("model", quoted(upstream.model));
        [model].into_iter().chain(foreign::edit(request, upstream.thoughts)).collect()
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        match answer.get("input_tokens").and_then(|json| json.parse::<u64>().ok()) {
            Some(_) => Ok(AnswerFacts::default()),
            None => Err(answer.get("error").map_or_else(|| "an answer without `input_tokens`".to_owned(), misplaced_error)),
        }
    }

    fn named(&self, _: &Object<'_>, _: &StreamWish) -> Vec<Edit> {
        Vec::new()
    }

    fn priced(&self, _: &Object<'_>, _: &Usage, _: &Cost) -> Vec<Edit> {
        Vec::new()
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        // It has no streams; what comes all the same is followed like an answer's.
        Responses.passthrough(wish, counting)
    }
}
