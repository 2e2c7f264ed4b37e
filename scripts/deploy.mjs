// `npm run deploy`: the Worker with its KV namespace and D1 database, then the migrations,
// then the secrets; of the optional ones it names those that are not set. `--dry-run` only bundles, into .wrangler/dry-run, and
// needs no login; it checks the catalogue's names of secrets and the secrets in the environment, as the real one does.
//   npm run deploy -- [--catalog examples/openai.json] [--dry-run]
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { parseArgs } from 'node:util';
import { declaredNames, guarded, isForChannels, listed, weakness } from './secrets.mjs';
import { Failure, fed, main, must, output, root } from './shell.mjs';
import { say } from './setup.mjs';

const wrangler = join(root, 'node_modules/.bin/wrangler');
/** What works without; docs/operate/launch.md says what each is for. */
const optional = ['STRIPE_SECRET_KEY', 'STRIPE_WEBHOOK_SECRET', 'TOPUP_RETURN_URL', 'ALERT_WEBHOOK_URL', 'ALERT_WEBHOOK_SECRET', 'ADMIN_TOKEN_NEXT'];

await main(async () => {
  const { values } = parseArgs({ options: { catalog: { type: 'string' }, 'dry-run': { type: 'boolean' } } });
  const wanted = values.catalog === undefined ? [] : upstreamSecrets(values.catalog);
  // Before anything is deployed.
  for (const name of guarded) checkedFromEnvironment(name);
  if (values['dry-run']) return must(wrangler, ['deploy', '--dry-run', '--outdir', '.wrangler/dry-run']);

  say('Deploying; the first time, wrangler creates the KV namespace and the D1 database ...');
  await must(wrangler, ['deploy']);
  say('Applying the D1 migrations ...');
  await must(wrangler, ['d1', 'migrations', 'apply', 'DB', '--remote']);
  const present = JSON.parse((await output(wrangler, ['secret', 'list', '--format', 'json'])) ?? '[]').map(({ name }) => name);
  for (const name of guarded.filter((name) => !present.includes(name))) {
    // What is set already stays: a token is rotated by ADMIN_TOKEN_NEXT.
    const chosen = checkedFromEnvironment(name);
    if (chosen) await put(name, chosen);
    else if (name === 'ADMIN_TOKEN') await put(name, await askedToken());
    else if (name === 'SESSION_SECRET') await put(name, randomBytes(32).toString('hex'));
  }
  for (const name of wanted.filter((name) => !present.includes(name))) {
    say(`The secret ${name} is not set yet.`);
    await must(wrangler, ['secret', 'put', name]);
  }
  const absent = optional.filter((name) => !present.includes(name) && !process.env[name]);
  if (absent.length > 0) say(`Not set, and optional (docs/operate/launch.md): ${absent.join(', ')}`);
  if (!present.includes('TOPUP_RETURN_URL') && present.includes('STRIPE_SECRET_KEY')) say('Card payments are off until TOPUP_RETURN_URL is set: where customers come back to.');
  const file = values.catalog ?? '<catalogue file>';
  console.log(`\nDeployed. Publish a catalogue next:\n  TF_URL=<the URL above> TF_ADMIN_TOKEN=<the token> npm run admin -- catalog put ${file}`);
});

/** A secret that must not be guessed, from the environment; a weak one ends everything. */
function checkedFromEnvironment(name) {
  const secret = process.env[name]?.trim();
  const why = secret && weakness(secret);
  if (why) throw new Failure(`${name} in the environment ${why}, and the gateway would not take it. Use what \`openssl rand -hex 32\` prints.`);
  if (name === 'SESSION_SECRET' && secret && secret === process.env.ADMIN_TOKEN?.trim()) throw new Failure('SESSION_SECRET has to be another than ADMIN_TOKEN.');
  return secret || undefined;
}

/** Sets a secret; its value is on nobody's command line. */
async function put(name, value) {
  say(`Setting ${name} ...`);
  await fed(wrangler, ['secret', 'put', name], `${value}\n`);
}

/** The admin token as it is typed, until it is strong; one that is made and shown once where nothing is typed. */
async function askedToken() {
  const made = randomBytes(32).toString('hex');
  while (process.stdin.isTTY) {
    const typed = (await typedSecret('ADMIN_TOKEN (Enter: one is made): ')).trim();
    if (typed === '') break;
    const why = weakness(typed);
    if (!why) return typed;
    console.log(`It ${why}. Try \`openssl rand -hex 32\`.`);
  }
  console.log(`\nADMIN_TOKEN, shown this once:\n  ${made}\n`);
  return made;
}

/** A line that is typed and not shown. */
async function typedSecret(question) {
  process.stdout.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  const line = await lines.question('');
  lines.close();
  console.log();
  return line;
}

/** The credentials that the catalogue's channels name; a name that the gateway would not take ends everything. */
function upstreamSecrets(file) {
  let catalog;
  try {
    catalog = JSON.parse(readFileSync(resolve(process.env.INIT_CWD ?? '.', file), 'utf8'));
  } catch (error) {
    // What is wrong, without the text around it.
    throw new Failure(`The catalogue ${file} cannot be read: ${error.code ?? 'it is not JSON'}`);
  }
  const declared = process.env.UPSTREAM_SECRETS === undefined ? declaredNames() : listed(process.env.UPSTREAM_SECRETS);
  const names = new Set();
  for (const [channel, { secrets }] of Object.entries(catalog.channels ?? {})) {
    for (const [index, name] of (Array.isArray(secrets) ? secrets : []).entries()) {
      // What stands there may be a key that was pasted.
      if (!isForChannels(name, declared)) {
        throw new Failure(`channels.${channel}.secrets[${index}] names no secret that is meant for channels: it has to begin with UPSTREAM_, or stand in UPSTREAM_SECRETS (wrangler.toml).`);
      }
      names.add(name);
    }
  }
  return [...names];
}
