// The load generator and the fake upstream: one small Rust program, built once, started as often as needed.
import { execFile, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const folder = fileURLToPath(new URL('../load/', import.meta.url));
const binary = `${folder}target/release/bench-load`;

export function build() {
  const args = ['build', '--release', '--locked', '--quiet', '--target-dir', `${folder}target`];
  const done = spawnSync('cargo', args, { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] });
  if (done.status !== 0) throw new Error('the load generator did not build');
}

export async function startUpstream() {
  // Its standard input is its life line: when this process goes, however it goes, the pipe closes and it ends.
  const child = spawn(binary, ['upstream'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(createInterface(child.stdout), 'line');
  return {
    url: `http://127.0.0.1:${JSON.parse(line).port}`,
    stop: async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}

/** One bounded run; `target` says what is asked, `options` how often and how. */
export async function run(target, options) {
  const args = ['run', '--url', target.url];
  if (target.body) args.push('--body', JSON.stringify(target.body));
  for (const [name, value] of Object.entries(target.headers ?? {})) args.push('--header', `${name}: ${value}`);
  for (const [name, value] of Object.entries(options)) args.push(`--${name}`, String(value));
  const { stdout } = await promisify(execFile)(binary, args);
  return JSON.parse(stdout);
}
