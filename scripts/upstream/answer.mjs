// What a well-behaved upstream says, in no dialect: each API reads its request into an `ask`,
// and writes the `answer` in its own shape. The text is determined by the request; one word is
// one token, so that sums can be done by hand.
import { example, toolInput } from './schema.mjs';

/** What a model that thinks thinks: 20 words, so 20 tokens. */
const thought = 'The request is short and plain, so I will say back what was asked and name the model that answers.';

/** Tokens of a call of a tool, whatever its input. */
const callTokens = 8;
/** Tokens of an audio part (one second at 32) and of an image part, as Gemini counts them. */
export const partTokens = { audio: 32, image: 258 };

let served = 0;

/**
 * Works out the answer to an ask:
 *   model; turns: [{role: system|user|assistant, text, results?: [text], audio?, image?: tokens}];
 *   tools: [{name, schema}]; toolChoice: auto|none|required|{name}; parallel; n; limit; stop: [text];
 *   schema: of a structured answer; thinks; promptTokens, if the API counts them otherwise.
 *
 * The answer: number (counts up), model, created (seconds), limit,
 *   choices: [{index, thought: [word], words: [word], calls: [{name, input}], finish, stop}] with
 *   finish: stop|length|tool|stop_sequence|filter; and `usage`, disjoint within the output and inclusive
 *   within the input: {input, cached, audio, image, output, reasoning}.
 */
export function compose(ask) {
  const { model, n = 1, limit } = ask;
  const thinks = ask.thinks ?? isThinker(model);
  const choices = Array.from({ length: n }, (_, index) => ({ index, thought: thinks ? wordsOf(thought) : [], ...choice(ask) }));
  return {
    ...begun(model),
    limit: model.startsWith('no-limit') ? undefined : limit,
    choices,
    usage: {
      ...inputUsage(ask),
      output: choices.reduce((sum, { tokens }) => sum + tokens, 0),
      reasoning: thinks ? countWords(thought) : 0,
    },
  };
}

/** What every answer has: its number, its model and when it was made. */
export function begun(model) {
  served += 1;
  return { number: served, model, created: Math.floor(Date.now() / 1000) };
}

/** The input side of the usage of an ask: 3 tokens, and 4 more for each turn than it has words. */
export function inputUsage({ model, turns, promptTokens }) {
  const sum = (key) => turns.reduce((total, turn) => total + (turn[key] ?? 0), 0);
  const [audio, image] = [sum('audio'), sum('image')];
  const input = promptTokens ?? turns.reduce((total, turn) => total + turnTokens(turn), 3);
  return { input, cached: model.startsWith('cached') ? Math.floor(input / 2) : 0, audio, image };
}

export function turnTokens({ text = '', results = [], audio = 0, image = 0 }) {
  return 4 + countWords(text) + results.reduce((total, result) => total + countWords(result), 0) + audio + image;
}

/** The answer with so many words in place of what it says, or fewer if its request limits them. */
export function stretched(answer, wanted) {
  const count = Math.min(wanted, answer.limit ?? wanted);
  const words = Array.from({ length: count }, (_, index) => `word${index} `);
  const [first] = answer.choices;
  const choices = [{ ...first, words, calls: [], tokens: count, finish: count < wanted ? 'length' : 'stop' }];
  return { ...answer, choices, usage: { ...answer.usage, output: count } };
}

/** The answer with so long a word before all others, for which it reports nothing. */
export function bigger(answer, word) {
  const [first, ...others] = answer.choices;
  return { ...answer, choices: [{ ...first, words: [word, ...first.words] }, ...others] };
}

export function isThinker(model) {
  return /^(reasoning|thinking)/.test(model);
}

/** The text of a content that is a string or a list of parts. */
export function textOf(content) {
  if (typeof content === 'string') return content;
  return (content ?? []).map((part) => part.text ?? '').join(' ');
}

export function countWords(text) {
  return text.split(/\s+/).filter(Boolean).length;
}

/** Words with the space before them, so that joined they are the text again. */
export function wordsOf(text) {
  return text.match(/\s*\S+/g) ?? [];
}

function choice(ask) {
  const calls = callsOf(ask);
  if (calls.length) return { calls, words: [], tokens: callTokens * calls.length, finish: 'tool' };
  const { said, stop } = stopped(text(ask), ask.stop ?? []);
  const words = wordsOf(said);
  if (ask.model.startsWith('filtered')) return { calls: [], words: words.slice(0, 4), tokens: 4, finish: 'filter' };
  const cut = ask.limit !== undefined && words.length > ask.limit && !ask.model.startsWith('no-limit');
  const kept = cut ? words.slice(0, ask.limit) : words;
  return { calls: [], words: kept, tokens: kept.length, finish: cut ? 'length' : stop ? 'stop_sequence' : 'stop', ...(!cut && stop && { stop }) };
}

function stopped(text, stops) {
  const found = stops.map((stop) => [text.indexOf(stop), stop]).filter(([at, stop]) => stop && at >= 0).sort(([a], [b]) => a - b)[0];
  return found ? { said: text.slice(0, found[0]), stop: found[1] } : { said: text };
}

function text(ask) {
  const { model } = ask;
  const asked = quoted(askedOf(ask));
  if (ask.schema) return JSON.stringify(example(ask.schema, asked));
  const results = resultsOf(ask);
  if (results.length) return `The tool said: ${results.map((result) => `"${quoted(result)}"`).join(' and ')}. ${signature(model)}`;
  if (model.startsWith('no-limit')) return 'and so on '.repeat(40).trim();
  if (model.startsWith('split-bytes')) return `Größe 大きさ 🌍🚀 : "${asked}"`;
  return `You said: "${asked}". ${signature(model)}`;
}

const signature = (model) => `This is ${model}, a simulated model, and it answers the same each time.`;
const quoted = (text) => (text.length > 200 ? `${text.slice(0, 200)}...` : text);

/** The calls of tools: when the user speaks of a tool or the request demands one, and no result is there yet. */
function callsOf(ask) {
  const { tools = [], toolChoice = 'auto', parallel = true } = ask;
  if (!tools.length || toolChoice === 'none' || resultsOf(ask).length) return [];
  const asked = askedOf(ask);
  const call = ({ name, schema }) => ({ name, input: toolInput(schema, asked) });
  const named = tools.find(({ name }) => name === toolChoice.name);
  if (named) return [call(named)];
  if (parallel && /\btwo tools\b/i.test(asked)) return [call(tools[0]), call(tools[1] ?? tools[0])];
  return toolChoice === 'required' || /\b(tool|two tools)\b/i.test(asked) ? [call(tools[0])] : [];
}

/** What the user said last. A turn of results alone is not the user speaking. */
function askedOf({ turns }) {
  return turns.findLast(({ role, text, results }) => role === 'user' && (text || !results?.length))?.text ?? '';
}

/** The results that came since the assistant spoke last. */
function resultsOf({ turns }) {
  const spoke = turns.findLastIndex(({ role }) => role === 'assistant');
  return spoke < 0 ? [] : turns.slice(spoke + 1).flatMap(({ results }) => results ?? []);
}
