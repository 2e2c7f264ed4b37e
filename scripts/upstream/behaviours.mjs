// What the simulated upstream does for which model id, the same in every API. A behaviour is
// chosen by its name or by an id that starts with the name and a dash: `fail-503-primary`
// behaves as `fail-503`. Every other id gets a good answer; some ids change what that contains:
// `cached`, `reasoning`, `thinking`, `no-limit`, `filtered` (stopped by a content filter after four
// words), and those of single APIs, in their files.
//
// An API is an object of functions that say what is its own:
//   streams(exchange): whether the answer is to come as a stream
//   compose(exchange): the answer, as data; throws Refused for a request that makes no sense
//   plain(answer, exchange): the whole answer, {type, data}
//   events(answer, exchange, {usage}): the answer as a stream's events, {name, data, is}; `is` tells
//     deltas ('delta'), why an answer ended ('finish'), the usage of those that ask ('usage') and what
//     ends the stream ('end').
//     `usage` may be 'forced' (without asking) or 'always' (on every event), where that makes sense
//   and, if the usual does not fit: streamType(exchange), failed(exchange, events) for the error
//   in mid stream, stretched(answer, count) and bigger(answer, word), as in answer.mjs.
import { gzipSync } from 'node:zlib';
import { bigger, stretched } from './answer.mjs';
import { fail, failures, serverFault } from './errors.mjs';

const eventStream = 'text/event-stream; charset=utf-8';

/** Answers a request to an API the way its model id says, or the given behaviour in its place. */
export function behave(api, exchange, name = nameOf(exchange.model)) {
  const behaviour = exchange.isElsewhere ? good : (behaviours[name] ?? good);
  return behaviour({ api, exchange });
}

/** The whole answer of an API whose answers are JSON. */
export function json(value) {
  return { type: 'application/json', data: JSON.stringify(value) };
}

/** The name of a model id's behaviour: the longest that fits; none for the good one. */
function nameOf(model) {
  const fits = (name) => model === name || model.startsWith(`${name}-`);
  return behaviourNames.filter(fits).sort((a, b) => b.length - a.length)[0];
}

/** Faults that come before an answer or in its place, for plain and streamed requests alike. */
const faults = {
  'html-502': ({ exchange }) => exchange.send(502, 'text/html', '<html><body><h1>502 Bad Gateway</h1></body></html>'),
  'error-200': ({ exchange }) => exchange.json(200, serverFault(exchange)),
  'empty-200': ({ exchange }) => exchange.send(200, 'application/json', ''),
  'not-json-200': ({ exchange }) => exchange.send(200, 'application/json', 'upstream says hello'),
  redirect: ({ exchange }) => exchange.send(302, 'text/plain', '', { location: `/elsewhere${exchange.record.url}` }),
  reset: ({ exchange }) => exchange.reset(),
  'slow-headers': async (call) => {
    await call.exchange.sleep(3000);
    return good(call);
  },
  // Never answers: the caller gives up.
  'hang-headers': ({ exchange }) => exchange.sleep(2 ** 31 - 1),
  gzip: (call) => {
    const { api, exchange } = call;
    if (api.streams(exchange)) return good(call);
    const { type, data } = api.plain(api.compose(exchange), exchange);
    return exchange.send(200, type, gzipSync(data), { 'content-encoding': 'gzip' });
  },
  'no-usage': (call) => good(call, () => null),
  'huge-usage': (call) => good(call, (usage) => usage && { ...usage, ['output' in usage ? 'output' : 'input']: 1e9 }),
};

/** Peculiar streams, some of them faulty. */
const streams = {
  'empty-stream': async () => {},
  'stream-error-first': (stream) => stream.error([]),
  'stream-error-mid': async (stream) => stream.error(await stream.until(2)),
  'cut-stream': async (stream) => {
    await stream.until(4);
    // A reset discards what the other side has not read yet.
    await stream.exchange.sleep(100);
    stream.exchange.reset();
  },
  // Ends before it has told why it ended.
  'no-done': async (stream) => {
    await stream.events(stream.all.filter(({ is }) => !['usage', 'finish', 'end'].includes(is)));
    await stream.close();
  },
  // Tells why it ended, and ends without its last event.
  'no-last': async (stream) => {
    await stream.events(stream.all.filter(({ is }) => is !== 'end'));
    await stream.close();
  },
  'hang-mid': async (stream) => {
    await stream.until(2);
    await stream.exchange.sleep(2 ** 31 - 1);
  },
  'brief-stream': (stream) => stream.paced(12, 100),
  'slow-stream': (stream) => stream.paced(50, 100),
  'slow-stream-long': (stream) => stream.paced(120, 500),
  'many-chunks': async (stream) => {
    const all = stream.of(stream.api.stretched ?? stretched, 200);
    await stream.raw(Buffer.concat([...all.map((event) => stream.frame(event)), stream.tail()].map((part) => Buffer.from(part))));
  },
  'big-event': async (stream) => {
    await stream.events(stream.of(stream.api.bigger ?? bigger, 'x'.repeat(2 * 1024 * 1024)));
    await stream.close();
  },
  'split-bytes': async (stream) => {
    const all = stream.composed({ usage: 'forced' }).map((event) => Buffer.from(stream.frame(event)));
    for (const byte of Buffer.concat([...all, Buffer.from(stream.tail())])) await stream.raw(Buffer.of(byte));
  },
  crlf: async (stream) => {
    if (!stream.isEvents) return stream.whole();
    await stream.raw(': welcome\r\n\r\nretry: 1000\r\n\r\n');
    for (const [index, { name = 'message', data }] of stream.composed({ usage: 'forced' }).entries()) {
      if (typeof data === 'string') await stream.raw(`data: ${data}\r\n\r\n`);
      else await stream.raw(`id: ${index}\r\nevent: ${name}\r\n${lines(data)}: keep-alive\r\n\r\n`);
    }
  },
  'usage-always': async (stream) => {
    await stream.events(stream.composed({ usage: 'always' }));
    await stream.close();
  },
};

