// Plain calls on the real runtime: what goes up, what comes down, who is asked next when an
// upstream fails, what is charged for it, and what the reading endpoints say of it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fallbackFaults, testCatalog } from './support/catalog.mjs';
import {
  attemptsOf, checkCharged, checkEstimate, checkHeaders, checkRefusal, checkUncharged, nanos, plainAnswer, startScripted, usageOf,
} from './support/expect.mjs';
import { readStream, startGateway } from './support/gateway.mjs';

const price = { input: '1', cached_input: '0.1', output: '2' };
const candidate = (channel, upstream_model, tier = 0) => ({ channel, upstream_model, tier });
const model = (...candidates) => ({
  name: 'A test model', family: 'test', kind: 'chat', context_length: 128000, max_output_tokens: 4096,
  routes: { official: { bucket: 'credit', price, candidates } },
});

/** Faults that only a stream can have. */
const streamFaults = ['empty-stream', 'stream-error-first'];

let gateway;
let scripted;
/** What the scripted upstream does next; a good answer if nothing is said. */
let script;
let key;

before(async () => {
  scripted = await startScripted((call, response) => {
    if (script) return script(call, response);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(plainAnswer()));
  });
  gateway = await startGateway({ catalog });
  key = await gateway.richKey();
});
after(async () => {
  await gateway?.close();
  await scripted?.close();
});

function catalog(upstreamUrl) {
  const catalog = testCatalog(upstreamUrl);
  const { main } = catalog.channels;
  const ours = { ...main, base_url: `${scripted.url}/some/path/v1` };
  Object.assign(catalog.channels, {
    scripted: ours,
    'scripted-new': { ...ours, output_limit_field: 'max_completion_tokens' },
    'scripted-old': { ...ours, output_limit_field: 'max_tokens' },
    nobody: { ...main, secrets: ['UPSTREAM_NOT_SET_ANYWHERE'] },
    closed: { ...main, base_url: 'http://127.0.0.1:9/v1' },
  });
  // A candidate of its own for each case, so that no case sees the health that another left.
  for (const fault of fallbackFaults) {
    for (const way of ['plain', 'streamed']) catalog.models[`${way}-${fault}`] = model(candidate('main', `${fault}-${way}`), candidate('backup', 'demo-large', 1));
  }
  for (const fault of streamFaults) catalog.models[`streamed-${fault}`] = model(candidate('main', `${fault}-streamed`), candidate('backup', 'demo-large', 1));
  for (const fault of ['fail-400', 'fail-422']) catalog.models[`backed-${fault}`] = model(candidate('main', `${fault}-backed`), candidate('backup', 'demo-large', 1));
  for (let index = 0; index < 8; index += 1) catalog.models[`gossip-${index}`] = model(candidate('scripted', `gossip-${index}`));
  Object.assign(catalog.models, {
    scripted: model(candidate('scripted', 'vendor/model-1:latest')),
    'scripted-twice': model(candidate('scripted', 'first'), candidate('scripted', 'second', 1)),
    'scripted-new': model(candidate('scripted-new', 'new')),
    'scripted-old': model(candidate('scripted-old', 'old')),
    'no-credential': model(candidate('nobody', 'demo-large'), candidate('backup', 'demo-large', 1)),
    'nobody-listens': model(candidate('closed', 'demo-large'), candidate('backup', 'demo-large', 1)),
    'all-fail': model(candidate('main', 'fail-500-all'), candidate('backup', 'html-502-all', 1), candidate('main', 'reset-all', 2)),
    'all-busy': model(candidate('main', 'fail-429-all'), candidate('backup', 'fail-429-busy', 1)),
    'half-busy': model(candidate('main', 'fail-500-half'), candidate('backup', 'fail-429-half', 1)),
    'all-overloaded': model(candidate('main', 'fail-503-all'), candidate('backup', 'fail-529-all', 1)),
    twins: model(candidate('main', 'demo-large'), candidate('backup', 'demo-large')),
    'goes-down': model(candidate('main', 'fail-401-down'), candidate('backup', 'demo-large', 1)),
    'explained': model(candidate('main', 'fail-500-explained'), candidate('backup', 'fail-500-explained', 1)),
    unpriced: { ...model(), routes: { official: { bucket: 'credit', candidates: [candidate('main', 'demo-large')] } } },
  });
  return catalog;
}

/** Runs with the scripted upstream answering so, and answers what reached it meanwhile. */
async function scriptedTo(answer, run) {
  const before = scripted.calls.length;
  script = answer;
  try {
    await run();
  } finally {
    script = undefined;
  }
  return scripted.calls.slice(before);
}

const json = (status, value, headers = {}) => (_, response) => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));

/** A chat call whose body is sent byte for byte. */
const raw = (body, headers = {}) =>
  gateway.fetch(key, '/v1/chat/completions', { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body });

const route = async (secret, body, headers = {}) =>
  gateway.fetch(secret, '/v1/route', { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ messages: [], ...body }) });

