// POST /v1/responses and /v1/responses/compact, GET and DELETE /v1/responses/{id}.
// It remembers what it made, with the credential that asked: `previous_response_id` continues it,
// for that credential alone. `stream-error-first` ends in an `error` event, `stream-error-mid`
// in `response.failed`.
import { compose, inputUsage, isThinker, textOf } from './answer.mjs';
import { json } from './behaviours.mjs';
import { Refused } from './errors.mjs';

const remembered = 1000;
/** By id: {credential, turns, response}; the oldest first. */
const memory = new Map();

export const responses = {
  streams: ({ body }) => body.stream === true,
  compose(exchange) {
    const { body, model, record } = exchange;
    const turns = [...previousTurns(body.previous_response_id, record.credential), ...turnsOf(body.input)];
    const answer = compose(askOf(body, model, turns));
    const response = completed(answer, body);
    if (body.store !== false) remember(response.id, { credential: record.credential, turns: [...turns, ...response.output.map(turnOf)], response });
    return answer;
  },
  plain: (answer, { body }) => json(completed(answer, body)),
  events: (answer, { body }) => events(answer, body),
  failed({ body }, sent, answer) {
    const message = 'The server had an error while processing your request.';
    const sequence_number = sent.length;
    if (!sent.length) return { name: 'error', data: { type: 'error', code: 'server_error', message, param: null, sequence_number } };
    const response = { ...begun(answer, body), status: 'failed', error: { code: 'server_error', message } };
    return { name: 'response.failed', data: { type: 'response.failed', response, sequence_number } };
  },
};

/** What it compacts it encrypts, and nobody else can read it: neither can it read what others made. */
export const compact = {
  ...responses,
  streams: () => false,
  plain(answer, { body }) {
    const { id, created_at, usage, output } = completed(answer, asking(body));
    return json({ id, object: 'response.compaction', created_at, output, usage });
  },
};

/** How many tokens the input has. */
export const inputTokens = {
  streams: () => false,
  compose({ body, model, record }) {
    const turns = [...previousTurns(body.previous_response_id, record.credential), ...turnsOf(body.input)];
    return { usage: inputUsage(askOf(body, model, turns)) };
  },
  plain: ({ usage }) => json({ object: 'response.input_tokens', input_tokens: usage?.input }),
};

const trigger = { type: 'compaction_trigger' };
const sealed = 'gAAAsim.';

const asking = (body) => ({ ...body, input: [...(Array.isArray(body.input) ? body.input : []), trigger] });

const isCompaction = ({ input }) => Array.isArray(input) && input.at(-1)?.type === trigger.type;

function opened(content) {
  if (content?.startsWith(sealed)) return Buffer.from(content.slice(sealed.length), 'base64').toString();
  throw new Refused(400, { message: 'The encrypted content could not be verified.', type: 'invalid_request_error', param: 'input', code: 'invalid_encrypted_content' });
}

/** A remembered response, or OpenAI's error for one that this credential did not make. */
export function retrieve(id, credential) {
  const found = memory.get(id);
  if (found?.credential !== credential) {
    throw new Refused(404, { message: `Response with id '${id}' not found.`, type: 'invalid_request_error', param: null, code: null });
  }
  return found.response;
}

export function remove(id, credential) {
  retrieve(id, credential);
  memory.delete(id);
  return { id, object: 'response', deleted: true };
}

function remember(id, made) {
  memory.set(id, made);
  if (memory.size > remembered) memory.delete(memory.keys().next().value);
}

function previousTurns(id, credential) {
  if (id == null) return [];
  const found = memory.get(id);
  if (found?.credential === credential) return found.turns;
  throw new Refused(400, {
    message: `Previous response with id '${id}' not found.`,
    type: 'invalid_request_error',
    param: 'previous_response_id',
    code: 'previous_response_not_found',
  });
}

function askOf(body, model, turns) {
  const { tools = [], tool_choice = 'auto', instructions, text } = body;
  const format = text?.format;
  return {
    model,
    // Instructions are of this request alone and are not remembered.
    turns: instructions ? [{ role: 'system', text: instructions }, ...turns] : turns,
    tools: tools.filter(({ type }) => type === 'function').map(({ name, parameters }) => ({ name, schema: parameters })),
    toolChoice: typeof tool_choice === 'string' ? tool_choice : { name: tool_choice.name },
    parallel: body.parallel_tool_calls !== false,
    limit: body.max_output_tokens ?? undefined,
    schema: format?.schema ?? (format?.type === 'json_object' ? { properties: { said: {} } } : undefined),
    thinks: isThinker(model),
  };
}

/** Every item of an input is a turn. */
function turnsOf(input) {
  if (typeof input === 'string') return [{ role: 'user', text: input }];
  return (input ?? []).map(turnOf);
}

