// `npm run bench`: the product beside the runtime's own floors, in one run on one machine, so that the ratios mean
// something where the times do not. The options are in bench/README.md. Linux only: CPU and memory come from /proc.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, startUpstream } from './lib/load.mjs';
import { measured, runToTheEnd } from './lib/measure.mjs';
import { measurePairs } from './lib/pairs.mjs';
import { loadProduct, productWorkers, seed } from './lib/product.mjs';
import { report } from './lib/report.mjs';
import { countRows } from './lib/rows.mjs';
import { medians, roundMetrics } from './lib/table.mjs';
import { Server, killAll, stopAll } from './lib/workerd.mjs';
import { chatTargets, floors } from './lib/workers.mjs';

const NAMES = ['floor', 'money', 'full', 'plan', 'translated', 'pairs'];
/** The columns that `translated` stands for. */
const TRANSLATED = ['anthropic', 'gemini'];
const root = fileURLToPath(new URL('..', import.meta.url));
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: NAMES.join(',') },
    product: { type: 'string', default: root },
  },
});
const wanted = options.only.split(',').flatMap((name) => (name === 'translated' ? [name, ...TRANSLATED] : [name]));
const size = options.quick
  ? {
      rounds: 1,
      one: 200,
      many: 800,
      burst: 20,
      bursts: 48,
      paced: 16,
      starts: 1,
      memory: 2000,
      rows: 200,
      pairs: 800,
      pairSeconds: 3,
    }
  : {
      rounds: 5,
      one: 600,
      many: 2000,
      burst: 40,
      bursts: 160,
      paced: 32,
      starts: 5,
      memory: 10_000,
      rows: 400,
      pairs: 3000,
      pairSeconds: 6,
    };

const began = performance.now();
const say = (message) => console.error(`[${((performance.now() - began) / 1000).toFixed(0).padStart(3)} s] ${message}`);
// Beside the repository and not in the system's folder for temporary files, which may be memory: writes must reach a disk.
const scratch = join(root, '.wrangler', `bench-${process.pid}`);
const folderFor = (name) => {
  const folder = join(scratch, name);
  mkdirSync(folder, { recursive: true });
  return folder;
};

const faults = [];
const note = (worker, result) => {
  if (result.errors > 0) faults.push(`${worker.label}: ${result.errors} failed, first: ${result.first_error}`);
};

/** The parts of a round: what is asked, and how. */
const PARTS = {
  one: ['plain', { requests: size.one, seconds: 3 }],
  many: ['plain', { connections: 16, requests: size.many, seconds: 6 }],
  burst: ['burst', { requests: size.burst, seconds: 3, stream: 1 }],
  bursts: ['burst', { connections: 16, requests: size.bursts, seconds: 6, stream: 1 }],
  paced: ['paced', { connections: 16, requests: size.paced, stream: 1, 'spread-ms': 5 }],
};

/** Part by part, each on every Worker in turn, so that a noisy minute hits them alike; every other round backwards. */
async function oneRound(asked, number) {
  const order = number % 2 ? asked : asked.toReversed();
  const parts = Object.fromEntries(asked.map(({ worker }) => [worker.name, {}]));
  for (const [part, [target, how]] of Object.entries(PARTS)) {
    for (const one of order) {
      if (!one.targets[target]) continue;
      const result = await measured(one.worker, one.server, one.targets[target], how);
      parts[one.worker.name][part] = result;
      one.served += result.run.requests;
      note(one.worker, result.run);
    }
  }
  return Object.fromEntries(asked.map(({ worker }) => [worker.name, roundMetrics(parts[worker.name])]));
}

/** From the start of the process to a whole answer; a fresh state each time. */
async function startUp(worker, upstream, folder) {
  worker.files(folder);
  const server = await Server.start(folder, worker.config(upstream));
  try {
    const targets = worker.targets(server.urls.http);
    const { url, body, headers } = targets.plain ?? targets.warm;
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(body), headers });
    await response.text();
    const took = performance.now() - server.began;
    if (!response.ok) throw new Error(`${worker.label}: the first answer was ${response.status}`);
    return { start: took, memory_start: server.memory() };
  } finally {
    await server.stop();
  }
}

