// The gateway changes nothing but what it must: the same calls of the JavaScript SDK of OpenAI,
// made straight at the upstream and through the gateway, yield the same objects and the same
// sequence of deltas, but for ids, times and the cost.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { dialectCatalog, dialectVars, mostOutput } from '../support/dialects.mjs';
import { startGateway } from '../support/gateway.mjs';
import { noteSchema, pixel, weatherSchema } from './stage.mjs';

let gateway;
/** The SDK at the upstream, and at the gateway. */
let clients;

before(async () => {
  gateway = await startGateway({ catalog: catalogOfEqualNames, vars: dialectVars });
  const options = { maxRetries: 0 };
  clients = [
    new OpenAI({ ...options, baseURL: `${gateway.upstream.url}/v1`, apiKey: 'upstream-secret' }),
    new OpenAI({ ...options, baseURL: gateway.baseUrl, apiKey: await gateway.newKey(await gateway.newAccount({ credit: '100' })) }),
  ];
});
after(() => gateway?.close());

/** The catalogue of dialects, with OpenAI's own models under the names that they have upstream. */
function catalogOfEqualNames(upstreamUrl) {
  const catalog = dialectCatalog(upstreamUrl);
  const named = Object.values(catalog.models).map((model) => [model.routes.official.candidates[0], model]);
  const own = named.filter(([{ channel }]) => ['openai', 'openai-faulty'].includes(channel));
  return { ...catalog, models: Object.fromEntries(own.map(([{ upstream_model }, model]) => [upstream_model, model])) };
}

const hello = [{ role: 'user', content: 'hello' }];
const functions = ['weather', 'clock'].map((name) => ({ name, description: name, parameters: weatherSchema }));
const tools = functions.map((it) => ({ type: 'function', function: it }));
const jsonSchema = { name: 'note', schema: noteSchema, strict: true };
const asked = (content) => [{ role: 'user', content }];
/** 3 seconds of sound, by the simulator's measure. */
const sound = () => toFile(Buffer.alloc(40_000, 1), 'clip.mp3', { type: 'audio/mpeg' });
const image = () => toFile(Buffer.from(pixel, 'base64'), 'dot.png', { type: 'image/png' });

/** Requests of the text APIs, made plain and streamed. */
const chats = {
  'a greeting': { messages: hello },
  'many turns': { messages: [{ role: 'developer', content: 'Be brief.' }, ...hello, { role: 'assistant', content: 'yes?' }, { role: 'user', content: [{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }], name: 'bob' }] },
  'a call of a tool': { messages: asked('please use the tool'), tools },
  'two calls at once': { messages: asked('please use two tools'), tools },
  'a named tool': { messages: hello, tools, tool_choice: { type: 'function', function: { name: 'clock' } } },
  'results of tools': {
    messages: [
      ...asked('please use the tool'),
      { role: 'assistant', content: null, tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"x"}' } }] },
      { role: 'tool', tool_call_id: 'call_1', content: 'sunny' },
    ],
    tools,
  },
  'structured output': { messages: hello, response_format: { type: 'json_schema', json_schema: jsonSchema } },
  'any JSON': { messages: hello, response_format: { type: 'json_object' } },
  logprobs: { messages: hello, logprobs: true, top_logprobs: 2 },
  'three answers': { messages: hello, n: 3 },
  'a limit': { messages: hello, max_completion_tokens: 3 },
  'a stop text': { messages: hello, stop: ['simulated'] },
  'an image': { messages: asked([{ type: 'text', text: 'hello' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } }]) },
  'usage at the end': { messages: hello, stream_options: { include_usage: true } },
  'a cached prompt': { model: 'cached-gpt', messages: hello, stream_options: { include_usage: true } },
  reasoning: { model: 'thinking-gpt', messages: hello, stream_options: { include_usage: true } },
  'many chunks': { model: 'many-chunks-gpt', messages: hello },
  'split bytes': { model: 'split-bytes-gpt', messages: hello, stream_options: { include_usage: true } },
  'a compressed answer': { model: 'gzip-gpt', messages: hello },
};

const texts = {
  'a prompt': { prompt: 'hello there' },
  'two prompts': { prompt: ['hello', 'good day'], n: 2 },
  'a limit': { prompt: 'hello there', max_tokens: 3, stop: ['x'] },
  'usage at the end': { prompt: 'hello there', stream_options: { include_usage: true } },
};

const inputs = {
  'a greeting': { input: 'hello' },
  'instructions and turns': { instructions: 'Be brief.', input: [...hello, { role: 'assistant', content: 'yes?' }, { role: 'user', content: [{ type: 'input_text', text: 'again' }] }] },
  'two calls at once': { input: 'please use two tools', tools: functions.map((it) => ({ type: 'function', strict: true, ...it })) },
  'structured output': { input: 'hello', text: { format: { type: 'json_schema', ...jsonSchema } } },
  'a limit': { input: 'hello', max_output_tokens: 3 },
  reasoning: { model: 'thinking-gpt', input: 'hello', reasoning: { effort: 'low', summary: 'auto' } },
  'nothing stored, and more said': { input: 'hello', store: false, metadata: { a: 'b' }, temperature: 0.5, top_p: 0.9, user: 'bob' },
};

