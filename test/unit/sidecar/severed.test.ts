/** An upstream that is lost on an ordinary day, without a socket: random schedules (invariants 1 to 3, and 6: the app sees nothing). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FRAME, type Piece, Splitter } from '../../../webhook/sidecar/frames.ts';
import { encode, METHOD, methodOf, PROTOCOL_HEADER, readTag } from '../../../webhook/sidecar/methods.ts';
import { Session } from '../../../webhook/sidecar/session.ts';
import { HELD_BYTES, needs } from '../../../webhook/sidecar/severed.ts';
import { MOST_NAMES } from '../../../webhook/sidecar/topology.ts';
import type { AppOptions } from './model/app.ts';
import { ModelBroker, ModelConnection, type Random } from './model/broker.ts';
import { content, long, method, octet, short, tag, text } from './model/frames.ts';
import { World } from './model/world.ts';

const generator = (seed: number): Random => {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
};

const options: fc.Arbitrary<AppOptions> = fc.record({
  prefetch: fc.constantFrom(1, 2, 7, 50, 0),
  ack: fc.constantFrom('each', 'every'),
  batch: fc.constantFrom(1, 3, 10),
  jitter: fc.constantFrom(1, 4),
  confirm: fc.boolean(),
  // An answer that nobody acknowledges may be lost with the connection, as without us.
  calls: fc.constant(false),
  echo: fc.constantFrom(0, 5),
  lost: fc.constantFrom(0, 4),
  nack: fc.constantFrom(0, 6),
  get: fc.constantFrom(0, 7),
  channel: fc.constantFrom(0, 8),
  safe: fc.boolean(),
});

/** The broker is gone, with all that was under way either way. False: the app would have to know. */
const lose = (world: World): boolean => {
  const { pair, connection } = world;
  if (pair.session.hiding !== undefined) return false;
  connection.gone();
  connection.out.length = 0;
  while (pair.toBroker.length > 0) pair.toBroker.take(() => 0.999999);
  expect(pair.session.upstreamClosed(true)).toBe(false);
  expect(pair.session.phase).toBe('severed');
  pair.drain();
  return true;
};

/** `fails`: how many frames into it the broker is lost once more. */
const attach = (world: World, fails: number): boolean => {
  const connection = new ModelConnection(world.broker);
  const attachment = world.pair.session.attachment();
  for (let count = 0; !attachment.done; count++) {
    if (count === fails) {
      connection.gone();
      return false;
    }
    for (const bytes of attachment.toBroker.take()) connection.receive(bytes);
    for (const bytes of connection.out.splice(0, 1)) attachment.fromBroker(bytes);
  }
  world.connection = connection;
  world.pair.session.restore(attachment);
  world.pair.drain();
  return true;
};

const counts = (names: readonly string[]): Map<string, number> => {
  const found = new Map<string, number>();
  for (const name of names) found.set(name, (found.get(name) ?? 0) + 1);
  return found;
};

const finish = (world: World): void => {
  const { pair, broker } = world;
  const over = (): boolean =>
    world.fedAll && broker.queue('in').length === 0 && pair.app.idle && pair.session.outstanding === 0;
  for (let turn = 0; turn < 200 && !over(); turn++) {
    world.run(20_000);
    pair.app.flush();
    world.run(20_000);
  }
  expect(over()).toBe(true);
};

const check = (world: World, { confirm, prefetch, nack, echo, safe, ack, get }: AppOptions): void => {
  const { app } = world.pair;
  const { broker } = world;
  // One that is asked for is handed out before those that wait; who settles up to it may not know of them yet (Deliveries.late).
  const overtakes = get > 0 && ack === 'every';
  if (prefetch > 0 && !overtakes) expect(app.most).toBeLessThanOrEqual(prefetch);
  for (const body of world.bodies) {
    expect(app.done).toContain(body);
    expect(broker.settled.get(body) ?? 0).toBe(1);
  }
  const reached = counts(broker.outputs.map(({ key, body }) => `${key} ${body}`));
  const said = counts([...app.sent.slice(1), ...app.extrasSent.map((body) => `extra ${body}`)]);
  for (const [name, count] of reached) expect(count).toBeLessThanOrEqual(said.get(name) ?? 0);
  const acked = counts(app.acked.map((seq) => app.sent[seq]!));
  for (const [name, count] of acked) expect(reached.get(name) ?? 0).toBeGreaterThanOrEqual(count);
  if (confirm) expect(app.acked.length + app.nacked.length).toBe(app.published);
  if (nack > 0 || echo > 0 || safe) return;
  const first = [...new Set(app.seen.filter((body) => !body.startsWith('m')))];
  expect(first).toEqual(world.bodies);
};

