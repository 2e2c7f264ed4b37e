// Rows written per request, in a process of its own because counting takes time: the platform's main price.
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { embed } from './capnp.mjs';
import { run } from './load.mjs';
import { Server } from './workerd.mjs';
import { benchFile, socket } from './workers.mjs';

/** The Worker's own exports, with its Durable Objects made to count. */
const countedMain = (main, classes) => `
import * as worker from "./${main}";
import { watch } from "./counter.mjs";
export * from "./${main}";
export { default } from "./${main}";
export { RowsReport } from "./counter.mjs";
${classes.map((name) => `export class ${name} extends worker.${name} { constructor(ctx, env) { watch(ctx); super(ctx, env); } }`).join('\n')}
`;

function counted(config) {
  const [main, ...services] = config.services;
  const modules = [
    { name: 'counted.mjs', esModule: embed('counted.mjs') },
    { name: 'counter.mjs', esModule: embed('counter.mjs') },
    ...main.worker.modules,
  ];
  return {
    services: [{ ...main, worker: { ...main.worker, modules } }, ...services],
    sockets: [...config.sockets, socket('rows', { name: 'main', entrypoint: 'RowsReport' })],
  };
}

async function read({ urls }) {
  const get = async (url) => (url ? (await fetch(url)).json() : {});
  const objects = await get(urls.rows);
  const rows = Object.values(objects).reduce((sum, entry) => sum + entry.rows, 0);
  const d1 = await get(urls.d1 && `${urls.d1}/__counts`);
  const kv = await get(urls.kv && `${urls.kv}/__counts`);
  return { objects, object: rows, d1: d1.rows_written ?? 0, kv_reads: kv.reads ?? 0, kv_writes: kv.writes ?? 0 };
}

/** Reads until nothing has been written for a while: an outbox writes later than the requests that filled it. */
async function settled(server, patience) {
  let before = await read(server);
  for (let still = 0, tries = 0; still < patience && tries < 60; tries += 1) {
    await sleep(500);
    const now = await read(server);
    still = now.object === before.object && now.d1 === before.d1 ? still + 0.5 : 0;
    before = now;
  }
  return before;
}

export async function countRows(worker, folder, upstream, { connections, requests, patience }) {
  worker.files(folder);
  cpSync(benchFile('counter.mjs'), join(folder, 'counter.mjs'));
  writeFileSync(join(folder, 'counted.mjs'), countedMain(worker.main, worker.objects));
  const server = await Server.start(folder, counted(worker.config(upstream)));
  try {
    const { plain } = worker.targets(server.urls.http);
    await run(plain, { requests: 5 });
    const before = await settled(server, patience);
    const load = await run(plain, { connections, requests, seconds: 20 });
    const after = await settled(server, patience);
    const per = (name) => (after[name] - before[name]) / load.requests;
    const statements = Object.entries(after.objects)
      .map(([statement, { calls, rows }]) => {
        const earlier = before.objects[statement] ?? { calls: 0, rows: 0 };
        return {
          statement,
          calls: (calls - earlier.calls) / load.requests,
          rows: (rows - earlier.rows) / load.requests,
        };
      })
      .filter((entry) => entry.calls > 0)
      .sort((a, b) => b.rows - a.rows);
    return {
      object: per('object'),
      d1: per('d1'),
      total: per('object') + per('d1'),
      kv_reads: per('kv_reads'),
      kv_writes: per('kv_writes'),
      errors: load.errors,
      first_error: load.first_error,
      statements,
    };
  } finally {
    await server.stop();
  }
}
