// Runs and budgets: what a run's requests came to, what stops at a budget, and what the operator
// is told of it. Official prices here are 1 USD a million in and 2 out; the usual answer is 8
// tokens in and 16 out and costs 0.00004, and 0.000032 where input is free.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { all, allOf, audit, balances, decimal, nanos, settled, total } from './support/books.mjs';
import { testCatalog } from './support/catalog.mjs';
import { readStream, startGateway, until } from './support/gateway.mjs';
import { startReceiver } from './support/webhook.mjs';

let gateway;
before(async () => (gateway = await startGateway({ catalog })));
after(() => gateway?.close());

describe('a run', () => {
  test('is the sum of the receipts of its requests, however they ended', async () => {
    const secret = await gateway.richKey({ cross_routes: true });
    const inRun = { 'x-tf-run': 'all-kinds' };
    const requests = [
      [{ model: 'demo-large' }],
      [{ model: 'demo-large', stream: true }],
      [{ model: 'cached' }],
      [{ model: 'reasoning', stream: true, stream_options: { include_usage: true } }],
      [{ model: 'both-routes' }],
      [{ model: 'both-routes' }, { 'x-tf-route': 'routed' }],
      [{ model: 'both-latest' }],
      [{ model: 'fallback-fail-503' }],
      [{ model: 'official-down', stream: true }],
      [{ model: 'fail-400' }],
      [{ model: 'fail-500' }],
      [{ model: 'cut-stream', stream: true }],
      [{ model: 'no-such-model' }],
      [{ model: 'demo-large', max_tokens: 'many' }],
    ];
    for (const [body, headers] of requests) {
      const answer = await gateway.call(secret, body, { ...inRun, ...headers });
      await answer.text().catch(() => {});
      await gateway.receipt(secret, answer);
    }
    await leave(secret, { model: 'slow', stream: true, max_tokens: 50 }, inRun);
    // Not in the run.
    await gateway.receipt(secret, await gateway.call(secret, 'demo-large'));
    await gateway.receipt(secret, await gateway.call(secret, 'demo-large', { 'x-tf-run': 'another' }));

    const { receipts } = await audit(gateway, secret);
    const own = [...receipts.values()].filter(({ run }) => run === 'all-kinds');
    assert.equal(own.length, requests.length + 1);
    assert.deepEqual(new Set(own.map(({ status }) => status)), new Set(['completed', 'failed', 'refused', 'aborted', 'truncated']));
    assert.deepEqual(await all(gateway, secret, '/v1/receipts?run=all-kinds'), own.toReversed());
    const run = await gateway.get(secret, '/v1/runs/all-kinds');
    assert.deepEqual([run.id, run.in_flight, run.budgets, run.name, run.opened_at], ['all-kinds', [], [], null, null]);
    assertSums(run, own);
    assert.ok(Object.keys(run.totals.charges).length === 2 && run.totals.fallbacks === 2);

    const charges = (await all(gateway, secret, '/v1/ledger?run=all-kinds')).filter(({ kind }) => kind === 'charge');
    for (const [bucket, charge] of Object.entries(run.totals.charges)) {
      assert.equal(total(charges.filter((entry) => entry.bucket === bucket).map(({ amount }) => amount)), `-${charge}`);
    }
  });

  test('is live: what is in flight is shown, and counts when it has ended', async () => {
    const secret = await gateway.richKey();
    const stream = await gateway.call(secret, { model: 'slow', stream: true, max_tokens: 20 }, { 'x-tf-run': 'live' });
    const request = stream.headers.get('x-generation-id');
    const during = await gateway.get(secret, '/v1/runs/live');
    assert.deepEqual([during.in_flight, during.totals.requests, during.lines], [[{ request, bucket: 'credit', currency: 'USD', amount: '0.00004' }], 0, []]);
    assert.deepEqual((await balances(gateway, secret)).credit.open_holds.map(({ run }) => run), ['live']);
    await readStream(stream);
    await gateway.receipt(secret, stream);
    const { in_flight, totals } = await gateway.get(secret, '/v1/runs/live');
    assert.deepEqual([in_flight, totals.requests, totals.charges], [[], 1, { credit: '0.00004' }]);
  });

  test('is opened with a name and budgets, once; the same again is the same', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const secret = await gateway.newKey(account);
    const body = { id: 'nightly', name: 'The nightly one', budgets: [{ bucket: 'credit', limit: '0.5' }, { bucket: 'wallet', limit: '3' }] };
    const answers = await Promise.all(Array.from({ length: 10 }, () => open(secret, body)));
    for (const { status, body: run } of answers) {
      assert.equal(status, 201);
      assert.deepEqual([run.id, run.name], [body.id, body.name]);
      assert.deepEqual(run.budgets, [{ bucket: 'credit', currency: 'USD', limit: '0.5', spent: '0', remaining: '0.5' }, { bucket: 'wallet', currency: 'CNY', limit: '3', spent: '0', remaining: '3' }]);
      assert.deepEqual(run.totals.requests, 0);
    }
    assert.deepEqual(await gateway.get(secret, '/v1/runs/nightly'), answers[0].body);
    assert.deepEqual((await recorded(gateway, { account, secret }, 'run')).map(({ name }) => name), [body.name]);

    for (const other of [{ ...body, name: 'Another' }, { ...body, budgets: [] }, { ...body, budgets: [{ bucket: 'credit', limit: '0.6' }] }, { id: body.id }]) {
      const { status, body: answer } = await open(secret, other);
      assert.deepEqual([status, answer.error?.code], [409, 'conflict']);
    }
    assert.equal((await open(await gateway.newKey(account), body)).status, 409, 'of another key');

    const { status, body: unnamed } = await open(secret, {});
    assert.equal(status, 201);
    assert.match(unnamed.id, /^run-[0-9a-z]{26}$/);
    assert.deepEqual([unnamed.name, unnamed.budgets], [null, []]);
  });

  test('is in the list of runs, page by page', async () => {
    const secret = await gateway.richKey();
    const ids = Array.from({ length: 7 }, (_, n) => `r-${n}`);
    for (const id of ids.slice(0, 5)) assert.equal((await open(secret, { id, name: `Run ${id}` })).status, 201);
    for (const id of ids.slice(5)) await gateway.receipt(secret, await gateway.call(secret, 'demo-large', { 'x-tf-run': id }));
    for (const limit of [1, 3, 7, 100]) {
      const listed = await all(gateway, secret, '/v1/runs', limit);
      assert.deepEqual(listed.map(({ id }) => id), ids);
    }
    assert.deepEqual((await gateway.get(secret, '/v1/runs?limit=2')).next, 'r-1');
    for (const query of ['limit=0', 'limit=101', 'limit=x']) assert.equal((await gateway.fetch(secret, `/v1/runs?${query}`)).status, 400);
  });
});

