// Money that comes in and goes back: orders paid by Stripe or by transfer, refunds, disputes, debts
// and redeem codes. Stripe is simulated; its messages are signed as Stripe signs them.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { adminToken, readStream, startGateway, until } from './support/gateway.mjs';
import { all, allOf, audit as auditBooks, balances, nanos, select } from './support/books.mjs';
import { testCatalog } from './support/catalog.mjs';
import { completed, deliver, dispute, json, paymentOf, refunded, session, signature, startStripe, stripeKey, webhookSecret } from './support/stripe.mjs';

let stripe, gateway, silent;
/** Every answer that was given, and every code that was made. */
const [told, codes] = [[], []];
/** An amount whose page Stripe never opens, nor says so; asked for at once, because it takes a while. */
const silence = '66666.66';

before(async () => {
  stripe = await startStripe();
  stripe.scripts.set('6666666', () => {});
  const vars = { STRIPE_SECRET_KEY: stripeKey, STRIPE_WEBHOOK_SECRET: webhookSecret, STRIPE_API_URL: stripe.url, TOPUP_RETURN_URL: 'https://shop.example/balance?tab=1' };
  gateway = await startGateway({ catalog, vars });
  silent = place(await newCustomer(), { amount: silence });
});
after(() => Promise.all([gateway?.close(), stripe?.close()]));

