// What a client still sends when its answer is ready.

const MOST_BYTES = 64 * 1024 * 1024;
const MOST_MS = 5_000;

/**
 * Reads the rest of a body and throws it away, for a while. The runtime closes the connection under a client whose body was
 * not read, and many clients then report that instead of the answer. Who announces more than is read here is not waited for.
 * @param {Request} request
 * @param {ReadableStreamDefaultReader<Uint8Array>} [reader] What has read the beginning
 */
export async function dropRest(request, reader = request.body?.getReader()) {
  if (Number(request.headers.get('content-length')) > MOST_BYTES) return;
  /** @type {number | null} */
  let timer = null;
  /** @type {Promise<{ value?: undefined }>} */
  const late = new Promise((resolve) => (timer = setTimeout(resolve, MOST_MS, {})));
  try {
    for (let left = MOST_BYTES; reader !== undefined && left > 0; ) {
      const { value } = await Promise.race([reader.read(), late]);
      if (value === undefined) break;
      left -= value.length;
    }
  } catch {
    // The client has left, or its body broke: nothing more comes.
  } finally {
    clearTimeout(timer);
  }
}