describe('the budget of a run', () => {
  test('holds while many requests run at once, on both buckets', async () => {
    const secret = await gateway.richKey();
    const budgets = [{ bucket: 'credit', limit: '0.0005' }, { bucket: 'wallet', limit: '0.0025' }];
    const { body: run } = await open(secret, { budgets });
    const statuses = [];
    for (let round = 0; round < 3; round += 1) {
      const models = ['demo-large', 'routed-only', 'exact', 'slow'];
      await inParallel(40, 40, async (n) => {
        const answer = await gateway.call(secret, { model: models[n % 4], max_tokens: 16, stream: n % 4 === 3 }, { 'x-tf-run': run.id });
        statuses.push(answer.status);
        await answer.text();
      });
    }
    const { receipts } = await audit(gateway, secret);
    assert.deepEqual(new Set(statuses), new Set([200, 403]));
    const view = await gateway.get(secret, `/v1/runs/${run.id}`);
    assertSums(view, [...receipts.values()]);
    for (const { bucket, limit } of budgets) {
      const { spent, remaining } = view.budgets.find((budget) => budget.bucket === bucket);
      assert.equal(spent, view.totals.charges[bucket]);
      assert.ok(nanos(spent) <= nanos(limit), `${spent} of ${limit}`);
      assert.equal(decimal(nanos(limit) - nanos(spent)), remaining);
      assert.ok(nanos(spent) > nanos(limit) / 2n, 'it was used');
    }
  });
});

