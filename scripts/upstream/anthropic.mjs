// POST /anthropic/v1/messages and /messages/count_tokens, GET /models.
// What stands under `cache_control` is written to the cache (by its ttl); ids that start with
// `cached` read half of the prompt from it instead. Thinking is shown by ids that start with
// `reasoning` or `thinking`, and by requests that turn it on. Both versions of the API are known:
// what 2026-10-21 removed is refused under it. Ids that start with `strict` refuse what the
// provider does, and a gateway must not send: unknown fields, and results without their calls.
import { compose, inputUsage, isThinker, turnTokens, textOf } from './answer.mjs';
import { json } from './behaviours.mjs';
import { Refused } from './errors.mjs';

const signature = Buffer.from('the signature of a simulated thought').toString('base64');

export const messages = {
  streams: ({ body }) => body.stream === true,
  compose({ body, model, record }) {
    if (!Number.isInteger(body.max_tokens)) throw invalid('max_tokens: Field required');
    checkVersion(body, record.headers['anthropic-version']);
    if (model.startsWith('strict')) checkStrictly(body);
    const answer = compose(askOf(body, model));
    return { ...answer, usage: { ...answer.usage, ...written(body, answer.usage) } };
  },
  plain: (answer) => json(message(answer)),
  events: messageEvents,
};

export const countTokens = {
  streams: () => false,
  compose({ body, model, record }) {
    checkVersion(body, record.headers['anthropic-version']);
    return { usage: inputUsage(askOf(body, model)) };
  },
  plain: ({ usage }) => json({ input_tokens: usage?.input }),
};

const versions = ['2023-06-01', '2026-10-21'];

/** What the newer version does not take any more. */
function checkVersion({ messages, ...body }, version) {
  if (!versions.includes(version)) throw invalid(`anthropic-version: "${version}" is not a valid version`);
  if (version === versions[0]) return;
  const removed = ['temperature', 'top_p', 'top_k'].find((name) => name in body);
  if (removed) throw invalid(`${removed}: Extra inputs are not permitted`);
  for (const [at, { role, content }] of (messages ?? []).entries()) {
    const isGone = ({ type, citations }) => (role === 'assistant' ? type === 'document' : type === 'text' && citations?.length > 0);
    const index = Array.isArray(content) ? content.findIndex(isGone) : -1;
    if (index >= 0) throw invalid(`messages.${at}.content.${index}: not permitted in this API version`);
  }
}

const fields = [
  'cache_control', 'container', 'context_management', 'diagnostics', 'inference_geo', 'max_tokens', 'mcp_servers', 'messages', 'metadata', 'model',
  'output_config', 'output_format', 'service_tier', 'speed', 'stop_sequences', 'stream', 'system', 'temperature', 'thinking', 'tool_choice', 'tools',
  'top_k', 'top_p', 'user_profile_id', 'workspace_id',
];

function checkStrictly(body) {
  const unknown = Object.keys(body).find((name) => !fields.includes(name));
  if (unknown) throw invalid(`${unknown}: Extra inputs are not permitted`);
  const blocks = (message, type) => [message?.content ?? []].flat().filter((block) => block.type === type);
  for (const [index, message] of body.messages.entries()) {
    const calls = blocks(body.messages[index - 1], 'tool_use').map(({ id }) => id);
    const results = blocks(message, 'tool_result').map(({ tool_use_id }) => tool_use_id);
    const stray = results.find((id) => !calls.includes(id));
    if (stray) throw invalid(`messages.${index}.content: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${stray}`);
    const open = calls.find((id) => !results.includes(id));
    if (open) throw invalid(`messages.${index - 1}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${open}`);
    if (index === 0 && message.role !== 'user') throw invalid('messages: first message must use the "user" role');
  }
}

const invalid = (message) => new Refused(400, { message });

function askOf(body, model) {
  if (!Array.isArray(body.messages)) throw invalid('messages: Field required');
  const { tools = [], tool_choice = { type: 'auto' }, thinking, output_config, output_format } = body;
  return {
    model,
    turns: turnsOf(body).map(({ turn }) => turn),
    tools: tools.flatMap(({ name, input_schema }) => (input_schema ? [{ name, schema: input_schema }] : [])),
    toolChoice: { any: 'required', tool: { name: tool_choice.name } }[tool_choice.type] ?? tool_choice.type,
    parallel: tool_choice.disable_parallel_tool_use !== true,
    limit: body.max_tokens,
    stop: body.stop_sequences ?? [],
    schema: (output_config?.format ?? output_format)?.schema,
    thinks: thinking?.type === 'disabled' ? false : isThinker(model) || Boolean(thinking),
  };
}

