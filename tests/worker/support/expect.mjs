// What every receipt and every refusal has to say, whatever else a test looks at; and an
// upstream that a test writes itself, for what the simulator does not do.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';

/** A decimal amount in nano-units, exactly. */
export function nanos(text) {
  const [, sign, whole, fraction = ''] = text.match(/^(-?)(\d+)(?:\.(\d{1,9}))?$/);
  const magnitude = BigInt(whole + fraction.padEnd(9, '0'));
  return sign ? -magnitude : magnitude;
}

/** The attempts of a receipt, short: "channel/upstream model: status" and the kind of failure. */
export const attemptsOf = (receipt) =>
  receipt.attempts.map(({ channel, upstream_model, status, error }) => `${channel}/${upstream_model}: ${status}${error ? ` ${error}` : ''}`);

/** The token classes of a receipt that are not 0. */
export const usageOf = (receipt) => Object.fromEntries(Object.entries(receipt.usage).filter(([, tokens]) => tokens !== 0));

/** Checks that an estimate of tokens can be of this text, English or JSON: not fewer than its words, not more than a token for two letters. */
export function checkEstimate(tokens, text) {
  const words = text.trim().split(/\s+/).length;
  assert.ok(tokens >= words && tokens <= Math.ceil(text.length / 2), `${tokens} tokens of ${words} words, ${text.length} characters`);
}

/**
 * Checks the receipt of a request that was paid for.
 * `charge` is the charge worked out by hand; the rest has the values of a good official call.
 */
export function checkCharged(receipt, { charge, usage, status = 'completed', source = 'upstream', bucket = 'credit', attempts, policy }) {
  const route = bucket === 'credit' ? 'official' : 'routed';
  const price = bucket === 'credit' ? { input: '1', cached_input: '0.1', output: '2' } : { input: '7', output: '14' };
  assert.equal(receipt.status, status);
  assert.equal(receipt.charge, charge);
  if (usage) assert.deepEqual(usageOf(receipt), usage);
  assert.equal(receipt.usage_source, source);
  assert.deepEqual([receipt.bucket, receipt.route], [bucket, route]);
  assert.deepEqual(receipt.price, price);
  assert.match(receipt.why, new RegExp(`^\`${bucket}\` paid, because .*\\.$`));
  if (attempts) assert.deepEqual(attemptsOf(receipt), attempts);
  const begins = { completed: 'completed: charged', truncated: 'upstream cut the stream: charged', aborted: 'client left: charged' }[status];
  assert.ok(receipt.charge_policy.startsWith(policy ?? begins), receipt.charge_policy);
  assert.equal(receipt.charge_policy.includes('estimated'), source === 'estimated');
  assert.equal(receipt.no_charge_reason, null);
  assert.equal(receipt.in_review, null);
  assert.equal(receipt.entry_ids.length, 1);
  assert.ok(nanos(receipt.hold) >= nanos(receipt.charge), 'the hold covers the charge');
  assert.equal(nanos(receipt.balance_before) - nanos(receipt.charge), nanos(receipt.balance_after));
}

/** Checks the receipt of a request that cost nothing: it says why, and what to do now. */
export function checkUncharged(receipt, { status, attempts, policy, reason }) {
  assert.equal(receipt.status, status);
  assert.equal(receipt.charge, '0');
  assert.deepEqual(receipt.entry_ids, []);
  if (attempts) assert.deepEqual(attemptsOf(receipt), attempts);
  const begins = { refused: 'refused', failed: 'failed', truncated: 'upstream cut the stream', aborted: 'client left' }[status];
  assert.ok(receipt.charge_policy.startsWith(policy ?? begins), receipt.charge_policy);
  assert.match(receipt.charge_policy, /nothing is charged$/);
  assert.ok(receipt.no_charge_reason, 'it says why nothing was charged');
  if (reason) assert.match(receipt.no_charge_reason, reason);
  assert.equal(receipt.in_review, null);
  assert.equal(receipt.balance_before, receipt.balance_after);
  if (status === 'refused') {
    assert.deepEqual([receipt.attempts, receipt.usage_source, receipt.hold], [[], 'none', null]);
  } else {
    assert.ok(receipt.balance_before !== null && receipt.bucket !== null, 'what was held is told');
  }
  if (status !== 'aborted') {
    assert.ok(receipt.next_step, 'it says what to do now');
    assert.ok(receipt.error.code && receipt.error.message);
  }
}

/** Checks the headers that every answer has, and answers the request's id. */
export function checkHeaders({ headers }) {
  assert.match(headers.get('cache-control') ?? 'none', /\bno-store\b/);
  assert.match(headers.get('x-request-id') ?? 'none', /^gen-[0-9a-z]{26}$/);
  for (const name of ['request-id', 'x-generation-id']) assert.equal(headers.get(name), headers.get('x-request-id'), name);
  return headers.get('x-request-id');
}

/**
 * Checks that an answer is a refusal in OpenAI's envelope, and answers its `error`.
 * `hasReceipt`: whether the request has one.
 */
export async function checkRefusal(response, { status, code, type, param = null, limit = null, hasReceipt = true }) {
  const id = checkHeaders(response);
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.match(response.headers.get('content-type'), /^application\/json/);
  const { error, ...others } = JSON.parse(text);
  assert.deepEqual(others, {});
  assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'metadata', 'param', 'type']);
  assert.equal(error.code, code, text);
  if (type) assert.equal(error.type, type);
  assert.ok(typeof error.type === 'string' || error.type === null);
  assert.equal(error.param, param, text);
  assert.ok(error.message.length > 0);
  const { metadata } = error;
  for (const name of ['error_type', 'limit_source', 'receipt', 'next_step']) assert.ok(name in metadata, `metadata.${name}`);
  assert.equal(metadata.limit_source, limit);
  assert.equal(metadata.receipt, hasReceipt ? id : null);
  assert.ok(metadata.next_step.length > 0);
  if ([429, 503].includes(status)) assert.match(response.headers.get('retry-after') ?? 'none', /^[1-9]\d*$/);
  return error;
}

/**
 * An upstream whose answers a test decides.
 * @param {(call: {headers: object, raw: string, body: object}, response: import('node:http').ServerResponse) => void} answer
 * @returns {Promise<{url: string, port: number, calls: object[], close: () => Promise<void>}>} `calls` holds what came, `raw` byte for byte
 */
export async function startScripted(answer = (_, response) => response.end(JSON.stringify(plainAnswer()))) {
  const calls = [];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const raw = Buffer.concat(parts).toString();
    const call = { headers: request.headers, rawHeaders: request.rawHeaders, raw, body: JSON.parse(raw) };
    calls.push(call);
    answer(call, response);
  });
  server.keepAliveTimeout = 0;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    calls,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A small good answer: 8 tokens in, 2 out. */
export function plainAnswer(content = 'Good day.') {
  return {
    id: 'chatcmpl-scripted',
    object: 'chat.completion',
    created: 1760000000,
    model: 'scripted',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 8, completion_tokens: 2, total_tokens: 10 },
  };
}
