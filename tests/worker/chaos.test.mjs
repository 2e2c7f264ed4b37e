// Everything at once: many clients, an upstream that fails in every way, a runtime that is killed
// again and again, and a D1 that breaks for stretches. Afterwards each request is compared, one by
// one: what the upstream served, what the client saw, and what the books say.
//
// A request is known by its token in the prompt upstream, and by its hold in the books: bodies are
// of one length and each allows another number of output tokens, so that no two holds are the same.
//
// CHAOS_SEED, CHAOS_KILLS, CHAOS_PAUSES, CHAOS_SECONDS and CHAOS_REQUESTS change what happens.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { all, decimal, nanos, select, shown, total } from './support/books.mjs';
import { between, havoc, noteStalls, pick, randomOf, send, startFlaky } from './support/chaos.mjs';
import { startGateway, until } from './support/gateway.mjs';

const seed = process.env.CHAOS_SEED ?? '8';
const wantedKills = Number(process.env.CHAOS_KILLS ?? 20);
const mostPauses = Number(process.env.CHAOS_PAUSES ?? 4);
const longestS = Number(process.env.CHAOS_SECONDS ?? 100);
const mostRequests = Number(process.env.CHAOS_REQUESTS ?? 6000);

const bodyBytes = 400;
const holdMs = 2500;
/** How long after the last sign of a request its settlement may still be on its way; longer only if others took longer. */
let settleMs = 1500;
const prices = {
  credit: { input: '1.234567891', cached_input: '0.123456789', output: '4.938271603', reasoning: '6.172839507' },
  wallet: { input: '8.7', output: '34.1' },
};
const upstreamCut = randomOf(seed, 'policy')() < 0.5 ? 'free' : 'usage';
const classes = ['input', 'cached_input', 'cache_write', 'audio_input', 'output', 'reasoning', 'audio_output'];

let gateway;
let upstream;
/** Every request that a client wanted: token, what was sent, and its tries as `send` answers them. */
const wishes = [];
let past;
/** By account: receipts (oldest first), entries, balances, rows of D1, corrections by request. */
const books = new Map();
const callers = [];

before(async () => {
  upstream = await startFlaky(seed);
  gateway = await startGateway({ catalog: () => catalog(upstream.url) });
  await openAccounts();
  const deadline = Date.now() + longestS * 1000;
  let isOver = false;
  const [stalls, rest] = [[], new AbortController()];
  noteStalls(stalls, rest.signal);
  const clients = Array.from({ length: 16 }, (_, index) => client(index, () => isOver));
  past = await havoc(gateway, { seed, kills: wantedKills, pauses: mostPauses, isOver: () => Date.now() > deadline });
  await sleep(1000);
  isOver = true;
  await Promise.all(clients);
  rest.abort();
  past.stalls = stalls;
  await readBooks();
}, { timeout: 280_000 });
after(async () => {
  await gateway?.close();
  await upstream?.close();
});

