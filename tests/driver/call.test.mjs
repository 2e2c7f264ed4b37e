// One request on the platform's side: what each effect comes to, how it is cancelled, and that all ends whatever happens.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { END, die, trap, wasm } from './bindings.mjs';
import { Worker, logged, open, settled, stateOf } from './stage.mjs';

const encode = (text) => new TextEncoder().encode(text);
const decode = (bytes) => new TextDecoder().decode(bytes);

/** A request whose first turn in the Wasm is `begin`. */
function served(begin, { url = 'https://gateway/v1', ACCOUNTS, ...init } = {}) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  wasm.begin = (call, received) => begin(call, received);
  const waits = [];
  const worker = new Worker({ waitUntil: (promise) => waits.push(promise) }, { ACCOUNTS });
  const answered = worker.fetch(new Request(url, { duplex: 'half', ...init }));
  const { running } = wasm;
  return {
    answered,
    running,
    call: running.call,
    /** What it was told since. */
    told: async () => {
      await settled();
      return running.told.splice(0);
    },
    /** The Wasm's tasks are over after what it is told next. */
    finish: async () => {
      wasm.told = () => true;
      running.call.wake();
      await settled();
    },
    isOver: async () => (await stateOf(Promise.all(waits))) !== 'open',
  };
}

/** A body whose pieces come when the test says so. */
function pieces() {
  let controller;
  let cancelled;
  const stream = new ReadableStream({
    start: (its) => void (controller = its),
    cancel: (why) => void (cancelled = why),
  });
  return { stream, controller, isCancelled: () => cancelled !== undefined };
}

/** The platform's fetch: what was asked, and answers when the test says so. */
function upstream() {
  const asked = [];
  mock.method(globalThis, 'fetch', (url, init) => {
    const { promise, resolve, reject } = open();
    init.signal.addEventListener('abort', () => reject(init.signal.reason));
    asked.push({ url, init, resolve, reject });
    return promise;
  });
  return asked;
}

/** A served request with a fetch, number 1, that was answered with this response. */
async function fetched(response) {
  const asked = upstream();
  const all = served((call) => call.fetch(1, 'https://up/', ''));
  asked[0].resolve(response);
  const head = await all.told();
  return { ...all, head, signal: asked[0].init.signal };
}

/** A served request whose answer is a stream. */
async function streaming(more) {
  const all = served((call) => call.stream(200, ''), more);
  const response = await all.answered;
  return { ...all, response, reader: response.body.getReader() };
}

test('a request is handed over with its headers, and answered whole', async () => {
  let seen;
  const headers = { 'X-One': '1', accept: 'text/html' };
  const { answered, isOver, finish, running } = served((call, received) => {
    seen = received;
    call.reply(201, `x-two${END}2${END}`, encode('whole'));
  }, { headers });
  const response = await answered;
  assert.deepEqual([seen.method, seen.url, seen.headers], ['GET', 'https://gateway/v1', `accept${END}text/html${END}x-one${END}1${END}`]);
  assert.deepEqual([response.status, response.headers.get('x-two'), await response.text()], [201, '2', 'whole']);
  assert.equal(await isOver(), false);
  await finish();
  assert.equal(await isOver(), true);
  assert.ok(running.isFreed);
});

test('a request that is over at once leaves nothing to wait for', async () => {
  const { answered, isOver } = served((call) => {
    call.reply(204, '', new Uint8Array());
    return 'over';
  });
  const response = await answered;
  assert.deepEqual([response.status, response.body], [204, null]);
  assert.equal(await isOver(), true);
});

test('the bytes of a reply are copied out of the memory of the Wasm', async () => {
  const memory = encode('reply');
  const { answered } = served((call) => call.reply(200, '', memory));
  memory.fill(0);
  assert.equal(await (await answered).text(), 'reply');
});

test('a timer answers nothing, once, and not if it is cancelled', async () => {
  const { call, told } = served((call) => call.sleep(1, 100));
  call.sleep(2, 100);
  call.cancel(2);
  mock.timers.tick(99);
  assert.deepEqual(await told(), []);
  mock.timers.tick(1);
  assert.deepEqual(await told(), [['nothing', 1]]);
  mock.timers.tick(1_000);
  assert.deepEqual(await told(), []);
});

