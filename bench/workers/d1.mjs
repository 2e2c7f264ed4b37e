// A stand-in for D1, in the two protocols that the runtime's D1 binding speaks (HTTP, and RPC from some compatibility
// dates on): one Durable Object with SQLite, each call one transaction. It counts the rows that it writes, by statement.
import { DurableObject, WorkerEntrypoint } from 'cloudflare:workers';

export class Database extends DurableObject {
  counts = new Map();

  run(queries) {
    return this.ctx.storage.transactionSync(() => queries.map((query) => this.#one(query)));
  }

  #one({ sql, params }) {
    const bound = (params ?? []).map((value) => (Array.isArray(value) ? new Uint8Array(value).buffer : value));
    const cursor = this.ctx.storage.sql.exec(sql, ...bound);
    const columns = cursor.columnNames;
    const rows = [...cursor.raw()].map((row) =>
      row.map((value) => (value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value)),
    );
    const name = sql.replace(/\s+/g, ' ').trim();
    const { calls, rows: written } = this.counts.get(name) ?? { calls: 0, rows: 0 };
    this.counts.set(name, { calls: calls + 1, rows: written + cursor.rowsWritten });
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

  report() {
    return Object.fromEntries(this.counts);
  }
}

const database = (env) => env.DATABASE.get(env.DATABASE.idFromName('bench'));

export default class extends WorkerEntrypoint {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === '/__counts') return Response.json(await database(this.env).report());
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
