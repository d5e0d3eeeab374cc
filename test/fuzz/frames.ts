/** Frames as a peer that means no good might write them: most are well formed outside and anything inside, some are not. */
import { FRAME, FRAME_END } from '../../webhook/sidecar/frames.ts';
import { METHOD } from '../../webhook/sidecar/methods.ts';
import type { Dice } from './random.ts';

const METHODS: readonly number[] = Object.values(METHOD);
/** What makes and uses channels: without it everything would be about nothing. */
const COMMON: readonly number[] = [
  METHOD.channelOpen,
  METHOD.channelOpenOk,
  METHOD.basicPublish,
  METHOD.basicDeliver,
  METHOD.basicAck,
  METHOD.basicConsume,
  METHOD.basicConsumeOk,
  METHOD.queueDeclare,
  METHOD.queueDeclareOk,
];
const SIZES = [0, 1, 2, 3, 7, 12, 20, 60, 255, 300];
const NUMBERS = [0, 1, 2, 3, 255, 256, 65_535, 0x7fff_ffff, 0xffff_ffff];

/** Arguments as they should be: o octet, s short, l long, t tag, S short string, T table. */
const LAYOUTS: ReadonlyMap<number, string> = new Map([
  [METHOD.channelOpen, 'S'],
  [METHOD.channelOpenOk, 'l'],
  [METHOD.channelClose, 'sSss'],
  [METHOD.queueDeclare, 'sSoT'],
  [METHOD.queueDeclareOk, 'Sll'],
  [METHOD.queueDelete, 'sSo'],
  [METHOD.basicQos, 'lso'],
  [METHOD.basicConsume, 'sSSoT'],
  [METHOD.basicConsumeOk, 'S'],
  [METHOD.basicCancel, 'So'],
  [METHOD.basicCancelOk, 'S'],
  [METHOD.basicPublish, 'sSSo'],
  [METHOD.basicReturn, 'sSSS'],
  [METHOD.basicDeliver, 'StoSS'],
  [METHOD.basicGet, 'sSo'],
  [METHOD.basicGetOk, 'toSSl'],
  [METHOD.basicGetEmpty, 'S'],
  [METHOD.basicAck, 'to'],
  [METHOD.basicReject, 'to'],
  [METHOD.basicNack, 'to'],
  [METHOD.basicRecover, 'o'],
  [METHOD.confirmSelect, 'o'],
]);
const FIELDS = ['\x01aS\0\0\0\x01b', '\x01at\x01', '\x0fx-stream-offsetS\0\0\0\x04next', '\x01aF\xff\0\0\0'];

/** Writes one argument; returns where the next begins. */
const WRITERS: Readonly<Record<string, (dice: Dice, into: Buffer, at: number) => number>> = {
  o: (dice, into, at) => into.writeUInt8(dice.oneIn(4) ? dice.below(256) : dice.below(4), at),
  s: (dice, into, at) => into.writeUInt16BE(dice.below(4), at),
  l: (dice, into, at) => into.writeUInt32BE(dice.pick(NUMBERS), at),
  t: (dice, into, at) => {
    into.writeUInt32BE(dice.oneIn(40) ? dice.pick(NUMBERS) : 0, at);
    return into.writeUInt32BE(dice.oneIn(20) ? dice.pick(NUMBERS) : dice.below(12), at + 4);
  },
  S: (dice, into, at) => {
    const length = dice.pick([0, 1, 1, 2]);
    // Now and then it claims to be longer than it is.
    into[at] = dice.oneIn(100) ? 255 : length;
    for (let n = 1; n <= length; n++) into[at + n] = 97 + dice.below(2);
    return at + 1 + length;
  },
  T: (dice, into, at) => {
    const field = dice.oneIn(2) ? '' : dice.pick(FIELDS);
    into.writeUInt32BE(dice.oneIn(50) ? dice.pick(NUMBERS) : field.length, at);
    return at + 4 + into.write(field, at + 4, 'latin1');
  },
};
const KINDS = Object.keys(WRITERS);

