/**
 * The cut, and everything that undoes it. Between the first pause and the return either all containers are dumped at one
 * instant (and the app stays paused, unless it is to go on), or all runs as before (invariant 5): also across a crash of the
 * agent, which finds the record of an unfinished cut when it starts.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import type { AgentRequest, AgentResponse } from '../api/agent.ts';
import { asShadowError, ShadowError } from '../api/errors.ts';
import { NFT } from '../api/staging.ts';
import { bytesIn } from './archive.ts';
import { type Armoury, type Arms, imagesOf } from './arming.ts';
import { checkpoint } from './claims.ts';
import { containersOf, pidsOf, type RunningContainer } from './containers.ts';
import type { Driver } from './drivers.ts';
import { namesIn, removeTree, settleAll, writeWhole } from './files.ts';
import { isPaused, pause, resume } from './freezer.ts';
import { applyRules, assertUnturned, fenceRules, forwardRules, removeTable, tcpRows, trackRules } from './network.ts';
import { type Node, textOf } from './node.ts';
import { isLoopback } from './sockets.ts';
import { frozenGeneration, looksOf, packVolumes, thaw } from './volumes.ts';

type Cut = AgentRequest<'cut'>;
type CutResult = AgentResponse<'cut'>;

const CUT_FILE = 'cut.json';
const CutRecord = z.object({
  podUid: z.string(),
  sidecars: z.array(z.string()),
  generation: z.number(),
  /** Absent while the cut is under way. */
  result: z.object({ bytes: z.number(), pausedAt: z.string(), pauseMs: z.number(), dumpMs: z.number() }).optional(),
});
type CutRecord = z.infer<typeof CutRecord>;

const readRecord = async (node: Node, claim: string): Promise<CutRecord | undefined> => {
  const text = await textOf(node.at(join(checkpoint(node, claim), CUT_FILE)));
  return text === undefined ? undefined : CutRecord.parse(JSON.parse(text));
};
/** A cut of the claim was made, or is being undone: its files are not to be touched by whoever gets ready for one. */
export const isCut = async (node: Node, claim: string): Promise<boolean> =>
  (await readRecord(node, claim)) !== undefined;
const writeRecord = (node: Node, claim: string, record: CutRecord): Promise<void> =>
  writeWhole(node.at(join(checkpoint(node, claim), CUT_FILE)), JSON.stringify(record));

const notFrozen = (seen: number | undefined, { freezeGeneration }: Cut): ShadowError =>
  new ShadowError('SHADOW_E_FREEZE', `generation ${seen ?? 'none'} instead of ${freezeGeneration}`, {
    retryable: true,
  });

/** A pod without our sidecar has nobody who could freeze: its app stands still by what it was told. */
const freezes = ({ containers }: Cut): boolean => containers.some(({ sidecar }) => sidecar);

const checkFrozen = async (node: Node, request: Cut): Promise<void> => {
  if (!freezes(request)) return;
  const seen = await frozenGeneration(node, request.pod.uid);
  if (seen !== request.freezeGeneration) throw notFrozen(seen, request);
};

const FROZEN_WITHIN_MS = 3000;
const LOOK_MS = 2;

/** The sidecar is told to freeze while all is made ready here: it stands still no longer than it has to. */
const awaitFrozen = async (node: Node, request: Cut): Promise<void> => {
  if (!freezes(request)) return;
  const end = performance.now() + FROZEN_WITHIN_MS;
  let seen = await frozenGeneration(node, request.pod.uid);
  while (seen !== request.freezeGeneration) {
    if (performance.now() > end) throw notFrozen(seen, request);
    await sleep(LOOK_MS);
    seen = await frozenGeneration(node, request.pod.uid);
  }
};

/**
 * A connection over loopback that nobody accepted yet would be cloned with one end only. Those from outside (probes, HTTP
 * clients) are skipped by the dump: they belong to the source.
 */
