/** The edge of one session: its two sockets. What is read goes to the session, what it says is written; and how each ends. */
import type net from 'node:net';
import type { Settlement } from '../api/control.ts';
import type { Attachment } from './attachment.ts';
import { Calming } from './calming.ts';
import { latency } from './latency.ts';
import type { Phase } from './phases.ts';
import { Pulse } from './pulse.ts';
import { ALWAYS, Reader } from './reader.ts';
import { Reading } from './reading.ts';
import type { Session } from './session.ts';
import type { Refusal } from './severance.ts';
import { endAs, silence, writeSpans } from './sockets.ts';
import type { Superseded } from './superseded.ts';

/** What a connection tells its relay. */
export interface ConnectionEvents {
  warn(fields: object, message: string): void;
  settlements(items: Settlement[]): void;
  lost(why: string): void;
  /** Something was done: whoever waits for a phase may look again. */
  changed(): void;
  gone(connection: Connection): void;
  /** Whether a loss of its upstream may be hidden from its app, as far as the pod goes. Not given: it may not. */
  mayHide?(): boolean;
  /** Its upstream is lost, and its app need not know yet: whoever hears it sees to `restore` or `giveUp`. */
  severed?(connection: Connection, why: string): void;
}

/** Phases in which the upstream, or what was carried from it, is needed without the app. */
const KEPT: readonly Phase[] = ['mute', 'detached', 'attached'];

export class Connection {
  readonly session: Session;
  readonly app: net.Socket;
  upstream: net.Socket | undefined;
  /** Why the upstream socket ended. */
  failure: Error | undefined;
  private readonly events: ConnectionEvents;
  private over = false;
  /** Something of it can't be understood: its app must know. */
  private broken = false;
  private readonly reading: Reading;
  private readonly pulse = new Pulse(this);
  private readonly calming = new Calming(() => this.guard(() => this.session.quiet()));
  /** Accepted while nothing of the app may go upstream, or silent so far: it has no upstream, and its app is not read. */
  parked = true;

  constructor(session: Session, app: net.Socket, events: ConnectionEvents) {
    this.session = session;
    this.app = app;
    this.events = events;
    this.reading = new Reading(session, app, () => this.reading.flow(this.upstream));
    // What is read from one side is needed until the other's kernel has it; all else is copied.
    if (app instanceof Reader) app.lends = () => !!this.upstream && this.upstream.writableLength > 0;
    app.on('data', (chunk: Buffer) => {
      const began = latency.toBroker.begin();
      this.guard(() => session.fromApp(chunk));
      if (began > 0 && this.upstream) latency.toBroker.end(began, this.upstream);
    });
    app.on('drain', () => {
      this.reading.flow(this.upstream);
      // A copy's record waits for that.
      if (session.phase === 'replaying') this.events.changed();
    });
    app.on('end', () => this.endOfApp());
    app.on('error', () => undefined);
    app.on('close', () => this.appClosed());
    app.pause();
  }

  /** Takes a connected upstream socket. */
  use(upstream: net.Socket): void {
    this.join(upstream);
    this.act();
  }

  private join(upstream: net.Socket): void {
    const { app, pulse } = this;
    this.upstream = upstream;
    this.parked = false;
    this.failure = undefined;
    pulse.silentTicks = 0;
    if (upstream instanceof Reader) upstream.lends = () => this.app.writableLength > 0;
    upstream.on('data', (chunk: Buffer) => {
      pulse.silentTicks = 0;
      this.calming.restart();
      const began = latency.toApp.begin();
      this.guard(() => this.session.fromBroker(chunk));
      if (began > 0) latency.toApp.end(began, app);
    });
    upstream.on('drain', () => this.reading.flow(this.upstream));
    upstream.on('end', () => this.upstreamClosed(upstream));
    upstream.on('error', (error) => {
      this.failure ??= error;
    });
    upstream.on('close', () => this.upstreamClosed(upstream));
  }

  /** As `use`, with what the session does first on it. */
  useFor(upstream: net.Socket, first: () => void): void {
    this.join(upstream);
    this.guard(first);
  }

  /** Runs one input through the session. Whatever it throws ends this connection, and this one only. */
  guard(input: () => void): void {
    if (this.over) return;
    try {
      input();
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    }
    this.act();
  }

  private fail(error: Error): void {
    this.failure ??= error;
    this.broken = true;
    const told = this.session.refuse(error);
    const { id: connection, broker } = this.session;
    this.events.warn({ connection, broker, error: error.message }, 'session failed');
    const upstream = this.upstream;
    // It is told, not reset: its own connection is closed as a broker would close it.
    if (told) this.failure = undefined;
    upstream?.destroy();
    if (upstream) this.upstreamClosed(upstream);
    if (!told && this.session.phase !== 'detached') this.app.resetAndDestroy();
  }

  /** Writes what the session has to say. */
  act(): void {
    const actions = this.session.take();
    writeSpans(this.app, actions.toApp);
    if (this.upstream) writeSpans(this.upstream, actions.toBroker);
    if (actions.settlements.length > 0) this.events.settlements(actions.settlements);
    if (actions.lost) this.events.lost(actions.lost);
    if (actions.forced) this.upstreamForced();
    if (actions.severed) this.sever();
    if (this.session.left) this.letGo();
    this.pulse.beat();
    this.calming.wanted(this.session.awaitsQuiet);
    this.reading.flow(this.upstream);
    this.events.changed();
  }

