// A day in the life of some upstreams, with the clock put forward: they go down, hang, answer nonsense, flap, ask for fewer
// requests, lose a model, and come back. In every minute everything that can be asked has to say the same.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startGateway, until } from './support/gateway.mjs';

const minute_ms = 60_000;
const hour_ms = 60 * minute_ms;
const day_ms = 24 * hour_ms;

const price = { input: '1', output: '2' };
const dayCatalog = (more = {}) => (url) => {
  const channel = { dialect: 'openai', base_url: `${url}/v1`, secrets: ['TEST_UPSTREAM_KEY'], first_byte_timeout_ms: 300, idle_timeout_ms: 300, probe_daily_cap: '5', ...more };
  const route = (bucket, ...candidates) => ({ bucket, price, candidates: candidates.map(([channel, upstream_model], tier) => ({ channel, upstream_model, tier })) });
  const model = (routes, kind = 'chat') => ({ name: 'A model', family: 'day', kind, context_length: 32000, ...(kind === 'chat' && { max_output_tokens: 1000 }), routes });
  return {
    version: 1,
    buckets: { credit: { label: 'Credit', currency: 'USD' }, wallet: { label: 'Wallet', currency: 'CNY' } },
    channels: { alpha: channel, beta: channel },
    models: {
      pair: model({ official: route('credit', ['alpha', 'alive-pair-a'], ['beta', 'alive-pair-b']) }),
      lone: model({ official: route('credit', ['alpha', 'alive-lone']), routed: route('wallet', ['beta', 'alive-routed']) }),
      vectors: model({ official: route('credit', ['beta', 'alive-vectors']) }, 'embedding'),
    },
  };
};

/** What goes wrong from which minute on, and what has to be known of it two rounds later. */
const script = [
  { from: 2, fault: 'fail-503', expected: 'down' },
  { from: 5 },
  { from: 8, fault: 'hang-headers', expected: 'down' },
  { from: 11 },
  { from: 14, fault: 'error-200', expected: 'down' },
  { from: 17 },
  { from: 20, fault: 'reset', expected: 'down' },
  { from: 23 },
  ...[26, 28, 30, 32].flatMap((from) => [{ from, fault: 'fail-500', is_flap: true }, { from: from + 1, is_flap: true }]),
  { from: 36, fault: 'fail-429', expected: 'degraded', only: 'alpha/alive-pair-a' },
  { from: 39, only: 'alpha/alive-pair-a' },
  { from: 42, fault: 'vanish', expected: 'down' },
  { from: 45 },
];
const end = 48;

