// Every clear no that is not about money, on the real runtime: its status, its four keys, the
// next step, and a receipt for each request that carried a valid key.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { testCatalog } from './support/catalog.mjs';
import { checkCharged, checkHeaders, checkRefusal, checkUncharged } from './support/expect.mjs';
import { adminToken, earlyInTheMinute, startGateway } from './support/gateway.mjs';

let gateway;
let account;
let key;

before(async () => {
  gateway = await startGateway({ catalog });
  account = await gateway.newAccount({ credit: '100', wallet: '100' });
  key = await gateway.newKey(account);
});
after(() => gateway?.close());

function catalog(upstreamUrl) {
  const catalog = testCatalog(upstreamUrl);
  const { price, ...unpriced } = catalog.models['demo-large'].routes.official;
  catalog.models.unpriced = { ...catalog.models['demo-large'], routes: { official: unpriced } };
  return catalog;
}

/** POST /v1/chat/completions with a body as it is. */
const post = (body, { secret = key, headers, path = '/v1/chat/completions' } = {}) =>
  gateway.fetch(secret, path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body });

const requestWith = (members) => `{"messages":[{"role":"user","content":"hello"}],${members}}`;

/** Checks that this request is refused so, calls nobody, and leaves exactly this receipt. */
async function checkRefused(send, expected, secret = key) {
  const called = gateway.upstream.requests.length;
  const response = await send();
  const error = await checkRefusal(response, expected);
  assert.equal(gateway.upstream.requests.length, called, 'nobody is called');
  const id = response.headers.get('x-request-id');
  if (expected.hasReceipt === false) {
    const found = await gateway.fetch(key, `/v1/receipts/${id}`);
    await found.body.cancel();
    assert.equal(found.status, 404);
    return error;
  }
  const receipt = await gateway.receipt(secret, response);
  checkUncharged(receipt, { status: 'refused' });
  assert.deepEqual([receipt.error.code, receipt.next_step], [error.code, error.metadata.next_step]);
  assert.equal(error.message, `${receipt.error.message} ${receipt.next_step}`, 'clients print the next step too');
  return error;
}

