// What is said to account objects: who rides along with whom, and that each hears what came of it.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { END, die, wasm } from './bindings.mjs';
import { Worker, open, settled } from './stage.mjs';

/** A request that begins like this; what it is told. */
function begun(ACCOUNTS, begin, waits = []) {
  wasm.begin = begin;
  void new Worker({ waitUntil: (promise) => waits.push(promise) }, { ACCOUNTS }).fetch(new Request('https://gateway.test/'));
  return wasm.running.told;
}

/** Requests of one isolate, over account objects that write down what they are told. */
function isolate(answer = async (texts) => texts.map((text) => `did ${text}`)) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const said = [];
  const ACCOUNTS = {
    getByName: (name) => ({
      command: async (text, how) => {
        said.push([name, how, text]);
        return (await answer([text], said.length))[0];
      },
      commands: async (texts) => {
        said.push([name, 'together', ...texts.split(END)]);
        return (await answer(texts.split(END), said.length)).join(END);
      },
    }),
  };
  let number = 0;
  /** A request that says one thing to an account; what it hears of it. */
  const request = (how, text, account = 'alice') => {
    const effect = (number += 1);
    const told = begun(ACCOUNTS, (call) => call.command(effect, account, how, text, 10_000));
    return () => told.map(([what, of, ...rest]) => (assert.equal(of, effect), [what, ...rest].join(' ')));
  };
  return { said, request };
}

const after = async (ms) => {
  mock.timers.tick(ms);
  await settled();
};

test('what may wait goes with the next to the same account, before it, and each hears its own answer', async () => {
  const { said, request } = isolate();
  const [settled1, settled2, other] = [request('patient', 'one'), request('patient', 'two'), request('patient', 'bob', 'bob')];
  const hold = request('command', 'hold');
  await settled();
  assert.deepEqual(said, [['alice', 'together', 'one', 'two', 'hold']]);
  assert.deepEqual(hold(), ['text 200 did hold']);
  await after(4);
  assert.deepEqual([settled1(), settled2(), other()], [['text 200 did one'], ['text 200 did two'], ['text 200 did bob']]);
  assert.deepEqual(said.slice(1), [['bob', 'patient', 'bob']]);
});

test('nobody comes: it goes by itself after 4 ms, and takes others along', async () => {
  const { said, request } = isolate();
  const one = request('patient', 'one');
  await after(2);
  const two = request('patient', 'two');
  await after(1);
  assert.deepEqual(said, []);
  await after(1);
  assert.deepEqual(said, [['alice', 'together', 'two', 'one']]);
  assert.deepEqual(one(), ['text 200 did one']);
  await after(2);
  assert.deepEqual(two(), ['text 200 did two']);
  await after(1_000);
  assert.equal(said.length, 1);
});

test('a failure of the one is told as one, and the others go by themselves', async () => {
  const { said, request } = isolate(async (texts, times) => {
    if (times === 1) throw Object.assign(new Error('moved'), { retryable: true });
    return texts.map((text) => (text === 'one' ? '!failed' : `did ${text}`));
  });
  const [one, two, hold] = [request('patient', 'one'), request('patient', 'two'), request('command', 'hold')];
  await settled();
  assert.deepEqual(hold(), ['failed Error: moved true']);
  await after(4);
  assert.deepEqual(said.slice(1), [['alice', 'patient', 'one'], ['alice', 'patient', 'two']]);
  assert.deepEqual([one(), two()], [['text 500 failed'], ['text 200 did two']]);
});

test('whoever was taken along and hears nothing goes by itself after all', async () => {
  const { said, request } = isolate(async (texts, times) => (times === 1 ? open().promise : texts.map((text) => `did ${text}`)));
  const one = request('patient', 'one');
  request('command', 'hold');
  await after(4);
  await after(20);
  assert.deepEqual([said.length, one()], [1, []]);
  await after(200);
  await after(999);
  assert.deepEqual([said.length, one()], [1, []]);
  await after(1);
  assert.deepEqual(said[1], ['alice', 'patient', 'one']);
  assert.deepEqual(one(), ['text 200 did one']);
});

