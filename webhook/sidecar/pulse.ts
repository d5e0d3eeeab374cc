/** How a connection knows by heartbeats that its broker, or its app, is there. */
import type net from 'node:net';
import { SILENT_TICKS, UNHEARD_TICKS } from './heartbeat.ts';
import type { Session } from './session.ts';

/** The connection, as far as it beats. */
export interface Beating {
  readonly session: Session;
  readonly app: net.Socket;
  readonly upstream: net.Socket | undefined;
  /** A loss of its upstream may be hidden from its app, as far as the pod goes; and, now, as far as the session goes. */
  readonly mayHide: boolean;
  readonly hides: boolean;
  guard(input: () => void): void;
  /** The upstream is as good as lost. */
  unheard(upstream: net.Socket): void;
}

export class Pulse {
  private readonly of: Beating;
  private timer: NodeJS.Timeout | undefined;
  /** Half heartbeat intervals without a byte from the broker: 0 again with each. */
  silentTicks = 0;
  /** The same of the app, and how much of it had been read by then. */
  private appSilentTicks = 0;
  private appRead = 0;

  constructor(of: Beating) {
    this.of = of;
  }

  /** From the moment on at which an interval is agreed on. */
  beat(): void {
    if (this.timer) return;
    const { done, tune } = this.of.session.handshake;
    if (!done || tune.heartbeat === 0) return;
    this.timer = setInterval(() => this.tick(), tune.heartbeat * 500);
  }

  get appHangs(): boolean {
    return this.appSilentTicks >= UNHEARD_TICKS;
  }

  private tick(): void {
    const { of } = this;
    of.guard(() => of.session.tick());
    this.listenToApp();
    const { upstream, session } = of;
    if (!upstream || upstream.isPaused()) return;
    this.silentTicks += 1;
    // In the open phase the app judges its peer itself, by the same heartbeats; what it need not know must be seen before.
    if (this.silentTicks === UNHEARD_TICKS - 1 && of.mayHide) of.guard(() => session.reassure());
    if (this.silentTicks < UNHEARD_TICKS) return;
    if (of.hides || (session.phase !== 'open' && this.silentTicks > SILENT_TICKS)) of.unheard(upstream);
  }

  private listenToApp(): void {
    const { app } = this.of;
    const silent = app.bytesRead === this.appRead && !app.isPaused();
    this.appRead = app.bytesRead;
    this.appSilentTicks = silent ? this.appSilentTicks + 1 : 0;
  }

  end(): void {
    clearInterval(this.timer);
  }
}
