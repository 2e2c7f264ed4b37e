// What can be read of the books as a whole: exports, activity and credits, the operator's lists
// across accounts, and whether everything agrees. Official prices are 1 USD a million in and 2
// out, routed ones 7 and 14 CNY; the usual answer is 8 tokens in and 16 out.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { all, allOf, changeObject, decimal, nanos, reopen, select, settled, total } from './support/books.mjs';
import { testCatalog } from './support/catalog.mjs';
import { adminToken, startGateway, until } from './support/gateway.mjs';

const day = 86_400_000;

let gateway;
before(async () => (gateway = await startGateway({ catalog })));
after(() => gateway?.close());

/** A label that a spreadsheet would run, that has to be quoted, and that is not all ASCII. */
const label = '=1+1, "größe" 大';

describe('an export', () => {
  let caller;
  before(async () => (caller = await busyAccount()));

  test('of receipts has every column, as the receipts have it', async () => {
    const receipts = await all(gateway, caller.secret, '/v1/receipts');
    assert.equal(receipts.length, caller.count);
    const expected = receipts.map(receiptColumns);
    const jsonl = await exported(caller.secret, '/v1/receipts?format=jsonl');
    assert.deepEqual(jsonl.rows, expected);
    const csv = await exported(caller.secret, '/v1/receipts?format=csv');
    assert.deepEqual(csv.header, Object.keys(expected[0]));
    assert.deepEqual(csv.rows, expected.map(inCsv));
    assert.ok(csv.rows.every((row) => row[4] === `'${label}` || row[4] === 'other'), 'nothing is run by a spreadsheet');
    assert.equal(csv.type, 'text/csv; charset=utf-8; header=present');
    assert.equal(csv.disposition, 'attachment; filename="receipts.csv"');
    assert.equal(jsonl.type, 'application/jsonl; charset=utf-8');
    assert.equal(jsonl.disposition, 'attachment; filename="receipts.jsonl"');
  });

  test('of the ledger has one row for each entry, with what the entry is about', async () => {
    const receipts = new Map((await all(gateway, caller.secret, '/v1/receipts')).map((receipt) => [receipt.id, receipt]));
    const entries = await all(gateway, caller.secret, '/v1/ledger');
    const expected = entries.map((entry) => (entry.kind === 'charge' ? receiptColumns(receipts.get(entry.request)) : adjustmentColumns(entry)));
    assert.deepEqual((await exported(caller.secret, '/v1/ledger?format=jsonl')).rows, expected);
    const csv = await exported(caller.secret, '/v1/ledger?format=csv');
    assert.deepEqual(csv.rows, expected.map(inCsv));
    assert.equal(csv.disposition, 'attachment; filename="ledger.csv"');
    for (const bucket of ['credit', 'wallet']) {
      const amounts = entries.filter((entry) => entry.bucket === bucket).map(({ amount }) => amount);
      const last = entries.find((entry) => entry.bucket === bucket);
      assert.equal(total(amounts), last.balance_after);
    }
  });

  test('by the operator says the same, for one account and for all', async () => {
    const path = `account=${caller.account}&format=csv`;
    await copied(caller);
    for (const list of ['receipts', 'ledger']) {
      const own = await exported(caller.secret, `/v1/${list}?format=csv`);
      const operators = await exported(adminToken, `/admin/v1/${list}?${path}`);
      // Besides what customers get, credentials, reasons and who did what.
      assert.deepEqual(operators.header, [...own.header, 'author', 'what', 'on_behalf_of']);
      const forCustomers = (row) => own.header.map((name, at) => (['credential', 'adjustment_reason'].includes(name) ? '' : row[at]));
      assert.deepEqual(operators.rows.map(forCustomers), own.rows);
      const [name, value] = list === 'receipts' ? ['credential', 'TEST_UPSTREAM_KEY'] : ['adjustment_reason', 'a, "reason"'];
      assert.ok(operators.rows.some((row) => row[operators.header.indexOf(name)] === value), name);
    }
    const other = await gateway.richKey();
    await gateway.receipt(other, await gateway.call(other, 'demo-large'));
    await until(async () => {
      const { rows } = await exported(adminToken, '/admin/v1/receipts?format=jsonl');
      return rows.length > caller.count && new Set(rows.map(({ account }) => account)).size >= 2;
    }, 'both accounts');
  });

  test('has the rows of a filter, and so have the lists', async () => {
    const receipts = await all(gateway, caller.secret, '/v1/receipts');
    const entries = await all(gateway, caller.secret, '/v1/ledger');
    const middle = receipts[Math.floor(receipts.length / 2)];
    const projectOf = new Map(receipts.map((receipt) => [receipt.id, receipt.project]));
    const requested = new Map(receipts.map((receipt) => [receipt.id, receipt.requested_model]));
    // Of each: the query, what it means for a receipt, and what for an entry.
    const filters = [
      [`key=${caller.keys[1]}`, ({ key }) => key === caller.keys[1], ({ key }) => key === caller.keys[1]],
      [`project=${caller.project}`, ({ project }) => project === caller.project, ({ request }) => projectOf.get(request) === caller.project],
      ['model=both-routes', (it) => it.model === 'both-routes' || it.requested_model === 'both-routes', ({ model }) => model === 'both-routes'],
      ['model=both-latest', ({ requested_model }) => requested_model === 'both-latest', ({ request }) => requested.get(request) === 'both-latest'],
      ['route=routed', ({ route }) => route === 'routed', ({ route }) => route === 'routed'],
      ['bucket=wallet', ({ bucket }) => bucket === 'wallet', ({ bucket }) => bucket === 'wallet'],
      ['status=failed', ({ status }) => status === 'failed', () => false],
      ['run=exported', ({ run }) => run === 'exported', ({ run }) => run === 'exported'],
      ['kind=charge', () => true, ({ kind }) => kind === 'charge'],
      ['kind=adjustment', () => false, ({ kind }) => kind === 'adjustment'],
      [`since=${middle.closed_at}`, ({ closed_at }) => at(closed_at) >= at(middle.closed_at), (entry) => at(entry.at) >= at(middle.closed_at)],
      [`until=${middle.closed_at}`, ({ closed_at }) => at(closed_at) < at(middle.closed_at), (entry) => at(entry.at) < at(middle.closed_at)],
      ['route=official&status=completed&run=exported', (it) => it.route === 'official' && it.status === 'completed' && it.run === 'exported', (it) => it.route === 'official' && it.run === 'exported'],
      ['model=none-such', () => false, () => false],
    ];
    await copied(caller);
    for (const [query, ofReceipt, ofEntry] of filters) {
      for (const [list, rows] of [['receipts', receipts.filter(ofReceipt)], ['ledger', entries.filter(ofEntry)]]) {
        const ids = rows.map(({ id }) => id);
        const idOf = list === 'receipts' ? ({ request_id }) => request_id : ({ entry_id }) => entry_id;
        assert.deepEqual((await all(gateway, caller.secret, `/v1/${list}?${query}`)).map(({ id }) => id), ids, `${list} ${query}`);
        assert.deepEqual((await exported(caller.secret, `/v1/${list}?${query}&format=jsonl`)).rows.map(idOf), ids, `${list} ${query} exported`);
        const operators = await allOf(gateway, `/admin/v1/${list}?account=${caller.account}&${query}`);
        assert.deepEqual(operators.map(({ id }) => id), ids, `${list} ${query} for the operator`);
      }
    }
    for (const query of ['since=yesterday', 'until=1', 'since=2026-13-01T00:00:00Z']) {
      assert.equal((await gateway.fetch(caller.secret, `/v1/ledger?${query}&format=csv`)).status, 400, query);
    }
  });

  test('comes in parts, and a reader that stops early does no harm', async () => {
    for (const [secret, path] of [[caller.secret, '/v1/receipts?format=csv'], [adminToken, '/admin/v1/receipts?format=jsonl']]) {
      const whole = await gateway.fetch(secret, path);
      let parts = 0;
      for await (const _ of whole.body) parts += 1;
      assert.ok(parts > 3, `${parts} parts`);
      await Promise.all(Array.from({ length: 10 }, async () => {
        const answer = await gateway.fetch(secret, path);
        const reader = answer.body.getReader();
        await reader.read();
        await reader.cancel();
      }));
    }
    assert.equal((await gateway.call(caller.secret, 'no-such-model')).status, 404);
    caller.count += 1;
    assert.ok(!gateway.logs.some(({ message }) => /panicked|unreachable/.test(message)));
  });

  test('repeats no row and loses none while new ones arrive', async () => {
    const known = (await all(gateway, caller.secret, '/v1/receipts')).map(({ id }) => id);
    let isOver = false;
    const arriving = (async () => {
      while (!isOver) {
        await (await gateway.call(caller.secret, 'no-such-model')).text();
        caller.count += 1;
      }
    })();
    const { rows } = await exported(caller.secret, '/v1/receipts?format=jsonl');
    isOver = true;
    await arriving;
    const ids = rows.map(({ request_id }) => request_id);
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual(ids.slice(-known.length), known);
  });

  test('that fails on its way breaks off, so that nobody takes a part for the whole', async () => {
    const account = await gateway.newAccount();
    const secret = await gateway.newKey(account);
    // Some batches away from the first page: SQLite reads a row ahead.
    for (let count = 1; count <= 2; count += 1) {
      await gateway.receipt(secret, await gateway.call(secret, 'no-such-model'));
      await copied({ account, secret, count });
    }
    await inParallel(250, 16, async () => (await gateway.call(secret, 'no-such-model')).text());
    await copied({ account, secret, count: 252 });
    const [{ seq, doc }] = await select(gateway, "SELECT * FROM journal WHERE account = ? AND kind = 'receipt' ORDER BY seq LIMIT 1", account);
    await select(gateway, "UPDATE journal SET doc = 'damaged' WHERE account = ? AND seq = ?", account, seq);
    try {
      for (const format of ['csv', 'jsonl']) {
        // The connection breaks, before its first bytes or behind them; there is no answer that looks whole.
        const whole = gateway.fetch(adminToken, `/admin/v1/receipts?account=${account}&format=${format}`).then((answer) => answer.text());
        await assert.rejects(whole, TypeError);
      }
    } finally {
      await select(gateway, 'UPDATE journal SET doc = ? WHERE account = ? AND seq = ?', doc, account, seq);
    }
    assert.equal((await exported(adminToken, `/admin/v1/receipts?account=${account}&format=csv`)).rows.length, 252);
  });
});

