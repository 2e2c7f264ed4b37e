// Values that fit a JSON schema: what a structured answer and the input of a tool are made of.

/** A value of the schema: texts are `text`, numbers 7, booleans true, lists have one item. */
export function example(schema, text, root = schema) {
  if (schema?.$ref) return example(resolved(root, schema.$ref), text, root);
  const { const: fixed, enum: values } = schema ?? {};
  if (fixed !== undefined) return fixed;
  if (values) return values[0];
  const [variant] = schema?.anyOf ?? schema?.oneOf ?? schema?.allOf ?? [];
  if (variant) return example(variant, text, root);
  switch (typeOf(schema)) {
    case 'object':
      return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, value]) => [name, example(value, text, root)]));
    case 'array':
      return [example(schema.items ?? {}, text, root)];
    case 'number':
    case 'integer':
      return 7;
    case 'boolean':
      return true;
    case 'null':
      return null;
    default:
      return text;
  }
}

/** The input of a tool: what its schema requires, or the text as `input`. */
export function toolInput(schema, text) {
  const required = schema?.required ?? [];
  if (!required.length) return { input: text };
  return Object.fromEntries(required.map((name) => [name, example(schema.properties?.[name] ?? {}, text, schema)]));
}

/** Gemini writes its types in capitals; a list of types means the first. */
function typeOf(schema) {
  const type = [schema?.type].flat()[0]?.toLowerCase();
  return type ?? (schema?.properties ? 'object' : 'string');
}

function resolved(root, reference) {
  return reference.replace(/^#\/?/, '').split('/').filter(Boolean).reduce((value, name) => value?.[name], root) ?? {};
}