const argumentsOf = (dice: Dice, into: Buffer, at: number, layout: string | undefined): number => {
  let end = at;
  if (layout !== undefined && !dice.oneIn(60)) {
    for (const kind of layout) end = WRITERS[kind]!(dice, into, end);
    return end;
  }
  for (let parts = dice.below(7); parts > 0; parts--) end = WRITERS[dice.pick(KINDS)]!(dice, into, end);
  return end;
};

const writeMethod = (dice: Dice, into: Buffer): number => {
  const method = dice.oneIn(60) ? dice.below(0x7fff_ffff) : dice.pick(dice.oneIn(3) ? METHODS : COMMON);
  return argumentsOf(dice, into, into.writeUInt32BE(method, 7), LAYOUTS.get(method));
};

const writePayload = (dice: Dice, type: number, into: Buffer): number => {
  switch (type) {
    case FRAME.method:
      return writeMethod(dice, into);
    case FRAME.header: {
      into.fill(0, 7, 21);
      into.writeUInt16BE(60, 7);
      into.writeUInt32BE(dice.oneIn(20) ? dice.pick(NUMBERS) : 0, 11);
      into.writeUInt32BE(dice.oneIn(10) ? dice.pick(NUMBERS) : dice.pick(SIZES), 15);
      into.writeUInt16BE(dice.pick([0, 0x2000, 0x2400, 0xffff, 0xfffe]), 19);
      return argumentsOf(dice, into, 21, undefined);
    }
    case FRAME.body:
      return 7 + dice.pick(SIZES);
    default:
      return 7;
  }
};

const scratch = Buffer.alloc(2048);
const TYPES = [FRAME.method, FRAME.header, FRAME.body, FRAME.heartbeat];
const QUIET_TYPES = [FRAME.method, FRAME.method, FRAME.method, FRAME.heartbeat];

/** What came before decides what may follow: a content is followed through for most. */
export interface Course {
  /** Body bytes to come on a channel; -1: its header. */
  owed: number;
  channel: number;
}

const ordered = (dice: Dice, course: Course): { type: number; size: number | undefined } => {
  if (course.channel === 0 || dice.oneIn(60))
    return { type: dice.pick(dice.oneIn(20) ? TYPES : QUIET_TYPES), size: undefined };
  if (course.owed < 0) return { type: FRAME.header, size: dice.pick(SIZES) };
  return { type: FRAME.body, size: Math.min(course.owed, dice.pick(SIZES) + 1) };
};

const CONTENTS: readonly number[] = [METHOD.basicPublish, METHOD.basicDeliver, METHOD.basicGetOk, METHOD.basicReturn];

/** The next frame of one peer. `broken`: of how many one is cut, lengthened or changed in a byte. */
export const nextFrame = (dice: Dice, course: Course, broken: number): Buffer => {
  const { type, size } = ordered(dice, course);
  const channel = size === undefined ? dice.pick([0, 1, 1, 1, 2, 2, 3, 65_535]) : course.channel;
  scratch[0] = type;
  scratch.writeUInt16BE(type === FRAME.heartbeat ? 0 : channel, 1);
  let end = type === FRAME.body && size !== undefined ? 7 + size : writePayload(dice, type, scratch);
  scratch.writeUInt32BE(end - 7, 3);
  if (type === FRAME.header && size !== undefined) {
    scratch.writeUInt32BE(0, 11);
    scratch.writeUInt32BE(size, 15);
  }
  scratch[end++] = FRAME_END;
  follow(course, type, size, channel);
  const frame = Buffer.from(scratch.subarray(0, end));
  if (!dice.oneIn(broken)) return frame;
  if (dice.oneIn(3)) return frame.subarray(0, dice.below(frame.length));
  frame[dice.below(frame.length)] = dice.below(256);
  return frame;
};

const follow = (course: Course, type: number, size: number | undefined, channel: number): void => {
  if (type === FRAME.method && CONTENTS.includes(scratch.readUInt32BE(7)) && channel !== 0) {
    course.channel = channel;
    course.owed = -1;
  } else if (size !== undefined) {
    course.owed = type === FRAME.header ? size : course.owed - size;
    if (course.owed === 0) course.channel = 0;
  }
};