describe('activity', () => {
  test('is the sum of the receipts, however it is asked for', async () => {
    const caller = await variedAccount();
    const expected = (by, receipts = caller.receipts) => grouped(by, receipts);
    const dimensions = ['day', 'project', 'key', 'model', 'route', 'bucket', 'cause'];
    const { data, period } = await gateway.get(caller.secret, '/v1/activity');
    assert.deepEqual(summed(data, dimensions), expected(dimensions));
    assert.equal(at(period.until) - at(period.since), 31 * day);
    for (const by of [['bucket'], ['model', 'bucket'], ['cause', 'bucket'], ['key', 'bucket'], ['day', 'project', 'bucket'], ['bucket', 'route', 'model']]) {
      const { data } = await gateway.get(caller.secret, `/v1/activity?by=${by}`);
      assert.deepEqual(summed(data, by), expected(by), String(by));
    }
    const causes = new Set(data.map(({ tf }) => tf.cause));
    assert.deepEqual(causes, new Set(['direct', 'fallback', 'retry']));
    for (const [name, value] of [['bucket', 'wallet'], ['model', 'demo-large'], ['cause', 'fallback'], ['key', caller.key], ['route', 'official']]) {
      const { data } = await gateway.get(caller.secret, `/v1/activity?by=bucket&${name}=${value}`);
      const matching = caller.receipts.filter((receipt) => dimensionsOf(receipt)[name] === value);
      assert.deepEqual(summed(data, ['bucket']), expected(['bucket'], matching), name);
    }
    assert.deepEqual((await gateway.get(await gateway.richKey(), '/v1/activity')).data, [], 'and nothing of other accounts');
    const { data: none } = await gateway.get(caller.secret, '/v1/activity?account=x');
    assert.equal(none.length, data.length, 'an account is never named');
  });
});

