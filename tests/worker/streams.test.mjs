// Streams on the real runtime: they flow, they end as they really ended, and whoever leaves
// first, the receipt knows what was used.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { testCatalog } from './support/catalog.mjs';
import { checkCharged, checkEstimate, checkHeaders, checkUncharged, nanos, startScripted, usageOf } from './support/expect.mjs';
import { readStream, sse, startGateway, until } from './support/gateway.mjs';

let gateway;
let scripted;
let key;

before(async () => {
  scripted = await startScripted(play);
  gateway = await startGateway({ catalog: (url) => catalog(url) });
  key = await gateway.richKey();
});
after(async () => {
  await gateway?.close();
  await scripted?.close();
});

const crowd = ['demo-large', 'split-bytes', 'usage-always', 'crlf'];

function catalog(upstreamUrl, changes = {}) {
  const catalog = testCatalog(upstreamUrl);
  catalog.channels.scripted = { ...catalog.channels.main, base_url: `${scripted.url}/v1` };
  catalog.channels['scripted-drain'] = { ...catalog.channels.scripted, on_client_gone: 'drain' };
  // For those who think for long.
  const patience = { first_byte_timeout_ms: 60_000, idle_timeout_ms: 60_000 };
  catalog.channels['scripted-patient'] = { ...catalog.channels.scripted, ...patience };
  catalog.channels['scripted-responses'] = { ...catalog.channels.scripted, ...patience, responses: true };
  const on = (channel, upstream_model) => {
    const model = structuredClone(catalog.models['demo-large']);
    model.routes.official.candidates = [{ channel, upstream_model, tier: 0 }];
    return model;
  };
  for (const name of Object.keys(scripts)) {
    catalog.models[`scripted-${name}`] = on('scripted', name);
    catalog.models[`drained-${name}`] = on('scripted-drain', name);
    catalog.models[`thoughtful-${name}`] = on('scripted-patient', name);
    catalog.models[`native-${name}`] = on('scripted-responses', name);
  }
  // For many at once: a busy machine is no fault of the upstream's.
  catalog.channels.patient = { ...catalog.channels.main, first_byte_timeout_ms: 60_000, idle_timeout_ms: 60_000 };
  for (const name of crowd) catalog.models[`patient-${name}`] = on('patient', name);
  return { ...catalog, ...changes };
}

/** Runs with another catalogue: this one with these changes. */
async function withCatalog(changes, run) {
  await gateway.admin('PUT', '/admin/v1/catalog', catalog(gateway.upstream.url, changes));
  try {
    await run();
  } finally {
    await gateway.admin('PUT', '/admin/v1/catalog', catalog(gateway.upstream.url));
  }
}

