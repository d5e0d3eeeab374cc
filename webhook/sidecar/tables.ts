/** AMQP tables as bytes (spec 4.2.5.5, with RabbitMQ's types): one value is looked up or put in, nothing else is decoded. */

export interface Field {
  /** Type octet. */
  readonly type: string;
  /** Where its key and its value begin, and where the next field does. */
  readonly from: number;
  readonly value: number;
  readonly to: number;
}

/** Bytes of a value by its type. -1: a long string, array or table, which begins with its length. */
const SIZES: Readonly<Record<string, number>> = {
  V: 0,
  t: 1,
  b: 1,
  B: 1,
  s: 2,
  u: 2,
  U: 2,
  I: 4,
  i: 4,
  f: 4,
  D: 5,
  l: 8,
  L: 8,
  d: 8,
  T: 8,
  S: -1,
  x: -1,
  A: -1,
  F: -1,
};
const LENGTH_BYTES = 4;

const sizeAt = (table: Buffer, type: string, at: number): number => {
  const size = SIZES[type] ?? Number.NaN;
  if (size !== -1) return size;
  return at + LENGTH_BYTES > table.length ? Number.NaN : LENGTH_BYTES + table.readUInt32BE(at);
};

/** The field of that key. undefined: there is none, or the table can't be read so far. `table` begins with its length. */
export const lookup = (table: Buffer, key: string): Field | undefined => {
  for (let at = LENGTH_BYTES; at < table.length; ) {
    const value = at + 2 + table[at]!;
    const type = String.fromCharCode(table[value - 1] ?? 0);
    const to = value + sizeAt(table, type, value);
    // Not a number: an unknown type, or it is cut short.
    if (!(to <= table.length)) return undefined;
    if (table.toString('latin1', at + 1, value - 1) === key) return { type, from: at, value, to };
    at = to;
  }
  return undefined;
};

/** A string's or an integer's value; undefined for other types. */
export const decoded = (table: Buffer, { type, value, to }: Field): string | number | undefined => {
  if (type === 'S') return table.toString('latin1', value + LENGTH_BYTES, to);
  if (type === 'l' || type === 'L') return Number(table.readBigInt64BE(value));
  if ('bIs'.includes(type)) return table.readIntBE(value, to - value);
  if ('Biu'.includes(type)) return table.readUIntBE(value, to - value);
  return undefined;
};

export const valueIn = (table: Buffer, key: string): string | number | undefined => {
  const field = lookup(table, key);
  return field && decoded(table, field);
};

/** The table with that one field a 64-bit integer, whatever it was before. */
export const withInteger = (table: Buffer, key: string, value: number): Buffer => {
  const field = lookup(table, key);
  const [before, after] = field ? [field.from, field.to] : [table.length, table.length];
  const number = Buffer.alloc(8);
  number.writeBigInt64BE(BigInt(value));
  const kept = [table.subarray(LENGTH_BYTES, before), table.subarray(after)];
  const made = Buffer.concat([Buffer.from([key.length]), Buffer.from(`${key}l`, 'latin1'), number]);
  const all = Buffer.concat([table.subarray(0, LENGTH_BYTES), ...kept, made]);
  all.writeUInt32BE(all.length - LENGTH_BYTES);
  return all;
};
