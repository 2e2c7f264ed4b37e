// POST /v1/messages and /v1/messages/count_tokens, as strict as Anthropic is.
import { Refused } from '../../../scripts/upstream/errors.mjs';
import { pieces } from './chat.mjs';
import { letters, Proofs } from './proofs.mjs';

const proofs = new Proofs('EqRb');
const redacted = new Proofs('Emwk');

const fields = [
  'cache_control', 'container', 'context_management', 'diagnostics', 'inference_geo', 'max_tokens', 'mcp_servers', 'messages', 'metadata', 'model',
  'output_config', 'output_format', 'service_tier', 'speed', 'stop_sequences', 'stream', 'system', 'temperature', 'thinking', 'tool_choice', 'tools', 'top_k', 'top_p',
];
const blocks = {
  user: {
    text: ['text', 'cache_control', 'citations'], image: ['source', 'cache_control'], document: ['source', 'cache_control', 'title', 'context', 'citations'],
    tool_result: ['tool_use_id', 'content', 'is_error', 'cache_control'], search_result: ['source', 'title', 'content', 'citations', 'cache_control'],
  },
  assistant: {
    text: ['text', 'cache_control', 'citations'], thinking: ['thinking', 'signature'], redacted_thinking: ['data'],
    tool_use: ['id', 'name', 'input', 'cache_control', 'caller'], server_tool_use: ['id', 'name', 'input', 'cache_control'],
  },
  system: { text: ['text', 'cache_control', 'citations'] },
};

const invalid = (message) => new Refused(400, { message });

