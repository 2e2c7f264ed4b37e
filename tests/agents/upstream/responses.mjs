// POST /v1/responses, as strict as OpenAI is: items are its own or well made, proofs are its own.
import { Refused } from '../../../scripts/upstream/errors.mjs';
import { pieces } from './chat.mjs';
import { letters, Proofs } from './proofs.mjs';

const proofs = new Proofs('gAAAAAB');
const summaries = new Proofs('gAAAAAC');

const fields = [
  'background', 'client_metadata', 'context_management', 'conversation', 'include', 'input', 'instructions', 'max_output_tokens', 'max_tool_calls', 'metadata', 'model', 'parallel_tool_calls',
  'previous_response_id', 'prompt', 'prompt_cache_key', 'prompt_cache_retention', 'reasoning', 'safety_identifier', 'service_tier', 'store', 'stream', 'stream_options', 'temperature', 'text',
  'tool_choice', 'tools', 'top_logprobs', 'top_p', 'truncation', 'user',
];
/** By type of an item: how its id begins, and its members. */
const items = {
  message: ['msg', ['role', 'content', 'status', 'phase']],
  reasoning: ['rs', ['summary', 'content', 'encrypted_content', 'status']],
  function_call: ['fc', ['call_id', 'name', 'arguments', 'status', 'namespace']],
  function_call_output: ['fc', ['call_id', 'output', 'status', 'name', 'namespace']],
  custom_tool_call: ['ctc', ['call_id', 'name', 'input', 'status', 'namespace']],
  custom_tool_call_output: ['ctc', ['call_id', 'output', 'status']],
  local_shell_call: ['lsh', ['call_id', 'action', 'status']],
  local_shell_call_output: ['lsh', ['call_id', 'output', 'status']],
  tool_search_call: ['tsc', ['call_id', 'arguments', 'execution', 'status']],
  tool_search_output: ['tso', ['call_id', 'tools', 'execution', 'status']],
  additional_tools: ['at', ['role', 'tools']],
  web_search_call: ['ws', ['action', 'status']],
  compaction: ['cmp', ['encrypted_content']],
  compaction_trigger: ['ct', []],
  context_compaction: ['cmp', ['encrypted_content']],
  item_reference: ['', []],
};
/** What Codex adds to every item when it believes that it speaks to OpenAI. */
const passed = 'internal_chat_message_metadata_passthrough';
const toolTypes = ['function', 'custom', 'web_search', 'web_search_preview', 'file_search', 'computer_use_preview', 'code_interpreter', 'image_generation', 'local_shell', 'shell', 'apply_patch', 'mcp', 'namespace', 'tool_search'];

const invalid = (message, param = null, code = null) => new Refused(400, { message, type: 'invalid_request_error', param, code });

/** What was kept for clients that asked for it: items by id. */
const kept = new Map();

export function readResponses(body) {
  const unknown = Object.keys(body).find((name) => !fields.includes(name));
  if (unknown) throw invalid(`Unknown parameter: '${unknown}'.`, unknown, 'unknown_parameter');
  const input = typeof body.input === 'string' ? [{ type: 'message', role: 'user', content: body.input }] : (body.input ?? []);
  if (!input.length) throw invalid('One of "input" or "previous_response_id" or \'prompt\' or \'conversation_id\' must be provided.', 'input');
  const list = input.map((item, at) => checkItem(item, at, body));
  checkPairs(list);
  const tools = [...(body.tools ?? []), ...list.flatMap(({ type, tools: more }) => (['additional_tools', 'tool_search_output'].includes(type) ? more : []))];
  return {
    streams: body.stream === true,
    isCompaction: list.some(({ type }) => type === 'compaction_trigger'),
    schema: body.text?.format?.schema,
    tools: tools.flatMap((tool, at) => toolOf(tool, `tools[${at}]`)),
    turns: turnsOf([...(body.instructions ? [{ type: 'message', role: 'system', content: body.instructions }] : []), ...list]),
  };
}

