// Holds and settlements straight at the account objects, with no gateway in front: the Worker that drives them, in the same
// process as the Worker whose objects they are, called as their own Worker calls them. `KIND` says whose; each takes the least that
// its object asks of a caller.
const MODEL = 'bench';
const TOKENS = { input: 19, cached_input: 0, cache_write: 0, audio_input: 0, output: 21, reasoning: 0, audio_output: 0 };
const PRICE = { input: '1.25', cached_input: '0.125', output: '10' };
const PROJECT = 'default';
const KEY = 'key-pairs';
// Stands for the request in a command that is made once and sent often.
const REQUEST = '<request>';

const facts = (account, at) => ({
  request: REQUEST,
  created_at: at,
  account,
  project: PROJECT,
  key: KEY,
  key_label: 'pairs',
  run: null,
  endpoint: '/v1/chat/completions',
  stream: false,
  requested_model: MODEL,
  catalog_version: 1,
});

const hold = (account, at) => ({
  leg: 0,
  key_version: 1,
  bucket: 'credit',
  amount: '0.0031',
  timeout_ms: 600_000,
  idempotency: null,
  tokens: 0,
  is_last: true,
  facts: facts(account, at),
});

const settlement = (at) => {
  const at_channel = { channel: 'bench', route: 'official', bucket: 'credit', upstream_model: MODEL };
  const attempt = { dispatched: true, status: 'answered', started_at: at, latency_ms: 1, provider_status: 200 };
  const why = 'The official route came first and its balance covered the request.';
  return {
    request: REQUEST,
    outcome: {
      status: 'completed',
      served: { ...at_channel, model: MODEL, price: PRICE, why },
      attempts: [{ ...at_channel, ...attempt, tier: 0, reason: 'primary', error: null, message: null }],
      usage: TOKENS,
      usage_source: 'upstream',
      bounds: { input: 300, output: 300, visible: 300 },
      upstream_cut: 'free',
      finish_reason: 'stop',
      error: null,
      next_step: null,
      first_byte_ms: 1,
      latency_ms: 2,
    },
    body: null,
  };
};

const record = (account, at) => ({
  id: KEY,
  hash: '0'.repeat(64),
  account,
  project: PROJECT,
  label: 'pairs',
  version: 1,
  created_at: at,
  policy: {},
});

const credit = { id: 'pairs', bucket: 'credit', amount: '1000000', reason: 'bench', author: 'bench' };

/** Says a command to an account object of the product; an answer of another kind is a fault. */
async function command(stub, text, kind, how = 'command') {
  const answer = await stub.command(text, how);
  if (!answer.startsWith(kind)) throw new Error(`${text.slice(0, 60)} was answered ${answer}`);
}

const product = {
  async open(stub, account) {
    const at = new Date().toISOString();
    const commands = [
      { Open: { id: account, name: account, created_at: at } },
      { PutKey: record(account, at) },
      { Adjust: credit },
    ];
    for (const one of commands) await command(stub, JSON.stringify(one), '"Done"');
  },
  texts(account, at) {
    const halves = (of) => JSON.stringify(of).split(REQUEST);
    return { hold: halves({ Hold: hold(account, at) }), settle: halves({ Settle: settlement(at) }) };
  },
  async pair(stub, request, texts) {
    await command(stub, texts.hold.join(request), '{"Hold":{"Granted"');
    await command(stub, texts.settle.join(request), '"Done"', 'patient');
  },
  /** What it would do in two seconds, at once: the copy of the journal to D1. */
  rest: (stub) => command(stub, '"Flush"', '"Done"', 'flush'),
};

const floor = {
  open: () => {},
  texts: () => {},
  async pair(stub, request) {
    await stub.hold(request);
    await stub.settle(request);
  },
  rest: () => {},
};

/** Does something `count` times, `lanes` at a time, or as often as the time allows; answers how often. */
async function times(count, lanes, action, isOver = () => false) {
  let next = 0;
  const lane = async () => {
    while (next < count && !isOver()) await action(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return next;
}

async function answer({ pathname, searchParams }, { KIND, ACCOUNTS }) {
  const kind = KIND === 'product' ? product : floor;
  const [accounts, lanes, most] = ['accounts', 'lanes', 'pairs'].map((name) => Number(searchParams.get(name)));
  const limit = 1000 * Number(searchParams.get('seconds') ?? Infinity);
  const now = new Date();
  const all = Array.from({ length: accounts }, (_, number) => {
    const account = `pairs-${accounts}-${number}`;
    return { account, stub: ACCOUNTS.getByName(account), texts: kind.texts(account, now.toISOString()) };
  });
  if (pathname === '/open') {
    await times(accounts, lanes, (number) => kind.open(all[number].stub, all[number].account));
  }
  // Ids in rising order, as those of requests are.
  const id = (number) => `gen-${now.getTime()}-${String(number).padStart(8, '0')}`;
  const began = performance.now();
  const passed = () => performance.now() - began;
  const pair = (number) => {
    const { stub, texts } = all[number % accounts];
    return kind.pair(stub, id(number), texts);
  };
  const pairs = await times(most, lanes, pair, () => passed() > limit);
  const seconds = passed() / 1000;
  await times(accounts, lanes, (number) => kind.rest(all[number].stub));
  return { seconds, pairs };
}

export default {
  async fetch(request, env) {
    try {
      return Response.json(await answer(new URL(request.url), env));
    } catch (error) {
      return new Response(error.message, { status: 500 });
    }
  },
};
