// The truth rate: of each request the catalogue is asked first what it promises, then what its client got is noted. What is
// published afterwards, at every place that shows it, is that and nothing else.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readStream, startGateway, until } from './support/gateway.mjs';

const minute_ms = 60_000;
/** How long a hold lives without a sign of its request. */
const hold_ms = 15 * minute_ms;

let gateway, account, secret;
/** What really happened: `model:route` to {callable, answered, misses}, the last miss first. */
const happened = new Map();
/** The requests that D1 has to know. */
const requests = [];

before(async () => {
  gateway = await startGateway({ clock: true, catalog: twoWays });
  account = await gateway.newAccount({ credit: '100', wallet: '100' });
  secret = await gateway.newKey(account, { cross_routes: true });
});
after(() => gateway?.close());

function twoWays(upstreamUrl) {
  const channel = { dialect: 'openai', base_url: `${upstreamUrl}/v1`, secrets: ['TEST_UPSTREAM_KEY'], first_byte_timeout_ms: 1000, idle_timeout_ms: 1000 };
  const price = { input: '1', output: '2' };
  const official = (...names) => ({ bucket: 'credit', price, candidates: names.map((upstream_model, tier) => ({ channel: 'main', upstream_model, tier })) });
  const model = (routes) => ({ name: 'M', family: 'test', kind: 'chat', context_length: 128000, max_output_tokens: 4096, routes });
  const routed = { bucket: 'wallet', price, candidates: [{ channel: 'pool', upstream_model: 'alive-routed' }] };
  return {
    version: 1,
    buckets: { credit: { label: 'Official credit', currency: 'USD' }, wallet: { label: 'Routed wallet', currency: 'CNY' } },
    channels: { main: channel, pool: { ...channel } },
    models: {
      'two-ways': model({ official: official('alive-first', 'alive-second'), routed }),
      single: model({ official: official('alive-single') }),
      quiet: model({ official: official('alive-quiet') }),
    },
  };
}

/** What the catalogue says now: `model:route` if the model can be called, by this key. */
async function promised(...models) {
  for (const model of models) {
    const { tf } = await gateway.get(secret, `/v1/models/${model}`);
    if (tf.callable) return `${model}:${tf.served_by.route}`;
  }
}

function note(promise, reason) {
  if (!promise) return;
  const sum = happened.get(promise) ?? { callable: 0, answered: 0, reasons: [] };
  happened.set(promise, sum);
  sum.callable += 1;
  if (reason) sum.reasons.unshift(reason);
  else sum.answered += 1;
}

/**
 * Asks what is promised, makes a request, and notes what came of it.
 * @param {string | undefined} reason why the promise is not kept
 */
async function request(body, { status = 200, route, reason, counts = true, models = [body.model] } = {}) {
  const promise = await promised(...models);
  const answer = await gateway.call(secret, body);
  const text = body.stream && answer.ok ? JSON.stringify(await readStream(answer)) : await answer.text();
  assert.equal(answer.status, status, text);
  if (route) assert.equal(answer.headers.get('x-tf-route'), route);
  requests.push(answer.headers.get('x-generation-id'));
  if (counts) note(promise, reason);
  return { promise, text };
}

const behave = (...pairs) => {
  for (const [model, behaviour] of pairs) gateway.upstream.switch(model, behaviour);
};

/** Everybody is well again, and known to be. */
async function recover() {
  gateway.upstream.restoreAll();
  // A good probe outweighs no request that failed in the last minutes.
  await gateway.advance(6 * minute_ms);
  await until(async () => {
    await gateway.advance(minute_ms);
    await gateway.admin('POST', '/admin/v1/probe');
    return (await gateway.admin('GET', '/admin/v1/health')).data.every(({ health }) => health.status === 'up');
  }, 'that everybody is well again', 30_000);
}

/** Waits until D1 has every request, makes a round, and answers what is published of a model. */
async function published(model) {
  const { DB } = await gateway.bindings();
  const { results } = await until(async () => {
    const found = await DB.prepare("SELECT subject FROM journal WHERE kind = 'receipt' AND subject IN (SELECT value FROM json_each(?))").bind(JSON.stringify(requests)).all();
    return found.results.length === requests.length && found;
  }, 'the receipts in D1', 20_000);
  assert.equal(results.length, requests.length);
  await gateway.admin('POST', '/admin/v1/probe');
  return (await gateway.get(secret, `/v1/models/${model}/endpoints`)).data.tf.truth;
}

