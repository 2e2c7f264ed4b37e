// Numbers of several rounds. A round says of each Worker what it measured, `{ worker: { key: number } }`; not every round measures
// everything.

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Each Worker's numbers: medians over the rounds; of the worst case, the worst. */
export function results(rounds) {
  const found = {};
  for (const name of new Set(rounds.flatMap(Object.keys))) {
    const own = rounds.map((round) => round[name] ?? {});
    const of = (key) => own.map((numbers) => numbers[key]).filter(Number.isFinite);
    const keys = [...new Set(own.flatMap(Object.keys))].filter((key) => of(key).length > 0);
    found[name] = Object.fromEntries(keys.map((key) => [key, key === 'late_max' ? Math.max(...of(key)) : median(of(key))]));
  }
  return found;
}

const times = (ours, theirs) => ours / theirs;

/** How one Worker compares to another, round by round, since noise comes and goes with the rounds: the median and its range. */
export function compared(rounds, key, name, base, how = times) {
  const each = rounds.map((round) => how(round[name]?.[key], round[base]?.[key])).filter(Number.isFinite);
  return each.length > 0 ? { median: median(each), low: Math.min(...each), high: Math.max(...each) } : undefined;
}

export const digits = (value) => {
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
};
