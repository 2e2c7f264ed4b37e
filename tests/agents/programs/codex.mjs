// Codex.
import { join } from 'node:path';
import { jsonLines } from './spawn.mjs';

const triples = { 'linux-x64': 'x86_64-unknown-linux-musl', 'linux-arm64': 'aarch64-unknown-linux-musl', 'darwin-x64': 'x86_64-apple-darwin', 'darwin-arm64': 'aarch64-apple-darwin' };

export const codex = {
  name: 'Codex',
  binary({ modules }) {
    const platform = `${process.platform}-${process.arch}`;
    return join(modules, `@openai/codex-${platform}/vendor/${triples[platform]}/bin/codex`);
  },
  versionArgs: ['--version'],
  call({ install, url, key, model, prompt, resumes, config = [] }) {
    const provider = `model_providers.tf={name="tf",base_url="${url}/v1",env_key="TFKEY",wire_api="responses",request_max_retries=1,stream_max_retries=1}`;
    const options = ['--json', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', '-m', model, '-c', 'model_provider=tf', '-c', provider, ...config.flatMap((it) => ['-c', it])];
    return { command: this.binary(install), args: ['exec', ...(resumes ? ['resume', '--last'] : []), ...options, prompt], env: { TFKEY: key } };
  },
  said: ({ stdout }) => jsonLines(stdout).filter(({ item }) => item?.type === 'agent_message').map(({ item }) => item.text).join('\n'),
};
