// What one caller does is told to nobody else: a hostile account beside a paying one, over one upstream
// whose answers the requests themselves decide. And what is true of a channel is learnt all the same.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { startGateway, until } from './support/gateway.mjs';

const secretValue = 'sk-live/NeverToBeShown+0123456789wxyz';
/** Nobody waits longer, in seconds: docs/reference/limits.md. */
const longestWait = 3600;

let upstream;
let gateway;
let paying;
let hostile;

before(async () => {
  upstream = await startUpstream();
  gateway = await startGateway({ catalog, vars: { TOLD_KEY: `${secretValue}\n`, TOLD_EMPTY: 'told-nothing-left', TOLD_OTHER: 'told-other-key' } });
  paying = await gateway.richKey();
  hostile = await gateway.richKey();
  await gateway.scheduled();
  await until(async () => (await everything()).statuses.every(({ status }) => status === 'up'), 'every route to be up');
});
after(async () => {
  await gateway?.close();
  await upstream?.close();
});

const price = { input: '1', output: '2', cached_input: '1', cache_write: '1', cache_write_1h: '1' };

function catalog() {
  const channel = (dialect, more = {}) => ({ dialect, base_url: `${upstream.url}/v1`, secrets: ['TOLD_KEY'], first_byte_timeout_ms: 2000, idle_timeout_ms: 2000, probe_daily_cap: '5', ...more });
  const model = (channel, id) => ({
    name: 'M', family: 'f', kind: 'chat', context_length: 100000, max_output_tokens: 4000,
    routes: { official: { bucket: 'credit', price, candidates: [{ channel, upstream_model: id }] } },
  });
  return {
    version: 1,
    buckets: { credit: { label: 'Credit', currency: 'USD' }, wallet: { label: 'Wallet', currency: 'CNY' } },
    channels: {
      open: channel('openai'),
      native: channel('openai', { responses: true }),
      messages: channel('anthropic'),
      generate: channel('gemini'),
      pool: channel('openai', { secrets: ['TOLD_EMPTY', 'TOLD_OTHER'] }),
      empty: channel('openai', { secrets: ['TOLD_EMPTY'] }),
    },
    models: {
      chat: model('open', 'up-chat'), cased: model('open', 'Up-Cased'), outage: model('open', 'up-outage'), agreed: model('open', 'up-agreed'),
      responses: model('native', 'up-responses'), claude: model('messages', 'up-claude'), gemini: model('generate', 'up-gemini'),
      pooled: model('pool', 'up-pooled'),
    },
  };
}

const openaiError = (message, type = 'invalid_request_error', code = null, param = null) => ({ error: { message, type, param, code } });

/** What is said when a request asks for it in its last words. */
const said = {
  'say-404-model': [404, (model) => openaiError(`The model \`${model}\` does not exist or you do not have access to it.`, 'invalid_request_error', 'model_not_found')],
  'say-404': [404, () => '404 page not found'],
  'say-401': [401, () => openaiError('Incorrect API key provided.', 'invalid_request_error', 'invalid_api_key')],
  'say-403': [403, () => openaiError('Not for your organization.', 'permission_error')],
  'say-quota': [429, () => openaiError('You exceeded your current quota.', 'insufficient_quota', 'insufficient_quota'), { 'retry-after': '5' }],
  'say-429': [429, () => openaiError('Slow down.', 'requests', 'rate_limit_exceeded'), { 'retry-after': '60' }],
  'say-529': [529, () => openaiError('Overloaded', 'overloaded_error')],
  'say-500': [500, () => openaiError('It broke.', 'server_error')],
  'say-html': [200, () => '<html>Not here</html>'],
  'say-nothing': [200, () => ''],
};

