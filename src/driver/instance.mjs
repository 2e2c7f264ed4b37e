// Which instance of the Wasm runs. One that ended in a trap is replaced by the next call of an export; whatever belonged to it is gone,
// and must not be called again: its address would be read in the memory of the other.
import * as wasm from 'bindings';

/** @returns {number} */
export function instance() {
  wasm.alive();
  return /** @type {any} */ (globalThis).__worker_init_state.instanceId;
}

/** How often it is looked whether the instance still runs. */
const LOOK_MS = 1_000;

/**
 * What an instance promised, or a failure once it has ended: nobody is left to keep it.
 * @template T
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
export function whileItRuns(promise) {
  const begun = instance();
  return new Promise((resolve, reject) => {
    const look = () => {
      try {
        if (instance() === begun) return;
        throw new Error('the Wasm ended before this was done');
      } catch (error) {
        clearInterval(timer);
        reject(error);
      }
    };
    const timer = setInterval(look, LOOK_MS);
    promise.finally(() => clearInterval(timer)).then(resolve, reject);
  });
}
