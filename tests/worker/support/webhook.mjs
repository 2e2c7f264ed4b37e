// A receiver of the gateway's webhooks on this machine, which checks every signature.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

/**
 * Starts a receiver.
 * @param {string} secret
 * @returns {Promise<{url: string, messages: object[], failures: number, close: () => Promise<void>}>}
 *   `messages`: what came, oldest first, as {body, isSigned, status}; set `failures` to answer so
 *   many of the next with 500.
 */
export async function startReceiver(secret) {
  const receiver = { messages: [], failures: 0 };
  const server = createServer(async (request, response) => {
    const text = (await Array.fromAsync(request)).join('');
    const status = receiver.failures > 0 ? 500 : 204;
    if (status === 500) receiver.failures -= 1;
    receiver.messages.push({ body: JSON.parse(text), isSigned: isSigned(secret, request.headers['tokens-forge-signature'], text), status });
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
