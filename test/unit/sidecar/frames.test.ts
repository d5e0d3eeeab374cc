import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FRAME, FRAME_END, Malformed, Outlet, type Piece, Splitter } from '../../../webhook/sidecar/frames.ts';

interface Model {
  type: number;
  channel: number;
  payload: Uint8Array;
}
const encode = ({ type, channel, payload }: Model): Buffer => {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([FRAME_END])]);
};
const payload = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });
const frame: fc.Arbitrary<Model> = fc.oneof(
  fc.record({ type: fc.constant(FRAME.method), channel: fc.nat(65535), payload: payload(4, 60) }),
  fc.record({ type: fc.constant(FRAME.header), channel: fc.nat(65535), payload: payload(14, 60) }),
  fc.record({ type: fc.constant(FRAME.body), channel: fc.nat(65535), payload: payload(0, 90) }),
  fc.record({ type: fc.constant(FRAME.heartbeat), channel: fc.constant(0), payload: payload(0, 0) }),
);
/** Cuts bytes into chunks of the given sizes, over and over. */
const chunks = (bytes: Buffer, sizes: readonly number[]): Buffer[] => {
  const cut: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length]!;
    cut.push(bytes.subarray(at, at + size));
    at += size;
  }
  return cut;
};
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 });

describe('the splitter', () => {
  it('finds the same frames however the stream is cut, and loses no byte', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 20 }), sizes, (frames, cuts) => {
        const bytes = Buffer.concat(frames.map(encode));
        const splitter = new Splitter();
        const pieces: Piece[] = [];
        for (const chunk of chunks(bytes, cuts)) {
          const read = Buffer.from(chunk);
          pieces.push(...splitter.push(read));
          // The next chunk may come in the same memory.
          read.fill(0);
          expect(splitter.atBoundary).toBe(pieces.at(-1)?.last ?? true);
        }
        expect(Buffer.concat(pieces.map((piece) => piece.bytes))).toEqual(bytes);
        const firsts = pieces.filter((piece) => piece.first);
        expect(firsts.map(({ type, channel, size }) => ({ type, channel, size }))).toEqual(
          frames.map((each) => ({ type: each.type, channel: each.channel, size: each.payload.length })),
        );
        expect(pieces.filter((piece) => piece.last)).toHaveLength(frames.length);
        for (const piece of firsts) {
          // What the session decodes is all there.
          if (piece.type === FRAME.method) expect(piece.last).toBe(true);
          if (piece.type === FRAME.header) expect(piece.bytes.length).toBeGreaterThanOrEqual(19);
        }
      }),
    );
  });

  it('refuses a wrong end octet, an unknown type and a method of impossible size', () => {
    const body = encode({ type: FRAME.body, channel: 1, payload: Buffer.from('abc') });
    body[body.length - 1] = 0;
    expect(() => new Splitter().push(body)).toThrow(Malformed);
    const inParts = (): void => {
      const splitter = new Splitter();
      for (const each of chunks(body, [4])) splitter.push(each);
    };
    expect(inParts).toThrow(Malformed);
    expect(() => new Splitter().push(encode({ type: 4, channel: 0, payload: Buffer.alloc(4) }))).toThrow(Malformed);
    expect(() => new Splitter().push(encode({ type: FRAME.method, channel: 0, payload: Buffer.alloc(3) }))).toThrow(
      Malformed,
    );
    const huge = Buffer.from([FRAME.method, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    expect(() => new Splitter().push(huge)).toThrow(Malformed);
  });
});

describe('the outlet', () => {
  it('writes forwarded frames as they came, as one span a chunk, and ours between frames only', () => {
    const ours = encode({ type: FRAME.heartbeat, channel: 0, payload: Buffer.alloc(0) });
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 12 }), sizes, fc.nat(7), (frames, cuts, every) => {
        const bytes = Buffer.concat(frames.map(encode));
        const splitter = new Splitter();
        const outlet = new Outlet();
        const out: Buffer[] = [];
        let injected = 0;
        let turn = 0;
        for (const chunk of chunks(bytes, cuts)) {
          splitter.split(chunk, (piece) => outlet.forward(piece));
          if (turn++ % (every + 1) === every) {
            outlet.inject(ours);
            injected += 1;
          }
          out.push(...outlet.take());
        }
        const again = new Splitter().push(Buffer.concat(out));
        const whole = again.filter((piece) => piece.first && piece.last).map((piece) => Buffer.from(piece.bytes));
        expect(whole).toHaveLength(frames.length + injected);
        const isOurs = (each: Buffer): boolean => each.equals(ours);
        const theirs = frames.map(encode);
        expect(whole.filter((each) => !isOurs(each))).toEqual(theirs.filter((each) => !isOurs(each)));
        expect(whole.filter(isOurs)).toHaveLength(injected + theirs.filter(isOurs).length);
      }),
    );
    const two = Buffer.concat([encode({ type: 3, channel: 1, payload: Buffer.alloc(9) }), ours]);
    const outlet = new Outlet();
    new Splitter().split(two, (piece) => outlet.forward(piece));
    expect(outlet.take()).toEqual([two]);
  });
});
