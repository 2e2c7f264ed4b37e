// Strangers and callers who do not pay, beside a customer who does. Each attack runs while the customer's streams and calls go
// on: not one of them may differ from a quiet run, nor may the books. What an attack cost the operator is printed.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { testCatalog } from './support/catalog.mjs';
import { readStream, startGateway, until } from './support/gateway.mjs';

let gateway, customer, account, quiet, broke, brokeAccount, own;
/** The customer's requests so far. */
let asked = 0;

before(async () => {
  gateway = await startGateway({ meter: true, catalog: patient });
  account = await gateway.newAccount({ credit: '100', wallet: '100' });
  customer = await gateway.newKey(account);
  brokeAccount = await gateway.newAccount();
  broke = await gateway.newKey(brokeAccount);
  quiet = await round();
  assert.equal(quiet.plain.status, 200);
  assert.deepEqual([quiet.stream.done, quiet.stream.broken], [true, undefined]);
  await usual();
});
after(() => gateway?.close());

/** The catalogue of the tests with channels that a slow machine does not give up. */
function patient(url) {
  const document = testCatalog(url);
  for (const channel of Object.values(document.channels)) Object.assign(channel, { first_byte_timeout_ms: 60_000, idle_timeout_ms: 60_000 });
  document.models['brief-stream'] = structuredClone(document.models['slow-stream']);
  document.models['brief-stream'].routes.official.candidates[0].upstream_model = 'brief-stream';
  return document;
}

/** What the customer does: a stream, and calls beside it. Answers what can be compared. */
async function round() {
  const streaming = gateway.call(customer, { model: 'brief-stream', stream: true, max_tokens: 50 }).then(readStream);
  const times = [];
  let plain;
  for (let n = 0; n < 3; n += 1) {
    const began = performance.now();
    const answer = await gateway.call(customer, { model: 'demo-large', max_tokens: 50 });
    const { choices, usage } = await answer.json();
    times.push(performance.now() - began);
    plain = { status: answer.status, text: choices?.[0].message.content, cost: usage?.cost };
  }
  const { text, done, broken, error, finishReason } = await streaming;
  asked += 4;
  return { plain, stream: { text, done, broken, error, finishReason }, times };
}

const newKey = () => `sk-tf-${randomBytes(24).toString('hex')}`;
const meter = async () => (await fetch(`${gateway.url}/__meter`)).json();

