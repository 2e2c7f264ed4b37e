// What a request is quoted, what it is charged, who pays, and what is said when nobody can.
// Prices a million: official 1 USD in and 2 out, routed 7 CNY in and 14 out. The usual answer is
// 8 tokens in and 16 out, so that it costs 0.00004 USD or 0.00028 CNY.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { adminToken, readStream, startGateway, until } from './support/gateway.mjs';
import { testCatalog } from './support/catalog.mjs';

let gateway;
before(async () => (gateway = await startGateway({ catalog })));
after(() => gateway?.close());

describe('a balance that does not cover a request', () => {
  // Each asks for more than 0.001 USD can pay for. The quote is a millionth for each byte of the
  // body and two for each token of the answer.
  const cases = [
    { name: 'by far', body: { model: 'plain', max_tokens: 4000 }, quote: '0.008082' },
    { name: 'by a token', body: { model: 'plain', max_tokens: 461 }, quote: '0.001003' },
    { name: 'with the newer field', body: { model: 'plain', max_completion_tokens: 4000 }, quote: '0.008093' },
    { name: 'without a limit of its own', body: { model: 'plain' }, quote: '0.008256' },
    { name: 'for two answers', body: { model: 'plain', n: 2, max_tokens: 4000 }, quote: '0.016088' },
  ];
  for (const { name, body, quote } of cases) {
    test(`${name}: the refusal names bucket, quote and balance, and what it would cover works`, async () => {
      const secret = await gateway.newKey(await gateway.newAccount({ credit: '0.001', wallet: '100' }));
      const calls = gateway.upstream.requests.length;
      const answer = await gateway.call(secret, body);
      assert.equal(answer.status, 402);
      const { error } = await answer.json();
      const { bucket, balance, quote: quoted, limit_source, affordable_max_tokens, receipt, next_step } = error.metadata;
      assert.deepEqual(
        { code: error.code, bucket, balance, quoted, limit_source, receipt },
        { code: 'insufficient_balance', bucket: 'credit', balance: '0.001', quoted: quote, limit_source: 'account', receipt: answer.headers.get('x-generation-id') },
      );
      assert.match(next_step, /`credit`/);
      assert.equal(gateway.upstream.requests.length, calls, 'nothing was sent upstream');
      const { status, charge, no_charge_reason } = await gateway.receipt(secret, answer);
      assert.deepEqual([status, charge], ['refused', '0']);
      assert.ok(no_charge_reason);

      assert.ok(affordable_max_tokens > 0);
      const { max_completion_tokens, ...rest } = body;
      const field = max_completion_tokens === undefined ? 'max_tokens' : 'max_completion_tokens';
      const second = await gateway.call(secret, { ...rest, [field]: affordable_max_tokens });
      assert.equal(second.status, 200, JSON.stringify(await second.json()));
      await audit(secret);
    });
  }

  test('nothing is said to be affordable when not even the question is', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '0.00001' }));
    const { error } = await (await gateway.call(secret, { model: 'plain', max_tokens: 1 })).json();
    assert.equal(error.code, 'insufficient_balance');
    assert.equal(error.metadata.affordable_max_tokens ?? 0, 0);
  });

  test('a balance of exactly the quote is enough', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '0.0001' }));
    assert.equal((await gateway.call(secret, { model: 'plain', max_tokens: 10 })).status, 200);
    const { receipts } = await audit(secret);
    assert.deepEqual([...receipts.values()].map(({ hold, charge }) => ({ hold, charge })), [{ hold: '0.0001', charge: '0.000028' }]);
  });
});

