/** Fills the trace: listens to the sidecars, and asks them for their counts. No migration waits for any of it. */
import type { Handoff, StatefulMigration } from '../api/migration.ts';
import type { Cluster } from './context.ts';
import type { Hub } from './hub/hub.ts';
import type { Look } from './series.ts';
import { asked, type Side, Trace, underWay } from './trace.ts';

const COUNT_MS = 400;

export interface Tracing {
  seen(claim: string): readonly Look[];
  /** A sidecar has told something, or is here, or gone. */
  told(podUid: string): void;
  start(): void;
  stop(): void;
}

export const tracing = (
  cluster: Pick<Cluster, 'migrations'>,
  hub: Pick<Hub, 'session' | 'command'>,
  now: () => number = Date.now,
  countMs: number = COUNT_MS,
): Tracing => {
  const trace = new Trace();
  /** Uids of sidecars that have not answered yet. */
  const asking = new Set<string>();
  let counting: NodeJS.Timeout | undefined;

  const all = () =>
    cluster.migrations().flatMap((migration) => {
      const found = underWay(migration, now());
      return found === undefined ? [] : [{ ...found, migration }];
    });

  const ask = async (migration: StatefulMigration, handoff: Handoff, side: Side, uid: string): Promise<void> => {
    if (asking.has(uid)) return;
    asking.add(uid);
    try {
      const { delivered } = await hub.command(uid, { type: 'inspect', claim: '' });
      // It may have taken its time.
      const { sinceStart } = underWay(migration, now()) ?? {};
      if (sinceStart !== undefined) trace.counted(handoff, side, delivered, sinceStart);
    } catch {
      // One that can't be asked leaves a hole in a curve.
    } finally {
      asking.delete(uid);
    }
  };

  const count = (): void => {
    const under = all();
    trace.keep(new Set(under.map(({ handoff }) => handoff.claim)));
    for (const { migration, handoff } of under)
      for (const { side, uid } of asked(handoff, hub.session)) void ask(migration, handoff, side, uid);
  };

  return {
    seen: (claim) => trace.looks(claim),
    told: (podUid) => {
      for (const { handoff, sinceStart } of all()) {
        const [source, copy] = [handoff.source.uid ?? '', handoff.copy.uid ?? ''];
        if (source === podUid || copy === podUid)
          trace.told(handoff, hub.session(source), hub.session(copy), sinceStart);
      }
    },
    start: () => {
      counting = setInterval(count, countMs);
    },
    stop: () => clearInterval(counting),
  };
};