test('credits are what came in and what was used, bucket by bucket', async () => {
  const { secret, receipts } = await variedAccount();
  const { data } = await gateway.get(secret, '/v1/credits');
  const used = (bucket) => total(receipts.filter((receipt) => receipt.bucket === bucket).map(({ charge }) => charge));
  const left = (bucket) => decimal(nanos('1') - nanos(used(bucket)));
  assert.deepEqual(data.tf.buckets, [
    { bucket: 'credit', currency: 'USD', total_credits: '1', total_usage: used('credit'), balance: left('credit'), debt: '0' },
    { bucket: 'wallet', currency: 'CNY', total_credits: '1', total_usage: used('wallet'), balance: left('wallet'), debt: '0' },
  ]);
  assert.deepEqual([data.total_credits, data.total_usage, data.currency], [1, Number(used('credit')), 'USD']);
  const { data: empty } = await gateway.get(await gateway.newKey(await gateway.newAccount()), '/v1/credits');
  assert.deepEqual([empty.total_credits, empty.total_usage], [0, 0]);
});

test('the operator\'s spend is the sum over accounts', async () => {
  const callers = [await variedAccount(), await variedAccount()];
  await Promise.all(callers.map(copied));
  const both = callers.flatMap(({ receipts }) => receipts);
  for (const by of [['account', 'bucket'], ['account', 'cause', 'bucket'], ['account', 'model', 'route', 'bucket']]) {
    const { data } = await gateway.admin('GET', `/admin/v1/spend?by=${by}`);
    const own = data.filter(({ account }) => callers.some((caller) => caller.account === account));
    assert.deepEqual(summed(own.map((tf) => ({ tf })), by), grouped(by, both), String(by));
  }
  const { data: [{ requests }] } = await gateway.admin('GET', `/admin/v1/spend?by=cause,bucket&cause=fallback&bucket=credit&account=${callers[0].account}`);
  assert.equal(requests, callers[0].receipts.filter(({ fallbacks, bucket }) => fallbacks > 0 && bucket === 'credit').length);
});