describe('a card payment', () => {
  test('asks Stripe for one page for exactly this order', async () => {
    const customer = await newCustomer();
    const order = await newOrder(customer, { amount: '12.30' });
    const { state, url, amount, currency, provider, account, bucket } = order;
    assert.deepEqual({ state, amount, currency, provider, account, bucket }, { state: 'pending', amount: '12.3', currency: 'USD', provider: 'stripe', account: customer.account, bucket: 'credit' });
    assert.match(url, /^https:\/\/checkout\.stripe\.com\//);
    assert.match(order.next_step, /`url`/);
    assert.equal('deliveries' in order, false);

    const [call, ...others] = callsFor(order);
    assert.equal(others.length, 0);
    assert.deepEqual([call.method, call.path], ['POST', '/v1/checkout/sessions']);
    assert.equal(call.headers.authorization, `Bearer ${stripeKey}`);
    assert.equal(call.headers['content-type'], 'application/x-www-form-urlencoded');
    assert.equal(call.headers['idempotency-key'], order.id);
    const { success_url, cancel_url, expires_at, ...form } = call.form;
    assert.deepEqual(form, {
      mode: 'payment',
      client_reference_id: order.id,
      'metadata[account]': customer.account,
      'metadata[order]': order.id,
      'payment_intent_data[metadata][account]': customer.account,
      'payment_intent_data[metadata][order]': order.id,
      'line_items[0][quantity]': '1',
      'line_items[0][price_data][currency]': 'usd',
      'line_items[0][price_data][unit_amount]': '1230',
      'line_items[0][price_data][product_data][name]': 'Balance: credit',
    });
    for (const [text, result] of [[success_url, 'paid'], [cancel_url, 'cancelled']]) {
      const back = new URL(text);
      assert.equal(back.origin + back.pathname, 'https://shop.example/balance');
      assert.deepEqual(Object.fromEntries(back.searchParams), { tab: '1', topup: order.id, result });
    }
    // The page ends with the order, and lives for the half hour at least that Stripe asks for.
    assert.equal(Number(expires_at), Math.floor(Date.parse(order.expires_at) / 1000));
    assert.ok(Date.parse(order.expires_at) - Date.parse(order.created_at) > 30 * 60_000);
  });

  test('is credited when the signed message comes, with an entry that names the order', async () => {
    const customer = await newCustomer();
    const order = await newOrder(customer);
    assert.equal((await audit(customer)).credit.balance, '0', 'an order is no balance');
    const { status, body } = await tell(completed(order));
    assert.equal(status, 200);
    assert.deepEqual(body, { received: true, order: order.id, state: 'paid', effect: 'paid', times: 1 });

    const { credit, entries } = await audit(customer);
    assert.deepEqual([credit.balance, credit.available, credit.debt], ['10', '10', '0']);
    assert.equal(entries.length, 1);
    const { id, kind, amount, bucket, order: named, author, reason } = entries[0];
    assert.deepEqual({ kind, amount, bucket, named, author }, { kind: 'top_up', amount: '10', bucket: 'credit', named: order.id, author: undefined });
    assert.equal(reason, `Order ${order.id} was paid.`);

    const seen = await view(customer, order);
    assert.deepEqual([seen.state, seen.entry, seen.payment, seen.refunded], ['paid', id, paymentOf(order), '0']);
    assert.ok(seen.paid_at);
    assert.ok(seen.next_step);
    assert.equal('url' in seen, false, 'there is nothing to pay any more');
    assert.equal('deliveries' in seen, false);
    const [delivery] = (await whole(customer, order)).deliveries;
    assert.deepEqual([delivery.kind, delivery.effect, delivery.times], ['checkout.session.completed', 'paid', 1]);
  });
});

describe('a message that Stripe did not sign', () => {
  const forgeries = [
    ['has no header', (body) => [body, { header: null }]],
    ['has an empty header', (body) => [body, { header: '' }]],
    ['was changed after it was signed', (body) => [body.replace('"amount_total":1000', '"amount_total":1001'), { header: signature(body) }]],
    ['has one more space', (body) => [`${body} `, { header: signature(body) }]],
  ];
  for (const [name, forge] of forgeries) {
    test(`because it ${name} is refused, and changes nothing`, async () => {
      const customer = await newCustomer();
      const order = await newOrder(customer);
      const body = JSON.stringify(completed(order));
      const { status, body: answer, text } = await tell(...forge(body));
      assert.equal(status, 400);
      assert.deepEqual([answer.error.code, answer.error.param], ['invalid_request', 'Stripe-Signature']);
      assert.ok(answer.error.metadata.next_step);
      const { deliveries, state } = await whole(customer, order);
      assert.deepEqual([state, deliveries], ['pending', []]);
      assert.equal((await audit(customer)).credit.balance, '0');
      assert.equal(/[0-9a-f]{64}/.test(text), false, 'nor does it tell what would be right');
    });
  }
});

describe('a message from Stripe', () => {
  test('that comes many times, at once and later, is counted and credits once', async () => {
    const customer = await newCustomer();
    const order = await newOrder(customer);
    const message = completed(order);
    const answers = await Promise.all(Array.from({ length: 10 }, () => tell(message)));
    for (const { status, body } of answers) assert.deepEqual([status, body.state], [200, 'paid']);
    assert.deepEqual(answers.map(({ body }) => body.times).sort((a, b) => a - b), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert.equal((await tell(message, { at: Math.floor(Date.now() / 1000) - 200 })).body.times, 11);
    const { deliveries } = await whole(customer, order);
    assert.deepEqual(deliveries.map(({ id, times, effect }) => ({ id, times, effect })), [{ id: message.id, times: 11, effect: 'paid' }]);
    const { entries, credit } = await audit(customer);
    assert.deepEqual([entries.length, credit.balance], [1, '10']);
  });
});

describe('another amount or currency than was ordered', () => {
  test('and the right one, told while the operator decides, are credited once', async () => {
    const customer = await newCustomer();
    const order = await newOrder(customer);
    await tell(completed(order, { amount_total: 1 }));
    const decide = (word) => review(customer, order, word, { reason: 'x', ...(word === 'approve' && { amount: '10' }) });
    const [first, second, third, answer] = await Promise.all([decide('approve'), decide('reject'), decide('approve'), tell(completed(order))]);
    assert.equal(answer.body.state, 'paid');
    for (const { status } of [first, second, third]) assert.ok([200, 409].includes(status));
    const { credit, entries } = await audit(customer);
    assert.deepEqual([credit.balance, entries.length], ['10', 1]);
  });
});

describe('while Stripe fails', () => {
  const failures = [
    ['with 500', '777.01', (response) => json(response, 500, { error: { message: `Bad key ${stripeKey}.`, type: 'api_error' } })],
    ['with 401', '777.02', (response) => json(response, 401, { error: { message: `Invalid API Key provided: "${stripeKey}"` } })],
    ['with garbage', '777.03', (response) => response.end('<html>Welcome</html>')],
    ['with nothing', '777.04', (response) => response.end()],
    ['with a session without a page', '777.05', (response) => json(response, 200, { id: 'cs_test_1', url: null })],
    ['by a reset', '777.06', (response) => response.socket.resetAndDestroy()],
    ['by a redirect', '777.07', (response) => response.writeHead(307, { location: `${stripe.url}/elsewhere` }).end()],
  ];
  for (const [name, amount, script] of failures) {
    test(`${name}, the order is failed with a reason, and there is nothing to pay`, async () => {
      stripe.scripts.set(amount.replace('.', ''), script);
      const customer = await newCustomer();
      const { status, body } = await place(customer, { amount });
      assertUnopened(status, body);
      assert.equal(callsFor(body).length, 1, 'it is asked once, and nobody follows it elsewhere');
      assert.ok(gateway.logs.some(({ message }) => message.includes(body.id)), 'the operator finds out why');
      assert.equal((await audit(customer)).entries.length, 0);
    });
  }
});

function assertUnopened(status, order) {
  assert.equal(status, 201);
  assert.deepEqual([order.state, order.session, 'url' in order], ['failed', null, false]);
  assert.match(order.reason, /did not open a page/);
  assert.ok(order.next_step);
}

describe('an order', () => {
  test('that is sent twice at the same time can be paid', async () => {
    const customer = await newCustomer();
    const answers = await Promise.all(Array.from({ length: 5 }, () => place(customer, {}, { 'idempotency-key': 'impatient' })));
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
    const { state, url } = await view(customer, answers[0].body);
    assert.deepEqual([state, typeof url], ['pending', 'string']);
  });

  test('that is repeated because the gateway died before Stripe answered asks the same of Stripe again', async () => {
    const customer = await newCustomer();
    const headers = { 'idempotency-key': 'patient' };
    // As if it had died: the first call's answer never comes.
    const first = new Promise((resolve) => stripe.scripts.set('88888', (_, call) => resolve(call)));
    const lost = place(customer, { amount: '888.88' }, headers).catch(() => {});
    const { raw } = await first;
    stripe.scripts.delete('88888');
    // Stripe's moments are seconds, and this is about one that has changed.
    const second = () => Math.floor(Date.now() / 1000);
    const asked = second();
    await until(() => second() > asked, 'the next second');
    const { body } = await place(customer, { amount: '888.88' }, headers);
    const calls = callsFor(body);
    assert.equal(calls.length, 2);
    assert.equal(calls[1].raw, raw, 'Stripe refuses an Idempotency-Key with other parameters');
    assert.equal(body.state, 'pending');
    assert.ok(body.url);
    pendingAnswers.push(lost);
  });

  test('is listed, newest first, page by page, however it was made', async () => {
    const customer = await newCustomer();
    const ids = [];
    for (let n = 0; n < 6; n += 1) ids.unshift((await newOrder(customer, { provider: 'manual' }, n % 2 ? {} : { 'idempotency-key': `n${n}` })).id);
    assert.deepEqual((await gateway.get(customer.secret, '/v1/topups')).data.map(({ id }) => id), ids);
    assert.deepEqual((await all(gateway, customer.secret, '/v1/topups', 2)).map(({ id }) => id), ids);
    assert.deepEqual((await ask(adminToken, 'GET', `/admin/v1/accounts/${customer.account}/topups`)).body.data.length, 6);
  });
});

describe('a transfer', () => {
  test('is in review until the operator approves it, and twice the same word is one', async () => {
    const customer = await newCustomer();
    const calls = stripe.calls.length;
    const reference = `INV 7'); DROP TABLE orders; -- "{}" 付款`;
    const order = await newOrder(customer, { bucket: 'wallet', amount: '0.001', provider: 'manual', reference });
    assert.equal(stripe.calls.length, calls);
    assert.deepEqual([order.state, order.reference, order.expires_at, order.session, 'url' in order], ['in_review', reference, null, null, false]);
    assert.ok(order.next_step);
    assert.equal((await reviewList(order)).reference, reference);

    const verdict = { reason: 'It is there', author: 'kim' };
    const answers = await Promise.all(Array.from({ length: 5 }, () => review(customer, order, 'approve', verdict)));
    for (const { status, body } of answers) assert.deepEqual([status, body.state], [200, 'paid']);
    const { wallet, entries } = await audit(customer);
    assert.deepEqual([wallet.balance, entries.length, entries[0].author], ['0.001', 1, undefined]);
    for (const [word, other] of [['reject', verdict], ['approve', { ...verdict, author: 'sam' }], ['approve', { ...verdict, reason: 'Another' }], ['approve', { ...verdict, note: 'Another' }]]) {
      const { status, body } = await review(customer, order, word, other);
      assert.deepEqual([status, body.error?.code], [409, 'conflict'], JSON.stringify([word, other]));
    }
    assert.equal((await audit(customer)).wallet.balance, '0.001');
    await until(async () => (await gateway.admin('GET', '/admin/v1/topups?limit=100')).data.every(({ id }) => id !== order.id), 'the end of the review');
  });

  test('of any account is in the operator\'s one list', async () => {
    const orders = await Promise.all(Array.from({ length: 3 }, async () => newOrder(await newCustomer(), { provider: 'manual' })));
    for (const order of orders) assert.equal((await reviewList(order)).account, order.account);
    const { status, body } = await ask(adminToken, 'GET', '/admin/v1/topups?state=paid&limit=1');
    assert.deepEqual([status, body.data.length, body.data[0].state], [200, 1, 'paid']);
  });
});

describe('a refund', () => {
  test('that is asked for many times at once never gives back more than was paid', async () => {
    const customer = await newCustomer({ credit: '100' });
    const order = await paidOrder(customer);
    const answers = await Promise.all(Array.from({ length: 10 }, () => refund(customer, order, { amount: '4', reason: 'x' })));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 201, ...Array(8).fill(400)]);
    assert.equal((await audit(customer)).credit.balance, '102');
  });

  test('with an Idempotency-Key is made once', async () => {
    const customer = await newCustomer();
    const order = await paidOrder(customer);
    const headers = { 'idempotency-key': 'refund-1' };
    const sent = { amount: '4', reason: 'Once' };
    const answers = await Promise.all(Array.from({ length: 10 }, () => refund(customer, order, sent, headers)));
    answers.push(await refund(customer, order, sent, headers));
    for (const { status, body } of answers) assert.deepEqual([status, body.refunded], [201, '4']);
    const { credit, entries } = await audit(customer);
    assert.deepEqual([credit.balance, entries.length], ['6', 2]);
    const again = await paidOrder(customer);
    assert.equal((await refund(customer, again, { ...sent, amount: '5' }, headers)).body.refunded, '5', 'the key is the order\'s own');
  });

  test('of more than is left is refused with what is, or becomes a debt that new money pays first', async () => {
    const customer = await newCustomer();
    const order = await paidOrder(customer);
    await adjust(customer, '-7');
    for (const more of [{}, { if_used: 'block' }]) {
      const { status, body } = await refund(customer, order, { amount: '10', reason: 'Leaving', ...more });
      assert.equal(status, 409);
      const { available, refundable, next_step } = body.error.metadata;
      assert.deepEqual({ available, refundable }, { available: '3', refundable: '10' });
      assert.match(next_step, /debt/);
    }
    assert.equal((await refund(customer, order, { amount: '10', reason: 'x', if_used: 'forget' })).status, 400);
    assert.equal((await audit(customer)).credit.balance, '3');

    assert.equal((await refund(customer, order, { amount: '10', reason: 'Leaving', if_used: 'debt' })).status, 201);
    const owing = await audit(customer);
    assert.deepEqual([owing.credit.balance, owing.credit.available, owing.credit.debt], ['0', '0', '7']);
    const { amount, debt_after, refund: told } = owing.entries[0];
    assert.deepEqual([amount, debt_after, told.already_used, told.taken, told.debt], ['-3', '7', '7', '3', '7']);
    const refused = await gateway.call(customer.secret, 'demo-large');
    assert.equal(refused.status, 402);
    assert.match((await refused.json()).error.message, /7 USD is owed/);

    // What comes in pays the debt: a part of it first, then the rest.
    await paidOrder(customer, { amount: '2' });
    const less = await audit(customer);
    assert.deepEqual([less.credit.balance, less.credit.debt], ['0', '5']);
    assert.deepEqual(less.entries.slice(0, 2).map(({ kind, amount, debt_after }) => ({ kind, amount, debt_after })), [{ kind: 'debt_payment', amount: '-2', debt_after: '5' }, { kind: 'top_up', amount: '2', debt_after: '7' }]);
    await paidOrder(customer, { amount: '20' });
    const none = await audit(customer);
    assert.deepEqual([none.credit.balance, none.credit.available, none.credit.debt], ['15', '15', '0']);
    assert.deepEqual(none.entries.slice(0, 2).map(({ kind, amount }) => ({ kind, amount })), [{ kind: 'debt_payment', amount: '-5' }, { kind: 'top_up', amount: '20' }]);
    assert.equal((await gateway.call(customer.secret, 'demo-large')).status, 200);
  });

  test('takes nothing of what an open request has set aside; the end of the request does not escape it', async () => {
    const customer = await newCustomer();
    const order = await paidOrder(customer, { amount: '0.01' });
    const stream = await gateway.call(customer.secret, { model: 'slow-stream', stream: true, max_tokens: 20 });
    const { held, available } = (await balances(gateway, customer.secret)).credit;
    assert.ok(nanos(held) > 0n);
    const blocked = await refund(customer, order, { amount: '0.01', reason: 'x' });
    assert.deepEqual([blocked.status, blocked.body.error.metadata.available], [409, available]);
    assert.equal((await refund(customer, order, { amount: '0.01', reason: 'x', if_used: 'debt' })).status, 201);
    const during = (await balances(gateway, customer.secret)).credit;
    assert.deepEqual([during.balance, during.held, during.available, during.debt], [held, held, '0', held]);

    await readStream(stream);
    const { charge } = await gateway.receipt(customer.secret, stream);
    assert.ok(nanos(charge) > 0n && nanos(charge) < nanos(held));
    const { credit } = await audit(customer);
    assert.deepEqual([credit.balance, credit.debt], ['0', charge], 'what was not used went back');
  });

  test('of Stripe without our metadata is found by its payment; what was used becomes a debt', async () => {
    const customer = await newCustomer();
    const order = await paidOrder(customer);
    await adjust(customer, '-10');
    assert.equal((await tell(refunded(order, '10', { metadata: {} }))).body.order, order.id);
    const { credit } = await audit(customer);
    assert.deepEqual([credit.balance, credit.debt], ['0', '10']);
  });
});

