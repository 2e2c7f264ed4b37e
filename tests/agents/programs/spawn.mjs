// Runs a program as a person without a terminal would: a clean environment, a home and a working
// folder of its own, no input, and an end to its time.
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

const limit_ms = 90_000;

/**
 * @param {object} call what a program's `call` answers: {command, args, env}
 * @param {string} folder holds its `home` and its `work`, which are made if they are not there
 * @returns {Promise<{code: number | null, stdout: string, stderr: string, isLate: boolean, ms: number}>}
 */
export function runProgram({ command, args, env = {} }, folder) {
  const [home, work, temporary] = ['home', 'work', 'tmp'].map((name) => join(folder, name));
  for (const path of [home, work, temporary]) mkdirSync(path, { recursive: true });
  const started = performance.now();
  const child = spawn(command, args, {
    cwd: work,
    env: { PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`, HOME: home, TMPDIR: temporary, LANG: 'C.UTF-8', TERM: 'dumb', CI: 'true', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that what it started ends with it.
    detached: true,
  });
  const [stdout, stderr] = [[], []];
  child.stdout.on('data', (data) => stdout.push(data));
  child.stderr.on('data', (data) => stderr.push(data));
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    endGroup(child.pid);
  }, limit_ms);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      endGroup(child.pid);
      resolve({ code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString(), isLate, ms: performance.now() - started });
    });
  });
}

/** Ends a program and what it left running. */
function endGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** The lines of an output that are JSON. */
export function jsonLines(text) {
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
}
