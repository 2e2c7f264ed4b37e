// POST /v1/chat/completions, of two providers: one that is strict as OpenAI is, and one that
// thinks aloud and wants its thoughts back with each call that it made, as DeepSeek and Kimi do.
import { Refused } from '../../../scripts/upstream/errors.mjs';
import { letters } from './proofs.mjs';

const fields = [
  'model', 'messages', 'frequency_penalty', 'presence_penalty', 'logit_bias', 'logprobs', 'top_logprobs', 'max_tokens', 'max_completion_tokens', 'n',
  'response_format', 'seed', 'service_tier', 'stop', 'stream', 'stream_options', 'temperature', 'top_p', 'tools', 'tool_choice', 'parallel_tool_calls',
  'user', 'metadata', 'store', 'reasoning_effort', 'modalities', 'audio', 'prediction', 'web_search_options', 'prompt_cache_key', 'prompt_cache_retention',
  'safety_identifier', 'verbosity',
];
const parts = { user: ['text', 'image_url', 'input_audio', 'file'], assistant: ['text', 'refusal'], system: ['text'], developer: ['text'], tool: ['text'] };

const invalid = (message, param = null, code = null) => new Refused(400, { message, type: 'invalid_request_error', param, code });

/** Reads a request as the provider does; throws what it would answer to one that it does not take. */
export function readChat(body, { thinks }) {
  const unknown = Object.keys(body).find((name) => !fields.includes(name));
  if (unknown && !thinks) throw invalid(`Unrecognized request argument supplied: ${unknown}`);
  checkTools(body);
  const turns = body.messages.map((message, at) => turnOf(message, at));
  checkPairs(body.messages);
  if (thinks) checkThoughts(body.messages, thinks);
  return {
    streams: body.stream === true,
    schema: body.response_format?.json_schema?.schema ?? (body.response_format?.type === 'json_object' ? {} : undefined),
    tools: (body.tools ?? []).map(({ type, [type]: it }) => ({ name: it.name, kind: type, schema: it.parameters, description: it.description })),
    turns,
  };
}

function checkTools({ tools, tool_choice, parallel_tool_calls, stream, stream_options }) {
  if (tools?.length === 0) throw invalid('Invalid \'tools\': empty array. Expected an array with minimum length 1, but got an empty array instead.', 'tools', 'empty_array');
  if (!tools && tool_choice && tool_choice !== 'none') throw invalid('\'tool_choice\' is only allowed when \'tools\' are specified.', 'tool_choice');
  if (!tools && parallel_tool_calls !== undefined) throw invalid('\'parallel_tool_calls\' is only allowed when \'tools\' are specified.', 'parallel_tool_calls');
  if (stream_options && !stream) throw invalid('The \'stream_options\' parameter is only allowed when \'stream\' is enabled.', 'stream_options');
  const names = new Set();
  for (const [at, tool] of (tools ?? []).entries()) {
    if (!['function', 'custom'].includes(tool.type)) throw invalid(`Invalid value: '${tool.type}'. Supported values are: 'function' and 'custom'.`, `tools[${at}].type`, 'invalid_value');
    const it = tool[tool.type];
    checkName(it?.name, `tools[${at}].${tool.type}.name`);
    if (names.has(it.name)) throw invalid(`Invalid 'tools': Duplicate tool name ${it.name}.`, 'tools');
    names.add(it.name);
    const { parameters } = it;
    if (parameters && parameters.type !== 'object') {
      throw invalid(`Invalid schema for function '${it.name}': schema must be a JSON Schema of 'type: "object"', got 'type: "${parameters.type}"'.`, `tools[${at}].function.parameters`, 'invalid_function_parameters');
    }
  }
}

function checkName(name, param) {
  if (typeof name !== 'string' || !name) throw invalid(`Missing required parameter: '${param}'.`, param, 'missing_required_parameter');
  if (name.length > 64) throw invalid(`Invalid '${param}': string too long. Expected a string with maximum length 64, but got a string with length ${name.length} instead.`, param, 'string_above_max_length');
  if (!/^[a-zA-Z0-9_-]+$/.test(name)) throw invalid(`Invalid '${param}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.`, param, 'invalid_value');
}

