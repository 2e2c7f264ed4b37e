// Secrets, before the gateway has them: which of them channels may name, and which can be guessed.
// The Worker decides by the same rules (src/catalog/secrets.rs, src/operator/strength.rs); here an
// operator is told while there is still somebody to tell. tests/worker/secrets.test.mjs holds both
// against each other.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './shell.mjs';

const own = ['ADMIN_', 'STRIPE_', 'SESSION_', 'ALERT_', 'TOPUP_', 'ALLOW_', 'PUBLIC_', 'TF_', 'CLOUDFLARE_', 'CF_', 'WRANGLER_'];
const ownNames = ['UPSTREAM_SECRETS', 'ACCOUNTS', 'CONFIG', 'DB'];
const examples = [
  'changeme', 'change-me', 'change_me', 'password', 'passwort', 'letmein', 'qwerty', 'placeholder', 'replace', 'example',
  'your-', 'your_', 'yoursecret', 'mysecret', 'supersecret', 'default', 'deadbeef', '0123456789',
];

/** What an operator chooses that must not be guessed. */
export const guarded = ['ADMIN_TOKEN', 'ADMIN_TOKEN_NEXT', 'SESSION_SECRET'];

/** Whether a name is a secret or setting of the gateway's own, which no channel gets. */
export const isOwn = (name) => ownNames.includes(name) || own.some((begin) => name.startsWith(begin));

/** Whether channels may name a secret, where these names are declared. */
export function isForChannels(name, declared) {
  return /^[A-Z][A-Z0-9_]{2,63}$/.test(name) && !isOwn(name) && (name.startsWith('UPSTREAM_') || declared.includes(name));
}

/** The names in a value of UPSTREAM_SECRETS. */
export const listed = (text) => (text ?? '').split(',').map((name) => name.trim()).filter(Boolean);

/** The names that wrangler.toml declares. */
export function declaredNames() {
  const text = readFileSync(join(root, 'wrangler.toml'), 'utf8');
  return listed(/^UPSTREAM_SECRETS\s*=\s*"""([^"]*)"""/m.exec(text)?.[1] ?? /^UPSTREAM_SECRETS\s*=\s*"([^"]*)"/m.exec(text)?.[1]);
}

/** Why a secret is too weak, after its name; undefined if it is not. */
export function weakness(secret) {
  const letters = [...secret];
  const steps = letters.filter((letter, n) => n > 0 && Math.abs(letter.codePointAt(0) - letters[n - 1].codePointAt(0)) > 1).length;
  const repeats = letters.some((_, period) => period > 0 && period <= letters.length / 2 && letters.every((letter, n) => n < period || letter === letters[n - period]));
  if (letters.length < 32) return 'is shorter than 32 characters';
  if (examples.some((word) => secret.toLowerCase().includes(word))) return 'has a word in it that stands in examples';
  if (new Set(letters).size < 8 || steps < 16 || repeats) return 'repeats itself';
  return undefined;
}
