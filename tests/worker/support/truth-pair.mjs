// One key and one model of the truth test: what the gateway says beforehand, then the very request,
// then everything in which the two differ.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { between, pick } from './chaos.mjs';
import { nanosOf, plain } from './truth.mjs';

/** The statuses that a reason's code comes with. */
const statuses = {
  invalid_api_key: [401], insufficient_balance: [402], model_not_allowed: [403], route_not_allowed: [403], ip_not_allowed: [403], budget_exceeded: [403],
  model_not_found: [404], rate_limit_exceeded: [429], balance_in_flight: [429], no_route_available: [502, 503], upstream_rate_limited: [429], upstream_overloaded: [429], model_unpriced: [503], invalid_request: [400],
};

/** What a request is told that nobody answered. */
const unanswered = ['no_route_available', 'upstream_rate_limited', 'upstream_overloaded'];

/** What a simulated 429 asks for is 7 s; after less than this it is seen once more. */
const loadIsFresh_ms = 4000;

/** Whoever does not answer within this time never does. */
const patience_ms = 20_000;

/** What the test came to. */
export class Tally {
  counts = { cases: 0, pairs: 0, served: 0, refused: {}, variants: {}, fallbacks: 0, 'fallbacks to nobody': 0, 'again, for a new minute': 0, 'reason was not the first': 0 };
  disagreements = [];
  /** How long it took until the health of every candidate was known, in all cases. */
  settling_ms = 0;

  refusal(code) {
    this.counts.refused[code] = (this.counts.refused[code] ?? 0) + 1;
  }
}

export class Pairs {
  /** @param {object} options `names` of the case, its `models` and `candidates`, and `operators`: keys of three accounts that may do everything */
  constructor({ gateway, tally, seed, models, candidates, operators }) {
    Object.assign(this, { gateway, tally, seed, models, candidates, operators, operator: operators[0] });
    this.locks = new Map();
    this.seenLoad = new Map();
  }

  /** Runs with these groups of models to itself: what a request learns of their health must not come between word and deed. */
  async locked(groups, work) {
    const [first, ...others] = groups;
    if (first === undefined) return work();
    const before = this.locks.get(first) ?? Promise.resolve();
    const now = before.then(() => this.locked(others, work));
    this.locks.set(first, now.catch(() => {}));
    return now;
  }

  async json(secret, path, init) {
    const response = await this.gateway.fetch(secret, path, { signal: AbortSignal.timeout(patience_ms), ...init });
    return { status: response.status, body: await response.json() };
  }

  /** Asks for a plan of a request. */
  route(secret, { path, headers, body }, more = {}) {
    return this.json(secret, `/v1/route?endpoint=${encodeURIComponent(path)}`, { method: 'POST', headers: { ...headers, ...more }, body });
  }

  /** Makes a request, and waits for the receipt of one that was tried: only then is its hold gone. */
  async call(secret, { path, headers, body }, more = {}) {
    const response = await this.gateway.fetch(secret, path, { method: 'POST', headers: { ...headers, ...more }, body, signal: AbortSignal.timeout(patience_ms) });
    const text = await response.text();
    const answer = { status: response.status, headers: response.headers, error: response.ok ? undefined : JSON.parse(text).error };
    const wasTried = response.ok || answer.error.metadata?.limit_source === 'upstream';
    return { ...answer, receipt: wasTried ? await this.receipt(secret, response) : undefined };
  }

  async receipt(secret, response) {
    for (let wait = 8; wait < 5000; wait *= 2) {
      await sleep(wait);
      const { status, body } = await this.json(secret, `/v1/receipts/${response.headers.get('x-generation-id')}`);
      if (status === 200) return body;
    }
    throw new Error(`no receipt of ${response.headers.get('x-generation-id')}`);
  }

  /** One call on one candidate by as many accounts as must agree. */
  async byAll(model, candidate) {
    for (const operator of this.operators) await this.only(model, candidate, operator);
  }

  /** One call on one candidate by somebody who may. */
  only(model, { route, channel }, operator = this.operator) {
    return this.call(operator, plain(model, `${model.id}:${route}`, { provider: { only: [channel], allow_fallbacks: false } }));
  }