describe('a plain call', () => {
  // One user message of one word is 8 tokens; the answer to it has 16 words.
  const cases = {
    'demo-large': { charge: '0.00004', usage: { input: 8, output: 16 } },
    cached: { charge: '0.0000364', usage: { input: 4, cached_input: 4, output: 16 } },
    reasoning: { charge: '0.00008', usage: { input: 8, output: 16, reasoning: 20 } },
    gzip: { charge: '0.00004', usage: { input: 8, output: 16 } },
    'routed-only': { charge: '0.00028', usage: { input: 8, output: 16 }, bucket: 'wallet', upstream: 'backup/demo-large' },
    'both-latest': { charge: '0.00004', usage: { input: 8, output: 16 }, upstream: 'main/demo-official' },
  };
  for (const [name, { upstream = `main/${name}`, ...expected }] of Object.entries(cases)) {
    test(`of ${name} is answered, charged to the nano and explained`, async () => {
      const response = await gateway.call(key, name);
      const id = checkHeaders(response);
      const body = await response.json();
      assert.equal(response.status, 200);
      assert.match(body.choices[0].message.content, /^You said: "hello"\./);
      const { prompt_tokens, completion_tokens, total_tokens, cost, currency, cost_details } = body.usage;
      assert.equal(prompt_tokens, 8);
      assert.equal(total_tokens, prompt_tokens + completion_tokens);
      assert.equal(nanos(cost.toFixed(9)), nanos(expected.charge));
      const bucket = expected.bucket ?? 'credit';
      assert.deepEqual([cost_details.bucket, cost_details.currency, cost_details.usage_source], [bucket, bucket === 'credit' ? 'USD' : 'CNY', 'upstream']);
      assert.equal(currency, cost_details.currency);

      const [channel, upstreamModel] = upstream.split('/');
      const header = (name) => response.headers.get(name);
      assert.deepEqual(
        ['model', 'upstream-model', 'route', 'channel', 'bucket', 'attempts'].map((name) => header(`x-tf-${name}`)),
        [name, upstreamModel, bucket === 'credit' ? 'official' : 'routed', channel, bucket, '1'],
      );
      assert.match(header('x-tf-overhead-ms'), /^\d+$/);

      const receipt = await gateway.receipt(key, response);
      checkCharged(receipt, { ...expected, attempts: [`${upstream}: answered`] });
      assert.deepEqual([receipt.id, receipt.requested_model, receipt.stream, receipt.finish_reason, receipt.fallbacks], [id, name, false, 'stop', 0]);
      assert.equal(receipt.attempts[0].provider_status, 200);
      assert.deepEqual(cost_details.price, receipt.price);
    });
  }

  test('moves the balance by its charge, and the ledger has the entry that the receipt names', async () => {
    const own = await gateway.richKey();
    const receipt = await gateway.receipt(own, await gateway.call(own, 'demo-large'));
    const { data: balances } = await gateway.get(own, '/v1/balances');
    assert.deepEqual(balances.map(({ bucket, balance, held }) => [bucket, balance, held]), [['credit', '99.99996', '0'], ['wallet', '100', '0']]);
    assert.deepEqual([receipt.balance_before, receipt.balance_after], ['100', '99.99996']);
    const { data: entries } = await gateway.get(own, '/v1/ledger?bucket=credit');
    const entry = entries.find(({ id }) => id === receipt.entry_ids[0]);
    assert.equal(entry.amount, '-0.00004');
    assert.equal(entry.balance_after, '99.99996');
  });

  test('without usage is charged by an estimate that says so, the same for the same answer whether streamed or not', async () => {
    const plain = await gateway.call(key, 'no-usage');
    const body = await plain.json();
    const receipt = await gateway.receipt(key, plain);
    const streamed = await gateway.call(key, { model: 'no-usage', stream: true });
    await readStream(streamed);
    const streamedReceipt = await gateway.receipt(key, streamed);
    for (const one of [receipt, streamedReceipt]) {
      const { input, output } = one.usage;
      // In micro-units: 1 for each token in, 2 for each token out.
      checkCharged(one, { charge: String((input + 2 * output) / 1e6), source: 'estimated' });
    }
    assert.equal(nanos(body.usage.cost.toFixed(9)), nanos(receipt.charge));
    assert.equal(body.usage.cost_details.usage_source, 'estimated');
    checkEstimate(receipt.usage.output, body.choices[0].message.content);
    assert.equal(streamedReceipt.usage.output, receipt.usage.output, 'the wrapping of a plain answer is not output');
  });

  test('that runs into the output limit says so', async () => {
    const response = await gateway.call(key, { model: 'demo-large', max_completion_tokens: 3 });
    assert.equal((await response.json()).choices[0].message.content, 'You said: "hello".');
    const receipt = await gateway.receipt(key, response);
    checkCharged(receipt, { charge: '0.000014', usage: { input: 8, output: 3 } });
    assert.equal(receipt.finish_reason, 'length');
  });

  test('takes its key from x-api-key and x-goog-api-key too', async () => {
    for (const name of ['x-api-key', 'x-goog-api-key']) {
      const response = await fetch(`${gateway.baseUrl}/chat/completions`, {
        method: 'POST',
        headers: { [name]: key, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'demo-large', messages: [{ role: 'user', content: 'hello' }] }),
      });
      assert.equal(response.status, 200, name);
      await response.body.cancel();
      checkCharged(await gateway.receipt(key, response), { charge: '0.00004' });
      assert.equal(gateway.upstream.requests.at(-1).headers[name], undefined);
    }
  });

  test('tells where the key stands with its limits', async () => {
    const limited = await gateway.richKey({ rpm: 5, tpm: 100000 });
    const response = await gateway.call(limited, 'demo-large');
    await response.body.cancel();
    const limits = ['limit', 'remaining', 'reset'].flatMap((what) => ['requests', 'tokens'].map((of) => response.headers.get(`x-ratelimit-${what}-${of}`)));
    assert.deepEqual(limits.slice(0, 4), ['5', '100000', '4', '100000']);
    for (const reset of limits.slice(4)) assert.match(reset, /^\d+s$/);
  });
});

