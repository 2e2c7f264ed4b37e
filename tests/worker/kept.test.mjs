// Answers that the gateway itself wrote to clients of responses, and requests that refer to them: the
// AI SDK as it comes, with `store` on, over channels that have to be translated for.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, streamText, tool } from 'ai';
import { z } from 'zod';
import { audit, changeObject, reopen, select } from './support/books.mjs';
import { dialectCatalog, dialectVars } from './support/dialects.mjs';
import { startGateway, until } from './support/gateway.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;

const hour_ms = 3_600_000;
const models = ['open-thinking', 'claude-thinking', 'gemini-thinking'];
const tools = { weather: tool({ description: 'The weather of a city', inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `weather in ${city.length}` }) };
const greeting = 'You said: "hello".';

let gateway;
before(async () => (gateway = await startGateway({ catalog: dialectCatalog, vars: dialectVars, clock: true })));
after(() => gateway?.close());

const newAccount = () => gateway.newAccount({ credit: '10' });

/** A request of responses; answers status, body and headers. */
async function respond(secret, body, at = gateway) {
  const answer = await at.fetch(secret, '/v1/responses', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  return { status: answer.status, headers: answer.headers, body: await answer.json() };
}

const reference = ({ id }) => ({ type: 'item_reference', id });
const user = (content) => ({ role: 'user', content });

/** The rows of kept answers in the object of an account. */
function keptBy(account, at = gateway) {
  const folder = join(at.state, 'do/tokens-forge-AccountObject');
  for (const name of readdirSync(folder).filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name))) {
    const database = new DatabaseSync(join(folder, name), { readOnly: true });
    try {
      const [owner] = database.prepare("SELECT value->>'id' AS id FROM meta WHERE name = 'account'").all();
      if (owner?.id === account) return database.prepare('SELECT * FROM kept_answers ORDER BY seq').all();
    } finally {
      database.close();
    }
  }
  throw new Error(`no object is ${account}`);
}

/** What went up last. */
const lastSent = () => gateway.upstream.requests.at(-1).body;

describe('the AI SDK with what it has by default', () => {
  for (const model of models) {
    test(`goes on with ${model} after its own answers, plain`, async () => {
      const secret = await gateway.newKey(await newAccount());
      const openai = createOpenAI({ baseURL: gateway.baseUrl, apiKey: secret });
      const messages = [user('please use the tool')];
      for (let turn = 0; turn < 3; turn += 1) {
        const { text, response } = await generateText({ model: openai(model), messages, tools, maxRetries: 0, stopWhen: ({ steps }) => steps.length === 3 });
        assert.ok(turn === 0 ? text.includes('weather in') : text.startsWith(greeting), text);
        messages.push(...response.messages, user('hello'));
        if (turn > 0) assert.ok(!JSON.stringify(lastSent()).includes('item_reference'));
      }
      await audit(gateway, secret);
    });

    test(`goes on with ${model} after its own answers, streamed`, async () => {
      const secret = await gateway.newKey(await newAccount());
      const openai = createOpenAI({ baseURL: gateway.baseUrl, apiKey: secret });
      const messages = [user('please use the tool')];
      for (let turn = 0; turn < 3; turn += 1) {
        const errors = [];
        const result = streamText({ model: openai(model), messages, tools, maxRetries: 0, stopWhen: ({ steps }) => steps.length === 3, onError: ({ error }) => errors.push(error) });
        await result.consumeStream();
        assert.deepEqual(errors, []);
        const text = await result.text;
        assert.ok(turn === 0 ? text.includes('weather in') : text.startsWith(greeting), text);
        messages.push(...(await result.response).messages, user('hello'));
      }
      await audit(gateway, secret);
    });
  }

  test('takes its conversation from one model to another behind another dialect', async () => {
    const secret = await gateway.newKey(await newAccount());
    const openai = createOpenAI({ baseURL: gateway.baseUrl, apiKey: secret });
    const messages = [user('hello')];
    for (const model of ['open-sim', 'claude-sim', 'gemini-sim', 'open-sim']) {
      const { text, response } = await generateText({ model: openai(model), messages, maxRetries: 0 });
      assert.ok(text.startsWith(greeting), text);
      messages.push(...response.messages, user('hello'));
    }
    assert.equal(lastSent().messages.filter(({ role }) => role === 'assistant').length, 3);
  });
});

