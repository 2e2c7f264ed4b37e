// The gateway under test: the built Worker on the real runtime, the simulated upstream behind
// it, and the calls that tests make.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminApi } from '../../../scripts/admin-api.mjs';
import { startWorker } from '../../../scripts/runtime.mjs';
import { startUpstream } from '../../../scripts/upstream.mjs';
import { testCatalog } from './catalog.mjs';

export { sse, readStream } from './sse.mjs';

export const adminToken = 'test-admin-token-7Jq2Lr9Xw4Tn6Vb8Zk1Hs3Gd5';
/** What sessions of the pages are signed with. */
export const sessionSecret = 'test-session-secret-3Gd5Hs1Zk8Vb6Tn4Xw9Lr2Jq7';
/** What the platform answers by itself, besides the documentation; it takes GET and HEAD alone. */
export const files = ['/openapi.json', '/style.css', '/script.js', '/favicon.svg'];

/**
 * Starts a gateway with empty storage and the test catalogue.
 * @param {object} [options]
 * @param {(upstreamUrl: string) => object} [options.catalog] another catalogue
 * @param {Record<string, string>} [options.vars] more variables, or others
 * @param {boolean} [options.clock] its clock can be put forward
 * @param {boolean} [options.meter] what its Worker asks of the platform is counted, see `GET /__meter`
 * @param {boolean} [options.hasFiles] without files their router does not stand before the Worker either
 * @param {boolean} [options.isPrivate] catalogues are published as they are; otherwise customers see channels under their own
 *   names and the ids of models on them, which most tests look at
 */
export async function startGateway({ catalog = testCatalog, vars = {}, clock = false, meter = false, hasFiles = true, isPrivate = false } = {}) {
  const state = mkdtempSync(join(tmpdir(), 'tokens-forge-'));
  const logs = [];
  const upstream = await startUpstream();
  const worker = await startWorker({
    state,
    clock,
    meter,
    files: hasFiles,
    vars: { ADMIN_TOKEN: adminToken, SESSION_SECRET: sessionSecret, TEST_UPSTREAM_KEY: 'upstream-secret', ALLOW_PRIVATE_UPSTREAMS: 'true', ...vars },
    onLog: (entry) => logs.push(entry),
  });
  const gateway = new Gateway({ state, upstream, worker, logs, isPrivate });
  try {
    const document = catalog(upstream.url);
    upstream.add(...upstreamModels(document));
    await gateway.admin('PUT', '/admin/v1/catalog', document);
  } catch (error) {
    await gateway.close();
    throw error;
  }
  return gateway;
}

/** A catalogue whose customers see what the operator sees of its channels. */
function opened(document) {
  if (typeof document?.channels !== 'object' || document.channels === null) return document;
  const entries = Object.entries(document.channels).map(([id, channel]) => [id, { ...channel, label: id, shows_upstream_models: true }]);
  return { ...document, channels: Object.fromEntries(entries) };
}

/** The ids that a catalogue's models have upstream: there is nothing wrong with any of them until a test says so. */
function upstreamModels({ models }) {
  return Object.values(models).flatMap(({ routes }) => Object.values(routes).flatMap(({ candidates }) => candidates.map((candidate) => candidate.upstream_model)));
}

class Gateway {
  constructor({ state, upstream, worker, logs, isPrivate }) {
    this.state = state;
    /** The simulated upstream; `upstream.requests` is what reached it. */
    this.upstream = upstream;
    this.worker = worker;
    /** What the Worker wrote to its console: {level, message}. */
    this.logs = logs;
    this.url = worker.url;
    /** `baseURL` of the SDKs. */
    this.baseUrl = `${worker.url}/v1`;
    /** admin(method, path, body): the JSON of the answer, or an AdminError with status and body. */
    const admin = adminApi(worker.url, adminToken);
    this.admin = (method, path, body, headers) => {
      const isCatalog = method === 'PUT' && path.startsWith('/admin/v1/catalog');
      return admin(method, path, isCatalog && !isPrivate ? opened(body) : body, headers);
    };
  }

  /** The Worker's own bindings, `CONFIG` (KV) and `DB` (D1). Ask again after `kill`. */
  bindings() {
    return this.worker.bindings();
  }

