// Counts what the platform bills of a Durable Object: the rows that it writes and reads, by statement, from the runtime's own
// cursors; its calls; the time in which at least one is open. `lib/rows.mjs` makes a main module that puts this in front of the
// Worker under test, for the counting step only; the timed runs go without it.
import { WorkerEntrypoint } from 'cloudflare:workers';

const statements = new Map();
const calls = { count: 0, open: 0, open_ms: 0, since: 0 };
let patched = false;

function add(name, rows, read = 0) {
  const entry = statements.get(name) ?? { rows: 0, read: 0 };
  statements.set(name, { rows: entry.rows + rows, read: entry.read + read });
}

/** Patches the storage classes, which every object of this isolate shares, on the first object's construction. */
function watch(ctx) {
  if (patched) return;
  patched = true;
  const sql = Object.getPrototypeOf(ctx.storage.sql);
  const exec = sql.exec;
  sql.exec = function (statement, ...bound) {
    const cursor = exec.call(this, statement, ...bound);
    // A cursor runs on while it is read: what it wrote is final only after the caller's turn.
    const name = String(statement).replace(/\s+/g, ' ').trim();
    queueMicrotask(() => add(name, cursor.rowsWritten, cursor.rowsRead));
    return cursor;
  };
  const storage = Object.getPrototypeOf(ctx.storage);
  for (const method of ['setAlarm', 'deleteAlarm', 'put', 'delete']) {
    const original = storage[method];
    storage[method] = function (...args) {
      add(`storage.${method}()`, 1);
      return original.apply(this, args);
    };
  }
}

function begin() {
  calls.count += 1;
  if (calls.open === 0) calls.since = Date.now();
  calls.open += 1;
}

function end() {
  calls.open -= 1;
  if (calls.open === 0) calls.open_ms += Date.now() - calls.since;
}

/** What generated classes have besides what may be called from outside, and what only the bench calls. */
const NOT_CALLED = ['constructor', 'free', 'done'];

/** The names of what may be called from outside: the class's own methods and those that it inherits from its Worker's classes. */
function methodsOf(Class) {
  const found = new Set();
  for (let of = Class.prototype; of && of.constructor !== Object && of.constructor.name !== 'DurableObject'; of = Object.getPrototypeOf(of)) {
    const functions = Object.getOwnPropertyNames(of).filter((name) => typeof Object.getOwnPropertyDescriptor(of, name).value === 'function');
    for (const name of functions) if (!NOT_CALLED.includes(name) && !name.startsWith('_')) found.add(name);
  }
  return found;
}

/** The class with its calls counted. A call from within another one, before that one has answered or waited, is not the platform's. */
export function counted(Class) {
  class Counted extends Class {
    constructor(ctx, env) {
      watch(ctx);
      super(ctx, env);
    }
  }
  let inside = false;
  for (const name of methodsOf(Class)) {
    const method = Class.prototype[name];
    Counted.prototype[name] = function (...args) {
      if (inside) return method.apply(this, args);
      inside = true;
      begin();
      let answer;
      try {
        answer = method.apply(this, args);
      } finally {
        inside = false;
        Promise.resolve(answer).then(end, end);
      }
      return answer;
    };
  }
  return Counted;
}

export class Report extends WorkerEntrypoint {
  fetch() {
    return Response.json({ statements: Object.fromEntries(statements), calls: calls.count, open_ms: calls.open_ms });
  }
}
