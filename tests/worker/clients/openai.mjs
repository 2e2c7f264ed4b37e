// The JavaScript SDK of OpenAI.
import assert from 'node:assert/strict';
import OpenAI, { toFile } from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { talkers } from '../support/dialects.mjs';
import { greeting, note, noteSchema, pixel, weatherSchema } from './stage.mjs';

const Note = z.object({ said: z.string(), number: z.int() });
const weather = { type: 'function', function: { name: 'weather', description: 'The weather of a city', parameters: weatherSchema } };
const clock = { type: 'function', function: { name: 'clock', description: 'The time in a city', parameters: weatherSchema } };
const user = (content) => [{ role: 'user', content }];
const familyOf = (model) => model.split('-')[0];

export function openai(stage, check) {
  const client = (options) => new OpenAI({ baseURL: `${stage.url}/v1`, apiKey: stage.key, maxRetries: 0, ...options });
  const chat = () => client().chat.completions;

  for (const model of talkers) {
    const family = familyOf(model);

    check('plain', model, async () => {
      const { choices: [choice], model: named, object } = await chat().create({
        model,
        messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'hi' }, { role: 'assistant', content: 'yes?' }, { role: 'user', content: 'hello' }],
        temperature: 0.5,
        max_tokens: 100,
      });
      assert.deepEqual([choice.message.role, choice.message.content, choice.finish_reason], ['assistant', greeting(model), 'stop']);
      assert.equal(object, 'chat.completion');
      assert.equal(typeof named, 'string');
    });

    check('plain', `${model}, cut at the output limit and at a stop text`, async () => {
      const limited = await chat().create({ model, messages: user('hello'), max_completion_tokens: 3 });
      assert.deepEqual([limited.choices[0].message.content, limited.choices[0].finish_reason], ['You said: "hello".', 'length']);
      const stopped = await chat().create({ model, messages: user('hello'), stop: ['simulated'] });
      assert.equal(stopped.choices[0].message.content.trim(), `You said: "hello". This is ${model}, a`);
      assert.equal(stopped.choices[0].finish_reason, 'stop');
    });

    check('stream', model, async () => {
      let [text, finish, usages] = ['', null, 0];
      for await (const chunk of await chat().create({ model, messages: user('hello'), stream: true })) {
        assert.equal(chunk.object, 'chat.completion.chunk');
        text += chunk.choices[0].delta.content ?? '';
        finish = chunk.choices[0].finish_reason ?? finish;
        usages += chunk.usage ? 1 : 0;
      }
      assert.deepEqual([text, finish, usages], [greeting(model), 'stop', 0]);
    });

    check('stream helpers', model, async () => {
      const runner = chat().stream({ model, messages: user('hello'), stream_options: { include_usage: true } });
      let deltas = '';
      runner.on('content', (delta) => (deltas += delta));
      const completion = await runner.finalChatCompletion();
      assert.equal(completion.choices[0].message.content, greeting(model));
      assert.equal(deltas, greeting(model));
      assert.deepEqual([completion.usage.prompt_tokens, completion.usage.completion_tokens, completion.usage.cost], [8, 16, 0.00004]);
    });

    check('tools', `${model}, plain and accumulated from a stream`, async () => {
      const request = { model, messages: user('please use the tool'), tools: [weather, clock] };
      for (const { choices: [{ message, finish_reason }] } of [await chat().create(request), await chat().stream(request).finalChatCompletion()]) {
        assert.equal(finish_reason, 'tool_calls');
        const [{ id, type, function: { name, arguments: input } }, ...more] = message.tool_calls;
        assert.ok(id);
        assert.deepEqual([type, name, JSON.parse(input), more], ['function', 'weather', { city: 'please use the tool' }, []]);
      }
    });

    check('tools', `${model}, chosen by the request`, async () => {
      const messages = user('hello');
      const named = await chat().create({ model, messages, tools: [weather, clock], tool_choice: { type: 'function', function: { name: 'clock' } } });
      assert.equal(named.choices[0].message.tool_calls[0].function.name, 'clock');
      const required = await chat().create({ model, messages, tools: [weather], tool_choice: 'required' });
      assert.equal(required.choices[0].message.tool_calls[0].function.name, 'weather');
      const none = await chat().create({ model, messages: user('please use the tool'), tools: [weather], tool_choice: 'none' });
      assert.equal(none.choices[0].finish_reason, 'stop');
    });

    check('parallel tools', model, async () => {
      const request = { model, messages: user('please use two tools'), tools: [weather, clock] };
      for (const completion of [await chat().create(request), await chat().stream(request).finalChatCompletion()]) {
        const { message, finish_reason } = completion.choices[0];
        assert.equal(finish_reason, 'tool_calls');
        assert.deepEqual(message.tool_calls.map((call) => call.function.name), ['weather', 'clock']);
        assert.equal(new Set(message.tool_calls.map(({ id }) => id)).size, 2, 'each call has its own id');
        for (const call of message.tool_calls) assert.deepEqual(JSON.parse(call.function.arguments), { city: 'please use two tools' });
      }
    });

    check('parallel tools', `${model}, run by runTools to the last answer`, async () => {
      for (const stream of [false, true]) {
        const runnable = (tool, result) => ({ ...tool, function: { ...tool.function, parse: JSON.parse, function: ({ city }) => `${result} in ${city.length}` } });
        const runner = chat().runTools({ model, messages: user('please use two tools'), tools: [runnable(weather, 'sunny'), runnable(clock, 'noon')], stream });
        assert.equal(await runner.finalContent(), `The tool said: "sunny in 20" and "noon in 20". ${greeting(model).slice(19)}`);
      }
    });

    check('structured output', model, async () => {
      const request = { model, messages: user('hello'), response_format: zodResponseFormat(Note, 'note') };
      const parsed = await chat().parse(request);
      assert.deepEqual(parsed.choices[0].message.parsed, note);
      const streamed = await chat().stream(request).finalChatCompletion();
      assert.deepEqual(streamed.choices[0].message.parsed, note);
      const plain = await chat().create({ model, messages: user('hello'), response_format: { type: 'json_schema', json_schema: { name: 'note', schema: noteSchema, strict: true } } });
      assert.deepEqual(JSON.parse(plain.choices[0].message.content), note);
    });

    check('images in', model, async () => {
      const content = [{ type: 'text', text: 'hello' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } }];
      const completion = await chat().create({ model, messages: user(content) });
      assert.match(completion.choices[0].message.content, /^You said: "hello ?"/);
      assert.ok(JSON.stringify(stage.sent(model).body).includes(pixel), 'the image went up as it came');
    });

    check('usage and cost', model, async () => {
      const { data, response } = await chat().create({ model, messages: user('hello') }).withResponse();
      assert.deepEqual([data.usage.prompt_tokens, data.usage.completion_tokens, data.usage.total_tokens, data.usage.cost], [8, 16, 24, 0.00004]);
      assert.equal(typeof data.usage.cost_details, 'object');
      await stage.charged(response, '0.00004', { input: 8, output: 16 });
      // 11 tokens in, two calls of 8 out.
      const called = await chat().create({ model, messages: user('please use two tools'), tools: [weather, clock] }).withResponse();
      await stage.charged(called.response, '0.000043', { input: 11, output: 16 });
    });

    check('usage and cost', `${family}, with half of the prompt from the cache and with thinking`, async () => {
      // 4 at 1, 4 at 0.1, 16 at 2 a million.
      const cached = await chat().create({ model: `${family}-cached`, messages: user('hello') }).withResponse();
      assert.equal(cached.data.usage.prompt_tokens, 8);
      assert.equal(cached.data.usage.prompt_tokens_details.cached_tokens, 4);
      await stage.charged(cached.response, '0.0000364', { input: 4, cached_input: 4, output: 16 });
      // 8 at 1, 16 at 2, 20 at 3 a million.
      const thought = await chat().create({ model: `${family}-thinking`, messages: user('hello') }).withResponse();
      assert.equal(thought.data.usage.completion_tokens_details.reasoning_tokens, 20);
      await stage.charged(thought.response, '0.0001', { input: 8, output: 16, reasoning: 20 });
    });

    check('raw headers', model, async () => {
      const { response, request_id } = await chat().create({ model, messages: user('hello') }).withResponse();
      checkHeaders(response.headers, model);
      assert.equal(request_id, response.headers.get('x-request-id'));
      const streamed = await chat().create({ model, messages: user('hello'), stream: true }).withResponse();
      for await (const _ of streamed.data);
      checkHeaders(streamed.response.headers, model);
    });

    check('typed errors', `${family}-fail-400, with what upstream said`, async () => {
      const code = { gpt: 'context_length_exceeded', claude: 'invalid_request_error', gemini: 'INVALID_ARGUMENT' }[family];
      for (const stream of [false, true]) {
        await assert.rejects(chat().create({ model: `${family}-fail-400`, messages: user('hello'), stream }), (error) => {
          assert.ok(error instanceof OpenAI.BadRequestError, error.stack);
          assert.equal(error.code, 'context_length_exceeded');
          assert.deepEqual([error.error.metadata.provider_status, error.error.metadata.provider_code], [400, code]);
          assert.match(error.message, /maximum context length is/);
          return true;
        });
      }
    });

    check('broken streams', family, async () => {
      for (const fault of ['cut-stream', 'no-done', 'stream-error-mid']) {
        const { data, response } = await chat().create({ model: `${family}-${fault}`, messages: user('hello'), stream: true }).withResponse();
        let text = '';
        await assert.rejects(async () => {
          for await (const chunk of data) text += chunk.choices[0]?.delta.content ?? '';
        }, OpenAI.APIError, fault);
        assert.match(text, /^You said:/, fault);
        await stage.truncated(response);
        await assert.rejects(chat().stream({ model: `${family}-${fault}`, messages: user('hello') }).finalChatCompletion(), fault);
      }
    });

    responses(stage, check, model, client);
  }
  // A compatible channel that does not have /responses itself.
  responses(stage, check, 'open-sim', client);

  check('responses', 'gpt-sim, going on with the response before', async () => {
    const first = await client().responses.create({ model: 'gpt-sim', input: 'please use the tool', tools: [{ ...weather.function, type: 'function', strict: true }] });
    const call = first.output.find(({ type }) => type === 'function_call');
    const second = await client().responses.create({
      model: 'gpt-sim',
      previous_response_id: first.id,
      input: [{ type: 'function_call_output', call_id: call.call_id, output: 'sunny' }],
    });
    assert.equal(second.output_text, `The tool said: "sunny". ${greeting('gpt-sim').slice(19)}`);
    assert.equal(second.previous_response_id, first.id);
  });

  check('parameters', 'that the channel\'s dialect does not have are named', async () => {
    const dropped = { 'gpt-sim': [], 'claude-sim': ['seed'], 'gemini-sim': ['user'] };
    for (const [model, names] of Object.entries(dropped)) {
      const { data, response } = await chat().create({ model, messages: user('hello'), seed: 7, user: 'bob' }).withResponse();
      assert.equal(data.choices[0].message.content, greeting(model));
      assert.equal(response.headers.get('x-tf-dropped-parameters'), names.join() || null);
      assert.deepEqual((await stage.receipt(response)).dropped_parameters ?? [], names);
    }
  });

  check('typed errors', 'key, model, limit, upstream', async () => {
    const cases = [
      [OpenAI.AuthenticationError, 401, 'invalid_api_key', client({ apiKey: `sk-tf-${'0'.repeat(48)}` }), 'gpt-sim'],
      [OpenAI.NotFoundError, 404, 'model_not_found', client(), 'gpt-smi'],
      [OpenAI.RateLimitError, 429, 'rate_limit_exceeded', client({ apiKey: await stage.exhaustedKey() }), 'claude-sim'],
      [OpenAI.InternalServerError, 502, 'no_route_available', client(), 'claude-fail-500'],
      [OpenAI.RateLimitError, 429, 'upstream_rate_limited', client(), 'gemini-fail-429'],
      [OpenAI.RateLimitError, 429, 'upstream_overloaded', client(), 'claude-fail-503'],
    ];
    for (const [type, status, code, own, model] of cases) {
      for (const call of [() => own.chat.completions.create({ model, messages: user('hello') }), () => own.responses.create({ model, input: 'hello' })]) {
        await assert.rejects(call, (error) => {
          assert.ok(error instanceof type, `${model}: ${error.stack}`);
          assert.deepEqual([error.status, error.code], [status, code]);
          assert.match(error.requestID, /^gen-/);
          if ([429, 503].includes(status)) assert.match(error.headers.get('retry-after'), /^[1-9]\d*$/);
          return true;
        });
      }
    }
  });

  check('retries', 'come back when they were told to', async () => {
    const completion = await stage.comesBack(() => client({ maxRetries: 2 }).chat.completions.create({ model: 'busy', messages: user('hello') }));
    assert.equal(completion.choices[0].message.content, 'Good day.');
  });

  check('completions', 'plain and streamed', async () => {
    const prompt = 'hello there';
    const plain = await client().completions.create({ model: 'gpt-sim', prompt, max_tokens: 40 }).withResponse();
    assert.match(plain.data.choices[0].text, /^You said: "hello there"\./);
    // 2 tokens in, 17 out.
    await stage.charged(plain.response, '0.000036', { input: 2, output: 17 });
    let text = '';
    for await (const chunk of await client().completions.create({ model: 'gpt-sim', prompt, max_tokens: 40, stream: true })) text += chunk.choices[0].text;
    assert.equal(text, plain.data.choices[0].text);
  });

  check('embeddings', 'in base64, which is the SDK\'s default, and as numbers', async () => {
    const input = ['hello world', 'good day'];
    const { data: packed, response } = await client().embeddings.create({ model: 'embedding-sim', input }).withResponse();
    const plain = await client().embeddings.create({ model: 'embedding-sim', input, encoding_format: 'float' });
    assert.equal(packed.data.length, 2);
    for (const [index, { embedding }] of packed.data.entries()) {
      assert.equal(embedding.length, 1536);
      assert.deepEqual(Array.from(embedding), plain.data[index].embedding);
    }
    // 4 tokens at 2 a million.
    assert.equal(packed.usage.prompt_tokens, 4);
    await stage.charged(response, '0.000008', { input: 4 });
  });

  check('moderation', 'of two texts', async () => {
    const { results } = await client().moderations.create({ model: 'moderation-sim', input: ['hello', 'so much violence'] });
    assert.deepEqual(results.map(({ flagged }) => flagged), [false, true]);
    assert.equal(results[1].categories.violence, true);
  });

  check('images', 'made, by tokens and by number; edited; streamed', async () => {
    const made = await client().images.generate({ model: 'image-sim', prompt: 'a white dot', quality: 'medium' }).withResponse();
    assert.equal(Buffer.from(made.data.data[0].b64_json, 'base64').subarray(1, 4).toString(), 'PNG');
    // 3 at 5, 1056 at 40 a million.
    await stage.charged(made.response, '0.042255', { input: 3, image_output: 1056 });

    const flat = await client().images.generate({ model: 'image-flat-sim', prompt: 'a white dot', n: 2 }).withResponse();
    assert.equal(flat.data.data.length, 2);
    await stage.charged(flat.response, '0.08', { images: 2 }, 'counted');

    const image = await toFile(Buffer.from(pixel, 'base64'), 'dot.png', { type: 'image/png' });
    const edited = await client().images.edit({ model: 'image-sim', image, prompt: 'now black', quality: 'low' }).withResponse();
    assert.equal(edited.data.data.length, 1);
    // 2 at 5, 100 at 10, 272 at 40 a million.
    await stage.charged(edited.response, '0.01189', { input: 2, image_input: 100, image_output: 272 });
    const { size, filename } = stage.sent('gpt-image-sim').fields.image;
    assert.deepEqual([size, filename], [Buffer.from(pixel, 'base64').length, 'dot.png']);

    const types = [];
    for await (const event of await client().images.generate({ model: 'image-sim', prompt: 'a white dot', stream: true, partial_images: 2 })) types.push(event.type);
    assert.deepEqual(types, ['image_generation.partial_image', 'image_generation.partial_image', 'image_generation.completed']);
  });

  check('audio', 'spoken', async () => {
    const spoken = await client().audio.speech.create({ model: 'speech-sim', voice: 'alloy', input: 'Good day' });
    assert.equal(spoken.headers.get('content-type'), 'audio/mpeg');
    assert.equal((await spoken.arrayBuffer()).byteLength, 2000);
    // 8 characters at 15 a million.
    await stage.charged(spoken, '0.00012', { characters: 8 }, 'counted');
  });

  check('audio', 'transcribed, as JSON, as text and streamed; translated', async () => {
    // 40,000 bytes are 3 seconds.
    const file = () => toFile(Buffer.alloc(40_000, 1), 'clip.mp3', { type: 'audio/mpeg' });
    const said = (model) => `You said: "clip.mp3, 40000 bytes". This is ${model}, a simulated model, and it answers the same each time.`;
    const { audio } = client();
    const json = await audio.transcriptions.create({ model: 'transcription-sim', file: await file() }).withResponse();
    assert.equal(json.data.text, said('whisper-sim'));
    await stage.charged(json.response, '0.0003', { seconds: 3 });
    const text = await audio.transcriptions.create({ model: 'transcription-sim', file: await file(), response_format: 'text' });
    assert.equal(text, `${said('whisper-sim')}\n`);
    const srt = await audio.transcriptions.create({ model: 'transcription-sim', file: await file(), response_format: 'srt' });
    assert.match(srt, /^1\n00:00:00,000 --> 00:00:03,000\n/);
    const translated = await audio.translations.create({ model: 'transcription-sim', file: await file() });
    assert.equal(translated.text, said('whisper-sim'));
    const streamed = await audio.transcriptions.create({ model: 'transcription-tokens-sim', file: await file(), stream: true }).withResponse();
    let deltas = '';
    for await (const event of streamed.data) if (event.type === 'transcript.text.delta') deltas += event.delta;
    assert.equal(deltas, said('gpt-4o-transcribe-sim'));
    // 30 at 6, 18 at 10 a million.
    await stage.charged(streamed.response, '0.00036', { audio_input: 30, output: 18 });
  });

  check('rerank', 'on a channel of Cohere\'s and on a compatible one', async () => {
    const body = { query: 'white cat', documents: ['a black dog', 'a white cat', 'a white dog'] };
    for (const model of ['rerank-sim', 'open-rerank-sim']) {
      const { data, response } = await client().post('/rerank', { body: { model, ...body, top_n: 2 } }).withResponse();
      assert.deepEqual(data.results.map(({ index }) => index), [1, 2]);
      // One search; or 2 words of the query and 9 of the documents at 1 a million.
      assert.equal((await stage.receipt(response)).charge, { 'rerank-sim': '0.002', 'open-rerank-sim': '0.000011' }[model]);
    }
  });

  check('model list', 'and one of them', async () => {
    const ids = [];
    for await (const { id, object } of client().models.list()) ids.push(object === 'model' && id);
    for (const id of [...talkers, 'embedding-sim', 'rerank-sim']) assert.ok(ids.includes(id), id);
    assert.equal((await client().models.retrieve('claude-sim')).id, 'claude-sim');
    await assert.rejects(client().models.retrieve('none'), OpenAI.NotFoundError);
  });
}

