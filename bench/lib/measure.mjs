// A run and what it cost. A run is over when all that it left for later is done: settlements after the answer, and the account
// object's copy of its receipts to D1, which begins two seconds after the first of them.
import { run } from './load.mjs';

const LONGEST_WAIT_MS = 30_000;

/** How many requests are done with, told at the socket that knows: so many are, or once at least so many are. */
async function done(url, atLeast = 0) {
  const response = await fetch(`${url}/__done?${new URLSearchParams({ atLeast })}`, { signal: AbortSignal.timeout(LONGEST_WAIT_MS) });
  return Number(await response.text());
}

/** Runs until each request is done with. What is never done is an error of the run. */
export async function runToTheEnd(worker, server, target, how) {
  if (!worker.done) return run(target, how);
  const url = server.urls[worker.done];
  const before = await done(url);
  const result = await run(target, how);
  try {
    await done(url, before + result.requests);
    return result;
  } catch (error) {
    const first_error = result.first_error ?? `settlements or receipts are missing: ${error.message}`;
    return { ...result, errors: result.errors + 1, first_error };
  }
}

/** A run with the CPU that it cost the process under test. */
export async function measured(worker, server, target, how) {
  const before = await server.quiet();
  const result = await runToTheEnd(worker, server, target, how);
  return { run: result, cpu: (await server.quiet()) - before };
}
