/**
 * The control connection of one sidecar: late, in order, and now and then dropped with what is under way. Stands for
 * control.ts of the sidecar at one end and for the hub's WebSocket at the other.
 */
import type { WebSocket } from 'ws';
import type { FromController, FromSidecar, Hello } from '../../webhook/api/control.ts';
import type { Random } from './random.ts';

export interface Ends {
  /** At the sidecar. */
  hello(): Hello;
  opened(): void;
  handle(message: FromController, connection: number): void;
  /** At the hub: the connection is made, and what comes over it. */
  arrived(socket: WebSocket, hello: FromSidecar): void;
  received(socket: WebSocket, message: FromSidecar): void;
  dropped(socket: WebSocket): void;
}

interface Mail {
  readonly at: number;
  readonly deliver: () => void;
}

export class Link {
  private readonly ends: Ends;
  private readonly random: Random;
  /** Longest time a message takes, ticks. */
  latency: number;
  private number = 0;
  private socket: WebSocket | undefined;
  private up: Mail[] = [];
  private down: Mail[] = [];
  private dialAt: number | undefined = 0;
  private now = 0;
  private dead = false;
  drops = 0;

  constructor(ends: Ends, random: Random, latency: number) {
    this.ends = ends;
    this.random = random;
    this.latency = latency;
  }

  // ---- the sidecar's Control

  connection = (): number => (this.socket ? this.number : 0);

  send = (message: FromSidecar): void => {
    const { socket } = this;
    if (!socket || this.dead) return;
    const text = JSON.stringify(message);
    this.post(this.up, () => this.ends.received(socket, JSON.parse(text) as FromSidecar));
  };

  flush = (message: FromSidecar): Promise<boolean> => {
    const open = this.socket !== undefined && !this.dead;
    this.send(message);
    return Promise.resolve(open);
  };

  redial = (): void => {
    this.drop(0);
  };

  // ---- the world's side

  private post(box: Mail[], deliver: () => void): void {
    const at = this.now + this.random.between(0, this.latency);
    box.push({ at: Math.max(at, box.at(-1)?.at ?? 0), deliver });
  }

  step(now: number): void {
    this.now = now;
    if (this.dead) return;
    if (!this.socket && this.dialAt !== undefined && now >= this.dialAt) this.open();
    for (const box of [this.up, this.down]) while (box[0] && box[0].at <= now) box.shift()!.deliver();
  }

  private open(): void {
    this.number += 1;
    const connection = this.number;
    const socket = {
      bufferedAmount: 0,
      send: (text: string) => {
        if (socket !== (this.socket as unknown)) return;
        this.post(this.down, () => this.ends.handle(JSON.parse(text) as FromController, connection));
      },
      close: () => {
        if (socket === (this.socket as unknown)) this.drop(this.random.between(1, 20));
      },
    };
    this.socket = socket as unknown as WebSocket;
    const hello = JSON.stringify(this.ends.hello());
    this.post(this.up, () => this.ends.arrived(socket as unknown as WebSocket, JSON.parse(hello) as FromSidecar));
    this.ends.opened();
  }

  /** With all that is under way, both ways; dialled again after so many ticks. */
  drop(redialAfter: number): void {
    const { socket } = this;
    this.socket = undefined;
    this.up = [];
    this.down = [];
    this.dialAt = this.now + redialAfter;
    if (!socket) return;
    this.drops += 1;
    this.ends.dropped(socket);
  }

  die(): void {
    this.drop(0);
    this.dead = true;
  }
}
