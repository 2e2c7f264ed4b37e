// What the truth test is made of: catalogues, keys and balances by a seed, and a plain call
// of a model. Nothing here knows what the gateway says of them.
import { Buffer } from 'node:buffer';
import { between, pick } from './chaos.mjs';

/** Variables that a gateway with these catalogues needs; `UPSTREAM_NOT_SET` is named by a channel and is none of them. */
export const truthVars = { POOL_1: 'upstream-secret-1', POOL_2: 'upstream-secret-2', POOL_BAD: 'upstream-401', POOL_3: 'upstream-secret-3' };

export const buckets = { credit: { label: 'Official credit', currency: 'USD' }, wallet: { label: 'Routed wallet', currency: 'CNY' } };

export function channels(upstreamUrl) {
  const openai = (...secrets) => ({ dialect: 'openai', base_url: `${upstreamUrl}/v1`, secrets, probe_daily_cap: '1000' });
  const other = (dialect, path) => ({ ...openai('TEST_UPSTREAM_KEY'), dialect, base_url: upstreamUrl + path });
  return {
    main: openai('TEST_UPSTREAM_KEY'),
    pool: openai('POOL_1', 'POOL_2'),
    // The first of its credentials is refused; the other one works.
    'half-pool': openai('POOL_BAD', 'POOL_3'),
    // Nothing is known of it but its list and what requests find.
    quiet: { ...openai('POOL_BAD', 'POOL_3'), probe_daily_cap: '0' },
    unset: openai('UPSTREAM_NOT_SET'),
    anthropic: other('anthropic', '/anthropic/v1'),
    gemini: other('gemini', '/gemini/v1beta'),
    cohere: other('cohere', '/cohere/v2'),
  };
}

/** What a candidate does, by how often. The id of one that is `removed` vanishes once it has been seen. */
const behaviours = [
  [58, 'good'], [7, 'fail-503'], [6, 'fail-401'], [5, 'fail-404'], [4, 'fail-500'], [3, 'error-200'], [4, 'reset'], [4, 'fail-429'], [4, 'removed'],
  [2, 'html-502'], [2, 'empty-200'],
];

/** By kind of model: how often, its channels, and its prices for so much a unit. */
const kinds = {
  chat: [8, ['main', 'main', 'pool', 'half-pool', 'quiet', 'unset', 'anthropic', 'gemini'], (n) => ({ input: dollars(n), output: dollars(n * 4) })],
  embedding: [2, ['main', 'pool', 'half-pool', 'quiet'], (n) => ({ input: dollars(n) })],
  moderation: [1, ['main', 'pool'], (n) => ({ input: n % 2 ? '0' : dollars(n) })],
  image: [2, ['main', 'pool'], (n) => ({ images: dollars(n / 100) })],
  speech: [1, ['main', 'half-pool'], (n) => ({ characters: dollars(n) })],
  transcription: [2, ['main', 'pool'], (n) => (n % 2 ? { seconds: dollars(n / 10_000) } : { input: dollars(n), audio_input: dollars(n * 3), output: dollars(n * 5) })],
  rerank: [1, ['main', 'cohere', 'half-pool'], (n) => (n % 2 ? { searches: dollars(n / 1000) } : { input: dollars(n), searches: dollars(n / 1000) })],
};

const dollars = (amount) => String(Number(amount.toFixed(9)));

/**
 * A catalogue with 3 to 6 models of several kinds, and one that others keep busy.
 * @returns {{document: object, models: object[], candidates: object[]}} of each model its id, kind,
 *   aliases, routes, and `group`, which models have in common that share a candidate; of each
 *   candidate its channel, id and behaviour, and whether it is sold
 */
