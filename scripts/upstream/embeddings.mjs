// POST /v1/embeddings and /v1/moderations.
import { begun, countWords } from './answer.mjs';
import { createHash } from 'node:crypto';
import { json } from './behaviours.mjs';
import { Refused } from './errors.mjs';

/** Of a vector, if the request names no other number. */
const dimensions = 1536;

export const embeddings = {
  streams: () => false,
  compose({ body, model }) {
    const inputs = inputsOf(body.input);
    return { ...begun(model), inputs, usage: { input: inputs.reduce((sum, { tokens }) => sum + tokens, 0) } };
  },
  plain: ({ inputs, usage }, { body, model }) =>
    json({
      object: 'list',
      data: inputs.map(({ text }, index) => ({ object: 'embedding', index, embedding: encoded(vector(text, body.dimensions ?? dimensions), body.encoding_format) })),
      model,
      ...(usage && { usage: { prompt_tokens: usage.input, total_tokens: usage.input } }),
    }),
};

/** An input is a text, a list of texts, a list of tokens or a list of such. */
function inputsOf(input) {
  const ofTokens = (tokens) => ({ text: tokens.join(' '), tokens: tokens.length });
  const one = (it) => (Array.isArray(it) ? ofTokens(it) : { text: it, tokens: countWords(it) });
  const inputs = !Array.isArray(input) ? [input] : typeof input[0] === 'number' ? [input] : input;
  const isGood = (it) => (typeof it === 'string' ? it !== '' : Array.isArray(it) && it.length > 0);
  if (!inputs.length || !inputs.every(isGood)) throw new Refused(400, { message: "'$.input' is invalid.", type: 'invalid_request_error', param: 'input' });
  return inputs.map(one);
}

/** A vector of length 1 that the text determines, in 32 bit floats. */
function vector(text, count) {
  const values = new Float32Array(count);
  for (let index = 0; index < count; index += 8) {
    const bytes = createHash('sha256').update(`${index} ${text}`).digest();
    for (let at = 0; at < 8 && index + at < count; at += 1) values[index + at] = bytes.readInt32LE(at * 4) / 2 ** 31;
  }
  const length = Math.hypot(...values);
  return values.map((value) => value / length);
}

/** As numbers, or as base64 of little-endian floats. */
function encoded(values, format) {
  if (format !== 'base64') return [...values];
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeFloatLE(value, index * 4));
  return bytes.toString('base64');
}

const categories = [
  'harassment', 'harassment/threatening', 'hate', 'hate/threatening', 'illicit', 'illicit/violent', 'self-harm',
  'self-harm/instructions', 'self-harm/intent', 'sexual', 'sexual/minors', 'violence', 'violence/graphic',
];

/** A category is flagged when its name is in the text. */
export const moderations = {
  streams: () => false,
  compose({ body, model }) {
    const { input } = body;
    if (input === undefined) throw new Refused(400, { message: 'You must provide an input.', type: 'invalid_request_error', param: 'input' });
    const isParts = Array.isArray(input) && typeof input[0] === 'object';
    const texts = isParts ? [input.map(({ text }) => text ?? '').join(' ')] : [input].flat();
    return { ...begun(model), texts, usage: null };
  },
  plain: ({ number, model, texts }) => json({ id: `modr-sim-${number}`, model, results: texts.map(moderated) }),
};

function moderated(text) {
  const each = (value) => Object.fromEntries(categories.map((name) => [name, value(text.toLowerCase().split(/[\s.,!?]+/).includes(name))]));
  const found = each((isIn) => isIn);
  return {
    flagged: Object.values(found).includes(true),
    categories: found,
    category_scores: each((isIn) => (isIn ? 0.98 : 0.0001)),
    category_applied_input_types: each(() => ['text']),
  };
}