describe('what goes upstream', () => {
  test('is the client\'s body byte for byte, but for the model and what is for the gateway alone', async () => {
    const odd = '"temperature" : 1.0,\r\n\t"seed":9007199254740993, "top_p":0.30000000000000004,"stop" : null,"x_new":{"a" :[1e0,-0.0, 1E+2,{}] , "é":"\\u00e9\\/\\ud83d\\ude00 😀"}  ,"metadata":{"model":"not this","models":["nor this"]},"max_tokens":7 ,"messages":[ {"role":"user","content":"hel\\u006co"} ]';
    const body = `\n{ "model" :  "scripted" ,${odd}\n}\n`;
    const [call] = await scriptedTo(undefined, async () => {
      const response = await raw(body);
      assert.equal(response.status, 200, await response.text());
    });
    assert.equal(call.raw, body.replace('"scripted"', '"vendor/model-1:latest"'));
  });

  test('has no models, provider or session_id, wherever they stood', async () => {
    const ours = { models: '["demo-large"]', provider: '{"allow_fallbacks":true}', session_id: '"s-1"' };
    const others = ['"model":"scripted"', '"messages":[]', '"max_tokens":7', '"user":"u"'];
    for (const [name, value] of Object.entries(ours)) {
      for (let at = 0; at <= others.length; at += 1) {
        const body = `{${others.toSpliced(at, 0, `"${name}":${value}`).join(', ')}}`;
        const [call] = await scriptedTo(undefined, async () => assert.equal((await raw(body)).status, 200, body));
        assert.deepEqual(call.body, { model: 'vendor/model-1:latest', messages: [], max_tokens: 7, user: 'u' });
      }
    }
    const all = `{${Object.entries(ours).map(([name, value]) => `"${name}":${value}`).join(',')},"model":"scripted","messages":[]}`;
    const [call] = await scriptedTo(undefined, async () => assert.equal((await raw(all)).status, 200));
    assert.deepEqual(call.body, { model: 'vendor/model-1:latest', messages: [], max_tokens: 4096 });
  });

  const limits = [
    // model, the client's members, the limits that go up, the hold's output tokens
    ['scripted', {}, { max_tokens: 4096 }, 4096],
    ['scripted', { max_tokens: null }, { max_tokens: 4096 }, 4096],
    ['scripted', { max_tokens: 7 }, { max_tokens: 7 }, 7],
    ['scripted', { max_completion_tokens: 9 }, { max_completion_tokens: 9 }, 9],
    ['scripted', { max_tokens: 4096 }, { max_tokens: 4096 }, 4096],
    ['scripted', { max_tokens: 7, n: 3 }, { max_tokens: 7 }, 21],
    ['scripted-new', {}, { max_completion_tokens: 4096 }, 4096],
    ['scripted-new', { max_tokens: 7 }, { max_completion_tokens: 7 }, 7],
    ['scripted-new', { max_completion_tokens: 7 }, { max_completion_tokens: 7 }, 7],
    ['scripted-old', { max_completion_tokens: 7 }, { max_tokens: 7 }, 7],
    ['scripted-old', { max_tokens: 7 }, { max_tokens: 7 }, 7],
  ];
  for (const [name, members, sent, tokens] of limits) {
    test(`limits output by ${JSON.stringify(sent)} for ${JSON.stringify(members)} to ${name}, and the hold covers just that`, async () => {
      const body = JSON.stringify({ model: name, messages: [], ...members });
      let receipt;
      const [call] = await scriptedTo(undefined, async () => {
        const response = await raw(body);
        assert.equal(response.status, 200, await response.text());
        receipt = await gateway.receipt(key, response);
      });
      const { max_tokens, max_completion_tokens } = call.body;
      assert.deepEqual(JSON.parse(JSON.stringify({ max_tokens, max_completion_tokens })), sent);
      // A byte is at most a token, of 1 micro-unit; each token out costs 2.
      assert.equal(nanos(receipt.hold), 1000n * BigInt(body.length + 2 * tokens));
      checkCharged(receipt, { charge: '0.000012', usage: { input: 8, output: 2 } });
    });
  }

  test('asks for usage in a stream and keeps the client\'s other stream options', async () => {
    const end = (_, response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(
      `data: ${JSON.stringify({ ...plainAnswer(), object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'Hi' }, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`,
    );
    for (const [options, sent] of [
      [undefined, { include_usage: true }],
      [null, { include_usage: true }],
      [{ include_usage: false, include_obfuscation: false }, { include_usage: true, include_obfuscation: false }],
      [{ include_usage: true }, { include_usage: true }],
    ]) {
      const [call] = await scriptedTo(end, async () => (await gateway.call(key, { model: 'scripted', stream: true, stream_options: options })).text());
      assert.deepEqual(call.body.stream_options, sent);
    }
  });

  test('carries the channel\'s credential and no header of the client\'s', async () => {
    const headers = {
      'x-api-key': 'sk-tf-another', 'x-goog-api-key': 'sk-tf-third', cookie: 'session=secret-cookie', 'openai-organization': 'org-client', 'openai-project': 'proj-client',
      'x-forwarded-for': '203.0.113.9', 'x-real-ip': '203.0.113.9', 'x-tf-run': 'run-1', 'x-tf-route': 'official', 'idempotency-key': 'idem-1',
      'x-custom': 'client', origin: 'https://client.example', referer: 'https://client.example/', 'user-agent': 'client/1.0', 'x-stainless-lang': 'js',
      'proxy-authorization': 'Basic Y2xpZW50', 'accept-encoding': 'gzip, br', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    };
    const key = await gateway.richKey({ browser_origins: [headers.origin] });
    const [call] = await scriptedTo(undefined, async () => assert.equal((await gateway.call(key, { model: 'scripted', user: 'u' }, headers)).status, 200));
    assert.equal(call.headers.authorization, 'Bearer upstream-secret');
    assert.equal(call.headers['accept-encoding'], 'identity');
    assert.equal(call.headers['content-type'], 'application/json');
    // `cf-worker` is written by the platform, the rest by HTTP.
    const allowed = ['accept-encoding', 'authorization', 'cf-worker', 'content-length', 'content-type', 'host', 'connection', 'transfer-encoding'];
    assert.deepEqual(Object.keys(call.headers).filter((name) => !allowed.includes(name)), []);
    assert.doesNotMatch(JSON.stringify(call.headers) + call.raw, new RegExp(key));
  });
});

describe('before the first byte', () => {
  const seen = {
    'fail-401': ['credential', 401], 'fail-403': ['forbidden', 403], 'fail-404': ['not_found', 404], 'fail-429': ['load', 429],
    'fail-500': ['server', 500], 'fail-503': ['server', 503], 'html-502': ['server', 502], 'error-200': ['unreadable', 200],
    'empty-200': ['unreadable', 200], 'not-json-200': ['unreadable', 200], redirect: ['server', 302], reset: ['connect', null],
    'slow-headers': ['timeout', null], 'empty-stream': ['unreadable', 200], 'stream-error-first': ['unreadable', 200],
  };
  const cases = [
    ...fallbackFaults.flatMap((fault) => [['plain', fault], ['streamed', fault]]),
    ...streamFaults.map((fault) => ['streamed', fault]),
  ];
  for (const [way, fault] of cases) {
    test(`${fault} leads to the backup, ${way}, and headers and receipt tell it`, async () => {
      const [kind, status] = seen[fault];
      const called = gateway.upstream.requests.length;
      const response = await gateway.call(key, { model: `${way}-${fault}`, stream: way === 'streamed' });
      assert.equal(response.status, 200);
      if (way === 'plain') {
        assert.match((await response.json()).choices[0].message.content, /This is demo-large/);
      } else {
        const stream = await readStream(response);
        assert.match(stream.text, /^You said: "hello"\. This is demo-large/);
        assert.deepEqual([stream.done, stream.finishReason, stream.error, stream.usage], [true, 'stop', undefined, undefined]);
      }
      assert.deepEqual(
        ['channel', 'upstream-model', 'attempts', 'model'].map((name) => response.headers.get(`x-tf-${name}`)),
        ['backup', 'demo-large', '2', `${way}-${fault}`],
      );
      const receipt = await gateway.receipt(key, response);
      checkCharged(receipt, {
        charge: '0.00004', usage: { input: 8, output: 16 },
        attempts: [`main/${fault}-${way}: failed ${kind}`, 'backup/demo-large: answered'],
      });
      assert.deepEqual([receipt.attempts[0].provider_status, receipt.fallbacks], [status, 1]);
      assert.match(receipt.why, /whose backup served the request after 1 failed attempt/);
      assert.ok(receipt.attempts[0].message && receipt.attempts.every(({ dispatched }) => dispatched));
      // Two calls went out, and a redirect was not followed.
      const calls = gateway.upstream.requests.slice(called);
      assert.deepEqual(calls.map(({ url, body }) => [url, body.model]), [['/v1/chat/completions', `${fault}-${way}`], ['/v1/chat/completions', 'demo-large']]);
    });
  }

  test('a channel without a credential is skipped, and said to be', async () => {
    const response = await gateway.call(key, 'no-credential');
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('x-tf-attempts'), '1', 'only what was sent counts');
    const receipt = await gateway.receipt(key, response);
    checkCharged(receipt, { charge: '0.00004', attempts: ['nobody/demo-large: skipped not_configured', 'backup/demo-large: answered'] });
    assert.equal(receipt.attempts[0].dispatched, false);
  });

  test('a port where nobody listens leads to the backup', async () => {
    const response = await gateway.call(key, 'nobody-listens');
    checkCharged(await gateway.receipt(key, response), { charge: '0.00004', attempts: ['closed/demo-large: failed connect', 'backup/demo-large: answered'] });
  });

  test('a candidate that is known to be down is tried last, so that not every request pays for it', async () => {
    const first = await gateway.receipt(key, await gateway.call(key, 'goes-down'));
    assert.deepEqual(attemptsOf(first), ['main/fail-401-down: failed credential', 'backup/demo-large: answered']);
    const plan = await (await route(key, { model: 'goes-down' })).json();
    assert.deepEqual(plan.attempts.map(({ channel, status }) => [channel, status]), [['backup', 'up'], ['main', 'down']]);
    assert.match(plan.attempts[1].reason, /tried last because it is down/);
    const second = await gateway.receipt(key, await gateway.call(key, 'goes-down'));
    checkCharged(second, { charge: '0.00004', attempts: ['main/fail-401-down: skipped', 'backup/demo-large: answered'] });
    assert.deepEqual(second.attempts.map(({ dispatched }) => dispatched), [false, true]);
    assert.match(second.attempts[0].reason, /down/);
    const { data } = await gateway.admin('GET', '/admin/v1/health');
    const { health } = data.find(({ upstream_model }) => upstream_model === 'fail-401-down');
    assert.deepEqual([health.status, health.lone.map(({ health: own }) => [own.status, own.last_failure.kind])], ['unknown', [['down', 'credential']]], 'so far one account has met it');
  });
});

