/** What is known of a cluster, and of a pod, when it is judged. No I/O. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import type { NodeReports } from '../../webhook/api/node-reports.ts';
import type { Answer } from '../install/probe.ts';
import type { DaemonSet, Deployment, Meta, Pod, WebhookConfiguration } from '../kinds.ts';

/** `absent`: the API says there is none. `denied`: the caller may not see it. `failed`: no answer, or an error; why. */
export type Fact<T> = { got: T } | { absent: true } | { denied: string } | { failed: string; hint?: string };

export interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
}
export interface Crd {
  metadata: Meta;
  spec: { versions: { name: string; served: boolean; storage: boolean; schema?: { openAPIV3Schema?: Schema } }[] };
}

export interface NodeObject {
  metadata: Meta;
  spec?: { unschedulable?: boolean };
  status?: {
    conditions?: { type: string; status: string }[];
    /** Absent: the kubelet does not tell (before Kubernetes 1.31). */
    runtimeHandlers?: { name?: string }[];
    /** `containerRuntimeVersion`: "containerd://2.3.7". */
    nodeInfo?: { containerRuntimeVersion?: string };
  };
}

export interface Lease {
  metadata: Meta;
  spec?: { holderIdentity?: string; leaseDurationSeconds?: number; renewTime?: string };
}

/** What a rule of the caller's allows: `verb resource`. */
export interface Right {
  verb: string;
  resource: string;
  allowed: Fact<boolean>;
}

export const SECRET_ROLES = ['webhook', 'controller', 'agent'] as const;
export type SecretRole = (typeof SECRET_ROLES)[number];

export interface Facts {
  /** The caller's clock, milliseconds since 1970. */
  now: number;
  namespace: string;
  /** Our namespace. */
  home: string;
  version: Fact<{ gitVersion: string }>;
  crd: Fact<Crd>;
  /** The plugin's own. */
  ownCrd: Crd;
  ownVersion: string;
  webhook: Fact<Deployment>;
  controller: Fact<Deployment>;
  agentSet: Fact<DaemonSet>;
  /** Our pods, in our namespace. */
  pods: Fact<Pod[]>;
  /** As first read, and whether it was renewed while it was looked at. */
  lease: Fact<{ lease: Lease; renewed: boolean }>;
  /** Of a migration that names no pod, created by a dry run: did the webhook refuse it? */
  validation: Fact<'refused' | 'accepted'>;
  /** Of a pod that asks to be injected, created by a dry run. */
  injection: Fact<Answer>;
  runtimeClass: Fact<{ handler: string }>;
  webhooks: Fact<WebhookConfiguration[]>;
  /** PEM: tls.crt. */
  certificates: Record<SecretRole, Fact<string>>;
  nodes: Fact<NodeObject[]>;
  /** undefined: what is there is none, or another release's. */
  reports: Fact<NodeReports | undefined>;
  rights: Right[];
  /** Of the pod that is asked about. */
  dryRun?: Fact<StatefulMigration>;
  /** Of the pod, once it has ended; undefined: none was asked for, or it was not come to. */
  rehearsal?: Fact<StatefulMigration>;
}

/** What the checks of a pod are about. */
export type Looked = Pick<Facts, 'dryRun'>;

export const OUTCOMES = ['pass', 'warn', 'fail', 'skipped'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Finding {
  outcome: Outcome;
  /** One line: what is so, or the cause. */
  message: string;
  /** Where the check's own does not fit. */
  hint?: string;
  /** Where the check's own section does not fit: a path below the repository's root, with an anchor. */
  doc?: string;
}

export const pass = (message: string): Finding => ({ outcome: 'pass', message });
export const warn = (message: string, hint?: string): Finding => ({
  outcome: 'warn',
  message,
  ...(hint === undefined ? {} : { hint }),
});
export const fail = (message: string, hint?: string): Finding => ({
  outcome: 'fail',
  message,
  ...(hint === undefined ? {} : { hint }),
});

const RIGHTS = 'ask for the roles shadow-check (docs/check.md#rights)';
export const skippedFor = (why: string, hint: string = RIGHTS): Finding => ({ outcome: 'skipped', message: why, hint });

/** `what`: "read the Lease". `absent`: what it means that there is none. */
export const judged = <T>(
  fact: Fact<T>,
  what: string,
  judge: (value: T) => Finding,
  absent: Finding = fail(`could not ${what}: there is none`),
): Finding => {
  if ('got' in fact) return judge(fact.got);
  if ('absent' in fact) return absent;
  if ('denied' in fact) return skippedFor(`you may not ${what}`);
  return fail(`could not ${what}: ${fact.failed}`, fact.hint);
};

/** At most so many, and how many more. */
export const some = (lines: readonly string[], separator = '; ', limit = 5): string =>
  lines.length <= limit
    ? lines.join(separator)
    : `${lines.slice(0, limit).join(separator)}${separator}and ${lines.length - limit} more`;
