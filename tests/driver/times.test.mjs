// Times of one request: many of them on one timer of the platform's.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Times } from './stage.mjs';

function times() {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  const [rung, set] = [[], mock.method(globalThis, 'setTimeout')];
  const times = new Times();
  const after = (ms, name, more = () => {}) => times.after(ms, name, () => (rung.push(name), more()));
  return { times, after, rung, timers: () => set.mock.callCount() };
}

test('each rings at its time, whatever order they were set in', () => {
  const { after, rung } = times();
  for (const ms of [30, 10, 20, 10.5]) after(ms, ms);
  const seen = [];
  for (let ms = 1; ms <= 40; ms += 1) {
    mock.timers.tick(1);
    if (rung.length > seen.length) seen.push(...rung.slice(seen.length).map((name) => [ms, name]));
  }
  assert.deepEqual(seen, [[10, 10], [11, 10.5], [20, 20], [30, 30]]);
});

test('what is taken off does not ring, and what has its name again rings once, at the later time', () => {
  const { times: all, after, rung } = times();
  after(10, 'a');
  after(10, 'b');
  all.off('a');
  after(20, 'b');
  mock.timers.tick(19);
  assert.deepEqual(rung, []);
  mock.timers.tick(100);
  assert.deepEqual(rung, ['b']);
});

test('one that rings may set and take off others', () => {
  const { times: all, after, rung } = times();
  after(10, 'first', () => {
    all.off('second');
    after(5, 'third');
  });
  after(10, 'second');
  mock.timers.tick(10);
  mock.timers.tick(4);
  assert.deepEqual(rung, ['first']);
  mock.timers.tick(1);
  assert.deepEqual(rung, ['first', 'third']);
});

test('many that end before their time share one timer', () => {
  const { times: all, after, rung, timers } = times();
  for (let nth = 0; nth < 1_000; nth += 1) {
    after(50, 'next');
    all.off('next');
    mock.timers.tick(1);
  }
  assert.deepEqual(rung, []);
  assert.ok(timers() <= 1_000 / 50 + 1, `${timers()} timers`);
});

test('nothing rings after the end, and a clock that stands still rings all the same', () => {
  const { times: all, after, rung } = times();
  mock.method(Date, 'now', () => 1_000_000);
  after(10, 'a');
  mock.timers.tick(10);
  assert.deepEqual(rung, ['a']);
  after(10, 'b');
  all.end();
  mock.timers.tick(100);
  assert.deepEqual(rung, ['a']);
});
