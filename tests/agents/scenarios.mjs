// Longer work than a first task: ten turns with every kind of tool that a program has, a full
// context, and a session that goes on with other models behind other dialects.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkRun, doneMark, newUser, nextId, outputMark, perform } from './cells.mjs';
import { call, either, shell } from './toolbox.mjs';
import { forms } from './upstream/provider.mjs';
import { Task } from './upstream/tasks.mjs';

/** The smallest PNG, for tools that look at images. */
const pixel = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');

const patch = (path, ...lines) => ['*** Begin Patch', ...lines.map((line) => line.replace('PATH', path)), '*** End Patch', ''].join('\n');
const script = (...lines) => lines.join('\n');

/** The steps of ten turns, by the family of programs; `at` makes a path in the working folder. */
const tenTurns = {
  claude: (at) => [
    { use: call('Write', { file_path: at('note.txt'), content: 'first line\n' }) },
    { use: call('Read', { file_path: at('note.txt') }) },
    { use: call('Edit', { file_path: at('note.txt'), old_string: 'first', new_string: 'second' }) },
    { uses: [call('Glob', { pattern: '*.txt' }), call('Grep', { pattern: 'second' })] },
    { use: call('Read', { file_path: at('pixel.png') }) },
    { use: call('TaskCreate', { subject: 'Look', description: 'Look at the note' }) },
    { uses: [call('TaskList', {}), shell('echo out; echo err >&2')] },
    { use: shell('exit 3') },
    { use: call('Read', { file_path: at('missing.txt') }), silent: true },
  ],
  opencode: (at) => [
    { use: call('write', { filePath: at('note.txt'), content: 'first line\n' }) },
    { use: call('read', { filePath: at('note.txt') }) },
    { use: call('edit', { filePath: at('note.txt'), oldString: 'first', newString: 'second' }) },
    { uses: [call('glob', { pattern: '*.txt' }), call('grep', { pattern: 'second' })] },
    { use: call('read', { filePath: at('pixel.png') }) },
    { use: call('todowrite', { todos: [{ content: 'Look at the note', status: 'pending', priority: 'high', id: '1' }] }) },
    { uses: [shell('echo out; echo err >&2'), shell('echo two')] },
    { use: shell('exit 3') },
    { use: call('read', { filePath: at('missing.txt') }), silent: true },
  ],
  gemini: (at) => [
    { use: call('write_file', { file_path: at('note.txt'), content: 'first line\n' }) },
    { use: call('read_file', { file_path: at('note.txt') }) },
    { use: call('replace', { file_path: at('note.txt'), instruction: 'Change it', old_string: 'first', new_string: 'second' }) },
    { uses: [call('glob', { pattern: '*.txt' }), call('grep_search', { pattern: 'second' })] },
    { use: call('read_file', { file_path: at('pixel.png') }) },
    { use: call('list_directory', { dir_path: at('.') }) },
    { uses: [shell('echo out; echo err >&2'), shell('echo two')] },
    { use: shell('exit 3') },
    { use: call('read_file', { file_path: at('missing.txt') }), silent: true },
  ],
  codexUnknown: (at) => [
    { use: shell(`printf 'first line\\n' > ${at('note.txt')}`) },
    { use: call('get_goal', {}) },
    { use: call('create_goal', { objective: 'Change the note' }) },
    { uses: [shell('cat note.txt'), shell('ls')] },
    { use: call('view_image', { path: at('pixel.png') }) },
    { use: call('wait_agent', { targets: ['00000000-0000-4000-8000-000000000000'], timeout_ms: 1000 }) },
    { use: shell('sed -i s/first/second/ note.txt') },
    { use: shell('exit 3') },
    { use: call('update_goal', { status: 'complete' }), silent: true },
  ],
  codexKnown: (at) => [
    { use: call('apply_patch', patch('note.txt', '*** Add File: PATH', '+first line')) },
    { use: call('get_goal', {}) },
    { use: call('apply_patch', patch('note.txt', '*** Update File: PATH', '@@', '-first line', '+second line')) },
    { uses: [shell('cat note.txt'), shell('ls')] },
    { use: call('view_image', { path: at('pixel.png') }) },
    { use: either(call('tool_search', { query: 'spawn agent' }), shell('echo no search')) },
    { use: either(call('wait_agent', { targets: ['00000000-0000-4000-8000-000000000000'], timeout_ms: 1000 }), shell('echo no agents')) },
    { use: shell('exit 3') },
    { use: call('apply_patch', 'this is no patch'), silent: true },
  ],
  codexNew: (at) => [
    { use: call('exec', script(`text(await tools.apply_patch(${JSON.stringify(patch('note.txt', '*** Add File: PATH', '+first line'))}))`)) },
    { use: shell('cat note.txt') },
    { use: call('exec', script(`text(await tools.apply_patch(${JSON.stringify(patch('note.txt', '*** Update File: PATH', '@@', '-first line', '+second line'))}))`)) },
    { use: shell('ls') },
    { use: call('exec', script(`const it = await tools.view_image({ path: ${JSON.stringify(at('pixel.png'))} });`, 'image(it.image_url ?? it)')) },
    { use: call('list_agents', {}) },
    { use: call('exec', script('// @exec: {"yield_time_ms": 100}', 'await new Promise((done) => setTimeout(done, 300)); text("late")')) },
    { use: shell('exit 3') },
    { use: call('exec', 'this is no JavaScript'), silent: true },
  ],
};
tenTurns.opencodeCompatible = tenTurns.opencodeAnthropic = tenTurns.opencodeOpenai = tenTurns.opencodeGoogle = tenTurns.opencode;

