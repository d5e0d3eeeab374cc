/** A cluster of two nodes in which every check passes, and a pod that can be migrated: to be spoilt one thing at a time. */
import type { Facts, NodeObject } from '../../../plugin/check/facts.ts';
import { ownCrd } from '../../../plugin/check/gather.ts';
import type { Deployment, Pod, WebhookConfiguration } from '../../../plugin/kinds.ts';
import { issue, newCA } from '../../../webhook/admission/ca/authority.ts';
import type { ErrorCode } from '../../../webhook/api/errors.ts';
import type { Aspect, MigrationStatus, StatefulMigration } from '../../../webhook/api/migration.ts';
import type { NodeEntry, NodeReports } from '../../../webhook/api/node-reports.ts';
import type { EstimatePart, Rehearsal, RehearsalVerdict } from '../../../webhook/api/rehearsal.ts';

export const NOW = Date.parse('2026-11-29T22:00:00Z');
export const DAY = 86_400_000;

export const authority = newCA(NOW - 10 * DAY);
export const leafOf = (role: 'webhook' | 'controller' | 'agent', from = NOW - DAY, ca = authority): string =>
  issue(ca, role, from).cert;

const deployment = (name: string): Deployment => ({
  metadata: { name, generation: 1, labels },
  spec: { replicas: 2, template: { spec: { containers: [] } } },
  status: { observedGeneration: 1, replicas: 2, updatedReplicas: 2, availableReplicas: 2 },
});

export const configured = (name: string, pem: string): WebhookConfiguration => ({
  metadata: { name },
  webhooks: [{ name: `a.${name}`, clientConfig: { caBundle: Buffer.from(pem).toString('base64') } }],
});

