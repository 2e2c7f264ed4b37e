// Lists of models, and single ones, as each provider answers them, page by page. Lists are asked like
// any other API, so that every fault of behaviours.mjs can be theirs.
import { json } from './behaviours.mjs';
import { Refused } from './errors.mjs';

/**
 * By dialect: a model; a page of the list, with the id or the place where the next begins; how many a
 * page has unless it is asked for more; what an unknown id is told.
 */
const shapes = {
  openai: {
    model: (id) => ({ id, object: 'model', created: 1760000000, owned_by: 'simulator' }),
    page: (data) => ({ object: 'list', data }),
    unknown: (id) => ({ message: `The model '${id}' does not exist`, type: 'invalid_request_error', param: 'model', code: 'model_not_found' }),
  },
  anthropic: {
    model: (id) => ({ type: 'model', id, display_name: id, created_at: '2025-10-09T08:53:20Z', max_input_tokens: 200000, max_tokens: 64000 }),
    page: (data, next) => ({ data, has_more: next !== undefined, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null }),
    size: { name: 'limit', usual: 20, isStrict: true },
    from: (ids, query) => after(ids, query.get('after_id')),
    unknown: (id) => ({ message: `model: ${id}` }),
  },
  gemini: {
    model: (id) => ({
      name: `models/${id}`, version: '001', displayName: id, inputTokenLimit: 1048576, outputTokenLimit: 65536,
      supportedGenerationMethods: ['generateContent', 'countTokens'],
    }),
    page: (models, next) => ({ models, ...(next !== undefined && { nextPageToken: mark(next) }) }),
    size: { name: 'pageSize', usual: 50 },
    from: (_, query) => place(query.get('pageToken')),
    unknown: (id) => ({ message: `models/${id} is not found for API version v1beta.` }),
  },
  cohere: {
    model: (name) => ({ name, is_deprecated: false, endpoints: ['rerank'], finetuned: false, context_length: 4096, default_endpoints: [] }),
    page: (models, next) => ({ models, next_page_token: next === undefined ? null : mark(next) }),
    size: { name: 'page_size', usual: 20, isStrict: true },
    from: (_, query) => place(query.get('page_token')),
    unknown: (id) => ({ message: `model '${id}' not found` }),
  },
};

const mostOfPage = 1000;

/** The API of the list, or of the one model that the exchange names. */
export const models = {
  streams: () => false,
  compose: ({ dialect, model, query, has }) => {
    const shape = shapes[dialect];
    const ids = [...has.models];
    if (model !== undefined) {
      if (!has.models.has(model)) throw new Refused(404, shape.unknown(model));
      return { whole: shape.model(model) };
    }
    const from = shape.from?.(ids, query) ?? 0;
    const size = Math.min(shape.size ? sizeOf(shape.size, query) : Infinity, has.longestPage);
    const next = from + size < ids.length && shape.size ? from + size : undefined;
    return { whole: shape.page(ids.slice(from, shape.size && from + size).map(shape.model), next) };
  },
  plain: ({ whole }) => json(whole),
};

function sizeOf({ name, usual, isStrict }, query) {
  if (!query.has(name)) return usual;
  const size = Number(query.get(name));
  if (isStrict && !(Number.isInteger(size) && size >= 1 && size <= mostOfPage)) {
    throw new Refused(400, { message: `${name}: must be from 1 to ${mostOfPage}` });
  }
  return Math.min(Math.max(Math.trunc(size) || usual, 1), mostOfPage);
}

function after(ids, id) {
  if (id === null) return 0;
  const at = ids.indexOf(id);
  if (at < 0) throw new Refused(400, { message: `after_id: ${id} is not the id of a model` });
  return at + 1;
}

const mark = (at) => Buffer.from(`page ${at}`).toString('base64');

function place(token) {
  if (!token) return 0;
  const at = Number(/^page (\d+)$/.exec(Buffer.from(token, 'base64').toString())?.[1]);
  if (Number.isNaN(at)) throw new Refused(400, { message: 'The token of the page is not valid.' });
  return at;
}
