// What people do wrong in their first ten minutes: that the words which their client prints say what it was and what to do, and
// that doing so works.
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';
import { testCatalog } from './support/catalog.mjs';
import { files, startGateway } from './support/gateway.mjs';

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
  const named = (upstream_model, others = {}) => {
    const model = structuredClone({ ...catalog.models['demo-large'], ...others });
    model.routes.official.candidates[0].upstream_model = upstream_model;
    return model;
  };
  catalog.models['gpt-5.5'] = named('gpt-5.5-2026-04-01', { aliases: ['gpt-latest'] });
  catalog.models['gemini-3-pro'] = named('demo-large');
  // Two that only their case tells apart.
  catalog.models.twin = named('demo-large');
  catalog.models.TWIN = named('demo-small');
  return catalog;
}

const messages = [{ role: 'user', content: 'hello' }];
const openai = (baseURL, apiKey = key) => new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const anthropic = (baseURL, apiKey = key) => new Anthropic({ baseURL, apiKey, authToken: null, maxRetries: 0 });
const google = (baseUrl, apiKey = key) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl } });

/** What each client does first, with a base URL and a key. */
const firstCalls = {
  'OpenAI chat': (url, secret) => openai(url, secret).chat.completions.create({ model: 'demo-large', messages }),
  'OpenAI responses': (url, secret) => openai(url, secret).responses.create({ model: 'demo-large', input: 'hello' }),
  'OpenAI models': (url, secret) => openai(url, secret).models.list(),
  Anthropic: (url, secret) => anthropic(url, secret).messages.create({ model: 'demo-large', max_tokens: 20, messages }),
  'Anthropic models': (url, secret) => anthropic(url, secret).models.list(),
  Google: (url, secret) => google(url, secret).models.generateContent({ model: 'demo-large', contents: 'hello' }),
};

/** The `message` of the envelope, as the client's own classes have it, and the status. */
async function printed(call) {
  try {
    await call();
  } catch (error) {
    const envelope = error.error?.error ?? error.error ?? JSON.parse(error.message).error;
    assert.ok(error.message.includes(JSON.stringify(envelope.message).slice(1, -1)), `the client prints it: ${error.message}`);
    return { status: error.status, text: envelope.message };
  }
  assert.fail('it was answered');
}

