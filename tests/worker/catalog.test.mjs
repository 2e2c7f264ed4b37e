// Publishing the catalogue, and what is known of the health of its candidates.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { adminToken, startGateway, until } from './support/gateway.mjs';
import { testCatalog } from './support/catalog.mjs';

describe('a catalogue', () => {
  let gateway;
  before(async () => (gateway = await startGateway()));
  after(() => gateway?.close());

  /** A change of a good catalogue, and the paths at which it is at fault. */
  const faults = [
    ['a field that there is not', (it) => (it.colour = 'red'), ['colour']],
    ['no version', (it) => delete it.version, ['version']],
    ['a version in words', (it) => (it.version = 'seven'), ['version']],
    ['a negative version', (it) => (it.version = -1), ['version']],
    ['no buckets', (it) => delete it.buckets, ['buckets', 'models.m.routes.official.bucket', 'models.m.routes.routed.bucket', 'models.n.routes.official.bucket']],
    ['no channels', (it) => delete it.channels, ['channels', 'models.m.routes.official.candidates[0].channel', 'models.m.routes.routed.candidates[0].channel', 'models.n.routes.official.candidates[0].channel']],
    ['no models', (it) => delete it.models, ['models']],
    ['models in a list', (it) => (it.models = []), ['models']],
    ['a currency that is none', (it) => (it.buckets.credit.currency = 'dollar'), ['buckets.credit.currency']],
    ['a bucket with a field too many', (it) => (it.buckets.credit.limit = 7), ['buckets.credit.limit']],
    ['a dialect that nobody speaks', (it) => (it.channels.main.dialect = 'telegraph'), ['channels.main.dialect', 'models.m.routes.official.candidates[0].channel']],
    ['a channel without an address', (it) => delete it.channels.main.base_url, ['channels.main.base_url', 'models.m.routes.official.candidates[0].channel']],
    ['an address that is none', (it) => (it.channels.main.base_url = 'upstream'), ['channels.main.base_url', 'models.m.routes.official.candidates[0].channel']],
    ['an address of another scheme', (it) => (it.channels.main.base_url = 'ftp://upstream.example/v1'), ['channels.main.base_url', 'models.m.routes.official.candidates[0].channel']],
    ['an address with a password', (it) => (it.channels.main.base_url = 'https://me:secret@upstream.example/v1'), ['channels.main.base_url', 'models.m.routes.official.candidates[0].channel']],
    ['no credentials', (it) => (it.channels.main.secrets = []), ['channels.main.secrets']],
    ['a credential in place of its name', (it) => (it.channels.main.secrets = 'sk-123'), ['channels.main.secrets', 'models.m.routes.official.candidates[0].channel']],
    ['a time-out of nothing', (it) => (it.channels.main.first_byte_timeout_ms = 0), ['channels.main.first_byte_timeout_ms']],
    ['a time-out of a day', (it) => (it.channels.main.idle_timeout_ms = 86_400_000), ['channels.main.idle_timeout_ms']],
    ['a hold without time', (it) => (it.hold_timeout_ms = 0), ['hold_timeout_ms']],
    ['a negative context', (it) => (it.models.m.context_length = -1), ['models.m.context_length']],
    ['more output than context', (it) => (it.models.m.max_output_tokens = 200_000), ['models.m.max_output_tokens']],
    ['a kind that there is not', (it) => (it.models.m.kind = 'telepathy'), ['models.m.kind']],
    ['a model name with a route', (it) => (it.models['x:official'] = it.models.m), ['models.x:official']],
    ['a route of no kind', (it) => (it.models.m.routes.direct = it.models.m.routes.official), ['models.m.routes.direct']],
    ['a bucket that is not declared', (it) => (it.models.m.routes.official.bucket = 'gold'), ['models.m.routes.official.bucket']],
    ['a channel that is not declared', (it) => (it.models.m.routes.official.candidates[0].channel = 'none'), ['models.m.routes.official.candidates[0].channel']],
    ['no candidates', (it) => (it.models.m.routes.official.candidates = []), ['models.m.routes.official.candidates']],
    ['a candidate without a model', (it) => delete it.models.m.routes.official.candidates[0].upstream_model, ['models.m.routes.official.candidates[0].upstream_model']],
    ['a candidate with a line break', (it) => (it.models.m.routes.official.candidates[0].upstream_model = 'a\nb'), ['models.m.routes.official.candidates[0].upstream_model']],
    ['a weight of nothing', (it) => (it.models.m.routes.official.candidates[0].weight = 0), ['models.m.routes.official.candidates[0].weight']],
    ['a price without output', (it) => delete it.models.m.routes.official.price.output, ['models.m.routes.official.price.output']],
    ['a price without input', (it) => delete it.models.m.routes.official.price.input, ['models.m.routes.official.price.input']],
    ['a price that is a number', (it) => (it.models.m.routes.official.price.input = 1.25), ['models.m.routes.official.price.input']],
    ['a price below nothing', (it) => (it.models.m.routes.official.price.output = '-1'), ['models.m.routes.official.price.output']],
    ['a price with an exponent', (it) => (it.models.m.routes.official.price.output = '1e3'), ['models.m.routes.official.price.output']],
    ['a price of a class that there is not', (it) => (it.models.m.routes.official.price.video = '1'), ['models.m.routes.official.price.video']],
    ['an alias that is a model', (it) => (it.models.m.aliases = ['n']), ['models.m.aliases']],
    ['an alias of itself', (it) => (it.models.m.aliases = ['m']), ['models.m.aliases']],
    ['aliases in a circle', (it) => ((it.models.m.aliases = ['n']), (it.models.n.aliases = ['m'])), ['models.m.aliases', 'models.n.aliases']],
    ['an alias of two models', (it) => ((it.models.m.aliases = ['x']), (it.models.n.aliases = ['x'])), ['models.n.aliases']],
    ['an alias that is not text', (it) => (it.models.m.aliases = [7]), ['models.m.aliases']],
    ['a policy that there is not', (it) => (it.charge_policy = { upstream_cut: 'double' }), ['charge_policy.upstream_cut']],
    [
      'many faults',
      (it) => {
        it.version = null;
        it.channels.main.secrets = [];
        it.models.m.routes.official.price.input = 'cheap';
        it.models.m.routes.routed.bucket = 'gold';
        it.models.n.family = 7;
      },
      ['channels.main.secrets', 'models.m.routes.official.price.input', 'models.m.routes.routed.bucket', 'models.n.family', 'version'],
    ],
  ];

  for (const [name, break_, paths] of faults) {
    test(`with ${name} is refused with every fault and its path`, async () => {
      const document = smallCatalog(gateway.upstream.url);
      break_(document);
      const error = await refusal(gateway, JSON.stringify(document));
      assert.equal(error.code, 'invalid_catalog');
      assert.deepEqual(error.metadata.faults.map(({ path }) => path.replace(/(aliases)\[\d+\]$/, '$1')).sort(), paths.toSorted());
      for (const { message } of error.metadata.faults) assert.ok(message.length > 0);
    });
  }

  test('that was refused leaves the running one as it is', async () => {
    const secret = await gateway.richKey();
    const running = await gateway.admin('GET', '/admin/v1/catalog');
    await refusal(gateway, JSON.stringify({ ...running, version: 'next' }));
    await refusal(gateway, JSON.stringify({ ...running, models: {}, channels: 7 }));
    assert.deepEqual(await gateway.admin('GET', '/admin/v1/catalog'), running);
    assert.equal((await gateway.call(secret, 'demo-large')).status, 200);
    const { DB } = await gateway.bindings();
    const { results } = await DB.prepare('SELECT version FROM catalog_versions').all();
    assert.deepEqual(results.map(({ version }) => version), [running.version]);
  });

  test('that is no document is refused as such', async () => {
    for (const text of ['', 'null', '[]', '"catalogue"', '7', '{', '{"version": 1', '\u0000', Buffer.of(0xff, 0xfe)]) {
      const answer = await put(gateway, text);
      assert.equal(answer.status, 400, String(text));
      assert.ok(['invalid_catalog', 'invalid_json'].includes((await answer.json()).error.code));
    }
    assert.ok((await gateway.admin('GET', '/admin/v1/catalog')).models['demo-large']);
  });

  test('takes effect on the next request, under a version of its own', async () => {
    const secret = await gateway.richKey();
    const before = await gateway.admin('GET', '/admin/v1/catalog');
    const receipt = async (model, max_tokens = 10) => {
      const answer = await gateway.call(secret, { model, max_tokens });
      assert.equal(answer.status, 200, await answer.text());
      return gateway.receipt(secret, answer);
    };
    assert.equal((await receipt('demo-large')).catalog_version, before.version);

    const next = structuredClone(before);
    // The version that it came with is taken already.
    next.models['demo-large'].routes.official.price.output = '200';
    next.models.newcomer = { ...next.models['demo-small'], aliases: ['also-new'] };
    delete next.models['demo-small'];
    const published = await gateway.admin('PUT', '/admin/v1/catalog', next);
    assert.equal(published.version, before.version + 1);
    const dearer = await receipt('demo-large');
    assert.deepEqual([dearer.catalog_version, dearer.price.output, dearer.charge], [published.version, '200', '0.002008']);
    for (const name of ['newcomer', 'also-new']) assert.equal((await receipt(name)).model, 'newcomer');
    assert.equal((await gateway.call(secret, 'demo-small')).status, 404);
    const { data } = await gateway.get(secret, '/v1/models');
    assert.ok(data.some(({ id }) => id === 'newcomer') && !data.some(({ id }) => id === 'demo-small'));

    assert.deepEqual(await gateway.admin('GET', '/admin/v1/catalog'), { ...next, version: published.version });
    const { CONFIG, DB } = await gateway.bindings();
    assert.deepEqual(JSON.parse(await CONFIG.get('catalog')), { ...next, version: published.version });
    const { results } = await DB.prepare('SELECT version, document FROM catalog_versions ORDER BY version').all();
    assert.deepEqual(results.map(({ document }) => JSON.parse(document)), [before, { ...next, version: published.version }]);

    const leap = await gateway.admin('PUT', '/admin/v1/catalog', { ...before, version: 40 });
    assert.equal(leap.version, 40, 'a higher one is kept');
    const again = await gateway.admin('PUT', '/admin/v1/catalog', { ...before, version: 7 });
    assert.equal(again.version, 41);
    assert.equal((await receipt('demo-large')).charge, '0.000028');
  });

  test('that is published again unchanged stays what it is', async () => {
    const running = await (await gateway.fetch(adminToken, '/admin/v1/catalog')).text();
    const { version, changed } = await (await put(gateway, running)).json();
    assert.deepEqual([version, changed], [JSON.parse(running).version, false]);
  });

  test('that loses a model in the middle of a stream still charges it by the old price', async () => {
    const secret = await gateway.richKey();
    const before = await gateway.admin('GET', '/admin/v1/catalog');
    const stream = await gateway.call(secret, { model: 'slow-stream', stream: true, max_tokens: 20 });
    const without = structuredClone(before);
    delete without.models['slow-stream'];
    await gateway.admin('PUT', '/admin/v1/catalog', without);
    assert.equal((await gateway.call(secret, { model: 'slow-stream', stream: true })).status, 404);
    await stream.text();
    const { status, catalog_version, charge } = await gateway.receipt(secret, stream);
    assert.deepEqual({ status, catalog_version, charge }, { status: 'completed', catalog_version: before.version, charge: '0.000048' });
    await gateway.admin('PUT', '/admin/v1/catalog', before);
  });
});

