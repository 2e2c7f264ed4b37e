// Pages of other sites, in a real Chromium: with a key or a catalogue that names their site they call models and read answers,
// streams and errors; with any other key they read why not, and nothing was spent.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { startBrowser } from './support/browser.mjs';
import { adminToken, startGateway } from './support/gateway.mjs';

let gateway;
let browser;
let account;
/** Two sites: pages of the first may call with a key that names it. */
let sites;

async function startSite() {
  const server = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>App</title>'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

before(async () => {
  [gateway, browser, ...sites] = await Promise.all([startGateway(), startBrowser(), startSite(), startSite()]);
  account = await gateway.newAccount({ credit: '100' });
});
after(async () => {
  await browser?.close();
  for (const site of sites ?? []) site.close();
  await gateway?.close();
});

/** What a page of a site reads of a call. */
async function fromPage(site, path, { key, body, method = 'POST', headers = {} }) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(site.origin);
    return await page.evaluate(
      async ([url, init]) => {
        try {
          const response = await fetch(url, init);
          const { value } = await response.body.getReader().read();
          return { status: response.status, first: new TextDecoder().decode(value), headers: Object.fromEntries(response.headers) };
        } catch (error) {
          return { failed: String(error) };
        }
      },
      [gateway.url + path, { method, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-stainless-lang': 'js', ...headers }, body: body && JSON.stringify(body) }],
    );
  } finally {
    await context.close();
  }
}

const hello = (others = {}) => ({ model: 'demo-large', messages: [{ role: 'user', content: 'hello' }], ...others });

describe('a page of another site', () => {
  test('calls with a key that names its site, and reads answers, headers, streams and errors', async () => {
    const key = await gateway.newKey(account, { browser_origins: [sites[0].origin.toUpperCase().replace('HTTP', 'http'), 'https://app.example'] });
    const plain = await fromPage(sites[0], '/v1/chat/completions', { key, body: hello() });
    assert.equal(plain.status, 200, JSON.stringify(plain));
    assert.match(plain.first, /You said/);
    for (const name of ['x-generation-id', 'x-tf-route', 'x-tf-channel', 'x-request-id']) assert.ok(plain.headers[name], name);
    const receipt = await gateway.receipt(key, plain.headers['x-generation-id']);
    assert.equal(receipt.status, 'completed');
    const stream = await fromPage(sites[0], '/v1/chat/completions', { key, body: hello({ stream: true }) });
    assert.deepEqual([stream.status, /^data: /.test(stream.first)], [200, true], JSON.stringify(stream));
    const list = await fromPage(sites[0], '/v1/models', { key, method: 'GET' });
    assert.deepEqual([list.status, list.first.startsWith('{')], [200, true], JSON.stringify(list));
    for (const [path, body, status] of [['/v1/chat/completions', hello({ model: 'nothing' }), 404], ['/v1/chat/completions', hello({ model: 'fail-429' }), 429], ['/v1/v1/chat/completions', hello(), 404], ['/chat/completions', hello(), 404], ['/v1/embeddings', hello(), 400]]) {
      const refused = await fromPage(sites[0], path, { key, body });
      assert.deepEqual([refused.status, JSON.parse(refused.first).error.message.length > 0], [status, true], `${path}: ${JSON.stringify(refused)}`);
      if (status === 429) assert.ok(refused.headers['retry-after']);
    }
    const wrongKey = await fromPage(sites[0], '/v1/models', { key: 'sk-ant-x', method: 'GET' });
    assert.deepEqual([wrongKey.status, /Anthropic/.test(wrongKey.first)], [401, true]);
  });

  test('reads why it may not call with a key that does not name its site, and nothing was spent', async () => {
    const [named, plain] = [await gateway.newKey(account, { browser_origins: [sites[0].origin] }), await gateway.newKey(account)];
    const called = gateway.upstream.requests.length;
    for (const [site, key] of [[sites[1], named], [sites[0], plain]]) {
      for (const [path, init] of [
        ['/v1/chat/completions', { body: hello() }], ['/v1/chat/completions', { body: hello({ stream: true }) }], ['/v1/route', { body: hello() }],
        ['/v1/models', { method: 'GET' }], ['/v1/balances', { method: 'GET' }], ['/v1/key', { method: 'GET' }], ['/v1/runs', { body: {} }],
      ]) {
        const refused = await fromPage(site, path, { key, ...init });
        assert.equal(refused.status, 403, `${path}: ${JSON.stringify(refused)}`);
        const { error } = JSON.parse(refused.first);
        assert.equal(error.code, 'origin_not_allowed');
        assert.ok(error.message.includes(site.origin) && error.message.includes('browser_origins'), error.message);
      }
    }
    assert.equal(gateway.upstream.requests.length, called, 'nobody is called');
    const messages = await fromPage(sites[1], '/v1/messages', { key: named, body: { ...hello(), max_tokens: 5 } });
    assert.deepEqual([messages.status, JSON.parse(messages.first).error.type], [403, 'permission_error']);
  });

  test('never reaches administration, webhooks and pages', async () => {
    for (const [path, init] of [['/admin/v1/catalog', { method: 'GET', key: adminToken }], ['/webhooks/stripe', { body: {} }], ['/models.json', { method: 'GET' }], ['/login', { body: {} }]]) {
      const read = await fromPage(sites[0], path, { key: 'x', ...init });
      assert.match(read.failed ?? JSON.stringify(read), /Failed to fetch/, path);
    }
  });
});
