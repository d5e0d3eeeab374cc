/** All sessions of a pod fall silent together, or none does. */
import type { MuteResult } from '../api/control.ts';
import { asShadowError } from '../api/errors.ts';
import { lull } from './lull.ts';
import type { RelayContext } from './relay-context.ts';
import type { RelayReplay } from './replay/relay-replay.ts';

export interface PodMutingContext
  extends Pick<RelayContext, 'connections' | 'watch' | 'served' | 'hold' | 'holding' | 'refuseUnfit'> {
  readonly replay: Pick<RelayReplay, 'recording' | 'recordOn' | 'idleMs'>;
  unmute(): Promise<void>;
}

export class PodMuting {
  private readonly context: PodMutingContext;
  /** Sessions lost so far. */
  private losses = 0;

  constructor(context: PodMutingContext) {
    this.context = context;
  }

  lost(): void {
    this.losses += 1;
  }

  /** Rejects with SHADOW_E_MUTE (or SHADOW_E_SESSION, before anything is touched) and goes on as before. */
  async mute(timeoutMs: number): Promise<MuteResult> {
    const { context } = this;
    if (context.holding() && this.allMute()) return this.result();
    if (context.replay.recording) await lull(() => this.result().carried, context.watch, context.replay.idleMs());
    context.refuseUnfit('SHADOW_E_MUTE');
    const { losses } = this;
    context.hold();
    for (const connection of context.connections)
      if (!connection.park()) connection.guard(() => connection.session.mute());
    try {
      await context.watch.until(
        () => this.quiescent(),
        timeoutMs,
        () => this.failure(losses),
      );
    } catch (error) {
      if (!context.replay.recordOn()) await context.unmute();
      throw asShadowError(error, 'SHADOW_E_MUTE');
    }
    return this.result();
  }

  /** Mute, and nothing waits to be written upstream. */
  quiescent(): boolean {
    if (!this.context.holding() || !this.allMute()) return false;
    for (const { upstream } of this.context.connections) if (upstream && upstream.writableLength > 0) return false;
    return true;
  }

  private allMute(): boolean {
    for (const { session } of this.context.served()) if (session.phase !== 'mute') return false;
    return true;
  }

  private result(): MuteResult {
    let carried = 0;
    for (const { session, upstream } of this.context.served()) if (upstream) carried += session.outstanding;
    return { carried };
  }

  private failure(losses: number): string | undefined {
    if (!this.context.holding()) return 'un-muted meanwhile';
    if (this.losses > losses) return 'a session was lost meanwhile';
    for (const { session } of this.context.served())
      if (session.phase === 'blind') return 'a connection is not AMQP 0-9-1';
    return undefined;
  }
}
