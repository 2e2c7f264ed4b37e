// Stands for the Wasm and its bindings: does what a test says, and writes down what it was told.
export const END = '\x1e';

/** What a test says that the Wasm does. */
export const wasm = {};

export function reset() {
  for (const name of Object.keys(wasm)) delete wasm[name];
  Object.assign(wasm, {
    accounts: [],
    isDead: false,
    canStart: true,
    commands: (texts) => ['changed', ...texts.map((text) => `did ${text}`)],
    endDue: () => {},
    copy: async () => {},
    copyAndTell: async () => undefined,
    begin: () => {},
    told: () => false,
  });
}

globalThis.__worker_init_state = { instanceId: 0 };
reset();

/** Ends the instance in the middle of a call. */
export function trap() {
  wasm.isDead = true;
  throw new WebAssembly.RuntimeError('unreachable');
}

/** Another request ends the instance. */
export function die() {
  wasm.isDead = true;
}

export function alive() {
  if (!wasm.canStart) throw new Error('no memory');
  if (!wasm.isDead) return;
  wasm.isDead = false;
  globalThis.__worker_init_state.instanceId += 1;
}

function enter() {
  alive();
  return globalThis.__worker_init_state.instanceId;
}

/** What belongs to an instance fails loudly in another. */
class Owned {
  #instance = enter();

  entered() {
    if (this.#instance !== enter()) throw new Error('a stale object was called');
  }
}

export class Account extends Owned {
  constructor(sql, env) {
    super();
    Object.assign(this, { sql, env });
    wasm.accounts.push(this);
  }

  commands(texts) {
    this.entered();
    return wasm.commands(texts.split(END), this).join(END);
  }

  end_due() {
    this.entered();
    wasm.endDue();
  }

  copy() {
    this.entered();
    return wasm.copy();
  }

  copy_and_tell() {
    this.entered();
    return wasm.copyAndTell();
  }
}

export class Running extends Owned {
  /** Everything that it was told: a name and what came along. */
  told = [];
  isFreed = false;

  constructor(call) {
    super();
    this.call = call;
  }

  free() {
    if (this.isFreed) throw new Error('freed twice');
    this.isFreed = true;
  }
}

for (const name of ['text', 'bytes', 'nothing', 'failed', 'pull', 'pulled', 'gone', 'poll']) {
  Running.prototype[name] = function (now, ...args) {
    this.entered();
    if (this.isFreed) throw new Error('told after its end');
    if (typeof now !== 'number') throw new Error('no time');
    this.told.push([name, ...args]);
    return wasm.told(name, this.call, ...args);
  };
}

function begun(call, received) {
  enter();
  wasm.running = new Running(call);
  return wasm.begin(call, received) === 'over' ? undefined : wasm.running;
}

export const begin = (call, env, method, url, headers) => begun(call, { env, method, url, headers });
export const beginMinute = (call, env) => begun(call, { env });

export function failureBody() {
  enter();
  return 'the last resort';
}