/** An upstream in every dialect: `calls` is what was posted; `down` are models that fail for everybody; `words` are told in a 400. */
async function startUpstream() {
  const state = { calls: [], down: new Set(), words: undefined, headers: {}, listed: undefined };
  const models = ['up-chat', 'UP-CASED', 'up-outage', 'up-agreed', 'up-responses', 'up-claude', 'up-gemini', 'up-pooled'];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const raw = Buffer.concat(parts).toString();
    const json = (status, value, headers = {}) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(typeof value === 'string' ? value : JSON.stringify(value));
    };
    if (request.method === 'GET') {
      const data = (state.listed ?? models).map((id) => ({ id, name: `models/${id}`, object: 'model', type: 'model' }));
      return json(200, { object: 'list', data, models: data, has_more: false });
    }
    const body = JSON.parse(raw);
    const credential = (request.headers.authorization ?? '').replace('Bearer ', '') || request.headers['x-api-key'] || request.headers['x-goog-api-key'];
    const model = body.model ?? /models\/([^:]+):/.exec(request.url)?.[1];
    state.calls.push({ url: request.url, body, raw, credential });
    if (state.down.has(model)) return json(500, openaiError('It broke.', 'server_error'));
    if (credential === 'told-nothing-left') return json(429, openaiError('You exceeded your current quota, please check your plan.', 'insufficient_quota', 'insufficient_quota'), { 'retry-after': '1' });
    const asked = Object.keys(said).find((words) => raw.includes(`${words}"`));
    if (asked) {
      const [status, tell, headers] = said[asked];
      return json(status, tell(model), headers);
    }
    if (raw.includes('say-words"')) return state.words({ body, json, response });
    if (request.url.includes('count')) return json(404, openaiError('There is no such endpoint.'));
    return answer(request.url, { body, model, json });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(state, {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))),
  });
}

let made = 0;
function answer(url, { model, json }) {
  made += 1;
  if (url.endsWith('/responses')) {
    const output = [
      { id: `rs_up${made}`, type: 'reasoning', summary: [] },
      { id: `msg_up${made}`, type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: 'Good day.', annotations: [] }] },
    ];
    return json(200, { id: `resp_up${made}`, object: 'response', created_at: 1, model, status: 'completed', output, usage: { input_tokens: 8, output_tokens: 2, total_tokens: 10 } });
  }
  if (url.endsWith('/messages')) {
    return json(200, { id: `msg_${made}`, type: 'message', role: 'assistant', model, content: [{ type: 'text', text: 'Good day.' }], stop_reason: 'end_turn', usage: { input_tokens: 8, output_tokens: 2 } });
  }
  if (url.includes(':generateContent')) {
    return json(200, { candidates: [{ content: { role: 'model', parts: [{ text: 'Good day.' }] }, finishReason: 'STOP' }], usageMetadata: { promptTokenCount: 8, candidatesTokenCount: 2, totalTokenCount: 10 } });
  }
  return json(200, {
    id: `chatcmpl-${made}`, object: 'chat.completion', created: 1, model,
    choices: [{ index: 0, message: { role: 'assistant', content: 'Good day.' }, finish_reason: 'stop' }], usage: { prompt_tokens: 8, completion_tokens: 2, total_tokens: 10 },
  });
}

