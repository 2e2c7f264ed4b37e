// Counts the rows that Durable Objects write, by the statement that wrote them: what the platform bills, read from the
// runtime's own cursors. `lib/rows.mjs` makes a main module that puts this in front of the Worker under test, for the
// counting step only; the timed runs go without it.
import { WorkerEntrypoint } from 'cloudflare:workers';

const statements = new Map();
let patched = false;

function add(name, rows) {
  const entry = statements.get(name) ?? { calls: 0, rows: 0 };
  statements.set(name, { calls: entry.calls + 1, rows: entry.rows + rows });
}

/** Patches the storage classes, which every object of this isolate shares, on the first object's construction. */
export function watch(ctx) {
  if (patched) return;
  patched = true;
  const sql = Object.getPrototypeOf(ctx.storage.sql);
  const exec = sql.exec;
  sql.exec = function (statement, ...bound) {
    const cursor = exec.call(this, statement, ...bound);
    // A cursor runs on while it is read: what it wrote is final only after the caller's turn.
    const name = String(statement).replace(/\s+/g, ' ').trim();
    queueMicrotask(() => add(name, cursor.rowsWritten));
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

export class RowsReport extends WorkerEntrypoint {
  fetch() {
    return Response.json(Object.fromEntries(statements));
  }
}
