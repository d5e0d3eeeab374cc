/** What breaks the protocol ends its own connection, with a reply code and a reason; nothing else happens (spec 1.2, 4.2.3). */
import { describe, expect, it } from 'vitest';
import { FRAME, Malformed } from '../../../webhook/sidecar/frames.ts';
import { Arguments, encode, METHOD, methodOf, PROTOCOL_HEADER } from '../../../webhook/sidecar/methods.ts';
import { Session } from '../../../webhook/sidecar/session.ts';
import { fuzz } from '../../fuzz/fuzz.ts';
import { frame, long, longText, method, octet, short, tag, text } from './model/frames.ts';

const TUNE = [short(2047), long(4096), short(60)];

const opened = (): Session => {
  const session = new Session(1, 'broker:5672');
  session.fromApp(PROTOCOL_HEADER);
  session.fromBroker(method(0, METHOD.connectionStart, octet(0), octet(9)));
  session.fromApp(method(0, METHOD.connectionStartOk, long(0), text('PLAIN'), longText('\0a\0b'), text('en_US')));
  session.fromBroker(method(0, METHOD.connectionTune, ...TUNE));
  session.fromApp(method(0, METHOD.connectionTuneOk, ...TUNE));
  session.fromApp(method(0, METHOD.connectionOpen, text('/'), text(''), octet(0)));
  session.fromBroker(method(0, METHOD.connectionOpenOk, text('')));
  session.fromApp(encode.channelOpen(1));
  session.fromBroker(method(1, METHOD.channelOpenOk, long(0)));
  session.take();
  return session;
};

const header = (size: number): Buffer =>
  frame(FRAME.header, 1, Buffer.concat([short(60), short(0), tag(size), short(0)]));
const publish = method(1, METHOD.basicPublish, short(0), text(''), text('q'), octet(0));
const endless = frame(FRAME.body, 1, Buffer.from('abc'));
endless[endless.length - 1] = 0;

const failing = (session: Session, act: () => void): Error => {
  try {
    act();
  } catch (error) {
    return error as Error;
  }
  throw new Error(`nothing is wrong in phase ${session.phase}`);
};

const closeIn = (spans: readonly Buffer[]): { code: number; text: string } => {
  const bytes = spans.at(-1)!;
  expect(methodOf(bytes)).toBe(METHOD.connectionClose);
  const args = new Arguments(bytes);
  return { code: args.short(), text: args.shortString() };
};

const BROKEN: [string, Buffer[], number, string][] = [
  ['a frame without its end', [publish, header(3), endless], 501, 'FRAME_ERROR - frame without its end octet'],
  ['an unknown type', [frame(4, 1, Buffer.alloc(4))], 501, 'FRAME_ERROR - frame type 4'],
  [
    'a method without its number',
    [frame(FRAME.method, 1, Buffer.alloc(3))],
    501,
    'FRAME_ERROR - method frame of 3 bytes',
  ],
  [
    'a method beyond frame_max',
    [frame(FRAME.method, 1, Buffer.alloc(4097))],
    501,
    'FRAME_ERROR - method frame of 4097',
  ],
  [
    'a heartbeat with a payload',
    [frame(FRAME.heartbeat, 0, Buffer.alloc(1))],
    501,
    'FRAME_ERROR - heartbeat of 1 bytes',
  ],
  [
    'a header too small',
    [publish, frame(FRAME.header, 1, Buffer.alloc(13))],
    501,
    'FRAME_ERROR - content header of 13',
  ],
  ['arguments cut short', [method(1, METHOD.basicAck, long(0))], 502, 'SYNTAX_ERROR - method arguments cut short'],
  ['a string longer than its frame', [method(1, METHOD.basicCancel, octet(255))], 502, 'SYNTAX_ERROR - '],
  ['two headers', [publish, header(3), header(3)], 505, 'UNEXPECTED_FRAME - two headers in one content'],
  [
    'more body than announced',
    [publish, header(3), frame(FRAME.body, 1, Buffer.alloc(4))],
    505,
    'UNEXPECTED_FRAME - body',
  ],
];

