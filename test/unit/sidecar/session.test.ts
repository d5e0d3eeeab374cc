/** The session without any socket: where it stops, what it lets through, how it numbers confirms. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FRAME, FRAME_END, type Piece, Splitter } from '../../../webhook/sidecar/frames.ts';
import { encode, METHOD, methodOf, PROTOCOL_HEADER, readTag } from '../../../webhook/sidecar/methods.ts';
import { Session } from '../../../webhook/sidecar/session.ts';

const frame = (type: number, channel: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([FRAME_END])]);
};
const method = (channel: number, id: number, ...rest: number[]): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(id);
  return frame(FRAME.method, channel, Buffer.concat([payload, Buffer.from(rest)]));
};
const content = (channel: number, size: number, parts: number): Buffer[] => {
  const header = Buffer.alloc(14);
  header.writeUInt16BE(60);
  header.writeBigUInt64BE(BigInt(size), 4);
  const bodies = Array.from({ length: parts }, () => frame(FRAME.body, channel, Buffer.alloc(size / parts, channel)));
  return [method(channel, METHOD.basicPublish, 0, 0, 0, 1, 0x71, 0), frame(FRAME.header, channel, header), ...bodies];
};
const confirm = (channel: number, tag: number, multiple: boolean): Buffer =>
  encode.settle(channel, 'ack', tag, multiple, false);
const tune = (id: number): Buffer => method(0, id, 0x07, 0xff, 0, 2, 0, 0, 0, 60);

const opened = (...channels: number[]): Session => {
  const session = new Session(1, 'broker:5672');
  session.fromApp(PROTOCOL_HEADER);
  session.fromBroker(method(0, METHOD.connectionStart, 0, 9));
  session.fromApp(method(0, METHOD.connectionStartOk, 0, 0, 0, 0));
  session.fromBroker(tune(METHOD.connectionTune));
  session.fromApp(Buffer.concat([tune(METHOD.connectionTuneOk), method(0, METHOD.connectionOpen, 1, 0x2f, 0, 0)]));
  session.fromBroker(method(0, METHOD.connectionOpenOk, 0));
  for (const channel of channels) {
    session.fromApp(encode.channelOpen(channel));
    session.fromBroker(method(channel, METHOD.channelOpenOk, 0, 0, 0, 0));
    session.fromApp(encode.confirmSelect(channel));
    session.fromBroker(method(channel, METHOD.confirmSelectOk));
  }
  session.take();
  return session;
};
const split = (spans: readonly Buffer[]): Piece[] => new Splitter().push(Buffer.concat(spans));
const methods = (pieces: readonly Piece[]): number[] =>
  pieces.filter((piece) => piece.type === FRAME.method).map((piece) => methodOf(piece.bytes));
/** Plays the broker's part of becoming mute. */
const answerFlows = (session: Session, pieces: readonly Piece[]): void => {
  for (const piece of pieces)
    if (piece.type === FRAME.method && methodOf(piece.bytes) === METHOD.channelFlow)
      session.fromBroker(method(piece.channel, METHOD.channelFlowOk, 1));
};

/** Contents of two channels, their frames interleaved in the order given. */
const interleaved = (order: readonly number[]): Buffer[] => {
  const queues = new Map(
    [1, 2].map((id) => [id, order.filter((each) => each === id).flatMap(() => content(id, 60, 3))]),
  );
  const stream: Buffer[] = [];
  while (stream.length < order.length * 5) for (const id of order) stream.push(...(queues.get(id)?.splice(0, 1) ?? []));
  return stream;
};
const publishes = (pieces: readonly Piece[], id: number): number =>
  methods(pieces.filter((piece) => piece.channel === id)).filter((each) => each === METHOD.basicPublish).length;
const ours = (piece: Piece): boolean => piece.type === FRAME.method && methodOf(piece.bytes) === METHOD.channelFlow;

describe('the handshake', () => {
  it('is AMQP 0-9-1 wherever its first frame is cut, whatever the second part begins with', () => {
    // connection.start names AMQPLAIN: a chunk that begins with its A is no protocol header.
    const start = method(0, METHOD.connectionStart, 0, 9, ...Buffer.from('AMQPLAIN'));
    for (let at = 1; at < start.length; at++) {
      const session = new Session(1, 'broker:5672');
      session.fromApp(PROTOCOL_HEADER);
      session.fromBroker(Buffer.from(start.subarray(0, at)));
      session.fromBroker(Buffer.from(start.subarray(at)));
      expect(session.phase).toBe('opening');
      expect(Buffer.concat(session.take().toApp)).toEqual(start);
    }
    const refused = new Session(1, 'broker:5672');
    refused.fromApp(PROTOCOL_HEADER);
    refused.fromBroker(Buffer.from('AMQP\x00\x00\x09\x01', 'latin1'));
    expect(refused.phase).toBe('blind');
  });
});