describe(`chaos, seed ${seed}`, () => {
  test('every request is charged by what the upstream served, once', () => {
    const found = new Faults();
    const matched = match(found);
    const took = [...matched].filter(([{ status }, { seen, rows }]) => status === 'completed' && !seen?.stalledAt && rows.length > 0).map(([receipt, { rows }]) => {
      const [, closedAt] = times(receipt);
      const ended = rows.at(-1).endedAt;
      return closedAt - ended - lasted([...past.pauses, ...past.stalls], ended, closedAt);
    });
    past.slowest = Math.max(...took);
    settleMs = Math.max(settleMs, past.slowest);
    for (const [receipt, of] of matched) checkReceipt(receipt, of, found);
    for (const wish of wishes) checkWish(wish, matched, found);
    report(matched);
    found.none();
  });

  test('the entries of every account add up to its balances, and nothing is held', () => {
    for (const { entries, receipts, balances, corrections } of books.values()) {
      const sums = {};
      for (const { bucket, amount, balance_after, id } of entries) {
        sums[bucket] = (sums[bucket] ?? 0n) + nanos(amount);
        assert.equal(decimal(sums[bucket]), balance_after, id);
        assert.ok(sums[bucket] >= 0n, `${id}: below zero`);
      }
      for (const { bucket, balance, held, open_holds } of balances) {
        assert.deepEqual([bucket, balance, held, open_holds], [bucket, decimal(sums[bucket] ?? 0n), '0', []]);
      }
      const byKind = Object.groupBy(entries, ({ kind }) => kind);
      const charged = receipts.filter(({ charge }) => charge !== '0');
      assert.deepEqual((byKind.charge ?? []).map(({ id, request, bucket, amount }) => [[id], request, bucket, amount]), charged.map(({ entry_ids, id, bucket, charge }) => [entry_ids, id, bucket, `-${charge}`]));
      const moved = corrections.filter(({ doc }) => doc.charge_before !== doc.charge_after);
      assert.deepEqual((byKind.correction ?? []).map(({ request, amount }) => [request, nanos(amount)]), moved.map(({ doc }) => [doc.id, nanos(doc.charge_before) - nanos(doc.charge_after)]));
    }
  });

  test('D1 has every row once, and is what the accounts say', async () => {
    const report = await gateway.admin('GET', '/admin/v1/reconcile?limit=50');
    assert.ok(report.ok, JSON.stringify(report, null, 1));
    // The operator's own acts have a journal, too.
    const accounts = report.data.filter(({ account }) => account !== 'tf-operator');
    for (const { account, rows, head, copied, is_whole } of accounts) {
      const own = books.get(account);
      assert.deepEqual([rows, copied, is_whole], [head, head, true]);
      assert.deepEqual(own.rows.map(({ seq }) => seq), Array.from({ length: head }, (_, index) => index + 1), 'without a gap');
      const docs = own.rows.filter(({ kind }) => kind === 'receipt').map(({ doc }) => JSON.parse(doc));
      assert.deepEqual(docs.map(shown), own.receipts.map(({ correction, cache, currency, ...receipt }) => receipt));
      assert.deepEqual(
        own.rows.filter(({ amount }) => amount !== null).map(({ seq, bucket, amount, balances }) => [`entry-${seq}`, bucket, BigInt(amount), JSON.parse(balances)[bucket]]),
        own.entries.map(({ id, bucket, amount, balance_after }) => [id, bucket, nanos(amount), balance_after]),
      );
    }
    assert.equal(new Set(accounts.map(({ account }) => account)).size, books.size);
    const subjects = [...books.values()].flatMap(({ rows }) => rows).map(({ subject }) => subject).filter(Boolean);
    assert.equal(new Set(subjects).size, subjects.length, 'no subject twice');
  });

  test('the daily sums in D1 are those of the receipts', async () => {
    for (const [account, { rows }] of books) {
      const expected = new Map();
      for (const row of rows.filter(({ kind }) => ['receipt', 'correction'].includes(kind))) {
        const doc = JSON.parse(row.doc);
        const isReceipt = row.kind === 'receipt';
        const cause = !isReceipt ? 'correction' : doc.fallbacks > 0 ? 'fallback' : doc.retries > 0 ? 'retry' : 'direct';
        const day = new Date(row.at).toISOString().slice(0, 10);
        const name = [day, doc.project, doc.key, doc.model ?? doc.counted_as ?? doc.requested_model ?? '', doc.route ?? '', row.bucket ?? doc.bucket ?? '', cause].join('|');
        const sum = expected.get(name) ?? { requests: 0, unpaid: 0, retries: 0, fallbacks: 0, input_tokens: 0, cached_tokens: 0, output_tokens: 0, reasoning_tokens: 0, images: 0, seconds: 0, characters: 0, searches: 0, charge: 0, input_charge: 0 };
        expected.set(name, sum);
        sum.charge -= row.amount ?? 0;
        // A correction counts what it changed.
        const change = Object.fromEntries(classes.map((name) => [name, doc.usage[name] - (isReceipt ? 0 : doc.usage_before[name])]));
        sum.input_tokens += change.input + change.cached_input + change.cache_write + change.audio_input;
        sum.cached_tokens += change.cached_input;
        sum.output_tokens += change.output + change.reasoning + change.audio_output;
        sum.reasoning_tokens += change.reasoning;
        if (!isReceipt) continue;
        sum.requests += 1;
        sum.unpaid += row.amount === null ? 1 : 0;
        sum.retries += doc.retries;
        sum.fallbacks += doc.fallbacks;
        sum.input_charge += Number(nanos(doc.input_charge));
      }
      const found = new Map();
      for (const { day, account: _, project, key, model, route, bucket, cause, key_label, ...sums } of await select(gateway, 'SELECT * FROM usage_days WHERE account = ?', account)) {
        found.set([day, project, key, model, route, bucket, cause].join('|'), sums);
      }
      assert.deepEqual(sorted(found), sorted(expected));
    }
  });

  test('every run is the sum of its receipts and corrections', async () => {
    let runs = 0;
    const found = new Faults();
    for (const [account, { receipts, corrections, secret }] of books) {
      for (const [id, group] of Object.entries(Object.groupBy(receipts.filter(({ run }) => run), ({ run }) => run))) {
        const run = await gateway.get(secret, `/v1/runs/${id}`);
        runs += 1;
        const corrected = group.map((receipt) => {
          const { doc } = corrections.find(({ doc }) => doc.id === receipt.id) ?? {};
          return doc ? { ...receipt, charge: doc.charge_after, usage: doc.usage } : receipt;
        });
        const same = (what, one, other) => found.unlessEqual(`run ${id} of ${account}, ${what}`, one, other);
        same('in flight', run.in_flight, []);
        const bare = ({ cache, currency, currencies, ...rest }) => rest;
        same('totals', bare(run.totals), sums(corrected));
        const dimensions = { model: (it) => it.model ?? it.requested_model, route: (it) => it.route ?? 'none', bucket: (it) => it.bucket ?? 'none', status: (it) => it.status };
        for (const [dimension, name] of Object.entries(dimensions)) {
          const groups = Object.entries(Object.groupBy(corrected, name)).map(([of, some]) => ({ [dimension]: of, ...sums(some) }));
          const byName = (a, b) => (a[dimension] < b[dimension] ? -1 : 1);
          same(dimension, run[`by_${dimension}`].map(bare).toSorted(byName), groups.toSorted(byName));
        }
      }
    }
    assert.ok(runs > 0);
    found.none();
  });

  test('no budget was passed, whatever was killed', () => {
    for (const { key, account, budget } of callers.filter(({ budget }) => budget)) {
      const { entries } = books.get(account);
      const spent = entries.filter((entry) => entry.key === key && entry.bucket === 'credit').reduce((sum, { amount }) => sum - nanos(amount), 0n);
      assert.ok(spent <= nanos(budget), `${decimal(spent)} of ${budget}`);
    }
    const { entries } = books.get(callers[0].account);
    const spent = entries.filter(({ run, bucket }) => run === 'capped' && bucket === 'credit').reduce((sum, { amount }) => sum - nanos(amount), 0n);
    assert.ok(spent <= nanos('0.02'), `${decimal(spent)} in the run`);
  });

  test('the comparison of accounts with D1 raised no false alarm meanwhile', () => {
    assert.deepEqual(past.alarms, []);
    assert.deepEqual(gateway.logs.filter(({ message }) => /^reconcile:|panicked|unreachable/.test(message)), []);
  });
});

