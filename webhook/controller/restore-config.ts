/**
 * The restore webhook's configuration: fails closed, on the very pod names that are being swapped. What it must hold follows
 * from the records of all migrations, so that a lost update, or a migration that ended elsewhere, heals at the next write.
 */
import { isDeepStrictEqual } from 'node:util';
import type { V1MutatingWebhookConfiguration } from '@kubernetes/client-node';
import { probePod, provesLive, restoreWebhookConfig, type SwappingPod } from '../admission/restore-config.ts';
import { ShadowError } from '../api/errors.ts';
import { isEnded, type StatefulMigration } from '../api/migration.ts';
import type { Context } from './context.ts';
import { isStatus } from './rest.ts';

/**
 * Needed from before anything is touched until the second handoff has committed, or until the migration can no longer need
 * a successor: its first handoff undone, its line of state lost.
 */
export const needsTarget = (migration: StatefulMigration): boolean => {
  const [first, second] = migration.status?.handoffs ?? [];
  if (first === undefined || isEnded(migration) || migration.status?.error !== undefined) return false;
  // A Deployment's copy stays what it is: it has no successor.
  if (migration.status?.deploymentName !== undefined) return false;
  if (first.decision?.verdict === 'abort') return false;
  return second?.decision?.verdict !== 'commit';
};

const targetOf = (migration: StatefulMigration): SwappingPod[] => {
  const name = migration.status?.handoffs?.[0]?.source.name;
  return name === undefined ? [] : [{ namespace: migration.metadata.namespace, pod: name }];
};

/** `mine` overrides what is watched: its record may be newer than the mirror. */
export const targetsOf = (known: readonly StatefulMigration[], mine: StatefulMigration): SwappingPod[] =>
  [...known.filter(({ metadata }) => metadata.uid !== mine.metadata.uid), mine]
    .filter(needsTarget)
    .flatMap(targetOf)
    .sort((a, b) => `${a.namespace}/${a.pod}`.localeCompare(`${b.namespace}/${b.pod}`));

/** Another leader, or another migration of ours, wrote between our read and our write: look again at once. */
const overtaken = (error: unknown): never => {
  if (isStatus(error, 409))
    throw new ShadowError('SHADOW_E_WEBHOOK', 'its configuration was written by another', {
      cause: error,
      retryable: true,
    });
  throw error;
};

/** What the configuration stands for, so that it need not be compared field by field with what the API server defaulted. */
const TARGETS = 'shadow.ms2m.io/targets';

const stands = (config: V1MutatingWebhookConfiguration) => ({
  targets: config.metadata?.annotations?.[TARGETS],
  bundles: config.webhooks?.map(({ clientConfig }) => clientConfig.caBundle),
});

/**
 * Writes what the records ask for; no write when it is there already. Read first, then asked of the records: an entry that
 * another migration adds after our read makes our write (or delete) fail, and is seen in its record at the next turn.
 */
export const writeRestoreConfig = async (ctx: Context, migration: StatefulMigration): Promise<void> => {
  const present = await ctx.cluster.restoreConfig();
  const targets = targetsOf(ctx.cluster.migrations(), migration);
  if (targets.length === 0) {
    if (present !== undefined) await ctx.cluster.deleteRestoreConfig(present).catch(overtaken);
    return;
  }
  const template = restoreWebhookConfig(targets, await ctx.cluster.caBundle(), ctx.home);
  const resourceVersion = present?.metadata?.resourceVersion;
  const wanted: V1MutatingWebhookConfiguration = {
    ...template,
    metadata: {
      ...template.metadata,
      annotations: { ...template.metadata?.annotations, [TARGETS]: JSON.stringify(targets) },
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
  };
  if (present !== undefined && isDeepStrictEqual(stands(present), stands(wanted))) return;
  await ctx.cluster.writeRestoreConfig(wanted).catch(overtaken);
};

/** Written, and proven live by a dry-run create: the API server calls the webhook for this pod, and it patches. */
export const proveRestoreWebhook = async (ctx: Context, migration: StatefulMigration): Promise<void> => {
  if (!needsTarget(migration)) return;
  await writeRestoreConfig(ctx, migration);
  for (const target of targetOf(migration)) {
    const answer = await ctx.cluster
      .createPod(probePod(target, ctx.probeImage), { dryRun: true })
      .catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        throw new ShadowError('SHADOW_E_WEBHOOK', message, { cause: error, retryable: true });
      });
    if (answer === undefined || !provesLive(answer))
      throw new ShadowError('SHADOW_E_WEBHOOK', 'the API server does not call it yet', { retryable: true });
  }
};
