// kill -9 of the runtime in the middle of things. Holds live for two and a half seconds here and
// streams tell three times in that what they relayed; input is free and a token of the answer
// costs 2 millionths.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readStream, startGateway, until } from './support/gateway.mjs';

let gateway;
before(async () => (gateway = await startGateway({ catalog })));
after(() => gateway?.close());

test('a stream that is cut down before its first checkpoint costs nothing, and its hold ends by itself', async () => {
  const { account, secret } = await newCaller();
  const stream = await gateway.call(secret, { model: 'slow', stream: true, max_tokens: 50 });
  const id = stream.headers.get('x-generation-id');
  assert.deepEqual((await openHolds(account)).map(({ request }) => request), [id]);
  await crash(stream);

  assert.deepEqual((await openHolds(account)).map(({ request }) => request), [id], 'the hold outlives the crash');
  await until(async () => (await openHolds(account)).length === 0, 'the end of the hold', 15_000);
  const receipt = await gateway.get(secret, `/v1/receipts/${id}`);
  const { status, charge, hold, entry_ids, error } = receipt;
  assert.deepEqual({ status, charge, hold, entry_ids, code: error.code }, { status: 'aborted', charge: '0', hold: '0.0001', entry_ids: [], code: 'hold_expired' });
  assert.ok(receipt.no_charge_reason && receipt.next_step);
  const { balances } = await audit(secret, 1);
  assert.equal(balances.credit.balance, '1');
});

test('a stream that is cut down later is charged once, for what it had told to be relayed', async () => {
  const { account, secret } = await newCaller();
  const stream = await gateway.call(secret, { model: 'slow', stream: true, max_tokens: 50 });
  const id = stream.headers.get('x-generation-id');
  // The deadline moves on with each checkpoint.
  const [{ deadline }] = await openHolds(account);
  await until(async () => (await openHolds(account))[0].deadline > deadline, 'a checkpoint');
  await crash(stream);

  await until(async () => (await openHolds(account)).length === 0, 'the end of the hold', 15_000);
  const receipt = await gateway.get(secret, `/v1/receipts/${id}`);
  const { status, usage, usage_source, hold, bucket, route, channel, charge_policy, entry_ids } = receipt;
  assert.deepEqual({ status, usage_source, hold, bucket, route, channel }, { status: 'aborted', usage_source: 'estimated', hold: '0.0001', bucket: 'credit', route: 'official', channel: 'main' });
  assert.match(charge_policy, /checkpoint/);
  assert.ok(usage.output > 0 && usage.output <= 50);
  assert.equal(nanos(receipt.charge), BigInt(usage.output) * 2000n);
  assert.equal(entry_ids.length, 1);
  await audit(secret, 1);
});

test('a plain call that is cut down keeps its hold until the deadline, then gives it back', async () => {
  const { account, secret } = await newCaller();
  const call = gateway.call(secret, { model: 'slow-plain', max_tokens: 50 }, { 'idempotency-key': 'once' }).catch(() => undefined);
  const [{ request }] = await until(async () => {
    const holds = await openHolds(account);
    return holds.length > 0 && holds;
  }, 'the hold');
  await crash();
  assert.equal(await call, undefined);

  const { credit } = await balances(secret);
  assert.deepEqual([credit.balance, credit.held, credit.available], ['1', '0.0001', '0.9999']);
  const early = await gateway.call(secret, { model: 'slow-plain', max_tokens: 50 }, { 'idempotency-key': 'once' });
  assert.equal(early.status, 409, 'nobody can say yet what became of the first');
  await until(async () => (await openHolds(account)).length === 0, 'the end of the hold', 15_000);
  const { status, charge } = await gateway.get(secret, `/v1/receipts/${request}`);
  assert.deepEqual({ status, charge }, { status: 'aborted', charge: '0' });

  // With the same key of the caller's own the request can be made again, for one charge.
  const other = await gateway.call(secret, { model: 'plain', max_tokens: 50 }, { 'idempotency-key': 'once' });
  assert.equal((await other.json()).error.code, 'idempotency_mismatch', 'it is the key of that very body');
  const again = await gateway.call(secret, { model: 'slow-plain', max_tokens: 50 }, { 'idempotency-key': 'once' });
  assert.equal(again.status, 200);
  const { balances: after } = await audit(secret, 4);
  assert.equal(after.credit.balance, '0.999968');
});