export const hasTenTurns = (name) => name in tenTurns;

/** Ten turns, the last of which leaves a mark that has to come back. */
export async function runTenTurns(stage, name, program, form) {
  const user = await newUser(stage);
  const work = join(user.folder, 'work');
  mkdirSync(work);
  writeFileSync(join(work, 'pixel.png'), pixel);
  const id = nextId();
  const steps = [...tenTurns[name]((path) => join(work, path)), { use: shell(`cat note.txt; echo ${outputMark(id)}`) }, { say: `All is done. ${doneMark(id)}` }];
  const run = await perform({ stage, program, form, user, task: new Task(id, steps) });
  await checkRun(stage, run);
  assert.match(run.task.results.at(-1) ?? 'nothing', new RegExp(`second line[^]*${outputMark(id)}`), 'the note is as it was changed');
  assert.equal(run.task.results.length, 10);
}

/** What providers say when a conversation is too long for their model, in their own words. */
const tooLong = {
  anthropic: [400, { type: 'error', error: { type: 'invalid_request_error', message: 'prompt is too long: 250000 tokens > 200000 maximum' } }],
  chat: [400, { error: { message: 'This model\'s maximum context length is 128000 tokens. However, your messages resulted in 250000 tokens. Please reduce the length of the messages.', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' } }],
  thinking: [400, { error: { message: 'This model\'s maximum context length is 131072 tokens. However, you requested 250000 tokens (218000 in the messages, 32000 in the completion). Please reduce the length of the messages or completion.', type: 'invalid_request_error', param: null, code: 'invalid_request_error' } }],
  gemini: [400, { error: { code: 400, message: 'The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).', status: 'INVALID_ARGUMENT' } }],
  native: [400, { error: { message: 'Your input exceeds the context window of this model. Please adjust your input and try again.', type: 'invalid_request_error', param: 'input', code: 'context_length_exceeded' } }],
};

const step = (number) => ({ use: shell(`echo step ${number}`) });

/** A program that is told that its context is full makes it shorter and goes on. */
export async function runFull(stage, program, form) {
  const id = nextId();
  const task = new Task(id, [step(1), step(2), step(3), { refuse: () => tooLong[form] }, step(4), { say: `All is done. ${doneMark(id)}` }]);
  const run = await perform({ stage, program, form, user: await newUser(stage), task });
  await checkRun(stage, run, { refused: 1 });
  assert.ok(task.wasShortened, 'the conversation was made shorter');
}

/** A program that sees by the tokens that its context is nearly full makes it shorter and goes on. */
export async function runNearlyFull(stage, program, form) {
  const id = nextId();
  const task = new Task(id, [step(1), step(2), { ...step(3), usage: 262_000 }, step(4), { say: `All is done. ${doneMark(id)}` }]);
  const run = await perform({ stage, program, form, user: await newUser(stage), task });
  await checkRun(stage, run);
  assert.ok(task.wasShortened, 'the conversation was made shorter');
}

/** A program that cannot go on with a full context says so, in the words that it has for that. */
export async function runOverfull(stage, program, form, words) {
  const id = nextId();
  const task = new Task(id, [step(1), { refuse: () => tooLong[form] }, { say: 'never' }]);
  const { out } = await perform({ stage, program, form, user: await newUser(stage), task });
  assert.match(out.stdout + out.stderr, words);
  assert.equal(task.refused, 1, 'it does not ask again');
}

/** One session over all forms of channels, each time with another model, and at last with the first one again; `cell` notes each. */
export async function runResumed(stage, program, cell) {
  const user = await newUser(stage);
  for (const [at, form] of [...Object.keys(forms), Object.keys(forms)[0]].entries()) await cell(form, () => resume({ stage, program, user, form, resumes: at > 0 }));
}

async function resume({ stage, program, user, form, resumes }) {
  const id = nextId();
  const task = new Task(id, [{ use: shell(`echo ${outputMark(id)}`) }, { say: `All is done. ${doneMark(id)}` }]);
  const run = await perform({ stage, program, form, user, task, resumes });
  await checkRun(stage, run);
  assert.match(task.results[0] ?? 'nothing', new RegExp(outputMark(id)));
  const sent = run.requests.at(-1).raw ?? JSON.stringify(run.requests.at(-1).body);
  if (resumes) assert.match(sent, /tf-done-/, 'the session has what was said before');
}