interface Loss {
  readonly after: number;
  readonly away: number;
  readonly fails: number;
}
/** False: there was no moment to hide it. */
const comeThrough = (world: World, { after, away, fails }: Loss): boolean => {
  world.run(after);
  for (let tries = 0; tries < 50 && world.pair.session.hiding !== undefined; tries++) world.run(1);
  if (!lose(world)) return false;
  world.run(away);
  if (!attach(world, fails)) attach(world, -1);
  return true;
};

/**
 * As in replay.test.ts: there the copy need not do as its source did. A message that came again makes two outputs that are the
 * same: where settling one depends on its outcome, source and copy may settle the other first.
 */
const mayDiverge = ({ ack, jitter, channel, safe }: AppOptions): boolean =>
  jitter > 1 && (ack === 'every' || channel > 0 || safe === true);

/** As a relay waits for it. */
const settleStale = (world: World): boolean => {
  for (let turn = 0; turn < 50 && world.pair.session.stale > 0; turn++) {
    world.until(() => world.pair.session.stale === 0);
    world.pair.app.flush();
  }
  return world.pair.session.stale === 0;
};

/** From the cut to the commit, until all that was carried is settled. False: the app needs more to settle it. */
const handOver = (world: World): boolean => {
  world.cut({ onDivergence: 'Abort', stallMs: 1e9 }, false);
  world.run(300);
  world.mute();
  const { player } = world;
  world.until(() => player?.failure !== undefined || player?.done === true);
  expect({ failure: player?.failure, done: player?.done }).toEqual({ failure: undefined, done: true });
  world.commit();
  for (let turn = 0; turn < 50 && !world.until(() => world.handedOver); turn++) {
    world.pair.app.flush();
    world.consume();
  }
  world.consume();
  return world.handedOver;
};

const scenario = fc.record({
  seed: fc.integer(),
  options,
  losses: fc.array(fc.record({ after: fc.nat(400), away: fc.nat(60), fails: fc.nat(12) }), {
    minLength: 1,
    maxLength: 6,
  }),
});

describe('a lost upstream', () => {
  it('costs no message, repeats no publish, exceeds no prefetch, and the app is told every outcome once', () => {
    let hidden = 0;
    fc.assert(
      fc.property(scenario, ({ seed, options: how, losses }) => {
        if (how.safe && !how.confirm) return;
        const world = new World(generator(seed), how, 40);
        world.until(() => world.pair.app.ready > 0);
        for (const loss of losses) if (comeThrough(world, loss)) hidden += 1;
        finish(world);
        world.run(50_000);
        check(world, how);
      }),
      { numRuns: Number(process.env.RUNS ?? 400) },
    );
    expect(hidden).toBeGreaterThan(0);
  }, 120_000);

  it('does not spoil the handoff after it, nor a handoff the next loss', () => {
    let handedOver = 0;
    fc.assert(
      fc.property(scenario, ({ seed, options: how, losses }) => {
        if ((how.safe && !how.confirm) || mayDiverge(how)) return;
        const world = new World(generator(seed), how, 60);
        world.until(() => world.pair.app.ready > 0);
        const [last, ...first] = losses;
        for (const loss of first) comeThrough(world, loss);
        if (settleStale(world) && handOver(world)) handedOver += 1;
        comeThrough(world, last!);
        finish(world);
        world.run(50_000);
        check(world, how);
      }),
      { numRuns: Number(process.env.RUNS ?? 150) },
    );
    expect(handedOver).toBeGreaterThan(0);
  }, 120_000);
});

