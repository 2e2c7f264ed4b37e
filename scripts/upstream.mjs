// A small OpenAI-compatible upstream for the demo and the tests, good and bad at choice: the
// model id decides, see upstream/behaviours.mjs. It remembers what it was asked.
//   node scripts/upstream.mjs [--port 8788] [--host 127.0.0.1]
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { behaviour, refuse } from './upstream/behaviours.mjs';

const remembered = 500;
const models = ['demo-large', 'demo-small', 'demo-official'];

/**
 * Starts the upstream.
 * @returns {Promise<{url: string, port: number, requests: object[], close: () => Promise<void>}>}
 *   `requests` holds the last ones, oldest first: method, url, headers, body (parsed if JSON),
 *   status, aborted (the client went away before the end) and finished.
 */
export async function startUpstream({ port = 0, host = '127.0.0.1' } = {}) {
  const requests = [];
  const server = createServer((request, response) => serve(request, response, requests));
  // Callers keep connections for long; one that is closed while they reuse it looks like a fault.
  server.keepAliveTimeout = 0;
  await new Promise((resolve, reject) => server.on('error', reject).listen(port, host, resolve));
  return {
    url: `http://${host}:${server.address().port}`,
    port: server.address().port,
    requests,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

async function serve(request, response, requests) {
  if (request.url === '/__requests') return recorded(request, response, requests);
  const record = {
    method: request.method,
    url: request.url,
    headers: request.headers,
    body: undefined,
    status: null,
    aborted: false,
    finished: false,
  };
  requests.push(record);
  if (requests.length > remembered) requests.shift();
  const exchange = new Exchange(response, record);
  try {
    record.body = parsed(await read(request));
    await route(exchange);
  } catch (error) {
    if (response.destroyed) return;
    // A body that the simulation cannot make sense of.
    if (response.headersSent) response.destroy();
    else refuse(exchange, 400, { message: String(error), type: 'invalid_request_error' });
  }
}

async function route(exchange) {
  const { method, url, headers, body } = exchange.record;
  const path = url.split('?')[0];
  if (!/^Bearer \S/.test(headers.authorization ?? '')) {
    return refuse(exchange, 401, { message: 'You didn\'t provide an API key.', type: 'invalid_request_error' });
  }
  if (method === 'GET' && path === '/v1/models') {
    return exchange.json(200, { object: 'list', data: models.map((id) => ({ id, object: 'model', created: 1760000000, owned_by: 'simulator' })) });
  }
  // Behind `elsewhere` waits what a caller gets that follows the `redirect` behaviour.
  if (method === 'POST' && ['/v1/chat/completions', '/elsewhere/v1/chat/completions'].includes(path)) {
    if (typeof body?.model !== 'string') {
      return refuse(exchange, 400, { message: 'you must provide a model parameter', type: 'invalid_request_error' });
    }
    return behaviour(path.startsWith('/elsewhere') ? 'demo-large' : body.model)(exchange);
  }
  return refuse(exchange, 404, { message: `Invalid URL (${method} ${path})`, type: 'invalid_request_error' });
}

/** Thrown when the client has gone and there is nobody left to answer. */
class Gone extends Error {}

/** One request and its answer, which records how it went. */
class Exchange {
  constructor(response, record) {
    this.response = response;
    this.record = record;
    this.closed = new Promise((resolve) => response.on('close', resolve));
    response.on('finish', () => (record.finished = true));
    response.on('close', () => (record.aborted = !record.finished && !this.wasReset));
  }

  get body() {
    return this.record.body;
  }

  head(status, headers) {
    this.record.status = status;
    this.response.writeHead(status, { 'x-request-id': `req_sim_${Math.random().toString(36).slice(2, 10)}`, ...headers });
    this.response.flushHeaders();
  }

  /** Writes at once, on its own; resolves when the bytes have been handed to the network. */
  write(data) {
    if (this.response.destroyed) throw new Gone();
    return new Promise((resolve, reject) => this.response.write(data, (error) => (error ? reject(new Gone()) : resolve())));
  }

  end(data) {
    if (!this.response.destroyed) this.response.end(data);
  }

  send(status, type, data, headers = {}) {
    this.head(status, { 'content-type': type, 'content-length': Buffer.byteLength(data), ...headers });
    this.end(data);
  }

  json(status, value, headers) {
    this.send(status, 'application/json', JSON.stringify(value), headers);
  }

  /** Breaks the connection, so that the other side sees an error instead of an end. */
  reset() {
    this.wasReset = true;
    this.response.socket?.resetAndDestroy();
    throw new Gone();
  }

  async sleep(milliseconds) {
    let timer;
    await Promise.race([new Promise((resolve) => (timer = setTimeout(resolve, milliseconds))), this.closed]);
    clearTimeout(timer);
    if (this.response.destroyed) throw new Gone();
  }
}

function recorded(request, response, requests) {
  if (request.method === 'DELETE') requests.length = 0;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(requests));
}

async function read(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { port: { type: 'string', default: '8788' }, host: { type: 'string', default: '127.0.0.1' } } });
  const { url } = await startUpstream({ port: Number(values.port), host: values.host });
  console.log(`Simulated upstream on ${url}/v1`);
}
