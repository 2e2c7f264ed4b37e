// The searchable copy: every journal row arrives in D1 once and in order, whatever D1 went
// through, and requests do not wait for it. What KV holds are copies that may be lost.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { shown, stored } from './support/books.mjs';
import { readStream, startGateway, until } from './support/gateway.mjs';

let gateway;
before(async () => (gateway = await startGateway({ clock: true })));
after(() => gateway?.close());

describe('the copy in D1', () => {
  test('has every row of an account once, in order, with the amounts of the ledger', async () => {
    const { account, secret } = await newCaller();
    await someRequests(secret);
    await assertCopied(account, secret);
  });

  test('answers receipts and entries by its views, as the account does', async () => {
    const { account, secret } = await newCaller();
    await someRequests(secret);
    await assertCopied(account, secret);
    const receipts = await all(secret, '/v1/receipts');
    const rows = await select('SELECT * FROM receipts WHERE account = ? ORDER BY seq DESC', account);
    assert.deepEqual(rows.map(({ doc }) => shown(JSON.parse(doc))), receipts.map(stored));
    assert.deepEqual(rows.map(({ id, key, bucket }) => ({ id, key, bucket })), receipts.map(({ id, key, bucket, charge }) => ({ id, key, bucket: charge === '0' ? null : bucket })));
    const entries = await all(secret, '/v1/ledger');
    const ledger = await select('SELECT * FROM ledger WHERE account = ? ORDER BY seq DESC', account);
    assert.deepEqual(
      ledger.map(({ seq, bucket, amount, balances, at }) => ({ id: `entry-${seq}`, bucket, amount: BigInt(amount), balance_after: JSON.parse(balances)[bucket], at })),
      entries.map(({ id, bucket, amount, balance_after, at }) => ({ id, bucket, amount: nanos(amount), balance_after, at: Date.parse(at) })),
    );
  });

  test('arrives for many accounts and hundreds of rows', async () => {
    const callers = await Promise.all(Array.from({ length: 5 }, newCaller));
    await Promise.all(
      callers.flatMap(({ secret }) => Array.from({ length: 50 }, async () => (await gateway.call(secret, { model: 'demo-large' })).text())),
    );
    for (const { account, secret } of callers) await assertCopied(account, secret, 50);
  });

  test('of accounts, projects and keys is what the operator made of them', async () => {
    const { account, id } = await newCaller();
    const project = await gateway.admin('POST', `/admin/v1/accounts/${account}/projects`, { name: 'first name' });
    const path = `/admin/v1/accounts/${account}/keys/${id}`;
    await gateway.admin('PATCH', path, { label: 'renamed', rpm: 7 });
    await gateway.admin('DELETE', path);
    const [[owner], [found], [key]] = await until(async () => {
      const rows = await Promise.all([
        select('SELECT * FROM accounts WHERE id = ?', account),
        select('SELECT * FROM projects WHERE account = ? AND id = ?', account, project.id),
        select('SELECT * FROM keys WHERE id = ?', id),
      ]);
      return rows[2][0]?.revoked_at && rows;
    }, 'the revoked key in D1');
    assert.equal(owner.name, 'Test');
    assert.equal(found.name, 'first name');
    assert.deepEqual([key.account, key.label, JSON.parse(key.doc).policy.rpm], [account, 'renamed', 7]);
  });
});

