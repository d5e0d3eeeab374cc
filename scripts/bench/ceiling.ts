/** How much goes through without a broker: deliveries from a source to a sink that acknowledges, both in this process. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Session } from '../../webhook/sidecar/session.ts';
import { freePort } from '../playground/ports.ts';
import { type MiddleOptions, openMiddle } from './middles.ts';
import { costOf } from './processes.ts';
import type { Mode } from './rows.ts';
import { ackUpTo, Deliveries, SINK, SOURCE } from './synthetic.ts';

export const CHUNK_BYTES = 64 << 10;
export const MESSAGE_BYTES = 1 << 10;

/** session: the sidecar's session alone, called directly, without a socket. */
export type CeilingMode = Exclude<Mode, 'recording'> | 'session';
export const CEILING_MODES: readonly CeilingMode[] = ['direct', 'pipe', 'toxiproxy', 'sidecar', 'session'];

export interface Ceiling {
  readonly run: number;
  readonly mode: CeilingMode;
  /** To the sink, a second. */
  readonly bytes: number;
  readonly messages: number;
  /** Seconds of the middle's CPU a million messages cost, and the share of one core it was busy. */
  readonly cpuPerMillion?: number;
  readonly busy?: number;
}

type Figures = Omit<Ceiling, 'run' | 'mode'>;

/** A chunk is copied before it goes in, as the kernel would: the session may keep or patch what it is given. */
export const throughSession = (seconds: number, size = MESSAGE_BYTES, chunkBytes = CHUNK_BYTES): Figures => {
  const session = new Session(1, 'synthetic');
  const deliveries = new Deliveries(size, chunkBytes);
  const chunk = Buffer.allocUnsafeSlow(chunkBytes);
  for (const [index, said] of SINK.entries()) {
    session.fromApp(Buffer.from(said));
    session.fromBroker(Buffer.from(SOURCE[index]!));
    session.take();
  }
  let bytes = 0;
  const step = (): void => {
    deliveries.next().copy(chunk);
    session.fromBroker(chunk);
    for (const span of session.take().toApp) bytes += span.length;
    session.fromApp(ackUpTo(deliveries.wholeIn(bytes)));
    session.take();
  };
  const runFor = (ms: number): number => {
    const from = performance.now();
    let now = from;
    while (now - from < ms) {
      for (let count = 0; count < 16; count += 1) step();
      now = performance.now();
    }
    return (now - from) / 1000;
  };
  runFor(Math.min(1, seconds) * 1000);
  const before = bytes;
  const took = runFor(seconds * 1000);
  const rate = (bytes - before) / took;
  const messages = rate / deliveries.messageBytes;
  return { bytes: rate, messages, cpuPerMillion: 1e6 / messages, busy: 1 };
};

/** Chunks under way to the middle at most: far fewer than the ring holds, since each must not change until it is gone. */
const UNDER_WAY = 16;

/** A broker that answers a handshake and then delivers without end. */
class Source {
  readonly deliveries = new Deliveries(MESSAGE_BYTES, CHUNK_BYTES);
  private readonly server: net.Server;
  private stopped = false;
  sent = 0;

  constructor() {
    if (this.deliveries.chunks < 2 * UNDER_WAY) throw new Error('the ring is too small');
    this.server = net.createServer({ noDelay: true }, (socket) => this.serve(socket));
  }

  async listen(host: string, port: number): Promise<void> {
    this.server.listen(port, host);
    await once(this.server, 'listening');
  }

  private serve(socket: net.Socket): void {
    socket.on('error', () => undefined);
    let step = 0;
    socket.on('data', () => {
      // The sink says one thing at a time; what comes after that are acknowledgements.
      const answer = SOURCE[step];
      if (!answer) return;
      socket.write(answer);
      step += 1;
      if (step === SOURCE.length) for (let count = 0; count < UNDER_WAY; count += 1) this.deliver(socket);
    });
  }

  private deliver(socket: net.Socket): void {
    if (this.stopped || socket.destroyed) return;
    this.sent += CHUNK_BYTES;
    socket.write(this.deliveries.next(), () => this.deliver(socket));
  }

