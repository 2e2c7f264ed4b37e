// A strict reader of event streams, by the standard's own parsing rules.

/** The events of a response as they arrive: {event, data, id, at}, `at` in milliseconds since the call. */
export async function* sse(response) {
  const started = performance.now();
  let fields = {};
  for await (const line of lines(response.body)) {
    if (line === '') {
      if (fields.data !== undefined) yield { event: fields.event ?? 'message', data: fields.data, id: fields.id, at: performance.now() - started };
      fields = {};
      continue;
    }
    if (line.startsWith(':')) continue;
    const [, name, value] = line.match(/^([^:]*):? ?(.*)$/s);
    fields[name] = name === 'data' && fields.data !== undefined ? `${fields.data}\n${value}` : value;
  }
}

/**
 * Reads a chat stream to its end.
 * @returns {Promise<{chunks: object[], text: string, usage?: object, error?: object, done: boolean, finishReason?: string}>}
 *   `done`: `[DONE]` was seen. `broken`: the connection ended in an error.
 */
export async function readStream(response) {
  const result = { chunks: [], text: '', usage: undefined, error: undefined, done: false, finishReason: undefined, broken: undefined };
  try {
    for await (const { data } of sse(response)) {
      if (data === '[DONE]') {
        result.done = true;
        continue;
      }
      const chunk = JSON.parse(data);
      result.chunks.push(chunk);
      result.text += chunk.choices?.[0]?.delta?.content ?? '';
      result.finishReason = chunk.choices?.[0]?.finish_reason ?? result.finishReason;
      result.usage = chunk.usage ?? result.usage;
      result.error = chunk.error ?? result.error;
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
    result.broken = error;
  }
  return result;
}

async function* lines(body) {
  let rest = '';
  for await (const text of body.pipeThrough(new TextDecoderStream('utf-8', { fatal: true }))) {
    const parts = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = parts.pop();
    yield* parts;
  }
  // An event without its blank line is not an event; what is left is dropped, as clients do.
}
