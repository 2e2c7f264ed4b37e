// The catalogue of the worker tests: a public model for each behaviour of the simulated
// upstream, by the behaviour's own name, and a few models about routes and fallback.

const price = { input: '1', cached_input: '0.1', output: '2' };
/** The price of the wallet's routes, in CNY. */
const routedPrice = { input: '7', output: '14' };

const behaviours = [
  'demo-large', 'demo-small', 'demo-official',
  'cached', 'reasoning', 'no-limit', 'no-usage', 'huge-usage', 'gzip',
  'fail-400', 'fail-401', 'fail-403', 'fail-404', 'fail-422', 'fail-429', 'fail-500', 'fail-503',
  'html-502', 'error-200', 'empty-200', 'not-json-200', 'redirect', 'reset', 'slow-headers',
  'empty-stream', 'stream-error-first', 'stream-error-mid', 'cut-stream', 'no-done', 'no-last', 'hang-mid',
  'slow-stream', 'slow-stream-long', 'many-chunks', 'big-event', 'split-bytes', 'crlf', 'usage-always',
];

/** Faults that show before the first byte, after which the next candidate is tried. */
export const fallbackFaults = [
  'fail-401', 'fail-403', 'fail-404', 'fail-429', 'fail-500', 'fail-503',
  'html-502', 'error-200', 'empty-200', 'not-json-200', 'redirect', 'reset', 'slow-headers',
];

/** The catalogue, with its channels at the given upstream. */
export function testCatalog(upstreamUrl) {
  const channel = {
    dialect: 'openai',
    base_url: `${upstreamUrl}/v1`,
    secrets: ['TEST_UPSTREAM_KEY'],
    first_byte_timeout_ms: 1000,
    idle_timeout_ms: 1000,
    // The upstream's lists are asked for, and no model is called: tests count the calls.
    probe_daily_cap: '0',
  };
  const models = Object.fromEntries(behaviours.map((name) => [name, model(official(candidate('main', name)))]));
  // The primary has the fault, the backup is good: `fallback-fail-503` and its like. The primary
  // is a candidate of its own, whose health no other test has spoilt.
  for (const fault of fallbackFaults) {
    models[`fallback-${fault}`] = model(official(candidate('main', `${fault}-primary`), candidate('backup', 'demo-large', 1)));
  }
  // A client that leaves does not end the upstream's answer.
  for (const name of ['slow-stream', 'hang-mid']) models[`drain-${name}`] = model(official(candidate('draining', name)));
  models['both-routes'] = { ...model({ ...official(candidate('main', 'demo-official')), ...routed(candidate('backup', 'demo-large')) }), aliases: ['both-latest'] };
  models['official-down'] = model({ ...official(candidate('main', 'fail-503-official')), ...routed(candidate('backup', 'demo-large')) });
  models['routed-only'] = model(routed(candidate('backup', 'demo-large')));
  return {
    version: 1,
    buckets: { credit: { label: 'Official credit', currency: 'USD' }, wallet: { label: 'Routed wallet', currency: 'CNY' } },
    channels: { main: channel, backup: { ...channel }, draining: { ...channel, on_client_gone: 'drain' } },
    models,
    charge_policy: { upstream_cut: 'free' },
  };
}

const candidate = (channel, upstream_model, tier = 0) => ({ channel, upstream_model, tier });
const official = (...candidates) => ({ official: { bucket: 'credit', price, candidates } });
const routed = (...candidates) => ({ routed: { bucket: 'wallet', price: routedPrice, candidates } });
const model = (routes) => ({ name: 'A test model', family: 'test', kind: 'chat', context_length: 128000, max_output_tokens: 4096, routes });
