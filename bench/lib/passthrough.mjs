// A Worker in Rust that does nothing but pass the request through: what a start is compared to. Compiled as the product is, with
// its tools; a minute or two the first time.
import { cpSync, existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile } from '../../scripts/build.mjs';
import { modulesFrom } from './product.mjs';
import { around, chatTargets, jsWorker, text } from './workers.mjs';

const folder = fileURLToPath(new URL('../passthrough/', import.meta.url));
const main = join(folder, 'build/index.js');

async function build() {
  const isNewer = (file) => statSync(join(folder, file)).mtimeMs > statSync(main).mtimeMs;
  if (existsSync(main) && !['src/lib.rs', 'driver.mjs', 'Cargo.toml', 'Cargo.lock'].some(isNewer)) return;
  await compile({ crate: folder, name: 'bench_passthrough', driver: join(folder, 'driver.mjs'), into: join(folder, 'build') });
}

export async function passthrough() {
  await build();
  const modules = modulesFrom(main);
  return {
    name: 'rust',
    kind: 'rust',
    label: 'pass-through in Rust',
    bases: ['floor'],
    files: (target) => modules.forEach(({ name }) => cpSync(join(dirname(main), name), join(target, name))),
    config: (upstream) => around({ ...jsWorker('index.js', [text('UPSTREAM', upstream)]), modules }),
    targets: chatTargets,
  };
}