describe('a wrong base URL', () => {
  const wrong = {
    'OpenAI chat': ['', '/', '/v1/v1', '/api/v1', '/openai/v1', '/v1/openai', '/v1/chat/completions', '/v1/chat/completions/', '/openai/deployments/demo-large', '/V1', '/v1beta/openai', '/v1/models'],
    'OpenAI responses': ['', '/v1/v1', '/v1/responses', '/api/v1'],
    'OpenAI models': ['', '/v1/v1', '/api/v1', '/v1/chat/completions'],
    Anthropic: ['/v1', '/v1/', '/v1/messages', '/anthropic', '/api', '/v1/v1'],
    'Anthropic models': ['/v1', '/anthropic'],
    Google: ['/v1', '/v1beta', '/gemini', '/v1/openai'],
  };
  for (const [client, paths] of Object.entries(wrong)) {
    for (const path of paths) {
      test(`of ${client}, such as .../${path.slice(1)}, says which one is right, and that one works`, async () => {
        const { status, text } = await printed(() => firstCalls[client](gateway.url + path));
        assert.ok([404, 405].includes(status), `${status} ${text}`);
        const [, told] = /base URL of \w+ clients to `([^`]+)`/.exec(text) ?? assert.fail(text);
        assert.equal(told, client.startsWith('OpenAI') ? `${gateway.url}/v1` : gateway.url);
        await firstCalls[client](told);
      });
    }
  }

  test('is told without a key too, in the envelope that the path or the headers show', async () => {
    for (const [path, headers, isOf] of [
      ['/v1/v1/chat/completions', {}, ({ error }) => error.code === 'not_found' && error.metadata.next_step],
      ['/messages', {}, (body) => body.type === 'error' && body.error.type === 'not_found_error'],
      ['/models/x:generateContent', {}, ({ error }) => error.code === 405 && error.details],
      ['/v1/v1/models', { 'anthropic-version': '2023-06-01' }, (body) => body.type === 'error'],
      ['/nothing', { 'x-api-key': 'x' }, (body) => body.type === 'error'],
      ['/nothing', { 'x-goog-api-key': 'x' }, ({ error }) => error.status === 'NOT_FOUND'],
      ['/nothing', {}, ({ error }) => error.code === 'not_found'],
    ]) {
      const response = await fetch(gateway.url + path, { method: 'POST', headers });
      const body = await response.json();
      assert.ok(isOf(body), `${path}: ${JSON.stringify(body)}`);
    }
  });

  test('in a browser is a page with somewhere to go', async () => {
    for (const path of ['/nothing', '/chat/completions', '/v2/models', '/openapi']) {
      const response = await fetch(gateway.url + path, { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } });
      assert.deepEqual([response.status, response.headers.get('content-type')], [404, 'text/html; charset=utf-8'], path);
      assert.match(response.headers.get('content-security-policy') ?? 'none', /default-src/);
      const text = await response.text();
      assert.match(text, /href="\/models"/);
      if (path === '/chat/completions') assert.ok(text.includes(`${gateway.url}/v1`));
    }
    const api = await fetch(`${gateway.url}/v1/nothing`, { headers: { accept: 'text/html' } });
    assert.deepEqual([api.status, api.headers.get('content-type')], [404, 'application/json']);
    await api.text();
    const page = await fetch(`${gateway.url}/models`, { headers: { accept: 'text/html' } });
    assert.equal(page.status, 200);
    await page.text();
  });
});

describe('a key', () => {
  const secret = () => key;
  const wrong = {
    'of Anthropic': [() => 'sk-ant-api03-abc', /key of Anthropic.*`sk-tf-`/],
    'of OpenAI': [() => 'sk-proj-abc', /key of OpenAI/],
    'of somebody': [() => 'sk-0123456789', /key of another provider/],
    'of Google': [() => 'AIzaSyA0123', /key of Google/],
    'in quotation marks': [() => `"${secret()}"`, /quotation marks.*without them/],
    'with `Bearer` in it': [() => `Bearer ${secret()}`, /begins with `Bearer`.*the key alone/],
    'with a space in it': [() => `${secret().slice(0, 20)} ${secret().slice(20)}`, /white space.*one word/],
    'that is cut off': [() => secret().slice(0, 30), /keys have 54 characters, and 30 were sent.*whole key/],
    'that is a variable': [() => '$TF_KEY', /variable.*the key itself/],
    'that nobody has': [() => `sk-tf-${'0'.repeat(48)}`, /not known.*for this gateway/],
  };
  for (const [what, [made, expected]] of Object.entries(wrong)) {
    test(`${what} is told so to every client, and not repeated`, async () => {
      const calls = { 'OpenAI chat': gateway.baseUrl, 'OpenAI models': gateway.baseUrl, Anthropic: gateway.url, Google: gateway.url };
      for (const [client, url] of Object.entries(calls)) {
        const { status, text } = await printed(() => firstCalls[client](url, made()));
        assert.equal(status, 401);
        assert.match(text, expected, client);
        assert.ok(!text.includes(made().slice(10, 26)) || made().length < 20, text);
      }
    });
  }

  test('that has expired or was revoked says when', async () => {
    const expired = await gateway.newKey(account, { expires_at: '2026-01-02T03:04:05Z' });
    assert.match((await printed(() => firstCalls.Anthropic(gateway.url, expired))).text, /expired at 2026-01-02T03:04:05.*another key/);
  });

  test('that is not where it is looked for, or missing, is told where to put it', async () => {
    const init = { method: 'POST', body: JSON.stringify({ model: 'demo-large', messages }) };
    const call = async (headers, query = '') => {
      const response = await fetch(`${gateway.baseUrl}/chat/completions${query}`, { ...init, headers: { 'content-type': 'application/json', ...headers } });
      return [response.status, (await response.json()).error?.message ?? 'answered'];
    };
    for (const [headers, query, expected] of [
      [{}, '', /No API key was sent.*Authorization: Bearer sk-tf-/],
      [{ authorization: key }, '', /no `Bearer` before.*Authorization: Bearer sk-tf-/],
      [{ authorization: `Basic ${btoa(key)}` }, '', /no `Bearer` before/],
      [{ 'api-key': key }, '', /sent in `api-key`.*Authorization: Bearer sk-tf-/],
      [{}, `?key=${key}`, /in the address.*Authorization: Bearer sk-tf-/],
      [{ authorization: 'Bearer' }, '', /is empty/],
    ]) {
      const [status, text] = await call(headers, query);
      assert.equal(status, 401);
      assert.match(text, expected);
      assert.ok(!text.includes(key));
    }
    for (const headers of [{ authorization: `Bearer ${key}` }, { authorization: `bearer  ${key} ` }, { 'x-api-key': key }, { 'x-goog-api-key': key }]) {
      assert.equal((await call(headers))[0], 200, Object.keys(headers)[0]);
    }
  });
});

describe('a model', () => {
  const served = async (model, headers) => {
    const response = await gateway.call(key, model, headers);
    const body = await response.json();
    return { status: response.status, body, response };
  };

  test('in another spelling is served under its own name, price and policy', async () => {
    const narrow = await gateway.newKey(account, { models: ['gpt-5.5'] });
    for (const asked of ['gpt-5.5', 'GPT-5.5', 'openai/gpt-5.5', ' gpt-5.5 ', 'OpenRouter/OpenAI/GPT-Latest', 'openai/gpt-5.5:official', 'GPT-5.5:OFFICIAL', 'gpt-5.5-2026-04-01']) {
      const response = await gateway.call(narrow, asked);
      assert.equal(response.status, 200, `${asked}: ${await response.text()}`);
      const receipt = await gateway.receipt(narrow, response);
      assert.deepEqual([receipt.requested_model.trim(), receipt.model, receipt.bucket], [asked.trim(), 'gpt-5.5', 'credit']);
    }
    assert.equal((await gateway.call(narrow, 'Demo-Large')).status, 403, 'its key names the model that was meant');
  });

  test('with another date than upstream has is hinted', async () => {
    for (const asked of ['demo-large-2026-04-01', 'demo-large-latest', 'openai/demo-large-20260401']) {
      const { status, body } = await served(asked);
      assert.equal(status, 404);
      assert.match(body.error.message, /^There is no model `[^`]+`\. Did you mean `demo-large`.* GET \/v1\/models\.$/);
      assert.equal(body.error.metadata.near[0], 'demo-large');
    }
  });

  test('of two that fold alike is neither', async () => {
    assert.equal((await served('twin')).status, 200);
    assert.equal((await served('TWIN')).status, 200);
    const neither = await served('Twin');
    assert.equal(neither.status, 404);
    assert.match(neither.body.error.message, /`twin`/i);
  });

  test('is found alike by lists, explanations and pages', async () => {
    for (const path of ['/v1/models/GPT-5.5', '/v1/models/openai/gpt-5.5', '/v1/models/gpt-5.5:official', '/v1/models/OpenAI/GPT-latest/endpoints', '/v1beta/models/models/gemini-3-pro', '/v1/health/GPT-5.5']) {
      const response = await gateway.fetch(key, path);
      assert.equal(response.status, 200, `${path}: ${await response.text()}`);
    }
    for (const path of ['/models/GPT-5.5', '/models/openai/gpt-5.5.json']) assert.equal((await fetch(gateway.url + path)).status, 200, path);
    const plan = await (await gateway.fetch(key, '/v1/route', { method: 'POST', body: JSON.stringify({ model: 'openai/GPT-5.5', messages }) })).json();
    assert.equal(plan.callable, true);
    const answer = await google(gateway.url).models.generateContent({ model: 'models/Gemini-3-Pro', contents: 'hello' });
    assert.ok(answer.text.includes('hello'));
  });
});

