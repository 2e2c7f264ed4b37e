// The pages in a real browser: in both themes, on a phone, without script, signed in and out, and with texts that would like
// to be more than text.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startGateway, until } from './support/gateway.mjs';
import { checkPage, openTab, photograph, startBrowser, unreachable, widths } from './support/browser.mjs';

const hostile = '<script>alert(1)</script><img src=x onerror="alert(2)">"\' & \u202Eright to left';
const long = 'a-model-id-without-any-break-'.repeat(4) + 'end';

describe('pages', () => {
  let gateway, browser, secret, account;

  before(async () => {
    gateway = await startGateway({ catalog: pageCatalog });
    browser = await startBrowser();
    account = await gateway.newAccount({ credit: '5', name: 'Pages' });
    secret = await gateway.newKey(account, { label: 'laptop', models: ['good', 'broken', 'two-ways', 'no-money'] });
    const rich = await gateway.richKey();
    for (const model of ['good', 'two-ways', 'backed-up']) for (let n = 0; n < 3; n += 1) await (await gateway.call(rich, { model, max_tokens: 5 })).text();
    for (let n = 0; n < 2; n += 1) await (await gateway.call(rich, { model: 'broken', max_tokens: 5 })).text();
    const { DB } = await gateway.bindings();
    await until(async () => (await DB.prepare("SELECT COUNT(*) AS n FROM journal WHERE kind = 'receipt'").first()).n >= 11, 'the receipts in D1');
    await gateway.admin('POST', '/admin/v1/probe');
  });
  after(async () => {
    await browser?.close();
    await gateway?.close();
  });

  const paths = { home: '/', models: '/models', model: '/models/two-ways', broken: '/models/broken', hostile: '/models/hostile', long: `/models/${long}`, status: '/status', login: '/login', docs: '/docs/', guide: '/docs/use/first-steps', reference: '/docs/reference/api', missing: '/models/nothing-of-that-name' };

  for (const theme of ['light', 'dark']) {
    for (const width of Object.keys(widths)) {
      test(`are whole, ${theme}, at the width of a ${width}`, async () => {
        const opened = await openTab(browser, { theme, width, url: gateway.url });
        try {
          for (const [name, path] of Object.entries(paths)) {
            const answer = await opened.tab.goto(path);
            assert.equal(answer.status(), name === 'missing' ? 404 : 200, path);
            // The browser says by itself that a page was not found.
            if (name === 'missing') opened.faults.splice(0, opened.faults.length, ...opened.faults.filter((fault) => !fault.includes('404')));
            await checkPage(opened, `${name}-${theme}-${width}`);
          }
        } finally {
          await opened.close();
        }
      });
    }
  }

  test('are reached by keyboard alone, the way to the content first', async () => {
    const opened = await openTab(browser, { url: gateway.url });
    try {
      for (const path of Object.values(paths)) {
        await opened.tab.goto(path);
        await opened.tab.keyboard.press('Tab');
        assert.match(await opened.tab.evaluate(() => document.activeElement.getAttribute('href')), /^#/, `${path}: the skip link is first`);
        assert.deepEqual(await unreachable(opened.tab), [], path);
      }
    } finally {
      await opened.close();
    }
  });

  test('work without script: the filter is a form, and nothing is missing', async () => {
    const opened = await openTab(browser, { script: false, url: gateway.url });
    try {
      const { tab } = opened;
      await tab.goto('/models');
      await tab.fill('input[name=q]', 'two ways');
      await tab.press('input[name=q]', 'Enter');
      await tab.waitForURL(/q=two/);
      const text = await tab.innerText('main');
      assert.ok(text.includes('two-ways') && !text.includes('backed-up'), text);
      await tab.goto('/models?q=nothing-has-this');
      assert.match(await tab.innerText('main'), /no model/i);
      await tab.goto('/models/two-ways');
      const page = await tab.innerText('main');
      for (const words of ['official', 'routed', 'curl', 'Python', 'JavaScript', 'main']) assert.ok(page.includes(words), words);
      assert.equal(await tab.locator('main svg').count() > 0, true, 'charts');
    } finally {
      await opened.close();
    }
  });

  test('show hostile names and reasons as text', async () => {
    const opened = await openTab(browser, { url: gateway.url });
    try {
      for (const path of ['/models', '/models/hostile', '/status']) {
        await opened.tab.goto(path);
        assert.ok((await opened.tab.innerText('body')).includes('<script>alert(1)</script>'), path);
        assert.equal(await opened.tab.locator('main script, main img').count(), 0, path);
      }
      assert.deepEqual(opened.faults, []);
    } finally {
      await opened.close();
    }
  });

  test('tell what the API tells: callable or not, who pays, why not', async () => {
    const { data } = await (await fetch(`${gateway.url}/models.json`)).json();
    const opened = await openTab(browser, { url: gateway.url });
    try {
      for (const model of data) {
        await opened.tab.goto(`/models/${model.id}`);
        const text = await opened.tab.innerText('main');
        if (model.tf.callable) assert.ok(text.includes(model.tf.served_by.candidates[0].channel), model.id);
        else assert.ok(text.includes(model.tf.reasons[0].message), `${model.id}: ${model.tf.reasons[0].message}`);
      }
      await opened.tab.goto('/models?callable=1');
      const callable = data.filter(({ tf }) => tf.callable).map(({ id }) => id);
      const text = await opened.tab.innerText('main');
      for (const { id } of data) assert.equal(text.includes(id), callable.includes(id), id);
    } finally {
      await opened.close();
    }
  });

  test('know a key that was pasted, and forget it when it signs out or is revoked', async () => {
    const { id, secret: shortLived } = await gateway.createKey(account, { label: 'short-lived', models: ['good'] });
    const opened = await openTab(browser, { url: gateway.url });
    const { tab, context } = opened;
    try {
      await tab.goto('/login');
      await tab.fill('input[type=password]', 'sk-tf-wrong');
      await tab.press('input[type=password]', 'Enter');
      await until(async () => /not known|not valid|revoked/i.test(await tab.innerText('main')), 'the error');
      opened.faults.splice(0, opened.faults.length, ...opened.faults.filter((fault) => !fault.includes('401')));

      await tab.fill('input[type=password]', secret);
      await tab.press('input[type=password]', 'Enter');
      await tab.waitForURL(/\/models$/);
      assert.ok((await tab.innerText('header')).includes('laptop'));
      await checkPage(opened, 'models-signed-in');
      const [cookie] = await context.cookies();
      assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, 'Strict']);
      assert.ok(!cookie.value.includes(secret) && !decodeURIComponent(cookie.value).includes(secret.slice(6)));

      const { data } = await gateway.get(secret, '/v1/models?include=unavailable');
      for (const model of data) {
        await tab.goto(`/models/${model.id}`);
        const text = await tab.innerText('main');
        if (model.tf.callable) assert.ok(text.includes(model.tf.served_by.bucket) || text.includes('Official credit'), model.id);
        else assert.ok(text.includes(model.tf.reasons[0].message), `${model.id}: ${model.tf.reasons[0].message}`);
      }
      await tab.goto('/models/two-ways');
      await photograph(tab, 'model-signed-in');
      const answer = await tab.goto('/models');
      assert.match(answer.headers()['cache-control'], /no-store/);
      await tab.click('header button');
      await tab.waitForURL((url) => url.pathname === '/');
      assert.deepEqual(await context.cookies(), []);

      await tab.goto('/login');
      await tab.fill('input[type=password]', shortLived);
      await tab.press('input[type=password]', 'Enter');
      await tab.waitForURL(/\/models$/);
      assert.ok((await tab.innerText('header')).includes('short-lived'));
      await gateway.admin('DELETE', `/admin/v1/accounts/${account}/keys/${id}`);
      await tab.reload();
      assert.ok(!(await tab.innerText('header')).includes('short-lived'));
      assert.deepEqual(opened.faults, []);
    } finally {
      await opened.close();
    }
  });

  test('carry a strict policy, and are kept by nobody when they are about a key', async () => {
    for (const path of Object.values(paths)) {
      const answer = await fetch(gateway.url + path);
      const policy = answer.headers.get('content-security-policy');
      assert.match(policy, /default-src 'none'/);
      assert.ok(!/unsafe|\*|https?:/.test(policy), policy);
      assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
      if (!path.startsWith('/docs/')) assert.ok(answer.headers.get('x-request-id'));
    }
    const forged = await fetch(`${gateway.url}/models`, { headers: { cookie: `tf-session=1.${'0'.repeat(64)}.9999999999.${'0'.repeat(64)}` } });
    assert.equal(forged.status, 200);
    assert.ok((await forged.text()).includes('/login'), 'a cookie that is not ours counts for nothing');
  });

  test('have files that the platform answers: with a tag, for as long as their version lasts, and without the Worker', async () => {
    const home = await (await fetch(gateway.url)).text();
    const guide = await (await fetch(`${gateway.url}/docs/use/money`)).text();
    const linked = (page) => [...page.matchAll(/(?:href|src)="(\/(?:style|script|favicon)[^"]*)"/g)].map(([, address]) => address);
    assert.deepEqual(linked(home), linked(guide));
    for (const path of [...linked(home), '/docs/', '/openapi.json']) {
      const answer = await fetch(gateway.url + path);
      await answer.arrayBuffer();
      const tag = answer.headers.get('etag');
      assert.ok(answer.status === 200 && tag, path);
      assert.equal(answer.headers.get('x-request-id'), null, path);
      assert.match(answer.headers.get('cache-control'), path.includes('?v=') || path.endsWith('.svg') ? /max-age=86400/ : /max-age=300/, path);
      assert.equal((await fetch(gateway.url + path, { headers: { 'if-none-match': tag } })).status, 304, path);
    }
    for (const path of ['/docs/nothing', '/docs/use/', '/_headers', '/assets/style.css']) {
      const answer = await fetch(gateway.url + path);
      assert.deepEqual([answer.status, (await answer.json()).error.code], [404, 'not_found'], path);
      assert.match(await (await fetch(gateway.url + path, { headers: { accept: 'text/html' } })).text(), /<!doctype html>/);
    }
  });

  test('have a documentation whose pages are all reached from its index', async () => {
    const seen = new Set(['/docs/']);
    for (const path of seen) {
      const page = await fetch(gateway.url + path);
      assert.deepEqual([page.status, page.headers.get('content-type')], [200, 'text/html; charset=utf-8'], path);
      const text = await page.text();
      assert.ok(!/style=|<script>|\son\w+=|src="http/.test(text), path);
      for (const [, address] of text.matchAll(/href="(\/docs\/[^"#]*)/g)) seen.add(address);
    }
    assert.ok(['/docs/use/first-steps', '/docs/reference/api', '/docs/status', '/docs/decisions/0001-one-book'].every((path) => seen.has(path)), [...seen].join(' '));
    assert.ok(seen.size > 50);
  });

  test('are made once for everybody within some seconds', async () => {
    const get = async () => {
      const answer = await fetch(`${gateway.url}/status.json`);
      return [answer.headers.get('x-request-id'), JSON.parse(await answer.text()).at];
    };
    const [first, second] = [await get(), await get()];
    assert.notEqual(first[0], second[0]);
    assert.ok(first[1] === second[1] || Date.parse(second[1]) - Date.parse(first[1]) >= 5000, `${first[1]} ${second[1]}`);
  });

  test('have machine-readable companions that parse', async () => {
    const get = async (path) => {
      const answer = await fetch(gateway.url + path);
      assert.equal(answer.status, 200, path);
      return [answer.headers.get('content-type'), await answer.text()];
    };
    const opened = await openTab(browser, { url: gateway.url });
    try {
      await opened.tab.goto('/');
      for (const [path, root, type] of [['/status.atom', 'feed', 'application/atom+xml'], ['/sitemap.xml', 'urlset', 'application/xml']]) {
        const [contentType, text] = await get(path);
        assert.ok(contentType.startsWith(type), contentType);
        const name = await opened.tab.evaluate((text) => new DOMParser().parseFromString(text, 'application/xml').documentElement.nodeName, text);
        assert.equal(name, root, text.slice(0, 300));
        assert.ok(text.includes(`${gateway.url}/`));
      }
    } finally {
      await opened.close();
    }
    const [, llms] = await get('/llms.txt');
    assert.ok(llms.startsWith('# ') && llms.includes('/v1/chat/completions') && llms.includes('two-ways'));
    const status = JSON.parse((await get('/status.json'))[1]);
    const broken = status.routes.find(({ model }) => model === 'broken');
    assert.deepEqual([broken.status, broken.days.length], ['down', 90]);
    assert.ok(status.incidents.current.some(({ models, cause }) => models.includes('broken') && cause.includes('503')));
    assert.equal(JSON.parse((await get('/models/two-ways.json'))[1]).id, 'two-ways');
    assert.match((await get('/robots.txt'))[1], /Sitemap: /);
  });
});

/** Models in every state, some of which would like to be more than text. */
function pageCatalog(upstream) {
  const channel = (more) => ({ dialect: 'openai', base_url: `${upstream}/v1`, secrets: ['TEST_UPSTREAM_KEY'], first_byte_timeout_ms: 1000, idle_timeout_ms: 1000, ...more });
  const route = (bucket, price, ...candidates) => ({ bucket, price, candidates: candidates.map(([channel, upstream_model], tier) => ({ channel, upstream_model, tier })) });
  const model = (name, routes, more) => ({ name, family: 'demo', kind: 'chat', context_length: 128000, max_output_tokens: 4096, routes, ...more });
  const price = { input: '1', cached_input: '0.1', output: '4' };
  const tiered = { ...price, tiers: [{ above: 64000, input: '2', output: '6' }] };
  return {
    version: 1,
    buckets: { credit: { label: 'Official credit', currency: 'USD' }, wallet: { label: 'Routed wallet', currency: 'CNY', usd: '0.14' } },
    channels: { main: channel(), backup: channel(), unset: channel({ secrets: ['UPSTREAM_NOT_SET'] }) },
    models: {
      good: model('A good model', { official: route('credit', price, ['main', 'demo-small']) }, { aliases: ['good-latest'] }),
      'two-ways': model('Two ways to it', { official: route('credit', tiered, ['main', 'demo-official'], ['backup', 'demo-large']), routed: route('wallet', { input: '4', output: '16' }, ['backup', 'demo-small']) }),
      'backed-up': model('Backed up', { official: route('credit', price, ['main', 'fail-503'], ['backup', 'demo-large']) }),
      broken: model('Broken', { official: route('credit', price, ['main', 'fail-503-always']) }),
      unpriced: model('Without a price', { official: { ...route('credit', price, ['main', 'demo-large']), price: null } }),
      'no-money': model('Paid by the wallet', { routed: route('wallet', { input: '7', output: '14' }, ['backup', 'demo-large']) }),
      hostile: model(hostile, { official: route('credit', price, ['unset', hostile.replaceAll(/[^!-~]/g, '')]) }, { family: hostile.replaceAll('\u202E', '') }),
      [long]: model('M'.repeat(180), { official: route('credit', price, ['main', 'demo-large']) }),
      embedding: model('Embeds', { official: route('credit', { input: '0.02' }, ['main', 'demo-embedding']) }, { kind: 'embedding', max_output_tokens: undefined }),
      picture: model('Paints', { official: route('credit', { images: '0.04' }, ['main', 'demo-image']) }, { kind: 'image', context_length: undefined, max_output_tokens: undefined }),
    },
  };
}
