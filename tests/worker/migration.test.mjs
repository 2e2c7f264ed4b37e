// An account as the first version stored it, opened by this one: fixtures/account-v1.sql is the
// dump of its object's storage, with an open hold, a run, budgets and a kept answer. Its copy in
// D1 had all ten rows. Times in it are moved, so that it is as if all that had just happened.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { all, allOf, audit, balances, reopen, select } from './support/books.mjs';
import { startGateway, until } from './support/gateway.mjs';

const fixture = (name) => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');
const minute = 60_000;
const gateways = [];
after(() => Promise.all(gateways.map((gateway) => gateway.close())));

describe('an account of the first version', () => {
  test('has its balances, hold, receipts, ledger, key and projects', async () => {
    const { gateway, old } = await startWithOldAccount();
    const { data } = await gateway.get(old.secret, '/v1/balances');
    const withDebt = old.balances.map((view) => ({ ...view, debt: '0' }));
    assert.deepEqual(data.map(({ open_holds, ...view }) => view), withDebt.map(({ open_holds, ...view }) => view));
    assert.deepEqual(data.map(({ open_holds }) => open_holds.map(({ run, currency, ...hold }) => hold)), old.balances.map(({ open_holds }) => open_holds));

    const stored = old.rows.filter(({ kind }) => kind === 'receipt').map(({ doc }) => withCurrency(withCache(JSON.parse(doc))));
    assert.deepEqual(stored.map(({ id }) => id), old.receipts);
    assert.deepEqual(await all(gateway, old.secret, '/v1/receipts'), stored.toReversed());
    for (const receipt of stored) {
      assert.deepEqual(await gateway.get(old.secret, `/v1/receipts/${receipt.id}`), receipt);
      assert.equal((await gateway.get(old.secret, `/v1/generation?id=${receipt.id}`)).data.id, receipt.id);
    }
    const entries = await all(gateway, old.secret, '/v1/ledger');
    assert.deepEqual(entries.map(({ id, kind, bucket, amount, balance_after }) => [id, kind, bucket, amount, balance_after]), [
      ['entry-10', 'charge', 'credit', '-0.00004', '9.99992'],
      ['entry-7', 'charge', 'wallet', '-0.00028', '19.99972'],
      ['entry-6', 'charge', 'credit', '-0.00004', '9.99996'],
      ['entry-4', 'adjustment', 'wallet', '20', '20'],
      ['entry-3', 'adjustment', 'credit', '10', '10'],
    ]);

    const { data: key } = await gateway.get(old.secret, '/v1/key');
    assert.deepEqual([key.label, key.tf.id], ['old key', old.record.id]);
    assert.deepEqual(key.tf.budgets.map(({ bucket, period, spent, remaining }) => ({ bucket, period, spent, remaining })), [
      { bucket: 'wallet', period: 'total', spent: '0.00028', remaining: '4.99972' },
      { bucket: 'credit', period: 'month', spent: '0.00008', remaining: '4.99992' },
    ]);
    const path = `/admin/v1/accounts/${old.account}`;
    assert.equal((await gateway.admin('GET', path)).name, 'First version');
    assert.deepEqual((await gateway.admin('GET', `${path}/keys`)).data.map(({ id }) => id), [old.record.id]);
    assert.deepEqual((await gateway.admin('GET', `${path}/projects`)).data.map(({ id }) => id), ['default']);
  });

  test('has its run with the sums of its requests, and the run goes on', async () => {
    const { gateway, old } = await startWithOldAccount();
    const [{ closed_at, usage }] = old.rows.filter(({ doc }) => JSON.parse(doc).run === 'old-run').map(({ doc }) => JSON.parse(doc));
    const run = await gateway.get(old.secret, '/v1/runs/old-run');
    assert.deepEqual(run.totals, { requests: 1, retries: 0, fallbacks: 0, tokens: usage, charges: { credit: '0.00004' }, currencies: { credit: 'USD' } });
    assert.deepEqual(run.lines, [{ model: 'demo-large', route: 'official', bucket: 'credit', currency: 'USD', status: 'completed', requests: 1, retries: 0, fallbacks: 0, usage, charge: '0.00004', last_at: closed_at }]);
    assert.deepEqual([run.in_flight, run.cache], [[], withCache({ usage }).cache]);
    assert.deepEqual((await gateway.get(old.secret, '/v1/runs')).data.map(({ id }) => id), ['old-run']);

    await gateway.receipt(old.secret, await gateway.call(old.secret, 'demo-large', { 'x-tf-run': 'old-run' }));
    const { totals, lines } = await gateway.get(old.secret, '/v1/runs/old-run');
    assert.deepEqual([totals.requests, totals.charges, lines.length], [2, { credit: '0.00008' }, 1]);

    // What it spent before counts for the budget that it gets now.
    const opened = await gateway.fetch(old.secret, '/v1/runs', { method: 'POST', body: JSON.stringify({ id: 'old-run', budgets: [{ bucket: 'credit', limit: '0.0001' }] }) });
    assert.equal(opened.status, 201);
    assert.deepEqual((await opened.json()).budgets, [{ bucket: 'credit', currency: 'USD', limit: '0.0001', spent: '0.00008', remaining: '0.00002' }]);
    const refused = await gateway.call(old.secret, { model: 'demo-large', max_tokens: 10 }, { 'x-tf-run': 'old-run' });
    assert.equal((await refused.json()).error.code, 'budget_exceeded');
  });

  test('answers what it kept for an Idempotency-Key without another charge', async () => {
    const { gateway, old } = await startWithOldAccount();
    const answer = await gateway.call(old.secret, 'demo-large', { 'idempotency-key': 'kept' });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('x-generation-id'), old.receipts.at(-1));
    assert.equal(await answer.text(), old.kept);
    assert.equal(gateway.upstream.requests.length, 0);
    const other = await gateway.call(old.secret, 'demo-small', { 'idempotency-key': 'kept' });
    assert.deepEqual([other.status, (await other.json()).error.code], [409, 'idempotency_mismatch']);
    assert.equal((await all(gateway, old.secret, '/v1/ledger')).length, 5);
  });

  test('charges new requests, counts them on its budgets, and copies only its new rows', async () => {
    const { gateway, old } = await startWithOldAccount();
    const ids = [];
    for (const model of ['demo-large', 'routed-only', 'fail-400', 'no-such-model']) {
      const answer = await gateway.call(old.secret, model);
      ids.push(answer.headers.get('x-generation-id'));
      await answer.text();
      await gateway.receipt(old.secret, ids.at(-1));
    }
    const { credit, wallet } = await balances(gateway, old.secret);
    assert.deepEqual([credit.balance, wallet.balance], ['9.99988', '19.99944']);
    const { data: key } = await gateway.get(old.secret, '/v1/key');
    assert.deepEqual(key.tf.budgets.map(({ spent }) => spent), ['0.00056', '0.00012']);

    const rows = await until(async () => {
      const rows = await select(gateway, "SELECT * FROM journal WHERE account <> 'tf-operator' ORDER BY seq");
      return rows.length >= 4 && rows;
    }, 'the copy');
    assert.deepEqual(rows.map(({ account, seq, subject }) => [account, seq, subject]), ids.map((id, index) => [old.account, 11 + index, id]));
    assert.deepEqual((await allOf(gateway, '/admin/v1/receipts')).map(({ id }) => id), ids.toReversed());
    const { data: [report] } = await gateway.admin('GET', `/admin/v1/reconcile?account=${old.account}&from=10`);
    assert.deepEqual(report, { account: old.account, from: 10, to: 14, head: 14, copied: 14, rows: 4, ok: true, is_whole: true, differences: [] });
  });

  test('takes orders, adjustments, changed keys and new keys', async () => {
    const { gateway, old } = await startWithOldAccount();
    const path = `/admin/v1/accounts/${old.account}`;
    await gateway.admin('POST', `${path}/adjustments`, { bucket: 'credit', amount: '-9', reason: 'test' });
    await gateway.admin('PATCH', `${path}/keys/${old.record.id}`, { budgets: [{ bucket: 'credit', period: 'total', limit: '0.00008' }] });
    const refused = await gateway.call(old.secret, 'demo-large');
    const { error } = await refused.json();
    assert.deepEqual([error.code, error.metadata.scope, error.metadata.spent], ['budget_exceeded', 'key', '0.00008'], 'the journal tells what was spent');
    const secret = await gateway.newKey(old.account);
    assert.equal((await gateway.call(secret, 'demo-large')).status, 200);
  });

  test('gives back a hold whose time is over', async () => {
    const { gateway, old } = await startWithOldAccount({ age_ms: 20 * minute });
    const [{ open_holds: [{ request }] }] = old.balances;
    // The alarm that would have ended it is not in the dump; any command sets the next one.
    await gateway.receipt(old.secret, await gateway.call(old.secret, 'demo-large'));
    const { status, charge, hold, error } = await gateway.receipt(old.secret, request);
    assert.deepEqual({ status, charge, hold, code: error.code }, { status: 'aborted', charge: '0', hold: '0.008281', code: 'hold_expired' });
    assert.equal((await audit(gateway, old.secret)).balances.credit.available, '9.99988');
  });

  test('is brought to this version once', async () => {
    const { gateway, old } = await startWithOldAccount();
    await gateway.get(old.secret, '/v1/balances');
    const first = old.dump();
    assert.equal(first.meta.find(({ name }) => name === 'schema').value, '4');
    assert.deepEqual(first.journal.map(({ debts, ...row }) => row), old.rows, 'rows are never changed');
    for (let n = 0; n < 2; n += 1) {
      await restart(gateway);
      await gateway.get(old.secret, '/v1/balances');
      assert.deepEqual(old.dump(), first);
    }
    await gateway.receipt(old.secret, await gateway.call(old.secret, 'demo-large'));
    const { meta, journal } = old.dump();
    assert.deepEqual([meta.find(({ name }) => name === 'schema').value, journal.length], ['4', 11]);
  });

  test('is consistent after a crash right behind its first request', async () => {
    for (const wait of [0, 5, 40]) {
      const { gateway, old } = await startWithOldAccount({ age_ms: 20 * minute });
      const call = gateway.call(old.secret, 'demo-large').then((answer) => answer.headers.get('x-generation-id'), () => undefined);
      await sleep(wait);
      await restart(gateway);
      const id = await call;
      await gateway.receipt(old.secret, await gateway.call(old.secret, 'demo-large'));
      const schema = old.dump().meta.find(({ name }) => name === 'schema').value;
      assert.equal(schema, '4');
      // The first request has its hold until the deadline, or is settled; it is never half of either.
      const view = await balances(gateway, old.secret);
      const open = view.credit.open_holds.map(({ request }) => request);
      const receipts = (await all(gateway, old.secret, '/v1/receipts')).map((receipt) => receipt.id);
      if (id) assert.ok(open.includes(id) !== receipts.includes(id), `${id} after ${wait} ms`);
      const { data: [report] } = await gateway.admin('GET', `/admin/v1/reconcile?account=${old.account}&from=10`);
      assert.deepEqual([report.ok, report.is_whole], [true, true], JSON.stringify(report));
    }
  });
});

