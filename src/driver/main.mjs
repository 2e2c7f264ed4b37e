// The platform's side of the Worker: what it calls, handed to the Wasm.
import { WorkerEntrypoint } from 'cloudflare:workers';
import { Call } from './call.mjs';

export { AccountObject } from './account.mjs';

export default class extends WorkerEntrypoint {
  /** @param {Request} request */
  fetch(request) {
    return new Call(this.env, this.ctx, request).answered();
  }

  scheduled() {
    return new Call(this.env, this.ctx).done();
  }
}
