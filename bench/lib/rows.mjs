// Rows written per request, in a process of its own because counting takes time: the platform's main price.
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { embed } from './capnp.mjs';
import { runToTheEnd } from './measure.mjs';
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
  const kv = await get(urls.kv && `${urls.kv}/__counts`);
  return {
    object: await get(urls.rows),
    d1: await get(urls.d1 && `${urls.d1}/__counts`),
    kv: { reads: kv.reads ?? 0, writes: kv.writes ?? 0 },
  };
}

/** What a statement does, and to which table. */
function named(statement) {
  const found = /^(?:(INSERT)\b.*?\bINTO|(UPDATE)|(DELETE) FROM)\s+(\w+)/i.exec(statement);
  if (!found) return statement.slice(0, 60);
  const [, inserts, updates, deletes, table] = found;
  return `${table}, ${(inserts ?? updates ?? deletes).toLowerCase()}`;
}

/** Rows by what wrote them, between two readings, per request. */
function between(before, after, requests) {
  const found = {};
  for (const [statement, { rows }] of Object.entries(after)) {
    const written = rows - (before[statement]?.rows ?? 0);
    if (written > 0) found[named(statement)] = (found[named(statement)] ?? 0) + written / requests;
  }
  return found;
}

function counts(before, after, load) {
  const [object, d1] = ['object', 'd1'].map((place) => between(before[place], after[place], load.requests));
  const total = (rows) => Object.values(rows).reduce((all, one) => all + one, 0);
  const per = (name) => (after.kv[name] - before.kv[name]) / load.requests;
  return { total: total(object) + total(d1), object, d1, kv_reads: per('reads'), kv_writes: per('writes') };
}

/** A Worker's cases one after the other, each until what it left for later is written too. */
export async function countRows(worker, folder, upstream, requests) {
  worker.files(folder);
  cpSync(benchFile('counter.mjs'), join(folder, 'counter.mjs'));
  writeFileSync(join(folder, 'counted.mjs'), countedMain(worker.main, worker.objects));
  const server = await Server.start(folder, counted(worker.config(upstream)));
  const runAll = async (target, how) => {
    const load = await runToTheEnd(worker, server, target, how);
    await server.quiet();
    return load;
  };
  const found = {};
  try {
    const cases = worker.cases(server.urls.http);
    await runAll(cases[0].target(), { requests: 5 });
    let before = await read(server);
    for (const { name, label, connections, target } of cases) {
      const load = await runAll(target(), { connections, requests, seconds: 20 });
      const after = await read(server);
      const { errors, first_error } = load;
      found[name] = { label, ...counts(before, after, load), errors, first_error };
      before = after;
    }
  } finally {
    await server.stop();
  }
  return found;
}
