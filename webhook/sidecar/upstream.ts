/** A TCP connection to a broker: its name resolved afresh, its addresses tried one after the other. */
import { once } from 'node:events';
import net from 'node:net';
import { resolve } from './resolve.ts';

const CONNECT_MS = 5000;

const connect = async (address: string, port: number): Promise<net.Socket> => {
  const socket = net.connect({ host: address, port, noDelay: true, allowHalfOpen: true });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_MS) });
    return socket;
  } catch (error) {
    socket.destroy();
    throw new Error(`cannot connect to ${address}:${port}`, { cause: error });
  }
};

export const connectUpstream = async (host: string, port: number): Promise<net.Socket> => {
  let failure: unknown;
  for (const address of await resolve(host)) {
    try {
      return await connect(address, port);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
};
