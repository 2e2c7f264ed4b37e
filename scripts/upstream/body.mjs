// Bodies of requests: read, understood and recorded. A recorded body stays small, so that large
// images do not pile up in memory.
import { createHash } from 'node:crypto';

/** Bytes up to which the text of a body is recorded, and up to which its JSON is recorded whole. */
const rawLimit = 64 * 1024;
const wholeLimit = 1024 * 1024;
/** Characters that stay of a text in a body that is not recorded whole. */
const shortened = 100;

/** Reads a request's body into the exchange, and into its record what is to be remembered of it. */
export async function readBody(request, exchange) {
  const { record } = exchange;
  const parts = [];
  for await (const part of request) parts.push(part);
  const data = Buffer.concat(parts);
  record.bytes = data.length;
  record.sha256 = sha256(data);
  const boundary = /^multipart\/form-data;.*boundary="?([^";]+)/i.exec(request.headers['content-type'])?.[1];
  if (data.length <= rawLimit) record.raw = data.toString();
  if (boundary) return readForm(exchange, formParts(data, boundary));
  exchange.body = parsed(data.toString());
  record.body = data.length <= wholeLimit ? exchange.body : short(exchange.body);
}

function readForm(exchange, parts) {
  const [body, fields] = [{}, {}];
  for (const { name, filename, type, data } of parts) {
    if (filename === undefined) add(body, name, data.toString());
    else exchange.files.push({ name, filename, type, data });
    add(fields, name, filename === undefined ? data.toString() : { filename, type, size: data.length, sha256: sha256(data) });
  }
  exchange.body = body;
  exchange.record.fields = fields;
}

/** A name that comes again holds a list. */
function add(fields, name, value) {
  fields[name] = Object.hasOwn(fields, name) ? [fields[name], value].flat() : value;
}

/** The parts of a multipart body: {name, filename?, type?, data}. Throws when it is not one. */
function formParts(data, boundary) {
  const [open, delimiter] = [Buffer.from(`--${boundary}`), Buffer.from(`\r\n--${boundary}`)];
  const parts = [];
  let at = data.indexOf(open);
  if (at < 0) throw new Error('multipart: boundary not found');
  at += open.length;
  while (data.subarray(at, at + 2).toString() !== '--') {
    const headersEnd = data.indexOf('\r\n\r\n', at);
    const end = headersEnd < 0 ? -1 : data.indexOf(delimiter, headersEnd + 2);
    if (end < 0) throw new Error('multipart: NextPart: EOF');
    parts.push({ ...partHeaders(data.subarray(at, headersEnd).toString()), data: data.subarray(headersEnd + 4, end) });
    at = end + delimiter.length;
  }
  return parts;
}

function partHeaders(text) {
  const disposition = /^content-disposition:(.*)$/im.exec(text)?.[1] ?? '';
  const parameter = (name) => new RegExp(`[;\\s]${name}="([^"]*)"`, 'i').exec(disposition)?.[1];
  const type = /^content-type:\s*(\S.*?)\s*$/im.exec(text)?.[1];
  return { name: parameter('name') ?? '', filename: parameter('filename'), type };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The same with its long texts cut. A slice would keep the whole text alive; a copy does not. */
function short(value) {
  if (typeof value === 'string') return value.length > shortened ? Buffer.from(`${value.slice(0, shortened)}...`).toString() : value;
  if (Array.isArray(value)) return value.map(short);
  return value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, short(inner)])) : value;
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex');
}