const lines = (data) => JSON.stringify(data, null, 1).split('\n').map((line) => `data: ${line}\r\n`).join('');

const behaviours = {
  ...Object.fromEntries(Object.keys(failures).map((name) => [name, ({ exchange }) => fail(exchange, name)])),
  ...faults,
  ...Object.fromEntries(Object.entries(streams).map(([name, play]) => [name, (call) => streamed(call, play)])),
};

/** Each is the id of a model. */
export const behaviourNames = Object.keys(behaviours);

/** The good answer; `usage` changes what it reports, to null for an upstream that reports none. */
async function good(call, usage = (own) => own) {
  const { api, exchange } = call;
  if (api.streams(exchange)) return streamed(call, (stream) => stream.whole(), usage);
  const answer = api.compose(exchange);
  const { type, data } = api.plain({ ...answer, usage: usage(answer.usage) }, exchange);
  return exchange.send(200, type, data);
}

/** Plays a stream's behaviour; a request for a plain answer gets the good one. */
async function streamed(call, play, usage = (own) => own) {
  const { api, exchange } = call;
  if (!api.streams(exchange)) return good(call);
  const answer = api.compose(exchange);
  const stream = new Stream(api, exchange, { ...answer, usage: usage(answer.usage) });
  exchange.head(200, { 'content-type': stream.type, 'cache-control': 'no-cache' });
  await play(stream);
  exchange.end();
}

class Stream {
  constructor(api, exchange, answer) {
    this.api = api;
    this.exchange = exchange;
    this.answer = answer;
    this.type = exchange.isList ? 'application/json; charset=UTF-8' : (api.streamType?.(exchange) ?? eventStream);
    this.isEvents = this.type === eventStream;
    this.all = this.composed();
    this.written = 0;
  }

  composed(options = {}) {
    return this.api.events(this.answer, this.exchange, options);
  }

  /** The events of the answer that `change` makes of this one. */
  of(change, value) {
    return this.api.events(change(this.answer, value), this.exchange, {});
  }

  raw(data) {
    return this.exchange.write(data);
  }

  /** An event as it goes over the wire. Sound is bytes; Gemini's list has its commas; its events end as Google's do. */
  frame({ name, data }) {
    if (Buffer.isBuffer(data)) return data;
    this.written += 1;
    const text = typeof data === 'string' ? data : JSON.stringify(data);
    if (this.exchange.isList) return `${this.written === 1 ? '[' : ',\r\n'}${text}`;
    const end = this.exchange.dialect === 'gemini' ? '\r\n\r\n' : '\n\n';
    return `${name ? `event: ${name}\n` : ''}data: ${text}${end}`;
  }

  /** What closes a list. */
  tail() {
    if (!this.exchange.isList) return '';
    return this.written ? '\r\n]' : '[]';
  }

  async close() {
    const tail = this.tail();
    if (tail) await this.raw(tail);
  }

  /** Events, each its own write. */
  async events(events) {
    for (const event of events) await this.raw(this.frame(event));
  }

  async whole() {
    await this.events(this.all);
    await this.close();
  }

  /** The answer up to so many deltas, short of its end; answers the events. */
  async until(count) {
    const deltas = this.all.flatMap(({ is }, index) => (is === 'delta' ? [index] : []));
    const beforeEnd = this.all.findIndex(({ is }) => is === 'end');
    const events = this.all.slice(0, (deltas[count - 1] ?? (beforeEnd < 0 ? this.all.length : beforeEnd) - 1) + 1);
    await this.events(events);
    return events;
  }

  /** The error after such events; sound can only break. */
  async error(events) {
    if (!this.isEvents && !this.exchange.isList) return this.exchange.reset();
    const [fault] = [serverFault(this.exchange)].flat();
    const usual = this.exchange.dialect === 'anthropic' ? { name: 'error', data: fault } : { data: fault };
    await this.events([this.api.failed?.(this.exchange, events, this.answer) ?? usual]);
    await this.close();
  }

  async paced(count, pause_ms) {
    for (const event of this.of(this.api.stretched ?? stretched, count)) {
      await this.raw(this.frame(event));
      if (event.is !== 'end' && event.is !== 'usage') await this.exchange.sleep(pause_ms);
    }
    await this.close();
  }
}
