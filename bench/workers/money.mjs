// The floor with money: a pass-through with one hold before the call and one settlement after it, off the critical path,
// each one SQLite row written in one Durable Object. It checks nothing and explains nothing.
import { DurableObject, WorkerEntrypoint } from 'cloudflare:workers';

// Outside of the object, which the runtime puts away when nobody asks for ten seconds.
let settled = 0;

const account = (env) => env.ACCOUNT.get(env.ACCOUNT.idFromName('bench'));

export class Account extends DurableObject {
  waiting = [];

  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS holds (id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID');
  }

  hold(id) {
    this.ctx.storage.sql.exec("INSERT INTO holds VALUES (?, 'open')", id);
  }

  settle(id) {
    this.ctx.storage.sql.exec("UPDATE holds SET state = 'captured' WHERE id = ?", id);
    settled += 1;
    for (const wake of this.waiting.splice(0)) wake();
  }

  /** How many are settled, once there are at least so many. */
  async done(atLeast) {
    while (settled < atLeast) await new Promise((wake) => this.waiting.push(wake));
    return settled;
  }
}

/** For the bench alone: when all that a run left for later is done. */
export class Done extends WorkerEntrypoint {
  async fetch(request) {
    return Response.json(await account(this.env).done(Number(new URL(request.url).searchParams.get('atLeast'))));
  }
}

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    const id = crypto.randomUUID();
    const books = account(env);
    await books.hold(id);
    const response = await fetch(env.UPSTREAM + pathname, {
      method: request.method,
      headers: request.headers,
      body: request.body,
    });
    if (response.headers.get('content-type') !== 'text/event-stream') {
      ctx.waitUntil(books.settle(id));
      return response;
    }
    // A stream is settled at its end. The pipe between two native streams stays outside of JavaScript.
    const { readable, writable } = new IdentityTransformStream();
    ctx.waitUntil(response.body.pipeTo(writable).then(() => books.settle(id)));
    return new Response(readable, response);
  },
};