describe('alerts', () => {
  let told;
  let receiver;
  before(async () => {
    receiver = await startReceiver('alert-secret');
    told = await startGateway({ catalog, clock: true, vars: { ALERT_WEBHOOK_URL: receiver.url, ALERT_WEBHOOK_SECRET: 'alert-secret' } });
  });
  after(() => Promise.all([told?.close(), receiver?.close()]));

  /** A key with a budget of ten requests. */
  const limited = async (budgets = [{ bucket: 'credit', period: 'total', limit: '0.00032' }]) => {
    const account = await told.newAccount({ credit: '1' });
    return { account, ...(await told.createKey(account, { budgets })) };
  };
  const ask = async (secret, headers) => (await told.call(secret, { model: 'exact', max_tokens: 16 }, headers)).json();
  const taken = (account) => receiver.messages.filter(({ body, status }) => body.account === account && status === 204).map(({ body }) => body);
  const alerts = (account, count) => until(() => taken(account).length >= count && taken(account), `${count} alert(s)`, 30_000);
  const levels = (messages) => messages.map(({ data }) => data.percent).sort((a, b) => a - b);

  test('are sent at 50, 80 and 100 percent, signed, and stand in the audit', async () => {
    const { account, id, secret } = await limited();
    for (let n = 0; n < 10; n += 1) {
      await told.receipt(secret, await told.call(secret, { model: 'exact', max_tokens: 16 }));
      if (n === 3) assert.deepEqual(taken(account), []);
    }
    assert.equal((await ask(secret)).error.code, 'budget_exceeded');
    const sent = await alerts(account, 3);
    const expected = [[50, '0.00016'], [80, '0.000256'], [100, '0.00032']].map(([percent, spent]) => ({
      scope: 'key', scope_id: id, bucket: 'credit', period: 'total', limit: '0.00032', spent, percent, refused: false, resets_at: null,
    }));
    assert.deepEqual(sent.map(({ data: { id: _, ...data } }) => data), expected);
    for (const { type, at } of sent) assert.ok(type === 'budget.alert' && Date.parse(at));
    assert.ok(receiver.messages.every(({ isSigned }) => isSigned));
    assert.deepEqual(await recorded(told, { account, secret }, 'alert'), sent.map(({ data }) => data));
    assert.equal(new Set(sent.map(({ data }) => data.id)).size, 3);
  });

  test('are sent once for each level while many requests run at once', async () => {
    const callers = await Promise.all(Array.from({ length: 4 }, () => limited()));
    await inParallel(40, 40, (n) => ask(callers[n % 4].secret));
    for (const { account, secret } of callers) {
      await settled(told, secret);
      assert.equal((await ask(secret)).error.code, 'budget_exceeded');
      assert.deepEqual(levels(await alerts(account, 3)), [50, 80, 100]);
    }
    // Far more than fit: whoever is refused first announces the end.
    const { account, secret } = await limited();
    await inParallel(40, 40, () => ask(secret));
    await settled(told, secret);
    const percents = (await recorded(told, { account, secret }, 'alert')).map(({ percent }) => percent);
    assert.equal(percents.at(-1), 100);
    assert.deepEqual(percents, [...new Set(percents)].sort((a, b) => a - b), 'each once');
    assert.deepEqual(levels(await alerts(account, percents.length)), percents);
  });

  test('are tried again after a receiver failed, and requests do not wait for that', async () => {
    const { account, secret } = await limited([{ bucket: 'credit', period: 'total', limit: '0.00006' }]);
    receiver.failures.set(account, 1);
    await ask(secret);
    const failed = await until(() => receiver.messages.find(({ body, status }) => body.account === account && status === 500), 'the first try');
    assert.equal((await told.call(secret, 'routed-only')).status, 402, 'and the account answers');
    await told.advance(30_000);
    const [sent, ...more] = await alerts(account, 1);
    assert.deepEqual([sent, more.length], [failed.body, 0]);
  });

  test('have nowhere to go without the setting, and stand in the audit', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const secret = await gateway.newKey(account, { budgets: [{ bucket: 'credit', period: 'month', limit: '0.00004' }] });
    await gateway.receipt(secret, await gateway.call(secret, { model: 'exact', max_tokens: 16 }));
    assert.equal((await gateway.call(secret, { model: 'exact', max_tokens: 16 })).status, 403);
    const records = await recorded(gateway, { account, secret }, 'alert');
    assert.deepEqual(records.map(({ scope, percent, refused }) => [scope, percent, refused]), [['key', 80, false], ['key', 100, true]]);
    await audit(gateway, secret);
    assert.ok(!gateway.logs.some(({ message }) => /alert/.test(message)));
  });
});