const piece = (content, rest = {}) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1760000000, model: 'm', choices: [{ index: 0, delta: { content }, finish_reason: null }], ...rest })}\n\n`;
const last = piece('', { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
const usage = (prompt_tokens, completion_tokens) => piece('', { choices: [], usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens } });
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Streams that the simulator does not play, by the upstream model's id. */
const scripts = {
  // Word by word, as long as the test says.
  stepwise: async (response) => {
    response.write(piece('one'));
    await stepped.next();
    response.write(piece(' two'));
    await stepped.next();
    response.end(last + usage(8, 2) + 'data: [DONE]\n\n');
  },
  'usage-then-cut': async (response) => {
    response.write(piece('one') + last + usage(8, 2));
    await pause(100);
    response.socket.resetAndDestroy();
  },
  'only-comments': async (response) => {
    for (let count = 0; count < 40 && !response.destroyed; count += 1) {
      response.write(': still thinking\n\n');
      await pause(100);
    }
    response.end();
  },
  'comments-first': async (response) => {
    for (let count = 0; count < 3; count += 1) {
      response.write(': still thinking\n\n');
      await pause(50);
    }
    response.end(piece('one') + last + usage(8, 1) + 'data: [DONE]\n\n');
  },
  'html-mid': async (response) => response.end(`${piece('one')}data: <html>Bad Gateway</html>\n\ndata: [DONE]\n\n`),
  'not-utf8': async (response) => {
    response.write(piece('one'));
    response.end(Buffer.concat([Buffer.from('data: {"choices":[{"delta":{"content":"'), Buffer.of(0xff, 0xfe), Buffer.from('"}}]}\n\ndata: [DONE]\n\n')]));
  },
  'no-last-newline': async (response) => response.end(piece('one') + last + usage(8, 1) + 'data: [DONE]'),
  'after-done': async (response) => response.end(`${piece('one')}${last}${usage(8, 1)}data: [DONE]\n\n${piece('never')}data: [DONE]\n\n`),
  'error-and-choices': async (response) => response.end(piece('one') + piece('', { error: { message: 'overloaded', type: 'server_error', code: 'overloaded' } }) + 'data: [DONE]\n\n'),
  // Silence for longer than a client bears: in the middle, and before anything.
  'quiet-mid': async (response) => {
    response.write(piece('one'));
    await pause(17_000);
    response.end(`${piece(' two')}${last}${usage(8, 2)}data: [DONE]\n\n`);
  },
  'quiet-first': async (response) => {
    await pause(17_000);
    response.end(`${piece('one two')}${last}${usage(8, 2)}data: [DONE]\n\n`);
  },
  'quiet-failing': async (response) => {
    await pause(16_500);
    response.end('<html>Bad Gateway</html>');
  },
  // A proxy's comment behind `data:`, and text between the fragments of a call that has a new id each time.
  'mixed-call': async (response) => {
    const call = (id, name, fragment) => piece('', { choices: [{ index: 0, delta: { tool_calls: [{ index: 0, id, function: { name, arguments: fragment } }] } }] });
    response.write(call('call_a', 'look', '{"city":') + piece('an aside') + 'data: : keepalive\n\n' + call('call_b', undefined, '"Oslo"}'));
    response.end(`${piece('', { choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] })}${usage(8, 2)}data: [DONE]\n\n`);
  },
  failed: async (response) => {
    const event = (type, rest) => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;
    const error = { code: 'context_length_exceeded', message: 'Your input exceeds the context window of this model.' };
    const about = (status, rest) => ({ response: { id: 'resp_1', object: 'response', created_at: 1, status, model: 'm', output: [], ...rest } });
    response.end(event('response.created', { sequence_number: 0, ...about('in_progress') }) + event('response.failed', { sequence_number: 1, ...about('failed', { error }) }));
  },
  'plain-json': async (response) => {
    response.end(JSON.stringify({ choices: [{ index: 0, message: { role: 'assistant', content: 'not streamed' }, finish_reason: 'stop' }] }));
  },
  'astral': async (response) => response.end(`${piece('\u0000 \u2028 𝕳 👩‍👩‍👧 "\\')}${last}${usage(8, 4)}data: [DONE]\n\n`),
};

/** Lets a `stepwise` stream make its next step. */
const stepped = {
  waiting: [],
  next: () => new Promise((resolve) => stepped.waiting.push(resolve)),
  async step() {
    await until(() => stepped.waiting.length > 0, 'the upstream to wait');
    stepped.waiting.shift()();
  },
};

function play({ body }, response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.on('error', () => {});
  scripts[body.model](response).catch(() => {});
}

const stream = (body, headers) => gateway.call(key, { stream: true, ...body }, headers);
const upstreamCall = (model) => gateway.upstream.requests.findLast(({ body }) => body?.model === model);

describe('a stream', () => {
  test('reaches the client chunk by chunk while the upstream is still writing', async () => {
    const response = await stream({ model: 'scripted-stepwise' });
    const events = sse(response);
    const content = async () => JSON.parse((await events.next()).value.data).choices[0].delta.content;
    // Each chunk is read before the upstream is allowed to write the next.
    assert.equal(await content(), 'one');
    await stepped.step();
    assert.equal(await content(), ' two');
    await stepped.step();
    assert.equal(JSON.parse((await events.next()).value.data).choices[0].finish_reason, 'stop');
    assert.equal((await events.next()).value.data, '[DONE]');
    assert.equal((await events.next()).done, true);
    checkCharged(await gateway.receipt(key, response), { charge: '0.000012', usage: { input: 8, output: 2 } });
  });

  test('that is slow arrives while it is being written', async () => {
    const response = await stream({ model: 'slow-stream' });
    let first;
    for await (const { data } of sse(response)) {
      if (first !== undefined || data === '[DONE]') continue;
      first = data;
      assert.equal(upstreamCall('slow-stream').finished, false);
    }
    assert.equal(upstreamCall('slow-stream').finished, true);
    // 50 words at 2 and 8 tokens in at 1.
    checkCharged(await gateway.receipt(key, response), { charge: '0.000108', usage: { input: 8, output: 50 } });
  });

  test('ends in [DONE], has the headers of every answer, and no usage that nobody asked for', async () => {
    const response = await stream({ model: 'demo-large' });
    checkHeaders(response);
    assert.match(response.headers.get('content-type'), /^text\/event-stream/);
    assert.match(response.headers.get('cache-control'), /no-transform/);
    assert.deepEqual(
      ['model', 'upstream-model', 'route', 'channel', 'bucket', 'attempts'].map((name) => response.headers.get(`x-tf-${name}`)),
      ['demo-large', 'demo-large', 'official', 'main', 'credit', '1'],
    );
    const text = await response.text();
    assert.ok(text.endsWith('\n\ndata: [DONE]\n\n'));
    assert.doesNotMatch(text, /"usage"/);
    assert.doesNotMatch(text, /"choices":\[\]/);
    const receipt = await gateway.receipt(key, response);
    checkCharged(receipt, { charge: '0.00004', usage: { input: 8, output: 16 }, attempts: ['main/demo-large: answered'] });
    assert.deepEqual([receipt.stream, receipt.finish_reason], [true, 'stop']);
    assert.ok(receipt.first_byte_ms <= receipt.latency_ms);
    assert.equal(receipt.attempts[0].provider_status, 200);
  });

  for (const include_usage of [true, false]) {
    for (const model of ['demo-large', 'usage-always', 'reasoning', 'cached', 'crlf']) {
      test(`of ${model} ${include_usage ? 'ends with one usage chunk with the cost' : 'has no usage'}, as asked`, async () => {
        const expected = {
          'demo-large': ['0.00004', { input: 8, output: 16 }], 'usage-always': ['0.00004', { input: 8, output: 16 }], crlf: ['0.00004', { input: 8, output: 16 }],
          reasoning: ['0.00008', { input: 8, output: 16, reasoning: 20 }], cached: ['0.0000364', { input: 4, cached_input: 4, output: 16 }],
        }[model];
        const response = await stream({ model, stream_options: { include_usage } });
        const { chunks, done, text, finishReason } = await readStream(response);
        assert.ok(done);
        assert.match(text, /^You said: "hello"\. This is .* each time\.$/);
        assert.equal(finishReason, 'stop');
        const withUsage = chunks.filter(({ usage }) => usage);
        const withoutChoices = chunks.filter(({ choices }) => choices.length === 0);
        if (include_usage) {
          assert.deepEqual(withUsage, [chunks.at(-1)]);
          assert.deepEqual(withoutChoices, withUsage);
          const { usage, object, id, created, model: named } = chunks.at(-1);
          assert.equal(object, 'chat.completion.chunk');
          assert.deepEqual([id, created, named], [chunks[0].id, chunks[0].created, chunks[0].model]);
          assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
          assert.equal(nanos(usage.cost.toFixed(9)), nanos(expected[0]));
          assert.equal(usage.cost_details.usage_source, 'upstream');
        } else {
          assert.deepEqual([withUsage, withoutChoices], [[], []]);
        }
        checkCharged(await gateway.receipt(key, response), { charge: expected[0], usage: expected[1] });
      });
    }
  }

  test('without usage from upstream is estimated, and the chunk that was asked for says so', async () => {
    const response = await stream({ model: 'no-usage', stream_options: { include_usage: true } });
    const { usage, text, done } = await readStream(response);
    assert.ok(done);
    const receipt = await gateway.receipt(key, response);
    const { input, output } = receipt.usage;
    checkEstimate(output, text);
    checkCharged(receipt, { charge: String((input + 2 * output) / 1e6), source: 'estimated' });
    assert.deepEqual([usage.prompt_tokens, usage.completion_tokens, usage.cost_details.usage_source], [input, output, 'estimated']);
    assert.equal(nanos(usage.cost.toFixed(9)), nanos(receipt.charge));
  });

  test('of single bytes arrives whole, every character of it', async () => {
    const response = await stream({ model: 'split-bytes', messages: [{ role: 'user', content: 'smörgås 🍞' }] });
    const { text, done } = await readStream(response);
    assert.deepEqual([text, done], ['Größe 大きさ 🌍🚀 : "smörgås 🍞"', true]);
    checkCharged(await gateway.receipt(key, response), { charge: '0.000021', usage: { input: 9, output: 6 } });
  });

  test('with carriage returns, comments, ids, names and data of many lines becomes plain data events', async () => {
    const text = await (await stream({ model: 'crlf' })).text();
    assert.doesNotMatch(text, /\r/);
    assert.doesNotMatch(text, /^(id|event|retry):/m);
    const events = text.split('\n\n').filter((event) => event && !event.startsWith(':'));
    for (const event of events.slice(0, -1)) {
      const data = event.split('\n').map((line) => line.match(/^data: (.*)$/)[1]).join('\n');
      assert.equal(JSON.parse(data).object, 'chat.completion.chunk');
    }
    assert.equal(events.at(-1), 'data: [DONE]');
  });

  test('of 200 chunks in one burst and one of 2 MB arrive whole', async () => {
    const burst = await stream({ model: 'many-chunks' });
    const { text } = await readStream(burst);
    assert.equal(text, Array.from({ length: 200 }, (_, index) => `word${index} `).join(''));
    checkCharged(await gateway.receipt(key, burst), { charge: '0.000408', usage: { input: 8, output: 200 } });
    const big = await stream({ model: 'big-event' });
    const { text: long, done } = await readStream(big);
    assert.ok(done && long.startsWith('x'.repeat(2 * 1024 * 1024)));
    checkCharged(await gateway.receipt(key, big), { charge: '0.00004', usage: { input: 8, output: 16 } });
  });

  test('asked for with n answers carries each of them', async () => {
    const response = await stream({ model: 'demo-small', n: 3 });
    const texts = ['', '', ''];
    for await (const { data } of sse(response)) {
      if (data === '[DONE]') continue;
      const [{ index, delta }] = JSON.parse(data).choices;
      texts[index] += delta.content ?? '';
    }
    assert.ok(texts[0].startsWith('You said') && texts[1] === texts[0] && texts[2] === texts[0]);
    checkCharged(await gateway.receipt(key, response), { charge: '0.000104', usage: { input: 8, output: 48 } });
  });

  for (const [name, text, output] of [['comments-first', 'one', 1], ['no-last-newline', 'one', 1], ['after-done', 'one', 1], ['astral', '\u0000 \u2028 𝕳 👩‍👩‍👧 "\\', 4]]) {
    test(`of ${name} is complete`, async () => {
      const response = await stream({ model: `scripted-${name}` });
      const result = await readStream(response);
      assert.deepEqual([result.text, result.done, result.error, result.finishReason], [text, true, undefined, 'stop']);
      checkCharged(await gateway.receipt(key, response), { charge: String((8 + 2 * output) / 1e6), usage: { input: 8, output } });
    });
  }

  test('of nothing but comments is no answer: it times out before the first byte', async () => {
    const response = await stream({ model: 'scripted-only-comments' });
    assert.equal(response.status, 502);
    checkUncharged(await gateway.receipt(key, response), { status: 'failed', attempts: ['scripted/only-comments: failed timeout'] });
  });

  test('that upstream answers with a plain object is a failed attempt', async () => {
    const response = await stream({ model: 'scripted-plain-json' });
    assert.equal(response.status, 502);
    checkUncharged(await gateway.receipt(key, response), { status: 'failed', attempts: ['scripted/plain-json: failed unreadable'] });
  });

  test('that outlives its hold\'s time-out renews it, and is charged once and whole', async () => {
    // 50 chunks, 100 ms apart: the 40th comes long after the first 1.5 seconds.
    await withCatalog({ hold_timeout_ms: 1500 }, async () => {
      const own = await gateway.richKey();
      const response = await gateway.call(own, { model: 'slow-stream', stream: true });
      const credit = async () => (await gateway.get(own, '/v1/balances')).data[0];
      let seen = 0;
      let late;
      for await (const { data } of sse(response)) if (data !== '[DONE]' && (seen += 1) === 40) late = await credit();
      assert.equal(late.open_holds.length, 1);
      assert.ok(nanos(late.held) > 0n);
      checkCharged(await gateway.receipt(own, response), { charge: '0.000108', usage: { input: 8, output: 50 } });
      const { balance, held } = await credit();
      assert.deepEqual([balance, held], ['99.999892', '0']);
    });
  });

  test('is not mixed up with 99 others', async () => {
    const streams = Array.from({ length: 100 }, async (_, index) => {
      const word = `word-${index}-${(index * 7919) % 1000}`;
      const model = `patient-${crowd[index % 4]}`;
      const response = await stream({ model, stream_options: { include_usage: index % 2 === 0 }, messages: [{ role: 'user', content: word }] });
      assert.equal(response.headers.get('x-tf-model'), model);
      assert.equal(response.status, 200);
      const { text, done, usage } = await readStream(response);
      assert.ok(done, `${model} ended: ${text}`);
      assert.ok(text.includes(`"${word}"`), text);
      assert.equal([...text.matchAll(/word-\d+-\d+/g)].length, 1);
      assert.equal(usage !== undefined, index % 2 === 0);
      return [word, model, response.headers.get('x-generation-id')];
    });
    const ended = await Promise.all(streams);
    assert.equal(new Set(ended.map(([, , id]) => id)).size, 100);
    for (const [, model, id] of ended) {
      const receipt = await gateway.receipt(key, id);
      const output = model === 'patient-split-bytes' ? 5 : 16;
      checkCharged(receipt, { charge: String((8 + 2 * output) / 1e6), usage: { input: 8, output } });
      assert.equal(receipt.requested_model, model);
    }
  });
});

/** Calls an endpoint of any dialect, streamed; answers the status and every event with the second at which it came. */
async function listen(path, model) {
  const body = path.endsWith('responses') ? { input: 'hello' } : { messages: [{ role: 'user', content: 'hello' }], max_tokens: 100 };
  const started = performance.now();
  const response = await fetch(`${gateway.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, stream: true, ...body }),
  });
  const decoder = new TextDecoder();
  const pieces = [];
  for await (const bytes of response.body) pieces.push([Math.round((performance.now() - started) / 1000), decoder.decode(bytes, { stream: true })]);
  const text = pieces.map(([, piece]) => piece).join('');
  const data = text.split('\n\n').flatMap((event) => event.match(/^data: (\{.*)$/m)?.[1] ?? []).map((json) => JSON.parse(json));
  return { response, pieces, text, data, at: (words) => pieces.filter(([, piece]) => piece.includes(words)).map(([at]) => at) };
}

