// The JavaScript SDK of OpenAI, as users have it, pointed at the gateway.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { testCatalog } from './support/catalog.mjs';
import { checkCharged, checkUncharged, plainAnswer, startScripted } from './support/expect.mjs';
import { earlyInTheMinute, startGateway, until } from './support/gateway.mjs';

let gateway;
let scripted;
let account;
let key;
let openai;
/** How often the scripted upstream is still to refuse. */
let refusals = 0;

before(async () => {
  scripted = await startScripted((_, response) => {
    const isBusy = refusals > 0;
    refusals -= 1;
    response.writeHead(isBusy ? 429 : 200, { 'content-type': 'application/json', ...(isBusy && { 'retry-after': '1' }) });
    response.end(JSON.stringify(isBusy ? { error: { message: 'Slow down.', type: 'requests', param: null, code: 'rate_limit_exceeded' } } : plainAnswer()));
  });
  gateway = await startGateway({ catalog });
  account = await gateway.newAccount({ credit: '100', wallet: '100' });
  key = await gateway.newKey(account);
  openai = client();
});
after(async () => {
  await gateway?.close();
  await scripted?.close();
});

function catalog(upstreamUrl) {
  const catalog = testCatalog(upstreamUrl);
  catalog.channels.scripted = { ...catalog.channels.main, base_url: `${scripted.url}/v1` };
  catalog.models.busy = structuredClone(catalog.models['demo-large']);
  catalog.models.busy.routes.official.candidates = [{ channel: 'scripted', upstream_model: 'busy', tier: 0 }];
  return catalog;
}

const client = (options = {}) => new OpenAI({ baseURL: gateway.baseUrl, apiKey: key, maxRetries: 0, ...options });
const messages = [{ role: 'user', content: 'hello' }];
const useTool = {
  messages: [{ role: 'user', content: 'please use the tool' }],
  tools: [{ type: 'function', function: { name: 'look_up', parameters: { type: 'object', properties: { input: { type: 'string' } } } } }],
};

