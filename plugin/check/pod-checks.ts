/** Checks of a pod, as data. The judgement is the controller's, given by a dry run (steps/assessing.ts). */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { evaluate, type Result } from './evaluate.ts';
import type { Looked } from './facts.ts';
import {
  podAdmission,
  podNodes,
  podOwner,
  podProcesses,
  podSession,
  podSpec,
  podState,
  podStrategy,
} from './judge/pod.ts';
import type { Check } from './types.ts';

/** All of these come from one dry run of a migration of the pod. */
export const DRY_RUN = [
  'access-migrate',
  'crd',
  'webhook-runs',
  'webhook-answers',
  'controller-runs',
  'controller-leads',
];

export const OF_POD: readonly Check<Looked>[] = [
  {
    id: 'pod-state',
    group: 'pod',
    title: 'the pod has the sidecar, runs and is ready, and nobody migrates it',
    needs: DRY_RUN,
    hint: 'kubectl describe pod tells its state',
    more: '',
    judge: podState,
  },
  {
    id: 'pod-spec',
    group: 'pod',
    title: 'its containers, volumes and hooks can be moved',
    needs: DRY_RUN,
    hint: 'the pod can be migrated; mind what is named',
    more: 'Refused are host namespaces, privileged containers, devices, persistent volumes, hostPath, and postStart hooks, which would run again in the copy (annotate `shadow.ms2m.io/post-start: allow` if they may). A preStop hook gives a warning: when the copy serves, the app of the source is killed at once, and its hook is cut short; the copy has the hook for its own end.',
    judge: podSpec,
  },
  {
    id: 'pod-owner',
    group: 'pod',
    title: 'a StatefulSet or Deployment owns it, and is not in a rollout',
    needs: DRY_RUN,
    hint: 'wait until kubectl rollout status says it is done',
    more: '',
    judge: podOwner,
  },
  {
    id: 'pod-session',
    group: 'pod',
    title: 'its AMQP connections can be handed over',
    needs: DRY_RUN,
    hint: 'see what is named',
    more: 'As the sidecar sees them now: a queue that the app declares later is not known yet. Exclusive, server-named, auto-delete and reply-to queues, transactions and other protocols live with one connection only.',
    judge: podSession,
  },
  {
    id: 'pod-processes',
    group: 'pod',
    title: 'its processes hold nothing that cannot be restored, and no connection that would be lost',
    needs: DRY_RUN,
    hint: 'the app sees a reset of each and must connect again, as after any reset',
    more: "As the node's agent sees them now. Sockets bound to the pod's own address, devices, io_uring and unix sockets between containers are refused. Connections to anything but the broker give a warning: they end with a move.",
    judge: podProcesses,
  },
  {
    id: 'pod-strategy',
    group: 'pod',
    title: 'there is a strategy that is exact for it',
    needs: DRY_RUN,
    hint: 'leave the strategy to Auto, or annotate the pod template shadow.ms2m.io/effects: messages (or idempotent) if it is so',
    more: 'What `Auto` would take, and why. A strategy that is asked for (`--strategy`) and that Auto would not take is not refused by `migrate`; but a copy that replays is fenced off from what is named, does otherwise than its source, and the migration is undone (SHADOW_E_DIVERGED). So it fails here.',
    judge: podStrategy,
  },
  {
    id: 'pod-nodes',
    group: 'pod',
    title: 'there is a node that can take it',
    needs: DRY_RUN,
    hint: 'add a node, or mend what is named',
    more: 'Of all other nodes, or of the one that `--to` names: taints, selectors, room for the copy (two of a StatefulSet, for a while), CPU flags, versions and disk space.',
    judge: podNodes,
  },
  {
    id: 'pod-admission',
    group: 'pod',
    title: 'the API server would take its copy',
    needs: DRY_RUN,
    hint: 'quota, PodSecurity or another admission refuses it: see the reason',
    more: 'The copy is created by a dry run, as the controller.',
    judge: podAdmission,
  },
];

/** A dry run that has ended, as `check pod/NAME` tells it. */
export const assessed = (migration: StatefulMigration): Result[] => evaluate(OF_POD, { dryRun: { got: migration } });
