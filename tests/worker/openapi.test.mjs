// The table of endpoints against what the gateway does: /openapi.json names every endpoint with
// its methods and credentials, and every answer of a life of an account, good or bad, is as the
// document says. A validator of OpenAPI 3.1 judges the document (openapi.py).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { pythonWithPackages } from '../../scripts/setup.mjs';
import { dialectCatalog, dialectVars } from './support/dialects.mjs';
import { adminToken, files, startGateway } from './support/gateway.mjs';
import { event, signature, webhookSecret } from './support/stripe.mjs';

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
const hello = [{ role: 'user', content: 'hello' }];

let gateway;
let document;
let response;
let operations;
let key;
let judged;
/** Whether an operation answers those who do not ask for a WebSocket. */
const isPlain = ({ responses }) => !('101' in responses);

/** What was answered: {operation, status, value}, the operation as `GET /v1/models`. */
const answered = [];

before(async () => {
  gateway = await startGateway({ catalog, vars: { ...dialectVars, STRIPE_WEBHOOK_SECRET: webhookSecret } });
  response = await fetch(`${gateway.url}/openapi.json`);
  document = await response.json();
  operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, path, method: method.toUpperCase(), ...operation })),
  );
  key = await gateway.richKey();
  await live();
  judged = await judge();
});
after(() => gateway?.close());

/** Every kind of model, two balances, and a model that can be called over both routes. */
function catalog(upstreamUrl) {
  const catalog = dialectCatalog(upstreamUrl);
  catalog.buckets.wallet = { label: 'Routed wallet', currency: 'CNY' };
  const [one, other] = [structuredClone(catalog.models['gpt-sim']), catalog.models['claude-sim'].routes.official];
  one.routes.routed = { bucket: 'wallet', price: { input: '7', output: '14', tiers: [{ above: 1000, input: '14' }] }, candidates: other.candidates };
  one.routes.official.candidates.push({ channel: 'openai-faulty', upstream_model: 'fail-503-gpt', tier: 1 });
  catalog.models['maker/both'] = { ...one, aliases: ['both'] };
  return catalog;
}

/** The path of a template. */
const pathOf = (template, parameters) => template.replaceAll(/\{(\w+)\}/g, (_, name) => parameters[name] ?? 'none');

/** Asks an endpoint, notes the answer, and answers its body. */
async function ask(name, { as = key, body, form, query = '', headers, ...parameters } = {}) {
  const [method, path] = name.split(' ');
  const operation = operations.find((operation) => operation.name === name);
  assert.ok(operation, name);
  const init = { method, headers: { ...(as && { authorization: `Bearer ${as}` }), ...(body !== undefined && { 'content-type': 'application/json' }), ...headers } };
  if (body !== undefined || form) init.body = form ?? (typeof body === 'string' ? body : JSON.stringify(body));
  const answer = await fetch(gateway.url + pathOf(path, parameters) + query, init);
  const kind = answer.headers.get('content-type')?.split(';')[0];
  const text = await answer.text();
  const value = kind === 'application/json' ? JSON.parse(text) : text;
  answered.push({ name, operation, status: answer.status, kind, value, sent: typeof body === 'object' ? body : undefined });
  return value;
}

const admin = (name, options) => ask(name, { as: adminToken, ...options });

/** One request to a model at each endpoint that asks one. */
async function askModels() {
  const messages = hello;
  for (const stream of [false, true]) {
    await ask('POST /v1/chat/completions', { body: { model: 'maker/both', models: ['gpt-sim'], provider: { sort: 'price', max_price: { prompt: '9' } }, messages, stream, stream_options: { include_usage: true } }, headers: { 'x-tf-run': 'a-run' } });
    await ask('POST /v1/responses', { body: { model: 'gpt-sim', input: 'hello', stream } });
    await ask('POST /v1/messages', { body: { model: 'gpt-sim', max_tokens: 100, messages, stream } });
  }
  await ask('POST /v1/responses/compact', { body: { model: 'gpt-sim', input: 'hello' } });
  await ask('POST /v1/responses/input_tokens', { body: { model: 'gpt-sim', input: 'hello' } });
  await ask('POST /v1/completions', { body: { model: 'gpt-sim', prompt: 'hello' } });
  await ask('POST /v1/messages/count_tokens', { body: { model: 'claude-sim', messages } });
  for (const version of ['v1', 'v1beta']) {
    for (const [action, query] of [['generateContent', ''], ['streamGenerateContent', ''], ['streamGenerateContent', '?alt=sse'], ['countTokens', '']]) {
      await ask(`POST /${version}/models/{model}:${action}`, { model: 'maker/both', query, body: { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] } });
    }
  }
  await ask('POST /v1/embeddings', { body: { model: 'embedding-sim', input: 'hello' } });
  await ask('POST /v1/moderations', { body: { input: 'hello' } });
  await ask('POST /v1/rerank', { body: { model: 'rerank-sim', query: 'hello', documents: ['a', 'b'] } });
  await ask('POST /v1/images/generations', { body: { model: 'image-flat-sim', prompt: 'hello' } });
  await ask('POST /v1/images/edits', { form: form({ model: 'image-flat-sim', prompt: 'hello' }, 'image') });
  await ask('POST /v1/audio/speech', { body: { model: 'speech-sim', input: 'hello', voice: 'alloy' } });
  for (const name of ['transcriptions', 'translations']) await ask(`POST /v1/audio/${name}`, { form: form({ model: 'transcription-sim' }, 'file') });
}

