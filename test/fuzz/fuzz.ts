/**
 * Frames of two hostile peers through a session, and their bytes through a splitter of its own. Whatever comes: nothing but
 * `Malformed` is thrown, a session says nothing but whole frames, and it keeps nothing when it is gone.
 */
import { FRAME, Malformed, type Piece, Splitter } from '../../webhook/sidecar/frames.ts';
import { encode, METHOD, PROTOCOL_HEADER } from '../../webhook/sidecar/methods.ts';
import { Session } from '../../webhook/sidecar/session.ts';
import { lookup, valueIn, withInteger } from '../../webhook/sidecar/tables.ts';
import { long, longText, method, octet, short, text } from '../unit/sidecar/model/frames.ts';
import { type Course, nextFrame } from './frames.ts';
import { Dice } from './random.ts';

/** Frames that one session is fed at most. */
const FRAMES_OF_ONE = 400;

/** One of its inputs showed a fault. */
export class Fault extends Error {
  readonly seed: number;
  constructor(seed: number, cause: unknown) {
    super(`seed ${seed}: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`, { cause });
    this.seed = seed;
  }
}

const TUNE = (frameMax: number): Buffer[] => [short(2047), long(frameMax), short(60)];

const opened = (frameMax: number): Session => {
  const session = new Session(1, 'broker:5672');
  session.fromApp(PROTOCOL_HEADER);
  session.fromBroker(method(0, METHOD.connectionStart, octet(0), octet(9)));
  session.fromApp(method(0, METHOD.connectionStartOk, long(0), text('PLAIN'), longText('\0a\0b'), text('en_US')));
  session.fromBroker(method(0, METHOD.connectionTune, ...TUNE(frameMax)));
  session.fromApp(method(0, METHOD.connectionTuneOk, ...TUNE(frameMax)));
  session.fromApp(method(0, METHOD.connectionOpen, text('/'), text(''), octet(0)));
  session.fromBroker(method(0, METHOD.connectionOpenOk, text('')));
  for (const channel of [1, 2]) {
    session.fromApp(encode.channelOpen(channel));
    session.fromBroker(method(channel, METHOD.channelOpenOk, long(0)));
  }
  return session;
};

/** A peer's bytes, in chunks that end anywhere. */
class Peer {
  private readonly course: Course = { owed: 0, channel: 0 };
  private rest: Buffer[] = [];
  frames = 0;

  chunk(dice: Dice, broken: number): Buffer {
    for (let count = 1 + dice.below(6); count > 0; count--) {
      this.rest.push(nextFrame(dice, this.course, broken));
      this.frames += 1;
    }
    const all = Buffer.concat(this.rest);
    if (!dice.oneIn(3)) {
      this.rest = [];
      return all;
    }
    const at = dice.below(all.length + 1);
    this.rest = [all.subarray(at)];
    return Buffer.from(all.subarray(0, at));
  }
}

/** What a controller or a clock may do at any moment. */
class Outside {
  private halted = false;

  disturb(dice: Dice, session: Session): void {
    const act = dice.below(8);
    if (act < 3) session.tick();
    else if (act === 3) session.quiet();
    // Whoever has halted it lets it go on before anything else.
    else if (this.halted) {
      session.goOn();
      this.halted = false;
    } else if (act === 4) session.mute();
    else if (act === 5) session.unmute();
    else if (act === 6) {
      session.halt();
      this.halted = true;
    } else if (session.phase === 'mute') {
      session.detach();
      session.attachment();
    }
  }
}

/** All that a session says to one side is frames, and no more than one of them is under way. */
class Listener {
  private readonly splitter = new Splitter();
  constructor() {
    this.splitter.maxMethod = 1 << 24;
  }
  hear(spans: readonly Buffer[]): void {
    for (const span of spans) this.splitter.push(span);
  }
}

const oneSession = (dice: Dice): number => {
  const session = opened(dice.pick([4096, 131_072]));
  const app = new Peer();
  const broker = new Peer();
  const [toApp, toBroker] = [new Listener(), new Listener()];
  const outside = new Outside();
  const broken = dice.pick([20, 200, 1_000_000]);
  session.take();
  let detached = false;
  while (app.frames + broker.frames < FRAMES_OF_ONE) {
    try {
      if (dice.oneIn(40)) outside.disturb(dice, session);
      if (dice.oneIn(2)) session.fromApp(app.chunk(dice, broken));
      else session.fromBroker(broker.chunk(dice, broken));
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      session.refuse(error);
      toApp.hear(session.take().toApp);
      break;
    }
    const said = session.take();
    detached ||= session.phase === 'detached';
    toApp.hear(said.toApp);
    // Another upstream is another stream.
    if (!detached) toBroker.hear(said.toBroker);
  }
  session.report();
  session.hazards();
  session.appClosed();
  session.upstreamClosed();
  session.take();
  return app.frames + broker.frames;
};

/** The splitter by itself: it hands out what it was given, byte for byte, as far as it takes it. */
const oneStream = (dice: Dice): number => {
  const peer = new Peer();
  const splitter = new Splitter();
  splitter.maxMethod = 4096;
  const given: Buffer[] = [];
  const pieces: Piece[] = [];
  let whole = true;
  while (peer.frames < 60 && whole) {
    const chunk = peer.chunk(dice, 30);
    given.push(Buffer.from(chunk));
    try {
      pieces.push(...splitter.push(chunk));
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      whole = false;
    }
  }
  const taken = Buffer.concat(pieces.map((piece) => piece.bytes));
  if (!Buffer.concat(given).subarray(0, taken.length).equals(taken)) throw new Error('bytes changed in the splitter');
  for (const piece of pieces)
    if (piece.type === FRAME.method && !(piece.first && piece.last)) throw new Error('a method in parts');
  return peer.frames;
};

const oneTable = (dice: Dice): void => {
  const bytes = Buffer.alloc(4 + dice.below(40));
  for (let at = 0; at < bytes.length; at++)
    bytes[at] = dice.oneIn(3) ? dice.pick([1, 2, 0x53, 0x46, 0x6c, 0x61]) : dice.below(256);
  lookup(bytes, 'a');
  valueIn(bytes, 'SS');
  const long = withInteger(Buffer.alloc(4), 'n', dice.below(1 << 30));
  if (typeof valueIn(long, 'n') !== 'number') throw new Error('a number is lost');
};

/** The inputs of one seed. Returns how many frames they were; throws a `Fault`. */
export const fuzz = (seed: number): number => {
  const dice = new Dice(seed);
  try {
    oneTable(dice);
    return dice.oneIn(4) ? oneStream(dice) : oneSession(dice);
  } catch (error) {
    throw new Fault(seed, error);
  }
};
