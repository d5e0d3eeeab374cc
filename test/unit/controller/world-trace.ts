/** What tracing.ts does with timers and a hub, at each look of the world. */
import { asked, underWay } from '../../../webhook/controller/trace.ts';
import type { World } from './world.ts';
import { createSidecars } from './world-sidecars.ts';

/** Deliveries a second to whoever's app is served. */
export const RATE = 20;

export const look = (world: World): void => {
  const { session } = createSidecars(world, world.routes);
  for (const migration of world.migrations.values()) {
    const { handoff, sinceStart } = underWay(migration, world.time) ?? {};
    if (handoff === undefined || sinceStart === undefined) continue;
    world.trace.told(handoff, session(handoff.source.uid ?? ''), session(handoff.copy.uid ?? ''), sinceStart);
    const delivered = Math.floor((world.time / 1000) * RATE);
    for (const { side } of asked(handoff, session)) world.trace.counted(handoff, side, delivered, sinceStart);
  }
};
