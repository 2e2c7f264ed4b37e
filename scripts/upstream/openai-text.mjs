// POST /v1/chat/completions and /v1/completions.
// Ids of their own: `reasoning-content...` also shows what it thinks, as `reasoning_content`;
// `reasoning-outside...` counts that outside of `completion_tokens`, inside of `total_tokens`.
import { compose, countWords, partTokens, textOf } from './answer.mjs';
import { json } from './behaviours.mjs';
import { openaiUsage } from './openai-usage.mjs';

export const chat = {
  streams: ({ body }) => body.stream === true,
  compose({ body, model }) {
    const answer = compose(chatAsk(body, model));
    // Asked for sound, it says its text aloud: the tokens are those of sound.
    const speaks = body.modalities?.includes('audio') ?? false;
    return { ...answer, speaks, usage: { ...answer.usage, speaks } };
  },
  plain: (answer, { body }) => json(completion(answer, body)),
  events: chatEvents,
};

export const completions = {
  streams: ({ body }) => body.stream === true,
  compose: ({ body, model }) => composeCompletions(body, model),
  plain: ({ number, model, created, choices, usage }) =>
    json({
      id: `cmpl-sim-${number}`,
      object: 'text_completion',
      created,
      model,
      choices: choices.map((choice) => textChoice(choice, choice.words.join(''), finishReason(choice))),
      system_fingerprint: 'fp_sim',
      ...(usage && { usage: openaiUsage(usage, model) }),
    }),
  events: completionEvents,
};

function chatAsk(body, model) {
  const { tools = [], tool_choice = 'auto', response_format } = body;
  return {
    model,
    turns: (body.messages ?? []).map(chatTurn),
    tools: tools.flatMap(({ function: it }) => (it ? [{ name: it.name, schema: it.parameters }] : [])),
    toolChoice: typeof tool_choice === 'string' ? tool_choice : { name: tool_choice.function?.name },
    parallel: body.parallel_tool_calls !== false,
    n: body.n ?? 1,
    limit: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    stop: [body.stop ?? []].flat(),
    schema: response_format?.json_schema?.schema ?? (response_format?.type === 'json_object' ? { properties: { said: {} } } : undefined),
  };
}

function chatTurn({ role, content }) {
  const audio = Array.isArray(content) ? content.filter(({ type }) => type === 'input_audio').length * partTokens.audio : 0;
  if (role === 'tool') return { role, results: [textOf(content)] };
  return { role: role === 'developer' ? 'system' : role, text: textOf(content), audio };
}

function finishReason({ finish }) {
  return { tool: 'tool_calls', stop_sequence: 'stop', filter: 'content_filter' }[finish] ?? finish;
}

function toolCalls({ index, calls }) {
  return calls.map(({ name, input }, position) => ({
    id: `call_sim_${index + position}`,
    type: 'function',
    function: { name, arguments: JSON.stringify(input) },
  }));
}

/** The answer as one `chat.completion` object. */
function completion(answer, body) {
  const { number, model, created, choices, usage } = answer;
  return {
    id: `chatcmpl-sim-${number}`,
    object: 'chat.completion',
    created,
    model,
    choices: choices.map((choice) => ({
      index: choice.index,
      message: {
        role: 'assistant',
        content: choice.calls.length || answer.speaks ? null : choice.words.join(''),
        refusal: null,
        ...(answer.speaks && { audio: { ...sound(answer), data: soundOf(choice.words.join('')), transcript: choice.words.join('') } }),
        ...(isShown(answer) && { reasoning_content: choice.thought.join('') }),
        ...(choice.calls.length && { tool_calls: toolCalls(choice) }),
      },
      logprobs: logprobs(choice.words, body),
      finish_reason: finishReason(choice),
    })),
    ...(usage && { usage: openaiUsage(usage, model) }),
    system_fingerprint: 'fp_sim',
  };
}

/** What the words were chosen with, for requests that ask. */
function logprobs(words, { logprobs: wanted }) {
  if (wanted !== true) return null;
  return { content: words.map((token) => ({ token, logprob: -0.1, bytes: [...Buffer.from(token)], top_logprobs: [] })), refusal: null };
}

/** What is said aloud; its data stands for sound. */
const sound = ({ number, created }) => ({ id: `audio_sim_${number}`, expires_at: created + 3600 });
const soundOf = (text) => Buffer.from(text).toString('base64');