function form(fields, file) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  form.set(file, new File([new Uint8Array(4000).fill(1)], file === 'file' ? 'a.wav' : 'a.png', { type: file === 'file' ? 'audio/wav' : 'image/png' }));
  return form;
}

/** An account, its keys and its money, from opening it to the last list. */
async function live() {
  await admin('PUT /admin/v1/catalog', { body: { ...catalog(gateway.upstream.url), charge_policy: { upstream_cut: 'free' }, hold_timeout_ms: 60_000 } });
  await admin('PUT /admin/v1/catalog', { body: { version: 1, buckets: {}, channels: {}, models: { bad: {} } } });
  const { id: account } = await admin('POST /admin/v1/accounts', { body: { name: 'Test' } });
  for (const bucket of ['credit', 'wallet']) await admin('POST /admin/v1/accounts/{account}/adjustments', { account, body: { bucket, amount: '100', reason: 'A test' } });
  const budgets = [{ bucket: 'credit', period: 'day', limit: '50' }, { bucket: 'wallet', period: 'total', limit: '50' }];
  await admin('POST /admin/v1/accounts/{account}/projects', { account, body: { id: 'team', name: 'A team', budgets } });
  const made = await admin('POST /admin/v1/accounts/{account}/keys', { account, body: { label: 'main', project: 'team', rpm: 1000, tpm: 1_000_000, budgets, cross_routes: true, ip_allow: [] } });
  const { id: other, secret: poor } = await admin('POST /admin/v1/accounts/{account}/keys', { account, body: { label: 'other', models: ['gpt-sim'], routes: ['routed'] } });
  await admin('PATCH /admin/v1/accounts/{account}/keys/{key}', { account, key: other, body: { label: 'changed', concurrency: 3 } });
  key = made.secret;

  await ask('POST /v1/runs', { body: { id: 'a-run', name: 'A run', budgets: [{ bucket: 'credit', limit: '1' }] } });
  await askModels();
  // Programs are told where the models for them are.
  for (const as of [null, key]) for (const name of ['GET /models', 'GET /models/{model}']) await ask(name, { as, model: 'gpt-sim' });
  await failing(poor);
  // The last request before the lists are read leaves a receipt.
  const last = await gateway.call(key, 'gpt-sim');
  await last.text();
  const { id } = await gateway.receipt(key, last);

  await money(account);
  for (const name of ['GET /v1/models', 'GET /v1beta/models']) {
    await ask(name);
    await ask(name, { query: '?include=unavailable', as: poor });
  }
  for (const headers of [{ 'anthropic-version': '2023-06-01' }, { 'x-goog-api-key': key }]) {
    await ask('GET /v1/models', { headers });
    await ask('GET /v1/models/{model}', { headers, model: 'both' });
  }
  for (const as of [key, poor]) {
    for (const name of ['GET /v1/models/{model}', 'GET /v1beta/models/{model}', 'GET /v1/models/{model}/endpoints', 'GET /v1/health/{model}']) {
      await ask(name, { as, model: 'maker/both' });
      await ask(name, { as, model: 'none' });
    }
    await ask('POST /v1/route', { as, body: { model: 'maker/both', messages: hello }, headers: { 'x-tf-run': 'a-run' } });
    await ask('POST /v1/route', { as, body: { model: 'gpt-sim', input: 'hello' }, query: '?endpoint=/v1/responses' });
  }
  await admin('POST /admin/v1/probe');
  for (const window of ['1h', '30d', '90d', '2d']) await ask('GET /v1/health/{model}', { model: 'both', query: `?window=${window}` });

  for (const format of ['', '?limit=2', '?format=csv', '?format=jsonl', '?since=never']) {
    for (const name of ['GET /v1/receipts', 'GET /v1/ledger']) await ask(name, { query: format });
    for (const name of ['receipts', 'ledger', 'audit']) await admin(`GET /admin/v1/${name}`, { query: format });
  }
  await ask('GET /v1/receipts/{id}', { id });
  await admin('GET /admin/v1/accounts/{account}/receipts/{id}', { account, id });
  await ask('GET /v1/generation', { query: `?id=${id}` });
  for (const name of ['GET /v1/activity', 'GET /v1/runs', 'GET /v1/balances', 'GET /v1/credits', 'GET /v1/key']) await ask(name);
  await ask('GET /v1/activity', { query: '?by=model' });
  for (const run of ['a-run', 'none']) await ask('GET /v1/runs/{id}', { id: run });
  await admin('DELETE /admin/v1/accounts/{account}/keys/{key}', { account, key: other });
  await admin('DELETE /admin/v1/accounts/{account}/sessions', { account });
  const token = await admin('POST /admin/v1/tokens', { body: { name: 'kim', scopes: ['read'] } });
  await admin('POST /admin/v1/tokens', { body: { name: 'kim', scopes: ['read'] } });
  await admin('GET /admin/v1/tokens', { as: token.secret });
  for (const name of ['tokens', 'attempts']) await admin(`GET /admin/v1/${name}`);
  await admin('DELETE /admin/v1/tokens/{token}', { token: token.id });
  for (const name of ['', '/projects', '/keys', '/topups']) await admin(`GET /admin/v1/accounts/{account}${name}`, { account });
  for (const name of ['accounts', 'topups?state=paid', 'codes', 'spend', 'reconcile', 'catalog', 'health', 'catalog/versions']) {
    const [path, query] = name.split('?');
    await admin(`GET /admin/v1/${path}`, { query: query ? `?${query}` : '' });
  }
  await announce();
  for (const name of ['GET /healthz', 'GET /openapi.json', 'GET /models.json', 'GET /status.json']) await ask(name, { as: null });
  for (const model of ['maker/both', 'none']) {
    for (const name of ['GET /models/{model}.json', 'GET /models/{model}']) await ask(name, { as: null, model });
  }
  for (const operation of operations.filter(({ tags, method, path }) => tags[0] === 'Pages' && method === 'GET' && !path.includes('{'))) await ask(operation.name, { as: null });
}

