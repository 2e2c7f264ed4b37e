// A stand-in for D1, in the two protocols that the runtime's D1 binding speaks (HTTP, and RPC from some compatibility
// dates on): one Durable Object with SQLite, each call one transaction. It counts the rows that it writes and reads, by statement,
// and tells how far the journal is.
import { DurableObject, WorkerEntrypoint } from 'cloudflare:workers';

// Outside of the object, which the runtime puts away when nobody asks for ten seconds.
const counts = new Map();
let journal = 0;

export class Database extends DurableObject {
  waiting = [];

  run(queries) {
    const done = this.ctx.storage.transactionSync(() => queries.map((query) => this.#one(query)));
    for (const [index, { sql }] of queries.entries()) {
      if (/\bINTO journal\b/.test(sql)) journal += done[index].meta.rows_written;
    }
    for (const wake of this.waiting.splice(0)) wake();
    return done;
  }

  /** The rows of the journal, once there are at least so many. */
  async done(atLeast) {
    while (journal < atLeast) await new Promise((wake) => this.waiting.push(wake));
    return journal;
  }

  #one({ sql, params }) {
    const bound = (params ?? []).map((value) => (Array.isArray(value) ? new Uint8Array(value).buffer : value));
    const cursor = this.ctx.storage.sql.exec(sql, ...bound);
    const columns = cursor.columnNames;
    const rows = [...cursor.raw()].map((row) =>
      row.map((value) => (value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value)),
    );
    const name = sql.replace(/\s+/g, ' ').trim();
    const { rows: written, read } = counts.get(name) ?? { rows: 0, read: 0 };
    counts.set(name, { rows: written + cursor.rowsWritten, read: read + cursor.rowsRead });
    const meta = {
      served_by: 'bench',
      duration: 0,
      changes: cursor.rowsWritten,
      last_row_id: 0,
      changed_db: cursor.rowsWritten > 0,
      size_after: this.ctx.storage.sql.databaseSize,
      rows_read: cursor.rowsRead,
      rows_written: cursor.rowsWritten,
    };
    return { columns, rows, meta };
  }
}

const database = (env) => env.DATABASE.get(env.DATABASE.idFromName('bench'));

export default class extends WorkerEntrypoint {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === '/__counts') return Response.json(Object.fromEntries(counts));
    if (pathname === '/__done') return Response.json(await database(this.env).done(Number(searchParams.get('atLeast'))));
    const body = await request.json();
    try {
      const done = await database(this.env).run([body].flat());
      const whole = searchParams.get('resultsFormat') === 'ROWS_AND_COLUMNS';
      const answers = done.map(({ columns, rows, meta }) => ({
        success: true,
        results: whole
          ? { columns, rows }
          : rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index]]))),
        meta,
      }));
      return Response.json(Array.isArray(body) ? answers : answers[0]);
    } catch (error) {
      return Response.json({ success: false, error: error.message });
    }
  }

  async query({ queries }) {
    const done = await database(this.env).run(queries);
    return { results: done.map(({ columns, rows, meta }) => ({ meta, data: { kind: 'raw', columns, rows } })) };
  }
}