describe('usage that cannot be true', () => {
  // Input 8 tokens; output is reported as a billion.
  for (const stream of [false, true]) {
    const how = stream ? 'streamed' : 'plain';
    test(`is charged as far as its limit goes (${how}), and the rest is in review`, async () => {
      const secret = await gateway.richKey();
      const answer = await gateway.call(secret, { model: 'huge', max_tokens: 100, ...(stream && { stream, stream_options: { include_usage: true } }) });
      const { usage } = stream ? await readStream(answer) : await answer.json();
      const receipt = await gateway.receipt(secret, answer);
      // 8 in, and the 100 that upstream was told to stop at: 8 x 1 + 100 x 2 millionths.
      assert.equal(receipt.charge, '0.000208');
      assert.equal(usage.cost, 0.000208);
      assert.equal(nanos(receipt.charge) + nanos(receipt.in_review), nanos('2000.000008'));
      assert.equal(receipt.usage.output, 1e9, 'what was reported is shown');
      assert.equal(receipt.balance_after, decimal(nanos('100') - nanos('0.000208')));
      await audit(gateway, secret);
    });

    test(`is charged as far as the bytes of the answer go (${how})`, async () => {
      const secret = await gateway.richKey();
      const answer = await gateway.call(secret, { model: 'huge-unlimited', ...(stream && { stream, stream_options: { include_usage: true } }) });
      const { usage } = stream ? await readStream(answer) : await answer.json();
      const { charge, hold, in_review } = await gateway.receipt(secret, answer);
      // A token is at least a byte. The answer has some hundred bytes plain and some thousand streamed; the hold is for 100,000 tokens.
      const tokens = (nanos(charge) - 8000n) / 2000n;
      assert.ok(tokens > 100n && tokens < 10_000n, `${tokens} tokens of ${hold}`);
      assert.equal(nanos(charge) + nanos(in_review), nanos('2000.000008'));
      assert.equal(String(usage.cost), charge, 'the answer says what is charged');
      await audit(gateway, secret);
    });
  }
});

