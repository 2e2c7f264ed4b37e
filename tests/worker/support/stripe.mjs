// A small simulated Stripe: the one endpoint of its API that is called, with Stripe's rules about
// idempotency keys, and the sender of signed webhooks.
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';

export const stripeKey = 'sk_test_51NeverToBeShown';
export const webhookSecret = 'whsec_neverToBeShownEither';

/**
 * Starts Stripe.
 * `calls` holds what came: {path, headers, form}, the form as an object. `scripts` maps an amount in
 * smallest units, as text, to a function (response, call) that answers in place of a good session.
 */
export async function startStripe() {
  const [calls, scripts, pages] = [[], new Map(), new Map()];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const raw = Buffer.concat(parts).toString();
    const call = { method: request.method, path: request.url, headers: request.headers, raw, form: Object.fromEntries(new URLSearchParams(raw)) };
    calls.push(call);
    const script = scripts.get(call.form['line_items[0][price_data][unit_amount]']);
    if (script) return script(response, call);
    const key = request.headers['idempotency-key'];
    const known = pages.get(key);
    if (known?.isOpen) return json(response, 409, { error: { type: 'idempotency_error', message: 'There is currently another in-progress request using this Stripe idempotency key.' } });
    if (known && known.raw !== raw) return json(response, 400, { error: { type: 'idempotency_error', message: 'Keys for idempotent requests can only be used with the same parameters they were first used with.' } });
    const page = known ?? { raw, isOpen: true, session: newSession(call.form, pages.size + 1) };
    pages.set(key, page);
    setTimeout(() => {
      page.isOpen = false;
      json(response, 200, page.session);
    }, 20);
  });
  server.keepAliveTimeout = 0;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    calls,
    scripts,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

export function json(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function newSession(form, number) {
  const id = `cs_test_${String(number).padStart(6, '0')}`;
  return {
    id,
    object: 'checkout.session',
    status: 'open',
    payment_status: 'unpaid',
    client_reference_id: form.client_reference_id,
    url: `https://checkout.stripe.com/c/pay/${id}`,
  };
}

let events = 0;

/** An event as Stripe sends it; each has its own id. */
export function event(type, object) {
  events += 1;
  return { id: `evt_${events}`, object: 'event', api_version: '2025-03-31.basil', created: Math.floor(Date.now() / 1000), livemode: false, type, data: { object } };
}

const cents = (amount) => Math.round(Number(amount) * 100);
const metadataOf = ({ account, id }) => ({ account, order: id });
/** The payment that an order has in these tests. */
export const paymentOf = (order) => `pi_${order.id}`;

/** The session of an order, paid as ordered unless `more` says otherwise. */
export function session(order, more = {}) {
  return {
    id: order.session,
    object: 'checkout.session',
    client_reference_id: order.id,
    status: 'complete',
    payment_status: 'paid',
    amount_total: cents(order.amount),
    currency: order.currency.toLowerCase(),
    payment_intent: paymentOf(order),
    metadata: metadataOf(order),
    ...more,
  };
}

export const completed = (order, more) => event('checkout.session.completed', session(order, more));
export const expired = (order) => event('checkout.session.expired', session(order, { status: 'expired', payment_status: 'unpaid', payment_intent: null }));

/** So much of an order was refunded in all. Stripe copies the payment's metadata to the charge. */
export function refunded(order, total, more = {}) {
  const charge = { id: `ch_${order.id}`, object: 'charge', amount: cents(order.amount), amount_refunded: cents(total), currency: order.currency.toLowerCase() };
  return event('charge.refunded', { ...charge, payment_intent: paymentOf(order), metadata: metadataOf(order), ...more });
}

/** A dispute names the payment, and nothing of the order. `kind` is withdrawn or reinstated. */
export function dispute(kind, order, amount = order.amount, id = `du_${order.id}`) {
  const object = { id, object: 'dispute', amount: cents(amount), currency: order.currency.toLowerCase(), payment_intent: paymentOf(order), metadata: {} };
  return event(`charge.dispute.funds_${kind}`, object);
}

/** Stripe's published scheme, <https://docs.stripe.com/webhooks#verify-manually>. */
export function signature(body, { secret = webhookSecret, at = Math.floor(Date.now() / 1000) } = {}) {
  return `t=${at},v1=${createHmac('sha256', secret).update(`${at}.${body}`).digest('hex')}`;
}

/**
 * Sends an event, or a text as it is, to a gateway.
 * @param {{secret?: string, at?: number, header?: string | null}} [options] `header` in place of a good one, null for none
 */
export async function deliver(url, message, { header, ...signed } = {}) {
  const body = typeof message === 'string' ? message : JSON.stringify(message);
  const sent = header === undefined ? signature(body, signed) : header;
  const response = await fetch(`${url}/webhooks/stripe`, {
    method: 'POST',
    headers: { 'content-type': 'application/json; charset=utf-8', ...(sent !== null && { 'stripe-signature': sent }) },
    body,
  });
  const text = await response.text();
  return { status: response.status, text, body: JSON.parse(text) };
}
