/** What the rest of the sidecar asks of the relay, and what the relay is given. */
import type net from 'node:net';
import type { MuteResult, SessionReport, Settlement } from '../api/control.ts';
import type { Broker } from './doors.ts';
import type { ReplayRelay } from './replay/relay-replay.ts';

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface RelayOptions {
  brokers: readonly Broker[];
  blindPorts: readonly number[];
  log: Log;
  /** Where the Secret of the brokers' TLS is mounted, if there is one; SIDECAR.tlsDir if not given. */
  tlsDir?: string;
  /** How a broker is reached; by DNS, TCP and TLS if not given. */
  connectUpstream?: (host: string, port: number) => Promise<net.Socket>;
  /** Longest time that the loss of an upstream is kept from its app while another is sought, ms; 0, or not given: it is told at once. */
  reattachMs?: number;
}

/** Losses of upstream connections on ordinary days. */
export interface Losses {
  /** Sessions without an upstream, now. */
  readonly severed: number;
  /** Losses that no app has seen. */
  readonly hidden: number;
  /** Those that it was told of in the end. */
  readonly givenUp: number;
}

export interface Relay {
  start(): Promise<void>;
  /** Refuses new connections, waits for the app to end its own for at most graceMs, ends the rest. */
  stop(graceMs: number): Promise<void>;
  report(): SessionReport;
  reattached(): Losses;
  /** Rejects with SHADOW_E_MUTE (or SHADOW_E_SESSION, before anything is touched) and goes on as before. */
  mute(timeoutMs: number): Promise<MuteResult>;
  /** Resolves when the app is served again. */
  unmute(): Promise<void>;
  /** The cut of a source that goes on, and its copy. */
  readonly replay: ReplayRelay;
  /** Right after a restore, before any I/O event: leaves every upstream socket behind, unread. */
  becomeCopy(): void;
  /** Rejects with SHADOW_E_ATTACH; may be tried again. */
  attach(timeoutMs: number): Promise<void>;
  /**
   * The app is served; its consumers wait for `consume`, but not for ever. Rejects with SHADOW_E_ATTACH when an upstream
   * connection is lost and can't be had again within `withinMs`; may be tried again.
   */
  live(withinMs?: number): Promise<void>;
  /** The source's channels are closed (invariant 3: see patience.ts). Said again, it does nothing. */
  consume(): void;
  /** No consumer of the app waits for that. */
  consuming(): boolean;
  supersede(): void;
  /** Resolves when all are proven settled by a barrier (or are lost, which onLost tells). */
  settle(items: Settlement[]): Promise<void>;
  /** Deliveries of superseded upstream channels that can still be settled and are not. */
  outstanding(): number;
  /** Closes the upstream connections of a superseded source. */
  close(): Promise<void>;
  onSettlements(callback: (items: Settlement[]) => void): void;
  /** Carried deliveries the copy's app has not settled. */
  carriedOutstanding(): number;
  /** Upstream lost while mute, attached or superseded. */
  onLost(callback: (why: string) => void): void;
  /** Mute, and nothing waits to be written upstream. */
  quiescent(): boolean;
}

/** What the handoff needs of the relay: all but its end. */
export interface RelayLike extends Omit<Relay, 'stop' | 'live'> {
  live(): void | Promise<void>;
}