/** Every clear no, one of each kind. */
async function failing(poor) {
  const chat = (body, options) => ask('POST /v1/chat/completions', { body: { messages: hello, ...body }, ...options });
  await chat({ model: 'gpt-sim' }, { as: null });
  await chat({ model: 'none' });
  await chat({ model: 'claude-sim' }, { as: poor });
  await chat({ model: 'gpt-sim', max_tokens: 'many' });
  await chat({ model: 'gpt-fail-400' });
  await chat({ model: 'gpt-fail-503' });
  await ask('POST /v1/chat/completions', { body: 'hello' });
  await chat({ model: 'gpt-sim' }, { as: await gateway.newKey(await gateway.newAccount({ credit: '0.000001' })) });
  await chat({ model: 'gpt-sim' }, { as: await gateway.richKey({ rpm: 0 }) });
  await chat({ model: 'gpt-sim' }, { as: await gateway.richKey({ budgets: [{ bucket: 'credit', period: 'day', limit: '0' }] }) });
  await chat({ model: 'gpt-sim' }, { headers: { 'idempotency-key': 'once' } });
  await chat({ model: 'gpt-sim', n: 2 }, { headers: { 'idempotency-key': 'once' } });
  await ask('POST /v1/messages', { body: { model: 'none', max_tokens: 10, messages: hello } });
  await ask('POST /v1beta/models/{model}:generateContent', { model: 'none', body: { contents: [] } });
  await admin('GET /admin/v1/accounts/{account}', { as: 'wrong' });
  await ask('POST /v1/redeem', { body: { code: 'none' } });
  await ask('POST /v1/runs', { body: { id: 'a-run', name: 'Another run' } });
}