/** The turns of a request in their order, system first, each with the ttl of the last breakpoint in it. */
function turnsOf({ system, messages }) {
  const turns = system === undefined ? [] : [{ turn: { role: 'system', text: textOf(system) }, ttl: ttlOf(system) }];
  for (const { role, content } of messages) {
    const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : content;
    const results = blocks.filter(({ type }) => type === 'tool_result').map((block) => textOf(block.content));
    const text = blocks.filter(({ type }) => type === 'text').map((block) => block.text).join(' ');
    turns.push({ turn: { role, text, ...(results.length && { results }) }, ttl: ttlOf(blocks) });
  }
  return turns;
}

function ttlOf(blocks) {
  const marked = Array.isArray(blocks) && blocks.findLast(({ cache_control }) => cache_control);
  return marked ? (marked.cache_control.ttl ?? '5m') : undefined;
}

/** What is written to the cache: whole turns up to the last breakpoint, less what is read from it. */
function written(body, { input, cached }) {
  const marks = [];
  let upTo = 3;
  for (const { turn, ttl } of turnsOf(body)) {
    upTo += turnTokens(turn);
    if (ttl) marks.push({ upTo, ttl });
  }
  if (body.cache_control) marks.push({ upTo: input, ttl: body.cache_control.ttl ?? '5m' });
  let from = cached;
  const sums = { '5m': 0, '1h': 0 };
  for (const mark of marks) {
    if (mark.upTo <= from) continue;
    sums[mark.ttl] += mark.upTo - from;
    from = mark.upTo;
  }
  return { written_5m: sums['5m'], written_1h: sums['1h'] };
}

function usageOf({ input, cached, written_5m, written_1h, output, reasoning }) {
  return {
    input_tokens: input - cached - written_5m - written_1h,
    cache_creation_input_tokens: written_5m + written_1h,
    cache_read_input_tokens: cached,
    cache_creation: { ephemeral_5m_input_tokens: written_5m, ephemeral_1h_input_tokens: written_1h },
    output_tokens: output + reasoning,
    ...(reasoning && { output_tokens_details: { thinking_tokens: reasoning } }),
    service_tier: 'standard',
  };
}

function contentOf({ thought, words, calls }, number) {
  return [
    ...(thought.length ? [{ type: 'thinking', thinking: thought.join(''), signature }] : []),
    ...(words.length || !calls.length ? [{ type: 'text', text: words.join('') }] : []),
    ...calls.map(({ name, input }, index) => ({ type: 'tool_use', id: `toolu_sim_${number}_${index}`, name, input })),
  ];
}

const stopReasons = { stop: 'end_turn', length: 'max_tokens', tool: 'tool_use', stop_sequence: 'stop_sequence', filter: 'refusal' };

function message({ number, model, choices: [choice], usage }) {
  return {
    id: `msg_sim_${number}`,
    type: 'message',
    role: 'assistant',
    model,
    content: contentOf(choice, number),
    stop_reason: stopReasons[choice.finish],
    stop_sequence: choice.stop ?? null,
    ...(usage && { usage: usageOf(usage) }),
  };
}

function messageEvents(answer) {
  const { usage: reported, choices: [choice] } = answer;
  const usage = reported && usageOf(reported);
  const events = [];
  const push = (name, data, is) => events.push({ name, is, data: { type: name, ...data } });
  const { usage: _, ...empty } = { ...message(answer), content: [], stop_reason: null, stop_sequence: null };
  const { output_tokens_details, ...atStart } = usage ?? {};
  push('message_start', { message: { ...empty, ...(usage && { usage: { ...atStart, output_tokens: 1 } }) } });
  for (const [index, block] of contentOf(choice, answer.number).entries()) {
    push('content_block_start', { index, content_block: { ...block, ...emptied[block.type] } });
    if (index === 0) push('ping');
    for (const delta of deltas(block, choice)) push('content_block_delta', { index, delta }, 'delta');
    push('content_block_stop', { index });
  }
  const { service_tier, cache_creation, ...atEnd } = usage ?? {};
  push('message_delta', { delta: { stop_reason: stopReasons[choice.finish], stop_sequence: choice.stop ?? null }, ...(usage && { usage: atEnd }) }, 'finish');
  push('message_stop', {}, 'end');
  return events;
}

const emptied = { text: { text: '' }, thinking: { thinking: '', signature: '' }, tool_use: { input: {} } };

function deltas(block, { thought, words }) {
  switch (block.type) {
    case 'thinking':
      return [...thought.map((thinking) => ({ type: 'thinking_delta', thinking })), { type: 'signature_delta', signature }];
    case 'tool_use': {
      const parts = JSON.stringify(block.input).match(/.{1,8}/gs);
      return ['', ...parts].map((partial_json) => ({ type: 'input_json_delta', partial_json }));
    }
    default:
      return words.map((text) => ({ type: 'text_delta', text }));
  }
}
