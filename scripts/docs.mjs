// The documentation in docs/ as pages under /docs/, in the frame of all pages and without need of a script. What only who changes
// the gateway wants (docs/internals, ARCHITECTURE.md, the benchmark) stays in the repository: a link to it becomes plain text. The
// decisions are pages, because the others answer "why" by them. A link to what is not there is a Failure.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, posix } from 'node:path';
import { Marked } from 'marked';
import { Failure, root } from './shell.mjs';

const folders = ['use', 'operate', 'reference', 'decisions'];
const read = (path) => readFileSync(join(root, path), 'utf8');
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Every page: its path below the assets, and its HTML. */
export function documentation() {
  const sources = new Map([['docs/README.md', index()], ['docs/status.md', read('docs/status.md')]]);
  for (const folder of folders) {
    const names = readdirSync(join(root, 'docs', folder)).filter((name) => name.endsWith('.md')).sort();
    for (const name of names) sources.set(`docs/${folder}/${name}`, read(`docs/${folder}/${name}`));
  }
  const pages = new Map([...sources].map(([path, text]) => [path, parsed(path, text)]));
  const decisions = [...pages.values()].filter(({ path }) => path.startsWith('docs/decisions/'));
  const list = `# Decisions\n\nWhy it is built this way, one page for each choice that surprises.\n\n${decisions.map(({ path, title }) => `- [${title}](${posix.basename(path)})`).join('\n')}\n`;
  pages.set('docs/decisions/README.md', parsed('docs/decisions/README.md', list));
  return [...pages.values()].map((page) => [fileOf(page.path), framed(page, pages)]);
}

