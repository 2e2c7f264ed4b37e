// The built Worker with what it asks of the platform counted: `startWorker({ meter: true })` runs
// this module in place of build/index.js, in the Worker's own isolate. GET /__meter answers the
// counts since the start, GET /__meter?kv=broken lets every look into KV fail from then on; only this module knows that path.
import Gateway, { AccountObject as Account } from '../../../build/index.js';

export * from '../../../build/index.js';

const counts = { requests: 0, kv_reads: 0, kv_writes: 0, d1_statements: 0, object_calls: 0, limiter_calls: 0 };
const count = (name, by = 1) => (counts[name] += by);
let isKvBroken = false;

/** The object with some of its methods replaced by what `change` makes of them. */
function wrapped(object, change) {
  return new Proxy(object, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (name === 'constructor' || typeof value !== 'function') return value;
      const method = value.bind(target);
      return Object.hasOwn(change, name) ? change[name](method) : method;
    },
  });
}

const counting = (name) => (method) => (...args) => (count(name), method(...args));
const breaking = (method) => (...args) => (isKvBroken ? Promise.reject(new Error('KV is broken')) : method(...args));

/** Statements stay the platform's own, because batches take no others. */
const statements = new WeakSet();
function statement(made) {
  if (statements.has(made)) return made;
  statements.add(made);
  const { bind } = made;
  made.bind = (...values) => statement(bind.apply(made, values));
  for (const name of ['all', 'first', 'run', 'raw']) {
    const method = made[name];
    made[name] = (...args) => (count('d1_statements'), method.apply(made, args));
  }
  return made;
}

function metered(env) {
  const changed = { ...env };
  changed.CONFIG = wrapped(env.CONFIG, { get: (method) => counting('kv_reads')(breaking(method)), list: counting('kv_reads'), put: counting('kv_writes'), delete: counting('kv_writes') });
  changed.DB = wrapped(env.DB, {
    prepare: (method) => (...args) => statement(method(...args)),
    batch: (method) => (list) => (count('d1_statements', list.length), method(list)),
  });
  // Its methods are calls of the object, and so would a look at one of them be.
  const stub = (method) => (...args) => {
    const object = method(...args);
    const counted = (name) => counting('object_calls')((...said) => object[name](...said));
    return { command: counted('command'), commands: counted('commands') };
  };
  changed.ACCOUNTS = wrapped(env.ACCOUNTS, { get: stub, getByName: stub });
  for (const [name, binding] of Object.entries(env)) {
    if (typeof binding?.limit === 'function') changed[name] = wrapped(binding, { limit: counting('limiter_calls') });
  }
  return changed;
}

export class AccountObject extends Account {
  constructor(state, env) {
    super(state, metered(env));
  }
}

export default {
  fetch(request, env, context) {
    const url = new URL(request.url);
    if (url.pathname === '/__meter') {
      isKvBroken ||= url.searchParams.get('kv') === 'broken';
      return Response.json(counts);
    }
    count('requests');
    return new Gateway(context, metered(env)).fetch(request);
  },
  scheduled(event, env, context) {
    return new Gateway(context, metered(env)).scheduled(event);
  },
};