test('a body comes whole', async () => {
  const { told } = served((call) => call.body(1, 50), { method: 'POST', body: 'all of it' });
  const [[name, effect, bytes], ...rest] = await told();
  assert.deepEqual([name, effect, decode(bytes), rest], ['bytes', 1, 'all of it', []]);
});

test('a body that does not come in time is silence, and what comes later is not told', async () => {
  const { stream, controller } = pieces();
  const { told } = served((call) => call.body(1, 50), { method: 'POST', body: stream });
  mock.timers.tick(50);
  assert.deepEqual(await told(), [['nothing', 1]]);
  controller.enqueue(encode('late'));
  controller.close();
  assert.deepEqual(await told(), []);
});

test('a body that breaks is a failure', async () => {
  const { stream, controller } = pieces();
  const { told } = served((call) => call.body(1, 50), { method: 'POST', body: stream });
  controller.error(new Error('reset'));
  const [[name, effect, , isRetryable]] = await told();
  assert.deepEqual([name, effect, isRetryable], ['failed', 1, false]);
});

test('a body is read in pieces up to its end', async () => {
  const { stream, controller } = pieces();
  const { call, told } = served((call) => call.piece(1, 50), { method: 'POST', body: stream });
  for (const [effect, text] of [[1, 'one'], [2, 'two']]) {
    controller.enqueue(encode(text));
    const [[name, number, bytes]] = await told();
    assert.deepEqual([name, number, decode(bytes)], ['bytes', effect, text]);
    call.piece(effect + 1, 50);
  }
  controller.close();
  assert.deepEqual(await told(), [['nothing', 3]]);
  mock.timers.tick(1_000);
  assert.deepEqual(await told(), []);
});

test('a piece that does not come in time is an empty text', async () => {
  const { told } = served((call) => call.piece(1, 50), { method: 'POST', body: pieces().stream });
  mock.timers.tick(50);
  assert.deepEqual(await told(), [['text', 1, 0, '']]);
});

test('what a client still sends is read to its end before it is answered', async () => {
  const { stream, controller } = pieces();
  const { call, told, answered } = served((call) => call.piece(1, 50), { method: 'POST', body: stream });
  controller.enqueue(encode('one'));
  await told();
  call.reply(413, '', encode('too large'));
  controller.enqueue(encode('two'));
  assert.equal(await stateOf(answered), 'open');
  controller.close();
  assert.equal((await answered).status, 413);
  assert.equal(stream.locked, true);
});

test('a body of which nothing was read is read to its end as well', async () => {
  const { stream, controller } = pieces();
  const { answered } = served((call) => {
    call.reply(401, '', encode('who?'));
    return 'over';
  }, { method: 'POST', body: stream });
  controller.enqueue(encode('one'));
  assert.equal(await stateOf(answered), 'open');
  controller.close();
  assert.equal(await (await answered).text(), 'who?');
});

test('nobody who sends slowly, for ever, or announces too much is waited for', async () => {
  const refuse = (more) => {
    const { stream, controller } = pieces();
    return { controller, ...served((call) => call.reply(401, '', encode('who?')), { method: 'POST', body: stream, ...more }) };
  };
  const silent = refuse();
  mock.timers.tick(499);
  assert.equal(await stateOf(silent.answered), 'open');
  mock.timers.tick(1);
  assert.equal((await silent.answered).status, 401);
  mock.timers.reset();
  const slow = refuse();
  for (let ms = 0; ms < 5_000; ms += 400) {
    assert.equal(await stateOf(slow.answered), 'open');
    mock.timers.tick(400);
    slow.controller.enqueue(encode('more'));
  }
  assert.equal((await slow.answered).status, 401);
  mock.timers.reset();
  const huge = refuse({ headers: { 'content-length': `${64 * 1024 * 1024 + 1}` } });
  assert.equal((await huge.answered).status, 401);
  mock.timers.reset();
  const endless = refuse();
  for (let sent = 0; sent < 64; sent++) endless.controller.enqueue(new Uint8Array(1024 * 1024));
  assert.equal((await endless.answered).status, 401);
  mock.timers.reset();
  const broken = refuse();
  broken.controller.error(new Error('reset'));
  assert.equal((await broken.answered).status, 401);
});

