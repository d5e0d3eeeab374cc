/** A competing replica without a sidecar: its app straight at the broker, with taps on its connections all the same. */
import type net from 'node:net';
import type { App } from './app/app.ts';
import type { Surroundings } from './surroundings.ts';
import { Tap } from './tap.ts';
import { dial } from './upstream.ts';

export class Rival {
  readonly app: App;
  private readonly around: Surroundings;
  private readonly sockets = new Map<
    number,
    { readonly socket: net.Socket; readonly tap: Tap; readonly inbox: Buffer[] }
  >();
  private time = 0;

  constructor(around: Surroundings, app: App) {
    this.around = around;
    this.app = app;
  }

  step(): void {
    const { app } = this;
    this.time += 1;
    for (const connection of app.dials.splice(0)) void this.dial(connection);
    app.advance(this.time);
    for (const [connection, { socket, tap, inbox }] of this.sockets) {
      for (const bytes of inbox.splice(0)) app.fromBroker(connection, bytes);
      for (const bytes of app.connections[connection]!.take()) {
        tap.written(bytes);
        socket.write(bytes);
      }
      if (app.connections[connection]!.state === 'closed') socket.end();
    }
  }

  kill(): void {
    for (const { socket } of this.sockets.values()) socket.destroy();
  }

  private async dial(connection: number): Promise<void> {
    const socket = await dial(this.around.port);
    const { name } = this.app.config;
    const tap = new Tap(`${name}/${connection}`, name, () => 'full', this.around.taps);
    const inbox: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => {
      tap.read(chunk);
      inbox.push(chunk);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.sockets.delete(connection);
      tap.left(false);
    });
    this.sockets.set(connection, { socket, tap, inbox });
    this.app.begin(connection);
  }
}
