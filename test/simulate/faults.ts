/** What befalls a handoff. */
import type { Hub } from './hub.ts';
import type { Oracle } from './oracle.ts';
import type { Pod } from './pod.ts';
import type { Random } from './random.ts';
import type { Fault, Loss } from './schedule.ts';

/**
 * Between handoffs: connections of a pod to the broker are lost. Returns the resets that its app may have seen when they are
 * back; undefined: it has to know.
 */
export const loseBroker = (
  { oracle }: Pick<World, 'oracle'>,
  { away, all }: Loss,
  { app, sidecar }: Pod,
  now: number,
): number | undefined => {
  const lost = [...sidecar.upstreams].slice(0, all ? Number.POSITIVE_INFINITY : 1);
  if (lost.length === 0) return app.resets;
  const hidden = [...sidecar.relay.connections].every(({ upstream, hides }) => !upstream || hides);
  oracle.trace('controller', `LOSS of ${lost.length}, ${hidden ? 'hidden' : 'told'}, for ${away} ticks`);
  oracle.count(hidden ? 'loss: hidden' : 'loss: told');
  oracle.lossy = true;
  oracle.breaking ||= !hidden;
  oracle.breaks(app);
  sidecar.awayUntil = now + away;
  for (const upstream of lost) upstream.cut();
  return hidden ? app.resets : undefined;
};

/** The handoff as far as a fault is concerned. */
export interface Victim {
  readonly source: Pod;
  readonly copy: Pod | undefined;
  readonly decision: 'commit' | 'abort' | undefined;
  wantsAbort: string | undefined;
}

interface World {
  readonly hub: Hub;
  readonly oracle: Oracle;
  readonly random: Random;
}

/** Whether it can happen now. */
const applies = (what: Fault['what'], { source, copy, decision }: Victim): boolean => {
  switch (what) {
    case 'abort':
      return decision === undefined;
    case 'copy dies':
      return decision === undefined && copy !== undefined && !copy.gone;
    case 'copy sidecar dies':
      return decision === 'commit' && copy !== undefined;
    case 'source power cut':
      return decision === 'commit' && !source.gone;
    case 'links drop':
      return true;
    default:
      return !source.gone && decision !== 'abort';
  }
};

const breakSource = (world: World, { source, decision }: Victim): void => {
  world.oracle.breaking = true;
  if (decision !== 'commit') world.oracle.breaks(source.app);
};

export const befall = (world: World, { what }: Fault, victim: Victim): void => {
  if (!applies(what, victim)) return;
  const { oracle, hub, random } = world;
  const { source, copy, decision } = victim;
  oracle.trace('controller', `FAULT: ${what}`);
  oracle.count(`fault: ${what}`);
  switch (what) {
    case 'abort':
      victim.wantsAbort ??= 'the user aborts';
      return;
    case 'copy dies':
      copy!.kill();
      return;
    case 'source power cut':
      oracle.breaking = true;
      source.kill();
      return;
    case 'source sidecar dies':
      breakSource(world, victim);
      source.restartSidecar((mute) => (mute || decision === 'commit' ? 'silent' : 'full'));
      return;
    case 'copy sidecar dies':
      oracle.breaking = true;
      oracle.breaks(copy!.app);
      copy!.restartSidecar(() => 'full');
      return;
    case 'source loses broker':
      breakSource(world, victim);
      for (const upstream of [...source.sidecar.upstreams].slice(0, 1)) upstream.cut();
      return;
    case 'links drop':
      hub.epoch += 1;
      for (const pod of [source, copy]) pod?.sidecar.link.drop(random.between(1, 40));
  }
};
