// Large bodies, the headers that go up and come down, and channels with several credentials.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { dialectCatalog, dialectVars, poolSecrets } from './support/dialects.mjs';
import { startGateway } from './support/gateway.mjs';

let gateway;
let account;
let key;

before(async () => {
  // Two of the pool's credentials are refused by the simulator, each in its way.
  const vars = { ...dialectVars, [poolSecrets[0]]: 'upstream-pool-429', [poolSecrets[1]]: 'upstream-pool-401' };
  gateway = await startGateway({ catalog: dialectCatalog, vars });
  account = await gateway.newAccount({ credit: '100' });
  key = await gateway.newKey(account);
});
after(() => gateway?.close());

const megabyte = 1024 * 1024;

/** A chat request with an image of so many bytes, as base64, and odd white space that must survive. */
function withImage(model, bytes) {
  const image = Buffer.alloc(bytes, 'image ').toString('base64');
  const head = `{ "model" : "${model}",\n "max_tokens":16, "new_field" : 1.0,`;
  return `${head}"messages":[{"role":"user","content":[{"type":"text","text":"what is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,${image}"}}]}] }`;
}

function post(path, body, headers = {}) {
  return gateway.fetch(key, path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
}

/** Memory of the process that runs the Worker, in MB. */
function memory(pid) {
  return Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+) kB/)[1]) / 1024;
}

test('30 MB of images in a body arrive as they were sent', async () => {
  const body = withImage('gpt-sim', 30_000_000);
  const response = await post('/v1/chat/completions', body);
  assert.equal(response.status, 200, await response.clone().text());
  const sent = body.replace('"gpt-sim"', '"gpt-sim"');
  const [request] = gateway.upstream.requests.slice(-1);
  assert.equal(request.bytes, Buffer.byteLength(sent));
  assert.equal(request.sha256, createHash('sha256').update(sent).digest('hex'));
  assert.equal((await gateway.receipt(key, response)).status, 'completed');
});

test('30 MB of images are translated for a channel of another dialect', async () => {
  for (const model of ['claude-sim', 'gemini-sim']) {
    const response = await post('/v1/chat/completions', withImage(model, 30_000_000));
    assert.equal(response.status, 200, await response.clone().text());
    const [request] = gateway.upstream.requests.slice(-1);
    assert.ok(request.bytes > 40_000_000, `${model}: ${request.bytes}`);
  }
});

test('a body beyond the limit is refused, with and without a declared length', async () => {
  const body = withImage('gpt-sim', 34_000_000);
  const declared = await post('/v1/chat/completions', body);
  assert.equal(declared.status, 413);
  assert.equal((await declared.json()).error.code, 'body_too_large');
  const stream = new Blob([body]).stream();
  const undeclared = await gateway.fetch(key, '/v1/messages', { method: 'POST', body: stream, duplex: 'half' });
  assert.equal(undeclared.status, 413);
  assert.equal((await undeclared.json()).error.type, 'request_too_large');
});

test('who is refused before the body is read is told why, not cut off', async () => {
  const body = withImage('gpt-sim', 30_000_000);
  for (let round = 0; round < 5; round += 1) {
    const refused = await gateway.fetch('sk-tf-nobody', '/v1/chat/completions', { method: 'POST', body });
    assert.equal(refused.status, 401);
    assert.ok((await refused.json()).error.message);
    const large = await post('/v1/chat/completions', withImage('gpt-sim', 34_000_000));
    assert.equal(large.status, 413);
    await large.arrayBuffer();
    const nowhere = await post('/v1/nowhere', body);
    assert.equal(nowhere.status, 404);
    await nowhere.arrayBuffer();
  }
});

