// What a million paid requests cost on Cloudflare, from what was counted and measured. The prices are those beyond what the paid
// plan includes, in dollars for a million, as of December 2026; the page beside each has it. Storage is not in it.

const WORKERS = 'https://developers.cloudflare.com/workers/platform/pricing/';
const OBJECTS = 'https://developers.cloudflare.com/durable-objects/platform/pricing/';
const D1 = 'https://developers.cloudflare.com/d1/platform/pricing/';
const KV = 'https://developers.cloudflare.com/kv/platform/pricing/';

/** An object is billed for 128 MB while it works. */
const OBJECT_GB = 0.128;

const PRICES = [
  { part: 'requests of the Worker', dollars: 0.3, source: WORKERS, count: () => 1 },
  { part: 'CPU ms', dollars: 0.02, source: WORKERS, count: ({ cpu }) => cpu },
  { part: 'KV reads', dollars: 0.5, source: KV, count: ({ kv_reads }) => kv_reads },
  { part: 'requests of the object', dollars: 0.15, source: OBJECTS, count: ({ calls }) => calls },
  { part: 'GB-s of the object', dollars: 12.5, source: OBJECTS, count: ({ open_ms }) => (open_ms / 1000) * OBJECT_GB },
  { part: 'rows written in the object', dollars: 1, source: OBJECTS, count: ({ written }) => written.object },
  { part: 'rows read in the object', dollars: 0.001, source: OBJECTS, count: ({ read }) => read.object },
  { part: 'rows written in D1', dollars: 1, source: D1, count: ({ written }) => written.d1 },
  { part: 'rows read in D1', dollars: 0.001, source: D1, count: ({ read }) => read.d1 },
];

/** The cases that are priced, and the measured CPU of each. */
const CASES = [
  { name: 'alone', label: 'plain, alone', cpu: 'cpu_1' },
  { name: 'plain_16', label: 'plain, at 16', cpu: 'cpu_16' },
  { name: 'stream', label: 'streamed, at 16', cpu: 'cpu_per_stream' },
];

/** Each part as dollars, with its number for one request in brackets; a column for each case of each Worker that was counted. */
export function pricesTable(workers, rows, results) {
  const columns = workers.flatMap((worker) =>
    CASES.filter(({ name }) => rows[worker.name]?.[name]).map(({ name, label, cpu }) => ({
      label: `${worker.label}: ${label}`,
      counted: { ...rows[worker.name][name], cpu: results[worker.name][cpu] },
    })),
  );
  const count = (price, { counted }) => price.count(counted) || 0;
  const dollars = (price, column) => price.dollars * count(price, column);
  const cells = (price) => columns.map((column) => `${dollars(price, column).toFixed(3)} (${count(price, column).toPrecision(3)})`);
  const sums = columns.map((column) => PRICES.reduce((sum, price) => sum + dollars(price, column), 0).toFixed(2));
  return [
    `| dollars for a million requests | ${columns.map(({ label }) => label).join(' | ')} | for a million |`,
    `| --- |${' --- |'.repeat(columns.length + 1)}`,
    `| all | ${sums.join(' | ')} | |`,
    ...PRICES.map((price) => `| ${price.part} | ${cells(price).join(' | ')} | [${price.dollars}](${price.source}) |`),
  ].join('\n');
}
