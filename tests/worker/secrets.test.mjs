// Secrets and sessions: what a channel may name, who may administer what, paths that have one
// spelling, headers that every answer has, sessions that end on the server.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { isForChannels, isOwn, weakness } from '../../scripts/secrets.mjs';
import { select } from './support/books.mjs';
import { testCatalog } from './support/catalog.mjs';
import { adminToken, files, startGateway, until } from './support/gateway.mjs';

const pasted = 'sk-proj-T3BlbkFJ0123456789abcdef';
let gateway;
before(async () => (gateway = await startGateway({ vars: { UPSTREAM_SECRETS: 'TEST_UPSTREAM_KEY, POOL_KEY,\nADMIN_TOKEN' } })));
after(() => gateway?.close());

/** An admin call by whoever presents this: status, body, headers. */
async function call(token, method, path, body, headers = {}) {
  const answer = await fetch(gateway.url + path, { method, headers: { ...(token && { authorization: `Bearer ${token}` }), ...headers }, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, body: text.startsWith('{') ? JSON.parse(text) : undefined };
}

/** A new token with these scopes. */
async function newToken(scopes, more = {}) {
  return gateway.admin('POST', '/admin/v1/tokens', { name: `t-${randomBytes(4).toString('hex')}`, scopes, ...more });
}

describe('a channel', () => {
  const withSecret = (name) => {
    const document = testCatalog(gateway.upstream.url);
    document.channels.other = { ...document.channels.main, secrets: [name] };
    document.models.other = { ...document.models['demo-large'], routes: { official: { ...document.models['demo-large'].routes.official, candidates: [{ channel: 'other', upstream_model: 'demo-large' }] } } };
    return document;
  };
  const put = (document, query = '') => call(adminToken, 'PUT', `/admin/v1/catalog${query}`, document);

  test('may name what begins with UPSTREAM_ or is declared, and the operator is told what is not set', async () => {
    for (const name of ['UPSTREAM_OTHER', 'POOL_KEY']) {
      for (const query of ['?dry_run=true', '']) {
        const { status, body } = await put(withSecret(name), query);
        assert.equal(status, 200, JSON.stringify(body));
        assert.equal(body.warnings.length, 1);
        assert.match(body.warnings[0], new RegExp(`channel other: the secret ${name} is not set`));
      }
    }
    assert.deepEqual((await put(testCatalog(gateway.upstream.url))).body.warnings, []);
  });

  test('may not name anything else, the gateway\'s own least of all', async () => {
    for (const name of ['OPENAI_API_KEY', 'ADMIN_TOKEN', 'ADMIN_TOKEN_NEXT', 'SESSION_SECRET', 'STRIPE_SECRET_KEY', 'ALERT_WEBHOOK_SECRET', 'TOPUP_RETURN_URL', 'UPSTREAM_SECRETS', 'CONFIG', 'pool_key', 'K']) {
      const { status, body } = await put(withSecret(name));
      assert.equal(status, 400, name);
      assert.equal(body.error.metadata.faults[0].path, 'channels.other.secrets[0]');
      assert.equal(isForChannels(name, ['TEST_UPSTREAM_KEY', 'POOL_KEY', 'ADMIN_TOKEN']), false, 'the scripts say the same');
    }
    for (const name of ['UPSTREAM_OTHER', 'POOL_KEY']) assert.ok(isForChannels(name, ['POOL_KEY']), name);
    for (const name of ['ADMIN_TOKEN', 'CONFIG', 'UPSTREAM_SECRETS']) assert.ok(isOwn(name), name);
  });

  test('does not get a secret of the gateway\'s from a catalogue that was stored before', async () => {
    const key = await gateway.richKey();
    for (const [version, name] of [[900, 'ADMIN_TOKEN'], [901, pasted], [902, 'AKIAIOSFODNN7EXAMPLE']]) {
      const document = { ...withSecret(name), version };
      document.models.other.name = 'Other';
      const { CONFIG, DB } = await gateway.bindings();
      await CONFIG.put('catalog', JSON.stringify(document));
      await DB.prepare('INSERT INTO catalog_versions (version, published_at, document) VALUES (?, 1, ?)').bind(version, JSON.stringify(document)).run();
      await gateway.kill();
      await until(async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
      gateway.upstream.requests.length = 0;
      const answer = await gateway.call(key, 'other');
      const text = await answer.text();
      assert.equal(answer.status, 502, text);
      await gateway.admin('POST', '/admin/v1/probe');
      const receipt = await gateway.receipt(key, answer);
      const told = [text, JSON.stringify(receipt), await (await gateway.fetch(key, '/v1/models?include=unavailable')).text()];
      for (const path of ['/admin/v1/health', '/admin/v1/receipts?limit=100', '/admin/v1/audit?limit=100']) told.push((await call(adminToken, 'GET', path)).text);
      told.push(...gateway.logs.map(({ message }) => message));
      if (name !== 'ADMIN_TOKEN') for (const it of told) assert.ok(!it.includes(name), `${name} is told: ${it.slice(0, 300)}`);
      for (const it of told) assert.ok(!it.includes(adminToken));
      const sent = gateway.upstream.requests.filter(({ headers }) => headers.authorization !== 'Bearer upstream-secret');
      assert.deepEqual(sent.map(({ url }) => url), [], 'nothing went up with it');
    }
    await gateway.admin('PUT', '/admin/v1/catalog', testCatalog(gateway.upstream.url));
  });

  test('of which a key was pasted is refused, and the key is repeated nowhere', async () => {
    const keys = [pasted, 'AIzaSyA0123456789abcdefghijklmnopqrstuvw', 'AKIAIOSFODNN7EXAMPLE', `ghp_${'a1B2'.repeat(9)}`, `gsk_${'a1B2'.repeat(13)}`, `xai-${'a1B2'.repeat(20)}`, 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P', '0123456789abcdef0123456789abcdef', `A${'Z7'.repeat(20)}`];
    for (const key of keys) {
      for (const change of [{ secrets: [key] }, { secrets: key }, { secrets: { [key]: key } }, { dialect: key }, { api_key: key, [key]: 1 }, { base_url: `https://a.example?k=${key}` }]) {
        const document = withSecret('POOL_KEY');
        Object.assign(document.channels.other, change);
        const { status, text } = await put(document);
        assert.equal(status, 400, JSON.stringify(change));
        const isAnywhere = 'secrets' in change || /^(sk-|AIza|AKIA|ghp_|gsk_|xai-|eyJ)/.test(key);
        if (isAnywhere) assert.ok(!text.includes(key), text);
      }
    }
    const audit = await call(adminToken, 'GET', '/admin/v1/audit?limit=100');
    for (const key of keys) {
      assert.ok(!audit.text.includes(key));
      assert.ok(gateway.logs.every(({ message }) => !message.includes(key)));
    }
  });
});

describe('a host', () => {
  let other;
  const publicCatalog = () => {
    const document = testCatalog('https://upstream.example');
    for (const channel of Object.values(document.channels)) channel.base_url = 'https://upstream.example/v1';
    return document;
  };
  before(async () => (other = await startGateway({ catalog: publicCatalog, vars: { ALLOW_PRIVATE_UPSTREAMS: '' }, isPrivate: true })));
  after(() => other?.close());

  test('that leads to a private one by convention needs the operator\'s word for it', async () => {
    for (const host of ['10.0.0.1.nip.io', 'a.127-0-0-1.sslip.io', 'app.localtest.me', 'lvh.me', 'api.default.svc', 'nas.home.arpa', 'box.localdomain', 'upstream.example:6379']) {
      const document = publicCatalog();
      document.channels.main.base_url = `https://${host}/v1`;
      const refused = await other.admin('PUT', '/admin/v1/catalog?dry_run=true', document).catch((error) => error);
      assert.equal(refused.status, 400, host);
      const [{ path, message }] = refused.body.error.metadata.faults;
      assert.equal(path, 'channels.main.base_url');
      assert.ok(message.includes(`"allow_host": "${host}"`), message);
      document.channels.main.allow_host = host;
      assert.equal((await other.admin('PUT', '/admin/v1/catalog?dry_run=true', document)).dry_run, true, host);
    }
  });

  test('that is private stays refused, whatever anybody says', async () => {
    for (const host of ['10.0.0.1', '[2001::53aa:64c]', '[64:ff9b::a00:1]', 'localhost', 'x.cluster.local']) {
      const document = publicCatalog();
      Object.assign(document.channels.main, { base_url: `https://${host}/v1`, allow_host: host });
      await assert.rejects(other.admin('PUT', '/admin/v1/catalog?dry_run=true', document), { status: 400 }, host);
    }
  });
});

describe('an operator\'s token', () => {
  test('is the author of what it does; what the client says stands beside it', async () => {
    const { secret, name, id } = await newToken(['accounts', 'read', 'money']);
    await call(secret, 'POST', '/admin/v1/accounts', { id: 'by-token', name: 'X', author: 'root', reason: 'why' });
    await call(secret, 'POST', '/admin/v1/accounts/by-token/adjustments', { bucket: 'credit', amount: '1', reason: 'why', author: 'kim' });
    const rows = await until(async () => {
      const { body } = await call(secret, 'GET', '/admin/v1/audit?account=by-token');
      return body.data.some(({ kind }) => kind === 'adjustment') && body.data;
    }, 'the rows');
    assert.deepEqual(new Set(rows.map(({ author }) => author)), new Set([name]));
    assert.deepEqual(rows.find(({ kind }) => kind === 'adjustment').on_behalf_of, 'kim');
    assert.deepEqual(rows.find(({ kind }) => kind === 'account').on_behalf_of, 'root');
    const own = (await gateway.admin('GET', '/admin/v1/tokens?limit=100')).data.find((token) => token.id === id);
    assert.deepEqual([own.created_by, own.works], ['root', true]);
    await until(async () => (await gateway.admin('GET', '/admin/v1/tokens?limit=100')).data.find((token) => token.id === id).last_used_at, 'its last use');
    const made = (await gateway.admin('GET', '/admin/v1/audit?kind=token&limit=100')).data.find(({ what }) => what.includes(id));
    assert.equal(made.author, 'root');
  });

  test('is shown once and stored as a hash', async () => {
    const { secret, id } = await newToken(['read']);
    assert.match(secret, /^tf-admin-[0-9a-f]{56}$/);
    const rows = await select(gateway, 'SELECT * FROM admin_tokens WHERE id = ?', id);
    assert.equal(rows[0].hash, createHash('sha256').update(secret).digest('hex'));
    assert.ok(!JSON.stringify(rows).includes(secret));
    for (const path of ['/admin/v1/tokens?limit=100', '/admin/v1/audit?limit=100']) {
      const { text } = await call(adminToken, 'GET', path);
      assert.ok(!text.includes(secret) && !text.includes(rows[0].hash));
    }
  });

  test('gives no more than it has, and has a name of its own', async () => {
    const { secret } = await newToken(['tokens', 'read']);
    const make = (body) => call(secret, 'POST', '/admin/v1/tokens', body);
    assert.equal((await make({ name: 'more', scopes: ['read', 'money'] })).status, 403);
    const made = await make({ name: 'Same', scopes: ['read'] });
    assert.equal(made.status, 201);
    assert.equal((await make({ name: 'same', scopes: ['read'] })).status, 409, 'names that differ by case are one');
    for (const body of [{ name: 'x' }, { name: 'x', scopes: [] }, { name: 'x', scopes: ['read', 'read'] }, { name: 'x', scopes: ['all'] }, { name: 'x', scopes: Array(5_000).fill('read') }, { name: 'Root', scopes: ['read'] }, { name: 'a b', scopes: ['read'] }, { name: 'x', scopes: ['read'], expires_at: '2020-01-01T00:00:00Z' }, { name: 'x', scopes: ['read'], expires_at: '2999-01-01T00:00:00Z' }, { name: 'x', scopes: ['read'], hash: 'x' }]) {
      assert.equal((await make(body)).status, 400, JSON.stringify(body).slice(0, 100));
    }
    assert.equal((await call(secret, 'DELETE', `/admin/v1/tokens/${made.body.id}?author=kim`)).status, 200);
    assert.equal((await call(secret, 'DELETE', `/admin/v1/tokens/${made.body.id}`)).status, 404);
    assert.equal((await make({ name: 'same', scopes: ['read'] })).status, 201, 'a name is free when its token has ended');
  });

  test('ends when it is revoked or expires, at once', async () => {
    const { secret, id } = await newToken(['read']);
    assert.equal((await call(secret, 'GET', '/admin/v1/accounts')).status, 200);
    await gateway.admin('DELETE', `/admin/v1/tokens/${id}`);
    const refused = await call(secret, 'GET', '/admin/v1/accounts');
    assert.equal(refused.status, 401);
    assert.match(refused.body.error.message, /expired or was revoked/);
    const short = await newToken(['read']);
    await select(gateway, 'UPDATE admin_tokens SET expires_at = 1 WHERE id = ?', short.id);
    assert.equal((await call(short.secret, 'GET', '/admin/v1/accounts')).status, 401);
    assert.equal((await gateway.admin('GET', '/admin/v1/tokens?limit=100')).data.find((token) => token.id === short.id).works, false);
  });

  test('that is none is counted by hour and address, and never a row for each attempt', async () => {
    const unknown = `tf-admin-${'0'.repeat(48)}${createHash('sha256').update(`tf-admin-${'0'.repeat(48)}`).digest('hex').slice(0, 8)}`;
    const ask = (token, address) => call(token, 'GET', '/admin/v1/accounts', undefined, { 'cf-connecting-ip': address });
    for (let n = 0; n < 20; n += 1) await ask('wrong', '203.0.113.9');
    for (let n = 0; n < 3; n += 1) await ask(unknown, '203.0.113.9');
    for (let n = 0; n < 4; n += 1) await ask(undefined, `2001:db8:1:2::${n}`);
    const rows = await until(async () => {
      const { data } = await gateway.admin('GET', '/admin/v1/attempts?limit=100');
      const of = (address) => data.filter((row) => row.address === address);
      const sum = (address, name) => of(address).reduce((sum, row) => sum + row[name], 0);
      return sum('203.0.113.9', 'malformed') === 20 && sum('203.0.113.9', 'unknown') === 3 && sum('2001:db8:1:2::/64', 'absent') === 4 && data;
    }, 'the counts');
    assert.ok(rows.length <= 8, 'an hour and an address are a row');
    assert.deepEqual([...rows].sort((a, b) => Date.parse(b.hour) - Date.parse(a.hour)).map(({ hour }) => hour), rows.map(({ hour }) => hour));
  });
});

test('what is weak is known to the scripts', () => {
  for (const weak of ['admin', 'changeme-changeme-changeme-changeme', 'ops-admin-token-0123456789', 'a'.repeat(40)]) assert.ok(weakness(weak), weak);
  for (const strong of [adminToken, ['7f3a9c1e5b8d2046', 'e1c7a5093b6d8f24', '5d8b1f7e3c9a6042', '9e2d4b6f8a1c3057'].join('')]) assert.equal(weakness(strong), undefined);
});

describe('a session', () => {
  const form = (path, body, cookie) =>
    fetch(gateway.url + path, { method: 'POST', redirect: 'manual', body, headers: { origin: gateway.url, 'content-type': 'application/x-www-form-urlencoded', ...(cookie && { cookie }) } });
  const signIn = async (secret) => (await form('/login', `key=${secret}`)).headers.get('set-cookie').split(';')[0];
  const isIn = async (cookie) => (await (await fetch(`${gateway.url}/models`, { headers: { cookie } })).text()).includes('Signed in with the key');

  test('ends on the server when somebody signs out, and no other does', async () => {
    const secret = await gateway.richKey();
    const [one, two] = [await signIn(secret), await signIn(secret)];
    assert.notEqual(one, two);
    assert.ok((await isIn(one)) && (await isIn(two)));
    const out = await form('/logout', '', one);
    assert.deepEqual([out.status, /Max-Age=0/.test(out.headers.get('set-cookie'))], [303, true]);
    assert.ok(!(await isIn(one)), 'the cookie was kept, and opens nothing');
    assert.ok(await isIn(two));
    assert.ok(await isIn(await signIn(secret)), 'the key signs in again');
  });

  test('ends with all of its key from any of its pages, or with all of its account by the operator', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const [key, other] = [await gateway.createKey(account), await gateway.createKey(account)];
    const cookies = { a: await signIn(key.secret), b: await signIn(key.secret), c: await signIn(other.secret) };
    await form('/logout', 'all=1', cookies.a);
    assert.deepEqual(await Promise.all(Object.values(cookies).map(isIn)), [false, false, true]);
    const again = await signIn(key.secret);
    const { secret: support } = await newToken(['support']);
    assert.equal((await call(support, 'DELETE', `/admin/v1/accounts/${account}/sessions?key=${other.id}&reason=lost`)).status, 200);
    assert.deepEqual([await isIn(cookies.c), await isIn(again)], [false, true]);
    const third = await signIn(other.secret);
    assert.equal((await call(support, 'DELETE', `/admin/v1/accounts/${account}/sessions`)).status, 200);
    assert.deepEqual([await isIn(third), await isIn(again)], [false, false]);
    assert.ok(await isIn(await signIn(key.secret)));
  });
});

describe('a path', () => {
  /** Sends a request as it is written, which fetch would put right. */
  async function raw(path, method = 'GET', headers = {}) {
    const { hostname, port, host } = new URL(gateway.url);
    const socket = connect(Number(port), hostname);
    const lines = [`${method} ${path} HTTP/1.1`, `host: ${host}`, `authorization: Bearer ${adminToken}`, 'connection: close', ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
    socket.end(`${lines.join('\r\n')}\r\n\r\n`);
    let text = '';
    socket.on('data', (data) => (text += data));
    await once(socket, 'close');
    const [head, ...rest] = text.split('\r\n\r\n');
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), head, text: rest.join('\r\n\r\n') };
  }

  test('has one spelling, whatever a rule in front of the gateway makes of the others', async () => {
    assert.equal((await raw('/admin/v1/accounts')).status, 200);
    for (const path of [
      '/%61dmin/v1/accounts', '/admin%2Fv1/accounts', '/admin/v1%2Faccounts', '/admin/v1/%61ccounts', '//admin/v1/accounts', '/admin//v1/accounts', '/admin/v1/accounts//',
      '/ADMIN/v1/accounts', '/admin/V1/accounts', '/admin/v1/accounts;a=1', '/admin/v1/accounts%00', '/admin/v1/accounts%20', '/admin/v1/accounts%2F', '/%2561dmin/v1/accounts',
      '/admin%5Cv1/accounts', '/v1%2Fmodels', '/v1/%6Dodels', '/v1//models',
    ]) {
      const { status, text } = await raw(path);
      assert.equal(status, 404, `${path}: ${text.slice(0, 200)}`);
    }
    for (const path of ['/v1/../admin/v1/accounts', '/v1/%2e%2e/admin/v1/accounts', '/./admin/v1/accounts', '\\admin\\v1\\accounts', '/v1/..%2Fadmin/v1/accounts']) {
      // The platform may put such an address right before anybody sees it; otherwise there is nothing.
      const { status } = await raw(path);
      assert.ok([200, 400, 404].includes(status), path);
      if (path.includes('%2F')) assert.notEqual(status, 200, path);
    }
  });

  test('has names in it that are decoded, once', async () => {
    await gateway.admin('POST', '/admin/v1/accounts', { id: 'scoped', name: 'Scoped' });
    assert.equal((await raw('/admin/v1/accounts/scope%64')).status, 200);
    assert.equal((await raw('/admin/v1/accounts/scope%2564')).status, 404);
    assert.equal((await raw('/admin/v1/accounts/scoped%2Fkeys')).status, 404);
    const key = await gateway.richKey();
    for (const name of ['demo-large', 'demo%2Dlarge']) assert.equal((await gateway.fetch(key, `/v1/models/${name}`)).status, 200, name);
  });

  test('takes the methods that it has, and names them all to others', async () => {
    for (const [method, path, status, allow] of [
      ['PROPFIND', '/v1/models', 405, 'GET, HEAD, OPTIONS'], ['HEAD', '/healthz', 200, null], ['TRACE', '/healthz', 405, 'GET, HEAD, OPTIONS'], ['PATCH', '/v1/chat/completions', 405, 'POST, OPTIONS'],
      ['POST', '/admin/v1/catalog', 405, 'GET, HEAD, PUT, OPTIONS'], ['SEARCH', '/status', 405, 'GET, HEAD, OPTIONS'], ['OPTIONS', '/v1/runs', 204, 'GET, HEAD, POST, OPTIONS'],
    ]) {
      const answer = await raw(path, method, { 'content-length': '0' });
      // What the server itself does not know as a method, it refuses.
      if (answer.status === 501 || answer.status === 400) continue;
      assert.equal(answer.status, status, `${method} ${path}: ${answer.text.slice(0, 200)}`);
      if (allow) assert.match(answer.head.toLowerCase(), new RegExp(`\nallow: ${allow.toLowerCase()}\r?(\n|$)`), `${method} ${path}`);
    }
  });
});

describe('every answer', () => {
  test('says that its type is meant, and over TLS that there is nothing else', async () => {
    const key = await gateway.richKey();
    const paths = ['/', '/models', '/status.json', '/style.css', '/openapi.json', '/healthz', '/nothing', '/v1/models', '/v1/nothing', '/admin/v1/accounts', '/admin/v1/nothing', '/webhooks/stripe', '/login', '/robots.txt', '/v1/receipts?format=csv'];
    for (const path of paths) {
      for (const method of ['GET', 'HEAD', 'DELETE', 'OPTIONS']) {
        const answer = await gateway.fetch(key, path, { method });
        await answer.arrayBuffer();
        assert.equal(answer.headers.get('x-content-type-options'), 'nosniff', `${method} ${path}`);
        // Of files the platform says so always, and browsers heed it over TLS.
        const expected = files.includes(path) ? 'max-age=31536000' : null;
        assert.equal(answer.headers.get('strict-transport-security'), expected, 'not where there is no TLS');
      }
    }
    const answer = await gateway.call(key, { model: 'demo-large', stream: true });
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    await answer.text();
  });
});

describe('a CSV', () => {
  test('begins with a byte order mark, and no cell of it is a formula', async () => {
    const account = await gateway.newAccount({ credit: '1' });
    const labels = ['客户甲', ' =1+1', '\u00a0=1+1', '＝1+1', '\ufeff@x', '\u3000-1'];
    const keys = [];
    for (const label of labels) keys.push(await gateway.newKey(account, { label }));
    for (const key of keys) await gateway.receipt(key, await gateway.call(key, 'demo-large'));
    const answer = await gateway.fetch(keys[0], '/v1/receipts?format=csv');
    const bytes = Buffer.from(await answer.arrayBuffer());
    assert.deepEqual([...bytes.subarray(0, 3)], [0xef, 0xbb, 0xbf]);
    const text = bytes.toString('utf8');
    assert.equal(text.match(/\ufeff/g).length, 2, 'once at its beginning, and once in a label');
    assert.ok(text.includes(',客户甲,'));
    for (const label of labels.slice(1)) assert.ok(text.includes(`,'${label},`), label);
  });
});

describe('card payments', () => {
  test('are off until the operator says where customers come back to, whatever a request names as its host', async () => {
    for (const url of [undefined, 'shop.example', 'ftp://shop.example', 'javascript:alert(1)', 'https://a:b@shop.example']) {
      const other = await startGateway({ vars: { STRIPE_SECRET_KEY: 'sk_test_none', STRIPE_API_URL: 'http://127.0.0.1:9', ...(url && { TOPUP_RETURN_URL: url }) } });
      try {
        const key = await other.newKey(await other.newAccount());
        const order = (more, headers) => other.fetch(key, '/v1/topups', { method: 'POST', headers, body: JSON.stringify({ bucket: 'credit', amount: '5', ...more }) });
        for (const headers of [{}, { 'x-forwarded-host': 'evil.example' }]) {
          const answer = await order({}, headers);
          const { error } = await answer.json();
          assert.deepEqual([answer.status, error.param], [400, 'provider']);
          assert.match(error.message, /TOPUP_RETURN_URL/);
        }
        assert.ok(other.logs.some(({ message }) => message.includes('TOPUP_RETURN_URL')), 'the operator is told in the log');
        assert.equal((await order({ provider: 'manual' })).status, 201, 'transfers go on');
        assert.deepEqual((await (await other.fetch(key, '/v1/topups')).json()).data.length, 1);
      } finally {
        await other.close();
      }
    }
  });
});

describe('a key that is not valid', () => {
  test('is refused with the name of the field that is wrong', async () => {
    const account = await gateway.newAccount();
    const { id } = await gateway.createKey(account);
    for (const [field, value] of [['rpm', 'many'], ['rmp', 1], ['models', 'x'], ['routes', ['fast']], ['budgets', [{ bucket: 'credit' }]], ['expires_at', 'soon'], ['ip_allow', ['here']], ['label', 7], ['note', 'x'], ['cross_routes', 'yes']]) {
      for (const [method, path] of [['POST', ''], ['PATCH', `/${id}`]]) {
        const { status, body } = await call(adminToken, method, `/admin/v1/accounts/${account}/keys${path}`, { label: 'k', [field]: value });
        assert.equal(status, 400, field);
        assert.equal(body.error.param, field);
        assert.ok(body.error.message.includes(`\`${field}\``), body.error.message);
      }
    }
  });
});