describe('a hold', () => {
  test('is shown while a stream runs, refuses what it leaves no room for, and is gone after', async () => {
    // The stream holds 50 tokens at 2 USD a million of 75.
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '0.00015' }));
    const stream = await gateway.call(secret, { model: 'slow', stream: true, max_tokens: 50 });
    assert.equal(stream.status, 200);
    const id = stream.headers.get('x-generation-id');

    const { credit } = (await balances(secret));
    assert.deepEqual([credit.balance, credit.held, credit.available], ['0.00015', '0.0001', '0.00005']);
    assert.equal(credit.open_holds.length, 1);
    const [{ request, bucket, amount, opened_at, deadline }] = credit.open_holds;
    assert.deepEqual({ request, bucket, amount }, { request: id, bucket: 'credit', amount: '0.0001' });
    assert.equal(Date.parse(deadline) - Date.parse(opened_at), 900_000);

    const refused = await gateway.call(secret, { model: 'exact', max_tokens: 50 });
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers.get('retry-after')) >= 1);
    const { error } = await refused.json();
    assert.equal(error.code, 'balance_in_flight');
    const { balance, available, quote, affordable_max_tokens } = error.metadata;
    assert.deepEqual({ balance, available, quote, affordable_max_tokens }, { balance: '0.00015', available: '0.00005', quote: '0.0001', affordable_max_tokens: 25 });
    assert.equal((await gateway.call(secret, { model: 'exact', max_tokens: affordable_max_tokens })).status, 200);

    const { done } = await readStream(stream);
    assert.ok(done);
    const { charge, hold, balance_after } = await gateway.receipt(secret, stream);
    // 16 tokens of the other call went off in between.
    assert.deepEqual({ charge, hold, balance_after }, { charge: '0.0001', hold: '0.0001', balance_after: '0.000018' });
    const after = await balances(secret);
    assert.deepEqual(after.credit.open_holds, []);
    assert.deepEqual([after.credit.balance, after.credit.held], ['0.000018', '0']);
    await audit(secret);
  });

  test('cannot be taken away by a debit', async () => {
    const account = await gateway.newAccount({ credit: '0.00015' });
    const secret = await gateway.newKey(account);
    const stream = await gateway.call(secret, { model: 'slow', stream: true, max_tokens: 20 });
    assert.equal((await adjust(account, '-0.000111')).status, 400);
    assert.equal((await adjust(account, '-0.00011')).status, 201);
    await readStream(stream);
    await gateway.receipt(secret, stream);
    assert.equal((await balances(secret)).credit.balance, '0');
    await audit(secret);
  });

  test('bounds the charge, whatever upstream reports, and what is beyond is set aside for review', async () => {
    for (const stream of [false, true]) {
      const account = await gateway.newAccount({ credit: '1' });
      const secret = await gateway.newKey(account);
      const body = { model: 'huge', max_tokens: 100, ...(stream && { stream, stream_options: { include_usage: true } }) };
      const answer = await gateway.call(secret, body);
      const { usage } = stream ? await readStream(answer) : await answer.json();
      const receipt = await gateway.receipt(secret, answer);
      // 8 in and a billion out would be 2000.000008.
      assert.equal(nanos(receipt.charge) + nanos(receipt.in_review), nanos('2000.000008'));
      // It was told to stop at 100, so that 8 in and 100 out are the most that can be true.
      assert.equal(receipt.charge, '0.000208');
      assert.equal(String(usage.cost), receipt.charge);
      assert.equal(nanos(receipt.balance_after), nanos('1') - nanos(receipt.charge));
      await audit(secret);
    }
  });
});

