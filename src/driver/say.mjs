// What is said to account objects. What may wait for some milliseconds rides along with whatever this isolate says to the same account
// meanwhile, whichever request that is of: one call in the place of two.
import { END } from './texts.mjs';

/** @typedef {import('./account.mjs').AccountObject} AccountObject */
/** @typedef {DurableObjectNamespace<AccountObject>} Accounts */

/** How long a command looks for another that takes it along, before it goes by itself. */
export const PATIENCE_MS = 4;
/** When one that was taken along asks what came of it, before it goes by itself after all. */
export const LOOKS_MS = [20, 200, 1_000];
/** So many ride along with one, each of at most so many characters: an account object takes 256 together. */
const MOST_RIDERS = 64;
const LONGEST_RIDER = 64 * 1024;
/** What is longer takes nobody along: the platform takes 32 MiB at most, at two bytes a character. */
const LONGEST_CARRIER = 4 * 1024 * 1024;

/**
 * @typedef {object} Rider
 * @property {string} account
 * @property {string} text
 * @property {boolean} isTaken Whether it is under way
 * @property {string} [answer]
 */

/** @type {Map<string, Rider[]>} Those that look for somebody who takes them along. */
const looking = new Map();

/**
 * A command that may wait; none if it is too long to be taken along.
 * @param {string} account
 * @param {string} text
 * @returns {Rider | undefined}
 */
export function ride(account, text) {
  const riders = looking.get(account) ?? [];
  if (text.length > LONGEST_RIDER || riders.length >= MOST_RIDERS) return undefined;
  const rider = { account, text, isTaken: false };
  riders.push(rider);
  looking.set(account, riders);
  return rider;
}

/**
 * It looks no more.
 * @param {Rider} rider
 */
export function alight(rider) {
  const left = looking.get(rider.account)?.filter((other) => other !== rider) ?? [];
  if (left.length > 0) looking.set(rider.account, left);
  else looking.delete(rider.account);
}

/**
 * The answer to a command, which takes along what looks for that. An account object of an earlier version, which is still there while
 * a new one is rolled out, is spoken to as it knows it.
 * @param {Accounts} accounts
 * @param {string} account
 * @param {string} text
 * @param {string} how
 * @returns {Promise<string>}
 */
export async function say(accounts, account, text, how) {
  const object = accounts.getByName(account);
  const riders = how === 'flush' || text.length > LONGEST_CARRIER ? undefined : looking.get(account);
  if (riders !== undefined) {
    looking.delete(account);
    for (const rider of riders) rider.isTaken = true;
    try {
      // Settlements first: what they set free is there for the hold.
      const answers = (await object.commands([...riders.map((rider) => rider.text), text].join(END))).split(END);
      for (const rider of riders) rider.answer = answers.shift();
      return answers[0];
    } catch (error) {
      // Each goes by itself: this request may be over before it could be told again.
      for (const rider of riders) rider.isTaken = false;
      if (!isUnknown(error)) throw error;
    }
  }
  try {
    return await object.command(text, how);
  } catch (error) {
    if (!isUnknown(error)) throw error;
    const response = await object.fetch(`https://account/${how}`, { method: 'POST', body: text });
    return (response.status === 200 ? '' : '!') + (await response.text());
  }
}

/** @param {unknown} error */
const isUnknown = (error) => `${error}`.includes('does not implement the method');
