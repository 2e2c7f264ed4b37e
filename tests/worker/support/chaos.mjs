// What the chaos test is made of: an upstream that fails in many ways and writes down all that it
// was asked and gave; clients that retry and hang up; and a hand that kills the runtime, stops it
// for a while, and breaks D1.
import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { until } from './gateway.mjs';

/** `served`: the upstream has handed over an answer. `answered`: a client has one whole. */
const signs = new EventEmitter();

/** Numbers in [0, 1) that are the same for the same parts. */
export function randomOf(...parts) {
  let state = createHash('sha256').update(parts.join('/')).digest().readUInt32LE(0);
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One of a list of [weight, value]. */
export function pick(random, weighted) {
  let left = random() * weighted.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, value] of weighted) if ((left -= weight) < 0) return value;
  return weighted.at(-1)[1];
}

export const between = (random, least, most) => least + Math.floor(random() * (most - least + 1));

// ---------------------------------------------------------------- upstream

const troubles = [[5, '429'], [6, '500'], [3, '503'], [2, '400'], [5, 'reset'], [0.5, 'hang'], [6, 'cut']];
const plainWays = [[66, 'good'], [7, 'slow'], [6, 'no-usage']];
const streamWays = [[30, 'good'], [40, 'paced'], [8, 'running-usage'], [5, 'no-usage']];
const streamCuts = [[4, 'cut'], [2, 'no-done'], [2, 'error-event'], [1, 'silent']];
/** How likely trouble is, by channel. */
const troubleOf = { main: 0.35, draining: 0.25, backup: 0.12, third: 0.15, flood: 0 };

/**
 * Starts the upstream. Each channel is a path of its own: `/main/v1`. What it does with a request
 * depends on the seed, the token in the prompt and how often that token came before.
 * @returns {Promise<{url: string, log: object[], close: () => Promise<void>}>} `log`, one row for each
 *   request: channel, token, at, way, status, usage (as last reported, or none), usages (all that
 *   were reported), said (bytes of text that were sent), complete (all of it was handed over), endedAt
 */
export async function startFlaky(seed) {
  const log = [];
  const seen = new Map();
  const server = createServer((request, response) => {
    if (request.method === 'GET') {
      response.setHeader('content-type', 'application/json');
      return response.end(JSON.stringify({ object: 'list', data: [] }));
    }
    const row = {
      channel: request.url.split('/')[1], token: null, at: Date.now(), way: null, status: null, usage: undefined, usages: [],
      said: 0, complete: false, endedAt: null,
    };
    log.push(row);
    response.on('finish', () => {
      row.complete = row.status === 200 && row.isAnswer === true;
      if (row.complete) signs.emit('served');
    });
    response.on('close', () => (row.endedAt = Date.now()));
    response.on('error', () => {});
    return answer(request, response, row).catch((error) => {
      if (!response.destroyed) throw error;
    });
  });
  async function answer(request, response, row) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = JSON.parse(Buffer.concat(parts));
    row.token = /req-\d+/.exec(body.messages[0].content)[0];
    row.model = body.model;
    row.stream = body.stream === true;
    const nth = seen.get(row.token) ?? 0;
    seen.set(row.token, nth + 1);
    const random = randomOf(seed, row.token, nth);
    const isTrouble = random() < troubleOf[row.channel];
    row.way = row.channel === 'flood' ? 'flood' : isTrouble ? pick(random, row.stream ? [...troubles, ...streamCuts] : troubles) : pick(random, row.stream ? streamWays : plainWays);
    await new Serving(response, row, random).serve();
  }
  server.keepAliveTimeout = 0;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    log,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One answer of the upstream. */
class Serving {
  constructor(response, row, random) {
    Object.assign(this, { response, row, random });
    this.closed = new Promise((resolve) => response.on('close', resolve));
    const words = between(random, 3, row.stream ? 45 : 60);
    this.words = Array.from({ length: words }, (_, index) => `${index ? ' ' : ''}${row.token}${'x'.repeat(between(random, 0, 12))}`);
    const prompt = between(random, 40, 300);
    const cached = random() < 0.4 ? between(random, 1, prompt) : 0;
    const reasoning = random() < 0.3 ? between(random, 1, 200) : 0;
    this.usage = {
      prompt_tokens: prompt, completion_tokens: words + reasoning, total_tokens: prompt + words + reasoning,
      prompt_tokens_details: { cached_tokens: cached }, completion_tokens_details: { reasoning_tokens: reasoning },
    };
  }

