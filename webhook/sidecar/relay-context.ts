/** What the parts of a relay need of it. */
import type net from 'node:net';
import type { Connection } from './connection.ts';
import type { Watch } from './watch.ts';

export interface RelayContext {
  readonly connections: ReadonlySet<Connection>;
  readonly watch: Watch;
  /** All but the parked ones. */
  served(): Iterable<Connection>;
  dial(connection: Connection): Promise<net.Socket>;
  /** New connections wait from now on. */
  hold(): void;
  /** New connections wait. */
  holding(): boolean;
  /** All are served, and what waited at the door comes in. */
  release(act: (connection: Connection) => void): void;
  serve(connection: Connection, act: () => void): void;
  /** A session is of no use to the handoff any more. */
  lose(why: string): void;
  /** Throws, with this code, when the pod can't be handed over now. */
  refuseUnfit(code: 'SHADOW_E_MUTE' | 'SHADOW_E_FREEZE'): void;
}