// ---------------------------------------------------------------- what happens

function catalog(url) {
  const channel = (name, more = {}) => ({
    dialect: 'openai', base_url: `${url}/${name}/v1`, secrets: ['TEST_UPSTREAM_KEY'], first_byte_timeout_ms: 3500, idle_timeout_ms: 3500, ...more,
  });
  const candidates = (...names) => names.map((name, tier) => ({ channel: name, upstream_model: `up-${name}`, tier }));
  const official = (...names) => ({ official: { bucket: 'credit', price: prices.credit, candidates: candidates(...names) } });
  const routed = (...names) => ({ routed: { bucket: 'wallet', price: prices.wallet, candidates: candidates(...names) } });
  const model = (routes) => ({ name: 'A model', family: 'test', kind: 'chat', context_length: 200_000, max_output_tokens: 100_000, routes });
  return {
    version: 1,
    hold_timeout_ms: holdMs,
    charge_policy: { upstream_cut: upstreamCut },
    buckets: { credit: { label: 'Official credit', currency: 'USD' }, wallet: { label: 'Routed wallet', currency: 'CNY' } },
    channels: { main: channel('main'), backup: channel('backup'), third: channel('third'), draining: channel('draining', { on_client_gone: 'drain' }), flood: channel('flood') },
    models: {
      mix: model({ ...official('main', 'backup'), ...routed('third') }),
      solo: model(official('main', 'backup')),
      drain: model(official('draining', 'backup')),
      wallet: model(routed('third', 'backup')),
      flood: model(official('flood')),
    },
  };
}

