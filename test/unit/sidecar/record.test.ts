/** The record's parts, each against what it must be: entries, digests, the stream, the matching. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Channel } from '../../../webhook/sidecar/channel.ts';
import { FRAME, Splitter } from '../../../webhook/sidecar/frames.ts';
import { METHOD } from '../../../webhook/sidecar/methods.ts';
import { contentOf, correlationOf, PublishDigest, requestDigest } from '../../../webhook/sidecar/replay/content.ts';
import { Decoder, type Entry, encodeEntry, type Published } from '../../../webhook/sidecar/replay/entries.ts';
import { type Made, Publishes, type Told } from '../../../webhook/sidecar/replay/publishes.ts';
import { Recorder } from '../../../webhook/sidecar/replay/recorder.ts';
import { Received, RecordStream } from '../../../webhook/sidecar/replay/stream.ts';
import { content, frame, method, octet, short, text } from './model/frames.ts';

const at = { connection: fc.integer({ min: 0, max: 2 ** 32 - 1 }), channel: fc.integer({ min: 0, max: 65535 }) };
const tag = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const latin = (length: { minLength?: number; maxLength: number }): fc.Arbitrary<string> =>
  fc.uint8Array(length).map((bytes) => Buffer.from(bytes).toString('latin1'));
const digest = (bytes: number): fc.Arbitrary<string> => latin({ minLength: bytes, maxLength: bytes });
const shortString = latin({ maxLength: 255 });
const kind = <K extends Entry['kind']>(name: K): fc.Arbitrary<K> => fc.constant(name);
const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({
    kind: kind('down'),
    ...at,
    withheld: fc.boolean(),
    bytes: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  }),
  fc.record({ kind: kind('shown'), ...at, tag }),
  fc.record({
    kind: kind('publish'),
    ...at,
    seq: tag,
    mandatory: fc.boolean(),
    exchange: shortString,
    key: shortString,
    digest: digest(32),
    body: digest(16),
    correlation: shortString,
  }),
  fc.record({
    kind: kind('settle'),
    ...at,
    tag,
    how: fc.constantFrom('ack', 'nack', 'reject'),
    requeue: fc.boolean(),
    all: fc.boolean(),
  }),
  fc.record({ kind: kind('request'), ...at, method: fc.integer({ min: 0, max: 2 ** 32 - 1 }), digest: digest(16) }),
  fc.record({ kind: kind('outcome'), ...at, seq: tag, ack: fc.boolean() }),
  fc.record({ kind: kind('end'), entries: tag }),
);

describe('entries', () => {
  it('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 12 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 90 })),
        (list, sizes) => {
          const bytes = Buffer.concat(list.map(encodeEntry));
          const decoder = new Decoder();
          const found: Entry[] = [];
          for (let from = 0; from < bytes.length; ) {
            const size = sizes.next().value as number;
            found.push(...decoder.push(bytes.subarray(from, from + size)));
            from += size;
          }
          expect(found).toEqual(list);
          expect(decoder.partial).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('that are none are refused, not guessed', () => {
    const bytes = encodeEntry({ kind: 'end', entries: 1 });
    bytes[4] = 99;
    expect(() => new Decoder().push(bytes)).toThrow(RangeError);
    const cut = encodeEntry({ kind: 'shown', connection: 1, channel: 1, tag: 1 }).subarray(0, 12);
    cut.writeUInt32BE(8, 0);
    expect(() => new Decoder().push(cut)).toThrow(RangeError);
  });
});

describe('contents', () => {
  const header = (flags: number, ...properties: Buffer[]): Buffer =>
    Buffer.concat([short(60), short(0), Buffer.alloc(8), short(flags), ...properties]);

  it('tell their correlation-id, whatever properties come before it', () => {
    expect(correlationOf(header(0x0400, text('c')))).toBe('c');
    const before = [text('text/plain'), text('gzip'), Buffer.from([0, 0, 0, 3, 1, 2, 3]), octet(2), octet(9)];
    expect(correlationOf(header(0xfc00 | 0x0200, ...before, text('call 7'), text('replies')))).toBe('call 7');
    // Without one; one word of flags more; cut short.
    expect(correlationOf(header(0x0200, text('replies')))).toBe('');
    expect(correlationOf(header(0x0401, short(0), text('c')))).toBe('c');
    expect(correlationOf(header(0x2400, Buffer.from([0xff, 0xff, 0xff, 0xff])))).toBe('');
    expect(correlationOf(Buffer.alloc(3))).toBe('');
  });

  it('are the same whatever their frames and channel, and another when anything of them is', () => {
    const publish = (channel: number, key: string, flags: number): Buffer =>
      method(channel, METHOD.basicPublish, short(0), text(''), text(key), octet(flags));
    const of = (
      channel: number,
      key: string,
      flags: number,
      body: string,
      correlation: string,
      most: number,
      cut: number,
    ) => {
      const made = new PublishDigest(publish(channel, key, flags));
      const bytes = Buffer.concat(content(channel, { correlation, body }, most));
      const splitter = new Splitter();
      for (let from = 0; from < bytes.length; from += cut)
        for (const piece of splitter.push(bytes.subarray(from, from + cut))) made.add(piece);
      return made.done();
    };
    fc.assert(
      fc.property(
        latin({ maxLength: 60 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 30 }),
        (body, most, cut) => {
          const one = of(1, 'k', 0, body, 'c', 100, 1000);
          expect(of(7, 'k', 0, body, 'c', most, cut)).toEqual(one);
          expect(one.correlation).toBe('c');
          const unit = Buffer.concat([publish(3, 'x', 0), ...content(3, { correlation: 'c', body }, most)]);
          expect(contentOf(unit)).toEqual({ body: one.body, correlation: 'c' });
          for (const other of [
            of(1, 'kk', 0, body, 'c', 100, 1000),
            of(1, 'k', 1, body, 'c', 100, 1000),
            of(1, 'k', 0, `${body}!`, 'c', 100, 1000),
            of(1, 'k', 0, body, 'd', 100, 1000),
          ])
            expect(other.digest).not.toBe(one.digest);
        },
      ),
    );
    expect(requestDigest(method(1, METHOD.basicQos, long(0)))).toBe(requestDigest(method(9, METHOD.basicQos, long(0))));
    expect(requestDigest(method(1, METHOD.basicQos, long(0)))).not.toBe(
      requestDigest(method(1, METHOD.basicQos, long(1))),
    );
  });
});

describe('digests of publishes that some clients put the time on', () => {
  const TIME = 0x0040;
  const [TYPE, ID] = [0x0020, 0x0080];
  const at = (time: bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(time);
    return bytes;
  };
  const of = (flags: number, properties: readonly Buffer[], body = 'x'): string => {
    const made = new PublishDigest(method(1, METHOD.basicPublish, short(0), text('e'), text('k'), octet(0)));
    const size = Buffer.concat([Buffer.alloc(7), octet(body.length)]);
    const frames = [frame(FRAME.header, 1, Buffer.concat([short(60), short(0), size, short(flags), ...properties]))];
    if (body !== '') frames.push(frame(FRAME.body, 1, Buffer.from(body)));
    for (const piece of new Splitter().push(Buffer.concat(frames))) made.add(piece);
    return made.done().digest;
  };
  const time = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

  it('are the same at any two times, and others when anything else is', () => {
    const before = [text('text/plain'), octet(2), text('c'), text('replies'), text('60000'), text('id')];
    const flags = 0x8000 | 0x1000 | 0x0400 | 0x0200 | 0x0100 | ID | TIME | TYPE;
    fc.assert(
      fc.property(time, time, fc.constantFrom('', 'body'), (one, other, body) => {
        expect(of(TIME, [at(one)], body)).toBe(of(TIME, [at(other)], body));
        const now = of(flags, [...before, at(one), text('type')], body);
        expect(now).toBe(of(flags, [...before, at(other), text('type')], body));
        expect(now).not.toBe(of(flags, [...before, at(one), text('kind')], body));
        expect(now).not.toBe(of(flags, [...before.slice(1), text('other'), at(one), text('type')], body));
        // Whether there is a time is the app's word.
        expect(of(TIME, [at(one)], body)).not.toBe(of(0, [], body));
      }),
    );
  });

  it('count every other property that may hold the same bytes', () => {
    expect(of(TYPE, [text('1234567')])).not.toBe(of(TYPE, [text('7654321')]));
    expect(of(ID, [text('1234567')])).not.toBe(of(ID, [text('7654321')]));
  });
});

const long = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

describe('the stream', () => {
  it('arrives whole, once and in order, whatever is lost, repeated or dropped for want of room', () => {
    const act = fc.constantFrom('append', 'big', 'send', 'deliver', 'repeat', 'lose', 'ask', 'askAgain', 'relink');
    fc.assert(
      fc.property(fc.array(act, { maxLength: 200 }), (acts) => {
        const stream = new RecordStream();
        const received = new Received();
        const wire: { offset: number; bytes: Buffer }[] = [];
        const there: Buffer[] = [];
        const here: Buffer[] = [];
        let count = 0;
        const append = (size: number): void => {
          count += 1;
          const bytes = Buffer.alloc(size, count);
          there.push(Buffer.from(bytes));
          stream.append(bytes);
        };
        const deliver = (chunk = wire.shift()): void => {
          const fresh = chunk && received.take(chunk);
          if (fresh) here.push(Buffer.from(fresh));
        };
        const send = (): void => {
          const chunk = stream.next();
          if (chunk) wire.push(chunk);
        };
        const moves: Record<string, () => void> = {
          append: () => append(1 + (count % 50)),
          big: () => append(40_000),
          send,
          deliver,
          repeat: () => wire[0] && deliver({ ...wire[0] }),
          lose: () => void wire.shift(),
          ask: () => stream.wanted(received.offset, false),
          askAgain: () => stream.wanted(received.offset, true),
          relink: () => stream.unasked(),
        };
        for (const name of acts) moves[name]?.();
        // From now on nothing is lost: it all comes within a few questions.
        for (let turn = 0; turn < 12; turn++) {
          stream.wanted(received.offset, received.gap);
          for (let chunk = stream.next(); chunk; chunk = stream.next()) wire.push(chunk);
          while (wire.length > 0) deliver();
        }
        stream.wanted(received.offset, false);
        expect(Buffer.concat(here).equals(Buffer.concat(there))).toBe(true);
        expect([stream.kept, stream.delivered]).toEqual([0, true]);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps no more than it may: then the record is lost, and says so', () => {
    const recorder = new Recorder(1000);
    const down = { kind: 'down', connection: 1, channel: 1, withheld: false, bytes: Buffer.alloc(300) } as const;
    for (let n = 0; n < 3; n++) recorder.add(down);
    expect(recorder.lost).toBeUndefined();
    // What the copy has is not kept.
    recorder.stream.wanted(recorder.stream.end, false);
    for (let n = 0; n < 3; n++) recorder.add(down);
    expect(recorder.lost).toBeUndefined();
    recorder.add(down);
    expect(recorder.lost).toMatch(/wait for the copy/);
  });
});

describe('publishes', () => {
  const channels = [1, 2].map((id) => new Channel(id));
  const published = (n: number, where: number, seq: number): Published => ({
    kind: 'publish',
    connection: 1,
    channel: where,
    seq,
    mandatory: false,
    exchange: '',
    key: `k${n % 2}`,
    digest: String.fromCharCode(n).repeat(32),
    body: String.fromCharCode(n).repeat(16),
    correlation: n % 3 === 0 ? `c${n}` : '',
  });
  const madeBy = (n: number, where: number, seq: number, order: number): Made => ({
    connection: 1,
    channel: channels[where - 1]!,
    seq,
    exchange: '',
    key: `k${n % 2}`,
    digest: String.fromCharCode(n).repeat(32),
    frames: [],
    order,
  });

  /** What each side has made alone, and what was said and told of each content. */
  class Model {
    readonly publishes = new Publishes();
    readonly open = { source: [] as number[], copy: [] as number[] };
    readonly said = new Map<number, boolean[]>();
    readonly toldOf = new Map<number, boolean[]>();
    private readonly unsaid: { n: number; channel: number; seq: number }[] = [];
    private readonly seqs = { source: [0, 0, 0], copy: [0, 0, 0] };

    private meet(mine: 'source' | 'copy', n: number): boolean {
      const others = this.open[mine === 'source' ? 'copy' : 'source'];
      const index = others.indexOf(n);
      if (index >= 0) others.splice(index, 1);
      else this.open[mine].push(n);
      return index >= 0;
    }

    private note(told: readonly Told[]): void {
      for (const { of, ack } of told) {
        const n = (of as Made).digest.charCodeAt(0);
        this.toldOf.set(n, [...(this.toldOf.get(n) ?? []), ack]);
      }
    }

    make(who: 'source' | 'copy', n: number, where: number): void {
      this.seqs[who][where]! += 1;
      const seq = this.seqs[who][where]!;
      const matched = this.meet(who, n);
      if (who === 'source') {
        this.unsaid.push({ n, channel: where, seq });
        const found = this.publishes.expect(published(n, where, seq), 0);
        expect(found.matched).toBe(matched);
        this.note(found.told);
      } else {
        const found = this.publishes.offer(madeBy(n, where, seq, seq));
        expect(found.matched).toBe(matched ? 'same' : undefined);
        this.note(found.told);
      }
    }

    say(ack: boolean): void {
      const next = this.unsaid.shift();
      if (!next) return;
      this.said.set(next.n, [...(this.said.get(next.n) ?? []), ack]);
      this.note(this.publishes.outcome({ connection: 1, channel: next.channel, seq: next.seq }, ack, undefined));
    }

    check(): void {
      const { publishes, open } = this;
      expect([publishes.missing, publishes.waiting]).toEqual([open.source.length, open.copy.length]);
      expect(publishes.waitingOn(1)).toHaveLength(open.copy.length);
      for (const each of [0, 1, 2, 3]) {
        const { body, correlation } = published(each, 1, 1);
        const owed = open.source.includes(each);
        expect(publishes.answers(body, '')).toBe(owed);
        expect(publishes.answers('', correlation)).toBe(owed && correlation !== '');
      }
      // Nothing is told that was not said, and nothing twice.
      for (const [n, acks] of this.toldOf) {
        const left = [...(this.said.get(n) ?? [])];
        for (const ack of acks) {
          expect(left).toContain(ack);
          left.splice(left.indexOf(ack), 1);
        }
      }
    }
  }

  it('match as a multiset: each swallows one of the same content, and is told what that one was told', () => {
    const side = fc.constantFrom('source', 'copy', 'outcome');
    const event = fc.tuple(side, fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 2 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        const model = new Model();
        for (const [who, n, where, ack] of events) {
          if (who === 'outcome') model.say(ack);
          else model.make(who, n, where);
          model.check();
        }
      }),
      { numRuns: 300 },
    );
  });

  it("in confirm mode and not are never taken for each other; what was made before the cut is no one's match", () => {
    const publishes = new Publishes();
    publishes.expect(published(1, 1, 0), 0);
    expect(publishes.offer(madeBy(1, 1, 5, 1)).matched).toBeUndefined();
    expect(publishes.offer(madeBy(1, 1, 0, 2)).matched).toBe('same');
    const here = madeBy(1, 1, 0, 0).channel;
    const before = { connection: 1, channel: here, seq: 4 };
    expect(publishes.outcome({ ...before, channel: 1 }, true, here)).toEqual([{ of: before, ack: true }]);
  });
});
