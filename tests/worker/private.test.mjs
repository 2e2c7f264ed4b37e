// What the operator writes for himself is his own. Every field that he writes has a marker in it:
// reasons, authors, names of secrets, channels, ids upstream, weights. Every endpoint of the document
// that a customer or anyone can ask is asked, in every format, and no marker comes out of it; notes
// and labels do. The operator's own endpoints show all of it, and his audit every change.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { dialectCatalog, dialectVars } from './support/dialects.mjs';
import { adminToken, startGateway, until } from './support/gateway.mjs';

// No id has these letters.
const mark = /zquilo|\b7919\b/i;
/** What the model itself says passes as it came, and the simulated ones name themselves: "This is gpt-sim-zquilo, a simulated ...". */
const own = /[\w.-]+-zquilo,/g;
const note = 'A note for the customer';
const said = { reason: 'zquilo because', author: 'zquilo kim' };
const signed = '?author=zquilo%20kim&reason=zquilo%20because';
const hello = [{ role: 'user', content: 'hello' }];

let gateway;
let operations;
let account;
let key;
/** What customers and everybody were answered: {name, status, text}; headers are a part of the text. */
const seen = [];

/** The catalogue of all dialects, marked wherever the operator writes for himself. */
function catalog(upstreamUrl) {
  const document = dialectCatalog(upstreamUrl);
  document.buckets.wallet = { label: 'Routed wallet', currency: 'CNY' };
  const secret = (name) => `ZQUILO_${name}`;
  document.channels = Object.fromEntries(
    Object.entries(document.channels).map(([id, channel]) => [`zquilo-${id}`, { ...channel, secrets: channel.secrets.map(secret), probe_daily_cap: '0.01' }]),
  );
  document.channels['zquilo-openai'].label = 'Main line';
  Object.assign(document.channels['zquilo-anthropic'], { label: 'Open line', shows_upstream_models: true });
  for (const model of Object.values(document.models)) {
    for (const candidate of model.routes.official.candidates) {
      candidate.channel = `zquilo-${candidate.channel}`;
      candidate.upstream_model += candidate.channel === 'zquilo-anthropic' ? '-open' : '-zquilo';
      candidate.weight = 7919;
    }
  }
  const { official } = document.models['gpt-sim'].routes;
  const [good] = official.candidates;
  const [bad] = document.models['gpt-fail-503'].routes.official.candidates;
  const both = [{ ...bad, upstream_model: 'fail-503-both-zquilo' }, { ...good, tier: 1 }];
  document.models.both = { ...document.models['gpt-sim'], routes: { official: { ...official, candidates: both }, routed: { ...official, bucket: 'wallet', candidates: [good] } } };
  return document;
}

const vars = Object.fromEntries(
  Object.entries({ TEST_UPSTREAM_KEY: 'upstream-secret', ...dialectVars }).map(([name, value]) => [`ZQUILO_${name}`, value]),
);

before(async () => {
  gateway = await startGateway({ catalog, vars, isPrivate: true });
  const document = await (await fetch(`${gateway.url}/openapi.json`)).json();
  operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ ...operation, path, method: method.toUpperCase(), name: `${method.toUpperCase()} ${path}` })),
  );
  await gateway.admin('PUT', `/admin/v1/catalog${signed}`, { ...catalog(gateway.upstream.url), hold_timeout_ms: 60_000 });
  account = (await gateway.admin('POST', '/admin/v1/accounts', { name: 'Test', ...said })).id;
  const base = `/admin/v1/accounts/${account}`;
  await gateway.admin('POST', `${base}/projects`, { id: 'team', name: 'Team', ...said });
  for (const bucket of ['credit', 'wallet']) await gateway.admin('POST', `${base}/adjustments`, { bucket, amount: '100', note, ...said });
  key = (await gateway.admin('POST', `${base}/keys`, { label: 'main', project: 'team', cross_routes: true, ...said })).secret;
});
after(() => gateway?.close());

async function keep(name, answer) {
  const head = [...answer.headers].map((pair) => pair.join(': ')).join('\n');
  const text = await answer.text();
  seen.push({ name, status: answer.status, text: `${head}\n\n${text.replaceAll(own, '')}` });
  return text;
}

async function ask(name, path, init = {}) {
  const { headers, as = key, ...rest } = init;
  const json = typeof init.body === 'string' && !headers?.['content-type'] ? { 'content-type': 'application/json' } : {};
  return keep(name, await fetch(gateway.url + path, { redirect: 'manual', ...rest, headers: { ...(as && { authorization: `Bearer ${as}` }), ...json, ...headers } }));
}