function toolOf(tool, param, namespace) {
  if (!toolTypes.includes(tool.type)) throw invalid(`Invalid value: '${tool.type}'. Supported values are: ${toolTypes.map((it) => `'${it}'`).join(', ')}.`, `${param}.type`, 'invalid_value');
  if (tool.type === 'namespace') return tool.tools.flatMap((inner, at) => toolOf(inner, `${param}.tools[${at}]`, tool.name));
  if (['function', 'custom'].includes(tool.type)) {
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(tool.name ?? '')) throw invalid(`Invalid '${param}.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.`, `${param}.name`, 'invalid_value');
    if (tool.parameters && tool.parameters.type !== 'object') throw invalid(`Invalid schema for function '${tool.name}': schema must be a JSON Schema of 'type: "object"'.`, `${param}.parameters`, 'invalid_function_parameters');
    return [{ name: tool.name, kind: tool.type, schema: tool.parameters, description: tool.description, namespace }];
  }
  return [{ name: tool.type, kind: tool.type }];
}

function checkItem(sent, at, body) {
  const item = { type: 'message', ...sent };
  const param = `input[${at}]`;
  if (item.type === 'item_reference') {
    if (kept.has(item.id)) return kept.get(item.id);
    throw new Refused(404, { message: `Item with id '${item.id}' not found. Items are not persisted when \`store\` is set to false. Try again with \`store\` set to true, or remove this item from your input.`, type: 'invalid_request_error', param: 'input', code: null });
  }
  const known = items[item.type];
  if (!known) throw invalid(`Invalid value: '${item.type}'. Supported values are: ${Object.keys(items).map((it) => `'${it}'`).join(', ')}.`, param, 'invalid_value');
  const [prefix, members] = known;
  const extra = Object.keys(item).find((name) => !['type', 'id', passed, ...members].includes(name));
  if (extra) throw invalid(`Unknown parameter: '${param}.${extra}'.`, `${param}.${extra}`, 'unknown_parameter');
  if (item.id != null && !item.id.startsWith(prefix)) throw invalid(`Invalid '${param}.id': '${item.id}'. Expected an ID that begins with '${prefix}'.`, `${param}.id`, 'invalid_value');
  if (item.id?.length > 64 || item.call_id?.length > 64) throw invalid(`Invalid '${param}.id': string too long. Expected a string with maximum length 64.`, `${param}.id`, 'string_above_max_length');
  // An output that names its source is of no call: Codex tells the model of its goals so.
  const isOfCall = members.includes('call_id') && !item.type.startsWith('tool_search') && !(item.name && item.type.endsWith('output'));
  if (isOfCall && !item.call_id) throw invalid(`Missing required parameter: '${param}.call_id'.`, `${param}.call_id`, 'missing_required_parameter');
  if (item.type === 'message') checkContent(item, param);
  if (item.type === 'function_call' && typeof item.arguments !== 'string') throw invalid(`Invalid type for '${param}.arguments': expected a string.`, param, 'invalid_type');
  if (item.type === 'custom_tool_call' && typeof item.input !== 'string') throw invalid(`Invalid type for '${param}.input': expected a string.`, param, 'invalid_type');
  if (['function_call', 'custom_tool_call'].includes(item.type) && !/^[a-zA-Z0-9_-]{1,64}$/.test(item.name ?? '')) throw invalid(`Invalid '${param}.name': string does not match pattern '^[a-zA-Z0-9_-]+$'.`, `${param}.name`, 'invalid_value');
  if (item.type === 'reasoning') checkReasoning(item, param);
  if (item.type.endsWith('compaction') && summaries.textOf(item.encrypted_content) === undefined) throw unverified(item.encrypted_content);
  return item;
}

function checkContent({ role, content }, param) {
  if (!['user', 'assistant', 'system', 'developer'].includes(role)) throw invalid(`Invalid value: '${role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'.`, `${param}.role`, 'invalid_value');
  const known = role === 'assistant' ? ['output_text', 'refusal'] : ['input_text', 'input_image', 'input_file'];
  for (const [at, part] of (Array.isArray(content) ? content : []).entries()) {
    if (!known.includes(part.type)) throw invalid(`Invalid value: '${part.type}'. Supported values are: ${known.map((it) => `'${it}'`).join(', ')}.`, `${param}.content[${at}]`, 'invalid_value');
  }
  if (typeof content !== 'string' && !Array.isArray(content)) throw invalid(`Invalid type for '${param}.content'.`, `${param}.content`, 'invalid_type');
}

