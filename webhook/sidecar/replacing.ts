/**
 * An un-mute that can't go on with what it has. A session whose consumers were cancelled in doubt goes on with a new upstream,
 * as a copy would; its old one settles what is carried and is closed, and then it consumes.
 */
import { attachOver } from './attach.ts';
import type { Connection } from './connection.ts';
import type { OldUpstreams } from './old-upstreams.ts';
import type { Log } from './relay-api.ts';
import type { RelayContext } from './relay-context.ts';

/** Longest time an un-mute spends on new upstream connections before it goes on with the old ones. */
const REPLACE_MS = 5000;

export interface ReplacingContext extends Pick<RelayContext, 'watch' | 'dial' | 'serve'> {
  readonly olds: OldUpstreams;
  readonly log: Pick<Log, 'warn'>;
  /** What a session carries from now on is settled in this process. */
  carries(): void;
  /** Its consumers wait until the old channels are closed, but not for ever. */
  wait(): void;
  /** They are. */
  consume(): void;
}

export class Replacing {
  private readonly context: ReplacingContext;
  /** Sessions are being given new upstreams. */
  active = false;

  constructor(context: ReplacingContext) {
    this.context = context;
  }

  /** Resolves when all are served, on a new upstream or, where none can be had, on their old one. */
  async begin(stuck: readonly Connection[]): Promise<void> {
    const { olds, consume } = this.context;
    const signal = AbortSignal.timeout(REPLACE_MS);
    this.active = true;
    await Promise.all(stuck.map((connection) => this.replace(connection, signal)));
    this.active = false;
    void olds
      .settled()
      .then(() => olds.close())
      .then(consume);
  }

  /** Of a session that is mute, or about to be. */
  private async replace(connection: Connection, signal: AbortSignal): Promise<void> {
    const { session } = connection;
    const { watch, dial, serve, olds, log, carries, wait } = this.context;
    try {
      await watch.until(() => session.phase !== 'muting', REPLACE_MS);
      const attachment = session.attachment();
      const upstream = await attachOver(() => dial(connection), attachment, signal);
      const left = session.stuck ? connection.divide() : undefined;
      if (!left) upstream.destroy();
      else {
        carries();
        olds.adopt(left.half, left.socket, session.handshake.tune.heartbeat);
        connection.adopt(attachment, upstream);
      }
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      log.warn({ connection: session.id, why }, 'going on with the upstream connection it has');
    }
    serve(connection, () => (session.phase === 'attached' ? session.live() : session.unmute()));
    if (session.waitsToConsume) wait();
  }
}