describe('a request', () => {
  const send = async (init, path = '/v1/chat/completions') => {
    const response = await gateway.fetch(key, path, init);
    const text = await response.text();
    return { status: response.status, text: JSON.parse(text).error?.message, headers: response.headers };
  };
  const body = JSON.stringify({ model: 'demo-large', messages });

  test('of another content type or none is read where it is JSON, and told what to send where it is not', async () => {
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'application/octet-stream']) {
      assert.equal((await send({ method: 'POST', body, headers: { 'content-type': type } })).status, 200, type);
    }
    for (const [wrong, expected] of [
      ['', /is empty.*JSON/], ['model=demo-large', /not JSON|not valid|JSON/], ['{"model":', /JSON/], ['[]', /object/], ["{'model': 'demo-large'}", /JSON/],
    ]) {
      const { status, text } = await send({ method: 'POST', body: wrong, headers: { 'content-type': 'application/json' } });
      assert.equal(status, 400);
      assert.match(text, expected, wrong);
      assert.match(text, /Send /, wrong);
    }
    const form = new FormData();
    form.set('model', 'demo-large');
    const { status, text } = await send({ method: 'POST', body: form });
    assert.deepEqual([status, /Send a JSON object\./.test(text)], [400, true], text);
  });

  test('by GET in place of POST is told which method', async () => {
    for (const path of ['/v1/chat/completions', '/v1/messages', '/v1/responses', '/v1beta/models/demo-large:generateContent']) {
      const { status, text, headers } = await send({ method: 'GET' }, path);
      assert.deepEqual([status, headers.get('allow')], [405, 'POST, OPTIONS'], path);
      assert.match(text, /does not answer GET\. Use POST\.$/);
    }
  });

  test('for an endpoint of another kind of model is told which one', async () => {
    const { status, text } = await send({ method: 'POST', body: JSON.stringify({ model: 'demo-large', input: 'x' }) }, '/v1/embeddings');
    assert.equal(status, 400);
    assert.match(text, /kind `chat`.*Send the request to \/v1\/chat\/completions/);
  });
});