const isShown = ({ model }) => model.startsWith('reasoning-content');

/** The answer as `chat.completion.chunk` objects. */
function chatEvents(answer, { body }, { usage: wish }) {
  const { number, model, created } = answer;
  const wantsUsage = body.stream_options?.include_usage === true;
  const reported = answer.usage && openaiUsage(answer.usage, model);
  const head = { id: `chatcmpl-sim-${number}`, object: 'chat.completion.chunk', created, model, service_tier: 'default', system_fingerprint: 'fp_sim' };
  const events = [];
  const push = (index, delta, finish_reason = null, is = 'delta') =>
    events.push({ is, data: { ...head, choices: [{ index, delta, logprobs: delta.content ? logprobs([delta.content], body) : null, finish_reason }], ...usageSoFar(events.length) } });
  const usageSoFar = (count) => {
    if (wish !== 'always') return wantsUsage && { usage: null };
    const completion_tokens = Math.min(count, reported.completion_tokens);
    return { usage: { ...reported, completion_tokens, total_tokens: reported.prompt_tokens + completion_tokens } };
  };
  for (const choice of answer.choices) {
    const { index } = choice;
    push(index, { role: 'assistant', content: choice.calls.length ? null : '', refusal: null }, null, 'start');
    if (isShown(answer)) for (const word of choice.thought) push(index, { reasoning_content: word });
    for (const [position, call] of toolCalls(choice).entries()) {
      const { name, arguments: input } = call.function;
      push(index, { tool_calls: [{ index: position, ...call, function: { name, arguments: '' } }] });
      for (const part of input.match(/.{1,8}/gs)) push(index, { tool_calls: [{ index: position, function: { arguments: part } }] });
    }
    for (const word of choice.words) push(index, answer.speaks ? { audio: { id: sound(answer).id, data: soundOf(word), transcript: word } } : { content: word });
    push(index, {}, finishReason(choice), 'finish');
  }
  if (reported && (wantsUsage || wish)) events.push({ is: 'usage', data: { ...head, choices: [], usage: reported } });
  return [...events, { is: 'end', data: '[DONE]' }];
}

function composeCompletions(body, model) {
  const prompts = promptsOf(body.prompt);
  const answers = prompts.map((prompt) =>
    compose({ model, turns: [{ role: 'user', text: prompt }], n: body.n ?? 1, limit: body.max_tokens ?? 16, stop: [body.stop ?? []].flat(), promptTokens: countWords(prompt) }),
  );
  const sum = (key) => answers.reduce((total, { usage }) => total + usage[key], 0);
  const choices = answers.flatMap((answer) => answer.choices).map((choice, index) => ({ ...choice, index }));
  return { ...answers[0], choices, usage: { input: sum('input'), cached: sum('cached'), audio: 0, image: 0, output: sum('output'), reasoning: sum('reasoning') } };
}

/** A prompt is a text, a list of them, a list of tokens or a list of such; tokens are told by their numbers. */
function promptsOf(prompt) {
  if (!Array.isArray(prompt)) return [prompt ?? ''];
  if (typeof prompt[0] === 'number') return [prompt.join(' ')];
  return prompt.map((it) => (Array.isArray(it) ? it.join(' ') : it));
}

const textChoice = ({ index }, text, finish_reason) => ({ text, index, logprobs: null, finish_reason });

function completionEvents({ number, model, created, choices, usage }, { body }, { usage: wish }) {
  const wantsUsage = body.stream_options?.include_usage === true;
  const head = { id: `cmpl-sim-${number}`, object: 'text_completion', created, model, system_fingerprint: 'fp_sim' };
  const chunk = (choice, text, reason, is) => ({ is, data: { ...head, choices: [textChoice(choice, text, reason)], ...(wantsUsage && { usage: null }) } });
  const events = choices.flatMap((choice) => [
    ...choice.words.map((word) => chunk(choice, word, null, 'delta')),
    chunk(choice, '', finishReason(choice), 'finish'),
  ]);
  if (usage && (wantsUsage || wish)) events.push({ is: 'usage', data: { ...head, choices: [], usage: openaiUsage(usage, model) } });
  return [...events, { is: 'end', data: '[DONE]' }];
}