describe('a route that fails', () => {
  test('is crossed to the other bucket with its own hold, if the key allows it', async () => {
    const secret = await gateway.richKey({ cross_routes: true });
    const answer = await gateway.call(secret, { model: 'down-allowed', max_tokens: 20 });
    assert.equal(answer.status, 200);
    const told = ['x-tf-route', 'x-tf-bucket', 'x-tf-channel', 'x-tf-upstream-model', 'x-tf-attempts'].map((name) => answer.headers.get(name));
    assert.deepEqual(told, ['routed', 'wallet', 'backup', 'demo-large', '2']);

    const receipt = await gateway.receipt(secret, answer);
    const { status, route, bucket, channel, fallbacks, charge, hold } = receipt;
    assert.deepEqual(
      { status, route, bucket, channel, fallbacks, charge, hold },
      // The body has 87 bytes: 87 x 7 + 20 x 14 are held, 8 x 7 + 16 x 14 charged.
      { status: 'completed', route: 'routed', bucket: 'wallet', channel: 'backup', fallbacks: 1, charge: '0.00028', hold: '0.000889' },
    );
    assert.match(receipt.why, /`wallet` paid.*official|`wallet` paid.*earlier route/);
    assert.deepEqual(
      receipt.attempts.map(({ route, bucket, status, dispatched }) => ({ route, bucket, status, dispatched })),
      [{ route: 'official', bucket: 'credit', status: 'failed', dispatched: true }, { route: 'routed', bucket: 'wallet', status: 'answered', dispatched: true }],
    );
    const { entries, balances } = await audit(secret);
    const charges = entries.filter(({ kind }) => kind === 'charge');
    assert.deepEqual(charges.map(({ bucket, route, amount }) => ({ bucket, route, amount })), [{ bucket: 'wallet', route: 'routed', amount: '-0.00028' }]);
    assert.deepEqual([balances.credit.balance, balances.wallet.balance], ['100', '99.99972']);
  });

  test('is not crossed without the key\'s leave', async () => {
    const secret = await gateway.richKey();
    const calls = gateway.upstream.requests.length;
    const answer = await gateway.call(secret, { model: 'down-forbidden', max_tokens: 20 });
    assert.equal(answer.status, 429);
    const { error } = await answer.json();
    assert.equal(error.code, 'upstream_overloaded');
    assert.equal(error.metadata.attempts.length, 1);
    assert.equal(gateway.upstream.requests.length, calls + 1);
    assert.deepEqual([answer.headers.get('x-tf-bucket'), answer.headers.get('x-tf-attempts')], ['credit', '1']);
    const { status, charge, no_charge_reason, next_step, entry_ids } = await gateway.receipt(secret, answer);
    assert.deepEqual({ status, charge, entry_ids }, { status: 'failed', charge: '0', entry_ids: [] });
    assert.ok(no_charge_reason && next_step);
    const { balances } = await audit(secret);
    assert.deepEqual([balances.credit.balance, balances.wallet.balance], ['100', '100']);
  });

  test('is not crossed to a bucket that does not cover it, and both reasons are told', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '1' }), { cross_routes: true });
    const answer = await gateway.call(secret, { model: 'down-uncovered', max_tokens: 20 });
    assert.ok([502, 429].includes(answer.status));
    const { error } = await answer.json();
    assert.ok(['no_route_available', 'upstream_overloaded'].includes(error.code), error.code);
    assert.match(error.metadata.next_step, /wallet/);
    await gateway.receipt(secret, answer);
    const { balances } = await audit(secret);
    assert.deepEqual([balances.credit.balance, balances.credit.held], ['1', '0']);
  });

  test('whose balance is empty is crossed too, and the receipt says why', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ wallet: '1' }), { cross_routes: true });
    const answer = await gateway.call(secret, { model: 'both', max_tokens: 20 });
    assert.deepEqual([answer.status, answer.headers.get('x-tf-bucket'), answer.headers.get('x-tf-attempts')], [200, 'wallet', '1']);
    const { why, bucket, charge } = await gateway.receipt(secret, answer);
    assert.deepEqual([bucket, charge], ['wallet', '0.00028']);
    assert.match(why, /cross/);
    await audit(secret);
  });

  test('is left for the other one while it is down, and the receipt still says why the other balance paid', async () => {
    const secret = await gateway.richKey({ cross_routes: true });
    const answers = [];
    for (let n = 0; n < 4; n += 1) answers.push(await gateway.call(secret, { model: 'down-often', max_tokens: 20 }));
    assert.deepEqual(answers.map(({ headers }) => headers.get('x-tf-attempts')), ['2', '2', '1', '1']);
    const { bucket, attempts } = await gateway.receipt(secret, answers[3]);
    assert.equal(bucket, 'wallet');
    const [preferred] = attempts.filter(({ route }) => route === 'official');
    assert.deepEqual([preferred?.status, preferred?.dispatched], ['skipped', false]);
    assert.match(preferred.reason, /down/);
  });
});

