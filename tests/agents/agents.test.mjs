// The coding agents that people install, as they are installed: base URL, key and model are all
// that is set. Each does a task with tools over a channel of each form, against providers that are
// simulated as strict as they are. At the end stands the table of client by form.
import { after, before, describe, it } from 'node:test';
import { checkEffect, checkRun, newUser, perform, shellTask } from './cells.mjs';
import { programs, versionOf } from './programs/index.mjs';
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
});
