// The proofs of the simulated providers: each knows its own thoughts again and refuses those of
// anybody else, and its own if a letter of them was changed.
import { randomBytes } from 'node:crypto';

/** A text of random letters that are good in any id. */
export const letters = (count) => randomBytes(count).toString('base64url').replace(/[^A-Za-z0-9]/g, 'x').slice(0, count);

export class Proofs {
  #issued = new Map();
  #start;

  /** @param {string} start what each of them begins with, as the provider's do */
  constructor(start) {
    this.#start = start;
  }

  /** A proof of a text. */
  of(text) {
    const proof = this.#start + Buffer.from(letters(90)).toString('base64');
    this.#issued.set(proof, text);
    return proof;
  }

  /** The text that a proof is of; undefined for one that is foreign or altered. */
  textOf(proof) {
    return this.#issued.get(proof);
  }
}
