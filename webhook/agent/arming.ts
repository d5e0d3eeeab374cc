/**
 * Everything of a cut that can be done while the app still runs: the directories, the volumes as they are, the tools started.
 * Kept in memory by claim until the cut comes or its time is up; lost with the process, and then the cut does it itself.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentRequest } from '../api/agent.ts';
import { ShadowError } from '../api/errors.ts';
import { checkpoint } from './claims.ts';
import { containersOf, type RunningContainer } from './containers.ts';
import type { Armed, Driver } from './drivers.ts';
import { removeTree } from './files.ts';
import type { Node } from './node.ts';
import { type Looks, looksOf, packVolumes } from './volumes.ts';

/** Well within the gate's own patience: it is closed by us, not by its end. */
const ARMED_MS = 15_000;

export interface Arms {
  readonly containers: readonly RunningContainer[];
  /** The volumes as they were when they were packed. */
  readonly packed: Looks;
  readonly dump: Armed;
}

export const imagesOf = (node: Node, claim: string): string => join(checkpoint(node, claim), 'images');

const running = async (node: Node, request: AgentRequest<'arm'>): Promise<RunningContainer[]> => {
  const found = await containersOf(node, request.pod.uid);
  return request.containers.map(({ name }) => {
    const container = found.find((candidate) => candidate.name === name && !candidate.sandbox);
    if (container === undefined)
      throw new ShadowError('SHADOW_E_POD_NOT_RUNNING', `container ${name} of ${request.pod.name} is not running here`);
    return container;
  });
};

const arm = async (
  node: Node,
  driver: Driver,
  { claim, pod }: AgentRequest<'arm'>,
  containers: readonly RunningContainer[],
): Promise<Arms> => {
  const images = imagesOf(node, claim);
  await removeTree(node.at(checkpoint(node, claim)));
  await mkdir(node.at(images), { recursive: true });
  await node.canHurry();
  // What is not written to any more need not be packed while the app stands still.
  const packed = await looksOf(node, pod.uid);
  await packVolumes(node, pod.uid, images, packed);
  const dump = await driver.arm({ containers, images, work: join(checkpoint(node, claim), 'work'), pod });
  return { containers, packed, dump };
};

const same = (one: readonly RunningContainer[], other: readonly RunningContainer[]): boolean =>
  one.length === other.length && one.every(({ id, pid }, index) => id === other[index]?.id && pid === other[index].pid);

export class Armoury {
  private readonly kept = new Map<string, { arms: Arms; driver: Driver; late: NodeJS.Timeout }>();

  /** Again for the same processes: nothing, but the time begins anew. */
  async arm(node: Node, driver: Driver, request: AgentRequest<'arm'>): Promise<void> {
    const { claim } = request;
    const arms = await this.take(node, driver, request);
    const late = setTimeout(() => void this.drop(claim), ARMED_MS);
    late.unref();
    this.kept.set(claim, { arms, driver, late });
  }

  /** For the processes as they are now, armed before or only now. From now on the caller's to use or drop. */
  async take(node: Node, driver: Driver, request: AgentRequest<'arm'>): Promise<Arms> {
    const { claim } = request;
    const containers = await running(node, request);
    const kept = this.kept.get(claim);
    if (kept?.driver === driver && same(kept.arms.containers, containers)) {
      this.forget(claim);
      return kept.arms;
    }
    await this.drop(claim);
    return arm(node, driver, request, containers);
  }

  async drop(claim: string): Promise<void> {
    const kept = this.kept.get(claim);
    this.forget(claim);
    await kept?.arms.dump.drop();
  }

  private forget(claim: string): void {
    clearTimeout(this.kept.get(claim)?.late);
    this.kept.delete(claim);
  }
}
