// POST /v1/audio/speech, /v1/audio/transcriptions and /v1/audio/translations (forms).
// Speech is 1,000 bytes and 10 tokens for each word. A recording lasts as long as its WAV header
// says, else a second for each 16,000 bytes begun; a second is 10 tokens. Ids with `gpt-4o` in
// them report tokens, others the duration.
import { begun, compose, countWords, wordsOf } from './answer.mjs';
import { json } from './behaviours.mjs';
import { Refused } from './errors.mjs';

const bytesOfWord = 1000;
const tokensOfWord = 10;
const tokensOfSecond = 10;
const bytesOfSecond = 16000;

const soundTypes = { mp3: 'audio/mpeg', opus: 'audio/opus', aac: 'audio/aac', flac: 'audio/flac', wav: 'audio/wav', pcm: 'audio/pcm' };
/** How files of such a kind begin. */
const magic = { mp3: 'ID3', opus: 'OggS', aac: '\xff\xf1', flac: 'fLaC', wav: 'RIFF', pcm: '' };

export const speech = {
  streams: () => true,
  streamType: ({ body }) => (body.stream_format === 'sse' ? undefined : (soundTypes[body.response_format] ?? soundTypes.mp3)),
  compose({ body, model }) {
    if (!body.input) throw missing('input');
    if (!body.voice) throw missing('voice');
    if (body.stream_format === 'sse' && model.startsWith('tts-1')) {
      throw new Refused(400, { message: 'Unsupported value: \'sse\' is not supported with this model.', type: 'invalid_request_error', param: 'stream_format', code: 'unsupported_value' });
    }
    const words = wordsOf(body.input);
    return { ...begun(model), choices: [{ words }], usage: { input: words.length, output: words.length * tokensOfWord } };
  },
  events({ choices: [{ words }], usage }, { body }) {
    const first = magic[body.response_format ?? 'mp3'] ?? magic.mp3;
    const chunks = words.map((word, index) => soundOf(index === 0 ? first : '', word));
    if (body.stream_format !== 'sse') return chunks.map((data) => ({ is: 'delta', data }));
    return [
      ...chunks.map((data) => event('speech.audio.delta', { audio: data.toString('base64') }, 'delta')),
      event('speech.audio.done', usage && { usage: tokensUsage(usage) }, 'end'),
    ];
  },
};

export const transcriptions = transcriptionApi('transcribe');
export const translations = transcriptionApi('translate');

function transcriptionApi(task) {
  return {
    streams: ({ body, model }) => task === 'transcribe' && body.stream === 'true' && !model.startsWith('whisper'),
    compose({ body, model, files }) {
      const file = files.find(({ name }) => name === 'file');
      if (!file) throw missing('file');
      const seconds = secondsOf(file.data);
      const said = compose({ model, turns: [{ role: 'user', text: `${file.filename}, ${file.data.length} bytes` }] });
      const [audio, text] = [Math.ceil(seconds) * tokensOfSecond, countWords(body.prompt ?? '')];
      return { ...said, task, seconds, usage: { input: audio + text, audio, text, output: said.usage.output } };
    },
    plain: (answer, { body }) => written(answer, body),
    events: ({ model, seconds, choices: [{ words }], usage }) => [
      ...words.map((delta) => event('transcript.text.delta', { delta }, 'delta')),
      event('transcript.text.done', { text: words.join(''), ...usageOf(model, seconds, usage) }, 'end'),
    ],
  };
}

const event = (type, data, is) => ({ is, data: { type, ...data } });
const missing = (param) => new Refused(400, { message: `Missing required parameter: '${param}'.`, type: 'invalid_request_error', param, code: 'missing_required_parameter' });

/** The bytes of a word. */
function soundOf(start, word) {
  const text = Buffer.from(word);
  return Buffer.concat([Buffer.from(start, 'latin1'), Buffer.alloc(Math.max(bytesOfWord, text.length), text)]).subarray(0, Math.max(bytesOfWord, text.length));
}

function tokensUsage({ input, output }) {
  return { input_tokens: input, output_tokens: output, total_tokens: input + output };
}

function usageOf(model, seconds, usage) {
  if (!usage) return {};
  if (!model.includes('gpt-4o')) return { usage: { type: 'duration', seconds: Math.ceil(seconds) } };
  return { usage: { type: 'tokens', ...tokensUsage(usage), input_token_details: { text_tokens: usage.text, audio_tokens: usage.audio } } };
}

function secondsOf(data) {
  const isWave = data.length > 44 && data.subarray(0, 4).toString() === 'RIFF' && data.subarray(8, 12).toString() === 'WAVE';
  return isWave ? (data.length - 44) / data.readUInt32LE(28) : Math.max(1, Math.ceil(data.length / bytesOfSecond));
}

function written({ model, task, seconds, choices: [{ words }], usage }, body) {
  const text = words.join('');
  const clock = (mark, time) => new Date(time * 1000).toISOString().slice(11, 23).replace('.', mark);
  const cue = (mark) => `${clock(mark, 0)} --> ${clock(mark, seconds)}\n${text}\n\n`;
  switch (body.response_format) {
    case 'text':
      return { type: 'text/plain; charset=utf-8', data: `${text}\n` };
    case 'srt':
      return { type: 'text/plain; charset=utf-8', data: `1\n${cue(',')}` };
    case 'vtt':
      return { type: 'text/plain; charset=utf-8', data: `WEBVTT\n\n${cue('.')}` };
    case 'verbose_json':
      return json({ task, language: 'english', duration: seconds, text, ...timed(words, seconds, body), ...usageOf(model, seconds, usage) });
    default:
      return json({ text, ...usageOf(model, seconds, usage) });
  }
}

/** One segment; and the words, spread evenly, if they are asked for. */
function timed(words, seconds, body) {
  const segment = { id: 0, seek: 0, start: 0, end: seconds, text: words.join(''), tokens: words.map((_, index) => index), temperature: 0, avg_logprob: -0.1, compression_ratio: 1, no_speech_prob: 0.01 };
  const wantsWords = [body['timestamp_granularities[]'] ?? body.timestamp_granularities ?? []].flat().includes('word');
  const at = (index) => (seconds * index) / words.length;
  return { segments: [segment], ...(wantsWords && { words: words.map((word, index) => ({ word: word.trim(), start: at(index), end: at(index + 1) })) }) };
}
