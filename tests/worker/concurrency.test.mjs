// Many requests at once on one account: what is paid for succeeds, limits and budgets are exact.
// Input is free in these catalogues and answers are longer than every limit, so that what a
// request may cost and what it does cost are the same amount, worked out by hand.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { earlyInTheMinute, startGateway, until } from './support/gateway.mjs';

let gateway;
before(async () => (gateway = await startGateway({ catalog })));
after(() => gateway?.close());
beforeEach(() => (gateway.upstream.requests.length = 0));

/** 10 tokens at 2 USD or 7 CNY a million. */
const tenTokens = { credit: '0.00002', wallet: '0.00007' };
const ask = (model, more) => ({ model, max_tokens: 10, ...more });

describe('a balance that covers 20 of 200 requests', () => {
  test('pays for exactly 20, whichever they are', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '0.0004' }));
    const answers = await together(200, () => gateway.call(secret, ask('exact')));

    const paid = answers.filter(({ status }) => status === 200);
    assert.equal(paid.length, 20);
    for (const { body } of paid) assert.equal(body.usage.cost, 0.00002);
    assertUncovered(answers.filter(({ status }) => status !== 200));
    assert.equal(gateway.upstream.requests.length, 20, 'nothing goes upstream without a hold');

    const { receipts, balances } = await audit(secret, 200);
    for (const { headers } of answers) assert.ok(receipts.has(headers.get('x-generation-id')));
    assertCharges(receipts, { credit: 20 });
    assert.deepEqual(balances.credit, { balance: '0', held: '0', available: '0', open_holds: [] });
  });

  test('pays for exactly 20 on each of two buckets at once', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '0.0004', wallet: '0.0014' }));
    const answers = await together(200, (n) => gateway.call(secret, ask(n % 2 ? 'exact:official' : 'exact:routed')));

    const paid = answers.filter(({ status }) => status === 200);
    const byBucket = Object.groupBy(paid, ({ headers }) => headers.get('x-tf-bucket'));
    assert.deepEqual([byBucket.credit.length, byBucket.wallet.length], [20, 20]);
    assertUncovered(answers.filter(({ status }) => status !== 200));

    const { receipts, balances } = await audit(secret, 200);
    assertCharges(receipts, { credit: 20, wallet: 20 });
    assert.deepEqual([balances.credit.balance, balances.wallet.balance], ['0', '0']);
  });

  test('pays for more when they cost less than was held, and never for more than there is', async () => {
    // The body has 83 bytes: held are 83 + 100 x 2 millionths, charged 8 + 16 x 2 = 40.
    const body = { model: 'metered', max_tokens: 100 };
    const held = 283;
    const secret = await gateway.newKey(await gateway.newAccount({ credit: millionths(20 * held) }));
    const answers = await together(200, () => gateway.call(secret, body));

    const paid = answers.filter(({ status }) => status === 200);
    assert.ok(paid.length >= 20, `${paid.length} were paid for`);
    assertUncovered(answers.filter(({ status }) => status !== 200));
    const { receipts, balances } = await audit(secret, 200);
    for (const { charge, status } of receipts.values()) assert.equal(charge, status === 'completed' ? '0.00004' : '0');
    assert.equal(balances.credit.balance, millionths(20 * held - 40 * paid.length));
  });

  test('pays for 20 even when many keys of many projects share it', async () => {
    const account = await gateway.newAccount({ credit: '0.0004' });
    const secrets = [];
    for (let n = 0; n < 5; n += 1) {
      const { id } = await gateway.admin('POST', `/admin/v1/accounts/${account}/projects`, { name: `p${n}` });
      secrets.push(await gateway.newKey(account, { project: id }));
    }
    const answers = await together(100, (n) => gateway.call(secrets[n % 5], ask('exact')));
    assert.equal(answers.filter(({ status }) => status === 200).length, 20);
    const { receipts, balances } = await audit(secrets[0], 100);
    assertCharges(receipts, { credit: 20 });
    assert.equal(balances.credit.balance, '0');
  });
});

