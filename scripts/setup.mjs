// Brings a machine that has only Node 20 and rustup to the point where everything here runs:
// npm packages with a newer Node, the Rust toolchain with its Wasm target, and the tool that
// binds Wasm to JavaScript. Does nothing, quickly, when nothing is missing.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Failure, must, output, root } from './shell.mjs';

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tokens-forge');

/** Prepares everything and answers the path of the Node to go on with. */
export async function prepare() {
  await npmPackages();
  await rustToolchain();
  await cargoTool('wasm-bindgen-cli', 'wasm-bindgen');
  return newerNode();
}

export const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex');

async function npmPackages() {
  const stamp = join(root, 'node_modules/.tokens-forge-lock');
  const lock = sha256(readFileSync(join(root, 'package-lock.json')), process.platform, process.arch);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  say('Installing npm packages (about 600 MB unpacked) ...');
  // No package's own scripts are needed. The warnings are about the Node that is running now.
  await must('npm', ['ci', '--ignore-scripts', '--loglevel=error']);
  writeFileSync(stamp, lock);
}

/**
 * wrangler wants Node 22.12. The platform packages carry the plain binary and are optional
 * dependencies, since npm then installs the one that fits; the `node` package would fetch
 * them by a second, unlocked npm run in an install script.
 */
function newerNode() {
  const installed = join(root, 'node_modules/.bin/node');
  if (existsSync(installed)) return installed;
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 12)) return process.execPath;
  throw new Failure(`Node 22.12 or later is needed on this platform, and this is ${process.version}.`);
}

async function rustToolchain() {
  const pinned = readFileSync(join(root, 'rust-toolchain.toml'), 'utf8').match(/channel = "(.+)"/)[1];
  if (await rustIsComplete(pinned)) return;
  if ((await output('rustup', ['--version'])) === undefined) {
    throw new Failure(`Rust ${pinned} is needed, with its Wasm target. Install rustup (https://rustup.rs) and run this again.`);
  }
  say(`Installing Rust ${pinned} with the Wasm target ...`);
  const parts = ['--component', 'rustfmt', '--component', 'clippy', '--target', 'wasm32-unknown-unknown'];
  await must('rustup', ['toolchain', 'install', pinned, '--profile', 'minimal', '--no-self-update', ...parts]);
}

async function rustIsComplete(pinned) {
  // Otherwise rustup would install a missing toolchain here, unannounced.
  const env = { ...process.env, RUSTUP_AUTO_INSTALL: '0' };
  const version = await output('rustc', ['--version'], { env });
  const sysroot = await output('rustc', ['--print', 'sysroot'], { env });
  return (
    version?.startsWith(`rustc ${pinned} `) &&
    ['bin/cargo', 'bin/rustfmt', 'bin/cargo-clippy', 'lib/rustlib/wasm32-unknown-unknown/lib'].every((part) =>
      existsSync(join(sysroot, part)),
    )
  );
}

/**
 * The version of a tool. It follows Cargo.lock, because the wasm-bindgen CLI refuses any but its own version of the crate.
 */
function toolVersion(name) {
  const crate = { 'wasm-bindgen-cli': 'wasm-bindgen' }[name];
  const lock = readFileSync(join(root, 'Cargo.lock'), 'utf8');
  return lock.match(new RegExp(`name = "${crate}"\nversion = "(.+)"`))[1];
}

/** The folder of a tool's binaries, shared by all clones of one user. */
export function toolFolder(name) {
  return join(cache, `${name}-${toolVersion(name)}`, 'bin');
}

/**
 * Compiles a program of a crate, without optimisation: that is a third of the work, and makes a build of the Worker, which takes
 * minutes, four seconds longer.
 */
