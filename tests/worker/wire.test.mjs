// Oddities of HTTP, written byte by byte to a socket: each is answered with a status of 2xx to 4xx or its connection is closed,
// and never with a fault of the gateway; afterwards it still serves. The Worker answers here without the router of files before it,
// whose own answers stand at the end.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startGateway } from './support/gateway.mjs';

let gateway;
let key;

before(async () => {
  gateway = await startGateway({ hasFiles: false });
  key = await gateway.newKey(await gateway.newAccount({ credit: '100' }));
});
after(() => gateway?.close());

/** Sends these bytes and answers what comes back: the status of the first answer (0 if there is none), and the whole. */
async function raw(bytes, { url } = gateway) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const pieces = [];
  socket.on('data', (data) => pieces.push(data)).on('error', () => {});
  const closed = once(socket, 'close').catch(() => {});
  socket.write(Buffer.from(bytes, 'latin1'));
  // What waits for more of a request never answers.
  await Promise.race([closed, sleep(pause)]);
  socket.destroy();
  const text = Buffer.concat(pieces).toString('latin1');
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text };
}

const pause = 1500;
const ask = (target, { method = 'GET', headers = [], body = '', host = 'gateway.example' } = {}) =>
  `${method} ${target} HTTP/1.1\r\n${[...(host === null ? [] : [`host: ${host}`]), ...headers, 'connection: close'].join('\r\n')}\r\n\r\n${body}`;
const chat = (headers, body = '{"model":"demo-large","messages":[{"role":"user","content":"hello"}]}') =>
  ask('/v1/chat/completions', { method: 'POST', headers: [`authorization: Bearer ${key}`, 'content-type: application/json', ...headers], body });
const length = '{"model":"demo-large","messages":[{"role":"user","content":"hello"}]}'.length;

/**
 * What is sent, and the statuses that may come; 0 is a connection that is closed, or one that waits, without an answer. Some the
 * runtime answers by itself, such as CONNECT with 500, before the Worker is asked.
 */