describe('lists across accounts', () => {
  test('are newest first, and pages have every row once while new rows arrive', async () => {
    const callers = [];
    for (let n = 0; n < 3; n += 1) {
      const caller = await variedAccount();
      await copied(caller);
      callers.push(caller);
    }
    const expected = callers.flatMap(({ receipts }) => receipts.map(({ id }) => id)).reverse();
    assert.deepEqual((await allOf(gateway, '/admin/v1/receipts')).slice(0, expected.length).map(({ id }) => id), expected);
    for (const [list, limit] of [['receipts', 7], ['ledger', 5], ['audit', 3], ['receipts', 1]]) {
      const known = (await allOf(gateway, `/admin/v1/${list}`)).slice(0, 40).map(idOf);
      let after = '';
      const paged = [];
      while (paged.length < known.length) {
        const { data, next } = await gateway.admin('GET', `/admin/v1/${list}?limit=${limit}${after}`);
        paged.push(...data.map(idOf));
        if (next === null) break;
        after = `&after=${encodeURIComponent(next)}`;
        if (paged.length < 3 * limit) await addRow(callers[paged.length % 3]);
      }
      assert.deepEqual(paged.slice(0, known.length), known, list);
    }
  });
});

describe('roll-ups', () => {
  for (const [name, broken, mended] of [
    ['the days are gone', 'ALTER TABLE usage_days RENAME TO usage_away', 'ALTER TABLE usage_away RENAME TO usage_days'],
    ['the journal refuses rows', "CREATE TRIGGER refuse BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, 'full'); END", 'DROP TRIGGER refuse'],
    ['the batches refuse rows', "CREATE TRIGGER refuse BEFORE INSERT ON batches BEGIN SELECT RAISE(ABORT, 'full'); END", 'DROP TRIGGER refuse'],
  ]) {
    test(`are right after a while in which ${name}`, async () => {
      const caller = await variedAccount();
      await copied(caller);
      await select(gateway, broken);
      const tried = gateway.logs.length;
      try {
        for (let n = 0; n < 3; n += 1) caller.receipts.push(await gateway.receipt(caller.secret, await gateway.call(caller.secret, 'demo-large')));
        await until(() => gateway.logs.slice(tried).some(({ message }) => /copying to D1/.test(message)), 'a copy that failed');
      } finally {
        await select(gateway, mended);
      }
      const { data } = await gateway.get(caller.secret, '/v1/activity?by=model,route,bucket,cause');
      assert.deepEqual(summed(data, ['model', 'route', 'bucket', 'cause']), grouped(['model', 'route', 'bucket', 'cause'], caller.receipts));
    });
  }
});

