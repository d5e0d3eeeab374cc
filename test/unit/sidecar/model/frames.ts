/** Frames as a client or a broker writes them. */
import { FRAME, FRAME_END } from '../../../../webhook/sidecar/frames.ts';

export const frame = (type: number, channel: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([FRAME_END])]);
};

export const short = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
export const long = (value: number): Buffer =>
  Buffer.from([value >>> 24, value >>> 16, value >>> 8, value].map((n) => n & 0xff));
export const text = (value: string): Buffer =>
  Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')]);
export const longText = (value: string): Buffer => Buffer.concat([long(value.length), Buffer.from(value, 'latin1')]);
export const tag = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};
export const octet = (value: number): Buffer => Buffer.from([value]);

export const method = (channel: number, id: number, ...parts: Buffer[]): Buffer =>
  frame(FRAME.method, channel, Buffer.concat([long(id), ...parts]));

export interface Content {
  readonly correlation: string;
  readonly body: string;
}
/** Header and bodies; the body in frames of `most` bytes. */
export const content = (channel: number, { correlation, body }: Content, most = 7): Buffer[] => {
  const flags = correlation === '' ? 0x2000 : 0x2400;
  const header = Buffer.concat([
    short(60),
    short(0),
    tag(body.length),
    short(flags),
    // headers: an empty table
    long(0),
    ...(correlation === '' ? [] : [text(correlation)]),
  ]);
  const frames = [frame(FRAME.header, channel, header)];
  for (let at = 0; at < body.length; at += most)
    frames.push(frame(FRAME.body, channel, Buffer.from(body.slice(at, at + most), 'latin1')));
  return frames;
};

/** Puts contents together again. */
export class Assembly {
  readonly method: Buffer;
  private readonly parts: { type: number; payload: Buffer }[] = [];
  private left = -1;
  constructor(of: Buffer) {
    this.method = of;
  }
  /** True when whole. */
  add(bytes: Buffer, first: boolean, last: boolean): boolean {
    const payload = bytes.subarray(first ? 7 : 0, last ? bytes.length - 1 : undefined);
    if (first) this.parts.push({ type: bytes[0]!, payload });
    else {
      const part = this.parts.at(-1)!;
      part.payload = Buffer.concat([part.payload, payload]);
    }
    const header = this.parts[0]!.payload;
    if (this.parts.length === 1 && !last) return false;
    this.left = Number(header.readBigUInt64BE(4));
    const body = this.parts.slice(1).reduce((sum, part) => sum + part.payload.length, 0);
    return last && body === this.left;
  }
  get content(): Content {
    const header = this.parts[0]!.payload;
    const flags = header.readUInt16BE(12);
    const at = 14 + 4 + header.readUInt32BE(14);
    const correlation = (flags & 0x400) === 0 ? '' : header.toString('latin1', at + 1, at + 1 + header[at]!);
    return { correlation, body: Buffer.concat(this.parts.slice(1).map((part) => part.payload)).toString('latin1') };
  }
}