describe('the JavaScript SDK', () => {
  test('makes a plain call, with the cost in its usage and the headers at hand', async () => {
    const { data, response, request_id } = await openai.chat.completions.create({ model: 'demo-large', messages }).withResponse();
    assert.match(data.choices[0].message.content, /^You said: "hello"\./);
    assert.deepEqual([data.usage.prompt_tokens, data.usage.completion_tokens, data.usage.total_tokens, data.usage.cost], [8, 16, 24, 0.00004]);
    assert.equal(response.headers.get('x-tf-channel'), 'main');
    assert.deepEqual([request_id, data._request_id], [response.headers.get('x-generation-id'), request_id]);
    checkCharged(await gateway.receipt(key, request_id), { charge: '0.00004', usage: { input: 8, output: 16 }, attempts: ['main/demo-large: answered'] });
  });

  test('sees a fallback only in headers and receipt', async () => {
    const { data, response } = await openai.chat.completions.create({ model: 'fallback-fail-503', messages }).withResponse();
    assert.match(data.choices[0].message.content, /This is demo-large/);
    assert.deepEqual(['channel', 'attempts'].map((name) => response.headers.get(`x-tf-${name}`)), ['backup', '2']);
    checkCharged(await gateway.receipt(key, response), { charge: '0.00004', attempts: ['main/fail-503-primary: failed server', 'backup/demo-large: answered'] });
  });

  test('iterates over a stream, without a usage chunk unless asked', async () => {
    for (const stream_options of [undefined, { include_usage: true }]) {
      const { data: stream, response } = await openai.chat.completions.create({ model: 'fallback-reset', messages, stream: true, stream_options }).withResponse();
      let text = '';
      let usage;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? '';
        if (chunk.choices.length === 0) assert.ok(chunk.usage);
        usage = chunk.usage ?? usage;
      }
      assert.match(text, /^You said: "hello"\. This is demo-large/);
      assert.deepEqual([usage?.total_tokens, usage?.cost], stream_options ? [24, 0.00004] : [undefined, undefined]);
      checkCharged(await gateway.receipt(key, response), { charge: '0.00004', usage: { input: 8, output: 16 } });
    }
  });

  test('accumulates a stream by its helper', async () => {
    const runner = openai.chat.completions.stream({ model: 'split-bytes', messages, stream_options: { include_usage: true } });
    let deltas = '';
    runner.on('content', (delta) => (deltas += delta));
    const completion = await runner.finalChatCompletion();
    assert.equal(completion.choices[0].message.content, 'Größe 大きさ 🌍🚀 : "hello"');
    assert.equal(deltas, completion.choices[0].message.content);
    assert.equal(completion.choices[0].finish_reason, 'stop');
    assert.deepEqual([completion.usage.completion_tokens, (await runner.totalUsage()).total_tokens], [5, 13]);
  });

  test('gets tool calls, plain and accumulated from a stream', async () => {
    const plain = await openai.chat.completions.create({ model: 'demo-large', ...useTool });
    const streamed = await openai.chat.completions.stream({ model: 'demo-large', ...useTool }).finalChatCompletion();
    for (const { choices: [{ message, finish_reason }] } of [plain, streamed]) {
      assert.equal(finish_reason, 'tool_calls');
      assert.equal(message.content, null);
      const [{ id, type, function: { name, arguments: input } }] = message.tool_calls;
      assert.deepEqual([id, type, name, JSON.parse(input)], ['call_sim_0', 'function', 'look_up', { input: 'please use the tool' }]);
    }
    // 11 tokens in, 8 out.
    const receipt = await gateway.receipt(key, plain._request_id);
    checkCharged(receipt, { charge: '0.000027', usage: { input: 11, output: 8 } });
    assert.equal(receipt.finish_reason, 'tool_calls');
  });

  test('passes extra members and headers of ours', async () => {
    const { response } = await openai.chat.completions
      .create({ model: 'no-such-model', models: ['both-routes'], provider: { ignore: ['nobody'] }, session_id: 's-1', messages }, { headers: { 'x-tf-run': 'run-js', 'x-tf-route': 'routed' } })
      .withResponse();
    const receipt = await gateway.receipt(key, response);
    checkCharged(receipt, { charge: '0.00028', bucket: 'wallet' });
    assert.equal(receipt.run, 'run-js');
    const { data } = await gateway.get(key, '/v1/receipts?run=run-js');
    assert.equal(data.length, 1);
  });

  test('lists and retrieves models', async () => {
    const ids = [];
    for await (const model of openai.models.list()) ids.push(model.id);
    assert.ok(ids.includes('demo-large') && ids.includes('both-routes'));
    assert.equal((await openai.models.retrieve('both-routes')).tf.callable, true);
    await assert.rejects(openai.models.retrieve('none'), OpenAI.NotFoundError);
  });

  test('leaves a stream, and pays for what it read', async () => {
    const { data: stream, response } = await openai.chat.completions.create({ model: 'slow-stream', messages, stream: true }).withResponse();
    let chunks = 0;
    for await (const _ of stream) if ((chunks += 1) === 5) break;
    await until(() => gateway.upstream.requests.findLast(({ body }) => body.model === 'slow-stream').aborted, 'the end of the upstream call');
    const receipt = await gateway.receipt(key, response);
    assert.equal(receipt.status, 'aborted');
    checkCharged(receipt, { status: 'aborted', charge: String((receipt.usage.input + 2 * receipt.usage.output) / 1e6), source: 'estimated' });
  });
});