async function openAccounts() {
  const rich = { credit: '100', wallet: '500' };
  const plans = [
    [rich, {}, { cross_routes: true }],
    [rich, { budgets: [{ bucket: 'credit', period: 'total', limit: '0.06' }] }, { cross_routes: true }],
    [{ credit: '0.09', wallet: '1.5' }, { cross_routes: true }, {}],
    [rich, { concurrency: 2 }, {}],
  ];
  for (const [funds, ...policies] of plans) {
    const account = await gateway.newAccount(funds);
    for (const policy of policies) {
      // Holds are told apart by their amounts here, so that none is fitted.
      const { id, secret } = await gateway.createKey(account, { ...policy, fit: 'never' });
      callers.push({ account, key: id, secret, budget: policy.budgets?.[0].limit });
    }
  }
  const body = JSON.stringify({ id: 'capped', budgets: [{ bucket: 'credit', limit: '0.02' }] });
  const opened = await gateway.fetch(callers[0].secret, '/v1/runs', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  assert.equal(opened.status, 201, await opened.text());
}

/** One client: wish after wish, some of them repeated until they are answered. */
async function client(index, isOver) {
  const random = randomOf(seed, 'client', index);
  const caller = callers[(index % 4) * 2 + (Math.floor(index / 4) % 2)];
  while (!isOver() && wishes.length < mostRequests) {
    const wish = newWish(caller, random);
    const isLeft = random() < 0.15;
    const byTime = random() < 0.5;
    const leave = isLeft ? { reset: random() < 0.8, ...(byTime ? { afterMs: between(random, 0, 1500) } : { afterBytes: between(random, 1, 4000) }) } : undefined;
    const stall = wish.model === 'flood' && random() < 0.7 ? { stallMs: between(random, 2000, 4500) } : undefined;
    const isCurious = random() < 0.4;
    for (let tries = 0; tries < 14; tries += 1) {
      const seen = await send(gateway.url, wish.secret, wish.body, wish.headers, tries === 0 ? (stall ?? leave) : undefined);
      wish.tries.push(seen);
      if (seen.broken === 'never') await sleep(between(random, 50, 200));
      const isFinal = seen.whole || seen.isReceipt || [400, 402, 403].includes(seen.status) || seen.code === 'conflict';
      if (!wish.isRepeated || (isFinal && !(isCurious && wish.tries.filter(({ whole }) => whole).length === 1))) break;
      await sleep(between(random, 100, 700));
    }
    await sleep(between(random, 0, 30));
  }
}

function newWish(caller, random) {
  const n = wishes.length;
  const token = `req-${String(n).padStart(6, '0')}`;
  const model = pick(random, [[4, 'mix'], [3, 'solo'], [2, 'drain'], [2, 'wallet'], [0.5, 'flood']]);
  const stream = model === 'flood' || random() < 0.55;
  const isRepeated = random() < 0.3;
  const headers = {};
  if (isRepeated) headers['idempotency-key'] = `idem-${n}`;
  if (random() < 0.4) headers['x-tf-run'] = pick(random, [[2, 'one'], [2, 'two'], [1, 'capped']]);
  if (model === 'mix' && random() < 0.2) headers['x-tf-route'] = 'routed';
  const limit = 1000 + n;
  const of = (content) => JSON.stringify({ model, messages: [{ role: 'user', content }], max_tokens: limit, ...(stream && { stream, stream_options: { include_usage: random() < 0.5 } }) });
  const start = `${token} `;
  // `include_usage` is drawn anew with every call, so the body is made once and filled.
  const bare = of(start);
  const body = bare.replace(start, start.padEnd(start.length + bodyBytes - bare.length, 'z'));
  assert.equal(Buffer.byteLength(body), bodyBytes);
  const quote = (price) => perMillion(BigInt(bodyBytes) * nanos(price.input) + BigInt(limit) * nanos(price.reasoning ?? price.output));
  const holds = Object.fromEntries(Object.entries(prices).map(([bucket, price]) => [bucket, decimal(quote(price))]));
  const wish = { ...caller, token, model, stream, isRepeated, headers, body, holds, tries: [] };
  wishes.push(wish);
  return wish;
}

const perMillion = (scaled) => (scaled + 999_999n) / 1_000_000n;

/** What usage costs, in nano-units. */
function costOf(bucket, usage) {
  const price = prices[bucket];
  const rates = { input: price.input, cached_input: price.cached_input ?? price.input, output: price.output, reasoning: price.reasoning ?? price.output };
  return perMillion(Object.entries(rates).reduce((sum, [name, rate]) => sum + BigInt(usage[name]) * nanos(rate), 0n));
}

/** Waits until everything has come to rest, and reads all books. */
async function readBooks() {
  const secrets = new Map(callers.map(({ account, secret }) => [account, secret]));
  for (const account of secrets.keys()) {
    await until(async () => {
      const { balances } = await gateway.admin('GET', `/admin/v1/accounts/${account}`).catch(() => ({ balances: [] }));
      return balances.length > 0 && balances.every(({ open_holds }) => open_holds.length === 0);
    }, `the end of every hold of ${account}`, 60_000);
  }
  past.restAt = Date.now();
  // A settlement that failed is tried again for 25 seconds.
  const lastTrouble = Math.max(0, ...gateway.logs.filter(({ message }) => /^(settle|record a refusal):/.test(message)).map(({ timestamp }) => timestamp ?? Date.now()));
  await sleep(Math.max(3000, Math.min(26_000, lastTrouble + 26_000 - Date.now())));
  for (const [account, secret] of secrets) {
    const receipts = (await all(gateway, secret, '/v1/receipts')).reverse();
    const entries = (await all(gateway, secret, '/v1/ledger')).reverse();
    const { balances } = await gateway.admin('GET', `/admin/v1/accounts/${account}`);
    // The rows arrive by themselves, also after everything that D1 went through.
    const rows = await until(async () => {
      const rows = await select(gateway, 'SELECT * FROM journal WHERE account = ? ORDER BY seq', account);
      return rows.filter(({ kind }) => kind === 'receipt').length >= receipts.length && rows;
    }, `the copy of ${account}`, 90_000);
    const corrections = rows.filter(({ kind }) => kind === 'correction').map((row) => ({ ...row, doc: JSON.parse(row.doc) }));
    for (const receipt of receipts) {
      if (receipt.error?.code !== 'hold_expired') continue;
      const { correction } = await gateway.get(secret, `/v1/receipts/${receipt.id}`);
      assert.deepEqual(correction, corrections.find(({ doc }) => doc.id === receipt.id)?.doc, receipt.id);
    }
    books.set(account, { secret, receipts, entries, balances, rows, corrections });
  }
}

// ---------------------------------------------------------------- what has to be true

/** What does not fit, each with both sides. */
class Faults {
  list = [];

  add(what, ...sides) {
    // Whole answers would hide the rest.
    const short = (name, value) => (name === 'text' && value.length > 60 ? `${value.slice(0, 60)}… (${value.length})` : value);
    this.list.push(`${what}\n${sides.map((side) => `    ${JSON.stringify(side, short)}`).join('\n')}`);
  }

  unlessEqual(what, found, expected) {
    try {
      assert.deepEqual(found, expected);
    } catch {
      this.add(what, { found }, { expected });
    }
  }

  none() {
    assert.equal(this.list.length, 0, `${this.list.length} that do not fit:\n${this.list.slice(0, 40).join('\n')}`);
  }
}

const overlap = (list, from, to) => list.filter((span) => span.from <= to && span.to >= from);
const lasted = (list, from, to) => overlap(list, from, to).reduce((sum, span) => sum + span.to - span.from, 0);
const times = (receipt) => [Date.parse(receipt.created_at), Date.parse(receipt.closed_at)];

/**
 * Finds for every receipt its wish, its try if a client saw its id, and what the upstream has of it.
 * What belongs to nothing is a fault.
 */
function match(found) {
  const byId = new Map();
  const byHold = new Map();
  for (const wish of wishes) {
    wish.receipts = [];
    for (const seen of wish.tries) if (seen.id && !seen.replayed) {
      if (byId.has(seen.id)) found.add(`the id ${seen.id} came twice`, seen, byId.get(seen.id).seen);
      byId.set(seen.id, { wish, seen });
    }
    for (const [bucket, hold] of Object.entries(wish.holds)) byHold.set(`${wish.key} ${bucket} ${hold}`, wish);
  }
  const matched = new Map();
  const unseen = [];
  for (const { receipts, corrections } of books.values()) {
    for (const receipt of receipts) {
      const known = byId.get(receipt.id);
      const wish = known?.wish ?? byHold.get(`${receipt.key} ${receipt.bucket} ${receipt.hold}`);
      const correction = corrections.find(({ doc }) => doc.id === receipt.id)?.doc;
      const of = { wish, seen: known?.seen, rows: [], correction };
      if (!wish) {
        unseen.push([receipt, of]);
        continue;
      }
      matched.set(receipt, of);
    }
  }
  // Refusals whose answer no client saw have no hold to know them by; a client must have asked.
  for (const [receipt, of] of unseen) {
    const [createdAt] = times(receipt);
    const asked = wishes.flatMap((wish) => wish.tries.map((seen) => ({ wish, seen }))).find(({ wish, seen }) =>
      seen.id === null && !seen.isTaken && wish.key === receipt.key && wish.model === receipt.requested_model && wish.stream === receipt.stream
      && (wish.headers['x-tf-run'] ?? null) === receipt.run && receipt.status === 'refused' && seen.start - 5 <= createdAt
      // One that hung up may have been read later.
      && createdAt <= seen.end + (seen.left ? 5000 : 5));
    if (!asked) {
      found.add(`the receipt ${receipt.id} belongs to no request`, brief(receipt));
      continue;
    }
    asked.seen.isTaken = true;
    matched.set(receipt, Object.assign(of, asked));
  }
  for (const [receipt, { wish }] of matched) wish.receipts.push(receipt);
  // What the upstream was asked belongs to the request's receipt, and where a client repeated it, to that of its time.
  for (const wish of wishes) wish.receipts.sort((a, b) => (a.created_at < b.created_at ? -1 : 1));
  const byToken = new Map(wishes.map((wish) => [wish.token, wish]));
  for (const row of upstream.log) {
    const wish = byToken.get(row.token);
    if (!wish) {
      if (row.token !== null || row.status !== null) found.add('the upstream was asked by nobody', row);
      continue;
    }
    const receipt = wish.receipts.findLast((receipt) => receipt.hold !== null && times(receipt)[0] <= row.at + 5);
    if (receipt) matched.get(receipt).rows.push(row);
    else found.add(`${wish.token}: the upstream served what has no receipt`, row, wish.tries);
  }
  return matched;
}

/** What upstream reported, as the books count it. */
const usageOf = ({ prompt_tokens, completion_tokens, prompt_tokens_details: { cached_tokens }, completion_tokens_details: { reasoning_tokens } }) => ({
  input: prompt_tokens - cached_tokens, cached_input: cached_tokens, cache_write: 0, audio_input: 0,
  output: completion_tokens - reasoning_tokens, reasoning: reasoning_tokens, audio_output: 0,
});
/** The fewest and the most tokens that an estimate makes of so many bytes of what this upstream says. */
const fewest = (bytes) => Math.floor(bytes / 6);
const most = (bytes) => Math.ceil(bytes / 1.5) + 1;
/** Whether an estimate can be of a body: more than half of it is one letter over and over, of which a token takes many. */
const isOfBody = (tokens) => tokens >= bodyBytes / 10 && tokens <= bodyBytes / 2;
const isSame = (one, other) => classes.every((name) => one[name] === other[name]);
const brief = ({ id, key, status, created_at, closed_at, requested_model, stream, channel, bucket, hold, charge, charge_policy, usage, usage_source, error, attempts, no_charge_reason, correction }) =>
  ({ id, key, status, created_at, closed_at, requested_model, stream, channel, bucket, hold, charge, charge_policy, usage, usage_source, error: error?.code, no_charge_reason, correction, attempts: attempts.map(({ channel, status, error, started_at, latency_ms }) => `${channel} ${status} ${error ?? ''} ${started_at} ${latency_ms} ms`) });

/** Whether usage can be what of an unfinished answer is charged: of what was sent and relayed, no more. */
function isPlausible(usage, row) {
  const reports = row.usages.map(usageOf);
  if (reports.some((report) => isSame(report, usage))) return true;
  const isInput = (isOfBody(usage.input) && usage.cached_input === 0) || reports.some((report) => report.input === usage.input && report.cached_input === usage.cached_input);
  return isInput && usage.reasoning === 0 && usage.output <= most(row.said);
}

function checkReceipt(receipt, { wish, seen, rows, correction }, found) {
  const [createdAt, closedAt] = times(receipt);
  const wrong = (what, ...sides) => found.add(`${wish.token}, ${receipt.id}: ${what}`, brief(receipt), ...sides, ...(correction ? [{ correction }] : []), { upstream: rows }, { tries: wish.tries });
  const last = rows.at(-1);
  const isStalled = seen?.stalledAt !== undefined;
  const isStopped = isStalled || overlap(past.pauses, createdAt, closedAt).length > 0;
  checkAttempts(receipt, rows, isStopped, wrong);
  // How it ended in truth.
  const { status, usage, usage_source: source, charge_policy: policy } = correction ?? receipt;
  const charge = nanos(correction?.charge_after ?? receipt.charge);
  const cost = receipt.bucket === null ? 0n : costOf(receipt.bucket, usage);
  // A correction takes what balance and budgets still cover, and says what they do not.
  const uncovered = nanos(correction?.in_review ?? '0');
  const costs = (expected, what) => charge + uncovered !== expected && wrong(`charged ${charge} (and ${uncovered} not covered), not ${expected}, ${what}`);
  if (receipt.hold !== null && receipt.hold !== wish.holds[receipt.bucket]) wrong('another hold', wish.holds);
  if (charge > 0n && rows.length === 0) {
    // Decision 0008: what was sent is charged. A call that is cancelled at once may never be read by its upstream.
    const [call] = receipt.attempts.filter(({ dispatched }) => dispatched);
    const isCancelled = receipt.error?.code === 'client_left' && call?.status === 'abandoned' && call.latency_ms < 500 && isOfBody(usage.input) && isSame(usage, { ...zero, input: usage.input });
    if (isCancelled && wish.tries.some(({ left, end }) => left && end - 5 <= Date.parse(call.started_at) + call.latency_ms)) past.unread = (past.unread ?? 0) + 1;
    else wrong('charged for what the upstream never saw');
  }
  if (receipt.in_review) wrong('in review');
  if (seen?.whole && status !== 'completed') {
    // Only a kill between the answer and its settlement does that.
    if (receipt.error?.code !== 'hold_expired' || !lostBy(receipt, rows, seen)) wrong('a whole answer that is not completed');
  }
  if (seen?.whole && seen.cost !== undefined && status === 'completed' && nanos(seen.cost) !== charge + uncovered) wrong('the answer named another cost', seen.cost);

  if (status === 'refused') {
    if (rows.length > 0 || receipt.attempts.some(({ dispatched }) => dispatched)) wrong('refused, and sent upstream');
    costs(0n, 'since it was refused');
  } else if (status === 'failed') {
    costs(0n, 'since it failed');
    if (rows.some((row) => row.complete) && !isStopped) wrong('failed, and yet the upstream answered');
  } else if (status === 'completed') {
    if (!last?.complete) return wrong('completed without an answer');
    const isReported = last.usage !== undefined;
    const expected = isReported ? usageOf(last.usage) : { ...zero, input: usage.input, output: usage.output };
    if (!isReported && !(isOfBody(usage.input) && usage.output >= fewest(last.said) && usage.output <= most(last.said))) wrong('an estimate that cannot be');
    if (!isSame(expected, usage) || source !== (isReported ? 'upstream' : 'estimated')) wrong('other usage than the upstream reported', expected);
    costs(costOf(receipt.bucket, expected), 'by the usage that the upstream reported');
  } else if (status === 'truncated') {
    if (last?.complete && !isStopped) wrong('truncated, and yet the upstream answered whole');
    if (last && !isPlausible(usage, last)) wrong('usage that cannot be');
    costs(upstreamCut === 'free' ? 0n : cost, `by the policy \`${upstreamCut}\``);
  } else if (receipt.error?.code === 'hold_expired' && !correction) {
    if (!lostBy(receipt, rows, seen)) wrong('expired, though nothing kept its settlement', { kills: overlap(past.kills, createdAt - 2000, closedAt), pauses: overlap(past.pauses, createdAt - 2000, closedAt) });
    if (closedAt - createdAt < holdMs) wrong('expired before its time');
    if (/^hold expired: released/.test(policy)) {
      costs(0n, 'since it was released');
      if (!receipt.no_charge_reason) wrong('no reason why nothing was charged');
      const [kill] = overlap(past.kills, createdAt, closedAt);
      if (kill && !isStalled && last && last.endedAt >= kill.from && kill.from - last.at > holdMs && !isStopped) wrong('released, and had time for a checkpoint', kill);
    } else {
      if (!/^hold expired: charged by what was relayed at the last checkpoint/.test(policy)) wrong('an unknown rule');
      costs(cost, 'by its last checkpoint');
      const of = rows.filter((row) => row.channel === receipt.channel);
      if (!of.some((row) => isPlausible(usage, row))) wrong('a checkpoint of what was never relayed');
    }
  } else {
    // The client left.
    if (seen && !seen.left && !seen.broken && !isStopped) wrong('aborted, and yet the client was there');
    if (!['client_left', 'client_stalled', 'hold_expired'].includes(receipt.error?.code)) wrong('aborted for no reason');
    costs((correction ?? receipt).channel === null ? 0n : cost, 'by what was relayed');
    if (last && (correction ?? receipt).channel !== null) {
      if (source === 'upstream' ? !last.usages.some((report) => isSame(usageOf(report), usage)) : !isPlausible(usage, last)) wrong('usage that cannot be');
      if (seen?.text && usage.output + usage.reasoning < fewest(seen.text.length) && source === 'estimated') wrong('less than the client has');
    }
  }
  if (correction && !isStopped && !gateway.logs.some(({ message }) => /^settle:/.test(message))) wrong('a late settlement, though nothing kept it');
}

const zero = Object.fromEntries(classes.map((name) => [name, 0]));

/** The attempts of a receipt are what the upstream was asked, one by one; of a lost request, the first of them. */
function checkAttempts(receipt, rows, isStopped, wrong) {
  const made = receipt.attempts.filter(({ dispatched }) => dispatched);
  const isLost = receipt.error?.code === 'hold_expired';
  let index = 0;
  for (const attempt of made) {
    const row = rows[index];
    const isOf = row && row.channel === attempt.channel && row.at >= Date.parse(attempt.started_at) - 10;
    if (isOf) {
      index += 1;
      if (attempt.status === 'answered' && row.status !== 200) wrong('an attempt that the upstream did not answer', attempt);
      if (attempt.provider_status !== null && row.status !== attempt.provider_status) wrong('another status than the upstream sent', attempt);
    } else if (!(attempt.status === 'abandoned' || attempt.error === 'connect' || (attempt.error === 'timeout' && isStopped))) {
      wrong('an attempt that the upstream never saw', attempt);
    }
  }
  if (new Set(rows.map(({ channel }) => channel)).size < rows.length) wrong('a channel was asked twice for one request');
  if (!isLost && index < rows.length) wrong('the upstream was asked more often than the receipt says', { attempts: made.length, asked: rows.length });
}

/** The kill (or where the runtime was stopped, that) which can have kept a request's settlement; none if nothing can. */
function lostBy(receipt, rows, seen) {
  const [createdAt, closedAt] = times(receipt);
  const lastSign = Math.max(createdAt, ...rows.flatMap(({ at, endedAt }) => [at, endedAt ?? at]));
  // A client that does not read lets its hold expire; then the kill comes later.
  const until = seen?.stalledAt ? Math.max(closedAt, seen.end) : closedAt;
  return overlap(past.kills, createdAt, until).find((kill) => {
    if (seen?.stalledAt) return true;
    // What the upstream still wrote after the kill is no sign of life.
    const sign = Math.min(lastSign, kill.to);
    const late = kill.from - sign - lasted([...past.pauses, ...past.stalls], sign, kill.from);
    if (late > settleMs) return false;
    return true;
  });
}

/** A client's wish: every id has its receipt, no repeat is charged again, what was answered twice is the same. */
function checkWish(wish, matched, found) {
  const wrong = (what, ...sides) => found.add(`${wish.token}: ${what}`, ...sides, { receipts: wish.receipts.map(brief) }, { tries: wish.tries });
  const chargeOf = (receipt) => nanos(matched.get(receipt).correction?.charge_after ?? receipt.charge);
  const charged = wish.receipts.filter((receipt) => chargeOf(receipt) > 0n);
  if (charged.length > 1) wrong('charged more than once', charged.map((receipt) => [receipt.id, String(chargeOf(receipt))]));
  // An answer whose settlement was lost with the runtime is not known to the account: the next try is made anew.
  const isKnown = ({ id }) => !wish.receipts.some((receipt) => receipt.id === id && receipt.error?.code === 'hold_expired');
  const whole = wish.tries.filter((seen) => seen.whole && isKnown(seen));
  if (new Set(whole.map(({ text }) => text)).size > 1) wrong('answered differently', whole);
  for (const seen of wish.tries) {
    if (seen.id === null) continue;
    const receipt = wish.receipts.find(({ id }) => id === seen.id);
    if (receipt) {
      if (seen.replayed && seen.whole && (matched.get(receipt).correction ?? receipt).status !== 'completed') wrong('a replay of what was not completed', seen);
      continue;
    }
    // No hold was granted, so nothing was sent: either the answer says that there is no receipt, or it died on its way.
    const isUntold = seen.receipt === null && seen.status >= 400;
    const isLost = seen.status >= 400 && seen.attempts === '0' && past.kills.some(({ from, to }) => to >= seen.start && from <= seen.end + settleMs + lasted(past.pauses, seen.end, seen.end + settleMs));
    if (!isUntold && !isLost) wrong(`the id ${seen.id} has no receipt`, seen);
    const sent = upstream.log.filter((row) => row.token === wish.token);
    if (!wish.isRepeated && sent.length > 0) wrong(`the id ${seen.id} has no receipt, and the upstream was asked`, seen, sent);
  }
}

function sums(receipts) {
  const count = (of) => receipts.reduce((sum, receipt) => sum + of(receipt), 0);
  const paid = Object.groupBy(receipts.filter(({ bucket }) => bucket), ({ bucket }) => bucket);
  return {
    requests: receipts.length,
    retries: count(({ retries }) => retries),
    fallbacks: count(({ fallbacks }) => fallbacks),
    tokens: Object.fromEntries(classes.map((name) => [name, count(({ usage }) => usage[name])])),
    charges: Object.fromEntries(Object.entries(paid).map(([bucket, group]) => [bucket, total(group.map(({ charge }) => charge))])),
  };
}

const sorted = (map) => Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));