/** The index, without its part for who changes the gateway. */
const index = () => read('docs/README.md').split(/^## Change$/m)[0];

/** What a file becomes: `docs/use/money.md` is `docs/use/money.html`, which the platform answers at `/docs/use/money`. */
const fileOf = (path) => path.replace(/README\.md$/, 'index.md').replace(/md$/, 'html');
const addressOf = (path) => `/${fileOf(path).replace(/(index)?\.html$/, '')}`;

/** A file as tokens, with the ids of its headings as GitHub makes them. */
function parsed(path, text) {
  const marked = new Marked({ gfm: true });
  const tokens = marked.lexer(text);
  const [headings, ids] = [[], new Map()];
  marked.walkTokens(tokens, (token) => {
    if (token.type !== 'heading') return;
    const words = plain(token.tokens);
    const base = words.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(/\s/g, '-');
    const before = ids.get(base) ?? 0;
    ids.set(base, before + 1);
    token.id = before === 0 ? base : `${base}-${before}`;
    headings.push({ depth: token.depth, text: words, id: token.id });
  });
  return { path, marked, tokens, headings, title: headings[0].text };
}

/** The words of inline tokens. */
const plain = (tokens) => tokens.map((token) => (token.tokens ? plain(token.tokens) : token.type === 'image' ? '' : unescaped(token.text))).join('');
const unescaped = (text = '') => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&');

/** Where a link of a page leads; undefined if that is in the repository alone. */
function target(page, href, pages) {
  if (/^https?:\/\//.test(href)) return href;
  const [file, id] = href.split('#');
  const path = file === '' ? page.path : posix.normalize(posix.join(posix.dirname(page.path), file));
  const found = pages.get(path) ?? pages.get(`${path}/README.md`);
  if (found && (id === undefined || found.headings.some((heading) => heading.id === id))) {
    return (found === page ? '' : addressOf(found.path)) + (id === undefined ? '' : `#${id}`);
  }
  if (found || !existsSync(join(root, path))) throw new Failure(`${page.path}: the link to ${href} leads nowhere`);
}

/** The HTML of a page's text. */
function content(page, pages) {
  page.marked.use({
    renderer: {
      heading({ tokens, depth, id }) {
        return `<h${depth} id="${id}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
      },
      link({ href, tokens }) {
        const [to, text] = [target(page, href, pages), this.parser.parseInline(tokens)];
        return to === undefined ? text : `<a href="${escaped(to)}">${text}</a>`;
      },
      code({ text, lang }) {
        return `<div class="code"><pre tabindex="0" role="group" aria-label="${escaped(lang ? `Example, ${lang}` : 'Example')}"><code>${escaped(text)}</code></pre></div>\n`;
      },
      table({ header, rows }) {
        const cell = (tag, { tokens }) => `<${tokens.length > 0 ? tag : 'td'}>${this.parser.parseInline(tokens)}</${tokens.length > 0 ? tag.split(' ')[0] : 'td'}>`;
        const row = (tag, cells) => `<tr>${cells.map((one) => cell(tag, one)).join('')}</tr>\n`;
        return `<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>\n<thead>${row('th scope="col"', header)}</thead>\n<tbody>${rows.map((cells) => row('td', cells)).join('')}</tbody>\n</table></div>\n`;
      },
      // Nothing but notes to who writes the files.
      html: () => '',
      image() {
        throw new Failure(`${page.path} has an image, which no page shows yet`);
      },
    },
  });
  return page.marked.parser(page.tokens);
}

/** The first paragraph in one line, for search engines. */
function summary({ tokens }) {
  const text = plain(tokens.find(({ type }) => type === 'paragraph')?.tokens ?? []).replaceAll(/\s+/g, ' ');
  return text.length <= 160 ? text : `${text.slice(0, 157).replace(/\s\S*$/, '')} ...`;
}

/** FNV-1a, as in src/pages/frame.rs. */
function versioned(path) {
  const hash = readFileSync(join(root, 'src/pages/assets', path)).reduce((hash, byte) => BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n), 0xcbf29ce484222325n);
  return `/${path}?v=${hash.toString(16).padStart(16, '0')}`;
}

const [style, script] = [versioned('style.css'), versioned('script.js')];
const part = (name) => read(`src/pages/templates/${name}.html`).trim();
const [brand, places] = [part('brand'), part('places')];

/** The menu, which is what the index lists under its headings. */
function menu(pages, here) {
  const index = pages.get('docs/README.md');
  const parts = index.tokens.map((token) => {
    if (token.type === 'heading' && token.depth === 2) return `<h3>${escaped(token.text)}</h3>`;
    if (token.type !== 'list') return '';
    const links = [];
    index.marked.walkTokens([token], (inner) => inner.type === 'link' && links.push(inner));
    const entry = ({ href, text }) => {
      const to = target(index, href, pages);
      return `<li><a href="${to}"${to === here ? ' aria-current="page"' : ''}>${escaped(text)}</a></li>`;
    };
    return `<ul>\n${links.map(entry).join('\n')}\n</ul>`;
  });
  return parts.filter(Boolean).join('\n');
}

/** A page in the frame of all pages, see src/pages/templates/frame.html. */
function framed(page, pages) {
  const here = addressOf(page.path);
  const chapters = page.headings.filter(({ depth }) => depth === 2);
  const chapter = ({ id, text }) => `<li><a href="#${id}">${escaped(text)}</a></li>`;
  const contents = chapters.length < 3 ? '' : `<details class="contents"><summary>On this page</summary>\n<ul>\n${chapters.map(chapter).join('\n')}\n</ul>\n</details>\n`;
  const [title, text] = content(page, pages).split(/(?<=<\/h1>\n)/);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="description" content="${escaped(summary(page))}">
<title>${escaped(page.title)} · tokens-forge</title>
<link rel="stylesheet" href="${style}">
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<script src="${script}" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<div class="wrap">
${brand}
<nav aria-label="Main">
<ul>
<li><a href="/models">Models</a></li>
<li><a href="/status">Status</a></li>
<li><a href="/docs/" aria-current="${here === '/docs/' ? 'page' : 'true'}">Docs</a></li>
</ul>
</nav>
</div>
</header>
<div class="wrap docs">
<main id="main" tabindex="-1">
${title}${contents}${text}</main>
<nav class="menu" aria-label="Documentation">
<h2>Documentation</h2>
${menu(pages, here)}
</nav>
</div>
<footer class="bottom">
<div class="wrap">
<nav aria-label="More">
${places}
</nav>
</div>
</footer>
</body>
</html>
`;
}
