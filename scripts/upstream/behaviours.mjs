// What the simulated upstream does for which model id. A behaviour is chosen by its name or
// by an id that starts with the name and a dash: `fail-503-primary` behaves as `fail-503`.
// Every other id gets a good answer; answer.mjs has a few ids of its own that change what the
// good answer contains: `cached`, `reasoning`, `no-limit`.
import { gzipSync } from 'node:zlib';
import { answer, chunks, completion, usageChunk } from './answer.mjs';

/** The behaviour of a model id: the longest name that fits. */
export function behaviour(model) {
  const fits = (name) => model === name || model.startsWith(`${name}-`);
  const [name] = Object.keys(behaviours).filter(fits).sort((a, b) => b.length - a.length);
  return behaviours[name] ?? good;
}

/** An error in OpenAI's envelope. */
export function refuse(exchange, status, { message, type, param = null, code = null }, headers = {}) {
  return exchange.json(status, { error: { message, type, param, code } }, headers);
}

const serverError = { message: 'The server had an error while processing your request.', type: 'server_error' };

const failures = {
  'fail-400': [400, { message: 'This model\'s maximum context length is 128000 tokens.', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' }],
  'fail-401': [401, { message: 'Incorrect API key provided: upstr******cret.', type: 'invalid_request_error', code: 'invalid_api_key' }],
  'fail-403': [403, { message: 'Country, region, or territory not supported.', type: 'request_forbidden', code: 'unsupported_country_region_territory' }],
  'fail-404': [404, { message: 'The model does not exist or you do not have access to it.', type: 'invalid_request_error', code: 'model_not_found' }],
  'fail-422': [422, { message: 'Field required: messages.0.role.', type: 'invalid_request_error', param: 'messages.0.role', code: 'missing_required_parameter' }],
  'fail-429': [429, { message: 'Rate limit reached for requests.', type: 'requests', code: 'rate_limit_exceeded' }, { 'retry-after': '7' }],
  'fail-500': [500, serverError],
  'fail-503': [503, { message: 'The engine is currently overloaded, please try again later.', type: 'server_error', code: 'overloaded' }],
};

/** Faults that come before an answer or in its place, for plain and streamed requests alike. */
const faults = {
  'html-502': (exchange) => exchange.send(502, 'text/html', '<html><body><h1>502 Bad Gateway</h1></body></html>'),
  'error-200': (exchange) => refuse(exchange, 200, serverError),
  'empty-200': (exchange) => exchange.send(200, 'application/json', ''),
  'not-json-200': (exchange) => exchange.send(200, 'application/json', 'upstream says hello'),
  redirect: (exchange) => exchange.send(302, 'text/plain', '', { location: '/elsewhere/v1/chat/completions' }),
  reset: (exchange) => exchange.reset(),
  'slow-headers': async (exchange) => {
    await exchange.sleep(3000);
    return good(exchange);
  },
  gzip: async (exchange) => {
    if (exchange.body.stream) return good(exchange);
    const body = gzipSync(JSON.stringify(completion(answer(exchange.body))));
    return exchange.send(200, 'application/json', body, { 'content-encoding': 'gzip' });
  },
  'no-usage': (exchange) => good(exchange, { usage: null }),
  'huge-usage': (exchange) => {
    const { usage } = answer(exchange.body);
    return good(exchange, { usage: { ...usage, completion_tokens: 1e9, total_tokens: usage.prompt_tokens + 1e9 } });
  },
};

/** Peculiar streams, some of them faulty. */
const streams = {
  'empty-stream': async () => {},
  'stream-error-first': (stream) => stream.error(),
  'stream-error-mid': async (stream) => {
    await stream.chunks(3);
    await stream.error();
  },
  'cut-stream': async (stream) => {
    await stream.chunks(5);
    // A reset discards what the other side has not read yet.
    await stream.exchange.sleep(100);
    stream.exchange.reset();
  },
  'no-done': (stream) => stream.chunks(),
  'hang-mid': async (stream) => {
    await stream.chunks(3);
    await stream.exchange.sleep(2 ** 31 - 1);
  },
  'slow-stream': (stream) => stream.paced(50, 100),
  'slow-stream-long': (stream) => stream.paced(120, 500),
  'many-chunks': async (stream) => {
    await stream.raw(stream.repeated(200).map(event).join(''));
    await stream.end();
  },
  'big-event': async (stream) => {
    await stream.raw(event(stream.word('x'.repeat(2 * 1024 * 1024))));
    await stream.chunks();
    await stream.end();
  },
  'split-bytes': async (stream) => {
    const all = [...stream.all.map(event), event(usageChunk(stream.answer)), 'data: [DONE]\n\n'].join('');
    for (const byte of Buffer.from(all)) await stream.raw(Buffer.of(byte));
  },
  crlf: async (stream) => {
    await stream.raw(': welcome\r\n\r\nretry: 1000\r\n\r\n');
    for (const [index, chunk] of [...stream.all, usageChunk(stream.answer)].entries()) {
      const lines = JSON.stringify(chunk, null, 1).split('\n').map((line) => `data: ${line}\r\n`);
      await stream.raw(`id: ${index}\r\nevent: message\r\n${lines.join('')}: keep-alive\r\n\r\n`);
    }
    await stream.raw('data: [DONE]\r\n\r\n');
  },
  'usage-always': async (stream) => {
    for (const [index, chunk] of stream.all.entries()) {
      const { prompt_tokens, completion_tokens } = stream.answer.usage;
      const soFar = Math.min(index, completion_tokens);
      const usage = { ...stream.answer.usage, completion_tokens: soFar, total_tokens: prompt_tokens + soFar };
      await stream.raw(event({ ...chunk, usage }));
    }
    await stream.raw(event(usageChunk(stream.answer)));
    await stream.raw('data: [DONE]\n\n');
  },
};

const behaviours = {
  ...Object.fromEntries(Object.entries(failures).map(([name, failure]) => [name, (exchange) => refuse(exchange, ...failure)])),
  ...faults,
  ...Object.fromEntries(Object.entries(streams).map(([name, play]) => [name, (exchange) => streamed(exchange, play)])),
};

/** The good answer; `usage` replaces what it reports, null for an upstream that reports none. */
async function good(exchange, { usage } = {}) {
  if (exchange.body.stream) {
    return streamed(exchange, async (stream) => {
      await stream.chunks();
      await stream.end(usage);
    });
  }
  const result = completion(answer(exchange.body));
  if (usage === null) delete result.usage;
  else if (usage) result.usage = usage;
  return exchange.json(200, result);
}

/** Plays a stream's behaviour; a request without `stream` gets the good plain answer. */
async function streamed(exchange, play) {
  if (!exchange.body.stream) return good(exchange);
  const stream = new Stream(exchange);
  exchange.head(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
  await play(stream);
  exchange.end();
}

const event = (value) => `data: ${JSON.stringify(value)}\n\n`;

class Stream {
  constructor(exchange) {
    this.exchange = exchange;
    this.answer = answer(exchange.body);
    this.wantsUsage = exchange.body.stream_options?.include_usage === true;
    this.all = chunks(this.answer, { usageKey: this.wantsUsage });
  }

  raw(data) {
    return this.exchange.write(data);
  }

  /** The first chunks of the answer, each its own write; all of them by default. */
  async chunks(count = this.all.length) {
    for (const chunk of this.all.slice(0, count)) await this.raw(event(chunk));
  }

  error() {
    return this.raw(event({ error: { ...serverError, param: null, code: null } }));
  }

  word(content) {
    return { ...this.all[1], choices: [{ index: 0, delta: { content }, logprobs: null, finish_reason: null }] };
  }

  /** The chunks of an answer of so many words, or fewer if the request says so. */
  repeated(wanted) {
    const count = Math.min(wanted, this.exchange.body.max_completion_tokens ?? this.exchange.body.max_tokens ?? wanted);
    const { usage } = this.answer;
    this.answer.usage = { ...usage, completion_tokens: count, total_tokens: usage.prompt_tokens + count };
    const words = Array.from({ length: count }, (_, index) => this.word(`word${index} `));
    const finish_reason = count < wanted ? 'length' : 'stop';
    return [this.all[0], ...words, { ...this.all.at(-1), choices: [{ index: 0, delta: {}, logprobs: null, finish_reason }] }];
  }

  async paced(count, pause_ms) {
    for (const chunk of this.repeated(count)) {
      await this.raw(event(chunk));
      await this.exchange.sleep(pause_ms);
    }
    await this.end();
  }

  /** What follows the last choice: usage, if it was asked for and the upstream reports any, and [DONE]. */
  async end(usage = this.answer.usage) {
    if (this.wantsUsage && usage) await this.raw(event(usageChunk(this.answer, usage)));
    await this.raw('data: [DONE]\n\n');
  }
}