describe('mute', () => {
  it('lets a content under way out to its end, nothing else, and loses and reorders nothing when it goes on', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(1, 2), { minLength: 2, maxLength: 8 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 90 }),
        (order, where, size) => {
          const session = opened(1, 2);
          const stream = interleaved(order);
          const bytes = Buffer.concat(stream);
          const at = Math.floor(bytes.length * where);
          const out: Buffer[] = [];
          const feed = (from: number, to: number): void => {
            for (let start = from; start < to; start += size) {
              session.fromApp(Buffer.from(bytes.subarray(start, Math.min(to, start + size))));
              out.push(...session.take().toBroker);
            }
          };
          feed(0, at);
          session.mute();
          session.quiet();
          // As an edge does: read on only while the session wants it.
          let read = at;
          for (; read < bytes.length && session.wantsApp; read += size) feed(read, Math.min(bytes.length, read + size));
          read = Math.min(read, bytes.length);
          out.push(...session.take().toBroker);
          const before = split(out);
          expect(before.every((piece) => piece.last)).toBe(true);
          answerFlows(session, before);
          for (const id of [1, 2]) {
            const published = publishes(before, id);
            // Each content begun is whole.
            expect(before.filter((p) => p.channel === id && p.type === FRAME.body)).toHaveLength(3 * published);
            if (published > 0) expect(session.phase).toBe('muting');
            if (published > 0) session.fromBroker(confirm(id, published, true));
          }
          // Cancels and barriers only after the outcome of every publish: a mute that fails for want of one changes nothing.
          const after = split(session.take().toBroker);
          expect(after.every(ours)).toBe(true);
          answerFlows(session, after);
          expect(session.phase).toBe('mute');
          session.tick();
          expect(split(session.take().toBroker).every((piece) => piece.type === FRAME.heartbeat)).toBe(true);
          session.unmute();
          out.push(...session.take().toBroker);
          feed(read, bytes.length);
          for (const id of [1, 2]) {
            const sent = split(out)
              .filter((piece) => piece.channel === id && !ours(piece))
              .map((piece) => piece.bytes);
            expect(Buffer.concat(sent)).toEqual(Buffer.concat(stream.filter((each) => each.readUInt16BE(1) === id)));
          }
        },
      ),
    );
  });
});

describe('confirm numbers', () => {
  it('go on where they were after a handoff, multiple or not', () => {
    const session = opened(1);
    const publish = (count: number): void => {
      for (let n = 0; n < count; n++) for (const each of content(1, 0, 1).slice(0, 2)) session.fromApp(each);
    };
    publish(5);
    session.fromBroker(confirm(1, 5, true));
    session.mute();
    session.quiet();
    answerFlows(session, split(session.take().toBroker));
    expect(session.phase).toBe('mute');
    session.detach();
    session.take();
    const attachment = session.attachment();
    for (const reply of [
      method(0, METHOD.connectionStart, 0, 9),
      tune(METHOD.connectionTune),
      method(0, METHOD.connectionOpenOk, 0),
      method(1, METHOD.channelOpenOk, 0, 0, 0, 0),
    ])
      attachment.fromBroker(reply);
    expect(attachment.done).toBe(false);
    attachment.fromBroker(method(1, METHOD.confirmSelectOk));
    expect(attachment.done).toBe(true);
    const asked = attachment.toBroker.take();
    expect(asked[0]).toEqual(PROTOCOL_HEADER);
    expect(methods(split([Buffer.concat(asked).subarray(8)]))).toEqual([
      METHOD.connectionStartOk,
      METHOD.connectionTuneOk,
      METHOD.connectionOpen,
      METHOD.channelOpen,
      METHOD.confirmSelect,
    ]);
    session.adopt(attachment);
    session.live();
    publish(3);
    session.fromBroker(Buffer.concat([confirm(1, 2, true), confirm(1, 3, false)]));
    const seen = split(session.take().toApp).map((piece) => readTag(piece.bytes, 11));
    expect(seen).toEqual([7, 8]);
    session.mute();
    session.quiet();
    answerFlows(session, split(session.take().toBroker));
    // None is owed any more.
    expect(session.phase).toBe('mute');
  });
});

