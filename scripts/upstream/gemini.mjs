// POST /gemini/v1beta/models/{m}:generateContent, :streamGenerateContent and :countTokens.
// Ids of its own: `blocked...` blocks the prompt; an id with `image` in it draws, as do requests
// for the modality. Thoughts are shown by ids that start with `reasoning` or `thinking`, and to
// requests that include them. Ids that start with `strict` refuse unknown fields, as the provider
// does, and results that are not as many as their calls.
import { compose, inputUsage, isThinker, partTokens } from './answer.mjs';
import { json } from './behaviours.mjs';
import { Refused } from './errors.mjs';
import { png } from './png.mjs';

/** Tokens of an image that is made. */
const drawnTokens = 1290;
const thoughtSignature = Buffer.from('the signature of a simulated thought').toString('base64');

export const generate = {
  streams: ({ method }) => method === 'streamGenerateContent',
  compose({ body, model }) {
    if (model.startsWith('strict')) checkStrictly(body);
    const answer = compose(askOf(body, model));
    const draws = model.includes('image') || (configOf(body).responseModalities ?? []).includes('IMAGE');
    return { ...answer, draws, usage: { ...answer.usage, drawn: draws ? drawnTokens : 0 } };
  },
  plain: (answer) => json(isBlocked(answer) ? blocked(answer) : whole(answer)),
  events: (answer) => (isBlocked(answer) ? [{ is: 'end', data: blocked(answer) }] : chunks(answer)),
};

export const countTokens = {
  streams: () => false,
  compose: ({ body, model }) => ({ usage: inputUsage(askOf(body.generateContentRequest ?? body, model)) }),
  plain: ({ usage }) => json({ totalTokens: usage?.input, promptTokensDetails: usage && inputDetails(usage) }),
};

const fields = {
  request: ['contents', 'systemInstruction', 'tools', 'toolConfig', 'safetySettings', 'generationConfig', 'cachedContent', 'labels', 'serviceTier', 'store', 'model'],
  config: [
    'temperature', 'topP', 'topK', 'candidateCount', 'maxOutputTokens', 'stopSequences', 'responseLogprobs', 'logprobs', 'presencePenalty', 'frequencyPenalty', 'seed',
    'responseMimeType', 'responseSchema', 'responseJsonSchema', 'responseModalities', 'mediaResolution', 'speechConfig', 'thinkingConfig', 'imageConfig',
    'audioTranscriptionConfig', 'enableEnhancedCivicAnswers',
  ],
};

function checkStrictly(body) {
  const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
  const check = (object, known, at) => {
    const unknown = Object.keys(object ?? {}).find((name) => !known.includes(camel(name)));
    if (unknown) throw new Refused(400, { message: `Invalid JSON payload received. Unknown name "${unknown}"${at}: Cannot find field.` });
  };
  check(body, fields.request, '');
  check(field(body, 'generationConfig'), fields.config, ' at \'generation_config\'');
  const count = (content, name) => [content?.parts ?? []].flat().filter((part) => field(part, name)).length;
  for (const [index, content] of (body.contents ?? []).entries()) {
    const results = count(content, 'functionResponse');
    if (results && results !== count(body.contents[index - 1], 'functionCall')) {
      throw new Refused(400, { message: 'Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.' });
    }
  }
}

const isBlocked = ({ model }) => model.startsWith('blocked');

/** A field by its name, or as the API takes it too: with underscores. */
function field(object, name) {
  return object?.[name] ?? object?.[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)];
}

function configOf(body) {
  const config = field(body, 'generationConfig');
  const names = ['candidateCount', 'maxOutputTokens', 'stopSequences', 'responseMimeType', 'responseSchema', 'responseJsonSchema', 'responseModalities', 'thinkingConfig'];
  return Object.fromEntries(names.map((name) => [name, field(config, name)]));
}

function askOf(body, model) {
  if (!Array.isArray(body.contents)) throw new Refused(400, { message: '* GenerateContentRequest.contents: contents is not specified' });
  const config = configOf(body);
  const system = field(body, 'systemInstruction');
  const calling = field(field(body, 'toolConfig'), 'functionCallingConfig') ?? {};
  const [allowed] = field(calling, 'allowedFunctionNames') ?? [];
  const mode = { ANY: allowed ? { name: allowed } : 'required', NONE: 'none' }[calling.mode] ?? 'auto';
  return {
    model,
    turns: [...(system ? [{ ...turnOf(system), role: 'system' }] : []), ...body.contents.map(turnOf)],
    tools: (body.tools ?? []).flatMap((tool) => field(tool, 'functionDeclarations') ?? []).map((it) => ({ name: it.name, schema: field(it, 'parametersJsonSchema') ?? it.parameters })),
    toolChoice: mode,
    n: config.candidateCount ?? 1,
    limit: config.maxOutputTokens,
    stop: config.stopSequences ?? [],
    schema: config.responseJsonSchema ?? config.responseSchema ?? (config.responseMimeType === 'application/json' ? { properties: { said: {} } } : undefined),
    thinks: isThinker(model) || field(config.thinkingConfig, 'includeThoughts') === true,
  };
}

