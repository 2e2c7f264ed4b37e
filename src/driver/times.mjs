// What happens after a time, in one request. The platform's timers cost, and most are taken off before their time: so there is one for
// all, which is left to ring for nothing.

/** @typedef {{ at: number, ring: () => void }} Due */

export class Times {
  /** @type {Map<number | string, Due>} */
  #due = new Map();
  /** @type {number | null} */
  #timer = null;
  #rings = Infinity;

  /**
   * Calls once, after so many milliseconds; what had this name before is taken off.
   * @param {number} ms
   * @param {number | string} name
   * @param {() => void} ring
   */
  after(ms, name, ring) {
    const at = Date.now() + ms;
    this.#due.set(name, { at, ring });
    if (at < this.#rings) this.#set(at, ms);
  }

  /** @param {number | string} name */
  off(name) {
    this.#due.delete(name);
  }

  /** Nothing is called after this. */
  end() {
    this.#due.clear();
    clearTimeout(this.#timer);
    this.#rings = Infinity;
  }

  /**
   * @param {number} at
   * @param {number} ms
   */
  #set(at, ms) {
    clearTimeout(this.#timer);
    this.#rings = at;
    this.#timer = setTimeout(() => this.#ring(), ms);
  }

  #ring() {
    // A clock that stands still while the platform's timers go on would make this ring again at once.
    const now = Math.max(Date.now(), this.#rings);
    this.#rings = Infinity;
    for (const [name, due] of [...this.#due]) {
      // One that rang may have taken off another.
      if (due.at > now || this.#due.get(name) !== due) continue;
      this.#due.delete(name);
      due.ring();
    }
    const next = Math.min(...[...this.#due.values()].map(({ at }) => at));
    if (next < this.#rings) this.#set(next, Math.max(next - now, 0));
  }
}
