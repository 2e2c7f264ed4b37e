// POST /v1beta/models/{model}:generateContent, :streamGenerateContent and :countTokens, as
// strict as Gemini 3 is. Its calls have no ids; the first of each step has a signature, which it
// wants back as long as the turn lasts.
import { Refused } from '../../../scripts/upstream/errors.mjs';
import { pieces } from './chat.mjs';
import { letters, Proofs } from './proofs.mjs';

const proofs = new Proofs('CiQB');
/** What Google documents for calls that its model did not make. */
const passes = ['skip_thought_signature_validator', 'context_engineering_is_the_way_to_go'];

const fields = {
  '': ['contents', 'systemInstruction', 'tools', 'toolConfig', 'safetySettings', 'generationConfig', 'cachedContent', 'labels', 'serviceTier', 'store', 'model'],
  generation_config: [
    'temperature', 'topP', 'topK', 'candidateCount', 'maxOutputTokens', 'stopSequences', 'responseLogprobs', 'logprobs', 'presencePenalty', 'frequencyPenalty', 'seed', 'responseMimeType',
    'responseSchema', 'responseJsonSchema', 'responseModalities', 'mediaResolution', 'speechConfig', 'thinkingConfig', 'imageConfig', 'enableEnhancedCivicAnswers',
  ],
  part: ['text', 'thought', 'thoughtSignature', 'inlineData', 'fileData', 'functionCall', 'functionResponse', 'executableCode', 'codeExecutionResult', 'videoMetadata', 'partMetadata', 'mediaResolution'],
  function_call: ['id', 'name', 'args', 'partialArgs', 'willContinue'],
  function_response: ['id', 'name', 'response', 'parts', 'willContinue', 'scheduling'],
  function_declarations: ['name', 'description', 'parameters', 'parametersJsonSchema', 'response', 'responseJsonSchema', 'behavior'],
  schema: ['type', 'format', 'title', 'description', 'nullable', 'enum', 'items', 'maxItems', 'minItems', 'properties', 'required', 'minProperties', 'maxProperties', 'minimum', 'maximum', 'minLength', 'maxLength', 'pattern', 'example', 'anyOf', 'propertyOrdering', 'default', 'additionalProperties', 'ref', 'defs'],
};

const invalid = (message) => new Refused(400, { message });
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Refuses members that the API does not have, and answers the object with its names in one spelling. */
function checked(object, kind, at = kind) {
  const unknown = Object.keys(object ?? {}).find((name) => !fields[kind].includes(camel(name)));
  if (unknown) throw invalid(`Invalid JSON payload received. Unknown name "${unknown}"${at && ` at '${at}'`}: Cannot find field.`);
  return Object.fromEntries(Object.entries(object ?? {}).map(([name, value]) => [camel(name), value]));
}

export function readGenerate(sent, { method }) {
  const body = checked(method === 'countTokens' && sent.generateContentRequest ? sent.generateContentRequest : sent, '');
  const config = checked(body.generationConfig, 'generation_config');
  if (!body.contents?.length) throw invalid('* GenerateContentRequest.contents: contents is not specified');
  const turns = body.contents.map((content, at) => turnOf(content, `contents[${at}]`));
  // Single turns are counted, too.
  if (method !== 'countTokens') {
    checkOrder(turns);
    checkSignatures(turns);
  }
  const system = body.systemInstruction ? [{ ...turnOf(body.systemInstruction, 'system_instruction'), role: 'system' }] : [];
  return {
    streams: method === 'streamGenerateContent',
    schema: config.responseJsonSchema ?? config.responseSchema ?? (config.responseMimeType === 'application/json' ? {} : undefined),
    tools: (body.tools ?? []).flatMap((tool, at) => toolsOf(tool, at)),
    turns: [...system, ...turns],
    config,
  };
}

function toolsOf(tool, at) {
  const declared = tool.functionDeclarations ?? tool.function_declarations ?? [];
  return declared.map((sent, index) => {
    const it = checked(sent, 'function_declarations', `tools[${at}].function_declarations[${index}]`);
    checkName(it.name, `tools[${at}].function_declarations[${index}].name`);
    if (it.parameters) checkSchema(it.parameters, `tools[${at}].function_declarations[${index}].parameters`);
    if (it.parameters && it.parametersJsonSchema) throw invalid('only one of parameters and parameters_json_schema may be set');
    return { name: it.name, kind: 'function', schema: it.parametersJsonSchema ?? it.parameters, description: it.description };
  });
}

function checkName(name, at) {
  if (/^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$/.test(name ?? '')) return;
  throw invalid(`* GenerateContentRequest.${at}: Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.`);
}

