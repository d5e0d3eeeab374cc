/** Seeking another upstream: how long, how often, and what the app is told in the end. */
import type net from 'node:net';
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Attachment } from '../../../webhook/sidecar/attachment.ts';
import { Hosts } from '../../../webhook/sidecar/hosts.ts';
import { encode, METHOD, PROTOCOL_HEADER } from '../../../webhook/sidecar/methods.ts';
import { pauseBefore, Reattaching, type Severable } from '../../../webhook/sidecar/reattach.ts';
import { Session } from '../../../webhook/sidecar/session.ts';
import { ModelBroker, ModelConnection } from './model/broker.ts';
import { long, method, octet, short, text } from './model/frames.ts';

/** A socket to the model broker; or to one that answers the protocol header with these bytes, and ends. */
class Wire extends Duplex {
  private readonly broker: ModelConnection;
  private readonly answer: Buffer | undefined;
  constructor(answer?: Buffer, broker = new ModelBroker()) {
    super();
    this.broker = new ModelConnection(broker);
    this.answer = answer;
  }
  override _read(): void {}
  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    if (this.answer) {
      this.push(this.answer);
      this.push(null);
    } else {
      this.broker.receive(bytes);
      for (const each of this.broker.out.splice(0)) this.push(each);
    }
    done();
  }
  get socket(): net.Socket {
    return this as unknown as net.Socket;
  }
}

const tune = (id: number): Buffer => method(0, id, short(2047), long(131072), short(60));
class Severed implements Severable {
  readonly session = new Session(1, 'broker:5672');
  readonly told: unknown[] = [];
  upstream: net.Socket | undefined;
  constructor(queue?: string) {
    const { session } = this;
    session.fromApp(PROTOCOL_HEADER);
    session.fromBroker(method(0, METHOD.connectionStart, octet(0), octet(9)));
    session.fromApp(method(0, METHOD.connectionStartOk, long(0)));
    session.fromBroker(tune(METHOD.connectionTune));
    session.fromApp(tune(METHOD.connectionTuneOk));
    session.fromApp(method(0, METHOD.connectionOpen, text('/'), octet(0), octet(0)));
    session.fromBroker(method(0, METHOD.connectionOpenOk, text('')));
    session.fromApp(encode.channelOpen(1));
    session.fromBroker(method(1, METHOD.channelOpenOk, long(0)));
    if (queue !== undefined) {
      session.fromApp(method(1, METHOD.queueDeclare, short(0), text('declared'), octet(2), long(0)));
      session.fromBroker(method(1, METHOD.queueDeclareOk, text('declared'), long(0), long(0)));
      session.fromApp(method(1, METHOD.exchangeDeclare, short(0), text('exchange'), text('topic'), octet(2), long(0)));
      session.fromBroker(method(1, METHOD.exchangeDeclareOk));
      const fields = { tag: 't', queue, noLocal: false, noAck: false, exclusive: false, arguments: Buffer.alloc(4) };
      session.fromApp(encode.consume(1, fields));
      session.fromBroker(method(1, METHOD.basicConsumeOk, text('t')));
    }
    session.upstreamClosed(true);
  }
  restore(attachment: Attachment, upstream: net.Socket): void {
    this.session.restore(attachment);
    this.upstream = upstream;
  }
  giveUp(refusal: unknown): void {
    this.told.push(refusal);
  }
  get over(): boolean {
    return this.upstream !== undefined || this.told.length > 0;
  }
}

const quiet = { info: () => undefined, warn: () => undefined };
let running: Reattaching<Severed> | undefined;
const seeking = (patienceMs: number, dial: () => Promise<net.Socket>): Reattaching<Severed> => {
  running = new Reattaching<Severed>({ patienceMs, dial, shun: () => undefined, log: quiet });
  return running;
};
afterEach(() => running?.drop());