describe('silence', () => {
  const signs = { '/v1/chat/completions': ': ping', '/v1/responses': 'event: keepalive', '/v1/messages': 'event: ping' };
  const ends = { '/v1/chat/completions': '[DONE]', '/v1/responses': 'event: response.completed', '/v1/messages': 'event: message_stop' };
  const openings = { ...signs, '/v1/responses': 'event: response.created' };

  test('has a sign of life within 16 s, in every dialect, within the stream and before it', async () => {
    await Promise.all(Object.keys(signs).flatMap((path) => [
      (async () => {
        const within = await listen(path, 'thoughtful-quiet-mid');
        const [first] = within.at(signs[path]);
        assert.ok(first >= 14 && first <= 16, `${path}: ${JSON.stringify(within.pieces)}`);
        assert.ok(within.text.includes(ends[path]));
        checkCharged(await gateway.receipt(key, within.response), { charge: '0.000012', usage: { input: 8, output: 2 } });
      })(),
      (async () => {
        const before = await listen(path, 'thoughtful-quiet-first');
        assert.deepEqual([before.response.status, before.response.headers.get('x-tf-model')], [200, 'thoughtful-quiet-first']);
        assert.match(before.response.headers.get('content-type'), /^text\/event-stream/);
        const [[first, opening]] = before.pieces;
        assert.ok(first >= 14 && first <= 16 && opening.startsWith(openings[path]), `${path}: ${JSON.stringify(before.pieces)}`);
        assert.ok(before.text.includes('one two') && before.text.includes(ends[path]));
        checkCharged(await gateway.receipt(key, before.response), { charge: '0.000012', usage: { input: 8, output: 2 } });
      })(),
      (async () => {
        const failing = await listen(path, 'thoughtful-quiet-failing');
        assert.equal(failing.response.status, 200);
        assert.ok(failing.text.includes('no_route_available') && !failing.text.includes(ends[path]), failing.text);
        assert.equal(failing.text.includes('event: response.failed'), path === '/v1/responses');
        checkUncharged(await gateway.receipt(key, failing.response), { status: 'failed', attempts: ['scripted-patient/quiet-failing: failed unreadable'] });
      })(),
    ]).concat((async () => {
      // Whoever leaves while nobody has answered ends the call.
      const own = await gateway.richKey();
      const request = httpRequest(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers: { authorization: `Bearer ${own}`, 'content-type': 'application/json' } });
      request.on('error', () => {});
      request.end(JSON.stringify({ model: 'thoughtful-quiet-first', stream: true, messages: [{ role: 'user', content: 'hello' }] }));
      const [response] = await once(request, 'response');
      response.on('error', () => {});
      await once(response, 'data');
      request.socket.resetAndDestroy();
      const receipt = await gateway.receipt(own, new Headers(response.headers));
      assert.deepEqual([receipt.status, receipt.error.code, receipt.attempts[0].status], ['aborted', 'client_left', 'abandoned']);
      const { data } = await gateway.get(own, '/v1/balances');
      assert.equal(data[0].held, '0');
    })()));
  });
});

