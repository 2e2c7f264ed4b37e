// The errors of the simulated upstream, each in the envelope of the dialect that was spoken.

const serverError = { message: 'The server had an error while processing your request.', type: 'server_error' };

/** By behaviour: the status, OpenAI's error, and headers. The other dialects tell the same their way. */
export const failures = {
  'fail-400': [400, { message: 'This model\'s maximum context length is 128000 tokens.', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' }],
  'fail-401': [401, { message: 'Incorrect API key provided: upstr******cret.', type: 'invalid_request_error', code: 'invalid_api_key' }],
  'fail-403': [403, { message: 'Country, region, or territory not supported.', type: 'request_forbidden', code: 'unsupported_country_region_territory' }],
  'fail-404': [404, { message: 'The model does not exist or you do not have access to it.', type: 'invalid_request_error', code: 'model_not_found' }],
  'fail-422': [422, { message: 'Field required: messages.0.role.', type: 'invalid_request_error', param: 'messages.0.role', code: 'missing_required_parameter' }],
  'fail-429': [429, { message: 'Rate limit reached for requests.', type: 'requests', code: 'rate_limit_exceeded' }, { 'retry-after': '7' }],
  'fail-500': [500, serverError],
  'fail-503': [503, { message: 'The engine is currently overloaded, please try again later.', type: 'server_error', code: 'overloaded' }],
  'fail-529': [529, { message: 'Overloaded', type: 'server_error', code: 'overloaded' }],
};

/** What other dialects say where OpenAI's words would be foreign to them. */
const words = {
  anthropic: { 'fail-400': 'prompt is too long: 200001 tokens > 200000 maximum', 'fail-401': 'invalid x-api-key', 'fail-404': 'model: not found', 'fail-500': 'Internal server error' },
  gemini: {
    'fail-400': 'The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).',
    'fail-401': 'Request had invalid authentication credentials.',
    'fail-404': 'The model is not found for API version v1beta, or is not supported for generateContent.',
    'fail-429': 'Resource has been exhausted (e.g. check quota).',
    'fail-503': 'The model is overloaded. Please try again later.',
  },
  cohere: { 'fail-400': 'too many tokens: the request is longer than the model allows.', 'fail-401': 'invalid api token', 'fail-429': 'You are past the rate limit of your key.' },
};

const anthropicTypes = {
  400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 404: 'not_found_error', 413: 'request_too_large',
  422: 'invalid_request_error', 429: 'rate_limit_error', 529: 'overloaded_error',
};
const geminiStatuses = {
  400: 'INVALID_ARGUMENT', 401: 'UNAUTHENTICATED', 403: 'PERMISSION_DENIED', 404: 'NOT_FOUND', 422: 'INVALID_ARGUMENT', 429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL', 503: 'UNAVAILABLE', 529: 'UNAVAILABLE',
};

/** Thrown to answer a request with an error, like `refuse`. */
export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    Object.assign(this, { status, error });
  }
}

/** Answers with one of `failures`. */
export function fail(exchange, name) {
  const [status, error, headers] = failures[name];
  return exchange.json(status, envelope(exchange, status, error, words[exchange.dialect]?.[name]), headers);
}

/** Answers with an error: OpenAI's {message, type, param, code}, of which other dialects take the message. */
export function refuse(exchange, status, error, headers) {
  return exchange.json(status, envelope(exchange, status, error), headers);
}

/** The body of an error that comes in the middle of a stream, or in place of an answer. */
export function serverFault(exchange) {
  return envelope(exchange, 500, serverError, words[exchange.dialect]?.['fail-500']);
}

function envelope(exchange, status, { message, type, param = null, code = null }, said = message) {
  switch (exchange.dialect) {
    case 'anthropic':
      return { type: 'error', error: { type: anthropicTypes[status] ?? 'api_error', message: said }, request_id: exchange.id };
    case 'gemini': {
      const details = status === 429 && { details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '7s' }] };
      const body = { error: { code: status, message: said, status: geminiStatuses[status] ?? 'UNKNOWN', ...details } };
      // A stream that is not of events is one list, also when it holds an error only.
      return exchange.isList ? [body] : body;
    }
    case 'cohere':
      return { id: exchange.id, message: said };
    default:
      return { error: { message, type, param, code } };
  }
}
