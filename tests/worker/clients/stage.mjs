// What the tests of all clients share: one gateway with the catalogue of dialects, keys, an
// upstream that is busy once, and the table of client by area that the run prints.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dialectCatalog, dialectVars } from '../support/dialects.mjs';
import { plainAnswer, startScripted, usageOf } from '../support/expect.mjs';
import { startGateway } from '../support/gateway.mjs';

/** The smallest PNG, in base64: an image in a request is known again by it. */
export const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/** What the simulator says to "hello": 16 words, so 16 tokens. */
export const greeting = (model) => `You said: "hello". This is ${model}, a simulated model, and it answers the same each time.`;

/** The JSON Schema of the tool that the tests offer; its input is what the user said. */
export const weatherSchema = {
  type: 'object',
  properties: { city: { type: 'string', description: 'Where' } },
  required: ['city'],
  additionalProperties: false,
};

/** The JSON Schema of the structured answers, and what the simulator makes of it when told "hello". */
export const noteSchema = {
  type: 'object',
  properties: { said: { type: 'string' }, number: { type: 'integer' } },
  required: ['said', 'number'],
  additionalProperties: false,
};
export const note = { said: 'hello', number: 7 };

/** How long the busy upstream asks to be left alone, in seconds. */
const pause_s = 1;

/** One gateway and what stands around it. */
export class Stage {
  async open() {
    this.busy = await startBusy();
    this.gateway = await startGateway({ catalog: (url) => this.#catalog(url), vars: dialectVars });
    this.account = await this.gateway.newAccount({ credit: '100' });
    this.key = await this.gateway.newKey(this.account);
  }

  async close() {
    await this.gateway?.close();
    await this.busy?.close();
  }

  get url() {
    return this.gateway.url;
  }

  #catalog(upstreamUrl) {
    const catalog = dialectCatalog(upstreamUrl);
    catalog.channels.busy = { ...catalog.channels.compat, base_url: `${this.busy.url}/v1` };
    catalog.models.busy = structuredClone(catalog.models['open-sim']);
    catalog.models.busy.routes.official.candidates = [{ channel: 'busy', upstream_model: 'busy', tier: 0 }];
    return catalog;
  }

  /** A key that has no request a minute, at any time. */
  exhaustedKey() {
    return this.gateway.newKey(this.account, { rpm: 0 });
  }

  /** Checks what a request came to, by upstream's own count or by that of `source`. */
  async charged(answer, charge, usage, source = 'upstream') {
    const receipt = await this.receipt(answer);
    assert.deepEqual([receipt.status, receipt.charge], ['completed', charge], JSON.stringify(receipt.usage));
    if (usage) assert.deepEqual(usageOf(receipt), usage);
    assert.equal(receipt.usage_source, source);
    return receipt;
  }

  /** The receipt of a request: `answer` is its response, its headers or its id. */
  receipt(answer) {
    return this.gateway.receipt(this.key, answer);
  }

  /** Checks that a request was cut by upstream, and is free, as the catalogue says. */
  async truncated(answer) {
    const { status, charge } = await this.receipt(answer);
    assert.deepEqual([status, charge], ['truncated', '0']);
  }

  /** What went upstream last for a model of this name there. */
  sent(upstreamModel) {
    return this.gateway.upstream.requests.findLast(({ url, body, fields }) => (body ?? fields)?.model === upstreamModel || url.includes(`/${upstreamModel}:`));
  }

  /** Makes a call of model `busy` that is refused once, and checks that the client came back when it was told to. */
  async comesBack(call) {
    this.busy.refusals = 1;
    const before = this.busy.times.length;
    const result = await call();
    const [refused, answered] = this.busy.times.slice(before);
    assert.equal(this.busy.times.length, before + 2, 'one call and one more');
    assert.ok(answered - refused >= pause_s * 1000 - 50, `came back after ${answered - refused} ms`);
    return result;
  }
}

/** An OpenAI-compatible upstream that refuses as often as `refusals` says, and notes when it was called. */
async function startBusy() {
  const busy = { refusals: 0, times: [] };
  const scripted = await startScripted((_, response) => {
    busy.times.push(performance.now());
    const isBusy = busy.refusals > 0;
    busy.refusals -= isBusy ? 1 : 0;
    response.writeHead(isBusy ? 429 : 200, { 'content-type': 'application/json', ...(isBusy && { 'retry-after': String(pause_s) }) });
    response.end(JSON.stringify(isBusy ? { error: { message: 'Slow down.', type: 'requests', param: null, code: 'rate_limit_exceeded' } } : plainAnswer()));
  });
  return Object.assign(busy, { url: scripted.url, close: () => scripted.close() });
}

/** Client by area: how many checks there were, and how many of them failed. */
export class Table {
  #cells = new Map();
  #areas = [];
  #clients = [];

  note(client, area, passed) {
    if (!this.#clients.includes(client)) this.#clients.push(client);
    if (!this.#areas.includes(area)) this.#areas.push(area);
    const key = `${client}\n${area}`;
    const cell = this.#cells.get(key) ?? { passed: 0, failed: 0 };
    cell[passed ? 'passed' : 'failed'] += 1;
    this.#cells.set(key, cell);
  }

  /** A function that registers a check of one client as a test, and notes how it ended. */
  checker(client) {
    return (area, what, run) =>
      test(`${area}: ${what}`, async (t) => {
        let passed = false;
        try {
          await run(t);
          passed = true;
        } finally {
          this.note(client, area, passed);
        }
      });
  }

  /** The table as text: a row for each area, a column for each client; `ok 3` is three checks that passed. */
  toString() {
    const text = (client, area) => {
      const cell = this.#cells.get(`${client}\n${area}`);
      if (!cell) return '';
      return cell.failed ? `FAILED ${cell.failed}/${cell.passed + cell.failed}` : `ok ${cell.passed}`;
    };
    const rows = [['', ...this.#clients], ...this.#areas.map((area) => [area, ...this.#clients.map((client) => text(client, area))])];
    const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
    return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd()).join('\n');
  }
}
