//! Cohere's dialect, of which only ranking is spoken: its chat and its embeddings are served better by its endpoints for
//! clients of OpenAI.
//!
//! Requests are those of `/v1/rerank` and pass as they are but for the model. An answer has its usage in `meta`:
//! `billed_units.search_units`, <https://docs.cohere.com/reference/rerank>.

use crate::dialect::body::Body;
use crate::dialect::envelope::Envelope;
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream, UpstreamError};
use crate::dialect::json::{Edit, Object};
use crate::dialect::openai::read_error_object;
use crate::dialect::openai::rerank::Rerank as Ranking;
use crate::dialect::table::Table;
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The format of Cohere's `/rerank`.
pub struct Rerank;

impl Format for Rerank {
    fn members(&self) -> &'static Table {
        Ranking.members()
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        Ranking.envelope(body, envelope)
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/rerank".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        Ranking.pass_request(request, upstream)
    }

    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String> {
        Ranking.read_plain(answer, counting)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        Ranking.priced(answer, usage, cost)
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        Ranking.passthrough(wish, counting)
    }
}

/// Reads the body of an error. Cohere's are their members: `{"message": "..."}`, with an `id` or without.
pub fn read_error(body: &str) -> UpstreamError {
    let is_object = Object::parse(body).is_some();
    read_error_object(if is_object { body } else { "{}" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::openai::testing::{cost, envelope, priced, said, sent};

    const ASKED: &str = include_str!("../../../tests/golden/cohere/rerank-request.json");
    const ANSWER: &str = include_str!("../../../tests/golden/cohere/rerank.json");

    #[test]
    fn a_request_goes_up_as_it_came_but_for_the_model() {
        let read = envelope(&Rerank, ASKED).unwrap();
        assert_eq!((read.models.as_slice(), read.searches, read.unreported.searches), (&["ranker".to_owned()][..], 1, 1));
        assert_eq!(sent(&Rerank, ASKED), ASKED.replace("\"ranker\"", "\"upstream-1\""));
        assert_eq!(envelope(&Rerank, "{}").unwrap_err().param.as_deref(), Some("query"));
    }

    #[test]
    fn searches_are_charged_as_cohere_bills_them() {
        let usage = said(&Rerank, ANSWER).unwrap().usage.unwrap();
        assert_eq!(usage, Usage { searches: 1, ..Usage::default() });
        // 2 for a thousand searches, so 0.002 for one: 1 * 0.002.
        assert_eq!(cost(r#"{"searches":"0.002"}"#, &usage), "0.002");
        let own = "\"usage\":{\"prompt_tokens\":0,\"total_tokens\":0,\"search_units\":1,\"cost\":0.5,\"cost_details\":{}}";
        let unchanged = ANSWER.trim_end().strip_suffix("\n}").unwrap();
        assert_eq!(priced(&Rerank, ANSWER, &usage), format!("{unchanged},{own}\n}}\n"));
    }

    #[test]
    fn errors_are_read_in_coheres_form() {
        let error = read_error(r#"{"id":"a1","message":"invalid request: list of documents must not be empty"}"#);
        assert_eq!((error.message.as_str(), error.code), ("invalid request: list of documents must not be empty", None));
        let unknown = read_error("<html>");
        assert_eq!(unknown, read_error("{}"));
        assert!(!unknown.message.contains("html") && !unknown.message.is_empty());
        assert!(said(&Rerank, r#"{"message":"our secret"}"#).unwrap_err().contains("without results"));
    }
}
