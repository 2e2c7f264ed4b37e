// A stand-in for KV, in the protocol that the runtime's KV binding speaks: values in memory, and on disk behind it so that
// they outlive a restart. A read costs one hop to another Worker in the same process, and that CPU counts.
const values = new Map();
const counts = { reads: 0, writes: 0 };

async function get(env, name) {
  if (!values.has(name)) {
    const file = await env.DISK.fetch(`http://disk/${name}`);
    values.set(name, file.ok ? await file.arrayBuffer() : null);
  }
  return values.get(name);
}

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    if (url.pathname === '/__counts') return Response.json(counts);
    // Twice: once for the URL, once because a file's name has to be harmless too.
    const name = encodeURIComponent(encodeURIComponent(decodeURIComponent(url.pathname.slice(1))));
    if (request.method === 'GET' && url.pathname !== '/') {
      counts.reads += 1;
      const value = await get(env, name);
      return value === null ? new Response('not found', { status: 404 }) : new Response(value);
    }
    if (request.method === 'PUT') {
      counts.writes += 1;
      const value = await request.arrayBuffer();
      values.set(name, value);
      await env.DISK.fetch(`http://disk/${name}`, { method: 'PUT', body: value });
      return new Response(null);
    }
    if (request.method === 'DELETE') {
      counts.writes += 1;
      values.set(name, null);
      await env.DISK.fetch(`http://disk/${name}`, { method: 'DELETE' });
      return new Response(null);
    }
    return new Response(`the bench's KV stand-in cannot ${request.method} ${url.pathname}`, { status: 501 });
  },
};
