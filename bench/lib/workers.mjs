// What stands beside each other: how each Worker is configured, prepared and asked.
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { embed, empty } from './capnp.mjs';
import { fileURLToPath } from 'node:url';

export const benchFile = (name) => fileURLToPath(new URL(`../workers/${name}`, import.meta.url));
export const socket = (name, service) => ({ name, address: '127.0.0.1:0', http: empty, service });

export const disk = (name) => ({ name, disk: { path: name, writable: true } });
// The runtime refuses private addresses unless a network allows them; the upstream is on loopback.
const internet = { name: 'internet', network: { allow: ['public', 'private'] } };
const DATE = '2026-11-17';

export const jsWorker = (file, bindings, objects = []) => ({
  compatibilityDate: DATE,
  modules: [{ name: file, esModule: embed(file) }],
  bindings,
  ...(objects.length > 0 && {
    durableObjectNamespaces: objects.map((className) => ({ className, uniqueKey: className, enableSql: true })),
    durableObjectStorage: { localDisk: 'objects' },
  }),
});

/** A namespace of objects: of the Worker's own, or of another service in the same process. */
export const object = (name, className, serviceName) => ({
  name,
  durableObjectNamespace: { className, ...(serviceName && { serviceName }) },
});
export const text = (name, value) => ({ name, text: value });

/** A whole configuration around the Worker under test. */
export const around = (main, services = [], sockets = []) => ({
  services: [{ name: 'main', worker: main }, internet, disk('objects'), disk('kv'), ...services],
  sockets: [socket('http', 'main'), ...sockets],
});

const QUESTION = 'Say something about foxes, in one sentence, and count your words.';
const LONG_QUESTION = `${'Foxes (Vulpes) weigh 2 to 14 kg; the red one lives on four continents, eats nearly everything and sleeps by day. '.repeat(1000)}`.slice(0, 100_000);

const chat = (url, headers, model, { content = QUESTION, ...extra } = {}) => ({
  url: `${url}/v1/chat/completions`,
  headers: { 'content-type': 'application/json', ...headers },
  body: {
    model,
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content },
    ],
    temperature: 0.7,
    max_tokens: 300,
    ...extra,
  },
});

/** What is asked of a Worker, the same for all. */
export const chatTargets = (url, headers = {}) => ({
  plain: chat(url, headers, 'bench'),
  long: chat(url, headers, 'bench', { content: LONG_QUESTION }),
  burst: chat(url, headers, 'bench', { stream: true }),
  paced: chat(url, headers, 'bench-paced', { stream: true }),
});

/** The streams of a Worker's chat clients from a provider of another dialect; `warm` is not measured. */
export const translatedTargets = (dialect, url, headers = {}) => ({
  warm: chat(url, headers, 'bench'),
  burst: chat(url, headers, `bench-${dialect}`, { stream: true }),
  paced: chat(url, headers, `bench-${dialect}-paced`, { stream: true }),
});

/** The cases that are counted of every Worker: requests without anything. */
export const plainCases = ({ plain, burst }) => [
  { name: 'alone', label: 'alone', isAlone: true, target: () => plain },
  { name: 'plain_1', label: 'plain at 1', connections: 1, target: () => plain },
  { name: 'plain_16', label: 'plain at 16', connections: 16, target: () => plain },
  { name: 'stream', label: 'streams at 16', connections: 16, target: () => burst },
];

function floor(name, label, file, { bindings = [], objects = [], sockets = [], done, bases = [] } = {}) {
  return {
    name,
    kind: name,
    label,
    files: (folder) => cpSync(benchFile(file), join(folder, file)),
    config: (upstream) => around(jsWorker(file, [text('UPSTREAM', upstream), ...bindings], objects), [], sockets),
    targets: chatTargets,
    cases: (url) => plainCases(chatTargets(url)),
    objects,
    main: file,
    done,
    bases,
  };
}

export const floors = [
  floor('floor', 'floor', 'floor.mjs'),
  floor('money', 'floor with money', 'money.mjs', {
    bindings: [object('ACCOUNT', 'Account')],
    objects: ['Account'],
    sockets: [socket('settled', { name: 'main', entrypoint: 'Done' })],
    done: 'settled',
    bases: ['floor'],
  }),
];
