// The platform's side of the Worker: what it calls, handed to the Wasm.
import { WorkerEntrypoint } from 'cloudflare:workers';
import * as wasm from 'bindings';

export { AccountObject } from './account.mjs';

export default class extends WorkerEntrypoint {
  /** @param {Request} request */
  fetch(request) {
    return wasm.fetch(request, this.env, this.ctx);
  }

  /** @param {ScheduledController} event */
  scheduled(event) {
    return wasm.scheduled(event, this.env, this.ctx);
  }
}
