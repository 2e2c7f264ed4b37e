// Small balances: what is listed as callable answers a plain call, calls side by side are all served, and the limit that went
// upstream is the one of the header, the receipt and the plan. The model's own limit costs far more than these accounts have.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { startGateway } from './support/gateway.mjs';
import { testCatalog } from './support/catalog.mjs';

const floor = 4096;
const price = { input: '1.25', output: '10' };

let gateway;
before(async () => {
  const catalog = (upstreamUrl) => {
    const made = testCatalog(upstreamUrl);
    made.buckets.credit.top_up_url = 'https://pay.example/credit';
    for (const name of ['demo-large', 'demo-small', 'no-usage', 'slow-stream']) Object.assign(made.models[name], { max_output_tokens: 128_000, context_length: 400_000 });
    for (const name of ['demo-large', 'demo-small', 'no-usage', 'slow-stream']) made.models[name].routes.official.price = price;
    return made;
  };
  gateway = await startGateway({ catalog });
});
after(() => gateway?.close());

const plain = (more = {}) => ({ model: 'demo-large', messages: [{ role: 'user', content: 'Hello' }], ...more });
const credit = async (secret) => (await gateway.get(secret, '/v1/balances')).data.find(({ bucket }) => bucket === 'credit');
/** What went upstream in a call whose message is this. */
const sent = (content) => gateway.upstream.requests.filter(({ body }) => body?.messages?.[0]?.content === content).map(({ body }) => body.max_tokens);

describe('a plain call', () => {
  test('is served where its model is listed, streamed or not, over balances down to nothing', async () => {
    const account = await gateway.newAccount({ credit: '0.5' });
    const secret = await gateway.newKey(account);
    const seen = { callable: 0, refused: 0 };
    for (let left = 0.5; ; ) {
      const entry = (await gateway.get(secret, '/v1/models?include=unavailable')).data.find(({ id }) => id === 'demo-large');
      for (const stream of [false, true]) {
        const answer = await gateway.call(secret, plain(stream ? { stream } : {}));
        const text = await answer.text();
        assert.equal(answer.status, entry.tf.callable ? 200 : 402, `${left}: ${text}`);
        if (entry.tf.callable) {
          seen.callable += 1;
          const receipt = await gateway.receipt(secret, answer);
          assert.ok(Number(receipt.charge) <= Number(receipt.hold) && Number(receipt.balance_after) >= 0);
          assert.ok(receipt.output_limit.tokens >= floor && receipt.output_limit.by === 'balance');
          assert.equal(answer.headers.get('x-tf-output-limit'), String(receipt.output_limit.tokens));
        } else {
          seen.refused += 1;
          assert.deepEqual(entry.tf.reasons.map(({ code }) => code), ['insufficient_balance']);
          // What it may cost goes by the length of the body, which is another for each client.
          const [balance] = entry.tf.reason.split(', and this');
          assert.ok(JSON.parse(text).error.message.startsWith(`${balance}, and this request may cost 0.041`), text);
        }
      }
      if (left < 0.002) break;
      const { balance } = await credit(secret);
      left = Number(balance) * 0.6;
      await gateway.admin('POST', `/admin/v1/accounts/${account}/adjustments`, { bucket: 'credit', amount: (left - Number(balance)).toFixed(9), reason: 'less' });
    }
    assert.ok(seen.callable >= 6 && seen.refused >= 6, JSON.stringify(seen));
  });

  test('is planned as it is made: limit, reason and hold', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '2' }));
    const body = plain({ messages: [{ role: 'user', content: 'planned' }] });
    const plan = await (await gateway.fetch(secret, '/v1/route', { method: 'POST', body: JSON.stringify(body) })).json();
    const [{ output_limit }] = plan.attempts;
    assert.match(output_limit.because, /^128,000 -> 49,\d{3} tokens, because there is 2 USD of `credit` free: /);
    const answer = await gateway.call(secret, body);
    const receipt = await gateway.receipt(secret, answer);
    assert.deepEqual(receipt.output_limit, output_limit);
    assert.deepEqual(sent('planned'), [output_limit.tokens]);
    assert.deepEqual([receipt.hold, plan.quote, plan.quotes[0].amount], ['0.5', '0.5', '0.5']);
    assert.deepEqual((await answer.json()).usage.cost_details.output_limit, { ...output_limit, reached: false });
  });

  test('that is not covered says what would be, and that is', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '0.03' }));
    for (const field of ['max_tokens', 'max_completion_tokens']) {
      const refused = await gateway.call(secret, plain(field === 'max_tokens' ? {} : { [field]: 100_000 }));
      assert.equal(refused.status, 402);
      const { message, metadata } = (await refused.json()).error;
      const [, balance, limit] = new RegExp(`The balance \`credit\` is ([\\d.]+) USD, and this request may cost [\\d.]+ USD\\..* Set \`${field}\` to ([\\d,]+) or less, or top up \`credit\` at https://pay.example/credit\\.$`).exec(message);
      assert.equal(balance, (await credit(secret)).balance);
      const tokens = Number(limit.replaceAll(',', ''));
      assert.equal(tokens, metadata.affordable_max_tokens);
      assert.equal((await gateway.call(secret, plain({ [field]: tokens }))).status, 200);
    }
  });

  test('with "fit": "never" is served as it is or refused', async () => {
    const account = await gateway.newAccount({ credit: '0.5' });
    const [usual, never] = [await gateway.newKey(account), await gateway.newKey(account, { fit: 'never' })];
    assert.equal((await gateway.call(usual, plain({ fit: 'never' }))).status, 402);
    assert.equal((await gateway.call(usual, plain(), { 'x-tf-fit': 'never' })).status, 402);
    assert.equal((await gateway.call(never, plain())).status, 402);
    assert.equal((await gateway.call(never, plain({ fit: 'balance' }))).status, 200);
    const [listed, hidden] = await Promise.all([usual, never].map(async (secret) => (await gateway.get(secret, '/v1/models')).data.some(({ id }) => id === 'demo-large')));
    assert.deepEqual([listed, hidden], [true, false], 'the list is about the key that asks');
    assert.equal((await gateway.call(usual, plain(), { 'x-tf-fit': 'perhaps' })).status, 400);
  });
});

