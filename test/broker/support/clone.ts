/**
 * The clone, without CRIU: what two processes hold after a restore, in one. The copy keeps the app's sockets and goes
 * through becomeCopy, attach, live; the source is a second relay with a deep copy of each session and the old upstream
 * sockets, its app dead.
 */

import type net from 'node:net';
import { Duplex } from 'node:stream';
import { Connection } from '../../../webhook/sidecar/connection.ts';
import { type Relay, SessionRelay } from '../../../webhook/sidecar/relay.ts';
import type { Session } from '../../../webhook/sidecar/session.ts';

/** Copies plain objects, class instances, arrays, Maps, Sets and Buffers, keeping identities within. */
const deepClone = <T>(value: T, seen = new Map<object, unknown>()): T => {
  if (typeof value !== 'object' || value === null) return value;
  const known = seen.get(value);
  if (known !== undefined) return known as T;
  if (Buffer.isBuffer(value)) return Buffer.from(value) as T;
  const note = <C extends object>(copy: C): C => {
    seen.set(value, copy);
    return copy;
  };
  if (value instanceof Map) {
    const copy = note(new Map());
    for (const [key, each] of value) copy.set(deepClone(key, seen), deepClone(each, seen));
    return copy as T;
  }
  if (value instanceof Set) {
    const copy = note(new Set());
    for (const each of value) copy.add(deepClone(each, seen));
    return copy as T;
  }
  const copy = note((Array.isArray(value) ? [] : Object.create(Object.getPrototypeOf(value) as object)) as object);
  for (const key of Reflect.ownKeys(value)) Reflect.set(copy, key, deepClone(Reflect.get(value, key), seen));
  return copy as T;
};

/** The paused app of a source: never says a word, takes nothing. */
class DeadApp extends Duplex {
  override _read(): void {}
  override _write(): void {}
  resetAndDestroy(): this {
    return this.destroy();
  }
}

const EVENTS = ['data', 'drain', 'end', 'error', 'close'];

/** Cuts a mute relay: it becomes the copy; returned is its source. */
export const cut = (relay: Relay): Relay => {
  if (!(relay instanceof SessionRelay) || !relay.quiescent()) throw new Error('not mute');
  const source = new SessionRelay(relay.options);
  source.supersede();
  for (const connection of relay.connections) {
    const { upstream } = connection;
    if (!upstream) continue;
    // Nothing may have been read but not handed on: that would be lost for the copy.
    if (upstream.readableLength > 0) throw new Error('unread bytes at the cut');
    for (const event of EVENTS) upstream.removeAllListeners(event);
    connection.upstream = undefined;
    const session: Session = deepClone(connection.session);
    const twin = new Connection(session, new DeadApp() as unknown as net.Socket, source.events);
    twin.use(upstream);
    const [host = '', port = ''] = session.broker.split(':');
    source.adopt(twin, { host, port: Number(port), listen: '' });
  }
  relay.becomeCopy();
  return source;
};

/** A whole handoff: settlements of the copy's app travel to the source, late and in order. */
export const handOff = async (relay: Relay, options: { latencyMs?: number; pauseMs?: number } = {}) => {
  const { carried } = await relay.mute(10_000);
  const source = cut(relay);
  const losses: string[] = [];
  source.onLost((why) => losses.push(why));
  let settling = Promise.resolve();
  relay.onSettlements((items) => {
    settling = settling.then(async () => {
      await new Promise((resolve) => setTimeout(resolve, options.latencyMs ?? 1));
      await source.settle(items);
      // Said twice, done once.
      await source.settle(items);
    });
  });
  if (options.pauseMs) await new Promise((resolve) => setTimeout(resolve, options.pauseMs));
  await relay.attach(10_000);
  relay.live();
  source.supersede();
  return {
    carried,
    losses,
    source,
    /** Waits until all carried are settled, then closes the source. */
    async finish(timeoutMs = 20_000): Promise<void> {
      const deadline = Date.now() + timeoutMs;
      while (relay.carriedOutstanding() > 0 || source.outstanding() > 0) {
        if (Date.now() > deadline)
          throw new Error(`carried ${relay.carriedOutstanding()}, outstanding ${source.outstanding()}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      await settling;
      await source.close();
      await source.stop(0);
    },
  };
};
