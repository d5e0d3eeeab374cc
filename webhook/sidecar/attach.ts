/** The edge of an attachment: its socket, until the session takes it. */
import type net from 'node:net';
import type { Attachment } from './attachment.ts';
import { silence, writeSpans } from './sockets.ts';

/** Resolves with the connection ready and paused, unread. Rejects with what is wrong and leaves nothing behind. */
export const attachOver = async (
  dial: () => Promise<net.Socket>,
  attachment: Attachment,
  signal: AbortSignal,
): Promise<net.Socket> => {
  const socket = await dial();
  return new Promise((resolve, reject) => {
    let cause: Error | undefined;
    const end = (act: () => void): void => {
      silence(socket);
      signal.removeEventListener('abort', aborted);
      act();
    };
    const fail = (error: Error): void =>
      end(() => {
        socket.destroy();
        reject(error);
      });
    const aborted = (): void => fail(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
    const write = (): void => writeSpans(socket, attachment.toBroker.take());
    signal.addEventListener('abort', aborted);
    socket.on('error', (error) => {
      cause = error;
    });
    socket.on('end', () => fail(new Error('the broker closed the connection')));
    socket.on('close', () => fail(cause ?? new Error('the broker closed the connection')));
    socket.on('data', (chunk: Buffer) => {
      try {
        attachment.fromBroker(chunk);
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      write();
      if (!attachment.done) return;
      socket.pause();
      end(() => resolve(socket));
    });
    if (signal.aborted) aborted();
    else write();
  });
};
