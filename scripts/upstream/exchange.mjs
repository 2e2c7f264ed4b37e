// One request and its answer on the wire.

/** Thrown when the client has gone and there is nobody left to answer. */
export class Gone extends Error {}

/** Records how the answer went, while it is written. */
export class Exchange {
  constructor(response, record) {
    this.response = response;
    this.record = record;
    /** openai, anthropic, gemini or cohere: whose errors and headers are spoken. */
    this.dialect = 'openai';
    /** The path within the API, without the version; `query` are its URLSearchParams. */
    this.path = '';
    this.query = new URLSearchParams();
    /** What this API has, as control.mjs keeps it: {models, removed, switched, list, longestPage}. */
    this.has = undefined;
    /** What was sent: JSON, or the text fields of a form, whose files are in `files`: [{name, filename, type, data}]. */
    this.body = undefined;
    this.files = [];
    this.id = `req_sim_${Math.random().toString(36).slice(2, 10)}`;
    this.closed = new Promise((resolve) => response.on('close', resolve));
    response.on('finish', () => (record.finished = true));
    response.on('close', () => (record.aborted = !record.finished && !this.wasReset));
  }

  head(status, headers) {
    this.record.status = status;
    const id = { openai: { 'x-request-id': this.id }, anthropic: { 'request-id': this.id } }[this.dialect];
    this.response.writeHead(status, { ...id, ...headers });
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
