// One run of a program over a channel of one form, and what has to be true after it.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../worker/support/gateway.mjs';
import { runProgram } from './programs/spawn.mjs';
import { shell } from './toolbox.mjs';
import { Task } from './upstream/tasks.mjs';

let made = 0;

/** The task of the table: a command in the shell whose effect is seen, then an answer. */
export function shellTask(program) {
  const id = `t${(made += 1)}`;
  const text = `ran ${id}`;
  // A program without tools makes the file by an edit, in a format that its own prompt asks for.
  const steps = program.hasTools === false
    ? [{ say: `Here it is.\n\nproof.txt\n\`\`\`\n${text}\n\`\`\`\n\n${doneMark(id)}` }]
    : [{ use: shell(`echo ${text} > proof.txt; echo ${outputMark(id)}`) }, { say: `All is done. ${doneMark(id)}` }];
  return new Task(id, steps, program);
}

export const nextId = () => `t${(made += 1)}`;
export const doneMark = (id) => `tf-done-${id}`;
export const outputMark = (id) => `tf-output-${id}`;

/** Somebody who runs programs: an account with a key, and a folder that is home to them. */
export async function newUser(stage) {
  const account = await stage.gateway.newAccount({ credit: '100' });
  const folder = join(stage.folder, nextId());
  mkdirSync(folder);
  return { account, key: await stage.gateway.newKey(account), folder };
}

/** Runs a program with a task over a form's channel; answers what it did. */
export async function perform({ stage, program, form, task, user, prompt, ...more }) {
  stage.providers.tasks.add(task);
  const model = `${program.family ?? 'sim'}-${form}`;
  const words = prompt ?? `Please do ${task.name}, with your tools.`;
  const call = program.call({ install: stage.install, url: stage.url, key: user.key, model, prompt: words, folder: user.folder, ...more });
  const out = await runProgram(call, user.folder);
  let said;
  try {
    said = program.said(out);
  } catch (error) {
    said = `(not read: ${error.message})`;
  }
  return { out, said, task, form, user, requests: stage.providers.requests.filter((request) => request.task === task.id) };
}

/** Checks that a run went as its user wants it, from the program's end to the last receipt. */
export async function checkRun(stage, { out, said, task, user, requests }, { aborted = 0, refused = 0 } = {}) {
  const told = `\nstdout: ${out.stdout.slice(-1500)}\nstderr: ${out.stderr.slice(-1500)}`;
  const bad = requests.filter(({ status }) => status !== 200);
  assert.deepEqual(bad.slice(refused).map(({ url, status, error }) => `${url} ${status} ${error}`), [], 'upstream refused what the gateway sent');
  await checkReceipts(stage, { user, requests, refused, aborted, told });
  assert.doesNotMatch(out.stderr, /failed to connect to Responses WebSocket/);
  assert.equal(out.isLate, false, `it did not end in time${told}`);
  assert.equal(out.code, 0, `it ended with ${out.code}${told}`);
  assert.ok(task.isDone, `the model was not asked to the end${told}`);
  assert.ok(said?.includes(doneMark(task.id)), `the answer was not shown: ${said}${told}`);
}

/** Every request that upstream saw has a receipt that is complete, and there are no others. */
export async function checkReceipts(stage, { user, requests, refused = 0, aborted = 0, told = '' }) {
  const asked = requests.filter(({ path }) => !/count_?tokens/i.test(path)).length;
  let receipts = [];
  const enough = async () => {
    ({ data: receipts } = await stage.gateway.get(user.key, '/v1/receipts?limit=100'));
    return receipts.filter(({ attempts }) => attempts?.length !== 0).length >= asked || receipts.some(({ status }) => status === 'refused');
  };
  await until(enough, `${asked} receipts`).catch(() => {});
  const others = receipts.filter(({ status }) => status !== 'completed').map(({ status, endpoint, error }) => `${endpoint} ${status}: ${error?.message}`);
  assert.ok(others.length <= refused + aborted, `receipts: ${others.join('; ')}${told}`);
  assert.ok(receipts.length >= asked, `${receipts.length} receipts of ${asked} requests${told}`);
}

/** Checks that the command of `shellTask` ran where the program was started, and that the model got what it printed. */
export function checkEffect({ task, user }) {
  assert.equal(readFileSync(join(user.folder, 'work/proof.txt'), 'utf8').trim(), `ran ${task.id}`);
  if (task.hasTools) assert.match(task.results[0] ?? 'nothing', new RegExp(outputMark(task.id)));
}