test('the searchable copy of the first version is found by the operator and counted in what was spent', async () => {
  const { gateway, old } = await startWithOldAccount();
  await asFirstVersion(gateway, old);
  assert.deepEqual((await allOf(gateway, '/admin/v1/receipts')).map(({ id }) => id), old.receipts.toReversed());
  assert.deepEqual((await allOf(gateway, '/admin/v1/ledger')).map(({ seq }) => seq), [10, 7, 6, 4, 3]);
  assert.deepEqual((await allOf(gateway, `/admin/v1/audit?account=${old.account}`)).map(({ seq }) => seq), [5, 4, 3, 2, 1]);
  const { data: { tf } } = await gateway.get(old.secret, '/v1/credits');
  assert.deepEqual(tf.buckets.map(({ bucket, total_credits, total_usage }) => [bucket, total_credits, total_usage]), [['credit', '10', '0.00008'], ['wallet', '20', '0.00028']]);
  const { ok, data: [report] } = await gateway.admin('GET', '/admin/v1/reconcile');
  assert.ok(ok, JSON.stringify(report.differences));
  const { data: versions } = await gateway.admin('GET', '/admin/v1/catalog/versions');
  assert.deepEqual(versions.map(({ version, author, changes }) => [version, author, changes]), [[1, null, null]]);
  assert.equal((await gateway.admin('GET', '/admin/v1/catalog/versions/1')).document.version, 1);
});