function turnOf({ role, content, tool_calls, tool_call_id }, at) {
  const known = parts[role];
  if (!known) throw invalid(`Invalid value: '${role}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.`, `messages[${at}].role`, 'invalid_value');
  if (content == null && !(role === 'assistant' && tool_calls?.length)) throw invalid(`Invalid value for 'content': expected a string, got null.`, `messages[${at}].content`);
  for (const part of Array.isArray(content) ? content : []) {
    if (!known.includes(part.type)) throw invalid(`Invalid value: '${part.type}'. Supported values are: ${known.map((it) => `'${it}'`).join(', ')}.`, `messages[${at}].content`, 'invalid_value');
  }
  const text = typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join('\n');
  if (role === 'tool') return { role, results: [{ id: tool_call_id, text }] };
  if (tool_calls?.length === 0) throw invalid('Invalid \'tool_calls\': empty array.', `messages[${at}].tool_calls`, 'empty_array');
  for (const [index, call] of (tool_calls ?? []).entries()) {
    const param = `messages[${at}].tool_calls[${index}]`;
    if (!['function', 'custom'].includes(call.type)) throw invalid(`Invalid value: '${call.type}'.`, `${param}.type`, 'invalid_value');
    if (typeof call.id !== 'string') throw invalid(`Missing required parameter: '${param}.id'.`, `${param}.id`);
    if (call.id.length > 40) throw invalid(`Invalid '${param}.id': string too long. Expected a string with maximum length 40, but got a string with length ${call.id.length} instead.`, `${param}.id`, 'string_above_max_length');
    checkName(call[call.type]?.name, `${param}.${call.type}.name`);
    if (call.type === 'function' && typeof call.function.arguments !== 'string') throw invalid(`Invalid type for '${param}.function.arguments': expected a string.`, param, 'invalid_type');
  }
  return { role: role === 'developer' ? 'system' : role, text, calls: (tool_calls ?? []).map((call) => ({ id: call.id, name: call[call.type].name })) };
}

/** Each call is answered by a message of its own right after it, and nothing else is answered. */
function checkPairs(messages) {
  let open = [];
  const known = new Set();
  for (const [at, { role, tool_calls, tool_call_id }] of messages.entries()) {
    if (role === 'tool') {
      if (!open.includes(tool_call_id)) throw invalid('Invalid parameter: messages with role \'tool\' must be a response to a preceeding message with \'tool_calls\'.', `messages.[${at}].role`);
      open = open.filter((id) => id !== tool_call_id);
      continue;
    }
    if (open.length) throw unanswered(open);
    for (const { id } of tool_calls ?? []) {
      if (open.includes(id)) throw invalid(`Duplicate value for 'tool_call_id' of '${id}' in message[${at}].`, `messages.[${at}].tool_calls`);
      if (known.has(id)) throw invalid(`The id '${id}' of a call was used before.`, `messages.[${at}].tool_calls`);
      known.add(id);
      open.push(id);
    }
  }
  if (open.length) throw unanswered(open);
}

const unanswered = (open) =>
  invalid(`An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: ${open.join(', ')}`, 'messages');

/** A message with calls has thoughts; where they are of the provider's own calls, they are its own. */
function checkThoughts(messages, thoughts) {
  for (const [at, { role, tool_calls, reasoning_content }] of messages.entries()) {
    if (role === 'developer') throw invalid('Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`');
    if (role !== 'assistant' || !tool_calls?.length) continue;
    const own = thoughts.get(tool_calls[0].id);
    // It does not miss thoughts where it had none.
    if (own !== '' && typeof reasoning_content !== 'string') {
      throw invalid(`thinking is enabled but reasoning_content is missing in assistant tool call message at index ${at}`);
    }
    if (own && own !== reasoning_content) throw invalid(`The reasoning_content in the assistant message at index ${at} is not what the model thought.`);
  }
}

/** The answer as the provider writes it: {type, data} or {events}. */
export function writeChat({ model, thought, text, calls, usage }, { body, thinks }) {
  const head = { id: `chatcmpl-${letters(20)}`, created: Math.floor(Date.now() / 1000), model, system_fingerprint: 'fp_sim' };
  const tool_calls = calls.map(({ name, input }) => ({ id: `call_${letters(24)}`, type: 'function', function: { name, arguments: JSON.stringify(input) } }));
  const finish_reason = calls.length ? 'tool_calls' : 'stop';
  if (thinks) for (const { id } of tool_calls) thinks.set(id, thought);
  const reported = {
    prompt_tokens: usage.input, completion_tokens: usage.output, total_tokens: usage.input + usage.output,
    prompt_tokens_details: { cached_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 0 },
  };
  if (!body.stream) {
    const message = { role: 'assistant', content: text || null, ...(thinks && { reasoning_content: thought }), ...(calls.length && { tool_calls }) };
    return { json: { ...head, object: 'chat.completion', choices: [{ index: 0, message, logprobs: null, finish_reason }], usage: reported } };
  }
  const chunk = (delta, finish = null) => ({ data: { ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] } });
  const events = [chunk({ role: 'assistant', content: null })];
  if (thinks) for (const part of pieces(thought)) events.push(chunk({ reasoning_content: part }));
  for (const part of pieces(text)) events.push(chunk({ content: part }));
  for (const [index, call] of tool_calls.entries()) {
    events.push(chunk({ tool_calls: [{ index, ...call, function: { name: call.function.name, arguments: '' } }] }));
    for (const part of pieces(call.function.arguments)) events.push(chunk({ tool_calls: [{ index, function: { arguments: part } }] }));
  }
  events.push(chunk({}, finish_reason));
  if (body.stream_options?.include_usage) events.push({ data: { ...head, object: 'chat.completion.chunk', choices: [], usage: reported } });
  return { events: [...events, { data: '[DONE]' }] };
}

/** A text in the pieces that a stream has. */
export const pieces = (text) => (text ?? '').match(/[\s\S]{1,24}/g) ?? [];
