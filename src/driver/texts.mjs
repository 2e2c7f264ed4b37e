// Texts as they cross between here and the Wasm.

/** Ends each text; JSON never has it. */
export const END = '\x1e';

/**
 * @param {string} texts names and values in turn
 * @returns {[string, string][]}
 */
export function pairs(texts) {
  const parts = texts.split(END);
  /** @type {[string, string][]} */
  const pairs = [];
  for (let at = 0; at + 1 < parts.length; at += 2) pairs.push([parts[at], parts[at + 1]]);
  return pairs;
}
