import type { CommandType, DirectLink, LinkTls, PlayReport, SidecarState } from '../../../webhook/api/control.ts';
import { type ErrorCode, ShadowError } from '../../../webhook/api/errors.ts';
import type { Sidecars } from '../../../webhook/controller/context.ts';
import type { World } from './world.ts';
import { sourceOf } from './world-rules.ts';

export interface Sidecar {
  state: SidecarState;
  process: string;
  claim?: string;
  carried: number;
  outstanding?: number;
  frozen?: number;
  /** When it wakes by itself. */
  wakes?: number;
  thaw?: number;
  app: 'running' | 'paused' | 'killed';
  fenced: boolean;
  /** Source: the record it keeps, each with a number of its own. Copy: the record its checkpoint begins. */
  record?: number | undefined;
  /** Entries of the record. */
  entries?: number;
  /** Mode replay: the source serves on, ready, until it is told not to. */
  serving?: boolean;
  unreadyAt?: number;
  /** Retired, and it would pass on whom it got; the agent turns them to it. */
  forwards?: boolean;
  turned?: boolean;
  /** The kernel sends on who comes; its app stands still for good. */
  diverted?: boolean;
  held?: boolean;
  /** Certificate by which it serves its record, or is to know its source. */
  cert?: string;
  play?: PlayReport;
  lost?: string;
  code?: ErrorCode;
}

type Given = {
  type: CommandType;
  claim: string;
  generation?: number;
  deadlineMs?: number;
  record?: boolean;
  tls?: LinkTls;
  direct?: DirectLink;
  forward?: { host: string };
  stay?: boolean;
};

const began = (): PlayReport => ({
  link: 'relay',
  received: 0,
  played: 0,
  lag: 8,
  matched: 0,
  waiting: 0,
  rate: 10,
  diverged: 0,
  attached: false,
  ended: false,
});

const freeze = (world: World, sidecar: Sidecar, { claim, generation, deadlineMs = 0 }: Given): void => {
  if (sidecar.state !== 'mute' || sidecar.claim !== claim) world.violate(`frozen while ${sidecar.state}`);
  if (sidecar.thaw !== generation) Object.assign(sidecar, { frozen: generation, wakes: world.time + deadlineMs });
};

/** Each begins a record, whatever its generation: one that was cut for an earlier record must never play this one. */
const freezeRecording = (world: World, sidecar: Sidecar, { claim, generation, deadlineMs = 0 }: Given): void => {
  const again = sidecar.state === 'recording' && sidecar.claim === claim;
  if (sidecar.state !== 'idle' && !again) world.violate(`record begun while ${sidecar.state}`);
  if (world.verdict(claim) !== undefined) world.violate('record begun after the decision');
  if (sidecar.thaw === generation) world.violate('frozen with a generation that wakes at once');
  Object.assign(sidecar, { state: 'recording', claim, frozen: generation, record: ++world.records, entries: 0 });
  Object.assign(sidecar, { serving: true, wakes: world.time + deadlineMs });
};

