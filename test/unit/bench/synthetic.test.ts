import { expect, test } from 'vitest';
import { throughSession } from '../../../scripts/bench/ceiling.ts';
import { ackUpTo, Deliveries, SINK, SOURCE } from '../../../scripts/bench/synthetic.ts';
import { FRAME, Splitter } from '../../../webhook/sidecar/frames.ts';
import { METHOD, methodOf, readTag } from '../../../webhook/sidecar/methods.ts';
import { Session } from '../../../webhook/sidecar/session.ts';

/** Tags of all deliveries that begin in the stream, and its body bytes. */
const parse = (chunks: readonly Buffer[]): { tags: number[]; body: number } => {
  const splitter = new Splitter();
  const tags: number[] = [];
  let body = 0;
  for (const chunk of chunks)
    for (const piece of splitter.push(Buffer.from(chunk))) {
      if (piece.type === FRAME.method) tags.push(readTag(piece.bytes, 13));
      else if (piece.type === FRAME.body) body += piece.bytes.length - (piece.first ? 7 : 0) - (piece.last ? 1 : 0);
    }
  return { tags, body };
};

test.each([
  [100, 64],
  [1024, 4096],
  [0, 50],
  [7, 4096],
])('messages of %i bytes in chunks of %i are one valid stream, more than once around the ring', (size, chunkBytes) => {
  const deliveries = new Deliveries(size, chunkBytes);
  const splitter: Buffer[] = [];
  for (let count = 0; count < 3 * deliveries.chunks + 1; count += 1) splitter.push(Buffer.from(deliveries.next()));
  const { tags, body } = parse(splitter);
  const bytes = splitter.length * chunkBytes;
  expect(splitter.every(({ length }) => length === chunkBytes)).toBe(true);
  expect(tags.slice(0, -1)).toEqual(Array.from({ length: tags.length - 1 }, (_, index) => index + 1));
  expect(tags.length - deliveries.wholeIn(bytes)).toBeLessThanOrEqual(1);
  expect(body).toBeGreaterThanOrEqual(deliveries.wholeIn(bytes) * size);
});

test('a chunk stays as it is for nearly a turn of the ring', () => {
  const deliveries = new Deliveries(1024, 4096);
  const first = deliveries.next();
  const copy = Buffer.from(first);
  for (let count = 0; count < deliveries.chunks - 2; count += 1) deliveries.next();
  expect(first.equals(copy)).toBe(true);
});

test('source and sink open a session that then consumes, and settles all', () => {
  const session = new Session(1, 'synthetic');
  for (const [index, said] of SINK.entries()) {
    session.fromApp(Buffer.from(said));
    expect(Buffer.concat(session.take().toBroker).equals(said)).toBe(true);
    session.fromBroker(Buffer.from(SOURCE[index]!));
    expect(Buffer.concat(session.take().toApp).equals(SOURCE[index]!)).toBe(true);
  }
  expect(session.phase).toBe('open');
  expect(session.report().channels[0]?.consumers).toMatchObject([{ tag: 'c', queue: 'q', noAck: false }]);
  const deliveries = new Deliveries(1024, 65_536);
  session.fromBroker(Buffer.from(deliveries.next()));
  const whole = deliveries.wholeIn(65_536);
  expect(session.outstanding - whole).toBeLessThanOrEqual(1);
  expect(session.outstanding).toBeGreaterThan(50);
  session.take();
  session.fromApp(ackUpTo(whole));
  const [ack] = session.take().toBroker;
  expect([methodOf(ack!), readTag(ack!, 11)]).toEqual([METHOD.basicAck, whole]);
  expect(session.outstanding).toBeLessThanOrEqual(1);
});

test('what passes the session is counted in messages of the size asked for', () => {
  const { bytes, messages } = throughSession(0.05, 100, 4096);
  expect(messages).toBeGreaterThan(0);
  expect(bytes / messages).toBeCloseTo(new Deliveries(100, 4096).messageBytes);
});
