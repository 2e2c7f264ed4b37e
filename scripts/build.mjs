// Builds the Worker into build/: index.js and index_bg.wasm; beside it, the files that the platform answers. The Worker is left
// as it is when nothing it is made of has changed, so that every other script and wrangler's [build] can call this first.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assets } from './assets.mjs';
import { main, must, root } from './shell.mjs';
import { say, sha256, toolFolder } from './setup.mjs';

const inputs = ['Cargo.toml', 'Cargo.lock', 'rust-toolchain.toml', 'package-lock.json', 'src', 'scripts/build.mjs'];

export async function build() {
  await worker();
  assets();
}

async function worker() {
  const stamp = join(root, 'build/.inputs');
  const now = fingerprint();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === now) return;
  say('Building the Worker (some minutes the first time) ...');
  await must(join(toolFolder('worker-build'), 'worker-build'), ['--release', '.', '--locked'], {
    // Named tools are not downloaded: given the crates, the build needs no network.
    env: {
      ...process.env,
      WASM_BINDGEN_BIN: join(toolFolder('wasm-bindgen-cli'), 'wasm-bindgen'),
      WASM_OPT_BIN: join(root, 'node_modules/.bin/wasm-opt'),
      ESBUILD_BIN: join(root, 'node_modules/.bin/esbuild'),
    },
  });
  // Function names serve stack traces only, and are a tenth of what is uploaded and started.
  const wasm = join(root, 'build/index_bg.wasm');
  await must(join(root, 'node_modules/.bin/wasm-opt'), ['--strip-debug', '--all-features', wasm, '-o', wasm]);
  writeFileSync(stamp, now);
}

function fingerprint() {
  const files = inputs.flatMap((input) => filesUnder(join(root, input)));
  return sha256(...files.flatMap((file) => [relative(root, file), readFileSync(file)]));
}

function filesUnder(path) {
  if (!existsSync(path)) return [];
  try {
    return readdirSync(path).sort().flatMap((name) => filesUnder(join(path, name)));
  } catch (error) {
    if (error.code === 'ENOTDIR') return [path];
    throw error;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(build);
