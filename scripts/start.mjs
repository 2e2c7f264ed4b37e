// `npm start`: the gateway on the local runtime beside a simulated upstream, with a demo
// catalogue, account and key, so that the first call works without any outside account.
// State stays in .wrangler/, where `wrangler dev` and `wrangler d1 execute --local` find it too.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { adminApi } from './admin-api.mjs';
import { build } from './build.mjs';
import { checkPort, startWorker } from './runtime.mjs';
import { guarded, weakness } from './secrets.mjs';
import { sha256 } from './setup.mjs';
import { Failure, main, root } from './shell.mjs';
import { startUpstream } from './upstream.mjs';

const port = Number(process.env.PORT || 8787);
/** Its primary upstream is down in the demo. */
const demoModel = 'gpt-5.5';
const demoFile = join(root, '.wrangler/demo.json');

await main(async () => {
  await checkPort(port);
  const before = existsSync(demoFile) ? JSON.parse(readFileSync(demoFile, 'utf8')) : {};
  const devVars = existsSync(join(root, '.dev.vars')) ? parseEnv(readFileSync(join(root, '.dev.vars'), 'utf8')) : {};
  checkStrength(devVars);
  await build();
  const adminToken = devVars.ADMIN_TOKEN || strong(before.admin_token) || madeSecret();
  const sessionSecret = devVars.SESSION_SECRET || strong(before.session_secret) || madeSecret();
  const upstream = await startUpstream({ port: port + 1 }).catch(() => startUpstream());
  const worker = await startWorker({
    port,
    state: join(root, '.wrangler/state/v3'),
    // Only here may a channel be on a private address: the catalogue's check allows it by this.
    vars: {
      ALLOW_PRIVATE_UPSTREAMS: 'true',
      DEMO_UPSTREAM_KEY: 'demo',
      ...devVars,
      ...(devVars.UPSTREAM_SECRETS && { UPSTREAM_SECRETS: `${devVars.UPSTREAM_SECRETS},DEMO_UPSTREAM_KEY` }),
      ADMIN_TOKEN: adminToken,
      SESSION_SECRET: sessionSecret,
      TOPUP_RETURN_URL: devVars.TOPUP_RETURN_URL || `http://127.0.0.1:${port}`,
    },
    onLog: ({ level, message }) => console.log(`[${level}] ${message}`),
  });
  const stopCron = everyMinute(worker.scheduled);
  const stop = async () => {
    stopCron();
    await Promise.all([worker.close(), upstream.close()]);
  };
  stopOnSignals(stop);
  try {
    await prepareDemo({ worker, upstream, adminToken, sessionSecret, before });
  } catch (error) {
    // Without the demo there is nothing to stay up for.
    await stop();
    throw error;
  }
});

/** What .dev.vars sets of the secrets that must not be guessed has to be strong: the Worker would not take it. */
function checkStrength(devVars) {
  for (const name of guarded.filter((name) => devVars[name])) {
    const why = weakness(devVars[name].trim());
    if (why) throw new Failure(`${name} in .dev.vars ${why}. Leave it empty, and one is made; or set what \`openssl rand -hex 32\` prints.`);
  }
  if (devVars.SESSION_SECRET && devVars.SESSION_SECRET === devVars.ADMIN_TOKEN) throw new Failure('SESSION_SECRET in .dev.vars has to be another than ADMIN_TOKEN.');
}

/** A secret of the last start, unless it is weaker than one that is made now. */
function strong(secret) {
  return secret && !weakness(secret) ? secret : undefined;
}

function madeSecret() {
  return randomBytes(32).toString('hex');
}

/** The catalogue, the account and the key of the demo; then the welcome. */
async function prepareDemo({ worker, upstream, adminToken, sessionSecret, before }) {
  const admin = adminApi(worker.url, adminToken);
  const { catalog, model } = await publishCatalog(admin, upstream.url, before.catalog);
  await ensureAccount(admin);
  const key = await ensureKey(admin, worker.url, before.key);
  const demo = { url: worker.url, key, account: 'demo', admin_token: adminToken, session_secret: sessionSecret, upstream: upstream.url, catalog };
  mkdirSync(join(root, '.wrangler'), { recursive: true });
  writeFileSync(demoFile, JSON.stringify(demo, null, 2) + '\n', { mode: 0o600 });
  console.log(welcome(demo, model));
}

