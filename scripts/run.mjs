// Prepares the machine, then runs the named script under the pinned Node:
//   node scripts/run.mjs scripts/start.mjs [arguments]
// This file and what it imports run on a bare clone: nothing but Node's own modules, Node 20.
import { delimiter, join } from 'node:path';
import { main, root, run } from './shell.mjs';
import { prepare } from './setup.mjs';

await main(async () => {
  const [script, ...args] = process.argv.slice(2);
  const node = await prepare();
  process.exitCode = await run(node, [join(root, script), ...args], {
    // The channel tells the script when this process is gone, however that happened.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, PATH: join(root, 'node_modules/.bin') + delimiter + process.env.PATH },
  });
});
