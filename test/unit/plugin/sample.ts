import type { Handoff, Replay, StatefulMigration, Step } from '../../../webhook/api/migration.ts';

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

const REPLAY_PACE: [Step, number][] = [
  ['Warming', 0],
  ['Cutting', 900],
  ['Transferring', 1060],
  ['Restoring', 1180],
  ['Replaying', 1600],
  ['Muting', 2900],
  ['Attaching', 2960],
  ['Committed', 3050],
  ['Settling', 3060],
  ['Switching', 3300],
  ['Retiring', 4100],
  ['Done', 4400],
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

const replay = { link: 'direct', sourceRate: 60.25, throttle: 1, recorded: 492, played: 480, lag: 12 } as const;
const seen = { matched: 230, waiting: 3, diverged: 0 } as const;
const replayed = (index: 0 | 1, from: number, step: Step, more: Partial<Replay> = {}): Handoff => {
  const reached = REPLAY_PACE.slice(0, REPLAY_PACE.findIndex(([each]) => each === step) + 1);
  return {
    ...handoff(index, from, step === 'Done' ? 'Done' : 'Warming'),
    step,
    mode: 'replay',
    entered: Object.fromEntries(reached.map(([each, ms]) => [each, at(from + ms)])),
    replay: { ...replay, ...seen, ...more, at: at(from + 2900) },
  };
};

const beside = {
  ...moving,
  strategy: 'ShadowPodSwap',
  strategyReason: 'the app is connected to nothing but its broker and writes to no shared volume',
} as const;

/** Still behind, its source held back, its record relayed. */
export const replaying = migration('consumer-0-fffff', {
  ...beside,
  phase: 'Replaying',
  handoffs: [
    replayed(0, 200, 'Replaying', { throttle: 0.6, link: 'relay', diverged: 2, divergence: 'a nack for an ack' }),
  ],
});
export const besides = migration('consumer-0-ggggg', {
  ...beside,
  phase: 'Completed',
  completionTime: at(9200),
  handoffs: [
    replayed(0, 200, 'Done', { played: 492, lag: 0, matched: 242 }),
    replayed(1, 4700, 'Done', { played: 492, lag: 0, diverged: 1, divergence: 'events: another body' }),
  ],
});
/** A Deployment's: one handoff, another name. */
export const replica = migration(
  'web-7d9f-x2k4p-hhhhh',
  {
    ...beside,
    strategy: 'ShadowPod',
    deploymentName: 'web',
    targetPod: 'web-7d9f-3fa9c',
    phase: 'Completed',
    completionTime: at(5200),
    handoffs: [replayed(0, 200, 'Done', { played: 492, lag: 0 })],
  },
  'web-7d9f-x2k4p',
);
