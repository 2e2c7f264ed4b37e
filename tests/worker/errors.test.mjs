// Every clear no that is not about money, on the real runtime: its status, its four keys, the
// next step, and a receipt for each request that carried a valid key.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { checkCharged, checkHeaders, checkRefusal, checkUncharged } from './support/expect.mjs';
import { adminToken, startGateway } from './support/gateway.mjs';

let gateway;
let account;
let key;

before(async () => {
  gateway = await startGateway();
  account = await gateway.newAccount({ credit: '100', wallet: '100' });
  key = await gateway.newKey(account);
});
after(() => gateway?.close());

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
});

describe('a model', () => {
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
    'that is empty': '',
    'that is not UTF-8': Buffer.from([...Buffer.from('{"model":"demo-large","messages":["'), 0xff, 0xfe, ...Buffer.from('"]}')]),
    'of 100,000 open brackets': '['.repeat(100_000), 'that is a form': 'model=demo-large&messages=hello',
  };
  for (const [what, body] of Object.entries(notJson)) {
    test(`${what} is the caller's 400`, async () => {
      await checkRefused(() => post(body), { status: 400, code: 'invalid_json', type: 'invalid_request_error' });
    });
  }

  for (const [headers, param] of [[{ 'x-tf-route': 'cheap' }, 'x-tf-route'], [{ 'x-tf-run': 'a b' }, 'x-tf-run'], [{ 'x-tf-run': 'r'.repeat(129) }, 'x-tf-run'], [{ 'idempotency-key': 'k'.repeat(256) }, 'Idempotency-Key'], [{ 'x-tf-run': 'ü' }, 'x-tf-run'], [{ 'idempotency-key': 'a b' }, 'Idempotency-Key'], [{ 'idempotency-key': '' }, 'Idempotency-Key']]) {
    test(`with the header ${JSON.stringify(headers).slice(0, 40)} is a 400 that names it`, async () => {
      await checkRefused(() => gateway.call(key, 'demo-large', headers), { status: 400, code: 'invalid_request', param });
    });
  }

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

describe('a path', () => {
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
