/**
 * Connections to a broker that is reached over TLS, until their app has said a byte. One that speaks TLS itself must reach the
 * broker as it is; who speaks AMQP is read. A client speaks first in both.
 */
import type net from 'node:net';
import { beginsTls } from './protocols.ts';

export class Undecided {
  private readonly apps = new Set<net.Socket>();

  /** `decide` finds the socket paused, with all that it said unread. */
  accept(app: net.Socket, decide: (speaksTls: boolean) => void): void {
    this.apps.add(app);
    const leave = (): void => {
      this.apps.delete(app);
      app.removeListener('data', first);
      app.removeListener('end', ended);
      app.removeListener('error', ignored);
      app.removeListener('close', leave);
    };
    const first = (chunk: Buffer): void => {
      leave();
      app.pause();
      app.unshift(chunk);
      decide(beginsTls(chunk));
    };
    const ended = (): void => {
      leave();
      app.destroy();
    };
    const ignored = (): void => undefined;
    app.on('error', ignored);
    app.on('end', ended);
    app.on('close', leave);
    app.on('data', first);
    app.resume();
  }

  drop(): void {
    for (const app of [...this.apps]) app.destroy();
  }
}
