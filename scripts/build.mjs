// Builds the Worker into build/: index.js and index_bg.wasm; beside it, the files that the platform answers. The Worker is left
// as it is when nothing it is made of has changed, so that every other script and wrangler's [build] can call this first.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assets } from './assets.mjs';
import { main, must, root } from './shell.mjs';
import { say, sha256, toolFolder } from './setup.mjs';

const build_ = join(root, 'build');
const inputs = ['Cargo.toml', 'Cargo.lock', 'rust-toolchain.toml', 'package-lock.json', 'src', 'scripts/build.mjs'];

export async function build() {
  await worker();
  assets();
}

async function worker() {
  const stamp = join(build_, '.inputs');
  const now = fingerprint();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === now) return;
  say('Building the Worker (some minutes the first time) ...');
  await compile({ crate: root, name: 'tokens_forge', driver: join(root, 'src/driver/main.mjs'), into: build_ });
  writeFileSync(stamp, now);
}

/** Compiles a crate to Wasm, and bundles a driver, which knows it as `bindings`, into one module beside it. */
export async function compile({ crate, name, driver, into }) {
  const cargo = ['build', '--manifest-path', join(crate, 'Cargo.toml'), '--lib', '--release', '--locked', '--target', 'wasm32-unknown-unknown'];
  // Every runtime of the platform has SIMD; searches of long bodies are several times faster with it.
  const env = { ...process.env, CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS: '-C target-feature=+simd128' };
  await must('cargo', cargo, { env });
  const compiled = join(process.env.CARGO_TARGET_DIR ?? join(crate, 'target'), `wasm32-unknown-unknown/release/${name}.wasm`);
  const folder = join(into, 'bindings');
  mkdirSync(folder, { recursive: true });
  const options = ['--target', 'module', '--experimental-reset-state-function', '--force-enable-abort-handler'];
  await must(join(toolFolder('wasm-bindgen-cli'), 'wasm-bindgen'), [compiled, '--out-dir', folder, '--out-name', 'index', ...options]);
  // Function names serve stack traces only, and are a tenth of what is uploaded and started.
  const optimised = ['-O', '--strip-debug', '--all-features', join(folder, 'index_bg.wasm'), '-o', join(into, 'index_bg.wasm')];
  await must(join(root, 'node_modules/.bin/wasm-opt'), optimised);
  const bindings = join(folder, 'index.js');
  // What the platform imports is a compiled module already.
  writeFileSync(bindings, readFileSync(bindings, 'utf8').replace('import source ', 'import '));
  await must(join(root, 'node_modules/.bin/esbuild'), [
    driver,
    '--bundle',
    '--minify',
    '--keep-names',
    '--format=esm',
    `--alias:bindings=${bindings}`,
    '--external:./index_bg.wasm',
    '--external:cloudflare:*',
    `--outfile=${join(into, 'index.js')}`,
  ]);
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
