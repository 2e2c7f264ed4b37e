// The account object: what waits is decided as one group, in one transaction and one commit. It knows nothing about money.
import { DurableObject } from 'cloudflare:workers';
import * as wasm from 'bindings';
import { instance, whileItRuns } from './instance.mjs';
import { END } from './texts.mjs';

/** How long the searchable copy may lag behind; what is settled meanwhile is copied together. */
const COPY_AFTER_MS = 2_000;
/** When the alarm comes again after a failure. */
const RETRY_MS = 5_000;
/** How long a command that may wait does so, unless another takes it along. */
const PATIENCE_MS = 4;
const MOST_IN_A_GROUP = 256;

/**
 * @typedef {{ text: string, resolve: (answer: string) => void, reject: (error: unknown) => void }} Waiting
 */

const FAILED = "!the account's storage failed";

/** SQLite, one text in and one out for each statement. */
class Sql {
  /** @param {DurableObjectStorage} storage */
  constructor(storage) {
    this.storage = storage;
  }

  /**
   * The first column of each row, each ended.
   * @param {string} statement
   * @param {string} values each ended: a text after `'`, or JSON
   */
  run(statement, values) {
    const bound = values.split(END).slice(0, -1).map((value) => (value.startsWith("'") ? value.slice(1) : JSON.parse(value)));
    let texts = '';
    for (const [value] of this.storage.sql.exec(statement, ...bound).raw()) texts += value + END;
    return texts;
  }

  /** @param {() => void} body */
  transaction(body) {
    this.storage.transactionSync(body);
  }
}

export class AccountObject extends DurableObject {
  /** @type {Waiting[]} */
  #waiting = [];
  #isCommitting = false;
  /** @type {number | null} */
  #timer = null;
  /** @type {number | undefined} When the alarm is set for; unknown at first. */
  #alarmAt;
  /** @type {wasm.Account | undefined} */
  #account;
  #instance = 0;

  /**
   * The answer to a command, both as JSON, or after `!` why there is none.
   * @param {string} text
   * @param {string} how `patient` if it may wait for others, `flush` if what is new is to be copied, `command` otherwise
   */
  async command(text, how) {
    if (how !== 'flush') return this.#answer(this.#enter([text], how === 'patient')[0]);
    try {
      await whileItRuns(this.#current().copy());
      return '"Done"';
    } catch (error) {
      console.error('account:', error);
      return FAILED;
    }
  }

  /**
   * The answers to several commands that are decided together, in their order.
   * @param {string} texts
   */
  async commands(texts) {
    const answers = this.#enter(texts.split(END), false).map((answer) => this.#answer(answer));
    return (await Promise.all(answers)).join(END);
  }

  /**
   * The same, from a Worker of an earlier version while a new one is rolled out.
   * @param {Request} request
   */
  async fetch(request) {
    const answer = await this.command(await request.text(), request.url.split('/').at(-1) ?? '');
    return answer.startsWith('!') ? new Response(answer.slice(1), { status: 500 }) : new Response(answer);
  }

  /** Ends what is due and copies what is new. It must not fail: the platform gives up after six times. */
  async alarm() {
    this.#alarmAt = undefined;
    let next;
    try {
      this.#guarded((account) => account.end_due());
      next = await whileItRuns(this.#current().copy_and_tell());
    } catch (error) {
      console.error('alarm:', error);
      next = Date.now() + RETRY_MS;
    }
    if (next !== undefined) this.#wakeAt(next);
  }

  /**
   * @param {string[]} texts
   * @param {boolean} isPatient
   * @returns {Promise<string>[]}
   */
  #enter(texts, isPatient) {
    const answers = texts.map((text) => new Promise((resolve, reject) => this.#waiting.push({ text, resolve, reject })));
    if (!this.#isCommitting && !isPatient) void this.#commit();
    else if (!this.#isCommitting) this.#timer ??= setTimeout(() => void this.#commit(), PATIENCE_MS);
    return answers;
  }

  /**
   * What is told the outside: not why an answer failed.
   * @param {Promise<string>} answer
   */
  async #answer(answer) {
    try {
      const text = await answer;
      if (!text.startsWith('!')) return text;
      console.error('account:', text.slice(1));
    } catch (error) {
      console.error('account:', error);
    }
    return FAILED;
  }

  /** Takes what waits, until nothing does: whatever comes while a commit is under way is the next group. */
  async #commit() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#isCommitting) return;
    this.#isCommitting = true;
    while (this.#waiting.length > 0) {
      this.#decide(this.#waiting.splice(0, MOST_IN_A_GROUP));
      try {
        await this.ctx.storage.sync();
      } catch (error) {
        // The platform gives up this object, and with it the answers; what it remembers was not stored.
        console.error('account:', error);
        this.#account = undefined;
      }
    }
    this.#isCommitting = false;
  }

  /**
   * Answers leave when their writes are on disk: the platform sees to it. If the Wasm ends in a group, each of it is tried alone.
   * @param {Waiting[]} group
   */
  #decide(group) {
    try {
      const [state, ...answers] = this.#guarded((account) => account.commands(group.map(({ text }) => text).join(END))).split(END);
      // In the same commit as what it is set for.
      if (state === 'changed' || (state === 'same' && this.#alarmAt === undefined)) this.#wakeAt(Date.now() + COPY_AFTER_MS);
      group.forEach(({ resolve }, index) => resolve(answers[index]));
    } catch (error) {
      if (group.length === 1) return group[0].reject(error);
      console.error(`account: ${group.length} commands together:`, error);
      for (const one of group) this.#decide([one]);
    }
  }

  /**
   * @template T
   * @param {(account: wasm.Account) => T} body
   */
  #guarded(body) {
    try {
      return body(this.#current());
    } catch (error) {
      // What it remembers may not have been stored.
      this.#account = undefined;
      throw error;
    }
  }

  #current() {
    const now = instance();
    if (this.#account === undefined || this.#instance !== now) {
      this.#account = new wasm.Account(new Sql(this.ctx.storage), this.env);
      this.#instance = now;
    }
    return this.#account;
  }

  /**
   * Sets the alarm, unless it comes earlier anyway: setting it costs a row.
   * @param {number} at
   */
  #wakeAt(at) {
    if (this.#alarmAt !== undefined && this.#alarmAt <= at) return;
    this.#alarmAt = at;
    this.ctx.storage.setAlarm(at).catch((error) => {
      console.error('alarm:', error);
      this.#alarmAt = undefined;
    });
  }
}
