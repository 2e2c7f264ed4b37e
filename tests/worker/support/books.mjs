// What tests of money share: amounts as whole nano-units, lists read to their end, the rows of
// D1, and the laws that an account's books keep.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { startWorker } from '../../../scripts/runtime.mjs';
import { adminToken, sessionSecret, until } from './gateway.mjs';

/** Decimal text as nano-units. */
export function nanos(text) {
  const [, sign, whole, fraction = ''] = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(text);
  return BigInt(sign + whole + fraction.padEnd(9, '0'));
}

/** Nano-units as decimal text, as the gateway writes them. */
export function decimal(amount) {
  const digits = String(amount < 0n ? -amount : amount).padStart(10, '0');
  const fraction = digits.slice(-9).replace(/0+$/, '');
  return `${amount < 0n ? '-' : ''}${digits.slice(0, -9)}${fraction && `.${fraction}`}`;
}

/** The sum of decimal texts, as decimal text. */
export const total = (amounts) => decimal(amounts.reduce((sum, amount) => sum + nanos(amount), 0n));

/** Every row of a list, page by page, newest first. The path may have a query, such as filters. */
export async function all(gateway, secret, path, limit = 100) {
  const rows = [];
  for (let after = ''; ; ) {
    const { data, next, error } = await gateway.get(secret, `${path}${path.includes('?') ? '&' : '?'}limit=${limit}${after}`);
    assert.ok(data, JSON.stringify(error));
    rows.push(...data);
    if (next === null) return rows;
    after = `&after=${encodeURIComponent(next)}`;
  }
}

/** Every row of one of the operator's lists. */
export const allOf = (gateway, path, limit) => all(gateway, adminToken, path, limit);

/** The rows of a statement on D1. */
export async function select(gateway, statement, ...values) {
  const { DB } = await gateway.bindings();
  return (await DB.prepare(statement).bind(...values).all()).results;
}

/** The balances of a key's account by bucket. */
export async function balances(gateway, secret) {
  const { data } = await gateway.get(secret, '/v1/balances');
  return Object.fromEntries(data.map((view) => [view.bucket, view]));
}

/** Waits until nothing is held, and answers the balances. */
export function settled(gateway, secret) {
  return until(async () => {
    const view = await balances(gateway, secret);
    return Object.values(view).every(({ open_holds }) => open_holds.length === 0) && view;
  }, 'the end of every hold');
}

/**
 * Waits until nothing is held and checks the balance law entry by entry.
 * @returns {Promise<{entries: object[], receipts: Map<string, object>, balances: object}>} everything, oldest first
 */
export async function audit(gateway, secret) {
  const view = await settled(gateway, secret);
  const list = await all(gateway, secret, '/v1/receipts');
  const receipts = new Map(list.reverse().map((receipt) => [receipt.id, receipt]));
  assert.equal(receipts.size, list.length, 'one receipt for each request');
  const entries = (await all(gateway, secret, '/v1/ledger')).reverse();
  const sums = {};
  for (const { bucket, amount, balance_after, kind, request, id } of entries) {
    sums[bucket] = (sums[bucket] ?? 0n) + nanos(amount);
    assert.equal(sums[bucket], nanos(balance_after), id);
    assert.ok(sums[bucket] >= 0n, 'no balance is ever below zero');
    if (kind !== 'charge') continue;
    const receipt = receipts.get(request);
    assert.deepEqual([receipt.entry_ids, -nanos(receipt.charge), receipt.balance_after], [[id], nanos(amount), balance_after]);
  }
  const charged = entries.filter(({ kind }) => kind === 'charge').length;
  assert.equal(list.filter(({ charge }) => charge !== '0').length, charged, 'every charge has its entry');
  for (const { bucket, balance } of Object.values(view)) assert.equal(nanos(balance), sums[bucket] ?? 0n);
  return { entries, receipts, balances: view };
}

/** Stops the Worker, lets `change` see to what it has stored, and starts it again at the same URL. */
export async function reopen(gateway, change) {
  await gateway.worker.close();
  await change();
  gateway.worker = await startWorker({
    state: gateway.state,
    port: Number(new URL(gateway.url).port),
    vars: { ADMIN_TOKEN: adminToken, SESSION_SECRET: sessionSecret, TEST_UPSTREAM_KEY: 'upstream-secret', ALLOW_PRIVATE_UPSTREAMS: 'true' },
    onLog: (entry) => gateway.logs.push(entry),
  });
}

/** Runs a statement on the storage of an account's object, while the Worker is stopped. */
export function changeObject(gateway, account, statement) {
  const folder = join(gateway.state, 'do/tokens-forge-AccountObject');
  for (const name of readdirSync(folder).filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name))) {
    const database = new DatabaseSync(join(folder, name));
    try {
      const [owner] = database.prepare("SELECT value->>'id' AS id FROM meta WHERE name = 'account'").all();
      if (owner?.id === account) return database.exec(statement);
    } finally {
      database.close();
    }
  }
  throw new Error(`no object is ${account}`);
}

/** A receipt as it is stored: what came from a cache is told of its usage, and the currency is that of the catalogue. */
export function stored({ cache, currency, ...receipt }) {
  assert.ok(cache);
  return receipt;
}

/** What of a stored receipt its account's owner sees: which credential was used is the operator's. */
export function shown(receipt) {
  for (const attempt of receipt.attempts) delete attempt.credential;
  return receipt;
}