function checkSchema(schema, at) {
  const it = checked(schema, 'schema', at);
  for (const [name, inner] of Object.entries(it.properties ?? {})) checkSchema(inner, `${at}.properties[${name}]`);
  if (it.items) checkSchema(it.items, `${at}.items`);
  for (const [index, inner] of (it.anyOf ?? []).entries()) checkSchema(inner, `${at}.any_of[${index}]`);
}

function turnOf({ role = 'user', parts }, at) {
  if (!['user', 'model', 'function'].includes(role)) throw invalid('Please use a valid role: user, model.');
  const list = [parts ?? []].flat().map((part, index) => checked(part, 'part', `${at}.parts[${index}]`));
  if (!list.length) throw invalid(`* GenerateContentRequest.${at}.parts: contents.parts must not be empty.`);
  for (const part of list) if (!Object.keys(part).some((name) => !['thought', 'thoughtSignature'].includes(name))) throw invalid(`* GenerateContentRequest.${at}.parts[0].data: required oneof field 'data' must have one initialized field`);
  const calls = list.filter(({ functionCall }) => functionCall).map((part) => ({ ...checked(part.functionCall, 'function_call', `${at}.function_call`), signature: part.thoughtSignature }));
  const results = list.filter(({ functionResponse }) => functionResponse).map((part) => checked(part.functionResponse, 'function_response', `${at}.function_response`));
  for (const it of [...calls, ...results]) checkName(it.name, `${at}.parts.name`);
  for (const { response, name } of results) {
    if (typeof response !== 'object' || response === null || Array.isArray(response)) throw invalid(`Invalid value at '${at}.parts.function_response.response' of ${name}: not a struct`);
  }
  return {
    role: role === 'model' ? 'assistant' : 'user',
    text: list.filter(({ text, thought }) => text && !thought).map(({ text }) => text).join('\n'),
    signatures: list.filter(({ functionCall, thoughtSignature }) => !functionCall && thoughtSignature).map(({ thoughtSignature }) => thoughtSignature),
    calls,
    ...(results.length && { results: results.map(({ id, name, response }) => ({ id, name, text: JSON.stringify(response) })) }),
  };
}

function checkOrder(turns) {
  for (const [at, turn] of turns.entries()) {
    const before = turns[at - 1];
    if (turn.calls.length && (!before || before.role !== 'user')) throw invalid('Please ensure that function call turn comes immediately after a user turn or after a function response turn.');
    const results = turn.results?.length ?? 0;
    if (results && !before?.calls.length) throw invalid('Please ensure that function response turn comes immediately after a function call turn.');
    if ((before?.calls.length ?? 0) !== results) throw invalid('Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.');
    const names = (list) => list.map(({ name }) => name).sort().join();
    if (results && names(before.calls) !== names(turn.results)) throw invalid('Please ensure that the names of the function responses are those of the function calls.');
  }
}

/** The turn that lasts is what came since the user last said something. */
function checkSignatures(turns) {
  const began = turns.findLastIndex(({ role, results }) => role === 'user' && !results);
  for (const [at, { calls, signatures }] of turns.entries()) {
    for (const proof of [...signatures, ...calls.map(({ signature }) => signature)]) {
      if (proof !== undefined && !passes.includes(proof) && proofs.textOf(proof) === undefined) throw invalid('Corrupted thought signature.');
    }
    if (at < began || !calls.length || calls[0].signature !== undefined) continue;
    throw invalid(`Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call \`default_api:${calls[0].name}\` , position ${at + 1}.`);
  }
}

export function writeGenerate({ model, thought, text, calls, usage }, { conversation }) {
  const showsThoughts = conversation.config.thinkingConfig?.includeThoughts === true;
  const parts = [
    ...(thought && showsThoughts ? [{ text: thought, thought: true }] : []),
    ...pieces(text).map((piece) => ({ text: piece })),
    ...calls.map(({ name, input }, index) => ({ functionCall: { name, args: input }, ...(index === 0 && { thoughtSignature: proofs.of(name) }) })),
  ];
  const head = { modelVersion: model, responseId: letters(22) };
  const usageMetadata = { promptTokenCount: usage.input, candidatesTokenCount: usage.output, totalTokenCount: usage.input + usage.output };
  const candidate = (list, finishReason) => ({ candidates: [{ content: { role: 'model', parts: list }, ...(finishReason && { finishReason }), index: 0 }], usageMetadata, ...head });
  if (!conversation.streams) return { json: candidate(parts, 'STOP') };
  return { events: parts.map((part, at) => ({ data: candidate([part], at === parts.length - 1 ? 'STOP' : undefined) })) };
}
