// A small upstream for the demo and the tests that speaks every dialect, well or badly: the model
// id decides, the same in all of them, see upstream/behaviours.mjs. It remembers what it was asked.
//   node scripts/upstream.mjs [--port 8788] [--host 127.0.0.1]
//
// OpenAI, under /v1 with `authorization: Bearer`: POST chat/completions, completions, embeddings,
//   responses, moderations, images/generations, images/edits, audio/speech, audio/transcriptions,
//   audio/translations, rerank (as Jina); GET models, models/{id}, responses/{id}; DELETE responses/{id}.
// Anthropic, under /anthropic/v1 with `x-api-key` (or Bearer) and `anthropic-version`: POST messages,
//   messages/count_tokens; GET models, models/{id}.
// Gemini, under /gemini/v1beta with `x-goog-api-key` (or ?key=): POST models/{id}:generateContent,
//   :streamGenerateContent (events with ?alt=sse, else one list), :countTokens; GET models, models/{id}.
// Cohere, under /cohere/v2 with `authorization: Bearer`: POST rerank; under /cohere/v1: GET models,
//   models/{id}. Lists come in pages where the provider's do.
//
// Conventions: a word is a token, and a turn costs 4 more, a request 3. The answer quotes what the
// user said last. A request with tools whose user speaks of a "tool" (or "two tools") gets calls
// of the first (two), 8 tokens each; once their results are in the conversation, the answer quotes
// those. A request for structured output gets JSON that fits its schema. Ids that start with
// `cached` read half of the prompt from a cache; `reasoning` and `thinking` think 20 tokens.
// A credential with `-429` in it is always over its limit, one with `-401` is never valid.
// GET /__requests tells what was asked, DELETE forgets it. What a running upstream does can be changed
// by whoever started it, see upstream/control.mjs.
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { readBody } from './upstream/body.mjs';
import { Control } from './upstream/control.mjs';
import { refuse, Refused } from './upstream/errors.mjs';
import { Exchange } from './upstream/exchange.mjs';
import { route } from './upstream/routes.mjs';

const remembered = 500;

/**
 * Starts the upstream.
 * @returns {Promise<{url: string, port: number, requests: object[], control: Control, close: () => Promise<void>}>}
 *   `requests` holds the last ones, oldest first: method, url, headers, credential (as it came,
 *   without its scheme), body (parsed if JSON; of more than 1 MB with long texts cut), bytes and
 *   sha256 of the body, raw (its text, up to 64 KB), fields (of a form: name to text or {filename,
 *   type, size, sha256}, to a list if it came more than once), status, aborted (the client went
 *   away before the end) and finished. `control` changes what it does from now on; its methods are
 *   the upstream's own too: upstream.switch('demo-large', 'fail-503').
 */
export async function startUpstream({ port = 0, host = '127.0.0.1' } = {}) {
  const requests = [];
  const control = new Control();
  const server = createServer((request, response) => serve({ request, response, requests, control }));
  // Callers keep connections for long; one that is closed while they reuse it looks like a fault.
  server.keepAliveTimeout = 0;
  await new Promise((resolve, reject) => server.on('error', reject).listen(port, host, resolve));
  return {
    url: `http://${host}:${server.address().port}`,
    port: server.address().port,
    requests,
    control,
    ...methodsOf(control),
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

const methodsOf = (control) =>
  Object.fromEntries(['switch', 'restore', 'restoreAll', 'add', 'remove', 'switchList', 'restoreList', 'limitPages'].map((name) => [name, control[name].bind(control)]));

async function serve({ request, response, requests, control }) {
  if (request.url === '/__requests') return recorded(request, response, requests);
  const record = {
    method: request.method,
    url: request.url,
    headers: request.headers,
    credential: undefined,
    body: undefined,
    bytes: 0,
    sha256: undefined,
    status: null,
    aborted: false,
    finished: false,
  };
  requests.push(record);
  if (requests.length > remembered) requests.shift();
  const exchange = new Exchange(response, record);
  try {
    await readBody(request, exchange);
    await route(exchange, control);
  } catch (error) {
    if (response.destroyed) return;
    // A body that the simulation cannot make sense of.
    if (response.headersSent) response.destroy();
    else if (error instanceof Refused) refuse(exchange, error.status, error.error);
    else refuse(exchange, 400, { message: String(error), type: 'invalid_request_error' });
  }
}

function recorded(request, response, requests) {
  if (request.method === 'DELETE') requests.length = 0;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(requests));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { port: { type: 'string', default: '8788' }, host: { type: 'string', default: '127.0.0.1' } } });
  const { url } = await startUpstream({ port: Number(values.port), host: values.host });
  console.log(`Simulated upstream on ${url}/v1`);
}
