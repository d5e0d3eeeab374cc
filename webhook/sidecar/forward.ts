/**
 * Who still comes to the address of a superseded source is passed on to its copy. The agent turns new connections to the app's
 * ports to listeners of ours (NFT.forward); each is a connection of ours to the same port of the copy. By sockets of our own,
 * not by rewritten addresses: when we end, the kernel closes them all, where a network namespace that goes would leave its
 * peers with connections that answer no more.
 */
import { readFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isLoopback, parseTcp } from '../agent/sockets.ts';
import type { Forward } from '../api/control.ts';
import { SIDECAR } from '../api/names.ts';

/** A connection on which nothing came for so long has no request under way, as far as one can tell. */
const QUIET_MS = 100;
/** Longest wait for those that are not quiet. */
const CLOSE_WITHIN_MS = 1_000;
const LOOK_MS = 20;

/** TCP ports that somebody in this pod but us listens on, for more than the pod itself; sorted. Tables of /proc/net. Pure. */
export const servedPorts = (tables: readonly string[], ownUid: number): number[] => {
  const rows = tables.flatMap(parseTcp);
  const served = rows.filter(
    ({ listening, uid, localAddress }) => listening && uid !== ownUid && !isLoopback(localAddress),
  );
  return [...new Set(served.map(({ localPort }) => localPort))].sort((a, b) => a - b);
};

const tablesHere = (): Promise<string[]> =>
  Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map((file) => readFile(file, 'utf8').catch(() => '')));

export interface ForwarderOptions {
  /** Texts of this network namespace's TCP tables. */
  readonly tables?: () => Promise<string[]>;
  /** Whose listeners are not the app's. */
  readonly uid?: number;
}

export interface Forwarder {
  /**
   * Listens for every port the app serves; the same answer when asked again. Throws, with nothing open, when the host does not
   * take connections to every one of them within dialMs.
   */
  open(host: string, dialMs: number): Promise<Forward[]>;
  /** Goes on for ms milliseconds, then closes what is quiet, for at most a second. At once where nothing was opened. */
  linger(ms: number): Promise<void>;
}

interface Pair {
  readonly sockets: readonly Socket[];
  lastAt: number;
}

const reach = (host: string, port: number, dialMs: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`${host} port ${port}: ${why}`));
    const socket = connect({ host, port });
    const timer = setTimeout(() => {
      socket.destroy();
      fail('no answer');
    }, dialMs);
    socket.on('connect', () => {
      clearTimeout(timer);
      socket.destroy();
      resolve();
    });
    socket.on('error', (error) => {
      clearTimeout(timer);
      fail(error.message);
    });
  });

export const createForwarder = ({ tables = tablesHere, uid = SIDECAR.uid }: ForwarderOptions = {}): Forwarder => {
  const pairs = new Set<Pair>();
  let opened: { host: string; forwards: Promise<Forward[]> } | undefined;

  /** Bytes both ways, and each end as it comes: a client that has said all may still be answered. */
  const pass = (client: Socket, host: string, port: number): void => {
    const upstream = connect({ host, port, noDelay: true, allowHalfOpen: true });
    const pair: Pair = { sockets: [client, upstream], lastAt: performance.now() };
    pairs.add(pair);
    const join = (from: Socket, to: Socket): void => {
      from.on('data', () => {
        pair.lastAt = performance.now();
      });
      from.on('error', () => to.resetAndDestroy());
      from.on('close', () => {
        pairs.delete(pair);
        if (!to.writableEnded) to.destroy();
      });
      from.pipe(to);
    };
    join(client, upstream);
    join(upstream, client);
  };

  const listen = (host: string, port: number): Promise<Server> =>
    new Promise((resolve, reject) => {
      const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => pass(client, host, port));
      server.once('error', reject);
      server.listen(0, () => resolve(server));
    });

  const begin = async (host: string, dialMs: number): Promise<Forward[]> => {
    const ports = servedPorts(await tables(), uid);
    await Promise.all(ports.map((port) => reach(host, port, dialMs)));
    const servers = await Promise.all(ports.map((port) => listen(host, port)));
    return ports.map((port, index) => {
      const address = servers[index]?.address();
      return { port, to: typeof address === 'object' && address !== null ? address.port : 0 };
    });
  };

  const open = async (host: string, dialMs: number): Promise<Forward[]> => {
    if (opened?.host !== host) opened = { host, forwards: begin(host, dialMs) };
    const mine = opened;
    try {
      return await mine.forwards;
    } catch (error) {
      if (opened === mine) opened = undefined;
      throw error;
    }
  };

  const closeQuiet = (): void => {
    for (const { sockets, lastAt } of pairs)
      if (performance.now() - lastAt > QUIET_MS) for (const socket of sockets) socket.end();
  };

  const linger = async (ms: number): Promise<void> => {
    const forwards = await opened?.forwards.catch(() => undefined);
    if (forwards === undefined || forwards.length === 0) return;
    await sleep(ms);
    const end = performance.now() + CLOSE_WITHIN_MS;
    // The listeners stay: whoever comes now is served as long as we are there.
    closeQuiet();
    while (pairs.size > 0 && performance.now() < end) {
      await sleep(LOOK_MS);
      closeQuiet();
    }
  };

  return { open, linger };
};
