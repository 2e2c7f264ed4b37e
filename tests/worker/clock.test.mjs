// The clock that tests put forward: the Worker and its account objects see the same time, and
// alarms come when it says. The usual answer costs 0.00004 here.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { balances } from './support/books.mjs';
import { startGateway, until } from './support/gateway.mjs';

const [minute_ms, hour_ms, day_ms] = [60_000, 3_600_000, 86_400_000];
const iso = (ms) => new Date(ms).toISOString();

let gateway;
before(async () => (gateway = await startGateway({ clock: true })));
after(() => gateway?.close());

const call = async (secret) => {
  const answer = await gateway.call(secret, 'demo-large');
  return { status: answer.status, headers: answer.headers, body: await answer.json() };
};

test('a key that expires in an hour does so when the hour has passed', async () => {
  const secret = await gateway.richKey({ expires_at: iso(gateway.worker.time() + hour_ms) });
  assert.equal((await call(secret)).status, 200);
  await gateway.advance(59 * minute_ms);
  assert.equal((await call(secret)).status, 200);
  await gateway.advance(2 * minute_ms);
  const { status, body } = await call(secret);
  assert.deepEqual([status, body.error.code], [401, 'invalid_api_key']);
});

test('a budget of a day starts again with the next day', async () => {
  const account = await gateway.newAccount({ credit: '10' });
  // From noon, so that no day ends by itself.
  await gateway.advance(day_ms - (gateway.worker.time() % day_ms) + day_ms / 2);
  // An answer costs 0.00004, and one may cost up to 0.008261: after three, no fourth is within the limit.
  const secret = await gateway.newKey(account, { budgets: [{ bucket: 'credit', period: 'day', limit: '0.00835' }] });
  for (let n = 0; n < 3; n += 1) {
    const { status, headers } = await call(secret);
    assert.equal(status, 200);
    await gateway.receipt(secret, headers);
  }
  const { status, body } = await call(secret);
  assert.deepEqual([status, body.error.code], [403, 'budget_exceeded']);
  await gateway.advance(day_ms);
  assert.equal((await call(secret)).status, 200);
});

test('a receipt has the time of the clock', async () => {
  const secret = await gateway.richKey();
  await gateway.advance(40 * day_ms);
  const from = gateway.worker.time();
  const { created_at } = await gateway.receipt(secret, await call(secret));
  assert.ok(Math.abs(Date.parse(created_at) - from) < minute_ms, `${created_at} is not ${iso(from)}`);
});

test('an alarm that is set after an advance waits no longer for it', async () => {
  const secret = await gateway.richKey();
  await gateway.advance(3 * day_ms);
  const id = (await call(secret)).headers.get('x-generation-id');
  await until(async () => (await gateway.admin('GET', '/admin/v1/receipts?limit=5')).data.some((receipt) => receipt.id === id), 'the copy in D1');
});

test('an alarm whose time an advance has passed comes at once: a hold expires', async () => {
  const secret = await gateway.richKey();
  const held = async () => (await balances(gateway, secret)).credit.held;
  const client = new AbortController();
  const answer = await gateway.call(secret, { model: 'slow-stream-long', stream: true }, {}, { signal: client.signal });
  await answer.body.getReader().read();
  assert.notEqual(await held(), '0');
  // A hold lives for a quarter of an hour without a sign of its request.
  await gateway.advance(16 * minute_ms);
  await until(async () => (await held()) === '0', 'the end of the hold');
  const { error } = await gateway.receipt(secret, answer);
  assert.equal(error.code, 'hold_expired');
  client.abort();
});

test('the clock goes on after a restart of the runtime', async () => {
  const before = gateway.worker.time();
  await gateway.kill();
  const secret = await gateway.richKey();
  const { created_at } = await gateway.receipt(secret, await call(secret));
  assert.ok(Math.abs(Date.parse(created_at) - before) < minute_ms, `${created_at} is not ${iso(before)}`);
});
