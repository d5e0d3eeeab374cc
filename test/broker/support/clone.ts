/**
 * The clone, without CRIU: what two processes hold after a restore, in one. The copy keeps the app's sockets and goes
 * through becomeCopy, attach, live; the source is a second relay that has the upstream half of each session, split off as a
 * superseded source does it.
 */
import { type Relay, SessionRelay } from '../../../webhook/sidecar/relay.ts';

/** Cuts a mute relay: it becomes the copy; returned is its source, superseded. */
export const cut = (relay: Relay): SessionRelay => {
  if (!(relay instanceof SessionRelay) || !relay.quiescent()) throw new Error('not mute');
  const source = new SessionRelay(relay.options);
  for (const connection of relay.connections) {
    // Nothing may have been read but not handed on: that would be lost for the copy.
    if (connection.upstream && connection.upstream.readableLength > 0) throw new Error('unread bytes at the cut');
    const left = connection.divide();
    if (left) source.olds.adopt(left.half, left.socket, connection.session.handshake.tune.heartbeat);
  }
  relay.becomeCopy();
  source.supersede();
  return source;
};

export interface HandOffOptions {
  /** From the copy to the source, and of its word that it is closed. */
  latencyMs?: number;
  pauseMs?: number;
}

/** A whole handoff: settlements of the copy's app travel to the source, late and in order. */
export const handOff = async (relay: Relay, options: HandOffOptions = {}) => {
  const latency = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, options.latencyMs ?? 1));
  const { carried } = await relay.mute(10_000);
  const source = cut(relay);
  const losses: string[] = [];
  source.onLost((why) => losses.push(why));
  let settling = Promise.resolve();
  let live = false;
  let closed: Promise<void> | undefined;
  /** As commands.ts does it: closed at 0 outstanding, then the copy is told. */
  const closeIfSettled = (): void => {
    if (!live || source.outstanding() > 0) return;
    closed ??= source
      .close()
      .then(latency)
      .then(() => relay.consume());
  };
  relay.onSettlements((items) => {
    settling = settling.then(async () => {
      await latency();
      await source.settle(items);
      // Said twice, done once.
      await source.settle(items);
      closeIfSettled();
    });
  });
  if (options.pauseMs) await new Promise((resolve) => setTimeout(resolve, options.pauseMs));
  await relay.attach(10_000);
  relay.live();
  live = true;
  closeIfSettled();
  return {
    carried,
    losses,
    source,
    /** Waits until all carried are settled and the source is closed. */
    async finish(timeoutMs = 20_000): Promise<void> {
      const deadline = Date.now() + timeoutMs;
      while (relay.carriedOutstanding() > 0 || source.outstanding() > 0 || !relay.consuming() || !closed) {
        if (Date.now() > deadline)
          throw new Error(`carried ${relay.carriedOutstanding()}, outstanding ${source.outstanding()}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      await settling;
      await closed;
      await source.stop(0);
    },
  };
};
