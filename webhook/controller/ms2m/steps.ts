/**
 * What each step looks for and does. One look and one act a call; whoever calls waits, writes down where it goes on, and may
 * die between any two lines: repeated, a step finds what it did.
 */
import { ShadowError } from '../../api/errors.ts';
import { align } from './alignment.ts';
import type { Binding, Depth } from './broker.ts';
import { type Telling, tell } from './control.ts';
import type { Ms2mStep } from './plan.ts';
import { controlQueueOf, type Exchanges } from './queues.ts';

export interface Scene extends Telling {
  exchanges: Exchanges;
  /** By which the app's queue is fed. */
  binding: Binding;
  /** Names of the pods. */
  source: string;
  copy: string;
  /** The source's work is undone, and it goes on. */
  undoing: boolean;
  replayMode: 'Cutoff' | 'Drain';
  /** 0: none. */
  cutoffMs: number;
  /** Since this step was entered. */
  elapsedMs: number;
  /** So long a message that was routed before a change of routing may be on its way to its queue. */
  settleMs: number;
  /** Between two looks of one step. */
  pause(ms: number): Promise<unknown>;
}

export type Outcome = { kind: 'done' } | { kind: 'wait'; ms: number } | { kind: 'goto'; step: Ms2mStep };

const DONE: Outcome = { kind: 'done' };
const WAIT: Outcome = { kind: 'wait', ms: 50 };
const goto = (step: Ms2mStep): Outcome => ({ kind: 'goto', step });

type StepFunction = (scene: Scene) => Promise<Outcome>;

/** A copy that has not come nearer by this part within this time never will: the source has nothing to spare. */
const NEARER = 0.1;
const STALLED_MS = 4_000;

const NOBODY: Depth = { ready: 0, consumers: 0 };
const depthOf = async ({ broker }: Scene, queue: string): Promise<Depth> => (await broker.depth(queue)) ?? NOBODY;

const survivorOf = ({ undoing, source, copy }: Scene): string => (undoing ? source : copy);
const goneOf = ({ undoing, source, copy }: Scene): string => (undoing ? copy : source);

/** True once nobody consumes from `from` any more and so many do from `to`. */
const moved = async (scene: Scene, from: readonly string[], to: string, consumers = 1): Promise<boolean> => {
  for (const queue of from) if ((await depthOf(scene, queue)).consumers > 0) return false;
  return (await depthOf(scene, to)).consumers >= consumers;
};

/** The other way: who came back from the park has arrived where it is to be. */
const move = async (scene: Scene, pod: string, from: readonly string[], to: string): Promise<boolean> => {
  if (await moved(scene, from, to)) return true;
  await tell(scene, pod, to);
  return false;
};

const isSettled = ({ elapsedMs, settleMs }: Scene): boolean => elapsedMs >= settleMs;

const binding: StepFunction = async (scene) => {
  const { broker, queues } = scene;
  await broker.declareQueue(queues.park);
  await broker.declareQueue(queues.replay);
  // Of an earlier attempt: nothing but copies, and what is new and goes with them Aligning finds to be missing.
  await broker.purge(queues.replay);
  await broker.bindQueue(queues.replay, scene.binding);
  return DONE;
};

const parking: StepFunction = async (scene) => {
  const { primary, park } = scene.queues;
  return (await move(scene, scene.source, [primary], park)) ? DONE : WAIT;
};

const aligning: StepFunction = async (scene) => {
  const { primary, replay } = scene.queues;
  return (await align(scene, replay, primary)) ? DONE : goto('Yielding');
};

/** What the app's queue had before the copy's was bound, or has from elsewhere, must be worked off first. */
const yielding: StepFunction = async (scene) => {
  const { primary, park, replay } = scene.queues;
  if (!(await move(scene, scene.source, [park], primary))) return WAIT;
  const [own, copied] = [await depthOf(scene, primary), await depthOf(scene, replay)];
  return own.ready <= copied.ready ? goto('Parking') : WAIT;
};

const releasing: StepFunction = async (scene) =>
  (await move(scene, scene.source, [scene.queues.park], scene.queues.primary)) ? DONE : WAIT;