describe('an error of the request itself', () => {
  const told = {
    'fail-400': [400, { message: 'This model\'s maximum context length is 128000 tokens.', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' }],
    'fail-422': [422, { message: 'Field required: messages.0.role.', type: 'invalid_request_error', param: 'messages.0.role', code: 'missing_required_parameter' }],
  };
  for (const [fault, [status, keys]] of Object.entries(told)) {
    for (const stream of [false, true]) {
      test(`${fault} is told as upstream told it and goes nowhere else, ${stream ? 'streamed' : 'plain'}`, async () => {
        const response = await gateway.call(key, { model: `backed-${fault}`, stream });
        const error = await checkRefusal(response, { status, ...keys, limit: 'upstream' });
        assert.equal(error.message, keys.message);
        assert.deepEqual([error.metadata.error_type, error.metadata.provider_code], ['upstream_rejected', keys.code]);
        assert.equal(response.headers.get('x-tf-attempts'), '1');
        const receipt = await gateway.receipt(key, response);
        checkUncharged(receipt, { status: 'failed', attempts: [`main/${fault}-backed: rejected rejected`] });
        assert.deepEqual([receipt.error.provider_code, receipt.error.message], [keys.code, keys.message]);
      });
    }
  }

  for (const [what, status, error, expected] of [
    ['a code that is null and none of the others', 400, { message: 'Bad.', code: null }, { type: null, param: null, code: null }],
    ['a code that is a number', 400, { message: 'Bad.', type: 'bad_request', param: 'tools[0]', code: 40001 }, { type: 'bad_request', param: 'tools[0]', code: '40001' }],
    ['a quota error of 413', 413, { message: 'Too big.', type: 'tokens', param: null, code: 'request_too_large' }, { type: 'tokens', param: null, code: 'request_too_large' }],
  ]) {
    test(`keeps ${what}`, async () => {
      let response;
      await scriptedTo(json(status, { error }), async () => (response = await gateway.call(key, 'scripted')));
      const told = await checkRefusal(response, { status, code: expected.code, param: expected.param, limit: 'upstream' });
      assert.deepEqual([told.message, told.type], [error.message, expected.type]);
    });
  }

  test('that is a page of HTML gets words of ours', async () => {
    let response;
    await scriptedTo((_, response) => response.writeHead(400, { 'content-type': 'text/html' }).end('<html>Bad request at 10.1.2.3</html>'), async () => (response = await gateway.call(key, 'scripted')));
    const error = await checkRefusal(response, { status: 400, code: null, limit: 'upstream' });
    assert.doesNotMatch(JSON.stringify(error), /html|10\.1\.2\.3/i);
  });
});

describe('when every candidate fails', () => {
  test('the answer is 502 no_route_available with each attempt\'s reason', async () => {
    const response = await gateway.call(key, 'all-fail');
    const error = await checkRefusal(response, { status: 502, code: 'no_route_available', type: 'upstream_error', limit: 'upstream' });
    assert.deepEqual(
      error.metadata.attempts.map(({ channel, upstream_model, error, provider_status }) => [channel, upstream_model, error, provider_status]),
      [['main', 'fail-500-all', 'server', 500], ['backup', 'html-502-all', 'server', 502], ['main', 'reset-all', 'connect', null]],
    );
    assert.equal(response.headers.get('x-tf-attempts'), '3');
    const receipt = await gateway.receipt(key, response);
    checkUncharged(receipt, {
      status: 'failed', reason: /No upstream answered/,
      attempts: ['main/fail-500-all: failed server', 'backup/html-502-all: failed server', 'main/reset-all: failed connect'],
    });
    assert.equal(receipt.error.code, 'no_route_available');
  });

  test('the answer is 429 with a retry-after when all of them are only busy', async () => {
    const response = await gateway.call(key, 'all-busy');
    const error = await checkRefusal(response, { status: 429, code: 'upstream_rate_limited', type: 'rate_limit_error', limit: 'upstream' });
    assert.equal(response.headers.get('retry-after'), '7');
    assert.equal(response.headers.get('x-should-retry'), null);
    assert.equal(error.metadata.retry_after_s, 7);
    checkUncharged(await gateway.receipt(key, response), { status: 'failed' });
  });

  test('the answer is 502 with a retry-after when one of them is only busy', async () => {
    const response = await gateway.call(key, 'half-busy');
    await checkRefusal(response, { status: 502, code: 'no_route_available', limit: 'upstream' });
    assert.equal(response.headers.get('retry-after'), '7');
  });

  test('the answer is 429, and 529 for Anthropic\'s clients, when all of them have too much to do', async () => {
    await checkRefusal(await gateway.call(key, 'all-overloaded'), { status: 429, code: 'upstream_overloaded', limit: 'upstream' });
    const body = JSON.stringify({ model: 'all-overloaded', max_tokens: 20, messages: [{ role: 'user', content: 'hello' }] });
    const answer = await gateway.fetch(key, '/v1/messages', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const { error } = await answer.json();
    assert.deepEqual([answer.status, error.type, error.metadata.error_type], [529, 'overloaded_error', 'upstream_overloaded']);
    assert.match(answer.headers.get('retry-after'), /^[1-9]\d*$/);
  });

  test('clients are told not to try again where the gateway\'s own credential was refused', async () => {
    for (const [model, told] of [['fail-401', 'false'], ['fail-403', 'false'], ['fail-500', null]]) {
      const response = await gateway.call(key, model);
      await checkRefusal(response, { status: 502, code: 'no_route_available', limit: 'upstream' });
      assert.equal(response.headers.get('x-should-retry'), told, model);
    }
  });

  test('the largest retry-after over the attempts is passed on', async () => {
    for (const [first, second, told] of [
      [{ 'retry-after': '12' }, { 'retry-after': '3' }, '12'],
      [{ 'retry-after': '3' }, { 'retry-after-ms': '41500' }, '42'],
    ]) {
      let response;
      const answer = (call, response) => json(429, { error: { message: 'Slow down.' } }, call.body.model === 'first' ? first : second)(call, response);
      await scriptedTo(answer, async () => (response = await gateway.call(key, 'scripted-twice')));
      await checkRefusal(response, { status: 429, code: 'upstream_rate_limited', limit: 'upstream' });
      assert.equal(response.headers.get('retry-after'), told);
    }
  });
});

describe('what an upstream says of itself', () => {
  const headers = { 'x-upstream-host': 'upstream-host', 'set-cookie': 'upstream=1', server: 'upstream-host', 'x-request-id': 'req-upstream' };
  const event = (value) => `data: ${JSON.stringify(value)}\n\n`;
  const stream = (...events) => (_, response) => response.writeHead(200, { 'content-type': 'text/event-stream', ...headers }).end(events.join(''));
  const chunk = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta: { content: 'Hi' }, finish_reason: null }] };
  const gossip = () => ({ error: { message: `I am ${scripted.url}, I was sent Bearer upstream-secret`, type: 'server_error', param: null, code: null } });
  const occasions = {
    'a 500': (call, response) => json(500, gossip(), headers)(call, response),
    'a 401': (call, response) => json(401, gossip(), headers)(call, response),
    'a 429': (call, response) => json(429, gossip(), headers)(call, response),
    'a 400': (call, response) => json(400, gossip(), headers)(call, response),
    'an error with status 200': (call, response) => json(200, gossip(), headers)(call, response),
    'a good answer': json(200, plainAnswer(), headers),
    'an error at the start of a stream': (call, response) => stream(event(gossip()))(call, response),
    'an error in the middle of a stream': (call, response) => stream(event(chunk), event(gossip()))(call, response),
  };
  for (const [index, [what, answer]] of Object.entries(occasions).entries()) {
    test(`in ${what} shows neither its credential nor its address to anyone`, async () => {
      await scriptedTo(answer, async () => {
        const response = await gateway.call(key, { model: `gossip-${index}`, stream: what.includes('stream') });
        const places = { headers: JSON.stringify([...response.headers]), answer: await response.text() };
        places.receipt = JSON.stringify(await gateway.receipt(key, response));
        places.generation = JSON.stringify(await gateway.get(key, `/v1/generation?id=${response.headers.get('x-generation-id')}`));
        places.models = JSON.stringify(await gateway.get(key, `/v1/models/gossip-${index}`));
        places.log = JSON.stringify(gateway.logs);
        // A 400 is the client's, and is told in upstream's words; its own secret it never was.
        const secrets = what === 'a 400' ? /upstream-secret|upstream-host|req-upstream/ : new RegExp(`upstream-secret|upstream-host|req-upstream|${scripted.port}`);
        assert.deepEqual(Object.entries(places).filter(([, text]) => secrets.test(text)).map(([place, text]) => [place, text.match(secrets)[0]]), []);
      });
    });
  }

  test('to one account\'s request is not shown to another account', async () => {
    const quoted = (call, response) => json(200, { error: { message: `Cannot serve "${call.body.messages[0].content}".` } })(call, response);
    await scriptedTo(quoted, async () => {
      await (await gateway.call(key, { model: 'scripted', messages: [{ role: 'user', content: 'a private matter' }] })).text();
    });
    const other = await gateway.richKey();
    for (const path of ['/v1/models?include=unavailable', '/v1/models/scripted']) {
      assert.doesNotMatch(JSON.stringify(await gateway.get(other, path)), /private matter/, path);
    }
  });

  test('is the only thing that knows the channel\'s credential: no endpoint and no log of ours tells it, or a key', async () => {
    for (const path of ['/v1/models?include=unavailable', '/v1/key', '/v1/balances', '/v1/ledger']) {
      const text = JSON.stringify(await gateway.get(key, path));
      assert.ok(!text.includes(key), path);
      assert.ok(path.startsWith('/v1/models') || !text.includes('upstream-secret'), path);
    }
    const catalog = JSON.stringify(await gateway.admin('GET', '/admin/v1/catalog'));
    assert.ok(!catalog.includes('upstream-secret'));
    assert.ok(!JSON.stringify(gateway.logs).includes(key));
  });
});

