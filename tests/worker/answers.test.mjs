// What an answer says of itself: for every endpoint that asks a model, plain, streamed, translated and over a
// WebSocket, the id that stands in it finds its receipt, with the account's key and with no other; the model is the
// public name; and an amount stands beside its currency.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { dialectCatalog, dialectVars } from './support/dialects.mjs';
import { readStream, startGateway } from './support/gateway.mjs';

let gateway;
let account;
let secret;
/** Of another account. */
let stranger;

before(async () => {
  gateway = await startGateway({ catalog, vars: dialectVars });
  account = await gateway.newAccount({ credit: '10', wallet: '10' });
  secret = await gateway.newKey(account, { routes: ['official', 'routed'], cross_routes: true });
  stranger = await gateway.richKey();
});
after(() => gateway?.close());

/** The catalogue of dialects under public names that no provider has, with one model that another currency pays. */
function catalog(upstreamUrl) {
  const catalog = dialectCatalog(upstreamUrl);
  catalog.buckets.wallet = { label: 'Routed wallet', currency: 'CNY' };
  const models = Object.entries(catalog.models).map(([name, model]) => [`our/${name}`, { ...model, aliases: [`${name}-latest`] }]);
  const { bucket, ...route } = structuredClone(catalog.models['gpt-sim'].routes.official);
  const routed = { ...catalog.models['gpt-sim'], routes: { routed: { ...route, bucket: 'wallet' } } };
  return { ...catalog, models: { ...Object.fromEntries(models), 'our/routed': routed } };
}

const hello = [{ role: 'user', content: 'hello' }];
const talkers = ['gpt-sim', 'open-sim', 'claude-sim', 'gemini-sim'];

/** Every format of text: its request for a model, how its ids begin, and where an answer or an event has id and model. */
const formats = {
  chat: {
    path: () => '/v1/chat/completions', prefix: 'chatcmpl-', names: ({ id, model }) => [id, model],
    body: (model, stream) => ({ model, messages: hello, stream, ...(stream && { stream_options: { include_usage: true } }) }),
    usage: (it) => it.usage,
  },
  responses: {
    path: () => '/v1/responses', prefix: 'resp_', names: (it) => [(it.response ?? it).id, (it.response ?? it).model],
    body: (model, stream) => ({ model, input: 'hello', stream }), usage: (it) => (it.response ?? it).usage,
  },
  messages: {
    path: () => '/v1/messages', prefix: 'msg_', names: (it) => [(it.message ?? it).id, (it.message ?? it).model],
    body: (model, stream) => ({ model, max_tokens: 100, messages: hello, stream }), usage: (it) => it.usage,
  },
  gemini: {
    path: (model, stream) => `/v1beta/models/${model}:${stream ? 'streamGenerateContent?alt=sse' : 'generateContent'}`, prefix: 'gen-',
    names: ({ responseId, modelVersion }) => [responseId, modelVersion],
    body: () => ({ contents: [{ role: 'user', parts: [{ text: 'hello' }] }] }), usage: (it) => it.usageMetadata,
  },
};