const oddities = {
  'broken percent-encoding': [() => ask('/v1/models/%zz%'), [404]],
  'percent-encoding that is no UTF-8': [() => ask('/v1/models/%ff%fe'), [404]],
  'an escaped NUL': [() => ask('/v1/models/a%00b'), [404]],
  'escaped control bytes': [() => ask('/nothing%0d%0aset-cookie:%20x'), [404]],
  'an escaped control byte in the model of a path': [() => ask('/v1beta/models/a%0d%0ab:generateContent', { method: 'POST', headers: [`x-goog-api-key: ${key}`, 'content-length: 2'], body: '{}' }), [400, 404]],
  'a NUL in the path': [() => ask('/v1/mod\0els'), [0, 400, 404]],
  'a control byte in the path': [() => ask('/v1/mod\x01els'), [0, 400, 404]],
  'bytes above ASCII in the path': [() => ask('/v1/mod\xe4\xffels'), [0, 400, 404]],
  'a NUL in a header': [() => ask('/healthz', { headers: ['x-a: b\0c'] }), [0, 200, 400]],
  'a control byte in the credential': [() => ask('/v1/models', { headers: ['authorization: Bearer sk\x01tf'] }), [0, 400, 401]],
  'bytes above ASCII in the credential': [() => ask('/v1/models', { headers: ['authorization: Bearer sk-\xe4\xff'] }), [400, 401]],
  'bytes above ASCII in every header that is read': [() => ask('/v1/models', { headers: ['accept', 'origin', 'cookie', 'content-type', 'idempotency-key', 'x-tf-run', 'x-session-id', 'anthropic-version'].map((name) => `${name}: \xe4\xff`) }), [401]],
  'empty values of every header that is read': [() => ask('/v1/models', { headers: ['authorization', 'x-api-key', 'accept', 'origin', 'cookie', 'content-type', 'idempotency-key', 'x-tf-run', 'x-session-id', 'access-control-request-method'].map((name) => `${name}:`) }), [401]],
  'a long path': [() => ask(`/v1/models/${'a'.repeat(6000)}`), [401]],
  'a path that is too long': [() => ask(`/${'a/'.repeat(40_000)}`), [0, 404, 414, 431]],
  'a long query': [() => ask(`/v1/models?${'a=b&'.repeat(5000)}`), [0, 401, 414, 431]],
  'many headers': [() => ask('/healthz', { headers: Array.from({ length: 300 }, (_, n) => `x-${n}: ${'v'.repeat(20)}`) }), [0, 200, 431]],
  'double slashes': [() => ask('//v1//models'), [404]],
  'only slashes': [() => ask('///'), [200, 404]],
  'dots in the path': [() => ask('/v1/../admin/v1/accounts'), [404]],
  'an absolute target': [() => ask('http://other.example/healthz'), [0, 200, 400, 404]],
  'an absolute target of another scheme': [() => ask('ftp://other.example/healthz'), [0, 200, 400, 404]],
  'an asterisk for a target': [() => ask('*', { method: 'OPTIONS' }), [0, 204, 400, 404, 405]],
  'no target': [() => 'GET HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n', [0, 400, 404]],
  'CONNECT': [() => ask('gateway.example:443', { method: 'CONNECT' }), [0, 400, 404, 405, 500, 501]],
  'an unknown method': [() => ask('/v1/models', { method: 'BREW' }), [0, 400, 405, 501]],
  'a method in lower case': [() => ask('/healthz', { method: 'get' }), [0, 200, 400, 405, 501]],
  'TRACE': [() => ask('/healthz', { method: 'TRACE' }), [0, 400, 405, 501]],
  'PROPFIND': [() => ask('/v1/models', { method: 'PROPFIND' }), [405]],
  'no Host': [() => ask('/healthz', { host: null }), [0, 200, 400]],
  'an empty Host': [() => ask('/healthz', { host: '' }), [0, 200, 400]],
  'a Host with a space': [() => ask('/healthz', { host: 'a b' }), [400]],
  'a Host with a path': [() => ask('/healthz', { host: 'a/b?c' }), [0, 200, 400, 404]],
  'a Host that is no host': [() => ask('/healthz', { host: 'a:b:c%' }), [400]],
  'a Host with a port that is none': [() => ask('/healthz', { host: 'a:99999' }), [400]],
  'two Hosts': [() => ask('/healthz', { headers: ['host: other.example'] }), [400]],
  'HTTP/1.0': [() => `GET /healthz HTTP/1.0\r\n\r\n`, [0, 200, 400]],
  'HTTP/9.9': [() => `GET /healthz HTTP/9.9\r\nhost: a\r\n\r\n`, [0, 200, 400, 505]],
  'no HTTP at all': [() => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', [0, 400]],
  'a GET with a body': [() => ask('/healthz', { headers: ['content-length: 5'], body: 'hello' }), [200]],
  'a Content-Length that is no number': [() => chat(['content-length: many']), [0, 400]],
  'a negative Content-Length': [() => chat(['content-length: -1']), [0, 400]],
  'a Content-Length beyond every number': [() => chat(['content-length: 99999999999999999999999']), [0, 400, 413]],
  'a Content-Length above the limit': [() => chat([`content-length: ${43 * 1024 * 1024}`]), [413]],
  'two Content-Lengths': [() => chat([`content-length: ${length}`, 'content-length: 3']), [0, 400]],
  'a body that is shorter than its Content-Length': [() => chat([`content-length: ${length + 100}`]), [0]],
  'Content-Length and chunks': [() => chat([`content-length: ${length}`, 'transfer-encoding: chunked'], '0\r\n\r\n'), [0, 400]],
  'chunks that are none': [() => chat(['transfer-encoding: chunked'], 'zz\r\nhello\r\n0\r\n\r\n'), [0, 400]],
  'a chunk that is larger than it says': [() => chat(['transfer-encoding: chunked'], '2\r\nhello\r\n0\r\n\r\n'), [0, 400]],
  'good chunks': [() => chat(['transfer-encoding: chunked'], `${length.toString(16)}\r\n{"model":"demo-large","messages":[{"role":"user","content":"hello"}]}\r\n0\r\n\r\n`), [200]],
  'an unknown Transfer-Encoding': [() => chat(['transfer-encoding: gzip'], 'x'), [0, 400, 501]],
  'a POST without a length': [() => chat([], ''), [0, 400, 411]],
  'two Authorizations': [() => ask('/v1/models', { headers: [`authorization: Bearer ${key}`, `authorization: Bearer ${key}`] }), [0, 200, 400, 401]],
  'two content types': [() => chat(['content-type: text/plain', `content-length: ${length}`]), [200, 400]],
  'Expect: 100-continue': [() => chat(['expect: 100-continue', `content-length: ${length}`]), [100, 200]],
  'an unknown Expect': [() => chat(['expect: miracles', `content-length: ${length}`]), [0, 200, 400, 417]],
  'a header without a colon': [() => ask('/healthz', { headers: ['nonsense'] }), [0, 200, 400]],
  'a header with a space in its name': [() => ask('/healthz', { headers: ['x y: z'] }), [0, 200, 400]],
  'a folded header': [() => ask('/healthz', { headers: ['x-a: b\r\n c'] }), [0, 200, 400]],
  'Upgrade to something else': [() => ask('/v1/models', { headers: ['upgrade: h2c', 'connection: upgrade'] }), [0, 400, 401]],
  'a WebSocket where there is none': [() => ask('/v1/v1/responses', { headers: ['upgrade: websocket', 'connection: upgrade', 'sec-websocket-version: 13', 'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=='] }), [404]],
  'a preflight of nonsense': [() => ask('/v1/models', { method: 'OPTIONS', headers: ['origin: \xe4', 'access-control-request-method: \xff (', 'access-control-request-headers: a b;c'] }), [204]],
  'a preflight that is very long': [() => ask('/v1/models', { method: 'OPTIONS', headers: [`origin: https://${'a'.repeat(2000)}`, 'access-control-request-method: POST', `access-control-request-headers: ${'a,'.repeat(2500)}a`] }), [204]],
};

describe('a request that is odd', () => {
  for (const [what, [bytes, expected]] of Object.entries(oddities)) {
    test(`(${what}) is no fault of the gateway`, async () => {
      const { status, text } = await raw(bytes());
      if (process.env.TF_SHOW) console.log(`${what}: ${status} ${text.split('\r\n\r\n').slice(0, 2).join(' | ').replaceAll('\r\n', '; ').slice(0, 400)}`);
      assert.ok(expected.includes(status), `${status}: ${text.slice(0, 500)}`);
      assert.ok(!/^set-cookie/im.test(text.split('\r\n\r\n')[0]));
    });
  }

  test('leaves the gateway as it was', async () => {
    assert.equal((await gateway.call(key, 'demo-large')).status, 200);
    assert.deepEqual(gateway.logs.filter(({ level, message }) => level === 'error' && /answering failed|panicked/.test(message)), []);
  });
});

describe('before the Worker stands the local router of files', () => {
  let routed;
  before(async () => (routed = await startGateway()));
  after(() => routed?.close());

  // What leaves no address to route by never reaches the Worker: locally it is a fault of the router's, and on the network the
  // platform's edge refuses it before. Dots are taken out of paths, as they are there.
  const routes = {
    'dots in the path': 401,
    'an asterisk for a target': 500,
    'CONNECT': 200,
    'a Host with a space': 500,
    'a Host that is no host': 500,
    'a Host with a port that is none': 500,
    'two Hosts': 500,
  };
  for (const [what, expected] of Object.entries(routes)) {
    test(`(${what}) does not reach the Worker as it is`, async () => {
      const { status, text } = await raw(oddities[what][0](), routed);
      assert.equal(status, expected, text.slice(0, 500));
    });
  }

  test('leaves the gateway as it was', async () => {
    const fresh = await routed.newKey(await routed.newAccount({ credit: '1' }));
    assert.equal((await routed.call(fresh, 'demo-large')).status, 200);
    assert.deepEqual(routed.logs.filter(({ message }) => /answering failed|panicked/.test(message)), []);
  });
});
