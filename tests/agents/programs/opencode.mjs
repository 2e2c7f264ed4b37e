// opencode, with each of the SDK packages that it can call the gateway with.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jsonLines } from './spawn.mjs';

const bases = { '@ai-sdk/openai-compatible': '/v1', '@ai-sdk/openai': '/v1', '@ai-sdk/anthropic': '/v1', '@ai-sdk/google': '/v1beta' };

export const opencode = (npm) => ({
  name: 'opencode',
  label: npm,
  binary: ({ modules }) => join(modules, `opencode-${process.platform}-${process.arch}/bin/opencode`),
  call({ install, url, key, model, prompt, resumes, folder }) {
    mkdirSync(join(folder, 'work'), { recursive: true });
    const config = { $schema: 'https://opencode.ai/config.json', provider: { tf: { npm, name: 'tf', options: { baseURL: url + bases[npm], apiKey: key }, models: { [model]: { name: model } } } } };
    writeFileSync(join(folder, 'work/opencode.json'), JSON.stringify(config));
    const args = ['run', '--format', 'json', ...(resumes ? ['--continue'] : []), '-m', `tf/${model}`, prompt];
    return { command: this.binary(install), args, env: { OPENCODE_DISABLE_AUTOUPDATE: '1', OPENCODE_DISABLE_MODELS_FETCH: '1', OPENCODE_DISABLE_SHARE: '1', npm_config_offline: 'true' } };
  },
  said: ({ stdout }) => jsonLines(stdout).filter(({ type }) => type === 'text').map(({ part }) => part.text).join('\n'),
});
