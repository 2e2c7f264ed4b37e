import * as wasm from 'bindings';

export default { fetch: (request, env, context) => wasm.fetch(request, env, context) };