  /** Load passes by itself, and nobody can know when: what asked for fewer requests does so once more. */
  async refreshLoad(model) {
    const ids = new Set(Object.values(model.routes).flatMap((route) => route.candidates).map(({ upstream_model }) => upstream_model));
    for (const candidate of this.candidates.filter(({ behaviour, upstream_model, isSold }) => behaviour === 'fail-429' && isSold && ids.has(upstream_model))) {
      if (Date.now() - (this.seenLoad.get(candidate) ?? 0) < loadIsFresh_ms) continue;
      const [owner] = this.models.filter(({ id }) => id === candidate.model);
      await this.byAll(owner, candidate);
      this.seenLoad.set(candidate, Date.now());
    }
  }

  /** Everything that the gateway says of one model to one key; the model by itself now and then, which is the list's entry. */
  async announced(key, model, request, isWhole) {
    const [list, route, one] = await Promise.all([
      this.json(key.secret, '/v1/models?include=unavailable'),
      this.route(key.secret, request),
      isWhole ? this.json(key.secret, `/v1/models/${model.id}`) : undefined,
    ]);
    const entry = list.body.data?.find(({ id }) => id === model.id);
    const endpoints = isWhole || entry?.tf.callable ? await this.endpoints(key, model) : undefined;
    return { list, one, endpoints, route, entry };
  }

  endpoints(key, model) {
    return this.json(key.secret, `/v1/models/${model.id}/endpoints`);
  }

  /** Tries one key on one model, in all ways. */
  pair(key, model, random) {
    const others = this.models.filter(({ kind, id }) => kind === model.kind && id !== model.id);
    const fallback = random() < 0.1 ? others[between(random, 0, others.length - 1)] : undefined;
    // Always in one order, so that nobody waits for each other.
    const groups = [...new Set([model.group, ...(fallback ? [fallback.group] : [])])].sort((a, b) => a - b);
    return this.locked(groups, async () => {
      const context = { seed: this.seed, key: { ...key, secret: undefined }, model };
      try {
        await this.refreshLoad(model);
        const served = await this.plainCall(key, model, context, random() < 0.3);
        if (served === undefined) return;
        if (fallback || random() < 0.4) await this.variant(key, { model, fallback }, random, context);
        if (served && random() < 0.4) await this.fallback(key, model, context);
      } catch (error) {
        if (!(error instanceof assert.AssertionError)) throw new Error(`${error.message}: ${JSON.stringify({ ...context, key: { ...context.key, leave: undefined } })}`, { cause: error });
        this.tally.disagreements.push({ message: error.message, ...context });
      }
    });
  }

  /** Answers whether it was served; nothing if the key cannot even read the list. */
  async plainCall(key, model, context, isWhole) {
    const request = plain(model, model.id);
    const { said, answer } = await this.withinAMinute(async () => {
      const said = await this.announced(key, model, request, isWhole);
      return { said, answer: await this.call(key.secret, request) };
    });
    Object.assign(context, { what: 'a plain call', said: { entry: said.entry, route: said.route }, answer: told(answer) });
    this.tally.counts.pairs += 1;
    if (answer.status === 200) this.tally.counts.served += 1;
    else this.tally.refusal(answer.error.code);

    if (said.list.status !== 200) {
      const refusals = [said.list, said.one, said.endpoints, said.route].filter(Boolean).map(({ status, body }) => [status, body.error?.code, body.error?.message]);
      for (const refusal of refusals) assert.deepEqual(refusal, [answer.status, answer.error?.code, answer.error?.message], 'a key without a list is refused alike everywhere');
      return undefined;
    }
    const { tf } = said.entry;
    // How long to wait is another second later.
    const words = ({ callable, reasons, served_by }) => ({ callable, served_by, reasons: reasons.map(({ code, message }) => [code, message]) });
    if (said.one) assert.deepEqual(words(said.one.body.tf), words(tf), 'the model by itself says something else than the list');
    assert.equal(answer.status === 200, tf.callable, `callable is ${tf.callable}, and the request answers ${answer.status}`);
    if (!tf.callable) this.checkReasons(tf.reasons, answer);
    this.checkRoute(said.route, answer);
    if (!tf.callable) return false;

    const { served_by } = tf;
    const { receipt } = answer;
    const who = ({ channel, upstream_model }) => `${channel}/${upstream_model}`;
    assert.deepEqual([receipt.bucket, receipt.route], [served_by.bucket, served_by.route], 'another bucket or route than announced');
    assert.ok(served_by.candidates.map(who).includes(who(receipt)), `${who(receipt)} answered and was not announced`);
    assert.deepEqual(receipt.price, served_by.price, 'another price than announced');
    assert.ok(nanosOf(receipt.charge) <= nanosOf(receipt.hold), `charged ${receipt.charge}, held ${receipt.hold}`);
    assert.ok(nanosOf(receipt.hold) >= nanosOf(served_by.smallest_quote), `held ${receipt.hold}, at least ${served_by.smallest_quote}`);
    const ofRoute = said.endpoints.body.data.endpoints.filter((endpoint) => endpoint.tf.route === receipt.route);
    assert.ok(ofRoute.length > 0 && ofRoute.every((endpoint) => endpoint.tf.route_callable), 'the endpoints say that its route cannot be called');
    return true;
  }

