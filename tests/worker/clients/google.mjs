// The JavaScript SDK of Google.
import assert from 'node:assert/strict';
import { ApiError, FunctionCallingConfigMode, GoogleGenAI } from '@google/genai';
import { talkers } from '../support/dialects.mjs';
import { greeting, note, noteSchema, pixel, weatherSchema } from './stage.mjs';

const weather = { name: 'weather', description: 'The weather of a city', parametersJsonSchema: weatherSchema };
const clock = { name: 'clock', description: 'The time in a city', parametersJsonSchema: weatherSchema };
const tools = [{ functionDeclarations: [weather, clock] }];

export function google(stage, check) {
  const client = (options = {}) =>
    new GoogleGenAI({ apiKey: stage.key, ...options, httpOptions: { baseUrl: stage.url, ...options.httpOptions } });
  const generate = (model, contents = 'hello', config = {}) => client().models.generateContent({ model, contents, config });
  const stream = (model, contents = 'hello', config = {}) => client().models.generateContentStream({ model, contents, config });
  /** The chunks of a stream, and its text and calls put together. */
  const collected = async (streamed) => {
    const chunks = [];
    for await (const chunk of await streamed) chunks.push(chunk);
    return { chunks, last: chunks.at(-1), text: chunks.map(({ text }) => text ?? '').join(''), calls: chunks.flatMap(({ functionCalls }) => functionCalls ?? []) };
  };

  for (const model of talkers) {
    const [family] = model.split('-');

    check('plain', model, async () => {
      const contents = [
        { role: 'user', parts: [{ text: 'hi' }] },
        { role: 'model', parts: [{ text: 'yes?' }] },
        { role: 'user', parts: [{ text: 'hello' }] },
      ];
      const answer = await generate(model, contents, { systemInstruction: 'Be brief.', temperature: 0.5, maxOutputTokens: 100 });
      assert.equal(answer.text, greeting(model));
      assert.deepEqual([answer.candidates[0].finishReason, answer.candidates[0].content.role], ['STOP', 'model']);
    });

    check('plain', `${model}, cut at the output limit and at a stop text`, async () => {
      const limited = await generate(model, 'hello', { maxOutputTokens: 3 });
      assert.deepEqual([limited.text, limited.candidates[0].finishReason], ['You said: "hello".', 'MAX_TOKENS']);
      const stopped = await generate(model, 'hello', { stopSequences: ['simulated'] });
      assert.equal(stopped.text.trim(), `You said: "hello". This is ${model}, a`);
      assert.equal(stopped.candidates[0].finishReason, 'STOP');
    });

    check('stream', model, async () => {
      const { chunks, last, text } = await collected(stream(model));
      assert.ok(chunks.length > 3, `${chunks.length} chunks`);
      assert.equal(text, greeting(model));
      assert.equal(last.candidates[0].finishReason, 'STOP');
      assert.deepEqual([last.usageMetadata.promptTokenCount, last.usageMetadata.candidatesTokenCount], [8, 16]);
    });

    check('stream helpers', `${model}, a chat that remembers`, async () => {
      const chat = client().chats.create({ model });
      assert.equal((await chat.sendMessage({ message: 'hi' })).text, greeting(model).replace('hello', 'hi'));
      const { text } = await collected(chat.sendMessageStream({ message: 'hello' }));
      assert.equal(text, greeting(model));
      assert.deepEqual(chat.getHistory(true).map(({ role }) => role).filter((role, index, all) => role !== all[index - 1]), ['user', 'model', 'user', 'model']);
    });

    check('tools', `${model}, plain and from a stream`, async () => {
      const plain = (await generate(model, 'please use the tool', { tools })).functionCalls;
      const { calls } = await collected(stream(model, 'please use the tool', { tools }));
      for (const [{ name, args }, ...more] of [plain, calls]) assert.deepEqual([name, args, more], ['weather', { city: 'please use the tool' }, []]);
    });

    check('tools', `${model}, chosen by the request`, async () => {
      const choose = (functionCallingConfig) => ({ tools, toolConfig: { functionCallingConfig } });
      const named = await generate(model, 'hello', choose({ mode: FunctionCallingConfigMode.ANY, allowedFunctionNames: ['clock'] }));
      assert.equal(named.functionCalls[0].name, 'clock');
      const any = await generate(model, 'hello', choose({ mode: FunctionCallingConfigMode.ANY }));
      assert.equal(any.functionCalls[0].name, 'weather');
      const none = await generate(model, 'please use the tool', choose({ mode: FunctionCallingConfigMode.NONE }));
      assert.equal(none.functionCalls, undefined);
    });

    check('parallel tools', `${model}, and their results in one turn`, async () => {
      const asked = { role: 'user', parts: [{ text: 'please use two tools' }] };
      const plain = await generate(model, [asked], { tools });
      const { calls } = await collected(stream(model, [asked], { tools }));
      for (const list of [plain.functionCalls, calls]) {
        assert.deepEqual(list.map(({ name, args }) => [name, args]), ['weather', 'clock'].map((name) => [name, { city: 'please use two tools' }]));
      }
      const parts = plain.functionCalls.map(({ id, name }) => ({ functionResponse: { ...(id && { id }), name, response: { output: `${name} is fine` } } }));
      const answer = await generate(model, [asked, plain.candidates[0].content, { role: 'user', parts }], { tools });
      assert.equal(answer.text, `The tool said: "weather is fine" and "clock is fine". ${greeting(model).slice(19)}`);
    });

    check('structured output', `${model}, by JSON Schema and by Google's own`, async () => {
      const responseMimeType = 'application/json';
      const bySchema = await generate(model, 'hello', { responseMimeType, responseJsonSchema: noteSchema });
      assert.deepEqual(JSON.parse(bySchema.text), note);
      const own = { type: 'OBJECT', properties: { said: { type: 'STRING' }, number: { type: 'INTEGER' } }, required: ['said', 'number'] };
      const byOwn = await generate(model, 'hello', { responseMimeType, responseSchema: own });
      assert.deepEqual(JSON.parse(byOwn.text), note);
    });

    check('images in', model, async () => {
      const { text } = await generate(model, [{ role: 'user', parts: [{ text: 'hello' }, { inlineData: { mimeType: 'image/png', data: pixel } }] }]);
      assert.match(text, /^You said: "hello ?"/);
      assert.ok(JSON.stringify(stage.sent(model).body).includes(pixel), 'the image went up as it came');
    });

    check('usage and cost', model, async () => {
      const { usageMetadata, sdkHttpResponse } = await generate(model);
      assert.deepEqual([usageMetadata.promptTokenCount, usageMetadata.candidatesTokenCount, usageMetadata.totalTokenCount, usageMetadata.cost], [8, 16, 24, 0.00004]);
      await stage.charged(new Headers(sdkHttpResponse.headers), '0.00004', { input: 8, output: 16 });
      const { last } = await collected(stream(model, 'please use two tools', { tools }));
      assert.equal(last.usageMetadata.cost, 0.000043);
      // 11 tokens in, two calls of 8 out.
      await stage.charged(new Headers(last.sdkHttpResponse.headers), '0.000043', { input: 11, output: 16 });
    });

    check('usage and cost', `${family}, with half of the prompt from the cache and with thinking`, async () => {
      // 4 at 1, 4 at 0.1, 16 at 2 a million.
      const cached = await generate(`${family}-cached`);
      assert.deepEqual([cached.usageMetadata.promptTokenCount, cached.usageMetadata.cachedContentTokenCount], [8, 4]);
      await stage.charged(new Headers(cached.sdkHttpResponse.headers), '0.0000364', { input: 4, cached_input: 4, output: 16 });
      // 8 at 1, 16 at 2, 20 at 3 a million. Google counts thoughts beside the candidates.
      const thought = await generate(`${family}-thinking`);
      assert.deepEqual([thought.usageMetadata.candidatesTokenCount, thought.usageMetadata.thoughtsTokenCount], [16, 20]);
      await stage.charged(new Headers(thought.sdkHttpResponse.headers), '0.0001', { input: 8, output: 16, reasoning: 20 });
    });

    check('raw headers', model, async () => {
      const { last } = await collected(stream(model));
      for (const { sdkHttpResponse } of [await generate(model), last]) {
        const headers = new Headers(sdkHttpResponse.headers);
        assert.match(headers.get('x-request-id'), /^gen-/);
        assert.deepEqual(['model', 'upstream-model', 'route', 'attempts'].map((name) => headers.get(`x-tf-${name}`)), [model, model, 'official', '1']);
      }
    });

    check('typed errors', `${family}-fail-400, with what upstream said`, async () => {
      for (const call of [() => generate(`${family}-fail-400`), () => collected(stream(`${family}-fail-400`))]) {
        await assert.rejects(call, (error) => {
          const { code, message, status } = told(error, 400);
          assert.deepEqual([code, status], [400, 'INVALID_ARGUMENT']);
          assert.match(message, /^The input token count.* exceeds the maximum number of tokens allowed/);
          return true;
        });
      }
    });

    check('broken streams', family, async () => {
      for (const fault of ['cut-stream', 'no-done', 'stream-error-mid']) {
        let [text, finish] = ['', undefined];
        let headers;
        await assert.rejects(async () => {
          for await (const chunk of await stream(`${family}-${fault}`)) {
            headers = new Headers(chunk.sdkHttpResponse.headers);
            text += chunk.text ?? '';
            finish = chunk.candidates?.[0]?.finishReason ?? finish;
          }
        }, ApiError, fault);
        assert.match(text, /^You said:/, fault);
        assert.equal(finish, undefined, fault);
        await stage.truncated(headers);
      }
    });

    check('count tokens', model, async () => {
      const { totalTokens } = await client().models.countTokens({ model, contents: 'hello' });
      // Google's own channel counts; for others the gateway does.
      if (family === 'gemini') assert.equal(totalTokens, 8);
      assert.ok(Number.isInteger(totalTokens) && totalTokens > 0, String(totalTokens));
    });
  }

  // The SDK's default has changed: by itself it asks under /v1, as older ones did under /v1beta.
  for (const apiVersion of [undefined, 'v1', 'v1beta']) {
    check('versions of the API', apiVersion ?? 'the default', async () => {
      const { models } = client({ apiVersion });
      assert.equal((await models.generateContent({ model: 'gemini-sim', contents: 'hello' })).text, greeting('gemini-sim'));
      const { text } = await collected(models.generateContentStream({ model: 'claude-sim', contents: 'hello' }));
      assert.equal(text, greeting('claude-sim'));
      assert.equal((await models.get({ model: 'gpt-sim' })).name, 'models/gpt-sim');
    });
  }

  check('thinking', 'shown by models that show it', async () => {
    for (const model of ['claude-sim', 'gemini-sim']) {
      const { candidates } = await generate(model, 'hello', { maxOutputTokens: 2048, thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } });
      const [thought, answer] = candidates[0].content.parts;
      assert.equal(thought.thought, true, model);
      assert.match(thought.text, /^The request is short and plain,.* model that answers\.$/);
      assert.equal(answer.text, greeting(model));
    }
  });

  check('typed errors', 'key, model, limit, upstream', async () => {
    const cases = [
      [401, 'UNAUTHENTICATED', client({ apiKey: `sk-tf-${'0'.repeat(48)}` }), 'gemini-sim'],
      [404, 'NOT_FOUND', client(), 'gemini-smi'],
      [429, 'RESOURCE_EXHAUSTED', client({ apiKey: await stage.exhaustedKey() }), 'claude-sim'],
      [502, undefined, client(), 'gpt-fail-500'],
      [429, 'RESOURCE_EXHAUSTED', client(), 'claude-fail-429'],
      [429, 'RESOURCE_EXHAUSTED', client(), 'claude-fail-503'],
    ];
    for (const [code, status, own, model] of cases) {
      for (const call of [() => own.models.generateContent({ model, contents: 'hello' }), () => own.models.generateContentStream({ model, contents: 'hello' })]) {
        await assert.rejects(call, (error) => {
          const body = told(error, code);
          assert.equal(body.code, code);
          if (status) assert.equal(body.status, status);
          assert.ok(body.message && body.status);
          return true;
        });
      }
    }
  });

  // This SDK has a pause of its own, at least a second long, and does not read `retry-after`.
  check('retries', 'come back after a refusal', async () => {
    const own = client({ httpOptions: { retryOptions: { attempts: 2, initialDelay: 1 } } });
    assert.equal((await stage.comesBack(() => own.models.generateContent({ model: 'busy', contents: 'hello' }))).candidates.length, 1);
  });

  check('model list', 'and one of them', async () => {
    const names = [];
    for await (const { name } of await client().models.list()) names.push(name);
    for (const model of talkers) assert.ok(names.includes(`models/${model}`), model);
    assert.equal((await client().models.get({ model: 'gpt-sim' })).name, 'models/gpt-sim');
    await assert.rejects(client().models.get({ model: 'none' }), ApiError);
  });
}

/** What Google's envelope says, which this SDK leaves as JSON in the message. */
function told(error, status) {
  assert.ok(error instanceof ApiError, error.stack);
  assert.equal(error.status, status);
  return JSON.parse(error.message).error;
}
