// One request, or one run of the cron, on the platform's side: its effects begin here, and what comes of them goes to the Wasm.
import * as wasm from 'bindings';
import { instance } from './instance.mjs';
import { dropRest } from './rest.mjs';
import { LOOKS_MS, PATIENCE_MS, alight, ride, say } from './say.mjs';
import { END, headersOf } from './texts.mjs';
import { Times } from './times.mjs';

/** How long a pull waits for bytes that it can be told with; no timer of the Wasm is as short. */
const AHEAD_MS = 50;
const READ = ['retry-after', 'retry-after-ms', 'content-type', 'content-length'];

/**
 * @typedef {{ value?: Uint8Array }} Piece
 * @typedef {ReadableStreamDefaultReader<Uint8Array>} Reader
 * @typedef {object} Fetched
 * @property {AbortController} controller
 * @property {Response} [response]
 * @property {Reader} [reader]
 * @property {boolean} [isRead] Whether the Wasm waits for a piece
 * @property {Promise<Piece>} [ahead] A piece that it has not asked for yet
 * @typedef {(running: wasm.Running) => boolean} Told what is told the Wasm; true is the last time
 * @typedef {{ ACCOUNTS: import('./say.mjs').Accounts }} Env
 */

export class Call {
  /** @type {wasm.Running | undefined} */
  #running;
  #instance = 0;
  /** @type {Set<number>} Effects without an answer yet. */
  #pending = new Set();
  #times = new Times();
  /** @type {Map<number, () => void>} Commands that ride and have no answer yet, and what sends one that nobody waits for any more. */
  #riding = new Map();
  /** @type {Map<number, Fetched>} What came of fetches and may still be read. */
  #fetched = new Map();
  /** @type {(response: Response) => void} */
  #answer = () => {};
  /** @type {() => void} */
  #end = () => {};
  /** @type {Promise<void>} */
  #over = new Promise((resolve) => (this.#end = resolve));
  #isWoken = false;
  #isGone = false;
  /** @type {Uint8Array | undefined} The bytes that the Wasm was told last. */
  #last;
  /** @type {ReadableStreamDefaultController<Uint8Array> | undefined} */
  #stream;
  /** @type {(() => void) | undefined} */
  #pulled;
  /** The fetch that was read last: most likely, a pull of the stream reads it on. */
  #source = -1;
  /** @type {Reader | undefined} */
  #body;
  #isStalled = false;

  /**
   * @param {Env} env
   * @param {ExecutionContext} context
   * @param {Request} [request]
   */
  constructor(env, context, request) {
    this.env = env;
    this.context = context;
    this.request = request;
  }

  /**
   * The answer to the request. What goes on after it, or after the client has left, is waited for.
   * @returns {Promise<Response>}
   */
  answered() {
    const request = /** @type {Request} */ (this.request);
    return new Promise((resolve) => {
      this.#answer = resolve;
      let headers = '';
      for (const [name, value] of request.headers) headers += name + END + value + END;
      request.signal.onabort = () => this.#gone();
      this.#begin(() => wasm.begin(this, this.env, request.method, request.url, headers));
      if (request.signal.aborted) this.#gone();
    });
  }

  /** Resolves when all is done. */
  done() {
    this.#begin(() => wasm.beginMinute(this, this.env));
    return this.#over;
  }

