// OpenAI's object of usage of its text APIs.

/** `reasoning` is inside of `completion_tokens`, but for ids that start with `reasoning-outside`. */
export function openaiUsage({ input, cached, audio, output, reasoning, speaks }, model) {
  const completion_tokens = output + (model.startsWith('reasoning-outside') ? 0 : reasoning);
  return {
    prompt_tokens: input,
    completion_tokens,
    total_tokens: input + output + reasoning,
    prompt_tokens_details: { cached_tokens: cached, ...(audio && { audio_tokens: audio }) },
    completion_tokens_details: { reasoning_tokens: reasoning, ...(speaks && { audio_tokens: output }) },
  };
}