/**
 * Publishes the demo catalogue, unless it is there already or the operator put another in its place.
 * Answers what to remember of it, and a model for the first call.
 */
async function publishCatalog(admin, upstreamUrl, before) {
  const text = readFileSync(join(root, 'examples/demo-catalog.json'), 'utf8').replaceAll('http://127.0.0.1:8788', upstreamUrl);
  const current = await orMissing(admin('GET', '/admin/v1/catalog'));
  if (current && before && sha256(JSON.stringify(current)) !== before.published) {
    console.log('The catalogue is not the demo\'s any more and stays as it is.');
    return { catalog: before, model: Object.keys(current.models)[0] };
  }
  if (current && before && sha256(text) === before.source) return { catalog: before, model: demoModel };
  await admin('PUT', '/admin/v1/catalog', JSON.parse(text));
  const published = await admin('GET', '/admin/v1/catalog');
  return { catalog: { source: sha256(text), published: sha256(JSON.stringify(published)) }, model: demoModel };
}

async function ensureAccount(admin) {
  if (await orMissing(admin('GET', '/admin/v1/accounts/demo'))) return;
  await admin('POST', '/admin/v1/accounts', { id: 'demo', name: 'Demo' });
  for (const [bucket, amount] of [['credit', '10.00'], ['wallet', '50.00']]) {
    await admin('POST', '/admin/v1/accounts/demo/adjustments', { bucket, amount, reason: 'Demo opening balance' });
  }
}

/** The key of the last start while it works, else a new one. */
async function ensureKey(admin, url, before) {
  const headers = { authorization: `Bearer ${before}` };
  if (before && (await fetch(`${url}/v1/key`, { headers })).ok) return before;
  const { secret } = await admin('POST', '/admin/v1/accounts/demo/keys', { label: 'demo' });
  return secret;
}

/** The answer, or undefined where there is no such thing. */
async function orMissing(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error.status === 404) return undefined;
    throw error;
  }
}

/** Calls at the start of every minute, as the platform's cron does. */
function everyMinute(tick) {
  let timer;
  const next = () => {
    timer = setTimeout(async () => {
      await tick().catch((error) => console.error('The scheduled run failed:', error.message));
      next();
    }, 60_000 - (Date.now() % 60_000));
  };
  next();
  return () => clearTimeout(timer);
}

function stopOnSignals(stop) {
  let stopping;
  const end = () => (stopping ??= stop().finally(() => process.exit(0)));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end);
  // The process that started this one has gone.
  process.on('disconnect', end);
}

function welcome({ url, key, admin_token }, model) {
  const fallback = 'In this demo its primary upstream is down: the call falls back, and the receipt says so.';
  return `
The gateway runs at   ${url}   (open it in a browser: models, prices, health)
API key               ${key}
Admin token           ${admin_token}
These are in .wrangler/demo.json too. Ctrl-C stops everything; balances stay.

A call to ${model}, as it stands. ${model === demoModel ? fallback : ''}

# curl
curl '${url}/v1/chat/completions' -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\
  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello"}]}'
curl '${url}/v1/receipts?limit=1' -H 'authorization: Bearer ${key}'

# Python, after: pip install openai
python3 - <<'END'
from openai import OpenAI
client = OpenAI(base_url="${url}/v1", api_key="${key}")
for chunk in client.chat.completions.create(model="${model}", messages=[{"role": "user", "content": "Hello"}], stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
END

# JavaScript, in this folder
node --input-type=module - <<'END'
import OpenAI from "openai";
const client = new OpenAI({ baseURL: "${url}/v1", apiKey: "${key}" });
const stream = await client.chat.completions.create({ model: "${model}", messages: [{ role: "user", content: "Hello" }], stream: true });
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
END
`;
}
