// The catalogue of the tests that speak more than one dialect: one channel of the simulated
// upstream for each dialect, and on each channel the same models. So what a client gets can be
// compared across channels, and what it pays can be worked out by hand.

/** Prices of models that talk, in USD per million: a call of 8 tokens in and 16 out costs 0.00004. */
export const chatPrice = {
  input: '1', cached_input: '0.1', cache_write: '1.25', cache_write_1h: '2', audio_input: '4', image_input: '0.5',
  output: '2', reasoning: '3', audio_output: '8', image_output: '6',
};

/** The most tokens that a model answers with: the limit that goes up where the client names none. */
export const mostOutput = 4096;

/** Which channel serves the models of which family. */
export const families = { gpt: 'openai', open: 'compat', claude: 'anthropic', gemini: 'gemini' };

/** The models that talk and behave, one on the channel of each dialect. */
export const talkers = ['gpt-sim', 'claude-sim', 'gemini-sim'];

/**
 * What the simulator does by the id of a model (see scripts/upstream/behaviours.mjs). Each
 * family has a model for each of them: `claude-cut-stream` cuts its streams on the channel
 * that speaks Anthropic's dialect.
 */
const habits = ['thinking', 'cached', 'no-limit', 'many-chunks', 'split-bytes', 'gzip'];
const faults = ['fail-400', 'fail-401', 'fail-429', 'fail-500', 'fail-503', 'cut-stream', 'no-done', 'stream-error-mid'];

/** Models that do not talk, by the name that clients know: their kind, channel, upstream's name and price. */
const others = {
  'embedding-sim': ['embedding', 'openai', 'text-embedding-sim', { input: '2' }],
  'moderation-sim': ['moderation', 'openai', 'omni-moderation-sim', { input: '0' }],
  'image-sim': ['image', 'openai', 'gpt-image-sim', { input: '5', image_input: '10', output: '20', image_output: '40' }],
  'image-flat-sim': ['image', 'openai', 'dall-e-sim', { images: '0.04' }],
  'speech-sim': ['speech', 'openai', 'tts-sim', { characters: '15' }],
  'transcription-sim': ['transcription', 'openai', 'whisper-sim', { seconds: '0.0001' }],
  'transcription-tokens-sim': ['transcription', 'openai', 'gpt-4o-transcribe-sim', { input: '2', audio_input: '6', output: '10' }],
  'rerank-sim': ['rerank', 'cohere', 'rerank-sim', { searches: '0.002' }],
  'open-rerank-sim': ['rerank', 'compat', 'rerank-sim', { input: '1' }],
};

/** The names of the secrets of the channel `pool`, which are the labels of its credentials. */
export const poolSecrets = ['POOL_KEY_1', 'POOL_KEY_2', 'POOL_KEY_3'];

/** Variables that a gateway with this catalogue needs beside those of every test. */
export const dialectVars = {
  FAULTY_UPSTREAM_KEY: 'upstream-faulty-secret',
  ...Object.fromEntries(poolSecrets.map((name) => [name, `upstream-secret-${name.toLowerCase()}`])),
};

/** The catalogue, with its channels at the given upstream. */
export function dialectCatalog(upstreamUrl) {
  const models = {};
  for (const [family, channel] of Object.entries(families)) {
    models[`${family}-sim`] = talker(channel, `${family}-sim`);
    for (const habit of habits) models[`${family}-${habit}`] = talker(channel, `${habit}-${family}`);
    for (const fault of faults) models[`${family}-${fault}`] = talker(`${channel}-faulty`, `${fault}-${family}`);
  }
  models['pool-sim'] = talker('pool', 'pool-sim');
  for (const [name, [kind, channel, upstreamModel, price]] of Object.entries(others)) models[name] = model(kind, channel, upstreamModel, price);
  return {
    version: 1,
    buckets: { credit: { label: 'Official credit', currency: 'USD' } },
    channels: channels(upstreamUrl),
    models,
    charge_policy: { upstream_cut: 'free' },
  };
}

function channels(upstreamUrl) {
  const limits = { first_byte_timeout_ms: 5000, idle_timeout_ms: 5000 };
  const openai = { dialect: 'openai', base_url: `${upstreamUrl}/v1` };
  const each = {
    openai: { ...openai, responses: true },
    compat: openai,
    anthropic: { dialect: 'anthropic', base_url: `${upstreamUrl}/anthropic/v1` },
    gemini: { dialect: 'gemini', base_url: `${upstreamUrl}/gemini/v1beta` },
    cohere: { dialect: 'cohere', base_url: `${upstreamUrl}/cohere/v2` },
  };
  const all = { pool: { ...openai, ...limits, secrets: poolSecrets } };
  for (const [name, channel] of Object.entries(each)) {
    all[name] = { ...channel, ...limits, secrets: ['TEST_UPSTREAM_KEY'] };
    // Refused credentials rest; those of the good models must not.
    all[`${name}-faulty`] = { ...channel, ...limits, secrets: ['FAULTY_UPSTREAM_KEY'] };
  }
  return all;
}

const talker = (channel, upstreamModel) => model('chat', channel, upstreamModel, chatPrice);

function model(kind, channel, upstream_model, price) {
  const routes = { official: { bucket: 'credit', price, candidates: [{ channel, upstream_model, tier: 0 }] } };
  return { name: `A ${kind} model`, family: 'test', kind, context_length: 128000, max_output_tokens: mostOutput, routes };
}
