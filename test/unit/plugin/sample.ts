import type { Handoff, StatefulMigration, Step } from '../../../webhook/api/migration.ts';

export const START = Date.parse('2026-11-23T06:00:00.000Z');
export const NOW = START + 10_000;
export const at = (ms: number): string => new Date(START + ms).toISOString();

const PACE: [Step, number][] = [
  ['Warming', 0],
  ['Muting', 900],
  ['Cutting', 1020],
  ['Transferring', 1180],
  ['Restoring', 1300],
  ['Attaching', 1600],
  ['Committed', 1750],
  ['Settling', 1760],
  ['Retiring', 2100],
  ['Done', 2400],
];

/** A handoff from `from` (ms after START) that has come as far as `step`. */
export const handoff = (index: 0 | 1, from: number, step: Step = 'Done'): Handoff => {
  const reached = PACE.slice(0, PACE.findIndex(([each]) => each === step) + 1);
  const [source, copy] = index === 0 ? ['consumer-0', 'consumer-0-shadow'] : ['consumer-0-shadow', 'consumer-0'];
  const committed = reached.some(([each]) => each === 'Committed');
  return {
    index,
    claim: `u-${index}`,
    source: { name: source!, node: index === 0 ? 'worker-a' : 'worker-b' },
    copy: { name: copy!, node: 'worker-b' },
    step,
    entered: Object.fromEntries(reached.map(([each, ms]) => [each, at(from + ms)])),
    attempt: 1,
    ...(committed
      ? {
          decision: { verdict: 'commit' as const, at: at(from + 1750), epoch: 1 },
          carried: 12,
          bytes: 13_421_772,
          pausedMs: 812,
        }
      : {}),
  };
};

export const migration = (
  name: string,
  status: StatefulMigration['status'],
  pod = 'consumer-0',
): StatefulMigration => ({
  metadata: { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: '7', creationTimestamp: at(0) },
  spec: { sourcePod: pod, targetNode: 'worker-b' },
  ...(status ? { status } : {}),
});

const moving = { startTime: at(0), sourceNode: 'worker-a', targetNode: 'worker-b', strategy: 'StopAndCopy' } as const;

export const completed = migration('consumer-0-aaaaa', {
  ...moving,
  phase: 'Completed',
  strategyReason: 'the app holds a connection that is not to a broker',
  completionTime: at(5200),
  handoffs: [handoff(0, 200), handoff(1, 2700)],
  phaseTimings: {
    Finalizing: '0.65s',
    Pending: '0.2s',
    Checkpointing: '1.18s',
    Transferring: '0.12s',
    Restoring: '0.45s',
  },
  conditions: [
    {
      type: 'Complete',
      status: 'True',
      reason: 'Completed',
      message: 'consumer-0 runs on worker-b',
      lastTransitionTime: at(5200),
    },
  ],
});
export const running = migration('consumer-0-bbbbb', {
  ...moving,
  phase: 'Restoring',
  handoffs: [handoff(0, 200), handoff(1, 2700, 'Restoring')],
});
export const uncommitted = migration('consumer-0-ccccc', {
  ...moving,
  phase: 'Restoring',
  handoffs: [handoff(0, 200, 'Restoring')],
});
export const failed = migration('consumer-0-ddddd', {
  ...moving,
  phase: 'Failed',
  completionTime: at(3000),
  handoffs: [
    {
      ...handoff(0, 200, 'Restoring'),
      step: 'Aborted',
      entered: { ...handoff(0, 200, 'Restoring').entered, Aborting: at(2000), Aborted: at(2900) },
      decision: {
        verdict: 'abort',
        at: at(2000),
        epoch: 1,
        code: 'SHADOW_E_RESTORE',
        message: 'the restore failed: criu: Error (x.c:12)',
      },
    },
  ],
  error: { code: 'SHADOW_E_RESTORE', message: 'the restore failed: criu: Error (x.c:12)' },
});
export const fresh = migration('web-0-eeeee', undefined, 'web-0');
