// What stands around the programs: the gateway on the real runtime, the simulated providers
// behind it, and an account with a key.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startGateway } from '../worker/support/gateway.mjs';
import { forms, startProviders } from './upstream/provider.mjs';

const price = { input: '1', cached_input: '0.1', cache_write: '1.25', cache_write_1h: '2', audio_input: '4', image_input: '0.5', output: '2', reasoning: '2', audio_output: '8', image_output: '6', searches: '0.01' };

/** The first part of the models' names: what Codex knows gets other tools from it than what it does not. */
export const families = ['sim', 'gpt-5.5', 'gpt-5.6-sol'];

export class Stage {
  /** Where the programs are: {modules, aider}, as the step `agents` of `npm test` says. */
  install = { modules: process.env.TF_AGENTS, aider: process.env.TF_AIDER };

  async open() {
    this.folder = mkdtempSync(join(tmpdir(), 'tokens-forge-agents-'));
    this.providers = await startProviders();
    this.gateway = await startGateway({ catalog: () => catalog(this.providers.url) });
    return this;
  }

  get url() {
    return this.gateway.url;
  }

  async close() {
    await this.gateway?.close();
    await this.providers?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function catalog(upstream) {
  const limits = { first_byte_timeout_ms: 60_000, idle_timeout_ms: 60_000, probe_daily_cap: '0' };
  const channels = {};
  const models = {};
  for (const [form, { dialect, path, upstreamModel, responses }] of Object.entries(forms)) {
    channels[form] = { dialect, base_url: upstream + path, secrets: ['TEST_UPSTREAM_KEY'], ...limits, ...(responses && { responses }) };
    for (const family of families) {
      const candidates = [{ channel: form, upstream_model: upstreamModel, tier: 0 }];
      models[`${family}-${form}`] = { name: form, family: 'test', kind: 'chat', context_length: 1_000_000, max_output_tokens: 64_000, routes: { official: { bucket: 'credit', price, candidates } } };
    }
  }
  return { version: 1, buckets: { credit: { label: 'Official credit', currency: 'USD' } }, channels, models, charge_policy: { upstream_cut: 'free' } };
}
