// The results as a markdown table: one column per Worker, each number with its ratio to the floors of the same run.

const digits = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const ms = (microseconds) => microseconds / 1000;

/** Chunks in a stream of the load generator's upstream. */
const CHUNKS = 200;

export const METRICS = [
  { key: 'p50', name: 'p50 at 1 connection, ms' },
  { key: 'p99', name: 'p99 at 1 connection, ms' },
  { key: 'per_second', name: 'requests/s at 16 connections' },
  { key: 'cpu_per_1000', name: 'CPU s per 1,000 requests at 16' },
  { key: 'first_chunk', name: '200-chunk burst at 1: first chunk, ms' },
  { key: 'stream', name: '200-chunk burst at 1: whole stream, ms' },
  { key: 'cpu_per_stream', name: '200-chunk burst at 16: CPU ms per stream' },
  { key: 'cpu_per_chunks', name: '… CPU ms per 1,000 chunks' },
  { key: 'cpu_per_paced', name: '200 chunks, one per 5 ms, at 16: CPU ms per stream' },
  { key: 'late_p50', name: '… lateness of a chunk, p50, ms' },
  { key: 'late_p99', name: '… lateness of a chunk, p99, ms' },
  { key: 'late_max', name: '… lateness of a chunk, max, ms' },
  { key: 'rows_1', name: 'rows written per request at 1 (object + D1)' },
  { key: 'rows_16', name: 'rows written per request at 16 (object + D1)' },
  { key: 'memory_start', name: 'memory after the first answer, MB' },
  { key: 'memory', name: 'memory after N requests, MB' },
  { key: 'start', name: 'process start to first answer, ms' },
];

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Each metric's median over the rounds; of the worst case, the worst. */
export function medians(rounds) {
  const keys = new Set(rounds.flatMap(Object.keys));
  const of = (key) => rounds.map((round) => round[key]).filter((value) => value !== undefined);
  return Object.fromEntries([...keys].map((key) => [key, key === 'late_max' ? Math.max(...of(key)) : median(of(key))]));
}

/** One round of one Worker, from what the load and /proc said. */
export function roundMetrics({ one, many, burst, bursts, paced }) {
  const cpu = (part) => part && part.run.requests > 0 && (part.cpu / part.run.requests) * 1000;
  const found = {
    p50: one && ms(one.run.total_us.p50),
    p99: one && ms(one.run.total_us.p99),
    per_second: many?.run.per_second,
    cpu_per_1000: cpu(many),
    first_chunk: burst && ms(burst.run.first_us.p50),
    stream: burst && ms(burst.run.total_us.p50),
    cpu_per_stream: cpu(bursts),
    cpu_per_chunks: cpu(bursts) * (1000 / CHUNKS),
    cpu_per_paced: cpu(paced),
    late_p50: paced && ms(paced.run.late_us.p50),
    late_p99: paced && ms(paced.run.late_us.p99),
    late_max: paced && ms(paced.run.late_us.max),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => Number.isFinite(value)));
}

/** How one Worker compares to another: the median of each round's own ratio, since noise comes and goes with the rounds. */
function ratio(key, name, base, results, rounds) {
  const each = rounds.map((round) => round[name]?.[key] / round[base]?.[key]).filter(Number.isFinite);
  return each.length > 0 ? median(each) : results[name]?.[key] / results[base]?.[key];
}

const BASES = { floor: [], money: ['floor'], full: ['floor', 'money'], plan: ['floor', 'money'], anthropic: ['full'], gemini: ['full'], upstream: [] };

function cell(key, name, results, rounds) {
  const value = results[name]?.[key];
  if (typeof value !== 'number') return '-';
  const ratios = BASES[name].map((base) => ratio(key, name, base, results, rounds)).filter(Number.isFinite);
  return ratios.length > 0 ? `${digits(value)} (${ratios.map((times) => `${digits(times)}×`).join(', ')})` : digits(value);
}