describe('routes and preferences', () => {
  const asks = [
    // members, headers, policy, bucket that pays
    ['without a wish the key\'s first route serves', { model: 'both-routes' }, {}, {}, 'credit'],
    ['the suffix :routed chooses the route', { model: 'both-routes:routed' }, {}, {}, 'wallet'],
    ['the suffix :official chooses the route', { model: 'both-routes:official' }, {}, { routes: ['routed', 'official'] }, 'credit'],
    ['a suffix on an alias chooses the route', { model: 'both-latest:routed' }, {}, {}, 'wallet'],
    ['x-tf-route chooses the route', { model: 'both-routes' }, { 'x-tf-route': 'routed' }, {}, 'wallet'],
    ['the suffix is above the header', { model: 'both-routes:official' }, { 'x-tf-route': 'routed' }, {}, 'credit'],
    ['the key\'s order of routes counts', { model: 'both-routes' }, {}, { routes: ['routed', 'official'] }, 'wallet'],
    ['a model of one route is served by it', { model: 'routed-only' }, {}, {}, 'wallet'],
    ['a fallback model serves when there is no such model', { model: 'no-such-model', models: ['routed-only'] }, {}, {}, 'wallet'],
    ['models alone is enough', { models: ['both-routes'] }, {}, {}, 'credit'],
    ['a dear route is left out by max_price', { model: 'both-routes', provider: { max_price: { prompt: '2', completion: '3' } } }, {}, { routes: ['routed', 'official'] }, 'credit'],
  ];
  for (const [fact, members, headers, policy, bucket] of asks) {
    test(fact, async () => {
      const own = await gateway.richKey(policy);
      const plan = await (await route(own, { messages: [{ role: 'user', content: 'hello' }], ...members }, headers)).json();
      assert.deepEqual([plan.bucket, plan.callable], [bucket, true]);
      const response = await gateway.call(own, members, headers);
      assert.equal(response.status, 200, await response.clone().text());
      assert.equal(response.headers.get('x-tf-bucket'), bucket);
      assert.equal(response.headers.get('x-tf-model'), members.model ?? members.models[0]);
      const receipt = await gateway.receipt(own, response);
      checkCharged(receipt, { charge: bucket === 'credit' ? '0.00004' : '0.00028', bucket });
      assert.equal(receipt.hold, plan.quote);
    });
  }

  test('a request goes on to the route of another balance only if the key may', async () => {
    const stays = await gateway.call(key, 'official-down');
    await checkRefusal(stays, { status: 429, code: 'upstream_overloaded', limit: 'upstream' });
    checkUncharged(await gateway.receipt(key, stays), { status: 'failed', attempts: ['main/fail-503-official: failed server'] });
    const crossing = await gateway.richKey({ cross_routes: true });
    const response = await gateway.call(crossing, 'official-down');
    assert.equal(response.status, 200);
    assert.deepEqual(['route', 'bucket', 'attempts'].map((name) => response.headers.get(`x-tf-${name}`)), ['routed', 'wallet', '2']);
    const receipt = await gateway.receipt(crossing, response);
    checkCharged(receipt, { charge: '0.00028', bucket: 'wallet', attempts: ['main/fail-503-official: failed server', 'backup/demo-large: answered'] });
    assert.deepEqual(receipt.attempts.map(({ bucket }) => bucket), ['credit', 'wallet']);
    assert.match(receipt.why, /the key may cross routes/);
    const { data } = await gateway.get(crossing, '/v1/balances');
    assert.deepEqual(data.map(({ balance, held }) => [balance, held]), [['100', '0'], ['99.99972', '0']]);
  });

  test('models are tried in their order, each on its own route', async () => {
    const response = await gateway.call(key, { model: 'fail-500', models: ['fail-404', 'demo-small'] });
    assert.equal(response.headers.get('x-tf-upstream-model'), 'demo-small');
    const receipt = await gateway.receipt(key, response);
    checkCharged(receipt, { charge: '0.00004', attempts: ['main/fail-500: failed server', 'main/fail-404: failed not_found', 'main/demo-small: answered'] });
    assert.deepEqual([receipt.requested_model, receipt.model], ['fail-500', 'demo-small']);
  });

  const preferences = [
    [{ order: ['backup'] }, ['backup', 'main']],
    [{ order: ['main', 'backup'] }, ['main', 'backup']],
    [{ only: ['backup'] }, ['backup']],
    [{ ignore: ['backup'] }, ['main']],
    [{ order: ['backup'], allow_fallbacks: false }, ['backup']],
  ];
  for (const [provider, channels] of preferences) {
    test(`provider ${JSON.stringify(provider)} plans ${channels.join(', then ')}`, async () => {
      const plan = await (await route(key, { model: 'twins', provider })).json();
      assert.deepEqual(plan.attempts.map(({ channel }) => channel), channels);
      const response = await gateway.call(key, { model: 'twins', provider });
      assert.equal(response.headers.get('x-tf-channel'), channels[0]);
      checkCharged(await gateway.receipt(key, response), { charge: '0.00004', attempts: [`${channels[0]}/demo-large: answered`] });
    });
  }

  test('a session keeps its channel, and sessions spread', async () => {
    const channelOf = async (members) => {
      const response = await gateway.call(key, { model: 'twins', ...members });
      await response.body.cancel();
      return response.headers.get('x-tf-channel');
    };
    const channels = new Set();
    for (let session = 0; session < 12; session += 1) {
      const chosen = await channelOf({ session_id: `s-${session}` });
      assert.equal(await channelOf({ session_id: `s-${session}` }), chosen);
      channels.add(chosen);
    }
    assert.deepEqual([...channels].sort(), ['backup', 'main']);
    assert.equal(await channelOf({ user: 'u-1' }), await channelOf({ user: 'u-1' }));
  });
});

