// The driver, bundled as the Worker's is, over a Wasm and a platform that the tests control.
import { build } from 'esbuild';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeEach, mock } from 'node:test';
import { reset } from './bindings.mjs';

const here = import.meta.dirname;
const fakes = { bindings: 'bindings.mjs', 'cloudflare:workers': 'workers.mjs' };

async function bundled() {
  const folder = mkdtempSync(join(tmpdir(), 'driver-'));
  const outfile = join(folder, 'driver.mjs');
  const plugin = {
    name: 'fakes',
    // Outside of the bundle, so that the tests import the same ones.
    setup: ({ onResolve }) =>
      onResolve({ filter: /^(bindings|cloudflare:workers)$/ }, ({ path }) => ({
        path: pathToFileURL(join(here, fakes[path])).href,
        external: true,
      })),
  };
  try {
    const contents = `export * from './main.mjs'; export { default } from './main.mjs'; export { whileItRuns } from './instance.mjs'; export { Times } from './times.mjs';`;
    const stdin = { contents, resolveDir: join(here, '../../src/driver') };
    await build({ stdin, bundle: true, format: 'esm', outfile, plugins: [plugin], logLevel: 'error' });
    return await import(pathToFileURL(outfile));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const { default: Worker, AccountObject, Times, whileItRuns } = await bundled();

/** What was logged as an error in this test. */
export const logged = [];

beforeEach(() => {
  reset();
  mock.restoreAll();
  mock.timers.reset();
  logged.length = 0;
  mock.method(console, 'error', (...what) => logged.push(what.join(' ')));
});

/** Whatever can go on does so, unless it waits for time to pass. */
export const settled = async () => {
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
};

/** A promise, with what settles it. */
export const open = () => Promise.withResolvers();

/** What a promise has come to: 'open' if nothing yet. */
export async function stateOf(promise) {
  await settled();
  const seen = promise.then((value) => value, (error) => `failed: ${error.message}`);
  return Promise.race([seen, settled().then(() => 'open')]);
}
