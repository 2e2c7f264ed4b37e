// What the models say: a task is a list of steps, and the prompt that a program is given names
// its task. The step follows from the conversation that the program sends, so that a request that
// is sent again gets the same step again.
import { toolInput } from '../../../scripts/upstream/schema.mjs';

const named = /tf-task-([a-z0-9]+)/g;
/** What programs say when they want their conversation told in short, tools or no tools. */
const summarizes = /Respond with TEXT ONLY|CONTEXT CHECKPOINT COMPACTION|<state_snapshot>|summary of (?:our|the) conversation/;

/** Text of a model that thinks before it acts. */
const thought = 'The user wants something done. I do it step by step and say what came of it.';

export class Task {
  /**
   * @param {string} id letters and digits
   * @param {object[]} steps each {use: tool => input} of a tool, or several of them as {uses: [...]};
   *   {say}: text, which ends it; {refuse: form => [status, body]} until the conversation was made shorter;
   *   `usage` with any of them: the tokens that went in, as upstream counts
   * @param {{hasTools?: boolean}} [options] `hasTools: false`: of a program that offers the model no tools
   */
  constructor(id, steps, { hasTools = true } = {}) {
    Object.assign(this, { id, steps, hasTools });
    /** What came back for each call, in the order of the calls. */
    this.results = [];
    /** Requests that belong to it but are no step of it: titles, summaries. */
    this.aside = 0;
    /** The requests that got a step, as {form, calls: [name]}. */
    this.served = [];
    this.isDone = false;
    this.shift = 0;
    this.groups = 0;
  }

  /** What the prompt has to contain. */
  get name() {
    return `tf-task-${this.id}`;
  }

  /** How many groups of calls the conversation has since the task was given. */
  groupsOf({ turns }) {
    const began = turns.findLastIndex(({ role, text, results }) => role === 'user' && !results?.length && text?.includes(this.name));
    return turns.slice(began + 1).filter(({ calls }) => calls?.length).length;
  }

  /** A request that is no step: a title, a summary. */
  seenAside(conversation) {
    this.aside += 1;
    this.groups = Math.max(this.groups, this.groupsOf(conversation));
  }

  /** The step of a request. */
  stepOf(conversation) {
    const { turns } = conversation;
    const groups = this.groupsOf(conversation);
    // Fewer calls than before: the program has made its conversation shorter.
    if (groups < this.groups) {
      this.shift += this.groups - groups;
      this.wasShortened = true;
    }
    this.groups = groups;
    const last = turns.findLast(({ results }) => results?.length);
    if (last && groups) this.results[groups + this.shift - 1] = last.results.map(({ text }) => text).join('\n');
    let at = groups + this.shift;
    const refusing = this.steps.findIndex((step) => step.refuse);
    if (refusing >= 0 && at >= refusing) {
      if (!this.wasShortened) return this.steps[refusing];
      at += 1;
    }
    return this.steps[Math.min(at, this.steps.length - 1)];
  }
}

/** The tasks of one run, and what to say to a request. */
export class Tasks {
  #byId = new Map();

  add(task) {
    this.#byId.set(task.id, task);
    return task;
  }

  /** The task that was named last, in what a user said. */
  find({ turns }) {
    for (const { text } of turns.toReversed()) {
      const task = this.named(text ?? '');
      if (task) return task;
    }
    return undefined;
  }

  /** The task that a text names last. */
  named(text) {
    const ids = [...text.matchAll(named)].map(([, id]) => id).filter((id) => this.#byId.has(id));
    return this.#byId.get(ids.at(-1));
  }

  /** The answer to a request: {thought, text, calls} or {refuse}. */
  answer(conversation, form) {
    const task = this.find(conversation);
    const isMain = task && (conversation.tools.length > 0 || !task.hasTools) && !conversation.isCompaction && !summarizes.test(conversation.turns.at(-1).text ?? '');
    if (!isMain) {
      task?.seenAside(conversation);
      return { task, text: conversation.schema ? JSON.stringify(toolInput(conversation.schema, 'aside')) : `Said aside${task ? ` of ${task.name}` : ''}.`, calls: [] };
    }
    const step = task.stepOf(conversation);
    if (step.refuse) {
      task.refused = (task.refused ?? 0) + 1;
      return { task, refuse: step.refuse(form) };
    }
    const uses = step.uses ?? (step.use ? [step.use] : []);
    const calls = uses.map((use) => use(conversation.tools));
    task.served.push({ form, calls: calls.map(({ name }) => name) });
    if (!calls.length) task.isDone = true;
    return { task, usage: step.usage, thought: step.silent ? '' : thought, text: step.say ?? (step.silent ? '' : 'I will use a tool.'), calls };
  }
}
