// What one request may contain, and what clients do with the answers: lists that are too long, errors that another try does not
// mend, actions that are not there, and endpoints that the newest SDKs expect.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { testCatalog } from './support/catalog.mjs';
import { startGateway } from './support/gateway.mjs';

let gateway;
let key;
before(async () => {
  gateway = await startGateway();
  key = await gateway.richKey();
});
after(() => gateway?.close());

const post = (path, body, headers = {}) =>
  gateway.fetch(key, path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body) });

const hello = [{ role: 'user', content: 'hello' }];
const many = (count, item) => Array.from({ length: count }, (_, at) => item(at));

describe('a request with too much of something', () => {
  const gemini = (members) => ['/v1beta/models/demo-large:generateContent', { contents: [{ role: 'user', parts: [{ text: 'x' }] }], ...members }];
  const cases = {
    'names in models': ['/v1/chat/completions', { model: 'demo-large', models: many(100_000, (at) => `m${at}`), messages: hello }],
    'unknown members': ['/v1/chat/completions', { model: 'demo-large', messages: hello, ...Object.fromEntries(many(100_000, (at) => [`x${at}`, 1])) }],
    'members of an object': ['/v1/messages', { model: 'demo-large', max_tokens: 5, messages: hello, metadata: Object.fromEntries(many(100_000, (at) => [`x${at}`, 1])) }],
    tools: ['/v1/responses', { model: 'demo-large', input: 'x', tools: many(100_000, (at) => ({ type: 'function', name: `f${at}` })) }],
    'messages that are objects in objects': ['/v1/chat/completions', { model: 'demo-large', messages: many(200_000, () => ({ role: 'user', content: 'x' })) }],
    nests: ['/v1/chat/completions', `{"model":"demo-large","messages":[],"x":${'{"parts":['.repeat(200_000)}${']}'.repeat(200_000)}}`],
    'tools of Gemini': gemini({ tools: [{ functionDeclarations: many(5_000, (at) => ({ name: `f${at}` })) }] }),
  };
  for (const [what, [path, body]] of Object.entries(cases)) {
    test(`(${what}) is refused with what there may be, and nothing is sent`, async () => {
      const calls = gateway.upstream.requests.length;
      const answer = await post(path, body);
      const { error } = await answer.json();
      assert.equal(answer.status, 400, error.message);
      assert.match(error.message, /has \d+ .*; it may have at most \d+/);
      assert.equal(gateway.upstream.requests.length, calls);
      // The isolate goes on.
      assert.equal((await gateway.call(key, 'demo-large')).status, 200);
    });
  }

  test('is read to the end where it has as much as it may', async () => {
    const tools = many(1_500, (at) => ({ type: 'function', function: { name: `f${at}`, parameters: { type: 'object', properties: {} } } }));
    const messages = many(3_000, (at) => ({ role: at % 2 ? 'assistant' : 'user', content: `m${at}` })).concat(hello);
    assert.equal((await post('/v1/chat/completions', { model: 'demo-large', messages, tools, max_tokens: 20 })).status, 200);
  });
});