export const agentPod = (node: string, ready = true): Pod => ({
  metadata: { name: `shadow-agent-${node}`, labels: { 'app.kubernetes.io/component': 'agent' } },
  spec: { nodeName: node },
  status: { phase: 'Running', conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
});

export const nodeObject = (name: string, runtime = 'containerd://2.3.7'): NodeObject => ({
  metadata: { name, labels: { 'kubernetes.io/os': 'linux' } },
  status: {
    conditions: [{ type: 'Ready', status: 'True' }],
    nodeInfo: { containerRuntimeVersion: runtime },
    runtimeHandlers: [{ name: '' }, { name: 'runc' }, { name: 'shadow' }],
  },
});

export const entry = (node: string, found: Partial<NonNullable<NodeEntry['found']>> = {}): NodeEntry => ({
  node,
  found: {
    ...{ arch: 'x64', kernel: '6.12', containerd: '2.3.7', runc: '1.4.3', criu: '4.2.1', handlerInstalled: true },
    ...{ criuCheck: '', handlerConfigured: true, checkpointApi: '', cpu: 0, aheadMs: 0, ...found },
  },
});

export const reported = (nodes: NodeEntry[], cpus: string[][] = [['avx', 'sse']]): { got: NodeReports } => ({
  got: { at: new Date(NOW - 60_000).toISOString(), cpus, nodes },
});

const rights = ['create', 'get', 'list', 'watch', 'patch', 'delete'].map((verb) => ({
  verb,
  resource: 'statefulmigrations.migration.ms2m.io',
  allowed: { got: true },
}));

const NAMES = ['Pod', 'Spec', 'Owner', 'Session', 'Processes', 'Strategy', 'Nodes', 'Admission'] as const;

/** What the controller writes of a fit pod, with some aspects otherwise. */
export const lookedAt = (...others: Aspect[]): { got: StatefulMigration } => ({
  got: {
    metadata: { name: 'shadow-check-x', namespace: 'shop', uid: 'u', resourceVersion: '1' },
    spec: { sourcePod: 'consumer-0', dryRun: true },
    status: {
      phase: 'Checked',
      sourceNode: 'node-1',
      fitNodes: ['node-2'],
      assessment: NAMES.map(
        (aspect) =>
          others.find((other) => other.aspect === aspect) ?? {
            aspect,
            verdict: 'Fit',
            findings: aspect === 'Strategy' ? ['ShadowPodSwap: its broker alone'] : [],
          },
      ),
    },
  },
});

const ENDS: Partial<Record<RehearsalVerdict, { code: ErrorCode; message: string }>> = {
  Diverged: {
    code: 'SHADOW_E_DIVERGED',
    message: "both published to exchange 'out' by key '', but not the same",
  },
  Behind: {
    code: 'SHADOW_E_RECORD',
    message: 'the copy had not caught up in 10 s: 812 outputs behind its source',
  },
  Failed: { code: 'SHADOW_E_RESTORE', message: 'the restore failed: criu: Error (x.c:12)' },
};

/** As the controller ends it; of a pod of a StatefulSet, or as `status` says otherwise. */
export const rehearsedAs = (
  verdict: RehearsalVerdict,
  numbers: Partial<Rehearsal> = {},
  status: Partial<MigrationStatus> = {},
): StatefulMigration => {
  const error = ENDS[verdict];
  const caughtUp = verdict === 'Safe' || verdict === 'Idle';
  const parts: EstimatePart[] = [
    { part: 'Warming', ms: 900 },
    { part: 'Cutting', ms: 310 },
    { part: 'Transferring', ms: 120 },
    { part: 'Restoring', ms: 420 },
    { part: 'CatchingUp', ms: 1_300 },
    { part: 'Ending', ms: 700, estimated: true },
    { part: 'SecondHandoff', ms: 3_750, estimated: true },
  ];
  const measured: Rehearsal = {
    ...{ seconds: 10, verdict, message: error?.message ?? 'safe to replay' },
    ...(verdict === 'Failed'
      ? {}
      : {
          steps: { Warming: 900, Cutting: 310, Transferring: 120, Restoring: 420, Replaying: 4_300, Aborting: 700 },
          ...{ bytes: 13_421_772, frozenMs: 152, recorded: 512, played: 510, matched: 240, diverged: 0 },
          ...{ lag: 2, lagMost: 61, throttle: 0.8, sourceRate: 50, copyRate: 181.3 },
          ...(caughtUp ? { caughtUpMs: 1_300 } : {}),
          estimate: { ...(caughtUp ? { wholeMs: 7_500, parts } : {}), pauseMs: 152, pause: 'Measured' },
        }),
    ...numbers,
  };
  return {
    metadata: { name: 'shadow-rehearsal-x', namespace: 'shop', uid: 'u', resourceVersion: '1' },
    spec: { sourcePod: 'consumer-0', rehearse: true },
    status: {
      ...{ phase: 'Rehearsed', sourceNode: 'node-1', targetNode: 'node-2', strategy: 'ShadowPodSwap' },
      ...{ strategyReason: 'its broker alone', statefulSetName: 'consumer' },
      ...{ startTime: '2026-11-29T22:00:00Z', completionTime: '2026-11-29T22:00:07Z' },
      ...(error === undefined ? {} : { error }),
      rehearsal: measured,
      ...status,
    },
  };
};

/** Of the plugin and of all parts. */
const VERSION = '1.2.3';
const labels = { 'app.kubernetes.io/version': VERSION };
const OWN = ownCrd();
const CRD = { ...OWN, metadata: { ...OWN.metadata, labels } };
const LEAF = { webhook: leafOf('webhook'), controller: leafOf('controller'), agent: leafOf('agent') };

export const fitCluster = (): Facts => ({
  now: NOW,
  namespace: 'shop',
  version: { got: { gitVersion: 'v1.34.4' } },
  crd: { got: CRD },
  home: 'shadow-system',
  ownCrd: CRD,
  ownVersion: VERSION,
  webhook: { got: deployment('shadow-webhook') },
  controller: { got: deployment('shadow-controller') },
  agentSet: { got: { metadata: { name: 'shadow-agent', labels } } },
  pods: { got: [agentPod('node-1'), agentPod('node-2')] },
  lease: {
    got: { lease: { metadata: { name: 'l' }, spec: { holderIdentity: 'shadow-controller-a/1' } }, renewed: true },
  },
  validation: { got: 'refused' },
  injection: { got: 'answers' },
  runtimeClass: { got: { handler: 'shadow' } },
  webhooks: { got: [configured('shadow-inject', authority.cert), configured('shadow-validate', authority.cert)] },
  certificates: {
    webhook: { got: LEAF.webhook },
    controller: { got: LEAF.controller },
    agent: { got: LEAF.agent },
  },
  nodes: { got: [nodeObject('node-1'), nodeObject('node-2')] },
  reports: reported([entry('node-1'), entry('node-2')]),
  rights: [...rights, { verb: 'get', resource: 'pods', allowed: { got: true } }],
  dryRun: lookedAt(),
  rehearsal: { got: rehearsedAs('Safe') },
});
