/** Migrations as a real controller leaves them, with the curves of a run: a source of 60 messages/s whose copy catches up. */
import type { Handoff, Series, StatefulMigration } from '../../../webhook/api/migration.ts';
import { type Look, withLooks } from '../../../webhook/controller/series.ts';
import { at, besides, completed, failed, fresh, migration, replaying, replica, START, uncommitted } from './sample.ts';

/** Pseudo-random, the same at each run: 0 to 1. */
const noise = (seed: number): number => {
  const value = Math.sin(seed * 12.9898) * 43_758.5453;
  return value - Math.floor(value);
};

const between = (handoff: Handoff, step: keyof Handoff['entered'], otherwise: number): number =>
  handoff.entered[step] === undefined ? otherwise : Date.parse(handoff.entered[step]) - START;

/** Of a copy that replays since `since` milliseconds. */
const played = (since: number, seed: number, rate: number): Partial<Look> => {
  const behind = Math.max(0, 110 * Math.exp(-since / 420) + 3 * noise(seed + 1));
  const copyGap = noise(seed) > 0.85 ? 200 : 0;
  const throttle = behind > 20 ? 0.85 : 1;
  return { copyRate: rate * (1 + behind / 90), lag: Math.round(behind), throttle, sourceGap: 0, copyGap };
};

/** What the trace would have seen, a look every 0.2 s, until `end`. */
export const curves = (handoff: Handoff, end: number): Series => {
  const when = (step: keyof Handoff['entered']) => between(handoff, step, Number.POSITIVE_INFINITY);
  const [muted, committed, replays] = [when('Muting'), when('Committed'), when('Replaying')];
  const done = Math.min(end, when('Done'), when('Aborted'));
  const looks: Look[] = [];
  for (let time = between(handoff, 'Warming', 0); time <= done; time += 200) {
    const rate = 60 + 6 * noise(time);
    const source = time < muted ? rate : time < committed ? 0 : undefined;
    if (time > committed) looks.push({ at: time, copyRate: rate });
    else looks.push({ at: time, sourceRate: source, ...(time < replays ? {} : played(time - replays, time, rate)) });
  }
  return withLooks(undefined, looks)!;
};

const traced = (given: StatefulMigration, end: number): StatefulMigration => ({
  ...given,
  status: {
    ...given.status,
    statefulSetName: 'consumer',
    versions: {
      controller: '0.2.0',
      sidecar: '0.2.0',
      nodes: ['worker-a', 'worker-b'].map((name) => ({
        ...{ name, kernel: '6.12.9', containerd: '2.0.2', runc: '1.2.4', criu: '4.0' },
      })),
    },
    handoffs: (given.status?.handoffs ?? []).map((each) => ({
      ...each,
      ...(each.mode === 'replay' ? { bytes: 41_287_680, pausedMs: 142, carried: 9 } : {}),
      series: curves(each, end),
    })),
  },
});

/** ShadowPodSwap, both ways. */
export const swapped = traced(besides, 9200);
export const stopped = traced(completed, 5200);
export const catchingUp = traced(replaying, 3400);
/** A Deployment's, whose controller was an older one: no curves, no versions. */
export const older = structuredClone(replica);
for (const each of older.status!.handoffs!) each.pausedMs = 142;
export const undone = failed;
export const notSeen = fresh;
export const early = uncommitted;

/** It had replayed, and did otherwise than its source. */
export const diverged: StatefulMigration = (() => {
  const made = traced(besides, 4000);
  const [first] = made.status!.handoffs!;
  const { Warming, Cutting, Transferring, Restoring, Replaying } = first!.entered as Record<string, string>;
  const message =
    "the copy's app did otherwise than the source's: connection 1, channel 1: delivery 17 was settled otherwise (nack)";
  const aborted: Handoff = {
    ...first!,
    step: 'Aborted',
    entered: {
      Warming,
      Cutting,
      Transferring,
      Restoring,
      Replaying,
      Aborting: at(3100),
      Aborted: at(3900),
    } as Handoff['entered'],
    decision: { verdict: 'abort', at: at(3100), epoch: 1, code: 'SHADOW_E_DIVERGED', message },
    replay: { ...first!.replay!, matched: 51, diverged: 1, divergence: 'delivery 17 was settled otherwise (nack)' },
  };
  const status = {
    ...made.status!,
    phase: 'Failed',
    completionTime: at(4000),
    error: { code: 'SHADOW_E_DIVERGED', message },
    handoffs: [{ ...aborted, series: curves(aborted, 3900) }],
  };
  return { ...made, status: status as NonNullable<StatefulMigration['status']> };
})();

export const refused = migration('consumer-0-rrrrr', {
  phase: 'Failed',
  startTime: at(0),
  completionTime: at(120),
  error: {
    code: 'SHADOW_E_SESSION',
    message: "the pod uses an AMQP feature that cannot be handed over: connection 1: queue 'replies' is exclusive",
  },
});

/** Whoever may create pods can name things, and an app can say anything by an error. */
export const HOSTILE = `</title><script>globalThis.pwned=1</script><img src=x onerror="globalThis.pwned=2">'"&\u0007`;
export const hostile: StatefulMigration = (() => {
  const made = structuredClone(diverged);
  made.metadata.name = made.metadata.namespace = made.spec.sourcePod = HOSTILE;
  const status = made.status!;
  Object.assign(status, {
    sourceNode: HOSTILE,
    targetNode: HOSTILE,
    strategyReason: HOSTILE,
    statefulSetName: HOSTILE,
  });
  status.error!.message = HOSTILE;
  for (const node of status.versions!.nodes) Object.assign(node, { name: HOSTILE, kernel: HOSTILE, criu: HOSTILE });
  status.versions!.controller = HOSTILE;
  for (const handoff of status.handoffs!) {
    Object.assign(handoff.source, { name: HOSTILE, node: HOSTILE });
    Object.assign(handoff.copy, { name: HOSTILE, node: HOSTILE });
    handoff.decision!.message = handoff.replay!.divergence = HOSTILE;
  }
  return made;
})();

/** Names as long as Kubernetes allows, without a place to break. */
export const long: StatefulMigration = (() => {
  const name = `a${'0123456789'.repeat(25)}b`;
  const made = structuredClone(swapped);
  made.metadata.name = made.metadata.namespace = made.spec.sourcePod = name;
  made.status!.sourceNode = name;
  for (const { source, copy } of made.status!.handoffs!) {
    source.name = copy.name = name;
    source.node = copy.node = name;
  }
  return made;
})();

/** By what is tried with them. */
export const SAMPLES: Readonly<Record<string, StatefulMigration>> = {
  ...{ swapped, stopped, catchingUp, older, undone, notSeen, early, diverged, refused, hostile, long },
};
