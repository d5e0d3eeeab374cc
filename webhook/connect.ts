/** A node whose power is cut refuses no connection, it is silent. */
import type { ClientRequest } from 'node:http';

/** Longest wait for a connection, TLS included; its first packet may be lost twice. */
const CONNECT_MS = 4_000;

/** Ends a call over TLS that gets no connection in time, by an error that says so. One that is kept alive is there already. */
export const connectInTime = (call: ClientRequest): void => {
  call.on('socket', (socket) => {
    if (!socket.connecting) return;
    const late = () => call.destroy(new Error(`no connection within ${CONNECT_MS} ms`));
    const timer = setTimeout(late, CONNECT_MS);
    socket.once('secureConnect', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
  });
};