const post = (secret, path, body) =>
  gateway.fetch(secret, path, { method: 'POST', headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' }, body: JSON.stringify(body) });

const calls = {
  chat: (words, model = 'chat') => ['/v1/chat/completions', { model, max_tokens: 50, messages: [{ role: 'user', content: words }] }],
  responses: (words) => ['/v1/responses', { model: 'responses', max_output_tokens: 50, input: [{ role: 'user', content: words }] }],
  claude: (words) => ['/v1/messages', { model: 'claude', max_tokens: 50, messages: [{ role: 'user', content: words }] }],
  gemini: (words) => ['/v1beta/models/gemini:generateContent', { contents: [{ role: 'user', parts: [{ text: words }] }], generationConfig: { maxOutputTokens: 50 } }],
};

async function ask(secret, [path, body]) {
  const response = await post(secret, path, body);
  const text = await response.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    // Not every answer is one.
  }
  return { status: response.status, headers: response.headers, text, json };
}

/** A page as the site of that name has it. */
async function pageOf(host, path) {
  const { hostname, port } = new URL(gateway.url);
  const [answer] = await once(get({ hostname, port, path, headers: { host } }), 'response');
  return (await answer.setEncoding('utf8').toArray()).join('');
}

/** All that the holder of a key and the public are told of every model, but for times, counts and probes. */
async function everything(secret = paying) {
  const list = (await gateway.get(secret, '/v1/models?include=unavailable')).data.map(({ id, tf }) => ({
    id, callable: tf.callable, reasons: tf.reasons,
    candidates: tf.routes.flatMap(({ candidates }) => candidates.map(({ status, last_failure, expected_to_answer }) => ({ status, last_failure, expected_to_answer }))),
  }));
  // Pages are kept for some seconds under the name of their site.
  const page = JSON.parse(await pageOf(`${randomUUID()}.localhost`, '/status.json'));
  const statuses = page.routes.map(({ model, route, status }) => ({ model, route, status }));
  const plans = [];
  for (const model of list.map(({ id }) => id)) {
    const plan = (await ask(secret, ['/v1/route', { model, messages: [{ role: 'user', content: 'hi' }] }])).json;
    plans.push({ model, callable: plan.callable, attempts: plan.attempts?.map(({ channel, status, expected_to_answer }) => ({ channel, status, expected_to_answer })) });
  }
  return { list, statuses, incidents: page.incidents, plans };
}

const receipts = async (secret) => (await gateway.get(secret, '/v1/receipts?limit=100')).data;
const of = ({ list }, id) => list.find((model) => model.id === id);

/** Waits until the copy knows of everything that an account was told, and a round has looked at it. */
async function learnt(secret) {
  const { DB } = await gateway.bindings();
  const newest = (await receipts(secret))[0]?.id;
  const statement = 'SELECT COUNT(*) AS n FROM journal WHERE subject = ?';
  if (newest) await until(async () => (await DB.prepare(statement).bind(newest).first()).n > 0, 'the copy of the receipts', 20_000);
  await gateway.scheduled();
}

describe('a hostile account', () => {
  test('changes nothing of what others are told and get, whatever upstream answers it', async () => {
    const quiet = await everything();
    assert.ok(quiet.list.every(({ callable }) => callable), JSON.stringify(quiet.list));
    for (const words of Object.keys(said)) {
      for (const call of Object.values(calls)) {
        for (let n = 0; n < 3; n += 1) {
          const told = await ask(hostile, call(words));
          assert.ok(told.status >= 400, `${words}: ${told.text}`);
        }
      }
      assert.deepEqual(await everything(), quiet, `at once, after ${words}`);
    }
    await learnt(hostile);
    assert.deepEqual(await everything(), quiet, 'after a round that knows all of it');
    const { DB } = await gateway.bindings();
    const { results } = await DB.prepare('SELECT witnesses FROM health_counts WHERE witnesses IS NOT NULL AND is_probe = 0').all();
    const witnesses = new Set(results.flatMap((row) => Object.keys(JSON.parse(row.witnesses))));
    assert.deepEqual([witnesses.size, results.length > 0], [1, true], 'all failures are one account\'s, and it is not named');
    assert.deepEqual(gateway.logs.filter(({ message }) => /health history/.test(message)), []);
    for (const call of Object.values(calls)) {
      const { status, headers } = await ask(paying, call('hello'));
      assert.deepEqual([status, headers.get('x-tf-attempts')], [200, '1']);
    }
  });

  test('knows what it met itself', async () => {
    const fresh = await gateway.richKey();
    for (let n = 0; n < 2; n += 1) await ask(fresh, calls.chat('say-500'));
    assert.deepEqual([of(await everything(fresh), 'chat').callable, of(await everything(paying), 'chat').callable], [false, true]);
    assert.equal((await ask(fresh, calls.chat('hello'))).status, 200, 'it is tried all the same');
    assert.equal(of(await everything(fresh), 'chat').callable, true);
  });

  test('cannot make trouble with places, counts and names that nobody has', async () => {
    const quiet = await everything();
    const called = upstream.calls.length;
    for (let n = 0; n < 3; n += 1) {
      await ask(hostile, ['/v1/messages/count_tokens', { model: 'claude', messages: [{ role: 'user', content: 'say-401' }] }]);
      await ask(hostile, ['/v1beta/models/gemini:countTokens', { contents: [{ parts: [{ text: 'say-404' }] }] }]);
      await ask(hostile, ['/v1/completions', { model: 'chat', prompt: 'say-404', max_tokens: 5 }]);
      await ask(hostile, ['/v1/chat/completions', { model: 'no-such', messages: [] }]);
      await ask(hostile, ['/v1/moderations', { input: 'say-500' }]);
      await gateway.get(hostile, '/v1/models');
    }
    assert.ok(upstream.calls.length > called, 'some of it reached the provider');
    assert.deepEqual(await everything(), quiet);
    await learnt(hostile);
    assert.deepEqual(await everything(), quiet);
  });
});

describe('what a provider keeps', () => {
  const file = { type: 'input_file', file_id: 'file-made-up-1' };
  const madeUp = {
    'a file of responses': ['/v1/responses', { model: 'responses', input: [{ role: 'user', content: [file] }] }],
    'an item of responses': ['/v1/responses', { model: 'responses', input: [{ type: 'item_reference', id: 'msg_made_up_1' }] }],
    'an image of responses': ['/v1/responses', { model: 'responses', input: [{ type: 'image_generation_call', id: 'ig_made_up' }] }],
    'a response': ['/v1/responses', { model: 'responses', previous_response_id: 'resp_made_up_1', input: 'go on' }],
    'a file of chat': ['/v1/chat/completions', { model: 'chat', messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: 'file-made-up-1' } }] }] }],
    'a sound of chat': ['/v1/chat/completions', { model: 'chat', messages: [{ role: 'assistant', audio: { id: 'audio_made_up' } }, { role: 'user', content: 'x' }] }],
    'a file of messages': ['/v1/messages', { model: 'claude', max_tokens: 9, messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'file', file_id: 'file_made_up' } }] }] }],
    'a container of messages': ['/v1/messages', { model: 'claude', max_tokens: 9, container: 'container_made_up', messages: [{ role: 'user', content: 'x' }] }],
    'a file of generateContent': ['/v1beta/models/gemini:generateContent', { contents: [{ parts: [{ fileData: { mimeType: 'image/png', fileUri: 'https://generativelanguage.googleapis.com/v1beta/files/made-up' } }] }] }],
    'a cache of generateContent': ['/v1beta/models/gemini:generateContent', { contents: [{ parts: [{ text: 'x' }] }], cachedContent: 'cachedContents/made-up' }],
    // Over a translation as well.
    'a file of chat for Gemini': ['/v1/chat/completions', { model: 'gemini', messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: 'files/made-up' } }] }] }],
    'a file of messages for OpenAI': ['/v1/messages', { model: 'chat', max_tokens: 9, messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'file', file_id: 'file_made_up' } }] }] }],
  };
  for (const [what, call] of Object.entries(madeUp)) {
    test(`${what} that a client made up reaches nobody, and is refused with what to do`, async () => {
      const quiet = await everything();
      const called = upstream.calls.length;
      const { status, text } = await ask(hostile, call);
      assert.equal(status, 400, text);
      assert.match(text, /Send|send|Leave|store/);
      assert.equal(upstream.calls.length, called);
      assert.deepEqual(await everything(), quiet);
    });
  }

  test('is gone on from by its own account alone', async () => {
    const first = await ask(paying, calls.responses('hello'));
    const [thought, message] = first.json.output;
    assert.match(message.id, /^msg_up\d+_tf[0-9a-f]{16}$/);
    const reference = (item) => ['/v1/responses', { model: 'responses', input: [{ role: 'user', content: 'hello' }, { type: 'item_reference', id: item.id }, { role: 'user', content: 'again' }] }];
    assert.equal((await ask(paying, reference(message))).status, 200);
    assert.equal(upstream.calls.at(-1).body.input[1].id, message.id.replace(/_tf.*/, ''), 'by the id that the provider knows');
    const called = upstream.calls.length;
    const { status, json } = await ask(hostile, reference(message));
    assert.deepEqual([status, json.error.param], [400, 'input[1].id']);
    assert.equal(upstream.calls.length, called);
    // A thought that only the provider can read is left out for others, and goes back for its own.
    const whole = ['/v1/responses', { model: 'responses', input: [thought, { role: 'user', content: 'again' }] }];
    assert.equal((await ask(hostile, whole)).status, 200);
    assert.deepEqual(upstream.calls.at(-1).body.input.map(({ type }) => type), [undefined]);
    assert.equal((await ask(paying, whole)).status, 200);
    assert.equal(upstream.calls.at(-1).body.input[0].id, thought.id.replace(/_tf.*/, ''));
    const kept = await ask(paying, ['/v1/responses', { model: 'responses', store: false, input: 'hello' }]);
    assert.match(kept.json.output[1].id, /^msg_up\d+$/, 'nothing is kept, so nothing is sealed');
  });

  test('an address that anybody can fetch is not', async () => {
    const call = ['/v1beta/models/gemini:generateContent', { contents: [{ parts: [{ fileData: { mimeType: 'image/png', fileUri: 'https://www.youtube.com/watch?v=9hE5' } }, { text: 'x' }] }] }];
    const { status, text } = await ask(paying, call);
    assert.ok(status === 200 || !/that a provider keeps/.test(text), text);
  });
});

