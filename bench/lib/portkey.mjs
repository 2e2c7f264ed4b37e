// Portkey's Worker, which moves no money, as one more column: FOLDER is what its own `wrangler deploy --dry-run --minify --outdir FOLDER`
// writes. bench/README.md says how it is made.
import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { modulesFrom } from './product.mjs';
import { around, chatTargets, jsWorker } from './workers.mjs';

export function portkey(folder) {
  const main = join(folder, 'index.js');
  if (!existsSync(main)) throw new Error(`${main} does not exist`);
  const modules = modulesFrom(main);
  let host;
  return {
    name: 'portkey',
    kind: 'portkey',
    label: 'Portkey, without money',
    bases: ['floor', 'money'],
    files: (target) => modules.forEach(({ name }) => cpSync(join(folder, name), join(target, name))),
    config(upstream) {
      host = upstream;
      const bindings = [{ name: 'CUSTOM_HEADERS_TO_IGNORE', json: '[]' }];
      const asItsOwn = { compatibilityDate: '2024-12-05', compatibilityFlags: ['nodejs_compat'], modules };
      return around({ ...jsWorker('index.js', bindings), ...asItsOwn });
    },
    targets: (url) => chatTargets(url, { authorization: 'Bearer none', 'x-portkey-provider': 'openai', 'x-portkey-custom-host': `${host}/v1` }),
  };
}