describe('POST /v1/route', () => {
  test('spends nothing, calls nobody and leaves no receipt', async () => {
    const own = await gateway.richKey();
    const called = gateway.upstream.requests.length;
    const response = await route(own, { model: 'both-routes', messages: [{ role: 'user', content: 'hello' }], max_tokens: 100 });
    checkHeaders(response);
    const plan = await response.json();
    assert.equal(gateway.upstream.requests.length, called);
    const { data: balances } = await gateway.get(own, '/v1/balances');
    assert.deepEqual(balances.map(({ balance, held }) => [balance, held]), [['100', '0'], ['100', '0']]);
    assert.deepEqual((await gateway.get(own, '/v1/receipts')).data, []);
    // 87 bytes at 1 micro-unit at most, 100 tokens out at 2.
    assert.deepEqual([plan.object, plan.quote, plan.callable, plan.attempts.length], ['route_plan', '0.000287', true, 1]);
    assert.equal(plan.quotes[0].balance_after_at_worst, '99.999713');
    assert.equal(plan.left_out[0].code, 'route_not_allowed');
  });

  test('names the attempts that the call then makes, in order', async () => {
    const request = { model: 'explained', models: ['demo-small'] };
    const plan = await (await route(key, request)).json();
    const receipt = await gateway.receipt(key, await gateway.call(key, request));
    assert.equal(plan.attempts.length, 3);
    assert.deepEqual(plan.attempts.map(({ channel, upstream_model }) => [channel, upstream_model]), receipt.attempts.map(({ channel, upstream_model }) => [channel, upstream_model]));
    assert.match(plan.if_the_first_fails, /`backup` is tried as `fail-500-explained`; `credit` still pays/);
  });

  test('refuses what the call refuses, in the same words', async () => {
    const narrow = await gateway.richKey({ models: ['demo-large', 'unpriced', 'both-routes'], routes: ['official'] });
    for (const body of [
      { model: 'demo-small' }, { model: 'demo-lagre' }, { model: 'both-routes:routed' }, { model: 'unpriced' }, { model: 'demo-large', max_tokens: -1 },
      { model: 'demo-large', max_tokens: 5000, fit: 'never' }, { model: 'demo-large', provider: { only: ['elsewhere'] } }, { model: 'demo-large', messages: 'hello' },
    ]) {
      const [explained, called] = [await route(narrow, { messages: [], ...body }), await gateway.call(narrow, { messages: [], ...body })];
      const [a, b] = [await explained.json(), await called.json()];
      assert.equal(explained.status, called.status);
      assert.deepEqual([a.error.code, a.error.message, a.error.param], [b.error.code, b.error.message, b.error.param]);
    }
  });

  test('says what an empty balance means', async () => {
    const poor = await gateway.newKey(await gateway.newAccount({ credit: '0.0001' }));
    const plan = await (await route(poor, { model: 'demo-large' })).json();
    assert.deepEqual([plan.callable, plan.quotes[0].covered, plan.quotes[0].available], [false, false, '0.0001']);
    const affordable = plan.quotes[0].affordable_max_tokens;
    const body = { messages: [], model: 'demo-large', max_tokens: affordable };
    assert.ok(affordable > 0, 'something is affordable');
    assert.equal((await (await route(poor, body)).json()).callable, true);
  });
});

