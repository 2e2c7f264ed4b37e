// The gateway's administration over HTTP, as its command line, the demo and the tests use it.
import { Failure } from './shell.mjs';

/** Answers a function that makes one admin call and gives back the answer's JSON. */
export function adminApi(url, token) {
  return async (method, path, body, headers) => {
    const text = await (await sent(url, token, method, path, body, headers)).text();
    return text === '' ? undefined : JSON.parse(text);
  };
}

/** Answers a function that gives back a list as it is written, piece by piece, however long it is. */
export function adminList(url, token) {
  return async function* (path) {
    const response = await sent(url, token, 'GET', path);
    try {
      yield* response.body;
    } catch (error) {
      throw new Failure(`GET ${path} broke off (${error.cause?.code ?? error.message}): what came before is not the whole list.`);
    }
  };
}

/** Makes one call; a refusal is an AdminError. */
async function sent(url, token, method, path, body, headers = {}) {
  const request = { method, headers: { authorization: `Bearer ${token}`, ...headers } };
  if (body !== undefined) {
    request.headers['content-type'] = 'application/json';
    request.body = JSON.stringify(body);
  }
  const response = await fetch(new URL(path, url), request).catch((error) => {
    throw new Failure(`${url} cannot be reached (${error.cause?.code ?? error.message}). Is the gateway running?`);
  });
  if (!response.ok) throw new AdminError(method, path, response.status, await response.text());
  return response;
}

/** A refusal, with the status and whatever JSON came with it. */
export class AdminError extends Failure {
  constructor(method, path, status, text) {
    let body;
    try {
      body = JSON.parse(text);
    } catch {}
    super(`${method} ${path} answered ${status}: ${explained(body) ?? text}`);
    this.status = status;
    this.body = body;
  }
}

/** The message of an error and everything that it is about, such as a catalogue's faults. */
function explained(body) {
  if (!body?.error) return undefined;
  const { message, metadata } = body.error;
  const details = metadata && Object.keys(metadata).length > 0 ? `\n${JSON.stringify(metadata, null, 2)}` : '';
  return message + details;
}