/** What is published of a model is what happened. */
async function assertTrue(model) {
  const truth = await published(model);
  for (const [route, { window, callable, answered, rate, misses }] of Object.entries(truth)) {
    const expected = happened.get(`${model}:${route}`) ?? { callable: 0, answered: 0, reasons: [] };
    assert.deepEqual({ callable, answered, reasons: misses.map(({ reason }) => reason) }, expected, `${model}:${route}`);
    assert.equal(window, '30d');
    const parts = expected.callable && Math.floor((expected.answered * 10_000) / expected.callable);
    assert.equal(rate, expected.callable ? `${Math.floor(parts / 10_000)}.${String(parts % 10_000).padStart(4, '0')}` : null);
    for (const { at } of misses) assert.ok(Math.abs(Date.parse(at) - gateway.worker.time()) < 3 * 3_600_000 && /^[-\d]+T[\d:]+Z$/.test(at), at);
  }
  return truth;
}

test('promises that are kept count, streams that a client leaves among them', async () => {
  for (const stream of [false, false, true]) await request({ model: 'two-ways', stream });
  const promise = await promised('two-ways');
  behave(['alive-first', 'slow-stream-long']);
  const headers = await gateway.hangUp(secret, { model: 'two-ways', stream: true }, 300);
  requests.push(headers.get('x-generation-id'));
  await gateway.receipt(secret, headers);
  note(promise);
  gateway.upstream.restore('alive-first');
  const { official, routed } = await assertTrue('two-ways');
  assert.deepEqual([official.callable, official.rate, routed.rate], [4, '1.0000', null]);
});

test('a backup on the route keeps the promise; another route and a fallback model do not', async () => {
  behave(['alive-first', 'fail-503']);
  await request({ model: 'two-ways' }, { route: 'official' });
  behave(['alive-second', 'reset']);
  await request({ model: 'two-ways' }, { route: 'routed', reason: 'other_route' });
  await request({ model: 'single' });
  behave(['alive-single', 'fail-500']);
  await request({ model: 'single', models: ['quiet'] }, { reason: 'other_model', models: ['single', 'quiet'] });
  await assertTrue('two-ways');
  await assertTrue('single');
  await assertTrue('quiet');
  await recover();
});

test('what nobody answers, and what breaks off, is missed for what the promised route did', async () => {
  behave(['alive-first', 'fail-503'], ['alive-second', 'hang-headers'], ['alive-routed', 'fail-429']);
  await request({ model: 'two-ways' }, { status: 502, reason: 'timeout' });
  await recover();
  behave(['alive-first', 'cut-stream']);
  await request({ model: 'two-ways', stream: true }, { reason: 'cut' });
  gateway.upstream.restoreAll();
  for (const [behaviour, reason] of [['fail-401', 'credential'], ['fail-404', 'not_found'], ['html-502', 'server'], ['not-json-200', 'unreadable'], ['empty-stream', 'unreadable']]) {
    await recover();
    behave(['alive-single', behaviour]);
    await request({ model: 'single', stream: behaviour === 'empty-stream' }, { status: 502, reason });
  }
  await recover();
  await assertTrue('two-ways');
  await assertTrue('single');
});

test('what says nothing of a promise does not count', async () => {
  const before = JSON.stringify([...happened]);
  behave(['alive-single', 'fail-400']);
  await request({ model: 'single' }, { status: 400, counts: false });
  gateway.upstream.restoreAll();
  await request({ model: 'single', max_tokens: 5000, fit: 'never' }, { status: 400, counts: false });
  const counted = await gateway.fetch(secret, '/v1/messages/count_tokens', { method: 'POST', body: JSON.stringify({ model: 'single', messages: [{ role: 'user', content: 'hello' }] }) });
  assert.equal(counted.status, 200);
  requests.push(counted.headers.get('x-generation-id'));
  behave(['alive-single', 'hang-headers']);
  const called = gateway.upstream.requests.length;
  await gateway.hangUp(secret, { model: 'single' }, 0);
  assert.ok(gateway.upstream.requests.length > called);
  const left = await until(async () => (await gateway.get(secret, '/v1/receipts?limit=1')).data.find(({ status }) => status === 'aborted'), 'the receipt of a client that left');
  requests.push(left.id);
  // Nobody is expected to answer: that it answers all the same was never promised.
  behave(['alive-single', 'fail-404']);
  await request({ model: 'single' }, { status: 502, reason: 'not_found' });
  gateway.upstream.restoreAll();
  const { promise } = await request({ model: 'single' });
  assert.equal(promise, undefined, 'it is not listed as callable');
  assert.notEqual(JSON.stringify([...happened]), before);
  await assertTrue('single');
});

