/** What a refusal, or a migration that was undone, leaves as it was. */
import { expect } from 'vitest';
import { getPod } from '../../../scripts/demonstration/kube.ts';
import type { PluginResult } from '../../../scripts/demonstration/migrate.ts';
import { rabbitmqctl } from '../../../scripts/playground/lib.ts';
import { CATALOGUE, type ErrorCode, ShadowError } from '../../../webhook/api/errors.ts';
import type { Bed } from './bed.ts';

/** The pod's connections as the broker names them: address, port and time of connecting. There is one at least. */
export const connectionsOf = async (bed: Bed, pod: string): Promise<string[]> => {
  const address = (await getPod(bed.kube, bed.namespace, pod))?.status?.podIP;
  const { stdout } = await rabbitmqctl(['-q', 'list_connections', 'name', 'connected_at', '--no-table-headers']);
  const own = stdout.split('\n').filter((line) => line.startsWith(`${address}:`));
  expect(own, stdout).not.toEqual([]);
  return own.sort();
};

export interface Traces {
  uid: string | undefined;
  node: string | undefined;
  /** Ids and restarts of all containers, init containers too. */
  containers: string[];
  labels: Record<string, string> | undefined;
  connections: string[];
}

/** All by which it would show that the pod, or its app, was touched. */
export const tracesOf = async (bed: Bed, name: string): Promise<Traces> => {
  const pod = await getPod(bed.kube, bed.namespace, name);
  const { containerStatuses = [], initContainerStatuses = [] } = pod?.status ?? {};
  return {
    uid: pod?.metadata?.uid,
    node: pod?.spec?.nodeName,
    containers: [...initContainerStatuses, ...containerStatuses].map(
      (each) => `${each.name} ${each.containerID} ${each.restartCount}`,
    ),
    labels: pod?.metadata?.labels,
    connections: await connectionsOf(bed, name),
  };
};

/**
 * Standard error ends with the two lines by which every command fails, and the exit code is that of `code`. `said`: what the
 * line says behind the catalogue's words. The hint is the catalogue's, or one that fits the instance.
 */
export const expectFailure = (
  { exit, stderr }: Pick<PluginResult, 'exit' | 'stderr'>,
  code: ErrorCode,
  said: string | RegExp = '',
  hint: string | RegExp = CATALOGUE[code].hint,
): void => {
  const [error = '', told = ''] = stderr.trimEnd().split('\n').slice(-2);
  expect(error, stderr).toMatch(/^error: .* \[SHADOW_E_[A-Z_]+\]$/);
  expect(error).toContain(`[${code}]`);
  expect(error.startsWith(`error: ${CATALOGUE[code].message}`), error).toBe(true);
  expect(error).toMatch(said);
  expect(told).toMatch(/^hint: ./);
  expect(told.slice('hint: '.length)).toMatch(hint);
  expect(exit).toBe(new ShadowError(code).exit);
};