function turnOf({ type = 'message', role, content, output, encrypted_content }) {
  switch (type) {
    case 'compaction':
      return { role: 'user', text: opened(encrypted_content) };
    case 'message':
      return { role: role === 'developer' ? 'system' : role, text: textOf(content) };
    case 'function_call_output':
      return { role: 'tool', results: [textOf(output)] };
    default:
      return { role: 'assistant' };
  }
}

/** The response before it has said anything. */
function begun({ number, model, created }, body) {
  return {
    id: `resp_sim_${number}`,
    object: 'response',
    created_at: created,
    status: 'in_progress',
    background: false,
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    model,
    output: [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: body.previous_response_id ?? null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: body.reasoning?.summary ?? null },
    service_tier: 'default',
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: { format: { type: 'text' }, ...body.text },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: body.top_p ?? 1,
    truncation: body.truncation ?? 'disabled',
    usage: null,
    user: body.user ?? null,
    metadata: body.metadata ?? {},
  };
}

function completed(answer, body) {
  const { finish } = answer.choices[0];
  const reason = { length: 'max_output_tokens', filter: 'content_filter' }[finish];
  return {
    ...begun(answer, body),
    ...(reason ? { status: 'incomplete', incomplete_details: { reason } } : { status: 'completed', completed_at: answer.created }),
    output: outputOf(answer, body),
    usage: usageOf(answer.usage),
  };
}

function usageOf(usage) {
  if (!usage) return null;
  const { input, cached, output, reasoning } = usage;
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached, cache_write_tokens: 0 },
    output_tokens: output + reasoning,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: input + output + reasoning,
  };
}

function outputOf({ number, choices: [{ thought, words, calls, finish }] }, body) {
  const encrypted = body.include?.includes('reasoning.encrypted_content') && { encrypted_content: Buffer.from(thought.join('')).toString('base64') };
  const summary = [{ type: 'summary_text', text: thought.join('') }];
  const status = finish === 'length' || finish === 'filter' ? 'incomplete' : 'completed';
  const part = { type: 'output_text', annotations: [], logprobs: [], text: words.join('') };
  if (isCompaction(body)) return [{ id: `cmp_sim_${number}`, type: 'compaction', encrypted_content: sealed + Buffer.from(part.text).toString('base64') }];
  return [
    ...(thought.length ? [{ id: `rs_sim_${number}`, type: 'reasoning', summary, ...encrypted }] : []),
    ...(words.length || !calls.length ? [{ id: `msg_sim_${number}`, type: 'message', status, role: 'assistant', content: [part] }] : []),
    ...calls.map(({ name, input }, index) => ({
      id: `fc_sim_${number}_${index}`, type: 'function_call', status: 'completed', call_id: `call_sim_${number}_${index}`, name, arguments: JSON.stringify(input),
    })),
  ];
}

function events(answer, body) {
  const result = [];
  const push = (type, data, is) => result.push({ name: type, is, data: { type, ...data, sequence_number: result.length } });
  push('response.created', { response: begun(answer, body) });
  push('response.in_progress', { response: begun(answer, body) });
  const response = completed(answer, body);
  for (const [output_index, item] of response.output.entries()) {
    push('response.output_item.added', { output_index, item: { ...item, ...emptied[item.type] } });
    itemEvents[item.type]((type, data, is) => push(type, { item_id: item.id, output_index, ...data }, is), item, answer.choices[0]);
    push('response.output_item.done', { output_index, item });
  }
  push(`response.${response.status}`, { response }, 'end');
  return result;
}

const emptied = {
  reasoning: { summary: [] },
  message: { status: 'in_progress', content: [] },
  function_call: { status: 'in_progress', arguments: '' },
};

/** What comes between an item's beginning and its end. */
const itemEvents = {
  compaction() {},
  reasoning(push, { summary: [part] }, { thought }) {
    const at = { summary_index: 0 };
    push('response.reasoning_summary_part.added', { ...at, part: { ...part, text: '' } });
    for (const delta of thought) push('response.reasoning_summary_text.delta', { ...at, delta }, 'delta');
    push('response.reasoning_summary_text.done', { ...at, text: part.text });
    push('response.reasoning_summary_part.done', { ...at, part });
  },
  message(push, { content: [part] }, { words }) {
    const at = { content_index: 0 };
    push('response.content_part.added', { ...at, part: { ...part, text: '' } });
    for (const delta of words) push('response.output_text.delta', { ...at, delta, logprobs: [] }, 'delta');
    push('response.output_text.done', { ...at, text: part.text, logprobs: [] });
    push('response.content_part.done', { ...at, part });
  },
  function_call(push, { name, arguments: input }) {
    for (const delta of input.match(/.{1,8}/gs)) push('response.function_call_arguments.delta', { delta }, 'delta');
    push('response.function_call_arguments.done', { name, arguments: input });
  },
};