const start = (...channels: number[]): Session => {
  const session = new Session(1, 'broker:5672');
  const tune = (id: number): Buffer => method(0, id, short(2047), long(131072), short(60));
  session.fromApp(PROTOCOL_HEADER);
  session.fromBroker(method(0, METHOD.connectionStart, octet(0), octet(9)));
  session.fromApp(method(0, METHOD.connectionStartOk, long(0)));
  session.fromBroker(tune(METHOD.connectionTune));
  session.fromApp(
    Buffer.concat([tune(METHOD.connectionTuneOk), method(0, METHOD.connectionOpen, text('/'), octet(0), octet(0))]),
  );
  session.fromBroker(method(0, METHOD.connectionOpenOk, text('')));
  for (const channel of channels) {
    session.fromApp(encode.channelOpen(channel));
    session.fromBroker(method(channel, METHOD.channelOpenOk, long(0)));
  }
  session.take();
  return session;
};
const consume = (channel: number, queue: string, table = ''): Buffer =>
  encode.consume(channel, {
    tag: `tag-${queue}`,
    queue,
    noLocal: false,
    noAck: false,
    exclusive: false,
    arguments: Buffer.concat([long(table.length), Buffer.from(table, 'latin1')]),
  });
const consuming = (session: Session, channel: number, queue: string, table = ''): void => {
  session.fromApp(consume(channel, queue, table));
  session.fromBroker(method(channel, METHOD.basicConsumeOk, text(`tag-${queue}`)));
  session.take();
};
const delivery = (channel: number, queue: string, number: number, body: string): Buffer[] => [
  method(channel, METHOD.basicDeliver, text(`tag-${queue}`), tag(number), octet(0), text(''), text(queue)),
  ...content(channel, { correlation: '', body }),
];
const publish = (channel: number, body: string): Buffer[] => [
  method(channel, METHOD.basicPublish, short(0), text(''), text('out'), octet(0)),
  ...content(channel, { correlation: '', body }),
];
const split = (spans: readonly Buffer[]): Piece[] => new Splitter().push(Buffer.concat(spans));
const names = (spans: readonly Buffer[]): number[] =>
  split(spans).flatMap((piece) => (piece.type === FRAME.method ? [methodOf(piece.bytes)] : []));
const bodies = (spans: readonly Buffer[]): string =>
  split(spans)
    .flatMap((piece) => (piece.type === FRAME.body ? [piece.bytes.toString('latin1', 7, 7 + piece.size)] : []))
    .join('');

const declare = (channel: number, name: string, bits: number): Buffer =>
  method(channel, METHOD.queueDeclare, short(0), text(name), octet(bits), long(0));

/** Another upstream, ready. */
const another = (session: Session): { asked: number[]; said: number[]; toApp: Buffer[]; toBroker: Buffer[] } => {
  const connection = new ModelConnection(new ModelBroker());
  const attachment = session.attachment();
  const sent: Buffer[] = [];
  while (!attachment.done) {
    for (const bytes of attachment.toBroker.take()) {
      if (sent.length > 0 || !bytes.equals(PROTOCOL_HEADER)) sent.push(bytes);
      connection.receive(bytes);
    }
    for (const bytes of connection.out.splice(0)) attachment.fromBroker(bytes);
  }
  session.restore(attachment);
  const { toApp, toBroker } = session.take();
  return { asked: names(sent), said: names(toBroker), toApp, toBroker };
};
const settlement = (session: Session, bytes: Buffer): { tag: number; multiple: boolean }[] => {
  session.fromApp(bytes);
  return split(session.take().toBroker).map((piece) => ({
    tag: readTag(piece.bytes, 11),
    multiple: piece.bytes[19] === 1,
  }));
};

