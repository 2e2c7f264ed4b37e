// Gemini CLI.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const settings = {
  security: { auth: { selectedType: 'gemini-api-key' } },
  telemetry: { enabled: false },
  privacy: { usageStatisticsEnabled: false },
  general: { enableAutoUpdate: false, disableAutoUpdate: true, disableUpdateNag: true },
};

export const gemini = {
  name: 'Gemini CLI',
  binary: ({ modules }) => join(modules, '@google/gemini-cli/bundle/gemini.js'),
  call({ install, url, key, model, prompt, resumes, folder }) {
    mkdirSync(join(folder, 'home/.gemini'), { recursive: true });
    writeFileSync(join(folder, 'home/.gemini/settings.json'), JSON.stringify(settings));
    const args = [this.binary(install), ...(resumes ? ['--resume', 'latest'] : []), '-m', model, '--yolo', '--skip-trust', '--output-format', 'json', '-p', prompt];
    return { command: process.execPath, args, env: { GOOGLE_GEMINI_BASE_URL: url, GEMINI_API_KEY: key } };
  },
  said: ({ stdout }) => JSON.parse(stdout.slice(stdout.indexOf('{'))).response,
};