test('a model without a price is refused before anything is sent, and never free', async () => {
  const secret = await gateway.richKey();
  const calls = gateway.upstream.requests.length;
  const answer = await gateway.call(secret, 'unpriced');
  assert.equal(answer.status, 503);
  assert.ok(Number(answer.headers.get('retry-after')) >= 1);
  assert.equal((await answer.json()).error.code, 'model_unpriced');
  assert.equal((await gateway.receipt(secret, answer)).status, 'refused');
  assert.equal(gateway.upstream.requests.length, calls);
  const { data } = await gateway.get(secret, '/v1/models');
  assert.ok(!data.some(({ id }) => id === 'unpriced'));
});

describe('the ledger', () => {
  test('pages through every entry once, newest first, and agrees with receipts and balances', async () => {
    const account = await gateway.newAccount({ credit: '1', wallet: '2' });
    const secret = await gateway.newKey(account);
    const ids = [];
    for (const model of ['plain', 'both:official', 'both:routed', 'fail-400', 'cached', 'reasoning', 'both:routed']) {
      const answer = await gateway.call(secret, { model, max_tokens: 40 });
      ids.push(answer.headers.get('x-generation-id'));
      await gateway.receipt(secret, answer);
    }
    assert.equal((await adjust(account, '-0.25', { bucket: 'wallet', reason: 'a correction', author: 'ana', note: 'Yours' })).status, 201);

    const pages = [];
    for (let after = ''; after !== null; ) {
      const { data, next } = await gateway.get(secret, `/v1/ledger?limit=3${after}`);
      pages.push(data);
      after = next && `&after=${next}`;
    }
    assert.deepEqual(pages.map(({ length }) => length), [3, 3, 3, 0]);
    const { entries, receipts } = await audit(secret);
    assert.deepEqual(pages.flat(), entries.toReversed());
    const [correction] = pages.flat();
    const { kind, bucket, amount, balance_after, reason, author, note, request } = correction;
    assert.deepEqual(
      { kind, bucket, amount, reason, author, note, request },
      { kind: 'adjustment', bucket: 'wallet', amount: '-0.25', reason: null, author: undefined, note: 'Yours', request: null },
    );
    assert.equal(nanos(balance_after), nanos('1.75') - 2n * nanos('0.00028'));
    assert.deepEqual(entries.filter(({ kind }) => kind === 'charge').map(({ request }) => request), ids.toSpliced(3, 1));

    // Each charge starts where the last one of its bucket ended.
    const last = { credit: '1', wallet: '2' };
    for (const id of ids.toSpliced(3, 1)) {
      const { bucket, balance_before, balance_after, charge } = receipts.get(id);
      assert.equal(balance_before, last[bucket]);
      assert.equal(nanos(balance_before) - nanos(charge), nanos(balance_after));
      last[bucket] = balance_after;
    }
    const { data: wallet } = await gateway.get(secret, '/v1/ledger?bucket=wallet');
    assert.deepEqual(wallet.map(({ kind }) => kind), ['adjustment', 'charge', 'charge', 'adjustment']);
  });

  test('has a page limit and a place that are checked', async () => {
    const secret = await gateway.richKey();
    for (const query of ['limit=0', 'limit=101', 'limit=-1', 'limit=ten', 'after=x', 'after=-1', 'after=1.5', 'since=yesterday', 'format=xml']) {
      const answer = await gateway.fetch(secret, `/v1/ledger?${query}`);
      assert.equal(answer.status, 400, query);
      assert.equal((await answer.json()).error.code, 'invalid_request');
    }
    for (const query of ['after=0', 'after=9007199254740993', 'after=9223372036854775807', 'after=18446744073709551615', 'since=9999-12-31T23:59:59Z', 'until=0000-01-01T00:00:00Z']) {
      assert.equal((await gateway.fetch(secret, `/v1/ledger?${query}`)).status, 200, query);
    }
    assert.equal((await gateway.get(secret, '/v1/ledger')).data.length, 2, 'and the account is as well as before');
  });

  test('has nothing of other accounts', async () => {
    const [one, other] = [await gateway.richKey(), await gateway.richKey()];
    await gateway.receipt(one, await gateway.call(one, 'plain'));
    assert.equal((await gateway.get(one, '/v1/ledger')).data.length, 3);
    assert.equal((await gateway.get(other, '/v1/ledger')).data.length, 2);
    assert.equal((await gateway.get(other, '/v1/receipts')).data.length, 0);
  });
});

