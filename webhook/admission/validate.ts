/** StatefulMigrations at admission: what no schema can say. Pure. The controller's preflight looks at the cluster. */
import { isDeepStrictEqual } from 'node:util';
import { ShadowError } from '../api/errors.ts';
import { parseRepository } from '../api/image.ts';
import { isEnded, type MigrationSpec, type StatefulMigration } from '../api/migration.ts';

/** A DNS-1123 subdomain, as names of pods and nodes are. */
const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

const invalid = (detail: string): ShadowError => new ShadowError('SHADOW_E_INVALID', detail);

/** A DNS-1123 label, as names of containers are. */
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** `[host[:port]/]path`, lower case, without a tag or digest: the controller adds them. */
/** A short string of AMQP has 255 bytes, and the names of the queues beside this one are longer by a suffix. */
const QUEUE_BYTES = 240;

type QueueConfig = NonNullable<MigrationSpec['messageQueueConfig']>;

const checkBrokerUrl = (brokerUrl: string): void => {
  const field = 'spec.messageQueueConfig.brokerUrl';
  if (!URL.canParse(brokerUrl)) throw invalid(`${field} is no URL: write amqp://user:password@host:5672/vhost`);
  const { protocol, hostname } = new URL(brokerUrl);
  if (!['amqp:', 'amqps:'].includes(protocol))
    throw invalid(`${field} begins with ${protocol}//: write amqp:// or amqps://`);
  if (hostname === '') throw invalid(`${field} names no host: write amqp://user:password@host:5672/vhost`);
};

/** What is missing is not asked for: a pod with the sidecar needs none of it. */
const checkQueueConfig = ({ queueName, brokerUrl }: QueueConfig): void => {
  if (Buffer.byteLength(queueName ?? '') > QUEUE_BYTES) {
    throw invalid(
      `spec.messageQueueConfig.queueName is longer than ${QUEUE_BYTES} bytes: no queue could be named after it`,
    );
  }
  if (brokerUrl) checkBrokerUrl(brokerUrl);
};

const checkSpec = (spec: MigrationSpec): void => {
  if (!spec.sourcePod) throw invalid('spec.sourcePod is empty: name the pod to migrate');
  if (!NAME.test(spec.sourcePod)) throw invalid(`spec.sourcePod: "${spec.sourcePod}" is no name of a pod`);
  if (spec.rehearse && spec.dryRun) {
    throw invalid(
      'spec.rehearse and spec.dryRun exclude each other: a dry run touches nothing, a rehearsal makes a copy',
    );
  }
  if (spec.targetNode && !NAME.test(spec.targetNode)) {
    throw invalid(`spec.targetNode: "${spec.targetNode}" is no name of a node; leave it empty to have one chosen`);
  }
  if (spec.transferMode === 'Registry') parseRepository(spec.checkpointImageRepository);
  if (spec.containerName && !LABEL.test(spec.containerName)) {
    throw invalid(`spec.containerName: "${spec.containerName}" is no name of a container; leave it empty`);
  }
  checkQueueConfig(spec.messageQueueConfig ?? {});
};

const FIELDS = [
  'sourcePod',
  'containerName',
  'targetNode',
  'checkpointImageRepository',
  'replayCutoffSeconds',
  'replayMode',
  'transferMode',
  'identitySwapMode',
  'migrationStrategy',
  'messageQueueConfig',
  'checkpointDriver',
  'onDivergence',
  'dryRun',
  'rehearse',
  'rehearseSeconds',
] as const satisfies readonly (keyof MigrationSpec)[];

const checkUpdate = (now: StatefulMigration, old: StatefulMigration): void => {
  const changed = FIELDS.find((field) => !isDeepStrictEqual(now.spec[field], old.spec[field]));
  if (changed) {
    throw invalid(`spec.${changed} cannot be changed once the migration has begun; abort it and create another`);
  }
  if (old.spec.abort && !now.spec.abort) throw invalid('spec.abort cannot be taken back');
  if (!now.spec.abort || old.spec.abort) return;
  if (isEnded(old)) throw new ShadowError('SHADOW_E_FINISHED', now.metadata.name);
  // Invariant 5. The commit itself is the status write; this only tells the user at once.
  if (old.status?.handoffs?.some(({ decision }) => decision?.verdict === 'commit')) {
    throw new ShadowError('SHADOW_E_COMMITTED', now.metadata.name);
  }
};

/** Throws SHADOW_E_INVALID, SHADOW_E_REPOSITORY, SHADOW_E_FINISHED or SHADOW_E_COMMITTED; `old` on updates. */
export const checkMigration = (now: StatefulMigration, old?: StatefulMigration): void => {
  // Taking a finalizer away must always be possible.
  if (now.metadata.deletionTimestamp) return;
  if (old?.status?.phase !== undefined) checkUpdate(now, old);
  else checkSpec(now.spec ?? {});
};
