// What tests rely on in the simulated upstream: lists of models as the providers answer them, and
// changes while it runs.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { startUpstream } from '../../scripts/upstream.mjs';

let upstream;
before(async () => (upstream = await startUpstream()));
afterEach(() => upstream.restoreAll());
after(() => upstream?.close());

const headers = { authorization: 'Bearer k', 'x-api-key': 'k', 'x-goog-api-key': 'k', 'anthropic-version': '2023-06-01', 'content-type': 'application/json' };

/** By API: where its list is, how a page of two is asked and the next one, the ids, and a call of a model. */
const apis = {
  openai: { list: '/v1/models', first: '', next: () => null, ids: ({ data }) => data.map(({ id }) => id), call: (model) => ['/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hi' }] }] },
  anthropic: {
    list: '/anthropic/v1/models', first: '?limit=2', next: ({ has_more, last_id }) => (has_more ? `?limit=2&after_id=${last_id}` : null), ids: ({ data }) => data.map(({ id }) => id),
    call: (model) => ['/anthropic/v1/messages', { model, max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] }],
  },
  gemini: {
    list: '/gemini/v1beta/models', first: '?pageSize=2', next: ({ nextPageToken }) => (nextPageToken ? `?pageSize=2&pageToken=${encodeURIComponent(nextPageToken)}` : null),
    ids: ({ models }) => models.map(({ name }) => name.slice('models/'.length)), call: (model) => [`/gemini/v1beta/models/${model}:generateContent`, { contents: [{ role: 'user', parts: [{ text: 'hi' }] }] }],
  },
  cohere: {
    list: '/cohere/v1/models', first: '?page_size=2', next: ({ next_page_token }) => (next_page_token ? `?page_size=2&page_token=${encodeURIComponent(next_page_token)}` : null),
    ids: ({ models }) => models.map(({ name }) => name), call: (model) => ['/cohere/v2/rerank', { model, query: 'a', documents: ['a'] }],
  },
};

const get = (path) => fetch(upstream.url + path, { headers });
const status = async (response) => (await response.arrayBuffer(), response.status);
const call = async (api, model) => {
  const [path, body] = apis[api].call(model);
  return status(await fetch(upstream.url + path, { method: 'POST', headers, body: JSON.stringify(body) }));
};
const listed = async (api) => {
  const { list, ids } = apis[api];
  return ids(await (await get(`${list}?limit=1000&pageSize=1000&page_size=1000`)).json());
};

for (const [api, { list, first, next, ids }] of Object.entries(apis)) {
  test(`${api} lists what it has, in pages where the provider does`, async () => {
    const [seen, sizes] = [[], []];
    for (let query = first; query !== null; ) {
      const page = await (await get(list + query)).json();
      seen.push(...ids(page));
      sizes.push(ids(page).length);
      query = next(page);
    }
    const all = await listed(api);
    assert.deepEqual(seen, all);
    assert.equal(new Set(all).size, all.length);
    for (const id of ['demo-large', 'demo-small', 'demo-official', 'demo-embedding', 'fail-503', 'slow-headers']) assert.ok(all.includes(id), id);
    assert.equal(Math.max(...sizes), api === 'openai' ? all.length : 2);
    assert.equal(await status(await get(`${list}/demo-large`)), 200);
    assert.equal(await status(await get(`${list}/no-such`)), 404);
  });

  test(`${api} loses a model and gets a new one`, async () => {
    upstream.remove('demo-large', { api });
    upstream.add('alive-1', { api });
    assert.deepEqual([(await listed(api)).includes('demo-large'), (await listed(api)).includes('alive-1')], [false, true]);
    assert.deepEqual([await call(api, 'demo-large'), await call(api, 'alive-1')], [404, 200]);
    for (const other of Object.keys(apis).filter((it) => it !== api)) {
      assert.ok((await listed(other)).includes('demo-large'), other);
      assert.equal(await call(other, 'demo-large'), 200, other);
    }
    upstream.add('demo-large', { api });
    assert.ok((await listed(api)).includes('demo-large'));
    assert.equal(await call(api, 'demo-large'), 200);
  });

  test(`${api} behaves as it is told, until it is restored`, async () => {
    for (const [behaviour, expected] of [['fail-503', 503], ['fail-429', 429], ['html-502', 502], ['error-200', 200]]) {
      upstream.switch('demo-large', behaviour, { api });
      assert.equal(await call(api, 'demo-large'), expected, behaviour);
    }
    upstream.switch('demo-large', 'reset', { api });
    await assert.rejects(call(api, 'demo-large'));
    assert.ok((await listed(api)).includes('demo-large'), 'a model that fails is listed');
    assert.equal(await call(api, 'demo-small'), 200);
    upstream.restore('demo-large', { api });
    assert.equal(await call(api, 'demo-large'), 200);
    // Its id says otherwise.
    upstream.switch('fail-503', 'good', { api });
    assert.equal(await call(api, 'fail-503'), 200);
  });

  test(`${api} has a list that fails like a model`, async () => {
    upstream.switchList('fail-503', { api });
    assert.equal(await status(await get(list)), 503);
    assert.equal(await call(api, 'demo-large'), 200);
    upstream.switchList('not-json-200', { api });
    await assert.rejects((await get(list)).json());
    upstream.restoreList({ api });
    assert.equal(await status(await get(list)), 200);
  });
}

test('pages can be made shorter than they are asked for', async () => {
  upstream.limitPages(3, { api: 'gemini' });
  const page = await (await get('/gemini/v1beta/models?pageSize=1000')).json();
  assert.deepEqual([page.models.length, typeof page.nextPageToken], [3, 'string']);
});

test('what does not hang together is refused as the providers do', async () => {
  for (const path of ['/anthropic/v1/models?limit=1001', '/anthropic/v1/models?after_id=no-such', '/gemini/v1beta/models?pageToken=x', '/cohere/v1/models?page_size=0']) {
    assert.equal(await status(await get(path)), 400, path);
  }
  assert.equal(await status(await get('/cohere/v2/models')), 404, 'the list is in the first version');
});

test('a caller of a model that hangs gives up alone', async () => {
  upstream.switch('demo-large', 'hang-headers');
  const [path, body] = apis.openai.call('demo-large');
  const signal = AbortSignal.timeout(200);
  await assert.rejects(fetch(upstream.url + path, { method: 'POST', headers, body: JSON.stringify(body), signal }), { name: 'TimeoutError' });
  assert.equal(await call('openai', 'demo-small'), 200);
});

test('a behaviour or an API that there is not is a mistake of the test', () => {
  assert.throws(() => upstream.switch('demo-large', 'fail-999'), /no behaviour is called fail-999/);
  assert.throws(() => upstream.remove('demo-large', { api: '/v1' }), /no API is called/);
});
