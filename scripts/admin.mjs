// `npm run admin -- <command>`: the operator's command line over the admin API.
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { adminApi } from './admin-api.mjs';
import { Failure, main, root } from './shell.mjs';

const help = `npm run admin -- <command>

  account create <name> [--id <id>]
  account list
  account show <account>
  project create <account> <name> [--budget <bucket:period:limit>]...
  project list <account>
  key create <account> [--label <text>] [--project <id>] [--models <a,b>] [--routes <official,routed>]
             [--cross-routes] [--budget <bucket:period:limit>]... [--rpm <n>] [--tpm <n>] [--concurrency <n>]
             [--expires-at <time>] [--ip-allow <a,b>]
  key change <account> <key> [the same but --project]
  key list <account>
  key revoke <account> <key>
  credit <account> <bucket> <amount> --reason <text>      a negative amount debits
  catalog get
  catalog put <file>
  health
  probe

A budget's period is total, day or month: --budget credit:month:25.00
The gateway is $TF_URL with the token $TF_ADMIN_TOKEN, or else the one that \`npm start\` runs here.`;

const options = {
  help: { type: 'boolean', short: 'h' },
  id: { type: 'string' },
  label: { type: 'string' },
  project: { type: 'string' },
  models: { type: 'string' },
  routes: { type: 'string' },
  'cross-routes': { type: 'boolean' },
  budget: { type: 'string', multiple: true },
  rpm: { type: 'string' },
  tpm: { type: 'string' },
  concurrency: { type: 'string' },
  'expires-at': { type: 'string' },
  'ip-allow': { type: 'string' },
  reason: { type: 'string' },
};

/** Each command: its words, the arguments that have to follow, and the call that it makes. */
const commands = {
  'account create': [['name'], ({ name }, { id }) => ['POST', '/accounts', { id, name }]],
  'account list': [[], () => ['GET', '/accounts']],
  'account show': [['account'], ({ account }) => ['GET', `/accounts/${account}`]],
  'project create': [
    ['account', 'name'],
    ({ account, name }, flags) => ['POST', `/accounts/${account}/projects`, { name, budgets: budgets(flags) }],
  ],
  'project list': [['account'], ({ account }) => ['GET', `/accounts/${account}/projects`]],
  'key create': [['account'], ({ account }, flags) => ['POST', `/accounts/${account}/keys`, { label: 'key', ...policy(flags) }]],
  'key change': [['account', 'key'], ({ account, key }, flags) => ['PATCH', `/accounts/${account}/keys/${key}`, policy(flags)]],
  'key list': [['account'], ({ account }) => ['GET', `/accounts/${account}/keys`]],
  'key revoke': [['account', 'key'], ({ account, key }) => ['DELETE', `/accounts/${account}/keys/${key}`]],
  credit: [
    ['account', 'bucket', 'amount'],
    ({ account, bucket, amount }, { reason }) => {
      if (!reason) throw new Failure('A credit needs a --reason; it is kept with the ledger entry.');
      return ['POST', `/accounts/${account}/adjustments`, { bucket, amount, reason }];
    },
  ],
  'catalog get': [[], () => ['GET', '/catalog']],
  'catalog put': [['file'], ({ file }) => ['PUT', '/catalog', json(file)]],
  health: [[], () => ['GET', '/health']],
  probe: [[], () => ['POST', '/probe']],
};

await main(async () => {
  const { values: flags, positionals } = parsed(process.argv.slice(2));
  if (flags.help || positionals.length === 0) return console.log(help);
  const words = [2, 1].find((count) => positionals.slice(0, count).join(' ') in commands);
  if (!words) throw new Failure(`There is no command "${positionals.join(' ')}".\n\n${help}`);
  const name = positionals.slice(0, words).join(' ');
  const [wanted, call] = commands[name];
  const given = positionals.slice(words);
  if (given.length !== wanted.length) throw new Failure(`Usage: ${name} ${wanted.map((word) => `<${word}>`).join(' ')}`);
  const [method, path, body] = call(Object.fromEntries(wanted.map((word, index) => [word, given[index]])), flags);
  const { url, token } = gateway();
  const answer = await adminApi(url, token)(method, `/admin/v1${path}`, body);
  console.log(answer === undefined ? 'Done.' : JSON.stringify(answer, null, 2));
});

function parsed(args) {
  try {
    // A negative amount is an argument, not a flag.
    const shielded = args.map((arg) => arg.replace(/^-(?=[\d.])/, '\0'));
    const { values, positionals } = parseArgs({ args: shielded, options, allowPositionals: true });
    return { values, positionals: positionals.map((word) => word.replace('\0', '-')) };
  } catch (error) {
    throw new Failure(`${error.message}\n\n${help}`);
  }
}

/** The fields of a key that the flags give. */
function policy(flags) {
  const list = (text) => text?.split(',').map((item) => item.trim());
  const fields = {
    label: flags.label,
    project: flags.project,
    models: list(flags.models),
    routes: list(flags.routes),
    cross_routes: flags['cross-routes'],
    budgets: budgets(flags),
    rpm: number('rpm', flags),
    tpm: number('tpm', flags),
    concurrency: number('concurrency', flags),
    expires_at: flags['expires-at'],
    ip_allow: list(flags['ip-allow']),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function budgets(flags) {
  return flags.budget?.map((text) => {
    const [bucket, period, limit] = text.split(':');
    if (!limit) throw new Failure(`--budget is <bucket:period:limit>, such as credit:month:25.00, not "${text}".`);
    return { bucket, period, limit };
  });
}

function number(name, flags) {
  if (flags[name] === undefined) return undefined;
  if (!/^\d+$/.test(flags[name])) throw new Failure(`--${name} is a whole number, not "${flags[name]}".`);
  return Number(flags[name]);
}

function json(file) {
  // npm runs this in the repository; a relative path is relative to where the user is.
  const path = resolve(process.env.INIT_CWD ?? '.', file);
  if (!existsSync(path)) throw new Failure(`There is no file ${path}.`);
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Failure(`${file} is not JSON: ${error.message}`);
  }
}

function gateway() {
  const { TF_URL: url, TF_ADMIN_TOKEN: token } = process.env;
  if (url && token) return { url, token };
  if (url || token) throw new Failure('Set both TF_URL and TF_ADMIN_TOKEN, or neither.');
  const file = join(root, '.wrangler/demo.json');
  if (!existsSync(file)) throw new Failure('Set TF_URL and TF_ADMIN_TOKEN, or run `npm start` here first.');
  const demo = JSON.parse(readFileSync(file, 'utf8'));
  return { url: demo.url, token: demo.admin_token };
}