describe('reconciliation', () => {
  // Of its own, because it is about every account.
  let gateway;
  let callers;
  before(async () => {
    gateway = await startGateway();
    callers = await Promise.all(Array.from({ length: 4 }, async (_, n) => {
      const account = await gateway.newAccount({ credit: '1', wallet: '1', name: `A${n}` });
      const secret = await gateway.newKey(account);
      for (const model of ['demo-large', 'routed-only', 'no-such-model', 'demo-large']) await gateway.receipt(secret, await gateway.call(secret, model));
      return { account, secret };
    }));
  });
  after(() => gateway?.close());

  const reconcile = async (account) => (await gateway.admin('GET', `/admin/v1/reconcile?account=${account}`)).data[0];
  const journal = (account) => select(gateway, 'SELECT * FROM journal WHERE account = ? ORDER BY seq', account);
  const reports = () => select(gateway, 'SELECT * FROM reconciled ORDER BY account');

  test('is done by the cron for every account once a day', async () => {
    await gateway.scheduled();
    const first = await reports();
    assert.deepEqual(first.map(({ account }) => account), callers.map(({ account }) => account).sort());
    for (const { seq, doc } of first) assert.deepEqual([seq, JSON.parse(doc).ok], [9, true]);
    await gateway.scheduled();
    assert.deepEqual(await reports(), first, 'not again within the day');

    // A day later, from where it was in order.
    await select(gateway, 'UPDATE reconciled SET at = at - ?', day + 1);
    await gateway.receipt(callers[0].secret, await gateway.call(callers[0].secret, 'demo-large'));
    await gateway.scheduled();
    const later = (await reports()).find(({ account }) => account === callers[0].account);
    const { from, to, rows, ok } = JSON.parse(later.doc);
    assert.deepEqual({ from, to, rows, ok, seq: later.seq }, { from: 9, to: 10, rows: 1, ok: true, seq: 10 });
    assert.ok(!gateway.logs.some(({ message }) => /reconcile/.test(message)));
  });

  test('reports every damage to the copy with its entry, and repairs nothing', async () => {
    const { account } = callers[1];
    const good = await journal(account);
    const damages = [
      ['a row is gone', 'DELETE FROM journal WHERE account = ?1 AND seq = 7', [7], /does not have/],
      ['the newest row is gone', 'DELETE FROM journal WHERE account = ?1 AND seq = 9', [9], /does not have/],
      ['an amount is another', 'UPDATE journal SET amount = amount - 1 WHERE account = ?1 AND seq = 6', [6], /the copy says/],
      ['a bucket is another', "UPDATE journal SET bucket = 'wallet' WHERE account = ?1 AND seq = 6", [6], /the copy says/],
      ['a charge became none', 'UPDATE journal SET amount = NULL, bucket = NULL WHERE account = ?1 AND seq = 6', [6], /the copy says/],
      ['a row was added', "INSERT INTO journal SELECT account, 10, at, kind, 'made up', key, bucket, amount, balances, doc, debts FROM journal WHERE account = ?1 AND seq = 6", [10], /the account does not have/],
      ['two rows have each other\'s amounts', 'UPDATE journal SET amount = CASE seq WHEN 3 THEN 2000000000 ELSE 500000000 END WHERE account = ?1 AND seq IN (3, 4)', [3, 4], /the copy says/],
    ];
    for (const [name, statement, entries, what] of damages) {
      await select(gateway, statement, account);
      const damaged = await journal(account);
      const report = await reconcile(account);
      assert.equal(report.ok, false, name);
      assert.deepEqual(report.differences.map(({ entry, seq }) => [entry, seq]), entries.map((seq) => [`entry-${seq}`, seq]), name);
      for (const difference of report.differences) assert.match(difference.what, what, name);
      assert.equal((await gateway.admin('GET', '/admin/v1/reconcile')).ok, false, name);
      assert.deepEqual(await journal(account), damaged, 'nothing is repaired silently');
      await put(account, good);
      assert.ok((await reconcile(account)).ok);
    }
  });

  test('and roll-ups are not disturbed by rows that arrive twice', async () => {
    const { account, secret } = callers[0];
    await reconcile(account);
    const tables = ['journal', 'usage_days', 'batches'];
    const read = () => Promise.all(tables.map((table) => select(gateway, `SELECT * FROM ${table} WHERE account = ? ORDER BY 1, 2, 3`, account)));
    const first = await read();
    const { data: activity } = await gateway.get(secret, '/v1/activity');
    // As after a crash between the copy and the note that it was made.
    for (const mark of [0, 4, 7]) {
      await reopen(gateway, () => changeObject(gateway, account, `UPDATE meta SET value = '${mark}' WHERE name = 'copied'`));
      assert.ok((await reconcile(account)).ok);
      assert.deepEqual(await read(), first, `from ${mark}`);
      assert.deepEqual((await gateway.get(secret, '/v1/activity')).data, activity);
    }
    await reopen(gateway, () => changeObject(gateway, account, "UPDATE meta SET value = '5' WHERE name = 'copied'"));
    await gateway.receipt(secret, await gateway.call(secret, 'demo-small'));
    await until(async () => (await reconcile(account)).copied === first[0].length + 1, 'the new row');
    const { data: after } = await gateway.get(secret, '/v1/activity');
    assert.deepEqual(after.filter(({ model }) => model !== 'demo-small'), activity);
    assert.deepEqual(after.filter(({ model }) => model === 'demo-small').map(({ requests, usage }) => [requests, usage]), [[1, 0.00004]]);
  });

  /** Puts rows back as they were. */
  async function put(account, rows) {
    const { DB } = await gateway.bindings();
    const names = Object.keys(rows[0]);
    const insert = DB.prepare(`INSERT INTO journal (${names}) VALUES (${names.map(() => '?')})`);
    await DB.batch([DB.prepare('DELETE FROM journal WHERE account = ?').bind(account), ...rows.map((row) => insert.bind(...names.map((name) => row[name])))]);
  }
});

