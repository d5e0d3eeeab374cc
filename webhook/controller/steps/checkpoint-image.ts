/** transferMode Registry: the image a checkpoint travels by, from what the user has put beside the migration. */
import type { Image } from '../../api/agent.ts';
import { asShadowError, ShadowError } from '../../api/errors.ts';
import { CHECKPOINT_TAG, imageName, type Login, loginFor, parseRepository, type Repository } from '../../api/image.ts';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import { ANNOTATION, REGISTRY } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { modeOfTransfer, travelsBy } from '../preflight/transfer.ts';
import { isStatus } from '../rest.ts';
import { enterStep, type StepFunction, wait } from './step.ts';

const refused = (detail: string, cause?: unknown): ShadowError =>
  new ShadowError('SHADOW_E_REGISTRY_ACCESS', detail, { cause });

const DOCKER_CONFIG = '.dockerconfigjson';

/** undefined: nobody has said anything of credentials. The Secret is read anew each time, and kept nowhere. */
const loginOf = async (
  ctx: Context,
  { metadata }: StatefulMigration,
  repository: Repository,
): Promise<Login | undefined> => {
  const named = metadata.annotations?.[ANNOTATION.registrySecret];
  const name = named || REGISTRY.secret;
  let secret: Awaited<ReturnType<Context['cluster']['readSecret']>>;
  try {
    secret = await ctx.cluster.readSecret(metadata.namespace, name);
  } catch (error) {
    if (!isStatus(error, 403)) throw error;
    throw refused(
      `the controller may not read Secret ${name}: call it ${REGISTRY.secret}, or give the controller a Role (docs/transfers.md)`,
      error,
    );
  }
  if (secret === undefined) {
    if (named) throw refused(`there is no Secret ${name} in namespace ${metadata.namespace}`);
    return undefined;
  }
  const config = secret.data?.[DOCKER_CONFIG];
  if (config === undefined) throw refused(`Secret ${name} has no ${DOCKER_CONFIG}`);
  const login = loginFor(Buffer.from(config, 'base64').toString(), repository);
  if (login === undefined && named) throw refused(`Secret ${name} has nothing for ${repository.host}`);
  return login;
};

export const imageOf = async (ctx: Context, migration: StatefulMigration): Promise<Image> => {
  const repository = parseRepository(migration.spec.checkpointImageRepository);
  const name = imageName(repository, migration.spec.sourcePod ?? '');
  const [login, trust] = await Promise.all([
    loginOf(ctx, migration, repository),
    ctx.cluster.readConfigMap(migration.metadata.namespace, REGISTRY.ca),
  ]);
  const ca = trust?.data?.['ca.crt'];
  const { path: _path, ...place } = repository;
  return { ...place, name, tag: CHECKPOINT_TAG, ...login, ...(ca === undefined ? {} : { ca }) };
};

/** Whether the checkpoint can go as it is asked for, before anything is touched. Throws what keeps a node from it. */
export const tryTransfer = async (
  ctx: Context,
  migration: StatefulMigration,
  sourceNode: string,
  targetNode: string,
): Promise<void> => {
  const mode = modeOfTransfer(migration.spec);
  if (mode === 'Registry') await tryRegistry(ctx, migration, sourceNode, targetNode);
  if (mode === 'Direct') await ctx.agents.of(targetNode).tryImageStore({});
};

const tryRegistry = async (
  ctx: Context,
  migration: StatefulMigration,
  sourceNode: string,
  targetNode: string,
): Promise<void> => {
  const image = await imageOf(ctx, migration);
  await Promise.all([
    ctx.agents.of(sourceNode).tryRegistry({ image, push: true }),
    ctx.agents.of(targetNode).tryRegistry({ image, push: false }),
  ]);
};

const AT = '@';
const digestOf = ({ image }: Handoff): string | undefined => image?.reference.split(AT)[1];

/** Pushed, the digest on record, then pulled by it: a leader that takes over pulls what was pushed. */
export const byRegistry: StepFunction = async (ctx, migration, handoff) => {
  const image = await imageOf(ctx, migration);
  const claimed = { claim: handoff.claim, epoch: ctx.epoch, image };
  const digest = digestOf(handoff);
  if (digest === undefined) {
    const container = migration.status?.containerName ?? '';
    const pushed = await ctx.agents.of(handoff.source.node).push({ ...claimed, container });
    const reference = `${image.host}/${image.name}${AT}${pushed.digest}`;
    return wait(0, undefined, { image: { reference } });
  }
  await ctx.agents.of(handoff.copy.node).pull({ ...claimed, digest });
  return enterStep('Restoring');
};

/** By an agent that can. Empty, or why it is still there. */
const remove = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<string> => {
  const digest = digestOf(handoff);
  const request = { claim: handoff.claim, epoch: ctx.epoch, ...(digest === undefined ? {} : { digest }) };
  let left = '';
  // Only the source's agent knows of a push whose answer was lost.
  const those = digest === undefined ? [handoff.source] : [handoff.source, handoff.copy];
  for (const { node } of those) {
    try {
      const image = await imageOf(ctx, migration);
      left = (await ctx.agents.of(node).unpush({ ...request, image })).left;
      if (left === '') return left;
    } catch (error) {
      const known = asShadowError(error);
      if (known.code === 'SHADOW_E_STALE') throw known;
      left = known.message;
    }
  }
  return left;
};

const LEFT_LIMIT = 500;

/** A checkpoint is memory: it does not stay in a registry. What can't be removed holds nothing up, but is told. For the record. */
export const removeImage = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
): Promise<Partial<Handoff>> => {
  if (travelsBy(migration.spec, handoff) !== 'Registry' || handoff.entered.Transferring === undefined) return {};
  const left = (await remove(ctx, migration, handoff)).slice(0, LEFT_LIMIT);
  if (left === '') return {};
  const { namespace, name, uid } = migration.metadata;
  const reference =
    handoff.image?.reference ?? `${migration.spec.checkpointImageRepository}/${migration.spec.sourcePod}`;
  const about = { kind: 'StatefulMigration', namespace, name, uid } as const;
  ctx.cluster.event(about, 'Warning', 'CheckpointImageLeft', `${reference} is still there: ${left}`);
  return { image: { reference, left } };
};