const form = (fields, file) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  form.set(file, new File([new Uint8Array(4000).fill(1)], file === 'file' ? 'a.wav' : 'a.png', { type: file === 'file' ? 'audio/wav' : 'image/png' }));
  return form;
};

/** Models that talk, well and badly, over labelled, open and nameless channels. */
const talkers = ['gpt-sim', 'claude-sim', 'gemini-sim', 'open-sim', 'both', 'gpt-fail-400', 'claude-fail-400', 'gpt-fail-503', 'gpt-fail-401', 'open-cut-stream', 'claude-stream-error-mid', 'gemini-no-done'];
const both = (bodies) => [false, true].flatMap((stream) => bodies.map((body) => ({ ...body, stream })));
const contents = [{ role: 'user', parts: [{ text: 'hello' }] }];

/** How every endpoint that takes a body is asked. A new one belongs here. */
const bodies = {
  'POST /v1/chat/completions': both(talkers.map((model) => ({ model, messages: hello, stream_options: undefined }))),
  'POST /v1/completions': both(['gpt-sim', 'open-sim', 'gpt-fail-503'].map((model) => ({ model, prompt: 'hello' }))),
  'POST /v1/responses': both(talkers.map((model) => ({ model, input: 'hello' }))),
  'POST /v1/responses/compact': ['gpt-sim', 'open-sim'].map((model) => ({ model, input: 'hello' })),
  'POST /v1/responses/input_tokens': ['gpt-sim', 'open-sim'].map((model) => ({ model, input: 'hello' })),
  'POST /v1/messages': both(talkers.map((model) => ({ model, max_tokens: 100, messages: hello }))),
  'POST /v1/messages/count_tokens': ['claude-sim', 'gpt-sim'].map((model) => ({ model, messages: hello })),
  'POST /v1/embeddings': [{ model: 'embedding-sim', input: 'hello' }],
  'POST /v1/moderations': [{ input: 'hello' }],
  'POST /v1/rerank': ['rerank-sim', 'open-rerank-sim'].map((model) => ({ model, query: 'hello', documents: ['a', 'b'] })),
  'POST /v1/images/generations': ['image-sim', 'image-flat-sim'].map((model) => ({ model, prompt: 'hello' })),
  'POST /v1/images/edits': [form({ model: 'image-flat-sim', prompt: 'hello' }, 'image')],
  'POST /v1/audio/speech': [{ model: 'speech-sim', input: 'hello', voice: 'alloy' }],
  'POST /v1/audio/transcriptions': [form({ model: 'transcription-sim' }, 'file')],
  'POST /v1/audio/translations': [form({ model: 'transcription-sim' }, 'file')],
  'POST /v1/route': [...talkers.map((model) => ({ model, messages: hello })), { model: 'both', provider: { ignore: ['Main line'] }, messages: hello }],
  'POST /v1/runs': [{ id: 'a-run', name: 'A run' }],
  'POST /v1/topups': [{ bucket: 'credit', amount: '5', provider: 'manual' }, { bucket: 'credit', amount: '6', provider: 'manual' }],
  'POST /v1/redeem': [{ code: 'AAAAA-AAAAA-AAAAA-AAAAA' }],
  'POST /login': ['key=sk-tf-none'],
  'POST /logout': [''],
  ...Object.fromEntries(
    ['v1', 'v1beta'].flatMap((version) =>
      ['generateContent', 'streamGenerateContent', 'countTokens'].map((action) => [`POST /${version}/models/{model}:${action}`, [{ contents }]]),
    ),
  ),
};

/** What stands in the place of names in paths. */
const names = { '{model}': ['gpt-sim', 'both', 'gpt-fail-503', 'claude-sim'], 'GET /v1/runs/{id}': ['a-run'], 'GET /v1/receipts/{id}': [], 'GET /v1/topups/{id}': [] };
/** What is asked besides the path itself. */
const queries = {
  'GET /v1/models': ['?include=unavailable'], 'GET /v1beta/models': ['?include=unavailable'], 'GET /v1/generation': [], 'GET /v1/activity': ['?by=model'],
  'GET /v1/health/{model}': ['?window=1h', '?window=90d'],
};

const isForOthers = ({ path }) => !path.startsWith('/admin/') && !path.startsWith('/webhooks/');
/** Those that go on as a WebSocket tell what their requests by POST do. */
const isPlain = ({ responses }) => !('101' in responses);

function paths({ path, name }) {
  if (path.includes('{model}')) return names['{model}'].map((model) => path.replace('{model}', model));
  if (!path.includes('{')) return [path];
  assert.ok(name in names, `${name}: say in \`names\` what stands in its path`);
  return names[name].map((id) => path.replace(/\{\w+\}/, id));
}