const calling: StepFunction = async (scene) => {
  const { primary, park, replay } = scene.queues;
  if ((await depthOf(scene, primary)).consumers > 1)
    throw new ShadowError(
      'SHADOW_E_CONTROL',
      `${scene.copy} consumes from ${primary} without having been told to: it forgot, reconnecting, which queue it was told`,
    );
  return (await move(scene, scene.copy, [park], replay)) ? DONE : WAIT;
};

/** A source that is busy all the time is as fast as its copy, which comes no nearer then. */
const comesNearer = ({ memory, now, elapsedMs }: Scene, lag: number): boolean => {
  const at = now();
  const { nearest } = memory;
  const isNearer = nearest === undefined || nearest.at < at - elapsedMs || lag <= nearest.lag * (1 - NEARER);
  if (isNearer) memory.nearest = { lag, at };
  return isNearer || at - nearest.at < STALLED_MS;
};

/**
 * Until the copy is where its source is, or comes no nearer. Neither that nor a cutoff drops anything: what is left is worked
 * off by the copy all the same, when the source stands still or is gone.
 */
const catchingUp: StepFunction = async (scene) => {
  const { replayMode, cutoffMs, elapsedMs, queues } = scene;
  if (replayMode === 'Cutoff' && cutoffMs > 0 && elapsedMs >= cutoffMs) return DONE;
  const copied = await depthOf(scene, queues.replay);
  const own = await depthOf(scene, queues.primary);
  const lag = copied.ready - own.ready;
  return lag > 0 && comesNearer(scene, lag) ? WAIT : DONE;
};

const fencing: StepFunction = async (scene) => {
  const { broker, queues, exchanges } = scene;
  await broker.declareExchange(exchanges.aside);
  await broker.declareQueue(queues.buffer);
  await broker.bindQueue(queues.buffer, { exchange: exchanges.aside, key: '' });
  await broker.declareExchange(exchanges.fence, exchanges.aside);
  await broker.declareExchange(exchanges.tee);
  await broker.bindQueue(queues.primary, { exchange: exchanges.tee, key: '' });
  await broker.bindQueue(queues.replay, { exchange: exchanges.tee, key: '' });
  await broker.bindExchange(exchanges.tee, { exchange: exchanges.fence, key: '' });
  // A queue gets a message once, by however many ways: only now the old ones go.
  await broker.bindExchange(exchanges.fence, scene.binding);
  await broker.unbindQueue(queues.primary, scene.binding);
  await broker.unbindQueue(queues.replay, scene.binding);
  return DONE;
};

const raising: StepFunction = async ({ broker, exchanges, queues, binding: from }) => {
  // An app that has reconnected since may have bound its queue anew.
  await broker.unbindQueue(queues.primary, from);
  await broker.unbindExchange(exchanges.tee, { exchange: exchanges.fence, key: '' });
  return DONE;
};

const draining: StepFunction = async (scene) => {
  const { primary, replay, park } = scene.queues;
  const [own, copied, parked] = [
    await depthOf(scene, primary),
    await depthOf(scene, replay),
    await depthOf(scene, park),
  ];
  // Back from Standing, where something was left.
  if (parked.consumers > 0 && own.ready > 0) await tell(scene, scene.source, primary);
  if (parked.consumers > 0 && copied.ready > 0) await tell(scene, scene.copy, replay);
  return isSettled(scene) && own.ready === 0 && copied.ready === 0 ? DONE : WAIT;
};

/** What is not acknowledged can't be counted: both return it, and then nothing must be there. */
const standing: StepFunction = async (scene) => {
  const { primary, replay, park } = scene.queues;
  if (!(await moved(scene, [primary, replay], park, 2))) {
    await tell(scene, scene.source, park);
    await tell(scene, scene.copy, park);
    return WAIT;
  }
  const left = (await depthOf(scene, primary)).ready + (await depthOf(scene, replay)).ready;
  return left > 0 ? goto('Draining') : DONE;
};

/** Its pod is stopped by whoever calls; here it is seen. */
const stopping: StepFunction = async (scene) => {
  const { primary, park } = scene.queues;
  const [own, parked] = [await depthOf(scene, primary), await depthOf(scene, park)];
  return own.consumers === 0 && parked.consumers <= 1 ? DONE : WAIT;
};

