// The table of clients by forms of channels, as the step prints it.

export class Table {
  #rows = new Map();
  #columns;
  #faults = [];

  constructor(columns) {
    this.#columns = columns;
  }

  note(row, column, text) {
    if (!this.#rows.has(row)) this.#rows.set(row, new Map());
    this.#rows.get(row).set(column, text);
  }

  /** Runs a check and notes how it ended: `ok`, or the number of what was wrong. */
  async cell(row, column, check) {
    this.note(row, column, '...');
    try {
      const said = await check();
      this.note(row, column, said ?? 'ok');
    } catch (error) {
      const fault = error.message.split('\n').slice(0, 6).join(' ').slice(0, 400);
      if (!this.#faults.includes(fault)) this.#faults.push(fault);
      this.note(row, column, `FAILED [${this.#faults.indexOf(fault) + 1}]`);
      throw error;
    }
  }

  toString() {
    const lines = [['', ...this.#columns], ...[...this.#rows].map(([row, cells]) => [row, ...this.#columns.map((column) => cells.get(column) ?? '-')])];
    const widths = lines[0].map((_, at) => Math.max(...lines.map((line) => line[at].length)));
    const faults = this.#faults.map((fault, at) => `[${at + 1}] ${fault}`);
    return [...lines.map((line) => line.map((cell, at) => cell.padEnd(widths[at])).join('  ').trimEnd()), ...faults].join('\n');
  }
}
