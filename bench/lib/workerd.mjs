// One `workerd serve` process: started, read by its process id, stopped. Never `wrangler dev`, whose proxies cost 3 ms.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { config } from './capnp.mjs';

const binary = createRequire(import.meta.url)('workerd').default;
const TICKS_PER_SECOND = 100; // of /proc/<pid>/stat, on every Linux
const running = new Set();

/** Ends what is still running, by process id: for the way out, whatever the way. */
export const stopAll = () => Promise.all([...running].map((server) => server.stop()));
export const killAll = () => running.forEach((server) => server.process.kill('SIGKILL'));

export class Server {
  /** `folder` holds the configuration and its files; `sockets` are the names to wait for. */
  static async start(folder, capnp) {
    mkdirSync(join(folder, 'objects'), { recursive: true });
    mkdirSync(join(folder, 'kv'), { recursive: true });
    writeFileSync(join(folder, 'config.capnp'), config(capnp));
    const began = performance.now();
    const child = spawn(binary, ['serve', '--experimental', '--control-fd=3', 'config.capnp'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    const server = new Server(child, began);
    const waiting = new Set(capnp.sockets.map((socket) => socket.name));
    await new Promise((resolve, reject) => {
      createInterface(child.stdio[3]).on('line', (line) => {
        const message = JSON.parse(line);
        if (message.event !== 'listen') return;
        server.urls[message.socket] = `http://127.0.0.1:${message.port}`;
        waiting.delete(message.socket);
        if (waiting.size === 0) resolve();
      });
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`workerd ended with ${code}:\n${server.log}`)));
    });
    return server;
  }

  constructor(child, began) {
    this.process = child;
    this.began = began;
    this.urls = {};
    this.log = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => (this.log = (this.log + data).slice(-20_000)));
    }
    this.ended = new Promise((resolve) => child.once('exit', resolve));
    running.add(this);
    this.ended.then(() => running.delete(this));
  }

  /** CPU seconds so far, of all threads, user and system. */
  cpu() {
    const stat = readFileSync(`/proc/${this.process.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Waits until work that was left for later is done, so that it counts for the run that caused it. */
  async quiet() {
    for (let tries = 0, before = this.cpu(); tries < 30; tries += 1) {
      await sleep(100);
      const now = this.cpu();
      if (now - before <= 1.5 / TICKS_PER_SECOND) return now;
      before = now;
    }
    return this.cpu();
  }

  /** Resident memory in MB. */
  memory() {
    const status = readFileSync(`/proc/${this.process.pid}/status`, 'utf8');
    const resident = /VmRSS:\s+(\d+)/.exec(status);
    if (resident === null) throw new Error(`workerd ended:\n${this.log}`);
    return Number(resident[1]) / 1024;
  }

  async stop() {
    this.process.kill('SIGTERM');
    const late = setTimeout(() => this.process.kill('SIGKILL'), 3000);
    await this.ended;
    clearTimeout(late);
  }
}
