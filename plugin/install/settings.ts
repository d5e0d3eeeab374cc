/** What an installation can be told, and the objects that come of it. Pure. */
import type { DaemonSet, Deployment, Obj, PodSpec } from '../kinds.ts';
import { loadManifests, withImage, withNamespace } from '../manifests.ts';
import { usage } from '../options.ts';
import { checkImage, nextImage, rehomed } from './images.ts';
import { SETUP, withoutNodeSetup } from './nodes.ts';

export const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'] as const;

/** undefined, of all but the namespace: as the base has it. */
export interface Settings {
  namespace: string;
  image?: string | undefined;
  pullPolicy?: string | undefined;
  /** Secrets in our namespace. */
  pullSecrets?: readonly string[] | undefined;
  nodeSetup?: boolean | undefined;
}

/** What the command line says of them; undefined: nothing. */
export interface Wishes {
  image?: string | undefined;
  registry?: string | undefined;
  imagePullPolicy?: string | undefined;
  imagePullSecret?: string[] | undefined;
  nodeSetup?: boolean | undefined;
}

/** As `kubectl create namespace` takes it: RFC 1123, label. Throws SHADOW_E_USAGE. */
export const checkNamespace = (namespace: string): string => {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace)) return namespace;
  throw usage(`--namespace "${namespace}" is no name of a namespace`);
};

const imageOf = (objects: readonly Obj[]): string =>
  objects.flatMap((object) => podSpecOf(object)?.containers ?? [])[0]?.image ?? '';

const podSpecOf = (object: Obj): PodSpec | undefined =>
  (object as { spec?: { template?: { spec?: PodSpec } } }).spec?.template?.spec;

const inEveryPod = (objects: readonly Obj[], change: (spec: PodSpec) => PodSpec): Obj[] =>
  objects.map((object) => {
    const spec = podSpecOf(object);
    if (spec === undefined) return object;
    const outer = object.spec as { template: object };
    return { ...object, spec: { ...outer, template: { ...outer.template, spec: change(spec) } } };
  });

const withPulling = (objects: readonly Obj[], { pullPolicy, pullSecrets = [] }: Settings): Obj[] =>
  inEveryPod(objects, (spec) => {
    const set = <T extends object>(containers: T[]): T[] =>
      pullPolicy === undefined ? containers : containers.map((each) => ({ ...each, imagePullPolicy: pullPolicy }));
    return {
      ...spec,
      ...(pullSecrets.length > 0 ? { imagePullSecrets: pullSecrets.map((name) => ({ name })) } : {}),
      ...(spec.initContainers ? { initContainers: set(spec.initContainers) } : {}),
      containers: set(spec.containers),
    };
  });

/** In the order they are applied. */
export const objectsOf = (settings: Settings): Obj[] => {
  const all = loadManifests();
  const base = withNamespace(settings.nodeSetup === false ? withoutNodeSetup(all) : all, settings.namespace);
  return withPulling(settings.image === undefined ? base : withImage(base, settings.image), settings);
};

/** What is installed, as its workloads tell. */
export const settingsOf = (
  namespace: string,
  webhook: Deployment | undefined,
  agent: DaemonSet | undefined,
): Settings => {
  const spec = webhook?.spec.template.spec ?? agent?.spec?.template.spec;
  const [container] = spec?.containers ?? [];
  return {
    namespace,
    image: container?.image,
    pullPolicy: container?.imagePullPolicy,
    pullSecrets: spec?.imagePullSecrets?.map(({ name }) => name),
    nodeSetup: agent?.spec && agent.spec.template.spec.initContainers?.some(({ name }) => name === SETUP) === true,
  };
};

/**
 * What is to be: what is asked for, else what is installed (of version `from`), else the base's. Throws SHADOW_E_USAGE.
 */
export const chosen = (
  namespace: string,
  wishes: Wishes,
  installed: { settings: Settings; from: string } | undefined,
  to: string,
): Settings => {
  const kept = installed?.settings;
  const asked = wishes.image === undefined ? undefined : checkImage(wishes.image);
  const before = kept?.image && asked === undefined ? nextImage(kept.image, installed!.from, to) : undefined;
  const image = asked ?? before;
  return {
    namespace,
    image: wishes.registry === undefined ? image : rehomed(image ?? imageOf(loadManifests()), wishes.registry),
    pullPolicy: wishes.imagePullPolicy ?? kept?.pullPolicy,
    pullSecrets: wishes.imagePullSecret ?? kept?.pullSecrets,
    nodeSetup: wishes.nodeSetup ?? kept?.nodeSetup,
  };
};