  checkReasons(reasons, { status, error }) {
    // What became of the attempts only the request can tell.
    if (unanswered.includes(error.code)) {
      assert.ok(reasons.some(({ code }) => unanswered.includes(code)), `nobody answered, announced was ${reasons.map(({ code }) => code)}`);
      assert.ok(statuses[error.code].includes(status), `${error.code} came with ${status}`);
      return;
    }
    assert.ok(reasons.some(({ code }) => code === error.code), `refused with ${error.code}, announced was ${reasons.map(({ code }) => code)}`);
    assert.ok(statuses[error.code]?.includes(status), `${error.code} came with ${status}`);
    if (reasons[0].code !== error.code) this.tally.counts['reason was not the first'] += 1;
    assert.ok(reasons.some(({ code, message }) => code === error.code && error.message.startsWith(`${message} `)), `another message than announced: ${error.message}`);
  }

  /** `POST /v1/route` against the request: whether, who, for how much. */
  checkRoute({ status, body: plan }, answer, { isSession = false } = {}) {
    if (status !== 200) {
      assert.deepEqual([status, plan.error.code, plan.error.message], [answer.status, answer.error?.code, answer.error?.message], 'the plan is refused otherwise than the request');
      return;
    }
    assert.equal(plan.callable, answer.status === 200, `the plan says callable is ${plan.callable}, the request answers ${answer.status}`);
    if (answer.status !== 200) return;
    const { receipt, headers } = answer;
    const attempts = grantedAttempts(plan);
    const first = attempts.find(({ expected_to_answer }) => expected_to_answer);
    // Equal seeds choose equal candidates within a tier, and only sessions have equal seeds.
    const peers = attempts.filter((it) => (isSession ? it === first : it.expected_to_answer && it.tier === first.tier && it.route === first.route && it.model === first.model));
    const mine = peers.find(({ channel, upstream_model }) => channel === receipt.channel && upstream_model === receipt.upstream_model);
    assert.ok(mine, `${receipt.channel}/${receipt.upstream_model} answered; the plan's first was ${first.channel}/${first.upstream_model}`);
    assert.deepEqual([receipt.bucket, receipt.route, receipt.model], [mine.bucket, mine.route, mine.model]);
    assert.deepEqual(receipt.price, mine.price);
    assert.deepEqual(receipt.output_limit ?? null, mine.output_limit, 'another output limit than planned');
    assert.ok(nanosOf(receipt.charge) <= nanosOf(mine.quote), `charged ${receipt.charge}, quoted ${mine.quote}`);
    const names = ['x-tf-channel', 'x-tf-upstream-model', 'x-tf-route', 'x-tf-bucket'];
    assert.deepEqual(names.map((name) => headers.get(name)), [receipt.channel, receipt.upstream_model, receipt.route, receipt.bucket]);
    assert.deepEqual([plan.bucket, plan.quote], [mine.bucket, legsOf(plan).find((leg) => leg.attempts.includes(mine)).quote.amount], 'the plan names another balance that pays');
  }