describe('a small list that is too long', () => {
  const budgets = (count) => many(count, (at) => ({ bucket: 'credit', period: 'total', limit: `0.0000${10 + at}` }));

  test('is refused with how long it is, and one that is as long as it may be is taken', async () => {
    const account = await gateway.newAccount();
    const keys = `/admin/v1/accounts/${account}/keys`;
    const { id } = await gateway.createKey(account);
    const ofRun = (count) => budgets(count).map(({ bucket, limit }) => ({ bucket, limit }));
    for (const [method, path, of, name, most] of [
      ['POST', `/admin/v1/accounts/${account}/projects`, (count) => ({ name: 'p', budgets: budgets(count) }), 'budgets', 16],
      ['POST', keys, (count) => ({ label: 'k', budgets: budgets(count) }), 'budgets', 16],
      ['POST', keys, (count) => ({ label: 'k', models: many(count, (at) => `m${at}`) }), 'models', 500],
      ['POST', keys, (count) => ({ label: 'k', ip_allow: many(count, (at) => `203.0.113.${at}`) }), 'ip_allow', 100],
      ['PATCH', `${keys}/${id}`, (count) => ({ budgets: budgets(count) }), 'budgets', 16],
      ['PATCH', `${keys}/${id}`, (count) => ({ models: many(count, (at) => `m${at}`) }), 'models', 500],
    ]) {
      await gateway.admin(method, path, of(most));
      await assert.rejects(gateway.admin(method, path, of(most + 1)), ({ status, body: { error } }) => {
        assert.deepEqual([status, error.param, error.metadata.count, error.metadata.limit], [400, name, most + 1, most]);
        return true;
      });
    }
    assert.equal((await post('/v1/runs', { id: 'bounded', budgets: ofRun(16) })).status, 201);
    const refused = await post('/v1/runs', { budgets: ofRun(1_000) });
    const { error } = await refused.json();
    assert.deepEqual([refused.status, error.param, error.metadata.count], [400, 'budgets', 1_000]);
    assert.equal((await post('/v1/runs', { budgets: ofRun(3_000) })).status, 413);
  });

  test('is refused in a catalogue that is published, with its path', async () => {
    const document = await gateway.admin('GET', '/admin/v1/catalog');
    const buckets = Object.fromEntries(many(40, (at) => [`b${at}`, { label: 'B', currency: 'USD' }]));
    await assert.rejects(gateway.admin('PUT', '/admin/v1/catalog?dry_run=true', { ...document, buckets: { ...document.buckets, ...buckets } }), ({ status, body: { error } }) => {
      assert.deepEqual([status, error.code, error.metadata.faults[0].path], [400, 'invalid_catalog', 'buckets']);
      return true;
    });
  });
});

describe('errors that another try does not mend', () => {
  test('say so, and those that pass say when', async () => {
    const headers = { 'idempotency-key': 'once' };
    assert.equal((await post('/v1/chat/completions', { model: 'demo-large', messages: hello, max_tokens: 20 }, headers)).status, 200);
    const mismatch = await post('/v1/chat/completions', { model: 'demo-large', messages: hello, max_tokens: 21 }, headers);
    assert.deepEqual([mismatch.status, mismatch.headers.get('x-should-retry')], [409, 'false']);
    // The SDK tries again after 409 unless it is told not to.
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 3 });
    await assert.rejects(client.chat.completions.create({ model: 'demo-large', messages: hello, max_tokens: 22 }, { headers }), { status: 409 });
    const calls = gateway.upstream.requests.length;
    await assert.rejects(client.chat.completions.create({ model: 'fail-404', messages: hello }), { status: 502 });
    assert.equal(gateway.upstream.requests.length, calls + 1, 'it did not try again');
  });
});

describe('what newer clients expect', () => {
  test('an action that models do not have is not found, in Gemini\'s envelope', async () => {
    for (const path of ['/v1beta/models/demo-large:doSomething', '/v1beta/models/demo-large:embedContent']) {
      const answer = await post(path, { contents: [] }, { 'x-goog-api-key': key });
      const { error } = await answer.json();
      assert.deepEqual([answer.status, error.status], [404, 'NOT_FOUND']);
      assert.match(error.message, /generateContent/);
    }
  });

  test('OpenAI\'s SDK counts the tokens of an input', async () => {
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key });
    const counted = await client.responses.inputTokens.count({ model: 'demo-large', input: 'hello there' });
    assert.equal(counted.object, 'response.input_tokens');
    assert.ok(Number.isSafeInteger(counted.input_tokens) && counted.input_tokens > 0);
  });

  test('Anthropic\'s SDK finds every member of its type in the list of models', async () => {
    const client = new Anthropic({ baseURL: gateway.url, authToken: key, apiKey: null });
    const { data } = await client.models.list();
    assert.ok(data.length > 0);
    for (const model of data) {
      assert.equal(model.lifecycle, 'active');
      for (const name of ['id', 'capabilities', 'created_at', 'deprecated_at', 'display_name', 'line', 'max_input_tokens', 'max_tokens', 'retires_at', 'type']) {
        assert.ok(name in model, name);
      }
    }
  });
});