describe('HEAD and OPTIONS', () => {
  const head = (path, headers = {}) =>
    new Promise((resolve, reject) => {
      const asked = httpRequest(gateway.url + path, { method: 'HEAD', headers }, (response) => {
        let bytes = 0;
        response.on('data', (data) => (bytes += data.length)).on('end', () => resolve({ response, bytes }));
      });
      asked.on('error', reject).end();
    });

  test('HEAD is GET without a body', async () => {
    const withKey = { authorization: `Bearer ${key}` };
    for (const [path, headers] of [['/'], ['/models'], ['/models/gpt-5.5'], ['/status'], ['/healthz'], ['/openapi.json'], ['/robots.txt'], ['/style.css'], ['/nothing'], ['/v1/models', withKey], ['/v1/balances', withKey], ['/v1/balances'], ['/v1/chat/completions', withKey], ['/v1/ledger?format=csv', withKey]]) {
      const get = await fetch(gateway.url + path, { headers });
      const length = (await get.arrayBuffer()).byteLength;
      const { response, bytes } = await head(path, headers);
      assert.deepEqual([response.statusCode, response.headers['content-type'], bytes], [get.status, get.headers.get('content-type'), 0], path);
      for (const name of ['cache-control', 'allow', 'content-security-policy', 'vary']) assert.equal(response.headers[name] ?? null, get.headers.get(name), `${path}: ${name}`);
      // Pages tell the time, and so differ by a letter. The platform leaves it out for files.
      if (get.headers.get('content-length') && !files.includes(path)) assert.ok(Math.abs(Number(response.headers['content-length']) - length) < 100, `${path}: ${response.headers['content-length']}, ${length}`);
    }
  });

  test('OPTIONS of a file names its methods, which are the platform\'s', async () => {
    for (const path of files) {
      const response = await fetch(gateway.url + path, { method: 'OPTIONS' });
      await response.arrayBuffer();
      assert.deepEqual([response.status, response.headers.get('allow')], [405, 'GET, HEAD'], path);
    }
  });
});