describe('the reading endpoints', () => {
  test('GET /v1/models lists what this key can call now, and on request the rest with the reason', async () => {
    const all = await gateway.get(key, '/v1/models');
    assert.equal(all.object, 'list');
    const ids = (list) => list.data.map(({ id }) => id);
    assert.ok(ids(all).includes('demo-large') && !ids(all).includes('unpriced'));
    for (const entry of all.data) {
      assert.equal(entry.object, 'model');
      assert.ok(Number.isInteger(entry.created) && typeof entry.owned_by === 'string' && entry.tf.callable);
    }
    const large = all.data.find(({ id }) => id === 'demo-large');
    assert.deepEqual(large.pricing, { prompt: '0.000001', completion: '0.000002', input_cache_read: '0.0000001', currency: 'USD' });
    assert.deepEqual([large.context_length, large.top_provider.max_completion_tokens], [128000, 4096]);

    const narrow = await gateway.newKey(await gateway.newAccount({ wallet: '1' }), { models: ['demo-large', 'both-routes', 'routed-only', 'unpriced'], routes: ['official', 'routed'] });
    assert.deepEqual(ids(await gateway.get(narrow, '/v1/models')), ['routed-only']);
    const rest = await gateway.get(narrow, '/v1/models?include=unavailable');
    const reasons = Object.fromEntries(rest.data.map(({ id, tf }) => [id, tf.reason]));
    assert.equal(rest.data.length, Object.keys(catalog('http://127.0.0.1:1').models).length);
    assert.match(reasons['demo-small'], /may not call/);
    assert.match(reasons['demo-large'], /`credit` is 0 USD, and this request may cost 0\.0\d+ USD/);
    assert.match(reasons.unpriced, /no price/);
    assert.equal(reasons['routed-only'], null);
  });

  test('what is listed as callable can be called, and what is not cannot', async () => {
    const names = ['demo-large', 'both-routes', 'routed-only', 'unpriced', 'demo-small'];
    const narrow = await gateway.newKey(await gateway.newAccount({ wallet: '1' }), { models: ['demo-large', 'both-routes', 'routed-only', 'unpriced'], cross_routes: true });
    for (const name of names) {
      const { tf } = await gateway.get(narrow, `/v1/models/${name}`);
      const response = await gateway.call(narrow, name);
      assert.equal(response.status === 200, tf.callable, `${name}: ${response.status}, ${tf.reason}`);
    }
  });

  test('GET /v1/models/{id} answers by name and alias, and near names for what is not there', async () => {
    assert.equal((await gateway.get(key, '/v1/models/both-latest')).id, 'both-routes');
    const response = await gateway.fetch(key, '/v1/models/demo-lagre');
    const error = await checkRefusal(response, { status: 404, code: 'model_not_found', param: 'model', hasReceipt: false });
    assert.equal(error.metadata.near[0], 'demo-large');
  });

  test('GET /v1/generation has OpenRouter\'s fields', async () => {
    const response = await gateway.call(key, 'reasoning');
    const receipt = await gateway.receipt(key, response);
    const { data } = await gateway.get(key, `/v1/generation?id=${receipt.id}`);
    assert.deepEqual(
      [data.id, data.model, data.provider_name, data.streamed, data.cancelled, data.finish_reason, data.total_cost, data.tokens_prompt, data.tokens_completion, data.native_tokens_reasoning],
      [receipt.id, 'reasoning', 'main', false, false, 'stop', 0.00008, 8, 36, 20],
    );
    assert.deepEqual(data.tf, receipt);
    await checkRefusal(await gateway.fetch(key, '/v1/generation'), { status: 400, code: 'invalid_request', param: 'id', hasReceipt: false });
    await checkRefusal(await gateway.fetch(key, '/v1/generation?id=gen-none'), { status: 404, code: 'not_found', param: 'id', hasReceipt: false });
  });

  test('receipts page newest first without gap or repetition, and filter by what they say', async () => {
    const account = await gateway.newAccount({ credit: '10', wallet: '10' });
    const [first, second] = [await gateway.createKey(account), await gateway.createKey(account)];
    const ids = [];
    const calls = [
      [first, 'demo-large', { 'x-tf-run': 'run-a' }], [second, 'both-routes:routed', {}], [first, 'no-such', {}], [first, 'routed-only', { 'x-tf-run': 'run-a' }], [second, 'fail-400', {}],
    ];
    for (const [{ secret }, name, headers] of calls) {
      const response = await gateway.call(secret, name, headers);
      await response.text();
      ids.push((await gateway.receipt(secret, response)).id);
    }
    const pages = [];
    for (let next = ''; next !== null; ) {
      const page = await gateway.get(first.secret, `/v1/receipts?limit=2${next && `&after=${next}`}`);
      pages.push(page.data.map(({ id }) => id));
      next = page.next;
    }
    assert.deepEqual(pages, [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]);
    const filtered = async (query) => (await gateway.get(first.secret, `/v1/receipts?${query}`)).data.map(({ id }) => ids.indexOf(id)).sort();
    const at = async (index) => encodeURIComponent((await gateway.get(first.secret, `/v1/receipts/${ids[index]}`)).created_at);
    for (const [query, expected] of [
      [`key=${second.id}`, [1, 4]], ['model=both-routes', [1]], ['route=routed', [1, 3]], ['bucket=credit', [0, 4]], ['status=completed', [0, 1, 3]], ['status=refused', [2]],
      ['status=failed', [4]], ['run=run-a', [0, 3]], ['project=default', [0, 1, 2, 3, 4]], ['project=other', []], [`key=${first.id}&status=completed&bucket=wallet`, [3]],
      [`since=${await at(3)}`, [3, 4]], [`until=${await at(1)}`, [0]],
    ]) {
      assert.deepEqual(await filtered(query), expected, query);
    }
    for (const query of ['limit=0', 'limit=101', 'limit=x', 'after=x', 'since=yesterday']) {
      const param = query.split('=')[0];
      await checkRefusal(await gateway.fetch(first.secret, `/v1/receipts?${query}`), { status: 400, code: 'invalid_request', param, hasReceipt: false });
    }
  });

  test('another account\'s receipt is not there', async () => {
    const receipt = await gateway.receipt(key, await gateway.call(key, 'demo-large'));
    const other = await gateway.richKey();
    for (const path of [`/v1/receipts/${receipt.id}`, `/v1/generation?id=${receipt.id}`]) {
      await checkRefusal(await gateway.fetch(other, path), { status: 404, code: 'not_found', param: 'id', hasReceipt: false });
    }
    assert.deepEqual((await gateway.get(other, '/v1/receipts')).data, []);
    assert.deepEqual(usageOf(receipt), { input: 8, output: 16 });
  });
});
