// What a well-behaved OpenAI-compatible upstream answers to a chat completion request. The
// text is determined by the request; one word is one token, so that sums can be done by hand.

let served = 0;

/** Works out the answer to a request body, as data for `completion` and `chunks`. */
export function answer(body) {
  const asked = lastUserText(body);
  const limit = body.model.startsWith('no-limit') ? undefined : (body.max_completion_tokens ?? body.max_tokens);
  const choices = Array.from({ length: body.n ?? 1 }, (_, index) => choice(body, asked, index, limit));
  served += 1;
  return {
    id: `chatcmpl-sim-${served}`,
    model: body.model,
    created: Math.floor(Date.now() / 1000),
    choices,
    usage: usage(body, choices),
  };
}

function choice(body, asked, index, limit) {
  if (body.tools?.length && /\btool\b/i.test(asked)) {
    const { name } = body.tools[0].function;
    const call = { id: `call_sim_${index}`, type: 'function', function: { name, arguments: JSON.stringify({ input: asked }) } };
    return { index, call, words: [], tokens: 8, finish_reason: 'tool_calls' };
  }
  const words = text(body.model, asked).match(/\s*\S+/g);
  const cut = limit !== undefined && words.length > limit;
  const kept = cut ? words.slice(0, limit) : words;
  return { index, words: kept, tokens: kept.length, finish_reason: cut ? 'length' : 'stop' };
}

function text(model, asked) {
  const quoted = asked.length > 200 ? `${asked.slice(0, 200)}...` : asked;
  if (model.startsWith('no-limit')) return 'and so on '.repeat(40).trim();
  if (model.startsWith('split-bytes')) return `Größe 大きさ 🌍🚀 : "${quoted}"`;
  return `You said: "${quoted}". This is ${model}, a simulated model, and it answers the same each time.`;
}

function usage(body, choices) {
  const prompt_tokens = (body.messages ?? []).reduce((sum, message) => sum + 4 + countWords(textOf(message)), 3);
  const reasoning_tokens = body.model.startsWith('reasoning') ? 20 : 0;
  const completion_tokens = choices.reduce((sum, { tokens }) => sum + tokens, reasoning_tokens);
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: body.model.startsWith('cached') ? Math.floor(prompt_tokens / 2) : 0 },
    completion_tokens_details: { reasoning_tokens },
  };
}

/** The answer as one `chat.completion` object. */
export function completion({ id, model, created, choices, usage }) {
  return {
    id,
    object: 'chat.completion',
    created,
    model,
    choices: choices.map(({ index, call, words, finish_reason }) => ({
      index,
      message: { role: 'assistant', content: call ? null : words.join(''), refusal: null, ...(call && { tool_calls: [call] }) },
      logprobs: null,
      finish_reason,
    })),
    usage,
    system_fingerprint: 'fp_sim',
  };
}

/** The answer as the `chat.completion.chunk` objects of a stream, without a usage chunk. */
export function chunks(answer, { usageKey = false } = {}) {
  const result = [];
  const push = (index, delta, finish_reason = null) =>
    result.push({ ...head(answer), choices: [{ index, delta, logprobs: null, finish_reason }], ...(usageKey && { usage: null }) });
  for (const { index, call, words, finish_reason } of answer.choices) {
    push(index, { role: 'assistant', content: call ? null : '', refusal: null });
    if (call) {
      const { name, arguments: input } = call.function;
      push(index, { tool_calls: [{ index: 0, ...call, function: { name, arguments: '' } }] });
      for (const part of input.match(/.{1,8}/gs)) push(index, { tool_calls: [{ index: 0, function: { arguments: part } }] });
    }
    for (const word of words) push(index, { content: word });
    push(index, {}, finish_reason);
  }
  return result;
}

/** The chunk that `stream_options.include_usage` asks for. */
export function usageChunk(answer, usage = answer.usage) {
  return { ...head(answer), choices: [], usage };
}

function head({ id, model, created }) {
  return { id, object: 'chat.completion.chunk', created, model, service_tier: 'default', system_fingerprint: 'fp_sim' };
}

function lastUserText(body) {
  return textOf((body.messages ?? []).findLast((message) => message.role === 'user'));
}

function textOf(message) {
  const { content } = message ?? {};
  if (typeof content === 'string') return content;
  return (content ?? []).map((part) => part.text ?? '').join(' ');
}

function countWords(text) {
  return text.split(/\s+/).filter(Boolean).length;
}
