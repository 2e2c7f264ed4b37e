// The history of the catalogue, and catalogues that are announced for a time.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startGateway } from './support/gateway.mjs';

let gateway;
let secret;
/** What runs when a test begins. */
let running;
before(async () => {
  gateway = await startGateway({ clock: true });
  secret = await gateway.richKey();
});
after(() => gateway?.close());
beforeEach(async () => {
  await gateway.admin('DELETE', '/admin/v1/catalog/announced').catch(() => {});
  running = await gateway.admin('GET', '/admin/v1/catalog');
});

describe('a publication', () => {
  test('says what changes, and keeps author and reason', async () => {
    const next = dearer(running, '3');
    const answer = await publish(next, { author: 'kim', reason: 'New list of November' });
    const [text, ...rest] = answer.changes;
    assert.match(text, /^demo-large, official: output \S+ -> 3 USD per million tokens \(.+ %\)$/);
    assert.deepEqual([answer.version, answer.changed, answer.dry_run, rest], [running.version + 1, true, false, []]);
    assert.ok(Math.abs(Date.parse(answer.effective_at) - gateway.worker.time()) < 60_000);

    const { data } = await versions();
    const [newest, first] = [data[0], data.at(-1)];
    assert.deepEqual(
      [newest.version, newest.on_behalf_of, newest.reason, newest.withdrawn_at, newest.changes],
      [answer.version, 'kim', 'New list of November', null, [{ model: 'demo-large', kind: 'price', text }]],
    );
    assert.equal(newest.effective_at, newest.published_at);
    assert.deepEqual([first.version, first.author, first.on_behalf_of, first.reason], [1, 'root', null, null]);
    assert.ok(first.changes.some((change) => change.text.startsWith('model demo-large added')));

    const whole = await gateway.admin('GET', `/admin/v1/catalog/versions/${answer.version}`);
    assert.deepEqual(whole, { ...newest, document: { ...next, version: answer.version } });
    for (const version of ['4711', 'x', '-1']) {
      await assert.rejects(gateway.admin('GET', `/admin/v1/catalog/versions/${version}`), { status: 404 });
    }
  });

  test('is found by pages, newest first, and rows of before are shown as they are', async () => {
    const { DB } = await gateway.bindings();
    await DB.prepare('INSERT INTO catalog_versions (version, published_at, document) VALUES (0, 1000, ?)').bind('{"version": 0}').run();
    await publish(dearer(running, '6'));
    await publish(dearer(running, '7'));
    const { data } = await versions();
    const pages = [];
    for (let after; ; ) {
      const page = await versions({ limit: 2, ...(after && { after }) });
      pages.push(...page.data);
      if (!(after = page.next)) break;
    }
    assert.deepEqual(pages, data);
    assert.deepEqual(data.map(({ version }) => version), data.map(({ version }) => version).toSorted((a, b) => b - a));
    assert.deepEqual(data.at(-1), {
      version: 0, published_at: '1970-01-01T00:00:01Z', effective_at: '1970-01-01T00:00:01Z', withdrawn_at: null, author: null, on_behalf_of: null, reason: null, changes: null,
    });
    await DB.prepare('DELETE FROM catalog_versions WHERE version = 0').run();
  });

  test('is found by the model that it changed, unless it was withdrawn', async () => {
    const next = dearer(running, '8');
    next.models['demo-small'].name = 'Small';
    const { version } = await publish(next);
    const { data: [small, ...first] } = await versions({ model: 'demo-small' });
    assert.deepEqual([small.version, small.changes.map(({ kind }) => kind)], [version, ['other']]);
    assert.deepEqual(first.map(({ version }) => version), [1]);
    const announced = await publish(dearer(running, '9'), { effective_at: inMs(60_000) });
    const newest = async () => (await versions({ model: 'demo-large', limit: 1 })).data[0].version;
    assert.equal(await newest(), announced.version);
    await gateway.admin('DELETE', '/admin/v1/catalog/announced');
    assert.equal(await newest(), version);
    assert.deepEqual((await versions({ model: 'never-sold' })).data, []);
    await assert.rejects(versions({ model: 'no model' }), { status: 400 });
  });
});

