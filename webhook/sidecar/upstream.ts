/** A connection to a broker: its name resolved afresh, its addresses tried one after the other; over TLS where it asks for it. */
import { once } from 'node:events';
import type net from 'node:net';
import tls from 'node:tls';
import { Reader } from './reader.ts';
import { resolve } from './resolve.ts';
import { readTrust, type Trust, tlsOptions } from './trust.ts';

/** For TCP and TLS together. */
const CONNECT_MS = 5000;

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const opened = async (socket: net.Socket, event: string, address: string, port: number): Promise<net.Socket> => {
  try {
    await once(socket, event, { signal: AbortSignal.timeout(CONNECT_MS) });
    return socket;
  } catch (error) {
    // An error may still come, and nobody listens any more.
    socket.on('error', () => undefined);
    socket.destroy();
    throw new Error(`cannot connect to ${address} port ${port}: ${reasonOf(error)}`, { cause: error });
  }
};

const connect = (address: string, port: number): Promise<net.Socket> =>
  opened(new Reader().connect({ host: address, port }), 'connect', address, port);

const secured = async (address: string, port: number, host: string, trust: Trust): Promise<net.Socket> => {
  const socket = tls.connect({ ...tlsOptions(host, trust), host: address, port });
  socket.allowHalfOpen = true;
  socket.setNoDelay(true);
  return opened(socket, 'secureConnect', address, port);
};

const first = async (
  addresses: readonly string[],
  dial: (address: string) => Promise<net.Socket>,
): Promise<net.Socket> => {
  let failure: unknown;
  for (const address of addresses) {
    try {
      return await dial(address);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
};

export const connectUpstream = async (host: string, port: number): Promise<net.Socket> =>
  first(await resolve(host), (address) => connect(address, port));

/**
 * `dir`: where the Secret is mounted, if there is one; `resolvConf`: for tests. Rejects, too, when the broker can't be
 * trusted.
 */
export const connectTls = async (host: string, port: number, dir: string, resolvConf?: string): Promise<net.Socket> => {
  const trust = await readTrust(dir);
  return first(await resolve(host, resolvConf), (address) => secured(address, port, host, trust));
};
