//! Ranking: documents by how well they answer a query, as Jina and vLLM have it.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::embeddings::NO_STREAM;
use super::events::EventLine;
use super::non_chat::{list_of, read_input_usage, rounded_up, set_model, with_cost, without_output};
use crate::dialect::body::Body;
use crate::dialect::envelope::{Envelope, Fields};
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream};
use crate::dialect::json::{Edit, Object};
use crate::dialect::table::{Table, mapped};
use crate::refusal::Refusal;
use crate::usage::Usage;

/// A search is one query over so many documents.
const DOCUMENTS_PER_SEARCH: u64 = 100;
/// A longer document counts as several: Cohere cuts it into chunks of so many tokens, the query among them. A token is a byte
/// at least, so that bytes bound them. <https://docs.cohere.com/docs/how-does-cohere-pricing-work>
const CHUNK_TOKENS: u64 = 500;
/// Of a chunk, so much is the document's, however long the query is: a longer query is cut.
const LEAST_OF_DOCUMENT: u64 = CHUNK_TOKENS / 2;

/// The format of `/rerank`.
pub struct Rerank;

/// Members that decide what a request costs.
const MEMBERS: Table = Table::passing(&[mapped("query").decides(), mapped("documents").decides()]);

impl Format for Rerank {
    fn members(&self) -> &'static Table {
        &MEMBERS
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        let fields = Fields(&body.object);
        if !body.object.get("query").is_some_and(|query| query.starts_with(['"', '{'])) {
            return Err(Refusal::invalid("query", "`query` is required and must be a text."));
        }
        let documents = body.object.get("documents").filter(|documents| documents.starts_with('['));
        let documents: Vec<&RawValue> = documents.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        if documents.is_empty() {
            return Err(Refusal::invalid("documents", "`documents` is required and must be a list of documents."));
        }
        let size = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
        let query = body.object.get("query").map_or(0, size);
        let room = CHUNK_TOKENS.saturating_sub(query).max(LEAST_OF_DOCUMENT);
        let chunks: u64 = documents.iter().map(|document| size(document.get()).div_ceil(room)).sum();
        let count = u64::try_from(documents.len()).unwrap_or(u64::MAX);
        // Jina, Voyage and others count the query with each document.
        envelope.read_again = query.saturating_mul(count.saturating_sub(1));
        envelope.searches = chunks.div_ceil(DOCUMENTS_PER_SEARCH);
        envelope.unreported.searches = count.div_ceil(DOCUMENTS_PER_SEARCH);
        envelope.has_media = ["image", "image_url", "url"].iter().any(|name| body.mentions(name));
        without_output(&fields, envelope)
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/rerank".to_owned()
    }

    fn pass_request(&self, _: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        set_model(upstream)
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        list_of(answer, "results")?;
        let tokens = answer.get("usage").and_then(read_input_usage);
        let searches = answer.get("meta").and_then(searches);
        let usage = Usage { searches: searches.unwrap_or(0), ..tokens.unwrap_or_default() };
        Ok(AnswerFacts { usage: tokens.map(|_| usage).or_else(|| searches.map(|_| usage)), ..AnswerFacts::default() })
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        let tokens = usage.input_side();
        let own = json!({"prompt_tokens": tokens, "total_tokens": tokens, "search_units": usage.searches});
        vec![Edit::Set("usage", with_cost(answer.get("usage"), &own, cost))]
    }

    fn passthrough(&self, wish: StreamWish, _: Counting) -> Box<dyn Passthrough> {
        Box::new(EventLine::new(NO_STREAM, &wish))
    }
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<BilledUnits>,
}

#[derive(Deserialize)]
struct BilledUnits {
    search_units: Option<f64>,
}