describe('a stream that is translated', () => {
  test('loses nothing that stands between the fragments of a call', async () => {
    const messages = await listen('/v1/messages', 'scripted-mixed-call');
    const deltas = messages.data.map(({ delta }) => delta ?? {});
    assert.equal(deltas.map(({ partial_json }) => partial_json ?? '').join(''), '{"city":"Oslo"}');
    assert.equal(deltas.map(({ text }) => text ?? '').join(''), 'an aside');
    assert.equal(messages.data.at(-1).type, 'message_stop');
    const responses = await listen('/v1/responses', 'scripted-mixed-call');
    const [call, message] = responses.data.at(-1).response.output;
    assert.deepEqual([call.name, call.arguments, message.content[0].text], ['look', '{"city":"Oslo"}', 'an aside']);
  });
});

describe('a response that failed', () => {
  test('is told as upstream told it, to clients of responses, and as an error to others', async () => {
    const native = await listen('/v1/responses', 'native-failed');
    assert.deepEqual(native.data.map(({ type }) => type), ['response.created', 'response.failed']);
    const [created, { response: failed }] = native.data;
    assert.deepEqual([failed.status, failed.error.code, failed.id], ['failed', 'context_length_exceeded', created.response.id]);
    const receipt = await gateway.receipt(key, native.response);
    assert.deepEqual([receipt.status, receipt.error.provider_code], ['truncated', 'context_length_exceeded']);
    const cut = await listen('/v1/responses', 'scripted-html-mid');
    assert.deepEqual(cut.data.slice(-2).map(({ type }) => type), ['error', 'response.failed']);
    assert.equal(cut.data.at(-1).response.error.code, cut.data.at(-2).code);
  });
});

