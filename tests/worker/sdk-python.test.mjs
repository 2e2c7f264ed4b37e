// The Python SDK of OpenAI, pointed at the gateway: sdk_python.py uses it, and what it found is
// judged here, with the receipts.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { pythonWithPackages } from '../../scripts/setup.mjs';
import { testCatalog } from './support/catalog.mjs';
import { checkCharged, checkUncharged, plainAnswer, startScripted } from './support/expect.mjs';
import { startGateway } from './support/gateway.mjs';

let gateway;
let scripted;
let key;
let found;

before(async () => {
  let isBusy = true;
  scripted = await startScripted((_, response) => {
    response.writeHead(isBusy ? 429 : 200, { 'content-type': 'application/json', ...(isBusy && { 'retry-after': '1' }) });
    response.end(JSON.stringify(isBusy ? { error: { message: 'Slow down.', type: 'requests', param: null, code: 'rate_limit_exceeded' } } : plainAnswer()));
    isBusy = false;
  });
  gateway = await startGateway({ catalog });
  const account = await gateway.newAccount({ credit: '100', wallet: '100' });
  key = await gateway.newKey(account);
  const revoked = await gateway.createKey(account);
  await gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${revoked.id}`);
  const keys = {
    rich: key,
    revoked: revoked.secret,
    narrow: await gateway.newKey(account, { models: ['demo-small'] }),
    limited: await gateway.newKey(account, { rpm: 0 }),
    poor: await gateway.newKey(await gateway.newAccount({ credit: '0.000001' })),
  };
  found = await runPython({ base_url: gateway.baseUrl, keys });
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

async function runPython(input) {
  const python = process.env.TF_PYTHON || (await pythonWithPackages());
  const child = spawn(python, [new URL('sdk_python.py', import.meta.url).pathname], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(input));
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  const status = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  assert.equal(status, 0, 'sdk_python.py ran to its end');
  return JSON.parse(output);
}

/** What a case of sdk_python.py found. */
function foundBy(name) {
  const { failed, found: facts } = found[name];
  assert.equal(failed, undefined, failed);
  return facts;
}

describe('the Python SDK', () => {
  test('makes a plain call over a fallback, with headers and cost at hand', async () => {
    const { text, usage, headers, request_id } = foundBy('plain');
    assert.match(text, /^You said: "hello"\. This is demo-large/);
    assert.deepEqual([usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.cost], [8, 16, 24, 0.00004]);
    assert.deepEqual([headers['x-tf-channel'], headers['x-tf-attempts'], headers['x-tf-bucket']], ['backup', '2', 'credit']);
    assert.equal(request_id, headers['x-generation-id']);
    checkCharged(await gateway.receipt(key, request_id), { charge: '0.00004', usage: { input: 8, output: 16 } });
  });

  test('iterates over a stream, without a usage chunk unless asked', async () => {
    const [without, withUsage] = foundBy('streamed');
    for (const { id, text } of [without, withUsage]) {
      assert.match(text, /^You said: "hello"\. .* each time\.$/);
      checkCharged(await gateway.receipt(key, id), { charge: '0.00004', usage: { input: 8, output: 16 }, attempts: ['main/demo-large: answered'] });
    }
    assert.deepEqual([without.without_choices, without.usage], [0, null]);
    assert.deepEqual([withUsage.without_choices, withUsage.usage.total_tokens, withUsage.usage.cost], [1, 24, 0.00004]);
  });

  test('accumulates a stream by its helper', () => {
    const text = 'Größe 大きさ 🌍🚀 : "hello"';
    assert.deepEqual(foundBy('helper'), { deltas: text, text, tokens: 13, finish: 'stop' });
  });

  test('reads peculiar streams, each chunk of which has a choice', () => {
    const texts = foundBy('peculiar_streams');
    for (const model of ['crlf', 'usage-always', 'no-usage']) assert.match(texts[model], /^You said: "hello"\. .* each time\.$/);
    assert.match(texts['many-chunks'], /^word0 word1 .*word199 $/);
  });

  test('gets tool calls, plain and accumulated from a stream', () => {
    const call = { finish: 'tool_calls', name: 'look_up', arguments: { input: 'please use the tool' } };
    assert.deepEqual(foundBy('tools'), [call, call]);
  });

  test('passes extra members and headers of ours', async () => {
    const { id, bucket } = foundBy('extras');
    assert.equal(bucket, 'wallet');
    const receipt = await gateway.receipt(key, id);
    checkCharged(receipt, { charge: '0.00028', bucket: 'wallet' });
    assert.equal(receipt.run, 'run-python');
  });

  test('lists and retrieves models', () => {
    const { ids, one } = foundBy('models');
    assert.ok(ids.includes('demo-large') && ids.includes('both-routes'));
    assert.equal(one, 'both-routes');
  });

  test('keeps 20 streams apart', () => {
    for (const [index, text] of foundBy('concurrent').entries()) assert.ok(text.startsWith(`You said: "word-${index}".`), text);
  });

  test('retries after as long as it was told, and only what was answered is paid', async () => {
    const { id, retries } = foundBy('retries');
    assert.equal(retries, 1);
    checkCharged(await gateway.receipt(key, id), { charge: '0.000012', usage: { input: 8, output: 2 } });
    const { data } = await gateway.get(key, '/v1/receipts?model=busy');
    assert.deepEqual(data.map(({ status, charge }) => [status, charge]), [['completed', '0.000012'], ['failed', '0']]);
  });
});

describe('the Python SDK raises', () => {
  const cases = {
    'unknown key': ['AuthenticationError', 401, 'invalid_api_key', null],
    'revoked key': ['AuthenticationError', 401, 'invalid_api_key', null],
    'no such model': ['NotFoundError', 404, 'model_not_found', 'model'],
    'wrong number': ['BadRequestError', 400, 'invalid_request', 'max_tokens'],
    'upstream\'s 400': ['BadRequestError', 400, 'context_length_exceeded', 'messages'],
    'upstream\'s 422': ['UnprocessableEntityError', 422, 'missing_required_parameter', 'messages.0.role'],
    'not allowed': ['PermissionDeniedError', 403, 'model_not_allowed', 'model'],
    'too often': ['RateLimitError', 429, 'rate_limit_exceeded', null],
    'nobody answers': ['InternalServerError', 502, 'no_route_available', null],
    'no balance': ['APIStatusError', 402, 'insufficient_balance', null],
  };
  for (const [name, [type, status, code, param]] of Object.entries(cases)) {
    test(`${type} for: ${name}`, () => {
      const error = foundBy('errors')[name];
      assert.ok(error.classes.includes(type), error.classes.join(', '));
      assert.deepEqual([error.status, error.code, error.param], [status, code, param]);
      assert.match(error.request_id, /^gen-/);
      assert.ok(error.type && error.next_step);
      if (status === 429) assert.match(error.retry_after, /^\d+$/);
    });
  }

  test('APIError in the middle of a stream that upstream broke off', async () => {
    for (const [model, error] of Object.entries(foundBy('cut_streams'))) {
      assert.match(error.text, /^You/, model);
      assert.ok(error.classes.includes('APIError'));
      assert.equal(error.code, 'upstream_cut');
      const { data } = await gateway.get(key, `/v1/receipts?model=${model}`);
      assert.equal(data.length, 1);
      checkUncharged(data[0], { status: 'truncated' });
    }
  });
});
