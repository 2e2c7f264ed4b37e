// The catalogue tells the truth: what it lists as callable for a key is served, and by whom, at which
// price and from which balance it says; what it does not list is refused for the reason that it gives.
// Catalogues, keys, balances and the health of upstreams are made up by a seed. tests/api/callable.rs does the same in memory, for
// chat alone; here are all kinds of models, other dialects, debts, and holds that others have open.
//   TRUTH_SEED=... TRUTH_CASES=... node --test tests/worker/truth.test.mjs
// TRUTH_CASE=... runs one case of a seed: the number behind the seed of a disagreement.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { after, before, test } from 'node:test';
import { between, randomOf } from './support/chaos.mjs';
import { startGateway } from './support/gateway.mjs';
import { Pairs, Tally } from './support/truth-pair.mjs';
import { amountOf, around, catalogOf, keyOf, nanosOf, plain, truthVars } from './support/truth.mjs';

const seed = process.env.TRUTH_SEED ?? String(randomInt(1_000_000));
const cases = Number(process.env.TRUTH_CASES ?? 6);
const keysOfCase = 14;
/** How many keys are tried at once. */
const lanes = 10;
/** After so many it is clear that there is a fault. */
const mostDisagreements = 20;

let gateway;
let operators;
before(async () => {
  gateway = await startGateway({ clock: true, vars: truthVars });
  // What one account meets is its own; what these meet is known to all.
  operators = await Promise.all([1, 2, 3].map(async () => gateway.newKey(await gateway.newAccount({ credit: '9000000', wallet: '9000000' }), { cross_routes: true })));
});
after(() => gateway?.close());

const idOf = ({ channel, upstream_model }) => `${channel}/${upstream_model}`;

/** Probes until the gateway knows of every candidate that is sold what there is to know. */
async function settle(made, pairs) {
  const { candidates } = made;
  const sold = candidates.filter(({ isSold }) => isSold);
  const statuses = async () => new Map((await gateway.admin('GET', '/admin/v1/health')).data.map((row) => [idOf(row), row.health.status]));
  const isGood = ({ behaviour, channel, isRemoved }) => ['good', 'hang-mid', 'removed'].includes(behaviour) && channel !== 'unset' && !isRemoved;
  const isQuiet = ({ channel }) => channel === 'quiet';
  for (const candidate of sold.filter((it) => isQuiet(it) && !isGood(it) && it.behaviour !== 'removed')) {
    // What is not probed is found out by requests: one failure is not an outage.
    await pairs.byAll(made.models.find(({ id }) => id === candidate.model), candidate);
  }
  for (let round = 0; round < 12; round += 1) {
    await gateway.admin('POST', '/admin/v1/probe');
    const known = await statuses();
    const of = (candidate) => known.get(idOf(candidate));
    if (sold.some((candidate) => of(candidate) === 'unknown' && !isQuiet(candidate))) continue;
    const vanishing = sold.filter(({ behaviour, isRemoved, channel }) => behaviour === 'removed' && !isRemoved && channel !== 'unset');
    for (const candidate of vanishing) {
      gateway.upstream.remove(candidate.upstream_model);
      candidate.isRemoved = true;
    }
    const unsettled = sold.filter((candidate) => (isGood(candidate) ? of(candidate) !== 'up' && !isQuiet(candidate) : candidate.behaviour !== 'fail-429' && of(candidate) !== 'down'));
    if (unsettled.length === 0) return;
    // One failure is not an outage, and what failed is not called again at once.
    await gateway.advance(61_000);
  }
  const known = await statuses();
  throw new Error(`nobody knows of ${candidates.filter(({ isSold }) => isSold).map((it) => `${idOf(it)}: ${known.get(idOf(it))}`).join(', ')}`);
}

/** A key of an account of its own, with budgets and balances around what its requests are quoted at. */
async function newKey(random, pairs) {
  const { models } = pairs;
  const { policy, oddity } = keyOf(random, models);
  const account = await gateway.newAccount();
  const quoteOf = async (secret) => {
    const model = models[between(random, 0, models.length - 1)];
    const { status, body } = await pairs.route(secret, plain(model, model.id));
    return Object.fromEntries(status === 200 ? body.quotes.map(({ bucket, amount }) => [bucket, nanosOf(amount)]) : []);
  };
  let project;
  if (oddity === 'project budget') {
    const [[bucket, quote] = ['credit', 1000n]] = Object.entries(await quoteOf(pairs.operator));
    const budgets = [{ bucket, period: period(random), limit: amountOf(around(random, quote)) }];
    project = (await gateway.admin('POST', `/admin/v1/accounts/${account}/projects`, { name: 'truth', budgets })).id;
  }
  const { id, secret } = await gateway.createKey(account, { ...policy, ...(project && { project }) });
  const key = { account, id, secret, policy, oddity, balances: {} };
  const path = `/admin/v1/accounts/${account}/keys/${id}`;
  const quotes = await quoteOf(secret);
  if (oddity === 'debt') await owe(account, secret);
  for (const bucket of ['credit', 'wallet']) {
    const amount = oddity === 'debt' && bucket === 'credit' ? 0n : around(random, quotes[bucket] ?? BigInt(between(random, 1, 9_000_000)));
    key.balances[bucket] = amountOf(amount);
    if (amount > 0n) await gateway.admin('POST', `/admin/v1/accounts/${account}/adjustments`, { bucket, amount: amountOf(amount), reason: 'truth' });
  }
  if (oddity === 'key budget') {
    const [[bucket, quote] = ['wallet', 1000n]] = Object.entries(quotes);
    key.budgets = [{ bucket, period: period(random), limit: amountOf(around(random, quote)) }];
    await gateway.admin('PATCH', path, { budgets: key.budgets });
  }
  if (oddity === 'revoked') await gateway.admin('DELETE', path);
  if (oddity === 'expired') await gateway.admin('PATCH', path, { expires_at: '2020-01-01T00:00:00Z' });
  if (oddity.startsWith('busy')) await keepBusy(key, models.at(-1));
  return key;
}