describe('a settlement that comes after its hold expired', () => {
  // The client stops reading, so that nothing moves on; when it reads again, the gateway finds that the hold is gone.
  let upstream;
  let late;
  before(async () => {
    upstream = await startFlood();
    late = await startGateway({ catalog: () => floodCatalog(upstream.url) });
  });
  after(() => Promise.all([late?.close(), upstream?.close()]));

  test('corrects what the expiry charged, once, on receipt, ledger, run, budget and sums', async () => {
    const account = await late.newAccount({ credit: '1' });
    const secret = await late.newKey(account, { budgets: [{ bucket: 'credit', period: 'total', limit: '0.5' }] });
    const { id, resume } = await stall(late, secret, { 'x-tf-run': 'stalled' });
    const before = await late.receipt(secret, id);
    assert.deepEqual([before.status, before.error.code, before.correction], ['aborted', 'hold_expired', undefined]);
    assert.deepEqual((await balances(late, secret)).credit.open_holds, []);
    await resume();
    const receipt = await until(async () => {
      const receipt = await late.receipt(secret, id);
      return receipt.correction && receipt;
    }, 'the correction');
    const { correction, ...unchanged } = receipt;
    assert.deepEqual(unchanged, before, 'the receipt stays as it was');
    assert.deepEqual([correction.status, correction.charge_before], ['aborted', before.charge]);
    assert.ok(nanos(correction.charge_after) > nanos(before.charge) && nanos(correction.charge_after) <= nanos(before.hold));
    assert.equal(correction.charge_after, decimal(BigInt(correction.usage.output) * 2000n));

    const entries = (await all(late, secret, '/v1/ledger')).filter(({ kind }) => kind !== 'adjustment');
    assert.equal(total(entries.map(({ amount }) => amount)), `-${correction.charge_after}`);
    const [entry] = entries;
    assert.deepEqual([entry.kind, entry.request, entry.run], ['correction', id, 'stalled']);
    assert.match(entry.reason, /expired/);
    assert.equal((await balances(late, secret)).credit.balance, decimal(nanos('1') - nanos(correction.charge_after)));
    const run = await late.get(secret, '/v1/runs/stalled');
    assert.deepEqual([run.totals.charges, run.totals.requests], [{ credit: correction.charge_after }, 1]);
    const { data: key } = await late.get(secret, '/v1/key');
    assert.equal(key.tf.budgets[0].spent, correction.charge_after);

    const { data: sums } = await late.get(secret, '/v1/activity?by=cause');
    assert.equal(total(sums.map(({ tf }) => tf.charge)), correction.charge_after);
    assert.deepEqual(sums.find(({ tf }) => tf.cause === 'correction').requests, 0);
    const { ok } = await late.admin('GET', `/admin/v1/reconcile?account=${account}`);
    assert.ok(ok);
    assert.deepEqual((await allOf(late, `/admin/v1/ledger?account=${account}&kind=correction`)).map((entry) => entry.request), [id]);
  });

  test('takes no more than the account has by then, and the rest is in review', async () => {
    const account = await late.newAccount({ credit: '0.3' });
    const secret = await late.newKey(account);
    const { id, resume } = await stall(late, secret);
    const { charge } = await late.receipt(secret, id);
    const left = '0.000001';
    await late.admin('POST', `/admin/v1/accounts/${account}/adjustments`, { bucket: 'credit', amount: `-${decimal(nanos('0.3') - nanos(charge) - nanos(left))}`, reason: 'test' });
    await resume();
    const { correction } = await until(async () => {
      const receipt = await late.receipt(secret, id);
      return receipt.correction && receipt;
    }, 'the correction');
    assert.equal(nanos(correction.charge_after), nanos(charge) + nanos(left));
    assert.equal(nanos(correction.charge_after) + nanos(correction.in_review), BigInt(correction.usage.output) * 2000n);
    assert.equal((await balances(late, secret)).credit.balance, '0');
    assert.ok((await late.admin('GET', `/admin/v1/reconcile?account=${account}`)).ok);
  });
});

function catalog(upstreamUrl) {
  const document = testCatalog(upstreamUrl);
  for (const channel of Object.values(document.channels)) Object.assign(channel, { first_byte_timeout_ms: 30_000, idle_timeout_ms: 30_000 });
  const model = (upstream_model, price, more) => ({
    name: 'A model', family: 'test', kind: 'chat', context_length: 128000, max_output_tokens: 4096,
    routes: { official: { bucket: 'credit', price, candidates: [{ channel: 'main', upstream_model }] } }, ...more,
  });
  const [free, priced] = [{ input: '0', output: '2' }, { input: '1', output: '2' }];
  Object.assign(document.models, {
    exact: model('demo-large', free),
    slow: model('slow-stream', free),
    huge: model('huge-usage', priced),
    'huge-unlimited': model('huge-usage', priced, { context_length: 1_000_000, max_output_tokens: 100_000 }),
  });
  return document;
}

/** What an account's audit has of a kind, oldest first. What the holder of a key asks for in D1 is copied there before. */
async function recorded(gateway, { account, secret }, kind) {
  await gateway.get(secret, '/v1/activity');
  return (await allOf(gateway, `/admin/v1/audit?account=${account}&kind=${kind}`)).map(({ record }) => record).reverse();
}

/** Opens a run; answers status and body. */
async function open(secret, body) {
  const answer = await gateway.fetch(secret, '/v1/runs', { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) });
  return { status: answer.status, body: await answer.json() };
}