  /** One run of the cron trigger. */
  scheduled() {
    return this.worker.scheduled();
  }

  /** Puts the gateway's clock forward, if it was started with `clock: true`; answers its time after it, in milliseconds. */
  advance(ms) {
    return this.worker.advance(ms);
  }

  /** kill -9 of the runtime; resolves when a new one serves the same storage at the same URL. */
  kill() {
    return this.worker.kill();
  }

  /** A new account with so much in its buckets (decimal strings); answers its id. */
  async newAccount({ credit, wallet, name = 'Test' } = {}) {
    const { id } = await this.admin('POST', '/admin/v1/accounts', { name });
    for (const [bucket, amount] of Object.entries({ credit, wallet })) {
      if (amount === undefined) continue;
      await this.admin('POST', `/admin/v1/accounts/${id}/adjustments`, { bucket, amount, reason: 'test' });
    }
    return id;
  }

  /** A new key of an account; answers everything, `id` and `secret` among it. */
  createKey(account, policy = {}) {
    return this.admin('POST', `/admin/v1/accounts/${account}/keys`, { label: 'test', ...policy });
  }

  /** A new key of an account; answers its secret. */
  async newKey(account, policy) {
    return (await this.createKey(account, policy)).secret;
  }

  /** The secret of a key of a new account with plenty in both buckets. */
  async richKey(policy) {
    return this.newKey(await this.newAccount({ credit: '100', wallet: '100' }), policy);
  }

  /** A request by the holder of a key. */
  fetch(secret, path, { headers, ...init } = {}) {
    return fetch(this.url + path, { ...init, headers: { authorization: `Bearer ${secret}`, ...headers } });
  }

  /** GET by the holder of a key; the answer has to be JSON. */
  async get(secret, path) {
    return (await this.fetch(secret, path)).json();
  }

  /** A chat completion call; a string in place of the body is a model, asked to say hello. */
  call(secret, body, headers = {}, init = {}) {
    const request = typeof body === 'string' ? { model: body } : body;
    return this.fetch(secret, '/v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'hello' }], ...request }),
      ...init,
    });
  }

  /**
   * Makes a chat call and breaks the connection once so many bytes of the answer have come, 0
   * for as soon as the upstream has been called. Answers the headers, if any came.
   * A reset, because the local runtime notices a plain end only when it next writes.
   */
  async hangUp(secret, body, afterBytes) {
    const called = this.upstream.requests.length;
    const request = httpRequest(`${this.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    });
    request.on('error', () => {});
    request.end(JSON.stringify({ messages: [{ role: 'user', content: 'hello' }], ...body }));
    let headers;
    if (afterBytes === 0) {
      await until(() => this.upstream.requests.length > called, 'the call upstream');
    } else {
      const [response] = await once(request, 'response');
      headers = new Headers(response.headers);
      let seen = 0;
      response.on('error', () => {});
      await new Promise((resolve) => response.on('data', (data) => (seen += data.length) >= afterBytes && resolve()));
    }
    request.socket.resetAndDestroy();
    return headers;
  }

  /** The receipt of an answer (or of its headers, or by its id), waited for: settlement follows the answer. */
  receipt(secret, answer) {
    const id = typeof answer === 'string' ? answer : (answer.headers ?? answer).get('x-generation-id');
    return until(async () => {
      const response = await this.fetch(secret, `/v1/receipts/${id}`);
      if (response.ok) return response.json();
      await response.body?.cancel();
    }, `the receipt ${id}`);
  }

  async close() {
    await Promise.all([this.worker.close(), this.upstream.close()]);
    rmSync(this.state, { recursive: true, force: true });
  }
}

/** Repeats a look until it finds something, and answers that. */
export async function until(look, what = 'the condition', timeout_ms = 10_000) {
  const deadline = Date.now() + timeout_ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what} did not come about within ${timeout_ms} ms`);
    await sleep(25);
  }
}

/** Rates are counted by the minute of the clock; what belongs to one minute must not fall into two. */
export async function earlyInTheMinute() {
  const into = Date.now() % 60_000;
  if (into > 45_000) await sleep(60_100 - into);
}