/** With models whose primary fails, answered on another channel or on the same; each a candidate whose health no other test has spoilt. */
function catalog(upstreamUrl) {
  const document = testCatalog(upstreamUrl);
  for (const channel of Object.values(document.channels)) Object.assign(channel, { first_byte_timeout_ms: 30_000, idle_timeout_ms: 30_000 });
  const { 'fallback-fail-503': model } = document.models;
  for (let n = 0; n < 40; n += 1) {
    const [primary, backup] = model.routes.official.candidates;
    const candidates = [{ ...primary, upstream_model: `fail-503-${n}` }, backup];
    document.models[`backed-${n}`] = { ...model, routes: { official: { ...model.routes.official, candidates } } };
    const again = [{ ...primary, upstream_model: `fail-503-again-${n}` }, { ...backup, channel: primary.channel }];
    document.models[`retried-${n}`] = { ...model, routes: { official: { ...model.routes.official, candidates: again } } };
  }
  return document;
}

let backed = 0;

/** An account with some 1,500 rows of all kinds, of two keys in two projects. */
async function busyAccount() {
  const account = await gateway.newAccount({ credit: '1', wallet: '1' });
  const project = (await gateway.admin('POST', `/admin/v1/accounts/${account}/projects`, { name: 'Second' })).id;
  const [first, second] = [await gateway.createKey(account, { label }), await gateway.createKey(account, { label: 'other', project })];
  const { secret } = first;
  const models = ['demo-large', 'no-such-model', 'both-routes', 'fail-400', 'no-such-model', 'routed-only', 'no-such-model', 'both-latest', 'reasoning', 'cached'];
  const count = 600;
  await inParallel(count, 16, async (n) => {
    const headers = { ...(n % 3 === 0 && { 'x-tf-run': 'exported' }), ...(n % 10 === 7 && { 'x-tf-route': 'routed' }) };
    const answer = await gateway.call(n % 5 === 1 ? second.secret : secret, models[n % 10], headers);
    await answer.text();
  });
  for (let n = 0; n < 20; n += 1) {
    await gateway.admin('POST', `/admin/v1/accounts/${account}/adjustments`, { bucket: n % 2 ? 'credit' : 'wallet', amount: n % 3 ? '0.01' : '-0.01', reason: n % 4 ? '@SUM(A1:A9)' : 'a, "reason"', ...(n % 2 && { note: '=1+1, "note"' }) });
  }
  await gateway.receipt(secret, await gateway.call(secret, `backed-${backed++}`));
  await settled(gateway, secret);
  const caller = { account, secret, project, keys: [first.id, second.id], count: count + 1 };
  await until(async () => (await gateway.get(secret, '/v1/receipts?limit=1')).data.length > 0 && (await all(gateway, secret, '/v1/receipts')).length === caller.count, 'every receipt', 20_000);
  return caller;
}

