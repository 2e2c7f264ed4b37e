// The account object's class: which commands are decided together, and what holds when something fails.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { END, die, trap, wasm } from './bindings.mjs';
import { AccountObject, logged, open, settled, stateOf, whileItRuns } from './stage.mjs';

const START = 1_000_000;
const FAILED = "!the account's storage failed";

/** An object whose commits end when the test says so. */
function object() {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: START });
  const [commits, alarms, groups] = [[], [], []];
  const storage = {
    sync: () => {
      const commit = open();
      commits.push(commit);
      return commit.promise;
    },
    setAlarm: async (at) => void alarms.push(at),
    transactionSync: (body) => body(),
    sql: { exec: (statement, ...values) => ({ raw: () => values.map((value) => [`${statement}(${value})`]) }) },
  };
  const decide = wasm.commands;
  wasm.commands = (texts, account) => {
    groups.push(texts);
    return decide(texts, account);
  };
  const account = new AccountObject({ storage }, {});
  const send = (text, how = 'command') => account.command(text, how);
  /** Ends the commit under way. */
  const commit = async () => {
    commits.shift().resolve();
    await settled();
  };
  return { account, alarms, commit, commits, groups, send, storage };
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, index) => `${from + index}`);

test('a lone command is decided at once', async () => {
  const { send, commits, groups } = object();
  assert.deepEqual(await send('a'), 'did a');
  assert.deepEqual(groups, [['a']]);
  assert.equal(commits.length, 1);
});

test('what arrives during a commit is the next group, in order, and at most 256', async () => {
  const { send, commit, groups } = object();
  await send('first');
  const answers = numbers(0, 300).map((text) => send(text));
  await settled();
  assert.equal(groups.length, 1);
  await commit();
  assert.deepEqual(groups[1], numbers(0, 256));
  await commit();
  assert.deepEqual(groups[2], numbers(256, 300));
  assert.deepEqual(await Promise.all(answers), numbers(0, 300).map((text) => `did ${text}`));
  await commit();
  await send('last');
  assert.deepEqual(groups[3], ['last']);
});

test('patient commands wait 4 ms and are decided together', async () => {
  const { send, groups } = object();
  const answers = [send('a', 'patient'), send('b', 'patient')];
  await settled();
  mock.timers.tick(3);
  await settled();
  assert.deepEqual(groups, []);
  mock.timers.tick(1);
  await Promise.all(answers);
  assert.deepEqual(groups, [['a', 'b']]);
});

test('a patient command goes along with another, and its timer with it', async () => {
  const { send, commit, commits, groups } = object();
  const patient = send('patient', 'patient');
  await settled();
  await Promise.all([patient, send('now')]);
  assert.deepEqual(groups, [['patient', 'now']]);
  await commit();
  mock.timers.tick(10);
  await settled();
  assert.deepEqual([groups.length, commits.length], [1, 0]);
});

test('a patient command that arrives during a commit does not wait any longer than that', async () => {
  const { send, commit, groups } = object();
  await send('now');
  const patient = send('patient', 'patient');
  await settled();
  await commit();
  assert.deepEqual(groups, [['now'], ['patient']]);
  assert.deepEqual(await patient, 'did patient');
});

test('several that are said together are one group, each with its answer', async () => {
  wasm.commands = (texts) => ['changed', ...texts.map((text) => (text === 'bad' ? '!no such table' : `did ${text}`))];
  const { account, send, commit, groups } = object();
  const patient = send('patient', 'patient');
  assert.equal(await account.commands(['a', 'bad', 'c'].join(END)), ['did a', FAILED, 'did c'].join(END));
  assert.equal(await patient, 'did patient');
  assert.deepEqual(groups, [['patient', 'a', 'bad', 'c']]);
  await commit();
});