  /** The same with an alias, a route, a list of models, preferences, another dialect, a stream. */
  async variant(key, { model, fallback }, random, context) {
    if (fallback) await this.refreshLoad(fallback);
    const kinds = Object.keys(model.routes);
    const kind = kinds[between(random, 0, kinds.length - 1)];
    const channels = [...new Set(Object.values(model.routes).flatMap(({ candidates }) => candidates.map(({ channel }) => channel)))];
    const channel = channels[between(random, 0, channels.length - 1)];
    const isChat = model.kind === 'chat';
    const providers = [{ order: [channel] }, { only: [channel] }, { ignore: [channel] }, { allow_fallbacks: false }, { sort: 'price' }, { max_price: { prompt: '20', completion: '80' } }];
    const name = fallback ? 'models' : pick(random, [
      [2, 'suffix'], ...(isChat ? [[3, 'limit']] : []), [2, 'header'], [2, 'provider'], [2, 'session'], ...(model.aliases.length ? [[2, 'alias']] : []),
      ...(isChat && !model.isBusy ? [[1, 'stream']] : []), ...(isChat ? [[1, 'messages'], [1, 'responses'], [1, 'gemini']] : []),
    ]);
    const talk = { messages: [{ role: 'user', content: 'Reply with OK.' }], max_tokens: Math.min(model.most, 16) };
    const headers = { 'content-type': 'application/json' };
    const make = {
      suffix: () => plain(model, `${model.id}:${kind}`),
      limit: () => plain(model, model.id, { max_tokens: pick(random, [[1, 1], [1, 4096], [1, 20_000], [1, 500_000]]) }),
      header: () => plain(model, model.id),
      provider: () => plain(model, model.id, { session_id: 'steady', provider: providers[between(random, 0, providers.length - 1)] }),
      session: () => plain(model, model.id, { session_id: `s-${between(random, 0, 99)}` }),
      alias: () => plain(model, model.aliases[0]),
      models: () => plain(model, random() < 0.3 ? 'no-such-model' : model.id, { models: [fallback.id, model.id] }),
      stream: () => plain(model, model.id, { stream: true }),
      messages: () => ({ path: '/v1/messages', headers, body: JSON.stringify({ model: model.id, ...talk }) }),
      responses: () => ({ path: '/v1/responses', headers, body: JSON.stringify({ model: model.id, input: 'Reply with OK.', max_output_tokens: Math.min(model.most, 16) }) }),
      gemini: () => ({ path: `/v1beta/models/${model.id}:generateContent`, headers, body: JSON.stringify({ contents: [{ role: 'user', parts: [{ text: 'Reply with OK.' }] }] }) }),
    };
    const request = make[name]();
    const more = name === 'header' ? { 'x-tf-route': kind } : {};
    const { plan, answer, endpoints } = await this.withinAMinute(async () => {
      const [plan, endpoints] = await Promise.all([this.route(key.secret, request, more), name === 'header' ? this.endpoints(key, model) : undefined]);
      return { plan, endpoints, answer: await this.call(key.secret, request, more) };
    });
    this.tally.counts.variants[name] = (this.tally.counts.variants[name] ?? 0) + 1;
    Object.assign(context, { what: `the variant ${name}`, request: { ...request, body: String(request.body).slice(0, 400), more }, said: { plan }, answer: told(answer) });
    // Each dialect has its own words for codes and types.
    if (!request.path.startsWith('/v1/messages') && !request.path.startsWith('/v1beta')) this.checkRoute(plan, answer, { isSession: name === 'session' || name === 'provider' });
    else if (plan.status === 200) assert.equal(plan.body.callable, answer.status === 200, `the plan says callable is ${plan.body.callable}, the request answers ${answer.status}`);
    else assert.equal(plan.status, answer.status);
    if (name !== 'header') return;
    const ofRoute = endpoints.body.data.endpoints.filter((endpoint) => endpoint.tf.route === kind);
    for (const { tf } of ofRoute) {
      assert.equal(tf.route_callable, answer.status === 200, `route_callable is ${tf.route_callable}, and the request answers ${answer.status}`);
      if (!tf.route_callable) this.checkReasons(tf.reasons, answer);
    }
  }