describe('calls side by side', () => {
  const atOnce = async (count, secret, body) => {
    const answers = await Promise.all(Array.from({ length: count }, () => gateway.call(secret, body)));
    await Promise.all(answers.map((answer) => answer.text()));
    return answers;
  };

  for (const [balance, count] of [['0.05', 20], ['0.1', 20], ['0.45', 20], ['2', 20], ['5', 20]]) {
    test(`${count} plain calls are all served from ${balance} USD`, async () => {
      const secret = await gateway.newKey(await gateway.newAccount({ credit: balance }));
      const answers = await atOnce(count, secret, plain());
      assert.deepEqual(answers.map(({ status }) => status), Array.from({ length: count }, () => 200));
      const receipts = await Promise.all(answers.map((answer) => gateway.receipt(secret, answer)));
      const charged = receipts.reduce((sum, { charge }) => sum + Math.round(Number(charge) * 1e9), 0);
      const { balance: left, held } = await credit(secret);
      assert.equal(Math.round(Number(left) * 1e9), Math.round(Number(balance) * 1e9) - charged);
      assert.equal(held, '0');
      for (const { charge, hold, balance_after } of receipts) assert.ok(Number(charge) <= Number(hold) && Number(balance_after) >= 0);
    });
  }

  test('ten calls of a coding agent with a large limit are served from 2 USD', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '2' }));
    const tools = [{ type: 'function', function: { name: 'edit', description: 'x'.repeat(40_000), parameters: { type: 'object', properties: {} } } }];
    for (const stream of [false, true]) {
      const answers = await atOnce(10, secret, plain({ max_tokens: 64_000, tools, stream }));
      assert.deepEqual(answers.map(({ status }) => status), Array.from({ length: 10 }, () => 200));
    }
  });

  test('who leaves while it waits has a receipt, and nothing stays held', async () => {
    const secret = await gateway.newKey(await gateway.newAccount({ credit: '0.045' }));
    const first = await gateway.call(secret, { model: 'slow-stream', stream: true });
    const second = request(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' } });
    second.on('error', () => {});
    second.on('response', () => assert.fail('it was answered'));
    second.end(JSON.stringify(plain()));
    await new Promise((resolve) => setTimeout(resolve, 300));
    // The local runtime notices a reset at once, and a plain end only when it writes.
    second.socket.resetAndDestroy();
    await first.text();
    await gateway.receipt(secret, first);
    for (let tries = 0; ; tries += 1) {
      const { data } = await gateway.get(secret, '/v1/receipts');
      const left = data.find(({ status, hold }) => status === 'aborted' && hold === null);
      if (left) {
        assert.deepEqual([left.error.code, left.charge], ['client_left', '0']);
        break;
      }
      assert.ok(tries < 50, JSON.stringify(data.map(({ status, model }) => [status, model])));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal((await credit(secret)).held, '0');
  });
});
