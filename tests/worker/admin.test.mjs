// Administration: off without its token, secrets shown once, changes effective on the next
// request, and nothing of one account within reach of another.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startWorker } from '../../scripts/runtime.mjs';
import { adminToken, startGateway, until } from './support/gateway.mjs';

let gateway;
before(async () => (gateway = await startGateway()));
after(() => gateway?.close());

/** Every endpoint, with a body that would do if it were allowed. */
const endpoints = [
  ['POST', '/admin/v1/accounts', { name: 'x' }],
  ['GET', '/admin/v1/accounts'],
  ['GET', '/admin/v1/accounts/a'],
  ['POST', '/admin/v1/accounts/a/projects', { name: 'x' }],
  ['GET', '/admin/v1/accounts/a/projects'],
  ['POST', '/admin/v1/accounts/a/keys', { label: 'x' }],
  ['GET', '/admin/v1/accounts/a/keys'],
  ['PATCH', '/admin/v1/accounts/a/keys/k', { label: 'x' }],
  ['DELETE', '/admin/v1/accounts/a/keys/k'],
  ['POST', '/admin/v1/accounts/a/adjustments', { bucket: 'credit', amount: '1', reason: 'x' }],
  ['GET', '/admin/v1/catalog'],
  ['PUT', '/admin/v1/catalog', {}],
  ['GET', '/admin/v1/health'],
  ['POST', '/admin/v1/probe'],
];

describe('without the operator\'s token', () => {
  for (const [name, vars] of [['unset', {}], ['empty', { ADMIN_TOKEN: '' }]]) {
    test(`because it is ${name}, every path of administration is like one that does not exist`, async () => {
      const state = mkdtempSync(join(tmpdir(), 'tokens-forge-'));
      const worker = await startWorker({ state, vars });
      try {
        const answer = async (method, path, authorization, body) => {
          const response = await fetch(worker.url + path, { method, headers: authorization === undefined ? {} : { authorization }, body: body && JSON.stringify(body) });
          const { error } = await response.json();
          return { status: response.status, type: response.headers.get('content-type'), error };
        };
        for (const authorization of [undefined, 'Bearer ', 'Bearer undefined', `Bearer ${adminToken}`]) {
          for (const [method, path, body] of endpoints) {
            const unknown = await answer(method === 'GET' ? 'POST' : method, '/nowhere/v1/accounts', authorization, body);
            assert.equal(unknown.status, 404);
            assert.deepEqual(await answer(method, path, authorization, body), unknown, `${method} ${path}`);
          }
        }
      } finally {
        await worker.close();
        rmSync(state, { recursive: true, force: true });
      }
    });
  }
});

describe('accounts', () => {
  test('are made, listed page by page and read, with their balances', async () => {
    const ids = [];
    for (const body of [{ name: 'No id' }, { id: 'acme', name: 'Acme' }, { id: 'a-1_b.C', name: 'Ünï 大' }]) {
      const made = await gateway.admin('POST', '/admin/v1/accounts', body);
      assert.equal(made.name, body.name);
      if (body.id) assert.equal(made.id, body.id);
      ids.push(made.id);
      assert.deepEqual(made.balances.map(({ bucket, currency, balance, held }) => [bucket, currency, balance, held]), [['credit', 'USD', '0', '0'], ['wallet', 'CNY', '0', '0']]);
      assert.deepEqual(await gateway.admin('GET', `/admin/v1/accounts/${made.id}`), made);
    }
    const listed = [];
    for (let after = ''; after !== null; ) {
      const { data, next } = await gateway.admin('GET', `/admin/v1/accounts?limit=2${after}`);
      assert.ok(data.length <= 2);
      listed.push(...data.map(({ id }) => id));
      after = next && `&after=${next}`;
    }
    assert.equal(new Set(listed).size, listed.length);
    for (const id of ids) assert.ok(listed.includes(id), id);
  });

  test('of one id made by many at the same time are one account, and one caller is told that it made it', async () => {
    for (let round = 0; round < 20; round += 1) {
      const id = `raced-${round}`;
      const made = await Promise.allSettled(Array.from({ length: 10 }, (_, n) => gateway.admin('POST', '/admin/v1/accounts', { id, name: `n${n}` })));
      const { name } = await gateway.admin('GET', `/admin/v1/accounts/${id}`);
      const winners = made.filter(({ status }) => status === 'fulfilled').map(({ value }) => value.name);
      assert.deepEqual(winners, [name], id);
      for (const { reason } of made.filter(({ status }) => status === 'rejected')) assert.equal(reason.status, 409);
    }
  });
});

describe('projects', () => {
  test('are made and listed, and keys belong to them', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const path = `/admin/v1/accounts/${account}/projects`;
    const budgets = [{ bucket: 'credit', period: 'month', limit: '5' }];
    const made = await gateway.admin('POST', path, { name: 'Search', budgets });
    assert.deepEqual([made.name, made.budgets, made.account], ['Search', budgets, account]);
    const { data } = await gateway.admin('GET', path);
    assert.deepEqual(data.map(({ name }) => name).sort(), ['Default', 'Search']);
    const { secret, project } = await gateway.createKey(account, { project: made.id });
    assert.equal(project, made.id);
    const receipt = await gateway.receipt(secret, await gateway.call(secret, 'demo-large'));
    assert.equal(receipt.project, made.id);
  });
});