describe('where private upstreams are not allowed', () => {
  let gateway;
  const publicCatalog = () => smallCatalog('https://upstream.example');
  before(async () => (gateway = await startGateway({ catalog: publicCatalog, vars: { ALLOW_PRIVATE_UPSTREAMS: '' }, isPrivate: true })));
  after(() => gateway?.close());

  test('a channel on this machine, a private network or without TLS is refused', async () => {
    const addresses = [
      gateway.upstream.url, 'http://upstream.example/v1', 'https://localhost/v1', 'https://sub.localhost/v1', 'https://127.0.0.1/v1', 'https://127.1/v1',
      'https://0x7f.1/v1', 'https://2130706433/v1', 'https://0.0.0.0/v1', 'https://10.1.2.3/v1', 'https://172.16.0.1/v1', 'https://192.168.0.1/v1',
      'https://169.254.169.254/latest/meta-data', 'https://100.64.0.1/v1', 'https://[::1]/v1', 'https://[::]/v1', 'https://[fc00::1]/v1', 'https://[fe80::1]/v1',
      'https://[::ffff:10.0.0.1]/v1', 'https://[64:ff9b::a00:1]/v1', 'https://metadata.google.internal/v1', 'https://printer.local/v1', 'https://upstream/v1',
    ];
    for (const address of addresses) {
      const document = publicCatalog();
      document.channels.main.base_url = address;
      const { code, metadata } = await refusal(gateway, JSON.stringify(document));
      assert.equal(code, 'invalid_catalog', address);
      assert.ok(metadata.faults.some(({ path }) => path === 'channels.main.base_url'), address);
    }
    assert.deepEqual(await gateway.admin('GET', '/admin/v1/catalog'), publicCatalog());
    assert.equal(gateway.upstream.requests.length, 0);
  });
});