describe('the JavaScript SDK throws', () => {
  const cases = [
    ['AuthenticationError', 401, 'invalid_api_key', null, () => client({ apiKey: `sk-tf-${'0'.repeat(48)}` }).chat.completions.create({ model: 'demo-large', messages })],
    ['NotFoundError', 404, 'model_not_found', 'model', () => openai.chat.completions.create({ model: 'demo-lagre', messages })],
    ['BadRequestError', 400, 'invalid_request', 'max_tokens', () => openai.chat.completions.create({ model: 'demo-large', messages, max_tokens: -1 })],
    ['BadRequestError', 400, 'context_length_exceeded', 'messages', () => openai.chat.completions.create({ model: 'fail-400', messages })],
    ['UnprocessableEntityError', 422, 'missing_required_parameter', 'messages.0.role', () => openai.chat.completions.create({ model: 'fail-422', messages, stream: true })],
    ['PermissionDeniedError', 403, 'model_not_allowed', 'model', async () => client({ apiKey: await gateway.newKey(account, { models: ['demo-small'] }) }).chat.completions.create({ model: 'demo-large', messages })],
    ['InternalServerError', 502, 'no_route_available', null, () => openai.chat.completions.create({ model: 'fail-500', messages })],
    ['InternalServerError', 503, 'model_unpriced', 'modalities', () => openai.chat.completions.create({ model: 'demo-large', messages, modalities: ['audio'] })],
    ['APIError', 402, 'insufficient_balance', null, async () => client({ apiKey: await gateway.newKey(await gateway.newAccount({ credit: '0.000001' })) }).chat.completions.create({ model: 'demo-large', messages })],
  ];
  for (const [name, status, code, param, call] of cases) {
    test(`${name} for ${code}, with the four keys and the request's id`, async () => {
      await assert.rejects(call, (error) => {
        assert.ok(error instanceof OpenAI[name], `${error.constructor.name}: ${error.message}`);
        assert.deepEqual([error.status, error.code, error.param], [status, code, param]);
        assert.equal(error.type, error.error.type);
        assert.match(error.requestID, /^gen-/);
        assert.ok(error.error.metadata.next_step);
        return true;
      });
    });
  }

  test('RateLimitError when the key\'s limit is reached, which says when to come back', async () => {
    await earlyInTheMinute();
    const limited = client({ apiKey: await gateway.newKey(account, { rpm: 1 }) });
    await limited.chat.completions.create({ model: 'demo-large', messages });
    await assert.rejects(limited.chat.completions.create({ model: 'demo-large', messages }), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError);
      assert.deepEqual([error.status, error.code], [429, 'rate_limit_exceeded']);
      assert.match(error.headers.get('retry-after'), /^\d+$/);
      return true;
    });
  });

  test('in the middle of a stream that upstream broke off, and never takes it for complete', async () => {
    for (const model of ['cut-stream', 'no-done', 'stream-error-mid']) {
      const { data: stream, response } = await openai.chat.completions.create({ model, messages, stream: true }).withResponse();
      let text = '';
      await assert.rejects(async () => {
        for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
      }, (error) => {
        assert.ok(error instanceof OpenAI.APIError, error.stack);
        assert.equal(error.code, 'upstream_cut');
        return true;
      });
      assert.match(text, /^You/);
      checkUncharged(await gateway.receipt(key, response), { status: 'truncated' });
      await assert.rejects(openai.chat.completions.stream({ model, messages }).finalChatCompletion());
    }
  });
});

describe('the JavaScript SDK\'s retries', () => {
  /** A client that retries, and the answers that it got. */
  function retrying() {
    const answers = [];
    const fetchAndNote = async (...args) => {
      const response = await fetch(...args);
      answers.push({ status: response.status, retryAfter: response.headers.get('retry-after'), at: performance.now() });
      return response;
    };
    return { answers, retrying: client({ maxRetries: 2, fetch: fetchAndNote }) };
  }

  test('wait as long as the upstream asked, and only what was answered is paid', async () => {
    const { answers, retrying: own } = retrying();
    refusals = 1;
    const { response } = await own.chat.completions.create({ model: 'busy', messages }).withResponse();
    assert.deepEqual(answers.map(({ status, retryAfter }) => [status, retryAfter]), [[429, '1'], [200, null]]);
    assert.ok(answers[1].at - answers[0].at >= 950, 'a second lies between both');
    checkCharged(await gateway.receipt(key, response), { charge: '0.000012', usage: { input: 8, output: 2 } });
    const { data } = await gateway.get(key, '/v1/receipts?model=busy&limit=5');
    assert.deepEqual(data.map(({ status, charge }) => [status, charge]), [['completed', '0.000012'], ['failed', '0']]);
  });

  test('are not made for what will not change', async () => {
    for (const model of ['none', 'fail-400', 'fail-422']) {
      const { answers, retrying: own } = retrying();
      await assert.rejects(own.chat.completions.create({ model, messages }));
      assert.equal(answers.length, 1, model);
    }
  });
});
