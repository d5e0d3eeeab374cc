/** A pod template with the sidecar, as the webhook would put it into its pods, and without it again. Pure. */
import type { V1Container, V1HostAlias, V1Pod } from '@kubernetes/client-node';
import * as z from 'zod';
import { inject } from '../../webhook/admission/inject.ts';
import { sidecarOf } from '../../webhook/admission/pods.ts';
import { hostPort, urlsIn } from '../../webhook/admission/urls.ts';
import { ShadowError } from '../../webhook/api/errors.ts';
import { ANNOTATION, LABEL, SIDECAR } from '../../webhook/api/names.ts';
import { detailOf } from '../problems.ts';
import { allContainers, containerBefore, readUndo, textsRestored, undoOf, withFields } from './undo.ts';
import type { Workload } from './workloads.ts';

export interface InjectOptions {
  image: string;
  /** Of that image; undefined: not known. */
  version?: string | undefined;
  /** Namespace of our components; undefined: NAMESPACE. */
  home?: string | undefined;
  /** Of manifests that name none. */
  namespace: string;
  ipv6: boolean;
  /** Annotations for templates that have none of the name. */
  annotations: { [name: string]: string };
}

export interface Changed {
  /** undefined: it stays as it is. */
  template?: V1Pod;
  /** What was done to it, or why nothing was; one line. */
  told: string;
  /** It was so before. */
  stands?: true;
  /** It was to be changed and could not be. */
  problem?: ShadowError;
}

const OWN_LABELS: readonly string[] = [LABEL.injected];
const OWN_ANNOTATIONS: readonly string[] = [ANNOTATION.status, ANNOTATION.before, ANNOTATION.version];

const Texts = z.record(z.string(), z.string()).nullish();
const Container = z.looseObject({
  name: z.string(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().nullish() })).nullish(),
  command: z.array(z.string()).nullish(),
  args: z.array(z.string()).nullish(),
});
/** What the API server sees to before the webhook is asked: a number is no text. */
const Template = z.looseObject({
  metadata: z.looseObject({ labels: Texts, annotations: Texts }).nullish(),
  spec: z.looseObject({
    containers: z.array(Container).min(1),
    initContainers: z.array(Container).nullish(),
  }),
});

const checked = ({ template, name }: Workload): V1Pod => {
  const { error } = Template.safeParse(template);
  if (!error) return template;
  const detail = error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
  throw new ShadowError('SHADOW_E_INVALID', `${name}: its template: ${detail}`);
};

/** The kinds whose pods belong to a Job: a template does not say so itself. */
const JOBS: readonly string[] = ['Job', 'CronJob'];

/** What is asked to be injected. The label has the webhook look at the pods, in any namespace: it brings the CA there. */
const asked = (template: V1Pod, kind: string, annotations: InjectOptions['annotations']): V1Pod => {
  const { metadata } = template;
  const job = { apiVersion: 'batch/v1', kind: 'Job', name: '', uid: '' };
  return {
    ...template,
    metadata: {
      ...metadata,
      labels: { ...metadata?.labels, [LABEL.inject]: 'true' },
      ...(Object.keys(annotations).length > 0 ? { annotations: { ...annotations, ...metadata?.annotations } } : {}),
      ...(JOBS.includes(kind) ? { ownerReferences: [job] } : {}),
    },
  };
};

const withUndo = (before: V1Pod, after: V1Pod): V1Pod => {
  const undo = JSON.stringify(undoOf(before, after, [...OWN_LABELS, ...OWN_ANNOTATIONS]));
  const annotations = { ...after.metadata?.annotations, [ANNOTATION.before]: undo };
  return { ...after, metadata: { ...after.metadata, annotations } };
};

const named = (name: string, { code, message, hint }: ShadowError): ShadowError =>
  new ShadowError(code, `${name}: ${detailOf(code, message)}`, { hint });

/**
 * As the webhook decides: what asks for it by label is injected or refused (throws), of all else the refusal is told. Throws
 * SHADOW_E_INVALID for what is no template.
 */
export const injectTemplate = (workload: Workload, options: InjectOptions): Changed => {
  const template = checked(workload);
  const sidecar = sidecarOf(template);
  if (sidecar) {
    const other = sidecar.image === options.image ? '' : ` with ${sidecar.image}; uninject it first for another image`;
    return { told: `injected already${other}`, stands: true };
  }
  if (template.metadata?.labels?.[LABEL.inject] === 'false') return { told: `skipped: ${LABEL.inject} is "false"` };
  const namespace = workload.namespace ?? options.namespace;
  try {
    const { pod } = inject(asked(template, workload.kind, options.annotations), { ...options, namespace });
    return { template: withUndo(template, pod), told: 'injected' };
  } catch (error) {
    if (!(error instanceof ShadowError) || error.code === 'SHADOW_E_INTERNAL') throw error;
    const problem = named(workload.name, error);
    if (template.metadata?.labels?.[LABEL.inject] === 'true') throw problem;
    return { told: `skipped: ${error.message}`, problem };
  }
};

