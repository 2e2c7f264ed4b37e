// aider, which has no tools: it asks for edits in its own format.
export const aider = {
  name: 'aider',
  hasTools: false,
  binary: ({ aider: path }) => path,
  call({ install, url, key, model, prompt }) {
    const args = ['--model', `openai/${model}`, '--message', prompt, '--yes', '--no-git', '--no-check-update', '--analytics-disable', '--no-show-model-warnings', '--no-pretty'];
    return { command: this.binary(install), args, env: { OPENAI_API_BASE: `${url}/v1`, OPENAI_API_KEY: key, LITELLM_LOCAL_MODEL_COST_MAP: 'True' } };
  },
  said: ({ stdout }) => stdout,
};
