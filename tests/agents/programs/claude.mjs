// Claude Code.
import { join } from 'node:path';

export const claude = {
  name: 'Claude Code',
  binary: ({ modules }) => join(modules, `@anthropic-ai/claude-code-${process.platform}-${process.arch}/claude`),
  call({ install, url, key, model, prompt, resumes }) {
    const env = {
      ANTHROPIC_BASE_URL: url,
      ANTHROPIC_AUTH_TOKEN: key,
      ANTHROPIC_MODEL: model,
      ANTHROPIC_SMALL_FAST_MODEL: model,
      ANTHROPIC_DEFAULT_HAIKU_MODEL: model,
      ANTHROPIC_DEFAULT_SONNET_MODEL: model,
      ANTHROPIC_DEFAULT_OPUS_MODEL: model,
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      DISABLE_TELEMETRY: '1',
      DISABLE_AUTOUPDATER: '1',
      // Root may do without questions only in what says it is a sandbox.
      IS_SANDBOX: '1',
    };
    const args = ['-p', prompt, '--output-format', 'json', '--allowedTools', 'Bash,Read,Write,Edit,Glob,Grep,TodoWrite,NotebookEdit', ...(resumes ? ['--continue'] : [])];
    return { command: this.binary(install), args, env };
  },
  said: ({ stdout }) => JSON.parse(stdout).result,
};