describe('the limits of a key', () => {
  test('as many requests run at the same time as the key allows, and a finished one makes room', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const secret = await gateway.newKey(account, { concurrency: 3 });
    const unlimited = await gateway.newKey(account);
    // These streams last a minute, so that all are decided on while the first ones run.
    const open = [];
    const answers = await together(
      15,
      () => gateway.call(secret, { model: 'endless', stream: true, max_tokens: 100 }),
      (answer) => open.push(answer),
    );
    assert.deepEqual(tally(answers), { 200: 3, 429: 12 });
    for (const { body, headers } of answers.filter(({ status }) => status === 429)) {
      assert.equal(body.error.code, 'rate_limit_exceeded');
      assert.equal(body.error.metadata.limit_source, 'key');
      assert.ok(Number(headers.get('retry-after')) >= 1);
    }
    assert.equal((await gateway.call(unlimited, ask('exact'))).status, 200, 'the limit is of one key');

    await open[0].body.cancel();
    await until(async () => (await holds(unlimited)).length === 2, 'the end of the stream that was left');
    const again = await together(5, () => gateway.call(secret, { model: 'endless', stream: true, max_tokens: 100 }), (answer) => open.push(answer));
    assert.deepEqual(tally(again), { 200: 1, 429: 4 });
    for (const answer of open.slice(1)) await answer.body.cancel();
    await audit(secret, 21);
  });

  test('as many requests a minute as the key allows, told truly in the headers', async () => {
    const secret = await gateway.richKey({ rpm: 10 });
    await earlyInTheMinute();
    const answers = await together(50, () => gateway.call(secret, ask('exact')));
    assert.deepEqual(tally(answers), { 200: 10, 429: 40 });
    const granted = answers.filter(({ status }) => status === 200).map(({ headers }) => headers);
    assert.deepEqual(
      granted.map((headers) => Number(headers.get('x-ratelimit-remaining-requests'))).sort((a, b) => a - b),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
    for (const headers of granted) {
      assert.equal(headers.get('x-ratelimit-limit-requests'), '10');
      assertSeconds(headers.get('x-ratelimit-reset-requests'), /^(\d+)s$/);
    }
    for (const { body, headers } of answers.filter(({ status }) => status === 429)) {
      assert.equal(body.error.code, 'rate_limit_exceeded');
      assert.equal(body.error.metadata.limit_source, 'key');
      assert.equal(body.error.metadata.limit, 10);
      assertSeconds(headers.get('retry-after'), /^(\d+)$/);
    }
    const { receipts } = await audit(secret, 50);
    assertCharges(receipts, { credit: 10 });
  });

  test('a request over the limit is told the limits too', async () => {
    const secret = await gateway.richKey({ rpm: 1, tpm: 1000 });
    await earlyInTheMinute();
    assert.equal((await gateway.call(secret, ask('exact'))).status, 200);
    const { status, headers } = await gateway.call(secret, ask('exact'));
    assert.equal(status, 429);
    assert.equal(headers.get('x-ratelimit-limit-requests'), '1');
    assert.equal(headers.get('x-ratelimit-remaining-requests'), '0');
    assertSeconds(headers.get('x-ratelimit-reset-requests'), /^(\d+)s$/);
    assert.equal(headers.get('x-ratelimit-limit-tokens'), '1000');
  });

  test('tokens a minute are counted from what was used, and told truly in the headers', async () => {
    // A request uses 8 tokens of input and 10 of output.
    const secret = await gateway.richKey({ tpm: 90 });
    await earlyInTheMinute();
    for (const remaining of ['90', '72', '54', '36', '18']) {
      const answer = await gateway.call(secret, ask('exact'));
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('x-ratelimit-limit-tokens'), '90');
      assert.equal(answer.headers.get('x-ratelimit-remaining-tokens'), remaining);
      await gateway.receipt(secret, answer);
    }
    const { status, headers } = await gateway.call(secret, ask('exact'));
    assert.equal(status, 429);
    assertSeconds(headers.get('retry-after'), /^(\d+)$/);
  });

  test('requests in flight count against the tokens a minute', async () => {
    const secret = await gateway.richKey({ tpm: 90 });
    await earlyInTheMinute();
    const answers = await together(40, () => gateway.call(secret, ask('exact')));
    const granted = answers.filter(({ status }) => status === 200).length;
    assert.ok(granted >= 1 && (granted - 1) * 18 < 90, `${granted} requests of 18 tokens went through a limit of 90`);
  });

  test('a request that another bucket pays counts as a request', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ wallet: '1' }), { cross_routes: true, rpm: 2 });
    await earlyInTheMinute();
    const statuses = [];
    for (let n = 0; n < 5; n += 1) statuses.push((await gateway.call(secret, ask('exact'))).status);
    assert.deepEqual(statuses, [200, 200, 429, 429, 429]);
  });

  test('the last request of a minute may cross to another bucket', async () => {
    const secret = await gateway.richKey({ cross_routes: true, rpm: 1 });
    await earlyInTheMinute();
    const answer = await gateway.call(secret, ask('official-down'));
    assert.deepEqual([answer.status, answer.headers.get('x-tf-bucket')], [200, 'wallet']);
  });
});