describe('a stream that ends without its last event', () => {
  test('is complete, and charged by its usage, where it has told why it ended', async () => {
    for (const include_usage of [false, true]) {
      const response = await stream({ model: 'no-last', stream_options: { include_usage } });
      const result = await readStream(response);
      assert.deepEqual([result.broken, result.done], [undefined, true]);
      assert.ok(result.chunks.every(({ error }) => error === undefined));
      assert.ok(result.chunks.some(({ choices }) => choices[0]?.finish_reason === 'stop'));
      assert.equal(result.chunks.filter(({ usage }) => usage?.cost > 0).length, include_usage ? 1 : 0);
      const receipt = await gateway.receipt(key, response);
      assert.deepEqual([receipt.status, receipt.usage_source, receipt.charge], ['completed', 'upstream', '0.00004']);
    }
  });
});

describe('a stream that upstream breaks off', () => {
  const cuts = {
    'cut-stream': ['You said: "hello".', /The connection to the provider broke/],
    'no-done': [/^You said: "hello".*each time\.$/, /ended the answer before it was complete/],
    'hang-mid': [/^You/, /fell silent/],
    'stream-error-mid': [/^You/, /broke off the answer/],
    'scripted-usage-then-cut': ['one', /The connection to the provider broke/],
    'scripted-html-mid': ['one', /broke off the answer/],
    'scripted-not-utf8': ['one', /broke off the answer/],
    'scripted-error-and-choices': ['one', /broke off the answer/],
  };
  for (const [model, [text, message]] of Object.entries(cuts)) {
    for (const include_usage of [false, true]) {
      test(`(${model}) ends in an error event${include_usage ? ' without a usage chunk' : ''} and a truncated receipt, never in [DONE]`, async () => {
        const response = await stream({ model, stream_options: { include_usage } });
        assert.equal(response.status, 200);
        const result = await readStream(response);
        assert.equal(result.broken, undefined, 'the connection itself ends cleanly');
        assert.equal(result.done, false);
        if (typeof text === 'string') assert.ok(result.text === text || text.startsWith(result.text) || result.text.startsWith(text), result.text);
        else assert.match(result.text, text);
        // The error stands in a chunk, and once more alone: clients look for it in one place or the other.
        const [end, alone] = result.chunks.slice(-2);
        assert.deepEqual(alone, { error: end.error });
        assert.deepEqual([end.object, end.choices[0].finish_reason, end.choices[0].index], ['chat.completion.chunk', 'error', 0]);
        assert.deepEqual(Object.keys(end.error).sort(), ['code', 'message', 'param', 'type']);
        assert.match(end.error.message, message);
        // What clients know by a code of its own has that.
        assert.equal(end.error.code, model === 'scripted-error-and-choices' ? 'server_error' : 'upstream_cut');
        assert.deepEqual([end.id, end.created, end.model], [result.chunks[0].id, result.chunks[0].created, result.chunks[0].model]);
        assert.equal(result.chunks.filter(({ error }) => error).length, 2);
        assert.equal(result.chunks.some(({ usage }) => usage), false);
        const receipt = await gateway.receipt(key, response);
        checkUncharged(receipt, { status: 'truncated', reason: /broke off/ });
        assert.equal(receipt.error.code, 'upstream_cut');
        assert.match(receipt.error.message, message);
        assert.equal(receipt.attempts.length, 1, 'nothing is tried again once a byte has left');
        assert.equal(receipt.why.length > 0 && receipt.bucket, 'credit');
      });
    }
  }

  test('is charged by usage where the catalogue says so', async () => {
    await withCatalog({ charge_policy: { upstream_cut: 'usage' } }, async () => {
      const reported = await stream({ model: 'scripted-usage-then-cut' });
      await readStream(reported);
      checkCharged(await gateway.receipt(key, reported), { status: 'truncated', charge: '0.000012', usage: { input: 8, output: 2 } });
      const estimated = await stream({ model: 'stream-error-mid' });
      await readStream(estimated);
      const receipt = await gateway.receipt(key, estimated);
      assert.deepEqual([receipt.status, receipt.usage_source], ['truncated', 'estimated']);
      assert.equal(receipt.charge, String((receipt.usage.input + 2 * receipt.usage.output) / 1e6));
    });
  });
});