test('a request that the gateway loses is a miss, until its settlement comes after all', async () => {
  await recover();
  const promise = await promised('two-ways');
  behave(['alive-first', 'slow-stream-long']);
  const client = new AbortController();
  const answer = await gateway.call(secret, { model: 'two-ways', stream: true }, {}, { signal: client.signal });
  await answer.body.getReader().read();
  await gateway.advance(hold_ms + minute_ms);
  requests.push(answer.headers.get('x-generation-id'));
  const lost = await until(async () => {
    const receipt = await gateway.receipt(secret, answer);
    return receipt.error && receipt;
  }, 'the end of the hold');
  assert.deepEqual(lost.promise, { model: 'two-ways', route: 'official', missed: 'lost' });
  const truth = await published('two-ways');
  assert.equal(truth.official.misses[0].reason, 'lost');
  assert.equal(truth.official.callable, happened.get(promise).callable + 1);
  client.abort();
  await until(async () => (await gateway.receipt(secret, answer)).correction, 'the correction');
  note(promise);
  const { DB } = await gateway.bindings();
  await until(async () => DB.prepare("SELECT 1 FROM journal WHERE kind = 'correction'").first(), 'the correction in D1');
  await assertTrue('two-ways');
  gateway.upstream.restoreAll();
});

test('a receipt tells its own part', async () => {
  const { data } = await gateway.get(secret, '/v1/receipts?limit=100');
  const told = data.flatMap(({ promise, correction }) => (correction ? correction.promise : promise) ?? []);
  const kept = told.filter(({ missed }) => !missed);
  const sums = [...happened.values()];
  const sum = (of) => sums.reduce((total, it) => total + it[of], 0);
  assert.deepEqual([told.length, kept.length], [sum('callable'), sum('answered')]);
});

test('every place tells the same, and nobody is named', async () => {
  const model = 'two-ways';
  const truth = await assertTrue(model);
  const page = (path) => fetch(gateway.url + path);
  const json = async (path) => (await page(path)).json();
  const entry = ({ data }) => data.find(({ id }) => id === model).tf.truth;
  assert.deepEqual((await gateway.get(secret, `/v1/models/${model}`)).tf.truth, truth);
  assert.deepEqual(entry(await gateway.get(secret, '/v1/models')), truth);
  assert.deepEqual((await gateway.get(secret, `/v1/health/${model}`)).truth, truth);
  // What everybody sees alike may be some seconds old.
  await until(async () => JSON.stringify(entry(await json('/models.json'))) === JSON.stringify(truth), '/models.json', 30_000);
  assert.deepEqual((await json(`/models/${model}.json`)).tf.truth, truth);
  const { routes } = await json('/status.json');
  assert.deepEqual(Object.fromEntries(routes.filter((route) => route.model === model).map((row) => [row.route, row.truth])), truth);
  const { callable, answered, misses } = truth.official;
  for (const path of ['/status', `/models/${model}`]) {
    const text = await (await page(path)).text();
    assert.ok(text.includes(`“Callable” came true for ${answered} of ${callable} requests in the last 30 days`), path);
    assert.ok(text.includes('Answered over another route') && text.includes('No answer in time'), path);
  }
  const told = JSON.stringify([truth, misses]);
  for (const name of [account, 'main', 'pool', 'alive', ...requests]) assert.ok(!told.includes(name), name);
});

test('days that are not shown any more are forgotten', async () => {
  const { DB } = await gateway.bindings();
  const count = async () => (await DB.prepare('SELECT COUNT(*) AS n FROM truth_days').first()).n;
  assert.ok((await count()) >= 2);
  await gateway.advance(32 * 86_400_000);
  const truth = await published('two-ways');
  assert.deepEqual(truth.official, { window: '30d', callable: 0, answered: 0, rate: null, misses: [] });
  // The first minute of an hour.
  await gateway.advance(3_600_000 - (gateway.worker.time() % 3_600_000));
  await gateway.scheduled();
  assert.equal(await count(), 0);
});