/** So many calls, at most so many at the same time. */
async function inParallel(count, width, call) {
  let next = 0;
  const worker = async () => {
    while (next < count) await call(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** Makes a streamed call and leaves with its first bytes; answers its receipt. */
async function leave(secret, body, headers) {
  const controller = new AbortController();
  const stream = await gateway.call(secret, body, headers, { signal: controller.signal });
  await stream.body.getReader().read();
  controller.abort();
  return gateway.receipt(secret, stream);
}

/** Checks a run against the receipts of its requests. */
function assertSums(run, receipts) {
  const dimensions = {
    model: (receipt) => receipt.model ?? receipt.requested_model,
    route: (receipt) => receipt.route ?? 'none',
    bucket: (receipt) => receipt.bucket ?? 'none',
    status: (receipt) => receipt.status,
  };
  const bare = ({ cache, ...rest }) => rest;
  assert.deepEqual(bare(run.totals), sums(receipts));
  for (const [dimension, name] of Object.entries(dimensions)) {
    const groups = Object.groupBy(receipts, name);
    const currency = (of) => (dimension === 'bucket' ? { currency: { credit: 'USD', wallet: 'CNY' }[of] ?? null } : {});
    const expected = Object.entries(groups).map(([of, group]) => ({ [dimension]: of, ...currency(of), ...sums(group) }));
    const byName = (a, b) => (a[dimension] < b[dimension] ? -1 : 1);
    assert.deepEqual(run[`by_${dimension}`].map(bare).toSorted(byName), expected.toSorted(byName), dimension);
  }
}

function sums(receipts) {
  const count = (of) => receipts.reduce((sum, receipt) => sum + of(receipt), 0);
  const classes = ['input', 'cached_input', 'cache_write', 'audio_input', 'output', 'reasoning', 'audio_output'];
  const paid = Object.groupBy(receipts.filter(({ bucket }) => bucket), ({ bucket }) => bucket);
  return {
    requests: receipts.length,
    retries: count(({ retries }) => retries),
    fallbacks: count(({ fallbacks }) => fallbacks),
    tokens: Object.fromEntries(classes.map((name) => [name, count(({ usage }) => usage[name])])),
    charges: Object.fromEntries(Object.entries(paid).map(([bucket, group]) => [bucket, total(group.map(({ charge }) => charge))])),
    currencies: Object.fromEntries(Object.keys(paid).map((bucket) => [bucket, { credit: 'USD', wallet: 'CNY' }[bucket]])),
  };
}

/** An upstream whose streams are as long as the connection is: events of 64 KB, with a few tokens each. */
async function startFlood() {
  const filler = 'x'.repeat(64 * 1024);
  const delta = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'flood', choices: [{ index: 0, delta: { content: 'some words ' }, finish_reason: null }], filler };
  const event = `data: ${JSON.stringify(delta)}\n\n`;
  const server = createServer(async (request, response) => {
    response.on('error', () => {});
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const closed = once(response, 'close');
    while (!response.destroyed) {
      if (!response.write(event)) await Promise.race([once(response, 'drain').catch(() => {}), closed]);
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

function floodCatalog(url) {
  return {
    version: 1,
    hold_timeout_ms: 1500,
    buckets: { credit: { label: 'Official credit', currency: 'USD' } },
    channels: { main: { dialect: 'openai', base_url: `${url}/v1`, secrets: ['TEST_UPSTREAM_KEY'], first_byte_timeout_ms: 30_000, idle_timeout_ms: 30_000 } },
    models: {
      flood: {
        name: 'A model', family: 'test', kind: 'chat', context_length: 128000, max_output_tokens: 100_000,
        routes: { official: { bucket: 'credit', price: { input: '0', output: '2' }, candidates: [{ channel: 'main', upstream_model: 'flood' }] } },
      },
    },
  };
}

/** Makes a streamed call that stops being read until its hold has expired; `resume` reads on to the end. */
async function stall(gateway, secret, headers) {
  const request = httpRequest(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers: { authorization: `Bearer ${secret}`, ...headers } });
  request.end(JSON.stringify({ model: 'flood', stream: true, messages: [{ role: 'user', content: 'hello' }] }));
  const [response] = await once(request, 'response');
  response.pause();
  const id = response.headers['x-generation-id'];
  await until(async () => (await gateway.fetch(secret, `/v1/receipts/${id}`)).ok, 'the end of the hold', 20_000);
  return {
    id,
    resume() {
      response.resume();
      return Promise.race([once(response, 'end'), once(response, 'close')]);
    },
  };
}
