// The floor with money: a pass-through with one hold before the call and one settlement after it, off the critical path,
// each one SQLite row written in one Durable Object. It checks nothing and explains nothing.
import { DurableObject } from 'cloudflare:workers';

export class Account extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS holds (id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID');
  }

  hold(id) {
    this.ctx.storage.sql.exec("INSERT INTO holds VALUES (?, 'open')", id);
  }

  settle(id) {
    this.ctx.storage.sql.exec("UPDATE holds SET state = 'captured' WHERE id = ?", id);
  }
}

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    const id = crypto.randomUUID();
    const account = env.ACCOUNT.get(env.ACCOUNT.idFromName('bench'));
    await account.hold(id);
    const response = await fetch(env.UPSTREAM + pathname, {
      method: request.method,
      headers: request.headers,
      body: request.body,
    });
    if (response.headers.get('content-type') !== 'text/event-stream') {
      ctx.waitUntil(account.settle(id));
      return response;
    }
    // A stream is settled at its end. The pipe between two native streams stays outside of JavaScript.
    const { readable, writable } = new IdentityTransformStream();
    ctx.waitUntil(response.body.pipeTo(writable).then(() => account.settle(id)));
    return new Response(readable, response);
  },
};
