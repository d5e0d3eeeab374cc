/** What must hold in the world at every instant, and at a commit. */
import type { Handoff } from '../../../webhook/api/migration.ts';
import { isReady, uidOf } from '../../../webhook/controller/pods.ts';
import type { World } from './world.ts';
import type { Sidecar } from './world-sidecars.ts';

/** What the source of this claim is, if its pod is still there. */
export const sourceOf = (world: World, claim: string): Sidecar | undefined =>
  [...world.sidecars.values()].find((one) => one.claim === claim && one.play === undefined);

/** An idle copy settles nothing through its source any more. */
export const copySettles = (world: World, claim: string): boolean =>
  world.sidecars.get(world.routes.get(claim)?.copyUid ?? '')?.state !== 'idle';

const SPEAKING: readonly string[] = ['idle', 'recording', 'live'];

/** A ReplicaSet may make another replica when one is lost: that one is nobody's copy. */
export const checkVoice = (world: World): void => {
  const speaking = [...world.sidecars].filter(
    ([, { state, app, process }]) =>
      SPEAKING.includes(state) && app === 'running' && (world.kind === 'StatefulSet' || process === world.original),
  );
  if (speaking.length > 1) world.violate(`two voices: ${speaking.map(([uid]) => uid)}`);
};

/** What the slices say follows what the pods say. */
export const sendTo = (world: World): void => {
  const there = new Map([...world.pods.values()].map((pod) => [uidOf(pod), isReady(pod)]));
  for (const uid of [...world.endpoints.keys()]) if (!there.has(uid)) world.endpoints.delete(uid);
  for (const [uid, ready] of there) {
    if (ready && world.endpoints.get(uid) !== true) world.joined = world.time;
    if (ready) world.lastSent.set(uid, world.time);
    world.endpoints.set(uid, ready);
  }
};

/** Some pod is ready where the Service sends to, and answers. */
export const checkServed = (world: World): void => {
  const ready = [...world.endpoints].some(([uid, is]) => is && world.sidecars.get(uid)?.app === 'running');
  if (world.served && !ready) world.violate('the Service has no endpoint');
};

/** kube-proxy is a moment behind what the slices say, and takes no two changes within its least period. */
const PROXY_MS = 200;
const PROXY_PERIOD_MS = 1_000;
export const checkLeaving = (world: World, uid: string): void => {
  const sent = world.lastSent.get(uid);
  const { forwards = false, turned = false, diverted = false, held = false } = world.sidecars.get(uid) ?? {};
  if (turned && !forwards) world.violate('a pod goes whose Service is sent into the void');
  if (!world.served || sent === undefined || turned) return;
  if (diverted && !held) world.violate('a pod goes whose app ends, and its network with it');
  if (diverted) return;
  if (world.time - sent < PROXY_MS) world.violate('a pod goes that a Service sends to');
  if (world.time - world.joined < PROXY_PERIOD_MS) world.violate('a pod goes before kube-proxy heeds that it went');
};

/** In whichever mode: one is mute and fenced, the other has all there is to have. */
export const checkCommit = (world: World, { claim, mode, copy: { uid } }: Handoff): void => {
  const [source, copy] = [sourceOf(world, claim), world.sidecars.get(uid ?? '')];
  if (source === undefined) return;
  if (source.state !== 'mute') world.violate(`committed while the source is ${source.state}`);
  const open = world.idempotent && mode === 'replay';
  if (source.fenced === open) world.violate(`committed while the app of the source is ${open ? '' : 'not '}fenced`);
  if (copy?.state !== (mode === 'replay' ? 'replayed' : 'attached')) world.violate(`committed a copy ${copy?.state}`);
  if (mode === 'replay' && copy?.record !== source.record) world.violate('committed by another record');
};
