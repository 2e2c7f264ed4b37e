// How the start of the Worker grows with its size: from the start of the process to the first answer, for the built Workers of
// several checkouts, each start fresh and in turn. The bound in scripts/test.mjs follows from it (docs/decisions/0010-small-wasm.md).
//   node scripts/run.mjs bench/starts.mjs FOLDER...     a FOLDER has wrangler.toml, migrations/ and build/
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadProduct } from './lib/product.mjs';
import { Server, stopAll } from './lib/workerd.mjs';
import { around, benchFile, jsWorker } from './lib/workers.mjs';

const rounds = 40;
const scratch = join(fileURLToPath(new URL('..', import.meta.url)), '.wrangler', `starts-${process.pid}`);
/** The lower quartile: what else runs on the machine only ever adds. */
const quartile = (values) => values.toSorted((one, other) => one - other)[Math.floor(values.length / 4)];

/** Milliseconds from the start of the process until it listens, until `/healthz` is answered, and until it is once more. */
async function start({ files, config }, folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  files(folder);
  const server = await Server.start(folder, config());
  try {
    const times = [performance.now() - server.began];
    for (let asked = 0; asked < 2; asked += 1) {
      const response = await fetch(`${server.urls.http}/healthz`);
      await response.arrayBuffer();
      times.push(performance.now() - server.began);
    }
    return times;
  } finally {
    await server.stop();
  }
}

const floor = {
  name: 'a pass-through in JavaScript',
  kilobytes: 0,
  files: (folder) => cpSync(benchFile('floor.mjs'), join(folder, 'floor.mjs')),
  config: () => around(jsWorker('floor.mjs', [])),
};
const workers = [floor];
for (const folder of process.argv.slice(2)) {
  const product = await loadProduct(folder);
  const bytes = Object.values(product.wasm).reduce((sum, size) => sum + size, 0);
  workers.push({ name: folder, kilobytes: bytes / 1000, files: product.files, config: product.config });
}
const times = workers.map(() => []);
try {
  for (let round = 0; round <= rounds; round += 1) {
    for (const [index, worker] of workers.entries()) {
      const measured = await start(worker, join(scratch, String(index)));
      // Once for nothing: the first start of all reads from the disk.
      if (round > 0) times[index].push(measured);
    }
  }
} finally {
  await stopAll();
  rmSync(scratch, { recursive: true, force: true });
}
for (const [index, { name, kilobytes }] of workers.entries()) {
  const [listening, first, second] = [0, 1, 2].map((part) => quartile(times[index].map((measured) => measured[part])));
  console.log(`${name}: ${kilobytes.toFixed(0)} KB gzipped, listens after ${listening.toFixed(0)} ms, first answer after ${first.toFixed(0)} ms, second ${(second - first).toFixed(1)} ms later`);
}
