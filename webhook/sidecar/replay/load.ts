/**
 * Whether an app has all it can do. Seen from here: its consumers hold as many deliveries as their prefetch allows, practically
 * all the time, or often and without ever being out of work, and settle them. So the broker has more for them than they take,
 * and the same app can't make up for lost time.
 *
 * That something is outstanding says less: an app that works on several at once always holds some. And an app without a prefetch
 * limit, or that acknowledges nothing, holds all there is: keeping deliveries from it slows it only when it has done all those.
 * Neither is called saturated. By samples, some a second: an app that is not migrated pays next to nothing. Pure: time comes in,
 * milliseconds.
 */
import type { Channel, Consumer } from '../channel.ts';
import type { Session } from '../session.ts';

/** How often to look. */
export const LOOK_MS = 50;
/** What is looked back at, and how much of it there must be. */
const WINDOW_MS = 1000;
const LEAST_MS = 500;
/** So great a share of the looks must find it full. With a prefetch of 1 it is never full while the next one is under way. */
const FULL = 0.75;
/** Or so great a share, where it has something in hand at every look: it barely keeps up with what comes in bursts. */
const OFTEN_FULL = 0.4;
/** So great a share of the prefetch: what was settled a moment ago is not replaced yet. */
const NEARLY = 0.8;
/** Fewer deliveries than that are no pace to speak of: it may hold them for another reason. */
const LEAST_DELIVERIES = 5;

interface Look {
  readonly at: number;
  /** Deliveries that are not settled. */
  readonly held: number;
  readonly full: boolean;
  /** Since ever. */
  readonly delivered: number;
}

export class Load {
  private looks: Look[] = [];

  look(look: Look): void {
    const { at } = look;
    this.looks.push(look);
    while (this.looks.length > 0 && at - this.looks[0]!.at > WINDOW_MS) this.looks.shift();
  }

  /** Since the last delivery, as far as is looked back. */
  idleMs(now: number): number {
    const last = this.looks.at(-1);
    const since = last && this.looks.find(({ delivered }) => delivered === last.delivered);
    return since ? now - since.at : 0;
  }

  /** Deliveries a second of an app that is saturated; undefined: it is not, or has not been looked at for long enough. */
  saturated(now: number): number | undefined {
    const looks = this.looks.filter(({ at }) => now - at <= WINDOW_MS);
    const [first] = looks;
    const last = looks.at(-1);
    if (!first || !last || last.at - first.at < LEAST_MS) return undefined;
    const delivered = last.delivered - first.delivered;
    const full = looks.filter((look) => look.full).length / looks.length;
    const least = looks.every(({ held }) => held > 0) ? OFTEN_FULL : FULL;
    if (delivered < LEAST_DELIVERIES || full < least) return undefined;
    return (delivered * 1000) / (last.at - first.at);
  }
}

/** With nothing to do, on a queue of commands say, it tells nothing of the others. */
const isIdle = ({ noAck, held, withheld }: Consumer): boolean => !noAck && held + withheld === 0;

/** All its consumers that are not idle hold nearly all they may, and there are some. */
export const isFull = (sessions: Iterable<Session>): boolean => {
  let some = false;
  for (const { phase, wires } of sessions)
    if (phase === 'open')
      for (const channel of wires.openChannels())
        for (const consumer of channel.consumers.values()) {
          if (isIdle(consumer)) continue;
          if (!consumerFull(channel, consumer)) return false;
          some = true;
        }
  return some;
};

const consumerFull = (
  { globalPrefetch, deliveries }: Channel,
  { noAck, prefetch, held, withheld }: Consumer,
): boolean => {
  if (noAck) return false;
  if (prefetch > 0 && held + withheld >= Math.ceil(NEARLY * prefetch)) return true;
  return globalPrefetch > 0 && deliveries.held + deliveries.withheld >= Math.ceil(NEARLY * globalPrefetch);
};
