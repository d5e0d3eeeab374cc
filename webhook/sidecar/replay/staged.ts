/**
 * Upstream connections opened ahead, while a copy still replays: kept alive until it goes live, and opened anew when the app
 * has changed its channels since.
 */
import type net from 'node:net';
import { attachOver } from '../attach.ts';
import type { Attachment } from '../attachment.ts';
import { HEARTBEAT } from '../methods.ts';
import type { Session } from '../session.ts';
import { silence } from '../sockets.ts';

export interface Staged {
  readonly attachment: Attachment;
  readonly socket: net.Socket;
  /** What the channels were like. */
  readonly channels: string;
  readonly heartbeat: NodeJS.Timeout | undefined;
}

const channelsOf = (session: Session): string =>
  JSON.stringify(
    [...session.wires.openChannels()].map(({ id, confirm, prefetch, globalPrefetch }) => [
      id,
      confirm,
      prefetch,
      globalPrefetch,
    ]),
  );

export class Stage {
  private readonly staged = new Map<Session, Staged>();
  /** Ends so far: what was begun before the last one is not wanted any more. */
  private ends = 0;

  /** It is open, and as the session is now. */
  has(session: Session): boolean {
    return this.staged.get(session)?.channels === channelsOf(session);
  }

  /** Opens what is not there. Rejects with what is wrong; may be tried again. */
  async prepare(session: Session, dial: () => Promise<net.Socket>, signal: AbortSignal): Promise<void> {
    if (this.has(session)) return;
    this.drop(session);
    const channels = channelsOf(session);
    const { ends } = this;
    const attachment = session.attachment();
    const socket = await attachOver(dial, attachment, signal);
    const seconds = session.handshake.tune.heartbeat;
    const heartbeat = seconds > 0 ? setInterval(() => socket.write(HEARTBEAT), seconds * 500) : undefined;
    const staged: Staged = { attachment, socket, channels, heartbeat };
    if (signal.aborted || ends !== this.ends || this.staged.has(session)) {
      discard(staged);
      return;
    }
    this.staged.set(session, staged);
    const lost = (): void => {
      if (this.staged.get(session) === staged) this.drop(session);
    };
    socket.on('data', (chunk: Buffer) => {
      try {
        attachment.fromBroker(chunk);
      } catch {
        lost();
      }
    });
    socket.on('end', lost);
    socket.on('close', lost);
    socket.resume();
  }

  /** Hands it over: from now on it is the caller's. */
  take(session: Session): Staged | undefined {
    const staged = this.staged.get(session);
    this.staged.delete(session);
    if (!staged) return undefined;
    clearInterval(staged.heartbeat);
    silence(staged.socket);
    staged.socket.pause();
    return staged;
  }

  private drop(session: Session): void {
    const staged = this.staged.get(session);
    this.staged.delete(session);
    if (staged) discard(staged);
  }

  /** What is staged, or on its way there, is dropped. The process may be a copy again later: it begins anew then. */
  end(): void {
    this.ends += 1;
    for (const session of [...this.staged.keys()]) this.drop(session);
  }
}

const discard = ({ socket, heartbeat }: Staged): void => {
  clearInterval(heartbeat);
  silence(socket);
  socket.destroy();
};