describe('a client that leaves', () => {
  // `{"messages":[{"role":"user","content":"hello"}],"model":"slow-stream","stream":true}` and the like.
  const checkInput = (input, model, rest) => checkEstimate(input, JSON.stringify({ messages: [{ role: 'user', content: 'hello' }], model, ...rest }));

  test('in the middle ends the upstream call, and pays for what was relayed, estimated', async () => {
    const headers = await gateway.hangUp(key, { model: 'slow-stream', stream: true }, 2000);
    await until(() => upstreamCall('slow-stream').aborted, 'the end of the upstream call');
    const receipt = await gateway.receipt(key, headers);
    const { output } = receipt.usage;
    assert.ok(output > 0 && output < 50, `${output} tokens`);
    checkInput(receipt.usage.input, 'slow-stream', { stream: true });
    assert.deepEqual(usageOf(receipt), { input: receipt.usage.input, output });
    checkCharged(receipt, { status: 'aborted', charge: String((receipt.usage.input + 2 * output) / 1e6), source: 'estimated', attempts: ['main/slow-stream: answered'] });
    assert.equal(receipt.error.code, 'client_left');
  });

  test('while the upstream is silent ends the upstream call too', async () => {
    const headers = await gateway.hangUp(key, { model: 'hang-mid', stream: true }, 300);
    await until(() => upstreamCall('hang-mid').aborted, 'the end of the upstream call');
    const receipt = await gateway.receipt(key, headers);
    assert.equal(receipt.status, 'aborted');
    checkCharged(receipt, { status: 'aborted', charge: receipt.charge, source: 'estimated' });
  });

  test('on a channel that drains is not waited for by an upstream that has fallen silent', async () => {
    const headers = await gateway.hangUp(key, { model: 'drain-hang-mid', stream: true }, 300);
    // `receipt` waits for 10 seconds; the channel allows for 1 second of silence.
    const receipt = await gateway.receipt(key, headers);
    checkCharged(receipt, { status: 'aborted', charge: receipt.charge, source: 'estimated' });
  });

  test('on a channel that drains leaves the upstream to its end, keeps its hold until then, and pays what upstream reports', async () => {
    await withCatalog({ hold_timeout_ms: 1500 }, async () => {
      const headers = await gateway.hangUp(key, { model: 'drain-slow-stream', stream: true }, 2000);
      const receipt = await gateway.receipt(key, headers);
      const call = upstreamCall('slow-stream');
      assert.deepEqual([call.finished, call.aborted], [true, false]);
      checkCharged(receipt, { status: 'aborted', charge: '0.000108', usage: { input: 8, output: 50 }, attempts: ['draining/slow-stream: answered'] });
      assert.equal(receipt.error.code, 'client_left');
    });
  });

  test('before the first byte ends the upstream call, and the receipt says who was called', async () => {
    for (const body of [{ model: 'slow-headers', stream: true }, { model: 'slow-headers' }]) {
      const own = await gateway.richKey();
      await gateway.hangUp(own, body, 0);
      const [receipt] = await until(async () => {
        const { data } = await gateway.get(own, '/v1/receipts');
        return data.length > 0 && data;
      }, 'the receipt');
      await until(() => upstreamCall('slow-headers').aborted, 'the end of the upstream call');
      checkInput(receipt.usage.input, 'slow-headers', body.stream ? { stream: true } : {});
      assert.deepEqual(usageOf(receipt), { input: receipt.usage.input });
      checkCharged(receipt, { status: 'aborted', charge: String(receipt.usage.input / 1e6), source: 'estimated', attempts: ['main/slow-headers: abandoned'] });
      assert.equal(receipt.error.code, 'client_left');
      const { data } = await gateway.get(own, '/v1/balances');
      assert.equal(data[0].held, '0');
    }
  });

  test('with its own body half sent costs nothing and disturbs nobody', async () => {
    const own = await gateway.richKey();
    const called = gateway.upstream.requests.length;
    const request = httpRequest(`${gateway.baseUrl}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${own}`, 'content-type': 'application/json', 'content-length': '1000' },
    });
    request.on('error', () => {});
    request.write('{"model":"demo-large","messages":[');
    if (!request.socket) await once(request, 'socket');
    if (request.socket.connecting) await once(request.socket, 'connect');
    await pause(100);
    request.socket.resetAndDestroy();
    const response = await gateway.call(own, 'demo-large');
    assert.equal(response.status, 200);
    checkCharged(await gateway.receipt(own, response), { charge: '0.00004' });
    const { data } = await gateway.get(own, '/v1/balances');
    assert.deepEqual([data[0].balance, data[0].held], ['99.99996', '0']);
    assert.equal(gateway.upstream.requests.length, called + 1);
  });

  test('many times over leaves no hold open', async () => {
    const own = await gateway.richKey();
    const headers = [];
    for (let round = 0; round < 4; round += 1) {
      headers.push(...(await Promise.all(Array.from({ length: 5 }, () => gateway.hangUp(own, { model: 'slow-stream', stream: true }, 600)))));
    }
    let charged = 0n;
    for (const one of headers) {
      const receipt = await gateway.receipt(own, one);
      assert.equal(receipt.status, 'aborted');
      charged += nanos(receipt.charge);
    }
    const { data } = await gateway.get(own, '/v1/balances');
    assert.deepEqual([data[0].held, data[0].open_holds.length], ['0', 0]);
    assert.equal(nanos(data[0].balance), nanos('100') - charged);
  });
});
