// The product as it is built, put into raw workerd: its modules and bindings read from the wrangler configuration, KV and
// D1 from the bench's stand-ins, an account with a key and plenty of balance made through its own admin API.
import { randomUUID } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { embed } from './capnp.mjs';
import { Server } from './workerd.mjs';
import { around, benchFile, chatTargets, jsWorker, object, plainCases, socket, text, translatedTargets } from './workers.mjs';

const ADMIN_TOKEN = 'bench-admin-token-7Jq2Lr9Xw4Tn6Vb8Zk1Hs3Gd5';
const SECRETS = { ADMIN_TOKEN, UPSTREAM_KEY: 'bench-upstream-key', ALLOW_PRIVATE_UPSTREAMS: 'true' };

/** The main module and every module that it imports, by their paths in the build folder. */
export function modulesFrom(main) {
  const folder = dirname(main);
  const found = new Map();
  const visit = (file) => {
    const name = relative(folder, file);
    if (found.has(name)) return;
    if (file.endsWith('.wasm')) return void found.set(name, { name, wasm: embed(name) });
    found.set(name, { name, esModule: embed(name) });
    const imports = readFileSync(file, 'utf8').matchAll(/\b(?:from|import)\s*\(?\s*["'](\.{1,2}\/[^"']+)["']/g);
    for (const [, path] of imports) visit(join(dirname(file), path));
  };
  visit(main);
  return [...found.values()];
}

async function readWrangler(root) {
  const file = ['wrangler.jsonc', 'wrangler.json', 'wrangler.toml'].map((name) => join(root, name)).find(existsSync);
  if (!file) throw new Error(`no wrangler configuration in ${root}`);
  const { unstable_readConfig } = await import('wrangler');
  return unstable_readConfig({ config: file }, { hideWarnings: true });
}

export async function loadProduct(root) {
  const wrangler = await readWrangler(root);
  if (!existsSync(wrangler.main)) throw new Error(`${wrangler.main} does not exist: run \`npm run build\` first`);
  const modules = modulesFrom(wrangler.main);
  const folder = dirname(wrangler.main);
  const objects = wrangler.durable_objects.bindings;
  const gzipped = (name) => gzipSync(readFileSync(join(folder, name)), { level: 9 }).length;
  const sizes = modules.map((module) => ({ ...module, bytes: gzipped(module.name) }));

  const worker = {
    compatibilityDate: wrangler.compatibility_date,
    compatibilityFlags: wrangler.compatibility_flags,
    modules,
    bindings: [
      ...Object.entries({ ...wrangler.vars, ...SECRETS }).map(([name, value]) => text(name, String(value))),
      ...objects.map((binding) => object(binding.name, binding.class_name)),
      ...wrangler.kv_namespaces.map(({ binding }) => ({ name: binding, kvNamespace: 'kv-stand-in' })),
      ...wrangler.d1_databases.map(({ binding }) => ({
        name: binding,
        wrapped: {
          moduleName: 'cloudflare-internal:d1-api',
          innerBindings: [{ name: 'fetcher', service: 'd1-stand-in' }],
        },
      })),
    ],
    durableObjectNamespaces: objects.map(({ class_name: className }) => ({
      className,
      uniqueKey: className,
      enableSql: true,
    })),
    durableObjectStorage: { localDisk: 'objects' },
  };
  const services = [
    { name: 'kv-stand-in', worker: jsWorker('kv.mjs', [{ name: 'DISK', service: 'kv' }]) },
    { name: 'd1-stand-in', worker: jsWorker('d1.mjs', [object('DATABASE', 'Database')], ['Database']) },
  ];
  const sockets = [socket('kv', 'kv-stand-in'), socket('d1', 'd1-stand-in')];
  const migrations = wrangler.d1_databases.map((database) => join(root, database.migrations_dir ?? 'migrations'))[0];

  return {
    folder: root,
    wasm: Object.fromEntries(sizes.filter(({ wasm }) => wasm).map(({ name, bytes }) => [name, bytes])),
    worker_gzipped: sizes.reduce((sum, { bytes }) => sum + bytes, 0),
    main: relative(folder, wrangler.main),
    objects: objects.map((binding) => binding.class_name),
    config: () => around(worker, services, sockets),
    files(target) {
      for (const { name } of modules) {
        mkdirSync(dirname(join(target, name)), { recursive: true });
        cpSync(join(folder, name), join(target, name));
      }
      for (const name of ['kv.mjs', 'd1.mjs']) cpSync(benchFile(name), join(target, name));
    },
    migrations: migrations && existsSync(migrations) ? migrations : undefined,
  };
}

async function call(url, method, body, token = ADMIN_TOKEN) {
  const response = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${method} ${url} answered ${response.status}: ${answer}`);
  return JSON.parse(answer);
}

const model = (upstream_model, channel = 'bench') => ({
  name: upstream_model,
  family: 'bench',
  kind: 'chat',
  context_length: 128000,
  max_output_tokens: 4096,
  routes: {
    official: {
      bucket: 'credit',
      price: { input: '1.25', cached_input: '0.125', output: '10' },
      candidates: [{ channel, upstream_model, tier: 0 }],
    },
  },
});

/** A channel and its models for streams that are translated. */
const foreign = ['anthropic', 'gemini'];
const channel = (dialect, base_url) => ({ dialect, base_url, secrets: ['UPSTREAM_KEY'], first_byte_timeout_ms: 30000 });

const catalog = (upstream) => ({
  version: 1,
  buckets: {
    credit: { label: 'Official credit', currency: 'USD' },
    wallet: { label: 'Routed wallet', currency: 'CNY' },
  },
  channels: {
    bench: channel('openai', `${upstream}/v1`),
    ...Object.fromEntries(foreign.map((dialect) => [dialect, channel(dialect, `${upstream}/${dialect}/v1`)])),
  },
  models: {
    bench: model('bench'),
    'bench-paced': model('bench-paced'),
    ...Object.fromEntries(foreign.flatMap((dialect) => ['', '-paced'].map((end) => [`bench-${dialect}${end}`, model(`bench${end}`, dialect)]))),
  },
  charge_policy: { upstream_cut: 'free' },
});

// Far from any level that would be announced.
const budgets = ['day', 'month', 'total'].map((period) => ({ bucket: 'credit', period, limit: '1000000.00' }));

/** The account's keys and their secrets: one without limits, one with budgets, one in a project with budgets. */
async function makeKeys(account) {
  await call(`${account}/projects`, 'POST', { id: 'budgeted', name: 'budgeted', budgets });
  const make = async (policy) => (await call(`${account}/keys`, 'POST', { label: 'bench', ...policy })).secret;
  return { plain: await make({}), budgeted: await make({ budgets }), project: await make({ project: 'budgeted' }) };
}

/**
 * Fills `folder` with a ready state: schema, catalogue, account, balance, keys. The processes under test start from copies
 * of it, so that none of them has served the preparation, or remembers that a moment ago there was no key.
 */
export async function seed(product, folder, upstream) {
  const { unstable_splitSqlQuery } = await import('wrangler');
  product.files(folder);
  const server = await Server.start(folder, product.config());
  try {
    if (product.migrations) {
      for (const file of readdirSync(product.migrations)
        .filter((name) => name.endsWith('.sql'))
        .sort()) {
        const statements = unstable_splitSqlQuery(readFileSync(join(product.migrations, file), 'utf8'));
        const done = await call(
          `${server.urls.d1}/execute`,
          'POST',
          statements.map((sql) => ({ sql })),
        );
        if (done.error) throw new Error(`${file}: ${done.error}`);
      }
    }
    const admin = `${server.urls.http}/admin/v1`;
    await call(`${admin}/catalog`, 'PUT', catalog(upstream));
    const account = (await call(`${admin}/accounts`, 'POST', { name: 'bench' })).id;
    const secrets = await makeKeys(`${admin}/accounts/${account}`);
    const credit = { bucket: 'credit', amount: '1000000.00', reason: 'bench' };
    await call(`${admin}/accounts/${account}/adjustments`, 'POST', credit);
    await server.quiet();
    return secrets;
  } catch (error) {
    throw new Error(`preparing the product failed: ${error.message}\n${server.log}`);
  } finally {
    await server.stop();
  }
}

/** The requests whose rows are counted, by what comes with them. */
function rowCases(url, secrets) {
  const asked = (secret, headers = {}) => chatTargets(url, { authorization: `Bearer ${secret}`, ...headers });
  const at16 = (name, label, target) => ({ name, label, connections: 16, target: () => target().plain });
  const run = { 'x-tf-run': 'bench-run' };
  return [
    ...plainCases(asked(secrets.plain)),
    at16('run', 'with a run', () => asked(secrets.plain, run)),
    at16('budgets', 'with key budgets', () => asked(secrets.budgeted)),
    at16('project', 'with project budgets and a run', () => asked(secrets.project, run)),
    // Another key for each request: the same one twice would be answered without a row.
    at16('idempotent', 'with an `Idempotency-Key`', () => asked(secrets.plain, { 'idempotency-key': `${randomUUID()}-{n}` })),
  ];
}

/**
 * The product: the full path, the part of it that moves no money and calls no upstream, and streams that it translates. Of several
 * builds, each has a letter.
 */
export function productWorkers(product, letter, seeded, secrets) {
  const headers = { authorization: `Bearer ${secrets.plain}` };
  const called = (kind, label) => ({ kind, name: letter ? `${kind}-${letter}` : kind, label: letter ? `${label} ${letter}` : label });
  const full = {
    ...called('full', 'full path'),
    bases: ['floor', 'money'],
    files: (folder) => cpSync(seeded, folder, { recursive: true }),
    config: product.config,
    targets: (url) => chatTargets(url, headers),
    cases: (url) => rowCases(url, secrets),
    objects: product.objects,
    main: product.main,
    // A request is done with when its receipt is in the journal of D1.
    done: 'd1',
  };
  const plan = {
    ...full,
    ...called('plan', 'plan only'),
    done: undefined,
    targets: (url) => {
      const { plain } = full.targets(url);
      return { plain: { ...plain, url: `${url}/v1/route` } };
    },
  };
  const translated = foreign.map((dialect) => ({
    ...full,
    ...called(dialect, `${dialect} to chat`),
    bases: [full.name],
    targets: (url) => translatedTargets(dialect, url, headers),
  }));
  return [full, plan, ...translated];
}
