// Codex. Which tools it offers depends on the model's name; how it calls, on how it is told of the gateway.
import { join } from 'node:path';
import { jsonLines } from './spawn.mjs';

const triples = { 'linux-x64': 'x86_64-unknown-linux-musl', 'linux-arm64': 'aarch64-unknown-linux-musl', 'darwin-x64': 'x86_64-apple-darwin', 'darwin-arm64': 'aarch64-apple-darwin' };

const ways = {
  /** A provider of the user's own. */
  provider: (url, key) => ({
    env: { TFKEY: key },
    config: ['model_provider=tf', `model_providers.tf={name="tf",base_url="${url}/v1",env_key="TFKEY",wire_api="responses",request_max_retries=1,stream_max_retries=1}`],
  }),
  /** Its own provider of OpenAI at another address, with which it prefers WebSockets. */
  openai: (url, key) => ({ env: { CODEX_API_KEY: key }, config: [`openai_base_url="${url}/v1"`] }),
};

/** @param {{family?: string, way?: 'provider' | 'openai', label: string}} variant */
export const codex = ({ family = 'sim', way = 'provider', label }) => ({
  name: 'Codex',
  label,
  family,
  binary({ modules }) {
    const platform = `${process.platform}-${process.arch}`;
    return join(modules, `@openai/codex-${platform}/vendor/${triples[platform]}/bin/codex`);
  },
  call({ install, url, key, model, prompt, resumes, config = [] }) {
    const told = ways[way](url, key);
    // It would count how it is used, and look for a newer self.
    const quiet = ['analytics.enabled=false', 'check_for_update_on_startup=false'];
    const options = ['--json', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', '-m', model, ...[...told.config, ...quiet, ...config].flatMap((it) => ['-c', it])];
    return { command: this.binary(install), args: ['exec', ...(resumes ? ['resume', '--last'] : []), ...options, prompt], env: told.env };
  },
  said: ({ stdout }) => jsonLines(stdout).filter(({ item }) => item?.type === 'agent_message').map(({ item }) => item.text).join('\n'),
});
