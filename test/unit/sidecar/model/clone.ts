/** The fork at a cut: a deep copy of plain object graphs with their classes. What holds a closure or a handle can't be forked. */
const PLAIN: readonly string[] = ['string', 'number', 'boolean', 'undefined', 'bigint'];

/** An empty one of the same kind. */
const like = (value: object): object => {
  if (Buffer.isBuffer(value)) return Buffer.from(value);
  if (value instanceof Map) return new Map();
  if (value instanceof Set) return new Set();
  return Array.isArray(value) ? [] : Object.create(Object.getPrototypeOf(value));
};

const fill = (made: object, value: object, copy: (each: unknown) => unknown): void => {
  if (Buffer.isBuffer(value)) return;
  if (value instanceof Map) for (const [key, each] of value) (made as Map<unknown, unknown>).set(copy(key), copy(each));
  else if (value instanceof Set) for (const each of value) (made as Set<unknown>).add(copy(each));
  else for (const [key, each] of Object.entries(value)) (made as Record<string, unknown>)[key] = copy(each);
};

export const fork = <T>(root: T): T => {
  const copies = new Map<object, object>();
  const copy = (value: unknown): unknown => {
    if (value === null || PLAIN.includes(typeof value)) return value;
    if (typeof value !== 'object') throw new Error(`a ${typeof value} can't be forked`);
    const known = copies.get(value);
    if (known) return known;
    const made = like(value);
    copies.set(value, made);
    fill(made, value, copy);
    return made;
  };
  return copy(root) as T;
};