describe('a dispute', () => {
  test('takes the payment back, and gives it again when it is won', async () => {
    const customer = await newCustomer();
    const order = await paidOrder(customer);
    await adjust(customer, '-4');
    const withdrawn = dispute('withdrawn', order);
    for (let n = 0; n < 3; n += 1) assert.deepEqual((await tell(withdrawn)).body.order, order.id);
    await tell(dispute('withdrawn', order));
    const taken = await audit(customer);
    assert.deepEqual([taken.credit.balance, taken.credit.debt], ['0', '4']);
    const won = dispute('reinstated', order);
    for (let n = 0; n < 3; n += 1) assert.equal((await tell(won)).status, 200);
    await tell(dispute('reinstated', order));
    const { credit, entries } = await audit(customer);
    assert.deepEqual([credit.balance, credit.debt], ['6', '0']);
    assert.deepEqual(entries.map(({ kind, amount }) => `${kind} ${amount}`), ['debt_payment -4', 'refund 10', 'refund -6', 'adjustment -4', 'top_up 10']);
    assert.equal((await view(customer, order)).refunded, '0');
  });
});

describe('a redeem code', () => {
  test('is credited to one of many that try at once', async () => {
    const [{ id, code }] = await newCodes();
    const customers = await Promise.all(Array.from({ length: 4 }, () => newCustomer()));
    const tries = customers.flatMap((customer) => Array.from({ length: 5 }, async () => ({ customer, ...(await redeem(customer, code)) })));
    const winners = new Set();
    for (const { customer, status, body } of await Promise.all(tries)) {
      if (status === 200) winners.add(customer);
      else assert.deepEqual([status, body.error.code, body.error.param], [404, 'not_found', 'code']);
    }
    assert.equal(winners.size, 1);
    const [winner] = winners;
    for (const customer of customers) {
      const { credit, entries } = await audit(customer);
      assert.deepEqual([credit.balance, entries.length], customer === winner ? ['2.5', 1] : ['0', 0]);
    }
    const [entry] = (await audit(winner)).entries;
    assert.deepEqual([entry.kind, entry.reason, entry.author, entry.note], ['redemption', null, undefined, 'Enjoy']);
    const listed = await listedCode(id);
    assert.equal(listed.account, winner.account);
    assert.ok(listed.taken_at);
  });

  test('that is unknown, revoked or over answers one and the same', async () => {
    const customer = await newCustomer();
    const [gone, over] = await newCodes({ count: 2 });
    assert.deepEqual((await ask(adminToken, 'DELETE', `/admin/v1/codes/${gone.id}`)).body, { id: gone.id, revoked: true });
    await select(gateway, 'UPDATE codes SET expires_at = ? WHERE id = ?', Date.now() - 1, over.id);
    const unknown = 'ABCDE-FGHJK-LMNPQ-RSTUV';
    const answers = [];
    for (const code of [unknown, gone.code, over.code, 'short', '', `${gone.code}A`, 'x'.repeat(1000)]) {
      const { status, body } = await redeem(customer, code);
      assert.equal(status, 404, code);
      answers.push(JSON.stringify(body));
    }
    assert.equal(new Set(answers).size, 1);
    assert.ok((await listedCode(gone.id)).revoked_at);
    assert.equal((await ask(adminToken, 'DELETE', `/admin/v1/codes/${gone.id}`)).status, 404);
    assert.equal((await ask(adminToken, 'DELETE', '/admin/v1/codes/code-none')).status, 404);
    assert.equal((await audit(customer)).entries.length, 0);
    for (const body of [{}, { code: 7 }, { code: unknown, account: customer.account }]) assert.equal((await ask(customer.secret, 'POST', '/v1/redeem', body)).status, 400);
    assert.equal((await ask('none', 'POST', '/v1/redeem', { code: unknown })).status, 401);
  });

  test('is one of 500 that are stored by one statement, and all of them work', async () => {
    const made = await newCodes({ count: 500, bucket: 'wallet' });
    assert.equal(new Set(made.map(({ code }) => code)).size, 500);
    const customer = await newCustomer();
    assert.equal((await redeem(customer, made[499].code)).body.bucket, 'wallet');
    assert.equal((await audit(customer)).wallet.balance, '2.5');
  });

  test('that was taken but not credited, as by a crash, is credited when it is sent again', async () => {
    const [customer, other] = [await newCustomer(), await newCustomer()];
    const [{ id, code }] = await newCodes();
    await select(gateway, 'UPDATE codes SET account = ?, taken_at = 1, expires_at = 2 WHERE id = ?', customer.account, id);
    assert.equal((await redeem(other, code)).status, 404);
    for (let n = 0; n < 2; n += 1) assert.equal((await redeem(customer, code)).status, 200);
    assert.equal((await audit(customer)).credit.balance, '2.5');
  });
});

