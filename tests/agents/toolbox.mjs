// The tools that the programs have, found in what they offer the model. A channel may know a tool
// by another name than its program does, if the program's does not fit there: its end tells.
import { Refused } from '../../scripts/upstream/errors.mjs';
import { toolInput } from '../../scripts/upstream/schema.mjs';

const shells = ['Bash', 'bash', 'exec_command', 'shell', 'shell_command', 'run_shell_command', 'execute_command', 'run_commands', 'exec'];

/** A step that runs a command in the program's shell. */
export const shell = (command) => (tools) => {
  const tool = shells.map((name) => named(tools, name)).find(Boolean);
  if (!tool) throw missing('a shell', tools);
  // Codex has newer models write JavaScript, in which its tools are functions.
  const text = /JavaScript/.test(tool.description) ? `const r = await tools.exec_command({ cmd: ${JSON.stringify(command)} }); text(r.output ?? r);` : command;
  if (tool.kind === 'custom') return { name: tool.name, input: text };
  const properties = tool.schema?.properties ?? {};
  const at = ['command', 'cmd', 'commands'].find((name) => properties[name]) ?? Object.keys(properties)[0];
  const isList = properties[at]?.type?.toLowerCase?.() === 'array';
  return { name: tool.name, input: { ...toolInput(tool.schema, 'Runs it'), [at]: isList ? ['bash', '-lc', text] : text } };
};

/** A step that calls a tool by its name; `input` is an object, or the text of a tool that takes one. */
export const call = (name, input) => (tools) => {
  const tool = named(tools, name);
  if (!tool) throw missing(name, tools);
  if (typeof input === 'string' && tool.kind !== 'custom') return { name: tool.name, input: { [Object.keys(tool.schema.properties)[0]]: input } };
  return { name: tool.name, input };
};

/** A step of which a channel may have no tool: then it is the other one. */
export const either = (first, second) => (tools) => {
  try {
    return first(tools);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return second(tools);
  }
};

function named(tools, name) {
  const ends = new RegExp(`(^|[^A-Za-z0-9])${name}$`);
  return tools.find((tool) => tool.name === name) ?? tools.find((tool) => ends.test(tool.name));
}

const missing = (what, tools) => new Refused(400, { message: `The simulation was offered no ${what}, but ${tools.map(({ name }) => name).join(', ')}.` });