describe('budgets', () => {
  const midnight = () => new Date(new Date().setUTCHours(24, 0, 0, 0)).toISOString();
  const firstOfMonth = () => new Date(Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth() + 1, 1)).toISOString();
  const cases = [
    { scope: 'key', period: 'total', resets_at: () => null },
    { scope: 'key', period: 'day', resets_at: midnight },
    { scope: 'key', period: 'month', resets_at: firstOfMonth },
    { scope: 'project', period: 'total', resets_at: () => null },
    { scope: 'project', period: 'day', resets_at: midnight },
  ];
  for (const { scope, period, resets_at } of cases) {
    test(`a ${scope}'s budget (${period}) for 7 of 60 requests pays for exactly 7`, async () => {
      const account = await gateway.newAccount({ credit: '1', wallet: '1' });
      const budgets = [{ bucket: 'credit', period, limit: '0.00014' }];
      const path = `/admin/v1/accounts/${account}/projects`;
      const project = scope === 'project' ? (await gateway.admin('POST', path, { name: 'limited', budgets })).id : undefined;
      const policy = scope === 'project' ? { project } : { budgets };
      const secret = await gateway.newKey(account, policy);
      // The budget of a project is shared by its keys, that of a key is its own.
      const other = scope === 'project' ? await gateway.newKey(account, policy) : secret;

      const answers = await together(60, (n) => gateway.call(n % 2 ? secret : other, ask('exact')));
      assert.deepEqual(tally(answers), { 200: 7, 403: 53 });
      for (const { body } of answers.filter(({ status }) => status === 403)) assert.equal(body.error.code, 'budget_exceeded');
      const { receipts, balances } = await audit(secret, 60);
      assertCharges(receipts, { credit: 7 });
      assert.equal(balances.credit.balance, '0.99986');

      const { error } = await (await gateway.call(other, ask('exact'))).json();
      assert.equal(error.code, 'budget_exceeded');
      assert.equal(error.metadata.limit_source, scope);
      const { limit, spent, bucket } = error.metadata;
      assert.deepEqual({ scope: error.metadata.scope, bucket, limit, spent }, { scope, bucket: 'credit', limit: '0.00014', spent: '0.00014' });
      assertSameMoment(error.metadata.resets_at, resets_at());
      assert.equal((await gateway.call(secret, ask('exact:routed'))).status, 200, 'the other bucket has no budget');
      if (scope === 'key') {
        const { data } = await gateway.get(secret, '/v1/key');
        assert.deepEqual([data.limit, data.usage, data.limit_remaining], ['0.00014', '0.00014', '0']);
      }
    });
  }

  test('a budget that is set later counts what was spent before', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const { id, secret } = await gateway.createKey(account);
    for (let n = 0; n < 3; n += 1) await gateway.receipt(secret, await gateway.call(secret, ask('exact')));
    await gateway.admin('PATCH', `/admin/v1/accounts/${account}/keys/${id}`, { budgets: [{ bucket: 'credit', period: 'total', limit: '0.0001' }] });
    const answers = await together(10, () => gateway.call(secret, ask('exact')));
    assert.deepEqual(tally(answers), { 200: 2, 403: 8 });
    await audit(secret, 13);
  });

  test('a failed request gives back what it took of a budget', async () => {
    const secret = await gateway.richKey({ budgets: [{ bucket: 'credit', period: 'total', limit: tenTokens.credit }] });
    for (let n = 0; n < 3; n += 1) {
      const answer = await gateway.call(secret, ask('only-down'));
      assert.ok([429, 502].includes(answer.status));
      await gateway.receipt(secret, answer);
    }
    assert.equal((await gateway.call(secret, ask('exact'))).status, 200);
  });
});

function catalog(upstreamUrl) {
  const model = (...routes) => ({
    name: 'A model', family: 'test', kind: 'chat', context_length: 128000, max_output_tokens: 4096,
    routes: Object.fromEntries(routes),
  });
  const official = (upstream_model, input = '0') =>
    ['official', { bucket: 'credit', price: { input, output: '2' }, candidates: [{ channel: 'main', upstream_model }] }];
  const routed = (upstream_model) =>
    ['routed', { bucket: 'wallet', price: { input: '0', output: '7' }, candidates: [{ channel: 'main', upstream_model }] }];
  return {
    version: 1,
    buckets: { credit: { label: 'Official credit', currency: 'USD' }, wallet: { label: 'Routed wallet', currency: 'CNY' } },
    // Time-outs that no machine is too busy for.
    channels: { main: { dialect: 'openai', base_url: `${upstreamUrl}/v1`, secrets: ['TEST_UPSTREAM_KEY'], first_byte_timeout_ms: 60_000, idle_timeout_ms: 60_000 } },
    models: {
      exact: model(official('demo-official'), routed('demo-large')),
      metered: model(official('demo-large', '1')),
      endless: model(official('slow-stream-long')),
      'official-down': model(official('fail-500'), routed('demo-large')),
      'only-down': model(official('fail-500-only')),
    },
  };
}