/** The processor time of the runtime so far, in milliseconds. */
async function cpu() {
  const pid = await gateway.worker.pid();
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** The rows in D1, when everything of the customer and of whoever has no money is there. */
async function rows() {
  await balanced();
  for (const of of [account, brokeAccount]) await gateway.admin('GET', `/admin/v1/reconcile?account=${of}`);
  const { DB } = await gateway.bindings();
  return (await DB.prepare('SELECT COUNT(*) AS n FROM journal').first()).n;
}

/** Runs an attack beside the customer; the attack answers how many requests it made. */
async function attacked(t, attack) {
  let isOver = false;
  const rounds = async () => {
    const times = [];
    do times.push(...(await compared(await round())).times);
    while (!isOver);
    return times;
  };
  const before = asked;
  let times;
  const cost = await spent(async () => {
    const beside = rounds();
    const requests = await attack().finally(() => (isOver = true));
    times = await beside;
    return requests;
  });
  const left = (name) => Math.max(0, Math.round(cost[name] - (own[name] * (asked - before)) / own.made));
  const names = ['kv_reads', 'd1_statements', 'object_calls', 'rows', 'cpu_ms'];
  const slowest = Math.max(...times).toFixed(0);
  t.diagnostic(`${cost.made} requests cost ${names.map((name) => `${name} ${left(name)}`).join(', ')}; the customer waited ${slowest} ms at most`);
  return Object.fromEntries(names.map((name) => [name, left(name)]));
}

/** Learns what the customer's own requests cost, from quiet rounds. */
async function usual() {
  own = await spent(async () => {
    for (let n = 0; n < 3; n += 1) await compared(await round());
    return 12;
  });
}

async function spent(work) {
  const written = await rows();
  const [counts, processor] = [await meter(), await cpu()];
  const made = await work();
  await sleep(300);
  const later = await meter();
  const differences = Object.fromEntries(Object.keys(counts).map((name) => [name, later[name] - counts[name]]));
  const cpu_ms = (await cpu()) - processor;
  return { ...differences, made, cpu_ms, rows: (await rows()) - written };
}

async function compared(now) {
  assert.deepEqual(now.plain, quiet.plain);
  assert.deepEqual(now.stream, quiet.stream);
  return now;
}

/** The customer's books: one receipt for each request, and what is gone is what they say. */
async function balanced() {
  const charges = await until(async () => {
    const found = [];
    for (let next = ''; next !== undefined; ) {
      const page = await gateway.get(customer, `/v1/receipts?limit=100${next && `&after=${next}`}`);
      found.push(...page.data);
      next = page.next ?? undefined;
    }
    return found.length >= asked && found.every(({ status }) => status === 'completed') && found;
  }, 'the receipts');
  assert.equal(charges.length, asked);
  const [{ balance, held }] = (await gateway.get(customer, '/v1/balances')).data;
  assert.equal(held, '0');
  const nanos = (text) => BigInt(Math.round(Number(text) * 1e9));
  assert.equal(nanos('100') - charges.reduce((sum, { charge }) => sum + nanos(charge), 0n), nanos(balance));
}

/** So many requests of a flood are on their way at once. */
const WIDTH = 16;
/** Statements of two copies of the customer's own rows: as many as may fall into an attack beyond those of quiet rounds. */
const COPIES = 16;
/** A gate is closed for good when so many were told so. */
const TOLD = 50;

/** Asks so often, some at once, or until the flood is over; answers how many answers had which status. */
async function flood(total, one, { width = WIDTH, isOver = () => false } = {}) {
  const statuses = {};
  let next = 0;
  await Promise.all(Array.from({ length: width }, async () => {
    while (next < total && !isOver(statuses)) {
      const answer = await one(next++);
      await answer.arrayBuffer();
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
      if (answer.status === 429) assert.ok(Number(answer.headers.get('retry-after')) > 0, 'says when to come back');
    }
  }));
  return statuses;
}

/**
 * Asks until a gate that lets so many through in a minute is closed; answers how many of its requests were let through, which is what they
 * may have cost, and how many there were. Gates count whole minutes, and one may end meanwhile.
 */
async function closed(most, one) {
  const minute = () => Math.floor(Date.now() / 60_000);
  const began = minute();
  const statuses = await flood(10 * most + 10 * TOLD, one, { isOver: (so) => so[429] >= TOLD });
  const made = Object.values(statuses).reduce((sum, count) => sum + count, 0);
  const through = made - (statuses[429] ?? 0);
  assert.ok(statuses[429] >= TOLD && through <= most * (minute() - began + 1) + WIDTH, JSON.stringify(statuses));
  return { statuses, through, made };
}

describe('before the caller is known', () => {
  test('nobody makes the gateway hold memory by announcing it', async (t) => {
    const sockets = [];
    const answers = [];
    const cost = await attacked(t, async () => {
      for (let n = 0; n < 110; n += 1) {
        const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
        sockets.push(socket);
        socket.on('error', () => {});
        socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${newKey()}\r\ncontent-type: application/json\r\ncontent-length: ${42 << 20}\r\n\r\n{`);
        answers.push(once(socket, 'data').then(([data]) => Number(String(data).split(' ')[1])));
      }
      for (const status of await Promise.all(answers)) assert.ok([401, 429].includes(status), `answered ${status}`);
      return 110;
    });
    for (const socket of sockets) socket.destroy();
    // At most those that were on their way before the first ones were found to be invented.
    assert.ok(cost.kv_reads <= 120, `${cost.kv_reads} reads for invented keys`);
    assert.equal(cost.rows, 0);
  });

  test('forms of strangers have a room of their own, and who has a key does not hold the gateway with bodies that do not come', async () => {
    const key = await gateway.newKey(await gateway.newAccount());
    const { host, port } = new URL(gateway.url);
    const opened = (head) => {
      const socket = connect(Number(port), '127.0.0.1');
      socket.on('error', () => {});
      socket.write(head);
      return socket;
    };
    const statusOf = (data) => Number(String(data).split(' ')[1]);
    const bodies = Array.from({ length: 20 }, () => opened(`POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: ${40 << 20}\r\n\r\n{`));
    const givenUp = Promise.all(bodies.map(async (socket) => statusOf((await once(socket, 'data'))[0])));
    const forms = Array.from({ length: 24 }, () => opened(`POST /login HTTP/1.1\r\nhost: ${host}\r\norigin: ${gateway.url}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: ${64 << 10}\r\n\r\nk`));
    const told = [];
    for (const socket of forms) socket.on('data', (data) => told.push(statusOf(data)));
    await compared(await round());
    // Of one address 16 fit; the others have no room, and those that have it are given up when nothing comes.
    await until(async () => told.length >= 24, 'the answers to forms that do not come', 40_000);
    assert.deepEqual([told.filter((status) => status === 503).length, told.filter((status) => status === 408).length], [8, 16]);
    for (const status of await givenUp) assert.equal(status, 408);
    for (const socket of [...bodies, ...forms]) socket.destroy();
    await balanced();
  });

  test('invented keys are looked up so many times a minute, and one key once', async (t) => {
    let found;
    const cost = await attacked(t, async () => {
      found = await closed(60, () => gateway.call(newKey(), 'demo-large'));
      return found.made;
    });
    // Keys that were looked up while the gate closed are told that it is.
    assert.ok(cost.kv_reads <= found.through + WIDTH && cost.object_calls <= 5, JSON.stringify({ ...cost, ...found }));
    const one = newKey();
    const again = await attacked(t, async () => {
      await flood(50, () => gateway.call(one, 'demo-large'));
      return 50;
    });
    assert.ok(again.kv_reads <= 20, `${again.kv_reads} reads for one key`);
  });

  test('wrong secrets are told to slow down, and the right ones work', async (t) => {
    for (const [what, one, usual] of [
      ['operator tokens', () => fetch(`${gateway.url}/admin/v1/accounts`, { headers: { authorization: `Bearer ${randomBytes(24).toString('base64url')}` } }), 401],
      ['sign-ins', () => fetch(`${gateway.url}/login`, { method: 'POST', redirect: 'manual', headers: { origin: gateway.url }, body: new URLSearchParams({ key: newKey() }) }), 401],
      ['codes', () => gateway.fetch(broke, '/v1/redeem', { method: 'POST', body: JSON.stringify({ code: randomBytes(12).toString('hex') }) }), 404],
    ]) {
      let found;
      const cost = await attacked(t, async () => {
        found = await closed(20, one);
        return found.made;
      });
      // Invented keys at sign-in meet the gate for those that are not known, too.
      for (const status of Object.keys(found.statuses)) assert.ok([String(usual), '429'].includes(status), `${what}: ${status}`);
      assert.ok(cost.d1_statements <= found.through + WIDTH + COPIES, JSON.stringify({ ...cost, ...found }));
    }
    assert.ok((await gateway.admin('GET', '/admin/v1/accounts')).data.length > 0);
  });
});

describe('a key without money', () => {
  test('costs a bounded number of rows and calls', async (t) => {
    let found;
    const cost = await attacked(t, async () => {
      found = await closed(300, () => gateway.call(broke, 'demo-large'));
      return found.made;
    });
    assert.deepEqual(Object.keys(found.statuses), ['402', '429']);
    assert.ok(cost.object_calls <= found.through + WIDTH && cost.rows <= found.through + WIDTH, JSON.stringify({ ...cost, ...found }));
  });

  test('does not have long lists worked through', async (t) => {
    const key = await gateway.newKey(brokeAccount);
    const many = (one) => `[${Array.from({ length: 100_000 }, (_, n) => one(n)).join(',')}]`;
    const bodies = {
      models: `{"models":${many((n) => `"m${n}"`)},"messages":[]}`,
      'unknown members': `{"model":"demo-large","messages":[],${Array.from({ length: 100_000 }, (_, n) => `"x${n}":${n}`).join(',')}}`,
      channels: `{"model":"demo-large","messages":[],"provider":{"only":${many((n) => `"c${n}"`)}}}`,
      messages: `{"model":"demo-large","messages":${many((n) => `{"role":"tool","tool_call_id":"t${n}","content":"x"}`)}}`,
      nesting: `{"model":"demo-large","messages":[],"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    };
    await attacked(t, async () => {
      for (const [what, body] of Object.entries(bodies)) {
        const statuses = await flood(4, () => gateway.fetch(key, '/v1/chat/completions', { method: 'POST', headers: { 'content-type': 'application/json' }, body }), { width: 2 });
        assert.equal(statuses[200], undefined, what);
      }
      return 4 * Object.keys(bodies).length;
    });
  });

  test('makes nothing unavailable for others by what it asks for', async (t) => {
    const rich = await gateway.richKey();
    const list = async () => (await gateway.get(customer, '/v1/models')).data.map(({ id }) => id).sort();
    const before = await list();
    await attacked(t, async () => {
      const asks = ['fail-400', 'fail-401', 'fail-403', 'fail-404', 'fail-422', 'fail-429'];
      await flood(60, (n) => gateway.call(rich, { model: asks[n % asks.length], max_tokens: 5 }));
      return 60;
    });
    assert.deepEqual(await list(), before);
  });

  test('does not have things worked out without end', async (t) => {
    const key = await gateway.newKey(brokeAccount);
    await attacked(t, async () => {
      const { made } = await closed(600, () => gateway.fetch(key, '/v1/route', { method: 'POST', body: '{"model":"demo-large","messages":[]}' }));
      return made;
    });
  });

  test('does not read records without end', async (t) => {
    const key = await gateway.newKey(await gateway.newAccount());
    const form = (path, body, headers) => fetch(gateway.url + path, { method: 'POST', redirect: 'manual', headers: { origin: gateway.url, ...headers }, body });
    const cookie = (await form('/login', new URLSearchParams({ key }))).headers.get('set-cookie').split(';')[0];
    await attacked(t, async () => (await closed(1_200, () => gateway.fetch(key, '/v1/receipts?limit=1'))).made);
    // A session that cannot be ended now is kept, and its holder is told.
    const out = await form('/logout', '', { cookie });
    assert.deepEqual([out.status, out.headers.get('set-cookie')], [429, null]);
  });

  test('does not take the room for large bodies, nor do many accounts together', async () => {
    const size = 20 << 20;
    const keys = [];
    for (const [accounts, made] of [[1, 3], [3, 1]]) {
      for (let n = 0; n < accounts; n += 1) {
        const account = await gateway.newAccount();
        for (let each = 0; each < made; each += 1) keys.push(await gateway.newKey(account));
      }
    }
    const sockets = keys.map((key) => {
      const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
      socket.on('error', () => {});
      socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: ${size}\r\n\r\n`);
      socket.write(Buffer.alloc(size - 1, 32));
      return socket;
    });
    const told = [];
    for (const socket of sockets) socket.on('data', (data) => told.push(Number(String(data).split(' ')[1])));
    // Two of them fit: then who has paid nothing has had its share, by whichever keys and accounts.
    await until(async () => told.length >= 3, 'the answers to those that have no room', 20_000);
    assert.deepEqual([...new Set(told)], [503]);
    const large = { model: 'demo-large', max_tokens: 50, messages: [{ role: 'user', content: 'x'.repeat(200_000) }] };
    assert.equal((await gateway.call(customer, large)).status, 200);
    asked += 1;
    await compared(await round());
    for (const socket of sockets) socket.destroy();
    await balanced();
  });
});

describe('pages', () => {
  test('are not driven around what is kept of them', async (t) => {
    const { id } = (await (await fetch(`${gateway.url}/models.json`)).json()).data[0];
    let statuses;
    for (const path of ['/models', `/models/${id}`, '/status.json']) await (await fetch(gateway.url + path)).text();
    const cost = await attacked(t, async () => {
      statuses = await flood(600, (n) => fetch(`${gateway.url}/models?x=${n}`));
      const spelled = await flood(100, (n) => fetch(`${gateway.url}/models/${n % 2 ? id.toUpperCase() : id}?${n}`));
      const json = await flood(100, (n) => fetch(`${gateway.url}/status.json?${n}`));
      assert.deepEqual([statuses, spelled, json], [{ 200: 600 }, { 200: 100 }, { 200: 100 }]);
      return 800;
    });
    assert.ok(cost.d1_statements <= 60, JSON.stringify(cost));
  });

  test('are kept under their exact name', async () => {
    const text = async (path) => (await fetch(gateway.url + path)).text();
    const shown = (page) => [...page.matchAll(/href="\/models\/([^"]+)"/g)].length;
    const [all, none] = [await text('/models'), await text('/models?q=zzz%26family%3Dtest')];
    assert.ok(shown(all) > 0);
    assert.equal(shown(none), 0);
    assert.ok(shown(await text('/models?q=&family=test')) > 0, 'another query has its own page');
    assert.equal(shown(await text('/models?family=zzz')), 0);
    assert.equal(shown(await text('/models?family=test%26q%3Dzzz')), 0, 'a family of that name');
  });

  test('that anybody can think of are counted', async (t) => {
    await attacked(t, async () => (await closed(300, (n) => fetch(`${gateway.url}/models?q=word${n}`))).made);
  });
});