test('memory stays flat over 40 bodies of 40 MB', { timeout: 600_000, skip: process.platform !== 'linux' && 'reads /proc' }, async (t) => {
  const body = withImage('gpt-sim', 30_000_000);
  const pid = await gateway.worker.pid();
  const seen = [];
  for (let index = 0; index < 40; index += 1) {
    const response = await post('/v1/chat/completions', body);
    assert.equal(response.status, 200);
    await response.arrayBuffer();
    seen.push(memory(pid));
  }
  const most = (from, to) => Math.max(...seen.slice(from, to));
  t.diagnostic(`MB at most, by 10 requests: ${[0, 10, 20, 30].map((from) => most(from, from + 10).toFixed(0)).join(', ')}`);
  // A body that stays each time would be 800 MB more.
  assert.ok(most(30, 40) < most(5, 20) + 150, 'memory grew by more than the copies of one body');
});

test('only headers of an allow-list go up and come down', async () => {
  const secretive = {
    cookie: 'a=b', 'x-forwarded-for': '1.2.3.4', 'x-api-key': 'sk-other', 'openai-organization': 'org', 'x-custom': 'c',
    'user-agent': 'mine/1.0', 'anthropic-beta': 'some-2026', 'openai-beta': 'x=v1', referer: 'https://mine.example',
  };
  const response = await post('/v1/chat/completions', JSON.stringify({ model: 'gpt-sim', messages: [{ role: 'user', content: 'hi' }] }), secretive);
  assert.equal(response.status, 200);
  const [up] = gateway.upstream.requests.slice(-1);
  // The runtime adds `cf-worker` itself.
  const allowed = ['cf-worker', 'accept', 'accept-encoding', 'authorization', 'connection', 'content-length', 'content-type', 'host', 'openai-beta'];
  assert.deepEqual(Object.keys(up.headers).filter((name) => !allowed.includes(name)), []);
  assert.equal(up.headers.authorization, 'Bearer upstream-secret');
  for (const name of response.headers.keys()) {
    assert.match(name, /^(x-tf-|x-ratelimit-)|^(x-request-id|x-generation-id|request-id|content-type|content-length|cache-control|transfer-encoding|x-content-type-options)$/);
  }
  const messages = await post('/v1/messages', JSON.stringify({ model: 'claude-sim', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] }), {
    'anthropic-version': '2026-10-21', 'anthropic-beta': 'some-2026', 'openai-beta': 'x=v1',
  });
  assert.equal(messages.status, 200, await messages.clone().text());
  const [anthropic] = gateway.upstream.requests.slice(-1);
  assert.equal(anthropic.headers['anthropic-version'], '2026-10-21');
  assert.equal(anthropic.headers['anthropic-beta'], 'some-2026');
  assert.equal(anthropic.headers['x-api-key'], 'upstream-secret');
  assert.equal(anthropic.headers['openai-beta'], undefined);
  assert.equal(anthropic.headers.authorization, undefined);
});

test('refused credentials rest, and the receipt of the operator names each by its label alone', async () => {
  const ask = (session_id) =>
    post('/v1/chat/completions', JSON.stringify({ model: 'pool-sim', session_id, messages: [{ role: 'user', content: 'hi' }] }));
  const labels = new Set();
  for (let session = 0; session < 12; session += 1) {
    const response = await ask(`s${session}`);
    assert.equal(response.status, 200, await response.clone().text());
    const { id } = await gateway.receipt(key, response);
    const receipt = await gateway.admin('GET', `/admin/v1/accounts/${account}/receipts/${id}`);
    const { credential, status } = receipt.attempts.at(-1);
    assert.deepEqual([credential, status], [poolSecrets[2], 'answered']);
    for (const attempt of receipt.attempts) labels.add(`${attempt.credential} ${attempt.error}`);
    assert.ok(!JSON.stringify(receipt).includes('upstream-pool'), 'no credential in a receipt');
  }
  assert.deepEqual([...labels].sort(), [`${poolSecrets[0]} load`, `${poolSecrets[1]} credential`, `${poolSecrets[2]} null`]);
  // Each was asked once and rests since: the simulator has seen them once.
  const seen = gateway.upstream.requests.filter((request) => request.body?.model === 'pool-sim').map((request) => request.headers.authorization);
  assert.equal(seen.filter((header) => header.endsWith('-429')).length, 1);
  assert.equal(seen.filter((header) => header.endsWith('-401')).length, 1);
});
