// `npm run admin -- <command>`: the operator's command line over the admin API.
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { adminApi, adminList } from './admin-api.mjs';
import { Failure, main, root } from './shell.mjs';

const help = `npm run admin -- <command>

  account create <name> [--id <id>]
  account list
  account show <account>
  project create <account> <name> [--budget <bucket:period:limit>]...
  project list <account>
  key create <account> [--label <text>] [--project <id>] [--models <a,b>] [--routes <official,routed>]
             [--cross-routes] [--fallback-ceiling <times>] [--fit balance|never] [--budget <bucket:period:limit>]... [--rpm <n>] [--tpm <n>] [--concurrency <n>]
             [--expires-at <time>] [--ip-allow <a,b>] [--browser-origins <a,b>]
  key change <account> <key> [the same but --project]
  key list <account>
  key revoke <account> <key>
  session end <account> [--key <id>]                       whoever is signed in with a key of the account, or with this one, is not any more
  credit <account> <bucket> <amount> --reason <text>      a negative amount debits
  topup list [--state <state>] [--account <account>]      without either: those in review
  topup show <account> <order>
  topup approve <account> <order> --reason <text> [--amount <amount>]   another amount than was ordered
  topup reject <account> <order> --reason <text>
  topup refund <account> <order> <amount> --reason <text> [--if-used <block|debt>]
  code make <bucket> <amount> --expires-at <time> --reason <text> [--count <n>]
  code list
  code revoke <code id>
  receipts [--account <account>] [--key <id>] [--project <id>] [--model <name>] [--route <route>] [--bucket <bucket>]
           [--status <status>] [--run <id>] [--kind <kind>] [--since <time>] [--until <time>] [--format <csv|jsonl>]
  receipt <account> <id>                                   the id of the request, or the one that stands in its answer
  ledger [the same]
  audit [the same]                                         who did what, and why
  spend [--by <a,b>] [--since <day>] [--until <day>] [--date <day>] [--account <account>] [--project <id>] [--key <id>]
        [--model <name>] [--route <route>] [--bucket <bucket>] [--cause <cause>]
  reconcile [--account <account>] [--from <row>]
  catalog get
  catalog put <file> [--author <name>] [--reason <text>] [--effective-at <time>] [--dry-run]
  catalog announced                                        the catalogue that is to take effect, with what it changes
  catalog withdraw [--author <name>] [--reason <text>]     takes that back
  catalog versions [--model <name>]                        what was published when, by whom, why, and what it changed
  catalog version <version>                                one of them, with its document
  health
  probe
  token create <name> --scopes <a,b> [--expires-at <time>] of: read, catalog, channels, money, accounts, support, tokens
  token list
  token revoke <token id>
  attempts                                                 who failed to present a token, by hour and address

A budget's period is total, day or month: --budget credit:month:25.00
Lists have pages: --limit <n>, and --after with the \`next\` of the page before; with --format they are whole.
What changes something takes --author <name> and --reason <text>, which no customer sees: the audit has the name of the token as its
author, and --author beside it as who it was done for. Where a --reason is needed there is --note <text> too, which the customer
does see. Credit and refund take --idempotency-key <text>: twice is once. A flag that does nothing for a command is refused.
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
  'fallback-ceiling': { type: 'string' },
  fit: { type: 'string' },
  'expires-at': { type: 'string' },
  'ip-allow': { type: 'string' },
  'browser-origins': { type: 'string' },
  reason: { type: 'string' },
  author: { type: 'string' },
  note: { type: 'string' },
  amount: { type: 'string' },
  'effective-at': { type: 'string' },
  'dry-run': { type: 'boolean' },
  'if-used': { type: 'string' },
  'idempotency-key': { type: 'string' },
  count: { type: 'string' },
  state: { type: 'string' },
  account: { type: 'string' },
  key: { type: 'string' },
  model: { type: 'string' },
  route: { type: 'string' },
  bucket: { type: 'string' },
  status: { type: 'string' },
  run: { type: 'string' },
  kind: { type: 'string' },
  cause: { type: 'string' },
  since: { type: 'string' },
  until: { type: 'string' },
  date: { type: 'string' },
  by: { type: 'string' },
  from: { type: 'string' },
  format: { type: 'string' },
  limit: { type: 'string' },
  after: { type: 'string' },
  scopes: { type: 'string' },
};

const page = ['limit', 'after'];
const period = ['since', 'until'];
const rows = ['account', 'key', 'project', 'model', 'route', 'bucket', 'status', 'run', 'kind', 'format', ...period, ...page];
const sums = ['by', 'date', 'account', 'project', 'key', 'model', 'route', 'bucket', 'cause', ...period];

/** Each command: its words, the arguments that have to follow, and the call that it makes: method, path, body, headers. */
const commands = {
  'account create': [['name'], ({ name }, flags) => ['POST', '/accounts', { id: flags.id, name, ...signed(flags) }]],
  'account list': [[], (_, flags) => list('/accounts', flags, page)],
  'account show': [['account'], ({ account }) => ['GET', `/accounts/${account}`]],
  'project create': [
    ['account', 'name'],
    ({ account, name }, flags) => ['POST', `/accounts/${account}/projects`, { name, budgets: budgets(flags), ...signed(flags) }],
  ],
  'project list': [['account'], ({ account }) => ['GET', `/accounts/${account}/projects`]],
  'key create': [
    ['account'],
    ({ account }, flags) => ['POST', `/accounts/${account}/keys`, { label: 'key', project: flags.project, ...policy(flags), ...signed(flags) }],
  ],
  'key change': [['account', 'key'], ({ account, key }, flags) => ['PATCH', `/accounts/${account}/keys/${key}`, { ...policy(flags), ...signed(flags) }]],
  'key list': [['account'], ({ account }) => ['GET', `/accounts/${account}/keys`]],
  'key revoke': [['account', 'key'], ({ account, key }, flags) => ['DELETE', `/accounts/${account}/keys/${key}${signature(flags)}`]],
  'session end': [
    ['account'],
    ({ account }, flags) => ['DELETE', `/accounts/${account}/sessions${signature(flags, { key: flags.key })}`],
  ],
  credit: [
    ['account', 'bucket', 'amount'],
    ({ account, bucket, amount }, flags) => {
      const body = { bucket, amount, ...explained(flags, 'A credit') };
      return ['POST', `/accounts/${account}/adjustments`, body, idempotency(flags)];
    },
  ],
  'topup list': [
    [],
    (_, flags) => {
      const { account, state } = flags;
      if (account && state) throw new Failure('Either --account, with orders in every state, or --state, over all accounts.');
      return account ? list(`/accounts/${account}/topups`, { ...flags, account: undefined }, page) : list('/topups', flags, ['state', ...page]);
    },
  ],
  'topup show': [['account', 'order'], ({ account, order }) => ['GET', `/accounts/${account}/topups/${order}`]],
  'topup approve': [
    ['account', 'order'],
    ({ account, order }, flags) => {
      const body = { amount: flags.amount, ...explained(flags, 'An approval') };
      return ['POST', `/accounts/${account}/topups/${order}/approve`, body];
    },
  ],
  'topup reject': [
    ['account', 'order'],
    ({ account, order }, flags) => ['POST', `/accounts/${account}/topups/${order}/reject`, explained(flags, 'A rejection')],
  ],
  'topup refund': [
    ['account', 'order', 'amount'],
    ({ account, order, amount }, flags) => {
      const body = { amount, if_used: flags['if-used'], ...explained(flags, 'A refund') };
      return ['POST', `/accounts/${account}/topups/${order}/refunds`, body, idempotency(flags)];
    },
  ],
  'code make': [
    ['bucket', 'amount'],
    ({ bucket, amount }, flags) => {
      if (!flags['expires-at']) throw new Failure('A code needs --expires-at, such as 2027-01-31T00:00:00Z.');
      const body = { bucket, amount, count: number('count', flags), expires_at: flags['expires-at'] };
      return ['POST', '/codes', { ...body, ...explained(flags, 'A code') }];
    },
  ],
  'code list': [[], (_, flags) => list('/codes', flags, page)],
  'code revoke': [['code'], ({ code }, flags) => ['DELETE', `/codes/${code}${signature(flags)}`]],
  receipts: [[], (_, flags) => list('/receipts', flags, rows)],
  receipt: [['account', 'id'], ({ account, id }) => ['GET', `/accounts/${account}/receipts/${encodeURIComponent(id)}`]],
  ledger: [[], (_, flags) => list('/ledger', flags, rows)],
  audit: [[], (_, flags) => list('/audit', flags, rows)],
  spend: [[], (_, flags) => list('/spend', flags, sums)],
  reconcile: [[], (_, flags) => list('/reconcile', flags, ['account', 'from', ...page])],
  'catalog get': [[], () => ['GET', '/catalog']],
  'catalog put': [['file'], ({ file }, flags) => ['PUT', `/catalog${publication(flags)}`, json(file)]],
  'catalog announced': [[], () => ['GET', '/catalog/announced']],
  'catalog withdraw': [[], (_, flags) => ['DELETE', `/catalog/announced${signature(flags)}`]],
  'catalog versions': [[], (_, flags) => list('/catalog/versions', flags, ['model', ...page])],
  'catalog version': [['version'], ({ version }) => ['GET', `/catalog/versions/${version}`]],
  health: [[], () => ['GET', '/health']],
  probe: [[], (_, flags) => ['POST', '/probe', signed(flags)]],
  'token create': [
    ['name'],
    ({ name }, flags) => {
      if (!flags.scopes) throw new Failure('A token needs --scopes, such as read,money.');
      const scopes = flags.scopes.split(',').map((scope) => scope.trim());
      return ['POST', '/tokens', { name, scopes, expires_at: flags['expires-at'], ...signed(flags) }];
    },
  ],
  'token list': [[], (_, flags) => list('/tokens', flags, page)],
  'token revoke': [['token'], ({ token }, flags) => ['DELETE', `/tokens/${token}${signature(flags)}`]],
  attempts: [[], (_, flags) => list('/attempts', flags, page)],
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
  const [method, path, body, headers] = called(call, Object.fromEntries(wanted.map((word, index) => [word, given[index]])), flags);
  const { url, token } = gateway();
  if (flags.format && flags.format !== 'json') return write(adminList(url, token)(`/admin/v1${path}`));
  const answer = await adminApi(url, token)(method, `/admin/v1${path}`, body, headers);
  console.log(answer === undefined ? 'Done.' : JSON.stringify(answer, null, 2));
  // So that a cron job of the operator's fails when the books do not agree.
  if (name === 'reconcile' && !answer.ok) throw new Failure('There are differences.');
});

/** What a command calls. A flag that it does not look at is refused: it was meant to do something. */
function called(call, words, flags) {
  const looked = new Set();
  const watched = new Proxy(flags, { get: (all, name) => (looked.add(name), all[name]) });
  const made = call(words, watched);
  const unused = Object.keys(flags).find((name) => !looked.has(name));
  if (unused) throw new Failure(`--${unused} does nothing here. What this command takes is in the help.`);
  return made;
}

/** Writes a list to stdout as it comes; a reader that has enough, such as `head`, may leave. */
async function write(pieces) {
  process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  for await (const piece of pieces) {
    if (!process.stdout.write(piece)) await once(process.stdout, 'drain');
  }
}

/** A list of what the flags ask for. A flag that the list does not know is refused: it would not leave anything out. */
function list(path, flags, known) {
  const query = new URLSearchParams(onlyKnown(flags, known)).toString();
  return ['GET', query ? `${path}?${query}` : path];
}

/** The flags that are given; one that does nothing here is refused, since it was meant to do something. */
function onlyKnown(flags, known) {
  const given = Object.entries(flags).filter(([, value]) => value !== undefined);
  const unknown = given.find(([name]) => !known.includes(name));
  if (unknown) throw new Failure(`--${unknown[0]} does nothing here. What does: ${known.map((name) => `--${name}`).join(' ')}`);
  return given;
}

/** By whom, why and when a catalogue is published. */
function publication(flags) {
  onlyKnown(flags, ['author', 'reason', 'effective-at', 'dry-run']);
  const { author, reason, 'effective-at': effective_at, 'dry-run': dry_run } = flags;
  const given = Object.entries({ author, reason, effective_at, dry_run }).filter(([, value]) => value !== undefined);
  return given.length > 0 ? `?${new URLSearchParams(given)}` : '';
}

/** Why something is done, by whom, and what the customer is told. */
function explained({ reason, author, note }, what) {
  if (!reason) throw new Failure(`${what} needs a --reason, which is kept for the operator alone.`);
  return { reason, author, note };
}

/** Who does something, and why, where both may be left out. */
function signed({ author, reason }) {
  return { author, reason };
}

/** The same in a query, with what else stands there. */
function signature(flags, more = {}) {
  const given = Object.entries({ ...more, ...signed(flags) }).filter(([, value]) => value !== undefined);
  return given.length > 0 ? `?${new URLSearchParams(given)}` : '';
}

function idempotency(flags) {
  const key = flags['idempotency-key'];
  return key === undefined ? undefined : { 'idempotency-key': key };
}

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
    models: list(flags.models),
    routes: list(flags.routes),
    cross_routes: flags['cross-routes'],
    fallback_ceiling: flags['fallback-ceiling'],
    fit: flags.fit,
    budgets: budgets(flags),
    rpm: number('rpm', flags),
    tpm: number('tpm', flags),
    concurrency: number('concurrency', flags),
    expires_at: flags['expires-at'],
    ip_allow: list(flags['ip-allow']),
    browser_origins: list(flags['browser-origins']),
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
