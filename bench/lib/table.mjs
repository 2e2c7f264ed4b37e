// The results as markdown tables: one column per Worker, each number with its ratio to the floors of the same run.
import { compared, digits } from './statistics.mjs';

const METRICS = [
  { key: 'p50', name: 'p50 at 1 connection, ms' },
  { key: 'p99', name: 'p99 at 1 connection, ms' },
  { key: 'per_second_16', name: 'requests/s at 16 connections' },
  { key: 'per_second_64', name: 'requests/s at 64 connections' },
  { key: 'cpu_16', name: 'CPU ms per request at 16' },
  { key: 'cpu_64', name: 'CPU ms per request at 64' },
  { key: 'cpu_long', name: '100 KB prompt, at 16: CPU ms per request' },
  { key: 'first_chunk', name: '200-chunk burst at 1: first chunk, ms' },
  { key: 'stream', name: '200-chunk burst at 1: whole stream, ms' },
  { key: 'cpu_per_stream', name: '200-chunk burst at 16: CPU ms per stream' },
  { key: 'cpu_per_paced', name: '200 chunks, one per 5 ms, at 16: CPU ms per stream' },
  { key: 'late_p50', name: '… lateness of a chunk, p50, ms' },
  { key: 'late_p99', name: '… lateness of a chunk, p99, ms' },
  { key: 'late_max', name: '… lateness of a chunk, max, ms' },
  { key: 'rows_alone', name: 'rows written by a lone request (object + D1)' },
  { key: 'rows_plain_1', name: 'rows written per request at 1 (object + D1)' },
  { key: 'rows_plain_16', name: 'rows written per request at 16 (object + D1)' },
  { key: 'memory_start', name: 'memory after the first answer, MB' },
  { key: 'memory', name: 'memory after N requests, MB' },
  { key: 'start', name: 'process start to first answer, ms' },
];

function cell(key, { name, bases }, results, rounds) {
  const value = results[name]?.[key];
  if (value === undefined) return '-';
  const ratios = bases.map((base) => compared(rounds, key, name, base)).filter(Boolean);
  return ratios.length > 0 ? `${digits(value)} (${ratios.map(({ median }) => `${digits(median)}×`).join(', ')})` : digits(value);
}

export function table(workers, results, rounds, requests) {
  const lines = [
    `| | ${workers.map((worker) => worker.label).join(' | ')} |`,
    `| --- |${workers.map(() => ' --- |').join('')}`,
  ];
  for (const { key, name } of METRICS) {
    const cells = workers.map((worker) => cell(key, worker, results, rounds));
    if (cells.every((text) => text === '-')) continue;
    lines.push(`| ${name.replace(' N ', ` ${requests.toLocaleString('en')} `)} | ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

/** Where the rows of one request come from, for requests with and without what costs rows of its own. */
export function rowsTable(worker, counts) {
  const found = Object.values(counts);
  const line = (name, of) => `| ${name} | ${found.map((counted) => (of(counted) ?? 0).toFixed(2)).join(' | ')} |`;
  const lines = (place, title) => {
    const names = new Set(found.flatMap((counted) => Object.keys(counted[place])));
    return [...names].map((name) => line(`${title}: ${name}`, (counted) => counted[place][name]));
  };
  return [
    `| rows written per request, ${worker.label} | ${found.map(({ label }) => label).join(' | ')} |`,
    `| --- |${' --- |'.repeat(found.length)}`,
    line('all', (counted) => counted.total),
    ...lines('object', 'object'),
    ...lines('d1', 'D1'),
    line('(KV, writes)', (counted) => counted.kv_writes),
    line('(KV, reads)', (counted) => counted.kv_reads),
  ].join('\n');
}

/** Holds and settlements straight at the account objects: a second, and what a pair costs in all. */
export function pairsTable(builds, results, rounds, spreads) {
  const columns = [{ name: 'money', bases: [], label: "the floor's object" }, ...builds.map((build) => ({ ...build, bases: ['money'] }))];
  const line = (title, key) => `| ${title} | ${columns.map((column) => cell(key, column, results, rounds)).join(' | ')} |`;
  const over = ({ accounts, lanes }) => `${accounts === 1 ? 'one account' : `${accounts} accounts`}, ${lanes} at a time`;
  return [
    `| holds and settlements, without a gateway in front | ${columns.map(({ label }) => label).join(' | ')} |`,
    `| --- |${' --- |'.repeat(columns.length)}`,
    ...spreads.map((spread) => line(`pairs/s on ${over(spread)}`, `pairs_${spread.accounts}`)),
    ...spreads.map((spread) => line(`CPU ms per pair on ${over(spread)}`, `pair_cpu_${spread.accounts}`)),
  ].join('\n');
}
