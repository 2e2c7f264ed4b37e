// What a client still sends when its answer is ready.

const MOST_BYTES = 64 * 1024 * 1024;
const MOST_MS = 5_000;
/** Who pauses for so long is not in the middle of sending, but waits to be told whether to. */
const PAUSE_MS = 500;

/**
 * Reads the rest of a body and throws it away, for a while. The runtime closes the connection under a client whose body was
 * not read, and many clients then report that instead of the answer. Who announces more than is read here is not waited for.
 * @param {Request} request
 * @param {ReadableStreamDefaultReader<Uint8Array>} [reader] What has read the beginning
 */
export async function dropRest(request, reader = request.body?.getReader()) {
  if (Number(request.headers.get('content-length')) > MOST_BYTES) return;
  const until = Date.now() + MOST_MS;
  try {
    for (let left = MOST_BYTES; reader !== undefined && left > 0 && Date.now() < until; ) {
      const bytes = await soon(reader.read());
      if (bytes === undefined) return;
      left -= bytes.length;
    }
  } catch {
    // The client has left, or its body broke: nothing more comes.
  }
}

/**
 * The next piece; none at the end, or if it does not come soon.
 * @param {Promise<{ value?: Uint8Array }>} read
 * @returns {Promise<Uint8Array | undefined>}
 */
function soon(read) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, PAUSE_MS);
    read.finally(() => clearTimeout(timer)).then(({ value }) => resolve(value), reject);
  });
}
