// `npm test`: everything that has to hold, cheapest first; stops at the first step that fails.
//   npm test -- <text>     only the steps whose name contains the text
//   npm test -- quick      while you write: layout, locks, the driver, licences, format, lints and unit tests, on the host alone;
//                          under two minutes on two cores once things are built
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from './build.mjs';
import { checkLicences } from './licences.mjs';
import { chromium, codingAgents, pythonWithPackages } from './setup.mjs';
import { Failure, main, must, root } from './shell.mjs';

const manifests = ['Cargo.toml', 'bench/load/Cargo.toml', 'bench/passthrough/Cargo.toml'].filter((path) => existsSync(join(root, path)));
const cargo = (...args) => must('cargo', args);

/** The first steps, which `quick` has too. */
const cheap = {
  'repository layout': checkLayout,
  'lock files': checkLockFiles,
  'driver tests': () => must(process.execPath, ['--test', '--test-timeout=20000', 'tests/driver/*.test.mjs']),
  licences: async () => {
    for (const manifest of manifests) await checkLicences(manifest);
  },
  format: async () => {
    for (const manifest of manifests) await cargo('fmt', '--check', '--manifest-path', manifest);
  },
  'lints, host': () => cargo('clippy', '--locked', '--all-targets', '--', '-D', 'warnings'),
};

const quick = {
  ...cheap,
  'unit tests': () => cargo('test', '--locked', '--lib', '--test', 'architecture', '--test', 'endpoints'),
};

const steps = {
  ...cheap,
  'lints, wasm': () => cargo('clippy', '--locked', '--lib', '--target', 'wasm32-unknown-unknown', '--', '-D', 'warnings'),
  'host tests': () => cargo('test', '--locked'),
  'bound of work': boundOfWork,
  build,
  // After the build, which makes the types of the bindings.
  'driver types': () => must(join(root, 'node_modules/.bin/tsc'), ['--project', 'src/driver']),
  'wasm size': checkSize,
  'deploy dry run': () => must(process.execPath, [join(root, 'scripts/deploy.mjs'), '--dry-run']),
  'worker tests': workerTests,
  agents,
};

await main(async () => {
  const wanted = process.argv.slice(2).join(' ');
  const chosen = wanted === 'quick' ? Object.entries(quick) : Object.entries(steps).filter(([name]) => name.includes(wanted));
  if (chosen.length === 0) throw new Failure(`No step's name contains "${wanted}". The steps: ${Object.keys(steps).join(', ')}; or quick`);
  for (const [name, step] of chosen) {
    console.log(`\n=== ${name}`);
    const started = performance.now();
    try {
      await step();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      throw new Failure(`${name}: ${error.message}`);
    }
    console.log(`=== ${name}: ok, ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
  console.log(`\nAll ${chosen.length} steps passed.`);
});

/** The root shows what there is at a glance; a new entry is a decision, made here. */
function checkLayout() {
  const allowed = [
    'ARCHITECTURE.md', 'Cargo.lock', 'Cargo.toml', 'LICENSE', 'README.md', 'bench', 'clippy.toml', 'docs', 'examples',
    'migrations', 'package-lock.json', 'package.json', 'rust-toolchain.toml', 'scripts', 'src', 'tests', 'wrangler.toml',
  ];
  const generated = ['build', 'node_modules', 'target'];
  const extra = readdirSync(root).filter((name) => !name.startsWith('.') && ![...allowed, ...generated].includes(name));
  if (extra.length > 0) throw new Failure(`not meant to be in the repository's root: ${extra.join(', ')}`);
}

/** Lock files fix contents by hash and name no place but the public index, so that they work everywhere. */
function checkLockFiles() {
  const index = 'registry+https://github.com/rust-lang/crates.io-index';
  for (const manifest of manifests) {
    const lock = readFileSync(join(root, manifest.replace('.toml', '.lock')), 'utf8');
    const others = [...lock.matchAll(/^source = "(.*)"$/gm)].map(([, source]) => source).filter((source) => source !== index);
    if (others.length > 0) throw new Failure(`${manifest}: crates from elsewhere: ${[...new Set(others)].join(', ')}`);
  }
  const [packages] = ['package-lock.json', 'tests/agents/package-lock.json'].map((path) => {
    const { packages } = JSON.parse(readFileSync(join(root, path), 'utf8'));
    const placed = Object.entries(packages).filter(([, { resolved }]) => resolved);
    if (placed.length > 0) throw new Failure(`${path} has addresses, of ${placed[0][0]} for one`);
    return packages;
  });
  if (packages[''].dependencies) throw new Failure('the Worker has no npm dependencies; tools are devDependencies');
}

/**
 * The unit tests once more with a counter at every branch, of which those run that bound the work of requests and answers. Only
 * this crate is compiled for it, with generics of the standard library; it counts on one thread.
 */
async function boundOfWork() {
  const hooks = ['passes=sancov-module', 'llvm-args=-sanitizer-coverage-level=3', 'llvm-args=-sanitizer-coverage-trace-pc-guard'];
  const flags = ['--cfg', 'counts_work', '-C', 'opt-level=1', '-C', 'debuginfo=0', ...hooks.flatMap((hook) => ['-C', hook])];
  const args = ['rustc', '--locked', '--lib', '--profile', 'test', '--message-format=json-render-diagnostics', '--', ...flags];
  const built = spawnSync('cargo', args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'inherit'] });
  if (built.status !== 0) throw new Failure('the tests could not be compiled with a counter');
  const [executable] = built.stdout.split('\n').filter((line) => line.includes('"executable":"')).map((line) => JSON.parse(line).executable).slice(-1);
  // Always the same draws, so that a run that was green stays green; PROPTEST_RNG_SEED looks at others.
  const env = { PROPTEST_RNG_SEED: '1', ...process.env };
  await must(executable, ['--test-threads=1', 'dialect::work::'], { env });
}

/**
 * The size at which a cold start takes 100 ms longer than that of a Worker that does nothing, at 6.8 ms for each 100 KB of Wasm,
 * gzipped: docs/decisions/0010-small-wasm.md. bench/starts.mjs measures it.
 */
function checkSize() {
  const [allowed_ms, per_100_kb_ms] = [115, 6.8];
  const limit = Math.floor((allowed_ms / per_100_kb_ms) * 100_000);
  const size = gzipSync(readFileSync(join(root, 'build/index_bg.wasm'))).length;
  console.log(`index_bg.wasm, gzipped: ${size} bytes`);
  if (size >= limit) throw new Failure(`more than ${limit} bytes`);
}

async function workerTests() {
  const env = { ...process.env, TF_PYTHON: await pythonWithPackages(), TF_CHROMIUM: await chromium() };
  // A test that hangs, or leaves a Worker running, is a failure and not a run without end.
  const flags = ['--test', '--test-concurrency=1', '--test-timeout=180000', '--test-force-exit'];
  await must(process.execPath, [...flags, 'tests/worker/*.test.mjs', 'tests/worker/clients/*.test.mjs'], { env });
}

/** The coding agents that people install, each over a channel of each form. */
async function agents() {
  const { modules, aider } = await codingAgents();
  const env = { ...process.env, TF_AGENTS: modules, TF_AIDER: aider };
  // Each program has a limit of its own; this one is of all of them.
  await must(process.execPath, ['--test', '--test-timeout=1800000', '--test-force-exit', 'tests/agents/agents.test.mjs'], { env });
}