  // ---- ends

  /** An app that hangs the broker is right to end, so that others get its messages. */
  get mayHide(): boolean {
    return !this.broken && !this.pulse.appHangs && this.events.mayHide?.() === true;
  }

  /** A loss of its upstream now would be hidden from the app. */
  get hides(): boolean {
    return this.session.hiding === undefined && this.mayHide;
  }

  /** The broker is taken for dead. */
  unheard(upstream: net.Socket): void {
    this.failure ??= new Error('the broker sends no heartbeats');
    upstream.destroy();
  }

  private endOfApp(): void {
    if (this.session.phase === 'open' || this.session.phase === 'opening' || this.session.phase === 'blind')
      this.upstream?.end();
    if (this.session.phase === 'replaying' || this.session.phase === 'severed') this.app.end();
  }

  private sever(): void {
    const why = this.failure?.message ?? 'the broker closed the connection';
    this.failure = undefined;
    this.events.severed?.(this, why);
  }

  /** What was written is lost, but for the close-ok: nothing more will be read. */
  private upstreamForced(): void {
    this.release()?.destroySoon();
    this.loseUpstream();
  }

  /** It goes on with what an attachment has set up. */
  restore(attachment: Attachment, upstream: net.Socket): void {
    this.useFor(upstream, () => this.session.restore(attachment));
  }

  /** The app learns that its upstream is lost. `refusal`: what the broker said of another one. */
  giveUp(refusal: Refusal | undefined): void {
    let told = true;
    this.guard(() => {
      told = this.session.giveUp(refusal);
    });
    if (told) endAs(this.app, this.failure);
    else this.app.resetAndDestroy();
  }

  /** It has closed the connection while there was no broker to hear it. */
  private letGo(): void {
    if (this.app.writableEnded || this.app.destroyed) return;
    if (this.session.left === 'unheard') this.app.resetAndDestroy();
    else endAs(this.app, this.failure);
  }

  private appClosed(): void {
    this.guard(() => this.session.appClosed());
    this.endIfAbandoned();
  }

  /** No app, and nobody else needs the upstream. A mute source keeps it: its copy settles through it. */
  endIfAbandoned(): void {
    if (!this.app.destroyed || KEPT.includes(this.session.phase)) return;
    const { upstream } = this;
    // Ended, not destroyed: what was written must arrive, and a reset would overtake it.
    upstream?.end();
    upstream?.resume();
    this.dispose();
  }

  private upstreamClosed(upstream: net.Socket): void {
    if (this.upstream !== upstream) return;
    this.upstream = undefined;
    this.forget();
    upstream.destroySoon();
    this.loseUpstream();
  }

  /** There is no upstream (any more). The app learns of it at once, or when it is served again. */
  loseUpstream(): void {
    let tell = false;
    const { session, mayHide } = this;
    const why = session.phase === 'open' && mayHide && !session.wires.closing ? session.hiding : undefined;
    if (why) this.events.warn({ connection: session.id, why }, 'upstream lost: the app is told');
    this.guard(() => {
      tell = session.upstreamClosed(mayHide);
    });
    if (tell) endAs(this.app, this.failure);
    this.events.changed();
  }

  /** Nothing was said yet: it can wait without an upstream. */
  park(): boolean {
    if (this.parked || this.session.handshake.header.length > 0 || !this.session.wires.toApp.untouched)
      return this.parked;
    this.abandonUpstream();
    this.parked = true;
    this.reading.flow(this.upstream);
    return true;
  }

  /** The upstream is left behind, unread: nothing of it may reach the copy (called before any I/O event). */
  abandonUpstream(): void {
    this.release()?.destroy();
  }

  /** An upstream that is left may still be writing what the app has said. */
  private forget(): void {
    if (this.app instanceof Reader) this.app.abandon();
  }

  private release(): net.Socket | undefined {
    const { upstream } = this;
    this.upstream = undefined;
    this.failure = undefined;
    if (upstream) silence(upstream);
    if (upstream instanceof Reader) upstream.lends = ALWAYS;
    this.forget();
    return upstream;
  }

  /** Its upstream half with its socket; the app waits for another. */
  divide(): { readonly half: Superseded; readonly socket: net.Socket } | undefined {
    const socket = this.release();
    if (!socket) return undefined;
    const half = this.session.divide();
    this.act();
    return { half, socket };
  }

  /** The session and its socket take what an attachment has set up. */
  adopt(attachment: Attachment, upstream: net.Socket): void {
    this.session.adopt(attachment);
    this.use(upstream);
  }

  destroy(): void {
    this.app.destroy();
    this.upstream?.destroy();
    this.dispose();
  }

  private dispose(): void {
    if (this.over) return;
    this.over = true;
    this.pulse.end();
    this.reading.end();
    this.calming.wanted(false);
    this.events.gone(this);
  }
}