export function catalogOf(random, name, upstreamUrl) {
  const candidates = [];
  const models = Array.from({ length: between(random, 3, 6) }, (_, index) => modelOf({ random, name: `${name}-m${index}`, group: index, candidates }));
  // Health belongs to a channel and an id, whichever model it is sold as.
  const [first, second] = models;
  if (first.kind === second.kind && random() < 0.5) {
    second.routes = structuredClone(first.routes);
    second.group = first.group;
    const isGone = ({ model }) => model === second.id;
    candidates.splice(0, candidates.length, ...candidates.filter((candidate) => !isGone(candidate)));
  }
  models.push(modelOf({ random, name: `${name}-busy`, group: models.length, candidates, isBusy: true }));
  const isOneBucket = random() < 0.25;
  for (const { routes } of models) if (isOneBucket && routes.routed) routes.routed.bucket = 'credit';
  const entries = models.map(({ id, kind, aliases, routes, most }) => [
    id, { name: id, family: 'test', kind, context_length: kind === 'chat' ? 200_000 : 8000, ...(most && { max_output_tokens: most }), aliases, routes },
  ]);
  return { document: { version: 1, buckets, channels: channels(upstreamUrl), models: Object.fromEntries(entries) }, models, candidates };
}

function modelOf({ random, name, group, candidates, isBusy = false }) {
  const kind = isBusy ? 'chat' : pick(random, Object.entries(kinds).map(([kind, [weight]]) => [weight, kind]));
  const [, on, priced] = kinds[kind];
  const kindsOfRoute = isBusy ? ['official'] : pick(random, [[3, ['official']], [2, ['routed']], [5, ['official', 'routed']]]);
  const routes = {};
  for (const route of kindsOfRoute) {
    const isSold = isBusy || random() < 0.88;
    const listed = [];
    // On a route each channel has one candidate, so that a request can ask for one and no other.
    const free = isBusy ? ['main'] : [...on];
    for (let n = isBusy ? 1 : between(random, 1, 3); n > 0 && free.length > 0; n -= 1) {
      const behaviour = isBusy ? 'hang-mid' : pick(random, behaviours.filter(([, it]) => kind === 'chat' || it !== 'fail-429'));
      const channel = free[between(random, 0, free.length - 1)];
      free.splice(0, free.length, ...free.filter((it) => it !== channel));
      const upstream_model = `${behaviour}-${name}-${candidates.length}`;
      candidates.push({ channel, upstream_model, behaviour, isSold, model: name, route });
      listed.push({ channel, upstream_model, tier: between(random, 0, 2), weight: between(random, 1, 4) });
    }
    const price = priced(between(random, 1, 60));
    routes[route] = { bucket: route === 'routed' ? 'wallet' : 'credit', candidates: listed, price: isSold ? price : null };
  }
  // Some models serve both routes over one candidate.
  const shared = routes.official?.candidates[0];
  if (shared && routes.routed?.candidates.every(({ channel }) => channel !== shared.channel) && random() < 0.25) {
    routes.routed.candidates.push({ ...shared, tier: 2 });
    // Where only the second route has a price, it is sold there.
    const known = candidates.find(({ upstream_model }) => upstream_model === shared.upstream_model);
    if (!known.isSold && routes.routed.price) Object.assign(known, { isSold: true, route: 'routed' });
  }
  const aliases = random() < 0.4 ? [`${name}-latest`] : [];
  return { id: name, kind, aliases, routes, group, isBusy, most: kind === 'chat' || kind === 'transcription' ? pick(random, [[2, 4000], [1, 16], [1, 7], ...(kind === 'chat' ? [[4, 128_000]] : [])]) : 0 };
}

/** A key's policy, and what else is odd about it; budgets and balances go by quotes, so they come later. */
export function keyOf(random, models) {
  const chosen = models.filter(() => random() < 0.6).map(({ id }) => id);
  const policy = {
    models: random() < 0.6 || chosen.length === 0 ? ['*'] : chosen,
    routes: pick(random, [[4, ['official', 'routed']], [3, ['routed', 'official']], [1, ['official']], [1, ['routed']]]),
    cross_routes: random() < 0.5,
  };
  const oddity = pick(random, [
    [14, 'none'], [4, 'key budget'], [3, 'project budget'], [2, 'rpm'], [1, 'tpm'], [2, 'busy'], [1, 'busy alone'],
    [0.4, 'expired'], [0.4, 'revoked'], [0.4, 'elsewhere'], [2, 'changed'], [1, 'debt'],
  ]);
  if (oddity === 'rpm') policy.rpm = between(random, 1, 4);
  if (oddity === 'tpm') policy.tpm = between(random, 20, 200);
  if (oddity === 'busy alone') policy.concurrency = 1;
  if (oddity === 'elsewhere') policy.ip_allow = ['203.0.113.7'];
  // Who waits for others would wait in vain here.
  if (oddity.startsWith('busy') || random() < 0.15) policy.fit = 'never';
  if (oddity.startsWith('busy')) Object.assign(policy, { models: ['*'], routes: ['official', 'routed'] });
  return { policy, oddity };
}