test('what was answered and settled before is there, and is not charged again', async () => {
  const { secret } = await newCaller();
  const settled = [];
  for (let n = 0; n < 5; n += 1) settled.push(await gateway.receipt(secret, await gateway.call(secret, { model: 'plain' }, { 'idempotency-key': `n${n}` })));
  const replies = await Promise.all(settled.map((_, n) => gateway.call(secret, { model: 'plain' }, { 'idempotency-key': `n${n}` }).then((answer) => answer.text())));
  await crash();

  for (const [n, receipt] of settled.entries()) {
    assert.deepEqual(await gateway.get(secret, `/v1/receipts/${receipt.id}`), receipt);
    const replay = await gateway.call(secret, { model: 'plain' }, { 'idempotency-key': `n${n}` });
    assert.equal(replay.headers.get('x-generation-id'), receipt.id);
    assert.equal(await replay.text(), replies[n]);
  }
  const { balances } = await audit(secret, 5);
  assert.equal(balances.credit.balance, '0.99984');
});

test('a crash among many requests loses none of them and charges none twice', async () => {
  const { account, secret } = await newCaller();
  const answered = [];
  const calls = Array.from({ length: 60 }, async (_, n) => {
    // Some are through, some are in the middle and some have not begun when it happens.
    const body = n % 3 === 0 ? { model: 'slow', stream: true, max_tokens: 20 } : { model: n % 3 === 1 ? 'plain' : 'slow-plain', max_tokens: 50 };
    const answer = await gateway.call(secret, body);
    answered.push({ id: answer.headers.get('x-generation-id'), streamed: body.stream === true });
    await answer.text();
  });
  const ended = Promise.allSettled(calls);
  await until(() => answered.filter(({ streamed }) => !streamed).length >= 20, 'the first answers');
  const held = (await openHolds(account)).map(({ request }) => request);
  assert.ok(held.length > 0, 'some are in the middle');
  await crash();
  await ended;

  await until(async () => (await openHolds(account)).length === 0, 'the end of every hold', 15_000);
  const { receipts } = await audit(secret);
  for (const { id } of answered) assert.ok(receipts.has(id), `the receipt ${id}`);
  for (const id of held) assert.ok(receipts.has(id), `the receipt ${id}`);
  for (const { status, charge, hold } of receipts.values()) {
    assert.ok(['completed', 'aborted'].includes(status), status);
    assert.ok(nanos(charge) <= nanos(hold));
    if (status === 'completed') assert.equal(charge, '0.000032');
  }
});

test('answers that came just before the crash all have their receipt', async () => {
  const { account, secret } = await newCaller();
  const answers = await Promise.all(Array.from({ length: 20 }, () => gateway.call(secret, { model: 'plain', max_tokens: 50 })));
  for (const { status } of answers) assert.equal(status, 200);
  await crash();
  await until(async () => (await openHolds(account)).length === 0, 'the end of every hold', 15_000);
  const { receipts, entries } = await audit(secret, 20);
  for (const { headers } of answers) {
    const { status, charge } = receipts.get(headers.get('x-generation-id'));
    // One whose settlement was on its way is not charged, and says so.
    assert.equal(charge, { completed: '0.000032', aborted: '0' }[status]);
  }
  const completed = [...receipts.values()].filter(({ status }) => status === 'completed');
  assert.equal(entries.filter(({ kind }) => kind === 'charge').length, completed.length);
});

test('rows that had not been copied arrive in D1 after the crash, each once', async () => {
  const { account, secret } = await newCaller();
  for (let n = 0; n < 3; n += 1) await gateway.receipt(secret, await gateway.call(secret, { model: 'plain' }));
  await crash();
  const journal = await until(async () => {
    const { DB } = await gateway.bindings();
    const { results } = await DB.prepare('SELECT seq, kind, amount FROM journal WHERE account = ? ORDER BY seq').bind(account).all();
    return results.filter(({ kind }) => kind === 'receipt').length === 3 && results;
  }, 'the rows', 15_000);
  assert.deepEqual(journal.map(({ seq }) => seq), journal.map((_, index) => index + 1));
  assert.equal(journal.reduce((sum, { amount }) => sum + (amount ?? 0), 0), 1e9 - 3 * 32_000);
});