  async pause(ms) {
    let timer;
    await Promise.race([new Promise((resolve) => (timer = setTimeout(resolve, ms))), this.closed]);
    clearTimeout(timer);
  }

  serve() {
    const { row, response } = this;
    const refusal = { 429: 'rate_limit_exceeded', 500: 'server_error', 503: 'overloaded', 400: 'context_length_exceeded' }[row.way];
    if (refusal) {
      row.status = Number(row.way);
      response.writeHead(row.status, { 'content-type': 'application/json', ...(row.status === 429 && { 'retry-after': '1' }) });
      return this.pause(0).then(() => response.end(JSON.stringify({ error: { message: 'no', type: refusal, param: null, code: refusal } })));
    }
    if (row.way === 'reset') return this.pause(between(this.random, 0, 300)).then(() => response.socket?.resetAndDestroy());
    if (row.way === 'hang') return this.closed;
    return row.stream ? this.streamed() : this.plain();
  }

  async plain() {
    const { row, response } = this;
    await this.pause(row.way === 'slow' ? between(this.random, 500, 2600) : between(this.random, 0, 120));
    if (response.destroyed) return;
    const content = this.words.join('');
    const answer = {
      id: `chatcmpl-${row.token}`, object: 'chat.completion', created: 1760000000, model: row.model,
      choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
      ...(row.way !== 'no-usage' && { usage: this.usage }),
    };
    const text = JSON.stringify(answer);
    row.status = 200;
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    if (row.way === 'cut') {
      response.write(text.slice(0, text.length / 2));
      await this.pause(50);
      return response.socket?.resetAndDestroy();
    }
    row.isAnswer = true;
    row.said = Buffer.byteLength(JSON.stringify(content)) - 2;
    if (answer.usage) this.report(answer.usage);
    response.end(text);
  }

  report(usage) {
    this.row.usage = usage;
    this.row.usages.push(usage);
  }

