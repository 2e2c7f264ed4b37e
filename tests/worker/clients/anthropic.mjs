// The JavaScript SDK of Anthropic.
import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
import { talkers } from '../support/dialects.mjs';
import { greeting, note, pixel, weatherSchema } from './stage.mjs';

const Note = z.object({ said: z.string(), number: z.int() });
const weather = { name: 'weather', description: 'The weather of a city', input_schema: weatherSchema };
const clock = { name: 'clock', description: 'The time in a city', input_schema: weatherSchema };
const tools = [weather, clock];

const ask = (model, content = 'hello', more = {}) => ({ model, max_tokens: 200, messages: [{ role: 'user', content }], ...more });
const textOf = ({ content }) => content.filter(({ type }) => type === 'text').map(({ text }) => text).join('');

export function anthropic(stage, check) {
  const client = (options) => new Anthropic({ baseURL: stage.url, apiKey: stage.key, maxRetries: 0, ...options });
  const create = (body) => client().messages.create(body);
  const stream = (body) => client().messages.stream(body);

  for (const model of talkers) {
    const [family] = model.split('-');

    check('plain', model, async () => {
      const message = await create({
        model,
        max_tokens: 200,
        system: 'Be brief.',
        messages: [{ role: 'user', content: 'hi' }, { role: 'assistant', content: 'yes?' }, { role: 'user', content: [{ type: 'text', text: 'hello' }] }],
      });
      assert.deepEqual([message.type, message.role, message.stop_reason, message.stop_sequence], ['message', 'assistant', 'end_turn', null]);
      assert.deepEqual(message.content.map(({ type, text }) => [type, text]), [['text', greeting(model)]]);
    });

    check('plain', `${model}, cut at the output limit and at a stop text`, async () => {
      const limited = await create(ask(model, 'hello', { max_tokens: 3 }));
      assert.deepEqual([textOf(limited), limited.stop_reason], ['You said: "hello".', 'max_tokens']);
      const stopped = await create(ask(model, 'hello', { stop_sequences: ['simulated'] }));
      assert.equal(textOf(stopped).trim(), `You said: "hello". This is ${model}, a`);
      // Only Anthropic's own channels say at which text.
      assert.ok(['stop_sequence', 'end_turn'].includes(stopped.stop_reason), stopped.stop_reason);
    });

    check('stream', model, async () => {
      const events = [];
      for await (const event of await create(ask(model, 'hello', { stream: true }))) events.push(event);
      const types = events.map(({ type }) => type).filter((type) => type !== 'ping');
      const deltas = types.filter((type) => type === 'content_block_delta');
      assert.deepEqual(types, ['message_start', 'content_block_start', ...deltas, 'content_block_stop', 'message_delta', 'message_stop']);
      assert.equal(events.filter(({ delta }) => delta?.type === 'text_delta').map(({ delta }) => delta.text).join(''), greeting(model));
      const { delta, usage } = events.find(({ type }) => type === 'message_delta');
      assert.deepEqual([delta.stop_reason, usage.output_tokens, usage.cost], ['end_turn', 16, 0.00004]);
    });

    check('stream helpers', model, async () => {
      const helper = stream(ask(model));
      let deltas = '';
      helper.on('text', (text) => (deltas += text));
      const message = await helper.finalMessage();
      assert.deepEqual([textOf(message), deltas, message.stop_reason], [greeting(model), greeting(model), 'end_turn']);
      assert.equal(message.usage.output_tokens, 16);
      assert.equal(await stream(ask(model)).finalText(), greeting(model));
    });

    check('tools', `${model}, plain and accumulated from a stream`, async () => {
      const request = ask(model, 'please use the tool', { tools });
      for (const message of [await create(request), await stream(request).finalMessage()]) {
        assert.equal(message.stop_reason, 'tool_use');
        const [{ id, type, name, input }, ...more] = message.content;
        assert.ok(id);
        assert.deepEqual([type, name, input, more], ['tool_use', 'weather', { city: 'please use the tool' }, []]);
      }
    });

    check('tools', `${model}, chosen by the request`, async () => {
      const named = await create(ask(model, 'hello', { tools, tool_choice: { type: 'tool', name: 'clock' } }));
      assert.equal(named.content[0].name, 'clock');
      const any = await create(ask(model, 'hello', { tools, tool_choice: { type: 'any' } }));
      assert.equal(any.content[0].name, 'weather');
      const none = await create(ask(model, 'please use the tool', { tools, tool_choice: { type: 'none' } }));
      assert.equal(none.stop_reason, 'end_turn');
    });

    check('parallel tools', `${model}, and their results in one turn`, async () => {
      const request = ask(model, 'please use two tools', { tools });
      for (const message of [await create(request), await stream(request).finalMessage()]) {
        const calls = message.content.filter(({ type }) => type === 'tool_use');
        assert.deepEqual(calls.map(({ name, input }) => [name, input]), ['weather', 'clock'].map((name) => [name, { city: 'please use two tools' }]));
        assert.equal(new Set(calls.map(({ id }) => id)).size, 2, 'each call has its own id');
        const results = calls.map(({ id, name }) => ({ type: 'tool_result', tool_use_id: id, content: `${name} is fine` }));
        const answer = await create({ ...request, messages: [...request.messages, { role: 'assistant', content: message.content }, { role: 'user', content: results }] });
        assert.equal(textOf(answer), `The tool said: "weather is fine" and "clock is fine". ${greeting(model).slice(19)}`);
      }
    });

    check('parallel tools', `${model}, run by the tool runner to the last answer`, async () => {
      const inputSchema = z.object({ city: z.string() });
      const runnable = (name, result) => betaZodTool({ name, description: name, inputSchema, run: ({ city }) => `${result} in ${city.length}` });
      const request = () => ask(model, 'please use two tools', { tools: [runnable('weather', 'sunny'), runnable('clock', 'noon')] });
      const last = `The tool said: "sunny in 20" and "noon in 20". ${greeting(model).slice(19)}`;
      assert.equal(textOf(await client().beta.messages.toolRunner({ ...request(), thread: false }).runUntilDone()), last);
      // By default the runner asks the server to keep the conversation, and sends all of it again
      // when that is refused with the details `thread_unsupported_request`.
      assert.equal(textOf(await client().beta.messages.toolRunner(request()).runUntilDone()), last, 'with a thread');
    });

    check('structured output', model, async () => {
      const { parsed_output } = await client().messages.parse(ask(model, 'hello', { output_config: { format: zodOutputFormat(Note) } }));
      assert.deepEqual(parsed_output, note);
    });

    check('images in', model, async () => {
      const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } };
      const message = await create(ask(model, [image, { type: 'text', text: 'hello' }]));
      assert.match(textOf(message), /^You said: " ?hello"/);
      assert.ok(JSON.stringify(stage.sent(model).body).includes(pixel), 'the image went up as it came');
    });

    check('usage and cost', model, async () => {
      const { data, response } = await create(ask(model)).withResponse();
      assert.deepEqual([data.usage.input_tokens, data.usage.output_tokens, data.usage.cost], [8, 16, 0.00004]);
      await stage.charged(response, '0.00004', { input: 8, output: 16 });
      const streamed = await create(ask(model, 'please use two tools', { tools, stream: true })).withResponse();
      for await (const _ of streamed.data);
      // 11 tokens in, two calls of 8 out.
      await stage.charged(streamed.response, '0.000043', { input: 11, output: 16 });
    });

    check('usage and cost', `${family}, with half of the prompt from the cache and with thinking`, async () => {
      // 4 at 1, 4 at 0.1, 16 at 2 a million. Anthropic's count of the input is without what the cache had.
      const cached = await create(ask(`${family}-cached`)).withResponse();
      assert.deepEqual([cached.data.usage.input_tokens, cached.data.usage.cache_read_input_tokens], [4, 4]);
      await stage.charged(cached.response, '0.0000364', { input: 4, cached_input: 4, output: 16 });
      // 8 at 1, 16 at 2, 20 at 3 a million. Its count of the output is with what was thought.
      const thought = await create(ask(`${family}-thinking`)).withResponse();
      assert.equal(thought.data.usage.output_tokens, 36);
      await stage.charged(thought.response, '0.0001', { input: 8, output: 16, reasoning: 20 });
    });

    check('raw headers', model, async () => {
      for (const response of [await create(ask(model)).asResponse(), await create(ask(model, 'hello', { stream: true })).asResponse()]) {
        assert.match(response.headers.get('x-request-id'), /^gen-/);
        assert.deepEqual(['model', 'upstream-model', 'route', 'attempts'].map((name) => response.headers.get(`x-tf-${name}`)), [model, model, 'official', '1']);
        await response.text();
      }
    });

    check('typed errors', `${family}-fail-400, with what upstream said`, async () => {
      for (const isStream of [false, true]) {
        await assert.rejects(create(ask(`${family}-fail-400`, 'hello', { stream: isStream })), (error) => {
          assert.ok(error instanceof Anthropic.BadRequestError, error.stack);
          assert.deepEqual([error.error.type, error.error.error.type], ['error', 'invalid_request_error']);
          assert.match(error.error.error.message, /prompt is too long/);
          return true;
        });
      }
    });

    check('broken streams', family, async () => {
      for (const fault of ['cut-stream', 'no-done', 'stream-error-mid']) {
        const { data, response } = await create(ask(`${family}-${fault}`, 'hello', { stream: true })).withResponse();
        const types = [];
        let text = '';
        await assert.rejects(async () => {
          for await (const event of data) {
            types.push(event.type);
            text += event.delta?.text ?? '';
          }
        }, Anthropic.APIError, fault);
        assert.ok(!types.includes('message_stop'), fault);
        assert.match(text, /^You said:/, fault);
        await stage.truncated(response);
        await assert.rejects(stream(ask(`${family}-${fault}`)).finalMessage(), fault);
      }
    });

    check('count tokens', model, async () => {
      const { input_tokens } = await client().messages.countTokens({ model, messages: [{ role: 'user', content: 'hello' }] });
      // Anthropic's own channel counts; for others the gateway does.
      if (family === 'claude') assert.equal(input_tokens, 8);
      assert.ok(Number.isInteger(input_tokens) && input_tokens > 0, String(input_tokens));
    });
  }

  check('thinking', 'shown by models that show it, with what proves it', async () => {
    const thinking = { type: 'enabled', budget_tokens: 1024 };
    for (const model of ['claude-sim', 'gemini-sim']) {
      const request = ask(model, 'hello', { thinking, max_tokens: 2048 });
      for (const { content } of [await create(request), await stream(request).finalMessage()]) {
        assert.deepEqual(content.map(({ type }) => type), ['thinking', 'text'], model);
        assert.match(content[0].thinking, /^The request is short and plain,.* model that answers\.$/);
        assert.equal(typeof content[0].signature, 'string');
        assert.equal(content[1].text, greeting(model));
      }
    }
  });

  check('usage and cost', 'of what is written to the cache, for 5 minutes and for an hour', async () => {
    for (const [ttl, charge, usage] of [
      // 3, 4 and the 2 words of the system prompt at 1.25 or 2; 5 at 1; 16 at 2 a million.
      ['5m', '0.00004825', { input: 5, cache_write: 9, output: 16 }],
      ['1h', '0.000055', { input: 5, cache_write_1h: 9, output: 16 }],
    ]) {
      const system = [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral', ttl } }];
      const { data, response } = await create(ask('claude-sim', 'hello', { system })).withResponse();
      assert.equal(data.usage.cache_creation_input_tokens, 9);
      await stage.charged(response, charge, usage);
    }
  });

  check('typed errors', 'key, model, limit, upstream', async () => {
    const cases = [
      [Anthropic.AuthenticationError, 401, 'authentication_error', client({ apiKey: `sk-tf-${'0'.repeat(48)}` }), 'claude-sim'],
      [Anthropic.NotFoundError, 404, 'not_found_error', client(), 'claude-smi'],
      [Anthropic.RateLimitError, 429, 'rate_limit_error', client({ apiKey: await stage.exhaustedKey() }), 'gpt-sim'],
      [Anthropic.InternalServerError, 502, undefined, client(), 'gpt-fail-500'],
      [Anthropic.RateLimitError, 429, 'rate_limit_error', client(), 'gemini-fail-429'],
      [Anthropic.InternalServerError, 529, 'overloaded_error', client(), 'gemini-fail-503'],
    ];
    for (const [type, status, kind, own, model] of cases) {
      await assert.rejects(own.messages.create(ask(model)), (error) => {
        assert.ok(error instanceof type, `${model}: ${error.stack}`);
        assert.equal(error.status, status);
        assert.equal(error.error.type, 'error');
        if (kind) assert.equal(error.error.error.type, kind);
        assert.ok(error.error.error.message);
        assert.match(error.headers.get('x-request-id'), /^gen-/);
        if ([429, 529].includes(status)) assert.match(error.headers.get('retry-after'), /^[1-9]\d*$/);
        return true;
      });
    }
  });

  check('retries', 'come back when they were told to', async () => {
    await stage.comesBack(() => client({ maxRetries: 2 }).messages.create(ask('busy')));
  });

  check('model list', 'and one of them', async () => {
    const ids = [];
    for await (const { id, type } of client().models.list()) ids.push(type === 'model' && id);
    for (const id of talkers) assert.ok(ids.includes(id), id);
    assert.equal((await client().models.retrieve('gpt-sim')).id, 'gpt-sim');
    await assert.rejects(client().models.retrieve('none'), Anthropic.NotFoundError);
  });
}