const checkBacklog = async (node: Node, containers: readonly RunningContainer[]): Promise<void> => {
  const [first] = containers;
  const rows = first === undefined ? [] : await tcpRows(node, first.pid);
  const waiting = rows.find((row) => row.listening && row.backlog > 0 && isLoopback(row.localAddress));
  if (waiting)
    throw new ShadowError('SHADOW_E_CHECKPOINT', `a connection to port ${waiting.localPort} is not yet accepted`, {
      retryable: true,
    });
};

/** Everything as before the cut. Keeps going: what can be undone is. */
const undo = async (node: Node, podUid: string, generation: number | undefined): Promise<void> => {
  const containers = await containersOf(node, podUid);
  if (generation !== undefined) await thaw(node, podUid, generation);
  // Opened before the app runs again, so that it never meets the fence.
  const netns = containers[0]?.netns;
  if (netns !== undefined) await Promise.all([NFT.fence, NFT.track].map((table) => removeTable(node, netns, table)));
  await Promise.all(containers.filter(({ sandbox }) => !sandbox).map((container) => resume(node, container)));
};

/**
 * The dump's conntrack entries stay behind: they are of connections the copy will not have, and CRIU refuses to restore
 * (EBUSY) where the container restored first has brought the same ones and they have moved on since.
 */
const dropConntrack = async (node: Node, images: string, containers: readonly RunningContainer[]): Promise<void> => {
  for (const { name } of containers) {
    const directory = node.at(join(images, name, 'checkpoint'));
    const entries = (await namesIn(directory)).filter((file) => /^netns-(ct|exp)-\d+\.img$/.test(file));
    await Promise.all(entries.map((file) => rm(join(directory, file))));
  }
};

const since = (start: number): number => Math.round(performance.now() - start);

const cutNow = async (node: Node, driver: Driver, request: Cut, arms: Arms): Promise<CutResult> => {
  const { containers, packed, dump } = arms;
  const images = imagesOf(node, request.claim);
  const netns = containers[0]?.netns ?? '';
  const isSidecar = (container: RunningContainer): boolean =>
    request.containers.some(({ name, sidecar }) => sidecar && name === container.name);
  const apps = containers.filter((container) => !isSidecar(container));
  await awaitFrozen(node, request);
  const start = performance.now();
  const pausedAt = new Date().toISOString();
  const paused = driver.paused ? containers : [];
  // An app that goes on has nothing to be kept from: it is the one voice until its sidecar is mute.
  const fenced = request.resume === true ? [] : [applyRules(node, netns, fenceRules())];
  await settleAll([...fenced, ...paused.map((container) => pause(node, container))]);
  await checkFrozen(node, request);
  const dumping = performance.now();
  if (driver.paused) {
    const looks = await looksOf(node, request.pod.uid);
    await settleAll([
      dump.dump(),
      packVolumes(node, request.pod.uid, images, looks, packed),
      // As good beside the dump as before it: nothing moves meanwhile.
      checkBacklog(node, containers),
    ]);
  } else {
    await checkBacklog(node, containers);
    await dump.dump();
    await Promise.all(apps.map((container) => pause(node, container)));
    // Its own deadline may have woken the sidecar in between: then the dump is of a running one.
    await checkFrozen(node, request);
    await packVolumes(node, request.pod.uid, images, await looksOf(node, request.pod.uid), packed);
  }
  const dumpMs = since(dumping);
  await thaw(node, request.pod.uid, request.freezeGeneration);
  const resumed = request.resume === true ? containers : containers.filter(isSidecar);
  await Promise.all(resumed.map((container) => resume(node, container)));
  const pauseMs = since(start);
  await dropConntrack(node, images, containers);
  // For the fence, which a source without the sidecar never gets.
  if (request.resume === true && containers.some(isSidecar)) await applyRules(node, netns, trackRules());
  return { bytes: await bytesIn(node.at(images)), pausedAt, pauseMs, dumpMs };
};