export function readMessages(body, { counts = false } = {}) {
  const unknown = Object.keys(body).find((name) => !fields.includes(name));
  if (unknown) throw invalid(`${unknown}: Extra inputs are not permitted`);
  if (!counts && !(Number.isInteger(body.max_tokens) && body.max_tokens > 0)) throw invalid('max_tokens: Field required');
  if (!body.messages?.length) throw invalid('messages: at least one message is required');
  checkTools(body);
  checkThinking(body);
  const system = typeof body.system === 'string' || body.system === undefined ? [] : body.system;
  for (const [at, block] of system.entries()) checkBlock('system', block, `system.${at}`);
  const turns = body.messages.map((message, at) => turnOf(message, at));
  checkPairs(body.messages);
  const marks = JSON.stringify(body).match(/"cache_control":\{/g)?.length ?? 0;
  if (marks > 4) throw invalid(`A maximum of 4 blocks with cache_control may be provided. Found ${marks}.`);
  return {
    streams: body.stream === true,
    schema: (body.output_config?.format ?? body.output_format)?.schema,
    tools: (body.tools ?? []).flatMap((tool) => (tool.input_schema ? [{ name: tool.name, kind: 'function', schema: tool.input_schema, description: tool.description }] : [])),
    turns: [{ role: 'system', text: typeof body.system === 'string' ? body.system : system.map(({ text }) => text).join('\n') }, ...turns],
  };
}

function checkTools({ tools = [], tool_choice }) {
  const names = new Set();
  for (const [at, tool] of tools.entries()) {
    const { type = 'custom', name, input_schema } = tool;
    if (type !== 'custom') continue;
    if (!/^[a-zA-Z0-9_-]{1,128}$/.test(name ?? '')) throw invalid(`tools.${at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'`);
    if (names.has(name)) throw invalid('tools: Tool names must be unique.');
    names.add(name);
    if (input_schema?.type !== 'object') throw invalid(`tools.${at}.custom.input_schema.type: Field required`);
    const extra = Object.keys(tool).find((key) => !['type', 'name', 'description', 'input_schema', 'cache_control', 'strict', 'defer_loading', 'allowed_callers', 'eager_input_streaming', 'input_examples'].includes(key));
    if (extra) throw invalid(`tools.${at}.custom.${extra}: Extra inputs are not permitted`);
  }
  if (tool_choice && !tools.length) throw invalid('tool_choice: may only be specified while providing tools.');
}

function checkThinking({ thinking, max_tokens, temperature, tool_choice, messages }) {
  if (thinking?.type === 'enabled' && !(thinking.budget_tokens >= 1024)) throw invalid('thinking.enabled.budget_tokens: Input should be greater than or equal to 1024');
  if (thinking?.type === 'enabled' && !(max_tokens > thinking.budget_tokens)) throw invalid('`max_tokens` must be greater than `thinking.budget_tokens`.');
  const thinks = thinking && thinking.type !== 'disabled';
  if (thinks && temperature !== undefined && temperature !== 1) throw invalid('`temperature` may only be set to 1 when thinking is enabled.');
  if (thinks && ['any', 'tool'].includes(tool_choice?.type)) throw invalid('Thinking may not be enabled when tool_choice forces tool use.');
  const last = messages.findLast(({ role }) => role === 'assistant');
  const first = Array.isArray(last?.content) ? last.content[0] : undefined;
  const calls = Array.isArray(last?.content) && last.content.some(({ type }) => type === 'tool_use');
  if (thinking?.type === 'enabled' && calls && !['thinking', 'redacted_thinking'].includes(first.type)) {
    throw invalid(`messages.${messages.indexOf(last)}.content.0.type: Expected \`thinking\` or \`redacted_thinking\`, but found \`${first.type}\`. When \`thinking\` is enabled, a final \`assistant\` message must start with a thinking block.`);
  }
}

function checkBlock(role, block, at) {
  const known = blocks[role]?.[block.type];
  if (!known) throw invalid(`${at}: Input tag '${block.type}' found using 'type' does not match any of the expected tags: ${Object.keys(blocks[role] ?? {}).map((it) => `'${it}'`).join(', ')}`);
  const extra = Object.keys(block).find((name) => name !== 'type' && !known.includes(name));
  if (extra) throw invalid(`${at}.${block.type}.${extra}: Extra inputs are not permitted`);
  if (block.type === 'text' && !block.text?.trim()) throw invalid(`${at}: text content blocks must ${block.text ? 'contain non-whitespace text' : 'be non-empty'}`);
  if (block.type === 'thinking') {
    if (typeof block.signature !== 'string') throw invalid(`${at}.thinking.signature: Field required`);
    const own = proofs.textOf(block.signature);
    if (own === undefined) throw invalid(`${at}: Invalid \`signature\` in \`thinking\` block`);
    if (block.thinking !== own && block.thinking !== '') throw invalid(`${at}: \`thinking\` or \`redacted_thinking\` blocks in the latest assistant message cannot be modified. These blocks must remain as they were in the original response.`);
  }
  if (block.type === 'redacted_thinking' && redacted.textOf(block.data) === undefined) throw invalid(`${at}: Invalid \`data\` in \`redacted_thinking\` block`);
  if (block.type === 'tool_use') {
    if (!/^[a-zA-Z0-9_-]+$/.test(block.id ?? '')) throw invalid(`${at}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'`);
    if (!/^[a-zA-Z0-9_-]{1,128}$/.test(block.name ?? '')) throw invalid(`${at}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'`);
    if (typeof block.input !== 'object' || block.input === null || Array.isArray(block.input)) throw invalid(`${at}.tool_use.input: Input should be a valid dictionary`);
  }
  if (block.type === 'tool_result' && Array.isArray(block.content)) {
    for (const [index, part] of block.content.entries()) {
      if (!['text', 'image', 'document', 'search_result', 'tool_reference'].includes(part.type)) throw invalid(`${at}.tool_result.content.${index}: Input tag '${part.type}' found using 'type' does not match any of the expected tags: 'document', 'image', 'search_result', 'text', 'tool_reference'`);
      if (part.type === 'text' && !part.text) throw invalid(`${at}.tool_result.content.${index}: text content blocks must be non-empty`);
    }
  }
}

function turnOf({ role, content, ...others }, at) {
  if (!['user', 'assistant', 'system'].includes(role)) throw invalid(`messages.${at}.role: Input should be 'user' or 'assistant'`);
  const [extra] = Object.keys(others);
  if (extra) throw invalid(`messages.${at}.${extra}: Extra inputs are not permitted`);
  const list = typeof content === 'string' ? [{ type: 'text', text: content }] : content;
  if (!list?.length) throw invalid(`messages.${at}: all messages must have non-empty content except for the optional final assistant message`);
  for (const [index, block] of list.entries()) checkBlock(role, block, `messages.${at}.content.${index}`);
  const of = (type) => list.filter((block) => block.type === type);
  const results = of('tool_result').map((block) => ({ id: block.tool_use_id, text: typeof block.content === 'string' ? block.content : (block.content ?? []).map((part) => part.text ?? '').join('\n') }));
  return { role, text: of('text').map(({ text }) => text).join('\n'), calls: of('tool_use').map(({ id, name }) => ({ id, name })), ...(results.length && { results }) };
}

function checkPairs(messages) {
  const listed = (message, type) => (Array.isArray(message?.content) ? message.content.filter((block) => block.type === type) : []);
  const known = new Set();
  for (const [at, message] of messages.entries()) {
    const calls = listed(messages[at - 1], 'tool_use').map(({ id }) => id);
    const results = listed(message, 'tool_result').map(({ tool_use_id }) => tool_use_id);
    const stray = results.find((id) => !calls.includes(id));
    if (stray) throw invalid(`messages.${at}.content.0: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${stray}. Each \`tool_result\` block must have a corresponding \`tool_use\` block in the previous message.`);
    if (new Set(results).size < results.length) throw invalid(`messages.${at}.content: each tool_use must have a single result. Found multiple \`tool_result\` blocks with one id`);
    const open = calls.filter((id) => !results.includes(id));
    if (open.length) throw invalid(`messages.${at - 1}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${open.join(', ')}. Each \`tool_use\` block must have a corresponding \`tool_result\` block in the next message.`);
    for (const { id } of listed(message, 'tool_use')) {
      if (known.has(id)) throw invalid(`messages.${at}.content: \`tool_use\` ids must be unique`);
      known.add(id);
    }
  }
  if (listed(messages.at(-1), 'tool_use').length) throw invalid(`messages.${messages.length - 1}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after`);
}

export function writeMessages({ model, thought, text, calls, usage }, { body }) {
  const thinks = body.thinking && body.thinking.type !== 'disabled';
  const shown = body.thinking?.display === 'omitted' ? '' : thought;
  const content = [
    ...(thinks && thought ? [{ type: 'thinking', thinking: shown, signature: proofs.of(shown) }] : []),
    ...(text ? [{ type: 'text', text }] : []),
    ...calls.map(({ name, input }) => ({ type: 'tool_use', id: `toolu_01${letters(22)}`, name, input })),
  ];
  const stop_reason = calls.length ? 'tool_use' : 'end_turn';
  const reported = { input_tokens: usage.input, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: usage.output, service_tier: 'standard' };
  const message = { id: `msg_01${letters(22)}`, type: 'message', role: 'assistant', model, content, stop_reason, stop_sequence: null, usage: reported };
  if (!body.stream) return { json: message };
  const events = [];
  const push = (name, data) => events.push({ name, data: { type: name, ...data } });
  push('message_start', { message: { ...message, content: [], stop_reason: null, usage: { ...reported, output_tokens: 1 } } });
  for (const [index, block] of content.entries()) {
    push('content_block_start', { index, content_block: { ...block, ...{ text: { text: '' }, thinking: { thinking: '', signature: '' }, tool_use: { input: {} } }[block.type] } });
    if (index === 0) push('ping', {});
    for (const delta of deltasOf(block)) push('content_block_delta', { index, delta });
    push('content_block_stop', { index });
  }
  push('message_delta', { delta: { stop_reason, stop_sequence: null }, usage: reported });
  push('message_stop', {});
  return { events };
}

function deltasOf(block) {
  if (block.type === 'text') return pieces(block.text).map((text) => ({ type: 'text_delta', text }));
  if (block.type === 'tool_use') return ['', ...pieces(JSON.stringify(block.input))].map((partial_json) => ({ type: 'input_json_delta', partial_json }));
  return [...pieces(block.thinking).map((thinking) => ({ type: 'thinking_delta', thinking })), { type: 'signature_delta', signature: block.signature }];
}
