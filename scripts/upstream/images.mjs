// POST /v1/images/generations and /v1/images/edits (a form).
// Ids with `gpt-image` in them report tokens: the words of the prompt, 100 for each image that is
// edited, and for each that is made what its quality costs at 1024x1024. Others report none.
// `dall-e` ids answer with an address, unless base64 is asked for.
import { begun, countWords } from './answer.mjs';
import { json } from './behaviours.mjs';
import { Refused } from './errors.mjs';
import { png } from './png.mjs';

const givenTokens = 100;
const madeTokens = { low: 272, medium: 1056, high: 4160 };

export const generations = imagesApi('image_generation');
export const edits = imagesApi('image_edit');

function imagesApi(name) {
  return {
    // A form has texts only.
    streams: ({ body }) => String(body.stream) === 'true',
    compose: composeImages,
    plain: (answer, exchange) => json(imagesResponse(answer, exchange)),
    events: (answer) => imageEvents(name, answer),
    stretched: (answer, wanted) => ({ ...answer, partials: Array.from({ length: wanted }, () => png) }),
    bigger: (answer, image) => ({ ...answer, partials: [image, ...answer.partials] }),
  };
}

function composeImages({ body, model, files }) {
  if (!body.prompt) throw new Refused(400, { message: 'Missing required parameter: \'prompt\'.', type: 'invalid_request_error', param: 'prompt', code: 'missing_required_parameter' });
  const given = files.filter(({ name }) => /^image(\[\])?$/.test(name)).length * givenTokens;
  const text = countWords(body.prompt);
  const n = Number(body.n ?? 1);
  const quality = body.quality in madeTokens ? body.quality : 'medium';
  const details = { background: body.background ?? 'opaque', output_format: body.output_format ?? 'png', quality, size: /^\d+x\d+$/.test(body.size) ? body.size : '1024x1024' };
  return {
    ...begun(model),
    n,
    details,
    partials: Array.from({ length: Number(body.partial_images ?? 0) }, () => png),
    usage: model.includes('gpt-image') ? { input: text + given, text, given, output: madeTokens[quality] * n } : null,
  };
}

function usageOf({ input, text, given, output }) {
  return {
    total_tokens: input + output,
    input_tokens: input,
    output_tokens: output,
    input_tokens_details: { text_tokens: text, image_tokens: given },
    output_tokens_details: { text_tokens: 0, image_tokens: output },
  };
}

function imagesResponse({ number, model, created, n, details, usage }, { body }) {
  const isDallE = model.startsWith('dall-e');
  const hasAddress = isDallE && body.response_format !== 'b64_json';
  const image = (_, index) => ({
    ...(hasAddress ? { url: `https://images.simulator.invalid/${number}-${index}.png` } : { b64_json: png }),
    ...(model.startsWith('dall-e-3') && { revised_prompt: body.prompt }),
  });
  return { created, ...(!isDallE && details), data: Array.from({ length: n }, image), ...(usage && { usage: usageOf(usage) }) };
}

function imageEvents(name, { created, partials, details, usage }) {
  const event = (type, data, is) => ({ name: `${name}.${type}`, is, data: { type: `${name}.${type}`, created_at: created, ...details, ...data } });
  return [
    ...partials.map((b64_json, partial_image_index) => event('partial_image', { b64_json, partial_image_index }, 'delta')),
    event('completed', { b64_json: png, ...(usage && { usage: usageOf(usage) }) }, 'end'),
  ];
}
