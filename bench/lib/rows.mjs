// What the platform bills of a request: rows, calls, time. Counted in a process of its own, because counting takes time.
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { embed } from './capnp.mjs';
import { runToTheEnd } from './measure.mjs';
import { Server } from './workerd.mjs';
import { benchFile, socket } from './workers.mjs';

/** The Worker's own exports, with its Durable Objects made to count. */
const countedMain = (main, classes) => `
import * as worker from "./${main}";
import { counted } from "./counter.mjs";
export * from "./${main}";
export { default } from "./${main}";
export { Report } from "./counter.mjs";
${classes.map((name) => `export class ${name} extends counted(worker.${name}) {}`).join('\n')}
`;

function counting(config) {
  const [main, ...services] = config.services;
  const modules = [
    { name: 'counted.mjs', esModule: embed('counted.mjs') },
    { name: 'counter.mjs', esModule: embed('counter.mjs') },
    ...main.worker.modules,
  ];
  return {
    services: [{ ...main, worker: { ...main.worker, modules } }, ...services],
    sockets: [...config.sockets, socket('counts', { name: 'main', entrypoint: 'Report' })],
  };
}

async function read({ urls }) {
  const get = async (url) => (url ? (await fetch(url)).json() : {});
  const { statements, calls, open_ms } = await get(urls.counts);
  const kv = await get(urls.kv && `${urls.kv}/__counts`);
  const d1 = await get(urls.d1 && `${urls.d1}/__counts`);
  return { statements: { object: statements, d1 }, numbers: { calls, open_ms, kv_reads: kv.reads ?? 0, kv_writes: kv.writes ?? 0 } };
}

/** What a statement does, and to which table. */
function named(statement) {
  const found = /^(?:(INSERT)\b.*?\bINTO|(UPDATE)|(DELETE) FROM)\s+(\w+)/i.exec(statement);
  if (!found) return statement.slice(0, 60);
  const [, inserts, updates, deletes, table] = found;
  return `${table}, ${(inserts ?? updates ?? deletes).toLowerCase()}`;
}

/** Rows between two readings, per request: what was written by what wrote it, and what was read. */
function between(before, after, requests) {
  const found = { by: {}, written: 0, read: 0 };
  for (const [statement, { rows, read }] of Object.entries(after)) {
    const [written, seen] = [rows - (before[statement]?.rows ?? 0), read - (before[statement]?.read ?? 0)].map((all) => all / requests);
    if (written > 0) found.by[named(statement)] = (found.by[named(statement)] ?? 0) + written;
    found.written += written;
    found.read += seen;
  }
  return found;
}

function counts(before, after, requests) {
  const [object, d1] = ['object', 'd1'].map((place) => between(before.statements[place], after.statements[place], requests));
  const per = Object.entries(after.numbers).map(([name, number]) => [name, (number - before.numbers[name]) / requests]);
  return {
    total: object.written + d1.written,
    object: object.by,
    d1: d1.by,
    written: { object: object.written, d1: d1.written },
    read: { object: object.read, d1: d1.read },
    ...Object.fromEntries(per),
  };
}

/** A Worker's cases one after the other, each until what it left for later is written too. */
export async function countRows(worker, folder, upstream, { rows, alone }) {
  worker.files(folder);
  cpSync(benchFile('counter.mjs'), join(folder, 'counter.mjs'));
  writeFileSync(join(folder, 'counted.mjs'), countedMain(worker.main, worker.objects));
  const server = await Server.start(folder, counting(worker.config(upstream)));
  /** As one run, or as so many that each waits for the end of the one before. */
  const runs = async (target, { connections, isAlone }) => {
    const how = isAlone ? { requests: 1 } : { connections, requests: rows, seconds: 20 };
    const found = { requests: 0, errors: 0 };
    for (let number = 0; number < (isAlone ? alone : 1); number += 1) {
      const { requests, errors, first_error } = await runToTheEnd(worker, server, target, how);
      await server.quiet();
      Object.assign(found, { requests: found.requests + requests, errors: found.errors + errors, first_error });
    }
    return found;
  };
  const found = {};
  try {
    const cases = worker.cases(server.urls.http);
    await runs(cases[0].target(), { isAlone: true });
    let before = await read(server);
    for (const { name, label, target, ...how } of cases) {
      const { requests, errors, first_error } = await runs(target(), how);
      const after = await read(server);
      found[name] = { label, ...counts(before, after, requests), errors, first_error };
      before = after;
    }
  } finally {
    await server.stop();
  }
  return found;
}
