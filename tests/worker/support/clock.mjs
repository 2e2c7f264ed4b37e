// The built Worker under a clock that tests can put forward: `startWorker({ clock: true })` runs
// this module in place of build/index.js. It runs inside of workerd, in the Worker's own isolate.
//
// What `Date` says is real time and an offset, for requests, Durable Objects and cron alike, which
// share the isolate. GET /__clock?ms= sets the offset and answers the time; only this module knows
// that path. Alarms are kept by the runtime, in real time; this module moves them, so that they
// come when the product's clock says. One whose time an advance has passed comes at once.
//
// Not moved: timers (setTimeout), KV's own expiry and caches, and alarms of objects that nobody
// has called since the runtime started.
import Gateway, { AccountObject as Account } from '../../../build/index.js';

export * from '../../../build/index.js';

const RealDate = Date;
const realNow = RealDate.now;
let offset_ms = 0;
const now = () => realNow() + offset_ms;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length > 0 ? args : [now()], newTarget === globalThis.Date ? target : newTarget),
  apply: () => new RealDate(now()).toString(),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
});

/** The objects that were started, by id. */
const started = new Map();
/** The runtime's own methods for alarms, once an object has shown them. */
let alarms;

/** From here on alarms that the product sets are by its clock. */
function moveAlarms(storage) {
  if (alarms) return;
  const methods = Object.getPrototypeOf(storage);
  const { setAlarm, getAlarm } = methods;
  alarms = { set: setAlarm, get: getAlarm };
  methods.setAlarm = function (at, options) {
    return setAlarm.call(this, Number(at) - offset_ms, options ?? undefined);
  };
  methods.getAlarm = async function (options) {
    const at = await getAlarm.call(this, options ?? undefined);
    return at === null ? null : at + offset_ms;
  };
}

/** The built object, which besides moves its alarm when it is told by how much the clock was put forward. */
export class AccountObject extends Account {
  constructor(state, env) {
    moveAlarms(state.storage);
    started.set(state.id.toString(), state.id);
    super(state, env);
  }

  async putForward(by_ms) {
    const { storage } = this.ctx;
    const at = await alarms.get.call(storage);
    if (at !== null) await alarms.set.call(storage, Math.max(at - by_ms, realNow()));
  }
}

async function setClock(url, env) {
  if (url.searchParams.has('ms')) {
    const by_ms = Number(url.searchParams.get('ms')) - offset_ms;
    offset_ms += by_ms;
    for (const id of started.values()) await env.ACCOUNTS.get(id).putForward(by_ms);
  }
  return Response.json({ time: now() });
}

export default {
  fetch(request, env, context) {
    const url = new URL(request.url);
    if (url.pathname === '/__clock') return setClock(url, env);
    return new Gateway(context, env).fetch(request);
  },
  scheduled(event, env, context) {
    return new Gateway(context, env).scheduled(event);
  },
};