test('while D1 is broken payments are credited; what needs it is asked for again and not lost', async () => {
  const customer = await newCustomer();
  const [order, older] = [await newOrder(customer), await paidOrder(customer)];
  const [{ code }] = await newCodes();
  for (const table of ['orders', 'codes']) await select(gateway, `ALTER TABLE ${table} RENAME TO ${table}_away`);
  try {
    assert.deepEqual((await tell(completed(order))).body, { received: true, order: order.id, state: 'paid', effect: 'paid', times: 1 });
    assert.equal((await tell(dispute('withdrawn', older))).status, 503, 'Stripe sends it again');
    assert.equal((await redeem(customer, code)).status, 503);
    assert.equal((await audit(customer)).credit.balance, '20');
  } finally {
    for (const table of ['orders', 'codes']) await select(gateway, `ALTER TABLE ${table}_away RENAME TO ${table}`);
  }
  assert.equal((await tell(dispute('withdrawn', older))).body.order, older.id);
  assert.equal((await redeem(customer, code)).status, 200);
  assert.equal((await audit(customer)).credit.balance, '12.5');
});

test('while Stripe says nothing, the order is failed in the end', async () => {
  const { status, body } = await silent;
  assertUnopened(status, body);
});

// What waits for an answer that does not come; the crash ends it.
const pendingAnswers = [];