describe('an un-mute', () => {
  const words = (text: string): number[] => [text.length, ...Buffer.from(text)];
  const longWords = (text: string): number[] => [0, 0, 0, text.length, ...Buffer.from(text)];
  const typed = (type: string): number[] => [...words('x-queue-type'), 0x53, ...longWords(type)];
  const [DURABLE, EXCLUSIVE, AUTO_DELETE] = [2, 4, 8];
  /** Mute, having declared the queue and consumed from it; a prefetch leaves room for what may be under way. */
  const mute = (bits: number, table: readonly number[]): Session => {
    const session = opened(1);
    session.fromApp(method(1, METHOD.queueDeclare, 0, 0, ...words('q'), bits, 0, 0, 0, table.length, ...table));
    session.fromBroker(method(1, METHOD.queueDeclareOk, ...words('q'), 0, 0, 0, 0, 0, 0, 0, 0));
    const fields = { tag: 't', queue: 'q', noLocal: false, noAck: false, exclusive: false };
    session.fromApp(encode.consume(1, { ...fields, arguments: Buffer.alloc(4) }));
    session.fromBroker(method(1, METHOD.basicConsumeOk, ...words('t')));
    session.take();
    session.mute();
    session.quiet();
    return session;
  };
  /** What a quorum queue had under way at the cancel may be checked out to the old channel until that is closed. */
  it.each([
    ['said to be a quorum queue', DURABLE, typed('quorum'), true],
    ['of which no type is said, so that the virtual host has made it one perhaps', DURABLE, [], true],
    ['said to be classic', DURABLE, typed('classic'), false],
    ['of no type that is not durable', 0, [], false],
    ['of no type that is exclusive', DURABLE + EXCLUSIVE, [], false],
    ['of no type that is deleted by itself', DURABLE + AUTO_DELETE, [], false],
  ])('takes another upstream for a queue %s: %#', (_what, bits, table, another) => {
    expect(mute(bits, table).stuck).toBe(another);
  });
});

describe('a connection that does not speak AMQP 0-9-1', () => {
  const AMQP_1 = Buffer.from('AMQP\x00\x01\x00\x00', 'latin1');
  const SASL_1 = Buffer.from('AMQP\x03\x01\x00\x00', 'latin1');
  const AMQP_0_9 = Buffer.from('AMQP\x01\x01\x00\x09', 'latin1');
  // PeerProperties, version 1, correlation 1, no properties.
  const STREAM = Buffer.from('0000000c001100010000000100000000', 'hex');
  const CLIENT_HELLO = Buffer.from('160301', 'hex');
  const HTTP = Buffer.from('GET / HTTP/1.1');
  it.each([
    [AMQP_1, 'speaks AMQP 1.0'],
    [SASL_1, 'speaks AMQP 1.0'],
    [AMQP_0_9, 'speaks another version of AMQP than 0-9-1'],
    [STREAM, 'speaks the stream protocol'],
    [CLIENT_HELLO, 'speaks TLS itself, so that only the broker can read it'],
    [HTTP, 'does not speak AMQP 0-9-1'],
  ])('passes as it is, however it is cut, and is refused by name: %s', (first, spoken) => {
    const more = Buffer.from('\xce\x00\x01AMQP\x00\x00\x09\x01', 'latin1');
    for (let cut = 0; cut <= first.length; cut++) {
      const session = new Session(7, 'broker:5672');
      for (const chunk of [first.subarray(0, cut), first.subarray(cut), more]) session.fromApp(chunk);
      session.fromBroker(more);
      const { toApp, toBroker } = session.take();
      expect(Buffer.concat(toBroker)).toEqual(Buffer.concat([first, more]));
      expect(Buffer.concat(toApp)).toEqual(more);
      expect(session.phase).toBe('blind');
      expect(session.hazards()).toHaveLength(1);
      // Its first bytes may not tell yet, if they come one by one.
      if (cut === 0) expect(session.hazards()).toEqual([`connection 7: ${spoken}`]);
      else expect(session.hazards()[0]).toMatch(/^connection 7: (speaks |does not speak AMQP 0-9-1)/);
    }
  });

  it('is what is left when the broker refuses the header of AMQP 0-9-1', () => {
    const session = new Session(7, 'broker:5672');
    session.fromApp(PROTOCOL_HEADER);
    session.fromBroker(AMQP_1);
    expect(Buffer.concat(session.take().toApp)).toEqual(AMQP_1);
    expect(session.hazards()).toEqual(['connection 7: speaks AMQP 0-9-1 to a broker that does not']);
  });
});
