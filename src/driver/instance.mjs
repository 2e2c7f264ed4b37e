// Which instance of the Wasm runs. One that ended in a trap is replaced by the next call of an export; whatever belonged to it is gone,
// and must not be called again: its address would be read in the memory of the other.
import * as wasm from 'bindings';

/** @returns {number} */
export function instance() {
  wasm.alive();
  return /** @type {any} */ (globalThis).__worker_init_state.instanceId;
}