/** A gateway in whose storage the old account is, as of so long ago. */
async function startWithOldAccount({ age_ms = minute } = {}) {
  const described = JSON.parse(fixture('account-v1.json'));
  const moved = mover(described, age_ms);
  const gateway = await startGateway();
  gateways.push(gateway);
  const file = join(gateway.state, described.file);
  mkdirSync(dirname(file), { recursive: true });
  const built = new DatabaseSync(file);
  built.exec(moved(fixture('account-v1.sql')));
  const rows = plain(built.prepare('SELECT * FROM journal ORDER BY seq').all());
  const [{ doc }] = built.prepare('SELECT doc FROM claims').all();
  built.close();
  const { CONFIG } = await gateway.bindings();
  const { record, ...known } = JSON.parse(moved(JSON.stringify(described)));
  await CONFIG.put(`key:${record.hash}`, JSON.stringify(record));
  return { gateway, old: { ...known, record, rows, kept: JSON.parse(doc).body, dump: () => dump(file) } };
}

/** Moves every time in a text, so that the account was opened so long ago. The day and month of its counters are the current ones. */
function mover({ record }, age_ms) {
  const shift = Date.now() - age_ms - Date.parse(record.created_at);
  const today = new Date(Date.now()).toISOString().slice(0, 10);
  return (text) =>
    text
      .replace(/\b1795\d{9}\b/g, (at) => String(Number(at) + shift))
      .replace(/"(day|month)_start":"[^"]+"/g, (_, period) => `"${period}_start":"${period === 'day' ? today : `${today.slice(0, 8)}01`}T00:00:00Z"`)
      .replace(/2026-11-22T(?!00:00:00Z)[\d:.]+Z/g, (at) => new Date(Date.parse(at) + shift).toISOString().replace(/\.?0*Z$/, 'Z'));
}

