// The simulated providers behind the gateway, for the programs: one server, a form of channel by
// the first part of the path.
//   /chat/v1      chat completions, as strict as OpenAI
//   /thinking/v1  chat completions of a provider that wants its thoughts back
//   /native/v1    responses
//   /anthropic/v1 messages
//   /gemini/v1beta generateContent
import { createServer } from 'node:http';
import { readBody } from '../../../scripts/upstream/body.mjs';
import { refuse, Refused } from '../../../scripts/upstream/errors.mjs';
import { Exchange } from '../../../scripts/upstream/exchange.mjs';
import { readChat, writeChat } from './chat.mjs';
import { readGenerate, writeGenerate } from './generate.mjs';
import { readMessages, writeMessages } from './messages.mjs';
import { readResponses, writeResponses } from './responses.mjs';
import { Tasks } from './tasks.mjs';

/** The forms of channels, by their name: the channel's own members of the catalogue. */
export const forms = {
  anthropic: { dialect: 'anthropic', path: '/anthropic/v1', upstreamModel: 'claude-opus-4-8' },
  chat: { dialect: 'openai', path: '/chat/v1', upstreamModel: 'open-sim' },
  thinking: { dialect: 'openai', path: '/thinking/v1', upstreamModel: 'deepseek-sim' },
  gemini: { dialect: 'gemini', path: '/gemini/v1beta', upstreamModel: 'gemini-3-pro' },
  native: { dialect: 'openai', path: '/native/v1', upstreamModel: 'gpt-sim', responses: true },
};

const route = /^\/(\w+)\/v1(?:beta)?\/(.+)$/;

/** Thoughts of the provider that wants them back, by the id of the call. */
const thoughts = new Map();

/** Starts them; `requests` is what they were asked, `tasks` what they say. */
export async function startProviders() {
  const requests = [];
  const tasks = new Tasks();
  const server = createServer((request, response) => serve({ request, response, requests, tasks }));
  server.keepAliveTimeout = 0;
  await new Promise((resolve, reject) => server.on('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    tasks,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

async function serve({ request, response, requests, tasks }) {
  const [, form, path] = route.exec(new URL(request.url, 'http://upstream.invalid').pathname) ?? [];
  const record = { form, path, method: request.method, url: request.url, headers: request.headers, status: null };
  requests.push(record);
  const exchange = new Exchange(response, record);
  exchange.dialect = forms[form]?.dialect ?? 'openai';
  try {
    await readBody(request, exchange);
    if (request.method === 'GET') return list(exchange, form);
    await answer({ exchange, form, path, tasks });
  } catch (error) {
    if (response.destroyed) return;
    record.error = error.message;
    record.task ??= tasks.named(record.raw ?? JSON.stringify(exchange.body ?? ''))?.id;
    if (response.headersSent) response.destroy();
    else if (error instanceof Refused) refuse(exchange, error.status, error.error);
    else {
      record.error = error.stack;
      refuse(exchange, 500, { message: String(error), type: 'server_error' });
    }
  }
}

/** The one model that a form has. */
function list(exchange, form) {
  const id = forms[form]?.upstreamModel;
  exchange.json(200, form === 'gemini' ? { models: [{ name: `models/${id}` }] } : { object: 'list', data: [{ id, object: 'model', type: 'model' }], has_more: false });
}

const apis = {
  anthropic: {
    messages: { read: (body) => readMessages(body), write: writeMessages },
    'messages/count_tokens': { read: (body) => readMessages(body, { counts: true }), count: (input) => ({ input_tokens: input }) },
  },
  chat: { 'chat/completions': { read: (body) => readChat(body, {}), write: writeChat } },
  thinking: { 'chat/completions': { read: (body) => readChat(body, { thinks: thoughts }), write: (answer, context) => writeChat(answer, { ...context, thinks: thoughts }) } },
  native: { responses: { read: readResponses, write: writeResponses }, 'chat/completions': { read: (body) => readChat(body, {}), write: writeChat } },
  gemini: {
    generateContent: { read: readGenerate, write: writeGenerate },
    streamGenerateContent: { read: readGenerate, write: writeGenerate },
    countTokens: { read: readGenerate, count: (input) => ({ totalTokens: input }) },
  },
};

async function answer({ exchange, form, path, tasks }) {
  const { body, record } = exchange;
  const [, model, method] = /^models\/(.+):(\w+)$/.exec(path ?? '') ?? [null, body?.model, path];
  const api = apis[form]?.[method];
  if (!api) throw new Refused(404, { message: `Invalid URL (POST ${record.url})`, type: 'invalid_request_error' });
  if (typeof body !== 'object') throw new Refused(400, { message: 'The body is not JSON.', type: 'invalid_request_error' });
  const conversation = api.read(body, { method });
  const input = Math.ceil(record.bytes / 4);
  if (api.count) return exchange.json(200, api.count(input));
  const said = tasks.answer(conversation, form);
  record.task = said.task?.id;
  if (said.refuse) {
    const [status, error] = said.refuse;
    return exchange.json(status, error);
  }
  const usage = { input: said.usage ?? input, output: Math.ceil(JSON.stringify(said.calls).length / 4) + 20 };
  const { json, events } = api.write({ model, thought: said.thought ?? '', text: said.text, calls: said.calls, usage }, { body, conversation });
  if (json) return exchange.json(200, json);
  exchange.head(200, { 'content-type': 'text/event-stream' });
  for (const { name, data } of events) await exchange.write(`${name ? `event: ${name}\n` : ''}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`);
  return exchange.end();
}
