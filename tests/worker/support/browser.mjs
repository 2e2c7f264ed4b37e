// A real Chromium, and what is looked at on every page: nothing fails, nothing is asked of anybody else, nothing is inline,
// everything can be reached by keyboard and read by everyone.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Where screenshots go, if anywhere. */
const album = process.env.TF_SCREENSHOTS;

export const widths = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 }, narrow: { width: 360, height: 740 } };

export function startBrowser() {
  // The sandbox does not start for root; it loads nothing but the pages under test.
  const quiet = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  return chromium.launch({ executablePath: process.env.TF_CHROMIUM || '/usr/bin/chromium', args: quiet });
}

/** A tab that remembers everything that should not happen. */
export async function openTab(browser, { theme = 'light', width = 'desktop', script = true, url }) {
  const context = await browser.newContext({ colorScheme: theme, viewport: widths[width], javaScriptEnabled: script, baseURL: url });
  const tab = await context.newPage();
  const faults = [];
  tab.on('console', (message) => ['error', 'warning'].includes(message.type()) && faults.push(`console: ${message.text()}`));
  tab.on('pageerror', (error) => faults.push(`script: ${error.message}`));
  tab.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  tab.on('request', (request) => request.url().startsWith(url) || request.url().startsWith('data:') || faults.push(`asked elsewhere: ${request.url()}`));
  // What is still on its way when the next page is opened is given up by the browser itself.
  const isGivenUp = (request) => request.failure()?.errorText === 'net::ERR_ABORTED';
  tab.on('requestfailed', (request) => isGivenUp(request) || faults.push(`failed: ${request.url()}`));
  return { tab, faults, context, close: () => context.close() };
}

/** What axe finds, in one line each. */
export async function accessibilityFaults(tab) {
  // By the browser's own door: the page's policy allows no such script.
  const { result } = await (await tab.context().newCDPSession(tab)).send('Runtime.evaluate', {
    expression: `${axe}; axe.run(document, {resultTypes: ['violations']}).then((found) => JSON.stringify(found.violations))`,
    awaitPromise: true,
  });
  return JSON.parse(result.value).map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).slice(0, 3).join(', ')}`);
}

/** Whether the page is wider than its window. */
export function sidewaysPixels(tab) {
  return tab.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}

/** What cannot be reached by Tab alone, of all that can be clicked or typed into. */
export async function unreachable(tab) {
  const count = await tab.evaluate(() => {
    const all = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')];
    window.reached = new Set();
    window.wanted = all.filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.disabled);
    document.addEventListener('focusin', (event) => window.reached.add(event.target));
    document.activeElement?.blur();
    // What scrolls is reached on the way.
    return window.wanted.length + document.querySelectorAll('[tabindex="0"]').length;
  });
  for (let n = 0; n < count + 8; n += 1) await tab.keyboard.press('Tab');
  return tab.evaluate(() => window.wanted.filter((element) => !window.reached.has(element)).map((element) => element.outerHTML.slice(0, 120)));
}

/** Handlers and styles that stand in the page itself. */
export function inlined(tab) {
  return tab.evaluate(() => {
    const found = [];
    for (const element of document.querySelectorAll('*')) {
      for (const { name } of element.attributes) if (name === 'style' || name.startsWith('on')) found.push(`${element.tagName} ${name}`);
    }
    for (const element of document.querySelectorAll('script:not([src]), style')) found.push(element.outerHTML.slice(0, 80));
    return found;
  });
}

export async function photograph(tab, name) {
  if (!album) return;
  mkdirSync(album, { recursive: true });
  await tab.screenshot({ path: join(album, `${name}.png`), fullPage: true, caret: 'initial' });
}

/** Everything that holds for every page. */
export async function checkPage({ tab, faults }, name) {
  assert.deepEqual(await inlined(tab), [], `${name}: something is inline`);
  assert.ok((await sidewaysPixels(tab)) <= 0, `${name} is wider than its window by ${await sidewaysPixels(tab)} px`);
  assert.deepEqual(await accessibilityFaults(tab), [], `${name}: not accessible`);
  assert.deepEqual(faults, [], `${name}: something happened that should not`);
  await photograph(tab, name);
}