  /** @param {() => wasm.Running | undefined} begin */
  #begin(begin) {
    try {
      this.#instance = instance();
      this.#running = begin();
      if (this.#running === undefined) this.#finish();
      else this.context.waitUntil(this.#over);
    } catch (error) {
      this.#broken(error);
    }
  }

  /**
   * Every way into the Wasm.
   * @param {Told} told
   */
  #enter(told) {
    if (this.#running === undefined) return;
    try {
      if (this.#instance !== instance()) throw new Error('the Wasm that served this ended with another request');
      if (told(this.#running)) this.#finish();
    } catch (error) {
      this.#broken(error);
    }
  }

  /** Nothing goes on after this. */
  #finish() {
    const running = this.#running;
    this.#running = undefined;
    for (const effect of [...this.#pending, ...this.#fetched.keys()]) this.cancel(effect);
    this.#times.end();
    this.broke('nobody goes on with this');
    this.#end();
    running?.free();
  }

  /**
   * The Wasm ended in the middle of a call, this one's or another's: its memory is gone.
   * @param {unknown} error
   */
  #broken(error) {
    console.error('request:', error);
    this.#running = undefined;
    this.broke('the gateway failed');
    this.#answer(this.#failure());
    this.#finish();
  }

  #failure() {
    const headers = new Headers({
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'retry-after': '2',
      'x-content-type-options': 'nosniff',
    });
    if (this.request?.url.startsWith('https://')) headers.set('strict-transport-security', 'max-age=31536000');
    try {
      return new Response(wasm.failureBody(), { status: 503, headers });
    } catch (error) {
      console.error('request:', error);
      return new Response(null, { status: 503 });
    }
  }

  #gone() {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#enter((running) => running.gone(Date.now()));
    this.#answer(new Response(null, { status: 499 }));
  }

  /**
   * The answer to an effect, unless it has one or was cancelled.
   * @param {number} effect
   * @param {Told} told
   */
  #tell(effect, told) {
    if (!this.#pending.delete(effect)) return;
    this.#times.off(effect);
    this.#enter(told);
  }

  /**
   * What a promise comes to is the answer to an effect.
   * @template T
   * @param {number} effect
   * @param {Promise<T>} promise
   * @param {(running: wasm.Running, value: T) => boolean} then
   */
  #when(effect, promise, then) {
    this.#pending.add(effect);
    promise.then(
      (value) => this.#tell(effect, (running) => then(running, value)),
      (error) => {
        const isRetryable = error?.retryable === true && !error.overloaded;
        this.#tell(effect, (running) => running.failed(Date.now(), effect, `${error}`, isRetryable));
      },
    );
  }

  /**
   * The same, or silence if it takes too long.
   * @template T
   * @param {number} ms
   * @param {number} effect
   * @param {Promise<T>} promise
   * @param {(running: wasm.Running, value: T) => boolean} then
   * @param {Told} silence
   */
  #within(ms, effect, promise, then, silence = (running) => running.nothing(Date.now(), effect)) {
    this.#times.after(ms, effect, () => this.#tell(effect, silence));
    this.#when(effect, promise, then);
  }