describe('while D1 is broken', () => {
  const breakages = [
    ['its journal is gone', 'ALTER TABLE journal RENAME TO journal_away', 'ALTER TABLE journal_away RENAME TO journal'],
    ['it refuses every row', 'CREATE TRIGGER refuse BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, \'full\'); END', 'DROP TRIGGER refuse'],
  ];
  for (const [name, broken, mended] of breakages) {
    test(`because ${name}, requests go on, and the rows arrive later, each once`, async () => {
      const { account, secret } = await newCaller();
      await someRequests(secret);
      await assertCopied(account, secret);
      const before = (await select('SELECT COUNT(*) AS count FROM journal WHERE account = ?', account))[0].count;

      const failures = () => gateway.logs.filter(({ message }) => /copying to D1/.test(message));
      const known = failures().length;
      await select(broken);
      try {
        const ids = await someRequests(secret);
        for (const id of ids) assert.ok((await gateway.receipt(secret, id)).status, 'the receipt is there at once');
        // Administration goes on too: a new account, a key, a credit, a revocation.
        const { id, secret: extra } = await gateway.createKey(account);
        assert.equal((await gateway.call(extra, { model: 'demo-large' })).status, 200);
        await gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${id}`);
        assert.equal((await gateway.call(extra, { model: 'demo-large' })).status, 401);
        const newcomer = await newCaller();
        assert.equal((await gateway.call(newcomer.secret, { model: 'demo-large' })).status, 200);
        await until(() => failures().length > known, 'the copy that was tried and failed, which the operator is told');
      } finally {
        await select(mended);
      }
      // It is tried again by an alarm, which need not be waited for.
      await gateway.advance(60_000);
      await assertCopied(account, secret);
      const after = (await select('SELECT COUNT(*) AS count FROM journal WHERE account = ?', account))[0].count;
      assert.ok(after > before);
    });
  }

  test('lists of accounts say so, and nothing private is told', async () => {
    await select('ALTER TABLE accounts RENAME TO accounts_away');
    try {
      await assert.rejects(gateway.admin('GET', '/admin/v1/accounts'), ({ status, body }) => {
        assert.equal(status, 503);
        assert.equal(body.error.code, 'service_unavailable');
        assert.doesNotMatch(JSON.stringify(body), /SELECT|sqlite|accounts WHERE|D1_ERROR/i);
        return true;
      });
    } finally {
      await select('ALTER TABLE accounts_away RENAME TO accounts');
    }
    assert.ok((await gateway.admin('GET', '/admin/v1/accounts')).data.length > 0);
  });

  test('rows that D1 has already change nothing when they come again', async () => {
    const { account, secret } = await newCaller();
    await someRequests(secret);
    await assertCopied(account, secret);
    // A copy that was made but not noted as made: the same row is sent again with the next ones.
    const [first] = await select('SELECT * FROM journal WHERE account = ? ORDER BY seq DESC LIMIT 1', account);
    const next = { ...first, seq: first.seq + 1, kind: 'receipt', subject: 'already there', amount: null, bucket: null };
    await select(
      'INSERT INTO journal (account, seq, at, kind, subject, key, bucket, amount, balances, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ...['account', 'seq', 'at', 'kind', 'subject', 'key', 'bucket', 'amount', 'balances', 'doc'].map((name) => next[name]),
    );
    await gateway.receipt(secret, await gateway.call(secret, { model: 'fail-400' }));
    await gateway.receipt(secret, await gateway.call(secret, { model: 'demo-large' }));
    const rows = await until(async () => {
      const rows = await select('SELECT seq, subject FROM journal WHERE account = ? ORDER BY seq', account);
      return rows.length === first.seq + 2 && rows;
    }, 'the rows');
    assert.equal(rows[first.seq].subject, 'already there');
  });
});

describe('what KV holds', () => {
  test('can lose the catalogue, and the running one goes on', async () => {
    const { secret } = await newCaller();
    const { CONFIG } = await gateway.bindings();
    const good = await CONFIG.get('catalog');
    try {
      for (const loss of [() => CONFIG.delete('catalog'), () => CONFIG.put('catalog', '{"version": 9, "mod'), () => CONFIG.put('catalog', '{"version": 9}')]) {
        await loss();
        assert.equal((await gateway.call(secret, { model: 'demo-large' })).status, 200);
        assert.ok((await gateway.get(secret, '/v1/models')).data.length > 0);
      }
      // A copy is renewed after half a minute; what is there then is no catalogue, so the copy stays.
      await gateway.advance(31_000);
      for (let n = 0; n < 3; n += 1) {
        const answer = await gateway.call(secret, { model: 'demo-large' });
        assert.equal(answer.status, 200);
        // The copy is renewed behind the request, whose settlement is, too.
        await gateway.receipt(secret, answer);
      }
    } finally {
      await CONFIG.put('catalog', good);
    }
  });

  for (const [name, value] of [['nothing', null], ['garbage', 'garbage']]) {
    test(`can be ${name} where the catalogue was, and a fresh isolate takes the last one that was published`, async () => {
      const { secret } = await newCaller();
      const { CONFIG } = await gateway.bindings();
      const good = await CONFIG.get('catalog');
      await (value === null ? CONFIG.delete('catalog') : CONFIG.put('catalog', value));
      try {
        await restart();
        const answer = await gateway.call(secret, { model: 'demo-large' });
        assert.equal(answer.status, 200, await answer.text());
      } finally {
        await (await gateway.bindings()).CONFIG.put('catalog', good);
      }
    });
  }

  test('can fail, and a fresh isolate finds catalogue and keys in the copy', async () => {
    const metered = await startGateway({ meter: true });
    try {
      const secret = await metered.richKey();
      // What the holder of a key asks for in D1 is copied there before.
      assert.equal((await metered.fetch(secret, '/v1/activity')).status, 200);
      await restart(metered);
      await fetch(`${metered.url}/__meter?kv=broken`);
      const answer = await metered.call(secret, { model: 'demo-large' });
      assert.equal(answer.status, 200, await answer.text());
      assert.equal((await metered.call(`sk-tf-${'0'.repeat(48)}`, { model: 'demo-large' })).status, 401);
      assert.ok(metered.logs.some(({ message }) => message.includes('KV is broken')));
    } finally {
      await metered.close();
    }
  });

  test('can lose a key that is in use', async () => {
    const { secret } = await newCaller();
    assert.equal((await gateway.call(secret, { model: 'demo-large' })).status, 200);
    const { CONFIG } = await gateway.bindings();
    await CONFIG.delete(kvName(secret));
    assert.equal((await gateway.call(secret, { model: 'demo-large' })).status, 200);
  });

  test('can be garbage for one key, and the others go on', async () => {
    const [broken, fine] = [await newCaller(), await newCaller()];
    const good = await (await gateway.bindings()).CONFIG.get(kvName(broken.secret));
    const stranger = `sk-tf-${'0'.repeat(48)}`;
    const record = JSON.parse(good);
    for (const garbage of ['garbage', '', '{}', 'null', '[]', '\u0000', JSON.stringify({ ...record, account: '../../x' }), JSON.stringify({ ...record, policy: 7 })]) {
      const { CONFIG } = await gateway.bindings();
      await CONFIG.put(kvName(broken.secret), garbage);
      await CONFIG.put(kvName(stranger), garbage);
      await restart();
      for (const secret of [broken.secret, stranger]) {
        const answer = await gateway.call(secret, { model: 'demo-large' });
        const { error } = await answer.json();
        assert.ok([401, 503].includes(answer.status), `${answer.status} for ${garbage}`);
        assert.ok(['invalid_api_key', 'service_unavailable'].includes(error.code));
        assert.doesNotMatch(error.message, /expected|line 1|column/, 'what is wrong inside is for the log');
      }
      assert.equal((await gateway.call(fine.secret, { model: 'demo-large' })).status, 200);
    }
    await (await gateway.bindings()).CONFIG.put(kvName(broken.secret), good);
    await restart();
    assert.equal((await gateway.call(broken.secret, { model: 'demo-large' })).status, 200);
  });

  test('cannot give a key to an account that never made it', async () => {
    const [victim, thief] = [await newCaller(), await newCaller()];
    const { CONFIG } = await gateway.bindings();
    const record = JSON.parse(await CONFIG.get(kvName(thief.secret)));
    await CONFIG.put(kvName(thief.secret), JSON.stringify({ ...record, account: victim.account }));
    await restart();
    assert.equal((await gateway.call(thief.secret, { model: 'demo-large' })).status, 401);
    assert.equal((await gateway.get(victim.secret, '/v1/ledger')).data.length, 1);
  });

  test('can be garbage where health was', async () => {
    const { secret } = await newCaller();
    for (const garbage of ['garbage', 'null', '[]', '{"candidates": 7}']) {
      await (await gateway.bindings()).CONFIG.put('health', garbage);
      await restart();
      for (let n = 0; n < 3; n += 1) assert.equal((await gateway.call(secret, { model: 'demo-large' })).status, 200);
      assert.ok((await gateway.admin('GET', '/admin/v1/health')).data.length > 0);
    }
  });
});

async function newCaller() {
  const account = await gateway.newAccount({ credit: '1' });
  return { ...(await gateway.createKey(account)), account };
}

/** A runtime that has nothing in memory. */
async function restart(of = gateway) {
  await of.kill();
  await until(async () => (await fetch(`${of.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
}

/** One request of each kind of ending; answers their ids. */
async function someRequests(secret) {
  const answers = [];
  for (const body of [{ model: 'demo-large' }, { model: 'demo-large', stream: true }, { model: 'fail-400' }, { model: 'fail-500' }, { model: 'no-such-model' }, { model: 'cut-stream', stream: true }]) {
    const answer = await gateway.call(secret, body);
    await (answer.headers.get('content-type').startsWith('text/event-stream') ? readStream(answer) : answer.text());
    answers.push(answer);
  }
  for (const answer of answers) await gateway.receipt(secret, answer);
  return answers.map(({ headers }) => headers.get('x-generation-id'));
}

/** Waits for the copy of an account, and compares it with what the account itself says. */
async function assertCopied(account, secret, receiptCount) {
  const { balances } = await until(async () => {
    const view = await gateway.admin('GET', `/admin/v1/accounts/${account}`);
    return view.balances.every(({ open_holds }) => open_holds.length === 0) && view;
  }, 'the end of every hold');
  const receipts = await until(async () => {
    const receipts = await all(secret, '/v1/receipts');
    return receipts.length >= (receiptCount ?? 0) && receipts;
  }, 'the receipts');
  const entries = await all(secret, '/v1/ledger');
  const rows = await until(async () => {
    const rows = await select('SELECT * FROM journal WHERE account = ? ORDER BY seq', account);
    return rows.filter(({ kind }) => kind === 'receipt').length >= receipts.length && rows;
  }, 'the copy', 40_000);

  assert.deepEqual(rows.map(({ seq }) => seq), rows.map((_, index) => index + 1), 'without a gap');
  const docs = rows.filter(({ kind }) => kind === 'receipt').map(({ doc }) => JSON.parse(doc));
  assert.deepEqual(docs.map(shown).toReversed(), receipts.map(stored));
  assert.equal(new Set(docs.map(({ id }) => id)).size, docs.length);
  const changes = rows.filter(({ amount }) => amount !== null);
  assert.deepEqual(
    changes.toReversed().map(({ seq, bucket, amount, at }) => ({ id: `entry-${seq}`, bucket, amount: BigInt(amount), at })),
    entries.map(({ id, bucket, amount, at }) => ({ id, bucket, amount: nanos(amount), at: Date.parse(at) })),
  );
  for (const { bucket, balance } of balances) {
    const sum = changes.filter((row) => row.bucket === bucket).reduce((sum, { amount }) => sum + BigInt(amount), 0n);
    assert.equal(sum, nanos(balance));
  }
}

/** The rows of a statement on D1. */
async function select(statement, ...values) {
  const { DB } = await gateway.bindings();
  return (await DB.prepare(statement).bind(...values).all()).results;
}

const kvName = (secret) => `key:${createHash('sha256').update(secret).digest('hex')}`;

/** Decimal text as nano-units. */
function nanos(text) {
  const [, sign, whole, fraction = ''] = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(text);
  return BigInt(sign + whole + fraction.padEnd(9, '0'));
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