test('a stream that outlives the time of its hold keeps it', async () => {
  const { secret } = await newCaller();
  const stream = await gateway.call(secret, { model: 'slow', stream: true, max_tokens: 50 });
  assert.ok((await readStream(stream)).done);
  const { status, charge, latency_ms } = await gateway.receipt(secret, stream);
  assert.ok(latency_ms > 3000);
  assert.deepEqual({ status, charge }, { status: 'completed', charge: '0.0001' });
  await audit(secret, 1);
});

test('a plain call that outlives the time of its hold is charged what its answer says', async () => {
  const { secret } = await newCaller();
  const answer = await gateway.call(secret, { model: 'slow-plain', max_tokens: 50 });
  assert.equal(answer.status, 200);
  assert.equal((await answer.json()).usage.cost, 0.000032);
  const { status, charge } = await gateway.receipt(secret, answer);
  assert.deepEqual({ status, charge }, { status: 'completed', charge: '0.000032' });
  await audit(secret, 1);
});

function catalog(upstreamUrl) {
  const model = (upstream_model) => ({
    name: 'A model', family: 'test', kind: 'chat', context_length: 128000, max_output_tokens: 4096,
    routes: { official: { bucket: 'credit', price: { input: '0', output: '2' }, candidates: [{ channel: 'main', upstream_model }] } },
  });
  return {
    version: 1,
    hold_timeout_ms: 2500,
    buckets: { credit: { label: 'Official credit', currency: 'USD' } },
    channels: { main: { dialect: 'openai', base_url: `${upstreamUrl}/v1`, secrets: ['TEST_UPSTREAM_KEY'], first_byte_timeout_ms: 30_000, idle_timeout_ms: 30_000 } },
    models: { plain: model('demo-large'), slow: model('slow-stream'), 'slow-plain': model('slow-headers') },
  };
}

async function newCaller() {
  const account = await gateway.newAccount({ credit: '1' });
  return { account, secret: await gateway.newKey(account) };
}

/** kill -9, and a runtime that serves again. What was open breaks. */
async function crash(stream) {
  const broken = stream?.text().catch(() => {});
  await gateway.kill();
  await broken;
  // Connections from before are found dead one by one.
  await until(async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
}

/** What is held of an account, as the operator sees it. */
async function openHolds(account) {
  const { balances } = await gateway.admin('GET', `/admin/v1/accounts/${account}`);
  return balances.flatMap(({ open_holds }) => open_holds);
}

async function balances(secret) {
  const { data } = await gateway.get(secret, '/v1/balances');
  return Object.fromEntries(data.map((view) => [view.bucket, view]));
}

/** Decimal text as nano-units. */
function nanos(text) {
  const [, sign, whole, fraction = ''] = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(text);
  return BigInt(sign + whole + fraction.padEnd(9, '0'));
}

/** Checks the balance law entry by entry, and that there are so many receipts; answers everything. */
async function audit(secret, requests) {
  const list = await all(secret, '/v1/receipts');
  const receipts = new Map(list.map((receipt) => [receipt.id, receipt]));
  assert.equal(receipts.size, list.length, 'one receipt for each request');
  if (requests !== undefined) assert.equal(receipts.size, requests);
  const entries = (await all(secret, '/v1/ledger')).reverse();
  let sum = 0n;
  for (const { amount, balance_after, kind, request, id } of entries) {
    sum += nanos(amount);
    assert.equal(sum, nanos(balance_after));
    assert.ok(sum >= 0n, 'no balance is ever below zero');
    if (kind !== 'charge') continue;
    const receipt = receipts.get(request);
    assert.deepEqual([receipt.entry_ids, -nanos(receipt.charge)], [[id], nanos(amount)]);
  }
  const view = await balances(secret);
  assert.equal(nanos(view.credit.balance), sum);
  assert.equal(view.credit.held, '0');
  return { entries, receipts, balances: view };
}

/** Every row of a list, page by page, newest first. */
async function all(secret, path) {
  const rows = [];
  for (let after = ''; ; ) {
    const { data, next } = await gateway.get(secret, `${path}?limit=100${after}`);
    rows.push(...data);
    if (next === null) return rows;
    after = `&after=${next}`;
  }
}
