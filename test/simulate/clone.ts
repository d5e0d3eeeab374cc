/**
 * A deep clone of a graph of plain objects, as a checkpoint makes one of a process: prototypes and identity kept, buffers
 * copied. What must not be in there (a function, a socket, a timer) is an error, not a reference shared by both processes.
 */
const cloneBuffer = (bytes: Buffer): Buffer => {
  // Not from the pool: two buffers must not become neighbours that were none.
  const copy = Buffer.alloc(bytes.length);
  bytes.copy(copy);
  return copy;
};

/** `without`: what is not in the clone (undefined in its place). */
export const deepClone = <T>(root: T, without: (value: object) => boolean): T => {
  const known = new Map<object, object>();

  const fill = (source: object, target: object, path: string): void => {
    for (const key of Object.keys(source))
      (target as Record<string, unknown>)[key] = visit((source as Record<string, unknown>)[key], `${path}.${key}`);
  };

  const copy = (source: object, path: string): object => {
    if (source instanceof Map) {
      const target = new Map<unknown, unknown>();
      known.set(source, target);
      for (const [key, value] of source) target.set(visit(key, `${path}<key>`), visit(value, `${path}<value>`));
      return target;
    }
    if (source instanceof Set) {
      const target = new Set<unknown>();
      known.set(source, target);
      for (const each of source) target.add(visit(each, `${path}<each>`));
      return target;
    }
    const target = Array.isArray(source) ? [] : (Object.create(Object.getPrototypeOf(source) as object) as object);
    known.set(source, target);
    fill(source, target, path);
    return target;
  };

  const visit = (value: unknown, path: string): unknown => {
    if (typeof value === 'function') throw new Error(`a function at ${path} can't be cloned`);
    if (typeof value !== 'object' || value === null) return value;
    if (without(value)) return undefined;
    const done = known.get(value);
    if (done) return done;
    if (!Buffer.isBuffer(value)) return copy(value, path);
    const bytes = cloneBuffer(value);
    known.set(value, bytes);
    return bytes;
  };

  return visit(root, 'root') as T;
};