/** An account with a request of each kind; its receipts are oldest first. */
async function variedAccount() {
  const account = await gateway.newAccount({ credit: '1', wallet: '1' });
  const { id: key, secret } = await gateway.createKey(account, { cross_routes: true });
  const receipts = [];
  for (const [model, headers] of [['demo-large'], ['both-routes', { 'x-tf-route': 'routed' }], ['both-routes'], [`backed-${backed}`], [`retried-${backed++}`], ['reasoning'], ['cached'], ['fail-400'], ['no-such-model'], ['demo-large']]) {
    receipts.push(await gateway.receipt(secret, await gateway.call(secret, model, headers)));
  }
  return { account, key, secret, receipts, count: receipts.length };
}

/** Waits until the operator's list has all receipts of an account. */
function copied({ account, secret, count }) {
  return until(async () => {
    const rows = await select(gateway, "SELECT COUNT(*) AS count FROM journal WHERE account = ? AND kind = 'receipt'", account);
    if (rows[0].count >= count) return true;
    // What the holder of a key asks for is copied at once.
    await gateway.get(secret, '/v1/activity');
  }, 'the copy', 20_000);
}

async function addRow({ account, secret }) {
  await gateway.receipt(secret, await gateway.call(secret, 'no-such-model'));
  await gateway.admin('POST', `/admin/v1/accounts/${account}/adjustments`, { bucket: 'credit', amount: '0.01', reason: 'test' });
}

const at = (text) => Date.parse(text);
const idOf = ({ account, id, seq }) => `${account} ${id ?? seq}`;