describe('a day in the life', () => {
  let gateway, secret, secrets;
  before(async () => {
    gateway = await startGateway({ catalog: dayCatalog(), clock: true });
    // What one account meets is its own; of these, everybody hears.
    secrets = await Promise.all([1, 2, 3].map(() => gateway.richKey({ cross_routes: false })));
    [secret] = secrets;
    gateway.upstream.add('alive-lone-2', 'alive-pair-a2');
    // From the middle of an hour, so that the hour's work comes when it is asked for.
    await gateway.advance(hour_ms - (gateway.worker.time() % hour_ms) + 2 * minute_ms);
  });
  after(() => gateway?.close());

  const chat = (model, by = secret) => gateway.call(by, { model, max_tokens: 16 });

  /** Everything that tells of health and of who can be called, now. */
  async function everybody() {
    const get = (path) => gateway.get(secret, path);
    const models = ['pair', 'lone', 'vectors'];
    const [list, plain, operator, pages, status] = await Promise.all([
      get('/v1/models?include=unavailable'), get('/v1/models'), gateway.admin('GET', '/admin/v1/health'),
      fetch(`${gateway.url}/models.json`).then((answer) => answer.json()), fetch(`${gateway.url}/status.json`).then((answer) => answer.json()),
    ]);
    const trees = Object.fromEntries(await Promise.all(models.map(async (id) => [id, (await get(`/v1/models/${id}/endpoints`)).data.endpoints])));
    const histories = Object.fromEntries(await Promise.all(models.map(async (id) => [id, await get(`/v1/health/${id}?window=1h`)])));
    const plans = Object.fromEntries(await Promise.all(['pair', 'lone'].map(async (id) => [id, await (await gateway.fetch(secret, '/v1/route', {
      method: 'POST', body: JSON.stringify({ model: id, max_tokens: 16, messages: [{ role: 'user', content: 'Reply with OK.' }] }),
    })).json()])));
    const snapshot = JSON.parse(await (await gateway.bindings()).CONFIG.get('health')).candidates;
    return { list: list.data, plain: plain.data, operator: operator.data, pages: pages.data, status, trees, histories, plans, snapshot };
  }

  /** Compares them all; answers the status by candidate. */
  function agreed(told, when) {
    const statuses = {};
    const say = (who, id, status) => {
      statuses[id] ??= status;
      assert.equal(status, statuses[id], `${when}: ${who} says that ${id} is ${status}, others say ${statuses[id]}`);
    };
    for (const { tf, id } of told.list) for (const { candidates } of tf.routes) for (const it of candidates) say(`the list (${id})`, `${it.channel}/${it.upstream_model}`, it.status);
    for (const endpoints of Object.values(told.trees)) for (const { tf } of endpoints) say('the tree', `${tf.channel}/${tf.upstream_model}`, tf.status);
    for (const { candidates } of Object.values(told.histories)) {
      for (const it of candidates) {
        say('the history', `${it.channel}/${it.upstream_model}`, it.status);
        say('its last change', `${it.channel}/${it.upstream_model}`, it.changes.at(-1)?.status ?? 'unknown');
      }
    }
    for (const { channel, upstream_model, health } of told.operator) say('the operator', `${channel}/${upstream_model}`, health.status);
    for (const { tf } of told.pages) for (const { candidates } of tf.routes) for (const it of candidates) say('the pages', `${it.channel}/${it.upstream_model}`, it.status);
    for (const [id, { status }] of Object.entries(told.snapshot)) say('the snapshot', id, status);
    for (const { id, tf } of told.list) {
      assert.equal(told.plain.some((model) => model.id === id), tf.callable, `${when}: ${id} in the plain list`);
      const page = told.pages.find((model) => model.id === id).tf;
      // Anybody could go on to the wallet; this key does not cross.
      if (id !== 'lone') assert.equal(page.callable, tf.callable, `${when}: ${id} on the pages`);
      assert.equal(told.trees[id].some(({ tf: it }) => it.route === 'official' && it.route_callable), tf.callable, `${when}: ${id} in its tree`);
      for (const { route, status } of told.status.routes.filter(({ model }) => model === id)) {
        const of = tf.routes.find((it) => it.route === route).candidates.map((it) => it.status);
        const expected = of[0] === 'up' ? 'up' : of.every((it) => it === 'down') ? 'down' : of[0] === 'unknown' ? 'unknown' : 'degraded';
        assert.equal(status, expected, `${when}: ${id}, ${route} on the status page`);
      }
      const plan = told.plans[id];
      if (!plan) continue;
      assert.equal(plan.callable, tf.callable, `${when}: the plan of ${id}`);
      const first = plan.attempts.find(({ expected_to_answer }) => expected_to_answer);
      if (tf.callable) assert.deepEqual(tf.served_by.candidates.map(({ channel }) => channel), [first.channel], `${when}: who serves ${id}`);
    }
    return statuses;
  }

  test('is told alike by everybody, minute by minute', async () => {
    const subjects = { 'alpha/alive-pair-a': 'with requests', 'alpha/alive-lone': 'by probes alone' };
    const known = [];
    const down = Object.fromEntries(Object.keys(subjects).map((id) => [id, []]));
    let current = { from: 0 };
    let started_at;
    for (let minute = 0; minute < end; minute += 1) {
      const next = script.find(({ from }) => from === minute);
      if (next) {
        const { upstream } = gateway;
        for (const model of ['alive-pair-a', 'alive-lone']) {
          if (current.fault === 'vanish') upstream.add(model);
          else if (current.fault) upstream.restore(model);
          if (next.fault === 'vanish') upstream.remove(model);
          else if (next.fault) upstream.switch(model, next.fault);
        }
        [current, started_at] = [next, gateway.worker.time()];
        for (const [id, how] of Object.entries(subjects)) {
          if (!next.is_flap && (next.only ?? id) === id) known.push({ fault: next.fault ?? 'recovery', how, id, expected: next.expected ?? 'up', started_at });
        }
      }
      const called = gateway.upstream.requests.length;
      for (const by of secrets) {
        const answer = await chat('pair', by);
        assert.equal(answer.status, 200, `minute ${minute}: the backup serves`);
        await answer.text();
      }
      await gateway.scheduled();
      const told = await everybody();
      const statuses = agreed(told, `minute ${minute}`);
      for (const it of known) if (statuses[it.id] === it.expected) it.seconds ??= Math.round((gateway.worker.time() - it.started_at) / 1000);
      for (const id of Object.keys(subjects)) down[id].push(statuses[id] === 'down');
      if (current.fault === 'fail-429') for (const id of Object.keys(subjects)) assert.notEqual(statuses[id], 'down', `minute ${minute}: load is not death`);
      if (current.fault === 'vanish') {
        const { listing, last_failure } = told.list.find(({ id }) => id === 'lone').tf.routes.find(({ route }) => route === 'official').candidates[0];
        assert.deepEqual([last_failure.kind, listing.is_there, listing.near.includes('alive-lone-2')], ['not_found', false, true]);
        const asked = gateway.upstream.requests.slice(called).filter(({ method, body }) => method === 'POST' && body?.model === 'alive-lone');
        assert.equal(asked.length, minute === current.from ? 1 : 0, 'the list is a hint, and one call tells');
      }
      if (current.expected && minute >= current.from + 2) for (const id of [current.only ?? Object.keys(subjects)].flat()) assert.equal(statuses[id], current.expected, `minute ${minute}: ${current.fault}, ${id}`);
      if (!current.fault && !current.is_flap && minute >= current.from + 2) for (const id of Object.keys(subjects)) assert.equal(statuses[id], 'up', `minute ${minute}: recovered, ${id}`);
      // Who is announced answers, and nobody else.
      const announced = told.list.find(({ id }) => id === 'pair').tf.served_by.candidates[0];
      const answer = await chat('pair');
      assert.deepEqual([answer.status, answer.headers.get('x-tf-channel')], [200, announced.channel], `minute ${minute}`);
      await answer.text();
      const isCallable = told.list.find(({ id }) => id === 'lone').tf.callable;
      if (minute % 6 === 5) {
        const lone = await gateway.call(secret, { model: 'lone', max_tokens: 16 });
        await lone.text();
        assert.equal(lone.status === 200, isCallable, `minute ${minute}: lone is ${isCallable ? '' : 'not '}callable and answers ${lone.status}`);
      }
      await gateway.advance(minute_ms);
    }
    console.log('Seconds of the day until everybody knew (rounds are a minute apart; 0 is in the same minute):');
    for (const how of Object.values(subjects)) {
      console.log(`  ${how}: ${known.filter((it) => it.how === how).map(({ fault, seconds }) => `${fault} ${seconds}`).join(', ')}`);
    }
    assert.deepEqual(known.filter(({ seconds }) => seconds === undefined || seconds > 120), [], 'two rounds are enough');

    // What the figures say is what was seen minute by minute.
    await gateway.scheduled();
    const { trees } = await everybody();
    for (const [id, seen] of Object.entries(down)) {
      const { tf, uptime_last_1d, uptime_last_30m } = [...trees.pair, ...trees.lone].find(({ tf }) => `${tf.channel}/${tf.upstream_model}` === id);
      const changes = seen.filter((is, minute) => is !== seen[minute - 1]).length;
      for (const [told, minutes] of [[uptime_last_1d, seen], [tf.uptime_last_30d, seen], [uptime_last_30m, seen.slice(-30)]]) {
        const share = (100 * minutes.filter((is) => !is).length) / minutes.length;
        const slack = (100 * (changes + 2)) / minutes.length;
        assert.ok(Math.abs(told - share) <= slack, `${id}: told ${told} %, seen ${share} %`);
      }
    }
  });

  test('is kept while it moves from minutes to hours and days, every attempt in one row', async () => {
    const { DB } = await gateway.bindings();
    const sums = async () => {
      const { results } = await DB.prepare('SELECT span, SUM(ok) AS ok, SUM(failed) AS failed, SUM(load) AS load, COUNT(*) AS n FROM health_counts GROUP BY span ORDER BY span').all();
      const total = (name) => results.reduce((sum, row) => sum + row[name], 0);
      return { spans: results.map(({ span }) => span), all: [total('ok'), total('failed'), total('load')] };
    };
    const arrived = "SELECT SUM(json_array_length(doc->'attempts')) AS n FROM journal WHERE kind = 'receipt'";
    await until(async () => (await DB.prepare(arrived).first()).n > 100, 'the receipts of the day');
    const before = await sums();
    assert.deepEqual(before.spans, [minute_ms]);
    const toTheHour = () => gateway.advance(hour_ms - (gateway.worker.time() % hour_ms) + 1000);
    await gateway.advance(4 * hour_ms);
    await toTheHour();
    await gateway.scheduled();
    const later = await sums();
    assert.ok(later.spans.includes(hour_ms), String(later.spans));
    await gateway.advance(33 * day_ms);
    await toTheHour();
    await gateway.scheduled();
    const muchLater = await sums();
    assert.ok(muchLater.spans.includes(day_ms), String(muchLater.spans));
    const isGrown = (a, b) => a.every((count, place) => count <= b[place]);
    // The rounds in between called, too; nothing is lost.
    assert.ok(isGrown(before.all, later.all) && isGrown(later.all, muchLater.all), JSON.stringify([before, later, muchLater]));
    const real = 'SELECT SUM(ok + failed + load) AS n FROM health_counts WHERE is_probe = 0';
    const all = `SELECT COUNT(*) AS n FROM journal j, json_each(j.doc->'attempts') a
      WHERE j.kind = 'receipt' AND j.account <> 'tf-house' AND a.value->>'status' IN ('answered', 'failed')`;
    // Receipts arrive some seconds after their answers.
    await until(async () => {
      const [ours, theirs] = [await DB.prepare(real).first(), await DB.prepare(all).first()];
      return ours.n === theirs.n;
    }, 'a count for every attempt of every receipt');
    const month = await gateway.get(secret, '/v1/health/pair?window=90d');
    const points = month.candidates.flatMap((it) => it.points);
    const { n } = await DB.prepare(`${real} AND upstream_model LIKE 'alive-pair%'`).first();
    assert.equal(points.reduce((sum, { requests }) => sum + requests, 0), n, 'the points of the chart are the counts');
  });

  test('goes on when two rounds overlap', async () => {
    const { DB } = await gateway.bindings();
    await gateway.advance(5 * minute_ms);
    const charges = async () => (await DB.prepare("SELECT COUNT(*) AS n FROM journal WHERE account = 'tf-house' AND kind = 'receipt'").first()).n;
    await gateway.admin('GET', '/admin/v1/reconcile?account=tf-house');
    const before = await charges();
    const called = gateway.upstream.requests.length;
    const probe = () => gateway.admin('POST', '/admin/v1/probe').then((it) => it.data.length, (error) => error.body.error.code);
    const rounds = await Promise.all([gateway.scheduled(), probe(), probe()]);
    assert.ok(rounds.includes('conflict'), JSON.stringify(rounds));
    const calls = gateway.upstream.requests.slice(called).filter(({ method }) => method === 'POST').length;
    assert.ok(calls <= 6, `each candidate at most once: ${calls}`);
    await until(async () => {
      await gateway.admin('GET', '/admin/v1/reconcile?account=tf-house');
      return (await charges()) === before + calls;
    }, 'a receipt for each call');
  });

  test('goes on after the runtime was killed in the middle of a round', async () => {
    await gateway.advance(hour_ms);
    gateway.upstream.switchList('hang-headers');
    const lost = gateway.scheduled().catch(() => {});
    await until(async () => (await (await gateway.bindings()).DB.prepare('SELECT lease FROM health_round').first()).lease !== '', 'the lease');
    await gateway.kill();
    await lost;
    gateway.upstream.restoreList();
    await until(async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
    const refused = await gateway.admin('POST', '/admin/v1/probe').catch((error) => error.body.error.code);
    assert.equal(refused, 'conflict', 'its lease holds on for a while');
    await gateway.advance(46_000);
    const { data } = await gateway.admin('POST', '/admin/v1/probe');
    assert.ok(data.length >= 2 && data.every(({ ok, failure }) => ok || failure), JSON.stringify(data));
    const { data: [report] } = await gateway.admin('GET', '/admin/v1/reconcile?account=tf-house');
    assert.deepEqual([report.ok, report.differences], [true, []]);
  });

  test('costs at most one slow first attempt in a minute and isolate, and isolates that start later none', async () => {
    await gateway.scheduled();
    gateway.upstream.switch('alive-pair-a', 'hang-headers');
    const slow = async (answer) => {
      await answer.text();
      const { attempts } = await gateway.receipt(secret, answer);
      return attempts.filter(({ error }) => error === 'timeout').length;
    };
    const perMinute = [];
    for (let minute = 0; minute < 3; minute += 1) {
      let count = 0;
      for (let n = 0; n < 6; n += 1) count += await slow(await chat('pair'));
      perMinute.push(count);
      await gateway.advance(minute_ms);
    }
    await gateway.scheduled();
    await gateway.kill();
    await until(async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
    let fresh = 0;
    for (let n = 0; n < 6; n += 1) fresh += await slow(await chat('pair'));
    gateway.upstream.restore('alive-pair-a');
    console.log(`Slow first attempts of 6 requests a minute: ${perMinute.join(', ')}; in an isolate that started later: ${fresh}`);
    assert.ok(perMinute[0] === 1 && perMinute.every((count) => count <= 1) && fresh === 0);
  });
});