/** Makes so many calls at once; answers status, headers and body of each. `keep` takes those that are to stay open. */
async function together(count, call, keep) {
  return Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const answer = await call(n);
      const { status, headers } = answer;
      if (keep && status === 200) {
        keep(answer);
        return { status, headers };
      }
      return { status, headers, body: await answer.json() };
    }),
  );
}

const tally = (answers) => answers.reduce((counts, { status }) => ({ ...counts, [status]: (counts[status] ?? 0) + 1 }), {});

/** All of these were refused because the balance does not cover them, at all or at the moment. */
function assertUncovered(answers) {
  for (const { status, body, headers } of answers) {
    assert.equal(body.error.code, { 402: 'insufficient_balance', 429: 'balance_in_flight' }[status]);
    if (status === 429) assert.ok(Number(headers.get('retry-after')) >= 1);
  }
}

/** So many receipts of each bucket charge ten tokens, all others nothing. */
function assertCharges(receipts, counts) {
  const charged = [...receipts.values()].filter(({ charge }) => charge !== '0');
  for (const { bucket, charge, hold, status } of charged) {
    assert.deepEqual({ charge, hold, status }, { charge: tenTokens[bucket], hold: tenTokens[bucket], status: 'completed' });
  }
  assert.deepEqual(Object.fromEntries(Object.entries(Object.groupBy(charged, ({ bucket }) => bucket)).map(([bucket, { length }]) => [bucket, length])), counts);
}

function assertSeconds(text, pattern) {
  const seconds = Number(text?.match(pattern)?.[1]);
  assert.ok(seconds >= 1 && seconds <= 60, `${text} is within a minute`);
}

function assertSameMoment(actual, expected) {
  assert.equal(actual === null ? null : Date.parse(actual), expected === null ? null : Date.parse(expected));
}

async function holds(secret) {
  const { data } = await gateway.get(secret, '/v1/balances');
  return data.flatMap(({ open_holds }) => open_holds);
}

/** Decimal text as nano-units. */
function nanos(text) {
  const [, sign, whole, fraction = ''] = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(text);
  return BigInt(sign + whole + fraction.padEnd(9, '0'));
}

const millionths = (count) => String(Number((count / 1e6).toFixed(9)));

/** Waits until so many requests of an account are settled, checks the balance law entry by entry, and answers everything. */
async function audit(secret, requests) {
  const receipts = new Map();
  await until(async () => {
    for (const receipt of await all(secret, '/v1/receipts')) receipts.set(receipt.id, receipt);
    return receipts.size >= requests && (await holds(secret)).length === 0;
  }, `${requests} receipts`, 30_000);
  assert.equal(receipts.size, requests);

  const sums = {};
  for (const { bucket, amount, balance_after, kind, request, id } of (await all(secret, '/v1/ledger')).reverse()) {
    sums[bucket] = (sums[bucket] ?? 0n) + nanos(amount);
    assert.equal(sums[bucket], nanos(balance_after));
    assert.ok(sums[bucket] >= 0n, 'no balance is ever below zero');
    if (kind !== 'charge') continue;
    const receipt = receipts.get(request);
    assert.deepEqual([receipt.entry_ids, nanos(receipt.charge), receipt.balance_after], [[id], -nanos(amount), balance_after]);
  }
  const { data } = await gateway.get(secret, '/v1/balances');
  for (const { bucket, balance } of data) assert.equal(nanos(balance), sums[bucket] ?? 0n);
  const balances = Object.fromEntries(data.map(({ bucket, balance, held, available, open_holds }) => [bucket, { balance, held, available, open_holds }]));
  return { receipts, balances };
}

/** Every row of a list, page by page. */
async function all(secret, path) {
  const rows = [];
  for (let after = ''; ; ) {
    const { data, next } = await gateway.get(secret, `${path}?limit=100${after}`);
    rows.push(...data);
    if (next === null) return rows;
    after = `&after=${next}`;
  }
}
