// One request, or one run of the cron, on the platform's side: its effects begin here, and what comes of them goes to the Wasm.
import * as wasm from 'bindings';
import { instance } from './instance.mjs';

/** Ends each text in what crosses between here and the Wasm. */
const END = '\x1e';
const READ = ['retry-after', 'retry-after-ms', 'content-type', 'content-length'];
const SILENT = Symbol('silent');

/**
 * @typedef {{ cancel: () => void, response?: Response, reader?: ReadableStreamDefaultReader<Uint8Array> }} Pending
 * @typedef {{ ACCOUNTS: DurableObjectNamespace }} Env
 */

export class Call {
  /** @type {wasm.Running | undefined} */
  #running;
  #instance = 0;
  /** @type {Map<number, Pending>} What can be cancelled, by the number of its effect. */
  #pending = new Map();
  /** @type {(response: Response) => void} */
  #answer = () => {};
  /** @type {() => void} */
  #end = () => {};
  #isOver = false;
  #isWoken = false;
  /** @type {Uint8Array | undefined} What was read last. */
  #last;
  /** @type {ReadableStreamDefaultController<Uint8Array> | undefined} */
  #stream;
  /** @type {(() => void) | undefined} */
  #pulled;
  /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
  #body;

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
    });
  }

  /** Resolves when all is done. */
  done() {
    this.#begin(() => wasm.beginMinute(this, this.env));
    return this.#whenOver();
  }

  /** @param {() => wasm.Running | undefined} begin */
  #begin(begin) {
    try {
      this.#instance = instance();
      this.#running = begin();
      if (this.#running === undefined) this.#over();
      else this.context.waitUntil(this.#whenOver());
    } catch (error) {
      this.#broken(error);
    }
  }

  /** @returns {Promise<void>} */
  #whenOver() {
    return this.#isOver ? Promise.resolve() : new Promise((resolve) => {
      const before = this.#end;
      this.#end = () => (before(), resolve());
    });
  }

  /**
   * Every way into the Wasm; true is the last one.
   * @param {(running: wasm.Running) => boolean} call
   */
  #enter(call) {
    if (this.#running === undefined) return;
    try {
      if (this.#instance !== instance()) throw new Error('the Wasm that served this ended with another request');
      if (call(this.#running)) this.#over();
    } catch (error) {
      this.#broken(error);
    }
  }

  #over() {
    if (this.#instance === instance()) this.#running?.free();
    this.#running = undefined;
    this.#isOver = true;
    this.#end();
  }

  /**
   * The Wasm ended in the middle of a call, this one's or another's: its memory is gone.
   * @param {unknown} error
   */
  #broken(error) {
    console.error('request:', error);
    this.#running = undefined;
    for (const { cancel } of this.#pending.values()) cancel();
    this.#pending.clear();
    if (this.#stream !== undefined) this.broke('the gateway failed');
    this.#answer(this.#failure());
    this.#over();
  }

  #failure() {
    const headers = new Headers({
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'retry-after': '2',
      'x-content-type-options': 'nosniff',
    });
    if (this.request?.url.startsWith('https://')) headers.set('strict-transport-security', 'max-age=31536000');
    return new Response(wasm.failureBody(), { status: 503, headers });
  }

  #gone() {
    this.#enter((running) => running.gone(Date.now()));
    this.#answer(new Response(null, { status: 499 }));
  }

  /**
   * What a promise comes to is the answer to an effect.
   * @template T
   * @param {number} effect
   * @param {Promise<T>} promise
   * @param {(running: wasm.Running, value: T) => boolean} then
   */
  #when(effect, promise, then) {
    promise.then(
      (value) => this.#enter((running) => then(running, value)),
      (error) => this.#enter((running) => running.failed(Date.now(), effect, `${error}`, error?.retryable === true && !error.overloaded)),
    );
  }

  /**
   * @param {number} effect
   * @param {Uint8Array | undefined} bytes
   */
  #read(effect, bytes) {
    // What was held back until the end may still go out as it came in.
    this.#last = bytes ?? this.#last;
    this.#enter((running) => (bytes === undefined ? running.nothing(Date.now(), effect) : running.bytes(Date.now(), effect, bytes)));
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
    this.#pending.get(effect)?.cancel();
    this.#pending.delete(effect);
  }

  /**
   * @param {number} effect
   * @param {number} ms
   */
  sleep(effect, ms) {
    const timer = setTimeout(() => {
      this.#pending.delete(effect);
      this.#enter((running) => running.nothing(Date.now(), effect));
    }, ms);
    this.#pending.set(effect, { cancel: () => clearTimeout(timer) });
  }

  /**
   * @param {number} effect
   * @param {number} ms
   */
  body(effect, ms) {
    const bytes = /** @type {Request} */ (this.request).bytes();
    this.#when(effect, within(ms, bytes), (running, value) =>
      value === SILENT ? running.nothing(Date.now(), effect) : running.bytes(Date.now(), effect, value),
    );
  }

  /**
   * @param {number} effect
   * @param {number} ms
   */
  piece(effect, ms) {
    this.#body ??= this.request?.body?.getReader();
    /** @type {Promise<{ value?: Uint8Array }>} */
    const piece = this.#body?.read() ?? Promise.resolve({});
    this.#when(effect, within(ms, piece), (running, value) => {
      if (value === SILENT) return running.text(Date.now(), effect, 0, '');
      return value.value === undefined ? running.nothing(Date.now(), effect) : running.bytes(Date.now(), effect, value.value);
    });
  }

  /**
   * @param {number} effect
   * @param {string} account
   * @param {string} path
   * @param {string} text
   * @param {number} ms
   */
  command(effect, account, path, text, ms) {
    const answered = post(this.env.ACCOUNTS.getByName(account), path, text);
    this.#when(effect, within(ms, answered), (running, value) =>
      value === SILENT ? running.nothing(Date.now(), effect) : running.text(Date.now(), effect, value.status, value.text),
    );
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
    /** @type {Pending} */
    const pending = { cancel: () => controller.abort() };
    this.#pending.set(effect, pending);
    const method = body === undefined ? 'GET' : 'POST';
    const asked = fetch(url, { method, headers: pairs(headers), body, redirect: 'manual', signal: controller.signal });
    this.#when(effect, asked, (running, response) => {
      pending.response = response;
      const read = READ.map((name) => (response.headers.get(name) ?? '') + END).join('');
      return running.text(Date.now(), effect, response.status, read);
    });
  }

  /**
   * @param {number} effect
   * @param {number} of
   */
  read(effect, of) {
    const pending = this.#pending.get(of);
    if (pending === undefined) return this.#later(effect);
    pending.reader ??= pending.response?.body?.getReader();
    if (pending.reader === undefined) return this.#later(effect);
    pending.reader.read().then(
      ({ value }) => {
        if (value === undefined) this.#pending.delete(of);
        this.#read(effect, value);
      },
      (error) => this.#enter((running) => running.failed(Date.now(), effect, `${error}`, false)),
    );
  }

  /**
   * There is nothing to read, which is told as everything else is: after this call.
   * @param {number} effect
   */
  #later(effect) {
    queueMicrotask(() => this.#read(effect, undefined));
  }

  /**
   * @param {number} effect
   * @param {number} of
   */
  readAll(effect, of) {
    const bytes = this.#pending.get(of)?.response?.bytes() ?? Promise.resolve(new Uint8Array());
    this.#when(effect, bytes, (running, value) => {
      this.#pending.delete(of);
      return running.bytes(Date.now(), effect, value);
    });
  }

  /**
   * @param {number} status
   * @param {string} headers
   * @param {Uint8Array} body
   */
  reply(status, headers, body) {
    // Some statuses may have no body, not even an empty one.
    this.#answer(new Response(body.length === 0 ? null : body.slice(), { status, headers: pairs(headers) }));
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
            this.#enter((running) => running.pull(Date.now()));
          }),
        cancel: () => {
          this.#stream = undefined;
          this.#gone();
        },
      },
      { highWaterMark: 0 },
    );
    this.#answer(new Response(stream, { status, headers: pairs(headers) }));
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
 * @param {DurableObjectStub} stub
 * @param {string} path
 * @param {string} text
 */
async function post(stub, path, text) {
  const response = await stub.fetch(path, { method: 'POST', body: text });
  return { status: response.status, text: await response.text() };
}

/**
 * @template T
 * @param {number} ms
 * @param {Promise<T>} promise
 * @returns {Promise<T | typeof SILENT>}
 */
function within(ms, promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(SILENT), ms);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/**
 * @param {string} texts names and values in turn
 * @returns {[string, string][]}
 */
function pairs(texts) {
  const parts = texts.split(END);
  /** @type {[string, string][]} */
  const pairs = [];
  for (let at = 0; at + 1 < parts.length; at += 2) pairs.push([parts[at], parts[at + 1]]);
  return pairs;
}