describe('a key', () => {
  const noKey = { status: 401, code: 'invalid_api_key', type: 'authentication_error', hasReceipt: false };
  const credentials = {
    'that is missing': {},
    'that is empty': { authorization: 'Bearer ' },
    'of another scheme': { authorization: 'Basic c2stdGYtYWJjOg==' },
    'that is not one of ours': { authorization: 'Bearer sk-proj-abcdefghijklmnop' },
    'that is only the prefix': { authorization: 'Bearer sk-tf-' },
    'that is too short': { 'x-api-key': 'sk-tf-0123456789abcdef' },
    'with other characters': { authorization: `Bearer sk-tf-${'g'.repeat(48)}` },
    'that is very long': { authorization: `Bearer sk-tf-${'a'.repeat(4000)}` },
    'that looks like SQL': { 'x-api-key': 'sk-tf-\' OR 1=1 --' },
    'that nobody knows': { authorization: `Bearer sk-tf-${'0'.repeat(48)}` },
    'that is the operator\'s': { authorization: `Bearer ${adminToken}` },
  };
  for (const [what, headers] of Object.entries(credentials)) {
    test(`${what} is answered 401 everywhere, and echoed nowhere`, async () => {
      for (const [method, path] of [['POST', '/v1/chat/completions'], ['POST', '/v1/route'], ['GET', '/v1/models'], ['GET', '/v1/models/demo-large'], ['GET', '/v1/receipts'], ['GET', '/v1/balances'], ['GET', '/v1/key']]) {
        const init = { method, headers: { 'content-type': 'application/json', ...headers } };
        if (method === 'POST') init.body = requestWith('"model":"demo-large"');
        const error = await checkRefused(() => fetch(gateway.url + path, init), noKey);
        const secret = Object.values(headers)[0]?.split(' ')[1];
        if (secret) assert.ok(!JSON.stringify(error).includes(secret));
      }
    });
  }

  test('that was revoked is refused on the very next request, whatever KV still says', async () => {
    const { id, secret } = await gateway.createKey(account);
    const { CONFIG } = await gateway.bindings();
    const names = async () => (await CONFIG.list({ prefix: 'key:' })).keys.map(({ name }) => name);
    const records = new Map(await Promise.all((await names()).map(async (name) => [name, await CONFIG.get(name)])));
    const [[name, record]] = [...records].filter(([, record]) => JSON.parse(record).id === id);
    assert.equal((await gateway.call(secret, 'demo-large')).status, 200);
    await gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${id}`);
    await checkRefused(() => gateway.call(secret, 'demo-large'), noKey);
    // A place far away that has not heard of it: KV has the old copy, and nothing is cached.
    await gateway.kill();
    await (await gateway.bindings()).CONFIG.put(name, record);
    await checkRefused(() => gateway.call(secret, 'demo-large'), noKey);
    await checkRefused(() => gateway.call(secret, { model: 'demo-large', stream: true }), noKey);
  });

  test('that has expired is refused, and one that has not yet is not', async () => {
    const at = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();
    const expired = await gateway.newKey(account, { expires_at: at(-1) });
    await checkRefused(() => gateway.call(expired, 'demo-large'), noKey);
    await checkRefused(() => gateway.fetch(expired, '/v1/models'), noKey);
    const living = await gateway.newKey(account, { expires_at: at(3600) });
    checkCharged(await gateway.receipt(living, await gateway.call(living, 'demo-large')), { charge: '0.00004' });
  });
});

describe('a model', () => {
  test('that does not exist is answered with the names of near ones', async () => {
    const error = await checkRefused(() => gateway.call(key, 'demo-lagre'), { status: 404, code: 'model_not_found', type: 'invalid_request_error', param: 'model' });
    assert.equal(error.metadata.near[0], 'demo-large');
    assert.match(error.message, /`demo-lagre`.*demo-large/);
  });

  test('name of any length and with any characters is refused without harm', async () => {
    for (const name of ['x'.repeat(10_000), 'demo\r\nx-evil: 1', 'démo 🍞', '../../admin', '\u0000', '<script>alert(1)</script>', ':official', 'demo-large:fast']) {
      const response = await gateway.call(key, name);
      assert.equal(response.headers.get('x-evil'), null);
      const error = await checkRefusal(response, { status: 404, code: 'model_not_found', param: 'model' });
      assert.ok(error.message.length < 500);
      const receipt = await gateway.receipt(key, response);
      assert.ok(receipt.requested_model.length <= 128);
    }
  });

  test('that the key may not call is refused, by its name, its alias and as a fallback', async () => {
    const narrow = await gateway.newKey(account, { models: ['demo-large'] });
    const expected = { status: 403, code: 'model_not_allowed', type: 'permission_error', param: 'model', limit: 'key' };
    for (const body of ['both-routes', 'both-latest', 'both-routes:routed', { model: 'demo-small', models: ['both-routes'] }]) {
      await checkRefused(() => gateway.call(narrow, body), expected, narrow);
    }
    // What is left out of the list of fallbacks is not tried either.
    const response = await gateway.call(narrow, { model: 'fail-500', models: ['demo-small', 'demo-large'] });
    checkCharged(await gateway.receipt(narrow, response), { charge: '0.00004', attempts: ['main/demo-large: answered'] });
  });

  test('on a route that the key may not use is refused', async () => {
    const official = await gateway.newKey(account, { routes: ['official'] });
    const expected = { status: 403, code: 'route_not_allowed', type: 'permission_error', limit: 'key' };
    for (const [body, headers] of [['both-routes:routed'], ['routed-only'], ['both-routes', { 'x-tf-route': 'routed' }]]) {
      await checkRefused(() => gateway.call(official, body, headers), expected, official);
    }
    const error = await checkRefused(() => gateway.call(key, 'demo-large:routed'), { status: 404, code: 'model_not_found', param: 'model' });
    assert.match(error.message, /`demo-large` has no routed route/);
  });

  test('without a price is refused, never free', async () => {
    await checkRefused(() => gateway.call(key, 'unpriced'), { status: 503, code: 'model_unpriced', type: 'server_error', param: 'model' });
    const audio = { model: 'demo-large', modalities: ['text', 'audio'] };
    await checkRefused(() => gateway.call(key, audio), { status: 503, code: 'model_unpriced', param: 'modalities' });
  });

  test('from an address that the key does not allow is refused', async () => {
    const bound = await gateway.newKey(account, { ip_allow: ['203.0.113.0/24', '2001:db8::7'] });
    const expected = { status: 403, code: 'ip_not_allowed', type: 'permission_error', limit: 'key' };
    // The platform writes this header; here nobody is in front of the Worker.
    const from = (address) => ({ 'cf-connecting-ip': address });
    for (const address of ['198.51.100.1', '2001:db8::8', 'nonsense']) {
      await checkRefused(() => gateway.call(bound, 'demo-large', from(address)), expected);
    }
    await checkRefused(() => gateway.call(bound, 'demo-large', { ...from('198.51.100.1'), 'x-forwarded-for': '203.0.113.7', 'x-real-ip': '203.0.113.7' }), expected);
    const reading = await gateway.fetch(bound, '/v1/models', { headers: from('198.51.100.1') });
    await checkRefusal(reading, { ...expected, hasReceipt: false });
    for (const address of ['203.0.113.7', '2001:db8::7']) {
      checkCharged(await gateway.receipt(key, await gateway.call(bound, 'demo-large', from(address))), { charge: '0.00004' });
    }
  });
});

describe('a body', () => {
  const notJson = {
    'that is empty': '', 'of white space': ' \n\t', 'that is text': 'hello', 'that is cut': '{"model":"demo-large","messages":[', 'that is an array': '[]', 'that is null': 'null',
    'that is a string': '"demo-large"', 'that is a number': '42', 'that is two objects': '{}{}', 'with a comment': '{"model":"demo-large",/* hi */"messages":[]}', 'with a trailing comma': '{"model":"demo-large","messages":[],}',
    'with single quotes': '{\'model\':\'demo-large\'}', 'that is NaN': '{"model":"demo-large","messages":[],"temperature":NaN}', 'that is not UTF-8': Buffer.from([...Buffer.from('{"model":"demo-large","messages":["'), 0xff, 0xfe, ...Buffer.from('"]}')]),
    'of 100,000 open brackets': '['.repeat(100_000), 'that is a form': 'model=demo-large&messages=hello',
  };
  for (const [what, body] of Object.entries(notJson)) {
    test(`${what} is the caller's 400`, async () => {
      await checkRefused(() => post(body), { status: 400, code: 'invalid_json', type: 'invalid_request_error' });
    });
  }

  const wrong = [
    ['"stream":false', 'model'], ['"model":""', 'model'], ['"model":null', 'model'], ['"model":5', 'model'], ['"model":["demo-large"]', 'model'], ['"model":{"id":"demo-large"}', 'model'],
    ['"model":"demo-large","models":"demo-small"', 'models'], ['"model":"demo-large","models":[1]', 'models'], [`"models":${JSON.stringify(Array.from({ length: 17 }, (_, index) => `m${index}`))}`, 'models'],
    ['"model":"demo-large","stream":"true"', 'stream'], ['"model":"demo-large","stream":1', 'stream'], ['"model":"demo-large","stream":true,"stream_options":[true]', 'stream_options'],
    ['"model":"demo-large","stream":true,"stream_options":{"include_usage":"yes"}', 'stream_options'],
    ['"model":"demo-large","max_tokens":-1', 'max_tokens'], ['"model":"demo-large","max_tokens":0', 'max_tokens'], ['"model":"demo-large","max_tokens":1.5', 'max_tokens'], ['"model":"demo-large","max_tokens":"100"', 'max_tokens'],
    ['"model":"demo-large","max_tokens":1e99', 'max_tokens'], ['"model":"demo-large","max_tokens":1e999', 'max_tokens'], ['"model":"demo-large","max_tokens":18446744073709551616', 'max_tokens'], ['"model":"demo-large","max_tokens":9007199254740993', 'max_tokens'],
    ['"model":"demo-large","fit":"never","max_tokens":4097', 'max_tokens'], ['"model":"demo-large","fit":"sometimes"', 'fit'], ['"model":"demo-large","max_tokens":true', 'max_tokens'], ['"model":"demo-large","max_completion_tokens":-9223372036854775809', 'max_completion_tokens'],
    ['"model":"demo-large","n":0', 'n'], ['"model":"demo-large","n":-1', 'n'], ['"model":"demo-large","n":129', 'n'], ['"model":"demo-large","n":4294967297', 'n'], ['"model":"demo-large","n":"2"', 'n'],
    ['"model":"demo-large","session_id":5', 'session_id'], ['"model":"demo-large","modalities":"audio"', 'modalities'], ['"model":"demo-large","provider":"main"', 'provider'],
    ['"model":"demo-large","provider":{"order":"main"}', 'provider'], ['"model":"demo-large","provider":{"max_price":{"prompt":-1}}', 'provider'], ['"model":"demo-large","provider":{"only":["elsewhere"]}', 'provider'],
    [`"model":"demo-large","provider":${'['.repeat(100)}${']'.repeat(100)}`, 'provider'], ['"model":"demo-large","provider":{"max_price":{"prompt":"0.5"}}', 'provider.max_price'],
    ['"model":"demo-large","model":"demo-small"', 'model'], ['"model":"demo-large","max_tokens":1,"max_tokens":4000', 'max_tokens'], ['"model":"demo-large","max_tokens":1,"max_\\u0074okens":4000', 'max_tokens'],
    ['"model":"demo-large","messages":[]', 'messages'], ['"model":"demo-large","x":1,"x":1', 'x'],
  ];
  for (const [members, param] of wrong) {
    test(`with ${members.length > 80 ? `${members.slice(0, 80)}...` : members} is a 400 that names ${param}`, async () => {
      const error = await checkRefused(() => post(requestWith(members)), { status: 400, code: 'invalid_request', type: 'invalid_request_error', param });
      assert.ok(error.message.length < 1000);
    });
  }

  for (const [what, messages] of Object.entries({ 'that are missing': undefined, 'that are text': '"hello"', 'that are null': 'null', 'that are an object': '{}' })) {
    test(`with messages ${what} is a 400 that names them`, async () => {
      const body = messages === undefined ? '{"model":"demo-large"}' : `{"model":"demo-large","messages":${messages}}`;
      await checkRefused(() => post(body), { status: 400, code: 'invalid_request', param: 'messages' });
    });
  }

  for (const [headers, param] of [[{ 'x-tf-route': 'cheap' }, 'x-tf-route'], [{ 'x-tf-run': 'a b' }, 'x-tf-run'], [{ 'x-tf-run': 'r'.repeat(129) }, 'x-tf-run'], [{ 'idempotency-key': 'k'.repeat(256) }, 'Idempotency-Key'], [{ 'idempotency-key': 'a b' }, 'Idempotency-Key']]) {
    test(`with the header ${JSON.stringify(headers).slice(0, 40)} is a 400 that names it`, async () => {
      await checkRefused(() => gateway.call(key, 'demo-large', headers), { status: 400, code: 'invalid_request', param });
    });
  }

  test('that is deep, wide or full of unknown fields is passed on unread', async () => {
    for (const members of [`"x":${'['.repeat(120)}${']'.repeat(120)}`, `${Array.from({ length: 5000 }, (_, index) => `"x${index}":${index}`).join()}`, '"temperature":1e999']) {
      const response = await post(requestWith(`"model":"demo-large",${members}`));
      assert.equal(response.status, 200, await response.text());
    }
  });

  describe('of 30 MB is refused, and the client can go on,', () => {
    /**
     * Sends a request that is too large until it is answered; the rest never goes. A client that
     * writes on after the answer finds a closed connection, and may miss the answer for it.
     */
    async function send({ secret, length, sent }) {
      const request = httpRequest(`${gateway.baseUrl}/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(secret && { authorization: `Bearer ${secret}` }), ...(length && { 'content-length': length }) },
      });
      const answered = once(request, 'response');
      request.flushHeaders();
      request.write('{"model":"demo-large","messages":[{"role":"user","content":"');
      const piece = 'x'.repeat(1 << 16);
      for (let left = sent; left > 0; left -= piece.length) if (!request.write(piece)) await Promise.race([once(request, 'drain'), answered]);
      const [response] = await answered;
      const parts = [];
      for await (const part of response) parts.push(part);
      request.on('error', () => {});
      request.destroy();
      return new Response(Buffer.concat(parts), { status: response.statusCode, headers: response.headers });
    }
    const large = { 'of a declared length': { length: 50 * 1024 * 1024, sent: 0 }, 'without a declared length': { sent: 43 * 1024 * 1024 } };
    for (const [what, size] of Object.entries(large)) {
      test(`${what}: 413 and a receipt`, async () => {
        const error = await checkRefused(() => send({ ...size, secret: key }), { status: 413, code: 'body_too_large', type: 'invalid_request_error' });
        assert.equal(error.metadata.limit_bytes, 42 * 1024 * 1024);
        checkCharged(await gateway.receipt(key, await gateway.call(key, 'demo-large')), { charge: '0.00004' });
      });
    }

    test('without a key: 401, before its body has come', async () => {
      for (const length of [undefined, 30 * 1024 * 1024]) {
        await checkRefused(() => send({ length, sent: 0 }), { status: 401, code: 'invalid_api_key', hasReceipt: false });
      }
      assert.equal((await gateway.call(key, 'demo-large')).status, 200);
    });

    test('while one of a megabyte is served', async () => {
      const response = await gateway.call(key, { model: 'demo-large', max_tokens: 5, messages: [{ role: 'user', content: 'x'.repeat(1 << 20) }] });
      assert.equal(response.status, 200);
      // The prompt is one very long word.
      checkCharged(await gateway.receipt(key, response), { charge: '0.000018', usage: { input: 8, output: 5 } });
    });
  });
});

describe('a limit of the key', () => {
  test('on requests a minute is answered 429 and says when to come back', async () => {
    await earlyInTheMinute();
    const limited = await gateway.newKey(account, { rpm: 1 });
    const first = await gateway.call(limited, 'demo-large');
    assert.equal(first.status, 200);
    assert.equal(first.headers.get('x-ratelimit-remaining-requests'), '0');
    await first.body.cancel();
    const expected = { status: 429, code: 'rate_limit_exceeded', type: 'rate_limit_error', limit: 'key' };
    const error = await checkRefused(() => gateway.call(limited, 'demo-large'), expected, limited);
    assert.ok(error.metadata.retry_after_s <= 60);
  });

  test('on requests at the same time is answered 429 until one has ended', async () => {
    const limited = await gateway.newKey(account, { concurrency: 1 });
    const open = await gateway.call(limited, { model: 'slow-stream', stream: true });
    const response = await gateway.call(limited, 'demo-large');
    const error = await checkRefusal(response, { status: 429, code: 'rate_limit_exceeded', limit: 'key' });
    assert.match(error.message, /1 requests at the same time/);
    checkUncharged(await gateway.receipt(key, response), { status: 'refused' });
    await open.text();
    await gateway.receipt(key, open);
    assert.equal((await gateway.call(limited, 'demo-large')).status, 200);
  });

  test('is not used up by requests that are refused for another reason', async () => {
    const limited = await gateway.newKey(account, { rpm: 1 });
    for (const model of ['no-such-model', 'unpriced']) await (await gateway.call(limited, model)).body.cancel();
    assert.equal((await gateway.call(limited, 'demo-large')).status, 200);
  });
});

describe('a path', () => {
  test('that does not exist is answered 404, for any method', async () => {
    for (const path of ['/v1/nothing', '/v1/chat', '/v2/chat/completions', '/nothing', '/v1/chat/completions/extra', '/v1']) {
      for (const method of ['GET', 'POST', 'DELETE']) {
        await checkRefusal(await gateway.fetch(key, path, { method }), { status: 404, code: 'not_found', type: 'invalid_request_error', hasReceipt: false });
      }
    }
  });

  test('asked by a method that it does not have is answered 405, which says what it has', async () => {
    for (const [path, methods, allow] of [
      ['/v1/chat/completions', ['GET', 'PUT', 'DELETE', 'PATCH'], 'POST'], ['/v1/route', ['GET', 'PUT'], 'POST'],
      ['/v1/models', ['POST', 'DELETE'], 'GET'], ['/v1/balances', ['POST'], 'GET'], ['/v1/receipts', ['POST', 'DELETE'], 'GET'],
    ]) {
      for (const method of methods) {
        const response = await gateway.fetch(key, path, { method });
        await checkRefusal(response, { status: 405, code: 'method_not_allowed', hasReceipt: false });
        assert.match(response.headers.get('allow') ?? 'none', new RegExp(allow));
      }
    }
  });

  test('always answers with an id and is never cached', async () => {
    const answers = [
      gateway.fetch(key, '/v1/models'), gateway.fetch(key, '/v1/models/demo-large'), gateway.fetch(key, '/v1/models/none'), gateway.fetch(key, '/v1/receipts'), gateway.fetch(key, '/v1/receipts/none'),
      gateway.fetch(key, '/v1/balances'), gateway.fetch(key, '/v1/ledger'), gateway.fetch(key, '/v1/key'), gateway.fetch(key, '/v1/generation'), gateway.fetch(key, '/nothing'),
      fetch(`${gateway.url}/healthz`), fetch(`${gateway.url}/admin/v1/accounts`), fetch(`${gateway.url}/admin/v1/nothing`), gateway.fetch(adminToken, '/admin/v1/catalog'),
      gateway.call(key, 'demo-large'), gateway.call(key, { model: 'demo-large', stream: true }), gateway.call(key, 'fail-500'), gateway.call(key, 'fail-400'), gateway.call(key, 'none'),
    ];
    const ids = [];
    for (const answer of await Promise.all(answers)) {
      ids.push(checkHeaders(answer));
      await answer.body.cancel();
    }
    assert.equal(new Set(ids).size, ids.length);
  });
});