describe('a session without its upstream', () => {
  it('makes consumers, confirm mode and qos as they were, and translates what is settled over both upstreams', () => {
    const session = start(1);
    session.fromApp(encode.qos(1, 3, false));
    session.fromBroker(method(1, METHOD.basicQosOk));
    consuming(session, 1, 'in');
    for (const number of [1, 2]) session.fromBroker(Buffer.concat(delivery(1, 'in', number, 'old')));
    session.take();
    expect(session.upstreamClosed(true)).toBe(false);
    const lost = session.take();
    expect([lost.severed, session.take().severed]).toEqual([true, false]);
    // It is not forgotten meanwhile.
    expect(split(lost.toApp).map(({ type }) => type)).toEqual([FRAME.heartbeat]);
    session.tick();
    expect(split(session.take().toApp).map(({ type }) => type)).toEqual([FRAME.heartbeat]);
    const { asked, said } = another(session);
    expect(asked.slice(-2)).toEqual([METHOD.channelOpen, METHOD.basicQos]);
    expect(said).toEqual([METHOD.basicConsume]);
    session.fromBroker(method(1, METHOD.basicConsumeOk, text('tag-in')));
    for (const number of [1, 2, 3]) session.fromBroker(Buffer.concat(delivery(1, 'in', number, `${number}`)));
    // It holds two, and asked for three at most.
    expect(bodies(session.take().toApp)).toBe('1');
    expect(settlement(session, encode.settle(1, 'ack', 1, false, false))).toEqual([]);
    expect(session.stale).toBe(1);
    // The last of the old ones, and the first of the new ones, which has come by now.
    expect(settlement(session, encode.settle(1, 'ack', 3, true, false))).toEqual([{ tag: 1, multiple: true }]);
    expect([session.stale, session.outstanding]).toEqual([0, 2]);
    expect(settlement(session, encode.settle(1, 'nack', 5, false, true))).toEqual([{ tag: 3, multiple: false }]);
    // Settled twice is the app's mistake, as ever: the broker is asked, with a tag that it does not know.
    expect(settlement(session, encode.settle(1, 'ack', 2, false, false))).toEqual([
      { tag: Number.MAX_SAFE_INTEGER, multiple: false },
    ]);
  });

  it('hands out what waits before what is asked for: who settles up to that must have seen it', () => {
    const session = start(1);
    session.fromApp(encode.qos(1, 2, false));
    session.fromBroker(method(1, METHOD.basicQosOk));
    consuming(session, 1, 'in');
    for (const number of [1, 2]) session.fromBroker(Buffer.concat(delivery(1, 'in', number, 'old')));
    session.fromApp(encode.settle(1, 'ack', 1, true, false));
    session.upstreamClosed(true);
    session.take();
    another(session);
    session.fromBroker(method(1, METHOD.basicConsumeOk, text('tag-in')));
    for (const number of [1, 2]) session.fromBroker(Buffer.concat(delivery(1, 'in', number, `${number}`)));
    expect(bodies(session.take().toApp)).toBe('1');
    session.fromApp(method(1, METHOD.basicGet, short(0), text('more'), octet(0)));
    const head = [tag(3), octet(0), text(''), text('more'), long(0)];
    session.fromBroker(
      Buffer.concat([method(1, METHOD.basicGetOk, ...head), ...content(1, { correlation: '', body: 'got' })]),
    );
    expect(bodies(session.take().toApp)).toBe('2got');
    expect(settlement(session, encode.settle(1, 'ack', 5, true, false))).toEqual([{ tag: 3, multiple: true }]);
  });

  it('refuses publishes without an outcome, each once, and says nothing of a content half sent upstream', () => {
    const session = start(1, 2);
    consuming(session, 1, 'in');
    session.fromApp(encode.confirmSelect(1));
    session.fromBroker(method(1, METHOD.confirmSelectOk));
    session.fromApp(Buffer.concat([...publish(1, 'first'), ...publish(1, 'second')]));
    session.fromBroker(encode.outcome(1, true, 1));
    const half = Buffer.concat(publish(1, 'third, in several frames'));
    const at = half.length - 11;
    session.fromApp(half.subarray(0, at));
    session.take();
    session.upstreamClosed(true);
    session.fromApp(half.subarray(at, at + 4));
    session.take();
    const { said, toApp } = another(session);
    // The content goes nowhere, so that nothing waits for its end.
    expect(said).toEqual([METHOD.basicConsume]);
    expect(split(toApp).map(({ bytes }) => [methodOf(bytes), readTag(bytes, 11)])).toEqual([[METHOD.basicNack, 2]]);
    session.fromApp(Buffer.concat([half.subarray(at + 4), ...publish(1, 'fourth'), ...publish(2, 'fifth')]));
    const after = session.take();
    expect(bodies(after.toBroker)).toBe('fourthfifth');
    expect(split(after.toApp).map(({ bytes }) => [methodOf(bytes), readTag(bytes, 11)])).toEqual([
      [METHOD.basicNack, 3],
    ]);
    session.fromBroker(encode.outcome(1, true, 1));
    expect(split(session.take().toApp).map(({ bytes }) => [methodOf(bytes), readTag(bytes, 11)])).toEqual([
      [METHOD.basicAck, 4],
    ]);
  });

  it('cuts off the end of a frame of which the next upstream has no beginning, whatever channel it is on', () => {
    const session = start(1, 2);
    const [head, ...rest] = publish(2, 'in vain');
    const half = Buffer.concat(rest);
    session.fromApp(
      Buffer.concat([method(2, METHOD.channelClose, short(200), text(''), long(0)), head!, half.subarray(0, -3)]),
    );
    session.take();
    session.upstreamClosed(true);
    session.take();
    another(session);
    session.fromApp(Buffer.concat([half.subarray(-3), ...publish(1, 'next')]));
    expect(bodies(session.take().toBroker)).toBe('next');
  });

  it('repeats what was asked and not answered, in order, with the qos each consumer was asked for with', () => {
    const session = start(1);
    session.fromApp(
      Buffer.concat([encode.qos(1, 1, false), consume(1, 'a'), encode.qos(1, 9, false), consume(1, 'b')]),
    );
    session.fromApp(encode.channelOpen(2));
    session.take();
    session.upstreamClosed(true);
    session.take();
    const { said, toBroker } = another(session);
    expect(said).toEqual([
      METHOD.basicQos,
      METHOD.basicConsume,
      METHOD.basicQos,
      METHOD.basicConsume,
      METHOD.channelOpen,
    ]);
    expect(
      split(toBroker).flatMap(({ bytes }) => (methodOf(bytes) === METHOD.basicQos ? [bytes.readUInt16BE(15)] : [])),
    ).toEqual([1, 9]);
    session.fromBroker(Buffer.concat([method(1, METHOD.basicQosOk), method(1, METHOD.basicConsumeOk, text('tag-a'))]));
    expect(names(session.take().toApp)).toEqual([METHOD.basicQosOk, METHOD.basicConsumeOk]);
  });

  it('ends a channel that was being closed, and does not make a consumer that was being cancelled', () => {
    const session = start(1, 2);
    consuming(session, 1, 'in');
    session.fromApp(
      Buffer.concat([encode.cancel(1, 'tag-in'), method(2, METHOD.channelClose, short(200), text(''), long(0))]),
    );
    session.take();
    session.upstreamClosed(true);
    expect(names(session.take().toApp)).toEqual([METHOD.channelCloseOk]);
    const { said, asked } = another(session);
    expect(asked.filter((each) => each === METHOD.channelOpen)).toHaveLength(1);
    expect(said).toEqual([METHOD.basicCancel]);
    session.fromBroker(method(1, METHOD.basicCancelOk, text('tag-in')));
    expect(names(session.take().toApp)).toEqual([METHOD.basicCancelOk]);
    expect(session.report().channels[0]?.consumers).toEqual([]);
  });

  it('takes the broker at its word when it forces the connection, and at no other', () => {
    const session = start(1);
    session.fromBroker(encode.connectionClosed(320, 'CONNECTION_FORCED - shutdown'));
    const { forced, toBroker, toApp } = session.take();
    expect([forced, names(toBroker), names(toApp)]).toEqual([true, [METHOD.connectionCloseOk], []]);
    session.upstreamClosed(true);
    expect(session.take().severed).toBe(true);
    expect(session.giveUp()).toBe(true);
    const told = session.take().toApp;
    expect(Buffer.concat(told).includes('CONNECTION_FORCED - shutdown')).toBe(true);
    expect(names(told)).toEqual([METHOD.connectionClose]);
    const handedOver = start(1);
    handedOver.fromBroker(encode.connectionClosed(320, 'CONNECTION_FORCED - shutdown'));
    handedOver.take();
    expect([handedOver.upstreamClosed(false), names(handedOver.take().toApp)]).toEqual([
      true,
      [METHOD.connectionClose],
    ]);
    const refused = start(1);
    refused.upstreamClosed(true);
    refused.take();
    expect(refused.giveUp({ code: 403, text: 'ACCESS_REFUSED' })).toBe(true);
    expect(Buffer.concat(refused.take().toApp).includes('ACCESS_REFUSED')).toBe(true);
    const mistaken = start(1);
    mistaken.fromBroker(encode.connectionClosed(505, 'UNEXPECTED_FRAME'));
    expect([mistaken.phase, names(mistaken.take().toApp)]).toEqual(['open', [METHOD.connectionClose]]);
    expect(mistaken.upstreamClosed(true)).toBe(true);
    const silent = start(1);
    silent.upstreamClosed(true);
    expect(silent.giveUp()).toBe(false);
  });

  it('keeps what the app says for the next upstream, up to a limit, and lets it go when it closes', () => {
    const session = start(1);
    session.upstreamClosed(true);
    session.take();
    session.fromApp(Buffer.concat(publish(1, 'held')));
    expect([session.wantsApp, session.take().toBroker]).toEqual([true, []]);
    const { toBroker } = another(session);
    expect(bodies(toBroker)).toBe('held');
    session.upstreamClosed(true);
    const large = content(1, { correlation: '', body: 'x'.repeat(HELD_BYTES) }, 1 << 17);
    session.fromApp(Buffer.concat([publish(1, '')[0]!, ...large]));
    expect(session.wantsApp).toBe(false);
    // Small frames cost more than their bytes.
    const settling = start(1);
    settling.upstreamClosed(true);
    settling.fromApp(
      Buffer.concat(Array.from({ length: 700 }, (_, n) => encode.settle(1, 'ack', n + 1, false, false))),
    );
    expect(settling.wantsApp).toBe(false);
    const leaving = start(1);
    leaving.upstreamClosed(true);
    leaving.take();
    leaving.fromApp(encode.connectionClose());
    expect([names(leaving.take().toApp), leaving.left]).toEqual([[METHOD.connectionCloseOk], 'answered']);
  });

  it.each<[string, 'answered' | 'unheard', (session: Session) => void, Buffer[]]>([
    ['before the loss', 'unheard', (session) => session.fromApp(Buffer.concat(publish(1, 'x'))), []],
    ['since the loss', 'unheard', () => undefined, publish(1, 'x')],
    ['with confirms', 'answered', (session) => session.fromApp(encode.confirmSelect(1)), publish(1, 'x')],
  ])('never says by close-ok that what was published has arrived: %s', (_, left, before, since) => {
    const session = start(1);
    before(session);
    session.upstreamClosed(true);
    session.take();
    session.fromApp(Buffer.concat([...since, encode.connectionClose()]));
    expect([session.left, names(session.take().toApp)]).toEqual([
      left,
      left === 'answered' ? [METHOD.connectionCloseOk] : [],
    ]);
  });

  it('asks for what the app has declared and has not deleted, and for what it consumes', () => {
    const session = start(1);
    session.fromApp(declare(1, 'kept', 2));
    session.fromBroker(method(1, METHOD.queueDeclareOk, text('kept'), long(0), long(0)));
    session.fromApp(Buffer.concat([declare(1, 'hasty', 2 + 16), declare(1, 'brief', 2 + 16), declare(1, 'asked', 1)]));
    session.fromApp(method(1, METHOD.queueDelete, short(0), text('brief'), octet(4)));
    session.fromBroker(method(1, METHOD.queueDeclareOk, text('asked'), long(0), long(0)));
    for (const name of ['topic', 'short'])
      session.fromApp(method(1, METHOD.exchangeDeclare, short(0), text(name), text('topic'), octet(2 + 16), long(0)));
    session.fromApp(method(1, METHOD.exchangeDelete, short(0), text('short'), octet(2)));
    consuming(session, 1, 'in');
    session.fromApp(Buffer.concat([declare(1, 'to come', 2), consume(1, 'to come')]));
    session.upstreamClosed(true);
    expect(needs(session.wires)).toEqual({ queues: new Set(['kept', 'hasty', 'in']), exchanges: new Set(['topic']) });
  });

  it('puts a channel that was opening into confirm mode, though nobody answers that', () => {
    const session = start();
    session.fromApp(Buffer.concat([encode.channelOpen(1), method(1, METHOD.confirmSelect, octet(1))]));
    session.upstreamClosed(true);
    session.take();
    expect(another(session).said).toEqual([METHOD.channelOpen, METHOD.confirmSelect]);
    session.fromBroker(Buffer.concat([method(1, METHOD.channelOpenOk, long(0)), method(1, METHOD.confirmSelectOk)]));
    expect(names(session.take().toApp)).toEqual([METHOD.channelOpenOk]);
  });

  it('speaks for a broker that is silent, but never within a message', () => {
    const session = start(1);
    session.reassure();
    expect(split(session.take().toApp).map(({ type }) => type)).toEqual([FRAME.heartbeat]);
    consuming(session, 1, 'in');
    session.fromBroker(delivery(1, 'in', 1, 'half')[0]!);
    session.take();
    session.reassure();
    expect(session.take().toApp).toEqual([]);
  });

  it.each<[string, (session: Session) => void]>([
    [
      'consumers that wait for the end of a handoff',
      (session) => {
        consuming(session, 1, 'in');
        session.mute();
        // What a mute waits for.
        session.fromBroker(method(1, METHOD.basicCancelOk, text('tag-in')));
        session.quiet();
        session.fromBroker(method(1, METHOD.channelFlowOk, octet(1)));
        session.detach();
        const connection = new ModelConnection(new ModelBroker());
        const attachment = session.attachment();
        while (!attachment.done) {
          for (const bytes of attachment.toBroker.take()) connection.receive(bytes);
          for (const bytes of connection.out.splice(0)) attachment.fromBroker(bytes);
        }
        session.adopt(attachment);
        session.live();
        expect([session.phase, session.waitsToConsume]).toEqual(['open', true]);
      },
    ],
    ['a halt', (session) => session.halt()],
    ['a mute', (session) => session.mute()],
    ['transactions', (session) => session.fromApp(method(1, METHOD.txSelect))],
    [
      'an exclusive queue',
      (session) => {
        session.fromApp(declare(1, 'mine', 4));
        session.fromBroker(method(1, METHOD.queueDeclareOk, text('mine'), long(0), long(0)));
      },
    ],
    ['an exclusive queue to come', (session) => session.fromApp(declare(1, 'mine', 4))],
    ['a consumer of a server-named queue', (session) => consuming(session, 1, 'amq.gen-x')],
    [
      'an exclusive consumer',
      (session) => {
        const fields = { tag: 'x', queue: 'in', noLocal: false, noAck: false, exclusive: true };
        session.fromApp(encode.consume(1, { ...fields, arguments: Buffer.alloc(4) }));
      },
    ],
    ['a consumer of replies to come', (session) => session.fromApp(consume(1, 'amq.rabbitmq.reply-to'))],
    [
      'a channel that is being closed after publishes without confirms',
      (session) =>
        session.fromApp(
          Buffer.concat([...publish(1, 'x'), method(1, METHOD.channelClose, short(200), text(''), long(0))]),
        ),
    ],
    [
      'more names than are remembered',
      (session) => {
        for (let n = 0; n <= MOST_NAMES; n++) session.fromApp(declare(1, `q${n}`, 2 + 16));
        expect(session.wires.declared.queues.size).toBe(MOST_NAMES + 1);
      },
    ],
    ['a consumer of replies', (session) => consuming(session, 1, 'amq.rabbitmq.reply-to')],
    ['a consumer of a stream', (session) => consuming(session, 1, 'log', '\x0fx-stream-offsetS\0\0\0\x05first')],
    [
      'a secret that was renewed',
      (session) => session.fromApp(method(0, METHOD.connectionUpdateSecret, long(0), text(''))),
    ],
    [
      'a message half delivered',
      (session) => {
        consuming(session, 1, 'in');
        session.fromBroker(Buffer.concat(delivery(1, 'in', 1, 'half')).subarray(0, -3));
      },
    ],
    [
      'a message of which the header is still to come',
      (session) => {
        consuming(session, 1, 'in');
        session.fromBroker(delivery(1, 'in', 1, 'half')[0]!);
      },
    ],
    ['an app that is gone', (session) => session.appClosed()],
  ])('is not hidden with %s', (_, first) => {
    const session = start(1);
    expect(session.hiding).toBeUndefined();
    first(session);
    session.take();
    expect([session.hiding, session.upstreamClosed(true), session.take().severed]).toEqual([
      expect.any(String),
      expect.anything(),
      false,
    ]);
    expect(session.phase).not.toBe('severed');
  });
});