test('a client whose body stalled is told at once', async () => {
  const { call, told, answered } = served((call) => call.piece(1, 50), { method: 'POST', body: pieces().stream });
  mock.timers.tick(50);
  await told();
  call.reply(408, '', encode('stalled'));
  assert.equal((await answered).status, 408);
});

test('the first piece of no body is its end', async () => {
  const { told } = served((call) => call.piece(1, 50));
  assert.deepEqual(await told(), [['nothing', 1]]);
});

test('a command is said to its account, and what fails there is no answer', async () => {
  const said = [];
  for (const [answer, expected] of [['"Done"', ['text', 1, 200, '"Done"']], ['!failed', ['text', 1, 500, 'failed']]]) {
    const command = async (...what) => {
      said.push(what);
      return answer;
    };
    const ACCOUNTS = { getByName: (name) => ({ command: (...what) => command(name, ...what) }) };
    const { told } = served((call) => call.command(1, 'alice', 'command', '{}', 50), { ACCOUNTS });
    assert.deepEqual(await told(), [expected]);
    mock.timers.reset();
  }
  assert.deepEqual(said, [['alice', '{}', 'command'], ['alice', '{}', 'command']]);
});

test('an account object of an earlier version is asked as it knows it', async () => {
  for (const [status, text] of [[200, '"Done"'], [500, 'failed']]) {
    const posted = [];
    const older = {
      command: async () => {
        throw new TypeError('The RPC receiver does not implement the method "command".');
      },
      fetch: async (url, { method, body }) => {
        posted.push([url, method, body]);
        return new Response(text, { status });
      },
    };
    const { told } = served((call) => call.command(1, 'alice', 'command', '{}', 50), { ACCOUNTS: { getByName: () => older } });
    assert.deepEqual(await told(), [['text', 1, status, text]]);
    assert.deepEqual(posted, [['https://account/command', 'POST', '{}']]);
    mock.timers.reset();
  }
});

test('an account that is silent, fails, or does not exist', async () => {
  const error = (more) => Object.assign(new Error('moved'), more);
  const cases = [
    [() => new Promise(() => {}), ['nothing', 1]],
    [async () => { throw error({ retryable: true }); }, ['failed', 1, 'Error: moved', true]],
    [async () => { throw error({ retryable: true, overloaded: true }); }, ['failed', 1, 'Error: moved', false]],
    [async () => { throw error({}); }, ['failed', 1, 'Error: moved', false]],
    [async () => { throw undefined; }, ['failed', 1, 'undefined', false]],
  ];
  for (const [command, expected] of cases) {
    const { told } = served((call) => call.command(1, 'a', 'command', '', 50), { ACCOUNTS: { getByName: () => ({ command }) } });
    await settled();
    mock.timers.tick(50);
    assert.deepEqual(await told(), [expected]);
    mock.timers.reset();
  }
  const getByName = () => { throw error({}); };
  const { told } = served((call) => call.command(1, 'a', 'command', '', 50), { ACCOUNTS: { getByName } });
  assert.deepEqual(await told(), [['failed', 1, 'Error: moved', false]]);
});

test('an effect that was cancelled is never answered', async () => {
  const answer = open();
  const ACCOUNTS = { getByName: () => ({ command: () => answer.promise }) };
  const body = pieces();
  const { call, told } = served((call) => call.command(1, 'a', 'command', '', 50), { ACCOUNTS, method: 'POST', body: body.stream });
  call.piece(2, 50);
  call.cancel(1);
  call.cancel(2);
  answer.resolve('late');
  body.controller.enqueue(encode('late'));
  mock.timers.tick(1_000);
  assert.deepEqual(await told(), []);
  // Nor is it an error to cancel what there is not.
  call.cancel(1);
  call.cancel(77);
});