describe('an announced catalogue', () => {
  test('prices requests from its time on, and is published by the cron', async () => {
    const effective_at = inMs(5000);
    const next = dearer(running, '200');
    const answer = await publish(next, { effective_at, reason: 'Announced' });
    assert.equal(Date.parse(answer.effective_at), Date.parse(effective_at));
    const before = await receipt();
    assert.deepEqual([before.catalog_version, before.price.output], [running.version, running.models['demo-large'].routes.official.price.output]);
    const document = { ...next, version: answer.version };
    const shown = await gateway.admin('GET', '/admin/v1/catalog/announced');
    assert.deepEqual([shown.document, shown.reason, shown.effective_at], [document, 'Announced', answer.effective_at]);
    const { CONFIG } = await gateway.bindings();
    const stored = JSON.parse(await CONFIG.get('catalog:next'));
    assert.deepEqual([stored.effective_at, stored.version, stored.document], [answer.effective_at, answer.version, document]);
    await gateway.scheduled();
    assert.equal(JSON.parse(await CONFIG.get('catalog')).version, running.version, 'not before its time');

    await until(effective_at);
    const later = await receipt();
    assert.deepEqual([later.catalog_version, later.price.output], [answer.version, '200']);
    assert.deepEqual(await gateway.admin('GET', '/admin/v1/catalog'), document);
    await assert.rejects(gateway.admin('GET', '/admin/v1/catalog/announced'), { status: 404 });
    await Promise.all([gateway.scheduled(), gateway.scheduled()]);
    assert.deepEqual(JSON.parse(await CONFIG.get('catalog')), document);
    assert.equal((await receipt()).catalog_version, answer.version);

    // It stays beside it for some minutes, for locations that still see the catalogue of before.
    assert.equal(JSON.parse(await CONFIG.get('catalog:next')).version, answer.version);
    await CONFIG.put('catalog:next', JSON.stringify({ ...stored, effective_at: inMs(-300_000) }));
    await Promise.all([gateway.scheduled(), gateway.scheduled()]);
    assert.equal(await CONFIG.get('catalog:next'), null);
    assert.deepEqual(JSON.parse(await CONFIG.get('catalog')), document);
  });

  test('is known to an isolate that starts between the announcement and its time', async () => {
    const effective_at = inMs(8000);
    const answer = await publish(dearer(running, '9'), { effective_at });
    await gateway.kill();
    assert.equal((await receipt()).catalog_version, running.version);
    await until(effective_at);
    assert.equal((await receipt()).catalog_version, answer.version);
    await gateway.scheduled();
  });

  test('that was withdrawn is not published by a cron that still sees it', async () => {
    const answer = await publish(dearer(running, '15'), { effective_at: inMs(60_000) });
    const { CONFIG } = await gateway.bindings();
    const stored = JSON.parse(await CONFIG.get('catalog:next'));
    await gateway.admin('DELETE', '/admin/v1/catalog/announced');
    await CONFIG.put('catalog:next', JSON.stringify({ ...stored, effective_at: inMs(-1000) }));
    await gateway.scheduled();
    assert.equal(await CONFIG.get('catalog:next'), null);
    assert.equal(JSON.parse(await CONFIG.get('catalog')).version, running.version);
    assert.equal((await versions({ limit: 1 })).data[0].version, answer.version);
  });

  test('that has become faulty leaves the running one, and the log says so', async () => {
    const { CONFIG } = await gateway.bindings();
    const version = running.version + 50;
    const faulty = dearer({ ...running, version }, '-1');
    await CONFIG.put('catalog:next', JSON.stringify({ effective_at: inMs(-1000), version, document: faulty }));
    await gateway.kill();
    assert.equal((await receipt()).catalog_version, running.version);
    await gateway.scheduled();
    assert.ok(gateway.logs.some(({ message }) => message.includes(`version ${version} was announced and is not used: `)));
    const bindings = await gateway.bindings();
    assert.equal(await bindings.CONFIG.get('catalog:next'), null);
    assert.deepEqual(await gateway.admin('GET', '/admin/v1/catalog'), running);
  });
});

/** The same catalogue with another price of output for demo-large. */
function dearer(catalog, output) {
  const next = structuredClone(catalog);
  next.models['demo-large'].routes.official.price.output = output;
  return next;
}

function publish(document, query = {}) {
  return gateway.admin('PUT', `/admin/v1/catalog?${new URLSearchParams(query)}`, document);
}

function versions(query = {}) {
  return gateway.admin('GET', `/admin/v1/catalog/versions?${new URLSearchParams({ limit: 100, ...query })}`);
}

async function receipt() {
  const answer = await gateway.call(secret, { model: 'demo-large', max_tokens: 5 });
  assert.equal(answer.status, 200, await answer.text());
  return gateway.receipt(secret, answer);
}

const inMs = (ms) => new Date(gateway.worker.time() + ms).toISOString();
const until = (time) => gateway.advance(Math.max(0, Date.parse(time) - gateway.worker.time()) + 50);
