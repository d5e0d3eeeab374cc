/** TCP ports of this machine. */
import net from 'node:net';

/** Longest wait for an answer, ms. */
const ANSWER_MS = 1000;

/** One that nobody listens on now, at that address. */
export const freePort = async (host = '127.0.0.1'): Promise<number> => {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
};

/** Whether somebody takes connections there. */
export const accepts = (port: number, host = '127.0.0.1'): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect({ host, port, timeout: ANSWER_MS });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => end(true));
    socket.on('timeout', () => end(false));
    socket.on('error', () => end(false));
  });
