// What a run says at its end: the tables, what their columns are, the goals and the prices.
import { goalsTable } from './goals.mjs';
import { SPREADS } from './pairs.mjs';
import { pricesTable } from './prices.mjs';
import { pairsTable, rowsTable, table } from './table.mjs';

const kb = (bytes) => `${(bytes / 1000).toFixed(0)} KB`;

const sizes = ({ label, product }) => {
  const modules = Object.entries(product.wasm).map(([name, bytes]) => `${name} ${kb(bytes)}`);
  return `${label}, ${product.folder}: gzipped, ${modules.join(', ')}, the whole Worker ${kb(product.worker_gzipped)}.`;
};

export function report({ columns, builds, size, results, rounds, rows, faults }) {
  const parts = [];
  if (columns.length > 0) {
    parts.push(
      table(columns, results, rounds, size.memory),
      `Medians of ${size.rounds} interleaved round${size.rounds > 1 ? 's' : ''}; in brackets the ratio to the floor and to ` +
        "the floor with money, itself the median of each round's. One `workerd serve` process per column, asked on its own loopback socket.",
    );
  }
  if (builds.length > 0) {
    parts.push(
      'Full path: key, catalogue, plan, hold, relay, settle, outbox. Plan only: `POST /v1/route`, the explained plan, which ' +
        'holds nothing and calls no upstream. Anthropic and Gemini to chat: streams that are translated, with ratios to those ' +
        "of the full path. KV and D1 are the bench's stand-ins inside the same process, so their CPU and " +
        'memory count for the product.',
      builds.map(sizes).join('\n'),
    );
  }
  if (rounds.some(({ money }) => money?.pairs_1 !== undefined)) parts.push(pairsTable(builds, results, rounds, SPREADS));
  for (const build of builds) if (rows[build.name]) parts.push(rowsTable(build, rows[build.name]));
  const priced = columns.filter(({ name }) => rows[name]);
  if (priced.length > 0) parts.push(pricesTable(priced, rows, results));
  if (builds.length > 0) parts.push(goalsTable(rounds, builds, size.memory));
  parts.push(...faults.map((fault) => `FAULT ${fault}`));
  return `\n${parts.join('\n\n')}\n`;
}
