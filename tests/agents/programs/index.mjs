// The programs, each by how it calls the gateway. A program says:
//   name, label: of the program, and which of its ways this is; family: of the models' names
//   binary(install): its path
//   call({install, url, key, model, prompt, folder, resumes, config}): {command, args, env}
//   said(out): what it printed as the model's answer
import { existsSync } from 'node:fs';
import { output, Failure } from '../../../scripts/shell.mjs';
import { aider } from './aider.mjs';
import { claude } from './claude.mjs';
import { codex } from './codex.mjs';
import { gemini } from './gemini.mjs';
import { opencode } from './opencode.mjs';

export const programs = {
  claude,
  codexUnknown: codex({ label: 'unknown model' }),
  codexKnown: codex({ family: 'gpt-5.5', label: 'gpt-5.5' }),
  codexNew: codex({ family: 'gpt-5.6-sol', label: 'gpt-5.6-sol' }),
  codexSocket: codex({ family: 'gpt-5.5', way: 'openai', label: 'openai_base_url' }),
  gemini,
  opencodeCompatible: opencode('@ai-sdk/openai-compatible'),
  opencodeOpenai: opencode('@ai-sdk/openai'),
  opencodeAnthropic: opencode('@ai-sdk/anthropic'),
  opencodeGoogle: opencode('@ai-sdk/google'),
  aider,
};

/** The version of a program, as it tells it. */
export async function versionOf(program, install) {
  const path = program.binary(install);
  if (!existsSync(path)) throw new Failure(`${program.name} is not to be had for ${process.platform}-${process.arch}: ${path} is missing`);
  const told = path.endsWith('.js') ? await output(process.execPath, [path, '--version']) : await output(path, ['--version']);
  const version = /\d+\.\d+\.\d+/.exec(told ?? '')?.[0];
  if (!version) throw new Failure(`${program.name} does not tell its version: ${told}`);
  return version;
}
