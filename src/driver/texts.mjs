// Texts as they cross between here and the Wasm.

/** Ends each text; JSON never has it. */
export const END = '\x1e';

/**
 * Headers one by one: handed over as a list of pairs, they cost the platform three times as much.
 * @param {string} texts names and values in turn
 */
export function headersOf(texts) {
  const parts = texts.split(END);
  const headers = new Headers();
  for (let at = 0; at + 1 < parts.length; at += 2) headers.append(parts[at], parts[at + 1]);
  return headers;
}