test('if a group throws, what is remembered is dropped and each runs alone; only the bad one fails', async () => {
  const { send, commit, groups } = object();
  const by = [];
  const decide = wasm.commands;
  wasm.commands = (texts, account) => {
    by.push(wasm.accounts.indexOf(account));
    if (texts.includes('bad')) decide(texts) && trap();
    return decide(texts);
  };
  await send('first');
  const answers = ['a', 'bad', 'c'].map((text) => send(text));
  await settled();
  await commit();
  const [a, bad, c] = await Promise.all(answers);
  assert.deepEqual([a, c], ['did a', 'did c']);
  assert.equal(bad, FAILED);
  assert.deepEqual(groups.slice(1), [['a', 'bad', 'c'], ['a'], ['bad'], ['c']]);
  // The first account until the group, a second for `a` and `bad`, a third for `c`.
  assert.deepEqual(by, [0, 0, 1, 1, 2]);
  assert.ok(logged.some((line) => line.includes('3 commands together')));
});

test('an account that cannot be opened fails its commands and is opened again for the next', async () => {
  const { send, commit } = object();
  wasm.canStart = false;
  assert.equal(await send('a'), FAILED);
  wasm.canStart = true;
  await commit();
  assert.deepEqual(await send('b'), 'did b');
});

test('an answer that says why there is none is a failure, logged, and says nothing to the outside', async () => {
  const { send } = object();
  wasm.commands = () => ['same', '!no such table'];
  assert.equal(await send('a'), FAILED);
  assert.ok(logged.some((line) => line.includes('no such table')));
});

test('an answer that is missing is a failure', async () => {
  const { send } = object();
  wasm.commands = () => ['same'];
  assert.equal(await send('a'), FAILED);
});

test('the alarm is set in the turn of the commit, once, and moved to earlier only', async () => {
  const { account, send, commit, alarms, commits } = object();
  wasm.commands = (texts) => {
    assert.equal(alarms.length, 0);
    return ['changed', ...texts];
  };
  const asked = send('a');
  await settled();
  assert.deepEqual([alarms, commits.length], [[START + 2_000], 1]);
  await asked;
  await commit();
  wasm.commands = (texts) => ['changed', ...texts];
  mock.timers.tick(500);
  await send('b');
  await commit();
  assert.equal(alarms.length, 1);
  // The alarm goes off, and asks for a later time; a change wants it earlier.
  wasm.copyAndTell = async () => Date.now() + 60_000;
  await account.alarm();
  assert.equal(alarms.at(-1), Date.now() + 60_000);
  await send('c');
  assert.equal(alarms.at(-1), Date.now() + 2_000);
  assert.equal(alarms.length, 3);
});

test('the alarm is set for the first command that may have found a change of before, and for no reading', async () => {
  const { send, commit, alarms } = object();
  for (const [state, set] of [['read', 0], ['same', 1], ['same', 1]]) {
    wasm.commands = (texts) => [state, ...texts];
    await send('a');
    await commit();
    assert.equal(alarms.length, set, state);
  }
});

test('an alarm that could not be set is set by the next command', async () => {
  const { send, commit, alarms, storage } = object();
  const set = storage.setAlarm;
  storage.setAlarm = async () => {
    throw new Error('the disk is full');
  };
  assert.equal(await send('a'), 'did a');
  await commit();
  storage.setAlarm = set;
  await send('b');
  assert.deepEqual(alarms, [START + 2_000]);
  assert.ok(logged.some((line) => line.includes('the disk is full')));
});

test('alarm never throws, and comes again 5 s after a failure', async () => {
  const failures = {
    endDue: () => trap(),
    copyAndTell: () => {
      throw new Error('D1 is away');
    },
    canStart: false,
  };
  for (const [name, failure] of Object.entries(failures)) {
    const { account, alarms } = object();
    const before = wasm[name];
    wasm[name] = failure;
    await account.alarm();
    assert.deepEqual(alarms, [START + 5_000], name);
    wasm[name] = before;
    mock.timers.reset();
  }
});

test('alarm is not set if there is no more to do', async () => {
  const { account, alarms } = object();
  await account.alarm();
  assert.deepEqual(alarms, []);
});