async function askAll(operation, options) {
  const formats = (operation.parameters ?? []).some(({ $ref = '', name }) => name === 'format' || $ref.endsWith('/format')) ? ['?format=csv', '?format=jsonl'] : [];
  for (const path of paths(operation)) {
    for (const query of ['', ...formats, ...(queries[operation.name] ?? [])]) await ask(operation.name, path + query, options);
  }
}

/** Money as the operator moves it: an order approved and refunded, one rejected, a code redeemed. */
async function moveMoney() {
  const { data } = await gateway.get(key, '/v1/topups');
  const [rejected, approved] = data.map(({ id }) => `/admin/v1/accounts/${account}/topups/${id}`);
  await gateway.admin('POST', `${approved}/approve`, { note, ...said });
  await gateway.admin('POST', `${approved}/refunds`, { amount: '1', note, ...said });
  await gateway.admin('POST', `${rejected}/reject`, { note, ...said });
  const codes = await gateway.admin('POST', '/admin/v1/codes', { bucket: 'credit', amount: '2', expires_at: '2999-01-01T00:00:00Z', note, ...said });
  await ask('POST /v1/redeem', '/v1/redeem', { method: 'POST', body: JSON.stringify({ code: codes.data[0].code }) });
  names['GET /v1/topups/{id}'] = data.map(({ id }) => id);
}

describe('what customers and everybody can ask', () => {
  before(async () => {
    for (const operation of operations.filter(isForOthers).filter(isPlain).filter(({ method }) => method !== 'GET')) {
      assert.ok(operation.name in bodies, `${operation.name}: say in \`bodies\` how it is asked`);
      for (const body of bodies[operation.name]) {
        const isForm = typeof body === 'string';
        const sent = isForm || body instanceof FormData ? body : JSON.stringify(body);
        const headers = isForm ? { 'content-type': 'application/x-www-form-urlencoded', origin: gateway.url } : undefined;
        for (const path of paths(operation)) await ask(operation.name, path, { method: operation.method, body: sent, headers });
      }
    }
    // Once more, so that health, incidents and announcements have something to tell.
    for (let i = 0; i < 3; i++) await ask('POST /v1/chat/completions', '/v1/chat/completions', { method: 'POST', body: JSON.stringify({ model: 'gpt-fail-503', messages: hello }) });
    await gateway.admin('POST', '/admin/v1/probe', said);
    await moveMoney();
    const next = catalog(gateway.upstream.url);
    next.models.both.routes.official.candidates[1].weight = 6007;
    next.models.both.routes.official.price.input = '3';
    next.models.both.routes.official.candidates.push({ channel: 'zquilo-compat', upstream_model: 'demo-zquilo', tier: 2 });
    await gateway.admin('PUT', `/admin/v1/catalog${signed}&effective_at=2999-01-01T00:00:00Z`, next);
    const receipts = (await until(async () => {
      const { data } = await gateway.get(key, '/v1/receipts?limit=100');
      return data.length > 60 && data;
    }, 'the receipts'));
    names['GET /v1/receipts/{id}'] = receipts.map(({ id }) => id);
    queries['GET /v1/generation'] = receipts.map(({ id }) => `?id=${id}`);
    const login = await fetch(`${gateway.url}/login`, { method: 'POST', redirect: 'manual', headers: { origin: gateway.url, 'content-type': 'application/x-www-form-urlencoded' }, body: `key=${key}` });
    const cookie = login.headers.get('set-cookie')?.split(';')[0];
    assert.ok(cookie, 'signed in');
    for (const operation of operations.filter(isForOthers).filter(isPlain).filter(({ method }) => method === 'GET')) {
      await askAll(operation);
      await askAll(operation, { as: null, headers: { cookie } });
      await askAll(operation, { as: null });
    }
  });

  test('answers, and not only with errors', () => {
    const asked = new Set(seen.filter(({ status }) => status < 400).map(({ name }) => name));
    const unanswered = operations.filter(isForOthers).filter(isPlain).filter(({ name }) => !asked.has(name) && name !== 'POST /login');
    assert.deepEqual(unanswered.map(({ name }) => name), []);
    assert.ok(seen.some(({ status }) => status === 502) && seen.some(({ status }) => status === 400), 'upstreams failed and refused');
  });

  test('shows nothing that the operator wrote for himself', () => {
    const leaks = seen.filter(({ text }) => mark.test(text)).map(({ name, status, text }) => {
      const at = text.search(mark);
      return `${name} ${status}: …${text.slice(Math.max(0, at - 120), at + 60)}…`;
    });
    assert.deepEqual([...new Set(leaks)].slice(0, 20), []);
  });

  test('shows labels, ids that the operator lets see, aliases and notes', () => {
    const shown = (name, words) => assert.ok(seen.some((it) => it.name === name && words.test(it.text)), `${name} shows ${words}`);
    for (const name of ['GET /v1/receipts', 'GET /v1/models/{model}/endpoints', 'GET /models/{model}', 'POST /v1/route', 'GET /models/{model}.json']) {
      shown(name, /Main line/);
      shown(name, /channel-[0-9a-f]{6}/);
      shown(name, /claude-sim-open/);
    }
    shown('POST /v1/chat/completions', /x-tf-channel: Main line/);
    shown('POST /v1/chat/completions', /x-tf-upstream-model: gpt-sim\n/);
    shown('POST /v1/messages', /x-tf-upstream-model: claude-sim-open/);
    for (const name of ['GET /v1/ledger', 'GET /v1/topups', 'GET /v1/topups/{id}']) shown(name, new RegExp(note));
    shown('GET /v1/ledger', /,note,currency\r\n/);
  });

  test('takes labels of channels as preferences, and where there is none aliases and ids', async () => {
    const plan = async (only) => (await gateway.fetch(key, '/v1/route', { method: 'POST', body: JSON.stringify({ model: 'both', provider: { only: [only] }, messages: hello }) })).json();
    assert.equal((await plan('Main line')).attempts[0].channel, 'Main line');
    // Behind a label the id means nothing, so that nobody can try names out.
    assert.equal((await plan('zquilo-openai')).error.param, 'provider');
    const first = (await plan('zquilo-openai-faulty')).attempts[0].channel;
    assert.match(first, /^channel-[0-9a-f]{6}$/);
    assert.equal((await plan(first)).attempts[0].channel, first);
  });

  test('shows the operator all of it', async () => {
    const shows = async (path, ...words) => {
      const answer = await fetch(gateway.url + path, { headers: { authorization: `Bearer ${adminToken}` } });
      const text = await answer.text();
      for (const word of words) assert.ok(text.includes(word), `${path} shows ${word}`);
    };
    await shows('/admin/v1/receipts?limit=100', 'zquilo-openai', 'gpt-sim-zquilo', 'ZQUILO_TEST_UPSTREAM_KEY');
    await shows('/admin/v1/receipts?format=csv', 'zquilo-openai', 'gpt-sim-zquilo', 'ZQUILO_TEST_UPSTREAM_KEY');
    await shows(`/admin/v1/ledger?account=${account}`, 'zquilo because', 'zquilo kim', note);
    await shows(`/admin/v1/ledger?account=${account}&format=csv`, 'zquilo because', 'zquilo kim', note);
    await shows('/admin/v1/catalog', 'zquilo-openai', '7919', 'ZQUILO_TEST_UPSTREAM_KEY');
    await shows('/admin/v1/health', 'zquilo-openai', 'gpt-sim-zquilo');
    await shows('/admin/v1/catalog/versions', 'zquilo kim', 'zquilo because');
    await shows('/admin/v1/codes', 'zquilo kim', note);
    await shows(`/admin/v1/accounts/${account}/topups`, 'zquilo kim', 'zquilo because', note);
  });
});

