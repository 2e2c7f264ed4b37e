// POST /v1/rerank (as Jina answers it) and /cohere/v2/rerank. A document scores the share of the
// query's words that it has. Jina's tokens are the words of the query and of the documents;
// Cohere's search units are one for each hundred documents begun.
import { begun, countWords } from './answer.mjs';
import { json } from './behaviours.mjs';
import { Refused } from './errors.mjs';

const documentsOfUnit = 100;

export const rerank = rerankApi(({ model }, results, usage) => ({
  model,
  object: 'list',
  ...(usage && { usage: { prompt_tokens: usage.input, total_tokens: usage.input } }),
  results,
}));

export const cohereRerank = rerankApi(({ number }, results, usage) => ({
  id: `rerank-sim-${number}`,
  results: results.map(({ index, relevance_score }) => ({ index, relevance_score })),
  meta: { api_version: { version: '2' }, ...(usage && { billed_units: { search_units: usage.units } }) },
}));

function rerankApi(shape) {
  return {
    streams: () => false,
    compose({ body, model }) {
      const { query, documents } = body;
      if (!query || !Array.isArray(documents) || !documents.length) {
        throw new Refused(400, { message: 'invalid request: query and documents must be given', type: 'invalid_request_error', param: query ? 'documents' : 'query' });
      }
      const texts = documents.map((document) => (typeof document === 'string' ? document : (document.text ?? '')));
      const input = countWords(query) + texts.reduce((sum, text) => sum + countWords(text), 0);
      return { ...begun(model), texts, usage: { input, units: Math.ceil(texts.length / documentsOfUnit) } };
    },
    plain: (answer, { body }) => json(shape(answer, ranked(answer.texts, body), answer.usage)),
  };
}

/** The best first; of equals, the one that came first. */
function ranked(texts, { query, top_n, return_documents }) {
  const wordSet = (text) => new Set(text.toLowerCase().match(/\p{L}+|\p{N}+/gu));
  const asked = [...wordSet(query)];
  const score = (text) => asked.filter((word) => wordSet(text).has(word)).length / (asked.length || 1);
  return texts
    .map((text, index) => ({ index, relevance_score: score(text), ...(return_documents && { document: { text } }) }))
    .sort((a, b) => b.relevance_score - a.relevance_score)
    .slice(0, top_n ?? texts.length);
}