/** An amount that may or may not cover such a quote. */
export function around(random, quote) {
  const part = (percent) => (quote * BigInt(percent)) / 100n;
  return pick(random, [[2, 0n], [2, part(40)], [3, quote - 1n], [3, quote], [4, part(170)], [4, part(430)], [14, 50_000_000_000n]]);
}

export const nanosOf = (text) => {
  const [, sign, whole, fraction = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  return BigInt(`${sign}${whole}${fraction.padEnd(9, '0')}`);
};

export const amountOf = (nanos) => {
  const digits = String(nanos < 0n ? -nanos : nanos).padStart(10, '0');
  return `${nanos < 0n ? '-' : ''}${digits.slice(0, -9)}.${digits.slice(-9)}`;
};

/**
 * A plain call of a model, byte for byte as its page shows it (src/catalog/model.rs): quotes go by the length, and nobody names
 * a limit. `more` are further members.
 * @returns {{path: string, headers: object, body: string | Buffer}}
 */
export function plain({ kind }, name, more = {}) {
  if (kind === 'transcription') return transcription(name, more);
  const [path, first] = firstCalls[kind];
  const members = Object.entries(more).map(([member, value]) => `, ${JSON.stringify(member)}: ${JSON.stringify(value)}`);
  return { path, headers: { 'content-type': 'application/json' }, body: `{"model": ${JSON.stringify(name)}, ${first}${members.join('')}}` };
}

const firstCalls = {
  chat: ['/v1/chat/completions', '"messages": [{"role": "user", "content": "Hello"}]'],
  embedding: ['/v1/embeddings', '"input": "Hello"'],
  moderation: ['/v1/moderations', '"input": "Hello"'],
  image: ['/v1/images/generations', '"prompt": "A lighthouse at dawn"'],
  speech: ['/v1/audio/speech', '"input": "Hello", "voice": "alloy"'],
  rerank: ['/v1/rerank', '"query": "coast", "documents": ["A lighthouse", "A mill"]'],
};

const boundary = 'tokens-forge-8d3f6c1a7b25';

function transcription(name, more) {
  const texts = Object.entries({ model: name, response_format: 'json', ...more }).map(
    ([member, text]) => `--${boundary}\r\nContent-Disposition: form-data; name="${member}"\r\n\r\n${typeof text === 'string' ? text : JSON.stringify(text)}\r\n`,
  );
  const head = `${texts.join('')}--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="tone.wav"\r\nContent-Type: audio/wav\r\n\r\n`;
  const body = Buffer.concat([Buffer.from(head), tone, Buffer.from(`\r\n--${boundary}--\r\n`)]);
  return { path: '/v1/audio/transcriptions', headers: { 'content-type': `multipart/form-data; boundary=${boundary}` }, body };
}

/** A quarter of a second of 8,000 samples a second. */
const tone = (() => {
  const [samples, rate] = [2000, 8000];
  const file = Buffer.alloc(44 + samples * 2);
  file.write('RIFF', 0);
  file.writeUInt32LE(36 + samples * 2, 4);
  file.write('WAVEfmt ', 8);
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(rate, 24);
  file.writeUInt32LE(rate * 2, 28);
  file.writeUInt16LE(2, 32);
  file.writeUInt16LE(16, 34);
  file.write('data', 36);
  file.writeUInt32LE(samples * 2, 40);
  for (let n = 0; n < samples; n += 1) file.writeInt16LE(Math.round(8000 * Math.sin((n * Math.PI) / 8)), 44 + n * 2);
  return file;
})();
