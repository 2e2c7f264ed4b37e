// A receiver of the gateway's webhooks on this machine, which checks every signature.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

/**
 * Starts a receiver.
 * @param {string} secret
 * @returns {Promise<{url: string, messages: object[], failures: Map<string, number>, close: () => Promise<void>}>}
 *   `messages`: what came, oldest first, as {body, isSigned, status}; `failures`: how many of the
 *   next messages about an account are answered with 500.
 */
export async function startReceiver(secret) {
  const receiver = { messages: [], failures: new Map() };
  const server = createServer(async (request, response) => {
    const text = (await Array.fromAsync(request)).join('');
    const body = JSON.parse(text);
    const failures = receiver.failures.get(body.account) ?? 0;
    const status = failures > 0 ? 500 : 204;
    if (failures > 0) receiver.failures.set(body.account, failures - 1);
    receiver.messages.push({ body, isSigned: isSigned(secret, request.headers['tokens-forge-signature'], text), status });
    response.writeHead(status).end();
  });
  server.keepAliveTimeout = 0;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  receiver.url = `http://127.0.0.1:${server.address().port}/alerts`;
  receiver.close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return receiver;
}

/** Whether a header `t=<seconds>,v1=<hex>` signs a text, and did so within five minutes. */
function isSigned(secret, header, text) {
  const [, seconds, hex] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(header ?? '') ?? [];
  if (hex === undefined || Math.abs(Date.now() / 1000 - Number(seconds)) > 300) return false;
  const expected = createHmac('sha256', secret).update(`${seconds}.${text}`).digest();
  return timingSafeEqual(expected, Buffer.from(hex, 'hex'));
}