test('a fetch without a body is a get, with one a post; redirects are not followed', async () => {
  const asked = upstream();
  const { call } = served((call) => call.fetch(1, 'https://up/models', `authorization${END}Bearer x${END}`));
  call.fetch(2, 'https://up/chat', '', encode('{}'));
  const [get, post] = asked.map(({ url, init }) => [url, init.method, [...init.headers], init.redirect, init.body && decode(init.body)]);
  assert.deepEqual(get, ['https://up/models', 'GET', [['authorization', 'Bearer x']], 'manual', undefined]);
  assert.deepEqual(post, ['https://up/chat', 'POST', [], 'manual', '{}']);
});

test('a fetch answers its status and what is read of its headers, and then its pieces', async () => {
  const { stream, controller } = pieces();
  const headers = { 'retry-after': '7', 'content-type': 'text/plain', 'x-else': 'no' };
  const { head, call, told, signal, finish } = await fetched(new Response(stream, { status: 429, headers }));
  assert.deepEqual(head, [['text', 1, 429, `7${END}${END}text/plain${END}${END}`]]);
  call.read(2, 1);
  assert.deepEqual(await told(), []);
  controller.enqueue(encode('one'));
  const [[name, effect, bytes]] = await told();
  assert.deepEqual([name, effect, decode(bytes)], ['bytes', 2, 'one']);
  call.read(3, 1);
  controller.close();
  assert.deepEqual(await told(), [['nothing', 3]]);
  call.read(4, 1);
  assert.deepEqual(await told(), [['nothing', 4]]);
  await finish();
  assert.equal(signal.aborted, false);
});

test('all that is left of a fetch comes at once', async () => {
  const { call, told, signal, finish } = await fetched(new Response('everything'));
  call.readAll(2, 1);
  const [[name, effect, bytes]] = await told();
  assert.deepEqual([name, effect, decode(bytes)], ['bytes', 2, 'everything']);
  call.readAll(3, 1);
  assert.deepEqual(await told(), [['bytes', 3, new Uint8Array()]]);
  await finish();
  assert.equal(signal.aborted, false);
});

test('there is nothing to read of an answer without a body, or of none', async () => {
  const { call, told } = await fetched(new Response(null, { status: 204 }));
  call.read(2, 1);
  call.read(3, 99);
  assert.deepEqual(await told(), [['nothing', 2], ['nothing', 3]]);
});

test('a fetch that is cancelled is aborted: before its head, and in its body', async () => {
  const asked = upstream();
  const before = served((call) => call.fetch(1, 'https://up/', ''));
  before.call.cancel(1);
  assert.equal(asked[0].init.signal.aborted, true);
  assert.deepEqual(await before.told(), []);
  mock.timers.reset();
  const { call, told, signal } = await fetched(new Response(pieces().stream));
  call.read(2, 1);
  call.cancel(2);
  call.cancel(1);
  assert.equal(signal.aborted, true);
  assert.deepEqual(await told(), []);
});

test('a fetch that fails, and a body that breaks, are failures', async () => {
  const asked = upstream();
  const { told } = served((call) => call.fetch(1, 'https://up/', ''));
  asked[0].reject(new Error('refused'));
  assert.deepEqual(await told(), [['failed', 1, 'Error: refused', false]]);
  mock.timers.reset();
  const { stream, controller } = pieces();
  const broken = await fetched(new Response(stream));
  broken.call.read(2, 1);
  controller.error(new Error('reset'));
  assert.deepEqual(await broken.told(), [['failed', 2, 'Error: reset', false]]);
});

test('what is still under way at the end is cancelled, and nothing is told any more', async () => {
  const { call, told, signal, finish, running } = await fetched(new Response(pieces().stream));
  call.sleep(2, 10);
  call.read(3, 1);
  await finish();
  running.told.length = 0;
  assert.equal(signal.aborted, true);
  mock.timers.tick(1_000);
  call.wake();
  assert.deepEqual(await told(), []);
});

test('waking is one call for all in a turn', async () => {
  const { call, told } = served(() => {});
  call.wake();
  call.wake();
  assert.deepEqual(await told(), [['poll']]);
  call.wake();
  assert.deepEqual(await told(), [['poll']]);
});