describe('upstream\'s words', () => {
  const words = [
    `Invalid key ${secretValue} at https://api.secret-host.example.com/v1/x`,
    `Invalid key ${encodeURIComponent(secretValue)}, ${Buffer.from(secretValue).toString('base64')}, ${Buffer.from(`:${secretValue}`).toString('base64')}`,
    `Invalid key ${secretValue.slice(0, 14)}*********${secretValue.slice(-4)} and ${secretValue.slice(0, 6)}...${secretValue.slice(-4)} in organization org-AbC123def456GHI, project 123456789012, proj_9a8b7c6d5e`,
    'getaddrinfo ENOTFOUND api.secret-host.internal and 10.20.30.40:8443',
  ];
  const told = /NeverToBeShown|0123456789wxyz|\bwxyz\b|TmV2ZXJUb0Jl|secret-host|org-AbC|proj_9a|123456789012|10\.20\.30/;
  for (const [name, call] of Object.entries(calls)) {
    test(`come down without hosts, accounts and credentials: ${name}`, async () => {
      for (const message of words) {
        upstream.words = ({ json }) => json(400, name === 'gemini' ? { error: { code: 400, status: 'INVALID_ARGUMENT', message } } : { type: 'error', error: { type: 'invalid_request_error', message, code: message, param: message } });
        const response = await ask(paying, call('say-words'));
        assert.equal(response.status, 400, response.text);
        assert.doesNotMatch(response.text, told);
        const receipt = await gateway.receipt(paying, response.headers);
        assert.doesNotMatch(JSON.stringify(receipt), told);
        const operators = await gateway.admin('GET', `/admin/v1/receipts?limit=1`).catch(() => ({}));
        assert.doesNotMatch(JSON.stringify(operators), told);
      }
    });
  }

  test('in the middle of a stream, too', async () => {
    const events = {
      chat: (message) => [{ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta: { role: 'assistant', content: 'Good' } }] }, { error: { message, code: message, type: 'server_error' } }],
      responses: (message) => [{ type: 'response.created', sequence_number: 0, response: { id: 'resp_1', object: 'response', status: 'in_progress', output: [] } }, { type: 'response.output_text.delta', sequence_number: 1, item_id: 'msg_1', delta: 'Good' }, { type: 'error', sequence_number: 2, message, code: 'server_error', param: null }, { type: 'response.failed', sequence_number: 3, response: { id: 'resp_1', status: 'failed', output: [], error: { code: 'server_error', message } } }],
      claude: (message) => [{ type: 'message_start', message: { id: 'm', type: 'message', role: 'assistant', model: 'm', content: [], usage: { input_tokens: 1, output_tokens: 1 } } }, { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }, { type: 'error', error: { type: 'invalid_request_error', message } }],
    };
    for (const [name, make] of Object.entries(events)) {
      for (const message of words) {
        upstream.words = ({ response }) => {
          response.writeHead(200, { 'content-type': 'text/event-stream' });
          response.end(make(message).map((event) => `${event.type ? `event: ${event.type}\n` : ''}data: ${JSON.stringify(event)}\n\n`).join(''));
        };
        const [path, body] = calls[name]('say-words');
        const response = await ask(paying, [path, { ...body, stream: true }]);
        assert.equal(response.status, 200, response.text);
        assert.match(response.text, /error/);
        assert.doesNotMatch(response.text, told, name);
        assert.doesNotMatch(JSON.stringify(await gateway.receipt(paying, response.headers)), told);
      }
    }
  });

  test('name no time to wait beyond the bound, in any form', async () => {
    const date = new Date(Date.now() + 40 * 86_400_000).toUTCString();
    for (const headers of [{ 'retry-after': '86400000' }, { 'retry-after': '9'.repeat(30) }, { 'retry-after': '7200.5' }, { 'retry-after': date }, { 'retry-after-ms': '864000000000' }]) {
      upstream.words = ({ json }) => json(429, openaiError('Slow down.', 'requests', 'rate_limit_exceeded'), headers);
      const response = await ask(await gateway.richKey(), calls.chat('say-words'));
      const wait = Number(response.headers.get('retry-after'));
      assert.ok(wait > 0 && wait <= longestWait, `${JSON.stringify(headers)}: ${response.headers.get('retry-after')}`);
    }
    upstream.words = ({ json }) => json(429, { error: { code: 429, status: 'RESOURCE_EXHAUSTED', message: 'Slow down.', details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '999999s' }] } });
    const response = await ask(await gateway.richKey(), calls.gemini('say-words'));
    const wait = Number(response.headers.get('retry-after'));
    assert.ok(wait > 0 && wait <= longestWait, response.headers.get('retry-after'));
  });
});

