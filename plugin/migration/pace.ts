/** How fast source and copy were, from what the migration's status told in turn; the status itself holds the last only. Pure. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { handoffsOf, timeOf } from './model.ts';

export interface Pace {
  /** Deliveries a second handed to the source's app. */
  source: readonly number[];
  /** Entries of the record a second that the copy played. */
  copy: readonly number[];
  attempt: number;
  /** When it was told last, and what had been played then. */
  at: number;
  played: number;
}

/** By index of the handoff. */
export type Paces = ReadonlyMap<number, Pace>;

const KEPT = 60;

/** The paces with what this state tells; the same ones where it tells nothing new. */
export const paced = (paces: Paces, migration: StatefulMigration): Paces => {
  const next = new Map(paces);
  for (const { index, attempt, replay } of handoffsOf(migration)) {
    const at = timeOf(replay?.at);
    if (replay === undefined || at === undefined) continue;
    const known = paces.get(index);
    const before = known?.attempt === attempt ? known : undefined;
    if (before !== undefined && at <= before.at) continue;
    const rate = before === undefined ? [] : [((replay.played - before.played) * 1000) / (at - before.at)];
    next.set(index, {
      source: [...(before?.source ?? []), replay.sourceRate].slice(-KEPT),
      copy: [...(before?.copy ?? []), ...rate].slice(-KEPT),
      attempt,
      at,
      played: replay.played,
    });
  }
  return next;
};

const BARS = { unicode: [...'▁▂▃▄▅▆▇█'], ascii: [...'_.:-=+*#'] } as const;

/** The last `width` values, each as high as it is of the greatest of them. */
export const sparkline = (values: readonly number[], width: number, unicode: boolean): string => {
  const bars = unicode ? BARS.unicode : BARS.ascii;
  const shown = width > 0 ? values.slice(-width) : [];
  const top = Math.max(...shown, 0);
  return shown.map((value) => bars[top > 0 ? Math.round((Math.max(0, value) / top) * (bars.length - 1)) : 0]).join('');
};