interface Listen {
  listen: string;
  listenToo?: string;
  host: string;
}

/** What the sidecar is told; [] where it can't be read. */
const listensOf = ({ env = [] }: V1Container): Listen[] => {
  try {
    return JSON.parse(env.find(({ name }) => name === 'SHADOW_BROKERS')?.value ?? '[]') as Listen[];
  } catch {
    return [];
  }
};

/** Of one broker all spellings are in one alias, and one of them at least is that broker's name. */
const isOurAlias = ({ ip, hostnames = [] }: V1HostAlias, listens: readonly Listen[]): boolean =>
  listens.some(
    ({ listen, listenToo, host }) => (ip === listen || ip === listenToo) && hostnames.includes(host.toLowerCase()),
  );

const hostsIn = (text: string): string[] => [
  ...urlsIn(text).flatMap(({ hosts }) => hosts.map(({ host }) => host)),
  ...text.split(/[\s,;]+/).flatMap((part) => hostPort(part)?.host ?? []),
];

/** Where a template without an undo names the sidecar itself, in a broker's place. */
const ledAway = (container: V1Container, listens: readonly Listen[]): string | undefined => {
  const led = (text: string | undefined): boolean =>
    hostsIn(text ?? '').some((host) => listens.some(({ listen }) => listen === host));
  const entry = (container.env ?? []).find(({ value }) => led(value));
  if (entry) return `env ${entry.name} of container ${container.name}`;
  const line = [...(container.command ?? []), ...(container.args ?? [])].some(led);
  return line ? `the command line of container ${container.name}` : undefined;
};

/** Throws SHADOW_E_UNINJECT where what was replaced is not known. */
const checkLost = (pod: V1Pod, name: string, listens: readonly Listen[]): void => {
  const refuse = (detail: string): never => {
    throw new ShadowError('SHADOW_E_UNINJECT', `${name}: ${detail}, and what it was is not recorded`);
  };
  if (pod.metadata?.annotations?.[ANNOTATION.keys] !== undefined) refuse(`its ${ANNOTATION.keys} were put in place`);
  for (const container of allContainers(pod).filter((each) => each.name !== SIDECAR.container)) {
    const where = ledAway(container, listens);
    if (where) refuse(`${where} leads to the sidecar`);
  }
};

const OWN_VOLUMES: readonly string[] = [SIDECAR.runVolume, SIDECAR.idVolume, SIDECAR.tlsVolume];

/** What is left of a list; undefined: nothing, or there was none. */
const left = <T>(list: readonly T[] | undefined, keep: (item: T) => boolean): T[] | undefined => {
  const kept = list?.filter(keep);
  return kept && kept.length > 0 ? kept : undefined;
};

const specBefore = (pod: V1Pod, listens: readonly Listen[]): V1Pod['spec'] => {
  const { containers, initContainers, volumes, hostAliases } = pod.spec!;
  const undo = readUndo(pod) ?? {};
  const back = (list: V1Container[] | undefined): V1Container[] | undefined =>
    left(list, ({ name }) => name !== SIDECAR.container)?.map((container) => containerBefore(container, undo));
  return withFields(pod.spec!, {
    containers: back(containers),
    initContainers: back(initContainers),
    volumes: left(volumes, ({ name }) => !OWN_VOLUMES.includes(name)),
    hostAliases: left(hostAliases, (alias) => !isOurAlias(alias, listens)),
  });
};

const metadataBefore = (pod: V1Pod): V1Pod['metadata'] => {
  const { labels, annotations } = pod.metadata ?? {};
  const undo = readUndo(pod);
  const metadata = withFields(pod.metadata ?? {}, {
    labels: textsRestored(labels, undo?.labels, OWN_LABELS),
    annotations: textsRestored(annotations, undo?.annotations, OWN_ANNOTATIONS),
  });
  return Object.keys(metadata).length > 0 ? metadata : undefined;
};

/** Throws SHADOW_E_INVALID, SHADOW_E_UNINJECT. */
export const uninjectTemplate = (workload: Workload): Changed => {
  const template = checked(workload);
  const sidecar = sidecarOf(template);
  if (!sidecar) return { told: 'not injected' };
  const listens = listensOf(sidecar);
  const known = readUndo(template) !== undefined;
  if (!known) checkLost(template, workload.name, listens);
  const after = withFields(template, { metadata: metadataBefore(template), spec: specBefore(template, listens) });
  return { template: after, told: known ? 'uninjected' : 'uninjected; seccomp profiles stay, whoever set them' };
};