test('waking in the first turn is told after it', async () => {
  const { told } = served((call) => call.wake());
  assert.deepEqual(await told(), [['poll']]);
});

test('each pull of a stream is one chunk, and none is asked for before', async () => {
  const { call, reader, response, told, isOver, finish } = await streaming();
  assert.equal(response.status, 200);
  assert.deepEqual(await told(), []);
  const memory = encode('one');
  const read = reader.read();
  assert.deepEqual(await told(), [['pull']]);
  call.chunk(memory);
  memory.fill(0);
  assert.equal(decode((await read).value), 'one');
  assert.deepEqual(await told(), []);
  const last = reader.read();
  assert.deepEqual(await told(), [['pull']]);
  call.end();
  assert.deepEqual(await last, { done: true, value: undefined });
  assert.equal(await isOver(), false);
  await finish();
  assert.equal(await isOver(), true);
});

test('two reads that wait are two pulls', async () => {
  const { call, reader, told } = await streaming();
  const reads = [reader.read(), reader.read()];
  assert.deepEqual(await told(), [['pull']]);
  call.chunk(encode('one'));
  assert.deepEqual(await told(), [['pull']]);
  call.chunk(encode('two'));
  assert.deepEqual((await Promise.all(reads)).map(({ value }) => decode(value)), ['one', 'two']);
});

/** A stream whose pieces are those of fetch 1, the first of which was read. */
async function piped() {
  const asked = upstream();
  const all = await streaming();
  all.call.fetch(1, 'https://up/', '');
  const { stream, controller } = pieces();
  asked[0].resolve({ status: 200, headers: new Headers(), body: stream });
  await all.told();
  all.call.read(2, 1);
  const send = (text) => controller.enqueue(encode(text));
  send('one');
  await all.told();
  return { ...all, send, controller, signal: asked[0].init.signal };
}

test('a pull is told together with the next bytes of upstream', async () => {
  const { call, reader, told, send } = await piped();
  for (const text of ['two', 'three']) {
    const read = reader.read();
    assert.deepEqual(await told(), []);
    send(text);
    const [[name, of, bytes], ...rest] = await told();
    assert.deepEqual([name, of, decode(bytes), rest], ['pulled', 1, text, []]);
    call.same();
    assert.equal(decode((await read).value), text);
  }
  mock.timers.tick(1_000);
  assert.deepEqual(await told(), []);
});

test('a pull for which nothing comes is told alone, and what comes later goes to whoever asks for it', async () => {
  const { call, reader, told, send, controller } = await piped();
  const read = reader.read();
  await told();
  mock.timers.tick(50);
  assert.deepEqual(await told(), [['pull']]);
  call.read(3, 1);
  send('late');
  const [[name, effect, bytes]] = await told();
  assert.deepEqual([name, effect, decode(bytes)], ['bytes', 3, 'late']);
  call.same();
  assert.equal(decode((await read).value), 'late');
  // Nothing that was read ahead is lost when the stream goes on with something else.
  void reader.read();
  await told();
  mock.timers.tick(50);
  assert.deepEqual(await told(), [['pull']]);
  call.chunk(encode('a sign'));
  void reader.read();
  assert.deepEqual(await told(), [['pull']]);
  send('kept');
  assert.deepEqual(await told(), []);
  call.read(4, 1);
  const [[, , kept]] = await told();
  assert.equal(decode(kept), 'kept');
  controller.close();
  call.read(5, 1);
  assert.deepEqual(await told(), [['nothing', 5]]);
});

test('a pull while a piece is being read is told alone', async () => {
  const { call, reader, told, send } = await piped();
  call.read(3, 1);
  void reader.read();
  assert.deepEqual(await told(), [['pull']]);
  send('two');
  const [[name, effect]] = await told();
  assert.deepEqual([name, effect], ['bytes', 3]);
});