const RULES: Record<CommandType, (world: World, sidecar: Sidecar, given: Given) => unknown> = {
  inspect: (world) => ({ connections: [], hazards: world.sessionHazards, delivered: 0, published: 0 }),
  mute: (world, sidecar, { claim }) => {
    if (sidecar.state === 'mute' && sidecar.claim === claim) return { carried: sidecar.carried };
    const recording = sidecar.state === 'recording' && sidecar.claim === claim;
    if (sidecar.state !== 'idle' && !recording) throw new ShadowError('SHADOW_E_MUTE', `it is ${sidecar.state}`);
    if (world.verdict(claim) !== undefined) world.violate('muted after the decision');
    Object.assign(sidecar, { state: 'mute', claim });
    return { carried: sidecar.carried };
  },
  freeze: (world, sidecar, given) => {
    if (given.record) freezeRecording(world, sidecar, given);
    else freeze(world, sidecar, given);
    return {};
  },
  unmute: (world, sidecar, { claim }) => {
    if (world.verdict(claim) !== 'abort') world.violate('unmuted without an abort');
    if (sidecar.app === 'paused') world.violate('unmuted while the app is paused');
    if (sidecar.fenced) world.violate('unmuted behind the fence');
    if (sidecar.state === 'mute' || sidecar.state === 'recording') sidecar.state = 'idle';
    if (sidecar.state !== 'idle') world.violate(`unmuted while ${sidecar.state}`);
    delete sidecar.record;
    return {};
  },
  serve: (world, sidecar, { claim, tls }) => {
    if (sidecar.state !== 'recording' || sidecar.claim !== claim) world.violate(`served while ${sidecar.state}`);
    sidecar.cert = tls?.cert ?? '';
    return { port: 5 };
  },
  replay: (world, sidecar, { claim, direct }) => {
    if (sidecar.state !== 'copy' && sidecar.state !== 'replaying') world.violate(`replays while ${sidecar.state}`);
    const source = sourceOf(world, claim);
    if (source !== undefined && direct?.tls.peer !== source.cert)
      world.violate('replays by the certificate of another');
    Object.assign(sidecar, { state: 'replaying', claim, play: began() });
    return {};
  },
  attach: (world, sidecar) => {
    if (sidecar.state !== 'copy' && sidecar.state !== 'attached') world.violate(`attached while ${sidecar.state}`);
    sidecar.state = 'attached';
    return {};
  },
  live: (world, sidecar, { claim }) => {
    if (world.verdict(claim) !== 'commit') world.violate('live without a commit');
    if (sidecar.state === 'attached' || sidecar.state === 'replayed') sidecar.state = 'live';
    if (sidecar.state !== 'live') world.violate(`live while ${sidecar.state}`);
    delete sidecar.play;
    delete sidecar.record;
    return {};
  },
  supersede: (world, sidecar, { claim }) => {
    if (world.verdict(claim) !== 'commit') world.violate('superseded without a commit');
    if (sidecar.state === 'mute') Object.assign(sidecar, { state: 'superseded', outstanding: sidecar.carried });
    return { outstanding: sidecar.outstanding ?? 0 };
  },
  settleStatus: (_world, sidecar) => {
    if (sidecar.state === 'mute') throw new ShadowError('SHADOW_E_STALE', 'it knows of no commit');
    if (sidecar.outstanding === 0) sidecar.state = 'closed';
    return { outstanding: sidecar.outstanding ?? 0 };
  },
  retire: (world, sidecar, { forward, stay }) => {
    if (sidecar.state === 'mute') throw new ShadowError('SHADOW_E_STALE', 'it knows of no commit');
    if (sidecar.state !== 'superseded' && sidecar.state !== 'closed') world.violate(`retired while ${sidecar.state}`);
    const others = [...world.endpoints].filter(([uid]) => world.sidecars.get(uid) !== sidecar);
    if (world.served && !stay && !others.some(([, ready]) => ready))
      world.violate('retired before the copy is ready in the Service');
    if (!stay) Object.assign(sidecar, { serving: false, unreadyAt: world.time + world.probeMs });
    if (forward === undefined || !world.reachable) return { why: 'no answer' };
    sidecar.forwards = true;
    return { forwards: [{ port: 8080, to: 40_000 }] };
  },
};

/** One look of the copy at the record of its source. */
export const play = (world: World, copy: Sidecar): void => {
  const source = sourceOf(world, copy.claim ?? '');
  if (copy.state !== 'replaying' || copy.play === undefined || !world.routes.has(copy.claim ?? '')) return;
  // Undone, the source keeps no record: there is nothing to play any more.
  if (source?.record === undefined || source.frozen !== undefined) return;
  if (source.record !== copy.record) {
    world.violate('a copy plays a record that does not begin at its cut');
    return;
  }
  const attempts = world.diverging;
  if (attempts.count > 0 && copy.claim?.startsWith(attempts.claim)) {
    attempts.count--;
    Object.assign(copy, { lost: 'another acknowledgement than recorded', code: attempts.code });
    return;
  }
  source.entries = (source.entries ?? 0) + (source.state === 'recording' ? 4 : 0);
  const { attached, lag, matched } = copy.play;
  const ended = source.state === 'mute';
  world.behind -= ended ? 0 : 1;
  // More than what is taken of a lag that stays.
  const left = world.behind >= 0 ? 1000 : lag >> 1;
  const told = { received: source.entries, matched: matched + world.matching };
  copy.play = { ...copy.play, ...told, attached: true, lag: ended ? 0 : left, ended };
  if (attached && ended && world.behind < 0) copy.state = 'replayed';
};

/** The copies' apps settle what they brought along, one at a look. */
export const settle = (world: World): void => {
  for (const [claim, { copyUid, abandoned }] of world.routes) {
    const copy = world.sidecars.get(copyUid);
    const source = [...world.sidecars.values()].find((one) => one.claim === claim && one.state === 'superseded');
    if (source !== undefined && copy?.state === 'live' && source.outstanding! > 0) source.outstanding!--;
    const settled = copy?.state === 'live' && (abandoned || source?.outstanding === 0);
    if (settled && world.lingering-- <= 0) copy.state = 'idle';
  }
};

const record = ({ state, entries = 0 }: Sidecar) =>
  state === 'recording' || state === 'mute' ? { record: { bytes: 0, entries, rate: 20, throttle: 1 } } : {};

export const createSidecars = (
  world: World,
  routes: Map<string, { copyUid: string; abandoned: boolean }>,
): Sidecars => ({
  session: (uid) => {
    const sidecar = world.sidecars.get(uid);
    if (sidecar === undefined || sidecar.frozen !== undefined) return undefined;
    const { record: _number, ...rest } = sidecar;
    return { ...world.spoken, ...rest, ...record(sidecar) };
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
