// Holds and settlements a second, straight at the account objects: the product's beside the floor's, on one account and
// spread over many. A process of its own for each, with the Worker that drives it inside.
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { Server } from './workerd.mjs';
import { benchFile, jsWorker, object, socket, text } from './workers.mjs';

/** The parts of a round: over how many accounts, how many pairs at a time. */
export const SPREADS = [
  { accounts: 1, lanes: 16 },
  { accounts: 256, lanes: 64 },
];

function driven(config, kind, className) {
  const accounts = object('ACCOUNTS', className, 'main');
  return {
    services: [...config.services, { name: 'pairs', worker: jsWorker('pairs.mjs', [text('KIND', kind), accounts]) }],
    sockets: [...config.sockets, socket('pairs', 'pairs')],
  };
}

async function ask(server, step, query) {
  const response = await fetch(`${server.urls.pairs}/${step}?${new URLSearchParams(query)}`, { method: 'POST' });
  if (!response.ok) throw new Error(`pairs: ${(await response.text()).slice(0, 400)}`);
  return response.json();
}

async function start(worker, upstream, folder) {
  worker.files(folder);
  cpSync(benchFile('pairs.mjs'), join(folder, 'pairs.mjs'));
  const [className] = worker.objects;
  const kind = worker.kind === 'full' ? 'product' : 'floor';
  return Server.start(folder, driven(worker.config(upstream), kind, className));
}

async function measured(server, { accounts, lanes }, most, limit) {
  // Once for nothing: the runtime puts an object away that nobody asked for ten seconds.
  await ask(server, 'touch', { accounts, lanes, pairs: accounts });
  const before = await server.quiet();
  const { pairs, seconds } = await ask(server, 'run', { accounts, lanes, pairs: most, seconds: limit });
  const cpu = (await server.quiet()) - before;
  return { [`pairs_${accounts}`]: pairs / seconds, [`pair_cpu_${accounts}`]: (cpu / pairs) * 1000 };
}

/** Starts a Worker and opens its accounts. Another checkout's may not understand the commands of this one: that is a fault. */
async function opened(worker, upstream, folder, note) {
  const server = await start(worker, upstream, folder);
  try {
    for (const spread of SPREADS) await ask(server, 'open', { ...spread, pairs: 0 });
    return { name: worker.name, server };
  } catch (error) {
    note(worker, { errors: 1, first_error: error.message });
    await server.stop();
  }
}

/** Part by part, each on every Worker in turn; every other round backwards. Answers each round's numbers by Worker. */
export async function measurePairs(workers, upstream, { rounds, pairs, pairSeconds }, { folderFor, note }) {
  const servers = [];
  for (const worker of workers) {
    const server = await opened(worker, upstream, folderFor(`pairs-${worker.name}`), note);
    if (server) servers.push(server);
  }
  const found = [];
  for (let number = 1; number <= rounds; number += 1) {
    const round = Object.fromEntries(servers.map(({ name }) => [name, {}]));
    for (const spread of SPREADS) {
      for (const { name, server } of number % 2 ? servers : servers.toReversed()) {
        Object.assign(round[name], await measured(server, spread, pairs, pairSeconds));
      }
    }
    found.push(round);
  }
  for (const { server } of servers) await server.stop();
  return found;
}
