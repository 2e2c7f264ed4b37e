// The built Worker on the real runtime, locally: workerd, with KV, D1 and Durable Objects in
// files. `npm start` and the tests under tests/worker both use it.
//
// This is Miniflare, which `wrangler dev` and wrangler's test harness drive too, without the
// two things that they add and that would hide faults: their proxy before the Worker, and Node's
// fetch in place of workerd's behind it. What stands before the Worker is the platform's own router,
// which answers files by itself, as it does on the network.
import { randomInt } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Log, LogLevel, Miniflare, convertV4MiniflareOptions } from 'miniflare';
import { unstable_getMiniflareWorkerOptions, unstable_splitSqlQuery } from 'wrangler';
import { isForChannels, isOwn } from './secrets.mjs';
import { Failure, output, root } from './shell.mjs';

const cron = '* * * * *';

/**
 * Starts the Worker and applies the D1 migrations.
 * @param {object} options
 * @param {string} options.state folder that holds KV, D1 and Durable Objects between starts
 * @param {Record<string, string>} options.vars variables and secrets, all that the Worker gets; without UPSTREAM_SECRETS among
 *   them those that are not the gateway's own are for channels
 * @param {number} [options.port] 0 chooses a free one
 * @param {boolean} [options.clock] the Worker runs under a clock that can be put forward, for tests
 * @param {boolean} [options.meter] what the Worker asks of the platform is counted, for tests
 * @param {boolean} [options.files] whether the platform answers files; without, its router does not stand before the Worker
 * @param {(entry: {level: string, message: string}) => void} [options.onLog]
 */
export async function startWorker({ state, vars, port = 0, clock = false, meter = false, files = true, onLog = () => {} }) {
  let restarted = () => {};
  port = port || (await freePort());
  const ownPort = await freePort();
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      ...workerOptions({ clock, meter, files }),
      bindings: { ...declared(vars), ...vars },
      resourcePersistencePath: state,
      // Requests go to the router of files and the Worker; Miniflare's own socket, which would wrap them, is not used.
      unsafeDirectSockets: [{ host: '127.0.0.1', port }],
      host: '127.0.0.1',
      port: ownPort,
      // Neither a look-up of this machine's location nor usage statistics.
      cf: false,
      telemetry: { enabled: false },
      log: new Log(LogLevel.ERROR),
      handleStructuredLogs: onLog,
      unsafeHandleRuntimeRestart: () => restarted(),
    }),
  );
  await miniflare.ready;
  await applyMigrations(await miniflare.getD1Database('DB'));
  const url = `http://127.0.0.1:${port}`;
  let ahead_ms = 0;
  const setClock = async () => (await (await fetch(`${url}/__clock?ms=${ahead_ms}`)).json()).time;
  return {
    url,
    /** Puts the Worker's clock forward, see tests/worker/support/clock.mjs; answers the time after it. */
    advance(ms) {
      if (!clock) throw new Error('this Worker runs by real time; start it with `clock: true`');
      ahead_ms += ms;
      return setClock();
    },
    /** The time by the Worker's clock, in milliseconds. */
    time: () => Date.now() + ahead_ms,
    /** The KV and D1 bindings as the Worker sees them; to be asked for again after a restart. */
    bindings: () => miniflare.getBindings(),
    /** One tick of the cron trigger, which workerd does not do by itself. */
    scheduled: async () => (await miniflare.getWorker()).scheduled({ cron }),
    /** The process that runs the Worker. */
    pid: () => workerdPid(ownPort),
    /** Kills workerd as a power cut would; resolves when a new one serves the same state. */
    async kill() {
      const again = new Promise((resolve) => (restarted = resolve));
      process.kill(await workerdPid(ownPort), 'SIGKILL');
      await again;
      // A new isolate begins with real time.
      if (ahead_ms !== 0) await setClock();
    },
    close: () => miniflare.dispose(),
  };
}

function declared(vars) {
  const names = Object.keys(vars).filter((name) => !isOwn(name));
  return { UPSTREAM_SECRETS: names.filter((name) => isForChannels(name, names)).join(',') };
}

function workerOptions({ clock, meter, files }) {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(join(root, 'wrangler.toml'));
  // Rules find modules by globs; ours are named.
  delete workerOptions.modulesRules;
  if (!files) delete workerOptions.assets;
  return {
    ...workerOptions,
    name: 'tokens-forge',
    modulesRoot: root,
    // The first is the one that runs.
    modules: [
      ...(meter ? [{ type: 'ESModule', path: join(root, 'tests/worker/support/meter.mjs') }] : []),
      ...(clock ? [{ type: 'ESModule', path: join(root, 'tests/worker/support/clock.mjs') }] : []),
      { type: 'ESModule', path: join(root, 'build/index.js') },
      { type: 'CompiledWasm', path: join(root, 'build/index_bg.wasm') },
    ],
  };
}

/** Does what `wrangler d1 migrations apply DB --local` does, and leaves the same record of it. */
async function applyMigrations(db) {
  await db
    .prepare(
      `CREATE TABLE IF NOT EXISTS d1_migrations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE,
        applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)`,
    )
    .run();
  const applied = new Set((await db.prepare('SELECT name FROM d1_migrations').all()).results.map((row) => row.name));
  const folder = join(root, 'migrations');
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.sql')).sort()) {
    if (applied.has(name)) continue;
    const statements = unstable_splitSqlQuery(readFileSync(join(folder, name), 'utf8'));
    const record = db.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name);
    await db.batch([...statements.map((sql) => db.prepare(sql)), record]);
  }
}

/** The workerd that this process started with the given port of Miniflare's. */
async function workerdPid(ownPort) {
  const processes = await output('ps', ['-A', '-o', 'pid=,ppid=,args=']);
  for (const line of processes?.split('\n') ?? []) {
    const [pid, parent, ...args] = line.trim().split(/\s+/);
    if (Number(parent) === process.pid && args.some((arg) => arg.endsWith(`=127.0.0.1:${ownPort}`))) return Number(pid);
  }
  throw new Error(`this process runs no workerd on port ${ownPort}`);
}

/** Throws a Failure unless the port can be listened on. */
export async function checkPort(port) {
  try {
    await tryPort(port);
  } catch (error) {
    throw new Failure(`Port ${port} cannot be used (${error.code}). Choose another: PORT=9000 npm start`);
  }
}

/**
 * A port that can be listened on, below those that systems give to outgoing connections: none of
 * them takes it before it is used, or while a runtime that was killed starts again.
 */
async function freePort() {
  for (;;) {
    const port = randomInt(12_000, 32_000);
    try {
      await tryPort(port);
      return port;
    } catch (error) {
      if (error.code !== 'EADDRINUSE') throw error;
    }
  }
}

/** Listens on a port for a moment; rejects where that cannot be done. */
function tryPort(port) {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '127.0.0.1', () => server.close(resolve));
  });
}