test('an end or a failure that was read ahead is told to whoever asks', async () => {
  for (const [finish, expected] of [
    [(controller) => controller.close(), ['nothing', 3]],
    [(controller) => controller.error(new Error('reset')), ['failed', 3, 'Error: reset', false]],
  ]) {
    const { call, reader, told, controller } = await piped();
    void reader.read().catch(() => {});
    await told();
    finish(controller);
    assert.deepEqual(await told(), [['pull']]);
    call.read(3, 1);
    assert.deepEqual(await told(), [expected]);
    mock.timers.tick(1_000);
    assert.deepEqual(await told(), []);
    mock.timers.reset();
    mock.restoreAll();
  }
});

test('a client that leaves while a piece is read ahead loses none for who goes on reading', async () => {
  const { call, reader, told, send } = await piped();
  void reader.read();
  await told();
  await reader.cancel();
  assert.deepEqual(await told(), [['gone']]);
  call.read(3, 1);
  send('two');
  const answers = await told();
  const pieces = answers.filter(([name]) => name === 'bytes' || name === 'pulled');
  assert.deepEqual(pieces.map(([name, effect, bytes]) => [name, effect, decode(bytes)]), [['bytes', 3, 'two']]);
});

test('what goes out as it came in is the same array', async () => {
  const asked = upstream();
  const { call, reader, told } = await streaming();
  call.fetch(1, 'https://up/', '');
  const { stream, controller } = pieces();
  asked[0].resolve({ status: 200, headers: new Headers(), body: stream });
  await told();
  const bytes = encode('same');
  controller.enqueue(bytes);
  call.read(2, 1);
  await told();
  // The end of what is read does not change what was read.
  controller.close();
  call.read(3, 1);
  await told();
  const read = reader.read();
  call.same();
  assert.equal((await read).value, bytes);
});

test('what goes out as it came in may have come whole, or from the client', async () => {
  const { call, reader, told } = await streaming({ method: 'POST', body: 'from the client' });
  call.body(1, 50);
  await told();
  const read = reader.read();
  call.same();
  assert.equal(decode((await read).value), 'from the client');
  const asked = upstream();
  call.fetch(2, 'https://up/', '');
  asked[0].resolve(new Response('whole'));
  await told();
  call.readAll(3, 2);
  await told();
  const next = reader.read();
  call.same();
  assert.equal(decode((await next).value), 'whole');
});

test('what came of an effect that was cancelled does not go out', async () => {
  const { stream, controller } = pieces();
  const { call, reader, told } = await streaming({ method: 'POST', body: stream });
  call.piece(1, 50);
  controller.enqueue(encode('told'));
  await told();
  call.piece(2, 50);
  call.cancel(2);
  controller.enqueue(encode('not told'));
  await told();
  const read = reader.read();
  call.same();
  assert.equal(decode((await read).value), 'told');
});

test('a stream goes on if nothing came in that could go out', async () => {
  const { call, reader } = await streaming();
  const read = reader.read();
  call.same();
  assert.deepEqual(await read, { done: false, value: new Uint8Array() });
});

test('a stream that broke is an error for its reader', async () => {
  const { call, reader } = await streaming();
  const read = reader.read();
  call.broke('upstream left');
  await assert.rejects(read, /upstream left/);
  // Whatever comes after it changes nothing.
  call.chunk(encode('late'));
  call.end();
});

test('a stream that nobody goes on with is an error for its reader', async () => {
  const { reader, finish, isOver } = await streaming();
  const failed = assert.rejects(reader.read(), /nobody goes on/);
  await finish();
  await failed;
  assert.equal(await isOver(), true);
});

test('a client that leaves before the answer is told once, and answered 499', async () => {
  const client = new AbortController();
  const { answered, told, finish, isOver } = served(() => {}, { signal: client.signal });
  client.abort();
  assert.equal((await answered).status, 499);
  assert.deepEqual(await told(), [['gone']]);
  assert.equal(await isOver(), false);
  await finish();
  assert.equal(await isOver(), true);
});

test('a client that had left before the request began is told too', async () => {
  const { answered, told } = served(() => {}, { signal: AbortSignal.abort() });
  assert.equal(await stateOf(answered.then(({ status }) => status)), 499);
  assert.deepEqual(await told(), [['gone']]);
});