describe('what is true of a channel', () => {
  test('is learnt from one account by a probe, and taken back when it is over', async () => {
    upstream.down.add('up-outage');
    const lone = await gateway.richKey();
    for (let n = 0; n < 2; n += 1) assert.equal((await ask(lone, calls.chat('hello', 'outage'))).status, 502);
    assert.equal(of(await everything(paying), 'outage').callable, true, 'so far it is one account\'s');
    await gateway.scheduled();
    await until(async () => !of(await everything(paying), 'outage').callable, 'everybody to know');
    assert.equal((await everything()).statuses.find(({ model }) => model === 'outage').status, 'down');
    upstream.down.delete('up-outage');
    assert.equal((await ask(paying, calls.chat('hello', 'outage'))).status, 200);
    assert.equal(of(await everything(lone), 'outage').callable, true);
  });

  test('is learnt from several accounts without a probe', async () => {
    upstream.down.add('up-agreed');
    const keys = [await gateway.richKey(), await gateway.richKey(), await gateway.richKey()];
    for (const [n, secret] of keys.entries()) {
      assert.equal(of(await everything(paying), 'agreed').callable, true, `after ${n}`);
      await ask(secret, calls.chat('hello', 'agreed'));
    }
    assert.equal(of(await everything(paying), 'agreed').callable, false);
    upstream.down.delete('up-agreed');
    assert.equal((await ask(paying, calls.chat('hello', 'agreed'))).status, 200, 'the last candidate is never ruled out');
    assert.equal(of(await everything(paying), 'agreed').callable, true);
  });

  test('an account of ours without a quota never comes right by waiting: the next credential answers', async () => {
    const seen = await gateway.richKey();
    for (let n = 0; n < 6; n += 1) assert.equal((await ask(seen, calls.chat('hello', 'pooled'))).status, 200);
    assert.ok(gateway.logs.some(({ message }) => /TOLD_EMPTY/.test(message)) || !upstream.calls.some(({ credential }) => credential === 'told-nothing-left'), 'the operator is told');
  });

  test('a list is a hint: ids in other letters and ids that are gone from it answer', async () => {
    assert.equal(of(await everything(), 'cased').callable, true);
    upstream.listed = ['up-chat'];
    for (let n = 0; n < 2; n += 1) {
      assert.equal((await ask(paying, calls.chat('hello', 'cased'))).status, 200);
      await gateway.scheduled();
      assert.equal(of(await everything(), 'cased').callable, true);
      assert.equal(of(await everything(), 'outage').callable, true, 'a call has asked it');
    }
    upstream.listed = undefined;
  });
});
