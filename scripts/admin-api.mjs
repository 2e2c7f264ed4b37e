// The gateway's administration over HTTP, as its command line, the demo and the tests use it.
import { Failure } from './shell.mjs';

/** Answers a function that makes one admin call and gives back the answer's JSON. */
export function adminApi(url, token) {
  return async (method, path, body) => {
    const request = { method, headers: { authorization: `Bearer ${token}` } };
    if (body !== undefined) {
      request.headers['content-type'] = 'application/json';
      request.body = JSON.stringify(body);
    }
    const response = await fetch(new URL(path, url), request).catch((error) => {
      throw new Failure(`${url} cannot be reached (${error.cause?.code ?? error.message}). Is the gateway running?`);
    });
    const text = await response.text();
    if (response.ok) return text === '' ? undefined : JSON.parse(text);
    throw new AdminError(method, path, response.status, text);
  };
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
