import type { CommandType, SidecarState } from '../../../webhook/api/control.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { Sidecars } from '../../../webhook/controller/context.ts';
import type { World } from './world.ts';

export interface Sidecar {
  state: SidecarState;
  process: string;
  claim?: string;
  carried: number;
  outstanding?: number;
  frozen?: number;
  thaw?: number;
  app: 'running' | 'paused' | 'killed';
  fenced: boolean;
}

type Given = { type: CommandType; claim: string; generation?: number };

const RULES: Record<CommandType, (world: World, sidecar: Sidecar, given: Given) => unknown> = {
  inspect: () => ({ connections: [], hazards: [], delivered: 0, published: 0 }),
  mute: (world, sidecar, { claim }) => {
    if (sidecar.state === 'mute' && sidecar.claim === claim) return { carried: sidecar.carried };
    if (sidecar.state !== 'idle') throw new ShadowError('SHADOW_E_MUTE', `it is ${sidecar.state}`);
    if (world.verdict(claim) !== undefined) world.violate('muted after the decision');
    Object.assign(sidecar, { state: 'mute', claim });
    return { carried: sidecar.carried };
  },
  freeze: (world, sidecar, { claim, generation }) => {
    if (sidecar.state !== 'mute' || sidecar.claim !== claim) world.violate(`frozen while ${sidecar.state}`);
    if (sidecar.thaw !== generation) Object.assign(sidecar, { frozen: generation });
    return {};
  },
  unmute: (world, sidecar, { claim }) => {
    if (world.verdict(claim) !== 'abort') world.violate('unmuted without an abort');
    if (sidecar.app === 'paused') world.violate('unmuted while the app is paused');
    if (sidecar.state === 'mute') sidecar.state = 'idle';
    if (sidecar.state !== 'idle') world.violate(`unmuted while ${sidecar.state}`);
    return {};
  },
  attach: (world, sidecar) => {
    if (sidecar.state !== 'copy' && sidecar.state !== 'attached') world.violate(`attached while ${sidecar.state}`);
    sidecar.state = 'attached';
    return {};
  },
  live: (world, sidecar, { claim }) => {
    if (world.verdict(claim) !== 'commit') world.violate('live without a commit');
    if (sidecar.state === 'attached') sidecar.state = 'live';
    if (sidecar.state !== 'live') world.violate(`live while ${sidecar.state}`);
    return {};
  },
  supersede: (world, sidecar, { claim }) => {
    if (world.verdict(claim) !== 'commit') world.violate('superseded without a commit');
    if (sidecar.state === 'mute') Object.assign(sidecar, { state: 'superseded', outstanding: sidecar.carried });
    return { outstanding: sidecar.outstanding ?? 0 };
  },
  settleStatus: (_world, sidecar) => {
    if (sidecar.outstanding === 0) sidecar.state = 'closed';
    return { outstanding: sidecar.outstanding ?? 0 };
  },
};

export const createSidecars = (
  world: World,
  routes: Map<string, { copyUid: string; abandoned: boolean }>,
): Sidecars => ({
  session: (uid) => {
    const sidecar = world.sidecars.get(uid);
    return sidecar === undefined || sidecar.frozen !== undefined ? undefined : { ...sidecar };
  },
  command: (uid, command) =>
    world.call(`sidecar.${command.type}`, () => {
      const sidecar = world.sidecars.get(uid);
      if (sidecar?.frozen !== undefined) {
        // deadlineMs have passed
        world.time += 10_000;
        delete sidecar.frozen;
      }
      if (sidecar === undefined) throw new ShadowError('SHADOW_E_SIDECAR_UNREACHABLE', uid, { retryable: true });
      return RULES[command.type](world, sidecar, command as Given) as never;
    }),
  route: (claim, _source, copyUid) => {
    const known = routes.get(claim);
    if (known === undefined) routes.set(claim, { copyUid, abandoned: false });
  },
  unroute: (claim) => routes.delete(claim),
  abandon: (claim) => {
    const route = routes.get(claim);
    if (route !== undefined) route.abandoned = true;
  },
});