/** The Responses API, which is one of the SDK's surfaces for every model. */
function responses(stage, check, model, client) {
  const tools = [weather, clock].map(({ function: it }) => ({ type: 'function', strict: true, ...it }));
  const ended = ['response.completed', 'response.incomplete'];

  check('responses', `${model}, plain`, async () => {
    const { data, response } = await client().responses.create({ model, instructions: 'Be brief.', input: 'hello' }).withResponse();
    assert.deepEqual([data.object, data.status, data.output_text], ['response', 'completed', greeting(model)]);
    // 4 and the 2 words of the instructions more than usual.
    assert.deepEqual([data.usage.input_tokens, data.usage.output_tokens, data.usage.cost], [14, 16, 0.000046]);
    await stage.charged(response, '0.000046', { input: 14, output: 16 });
  });

  check('responses', `${model}, streamed, event by event and by the helper`, async () => {
    const events = [];
    for await (const event of await client().responses.create({ model, input: 'hello', stream: true })) events.push(event);
    const types = events.map(({ type }) => type);
    assert.deepEqual([types[0], types.at(-1)], ['response.created', 'response.completed']);
    for (const type of ['response.output_item.added', 'response.content_part.added', 'response.output_text.done', 'response.output_item.done']) assert.ok(types.includes(type), type);
    assert.deepEqual(events.map(({ sequence_number }) => sequence_number), events.map((_, index) => index + events[0].sequence_number));
    assert.equal(events.filter(({ type }) => type === 'response.output_text.delta').map(({ delta }) => delta).join(''), greeting(model));
    const final = await client().responses.stream({ model, input: 'hello' }).finalResponse();
    assert.deepEqual([final.output_text, final.usage.output_tokens, final.usage.cost], [greeting(model), 16, 0.00004]);
  });

  check('responses', `${model}, tools in parallel and their results`, async () => {
    const asked = [{ role: 'user', content: 'please use two tools' }];
    const plain = await client().responses.create({ model, input: asked, tools });
    const streamed = await client().responses.stream({ model, input: asked, tools }).finalResponse();
    for (const { output } of [plain, streamed]) {
      const calls = output.filter(({ type }) => type === 'function_call');
      assert.deepEqual(calls.map(({ name }) => name), ['weather', 'clock']);
      for (const call of calls) assert.deepEqual(JSON.parse(call.arguments), { city: 'please use two tools' });
      const results = calls.map(({ call_id, name }) => ({ type: 'function_call_output', call_id, output: `${name} is fine` }));
      const { output_text } = await client().responses.create({ model, input: [...asked, ...output, ...results], tools });
      assert.equal(output_text, `The tool said: "weather is fine" and "clock is fine". ${greeting(model).slice(19)}`);
    }
  });

  check('responses', `${model}, structured output`, async () => {
    const { output_parsed } = await client().responses.parse({ model, input: 'hello', text: { format: zodTextFormat(Note, 'note') } });
    assert.deepEqual(output_parsed, note);
  });

  check('responses', `${model}, with an image`, async () => {
    const content = [{ type: 'input_text', text: 'hello' }, { type: 'input_image', image_url: `data:image/png;base64,${pixel}`, detail: 'auto' }];
    const { output_text } = await client().responses.create({ model, input: [{ role: 'user', content }] });
    assert.match(output_text, /^You said: "hello ?"/);
    assert.ok(JSON.stringify(stage.sent(model).body).includes(pixel), 'the image went up as it came');
  });

  check('responses', `${model}, cut at the output limit`, async () => {
    const { status, incomplete_details, output_text } = await client().responses.create({ model, input: 'hello', max_output_tokens: 3 });
    assert.deepEqual([status, incomplete_details?.reason, output_text], ['incomplete', 'max_output_tokens', 'You said: "hello".']);
  });

  check('broken streams', `${familyOf(model)}, responses`, async () => {
    for (const fault of ['cut-stream', 'no-done', 'stream-error-mid']) {
      const { data, response } = await client().responses.create({ model: `${familyOf(model)}-${fault}`, input: 'hello', stream: true }).withResponse();
      const types = [];
      let thrown;
      try {
        for await (const { type } of data) types.push(type);
      } catch (error) {
        thrown = error;
      }
      assert.ok(!types.some((type) => ended.includes(type)), `${fault}: it has no clean end`);
      assert.ok(thrown instanceof OpenAI.APIError || ['error', 'response.failed'].includes(types.at(-1)), `${fault}: ${types.at(-1)}, ${thrown}`);
      await stage.truncated(response);
    }
  });
}

function checkHeaders(headers, model) {
  assert.match(headers.get('x-request-id'), /^gen-/);
  assert.equal(headers.get('x-generation-id'), headers.get('x-request-id'));
  assert.deepEqual(
    ['model', 'upstream-model', 'route', 'bucket', 'attempts'].map((name) => headers.get(`x-tf-${name}`)),
    [model, model, 'official', 'credit', '1'],
  );
  assert.match(headers.get('x-tf-overhead-ms'), /^\d/);
}
