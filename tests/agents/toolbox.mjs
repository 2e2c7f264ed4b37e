// The tools that the programs have, found in what they offer the model: by what a tool is for,
// whatever its program calls it.
import { Refused } from '../../scripts/upstream/errors.mjs';
import { toolInput } from '../../scripts/upstream/schema.mjs';

const names = {
  shell: ['Bash', 'bash', 'exec_command', 'shell', 'shell_command', 'run_shell_command', 'execute_command', 'run_commands', 'exec'],
};

/** A step that runs a command in the program's shell. */
export const shell = (command) => (tools) => {
  const tool = find(tools, 'shell');
  if (tool.kind === 'custom') return { name: tool.name, input: command };
  const properties = tool.schema?.properties ?? {};
  const value = (name) => (properties[name]?.type?.toLowerCase?.() === 'array' ? ['bash', '-lc', command] : command);
  const at = ['command', 'cmd', 'commands'].find((name) => properties[name]);
  return { name: tool.name, input: { ...toolInput(tool.schema, 'Runs it'), [at]: value(at) } };
};

function find(tools, purpose) {
  const found = names[purpose].map((name) => tools.find((tool) => tool.name === name)).find(Boolean);
  if (!found) throw new Refused(400, { message: `The simulation found no tool for ${purpose} among ${tools.map(({ name }) => name).join(', ')}` });
  return found;
}