/** Orders, refunds and codes. */
async function money(account) {
  const body = { bucket: 'credit', amount: '25.00', provider: 'manual', reference: 'Invoice 7' };
  const order = await ask('POST /v1/topups', { body });
  const other = await ask('POST /v1/topups', { body: { ...body, amount: '1' } });
  const of = `/admin/v1/accounts/{account}/topups/{order}`;
  await admin(`POST ${of}/approve`, { account, order: order.id, body: { reason: 'It is there', author: 'kim' } });
  await admin(`POST ${of}/reject`, { account, order: other.id, body: { reason: 'It is not there' } });
  await admin(`POST ${of}/refunds`, { account, order: order.id, body: { amount: '5', reason: 'By mistake', if_used: 'debt' } });
  await admin(`POST ${of}/refunds`, { account, order: order.id, body: { amount: '500', reason: 'By mistake' } });
  await admin(`GET ${of}`, { account, order: order.id });
  await ask('GET /v1/topups');
  for (const id of [order.id, 'none']) await ask('GET /v1/topups/{id}', { id });
  const { data } = await admin('POST /admin/v1/codes', { body: { bucket: 'wallet', amount: '15', count: 2, expires_at: '2999-01-01T00:00:00Z', reason: 'A gift' } });
  await ask('POST /v1/redeem', { body: { code: data[0].code } });
  await admin('DELETE /admin/v1/codes/{id}', { id: data[1].id });
  const message = event('product.created', { id: 'prod_1', object: 'product' });
  await ask('POST /webhooks/stripe', { as: null, body: message, headers: { 'stripe-signature': signature(JSON.stringify(message)) } });
  await ask('POST /webhooks/stripe', { as: null, body: message });
}

/** A catalogue that is to come. */
async function announce() {
  const document = await admin('GET /admin/v1/catalog');
  document.models['gpt-sim'].routes.official.price.input = '3';
  await admin('PUT /admin/v1/catalog', { body: document, query: '?dry_run=true' });
  await admin('PUT /admin/v1/catalog', { body: document, query: '?effective_at=2999-01-01T00:00:00Z&author=kim&reason=Dearer' });
  await admin('GET /admin/v1/catalog/announced');
  const { data } = await admin('GET /admin/v1/catalog/versions');
  await admin('GET /admin/v1/catalog/versions/{version}', { version: data[0].version });
  await admin('DELETE /admin/v1/catalog/announced');
  await admin('DELETE /admin/v1/catalog/announced');
}

/** Follows a reference. */
const found = (value) => (value.$ref ? value.$ref.split('/').slice(1).reduce((value, name) => value[name], document) : value);
const contentOf = ({ operation, status }) => operation.responses[status] && found(operation.responses[status]).content;

/** What openapi.py says of the document, and of everything that was answered and sent. */
async function judge() {
  const values = answered.flatMap((it, index) => {
    const schema = it.kind === 'application/json' && contentOf(it)?.['application/json']?.schema;
    const sent = it.status < 300 && it.sent && it.operation.requestBody?.content['application/json']?.schema;
    // Streamed without `alt=sse`, Gemini's chunks are one list.
    const parts = Array.isArray(it.value) ? it.value : [it.value];
    return [...(schema ? parts.map((value) => ({ name: `answer ${index}`, schema, value })) : []), ...(sent ? [{ name: `body ${index}`, schema: sent, value: it.sent }] : [])];
  });
  const child = spawn(process.env.TF_PYTHON || (await pythonWithPackages()), [new URL('openapi.py', import.meta.url).pathname], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify({ document, values }));
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  const status = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  assert.equal(status, 0, 'openapi.py ran to its end');
  return JSON.parse(output);
}

/** The faults of everything that was called so, with where they are. */
const faultsOf = (kind) =>
  Object.entries(judged.values)
    .filter(([name]) => name.startsWith(kind))
    .flatMap(([name, faults]) => {
      const { name: operation, status } = answered[Number(name.split(' ')[1])];
      return faults.map((fault) => `${operation} ${status}: ${fault}`);
    });