test('a client that leaves during a stream is told once', async () => {
  const client = new AbortController();
  const { reader, call, told, finish, isOver } = await streaming({ signal: client.signal });
  await reader.cancel();
  client.abort();
  assert.deepEqual(await told(), [['gone']]);
  call.chunk(encode('late'));
  call.end();
  await finish();
  assert.equal(await isOver(), true);
});

test('a trap in the first turn is answered 503 and leaves nothing to wait for', async () => {
  const { answered, isOver } = served(() => trap());
  const response = await answered;
  assert.deepEqual([response.status, await response.text()], [503, 'the last resort']);
  assert.deepEqual(
    ['content-type', 'cache-control', 'retry-after', 'x-content-type-options', 'strict-transport-security'].map((name) => response.headers.get(name)),
    ['application/json', 'no-store', '2', 'nosniff', 'max-age=31536000'],
  );
  assert.equal(await isOver(), true);
  assert.ok(logged.some((line) => line.includes('unreachable')));
});

test('without TLS nobody is told to use it only', async () => {
  const { answered } = served(() => trap(), { url: 'http://localhost/v1' });
  assert.equal((await answered).headers.get('strict-transport-security'), null);
});

test('a trap in the middle is answered 503, cancels what is under way and ends the wait', async () => {
  const { answered, call, isOver, signal, told, running } = await fetched(new Response(pieces().stream));
  call.sleep(2, 10);
  wasm.told = () => trap();
  call.wake();
  assert.equal((await answered).status, 503);
  assert.equal(signal.aborted, true);
  assert.equal(await isOver(), true);
  await told();
  mock.timers.tick(1_000);
  assert.deepEqual(await told(), []);
  assert.equal(running.isFreed, false);
});

test('a trap in a stream is an error for its reader', async () => {
  const { reader, isOver } = await streaming();
  wasm.told = () => trap();
  await assert.rejects(reader.read(), /the gateway failed/);
  assert.equal(await isOver(), true);
});

test('a trap when the client leaves ends the wait', async () => {
  const { reader, isOver } = await streaming();
  wasm.told = () => trap();
  await reader.cancel();
  assert.equal(await isOver(), true);
});

test('if the Wasm cannot begin again, all the same ends', async () => {
  const { answered, call, isOver } = served((call) => call.sleep(1, 10));
  wasm.canStart = false;
  call.wake();
  assert.equal((await answered).status, 503);
  assert.equal(await isOver(), true);
  mock.timers.reset();
  wasm.canStart = true;
  const never = served(() => {
    wasm.canStart = false;
    trap();
  });
  assert.equal((await never.answered).status, 503);
});

test('a request of an instance that ended is answered 503 and never called again', async () => {
  const { answered, call, isOver, told } = served((call) => call.sleep(1, 10));
  die();
  mock.timers.tick(10);
  assert.equal((await answered).status, 503);
  assert.equal(await isOver(), true);
  assert.deepEqual(await told(), []);
  call.wake();
  assert.deepEqual(await told(), []);
});

test('a reply that the platform does not take is answered 503', async () => {
  const { answered, isOver } = served((call) => call.reply(200, `x-bad${END}a\nb${END}`, encode('x')));
  assert.equal((await answered).status, 503);
  assert.equal(await isOver(), true);
});

test('a run of the cron resolves at its end', async () => {
  const waits = [];
  const worker = new Worker({ waitUntil: (promise) => waits.push(promise) }, {});
  const done = worker.scheduled();
  assert.equal(await stateOf(done), 'open');
  wasm.told = () => true;
  wasm.running.call.wake();
  assert.equal(await stateOf(Promise.all([done, ...waits]).then(() => 'over')), 'over');
});

test('a run of the cron that is over at once, or ends in a trap, resolves', async () => {
  const worker = new Worker({ waitUntil: () => {} }, {});
  for (const begin of [() => 'over', () => trap()]) {
    wasm.begin = begin;
    assert.notEqual(await stateOf(worker.scheduled()), 'open');
  }
  wasm.begin = () => {};
  const done = worker.scheduled();
  wasm.told = () => trap();
  wasm.running.call.wake();
  assert.notEqual(await stateOf(done), 'open');
});