describe('what is kept', () => {
  test('is put in place of its reference, for a channel that serves responses too', async () => {
    const secret = await gateway.newKey(await newAccount());
    const { body: first } = await respond(secret, { model: 'claude-sim', input: 'hello' });
    assert.equal(first.store, true);
    const { status, body } = await respond(secret, { model: 'gpt-sim', input: [user('hello'), ...first.output.map(reference), user('hello')] });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(lastSent().input, [user('hello'), ...first.output, user('hello')]);
  });

  test('is sealed, counts in no sum and never reaches D1', async () => {
    const account = await newAccount();
    const secret = await gateway.newKey(account);
    const { body, headers } = await respond(secret, { model: 'claude-sim', input: 'hello' });
    await gateway.receipt(secret, headers);
    const [row, ...others] = keptBy(account);
    assert.deepEqual([others.length, row.bytes, row.upto], [0, row.sealed.length, row.sealed.length]);
    assert.match(row.sealed, /^[0-9a-f]+$/);
    const words = Buffer.from(row.sealed, 'hex').toString('latin1');
    for (const word of ['You said', body.output[0].id, 'output_text']) assert.ok(!words.includes(word), word);
    const { receipts } = await audit(gateway, secret);
    assert.equal(receipts.size, 1);
    const copied = await until(async () => {
      const rows = await select(gateway, 'SELECT * FROM journal WHERE account = ?', account);
      return rows.some(({ kind }) => kind === 'receipt') && rows;
    }, 'the copy');
    assert.ok(!JSON.stringify(copied).includes(row.sealed.slice(0, 40)));
    const tables = await select(gateway, "SELECT name FROM sqlite_master WHERE type = 'table'");
    assert.ok(!tables.some(({ name }) => name === 'kept_answers'));
  });

  test('is nothing where the request says so, or a provider keeps it', async () => {
    const account = await newAccount();
    const secret = await gateway.newKey(account);
    const { body, headers } = await respond(secret, { model: 'open-sim', input: 'hello', store: false });
    await gateway.receipt(secret, headers);
    await gateway.receipt(secret, (await respond(secret, { model: 'gpt-sim', input: 'hello' })).headers);
    await gateway.receipt(secret, await gateway.call(secret, 'open-sim'));
    assert.deepEqual([body.store, keptBy(account)], [false, []]);
  });

  test('is for the key alone that it was given to', async () => {
    const account = await newAccount();
    const [own, other, stranger] = [await gateway.newKey(account), await gateway.newKey(account), await gateway.newKey(await newAccount())];
    const { body: { output } } = await respond(own, { model: 'open-sim', input: 'hello' });
    const second = { model: 'open-sim', input: [user('hello'), ...output.map(reference), user('and?')] };
    assert.equal((await respond(own, second)).status, 200);
    for (const secret of [other, stranger]) {
      const { status, body: { error } } = await respond(secret, second);
      assert.deepEqual([status, error.code, error.param], [400, 'invalid_request', 'input[1].id']);
      assert.match(error.message, /`store: false` \(AI SDK: `providerOptions: { openai: { store: false } }`\)/);
    }
  });

  test('is explained as it would be served', async () => {
    const secret = await gateway.newKey(await newAccount());
    const { body: { output } } = await respond(secret, { model: 'open-sim', input: 'hello' });
    const explain = async (id) => {
      const body = JSON.stringify({ model: 'claude-sim', input: [user('hello'), { type: 'item_reference', id }] });
      const answer = await gateway.fetch(secret, '/v1/route?endpoint=/v1/responses', { method: 'POST', body });
      return { status: answer.status, ...(await answer.json()) };
    };
    const { status, callable, attempts } = await explain(output[0].id);
    assert.deepEqual([status, callable, attempts[0].channel], [200, true, 'anthropic']);
    assert.equal((await explain(output[0].id.replace('_0', '_7'))).error.param, 'input[1].id');
  });

  test('is there after the runtime was killed', async () => {
    const secret = await gateway.newKey(await newAccount());
    const { body: { output }, headers } = await respond(secret, { model: 'open-sim', input: 'hello' });
    await gateway.receipt(secret, headers);
    await gateway.kill();
    await until(async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
    const { status, body } = await respond(secret, { model: 'open-sim', input: [user('hello'), ...output.map(reference), user('and?')] });
    assert.equal(status, 200, JSON.stringify(body));
  });

  test('is gone after a day, and its row soon after', async () => {
    const account = await newAccount();
    const secret = await gateway.newKey(account);
    const { body: { output }, headers } = await respond(secret, { model: 'open-sim', input: 'hello' });
    await gateway.receipt(secret, headers);
    const second = { model: 'open-sim', input: [user('hello'), ...output.map(reference), user('and?')], store: false };
    await gateway.advance(23 * hour_ms);
    assert.equal((await respond(secret, second)).status, 200);
    await gateway.advance(hour_ms);
    const { status, body: { error } } = await respond(secret, second);
    assert.deepEqual([status, error.param], [400, 'input[1].id']);
    await gateway.advance(2 * hour_ms);
    await until(() => keptBy(account).length === 0, 'the alarm');
    await audit(gateway, secret);
  });
});

test('the oldest leave where an account has no more room', async () => {
  const gateway = await startGateway({ catalog: dialectCatalog, vars: dialectVars });
  try {
    const account = await gateway.newAccount({ credit: '10' });
    const secret = await gateway.newKey(account);
    const keep = async () => gateway.receipt(secret, (await respond(secret, { model: 'open-sim', input: 'hello' }, gateway)).headers);
    for (let n = 0; n < 3; n += 1) await keep();
    const rows = keptBy(account, gateway);
    // As if each were of 100 MB.
    const grown = 'UPDATE kept_answers SET bytes = 100000000, upto = 100000000 * (SELECT COUNT(*) FROM kept_answers k WHERE k.seq <= kept_answers.seq)';
    await reopen(gateway, () => changeObject(gateway, account, grown));
    await keep();
    const left = await until(() => {
      const left = keptBy(account, gateway);
      return left.length === 3 && left;
    }, 'the alarm');
    assert.deepEqual(left.slice(0, 2).map(({ seq }) => seq), rows.slice(1).map(({ seq }) => seq));
    assert.equal(left[2].upto, 300_000_000 + left[2].bytes);
  } finally {
    await gateway.close();
  }
});

test('the share that came from the cache stands on the receipt and on the run', async () => {
  const secret = await gateway.newKey(await newAccount());
  const answer = await gateway.call(secret, 'gpt-cached', { 'x-tf-run': 'cached-run' });
  const { usage, cache } = await gateway.receipt(secret, answer);
  assert.ok(usage.cached_input > 0);
  const went_in = usage.input + usage.cached_input;
  assert.deepEqual(cache, { input_tokens: went_in, read_tokens: usage.cached_input, write_tokens: 0, share: (usage.cached_input / went_in).toFixed(2) });
  assert.deepEqual((await gateway.get(secret, '/v1/runs/cached-run')).cache, cache);
});

test('the changing billing line of Claude Code goes to nobody, and is named', async () => {
  const secret = await gateway.newKey(await newAccount());
  for (const model of ['claude-sim', 'open-sim', 'gemini-sim']) {
    const sent = [];
    for (const cch of ['abc12', 'def34']) {
      const system = [{ type: 'text', text: `x-anthropic-billing-header: cc_version=2.1.197; cc_entrypoint=cli; cch=${cch};` }, { type: 'text', text: 'Be brief.' }];
      const answer = await gateway.fetch(secret, '/v1/messages', {
        method: 'POST', headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' },
        body: JSON.stringify({ model, max_tokens: 50, system, messages: [user('hello')] }),
      });
      assert.equal(answer.status, 200);
      await answer.text();
      assert.equal(answer.headers.get('x-tf-dropped-parameters'), 'x-anthropic-billing-header');
      assert.deepEqual((await gateway.receipt(secret, answer)).dropped_parameters, ['x-anthropic-billing-header']);
      sent.push(JSON.stringify(lastSent()));
    }
    assert.equal(sent[0], sent[1]);
    assert.ok(!sent[0].includes('billing') && sent[0].includes('Be brief.'), sent[0]);
  }
});