/** Every table of an object's file. */
function dump(file) {
  const database = new DatabaseSync(file, { readOnly: true });
  const tables = ['meta', 'journal', 'holds', 'keys', 'projects', 'claims', 'runs', 'orders', 'alerts', 'kept_answers'];
  const all = tables.map((name) => [name, plain(database.prepare(`SELECT * FROM ${name} ORDER BY 1`).all())]);
  database.close();
  return Object.fromEntries(all);
}

/** A receipt as it is shown: with what its usage says of the provider's cache, of which these had nothing. */
const withCurrency = (receipt) => ({ ...receipt, currency: { credit: 'USD', wallet: 'CNY' }[receipt.bucket] ?? null });
const withCache = (receipt) => ({ ...receipt, cache: { input_tokens: receipt.usage.input, read_tokens: 0, write_tokens: 0, share: receipt.usage.input > 0 ? '0.00' : null } });

const plain = (rows) => rows.map((row) => ({ ...row }));

/** A runtime that has nothing in memory. */
async function restart(gateway) {
  await gateway.kill();
  await until(async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
}

/** Takes D1 back to the first version with the ten rows of the account, and starts the Worker again. */
async function asFirstVersion(gateway, old) {
  const { DB } = await gateway.bindings();
  for (const table of ['batches', 'usage_days', 'orders', 'codes', 'reconciled', 'health_counts', 'health_changes', 'health_round', 'truth_days', 'admin_tokens', 'admin_attempts']) await DB.prepare(`DROP TABLE ${table}`).run();
  await DB.prepare('ALTER TABLE journal DROP COLUMN debts').run();
  for (const column of ['author', 'on_behalf_of', 'reason', 'effective_at', 'withdrawn_at', 'changes']) await DB.prepare(`ALTER TABLE catalog_versions DROP COLUMN ${column}`).run();
  await DB.prepare("DELETE FROM d1_migrations WHERE name <> '0001_journal.sql'").run();
  const row = DB.prepare('INSERT INTO journal (account, seq, at, kind, subject, key, bucket, amount, balances, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
  await DB.batch(old.rows.map(({ seq, at, kind, subject, key, bucket, amount, balances, doc }) => row.bind(old.account, seq, at, kind, subject, key, bucket, amount, balances, doc)));
  await DB.prepare('INSERT INTO accounts (id, name, created_at) VALUES (?, ?, ?)').bind(old.account, 'First version', old.record.created_at).run();
  await reopen(gateway, () => {});
}
