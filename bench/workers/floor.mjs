// The floor: the least that any gateway on this runtime does. Nothing is read, nothing is kept.
export default {
  fetch(request, env) {
    const { pathname } = new URL(request.url);
    return fetch(env.UPSTREAM + pathname, { method: request.method, headers: request.headers, body: request.body });
  },
};