describe('the secret of a key', () => {
  test('is shown once, and is nowhere afterwards', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const made = await gateway.createKey(account, { label: 'my key' });
    assert.match(made.secret, /^sk-tf-[0-9a-f]{48}$/);
    assert.equal(made.hash, undefined);
    const keyPath = `/admin/v1/accounts/${account}/keys`;
    const answer = await gateway.call(made.secret, { model: 'demo-large' }, { 'idempotency-key': 'once' });
    await gateway.receipt(made.secret, answer);
    const shown = [
      await gateway.admin('GET', keyPath),
      await gateway.admin('PATCH', `${keyPath}/${made.id}`, { label: 'renamed' }),
      await gateway.admin('GET', `/admin/v1/accounts/${account}`),
      ...(await Promise.all(['/v1/key', '/v1/receipts', '/v1/ledger', '/v1/balances', '/v1/models'].map((path) => gateway.get(made.secret, path)))),
      await gateway.admin('DELETE', `${keyPath}/${made.id}`),
      await gateway.admin('GET', keyPath),
    ];
    const bare = made.secret.slice('sk-tf-'.length);
    const hash = createHash('sha256').update(made.secret).digest('hex');
    for (const value of shown) {
      assert.ok(!JSON.stringify(value).includes(bare));
      assert.ok(!JSON.stringify(value).includes(hash), 'the hash is nobody\'s business either');
    }

    const { CONFIG, DB } = await gateway.bindings();
    const { keys } = await CONFIG.list();
    assert.ok(keys.some(({ name }) => name === `key:${hash}`));
    for (const { name } of keys) assert.ok(!(name + (await CONFIG.get(name))).includes(bare), name);
    await until(async () => (await DB.prepare('SELECT 1 FROM keys WHERE hash = ? AND revoked_at IS NOT NULL').bind(hash).all()).results.length > 0, 'the copy in D1');
    const { results: tables } = await DB.prepare('SELECT name FROM sqlite_master WHERE type IN (\'table\', \'view\') AND name NOT LIKE \'\\_cf%\' ESCAPE \'\\\'').all();
    assert.ok(tables.length >= 8);
    for (const { name } of tables) {
      const { results } = await DB.prepare(`SELECT * FROM ${name}`).all();
      assert.ok(!JSON.stringify(results).includes(bare), name);
    }
    // Everything that the runtime ever wrote: account objects, D1, KV.
    for (const file of filesUnder(gateway.state)) {
      const bytes = readFileSync(file);
      assert.ok(!bytes.includes(bare), file);
      assert.ok(!bytes.includes('upstream-secret'), file);
    }
    assert.ok(!gateway.logs.some(({ message }) => message.includes(bare) || message.includes('upstream-secret')));
  });
});

describe('the policy of a key', () => {
  const changes = [
    { name: 'its models', to: { models: ['demo-small'] }, after: [403, 'model_not_allowed'] },
    { name: 'its budget', to: { budgets: [{ bucket: 'credit', period: 'total', limit: '0.00005' }] }, after: [403, 'budget_exceeded'] },
  ];
  for (const { name, to, after: [status, code] } of changes) {
    test(`changes ${name} on the very next request`, async () => {
      const account = await gateway.newAccount({ credit: '1' });
      const { id, secret } = await gateway.createKey(account);
      const first = await gateway.call(secret, 'demo-large');
      assert.equal(first.status, 200);
      await first.text();
      const changed = await gateway.admin('PATCH', `/admin/v1/accounts/${account}/keys/${id}`, to);
      for (const [field, value] of Object.entries(to)) {
        assert.deepEqual(changed.policy[field], value);
      }
      const second = await gateway.call(secret, 'demo-large');
      const body = await second.json();
      assert.deepEqual([second.status, body.error?.code], [status, code], JSON.stringify(body));
    });
  }
});

describe('a revoked key', () => {
  test('is refused whatever KV still says', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const { id, secret } = await gateway.createKey(account);
    const calls = gateway.upstream.requests.length;
    await withOldCopy(secret, () => gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${id}`));
    for (let n = 0; n < 2; n += 1) {
      const answer = await gateway.call(secret, 'demo-large');
      assert.equal(answer.status, 401);
      assert.equal((await answer.json()).error.code, 'invalid_api_key');
    }
    assert.equal(gateway.upstream.requests.length, calls, 'nothing was sent upstream');
    assert.deepEqual((await gateway.admin('GET', `/admin/v1/accounts/${account}`)).balances[0].balance, '1');
  });

  test('is refused in the middle of many requests, and none starts after', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const { id, secret } = await gateway.createKey(account);
    let revokedAt = Infinity;
    const calls = Array.from({ length: 8 }, async () => {
      for (let n = 0; n < 12; n += 1) {
        const sentAt = performance.now();
        const { status } = await gateway.call(secret, 'demo-large').then(async (answer) => (await answer.text(), answer));
        if (sentAt > revokedAt) assert.equal(status, 401);
      }
    });
    await gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${id}`);
    revokedAt = performance.now();
    await Promise.all(calls);
  });
});

/** Makes a change, then puts the key's old record back into KV and forgets everything in memory. */
async function withOldCopy(secret, change) {
  const name = `key:${createHash('sha256').update(secret).digest('hex')}`;
  const old = await (await gateway.bindings()).CONFIG.get(name);
  await change();
  await (await gateway.bindings()).CONFIG.put(name, old);
  await gateway.kill();
  await until(async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
}

function filesUnder(path) {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