describe('an adjustment', () => {
  const cases = [
    ['a credit', '0.5', 201, '10.5'],
    ['a debit', '-0.5', 201, '9.5'],
    ['a debit of everything', '-10', 201, '0'],
    ['the smallest credit', '0.000000001', 201, '10.000000001'],
    ['a debit of a nano-unit too much', '-10.000000001', 400, '10'],
    ['nothing', '0', 400, '10'],
    ['nothing with a sign', '-0', 400, '10'],
    ['no number', 'abc', 400, '10'],
    ['an exponent', '1e3', 400, '10'],
    ['a plus', '+1', 400, '10'],
    ['a comma', '1,5', 400, '10'],
    ['nothing at all', '', 400, '10'],
    ['a fraction of a nano-unit', '-0.0000000001', 400, '10'],
    ['more than is counted exactly', '9007199.254740992', 400, '10'],
    ['more than there can be with what is there', '9007199', 400, '10'],
    ['far more', '99999999999999999999999', 400, '10'],
    ['a JSON number', 1, 400, '10'],
    ['null', null, 400, '10'],
  ];
  for (const [name, amount, status, balance] of cases) {
    test(`by ${name} answers ${status}`, async () => {
      const account = await gateway.newAccount({ credit: '10' });
      const secret = await gateway.newKey(account);
      const answer = await adjust(account, amount);
      assert.equal(answer.status, status, JSON.stringify(answer.body));
      assert.equal((await balances(secret)).credit.balance, balance);
      const { entries } = await audit(secret);
      assert.equal(entries.length, status === 201 ? 2 : 1);
    });
  }

  test('needs a bucket of the catalogue and a reason, and no other field', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    for (const body of [{ bucket: 'gold' }, { bucket: 'Credit' }, { reason: '' }, { reason: undefined }, { colour: 'red' }]) {
      assert.equal((await adjust(account, '1', body)).status, 400, JSON.stringify(body));
    }
    assert.equal((await adjust('nobody', '1')).status, 404);
  });

  test('with an Idempotency-Key is made once, in turn and at the same time', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const secret = await gateway.newKey(account);
    const headers = { 'idempotency-key': 'order-1' };
    const answers = await Promise.all(Array.from({ length: 20 }, () => adjust(account, '5', {}, headers)));
    for (const { status } of answers) assert.equal(status, 201);
    assert.equal((await adjust(account, '5', {}, headers)).status, 201);
    assert.equal((await balances(secret)).credit.balance, '6');
    assert.equal((await adjust(account, '5', {}, { 'idempotency-key': 'order-2' })).status, 201);
    const other = await gateway.newAccount({ credit: '1' });
    assert.equal((await adjust(other, '5', {}, headers)).status, 201);
    assert.equal((await balances(await gateway.newKey(other))).credit.balance, '6', 'the key is the account\'s own');
    assert.equal((await audit(secret)).entries.length, 3);
  });

  test('with an Idempotency-Key of another adjustment is refused, not passed over', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const secret = await gateway.newKey(account);
    const headers = { 'idempotency-key': 'order-1' };
    await adjust(account, '5', {}, headers);
    for (const [amount, more] of [['7', {}], ['-5', {}], ['5', { bucket: 'wallet' }]]) {
      const { status, body } = await adjust(account, amount, more, headers);
      assert.equal(status, 409, JSON.stringify(body));
      assert.equal(body.error.code, 'idempotency_mismatch');
    }
    assert.equal((await balances(secret)).credit.balance, '6');
  });
});