/** The other calls, by what they do. */
const others = {
  'embeddings, base64': (client) => client.embeddings.create({ model: 'text-embedding-sim', input: ['hello world', 'good day'] }),
  'embeddings, numbers': (client) => client.embeddings.create({ model: 'text-embedding-sim', input: 'hello world', encoding_format: 'float', dimensions: 256 }),
  'embeddings of tokens': (client) => client.embeddings.create({ model: 'text-embedding-sim', input: [[1, 2, 3], [4, 5]] }),
  'moderation of a text': (client) => client.moderations.create({ model: 'omni-moderation-sim', input: 'so much violence' }),
  'moderation of parts': (client) => client.moderations.create({ model: 'omni-moderation-sim', input: [{ type: 'text', text: 'hello' }] }),
  'images by tokens': (client) => client.images.generate({ model: 'gpt-image-sim', prompt: 'a white dot', n: 2, quality: 'high', size: '1024x1024' }),
  'images by number': (client) => client.images.generate({ model: 'dall-e-sim', prompt: 'a white dot', response_format: 'b64_json' }),
  'images, streamed': async (client) => collected(client.images.generate({ model: 'gpt-image-sim', prompt: 'a white dot', stream: true, partial_images: 2 })),
  'an edited image': async (client) => client.images.edit({ model: 'gpt-image-sim', image: [await image(), await image()], prompt: 'now black' }),
  'speech, mp3': async (client) => sha(await client.audio.speech.create({ model: 'tts-sim', voice: 'alloy', input: 'Good day to you' })),
  'speech, wav': async (client) => sha(await client.audio.speech.create({ model: 'tts-sim', voice: 'alloy', input: 'Good day to you', response_format: 'wav' })),
  ...Object.fromEntries(
    ['json', 'text', 'srt', 'vtt', 'verbose_json'].map((response_format) => [
      `transcription, ${response_format}`,
      async (client) => client.audio.transcriptions.create({ model: 'whisper-sim', file: await sound(), response_format }),
    ]),
  ),
  'transcription, words': async (client) =>
    client.audio.transcriptions.create({ model: 'whisper-sim', file: await sound(), response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'] }),
  'transcription by tokens, streamed': async (client) => collected(client.audio.transcriptions.create({ model: 'gpt-4o-transcribe-sim', file: await sound(), stream: true })),
  translation: async (client) => client.audio.translations.create({ model: 'whisper-sim', file: await sound() }),
};

describe('straight and through the gateway are the same:', () => {
  each('chat', chats, (client, body) => client.chat.completions.create({ model: 'gpt-sim', ...body }));
  each('completions', texts, (client, body) => client.completions.create({ model: 'gpt-sim', ...body }));
  each('responses', inputs, (client, body) => client.responses.create({ model: 'gpt-sim', ...body }));
  for (const [name, call] of Object.entries(others)) test(name, () => same(call));

  test('a response that goes on with the one before', () =>
    same(async (client) => {
      const first = await client.responses.create({ model: 'gpt-sim', input: 'hello' });
      const { previous_response_id, ...second } = await client.responses.create({ model: 'gpt-sim', input: 'good day', previous_response_id: first.id });
      assert.equal(previous_response_id, first.id);
      return second;
    }));

  test('a refusal of upstream that is the caller\'s', () =>
    same(async (client) => {
      const error = await client.chat.completions.create({ model: 'fail-400-gpt', messages: hello }).catch((it) => it);
      assert.ok(error instanceof OpenAI.BadRequestError, error.stack);
      const { metadata, ...told } = error.error;
      return { told, status: error.status, code: error.code, param: error.param, type: error.type };
    }));
});

/** A test for each body, plain and streamed. */
function each(api, bodies, call) {
  for (const [name, { stream_options, ...body }] of Object.entries(bodies)) {
    test(`${api}, ${name}`, () => same((client) => call(client, body)));
    test(`${api}, ${name}, streamed`, () => same((client) => collected(call(client, { ...body, stream: true, ...(stream_options && { stream_options }) }))));
  }
}

/** Makes a call at both, and compares what comes of it. */
async function same(call) {
  const [straight, through] = await Promise.all(clients.map((client) => call(client)));
  assert.ok(straight !== undefined && straight !== null);
  assert.deepEqual(comparable(through), comparable(withWhatIsAdded(straight, through)));
}

/**
 * What upstream said, with what the gateway adds: the usage that the cost is of, where upstream
 * told none, and the limit of a response, where the request named none.
 */
function withWhatIsAdded(straight, through) {
  const events = Array.isArray(straight) ? straight : [];
  for (const { response } of events.filter((event) => event.response)) withLimit(response);
  if (straight.object === 'response') withLimit(straight);
  if (typeof through === 'object' && through.usage && !straight.usage) {
    assert.ok(through.usage.cost_details, 'it is the usage that the cost is of');
    return { ...straight, usage: through.usage };
  }
  return straight;
}

function withLimit(response) {
  response.max_output_tokens ??= mostOutput;
}

async function collected(stream) {
  const events = [];
  for await (const event of await stream) events.push(event);
  assert.ok(events.length > 1, 'it is a stream');
  return events;
}

/** The bytes of an answer, by their number and their digest. */
async function sha(response) {
  const bytes = await response.arrayBuffer();
  return { type: response.headers.get('content-type'), bytes: bytes.byteLength, digest: Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex') };
}

const times = ['created', 'created_at', 'completed_at'];
const isMade = /^(chatcmpl|cmpl|resp|msg|rs|fc|call|modr)[_-](sim[_-]|gen-)/;

/** A value without what differs from one call to the next, and without what the gateway adds. */
function comparable(value, key) {
  if (typeof value === 'string' && isMade.test(value)) return 'an id';
  if (times.includes(key)) return typeof value;
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (Array.isArray(value)) return value.map((it) => comparable(it));
  if (value === null || typeof value !== 'object') return value;
  const { cost, currency, cost_details, ...rest } = value;
  return Object.fromEntries(Object.entries(key === 'usage' ? rest : value).map(([name, it]) => [name, comparable(it, name)]));
}
