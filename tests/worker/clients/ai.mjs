// The AI SDK with its providers for OpenAI (chat completions and, by default, responses) and for
// whatever is compatible with it.
import assert from 'node:assert/strict';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  APICallError, Output, embedMany, generateImage, generateObject, generateSpeech, generateText, isStepCount, streamObject, streamText, tool,
  transcribe,
} from 'ai';
import { z } from 'zod';
import { talkers } from '../support/dialects.mjs';
import { greeting, note, pixel } from './stage.mjs';

// It would write to the console what it thinks of models that it does not know.
globalThis.AI_SDK_LOG_WARNINGS = false;

const noteSchema = z.object({ said: z.string(), number: z.int() });
const inputSchema = z.object({ city: z.string() });
const described = { weather: { description: 'The weather of a city', inputSchema }, clock: { description: 'The time in a city', inputSchema } };
const tools = Object.fromEntries(Object.entries(described).map(([name, it]) => [name, tool(it)]));
const runnable = Object.fromEntries(Object.entries(described).map(([name, it]) => [name, tool({ ...it, execute: async ({ city }) => `${name} in ${city.length}` })]));

export function aiSdk(kind, stage, check) {
  const provider = (apiKey = stage.key) => {
    const baseURL = `${stage.url}/v1`;
    return kind === 'openai' ? createOpenAI({ baseURL, apiKey }) : createOpenAICompatible({ name: 'gateway', baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true });
  };
  const chat = (model, key) => (kind === 'openai' ? provider(key).chat(model) : provider(key).chatModel(model));
  text(kind, stage, check, chat, (area) => area);
  // Everything once more over the API that this provider takes by default.
  if (kind === 'openai') text(kind, stage, check, (model, key) => provider(key)(model), () => 'responses');

  check('embeddings', 'of two texts', async () => {
    const model = kind === 'openai' ? provider().embedding('embedding-sim') : provider().embeddingModel('embedding-sim');
    const { embeddings, usage } = await embedMany({ model, values: ['hello world', 'good day'], maxRetries: 0 });
    assert.deepEqual(embeddings.map(({ length }) => length), [1536, 1536]);
    assert.equal(usage.tokens, 4);
  });

  check('images', 'made', async () => {
    const model = kind === 'openai' ? provider().image('image-sim') : provider().imageModel('image-sim');
    const { image } = await generateImage({ model, prompt: 'a white dot', maxRetries: 0 });
    assert.equal(Buffer.from(image.uint8Array).subarray(1, 4).toString(), 'PNG');
  });

  if (kind !== 'openai') return;
  check('audio', 'spoken and transcribed', async () => {
    const { audio } = await generateSpeech({ model: provider().speech('speech-sim'), text: 'Good day', voice: 'alloy', maxRetries: 0 });
    assert.equal(audio.uint8Array.length, 2000);
    const { text } = await transcribe({ model: provider().transcription('transcription-sim'), audio: new Uint8Array(40_000).fill(1), maxRetries: 0 });
    assert.match(text, /40000 bytes". This is whisper-sim/);
  });
}

/** What every provider of text does: `languageModel(id, key?)`; `areaOf` says in which area a check counts. */
function text(provider, stage, check, languageModel, areaOf) {
  const ask = (model, prompt = 'hello', more = {}) => ({ model: languageModel(model), maxRetries: 0, prompt, ...more });
  const inArea = (area, what, run) => check(areaOf(area), areaOf(area) === area ? what : `${what}, ${area}`, run);
  const streamed = (request) => streamText({ onError() {}, ...request });

  for (const model of talkers) {
    const [family] = model.split('-');

    inArea('plain', model, async () => {
      const result = await generateText({ model: languageModel(model), maxRetries: 0, messages: [{ role: 'user', content: 'hi' }, { role: 'assistant', content: 'yes?' }, { role: 'user', content: 'hello' }] });
      assert.deepEqual([result.text, result.finishReason], [greeting(model), 'stop']);
      const limited = await generateText(ask(model, 'hello', { maxOutputTokens: 3 }));
      assert.deepEqual([limited.text, limited.finishReason], ['You said: "hello".', 'length']);
    });

    inArea('stream', model, async () => {
      const result = streamed(ask(model));
      let text = '';
      for await (const delta of result.textStream) text += delta;
      assert.equal(text, greeting(model));
      assert.equal(await result.finishReason, 'stop');
      const { inputTokens, outputTokens } = await result.usage;
      assert.deepEqual([inputTokens, outputTokens], [8, 16]);
    });

    inArea('tools', `${model}, plain and from a stream`, async () => {
      const request = ask(model, 'please use the tool', { tools });
      const plain = await generateText(request);
      const stream = streamed(request);
      await stream.consumeStream();
      for (const [calls, reason] of [[plain.toolCalls, plain.finishReason], [await stream.toolCalls, await stream.finishReason]]) {
        assert.deepEqual(calls.map(({ toolName, input }) => [toolName, input]), [['weather', { city: 'please use the tool' }]]);
        assert.equal(reason, 'tool-calls');
      }
    });

    inArea('parallel tools', `${model}, run to the last answer`, async () => {
      const request = ask(model, 'please use two tools', { tools: runnable, stopWhen: isStepCount(3) });
      const last = `The tool said: "weather in 20" and "clock in 20". ${greeting(model).slice(19)}`;
      const plain = await generateText(request);
      assert.deepEqual([plain.steps.length, plain.text], [2, last]);
      const stream = streamed(request);
      await stream.consumeStream();
      assert.equal((await stream.steps).length, 2);
      assert.equal((await stream.steps).at(-1).text, last);
    });

    inArea('structured output', model, async () => {
      const { object } = await generateObject({ ...ask(model), schema: noteSchema });
      assert.deepEqual(object, note);
      const stream = streamObject({ ...ask(model), schema: noteSchema, onError() {} });
      let partial;
      for await (const it of stream.partialObjectStream) partial = it;
      assert.deepEqual([partial, await stream.object], [note, note]);
      assert.deepEqual((await generateText(ask(model, 'hello', { output: Output.object({ schema: noteSchema }) }))).output, note);
    });

    inArea('images in', model, async () => {
      const content = [{ type: 'text', text: 'hello' }, { type: 'file', data: Buffer.from(pixel, 'base64'), mediaType: 'image/png' }];
      const { text } = await generateText({ model: languageModel(model), maxRetries: 0, messages: [{ role: 'user', content }] });
      assert.match(text, /^You said: "hello ?"/);
      assert.ok(JSON.stringify(stage.sent(model).body).includes(pixel), 'the image went up as it came');
    });

    inArea('usage and cost', model, async () => {
      const { usage, response } = await generateText(ask(model));
      assert.deepEqual([usage.inputTokens, usage.outputTokens, usage.totalTokens], [8, 16, 24]);
      // The provider for OpenAI keeps of the usage only what it knows.
      if (provider === 'compatible') assert.equal(usage.raw.cost, 0.00004);
      await stage.charged(new Headers(response.headers), '0.00004', { input: 8, output: 16 });
      // 8 at 1, 16 at 2, 20 at 3 a million.
      const thought = await generateText(ask(`${family}-thinking`));
      assert.equal(thought.usage.outputTokens, 36);
      await stage.charged(new Headers(thought.response.headers), '0.0001', { input: 8, output: 16, reasoning: 20 });
    });

    inArea('raw headers', model, async () => {
      const plain = await generateText(ask(model));
      const stream = streamed(ask(model));
      await stream.consumeStream();
      for (const { headers } of [plain.response, await stream.response]) {
        assert.match(headers['x-request-id'], /^gen-/);
        assert.deepEqual(['model', 'upstream-model', 'route', 'attempts'].map((name) => headers[`x-tf-${name}`]), [model, model, 'official', '1']);
      }
    });

    inArea('broken streams', family, async () => {
      for (const fault of ['cut-stream', 'no-done', 'stream-error-mid']) {
        const parts = [];
        for await (const part of streamed(ask(`${family}-${fault}`)).fullStream) parts.push(part);
        const text = parts.filter(({ type }) => type === 'text-delta').map((part) => part.text).join('');
        assert.match(text, /^You said:/, fault);
        assert.ok(parts.some(({ type }) => type === 'error'), `${fault}: an error among ${[...new Set(parts.map(({ type }) => type))]}`);
        assert.notEqual(parts.find(({ type }) => type === 'finish')?.finishReason, 'stop', fault);
      }
    });
  }

  inArea('typed errors', 'key, model, upstream', async () => {
    const cases = [
      [401, 'invalid_api_key', 'gpt-sim', `sk-tf-${'0'.repeat(48)}`],
      [404, 'model_not_found', 'gpt-smi'],
      [400, 'context_length_exceeded', 'gpt-fail-400'],
      [400, 'context_length_exceeded', 'claude-fail-400'],
      [400, 'context_length_exceeded', 'gemini-fail-400'],
      [429, 'rate_limit_exceeded', 'claude-sim', await stage.exhaustedKey()],
      [429, 'upstream_rate_limited', 'gemini-fail-429'],
    ];
    for (const [status, code, model, key] of cases) {
      await assert.rejects(generateText({ model: languageModel(model, key), prompt: 'hello', maxRetries: 0 }), (error) => {
        assert.ok(APICallError.isInstance(error), error.stack);
        assert.equal(error.statusCode, status);
        assert.equal(JSON.parse(error.responseBody).error.code, code);
        assert.equal(error.isRetryable, [429, 503].includes(status));
        if (error.isRetryable) assert.match(error.responseHeaders['retry-after'], /^[1-9]\d*$/);
        return true;
      });
    }
  });

  inArea('retries', 'come back when they were told to', async () => {
    const { text } = await stage.comesBack(() => generateText({ model: languageModel('busy'), prompt: 'hello', maxRetries: 2 }));
    assert.equal(text, 'Good day.');
  });
}
