// The coding agents that people install, as they are installed: base URL, key and model are all
// that is set. Each does a task with tools over a channel of each form, against providers that are
// simulated as strict as they are. At the end stands the table of client by form.
import { after, before, describe, it } from 'node:test';
import { checkEffect, checkRun, newUser, perform, shellTask } from './cells.mjs';
import { programs, versionOf } from './programs/index.mjs';
import { hasTenTurns, runFull, runNearlyFull, runOverfull, runResumed, runTenTurns } from './scenarios.mjs';
import { runSdk, sdks, sdkTitle } from './sdk.mjs';
import { Stage } from './stage.mjs';
import { Table } from './table.mjs';
import { forms } from './upstream/provider.mjs';

const stage = new Stage();
const table = new Table(Object.keys(forms));
const titles = new Map();

/** As many programs at a time as the machine has cores, of the two that it has at least. */
const concurrency = 2;

before(async () => {
  await stage.open();
  for (const program of Object.values(programs)) {
    const version = await versionOf(program, stage.install);
    titles.set(program, [program.name, version, program.label && `(${program.label})`].filter(Boolean).join(' '));
  }
});

after(async () => {
  console.log(`Client by form of channel:\n${table}`);
  await stage.close();
});

describe('a task with tools', { concurrency }, () => {
  for (const program of Object.values(programs)) {
    for (const form of Object.keys(forms)) {
      it(`${program.name} ${program.label ?? ''}, ${form}`, () =>
        table.cell(titles.get(program), form, async () => {
          const run = await perform({ stage, program, form, task: shellTask(program), user: await newUser(stage) });
          await checkRun(stage, run);
          checkEffect(run);
        }));
    }
  }
  for (const name of sdks) {
    for (const form of Object.keys(forms)) it(`AI SDK ${name}, ${form}`, () => table.cell(sdkTitle(stage.install, name), form, () => runSdk(stage, name, form)));
  }
});

/** opencode takes seconds to start: each of its packages has ten turns over one form. */
const ofLongStart = { opencodeCompatible: ['thinking'], opencodeOpenai: ['gemini'], opencodeAnthropic: ['chat'], opencodeGoogle: ['anthropic'] };

describe('ten turns with tools of every kind', { concurrency }, () => {
  for (const [name, program] of Object.entries(programs).filter(([name]) => hasTenTurns(name))) {
    for (const form of ofLongStart[name] ?? Object.keys(forms)) {
      it(`${program.name} ${program.label ?? ''}, ${form}`, () => table.cell(`ten turns: ${titles.get(program)}`, form, () => runTenTurns(stage, name, program, form)));
    }
  }
});

describe('a context that is full', { concurrency }, () => {
  const { claude, codexKnown, codexSocket, codexUnknown } = programs;
  for (const form of Object.keys(forms)) {
    it(`Claude Code compacts, ${form}`, () => table.cell(`compacts when refused: ${titles.get(claude)}`, form, () => runFull(stage, claude, form)));
    for (const program of [codexUnknown, codexSocket]) {
      it(`Codex ${program.label} compacts, ${form}`, () => table.cell(`compacts when nearly full: ${titles.get(program)}`, form, () => runNearlyFull(stage, program, form)));
    }
    it(`Codex says so, ${form}`, () => table.cell(`says that it is full: ${titles.get(codexKnown)}`, form, () => runOverfull(stage, codexKnown, form, /ran out of room in the model's context window/)));
  }
});

describe('a session that goes on with other models', { concurrency }, () => {
  const { claude, codexKnown, codexNew, gemini, opencodeAnthropic } = programs;
  for (const program of [claude, codexKnown, codexNew, gemini, opencodeAnthropic]) {
    it(`${program.name} ${program.label ?? ''}`, () => runResumed(stage, program, (form, check) => table.cell(`one session: ${titles.get(program)}`, form, check)));
  }
});