  /** Breaks who would answer, for one request: who answers then is who was named for that. */
  async fallback(key, model, context) {
    const request = plain(model, model.id, { session_id: 'steady' });
    const { gateway } = this;
    let broken;
    const { plan, answer } = await this.withinAMinute(async () => {
      const { status, body: plan } = await this.route(key.secret, request);
      const primary = status === 200 && plan.callable && grantedAttempts(plan).find(({ expected_to_answer }) => expected_to_answer);
      if (!primary) return { plan };
      broken = primary;
      gateway.upstream.switch(primary.upstream_model, 'fail-503');
      const answer = await this.call(key.secret, request);
      gateway.upstream.restore(primary.upstream_model);
      return { plan, answer };
    });
    if (!answer) return;
    // It answers again, and the gateway is shown that it does.
    const healed = await this.only(model, broken);
    Object.assign(context, { what: 'a broken primary', said: { plan }, broken, answer: told(answer) });
    assert.equal(healed.status, 200, `what was broken for one request does not answer after it: ${JSON.stringify(told(healed))}`);

    const isBroken = ({ channel, upstream_model }) => channel === broken.channel && upstream_model === broken.upstream_model;
    const attempts = grantedAttempts(plan);
    const at = attempts.findIndex(isBroken);
    const next = attempts.slice(at + 1).find((attempt) => attempt.expected_to_answer && !isBroken(attempt));
    const { receipt } = answer;
    // Where nobody is expected to answer, somebody is tried all the same.
    const tried = next ?? attempts.slice(at + 1).find((attempt) => !isBroken(attempt));
    if (tried) {
      const named = /^`(.+?)` is tried as `(.+?)`(, though it is not expected to answer now)?; `(.+?)` (still pays|pays instead, with a hold of its own)\.$/.exec(plan.if_the_first_fails);
      assert.ok(named, `if_the_first_fails keeps quiet about ${tried.channel}/${tried.upstream_model}`);
      const [, channel, upstreamModel, doubt, bucket, how] = named;
      assert.deepEqual([channel, upstreamModel, bucket, doubt === undefined], [tried.channel, tried.upstream_model, tried.bucket, tried.expected_to_answer]);
      assert.equal(how === 'still pays', tried.bucket === broken.bucket);
      const after = receipt.attempts.slice(receipt.attempts.findIndex(isBroken) + 1);
      assert.ok(after.some((attempt) => attempt.channel === channel && attempt.upstream_model === upstreamModel && attempt.bucket === bucket), 'if_the_first_fails names somebody who was not tried');
    } else {
      assert.equal(plan.if_the_first_fails, 'No other candidate is tried; the request fails and nothing is charged.');
    }
    if (!next) {
      this.tally.counts['fallbacks to nobody'] += 1;
      assert.ok(unanswered.includes(answer.error?.code), 'nobody else was expected to answer');
      assert.equal(receipt.charge, '0');
      return;
    }
    this.tally.counts.fallbacks += 1;
    assert.equal(answer.status, 200, `${next.channel}/${next.upstream_model} was expected to answer instead`);
    assert.deepEqual([receipt.channel, receipt.upstream_model, receipt.route, receipt.bucket], [next.channel, next.upstream_model, next.route, next.bucket]);
    assert.deepEqual(receipt.price, next.price);
    assert.ok(nanosOf(receipt.charge) <= nanosOf(next.quote));
  }

  /** Rates are counted by the minute; what is said in one may be otherwise in the next. */
  async withinAMinute(work) {
    const minute = () => Math.floor(this.gateway.worker.time() / 60_000);
    for (;;) {
      const before = minute();
      const result = await work();
      if (minute() === before) return result;
      this.tally.counts['again, for a new minute'] += 1;
    }
  }
}

const told = ({ status, error, receipt }) => ({
  status, error, receipt: receipt && { ...receipt, attempts: receipt.attempts.map(({ channel, upstream_model, status, error }) => ({ channel, upstream_model, status, error })) },
});

/** A plan's attempts by the holds that they need. */
function legsOf(plan) {
  const legs = [];
  for (const attempt of plan.attempts) {
    if (legs.at(-1)?.attempts[0].bucket !== attempt.bucket) legs.push({ attempts: [], quote: plan.quotes[legs.length] });
    legs.at(-1).attempts.push(attempt);
  }
  return legs;
}

/** The attempts whose holds are granted. A no that is not about one balance ends the request. */
function grantedAttempts(plan) {
  const legs = legsOf(plan);
  const isFinal = ({ quote }) => !quote.covered && !['insufficient_balance', 'balance_in_flight', 'budget_exceeded'].includes(quote.refusal.code);
  const end = legs.findIndex(isFinal);
  return legs.slice(0, end < 0 ? undefined : end).filter(({ quote }) => quote.covered).flatMap(({ attempts }) => attempts);
}
