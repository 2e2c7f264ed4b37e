// `npm run bench`: the product beside the runtime's own floors, in one run on one machine, so that the ratios mean
// something where the times do not. The options are in bench/README.md. Linux only: CPU and memory come from /proc.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, startUpstream } from './lib/load.mjs';
import { measurePairs } from './lib/pairs.mjs';
import { passthrough } from './lib/passthrough.mjs';
import { portkey } from './lib/portkey.mjs';
import { loadProduct, productWorkers, seed } from './lib/product.mjs';
import { report } from './lib/report.mjs';
import { oneRound, startAll, warm } from './lib/rounds.mjs';
import { countRows } from './lib/rows.mjs';
import { measureStarts } from './lib/starts.mjs';
import { results } from './lib/statistics.mjs';
import { killAll, stopAll } from './lib/workerd.mjs';
import { floors } from './lib/workers.mjs';

const NAMES = ['floor', 'money', 'full', 'plan', 'translated', 'pairs', 'start'];
/** The kinds of column that `translated` stands for. */
const TRANSLATED = ['anthropic', 'gemini'];
const root = fileURLToPath(new URL('..', import.meta.url));
const { values: options, positionals: folders } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    compare: { type: 'boolean', default: false },
    portkey: { type: 'string' },
  },
});
const named = (options.only ?? (options.compare ? 'floor,money,full,pairs,start' : NAMES.join(','))).split(',');
const wanted = named.flatMap((name) => (name === 'translated' ? [name, ...TRANSLATED] : [name]));

const QUICK = { rounds: 1, starts: 2, one: 200, many: 800, long: 100, burst: 20, bursts: 48, paced: 16, memory: 2000, rows: 200, alone: 2, pairs: 800, pairSeconds: 3 };
const WHOLE = { rounds: 5, starts: 8, one: 600, many: 2000, long: 400, burst: 40, bursts: 160, paced: 32, memory: 10_000, rows: 400, alone: 4, pairs: 3000, pairSeconds: 6 };
const size = options.quick ? QUICK : WHOLE;

const began = performance.now();
const say = (message) => console.error(`[${((performance.now() - began) / 1000).toFixed(0).padStart(3)} s] ${message}`);
// Beside the repository and not in the system's folder for temporary files, which may be memory: writes must reach a disk.
const scratch = join(root, '.wrangler', `bench-${process.pid}`);
const faults = [];
/** Where a Worker's files go, and where its failures are told. */
const site = {
  folderFor(name) {
    const folder = join(scratch, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  },
  note(worker, { errors, first_error }) {
    if (errors > 0) faults.push(`${worker.label}: ${errors} failed, first: ${first_error}`);
  },
};

/** The builds to measure: this checkout's, or the folders of built ones; a single folder is measured beside this checkout. */
async function loadBuilds() {
  if (folders.length > 0 && !options.compare) throw new Error('folders come after --compare');
  if (folders.length < 2) await (await import('../scripts/build.mjs')).build();
  const all = folders.length < 2 ? [root, ...folders] : folders;
  return Promise.all(all.map((folder) => loadProduct(resolve(folder))));
}

/** A build's columns, on a state that is made for it. */
async function prepared(product, letter, upstream) {
  const seeded = site.folderFor(`seeded-${letter}`);
  return productWorkers(product, letter, seeded, await seed(product, seeded, upstream));
}

async function countAll(workers, upstream) {
  const rows = {};
  for (const worker of workers.filter(({ kind }) => kind === 'money' || kind === 'full')) {
    rows[worker.name] = await countRows(worker, site.folderFor(`rows-${worker.name}`), upstream, size);
    for (const counted of Object.values(rows[worker.name])) site.note({ label: `${worker.label}, rows ${counted.label}` }, counted);
  }
  return rows;
}

/** The columns, round by round; and the rows of those that have any. */
async function measureColumns(workers, upstream) {
  const asked = await startAll(workers, upstream, site);
  const rounds = [await warm(asked, size, site)];
  say('warm, memory measured');
  for (let number = 1; number <= size.rounds; number += 1) {
    rounds.push(await oneRound(asked, number, size, site));
    say(`round ${number} of ${size.rounds}`);
  }
  for (const { server } of asked.slice(1)) await server.stop();
  const rows = await countAll(workers, upstream);
  const totals = ([name, cases]) => [name, Object.fromEntries(Object.entries(cases).map(([key, { total }]) => [`rows_${key}`, total]))];
  rounds.push(Object.fromEntries(Object.entries(rows).map(totals)));
  say('rows counted');
  return { columns: asked.map(({ worker }) => worker), rounds, rows };
}

async function measureAll(upstream) {
  const products = wanted.some((name) => !['floor', 'money', 'start'].includes(name)) ? await loadBuilds() : [];
  if (products.length > 0) say('preparing the product: schema, catalogue, account, key');
  const workers = [...floors];
  for (const [index, product] of products.entries()) {
    workers.push(...(await prepared(product, products.length > 1 ? 'ABCDEFGH'[index] : '', upstream)));
  }
  const chosen = workers.filter(({ kind }) => wanted.includes(kind));
  if (options.portkey) chosen.push(portkey(options.portkey));
  const full = workers.filter(({ kind }) => kind === 'full');
  const found = { columns: [], rounds: [], rows: {}, builds: full.map(({ name, label }, index) => ({ name, label, product: products[index] })) };
  if (wanted.includes('start')) {
    found.rounds.push(...(await measureStarts([...chosen, await passthrough()], upstream, size, site)));
    say('starts measured');
  }
  if (chosen.length > 0) {
    const { columns, rounds, rows } = await measureColumns(chosen, upstream);
    Object.assign(found, { columns, rows });
    found.rounds.push(...rounds);
  }
  if (wanted.includes('pairs')) {
    found.rounds.push(...(await measurePairs(workers.filter(({ kind }) => kind === 'money' || kind === 'full'), upstream, size, site)));
    say('holds and settlements measured');
  }
  return { ...found, size, results: results(found.rounds), faults };
}

async function main() {
  for (const name of wanted) if (![...NAMES, ...TRANSLATED].includes(name)) throw new Error(`--only knows ${NAMES.join(', ')}`);
  say('building the load generator (a minute the first time)');
  build();
  const upstream = await startUpstream();
  try {
    const found = await measureAll(upstream.url);
    console.log(report(found));
    const file = join(root, '.wrangler', 'bench.json');
    writeFileSync(file, `${JSON.stringify({ at: new Date().toISOString(), ...found }, null, 2)}\n`);
    say('also in .wrangler/bench.json');
  } finally {
    await stopAll();
    await upstream.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
  if (faults.length > 0) process.exitCode = 1;
}

function leave() {
  killAll();
  rmSync(scratch, { recursive: true, force: true });
  process.exit(130);
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, leave);
// `npm run bench` starts this through a script that holds a channel: when that one is gone, there is nobody to report to.
process.once('disconnect', leave);
process.channel?.unref();

try {
  await main();
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
}