export const cut = async (node: Node, driver: Driver, request: Cut, armoury: Armoury): Promise<CutResult> => {
  const { claim, pod, freezeGeneration: generation } = request;
  const before = await readRecord(node, claim);
  if (before?.result !== undefined && before.generation === generation) return before.result;
  const arms = await armoury.take(node, driver, request);
  const sidecars = request.containers.filter(({ sidecar }) => sidecar).map(({ name }) => name);
  const record: CutRecord = { podUid: pod.uid, sidecars, generation };
  try {
    await writeRecord(node, claim, record);
    const result = await cutNow(node, driver, request, arms);
    await writeRecord(node, claim, { ...record, result });
    return result;
  } catch (error) {
    await arms.dump.drop();
    await undo(node, pod.uid, generation);
    await removeTree(node.at(checkpoint(node, claim)));
    throw asShadowError(error, 'SHADOW_E_CHECKPOINT');
  }
};

/** Any of the pod's: they share its network. */
export const anyOf = async (node: Node, podUid: string): Promise<RunningContainer> => {
  const [container] = await containersOf(node, podUid);
  if (container === undefined) throw new ShadowError('SHADOW_E_POD_NOT_RUNNING', 'it is not here');
  return container;
};

const netnsOf = async (node: Node, podUid: string): Promise<string> => (await anyOf(node, podUid)).netns;

/** Source, mute while its app runs on: what of it is not broker messages stays in the pod too (invariant 4). */
export const fenceSource = async (node: Node, podUid: string): Promise<void> => {
  await applyRules(node, await netnsOf(node, podUid), fenceRules());
};

/** Source, after the commit: who still comes to its app comes to its sidecar. To none of its ports: to the app again. */
export const forwardSource = async (
  node: Node,
  { pod, forwards }: AgentRequest<'forward'>,
): Promise<AgentResponse<'forward'>> => {
  const { netns, pid } = await anyOf(node, pod.uid);
  if (forwards.length === 0) await removeTable(node, netns, NFT.forward);
  else {
    await assertUnturned(node, netns);
    await applyRules(node, netns, forwardRules(forwards));
  }
  // After the rules: nobody comes to the app any more.
  const rows = await tcpRows(node, pid);
  return { open: rows.filter((row) => row.open && forwards.some(({ port }) => port === row.localPort)).length };
};

/** Source, abort: the app runs on, unfenced. The generation thaws a sidecar that the cut did not reach. */
export const resumeSource = async (node: Node, claim: string, podUid: string): Promise<void> => {
  await undo(node, podUid, (await readRecord(node, claim))?.generation);
};

/** SIGKILL while paused, then thaw: not one more instruction of the app runs, no shutdown code of a superseded copy. */
export const killApp = async (node: Node, request: AgentRequest<'kill'>): Promise<void> => {
  const apps = request.containers.filter(({ sidecar }) => !sidecar).map(({ name }) => name);
  const containers = (await containersOf(node, request.pod.uid)).filter(
    ({ name, sandbox }) => !sandbox && apps.includes(name),
  );
  await Promise.all(
    containers.map(async (container) => {
      if (!(await isPaused(node, container))) await pause(node, container);
      for (const pid of await pidsOf(node, container)) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch (error) {
          if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
        }
      }
      await resume(node, container);
    }),
  );
};

/** The pod a checkpoint on this node was made of; undefined: not known (yet). */
export const checkpointed = async (node: Node, claim: string): Promise<string | undefined> =>
  (await readRecord(node, claim))?.podUid;

/** At the agent's start: a cut that no agent finished left a pod standing still. */
export const recoverCuts = async (node: Node): Promise<string[]> => {
  const undone: string[] = [];
  for (const claim of await namesIn(node.at(node.layout.checkpoints))) {
    const record = await readRecord(node, claim);
    if (record === undefined || record.result !== undefined) continue;
    await undo(node, record.podUid, record.generation);
    await removeTree(node.at(checkpoint(node, claim)));
    undone.push(claim);
  }
  return undone;
};