function checkReasoning({ id, summary, encrypted_content }, param) {
  if (!Array.isArray(summary)) throw invalid(`Missing required parameter: '${param}.summary'.`, `${param}.summary`, 'missing_required_parameter');
  if (encrypted_content == null) {
    if (kept.has(id)) return;
    throw new Refused(404, { message: `Item with id '${id}' not found. Items are not persisted when \`store\` is set to false. Try again with \`store\` set to true, or remove this item from your input.`, type: 'invalid_request_error', param: 'input', code: null });
  }
  if (proofs.textOf(encrypted_content) === undefined) throw unverified(encrypted_content);
}

const unverified = (content = '') =>
  invalid(`The encrypted content ${content.slice(0, 4)}...${content.slice(-4)} could not be verified. Reason: Encrypted content could not be decrypted or parsed.`, null, 'invalid_encrypted_content');

const outputs = { function_call: 'function_call_output', custom_tool_call: 'custom_tool_call_output', local_shell_call: 'local_shell_call_output' };
const words = { function_call: 'function call', custom_tool_call: 'custom tool call', local_shell_call: 'local shell call' };

function checkPairs(list) {
  const ids = new Set();
  for (const { id } of list) {
    if (id == null) continue;
    if (ids.has(id)) throw invalid(`Duplicate item found with id ${id}. Remove duplicate items from your input and try again.`, 'input');
    ids.add(id);
  }
  for (const [call, output] of Object.entries(outputs)) {
    const asked = list.filter(({ type }) => type === call).map(({ call_id }) => call_id);
    const answered = list.filter(({ type, call_id }) => type === output && call_id).map(({ call_id }) => call_id);
    const twice = asked.find((id, at) => asked.indexOf(id) !== at);
    if (twice) throw invalid(`The call_id ${twice} is that of two calls.`, 'input');
    const open = asked.find((id) => !answered.includes(id));
    if (open) throw invalid(`No tool output found for ${words[call]} ${open}.`, 'input');
    const stray = answered.find((id) => !asked.includes(id));
    if (stray) throw invalid(`No tool call found for ${words[call]} output with call_id ${stray}.`, 'input');
  }
  for (const [at, item] of list.entries()) {
    if (item.type !== 'reasoning') continue;
    const next = list[at + 1];
    const follows = next && (next.type === 'reasoning' || next.type.endsWith('_call') || (next.type === 'message' && next.role === 'assistant'));
    if (!follows) throw invalid(`Item '${item.id}' of type 'reasoning' was provided without its required following item.`, 'input');
  }
}

const textOf = (content) => (typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join('\n'));

/** The items as turns: all that the model said in a row is one. */
function turnsOf(list) {
  const turns = [];
  const turn = (role) => {
    if (turns.at(-1)?.role !== role || role === 'user') turns.push({ role, text: '', calls: [] });
    return turns.at(-1);
  };
  for (const item of list) {
    switch (item.type) {
      case 'message': {
        const role = item.role === 'developer' ? 'system' : item.role;
        turn(role).text += textOf(item.content);
        break;
      }
      case 'compaction':
        turn('user').text += summaries.textOf(item.encrypted_content);
        break;
      case 'function_call':
      case 'custom_tool_call':
      case 'tool_search_call':
        turn('assistant').calls.push({ id: item.call_id, name: item.name });
        break;
      case 'function_call_output':
      case 'custom_tool_call_output':
      case 'tool_search_output': {
        if (!item.call_id) break;
        const it = turn('tool');
        (it.results ??= []).push({ id: item.call_id, text: item.tools ? JSON.stringify(item.tools) : textOf(item.output) });
        break;
      }
      default:
    }
  }
  return turns;
}

