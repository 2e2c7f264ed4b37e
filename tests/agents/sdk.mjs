// The AI SDK with each of its providers, as its documentation begins: a model, a prompt, a tool.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { checkReceipts, doneMark, newUser, nextId, outputMark } from './cells.mjs';
import { call } from './toolbox.mjs';
import { Task } from './upstream/tasks.mjs';

const providers = {
  '@ai-sdk/openai': ({ createOpenAI }, url, apiKey) => createOpenAI({ baseURL: `${url}/v1`, apiKey }),
  '@ai-sdk/openai-compatible': ({ createOpenAICompatible }, url, apiKey) => createOpenAICompatible({ name: 'gateway', baseURL: `${url}/v1`, apiKey }),
  '@ai-sdk/anthropic': ({ createAnthropic }, url, apiKey) => createAnthropic({ baseURL: `${url}/v1`, apiKey }),
  '@ai-sdk/google': ({ createGoogleGenerativeAI }, url, apiKey) => createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey }),
};

export const sdks = Object.keys(providers);

/** A package as an ES module, from the folder where the programs are. */
function load({ modules }, name) {
  const path = createRequire(join(modules, 'any.js')).resolve(name);
  return import(pathToFileURL(path).href);
}

/** The name and version of a provider's package. */
export function sdkTitle({ modules }, name) {
  const { version } = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'));
  return `AI SDK ${name} ${version}`;
}

/** A call of a tool and an answer, streamed and plain, and then one more question about it all. */
export async function runSdk(stage, name, form) {
  globalThis.AI_SDK_LOG_WARNINGS = false;
  const { generateText, isStepCount, streamText, tool } = await load(stage.install, 'ai');
  const { z } = await load(stage.install, 'zod');
  const user = await newUser(stage);
  const model = providers[name](await load(stage.install, name), stage.url, user.key)(`sim-${form}`);
  const ids = [];
  for (const streams of [true, false]) {
    const id = nextId();
    ids.push(id);
    const task = stage.providers.tasks.add(new Task(id, [{ use: call('measure', { what: 'the house' }) }, { say: `It is done. ${doneMark(id)}` }]));
    const ran = [];
    const measure = tool({ description: 'Measures things', inputSchema: z.object({ what: z.string() }), execute: async ({ what }) => (ran.push(what), `${outputMark(id)} 12 m`) });
    const request = { model, tools: { measure }, maxRetries: 0, stopWhen: isStepCount(5) };
    const asked = { role: 'user', content: `Please do ${task.name}.` };
    const answer = async (messages) => {
      if (!streams) return generateText({ ...request, messages });
      let failure;
      const stream = streamText({ ...request, messages, onError: ({ error }) => (failure = error) });
      await stream.consumeStream();
      if (failure) throw failure;
      return { text: await stream.text, response: await stream.response };
    };
    const wasRefused = () => stage.providers.requests.filter((it) => it.task === id && it.status !== 200).map(({ url, status, error }) => `${url} ${status} ${error}`);
    try {
      const first = await answer([asked]);
      assert.ok(first.text.includes(doneMark(id)), first.text);
      assert.deepEqual(ran, ['the house']);
      assert.match(task.results[0] ?? 'nothing', new RegExp(outputMark(id)));
      const second = await answer([asked, ...first.response.messages, { role: 'user', content: 'And now say it again.' }]);
      assert.ok(second.text.includes(doneMark(id)), second.text);
    } catch (error) {
      throw new Error(`${streams ? 'streamed' : 'plain'}: ${error.message} ${error.responseBody ?? ''} ${wasRefused()}`);
    }
    assert.deepEqual(wasRefused(), []);
  }
  await checkReceipts(stage, { user, requests: stage.providers.requests.filter(({ task }) => ids.includes(task)) });
}
