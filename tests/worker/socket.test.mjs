// Responses over a WebSocket, and conversations made short, on the real runtime: what a client
// of either gets over a channel of every dialect, and that each request is paid for by itself.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { WebSocket } from 'ws';
import { dialectCatalog, dialectVars } from './support/dialects.mjs';
import { nanos, usageOf } from './support/expect.mjs';
import { startGateway, until } from './support/gateway.mjs';

let gateway;
let account;
let key;

before(async () => {
  gateway = await startGateway({ catalog, vars: dialectVars });
  account = await gateway.newAccount({ credit: '100' });
  key = await gateway.newKey(account);
});
after(() => gateway?.close());

/** The talkers of each dialect, and one that speaks so slowly that a client can leave in the middle. */
function catalog(upstreamUrl) {
  const catalog = dialectCatalog(upstreamUrl);
  for (const [name, like] of Object.entries({ 'gpt-slow': 'gpt-sim', 'claude-slow': 'claude-sim' })) {
    catalog.models[name] = structuredClone(catalog.models[like]);
    catalog.models[name].routes.official.candidates[0].upstream_model = 'slow-stream-long';
  }
  return catalog;
}

const channels = [['native responses', 'gpt-sim'], ['chat', 'open-sim'], ['anthropic', 'claude-sim'], ['gemini', 'gemini-sim']];