const until = async (holds: () => boolean): Promise<number> => {
  const began = performance.now();
  while (!holds()) {
    if (performance.now() - began > 3000) throw new Error('never');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return performance.now() - began;
};
const unreached = (): Promise<net.Socket> => Promise.reject(new Error('ECONNREFUSED'));

describe('another upstream', () => {
  it('is sought until it is found', async () => {
    const severed = new Severed();
    let dials = 0;
    const seek = seeking(10_000, () => (dials++ < 2 ? unreached() : Promise.resolve(new Wire().socket)));
    seek.begin(severed, 'test');
    expect(seek.losses.severed).toBe(1);
    await until(() => severed.over);
    expect([dials, severed.session.phase, severed.told]).toEqual([3, 'open', []]);
    await until(() => seek.losses.severed === 0);
    expect(seek.losses).toEqual({ severed: 0, hidden: 1, givenUp: 0 });
  });

  it('is given up in time, whatever is waited for, and with the last that a broker has said', async () => {
    const starting = new Wire(encode.connectionClosed(541, 'INTERNAL_ERROR - vhost is down')).socket;
    const ways: [() => Promise<net.Socket>, unknown][] = [
      [unreached, undefined],
      [() => new Promise(() => undefined), undefined],
      [() => Promise.resolve(new Wire(Buffer.from([])).socket), undefined],
      [() => (starting.destroyed ? unreached() : Promise.resolve(starting)), { code: 541 }],
    ];
    for (const [dial, refusal] of ways) {
      const severed = new Severed();
      seeking(200, dial).begin(severed, 'test');
      expect(await until(() => severed.over)).toBeLessThan(1000);
      if (refusal) expect(severed.told).toMatchObject([refusal]);
      else expect(severed.told).toEqual([undefined]);
    }
  });

  it('is waited for until it has the queues of all consumers', async () => {
    const down = new Severed('in');
    const broker = new ModelBroker();
    broker.absent.set('in', "NOT_FOUND - home node 'b' of durable queue 'in' is down or inaccessible");
    let dials = 0;
    const dial = (): Promise<net.Socket> => {
      dials += 1;
      return Promise.resolve(new Wire(undefined, broker).socket);
    };
    seeking(10_000, dial).begin(down, 'test');
    await until(() => dials === 3);
    expect([down.over, down.session.phase]).toEqual([false, 'severed']);
    broker.absent.clear();
    await until(() => down.over);
    expect(down.told).toEqual([]);
    // What it asked on leaves no channel behind.
    expect([...broker.connections].at(-1)?.channels.size).toBe(1);
  });

  it.each([
    ['in', "NOT_FOUND - no queue 'in' in vhost '/'"],
    ['declared', "NOT_FOUND - no queue 'declared' in vhost '/'"],
    ['exchange', "NOT_FOUND - no exchange 'exchange' in vhost '/'"],
  ])('is of no use to an app of which it has not all that it declared: %s', async (name, why) => {
    const gone = new Severed('in');
    const broker = new ModelBroker();
    broker.absent.set(name, why);
    seeking(60_000, () => Promise.resolve(new Wire(undefined, broker).socket)).begin(gone, 'test');
    await until(() => gone.over);
    expect([gone.upstream, gone.told]).toEqual([undefined, [undefined]]);
  });

  it('is sought at the next host when one takes the connection and is of no use', async () => {
    const severed = new Severed();
    const hosts = new Hosts();
    const dialled: string[] = [];
    const dial = async (): Promise<net.Socket> => {
      const { socket, host } = await hosts.dial(
        [
          { host: 'a', port: 1 },
          { host: 'b', port: 1 },
        ],
        ({ host }) => {
          const starting = encode.connectionClosed(541, 'INTERNAL_ERROR - vhost is down');
          return Promise.resolve(new Wire(host === 'a' ? starting : undefined).socket);
        },
      );
      dialled.push(host.host);
      return socket;
    };
    const shun = (): void => hosts.shun(`${dialled.at(-1)}:1`);
    running = new Reattaching<Severed>({ patienceMs: 2000, dial, shun, log: quiet });
    running.begin(severed, 'test');
    await until(() => severed.over);
    expect([dialled, severed.told]).toEqual([['a', 'b'], []]);
  });

  it('has all its time once it is connected', async () => {
    const severed = new Severed();
    const dial = async (): Promise<net.Socket> => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return new Wire().socket;
    };
    running = new Reattaching<Severed>({ patienceMs: 2000, dial, shun: () => undefined, log: quiet, attemptMs: 100 });
    running.begin(severed, 'test');
    await until(() => severed.over);
    expect(severed.told).toEqual([]);
  });

  it('is not sought where the app is refused', async () => {
    const severed = new Severed();
    const refusal = encode.connectionClosed(403, 'ACCESS_REFUSED');
    seeking(60_000, () => Promise.resolve(new Wire(refusal).socket)).begin(severed, 'test');
    await until(() => severed.over);
    expect(severed.told).toMatchObject([{ code: 403, text: 'ACCESS_REFUSED' }]);
  });

  it('is not for an app that is gone', async () => {
    const severed = new Severed();
    let answer: ((socket: net.Socket) => void) | undefined;
    const seek = seeking(60_000, () => new Promise((resolve) => (answer = resolve)));
    seek.begin(severed, 'test');
    await until(() => answer !== undefined);
    seek.end(severed);
    const { socket } = new Wire();
    answer?.(socket);
    await until(() => socket.destroyed);
    expect([severed.over, seek.losses.severed]).toEqual([false, 0]);
  });

  it('that is lost at once, again and again, does not renew the patience', async () => {
    const severed = new Severed();
    const seek = seeking(1000, () => Promise.resolve(new Wire().socket));
    let found = 0;
    seek.begin(severed, 'test');
    const ms = await until(() => {
      if (severed.upstream && severed.told.length === 0) {
        found += 1;
        severed.upstream = undefined;
        severed.session.upstreamClosed(true);
        seek.begin(severed, 'test');
      }
      return severed.told.length > 0;
    });
    expect(found).toBeGreaterThan(1);
    expect(found).toBeLessThan(10);
    expect(ms).toBeLessThan(1600);
    expect(seek.losses).toMatchObject({ hidden: found, givenUp: 1 });
  });

  it('is sought less and less often, and by many not at once', () => {
    fc.assert(
      fc.property(fc.nat(10_000), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
        const pause = pauseBefore(attempt, random);
        expect(pause).toBeGreaterThanOrEqual(25);
        expect(pause).toBeLessThanOrEqual(2000);
        expect(pauseBefore(attempt, 0.9)).toBeGreaterThan(pauseBefore(attempt, 0.1));
        expect(pauseBefore(attempt + 1, random)).toBeGreaterThanOrEqual(pause);
      }),
    );
  });
});