  /**
   * Bytes, which may go out as they came in; or none, which is the end.
   * @param {wasm.Running} running
   * @param {number} effect
   * @param {Uint8Array | undefined} bytes
   */
  #bytes(running, effect, bytes) {
    if (bytes === undefined) return running.nothing(Date.now(), effect);
    this.#last = bytes;
    return running.bytes(Date.now(), effect, bytes);
  }

  // What follows is called by the Wasm; src/cloudflare/platform.rs says what each does.

  wake() {
    if (this.#isWoken) return;
    this.#isWoken = true;
    queueMicrotask(() => {
      this.#isWoken = false;
      this.#enter((running) => running.poll(Date.now()));
    });
  }

  /** @param {number} effect */
  cancel(effect) {
    this.#pending.delete(effect);
    this.#times.off(effect);
    this.#riding.get(effect)?.();
    this.#fetched.get(effect)?.controller.abort();
    this.#fetched.delete(effect);
  }

  /**
   * @param {number} effect
   * @param {number} ms
   */
  sleep(effect, ms) {
    this.#pending.add(effect);
    this.#times.after(ms, effect, () => this.#tell(effect, (running) => running.nothing(Date.now(), effect)));
  }

  /**
   * @param {number} effect
   * @param {number} ms
   */
  body(effect, ms) {
    const bytes = /** @type {Request} */ (this.request).bytes();
    this.#within(ms, effect, bytes, (running, value) => this.#bytes(running, effect, value));
  }

  /**
   * @param {number} effect
   * @param {number} ms
   */
  piece(effect, ms) {
    this.#body ??= this.request?.body?.getReader();
    this.#within(
      ms,
      effect,
      next(this.#body),
      (running, { value }) => this.#bytes(running, effect, value),
      (running) => {
        this.#isStalled = true;
        return running.text(Date.now(), effect, 0, '');
      },
    );
  }

  /**
   * @param {number} effect
   * @param {string} account
   * @param {string} how
   * @param {string} text
   * @param {number} ms
   */
  command(effect, account, how, text, ms) {
    const rider = how === 'patient' ? ride(account, text) : undefined;
    const alone = () => say(this.env.ACCOUNTS, account, text, how);
    /** @type {(running: wasm.Running, answer: string) => boolean} */
    const said = (running, answer) => {
      const isFailure = answer.startsWith('!');
      return running.text(Date.now(), effect, isFailure ? 500 : 200, isFailure ? answer.slice(1) : answer);
    };
    if (rider === undefined) return this.#within(ms, effect, alone(), said);
    const end = () => {
      this.#riding.delete(effect);
      alight(rider);
    };
    this.#riding.set(effect, () => {
      end();
      if (rider.answer === undefined) this.context.waitUntil(alone().catch((error) => console.error('request:', error)));
    });
    const looks = [...LOOKS_MS];
    const look = () => {
      const { answer, isTaken } = rider;
      // Whoever takes it along is another request, on which nothing here may wait.
      const next = isTaken && answer === undefined ? looks.shift() : undefined;
      if (next !== undefined) return this.#times.after(next, effect, look);
      end();
      if (answer === undefined) this.#within(ms, effect, alone(), said);
      else this.#tell(effect, (running) => said(running, answer));
    };
    this.#pending.add(effect);
    this.#times.after(PATIENCE_MS, effect, look);
  }

  /**
   * Redirects are not followed: they would take the credential along.
   * @param {number} effect
   * @param {string} url
   * @param {string} headers
   * @param {Uint8Array} [body]
   */
  fetch(effect, url, headers, body) {
    const controller = new AbortController();
    /** @type {Fetched} */
    const fetched = { controller };
    this.#fetched.set(effect, fetched);
    const method = body === undefined ? 'GET' : 'POST';
    const asked = fetch(url, { method, headers: headersOf(headers), body, redirect: 'manual', signal: controller.signal });
    this.#when(effect, asked, (running, response) => {
      fetched.response = response;
      const read = READ.map((name) => (response.headers.get(name) ?? '') + END).join('');
      return running.text(Date.now(), effect, response.status, read);
    });
  }

  /**
   * @param {number} effect
   * @param {number} of
   */
  read(effect, of) {
    const fetched = this.#fetched.get(of);
    const piece = fetched?.ahead ?? next((fetched && (fetched.reader ??= fetched.response?.body?.getReader())));
    if (fetched !== undefined) [fetched.ahead, fetched.isRead, this.#source] = [undefined, true, of];
    this.#when(effect, piece, (running, { value }) => {
      if (fetched !== undefined) fetched.isRead = false;
      if (value === undefined) this.#fetched.delete(of);
      return this.#bytes(running, effect, value);
    });
  }

  /**
   * @param {number} effect
   * @param {number} of
   */
  readAll(effect, of) {
    const bytes = this.#fetched.get(of)?.response?.bytes() ?? Promise.resolve(new Uint8Array());
    this.#when(effect, bytes, (running, value) => {
      this.#fetched.delete(of);
      return this.#bytes(running, effect, value);
    });
  }

  /**
   * @param {number} status
   * @param {string} headers
   * @param {Uint8Array} body
   */
  reply(status, headers, body) {
    // Some statuses may have no body, not even an empty one.
    const response = new Response(body.length === 0 ? null : body.slice(), { status, headers: headersOf(headers) });
    const isAllRead = !this.request?.body || (this.request.bodyUsed && this.#body === undefined);
    if (isAllRead || this.#isStalled) this.#answer(response);
    else void dropRest(/** @type {Request} */ (this.request), this.#body).then(() => this.#answer(response));
  }

  /** @param {WebSocket} client */
  socket(client) {
    this.#answer(new Response(null, { status: 101, webSocket: client }));
  }

  /**
   * @param {number} status
   * @param {string} headers
   */
  stream(status, headers) {
    const stream = new ReadableStream(
      {
        start: (controller) => {
          this.#stream = controller;
        },
        pull: () =>
          new Promise((resolve) => {
            this.#pulled = resolve;
            this.#pull();
          }),
        cancel: () => {
          this.#stream = undefined;
          this.#gone();
        },
      },
      { highWaterMark: 0 },
    );
    this.#answer(new Response(stream, { status, headers: headersOf(headers) }));
  }

  /** The client reads on. With the next bytes of upstream at hand, this is a single call. */
  #pull() {
    const [of, fetched] = [this.#source, this.#fetched.get(this.#source)];
    const alone = () => this.#enter((running) => running.pull(Date.now()));
    if (fetched === undefined || fetched.isRead || fetched.ahead !== undefined) return alone();
    let isTold = false;
    this.#times.after(AHEAD_MS, 'ahead', () => {
      isTold = true;
      alone();
    });
    fetched.ahead = next(fetched.reader);
    /** @param {Piece} [piece] */
    const then = (piece) => {
      if (isTold) return;
      this.#times.off('ahead');
      const value = piece?.value;
      // An end or a failure is left to whoever asks for the piece.
      if (value === undefined || fetched.isRead) return alone();
      [fetched.ahead, this.#last] = [undefined, value];
      this.#enter((running) => running.pulled(Date.now(), of, value));
    };
    fetched.ahead.then(then, () => then());
  }

  /** @param {Uint8Array} bytes */
  chunk(bytes) {
    this.#enqueue(bytes.slice());
  }

  same() {
    this.#enqueue(this.#last ?? new Uint8Array());
  }

  /** @param {Uint8Array} bytes */
  #enqueue(bytes) {
    this.#stream?.enqueue(bytes);
    this.#pulled?.();
  }

  end() {
    this.#stream?.close();
    this.#stream = undefined;
    this.#pulled?.();
  }

  /** @param {string} what */
  broke(what) {
    this.#stream?.error(new Error(what));
    this.#stream = undefined;
    this.#pulled?.();
  }
}

/**
 * The next piece of a body; none if there is no body.
 * @param {Reader | undefined} reader
 * @returns {Promise<Piece>}
 */
async function next(reader) {
  return reader === undefined ? {} : reader.read();
}