const post = (path, body) =>
  gateway.fetch(secret, path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/** What an id in an answer finds, for whom. */
async function findsItsReceipt(id, answer) {
  const receipt = await gateway.receipt(secret, answer);
  const found = await gateway.get(secret, `/v1/receipts/${id}`);
  assert.deepEqual(found, receipt);
  assert.equal((await gateway.get(secret, `/v1/generation?id=${id}`)).data.id, receipt.id);
  for (const path of [`/v1/receipts/${id}`, `/v1/generation?id=${id}`]) {
    const other = await gateway.fetch(stranger, path);
    assert.deepEqual([other.status, (await other.json()).error.code], [404, 'not_found'], path);
  }
  const byOperator = await gateway.admin('GET', `/admin/v1/accounts/${account}/receipts/${id}`);
  assert.equal(byOperator.id, receipt.id);
  return receipt;
}

/** The objects of an answer: itself, or its events. */
async function objectsOf(response, stream) {
  assert.equal(response.status, 200);
  if (!stream) return [await response.json()];
  return (await readStream(response)).chunks;
}

for (const [name, format] of Object.entries(formats)) {
  describe(`an answer of ${name}`, () => {
    for (const model of talkers) {
      for (const stream of [false, true]) {
        test(`of ${model}, ${stream ? 'streamed' : 'plain'}, tells its receipt, the public name and the currency`, async () => {
          const asked = `our/${model}`;
          const response = await post(format.path(asked, stream), format.body(asked, stream));
          const objects = await objectsOf(response, stream);
          const named = objects.map(format.names).filter(([id]) => id !== undefined);
          assert.ok(named.length > 0 && named.every(([id, told]) => id === named[0][0] && told === `our/${model}`), JSON.stringify(named));
          const [id] = named[0];
          assert.ok(id.startsWith(format.prefix), id);
          const receipt = await findsItsReceipt(id, response);
          const usage = format.usage(objects.findLast((it) => format.usage(it)?.cost !== undefined));
          assert.deepEqual([usage.cost, usage.currency], [Number(receipt.charge), 'USD']);
          assert.deepEqual([receipt.currency, receipt.model], ['USD', `our/${model}`]);
          assert.equal(response.headers.get('x-tf-upstream-model'), receipt.upstream_model);
        });
      }
    }
  });
}

describe('the model is told', () => {
  test('by its public name, also to who asked by an alias or for a route', async () => {
    for (const asked of ['gpt-sim-latest', 'our/gpt-sim:official', 'gpt-sim-latest:official']) {
      for (const name of ['chat', 'responses']) {
        const [answer] = await objectsOf(await post(formats[name].path(), formats[name].body(asked, false)), false);
        assert.equal(answer.model, 'our/gpt-sim', `${name} ${asked}`);
      }
      // Clients of messages forget thoughts of a model by another name than they asked for.
      const [answer] = await objectsOf(await post('/v1/messages', formats.messages.body(asked, false)), false);
      assert.equal(answer.model, asked);
    }
  });

  test('by its own name where it is a fallback', async () => {
    for (const [name, format] of Object.entries(formats).filter(([name]) => name !== 'gemini')) {
      const body = { ...format.body('gpt-fail-503-latest', false), models: ['our/claude-sim'] };
      const [answer] = await objectsOf(await post(format.path(), body), false);
      assert.equal(format.names(answer)[1], 'our/claude-sim', name);
    }
  });
});

describe('beside text', () => {
  const json = {
    '/v1/completions': { model: 'our/gpt-sim', prompt: 'hello' },
    '/v1/embeddings': { model: 'our/embedding-sim', input: 'hello' },
    '/v1/moderations': { model: 'our/moderation-sim', input: 'hello' },
    '/v1/rerank': { model: 'our/open-rerank-sim', query: 'a', documents: ['a', 'b'] },
    '/v1/images/generations': { model: 'our/image-sim', prompt: 'a dot' },
    '/v1/responses/compact': { model: 'our/gpt-sim', input: 'hello' },
  };
  for (const [path, body] of Object.entries(json)) {
    test(`${path} tells the public name, its receipt where it has an id, and the currency`, async () => {
      const response = await post(path, body);
      const answer = await response.json();
      assert.equal(response.status, 200, JSON.stringify(answer));
      if ('model' in answer) assert.equal(answer.model, body.model);
      if ('id' in answer) await findsItsReceipt(answer.id, response);
      assert.equal(answer.usage.currency, 'USD');
    });
  }

  test('a cohere ranking has the id of its receipt', async () => {
    const response = await post('/v1/rerank', { model: 'our/rerank-sim', query: 'a', documents: ['a', 'b'] });
    await findsItsReceipt((await response.json()).id, response);
  });

  test('a stream of completions tells one id in every chunk', async () => {
    const response = await post('/v1/completions', { model: 'our/gpt-sim', prompt: 'hello', stream: true, stream_options: { include_usage: true } });
    const chunks = await objectsOf(response, true);
    assert.ok(chunks.every(({ id, model }) => id === chunks[0].id && id.startsWith('cmpl-gen-') && model === 'our/gpt-sim'));
    await findsItsReceipt(chunks[0].id, response);
  });
});

describe('a response', () => {
  test('that goes on from one of a provider names both', async () => {
    const first = await (await post('/v1/responses', { model: 'our/gpt-sim', input: 'hello' })).json();
    assert.match(first.id, /^resp_gen-[0-9a-z]{26}_resp_.+_tf[0-9a-f]{16}$/);
    const response = await post('/v1/responses', { model: 'our/gpt-sim', input: 'again', previous_response_id: first.id });
    const second = await response.json();
    assert.equal(response.status, 200, JSON.stringify(second));
    assert.equal(second.previous_response_id, first.id);
    await findsItsReceipt(second.id, response);
    const foreign = await gateway.fetch(stranger, '/v1/responses', {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: 'our/gpt-sim', input: 'again', previous_response_id: first.id }),
    });
    assert.deepEqual([foreign.status, (await foreign.json()).error.param], [400, 'previous_response_id']);
  });

  test('over a WebSocket tells its receipt, and is gone on from', async () => {
    for (const model of talkers) {
      const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/v1/responses`, { headers: { authorization: `Bearer ${secret}` } });
      await once(socket, 'open');
      const ask = async (body) => {
        const frames = [];
        const done = new Promise((resolve) => socket.on('message', function next(data) {
          frames.push(JSON.parse(data));
          if (!['response.completed', 'response.failed', 'error'].includes(frames.at(-1).type)) return;
          socket.off('message', next);
          resolve();
        }));
        socket.send(JSON.stringify({ type: 'response.create', store: false, model: `our/${model}`, ...body }));
        await done;
        assert.equal(frames.at(-1).type, 'response.completed', JSON.stringify(frames.at(-1)));
        return frames;
      };
      const first = await ask({ input: 'hello' });
      const { id, model: told } = first.at(-1).response;
      assert.equal(told, `our/${model}`);
      assert.ok(first.filter(({ response }) => response).every(({ response }) => response.id === id));
      await findsItsReceipt(id, first[0].headers['x-generation-id']);
      const second = await ask({ input: 'again', previous_response_id: id });
      assert.notEqual(second.at(-1).response.id, id);
      socket.close();
    }
  });
});

test('an id that belongs to no request finds nothing', async () => {
  for (const id of ['chatcmpl-1', 'gen-00000000000000000000000000', 'msg_gen-00000000000000000000000000', 'x'.repeat(600), 'resp_gen-1_tf0', '%20']) {
    for (const path of [`/v1/receipts/${id}`, `/v1/generation?id=${id}`]) {
      const response = await gateway.fetch(secret, path);
      assert.deepEqual([response.status, (await response.json()).error.code], [404, 'not_found'], path);
    }
  }
});

describe('every amount has its currency beside it', () => {
  before(async () => {
    const [answer] = await objectsOf(await post('/v1/chat/completions', formats.chat.body('our/routed', false)), false);
    assert.equal(answer.usage.currency, 'CNY');
    await gateway.receipt(secret, answer.id);
    const unpaid = await gateway.call(secret, { model: 'our/routed', max_tokens: 0 });
    await unpaid.body?.cancel();
    await gateway.call(secret, 'our/routed', { 'x-tf-run': 'a-run' }).then((it) => gateway.receipt(secret, it));
  });

  /** Objects in OpenRouter's shape, and what else has amounts beside a bucket. */
  const paths = [
    '/v1/models?include=unavailable', '/v1/models/our/routed', '/v1/models/our/gpt-sim/endpoints', '/models.json', '/models/our/routed.json',
    '/v1/credits', '/v1/activity', '/v1/receipts', '/v1/ledger', '/v1/balances', '/v1/runs/a-run',
  ];
  for (const path of paths) {
    test(`in ${path}`, async () => {
      const currencies = { credit: 'USD', wallet: 'CNY' };
      let found = 0;
      const look = (value, within) => {
        if (Array.isArray(value)) return value.forEach((it) => look(it, within));
        if (value === null || typeof value !== 'object') return;
        for (const [name, it] of Object.entries(value)) if (name !== 'attempts') look(it, name);
        const hasAmounts = ['prompt', 'total_credits', 'charge', 'amount', 'smallest_quote', 'balance'].some((name) => typeof value[name] === 'string' || typeof value[name] === 'number');
        if (!('bucket' in value) && !(hasAmounts && within !== 'max_price')) return;
        found += 1;
        if (value.bucket) assert.equal(value.currency, currencies[value.bucket], JSON.stringify(value));
        else assert.ok('currency' in value, `${within}: ${JSON.stringify(value)}`);
      };
      look(await gateway.get(secret, path), 'root');
      assert.ok(found > 0);
    });
  }

  test('in what a model costs, by its route', async () => {
    const { pricing, tf } = await gateway.get(secret, '/v1/models/our/routed');
    assert.deepEqual([pricing.currency, tf.currency, tf.served_by.currency, tf.routes[0].pricing.currency], ['CNY', 'CNY', 'CNY', 'CNY']);
    const { data } = await gateway.get(secret, '/v1/models/our/gpt-sim/endpoints');
    assert.deepEqual(data.endpoints.map(({ pricing }) => pricing.currency), ['USD']);
  });

  test('in what a key and a generation tell', async () => {
    const { secret: limited } = await gateway.createKey(account, { routes: ['routed'], budgets: [{ bucket: 'wallet', period: 'total', limit: '1' }] });
    const { data } = await gateway.get(limited, '/v1/key');
    assert.deepEqual([data.limit, data.currency, data.tf.budgets[0].currency], ['1', 'CNY', 'CNY']);
    assert.equal((await gateway.get(secret, '/v1/key')).data.currency, null, 'without a limit there is no amount');
    const answer = await gateway.call(secret, 'our/routed');
    const { id } = await answer.json();
    await gateway.receipt(secret, answer);
    const { data: generation } = await gateway.get(secret, `/v1/generation?id=${id}`);
    assert.deepEqual([generation.total_cost > 0, generation.currency, generation.tf.currency], [true, 'CNY', 'CNY']);
  });

  test('in exports and in the plan of a request', async () => {
    const text = await (await gateway.fetch(secret, '/v1/receipts?format=csv')).text();
    const [head, ...lines] = text.trim().split('\r\n').map((line) => line.split(','));
    assert.equal(head.at(-1), 'currency');
    assert.deepEqual([...new Set(lines.map((line) => line.at(-1)))].filter(Boolean).sort(), ['CNY', 'USD']);
    const plan = await (await post('/v1/route', formats.chat.body('our/routed', false))).json();
    assert.deepEqual([plan.currency, plan.quotes[0].currency, plan.attempts[0].currency], ['CNY', 'CNY', 'CNY']);
    const spend = await gateway.admin('GET', `/admin/v1/spend?account=${account}`);
    assert.ok(spend.data.filter(({ bucket }) => bucket).every(({ bucket, currency }) => currency === { credit: 'USD', wallet: 'CNY' }[bucket]));
  });
});