describe('the document', () => {
  test('is OpenAPI 3.1, for anyone, and may be kept for five minutes', async () => {
    assert.deepEqual(judged.document, []);
    assert.match(document.openapi, /^3\.1\./);
    assert.equal(response.headers.get('content-type'), 'application/json');
    assert.equal(response.headers.get('cache-control'), 'public, max-age=300');
    assert.equal(response.headers.get('access-control-allow-origin'), '*');
    assert.deepEqual(document.servers, [{ url: '/' }]);
  });

  test('says what good answers are', () => {
    assert.deepEqual(faultsOf('answer'), []);
    const judgedKinds = new Set(Object.keys(judged.values).map((name) => answered[Number(name.split(' ')[1])].name));
    const inJson = operations.filter(isPlain).filter((operation) => Object.values(operation.responses).some((response) => found(response).content?.['application/json']));
    const untold = inJson.filter(({ name }) => !judgedKinds.has(name));
    assert.deepEqual(untold.map(({ name }) => name), [], 'an answer of each was judged');
    const unanswered = inJson.filter(({ name }) => !answered.some((it) => it.name === name && it.status < 300));
    assert.deepEqual(unanswered.map(({ name }) => name), [], 'each answered well once');
  });

  test('says what goes in', () => {
    assert.deepEqual(faultsOf('body'), []);
    assert.ok(Object.keys(judged.values).filter((name) => name.startsWith('body')).length > 30);
  });

  test('has every status and media type that was answered', () => {
    for (const it of answered) {
      const told = contentOf(it);
      assert.ok(told, `${it.name} answered ${it.status}, which the document does not say: ${JSON.stringify(it.value).slice(0, 300)}`);
      assert.ok(Object.keys(told).some((kind) => kind === it.kind || kind === `${it.kind?.split('/')[0]}/*`), `${it.name} ${it.status}: ${it.kind}`);
    }
    const statuses = new Set(answered.map(({ status }) => status));
    for (const status of [200, 201, 400, 401, 402, 403, 404, 409, 429]) assert.ok(statuses.has(status), `nothing was answered ${status}`);
  });
});

describe('every endpoint', () => {
  /** The credential that an operation wants, and a request that it can read. */
  const request = (operation) => {
    const scheme = Object.keys(operation.security[0] ?? {})[0];
    const body = operation.requestBody && '{}';
    const headers = { ...(scheme && scheme !== 'stripe_signature' && { authorization: `Bearer ${scheme === 'operator' ? adminToken : key}` }), ...(body && { 'content-type': 'application/json' }) };
    if (scheme === 'stripe_signature') headers['stripe-signature'] = signature(body);
    return { headers, body };
  };
  /** A path of which everything that differs is named, but nothing is there. */
  const path = (operation) => pathOf(operation.path, { model: 'no/such', version: '999' });

  test('of the document is there, and wants the credential that the document says', async () => {
    for (const operation of operations.filter(isPlain)) {
      const { headers, body } = request(operation);
      const answer = await fetch(gateway.url + path(operation), { method: operation.method, headers, body });
      const text = await answer.text();
      assert.ok(!text.includes('There is nothing at this path'), operation.name);
      assert.ok(String(answer.status) in operation.responses, `${operation.name}: ${answer.status} ${text}`);
      if (operation.security.length === 0) continue;
      const anonymous = await fetch(gateway.url + path(operation), { method: operation.method, body });
      await anonymous.text();
      assert.equal(anonymous.status, operation.security[0].stripe_signature ? 400 : 401, operation.name);
    }
  });

  test('answers the methods of the document, and names them to all others', async () => {
    for (const [template, item] of Object.entries(document.paths)) {
      const known = Object.keys(item).filter((method) => isPlain(item[method])).map((method) => method.toUpperCase());
      const operation = operations.find(({ path, responses }) => path === template && isPlain({ responses }));
      const { headers } = request(operation);
      for (const method of methods.filter((method) => !known.includes(method))) {
        const answer = await fetch(gateway.url + path(operation), { method, headers });
        await answer.text();
        const all = known.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
        assert.deepEqual([answer.status, answer.headers.get('allow')], [405, (files.includes(template) ? all : [...all, 'OPTIONS']).join(', ')], `${method} ${template}`);
      }
    }
  });

  test('is where the document says and nowhere else', async () => {
    for (const path of ['/v1/nothing', '/v1/chat', '/v1/receipts/a/b', '/v1/models/a/b:embedContent/x/', '/admin/v1/nothing', '/admin/v1', '/openapi', '/openapi.json/x', '/v2/models']) {
      for (const method of methods.filter((method) => method !== 'GET' || !path.startsWith('/v1/models'))) {
        const answer = await fetch(gateway.url + path, { method, headers: { authorization: `Bearer ${adminToken}` } });
        const text = await answer.text();
        assert.equal(answer.status, path.startsWith('/v1/models') ? 405 : 404, `${method} ${path}: ${text}`);
      }
    }
  });
});