describe('an Idempotency-Key', () => {
  const headers = { 'idempotency-key': 'request-1' };

  test('answers a finished call again, word for word, for one charge', async () => {
    const secret = await gateway.richKey();
    const calls = gateway.upstream.requests.length;
    const first = await gateway.call(secret, 'plain', headers);
    const text = await first.text();
    await gateway.receipt(secret, first);
    for (let n = 0; n < 3; n += 1) {
      const again = await gateway.call(secret, 'plain', headers);
      assert.deepEqual([again.status, await again.text()], [200, text]);
      assert.equal(again.headers.get('x-generation-id'), first.headers.get('x-generation-id'));
    }
    assert.equal(gateway.upstream.requests.length, calls + 1);
    const { receipts, balances } = await audit(secret);
    assert.equal(receipts.size, 1);
    assert.equal(balances.credit.balance, '99.99996');
  });

  test('charges 50 duplicates at the same time once', async () => {
    const secret = await gateway.richKey();
    const calls = gateway.upstream.requests.length;
    const answers = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const { status, headers: told, ...answer } = await read(await gateway.call(secret, 'plain', headers));
        return { status, id: told.get('x-generation-id'), retry: told.get('retry-after'), ...answer };
      }),
    );
    const served = answers.filter(({ status }) => status === 200);
    assert.ok(served.length >= 1);
    assert.equal(new Set(served.map(({ id }) => id)).size, 1);
    assert.equal(new Set(served.map(({ text }) => text)).size, 1);
    for (const { status, text, retry } of answers.filter((answer) => !served.includes(answer))) {
      assert.equal(status, 409);
      assert.equal(JSON.parse(text).error.code, 'idempotency_in_flight');
      assert.ok(Number(retry) >= 1);
    }
    assert.equal(gateway.upstream.requests.length, calls + 1);
    const { entries } = await audit(secret);
    assert.equal(entries.filter(({ kind }) => kind === 'charge').length, 1);
  });

  for (const cross_routes of [false, true]) {
    const who = cross_routes ? 'of a key that may cross routes' : 'of any key';
    test(`${who} answers 409 while the first call is in flight, and the same after`, async () => {
      const secret = await gateway.richKey({ cross_routes });
      const body = { model: 'slow-both', max_tokens: 20 };
      const calls = gateway.upstream.requests.length;
      const first = gateway.call(secret, body, headers);
      await until(() => gateway.upstream.requests.length > calls, 'the call upstream');
      const second = await read(await gateway.call(secret, body, headers));
      assert.equal(second.status, 409, second.text);
      assert.ok(Number(second.headers.get('retry-after')) >= 1);
      const other = await read(await gateway.call(secret, { ...body, max_tokens: 21 }, headers));
      assert.equal(JSON.parse(other.text).error.code, 'idempotency_mismatch');

      const { status, text, headers: told } = await read(await first);
      assert.equal(status, 200);
      await gateway.receipt(secret, told.get('x-generation-id'));
      const third = await read(await gateway.call(secret, body, headers));
      assert.deepEqual([third.status, third.text], [200, text]);
      const fourth = await read(await gateway.call(secret, { ...body, max_tokens: 21 }, headers));
      assert.equal(fourth.status, 409);
      assert.equal(gateway.upstream.requests.length, calls + 1);
      const { entries } = await audit(secret);
      assert.equal(entries.filter(({ kind }) => kind === 'charge').length, 1);
    });
  }

  test('of a stream answers its receipt', async () => {
    const secret = await gateway.richKey();
    const body = { model: 'plain', stream: true };
    const first = await gateway.call(secret, body, headers);
    assert.ok((await readStream(first)).done);
    const receipt = await gateway.receipt(secret, first);
    const again = await gateway.call(secret, body, headers);
    assert.equal(again.headers.get('x-generation-id'), receipt.id);
    assert.deepEqual([again.status, await again.json()], [200, receipt]);
    assert.equal((await audit(secret)).receipts.size, 1);
  });

  test('of a call that failed can be used again', async () => {
    const account = await gateway.newAccount({});
    const secret = await gateway.newKey(account);
    assert.equal((await gateway.call(secret, 'plain', headers)).status, 402);
    await adjust(account, '1');
    const calls = gateway.upstream.requests.length;
    for (let n = 1; n <= 2; n += 1) {
      const failed = await gateway.call(secret, 'fail-500', { 'idempotency-key': 'request-2' });
      assert.equal(failed.status, 502);
      await gateway.receipt(secret, failed);
      assert.equal(gateway.upstream.requests.length, calls + n, 'it is tried again');
    }
    assert.equal((await gateway.call(secret, 'plain', headers)).status, 200);
    const { entries } = await audit(secret);
    assert.equal(entries.filter(({ kind }) => kind === 'charge').length, 1);
  });

  test('belongs to one API key', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const ids = [];
    for (let n = 0; n < 2; n += 1) {
      const secret = await gateway.newKey(account);
      const answer = await gateway.call(secret, 'plain', headers);
      assert.equal(answer.status, 200);
      ids.push(answer.headers.get('x-generation-id'));
    }
    const stranger = await gateway.richKey();
    ids.push((await gateway.call(stranger, 'fail-400', headers)).headers.get('x-generation-id'));
    assert.equal(new Set(ids).size, 3);
  });

  test('that cannot be one is refused', async () => {
    const secret = await gateway.richKey();
    for (const key of ['x'.repeat(256), 'two words']) {
      assert.equal((await gateway.call(secret, 'plain', { 'idempotency-key': key })).status, 400, key);
    }
    assert.equal((await gateway.call(secret, 'plain', { 'idempotency-key': 'x'.repeat(255) })).status, 200);
  });
});