async function cargoTool(name, program) {
  const folder = join(toolFolder(name), '..');
  if (existsSync(folder)) return;
  say(`Compiling ${name} ${toolVersion(name)} (a minute or two, once per machine) ...`);
  const unfinished = `${folder}.${process.pid}`;
  const target = join(cache, `target.${process.pid}`);
  const env = { ...process.env, CARGO_PROFILE_DEV_DEBUG: '0', CARGO_PROFILE_DEV_DEBUG_ASSERTIONS: 'false' };
  const what = ['--bin', program, `${name}@${toolVersion(name)}`];
  try {
    await must('cargo', ['install', '--locked', '--profile', 'dev', '--root', unfinished, '--target-dir', target, ...what], { env });
    if (!existsSync(folder)) renameSync(unfinished, folder);
  } finally {
    for (const path of [unfinished, target]) rmSync(path, { recursive: true, force: true });
  }
}

/** A Python with the packages that a file of requirements pins, by default those of the worker's tests. */
export async function pythonWithPackages(file = 'tests/worker/support/requirements.txt', what = 'the Python packages of the tests') {
  const requirements = join(root, file);
  const version = await output('python3', ['--version']);
  if (version === undefined) throw new Failure('Python 3.11 or later is needed to test with the Python clients.');
  const folder = join(cache, `python-${sha256(version, readFileSync(requirements)).slice(0, 16)}`);
  const python = join(folder, 'bin/python');
  const stamp = join(folder, 'complete');
  if (existsSync(stamp)) return python;
  say(`Installing ${what} ...`);
  mkdirSync(cache, { recursive: true });
  await must('python3', ['-m', 'venv', '--clear', folder]);
  // With all dependencies named there is nothing to resolve.
  await must(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '--requirement', requirements]);
  writeFileSync(stamp, '');
  return python;
}

/**
 * The coding agents that tests/agents pins, once per machine: `modules` is the folder of those that
 * npm has, `aider` the path of the one that PyPI has. Their platform packages hold plain
 * binaries, so that no package's own scripts are needed.
 */
export async function codingAgents() {
  const files = ['package.json', 'package-lock.json', '.npmrc'];
  const from = join(root, 'tests/agents');
  const lock = readFileSync(join(from, 'package-lock.json'));
  const folder = join(cache, `agents-${sha256(lock, process.platform, process.arch).slice(0, 16)}`);
  if (!existsSync(folder)) {
    say('Installing the coding agents (about 1 GB unpacked, once per machine) ...');
    const unfinished = `${folder}.${process.pid}`;
    try {
      mkdirSync(unfinished, { recursive: true });
      for (const name of files) copyFileSync(join(from, name), join(unfinished, name));
      await must('npm', ['ci', '--ignore-scripts', '--loglevel=error'], { cwd: unfinished });
      if (!existsSync(folder)) renameSync(unfinished, folder);
    } finally {
      rmSync(unfinished, { recursive: true, force: true });
    }
  }
  const python = await pythonWithPackages('tests/agents/requirements.txt', 'aider (about 700 MB unpacked, once per machine)');
  return { modules: join(folder, 'node_modules'), aider: join(python, '../aider') };
}

/** The path of a Chromium, as Debian has it or one that is there already; it is not downloaded from anywhere else. */
export async function chromium() {
  const names = [process.env.TF_CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'].filter(Boolean);
  for (let attempt = 0; ; attempt += 1) {
    for (const name of names) {
      const path = (await output('sh', ['-c', 'command -v "$1"', 'sh', name]))?.trim();
      if (path) return path;
    }
    const canInstall = attempt === 0 && process.getuid?.() === 0 && (await output('apt-get', ['--version'])) !== undefined;
    if (!canInstall) throw new Failure('The pages are tested in Chromium: install it (Debian: apt-get install chromium), or name it in TF_CHROMIUM.');
    say('Installing Chromium for the tests of the pages (once per machine) ...');
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    await must('apt-get', ['update', '-qq'], { env });
    await must('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium', 'fonts-liberation'], { env });
  }
}

export function say(text) {
  console.log(`==> ${text}`);
}
