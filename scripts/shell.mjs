// What every script needs of the operating system: the repository's folder, and other programs.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { constants } from 'node:os';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** An error whose message is all that the user needs. */
export class Failure extends Error {}

/**
 * Runs a program in the repository and answers its exit code. While it runs, signals that
 * would end this process go to the program instead, so that neither outlives the other.
 */
export function run(command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: 'inherit', ...options });
  const forward = (signal) => child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, forward);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  }).finally(() => {
    for (const signal of signals) process.off(signal, forward);
  });
}

/** Runs a program that has to succeed. */
export async function must(command, args, options) {
  const code = await run(command, args, options);
  if (code !== 0) throw new Failure(`\`${[command, ...args].join(' ')}\` ended with ${code}`);
}

/** Runs a program that has to succeed, with a text as its input. */
export function fed(command, args, input, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['pipe', 'inherit', 'inherit'], ...options });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Failure(`\`${[command, ...args].join(' ')}\` ended with ${code}`))));
  });
}

/** Runs a program and answers what it printed, or undefined if it failed or does not exist. */
export function output(command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'], ...options });
  return new Promise((resolve) => {
    let text = '';
    child.stdout.on('data', (data) => (text += data));
    child.on('error', () => resolve(undefined));
    child.on('close', (code) => resolve(code === 0 ? text.trim() : undefined));
  });
}

/** Runs a script's main function; a Failure is printed without its stack. */
export async function main(body) {
  try {
    await body();
  } catch (error) {
    console.error(error instanceof Failure ? `\nerror: ${error.message}` : error);
    process.exitCode = 1;
  }
}
