/**
 * What injection replaces in a template and could not be told from it afterwards: env and arguments that lead to the sidecar,
 * labels and annotations, seccomp profiles. Kept in an annotation of the template. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import type { V1Container, V1EnvVar, V1Pod } from '@kubernetes/client-node';
import * as z from 'zod';
import { ANNOTATION } from '../../webhook/api/names.ts';

/** `is`: what injection made of `was`. It is put back only where it still stands. */
const changed = <T extends z.ZodType>(type: T) => z.object({ was: type, is: type });
const Env = z.looseObject({ name: z.string() });
const Replaced = z.object({
  /** By name, and of one that is there several times all of them, in order. */
  env: z.record(z.string(), changed(z.array(Env))).optional(),
  command: changed(z.array(z.string())).optional(),
  args: changed(z.array(z.string())).optional(),
  /** The profile RuntimeDefault is ours. */
  seccomp: z.literal(true).optional(),
});
type Replaced = z.infer<typeof Replaced>;

const Undo = z.object({
  /** null: there was none. */
  labels: z.record(z.string(), z.string().nullable()).optional(),
  annotations: z.record(z.string(), z.string().nullable()).optional(),
  containers: z.record(z.string(), Replaced).optional(),
});
export type Undo = z.infer<typeof Undo>;

type Texts = { [key: string]: string } | undefined;

/** Of `after`'s keys but `own`, those that `before` has not, or has otherwise. */
const textsBefore = (before: Texts, after: Texts, own: readonly string[]): { [key: string]: string | null } =>
  Object.fromEntries(
    Object.entries(after ?? {})
      .filter(([key, value]) => !own.includes(key) && before?.[key] !== value)
      .map(([key]) => [key, before?.[key] ?? null]),
  );

const named = (env: readonly V1EnvVar[] | undefined, name: string): V1EnvVar[] =>
  (env ?? []).filter((entry) => entry.name === name);

const replacedIn = (before: V1Container, after: V1Container): Replaced => {
  const names = [...new Set((after.env ?? []).map(({ name }) => name))];
  const env = names.flatMap((name) => {
    const [was, is] = [named(before.env, name), named(after.env, name)];
    return isDeepStrictEqual(was, is) ? [] : [[name, { was, is }] as const];
  });
  const list = (key: 'command' | 'args') =>
    isDeepStrictEqual(before[key], after[key]) ? {} : { [key]: { was: before[key], is: after[key] } };
  const seccomp = before.securityContext?.seccompProfile === undefined && after.securityContext?.seccompProfile;
  return {
    ...(env.length > 0 ? { env: Object.fromEntries(env) as unknown as NonNullable<Replaced['env']> } : {}),
    ...list('command'),
    ...list('args'),
    ...(seccomp ? { seccomp: true } : {}),
  };
};

export const allContainers = (pod: V1Pod): V1Container[] => [
  ...(pod.spec?.initContainers ?? []),
  ...(pod.spec?.containers ?? []),
];

/** `own`: labels and annotations that uninjection takes away anyhow. */
export const undoOf = (before: V1Pod, after: V1Pod, own: readonly string[]): Undo => {
  const containers = allContainers(before).flatMap((container) => {
    const now = allContainers(after).find(({ name }) => name === container.name);
    const replaced = now ? replacedIn(container, now) : {};
    return Object.keys(replaced).length > 0 ? [[container.name, replaced] as const] : [];
  });
  const labels = textsBefore(before.metadata?.labels, after.metadata?.labels, own);
  const annotations = textsBefore(before.metadata?.annotations, after.metadata?.annotations, own);
  return {
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
    ...(containers.length > 0 ? { containers: Object.fromEntries(containers) } : {}),
  };
};

/** undefined: the template has none, or none that can be read. */
export const readUndo = (pod: V1Pod): Undo | undefined => {
  const text = pod.metadata?.annotations?.[ANNOTATION.before];
  if (text === undefined) return undefined;
  try {
    return Undo.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
};

const envBefore = (env: readonly V1EnvVar[], replaced: NonNullable<Replaced['env']>): V1EnvVar[] => {
  const seen = new Map<string, number>();
  return env.map((entry) => {
    const pair = replaced[entry.name];
    const at = seen.get(entry.name) ?? 0;
    seen.set(entry.name, at + 1);
    return pair && isDeepStrictEqual(entry, pair.is[at]) ? (pair.was[at] as V1EnvVar) : entry;
  });
};

/** The object with other values, each at its place; undefined takes a field away. */
export const withFields = <T extends object>(object: T, fields: { [K in keyof T]?: T[K] | undefined }): T =>
  Object.fromEntries(Object.entries({ ...object, ...fields }).filter(([, value]) => value !== undefined)) as T;

const withoutSeccomp = (container: V1Container): V1Container => {
  const { seccompProfile, ...context } = container.securityContext ?? {};
  if (!isDeepStrictEqual(seccompProfile, { type: 'RuntimeDefault' })) return container;
  return withFields(container, { securityContext: Object.keys(context).length > 0 ? context : undefined });
};

const listBefore = (list: string[] | undefined, pair: Replaced['args']): string[] | undefined =>
  pair && isDeepStrictEqual(list, pair.is) ? pair.was : list;

export const containerBefore = (container: V1Container, undo: Undo): V1Container => {
  const replaced = undo.containers?.[container.name];
  if (replaced === undefined) return container;
  const { command, args } = container;
  const [commandBefore, argsBefore] = [listBefore(command, replaced.command), listBefore(args, replaced.args)];
  const back: V1Container = {
    ...container,
    ...(container.env && replaced.env ? { env: envBefore(container.env, replaced.env) } : {}),
    ...(commandBefore ? { command: commandBefore } : {}),
    ...(argsBefore ? { args: argsBefore } : {}),
  };
  return replaced.seccomp ? withoutSeccomp(back) : back;
};

/** The texts without `own`, and with what stood there before; undefined: none are left. */
export const textsRestored = (
  texts: Texts,
  before: { [key: string]: string | null } | undefined,
  own: readonly string[],
): Texts => {
  const left = Object.entries({ ...texts, ...before }).filter(
    (entry): entry is [string, string] => entry[1] !== null && !own.includes(entry[0]),
  );
  return left.length > 0 ? Object.fromEntries(left) : undefined;
};