export function writeResponses({ model, thought, text, calls, usage }, { body, conversation }) {
  const encrypted = body.include?.includes('reasoning.encrypted_content');
  const kinds = new Map(conversation.tools.map((tool) => [tool.name, tool]));
  const summary = body.reasoning?.summary ? [{ type: 'summary_text', text: thought }] : [];
  const output = conversation.isCompaction ? [{ id: `cmp_${letters(40)}`, type: 'compaction', encrypted_content: summaries.of(text) }] : [
    ...(thought ? [{ id: `rs_${letters(40)}`, type: 'reasoning', summary, ...(encrypted && { encrypted_content: proofs.of(thought) }) }] : []),
    ...(text ? [{ id: `msg_${letters(40)}`, type: 'message', status: 'completed', role: 'assistant', content: [{ type: 'output_text', annotations: [], logprobs: [], text }] }] : []),
    ...calls.map(({ name, input }) => {
      const { kind, namespace } = kinds.get(name) ?? {};
      const common = { status: 'completed', call_id: `call_${letters(24)}`, name, ...(namespace && { namespace }) };
      if (kind === 'tool_search') return { id: `tsc_${letters(40)}`, type: 'tool_search_call', execution: 'client', status: 'completed', call_id: common.call_id, arguments: input };
      if (kind === 'custom') return { id: `ctc_${letters(40)}`, type: 'custom_tool_call', ...common, input };
      return { id: `fc_${letters(40)}`, type: 'function_call', ...common, arguments: JSON.stringify(input) };
    }),
  ];
  if (body.store !== false) for (const item of output) kept.set(item.id, item);
  const begun = {
    id: `resp_${letters(40)}`, object: 'response', created_at: Math.floor(Date.now() / 1000), status: 'in_progress', background: false, error: null, incomplete_details: null,
    instructions: body.instructions ?? null, max_output_tokens: body.max_output_tokens ?? null, model, output: [], parallel_tool_calls: body.parallel_tool_calls ?? true, previous_response_id: null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: body.reasoning?.summary ?? null }, service_tier: 'default', store: body.store ?? true, temperature: 1,
    text: { format: { type: 'text' }, ...body.text }, tool_choice: body.tool_choice ?? 'auto', tools: body.tools ?? [], top_p: 1, truncation: 'disabled', usage: null, user: null, metadata: {},
  };
  const completed = {
    ...begun, status: 'completed', output,
    usage: { input_tokens: usage.input, input_tokens_details: { cached_tokens: 0 }, output_tokens: usage.output, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: usage.input + usage.output },
  };
  if (!body.stream) return { json: completed };
  const events = [];
  const push = (type, data) => events.push({ name: type, data: { type, ...data, sequence_number: events.length } });
  push('response.created', { response: begun });
  push('response.in_progress', { response: begun });
  for (const [output_index, item] of output.entries()) {
    push('response.output_item.added', { output_index, item: { ...item, ...emptied[item.type] } });
    itemEvents[item.type]((type, data) => push(type, { item_id: item.id, output_index, ...data }), item);
    push('response.output_item.done', { output_index, item });
  }
  push('response.completed', { response: completed });
  return { events };
}

const emptied = {
  reasoning: { summary: [] },
  message: { status: 'in_progress', content: [] },
  function_call: { status: 'in_progress', arguments: '' },
  custom_tool_call: { status: 'in_progress', input: '' },
};

const itemEvents = {
  reasoning(push, { summary: [part] }) {
    if (!part) return;
    const at = { summary_index: 0 };
    push('response.reasoning_summary_part.added', { ...at, part: { ...part, text: '' } });
    for (const delta of pieces(part.text)) push('response.reasoning_summary_text.delta', { ...at, delta });
    push('response.reasoning_summary_text.done', { ...at, text: part.text });
    push('response.reasoning_summary_part.done', { ...at, part });
  },
  message(push, { content: [part] }) {
    const at = { content_index: 0 };
    push('response.content_part.added', { ...at, part: { ...part, text: '' } });
    for (const delta of pieces(part.text)) push('response.output_text.delta', { ...at, delta, logprobs: [] });
    push('response.output_text.done', { ...at, text: part.text, logprobs: [] });
    push('response.content_part.done', { ...at, part });
  },
  function_call(push, { arguments: input }) {
    for (const delta of pieces(input)) push('response.function_call_arguments.delta', { delta });
    push('response.function_call_arguments.done', { arguments: input });
  },
  tool_search_call() {},
  compaction() {},
  custom_tool_call(push, { input }) {
    for (const delta of pieces(input)) push('response.custom_tool_call_input.delta', { delta });
    push('response.custom_tool_call_input.done', { input });
  },
};
