// Clients in Python: a script runs its checks and tells how each ended.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { pythonWithPackages } from '../../../scripts/setup.mjs';

/** Runs a script of python/ as a test, with each of its checks as a test within. */
export function python(script, stage, table, client) {
  test(script, async (t) => {
    const given = { url: stage.url, key: stage.key, exhausted_key: await stage.exhaustedKey(), upstream: stage.gateway.upstream.url };
    const child = await started(script);
    child.stdin.write(`${JSON.stringify(given)}\n`);
    const ended = once(child, 'close');
    let checks = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      const { area, what, failed, busy } = JSON.parse(line);
      // The upstream of the model `busy` is here, and so is what makes it busy.
      if (busy) {
        stage.busy.refusals = 1;
        child.stdin.write('\n');
        continue;
      }
      checks += 1;
      table.note(client, area, !failed);
      await t.test(`${area}: ${what}`, () => {
        if (failed) throw new Error(failed);
      });
    }
    const [code] = await ended;
    if (code !== 0 || checks === 0) throw new Error(`${script} made ${checks} checks and ended with ${code}`);
  });
}

async function started(script) {
  const python = process.env.TF_PYTHON || (await pythonWithPackages());
  // Neither a price list nor anything else is to be fetched while a client is imported.
  const env = { ...process.env, LITELLM_LOCAL_MODEL_COST_MAP: 'True', LANGSMITH_TRACING: 'false', PYTHONDONTWRITEBYTECODE: '1' };
  return spawn(python, ['-W', 'ignore', new URL(`python/${script}`, import.meta.url).pathname], { stdio: ['pipe', 'pipe', 'inherit'], env });
}
