// `npm run deploy`: the Worker with its KV namespace and D1 database, then the migrations,
// then the secrets; of the optional ones it names those that are not set. `--dry-run` only bundles, into .wrangler/dry-run, and needs no login.
//   npm run deploy -- [--catalog examples/openai.json] [--dry-run]
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Failure, main, must, output, root } from './shell.mjs';
import { say } from './setup.mjs';

const wrangler = join(root, 'node_modules/.bin/wrangler');
/** What works without; README.md says what each is for. */
const optional = ['STRIPE_SECRET_KEY', 'STRIPE_WEBHOOK_SECRET', 'TOPUP_RETURN_URL', 'ALERT_WEBHOOK_URL', 'ALERT_WEBHOOK_SECRET', 'SESSION_SECRET'];

await main(async () => {
  const { values } = parseArgs({ options: { catalog: { type: 'string' }, 'dry-run': { type: 'boolean' } } });
  const wanted = secretNames(values.catalog);
  if (values['dry-run']) return must(wrangler, ['deploy', '--dry-run', '--outdir', '.wrangler/dry-run']);

  say('Deploying; the first time, wrangler creates the KV namespace and the D1 database ...');
  await must(wrangler, ['deploy']);
  say('Applying the D1 migrations ...');
  await must(wrangler, ['d1', 'migrations', 'apply', 'DB', '--remote']);
  const present = JSON.parse((await output(wrangler, ['secret', 'list', '--format', 'json'])) ?? '[]').map(({ name }) => name);
  for (const name of wanted.filter((name) => !present.includes(name))) {
    say(`The secret ${name} is not set yet.`);
    await must(wrangler, ['secret', 'put', name]);
  }
  const absent = optional.filter((name) => !present.includes(name));
  if (absent.length > 0) say(`Not set, and optional (README.md): ${absent.join(', ')}`);
  const file = values.catalog ?? '<catalogue file>';
  console.log(`\nDeployed. Publish a catalogue next:\n  TF_URL=<the URL above> TF_ADMIN_TOKEN=<the token> npm run admin -- catalog put ${file}`);
});

/** The admin token, and the credentials that the catalogue's channels name. */
function secretNames(file) {
  if (file === undefined) return ['ADMIN_TOKEN'];
  try {
    const catalog = JSON.parse(readFileSync(resolve(process.env.INIT_CWD ?? '.', file), 'utf8'));
    return [...new Set(['ADMIN_TOKEN', ...Object.values(catalog.channels).flatMap(({ secrets }) => secrets)])];
  } catch (error) {
    throw new Failure(`The catalogue ${file} cannot be read: ${error.message}`);
  }
}