/** So many calls, at most so many at the same time. */
async function inParallel(count, width, call) {
  let next = 0;
  const worker = async () => {
    while (next < count) await call(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** Reads an export: CSV as lists of cells, JSONL as objects. */
async function exported(secret, path) {
  const answer = await gateway.fetch(secret, path);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  const [type, disposition] = ['content-type', 'content-disposition'].map((name) => answer.headers.get(name));
  if (!type.startsWith('text/csv')) {
    assert.ok(text === '' || text.endsWith('\n'));
    return { type, disposition, rows: text.split('\n').slice(0, -1).map((line) => JSON.parse(line)) };
  }
  const [header, ...rows] = parseCsv(text);
  return { type, disposition, header, rows };
}

/** RFC 4180. */
function parseCsv(text) {
  const rows = [[]];
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy;
  let end = 0;
  for (const [, quoted, plain, separator] of text.matchAll(cell)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (separator !== ',') rows.push([]);
    end = cell.lastIndex;
  }
  assert.deepEqual(rows.pop(), [], `the last line has its end: ${text.slice(end, end + 50)}`);
  return rows;
}

/** What of a row's JSON stands in its CSV cells. */
const inCsv = (row) => Object.values(row).map((value) => (typeof value === 'string' && /^[=+@\t\r\n]|^-\D/.test(value) ? `'${value}` : String(value ?? '')));

const classes = ['input', 'cached_input', 'cache_write', 'audio_input', 'output', 'reasoning', 'audio_output'];
const priced = ['input', 'cached_input', 'cache_write', 'output', 'reasoning', 'audio_input', 'audio_output'];
const [laterTokens, laterCounts] = [['cache_write_1h', 'image_input', 'image_output'], ['images', 'seconds', 'characters', 'searches']];
const prefixed = (prefix, names, value) => Object.fromEntries(names.map((name) => [`${prefix}_${name}`, value(name)]));

/** The columns of an export for a receipt. */
function receiptColumns(receipt) {
  const isCharge = receipt.charge !== '0';
  const primary = receipt.attempts[0]?.channel ?? receipt.channel;
  return {
    request_id: receipt.id,
    time: receipt.closed_at,
    account: receipt.account,
    project: receipt.project,
    key_label: receipt.key_label,
    public_model: receipt.model,
    api_model: receipt.requested_model,
    upstream_model: receipt.upstream_model,
    route: receipt.route,
    primary_channel: primary,
    backup_channel: receipt.channel === primary ? null : receipt.channel,
    retries: receipt.retries,
    fallbacks: receipt.fallbacks,
    ...prefixed('tokens', classes, (name) => receipt.usage[name]),
    usage_source: receipt.usage_source,
    ...prefixed('price', priced, (name) => receipt.price?.[name] ?? null),
    charge: receipt.charge,
    amount: isCharge ? `-${receipt.charge}` : null,
    bucket: isCharge ? receipt.bucket : null,
    charge_policy: receipt.charge_policy,
    entry_id: receipt.entry_ids[0] ?? null,
    kind: isCharge ? 'charge' : 'receipt',
    adjustment_reason: null,
    balance_after: isCharge ? receipt.balance_after : null,
    run: receipt.run,
    status: receipt.status,
    error_code: receipt.error?.code ?? null,
    no_charge_reason: receipt.no_charge_reason,
    ...prefixed('tokens', laterTokens, (name) => receipt.usage[name] ?? null),
    ...Object.fromEntries(laterCounts.map((name) => [name, receipt.usage[name] ?? null])),
    ...prefixed('price', [...laterTokens, ...laterCounts], (name) => receipt.price?.[name] ?? null),
    credential: receipt.attempts.findLast(({ status }) => status === 'answered')?.credential ?? null,
    dropped_parameters: receipt.dropped_parameters?.join(' ') ?? null,
    note: null,
    currency: receipt.currency ?? null,
  };
}

/** The columns of an export for an adjustment. */
function adjustmentColumns(entry) {
  const empty = receiptColumns({ attempts: [], usage: {}, entry_ids: [], charge: '0' });
  const columns = { ...empty, time: entry.at, account: entry.account, charge: null, amount: entry.amount, bucket: entry.bucket, entry_id: entry.id, kind: entry.kind, adjustment_reason: entry.reason, balance_after: entry.balance_after, note: entry.note, currency: entry.currency };
  return Object.fromEntries(Object.entries(columns).map(([name, value]) => [name, value ?? null]));
}

function dimensionsOf(receipt) {
  const { closed_at, account, project, key, model, counted_as, requested_model, route, bucket, fallbacks, retries } = receipt;
  const cause = fallbacks > 0 ? 'fallback' : retries > 0 ? 'retry' : 'direct';
  return { day: closed_at.slice(0, 10), account, project, key, model: model ?? counted_as ?? requested_model, route: route ?? '', bucket: bucket ?? '', cause };
}

const counted = ['requests', 'unpaid', 'retries', 'fallbacks', 'input_tokens', 'cached_tokens', 'output_tokens', 'reasoning_tokens', 'charge', 'input_charge'];

/** The sums of receipts by some dimensions. */
function grouped(by, receipts) {
  const groups = Object.groupBy(receipts, (receipt) => JSON.stringify(by.map((name) => dimensionsOf(receipt)[name])));
  const sums = Object.entries(groups).map(([name, group]) => {
    const count = (of) => group.reduce((sum, receipt) => sum + of(receipt), 0);
    const money = (of) => total(group.map((receipt) => receipt[of]));
    return [name, {
      requests: group.length,
      unpaid: count(({ charge }) => Number(charge === '0')),
      retries: count(({ retries }) => retries),
      fallbacks: count(({ fallbacks }) => fallbacks),
      input_tokens: count(({ usage }) => usage.input + usage.cached_input + usage.cache_write + usage.audio_input),
      cached_tokens: count(({ usage }) => usage.cached_input),
      output_tokens: count(({ usage }) => usage.output + usage.reasoning + usage.audio_output),
      reasoning_tokens: count(({ usage }) => usage.reasoning),
      charge: money('charge'),
      input_charge: money('input_charge'),
    }];
  });
  return Object.fromEntries(sums.sort());
}

/** The rows of an answer in the same shape. */
function summed(data, by) {
  const rows = data.map(({ tf }) => [JSON.stringify(by.map((name) => tf[name])), Object.fromEntries(counted.map((name) => [name, tf[name]]))]);
  assert.equal(new Set(rows.map(([name]) => name)).size, rows.length, 'each once');
  return Object.fromEntries(rows.sort());
}