function turnOf({ role, parts }) {
  const all = [parts ?? []].flat();
  const inline = all.flatMap((part) => field(part, 'inlineData') ?? []);
  const tokens = (kind) => inline.filter((data) => field(data, 'mimeType')?.startsWith(`${kind}/`)).length * partTokens[kind];
  const results = all.flatMap((part) => field(part, 'functionResponse') ?? []).map(({ response }) => resultText(response));
  return {
    role: role === 'model' ? 'assistant' : 'user',
    text: all.filter(({ text, thought }) => text !== undefined && !thought).map(({ text }) => text).join(' '),
    audio: tokens('audio'),
    image: tokens('image'),
    ...(results.length && { results }),
  };
}

/** A result is an object; what it wraps under the usual names is the text. */
function resultText(response) {
  const value = response?.output ?? response?.result ?? response?.content ?? response;
  return typeof value === 'string' ? value : JSON.stringify(value ?? null);
}

function inputDetails({ input, audio, image }) {
  return [['TEXT', input - audio - image], ['IMAGE', image], ['AUDIO', audio]].filter(([, tokenCount]) => tokenCount).map(([modality, tokenCount]) => ({ modality, tokenCount }));
}

/** Zeros are left out, as the API does; thoughts are not among the candidates' tokens. */
function usageMetadata(usage, spoken = usage.output, drawn = usage.drawn, thought = usage.reasoning) {
  const { input, cached } = usage;
  return {
    promptTokenCount: input,
    ...(cached && { cachedContentTokenCount: cached }),
    ...(spoken + drawn && { candidatesTokenCount: spoken + drawn }),
    ...(thought && { thoughtsTokenCount: thought }),
    totalTokenCount: input + spoken + drawn + thought,
    promptTokensDetails: inputDetails(usage),
    ...(cached && { cacheTokensDetails: [{ modality: 'TEXT', tokenCount: cached }] }),
    ...(drawn && { candidatesTokensDetails: [...(spoken ? [{ modality: 'TEXT', tokenCount: spoken }] : []), { modality: 'IMAGE', tokenCount: drawn }] }),
  };
}

const finishReasons = { stop: 'STOP', length: 'MAX_TOKENS', tool: 'STOP', stop_sequence: 'STOP', filter: 'SAFETY' };
const head = ({ model, number }) => ({ modelVersion: model, responseId: `gemini-sim-${number}` });
const thoughtPart = (words) => ({ text: words.join(''), thought: true });
const drawing = { inlineData: { mimeType: 'image/png', data: png } };
/** Calls are whole; the first of parallel ones carries the signature. */
const callPart = ({ name, input }, index) => ({ functionCall: { name, args: input }, ...(index === 0 && { thoughtSignature }) });

function blocked(answer) {
  const { usage } = answer;
  return {
    promptFeedback: { blockReason: 'SAFETY', safetyRatings: [{ category: 'HARM_CATEGORY_DANGEROUS_CONTENT', probability: 'HIGH' }] },
    ...(usage && { usageMetadata: { promptTokenCount: usage.input, totalTokenCount: usage.input, promptTokensDetails: inputDetails(usage) } }),
    ...head(answer),
  };
}

function whole(answer) {
  const candidates = answer.choices.map(({ index, thought, words, calls, finish }) => ({
    content: {
      parts: [
        ...(thought.length ? [thoughtPart(thought)] : []),
        ...(words.length || !calls.length ? [{ text: words.join('') }] : []),
        ...(answer.draws ? [drawing] : []),
        ...calls.map(callPart),
      ],
      role: 'model',
    },
    finishReason: finishReasons[finish],
    index,
  }));
  return { candidates, ...(answer.usage && { usageMetadata: usageMetadata(answer.usage) }), ...head(answer) };
}

/** One part a chunk; every chunk reports the usage so far, and the last one why it ends. */
function chunks(answer) {
  const { usage, choices, draws } = answer;
  const events = [];
  const soFar = { spoken: 0, drawn: 0, thought: 0 };
  const push = (index, part, counted, finishReason) => {
    for (const [key, count] of Object.entries(counted)) soFar[key] += count;
    const reported = usage && { usageMetadata: finishReason ? usageMetadata(usage) : usageMetadata(usage, soFar.spoken, soFar.drawn, soFar.thought) };
    const candidate = { content: { parts: [part], role: 'model' }, ...(finishReason && { finishReason }), index };
    events.push({ is: finishReason ? 'end' : 'delta', data: { candidates: [candidate], ...reported, ...head(answer) } });
  };
  for (const { index, thought, words, calls, finish } of choices) {
    for (const word of thought) push(index, thoughtPart([word]), { thought: 1 });
    for (const word of words) push(index, { text: word }, { spoken: 1 });
    if (draws) push(index, drawing, { drawn: drawnTokens });
    for (const [position, call] of calls.entries()) push(index, callPart(call, position), { spoken: 8 });
    push(index, { text: '' }, {}, finishReasons[finish]);
  }
  return events;
}