async function measureStarts(workers, upstream, results) {
  for (const worker of workers) {
    const starts = [];
    // Once for nothing: the first start of all reads the runtime from the disk.
    await startUp(worker, upstream, folderFor(`start-${worker.name}`));
    for (let number = 0; number < size.starts; number += 1) {
      starts.push(await startUp(worker, upstream, folderFor(`start-${worker.name}-${number}`)));
    }
    results[worker.name] = medians(starts);
  }
}

/** Starts one process per Worker and warms it; the upstream itself stands in the row as what the bench costs. */
async function startAll(workers, upstream) {
  const direct = { name: 'upstream', label: 'upstream, directly' };
  const asked = [{ worker: direct, server: { quiet: async () => NaN }, targets: chatTargets(upstream), served: 0 }];
  for (const worker of workers) {
    const folder = folderFor(worker.name);
    worker.files(folder);
    const server = await Server.start(folder, worker.config(upstream));
    const targets = worker.targets(server.urls.http);
    const warm = await runToTheEnd(worker, server, targets.plain ?? targets.warm, { connections: 4, requests: 300, seconds: 3 });
    note(worker, warm);
    if (targets.burst) note(worker, await runToTheEnd(worker, server, targets.burst, { requests: 10, seconds: 3, stream: 1 }));
    asked.push({ worker, server, targets, served: warm.requests });
  }
  return asked;
}

async function measureMemory(asked, results) {
  for (const { worker, server, targets, served } of asked.slice(1)) {
    const rest = size.memory - served;
    const how = { connections: 16, requests: rest, seconds: 30 };
    if (rest > 0) note(worker, await runToTheEnd(worker, server, targets.plain ?? targets.warm, how));
    results[worker.name].memory = server.memory();
    await server.stop();
  }
}

async function measureRows(workers, upstream, results) {
  const rows = {};
  for (const worker of workers.filter(({ name }) => name === 'money' || name === 'full')) {
    rows[worker.name] = await countRows(worker, folderFor(`rows-${worker.name}`), upstream, size.rows);
    for (const [name, counted] of Object.entries(rows[worker.name])) {
      note({ label: `${worker.label}, rows ${counted.label}` }, counted);
      results[worker.name][`rows_${name}`] = counted.total;
    }
  }
  return rows;
}

async function prepareProduct(upstream) {
  if (options.product === root) await (await import('../scripts/build.mjs')).build();
  say('preparing the product: schema, catalogue, account, key');
  const product = await loadProduct(options.product);
  const seeded = folderFor('seeded');
  const secrets = await seed(product, seeded, upstream);
  return { sizes: product.sizes, columns: productWorkers(product, seeded, secrets) };
}

async function measureColumns(workers, upstream) {
  const results = {};
  await measureStarts(workers, upstream, results);
  say('start-up measured');
  const asked = await startAll(workers, upstream);
  say('warm');
  const rounds = [];
  for (let number = 1; number <= size.rounds; number += 1) {
    rounds.push(await oneRound(asked, number));
    say(`round ${number} of ${size.rounds}`);
  }
  for (const { worker } of asked) {
    results[worker.name] = { ...results[worker.name], ...medians(rounds.map((round) => round[worker.name])) };
  }
  await measureMemory(asked, results);
  say('memory measured');
  const rows = await measureRows(workers, upstream, results);
  say('rows counted');
  return { columns: asked.map(({ worker }) => worker), results, rows, rounds };
}

async function pairRounds(workers, upstream) {
  const compared = workers.filter(({ name }) => name === 'money' || name === 'full');
  try {
    return await measurePairs(compared, upstream, size, folderFor);
  } catch (error) {
    // The build of another checkout may not understand the commands of this one.
    faults.push(error.message);
    return [];
  }
}

async function measureAll(upstream) {
  const product = wanted.some((name) => ['full', 'plan', 'translated', 'pairs'].includes(name)) ? await prepareProduct(upstream) : undefined;
  const workers = [...floors, ...(product?.columns ?? [])];
  const columns = workers.filter((worker) => wanted.includes(worker.name));
  const none = { columns: [], results: {}, rows: {}, rounds: [] };
  const found = columns.length > 0 ? await measureColumns(columns, upstream) : none;
  const pairs = wanted.includes('pairs') ? await pairRounds(workers, upstream) : [];
  if (pairs.length > 0) say('holds and settlements measured');
  return { ...found, pairs, size, sizes: product?.sizes, faults };
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
  console.error(error.message);
  process.exitCode = 1;
}
