/** The three questions and their verdicts. What they need of the cluster comes in through `Surroundings`. */
import type { V1Pod } from '@kubernetes/client-node';
import { asShadowError, ShadowError } from '../api/errors.ts';
import type { StatefulMigration } from '../api/migration.ts';
import { type InjectOptions, inject } from './inject.ts';
import { sidecarOf } from './pods.ts';
import { asRestoreTarget } from './restore.ts';
import { answeredProbe, isProbe } from './restore-config.ts';
import { changed, Malformed, podOf, type Question, type Verdict } from './review.ts';
import { type ClaimRequest, checkClaim, claims, isOwnShadow, restoreTarget } from './targets.ts';
import { checkMigration } from './validate.ts';

export interface Surroundings {
  /** Put into injected pods. */
  image: string;
  /** Of that image. */
  version?: string | undefined;
  /** Ours. */
  namespace: string;
  /** Pods of this cluster may have IPv6 alone. */
  ipv6?: boolean;
  /** Read from the API server itself: a cache could be behind the very write that matters. */
  migrations(namespace: string): Promise<readonly StatefulMigration[]>;
  /** Waited for, so it is bounded; best effort, never within a dry run. */
  onInjected(namespace: string): Promise<void>;
  /** Best effort, never within a dry run. */
  onSkipped(pod: V1Pod, namespace: string, reason: string): void;
}

const optionsOf = ({ namespace }: Question, around: Surroundings): InjectOptions => ({
  image: around.image,
  version: around.version,
  home: around.namespace,
  namespace,
  ipv6: around.ipv6 ?? false,
});

export const injectVerdict = async (question: Question, around: Surroundings): Promise<Verdict> => {
  const pod = podOf(question.object);
  const { outcome, pod: after, reason } = inject(pod, optionsOf(question, around));
  // One that was injected in its manifest (`kubectl shadow inject`) needs the CA in its namespace as well.
  if (!question.dryRun && sidecarOf(after)) await around.onInjected(question.namespace);
  if (!question.dryRun && outcome === 'skipped') around.onSkipped(pod, question.namespace, reason ?? '');
  return changed(pod, after, reason === undefined ? [] : [`kubectl-shadow: not injected: ${reason}`]);
};

/** The order of the two mutating webhooks is not ours to choose: the successor is injected here if it is not yet. */
const injectedForRestore = async (pod: V1Pod, question: Question, around: Surroundings): Promise<V1Pod> => {
  if (sidecarOf(pod)) return pod;
  const { outcome, pod: after, reason } = inject(pod, optionsOf(question, around));
  if (outcome !== 'injected') throw new ShadowError('SHADOW_E_NOT_INJECTED', reason ?? pod.metadata?.name ?? '');
  if (!question.dryRun) await around.onInjected(question.namespace);
  return after;
};

export const restoreVerdict = async (question: Question, around: Surroundings): Promise<Verdict> => {
  const pod = podOf(question.object);
  if (isOwnShadow(pod, question.userInfo.username, around.namespace)) return { allowed: true };
  try {
    const migrations = await around.migrations(question.namespace);
    if (isProbe(pod) && question.dryRun) return changed(pod, answeredProbe(pod));
    const target = restoreTarget(pod, migrations);
    if (target.bare) return changed(pod, asRestoreTarget(pod, { ...target, noopImage: around.image }));
    return changed(pod, asRestoreTarget(await injectedForRestore(pod, question, around), target));
  } catch (error) {
    throw asShadowError(error, 'SHADOW_E_WEBHOOK');
  }
};

const podVerdict = async (question: Question, around: Surroundings): Promise<Verdict> => {
  const request: ClaimRequest = {
    operation: question.operation,
    username: question.userInfo.username,
    namespace: around.namespace,
    pod: podOf(question.object),
    old: question.oldObject ? podOf(question.oldObject) : undefined,
  };
  if (claims(request)) checkClaim(request, await around.migrations(question.namespace));
  return { allowed: true };
};

export const validateVerdict = async (question: Question, around: Surroundings): Promise<Verdict> => {
  const { kind, object, oldObject } = question;
  if (!object) return { allowed: true };
  if (kind.group === '' && kind.kind === 'Pod') return podVerdict(question, around);
  if (kind.kind !== 'StatefulMigration') throw new Malformed(`kind ${kind.kind} is not validated here`);
  // Shaped by the CRD's schema before it comes here.
  checkMigration(object as unknown as StatefulMigration, (oldObject ?? undefined) as unknown as StatefulMigration);
  return { allowed: true };
};
