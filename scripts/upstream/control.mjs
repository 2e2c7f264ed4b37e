// What a test changes of the simulated upstream while it runs: a model that fails from now on, one
// that is withdrawn, one that is new, a list of models that cannot be read. Each change is for one
// API (openai, anthropic, gemini or cohere) or, without `api`, for all of them.
import { behaviourNames } from './behaviours.mjs';

const apis = ['openai', 'anthropic', 'gemini', 'cohere'];

/** What is there from the start: a model for each behaviour, and those of the demo and the documentation. */
const usual = [
  'demo-large', 'demo-small', 'demo-official', 'demo-embedding', 'demo-moderation', 'demo-image', 'demo-speech', 'demo-transcription', 'demo-rerank',
  'cached', 'reasoning', 'thinking', 'no-limit', 'filtered', ...behaviourNames,
];

export class Control {
  constructor() {
    const atStart = () => ({ models: new Set(usual), removed: new Set(), switched: new Map(), list: undefined, longestPage: Infinity });
    /** By API: the ids that it lists, those that were taken away, behaviours by id, and what is odd about its list. */
    this.apis = Object.fromEntries(apis.map((api) => [api, atStart()]));
  }

  /** Nothing is wrong with anything any more; what was added stays. */
  restoreAll() {
    for (const it of this.#of()) {
      for (const model of it.removed) it.models.add(model);
      it.removed.clear();
      it.switched.clear();
      Object.assign(it, { list: undefined, longestPage: Infinity });
    }
  }

  /** From now on the model behaves as this behaviour says, whatever its id; as `good`, well. */
  switch(model, behaviour, { api } = {}) {
    for (const it of this.#of(api)) it.switched.set(model, known(behaviour));
  }

  /** The model behaves as its id says again, and is back if it was removed. */
  restore(model, { api } = {}) {
    for (const it of this.#of(api)) {
      it.switched.delete(model);
      if (it.removed.delete(model)) it.models.add(model);
    }
  }

  /** The models are in no list any more, and whoever asks for one is told that it does not exist. */
  remove(...models) {
    const { api } = options(models);
    for (const it of this.#of(api)) {
      for (const model of models) {
        it.models.delete(model);
        it.removed.add(model);
      }
    }
  }

  /** The models are in the lists, and answer as their ids say: `alive-1` and the like well. */
  add(...models) {
    const { api } = options(models);
    for (const it of this.#of(api)) {
      for (const model of models) {
        it.removed.delete(model);
        it.models.add(model);
      }
    }
  }

  /** From now on the list of models itself behaves so: `fail-503`, `html-502`, `hang-headers` and the like. */
  switchList(behaviour, { api } = {}) {
    for (const it of this.#of(api)) it.list = known(behaviour);
  }

  /** The list of models is answered again. */
  restoreList({ api } = {}) {
    for (const it of this.#of(api)) it.list = undefined;
  }

  /** No page of a list is longer than this, whatever is asked for. */
  limitPages(longest, { api } = {}) {
    for (const it of this.#of(api)) it.longestPage = longest;
  }

  #of(api) {
    if (api !== undefined && !apis.includes(api)) throw new Error(`no API is called ${api}; there are ${apis.join(', ')}`);
    return (api === undefined ? apis : [api]).map((name) => this.apis[name]);
  }
}

function known(behaviour) {
  if (behaviour !== 'good' && !behaviourNames.includes(behaviour)) throw new Error(`no behaviour is called ${behaviour}; see scripts/upstream/behaviours.mjs`);
  return behaviour;
}

/** Takes the options off the end of a list of ids. */
function options(models) {
  return typeof models.at(-1) === 'object' ? models.pop() : {};
}