/// The searches that `meta.billed_units` tells; some write them as `1.0`.
pub fn searches(meta: &str) -> Option<u64> {
    // A list would be read as the fields in their order.
    let meta: Meta = meta.starts_with('{').then(|| serde_json::from_str(meta).ok()).flatten()?;
    meta.billed_units?.search_units.and_then(rounded_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::openai::testing::{cost, envelope, priced, said, sent};

    const JINA: &str = include_str!("../../../tests/golden/openai/rerank/jina.json");

    fn body(query: usize, documents: usize, bytes: usize) -> String {
        let documents = vec!["d".repeat(bytes); documents];
        json!({"model": "m", "query": "q".repeat(query), "documents": documents, "top_n": 3}).to_string()
    }

    #[test]
    fn searches_are_bounded_by_bytes() {
        // Documents with their quotes, and what of a chunk of 500 the query with its quotes leaves them.
        for (query, documents, bytes, searches, unreported) in [
            (10, 1, 10, 1, 1),
            (10, 100, 10, 1, 1),
            (10, 101, 10, 2, 2),
            // 488 left: one chunk of 486 bytes, two of 487.
            (10, 100, 486, 1, 1),
            (10, 100, 487, 2, 1),
            // 250 left at least: 8,002 bytes are 33 chunks, times 50 are 1,650.
            (4_000, 50, 8_000, 17, 1),
        ] {
            let envelope = envelope(&Rerank, &body(query, documents, bytes)).unwrap();
            let counted = (envelope.searches, envelope.unreported.searches);
            assert_eq!(counted, (searches, unreported), "{query} {documents} {bytes}");
            assert_eq!((envelope.default_output, envelope.choices, envelope.has_media), (Some(0), 1, false));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (body, param) in [
            (r#"{"model":"m","documents":["a"]}"#, "query"),
            (r#"{"model":"m","query":5,"documents":["a"]}"#, "query"),
            (r#"{"model":"m","query":"a"}"#, "documents"),
            (r#"{"model":"m","query":"a","documents":[]}"#, "documents"),
            (r#"{"model":"m","query":"a","documents":"a"}"#, "documents"),
        ] {
            assert_eq!(envelope(&Rerank, body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
        let images = r#"{"model":"m","query":"a","documents":[{"text":"x"},{"image":"https://example.com/a.png"}]}"#;
        assert!(envelope(&Rerank, images).unwrap().has_media);
        assert_eq!(sent(&Rerank, images), images.replace("\"m\"", "\"upstream-1\""));
    }

    #[test]
    fn tokens_are_charged_as_jina_tells_them() {
        let usage = said(&Rerank, JINA).unwrap().usage.unwrap();
        assert_eq!(usage, Usage { input: 815, ..Usage::default() });
        // 815 tokens at 0.02 a million: 815 * 0.02 / 1,000,000.
        assert_eq!(cost(r#"{"input":"0.02","output":"0"}"#, &usage), "0.0000163");
        let expected = JINA.replace("\"total_tokens\": 815}", "\"total_tokens\": 815,\"cost\":0.5,\"cost_details\":{}}");
        assert_eq!(priced(&Rerank, JINA, &usage), expected);
    }

    #[test]
    fn searches_are_read_where_they_are_told() {
        let both = r#"{"results":[{}],"usage":{"prompt_tokens":5},"meta":{"billed_units":{"search_units":2.0}}}"#;
        assert_eq!(said(&Rerank, both).unwrap().usage, Some(Usage { input: 5, searches: 2, ..Usage::default() }));
        for meta in ["null", "[]", "{}", r#"{"billed_units":null}"#, r#"{"billed_units":{"search_units":-1}}"#] {
            let answer = format!(r#"{{"results":[{{}}],"meta":{meta}}}"#);
            assert_eq!(said(&Rerank, &answer).unwrap().usage, None, "{meta}");
        }
        let own = r#""usage":{"prompt_tokens":0,"total_tokens":0,"search_units":1,"cost":0.5,"cost_details":{}}}"#;
        let usage = Usage { searches: 1, ..Usage::default() };
        assert!(priced(&Rerank, r#"{"results":[{}]}"#, &usage).ends_with(own));
        assert!(said(&Rerank, r#"{"message":"no"}"#).unwrap_err().contains("without results"));
    }
}