test('an answer that comes late is heard at the next look, and once', async () => {
  const first = open();
  const { said, request } = isolate(() => first.promise);
  const one = request('patient', 'one');
  request('command', 'hold');
  await after(4);
  first.resolve(['did one', 'did hold']);
  await settled();
  assert.deepEqual(one(), []);
  await after(20);
  assert.deepEqual(one(), ['text 200 did one']);
  await after(1_000);
  assert.deepEqual([said.length, one().length], [1, 1]);
});

test('an object of an earlier version is told one by one', async () => {
  const said = [];
  const unknown = async () => {
    throw new TypeError('The RPC receiver does not implement the method "commands".');
  };
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const command = async (text, how) => (said.push([how, text]), `did ${text}`);
  const heard = [];
  for (const [how, text] of [['patient', 'one'], ['command', 'hold']]) {
    const ACCOUNTS = { getByName: () => ({ command, commands: unknown }) };
    heard.push(begun(ACCOUNTS, (call) => call.command(1, 'alice', how, text, 10_000)));
  }
  await settled();
  await after(4);
  assert.deepEqual(said, [['command', 'hold'], ['patient', 'one']]);
  assert.deepEqual(heard, [[['text', 1, 200, 'did one']], [['text', 1, 200, 'did hold']]]);
});

test('long ones and more than 64 go by themselves at once', async () => {
  const { said, request } = isolate();
  request('patient', 'x'.repeat(64 * 1024 + 1));
  for (let nth = 0; nth < 70; nth += 1) request('patient', `${nth}`, 'bob');
  await settled();
  assert.equal(said[0][1], 'patient');
  // The 65th takes the 64 before it along.
  assert.equal(said[1].length, 2 + 65);
  await after(4);
  assert.equal(said.slice(1).flatMap(([, , ...texts]) => texts).length, 70);
});

test('a very long one takes nobody along', async () => {
  const { said, request } = isolate();
  request('patient', 'one');
  request('command', 'x'.repeat(4 * 1024 * 1024 + 1));
  await settled();
  assert.deepEqual(said.map(([, how]) => how), ['command']);
  await after(4);
  assert.deepEqual(said.map(([, how]) => how), ['command', 'patient']);
});

test('what was taken along goes once more when the Wasm ends before its answer', async () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const said = [];
  const silent = () => new Promise(() => {});
  const ACCOUNTS = {
    getByName: () => ({ commands: (texts) => (said.push(texts.split(END)), silent()), command: (text) => (said.push(text), silent()) }),
  };
  begun(ACCOUNTS, (call) => {
    call.command(1, 'alice', 'patient', 'one', 10_000);
    call.command(2, 'alice', 'command', 'hold', 10_000);
  });
  die();
  wasm.running.call.wake();
  await after(0);
  assert.deepEqual(said, [['one', 'hold'], 'one']);
});

test('flush takes nobody along', async () => {
  const { said, request } = isolate();
  request('patient', 'one');
  request('flush', '{}');
  await settled();
  assert.deepEqual(said, [['alice', 'flush', '{}']]);
  await after(4);
});

for (const [what, end] of [['nobody waits for it any more', ({ call }) => call.cancel(1)], ['the Wasm ends', ({ call }) => (die(), call.wake())]]) {
  test(`what has not gone yet goes all the same when ${what}`, async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    const said = [];
    const ACCOUNTS = { getByName: () => ({ command: async (...what) => void said.push(what) }) };
    const waits = [];
    begun(ACCOUNTS, (call) => call.command(1, 'alice', 'patient', 'one', 10_000), waits);
    end(wasm.running);
    await after(0);
    assert.deepEqual(said, [['one', 'patient']]);
    assert.equal(waits.length, 2);
    await after(1_000);
    assert.equal(said.length, 1);
  });
}
