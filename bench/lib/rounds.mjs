// The rounds: every part of every round on all Workers in turn, each in a process of its own that stays up.
import { measured, runToTheEnd } from './measure.mjs';
import { Server } from './workerd.mjs';
import { chatTargets } from './workers.mjs';

const ms = (microseconds) => microseconds / 1000;

/** The parts of a round: what is asked, how, and the numbers that come of it. `cpu` is in ms for a request. */
const parts = (size) => [
  ['plain', { requests: size.one, seconds: 3 }, ({ run, cpu }) => ({ p50: ms(run.total_us.p50), p99: ms(run.total_us.p99), cpu_1: cpu })],
  ...[16, 64].map((connections) => [
    'plain',
    { connections, requests: size.many, seconds: 6 },
    ({ run, cpu }) => ({ [`per_second_${connections}`]: run.per_second, [`cpu_${connections}`]: cpu }),
  ]),
  ['long', { connections: 16, requests: size.long, seconds: 6 }, ({ cpu }) => ({ cpu_long: cpu })],
  ['burst', { requests: size.burst, seconds: 3, stream: 1 }, ({ run }) => ({ first_chunk: ms(run.first_us.p50), stream: ms(run.total_us.p50) })],
  ['burst', { connections: 16, requests: size.bursts, seconds: 6, stream: 1 }, ({ cpu }) => ({ cpu_per_stream: cpu })],
  [
    'paced',
    { connections: 16, requests: size.paced, stream: 1, 'spread-ms': 5 },
    ({ run: { late_us }, cpu }) => ({ cpu_per_paced: cpu, late_p50: ms(late_us.p50), late_p99: ms(late_us.p99), late_max: ms(late_us.max) }),
  ],
];

/** Starts one process per Worker; the upstream itself stands in the row as what the bench costs. */
export async function startAll(workers, upstream, { folderFor }) {
  const direct = { name: 'upstream', kind: 'upstream', label: 'upstream, directly', bases: [] };
  const asked = [{ worker: direct, server: { quiet: async () => NaN }, targets: chatTargets(upstream) }];
  for (const worker of workers) {
    const folder = folderFor(worker.name);
    worker.files(folder);
    const server = await Server.start(folder, worker.config(upstream));
    asked.push({ worker, server, targets: worker.targets(server.urls.http) });
  }
  return asked;
}

/** Warms every process; those that answer plain requests by so many of them that their memory can be told. */
export async function warm(asked, size, { note }) {
  const found = {};
  for (const { worker, server, targets } of asked.slice(1)) {
    const half = async (requests) => {
      const run = await runToTheEnd(worker, server, targets.plain ?? targets.warm, { connections: 16, requests, seconds: 60 });
      note(worker, run);
      if (run.requests < requests) note(worker, { errors: requests - run.requests, first_error: 'not in time, so that memory is told too early' });
      await server.quiet();
      return server.memory();
    };
    const counts = targets.plain !== undefined;
    const before = await half(counts ? size.memory / 2 : 300);
    const memory = counts ? await half(size.memory / 2) : NaN;
    found[worker.name] = { memory, memory_growth: memory / before };
    const streams = { connections: 16, requests: size.bursts, seconds: 6, stream: 1 };
    if (targets.burst) note(worker, await runToTheEnd(worker, server, targets.burst, streams));
  }
  return found;
}

/** A round, every other one backwards, so that a noisy minute hits all alike. The numbers of each Worker. */
export async function oneRound(asked, number, size, { note }) {
  const order = number % 2 ? asked : asked.toReversed();
  const found = Object.fromEntries(asked.map(({ worker }) => [worker.name, {}]));
  for (const [target, how, numbers] of parts(size)) {
    for (const { worker, server, targets } of order) {
      if (!targets[target]) continue;
      const { run, cpu } = await measured(worker, server, targets[target], how);
      note(worker, run);
      if (run.requests > 0) Object.assign(found[worker.name], numbers({ run, cpu: (cpu / run.requests) * 1000 }));
    }
  }
  return found;
}