  stop(): void {
    this.stopped = true;
  }

  close(): void {
    this.stopped = true;
    this.server.close();
  }
}

/** A client that reads as cheaply as Node.js can, and acknowledges what was whole in each chunk. */
class Sink {
  received = 0;
  private step = 0;
  private acked = 0;
  private readonly socket: net.Socket;
  private readonly deliveries: Deliveries;

  constructor(host: string, port: number, deliveries: Deliveries) {
    this.deliveries = deliveries;
    const buffer = Buffer.allocUnsafeSlow(256 << 10);
    const callback = (bytes: number): boolean => {
      this.take(bytes, buffer);
      return true;
    };
    this.socket = net.connect({ host, port, noDelay: true, onread: { buffer, callback } });
    this.socket.on('error', () => undefined);
    this.socket.write(SINK[0]!);
  }

  /** Each answer of the handshake comes alone, but for the last, which deliveries may follow in the same chunk. */
  private take(bytes: number, buffer: Uint8Array): void {
    let fresh = bytes;
    if (this.step < SOURCE.length) {
      const expected = SOURCE[this.step]!;
      if (fresh < expected.length || !expected.equals(buffer.subarray(0, expected.length))) {
        this.socket.destroy(new Error('the handshake did not come through whole'));
        return;
      }
      this.step += 1;
      const next = SINK[this.step];
      if (next) {
        this.socket.write(next);
        return;
      }
      fresh -= expected.length;
    }
    this.received += fresh;
    const whole = this.deliveries.wholeIn(this.received);
    if (whole === this.acked) return;
    this.acked = whole;
    this.socket.write(ackUpTo(whole));
  }

  close(): void {
    this.socket.destroy();
  }
}

/** All that was sent must come out; then the figures count. */
const DRAIN_MS = 10_000;

const drained = async (source: Source, sink: Sink): Promise<void> => {
  source.stop();
  for (const end = performance.now() + DRAIN_MS; sink.received < source.sent; await sleep(10))
    if (performance.now() > end) throw new Error(`of ${source.sent} bytes ${sink.received} came through`);
  if (sink.received > source.sent) throw new Error(`of ${source.sent} bytes ${sink.received} came through`);
};

const throughSockets = async (
  seconds: number,
  pid: number | undefined,
  source: Source,
  sink: Sink,
): Promise<Figures> => {
  await sleep(seconds * 1000);
  if (sink.received === 0) throw new Error('nothing comes through');
  const cost = () => (pid === undefined ? undefined : costOf(pid));
  const [begin, at, before] = [cost(), performance.now(), sink.received];
  await sleep(seconds * 1000);
  const took = (performance.now() - at) / 1000;
  const end = cost();
  const bytes = (sink.received - before) / took;
  await drained(source, sink);
  const messages = bytes / source.deliveries.messageBytes;
  if (!begin || !end) return { bytes, messages };
  const busy = (end.cpuSeconds - begin.cpuSeconds) / took;
  return { bytes, messages, cpuPerMillion: (busy / messages) * 1e6, busy };
};

const HOST = '127.0.0.1';

export const takeCeiling = async (
  run: number,
  mode: CeilingMode,
  seconds: number,
  options: Pick<MiddleOptions, 'toxiproxy' | 'bundle'> & { readonly scratch: string },
): Promise<Ceiling> => {
  if (mode === 'session') return { run, mode, ...throughSession(seconds) };
  const dir = mkdtempSync(join(options.scratch, 'ceiling-'));
  const source = new Source();
  try {
    const broker = { host: HOST, port: await freePort(HOST) };
    await source.listen(broker.host, broker.port);
    const middle = await openMiddle(mode, { ...options, broker, dir });
    const sink = new Sink(middle.host, middle.port, source.deliveries);
    try {
      return { run, mode, ...(await throughSockets(seconds, middle.pid, source, sink)) };
    } finally {
      sink.close();
      await middle.stop();
    }
  } finally {
    source.close();
    rmSync(dir, { recursive: true, force: true });
  }
};
