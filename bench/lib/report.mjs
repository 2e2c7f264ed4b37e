// What a run says at its end: the table, what its columns are, where the rows come from, and the project's aims.
import { SPREADS } from './pairs.mjs';
import { aims, pairsTable, rowsTable, table } from './table.mjs';

const kb = (bytes) => `${(bytes / 1000).toFixed(0)} KB`;

export function report({ columns, size, results, rows, sizes, faults, rounds, pairs }) {
  const parts = [];
  if (columns.length > 0) {
    parts.push(
      table(columns, results, rounds, size.memory),
      `Medians of ${size.rounds} interleaved round${size.rounds > 1 ? 's' : ''}; in brackets the ratio to the floor and to ` +
        "the floor with money, itself the median of each round's. One `workerd serve` process per column, asked on its own loopback socket.",
    );
  }
  if (sizes) {
    parts.push(
      'Full path: key, catalogue, plan, hold, relay, settle, outbox. Plan only: `POST /v1/route`, the explained plan, which ' +
        'holds nothing and calls no upstream. Anthropic and Gemini to chat: streams that are translated, with ratios to those ' +
        "of the full path. KV and D1 are the bench's stand-ins inside the same process, so their CPU and " +
        'memory count for the product.',
      `Wasm gzipped ${kb(sizes.wasm_gzipped)}, the whole Worker ${kb(sizes.worker_gzipped)}.`,
    );
  }
  if (pairs.length > 0) parts.push(pairsTable(pairs, SPREADS));
  if (rows.full) parts.push(rowsTable(rows.full));
  parts.push(aims(results, rounds), ...faults.map((fault) => `FAULT ${fault}`));
  return `\n${parts.filter(Boolean).join('\n\n')}\n`;
}
