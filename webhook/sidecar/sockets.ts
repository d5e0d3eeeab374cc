/** Small deeds on sockets that every edge does. */
import type net from 'node:net';

export const writeSpans = (socket: net.Socket, spans: readonly Buffer[]): void => {
  if (spans.length === 0 || socket.destroyed || socket.writableEnded) return;
  if (spans.length === 1) {
    socket.write(spans[0]!);
    return;
  }
  socket.cork();
  for (const span of spans) socket.write(span);
  socket.uncork();
};

export const setReading = (socket: net.Socket, reading: boolean): void => {
  if (reading && socket.isPaused()) socket.resume();
  else if (!reading && !socket.isPaused()) socket.pause();
};

/** Nobody listens any more; an error that still comes must not end the process. */
export const silence = (socket: net.Socket): void => {
  socket.removeAllListeners();
  socket.on('error', () => undefined);
};

/** An app learns of a loss as it came: after a close handshake or an end, by an end; after an error, by a reset. */
export const endAs = (socket: net.Socket, failure: Error | undefined): void => {
  if (failure) socket.resetAndDestroy();
  else {
    socket.end();
    socket.resume();
  }
};