function catalog(upstreamUrl) {
  const document = testCatalog(upstreamUrl);
  for (const channel of Object.values(document.channels)) Object.assign(channel, { first_byte_timeout_ms: 30_000, idle_timeout_ms: 30_000 });
  const price = { input: '1', output: '2' };
  const official = (upstream_model, more) => ({ official: { bucket: 'credit', price, candidates: [{ channel: 'main', upstream_model }], ...more } });
  const routed = { routed: { bucket: 'wallet', price: { input: '7', output: '14' }, candidates: [{ channel: 'backup', upstream_model: 'demo-large' }] } };
  const model = (routes) => ({ name: 'A model', family: 'test', kind: 'chat', context_length: 128000, max_output_tokens: 4096, routes });
  const free = { price: { input: '0', output: '2' } };
  Object.assign(document.models, {
    plain: model(official('demo-large')),
    both: model({ ...official('demo-official'), ...routed }),
    exact: model(official('demo-large', free)),
    slow: model(official('slow-stream', free)),
    'slow-both': model({ ...official('slow-headers'), ...routed }),
    huge: model(official('huge-usage')),
    unpriced: model(official('demo-large', { price: undefined })),
  });
  // What is known of a candidate outlives a test, so that each has its own.
  for (const name of ['down-allowed', 'down-forbidden', 'down-uncovered', 'down-often']) {
    document.models[name] = model({ ...official(`fail-503-${name}`), ...routed });
  }
  return document;
}

async function read(answer) {
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

/** An adjustment of `credit`, unless `more` says otherwise; answers status and body. */
async function adjust(account, amount, more = {}, headers = {}) {
  const answer = await gateway.fetch(adminToken, `/admin/v1/accounts/${account}/adjustments`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ bucket: 'credit', amount, reason: 'test', ...more }),
  });
  return { status: answer.status, body: await answer.json() };
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

/** Waits until nothing is held, checks the balance law entry by entry, and answers everything, oldest first. */
async function audit(secret) {
  const view = await until(async () => {
    const view = await balances(secret);
    return Object.values(view).every(({ open_holds }) => open_holds.length === 0) && view;
  }, 'the end of every hold');
  const receipts = new Map((await all(secret, '/v1/receipts')).reverse().map((receipt) => [receipt.id, receipt]));
  const entries = (await all(secret, '/v1/ledger')).reverse();
  const sums = {};
  for (const { bucket, amount, balance_after, kind, request, id } of entries) {
    sums[bucket] = (sums[bucket] ?? 0n) + nanos(amount);
    assert.equal(sums[bucket], nanos(balance_after));
    assert.ok(sums[bucket] >= 0n, 'no balance is ever below zero');
    if (kind !== 'charge') continue;
    const receipt = receipts.get(request);
    assert.deepEqual([receipt.entry_ids, -nanos(receipt.charge), receipt.balance_after], [[id], nanos(amount), balance_after]);
  }
  const charged = entries.filter(({ kind }) => kind === 'charge').length;
  assert.equal([...receipts.values()].filter(({ charge }) => charge !== '0').length, charged, 'every charge has its entry');
  for (const { bucket, balance } of Object.values(view)) assert.equal(nanos(balance), sums[bucket] ?? 0n);
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