describe('an app that breaks the protocol', () => {
  it.each(BROKEN)('by %s is told so', (_name, frames, code, reason) => {
    const session = opened();
    const error = failing(session, () => {
      for (const each of frames) session.fromApp(each);
    });
    expect(error).toBeInstanceOf(Malformed);
    expect(session.refuse(error)).toBe(true);
    const close = closeIn(session.take().toApp);
    expect(close.code).toBe(code);
    expect(close.text).toContain(reason);
    // Whatever it says now is nobody's.
    session.fromApp(publish);
    session.fromApp(Buffer.from('nonsense'));
    expect(session.take()).toMatchObject({ toApp: [], toBroker: [] });
    expect(session.refuse(error)).toBe(false);
  });

  it('is not told in the midst of a message, nor before the connection is open', () => {
    const session = opened();
    session.fromBroker(
      Buffer.concat([method(1, METHOD.basicGetOk, tag(1), octet(0), text(''), text('q'), long(0)), header(30)]),
    );
    session.fromBroker(frame(FRAME.body, 1, Buffer.alloc(30)).subarray(0, 20));
    session.take();
    expect(session.refuse(failing(session, () => session.fromApp(frame(4, 1, Buffer.alloc(4)))))).toBe(false);
    expect(session.take().toApp).toEqual([]);
    const early = new Session(1, 'broker:5672');
    early.fromApp(PROTOCOL_HEADER);
    early.take();
    expect(early.refuse(failing(early, () => early.fromApp(frame(4, 0, Buffer.alloc(4)))))).toBe(false);
    expect(early.take().toApp).toEqual([]);
  });

  it('gives back what was carried to it, once', () => {
    const session = opened();
    const consume = { tag: 'c', queue: 'q', noLocal: false, noAck: false, exclusive: false, arguments: long(0) };
    session.fromApp(encode.consume(1, consume));
    session.fromBroker(method(1, METHOD.basicConsumeOk, text('c')));
    session.fromBroker(
      Buffer.concat([method(1, METHOD.basicDeliver, text('c'), tag(1), octet(0), text(''), text('q')), header(0)]),
    );
    session.mute();
    session.quiet();
    session.fromBroker(method(1, METHOD.basicCancelOk, text('c')));
    session.fromBroker(method(1, METHOD.channelFlowOk, octet(1)));
    expect(session.phase).toBe('mute');
    session.detach();
    const attachment = session.attachment();
    for (const reply of [
      method(0, METHOD.connectionStart, octet(0), octet(9)),
      method(0, METHOD.connectionTune, ...TUNE),
      method(0, METHOD.connectionOpenOk, text('')),
      method(1, METHOD.channelOpenOk, long(0)),
    ])
      attachment.fromBroker(reply);
    session.adopt(attachment);
    session.live();
    session.take();
    session.refuse(failing(session, () => session.fromApp(frame(4, 1, Buffer.alloc(4)))));
    expect(session.take().settlements).toMatchObject([{ tag: 1, kind: 'nack', requeue: true }]);
    session.upstreamClosed();
    session.appClosed();
    expect(session.take().settlements).toEqual([]);
  });
});

describe('a broker that breaks the protocol', () => {
  it.each([
    ['an unknown type', frame(4, 1, Buffer.alloc(4))],
    ['a delivery cut short', method(1, METHOD.basicDeliver, text('c'), long(0))],
    [
      'a tag no broker gives out',
      method(1, METHOD.basicGetOk, Buffer.alloc(8, 0x7f), octet(0), text(''), text('q'), long(0)),
    ],
  ])('by %s: the app hears that it was not its fault', (_name, bytes) => {
    const session = opened();
    const error = failing(session, () => session.fromBroker(bytes));
    expect(session.refuse(error)).toBe(true);
    const close = closeIn(session.take().toApp);
    expect(close.code).toBe(541);
    expect(close.text).toMatch(/^INTERNAL_ERROR - the broker sent a /);
  });
});

describe('fuzzed frames', () => {
  it('bring about nothing else (more of them: npm run fuzz)', () => {
    let frames = 0;
    for (let seed = 1; seed <= 1000; seed++) frames += fuzz(seed);
    expect(frames).toBeGreaterThan(50_000);
  });
});