const followingUp: StepFunction = async (scene) => {
  const { primary, replay, park } = scene.queues;
  if (!(await move(scene, scene.copy, [park], replay))) return WAIT;
  const [own, copied] = [await depthOf(scene, primary), await depthOf(scene, replay)];
  return copied.ready <= own.ready ? DONE : WAIT;
};

const gathering: StepFunction = async (scene) =>
  (await move(scene, scene.copy, [scene.queues.replay], scene.queues.park)) ? DONE : WAIT;

const matching: StepFunction = async (scene) => {
  const { primary, replay } = scene.queues;
  return (await align(scene, primary, replay)) ? DONE : goto('Following');
};

const finishing: StepFunction = async (scene) => {
  const { primary, park } = scene.queues;
  if (!(await move(scene, scene.source, [park], primary))) return WAIT;
  return isSettled(scene) && (await depthOf(scene, primary)).ready === 0 ? DONE : WAIT;
};

const resting: StepFunction = async (scene) => {
  const { primary, park } = scene.queues;
  if (!(await move(scene, scene.source, [primary], park))) return WAIT;
  return (await depthOf(scene, primary)).ready > 0 ? goto('Finishing') : DONE;
};

const lowering: StepFunction = async ({ broker, exchanges, queues }) => {
  await broker.unbindQueue(queues.replay, { exchange: exchanges.tee, key: '' });
  await broker.bindExchange(exchanges.tee, { exchange: exchanges.fence, key: '' });
  return DONE;
};

const emptying: StepFunction = async (scene) => {
  const { park, buffer } = scene.queues;
  if (!(await move(scene, survivorOf(scene), [park], buffer))) return WAIT;
  return isSettled(scene) && (await depthOf(scene, buffer)).ready === 0 ? DONE : WAIT;
};

const checking: StepFunction = async (scene) => {
  const { park, buffer } = scene.queues;
  if (!(await move(scene, survivorOf(scene), [buffer], park))) return WAIT;
  return (await depthOf(scene, buffer)).ready > 0 ? goto('Emptying') : DONE;
};

/** Told in any case, and heard: a command of before that it had not read would send it away again. */
const arriving: StepFunction = async (scene) => {
  const { primary, park } = scene.queues;
  const survivor = survivorOf(scene);
  await tell(scene, survivor, primary);
  const unread = (await depthOf(scene, controlQueueOf(survivor))).ready;
  return unread === 0 && (await moved(scene, [park], primary)) ? DONE : WAIT;
};

const dismantling: StepFunction = async (scene) => {
  const { broker, queues, exchanges } = scene;
  const left = (await depthOf(scene, queues.buffer)).ready;
  if (left > 0) throw new ShadowError('SHADOW_E_INTERNAL', `${left} messages are left in ${queues.buffer}`);
  await broker.bindQueue(queues.primary, scene.binding);
  await broker.unbindExchange(exchanges.fence, scene.binding);
  await broker.unbindQueue(queues.replay, scene.binding);
  for (const exchange of [exchanges.fence, exchanges.tee, exchanges.aside]) await broker.deleteExchange(exchange);
  const gone = [queues.buffer, queues.replay, queues.park, controlQueueOf(goneOf(scene))];
  for (const queue of gone) await broker.deleteQueue(queue);
  return DONE;
};

const STEP: Record<Ms2mStep, StepFunction> = {
  Binding: binding,
  Parking: parking,
  Yielding: yielding,
  Aligning: aligning,
  Releasing: releasing,
  Calling: calling,
  CatchingUp: catchingUp,
  Fencing: fencing,
  Raising: raising,
  Draining: draining,
  Standing: standing,
  Stopping: stopping,
  Following: followingUp,
  Gathering: gathering,
  Matching: matching,
  Finishing: finishing,
  Resting: resting,
  Lowering: lowering,
  Emptying: emptying,
  Checking: checking,
  Arriving: arriving,
  Dismantling: dismantling,
};

/** Throws SHADOW_E_QUEUE, SHADOW_E_CONTROL. */
export const perform = (step: Ms2mStep, scene: Scene): Promise<Outcome> => STEP[step](scene);
