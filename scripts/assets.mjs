// The files that the platform answers itself, without the Worker, in build/assets ([assets] in wrangler.toml): what pages need,
// the OpenAPI document, and the documentation as pages. They are put together in a moment, so that is done each time.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { documentation } from './docs.mjs';
import { root } from './shell.mjs';

const folder = join(root, 'build/assets');

export function assets() {
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(root, 'src/pages/assets'), folder, { recursive: true });
  // Lines serve whoever reads changes of it.
  write('openapi.json', JSON.stringify(JSON.parse(readFileSync(join(root, 'docs/reference/openapi.json'), 'utf8'))));
  for (const [path, page] of documentation()) write(path, page);
}

function write(path, text) {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}
