// Administration: off without its token, secrets shown once, changes effective on the next
// request, and nothing of one account within reach of another.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { adminApi } from '../../scripts/admin-api.mjs';
import { startWorker } from '../../scripts/runtime.mjs';
import { adminToken, earlyInTheMinute, startGateway, until } from './support/gateway.mjs';

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

  test('or with another, or a customer\'s key, everything is refused', async () => {
    let addresses = 0;
    const secret = await gateway.richKey();
    const tokens = [undefined, '', 'Bearer', 'Bearer ', `Bearer ${adminToken}x`, `Bearer ${adminToken.slice(0, -1)}`, `Bearer ${adminToken.toUpperCase()}`, `Basic ${adminToken}`, `Bearer ${secret}`];
    for (const authorization of tokens) {
      for (const [method, path, body] of endpoints) {
        // Each from an address of its own: so many wrong tokens from one are told to slow down.
        const from = { 'cf-connecting-ip': `2001:db8:${(addresses += 1).toString(16)}::1` };
        const answer = await fetch(gateway.url + path, { method, headers: { ...from, ...(authorization !== undefined && { authorization }) }, body: body && JSON.stringify(body) });
        assert.equal(answer.status, 401, `${authorization} ${method} ${path}`);
        assert.equal((await answer.json()).error.code, 'invalid_admin_token');
        assert.equal(answer.headers.get('cache-control'), 'no-store');
      }
    }
    await assert.rejects(gateway.admin('GET', '/admin/v1/accounts/a'), { status: 404 }, 'nothing was made');
  });

  test('is not a way in for customers either', async () => {
    for (const path of ['/v1/balances', '/v1/models', '/v1/receipts', '/v1/ledger', '/v1/key']) {
      assert.equal((await gateway.fetch(adminToken, path)).status, 401, path);
    }
    assert.equal((await gateway.call(adminToken, 'demo-large')).status, 401);
  });
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

  test('are refused if they are no accounts', async () => {
    for (const body of [{}, { name: '' }, { name: '  ' }, { name: 7 }, { name: 'x'.repeat(201) }, { name: 'a\u0000b' }, { name: 'x', id: 'a b' }, { name: 'x', id: '' }, { name: 'x', id: 'a/b' }, { name: 'x', id: 'x'.repeat(65) }, { name: 'x', balance: '100' }, []]) {
      await refused('POST', '/admin/v1/accounts', body, 400);
    }
    for (const body of ['', 'name', '{', '{"name":"x"', '\u0000']) {
      const answer = await gateway.fetch(adminToken, '/admin/v1/accounts', { method: 'POST', body });
      assert.equal(answer.status, 400, body);
    }
    for (const query of ['limit=0', 'limit=51', 'limit=x']) await refused('GET', `/admin/v1/accounts?${query}`, undefined, 400);
  });

  test('keep their id for themselves', async () => {
    await gateway.admin('POST', '/admin/v1/accounts', { id: 'taken', name: 'The first' });
    await gateway.admin('POST', '/admin/v1/accounts/taken/adjustments', { bucket: 'credit', amount: '5', reason: 'test' });
    await refused('POST', '/admin/v1/accounts', { id: 'taken', name: 'The second' }, 409, 'conflict');
    const { name, balances } = await gateway.admin('GET', '/admin/v1/accounts/taken');
    assert.deepEqual([name, balances[0].balance], ['The first', '5']);
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

  test('that do not exist are nowhere to be found', async () => {
    for (const id of ['nobody', 'x'.repeat(64)]) {
      const path = `/admin/v1/accounts/${id}`;
      await refused('GET', path, undefined, 404);
      await refused('GET', `${path}/keys`, undefined, 404);
      await refused('GET', `${path}/projects`, undefined, 404);
      await refused('POST', `${path}/keys`, { label: 'x' }, 404);
      await refused('POST', `${path}/projects`, { name: 'x' }, 404);
      await refused('POST', `${path}/adjustments`, { bucket: 'credit', amount: '1', reason: 'x' }, 404);
      await refused('PATCH', `${path}/keys/key-1`, { label: 'x' }, 404);
      await refused('DELETE', `${path}/keys/key-1`, undefined, 404);
      await refused('GET', path, undefined, 404);
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

  test('are refused if they are no projects, or another account\'s', async () => {
    const [account, other] = [await gateway.newAccount(), await gateway.newAccount()];
    const path = `/admin/v1/accounts/${account}/projects`;
    for (const body of [{}, { name: '' }, { name: 'x', colour: 'red' }, { name: 'x', budgets: {} }, { name: 'x', budgets: [{ bucket: 'gold', period: 'day', limit: '1' }] }, { name: 'x', budgets: [{ bucket: 'credit', period: 'week', limit: '1' }] }, { name: 'x', budgets: [{ bucket: 'credit', period: 'day', limit: 1 }] }]) {
      await refused('POST', path, body, 400);
    }
    const { id } = await gateway.admin('POST', `/admin/v1/accounts/${other}/projects`, { name: 'theirs' });
    await refused('POST', `/admin/v1/accounts/${account}/keys`, { label: 'x', project: id }, 404);
    const budgets = [{ bucket: 'gold', period: 'day', limit: '1' }];
    await refused('POST', path, { name: 'x', budgets }, 400);
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

  test('is another for each key', async () => {
    const account = await gateway.newAccount();
    const keys = await Promise.all(Array.from({ length: 20 }, () => gateway.createKey(account)));
    assert.equal(new Set(keys.map(({ secret }) => secret)).size, 20);
    assert.equal(new Set(keys.map(({ id }) => id)).size, 20);
    const { data } = await gateway.admin('GET', `/admin/v1/accounts/${account}/keys`);
    assert.deepEqual(data.map(({ id }) => id).sort(), keys.map(({ id }) => id).sort());
  });
});

describe('the policy of a key', () => {
  const refusals = [
    { rmp: 1 }, { rpm: -1 }, { rpm: 1.5 }, { rpm: '10' }, { tpm: -1 }, { concurrency: -1 }, { models: 'gpt' }, { models: [7] },
    { routes: ['direct'] }, { routes: 'official' }, { cross_routes: 'yes' }, { expires_at: 'soon' }, { ip_allow: ['here'] },
    { budgets: [{ bucket: 'gold', period: 'day', limit: '1' }] }, { budgets: [{ bucket: 'credit', period: 'week', limit: '1' }] },
    { budgets: [{ bucket: 'credit', period: 'day', limit: 1 }] }, { budgets: [{ bucket: 'credit', period: 'day', limit: '1e3' }] },
    { budgets: [{ bucket: 'credit', period: 'day' }] }, { label: '' }, { label: 7 }, { secret: 'sk-tf-mine' }, { id: 'mine' },
    { account: 'other' }, { hash: '00' }, { revoked_at: null }, { version: 9 },
  ];
  for (const policy of refusals) {
    test(`cannot be ${JSON.stringify(policy)}`, async () => {
      const account = await gateway.newAccount({ credit: '1' });
      const path = `/admin/v1/accounts/${account}/keys`;
      await refused('POST', path, { label: 'x', ...policy }, 400);
      const { id, secret } = await gateway.createKey(account, { rpm: 100 });
      await refused('PATCH', `${path}/${id}`, policy, 400);
      const { data } = await gateway.admin('GET', path);
      assert.deepEqual(data.map(({ policy: { rpm }, version }) => [rpm, version]), [[100, 1]], 'nothing of it was taken');
      assert.equal((await gateway.call(secret, 'demo-large')).status, 200);
    });
  }

  const changes = [
    { name: 'its models', from: {}, to: { models: ['demo-small'] }, before: 200, after: [403, 'model_not_allowed'] },
    { name: 'its models, to more', from: { models: ['demo-small'] }, to: { models: ['*'] }, before: 403, after: [200] },
    { name: 'its routes', from: {}, to: { routes: ['routed'] }, before: 200, after: [403, 'route_not_allowed'] },
    { name: 'its requests a minute', from: {}, to: { rpm: 1 }, before: 200, again: true, after: [429, 'rate_limit_exceeded'] },
    { name: 'its end', from: {}, to: { expires_at: '2020-01-01T00:00:00Z' }, before: 200, after: [401, 'invalid_api_key'] },
    { name: 'its addresses', from: {}, to: { ip_allow: ['203.0.113.7'] }, before: 200, after: [403, 'ip_not_allowed'] },
    { name: 'its concurrency', from: {}, to: { concurrency: 0 }, before: 200, after: [429, 'rate_limit_exceeded'] },
    { name: 'its budget', from: {}, to: { budgets: [{ bucket: 'credit', period: 'total', limit: '0.00005' }] }, before: 200, after: [403, 'budget_exceeded'] },
  ];
  for (const { name, from, to, before, again, after: [status, code] } of changes) {
    test(`changes ${name} on the very next request`, async () => {
      const account = await gateway.newAccount({ credit: '1' });
      const { id, secret } = await gateway.createKey(account, from);
      const first = await gateway.call(secret, 'demo-large');
      assert.equal(first.status, before);
      await first.text();
      const changed = await gateway.admin('PATCH', `/admin/v1/accounts/${account}/keys/${id}`, to);
      for (const [field, value] of Object.entries(to)) {
        const shown = changed.policy[field];
        assert.deepEqual(field === 'expires_at' ? Date.parse(shown) : shown, field === 'expires_at' ? Date.parse(value) : value);
      }
      if (again) {
        await earlyInTheMinute();
        await (await gateway.call(secret, 'demo-large')).text();
      }
      const second = await gateway.call(secret, 'demo-large');
      const body = await second.json();
      assert.deepEqual([second.status, body.error?.code], [status, code], JSON.stringify(body));
    });

    // An old copy can refuse for up to a minute what is allowed now, but not allow what is not.
    if (before !== 200) continue;
    test(`changes ${name} even where only an old copy of the key is known`, async () => {
      const account = await gateway.newAccount({ credit: '1' });
      const { id, secret } = await gateway.createKey(account, from);
      await withOldCopy(secret, () => gateway.admin('PATCH', `/admin/v1/accounts/${account}/keys/${id}`, to));
      if (again) {
        await earlyInTheMinute();
        await (await gateway.call(secret, 'demo-large')).text();
      }
      const answer = await gateway.call(secret, 'demo-large');
      const body = await answer.json();
      assert.deepEqual([answer.status, body.error?.code], [status, code], JSON.stringify(body));
    });
  }

  test('keeps what a change does not name', async () => {
    const account = await gateway.newAccount();
    const policy = { models: ['demo-large'], rpm: 5, tpm: 1000, cross_routes: true };
    const { id } = await gateway.createKey(account, { label: 'first', ...policy });
    const changed = await gateway.admin('PATCH', `/admin/v1/accounts/${account}/keys/${id}`, { label: 'second', rpm: 6 });
    const { label, version } = changed;
    assert.deepEqual({ label, version }, { label: 'second', version: 2 });
    const { models, rpm, tpm, cross_routes } = changed.policy;
    assert.deepEqual({ models, rpm, tpm, cross_routes }, { ...policy, rpm: 6 });
    const { policy: { tpm: none } } = await gateway.admin('PATCH', `/admin/v1/accounts/${account}/keys/${id}`, { tpm: null });
    assert.equal(none ?? null, null);
  });
});

describe('a revoked key', () => {
  test('is refused on the very next request, and stays so', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const { id, secret } = await gateway.createKey(account);
    assert.equal((await gateway.call(secret, 'demo-large')).status, 200);
    const revoked = await gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${id}`);
    assert.ok(Date.parse(revoked.revoked_at) <= Date.now());
    await assertRefused(secret);
    // A second time changes nothing, and no change of its policy brings it back.
    const again = await gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${id}`);
    assert.equal(again.revoked_at, revoked.revoked_at);
    await gateway.admin('PATCH', `/admin/v1/accounts/${account}/keys/${id}`, { label: 'back' });
    await assertRefused(secret);
    const { data } = await gateway.admin('GET', `/admin/v1/accounts/${account}/keys`);
    assert.equal(data[0].revoked_at, revoked.revoked_at);
  });

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

  test('reads nothing of its account, whatever KV still says', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const { id, secret } = await gateway.createKey(account);
    await withOldCopy(secret, () => gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${id}`));
    for (const path of ['/v1/balances', '/v1/receipts', '/v1/ledger', '/v1/key', '/v1/models']) {
      assert.equal((await gateway.fetch(secret, path)).status, 401, path);
    }
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

describe('what belongs to another account', () => {
  test('is not there', async () => {
    const [one, other] = [await gateway.newAccount({ credit: '1' }), await gateway.newAccount({ credit: '1' })];
    const [ours, theirs] = [await gateway.createKey(one), await gateway.createKey(other)];
    const { id } = await gateway.receipt(theirs.secret, await gateway.call(theirs.secret, 'demo-large'));
    for (const path of [`/v1/receipts/${id}`, `/v1/generation?id=${id}`]) {
      const answer = await gateway.fetch(ours.secret, path);
      assert.equal(answer.status, 404, path);
      assert.doesNotMatch(await answer.text(), new RegExp(other));
    }
    for (const query of ['', `?key=${theirs.id}`, `?account=${other}`]) {
      assert.deepEqual((await gateway.get(ours.secret, `/v1/receipts${query}`)).data, [], query);
    }
    await refused('PATCH', `/admin/v1/accounts/${one}/keys/${theirs.id}`, { rpm: 0 }, 404);
    await refused('DELETE', `/admin/v1/accounts/${one}/keys/${theirs.id}`, undefined, 404);
    assert.equal((await gateway.call(theirs.secret, 'demo-large')).status, 200);
    for (const key of ['nothing', 'a%2Fb', '%00']) await refused('DELETE', `/admin/v1/accounts/${one}/keys/${key}`, undefined, 404);
    // This is the path of the account, which cannot be deleted.
    for (const key of ['..', '%2e%2e']) await refused('DELETE', `/admin/v1/accounts/${one}/keys/${key}`, undefined, 405);
  });
});

describe('a GET', () => {
  test('changes nothing', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const { id, secret } = await gateway.createKey(account);
    const before = await snapshot(account, secret);
    const paths = [
      '/admin/v1/accounts', `/admin/v1/accounts/${account}`, `/admin/v1/accounts/${account}/keys`, `/admin/v1/accounts/${account}/projects`,
      `/admin/v1/accounts/${account}/adjustments?bucket=credit&amount=5&reason=x`, `/admin/v1/accounts/${account}/keys/${id}?rpm=1`,
      '/admin/v1/catalog', '/admin/v1/health', '/admin/v1/probe', '/v1/balances', '/v1/receipts', '/v1/ledger', '/v1/key', '/v1/models', '/v1/chat/completions', '/v1/route',
    ];
    for (const method of ['GET', 'HEAD']) {
      for (const path of paths) {
        const answer = await gateway.fetch(path.startsWith('/admin') ? adminToken : secret, path, { method });
        assert.ok(answer.status < 500, `${method} ${path}`);
        await answer.arrayBuffer();
      }
    }
    assert.deepEqual(await snapshot(account, secret), before);
  });

  test('is the only method of what can only be read', async () => {
    for (const [method, path] of [['POST', '/admin/v1/health'], ['DELETE', '/admin/v1/catalog'], ['PUT', '/admin/v1/accounts'], ['DELETE', '/admin/v1/accounts/a'], ['GET', '/admin/v1/nothing'], ['GET', '/admin/v1/']]) {
      await refused(method, path, undefined, method === 'GET' ? 404 : undefined);
    }
  });
});

/** The account and everything stored of it, for comparison. */
async function snapshot(account, secret) {
  const { CONFIG, DB } = await gateway.bindings();
  const { keys } = await CONFIG.list();
  return {
    view: await gateway.admin('GET', `/admin/v1/accounts/${account}`),
    keys: await gateway.admin('GET', `/admin/v1/accounts/${account}/keys`),
    ledger: await gateway.get(secret, '/v1/ledger'),
    receipts: await gateway.get(secret, '/v1/receipts'),
    journal: (await DB.prepare('SELECT * FROM journal WHERE account = ?').bind(account).all()).results,
    probes: (await DB.prepare('SELECT COUNT(*) AS count FROM probes').all()).results,
    config: await Promise.all(keys.map(async ({ name }) => [name, await CONFIG.get(name)])),
  };
}

/** Makes a change, then puts the key's old record back into KV and forgets everything in memory. */
async function withOldCopy(secret, change) {
  const name = `key:${createHash('sha256').update(secret).digest('hex')}`;
  const old = await (await gateway.bindings()).CONFIG.get(name);
  await change();
  await (await gateway.bindings()).CONFIG.put(name, old);
  await gateway.kill();
  await until(async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
}

async function assertRefused(secret) {
  for (const answer of [await gateway.call(secret, 'demo-large'), await gateway.fetch(secret, '/v1/balances'), await gateway.fetch(secret, '/v1/models')]) {
    assert.equal(answer.status, 401);
    assert.equal((await answer.json()).error.code, 'invalid_api_key');
  }
}

/** An admin call that has to be refused with this status, or with any below 500. */
async function refused(method, path, body, status, code) {
  const admin = adminApi(gateway.url, adminToken);
  await assert.rejects(
    admin(method, path, body),
    (error) => {
      if (error.status === undefined) return false;
      assert.ok(status === undefined ? error.status >= 400 && error.status < 500 : error.status === status, `${error.status} for ${method} ${path} ${JSON.stringify(body)}`);
      if (code) assert.equal(error.body.error.code, code);
      assert.ok(error.body.error.message && error.body.error.metadata.next_step);
      return true;
    },
    `${method} ${path} ${JSON.stringify(body)}`,
  );
}

function filesUnder(path) {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