describe('health', () => {
  let gateway;
  let bare;
  before(async () => {
    // An upstream without a list of models, and one that refuses its credential.
    bare = createServer((request, response) => {
      response.statusCode = request.url.startsWith('/refuses') ? 401 : 404;
      response.end('{}');
    });
    await new Promise((resolve) => bare.listen(0, '127.0.0.1', resolve));
    gateway = await startGateway({ catalog: probeCatalog });
  });
  after(async () => {
    await gateway?.close();
    bare.closeAllConnections();
    bare.close();
  });

  function probeCatalog(upstreamUrl) {
    const document = testCatalog(upstreamUrl);
    const other = `http://127.0.0.1:${bare.address().port}`;
    const { main } = document.channels;
    Object.assign(document.channels, {
      dead: { ...main, base_url: 'http://127.0.0.1:9/v1' },
      listless: { ...main, base_url: `${other}/v1` },
      refusing: { ...main, base_url: `${other}/refuses/v1` },
      unconfigured: { ...main, secrets: ['UPSTREAM_NOT_SET'] },
    });
    const route = (...channels) => ({
      ...document.models['demo-large'],
      routes: { official: { bucket: 'credit', price: { input: '1', output: '2' }, candidates: channels.map((channel, tier) => ({ channel, upstream_model: 'demo-large', tier })) } },
    });
    for (const channel of ['dead', 'listless', 'refusing', 'unconfigured']) document.models[`on-${channel}`] = route(channel, 'main');
    document.models['fail-often'] = { ...route(), routes: { official: { bucket: 'credit', price: { input: '1', output: '2' }, candidates: [{ channel: 'main', upstream_model: 'fail-500-often' }, { channel: 'backup', upstream_model: 'demo-large', tier: 1 }] } } };
    return document;
  }

  const of = async (channel, model) =>
    (await gateway.admin('GET', '/admin/v1/health')).data.filter((row) => row.channel === channel && (model === undefined || row.model === model));

  test('is shown for every candidate, known or not', async () => {
    const catalog = await gateway.admin('GET', '/admin/v1/catalog');
    const { data } = await gateway.admin('GET', '/admin/v1/health');
    const expected = Object.entries(catalog.models).flatMap(([model, { routes }]) =>
      Object.entries(routes).flatMap(([route, { candidates }]) => candidates.map(({ channel, upstream_model, tier = 0 }) => ({ model, route, channel, upstream_model, tier }))),
    );
    const byText = (rows) => rows.map((row) => JSON.stringify(row)).sort();
    assert.deepEqual(byText(data.map(({ model, route, channel, upstream_model, tier }) => ({ model, route, channel, upstream_model, tier }))), byText(expected));
    for (const { health } of data) assert.equal(health.status, 'unknown');
  });

  test('is probed on demand, by the free list of models only, and written to KV and D1', async () => {
    gateway.upstream.requests.length = 0;
    const { data } = await gateway.admin('POST', '/admin/v1/probe');
    const found = Object.fromEntries(data.map(({ channel, ok, failure }) => [channel, { ok, failure }]));
    assert.deepEqual(Object.keys(found).sort(), ['backup', 'dead', 'draining', 'listless', 'main', 'refusing', 'unconfigured']);
    for (const channel of ['main', 'backup', 'draining']) assert.deepEqual(found[channel], { ok: true, failure: null });
    for (const channel of ['dead', 'refusing', 'unconfigured']) assert.ok(!found[channel].ok && found[channel].failure, channel);
    assert.deepEqual([...new Set(gateway.upstream.requests.map(({ method, url }) => `${method} ${url}`))], ['GET /v1/models']);

    const { CONFIG, DB } = await gateway.bindings();
    const health = JSON.parse(await CONFIG.get('health'));
    const known = health.candidates['main/demo-large'];
    assert.deepEqual([known.status, known.last_probe.ok, known.last_probe.level], ['unknown', true, 1], 'to be listed is not to answer');
    const { results } = await DB.prepare('SELECT channel, ok, failure FROM probes').all();
    assert.equal(results.length, 7);
    for (const { channel, ok, failure } of results) assert.deepEqual({ ok: ok === 1, failure }, found[channel]);

    for (const { health } of await of('main')) assert.ok(health.last_probe.ok);
    for (const { health } of await of('refusing')) assert.deepEqual([health.status, health.last_failure.kind], ['down', 'credential']);
    for (const { health } of await of('unconfigured')) assert.equal(health.status, 'down');
    for (const { health } of await of('listless')) assert.equal(health.status, 'unknown', 'nothing is known of a channel without a list');
  });

  test('is probed by the cron too', async () => {
    const { DB } = await gateway.bindings();
    const count = async () => (await DB.prepare('SELECT COUNT(*) AS count FROM probes').all()).results[0].count;
    const before = await count();
    await gateway.scheduled();
    await until(async () => (await count()) === before + 7, 'the rows of the cron');
    const [{ health }] = await of('dead', 'on-dead');
    assert.deepEqual([health.status, health.failures, health.last_probe.ok], ['down', 2, false]);
  });

  test('keeps requests away from a primary that probes found dead, also in a fresh isolate', async () => {
    await gateway.kill();
    await until(async () => (await fetch(`${gateway.url}/healthz`).catch(() => ({}))).ok, 'the runtime');
    const secret = await gateway.richKey();
    // The first request may come before the snapshot is there.
    await (await gateway.call(secret, 'demo-large')).text();
    let tries = 0;
    for (let n = 0; n < 10; n += 1) {
      const answer = await gateway.call(secret, 'on-dead');
      assert.deepEqual([answer.status, answer.headers.get('x-tf-channel')], [200, 'main']);
      const { attempts } = await gateway.receipt(secret, answer);
      tries += attempts.filter(({ channel, dispatched }) => channel === 'dead' && dispatched).length;
    }
    assert.ok(tries <= 1, `the dead primary was tried ${tries} times`);
  });

  test('keeps requests away from a primary that fails, without any probe', async () => {
    const secret = await gateway.richKey();
    gateway.upstream.requests.length = 0;
    for (let n = 0; n < 12; n += 1) {
      const answer = await gateway.call(secret, 'fail-often');
      assert.equal(answer.status, 200);
      await answer.text();
    }
    const failing = gateway.upstream.requests.filter(({ body }) => body.model === 'fail-500-often').length;
    assert.equal(failing, 2, 'two failures in a row are an outage');
    const [{ health }] = await of('main', 'fail-often');
    const own = ({ lone: [{ health: { status, failures, last_failure } }] }) => [status, failures, last_failure.kind];
    assert.deepEqual([health.status, own(health)], ['unknown', ['down', 2, 'server']], 'one account has met it');
    // A probe that reaches the channel does not outweigh what requests saw of the model.
    await gateway.admin('POST', '/admin/v1/probe');
    assert.deepEqual(own((await of('main', 'fail-often'))[0].health), ['down', 2, 'server']);
  });

  test('of the last candidate never rules it out', async () => {
    const secret = await gateway.richKey();
    gateway.upstream.requests.length = 0;
    for (let n = 0; n < 4; n += 1) assert.equal((await gateway.call(secret, 'fail-500')).status, 502);
    assert.equal(gateway.upstream.requests.length, 4);
  });

  test('is no business of the accounts: probes have neither receipts nor charges', async () => {
    const secret = await gateway.richKey();
    await gateway.admin('POST', '/admin/v1/probe');
    assert.deepEqual((await gateway.get(secret, '/v1/receipts')).data, []);
    const { DB } = await gateway.bindings();
    const { results } = await DB.prepare("SELECT DISTINCT kind FROM journal WHERE account <> 'tf-operator'").all();
    for (const { kind } of results) assert.ok(['receipt', 'adjustment', 'account', 'project', 'key'].includes(kind));
  });

  test('is probed on while D1 has no table for it', async () => {
    const { DB } = await gateway.bindings();
    await DB.prepare('ALTER TABLE probes RENAME TO probes_away').run();
    try {
      await gateway.scheduled();
      const secret = await gateway.richKey();
      assert.equal((await gateway.call(secret, 'demo-large')).status, 200);
    } finally {
      await DB.prepare('ALTER TABLE probes_away RENAME TO probes').run();
    }
    assert.equal((await gateway.admin('POST', '/admin/v1/probe')).data.length, 7);
  });
});

