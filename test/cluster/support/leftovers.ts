/** Invariant 7: what a migration could leave behind, one line each; none is right. */
import { AdmissionregistrationV1Api } from '@kubernetes/client-node';
import { type Kube, listMigrations, orMissing } from '../../../scripts/demonstration/kube.ts';
import { NODES, type NodeName } from '../../../scripts/playground/layout.ts';
import { nodeExec } from '../../../scripts/playground/lib.ts';
import { isEnded } from '../../../webhook/api/migration.ts';
import { FINALIZER, LABEL, NODE_DIR, RESTORE_WEBHOOK_CONFIG } from '../../../webhook/api/names.ts';
import { NFT } from '../../../webhook/api/staging.ts';
import type { Bed } from './bed.ts';

/** In every network namespace of the node: our tables, and addresses on lo that are not loopback's. */
const NETWORKS = `for f in /run/netns/*; do
  [ -e "$f" ] || continue
  nsenter --net="$f" sh -c 'nft list tables | grep -e ${NFT.restore} -e ${NFT.fence} -e ${NFT.divert} -e ${NFT.still}; ip -o addr show dev lo | grep -v -e " 127.0.0.1/8 " -e " ::1/128 "' | sed "s|^|$f: |"
done
find ${NODE_DIR.staged} ${NODE_DIR.checkpoints} -mindepth 1 -maxdepth 1 2>/dev/null
true`;

const TAKEN = `find ${NODE_DIR.taken} -mindepth 1 -maxdepth 1 -printf '%f\\n' 2>/dev/null; true`;

const linesOf = async (node: NodeName, script: string): Promise<string[]> => {
  const { code, stdout, stderr } = await nodeExec(node, ['sh', '-c', script]);
  if (code !== 0) return [`${node}: cannot look: ${stderr}`];
  return stdout.split('\n').filter((line) => line.trim() !== '');
};

const onNode = async (node: NodeName, livingPods: ReadonlySet<string>): Promise<string[]> => {
  const traces = await linesOf(node, NETWORKS);
  const taken = (await linesOf(node, TAKEN)).filter((uid) => !livingPods.has(uid));
  return [...traces, ...taken.map((uid) => `the record of restored containers of ${uid}, a pod long gone`)].map(
    (line) => `${node}: ${line}`,
  );
};

const inCluster = async (kube: Kube, namespace: string): Promise<string[]> => {
  const pods = (await kube.core.listNamespacedPod({ namespace })).items;
  const admission = kube.config.makeApiClient(AdmissionregistrationV1Api);
  const config = await orMissing(admission.readMutatingWebhookConfiguration({ name: RESTORE_WEBHOOK_CONFIG }));
  const migrations = await listMigrations(kube, namespace);
  return [
    ...pods.filter(({ metadata }) => metadata?.name?.endsWith('-shadow')).map((pod) => `pod ${pod.metadata?.name}`),
    ...pods
      .filter(({ metadata }) => metadata?.labels?.[LABEL.migration] ?? metadata?.labels?.[LABEL.role])
      .map((pod) => `labels of a migration on pod ${pod.metadata?.name}`),
    ...(config?.webhooks?.length ? [`the webhook configuration ${RESTORE_WEBHOOK_CONFIG}`] : []),
    ...migrations
      .filter((migration) => isEnded(migration) && migration.metadata.finalizers?.includes(FINALIZER))
      .map(({ metadata }) => `the finalizer of migration ${metadata.name}`),
  ];
};

export const leftovers = async (bed: Bed): Promise<string[]> => {
  const pods = (await bed.kube.core.listPodForAllNamespaces()).items;
  const living = new Set(pods.map(({ metadata }) => metadata?.uid ?? ''));
  const nodes = await Promise.all(NODES.map((node) => onNode(node, living)));
  return [...(await inCluster(bed.kube, bed.namespace)), ...nodes.flat()];
};

/** The last traces may go a moment after the migration has ended; then they must be gone. */
export const settledLeftovers = async (bed: Bed, withinMs = 10_000): Promise<string[]> => {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = await leftovers(bed);
    if (found.length === 0 || performance.now() > deadline) return found;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
};
