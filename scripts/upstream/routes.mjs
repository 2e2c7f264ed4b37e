// Which API a path is, who may ask it, and which model is meant.
import * as anthropic from './anthropic.mjs';
import { speech, transcriptions, translations } from './audio.mjs';
import { behave } from './behaviours.mjs';
import { embeddings, moderations } from './embeddings.mjs';
import { fail, refuse, Refused } from './errors.mjs';
import * as gemini from './gemini.mjs';
import { edits, generations } from './images.mjs';
import { models } from './models.mjs';
import { chat, completions } from './openai-text.mjs';
import { cohereRerank, rerank } from './rerank.mjs';
import { compact, inputTokens, remove, responses, retrieve } from './responses.mjs';

const bearer = ({ headers }) => /^Bearer (\S+)/.exec(headers.authorization ?? '')?.[1];

const cohere = { dialect: 'cohere', credential: bearer, unauthorized: [401, { message: 'no api key supplied' }] };

/**
 * The dialects by their prefix: where the credential is, what a request without one is told,
 * the APIs by path, and whether the models are listed there.
 */
const dialects = {
  '/v1': {
    dialect: 'openai',
    credential: bearer,
    unauthorized: [401, { message: 'You didn\'t provide an API key.', type: 'invalid_request_error' }],
    apis: {
      '/chat/completions': chat,
      '/completions': completions,
      '/embeddings': embeddings,
      '/responses': responses,
      '/responses/compact': compact,
      '/responses/input_tokens': inputTokens,
      '/moderations': moderations,
      '/images/generations': generations,
      '/images/edits': edits,
      '/audio/speech': speech,
      '/audio/transcriptions': transcriptions,
      '/audio/translations': translations,
      '/rerank': rerank,
    },
  },
  '/anthropic/v1': {
    dialect: 'anthropic',
    // Its newer SDKs send their key as a bearer token.
    credential: (record) => record.headers['x-api-key'] ?? bearer(record),
    unauthorized: [401, { message: 'x-api-key header is required' }],
    apis: { '/messages': anthropic.messages, '/messages/count_tokens': anthropic.countTokens },
  },
  '/gemini/v1beta': {
    dialect: 'gemini',
    credential: ({ headers }, query) => headers['x-goog-api-key'] ?? query.get('key') ?? undefined,
    unauthorized: [403, { message: 'Method doesn\'t allow unregistered callers (callers without established identity).' }],
    apis: {},
  },
  // Its newer version has no list of models: that is in the first one only.
  '/cohere/v2': { ...cohere, apis: { '/rerank': cohereRerank }, hasNoList: true },
  '/cohere/v1': { ...cohere, apis: {} },
};

/** The models of requests that need not name one. */
const defaultModels = { '/moderations': 'omni-moderation-latest', '/images/generations': 'dall-e-2', '/images/edits': 'gpt-image-1' };

const geminiMethods = { generateContent: gemini.generate, streamGenerateContent: gemini.generate, countTokens: gemini.countTokens };

/** Answers a request whose body has been read, as a test's changes want it. */
export async function route(exchange, control) {
  const { method, url, headers } = exchange.record;
  const { pathname, searchParams } = new URL(url, 'http://upstream.invalid');
  // Behind `elsewhere` waits what a caller gets that follows the `redirect` behaviour.
  exchange.isElsewhere = pathname.startsWith('/elsewhere/');
  const path = exchange.isElsewhere ? pathname.slice('/elsewhere'.length) : pathname;
  const prefix = Object.keys(dialects).find((it) => path.startsWith(`${it}/`)) ?? '/v1';
  const { dialect, credential, unauthorized, apis, hasNoList = false } = dialects[prefix];
  const inside = path.startsWith(`${prefix}/`) ? decodeURIComponent(path.slice(prefix.length)) : '';
  exchange.dialect = dialect;
  exchange.query = searchParams;
  exchange.has = control.apis[dialect];
  const [, model, action] = (dialect === 'gemini' && /^\/models\/(.+):(\w+)$/.exec(inside)) || [];
  exchange.method = action;
  exchange.isList = action === 'streamGenerateContent' && searchParams.get('alt') !== 'sse';

  exchange.record.credential = credential({ headers }, searchParams);
  if (!exchange.record.credential) return refuse(exchange, ...unauthorized);
  if (exchange.record.credential.includes('-429')) return fail(exchange, 'fail-429');
  if (exchange.record.credential.includes('-401')) return fail(exchange, 'fail-401');
  if (dialect === 'anthropic' && !headers['anthropic-version']) throw new Refused(400, { message: 'anthropic-version: header is required' });

  const [, isModels, id] = (!hasNoList && /^(\/models)(?:\/(.+))?$/.exec(inside)) || [];
  if (method === 'GET' && isModels) {
    exchange.model = id;
    return behave(models, exchange, exchange.has.list ?? 'good');
  }
  const [, responseId] = (dialect === 'openai' && /^\/responses\/([^/]+)$/.exec(inside)) || [];
  if (responseId && method === 'GET') return exchange.json(200, retrieve(responseId, exchange.record.credential));
  if (responseId && method === 'DELETE') return exchange.json(200, remove(responseId, exchange.record.credential));
  const api = Object.hasOwn(geminiMethods, action ?? '') ? geminiMethods[action] : apis[inside];
  if (method !== 'POST' || !api) return refuse(exchange, 404, { message: `Invalid URL (${method} ${path})`, type: 'invalid_request_error' });
  exchange.model = model ?? exchange.body?.model ?? defaultModels[inside];
  checkBody(exchange);
  if (exchange.has.removed.has(exchange.model)) return fail(exchange, 'fail-404');
  return behave(api, exchange, exchange.has.switched.get(exchange.model));
}

/** A body has to be an object, and a request that names no model has to be to an API that has a usual one. */
function checkBody({ body, model, dialect }) {
  if (typeof body === 'object' && body !== null && typeof model === 'string') return;
  const messages = { openai: 'you must provide a model parameter', anthropic: 'model: Field required', gemini: 'Invalid JSON payload received.', cohere: 'invalid request: model is required' };
  throw new Refused(400, { message: messages[dialect], type: 'invalid_request_error' });
}