/** Two models, so that one can be broken by the other. */
function smallCatalog(upstreamUrl) {
  const channel = { dialect: 'openai', base_url: `${upstreamUrl}/v1`, secrets: ['TEST_UPSTREAM_KEY'] };
  const route = (bucket, channel) => ({ bucket, price: { input: '1', output: '2' }, candidates: [{ channel, upstream_model: 'demo-large' }] });
  const model = (routes) => ({ name: 'A model', family: 'test', kind: 'chat', context_length: 128000, max_output_tokens: 4096, routes });
  return {
    version: 1,
    buckets: { credit: { label: 'Official credit', currency: 'USD' }, wallet: { label: 'Routed wallet', currency: 'CNY' } },
    channels: { main: channel, backup: { ...channel } },
    models: { m: model({ official: route('credit', 'main'), routed: route('wallet', 'backup') }), n: model({ official: route('credit', 'backup') }) },
  };
}

function put(gateway, body) {
  return gateway.fetch(adminToken, '/admin/v1/catalog', { method: 'PUT', body });
}

/** The error of a catalogue that has to be refused. */
async function refusal(gateway, text) {
  const answer = await put(gateway, text);
  const body = await answer.json();
  assert.equal(answer.status, 400, JSON.stringify(body));
  return body.error;
}
