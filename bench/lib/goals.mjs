// The project's goals beside what was measured. Nothing fails when one is missed.
import { compared, digits } from './statistics.mjs';

/** F is the floor, M the floor with money, R the pass-through in Rust, which is only started, P Portkey's Worker without money. */
const BASES = { F: 'floor', M: 'money', R: 'rust', P: 'portkey' };
const more = (ours, theirs) => ours - theirs;
const itself = (ours) => ours;

const GOALS = [
  { name: 'p50 at 1 connection', key: 'p50', base: 'M', must: '≤ 1.2', stretch: '1.0' },
  { name: 'CPU for a request at 16', key: 'cpu_16', base: 'M', must: '≤ 1.15', stretch: '0.9' },
  { name: 'CPU for a request at 64', key: 'cpu_64', base: 'M', must: '≤ 1.15', stretch: '0.9' },
  { name: 'requests/s at 16', key: 'per_second_16', base: 'M', must: '≥ 1.3', stretch: '1.6' },
  { name: 'requests/s at 64', key: 'per_second_64', base: 'M', must: '≥ 1.4', stretch: '1.6' },
  { name: 'pairs/s on one account, 16 lanes', key: 'pairs_1', base: 'M', must: '≥ 2.5', stretch: '3.5' },
  { name: 'CPU of a stream of 200 chunks, burst', key: 'cpu_per_stream', base: 'F', must: '≤ 4.5', stretch: '3.5' },
  { name: 'CPU of a stream of 200 chunks, paced', key: 'cpu_per_paced', base: 'F', must: '≤ 3.5', stretch: '3.0' },
  { name: 'first chunk, ms more than', key: 'first_chunk', base: 'M', how: more, must: '≤ 0.5', stretch: '0.2' },
  { name: '100 KB prompt, CPU', key: 'cpu_long', base: 'M', must: '≤ 1.8', stretch: '1.3' },
  { name: 'memory after N requests', key: 'memory', base: 'M', must: '≤ 2.0', stretch: '1.5' },
  { name: '… to that after half of them', key: 'memory_growth', how: itself, must: 'flat', stretch: '' },
  { name: 'start of the process to the first answer', key: 'start', base: 'R', must: '≤ 1.3', stretch: '' },
  { name: 'rows written by a lone request', key: 'rows_alone', how: itself, must: '≤ 8', stretch: '6' },
  { name: 'rows written under load', key: 'rows_plain_16', how: itself, must: '≤ 4.5', stretch: '4' },
  { name: 'CPU for a request at 16', key: 'cpu_16', base: 'P', must: '< 1', stretch: '' },
  { name: 'requests/s at 16', key: 'per_second_16', base: 'P', must: '> 1', stretch: '' },
  { name: 'p50 at 1 connection', key: 'p50', base: 'P', must: '', stretch: '1' },
];

function cell(found) {
  if (!found) return '-';
  const [middle, low, high] = [found.median, found.low, found.high].map(digits);
  return low === high ? middle : `${middle} (${low} to ${high})`;
}

/** One line for each goal, of each build; of several, also how the first compares to the others. */
export function goalsTable(rounds, builds, requests) {
  const [first, ...others] = builds;
  const against = others.map((other) => `${first.label} to ${other.label}`.replaceAll('full path ', ''));
  const lines = GOALS.map(({ name, key, base, how, must, stretch }) => {
    const measured = builds.map((build) => cell(compared(rounds, key, build.name, BASES[base], how)));
    const ratios = others.map((other) => cell(compared(rounds, key, first.name, other.name)));
    return { measured, cells: [name.replace(' N ', ` ${requests.toLocaleString('en')} `), base ?? '', ...measured, ...ratios, must, stretch] };
  }).filter(({ measured }) => measured.some((text) => text !== '-'));
  const head = ['goal', 'to', ...builds.map(({ label }) => label), ...against, 'must', 'stretch'];
  const rows = [head, head.map(() => '---'), ...lines.map(({ cells }) => cells)];
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
