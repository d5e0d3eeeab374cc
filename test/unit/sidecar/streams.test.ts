/** Tables are read by the byte, and a consumer of a stream goes on where it was (invariants 1 and 2). */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Consumer } from '../../../webhook/sidecar/channel.ts';
import { FRAME, Splitter } from '../../../webhook/sidecar/frames.ts';
import { movingPlace, OffsetReader, resumedArguments } from '../../../webhook/sidecar/streams.ts';
import { lookup, valueIn, withInteger } from '../../../webhook/sidecar/tables.ts';
import { frame, long, octet, short, tag, text } from './model/frames.ts';

const FIELDS: readonly (readonly [string, (n: number) => Buffer])[] = [
  ['t', (n) => octet(n & 1)],
  ['b', (n) => octet(n & 0xff)],
  ['B', (n) => octet(n & 0xff)],
  ['s', (n) => short(n & 0xffff)],
  ['u', (n) => short(n & 0xffff)],
  ['I', (n) => long(n)],
  ['i', (n) => long(n)],
  ['l', (n) => tag(n)],
  ['f', (n) => long(n)],
  ['d', (n) => tag(n)],
  ['D', (n) => Buffer.concat([octet(2), long(n)])],
  ['T', (n) => tag(n)],
  ['V', () => Buffer.alloc(0)],
  ['S', (n) => Buffer.concat([long(n % 20), Buffer.alloc(n % 20, 'v')])],
  ['x', (n) => Buffer.concat([long(n % 20), Buffer.alloc(n % 20, 1)])],
  ['A', (n) => Buffer.concat([long(5), Buffer.from('I'), long(n)])],
  ['F', (n) => Buffer.concat([long(5), text('n'), Buffer.from('s'), short(n & 0xff)])],
];
const table = (...fields: Buffer[]): Buffer => {
  const all = Buffer.concat(fields);
  return Buffer.concat([long(all.length), all]);
};
const fieldsOf = (kinds: readonly number[]): Buffer[] =>
  kinds.map((kind, index) => {
    const [type, write] = FIELDS[kind]!;
    return Buffer.concat([text(`k${index}`), Buffer.from(type), write(kind * 1000 + index)]);
  });
const kinds = fc.array(fc.nat(FIELDS.length - 1), { maxLength: 12 });

it('finds a field behind fields of any type, puts one in place of it, and leaves the rest as it was', () => {
  fc.assert(
    fc.property(kinds, kinds, fc.nat(), (before, after, value) => {
      const wanted = Buffer.concat([text('x-stream-offset'), Buffer.from('S'), long(4), Buffer.from('next')]);
      const [head, tail] = [fieldsOf(before), fieldsOf(after)];
      const made = table(...head, wanted, ...tail);
      expect(valueIn(made, 'x-stream-offset')).toBe('next');
      expect(lookup(made, 'x-stream')).toBeUndefined();
      const number = Buffer.concat([text('x-stream-offset'), Buffer.from('l'), tag(value)]);
      expect(withInteger(made, 'x-stream-offset', value)).toEqual(table(...head, ...tail, number));
      expect(valueIn(withInteger(table(...head), 'x-stream-offset', value), 'x-stream-offset')).toBe(value);
      // Cut anywhere it is no field, and no fault.
      for (let at = 4; at < made.length; at++) lookup(made.subarray(0, at), 'nothing');
    }),
  );
});

const consumer = (args: Buffer): Consumer => ({
  tag: 'c',
  upstreamTag: 'c',
  queue: 'q',
  noLocal: false,
  noAck: false,
  exclusive: false,
  arguments: args,
  prefetch: 1,
  held: 0,
  withheld: 0,
  suspended: false,
});
const asking = (offset: string): Buffer =>
  table(Buffer.concat([text('x-stream-offset'), Buffer.from('S'), long(offset.length), Buffer.from(offset)]));

/** A content header with these headers, and other properties before and behind them. */
const header = (headers: Buffer): Buffer =>
  frame(
    FRAME.header,
    1,
    Buffer.concat([short(60), short(0), tag(0), short(0xa400), text('text/plain'), headers, text('correlation')]),
  );

it('learns the offset of a delivery wherever its header is cut, and asks for the next one', () => {
  const headers = table(...fieldsOf([13, 7]), Buffer.concat([text('x-stream-offset'), Buffer.from('l'), tag(41)]));
  const bytes = header(headers);
  for (let at = 1; at < bytes.length; at++) {
    const one = consumer(asking('first'));
    const reader = OffsetReader.of(one)!;
    const splitter = new Splitter();
    const parts = [bytes.subarray(0, at), bytes.subarray(at)].flatMap((chunk) => splitter.push(Buffer.from(chunk)));
    expect(parts.map((piece) => reader.read(piece)).at(-1)).toBe(true);
    expect(one.place).toBe(41);
    expect(valueIn(resumedArguments(one), 'x-stream-offset')).toBe(42);
  }
});

it('looks once at what is no stream, and leaves its arguments alone', () => {
  const one = consumer(table(...fieldsOf([0])));
  const [piece] = new Splitter().push(header(table(...fieldsOf([5]))));
  expect(OffsetReader.of(one)!.read(piece!)).toBe(true);
  expect(OffsetReader.of(one)).toBeUndefined();
  expect(resumedArguments(one)).toBe(one.arguments);
});

it('knows the places that move as long as nothing has come', () => {
  for (const offset of ['next', 'last']) expect(movingPlace(consumer(asking(offset)), false)).toBe(offset);
  expect(movingPlace(consumer(asking('first')), true)).toBeUndefined();
  expect(movingPlace(consumer(table()), true)).toBe('next');
  expect(movingPlace(consumer(table()), false)).toBeUndefined();
  expect(movingPlace({ ...consumer(asking('next')), place: 3 }, true)).toBeUndefined();
});