const period = (random) => ['total', 'day', 'month'][between(random, 0, 2)];

/** Leaves an account with a debt: what it paid and used is refunded. */
async function owe(account, secret) {
  const order = await (await gateway.fetch(secret, '/v1/topups', { method: 'POST', body: JSON.stringify({ bucket: 'credit', amount: '10', provider: 'manual' }) })).json();
  const path = `/admin/v1/accounts/${account}/topups/${order.id}`;
  await gateway.admin('POST', `${path}/approve`, { amount: '10', reason: 'truth', author: 'kim' });
  await gateway.admin('POST', `/admin/v1/accounts/${account}/adjustments`, { bucket: 'credit', amount: '-7', reason: 'used' });
  await gateway.admin('POST', `${path}/refunds`, { amount: '10', reason: 'truth', if_used: 'debt' });
}

/** Opens a stream that does not end, so that a part of the balance is held, and one of the requests at a time is taken. */
async function keepBusy(key, model) {
  const leave = new AbortController();
  const { path, headers, body } = plain(model, model.id, { stream: true });
  const response = await gateway.fetch(key.secret, path, { method: 'POST', headers, body, signal: leave.signal });
  if (response.status !== 200) return response.text();
  await response.body.getReader().read();
  key.leave = () => leave.abort();
}

async function runCase(tally, number) {
  const name = `${seed}-${number}`;
  const random = randomOf(name);
  const made = catalogOf(random, `t${number}`, gateway.upstream.url);
  for (const candidate of made.candidates) {
    const isListed = candidate.behaviour === 'removed' || random() < 0.8;
    if (isListed) gateway.upstream.add(candidate.upstream_model);
  }
  await gateway.admin('PUT', '/admin/v1/catalog', made.document);
  const pairs = new Pairs({ gateway, tally, seed: name, operators, ...made });
  const started = performance.now();
  await settle(made, pairs);
  tally.settling_ms += performance.now() - started;
  tally.counts.cases += 1;
  let next = 0;
  const lane = async () => {
    for (let n = (next += 1); n <= keysOfCase; n = next += 1) await tryKey(pairs, randomOf(name, n));
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** One key on every model. */
async function tryKey(pairs, random) {
  const { tally } = pairs;
  const key = await newKey(random, pairs);
  await checkPlainList(pairs, key);
  const models = pairs.models.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (let left = models.length; left > 0; left -= 1) {
    const [model] = models.splice(between(random, 0, left - 1), 1);
    if (key.oddity === 'changed' && left === 2) {
      key.policy = keyOf(random, pairs.models).policy;
      await gateway.admin('PATCH', `/admin/v1/accounts/${key.account}/keys/${key.id}`, key.policy);
    }
    await pairs.pair(key, model, random);
  }
  key.leave?.();
  assert.ok(tally.disagreements.length < mostDisagreements, report(tally));
}

/** The plain list has what the whole list says is callable, and nothing else. */
async function checkPlainList(pairs, key) {
  const lists = async () => {
    const [plain, whole] = await Promise.all(['/v1/models', '/v1/models?include=unavailable'].map((path) => pairs.json(key.secret, path)));
    if (plain.status !== 200) return [plain.body, whole.body].map(({ error }) => [error.code, error.message]);
    assert.equal(whole.body.data.length, pairs.models.length);
    return [plain.body.data, whole.body.data.filter(({ tf }) => tf.callable)].map((data) => data.map(({ id }) => id));
  };
  let [plain, callable] = await lists();
  // Load passes at a moment of its own.
  if (String(plain) !== String(callable)) [plain, callable] = await lists();
  if (String(plain) !== String(callable)) pairs.tally.disagreements.push({ message: 'the plain list is not what is callable', seed: pairs.seed, plain, callable, key });
}

const bare = (name, value) => (typeof value === 'bigint' ? String(value) : name === 'secret' || name === 'leave' ? undefined : value);

function report({ counts, disagreements }) {
  const shown = disagreements.slice(0, 20).map((it, index) => `--- ${index + 1}: ${it.message}\n${JSON.stringify(it, bare, 1)}`);
  return `${disagreements.length} disagreements\n${shown.join('\n')}\nTRUTH_SEED=${seed}; ${JSON.stringify(counts)}`;
}

test('a model is listed as callable if and only if a request is then served, as it was announced', { timeout: 3_600_000 }, async () => {
  console.log(`TRUTH_SEED=${seed} TRUTH_CASES=${cases}`);
  const tally = new Tally();
  const started = performance.now();
  const only = process.env.TRUTH_CASE;
  for (let number = Number(only ?? 0); number < (only ? Number(only) + 1 : cases); number += 1) {
    await runCase(tally, number);
    if (number % 10 === 9) console.log(`${number + 1} cases, ${tally.counts.pairs} pairs, ${((performance.now() - started) / 1000).toFixed(0)} s`);
  }
  const { counts } = tally;
  console.log(`${((performance.now() - started) / 1000).toFixed(1)} s, ${(tally.settling_ms / 1000).toFixed(1)} s of it until health was known; ${JSON.stringify(counts)}`);
  assert.equal(tally.disagreements.length, 0, report(tally));
});