export function table(workers, results, rounds, requests) {
  const lines = [
    `| | ${workers.map((worker) => worker.label).join(' | ')} |`,
    `| --- |${workers.map(() => ' --- |').join('')}`,
  ];
  for (const { key, name } of METRICS) {
    const cells = workers.map((worker) => cell(key, worker.name, results, rounds));
    if (cells.every((text) => text === '-')) continue;
    lines.push(`| ${name.replace(' N ', ` ${requests.toLocaleString('en')} `)} | ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

/** Where the rows of one request come from, for requests with and without what costs rows of its own. */
export function rowsTable(counts) {
  const found = Object.values(counts);
  const line = (name, of) => `| ${name} | ${found.map((counted) => (of(counted) ?? 0).toFixed(2)).join(' | ')} |`;
  const lines = (place, title) => {
    const names = new Set(found.flatMap((counted) => Object.keys(counted[place])));
    return [...names].map((name) => line(`${title}: ${name}`, (counted) => counted[place][name]));
  };
  return [
    `| rows written per request of the full path | ${found.map(({ label }) => label).join(' | ')} |`,
    `| --- |${' --- |'.repeat(found.length)}`,
    line('all', (counted) => counted.total),
    ...lines('object', 'object'),
    ...lines('d1', 'D1'),
    line('(KV, writes)', (counted) => counted.kv_writes),
    line('(KV, reads)', (counted) => counted.kv_reads),
  ].join('\n');
}

/** Holds with their settlements straight at the account objects: a second, and what a pair costs in all. */
export function pairsTable(rounds, spreads) {
  const results = Object.fromEntries(['money', 'full'].map((name) => [name, medians(rounds.map((round) => round[name]))]));
  const line = (title, key) => {
    const times = ratio(key, 'full', 'money', results, rounds);
    const ours = `${digits(results.full[key])} (${digits(times)}×)`;
    return `| ${title} | ${digits(results.money[key])} | ${ours} |`;
  };
  const over = ({ accounts, lanes }) => `${accounts === 1 ? 'one account' : `${accounts} accounts`}, ${lanes} at a time`;
  return [
    "| holds and settlements, without a gateway in front | the floor's object | the product's object |",
    '| --- | --- | --- |',
    ...spreads.map((spread) => line(`pairs/s on ${over(spread)}`, `pairs_${spread.accounts}`)),
    ...spreads.map((spread) => line(`CPU ms per pair on ${over(spread)}`, `pair_cpu_${spread.accounts}`)),
  ].join('\n');
}

/** What the project aims for, against what was measured. */
export function aims(results, rounds) {
  const { floor, money, full } = results;
  if (!floor || !money || !full) return '';
  const times = (key, base) => ratio(key, 'full', base, results, rounds);
  const list = [
    ['p50 at 1 / floor with money', times('p50', 'money'), 1.2, '×'],
    ['requests/s at 16: floor with money / ours', 1 / times('per_second', 'money'), 1, '×'],
    ['burst CPU per stream / floor', times('cpu_per_stream', 'floor'), 5, '×'],
    ['paced CPU per stream / floor', times('cpu_per_paced', 'floor'), 5, '×'],
    ["first chunk, ms after the floor with money's", full.first_chunk - money.first_chunk, 1, ' ms'],
    ['rows written per request at 1', full.rows_1, 6, ''],
    ['rows written per request at 16', full.rows_16, 6, ''],
    ['rows written per request with a run', full.rows_run, 6, ''],
  ];
  const rows = list
    .filter(([, value]) => Number.isFinite(value))
    .map(
      ([name, value, aim, unit]) =>
        `| ${name} | ${digits(value)}${unit} | ≤ ${aim}${unit} | ${value <= aim ? 'yes' : 'no'} |`,
    );
  return ['| aim | measured | wanted | reached |', '| --- | --- | --- | --- |', ...rows].join('\n');
}
