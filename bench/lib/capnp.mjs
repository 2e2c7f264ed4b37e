// The configuration language of workerd, as far as the bench needs it: structs, lists, texts, flags and files.

/** A file beside the configuration whose content becomes the value. */
export const embed = (file) => ({ toCapnp: () => `embed ${JSON.stringify(file)}` });

/** A struct with nothing set. */
export const empty = { toCapnp: () => '()' };

function value(of) {
  if (typeof of.toCapnp === 'function') return of.toCapnp();
  if (Array.isArray(of)) return `[${of.map(value).join(', ')}]`;
  if (typeof of === 'object')
    return `(${Object.entries(of)
      .map(([name, field]) => `${name} = ${value(field)}`)
      .join(', ')})`;
  return JSON.stringify(of);
}

export const config = (of) =>
  `using Workerd = import "/workerd/workerd.capnp";\nconst config :Workerd.Config = ${value(of)};\n`;