describe('a catalogue', () => {
  test('with a key in place of the name of a secret is refused, and the key is not repeated', async () => {
    for (const name of ['sk-proj-PASTED123', 'pool_key', '1KEY', 'AIzaSyPASTED123']) {
      const document = catalog(gateway.upstream.url);
      document.channels['zquilo-pool'].secrets = ['ZQUILO_POOL_KEY_1', name];
      await assert.rejects(gateway.admin('PUT', '/admin/v1/catalog', document), ({ status, body }) => {
        assert.deepEqual([status, body.error.metadata.faults[0].path], [400, 'channels.zquilo-pool.secrets[1]']);
        assert.ok(!JSON.stringify(body).includes(name), name);
        return true;
      });
    }
  });

  test('has labels that cannot be taken for each other', async () => {
    for (const [label, words] of [['Main line', /also the label of/], ['zquilo-openai', /id of another channel/], ['channel-abc', /must not begin with/], ['', /1 to 64/], [' x', /1 to 64/], ['x'.repeat(65), /1 to 64/], ['größe', /ASCII/]]) {
      const document = catalog(gateway.upstream.url);
      document.channels['zquilo-pool'].label = label;
      await assert.rejects(gateway.admin('PUT', '/admin/v1/catalog', document), ({ body }) => {
        assert.match(body.error.metadata.faults[0].message, words, label);
        return true;
      });
    }
  });
});