test('a crash between and amid messages loses nothing and credits nothing twice', async () => {
  const customers = await Promise.all(Array.from({ length: 3 }, () => newCustomer()));
  const orders = await Promise.all(customers.map((customer) => newOrder(customer)));
  const messages = orders.map((order) => completed(order));
  await tell(messages[0]);
  const amid = [...messages, ...messages].map((message) => deliver(gateway.url, message).catch(() => {}));
  await gateway.kill();
  await Promise.all([...amid, ...pendingAnswers]);
  for (const message of [...messages, ...messages]) {
    const { status, body } = await until(() => tell(message).catch(() => undefined), 'the gateway');
    assert.deepEqual([status, body.state], [200, 'paid']);
  }
  await tell(refunded(orders[0], '4'));
  await gateway.kill();
  await until(() => tell(refunded(orders[0], '4')).catch(() => undefined), 'the gateway');
  for (const [index, customer] of customers.entries()) {
    const { credit, entries } = await audit(customer);
    assert.deepEqual([credit.balance, entries.length], index === 0 ? ['6', 2] : ['10', 1]);
  }
  assert.equal((await tell(dispute('withdrawn', orders[1]))).body.order, orders[1].id, 'payments are still found');
});

test('after all of it every account agrees with its journal and its copy', async () => {
  const reports = await allOf(gateway, '/admin/v1/reconcile', 100);
  assert.ok(reports.length > 20);
  assert.deepEqual(reports.filter(({ ok, is_whole }) => !ok || !is_whole), []);
});