function report(matched) {
  const count = (list) => {
    const counts = {};
    for (const name of list) counts[name] = (counts[name] ?? 0) + 1;
    return Object.entries(counts).sort(([, a], [, b]) => b - a).map(([name, times]) => `${name} ${times}`).join(', ');
  };
  const tries = wishes.flatMap((wish) => wish.tries);
  const outcome = (seen) =>
    seen.timedOut ? 'no end' : seen.left ? 'left' : seen.broken === 'never' ? 'no runtime' : seen.broken ? 'broken' : seen.replayed ? 'replayed' : seen.whole ? 'whole' : seen.status === 200 ? `cut (${seen.code ?? 'no error'})` : `${seen.status} ${seen.code}`;
  const kind = (receipt) => (receipt.status !== 'aborted' ? receipt.status : `${receipt.error.code}${receipt.error.code === 'hold_expired' ? (matched.get(receipt).correction ? ' corrected' : receipt.charge_policy.includes('released') ? ' released' : ' by checkpoint') : ''}`);
  const settledAfter = [...matched].filter(([receipt, { seen }]) => seen?.whole && receipt.status === 'completed').map(([receipt, { seen }]) => times(receipt)[1] - seen.end);
  const lines = {
    seed, policy: upstreamCut,
    requests: `${wishes.length} in ${tries.length} tries: ${count(tries.map(outcome))}`,
    upstream: `${upstream.log.length} calls: ${count(upstream.log.map(({ way, complete }) => `${way}${complete ? '' : ' (not whole)'}`))}`,
    receipts: `${matched.size}: ${count([...matched.keys()].map(kind))}`,
    'whole answers whose settlement a kill took': [...matched].filter(([receipt, { seen, correction }]) => seen?.whole && (correction ?? receipt).status !== 'completed').length,
    'whole answers of the upstream that a kill took': [...matched].filter(([receipt, { rows, correction }]) => receipt.error?.code === 'hold_expired' && !correction && rows.at(-1)?.complete).length,
    'receipts that no client saw the id of': [...matched].filter(([, { seen }]) => !seen).length,
    corrections: count([...matched.values()].filter(({ correction }) => correction).map(({ correction }) => `${correction.status} (${correction.charge_before === correction.charge_after ? 'same' : nanos(correction.charge_after) > nanos(correction.charge_before) ? 'more' : 'less'})`)) || 'none',
    'settled at most': `${past.slowest} ms after the upstream had ended, ${Math.max(0, ...settledAfter)} ms after the client had it all`,
    'charged, though the upstream did not read it, as the client left at once': past.unread ?? 0,
    'this process stood still': `${past.stalls.length} times, ${past.stalls.reduce((sum, { from, to }) => sum + to - from, 0)} ms in all`,
    kills: `${past.kills.length}, back after ${Math.round(past.kills.reduce((sum, { from, upAt }) => sum + upAt - from, 0) / Math.max(1, past.kills.length))} ms on average`,
    stops: past.pauses.map(({ from, to }) => `${to - from} ms`).join(', ') || 'none',
    'broken D1': past.stretches.map(({ name, from, to }) => `${name} ${to - from} ms`).join(', ') || 'none',
    comparisons: `${past.reconciles}, false alarms ${past.alarms.length}`,
    log: count(gateway.logs.map(({ level, message }) => `${level} ${message.slice(0, 60).replace(/acct-\w+|gen-\w+/g, '…').replace(/\d+/g, 'N')}`)),
  };
  for (const [name, value] of Object.entries(lines)) console.log(`${name}: ${value}`);
}