test('a copy whose instance ends in a trap fails instead of going on for ever', async () => {
  const { account, alarms, send } = object();
  wasm.copyAndTell = () => new Promise(() => {});
  wasm.copy = () => new Promise(() => {});
  const [alarm, flush] = [account.alarm(), send('', 'flush')];
  mock.timers.tick(30_000);
  assert.equal(await stateOf(alarm), 'open');
  die();
  mock.timers.tick(1_000);
  assert.equal(await stateOf(alarm), undefined);
  assert.equal(await flush, FAILED);
  assert.deepEqual(alarms, [START + 31_000 + 5_000]);
});

test('what an instance promised is passed on, and nothing is looked at any more', async () => {
  mock.timers.enable({ apis: ['setInterval'] });
  assert.equal(await whileItRuns(Promise.resolve(7)), 7);
  await assert.rejects(whileItRuns(Promise.reject(new Error('no'))), /no/);
  wasm.canStart = false;
  mock.timers.tick(10_000);
  await settled();
});

test('an instance that cannot be looked at fails what it promised', async () => {
  mock.timers.enable({ apis: ['setInterval'] });
  const promised = whileItRuns(new Promise(() => {}));
  wasm.canStart = false;
  mock.timers.tick(1_000);
  await assert.rejects(promised, /no memory/);
});

test('a new instance makes a new account', async () => {
  const { send, commit } = object();
  await send('a');
  await commit();
  await send('b');
  await commit();
  assert.equal(wasm.accounts.length, 1);
  die();
  assert.deepEqual(await send('c'), 'did c');
  assert.equal(wasm.accounts.length, 2);
});

test('if a commit fails, those who wait go on, and nothing that is remembered is kept', async () => {
  const { send, commits, groups } = object();
  await send('a');
  const waiting = [send('b'), send('c')];
  await settled();
  commits.shift().reject(new Error('the disk is full'));
  assert.deepEqual(await Promise.all(waiting), ['did b', 'did c']);
  assert.deepEqual(groups, [['a'], ['b', 'c']]);
  assert.equal(wasm.accounts.length, 2);
  assert.ok(logged.some((line) => line.includes('the disk is full')));
});

test('a commit that cannot begin is as one that fails', async () => {
  const { send, storage } = object();
  storage.sync = () => {
    throw new Error('the object is broken');
  };
  assert.equal(await send('a'), 'did a');
  assert.equal(await send('b'), 'did b');
});

test('a Worker of an earlier version asks by fetch', async () => {
  const { account, commit } = object();
  const post = async (how, text) => {
    const response = await account.fetch(new Request(`https://account/${how}`, { method: 'POST', body: text }));
    return [response.status, await response.text()];
  };
  assert.deepEqual(await post('command', 'a'), [200, 'did a']);
  wasm.copy = async () => {};
  assert.deepEqual(await post('flush', ''), [200, '"Done"']);
  await commit();
  wasm.commands = () => ['same', '!disk full'];
  assert.deepEqual(await post('command', 'a'), [500, "the account's storage failed"]);
});

test('a flush copies what is new', async () => {
  const { send } = object();
  let copied = 0;
  wasm.copy = async () => void (copied += 1);
  assert.deepEqual(await send('', 'flush'), '"Done"');
  assert.equal(copied, 1);
  wasm.copy = async () => {
    throw new Error('D1 is away');
  };
  assert.equal(await send('', 'flush'), FAILED);
});

test('SQLite gets a list of values and answers the first column of each row, each ended', async () => {
  const { send } = object();
  await send('a');
  const [{ sql }] = wasm.accounts;
  assert.equal(sql.run('s', `1\x1e'b\x1enull\x1e''{"a":"null"}\x1e'\x1e`), `s(1)\x1es(b)\x1es(null)\x1es('{"a":"null"})\x1es()\x1e`);
  assert.equal(sql.run('s', ''), '');
  assert.throws(() => sql.transaction(() => {
    throw new Error('rolled back');
  }), /rolled back/);
});
