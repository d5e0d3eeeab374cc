/**
 * What this leader sees of the handoffs under way: the sidecars' reports, and the counts it asks them for where they report
 * nothing. It goes into the record with writes that are made anyway (series.ts), and is lost with the leader. Time comes in.
 */
import type { SidecarState } from '../api/control.ts';
import { type Handoff, isEnded, type StatefulMigration, type Step } from '../api/migration.ts';
import type { Session } from './context.ts';
import { type Look, thinned } from './series.ts';
import { replayOf } from './steps/replaying.ts';
import { current } from './transition.ts';

export type Side = 'source' | 'copy';

/** A number that only grows, and when it was last seen to. */
interface Count {
  value: number;
  at: number;
}

interface Seen {
  looks: Look[];
  /** Deliveries, as asked for. */
  delivered: Partial<Record<Side, Count>>;
  /** Entries recorded, and played. */
  entries: Partial<Record<Side, Count>>;
}

type Told = Pick<Session, 'state' | 'record' | 'play'>;

/** Two counts that are closer tell no rate. */
const RATE_MS = 200;

/** Where nobody waits for the sidecars. A source that records tells its rate by itself. */
const ASKED: Record<Side, { steps: readonly Step[]; states: readonly SidecarState[] }> = {
  source: { steps: ['Warming'], states: ['idle', 'live'] },
  copy: { steps: ['Replaying', 'Settling', 'Switching', 'Retiring'], states: ['replaying', 'live', 'idle'] },
};

/** Sidecars whose count is to be asked for now. Pure. */
export const asked = (handoff: Handoff, session: (uid: string) => Told | undefined): { side: Side; uid: string }[] =>
  (['source', 'copy'] as const).flatMap((side) => {
    const { steps, states } = ASKED[side];
    const { uid } = handoff[side];
    if (uid === undefined || !steps.includes(handoff.step)) return [];
    const state = session(uid)?.state;
    return state !== undefined && states.includes(state) ? [{ side, uid }] : [];
  });

/** The handoff under way, and how long after the migration's start `now` is. */
export const underWay = (
  migration: StatefulMigration,
  now: number,
): { handoff: Handoff; sinceStart: number } | undefined => {
  const handoff = current(migration.status);
  const start = Date.parse(migration.status?.startTime ?? '');
  return isEnded(migration) || handoff === undefined || Number.isNaN(start)
    ? undefined
    : { handoff, sinceStart: now - start };
};

const rateOf = (source: Told | undefined): number | undefined => {
  if (source?.state === 'recording') return source.record?.rate;
  return source?.state === 'mute' ? 0 : undefined;
};

export class Trace {
  private readonly claims = new Map<string, Seen>();

  private of(claim: string): Seen {
    const known = this.claims.get(claim);
    if (known !== undefined) return known;
    const seen: Seen = { looks: [], delivered: {}, entries: {} };
    this.claims.set(claim, seen);
    return seen;
  }

  private add(claim: string, look: Look): void {
    const { at, ...values } = look;
    if (Object.values(values).every((value) => value === undefined)) return;
    const seen = this.of(claim);
    // The clock of the machine may be set back.
    const rising = Math.max(at, seen.looks.at(-1)?.at ?? 0);
    seen.looks = thinned([...seen.looks, { at: rising, ...values }]);
  }

  /** One of the two has told something. `sinceStart`: milliseconds. */
  told({ claim }: Handoff, source: Told | undefined, copy: Told | undefined, sinceStart: number): void {
    const replay = replayOf(source, copy, 0);
    this.add(claim, {
      at: sinceStart,
      sourceRate: rateOf(source),
      throttle: source?.record?.throttle,
      lag: replay?.lag,
      sourceGap: this.still(claim, 'source', source?.record?.entries, sinceStart),
      copyGap: this.still(claim, 'copy', copy?.play?.played, sinceStart),
    });
  }

  /** For how long it has not grown; 0: it has since it was last told. */
  private still(claim: string, side: Side, value: number | undefined, now: number): number | undefined {
    if (value === undefined) return undefined;
    const { entries } = this.of(claim);
    const before = entries[side];
    if (before !== undefined && before.value === value) return now - before.at;
    entries[side] = { value, at: now };
    return 0;
  }

  /** A sidecar has answered how many deliveries its app has had in all. */
  counted({ claim }: Handoff, side: Side, delivered: number, sinceStart: number): void {
    const counts = this.of(claim).delivered;
    const before = counts[side];
    if (before !== undefined && sinceStart - before.at < RATE_MS) return;
    counts[side] = { value: delivered, at: sinceStart };
    // A sidecar that was started anew counts from 0.
    if (before === undefined || delivered < before.value) return;
    const rate = ((delivered - before.value) * 1000) / (sinceStart - before.at);
    this.add(claim, side === 'source' ? { at: sinceStart, sourceRate: rate } : { at: sinceStart, copyRate: rate });
  }

  looks(claim: string): readonly Look[] {
    return this.claims.get(claim)?.looks ?? [];
  }

  /** Forgets all other claims. */
  keep(claims: ReadonlySet<string>): void {
    for (const claim of this.claims.keys()) if (!claims.has(claim)) this.claims.delete(claim);
  }
}