  event(value) {
    if (!this.response.destroyed) this.response.write(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`);
  }

  chunk(delta, finish_reason = null, usage = undefined) {
    const head = { id: `chatcmpl-${this.row.token}`, object: 'chat.completion.chunk', created: 1760000000, model: this.row.model };
    this.event({ ...head, choices: delta ? [{ index: 0, delta, finish_reason }] : [], ...(usage && { usage }) });
  }

  async streamed() {
    const { row, response } = this;
    await this.pause(between(this.random, 0, 150));
    if (response.destroyed) return;
    row.status = 200;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const isSlow = !['good', 'no-usage'].includes(row.way) || this.random() < 0.2;
    const gap = isSlow ? between(this.random, 3, 70) : 0;
    const last = ['cut', 'error-event', 'silent'].includes(row.way) ? between(this.random, 1, this.words.length - 1) : this.words.length;
    this.chunk({ role: 'assistant', content: '' });
    if (row.way === 'flood') return this.flood();
    for (const [index, word] of this.words.slice(0, last).entries()) {
      if (gap > 0) await this.pause(gap);
      if (response.destroyed) return;
      row.said += Buffer.byteLength(JSON.stringify(word)) - 2;
      if (row.way === 'running-usage') {
        const tokens = index + 1;
        const soFar = { ...this.usage, completion_tokens: tokens, completion_tokens_details: { reasoning_tokens: 0 }, total_tokens: this.usage.prompt_tokens + tokens };
        this.report(soFar);
        this.chunk({ content: word }, null, soFar);
      } else {
        this.chunk({ content: word });
      }
    }
    if (row.way === 'cut') {
      // A reset discards what the other side has not read yet.
      await this.pause(60);
      return response.socket?.resetAndDestroy();
    }
    if (row.way === 'silent') return this.closed;
    if (row.way === 'error-event') {
      this.event({ error: { message: 'gone', type: 'server_error', param: null, code: null } });
      return response.end();
    }
    if (row.way === 'no-done') return response.end();
    this.chunk({}, 'stop');
    if (row.way !== 'no-usage') {
      this.report(this.usage);
      this.chunk(undefined, null, this.usage);
    }
    row.isAnswer = true;
    this.event('[DONE]');
    response.end();
  }

  /** An answer so large that it gets stuck where its client does not read. */
  async flood() {
    const { row, response } = this;
    const head = { id: `chatcmpl-${row.token}`, object: 'chat.completion.chunk', created: 1760000000, model: row.model };
    const event = `data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta: { content: 'some words ' }, finish_reason: null }], filler })}\n\n`;
    for (let times = 0; times < 250; times += 1) {
      if (response.destroyed) return;
      row.said += 11;
      if (!response.write(event)) await Promise.race([once(response, 'drain'), this.closed]).catch(() => {});
    }
    this.usage = { ...this.usage, completion_tokens: 500, completion_tokens_details: { reasoning_tokens: 0 } };
    this.report(this.usage);
    this.chunk(undefined, null, this.usage);
    row.isAnswer = true;
    this.event('[DONE]');
    response.end();
  }
}

const filler = 'x'.repeat(64 * 1024);

// ---------------------------------------------------------------- clients

/**
 * One HTTP request of a client, on a connection of its own, and what it saw of the answer.
 * @param {{afterMs?: number, afterBytes?: number, reset?: boolean, stallMs?: number}} [leave] when it hangs up, or for how long it does not read
 * @returns {Promise<object>} start, end, id, status, replayed, whole, text, usage, code, receipt,
 *   left (it hung up), stalledAt and readAt (when it did not read), broken (the connection failed; `never` where none was made)
 */
export function send(url, secret, body, headers, leave) {
  const seen = { start: Date.now(), end: 0, id: null, status: null, replayed: false, whole: false, raw: '', text: '', left: false, broken: null };
  return new Promise((resolve) => {
    const request = httpRequest(`${url}/v1/chat/completions`, {
      method: 'POST', agent: false, headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers },
    });
    const timers = [];
    const end = (broken) => {
      if (seen.end) return;
      seen.end = Date.now();
      seen.broken = seen.left ? null : broken;
      timers.forEach(clearTimeout);
      read(seen, body);
      if (seen.whole) signs.emit('answered');
      resolve(seen);
    };
    const hangUp = () => {
      if (seen.end) return;
      seen.left = true;
      if (leave?.reset) request.socket?.resetAndDestroy();
      request.destroy();
      end(null);
    };
    if (leave?.afterMs !== undefined) timers.push(setTimeout(hangUp, leave.afterMs));
    timers.push(setTimeout(() => { seen.timedOut = true; request.destroy(); end('timeout'); }, 25_000));
    request.on('error', (error) => end(error.code === 'ECONNREFUSED' ? 'never' : (error.code ?? error.message)));
    request.on('response', (response) => {
      seen.status = response.statusCode;
      seen.id = response.headers['x-generation-id'] ?? null;
      seen.replayed = response.headers['x-tf-replayed'] === 'true';
      seen.attempts = response.headers['x-tf-attempts'];
      response.setEncoding('utf8');
      response.on('data', (data) => {
        seen.raw += data;
        if (leave?.stallMs && seen.stalledAt === undefined) {
          seen.stalledAt = Date.now();
          response.pause();
          timers.push(setTimeout(() => { seen.readAt = Date.now(); response.resume(); }, leave.stallMs));
        }
        if (leave?.afterBytes !== undefined && seen.raw.length >= leave.afterBytes) hangUp();
      });
      response.on('error', (error) => end(error.code ?? error.message));
      response.on('close', () => end(response.complete ? null : 'cut'));
    });
    request.end(body);
  });
}

/** What the bytes of an answer say. */
function read(seen, body) {
  const { raw, status } = seen;
  delete seen.raw;
  seen.bytes = raw.length;
  if (status === null) return;
  if (status === 200 && JSON.parse(body).stream && raw.startsWith('data:')) {
    for (const event of raw.split('\n\n')) {
      const data = event.split('\n').find((line) => line.startsWith('data: '))?.slice(6);
      if (data === undefined) continue;
      if (data === '[DONE]') seen.done = true;
      else {
        try {
          const chunk = JSON.parse(data);
          seen.text += chunk.choices?.[0]?.delta?.content ?? '';
          if (chunk.usage) seen.cost = costIn(data);
          if (chunk.error) seen.code = chunk.error.code;
        } catch {}
      }
    }
    seen.whole = seen.done === true && !seen.broken;
    return;
  }
  try {
    const answer = JSON.parse(raw);
    seen.code = answer.error?.code;
    seen.receipt = answer.error?.metadata?.receipt;
    seen.message = answer.error?.message;
    if (status === 200) {
      seen.whole = answer.choices !== undefined;
      seen.text = answer.choices?.[0]?.message.content ?? '';
      seen.cost = costIn(raw);
      seen.isReceipt = answer.choices === undefined;
    }
  } catch {}
}

const costIn = (json) => /"cost":\s*([0-9.]+)/.exec(json)?.[1];

// ---------------------------------------------------------------- the hand

/** Ways in which D1 fails, and how each is mended. */
const breakages = [
  ['journal away', ['ALTER TABLE journal RENAME TO journal_away'], ['ALTER TABLE journal_away RENAME TO journal']],
  ['journal refuses', ["CREATE TRIGGER refuse BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, 'full'); END"], ['DROP TRIGGER refuse']],
  ['some rows refused', ["CREATE TRIGGER refuse BEFORE INSERT ON journal WHEN NEW.seq % 5 = 0 BEGIN SELECT RAISE(ABORT, 'full'); END"], ['DROP TRIGGER refuse']],
  ['sums away', ['ALTER TABLE usage_days RENAME TO usage_away'], ['ALTER TABLE usage_away RENAME TO usage_days']],
];

/**
 * Kills, stops and breaks until it has made so many kills.
 * @returns {Promise<{kills: object[], pauses: object[], stretches: object[], alarms: object[]}>} each with from and to in milliseconds
 */
export async function havoc(gateway, { seed, kills: wanted, pauses: mostPauses, isOver }) {
  const random = randomOf(seed, 'havoc');
  const done = { kills: [], pauses: [], stretches: [], reconciles: 0, alarms: [] };
  let broken;
  const statements = async (list) => {
    const { DB } = await gateway.bindings();
    await DB.batch(list.map((statement) => DB.prepare(statement)));
  };
  const mend = async () => {
    await statements(broken.mend);
    done.stretches.push({ name: broken.name, from: broken.from, to: Date.now() });
    broken = undefined;
  };
  while (done.kills.length < wanted && !isOver()) {
    await sleep(between(random, 200, 1600));
    const act = pick(random, [[6, 'kill'], [3, 'd1'], [3, 'look'], [done.pauses.length < mostPauses ? 1.6 : 0, 'pause']]);
    if (act === 'kill') {
      done.kills.push(await kill(gateway, random));
    } else if (act === 'pause') {
      const from = Date.now();
      const pid = await workerdPid();
      process.kill(pid, 'SIGSTOP');
      await sleep(between(random, 1500, 4500));
      process.kill(pid, 'SIGCONT');
      done.pauses.push({ from, to: Date.now() });
      // Otherwise what comes late would mostly be killed.
      await sleep(1500);
    } else if (act === 'd1' && broken === undefined) {
      const [name, damage, repair] = breakages[Math.floor(random() * breakages.length)];
      await statements(damage);
      broken = { name, mend: repair, from: Date.now() };
    } else if (act === 'd1') {
      await mend();
    } else if (broken === undefined) {
      // In the middle of it all the operator's own comparison must not cry wolf.
      const look = () => gateway.admin('GET', '/admin/v1/reconcile?limit=50').catch((error) => ({ ok: true, failed: error.message }));
      for (let times = 0; times < 5; times += 1) {
        const report = await look();
        done.reconciles += 1;
        if (!report.ok) done.alarms.push({ at: Date.now(), differences: report.data.filter(({ ok }) => !ok).flatMap(({ account, head, copied, differences }) => ({ account, head, copied, differences })) });
      }
    }
  }
  if (broken) await mend();
  return done;
}

/** Kills the runtime, at any moment or in the middle of the end of a request; waits until another one serves. */
async function kill(gateway, random) {
  const aim = pick(random, [[4, 'any'], [3, 'served'], [3, 'answered']]);
  const pid = await workerdPid();
  if (aim !== 'any') {
    await Promise.race([once(signs, aim), sleep(1000)]);
    const wait = between(random, 0, 12);
    if (wait > 2) await sleep(wait);
  }
  const from = Date.now();
  process.kill(pid, 'SIGKILL');
  const to = Date.now() + 2;
  const isUp = async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok;
  await until(isUp, 'a new runtime', 30_000);
  return { aim, from, to, upAt: Date.now() };
}

/** The workerd that this process runs. */
async function workerdPid() {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,args=']);
  const processes = stdout.split('\n').map((row) => row.trim().split(/\s+/));
  const own = processes.find(([, parent, ...args]) => Number(parent) === process.pid && args[0]?.includes('workerd'));
  return own && Number(own[0]);
}

/** Notes when this process, which is upstream and clients at once, stood still; ends with the signal. */
export async function noteStalls(stalls, signal) {
  for (let at = Date.now(); !signal.aborted; ) {
    await sleep(20);
    const now = Date.now();
    if (now - at > 150) stalls.push({ from: at, to: now });
    at = now;
  }
}