/** A connection: `ask` sends a request and answers its frames, up to the last one. */
class Client {
  constructor(secret, { headers = {} } = {}) {
    this.frames = [];
    this.socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/v1/responses`, {
      headers: { authorization: `Bearer ${secret}`, 'openai-beta': 'responses_websockets=2026-02-06', ...headers },
    });
    this.socket.on('message', (data) => this.frames.push(JSON.parse(data)));
    this.socket.on('error', () => {});
    this.closed = once(this.socket, 'close');
  }

  static async open(secret, options) {
    const client = new Client(secret, options);
    await once(client.socket, 'open');
    return client;
  }

  send(frame) {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify({ type: 'response.create', store: false, ...frame }));
  }

  /** The frames up to the next that ends an answer. */
  async answer() {
    const isLast = ({ type }) => ['response.completed', 'response.incomplete', 'response.failed', 'error'].includes(type);
    await until(() => this.frames.some(isLast), 'the end of the answer');
    return this.frames.splice(0, this.frames.findIndex(isLast) + 1);
  }

  ask(frame) {
    this.send(frame);
    return this.answer();
  }

  async close() {
    this.socket.close();
    await this.closed;
  }
}

const user = (text) => ({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] });
const textOf = ({ response }) => response.output.filter(({ type }) => type === 'message').flatMap(({ content }) => content).map(({ text }) => text).join('');
const idOf = (frames) => frames[0].headers['x-request-id'];

/** What waits in the account for requests that are under way. */
const held = async (secret) => (await gateway.get(secret, '/v1/balances')).data.map(({ held }) => held);

describe('a connection', () => {
  for (const [name, model] of channels) {
    test(`serves two turns with only what is new, over ${name}, and has a receipt of each`, async () => {
      const client = await Client.open(key);
      const first = await client.ask({ model, instructions: 'Be brief.', input: [user('Remember one apple.')] });
      assert.deepEqual([first[0].type, first.at(-1).type], ['response.created', 'response.completed']);
      assert.match(textOf(first.at(-1)), /one apple/);
      const called = gateway.upstream.requests.length;
      const second = await client.ask({ model, instructions: 'Be brief.', input: [user('And two pears.')], previous_response_id: first.at(-1).response.id });
      assert.match(textOf(second.at(-1)), /two pears/);
      // The whole conversation went up, and no mark of this transport with it.
      const { raw, headers } = gateway.upstream.requests[called];
      for (const said of ['Remember one apple.', 'And two pears.', `This is ${model}`]) assert.ok(raw.includes(said), `${said} in ${raw}`);
      assert.ok(!raw.includes('previous_response_id') && !raw.includes('response.create') && headers['openai-beta'] === undefined, raw);
      const receipts = await Promise.all([first, second].map((frames) => gateway.receipt(key, idOf(frames))));
      for (const [index, receipt] of receipts.entries()) {
        const usage = [first, second][index].at(-1).response.usage;
        assert.deepEqual([receipt.status, receipt.endpoint, receipt.stream, receipt.usage_source], ['completed', '/v1/responses', true, 'upstream']);
        assert.deepEqual([receipt.usage.input, receipt.usage.output], [usage.input_tokens, usage.output_tokens]);
        assert.equal(nanos(receipt.charge), nanos(String(usage.cost)));
      }
      assert.ok(receipts[1].usage.input > receipts[0].usage.input, 'the second turn has the first in it');
      await client.close();
    });
  }

  test('serves calls of tools, with only their results sent back', async () => {
    for (const [name, model] of channels) {
      const client = await Client.open(key);
      const tools = [{ type: 'function', name: 'look', parameters: { type: 'object', properties: { at: { type: 'string' } } } }];
      const first = await client.ask({ model, tools, input: [user('Use a tool.')] });
      const call = first.at(-1).response.output.find(({ type }) => type === 'function_call');
      assert.ok(call, name);
      const output = { type: 'function_call_output', call_id: call.call_id, output: 'seven swans' };
      const second = await client.ask({ model, tools, input: [output], previous_response_id: first.at(-1).response.id });
      assert.match(textOf(second.at(-1)), /seven swans/, name);
      await client.close();
    }
  });

  test('answers a warm-up without a call, a receipt or a charge, and goes on from it', async () => {
    const poor = await gateway.newAccount({ credit: '1' });
    const secret = await gateway.newKey(poor);
    const client = await Client.open(secret);
    const called = gateway.upstream.requests.length;
    const warm = await client.ask({ model: 'claude-sim', input: [user('Remember one apple.')], generate: false });
    assert.deepEqual(warm.map(({ type }) => type), ['response.created', 'response.in_progress', 'response.completed']);
    assert.deepEqual([warm.at(-1).response.output, warm.at(-1).response.usage.total_tokens], [[], 0]);
    assert.equal(gateway.upstream.requests.length, called);
    const frames = await client.ask({ model: 'claude-sim', input: [user('And two pears.')], previous_response_id: warm.at(-1).response.id });
    assert.match(gateway.upstream.requests[called].raw, /one apple[^]*two pears/);
    await gateway.receipt(secret, idOf(frames));
    const { data } = await gateway.get(secret, '/v1/receipts');
    assert.deepEqual(data.map(({ id }) => id), [idOf(frames)]);
    await client.close();
  });

  test('tells errors as frames, and serves on', async () => {
    const client = await Client.open(key);
    const told = async (frame, status, code, param = null) => {
      const [error, ...more] = await client.ask(frame);
      assert.deepEqual([more, error.type, error.status, error.error.code, error.error.param], [[], 'error', status, code, param], JSON.stringify(error));
      assert.ok(error.error.message.length > 0);
      return error;
    };
    await told('hello', 400, 'invalid_json');
    await told({ type: 'response.append', input: [] }, 400, 'invalid_request', 'type');
    await told({ model: 'gpt-sim', input: [], previous_response_id: 'resp_nobody' }, 400, 'previous_response_not_found', 'previous_response_id');
    await told({ model: 'gpt-sim', input: [], previous_response_id: 'resp_nobody', store: true }, 400, 'previous_response_not_found', 'previous_response_id');
    const unknown = await told({ model: 'no-such-model', input: 'x' }, 404, 'model_not_found', 'model');
    // The refusal has a receipt, like one over HTTP.
    assert.equal((await gateway.receipt(key, unknown.headers['x-request-id'])).status, 'refused');
    const failed = await client.ask({ model: 'claude-fail-500', input: 'x' });
    assert.equal(failed.at(-1).type, 'error');
    assert.ok(failed.at(-1).status >= 500);
    const cut = await client.ask({ model: 'claude-cut-stream', input: 'x' });
    // OpenAI's SDKs look at the first of both, Codex at the second.
    assert.equal(cut.at(-1).type, 'error');
    assert.deepEqual((await client.answer()).map(({ type }) => type), ['response.failed']);
    assert.equal((await client.ask({ model: 'claude-sim', input: 'Still here?' })).at(-1).type, 'response.completed');
    await client.close();
  });

  test('serves what comes at once one after the other, each lane with its name', async () => {
    const client = await Client.open(key);
    for (const stream_id of ['a', 'b']) client.send({ model: 'gpt-sim', input: `This is lane ${stream_id}.`, stream_id });
    const answers = [await client.answer(), await client.answer()];
    for (const [index, stream_id] of ['a', 'b'].entries()) {
      assert.ok(answers[index].every((frame) => frame.stream_id === stream_id));
      assert.match(textOf(answers[index].at(-1)), new RegExp(`lane ${stream_id}`));
    }
    await client.close();
  });

  test('is refused as over HTTP to who has no good key, and at every other path', async () => {
    const revoked = await gateway.createKey(account);
    await gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${revoked.id}`);
    const elsewhere = await gateway.newKey(account, { ip_allow: ['203.0.113.7'] });
    const cases = [
      ['/v1/responses', 'sk-tf-nobody', 401], ['/v1/responses', undefined, 401], ['/v1/responses', elsewhere, 403],
      ['/v1/chat/completions', key, 405], ['/v1/nothing', key, 404], ['/v1/responses/compact', key, 405],
    ];
    for (const [path, secret, expected] of cases) {
      const socket = new WebSocket(gateway.url.replace('http', 'ws') + path, { headers: secret ? { authorization: `Bearer ${secret}` } : {} });
      const [, response] = await once(socket, 'unexpected-response');
      assert.equal(response.statusCode, expected, `${path} ${secret}`);
      const parts = [];
      for await (const part of response) parts.push(part);
      assert.ok(JSON.parse(Buffer.concat(parts)).error.message);
      socket.on('error', () => {}).terminate();
    }
    const plain = await gateway.fetch(key, '/v1/responses');
    assert.deepEqual([plain.status, plain.headers.get('allow')], [405, 'POST, OPTIONS']);
  });

  test('ends for a key that is revoked meanwhile, with its next request', async () => {
    const made = await gateway.createKey(account);
    const client = await Client.open(made.secret);
    assert.equal((await client.ask({ model: 'gpt-sim', input: 'x' })).at(-1).type, 'response.completed');
    await gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${made.id}`);
    const error = (await client.ask({ model: 'gpt-sim', input: 'x' })).at(-1);
    assert.deepEqual([error.type, error.status, error.error.code], ['error', 401, 'invalid_api_key']);
    await client.close();
  });

  for (const [how, leave] of Object.entries({ closes: (client) => client.socket.close(), 'breaks off': (client) => client.socket._socket.resetAndDestroy() })) {
    test(`that ${how} in the middle of an answer has left it: aborted, charged for what came, nothing held`, async () => {
      for (const model of ['gpt-slow', 'claude-slow']) {
        const secret = await gateway.newKey(await gateway.newAccount({ credit: '10' }));
        const client = await Client.open(secret);
        const called = gateway.upstream.requests.length;
        client.send({ model, input: 'Take your time.' });
        await until(() => client.frames.some(({ type }) => type === 'response.output_text.delta'), 'the first words');
        assert.notDeepEqual(await held(secret), ['0']);
        leave(client);
        const receipt = await gateway.receipt(secret, idOf(client.frames));
        assert.deepEqual([receipt.status, receipt.error.code], ['aborted', 'client_left'], model);
        assert.ok(usageOf(receipt).output > 0);
        await until(async () => (await held(secret)).every((amount) => amount === '0'), 'the hold to end');
        await until(() => gateway.upstream.requests[called].aborted, 'the call upstream to end');
      }
    });
  }

  test('that leaves before the first word has left it, too', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '10' }));
    const client = await Client.open(secret);
    const called = gateway.upstream.requests.length;
    gateway.upstream.switch('claude-sim', 'slow-headers');
    try {
      client.send({ model: 'claude-sim', input: 'x' });
      await until(() => gateway.upstream.requests.length > called, 'the call upstream');
      client.socket.terminate();
      const receipt = await until(async () => (await gateway.get(secret, '/v1/receipts')).data[0], 'the receipt');
      assert.equal(receipt.status, 'aborted');
      await until(async () => (await held(secret)).every((amount) => amount === '0'), 'the hold to end');
    } finally {
      gateway.upstream.restore('claude-sim');
    }
  });

  test('of one account knows nothing of another, whose money is its own', async () => {
    const secrets = [await gateway.newKey(await gateway.newAccount({ credit: '10' })), await gateway.newKey(await gateway.newAccount())];
    const [rich, poor] = [await Client.open(secrets[0]), await Client.open(secrets[1])];
    const first = await rich.ask({ model: 'gpt-sim', input: 'A secret.' });
    const error = (await poor.ask({ model: 'gpt-sim', input: 'x', previous_response_id: first.at(-1).response.id })).at(-1);
    assert.equal(error.error.code, 'previous_response_not_found');
    // Nor does another connection of the same account.
    const again = await Client.open(secrets[0]);
    assert.equal((await again.ask({ model: 'gpt-sim', input: 'x', previous_response_id: first.at(-1).response.id })).at(-1).error.code, 'previous_response_not_found');
    const refused = (await poor.ask({ model: 'gpt-sim', input: 'x' })).at(-1);
    assert.deepEqual([refused.status, refused.error.code], [402, 'insufficient_balance']);
    assert.equal((await rich.ask({ model: 'gpt-sim', input: 'More.', previous_response_id: first.at(-1).response.id })).at(-1).type, 'response.completed');
    await Promise.all([rich, poor, again].map((client) => client.close()));
  });

  test('takes a frame of some MiB, and none beyond the limit', async () => {
    const client = await Client.open(key);
    const image = { type: 'input_image', image_url: `data:image/png;base64,${'QUJD'.repeat(1_000_000)}` };
    const frames = await client.ask({ model: 'claude-sim', input: [{ role: 'user', content: [image, { type: 'input_text', text: 'What is it?' }] }] });
    assert.equal(frames.at(-1).type, 'response.completed', JSON.stringify(frames.at(-1)).slice(0, 300));
    client.send({ model: 'claude-sim', input: 'x'.repeat(17 * 1024 * 1024) });
    const error = (await client.answer()).at(-1);
    assert.deepEqual([error.type, error.status], ['error', 400]);
    const [code] = await client.closed;
    assert.equal(code, 1009);
    const other = await Client.open(key);
    assert.equal((await other.ask({ model: 'claude-sim', input: 'x' })).at(-1).type, 'response.completed');
    other.socket.send(Buffer.from('{"type":"response.create"}'), { binary: true });
    assert.equal((await other.closed)[0], 1003);
  });

  test('counts for the run that it was opened for', async () => {
    const client = await Client.open(key, { headers: { 'x-tf-run': 'socket-run', 'idempotency-key': 'once' } });
    const ids = [];
    for (const input of ['one', 'two']) ids.push(idOf(await client.ask({ model: 'gpt-sim', input })));
    const receipts = await Promise.all(ids.map((id) => gateway.receipt(key, id)));
    assert.deepEqual(receipts.map(({ run }) => run), ['socket-run', 'socket-run']);
    assert.notEqual(ids[0], ids[1]);
    await client.close();
  });
});

describe('a compaction', () => {
  let openai;
  before(() => (openai = new OpenAI({ baseURL: gateway.baseUrl, apiKey: key, maxRetries: 0 })));

  const history = [user('Remember one apple.'), { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'I will.' }] }, user('And two pears.')];

  for (const [name, model] of channels) {
    test(`is made over ${name}, paid by its tokens, and read again on every channel`, async () => {
      const called = gateway.upstream.requests.length;
      const { data: compacted, response } = await openai.responses.compact({ model, input: history }).withResponse();
      assert.equal(compacted.object, 'response.compaction');
      const item = compacted.output.find(({ type }) => type === 'compaction');
      assert.ok(item.encrypted_content.length > 10 && item.id);
      assert.equal(gateway.upstream.requests[called].url.endsWith('/responses/compact'), model === 'gpt-sim');
      const receipt = await gateway.receipt(key, response);
      assert.deepEqual([receipt.status, receipt.endpoint], ['completed', '/v1/responses/compact']);
      assert.deepEqual([receipt.usage.input, receipt.usage.output], [compacted.usage.input_tokens, compacted.usage.output_tokens]);
      assert.ok(nanos(receipt.charge) > 0n);
      for (const [otherName, other] of channels) {
        const at = gateway.upstream.requests.length;
        const answer = await openai.responses.create({ model: other, input: [...compacted.output, user('Go on.')], store: false });
        assert.ok(answer.output_text, `${name} to ${otherName}`);
        const { raw } = gateway.upstream.requests[at];
        assert.match(raw, /Go on\./, `${name} to ${otherName}`);
        const passes = model === 'gpt-sim' && other === 'gpt-sim';
        assert.equal(raw.includes(item.encrypted_content), passes, `${name} to ${otherName}: ${raw}`);
        // What another provider encrypted is left out, and named.
        if (model !== 'gpt-sim') assert.match(raw, /was replaced by a summary/);
      }
    });

    test(`is made over ${name} where a response is asked for it, over HTTP and a WebSocket`, async () => {
      const input = [...history, { type: 'compaction_trigger' }];
      const types = [];
      const stream = await openai.responses.create({ model, input, store: false, stream: true });
      for await (const event of stream) types.push(event.type);
      assert.deepEqual([types[0], types.at(-1)], ['response.created', 'response.completed']);
      const plain = await openai.responses.create({ model, input, store: false });
      assert.deepEqual(plain.output.map(({ type }) => type), ['compaction']);
      const client = await Client.open(key);
      const first = await client.ask({ model, input: history });
      const frames = await client.ask({ model, input: [{ type: 'compaction_trigger' }], previous_response_id: first.at(-1).response.id });
      const done = frames.filter(({ type }) => type === 'response.output_item.done');
      assert.deepEqual(done.map(({ item }) => item.type), ['compaction']);
      const called = gateway.upstream.requests.length;
      const next = await client.ask({ model, input: [user('Go on.')], previous_response_id: frames.at(-1).response.id });
      assert.equal(next.at(-1).type, 'response.completed');
      assert.match(gateway.upstream.requests[called].raw, /Go on\./);
      assert.ok(!gateway.upstream.requests[called].raw.includes('compaction_trigger'));
      await client.close();
    });
  }

  test('is refused as any other request is', async () => {
    const post = (secret, body) => gateway.fetch(secret, '/v1/responses/compact', { method: 'POST', body: JSON.stringify(body) });
    for (const [secret, body, status] of [
      ['sk-tf-nobody', { model: 'gpt-sim', input: 'x' }, 401], [key, { model: 'gpt-sim' }, 400], [key, { input: 'x' }, 400],
      [key, { model: 'no-such-model', input: 'x' }, 404], [key, { model: 'gpt-sim', input: 'x', stream: true }, 400],
      [await gateway.newKey(await gateway.newAccount()), { model: 'claude-sim', input: 'x' }, 402],
    ]) {
      const answer = await post(secret, body);
      assert.equal(answer.status, status, JSON.stringify(body));
      assert.ok((await answer.json()).error.message);
    }
  });
});