test('no secret and no code is in any answer, log line or stored byte', async () => {
  const secrets = [stripeKey, webhookSecret, 'NeverToBeShown', ...codes.slice(0, 20).flatMap((code) => [code, code.replaceAll('-', ''), code.toLowerCase()])];
  const lines = gateway.logs.map(({ message }) => message);
  const stored = readdirSync(gateway.state, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)).toString('latin1'));
  assert.ok(stored.some((text) => text.includes('checkout.session.completed')), 'what is stored is found');
  assert.ok(codes.length > 4 && told.length > 60);
  for (const [where, texts] of Object.entries({ told, lines, stored })) {
    const all = texts.join('\n');
    for (const secret of secrets) assert.equal(all.includes(secret), false, `${secret} in ${where}`);
  }
});

function catalog(upstreamUrl) {
  const document = testCatalog(upstreamUrl);
  Object.assign(document.buckets, { yen: { label: 'Yen', currency: 'JPY' }, dinar: { label: 'Dinar', currency: 'KWD' } });
  return document;
}

async function newCustomer(balances) {
  const account = await gateway.newAccount(balances);
  return { account, secret: await gateway.newKey(account) };
}

/** A request; answers status, headers and body, and notes what was said. */
async function ask(secret, method, path, body, headers = {}) {
  const response = await gateway.fetch(secret, path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
  const text = await response.text();
  told.push(text);
  return { status: response.status, headers: response.headers, body: JSON.parse(text) };
}

async function tell(message, options) {
  const answer = await deliver(gateway.url, message, options);
  told.push(answer.text);
  return answer;
}

/** An order of 10 USD, unless `more` says otherwise. */
const place = ({ secret }, more = {}, headers = {}) => ask(secret, 'POST', '/v1/topups', { bucket: 'credit', amount: '10', ...more }, headers);

async function newOrder(customer, more, headers) {
  const { status, body } = await place(customer, more, headers);
  assert.equal(status, 201, JSON.stringify(body));
  return body;
}

async function paidOrder(customer, more) {
  const order = await newOrder(customer, more);
  const { body } = await tell(completed(order));
  assert.equal(body.state, 'paid', JSON.stringify(body));
  return order;
}

const callsFor = (order) => stripe.calls.filter(({ form }) => form.client_reference_id === order.id);
/** An order as its owner sees it. */
const view = async ({ secret }, { id }) => (await ask(secret, 'GET', `/v1/topups/${id}`)).body;
/** An order as the operator sees it. */
const whole = async ({ account }, { id }) => (await ask(adminToken, 'GET', `/admin/v1/accounts/${account}/topups/${id}`)).body;
const review = ({ account }, { id }, word, verdict) => ask(adminToken, 'POST', `/admin/v1/accounts/${account}/topups/${id}/${word}`, verdict);
const refund = ({ account }, { id }, body, headers) => ask(adminToken, 'POST', `/admin/v1/accounts/${account}/topups/${id}/refunds`, body, headers);
const adjust = ({ account }, amount) => gateway.admin('POST', `/admin/v1/accounts/${account}/adjustments`, { bucket: 'credit', amount, reason: 'used' });
const redeem = ({ secret }, code) => ask(secret, 'POST', '/v1/redeem', { code });

/** An order in the operator's list of those in review, which follows within seconds. */
const reviewList = ({ id }) => until(async () => (await ask(adminToken, 'GET', '/admin/v1/topups?state=in_review&limit=100')).body.data.find((order) => order.id === id), `${id} in review`);

async function newCodes(more = {}) {
  const made = await gateway.admin('POST', '/admin/v1/codes', { bucket: 'credit', amount: '2.5', expires_at: '2999-01-01T00:00:00Z', reason: 'Welcome', author: 'kim', note: 'Enjoy', ...more });
  codes.push(...made.data.map(({ code }) => code));
  return made.data;
}

async function listedCode(id) {
  const listed = await allOf(gateway, '/admin/v1/codes');
  told.push(JSON.stringify(listed));
  return listed.find((code) => code.id === id);
}

/** Checks the laws of an account's books; answers its balances by bucket, and its entries, newest first. */
async function audit({ secret }) {
  const { entries, balances } = await auditBooks(gateway, secret);
  for (const { balance, debt } of Object.values(balances)) assert.ok(nanos(balance) === 0n || nanos(debt) === 0n, 'who owes has nothing to spend');
  return { entries: entries.reverse(), ...balances };
}
