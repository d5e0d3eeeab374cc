/**
 * What a sidecar may do in which state of a handoff: pure, values in, values out. What acts on it is commands.ts.
 *
 *   source: idle → muting → mute (→ frozen → mute) → superseded → closed, or mute → idle (abort)
 *   copy:   (frozen →) copy → attached → live → idle
 * and with a copy that replays beside it:
 *   source: idle (→ frozen →) recording → muting → mute → superseded → closed, or recording, mute → idle (abort)
 *   copy:   (frozen →) copy → replaying → replayed → live → idle
 */
import type { Command, CommandType, Hello, Settle, Settlement, SidecarState } from '../api/control.ts';
import { type ErrorCode, ShadowError } from '../api/errors.ts';

export interface Handoff {
  readonly state: SidecarState;
  /** Of the handoff it is in; in idle, of the last one (its commands may be repeated). '': none, or not known. */
  readonly claim: string;
  /** Highest seen. */
  readonly epoch: number;
  /** false: this process began mute, by the marker of its predecessor; the connections are gone with that one. */
  readonly session: boolean;
  /** Deliveries that travel with the copy, as answered by mute. */
  readonly carried: number;
  /**
   * Why it is of no use to this handoff any more: a mute or recording source lost a broker connection or its record, a copy
   * diverged. '': it is.
   */
  readonly lost: string;
  /** The cut was made of a source that goes on: it records, or its copy replays. */
  readonly recorded: boolean;
  /** Generation of the freeze in which the record began; 0: none, or it was not thawed. */
  readonly generation: number;
  /** Superseded, and told to leave its Services. */
  readonly retired: boolean;
}

export const fresh: Handoff = {
  state: 'idle',
  claim: '',
  epoch: 0,
  session: true,
  carried: 0,
  lost: '',
  recorded: false,
  generation: 0,
  retired: false,
};

/** After a restart of the sidecar: mute as before if its predecessor was, until the controller decides (invariant 4). */
export const restarted = (claimOfMarker: string | undefined): Handoff =>
  claimOfMarker === undefined ? fresh : { ...fresh, state: 'mute', claim: claimOfMarker, session: false };

/** act: do it. same: it is in the state the command leads to; answer as then. */
export type Verdict = 'act' | 'same';

type Rule = Partial<Record<SidecarState, Verdict | ErrorCode>>;

const RULES: Record<Exclude<CommandType, 'inspect'>, Rule> = {
  mute: {
    idle: 'act',
    recording: 'act',
    mute: 'same',
    // Its carried deliveries are not settled yet: a second handoff would lose count of them (invariant 2).
    live: 'SHADOW_E_MUTE',
    superseded: 'SHADOW_E_COMMITTED',
    closed: 'SHADOW_E_COMMITTED',
  },
  freeze: {
    mute: 'act',
    idle: 'act',
    recording: 'act',
    live: 'SHADOW_E_FREEZE',
    superseded: 'SHADOW_E_COMMITTED',
    closed: 'SHADOW_E_COMMITTED',
  },
  unmute: {
    mute: 'act',
    recording: 'act',
    idle: 'same',
    superseded: 'SHADOW_E_COMMITTED',
    closed: 'SHADOW_E_COMMITTED',
  },
  // In attached again: a connection may have been lost since.
  attach: { copy: 'act', attached: 'act', live: 'same', idle: 'same', mute: 'SHADOW_E_ATTACH' },
  serve: { recording: 'act', muting: 'act', mute: 'act', idle: 'SHADOW_E_RECORD' },
  replay: {
    copy: 'act',
    replaying: 'same',
    replayed: 'same',
    live: 'same',
    idle: 'same',
    mute: 'SHADOW_E_RECORD',
  },
  live: {
    attached: 'act',
    replayed: 'act',
    live: 'same',
    idle: 'same',
    copy: 'SHADOW_E_ATTACH',
    replaying: 'SHADOW_E_ATTACH',
  },
  supersede: { mute: 'act', superseded: 'same', closed: 'same', idle: 'SHADOW_E_SOURCE_LOST' },
  settleStatus: { superseded: 'act', closed: 'same', idle: 'SHADOW_E_SOURCE_LOST' },
  retire: { superseded: 'act', closed: 'act', idle: 'same' },
};

/** In idle these begin something, or undo what is undone; the others repeat a past command and must name its claim. */
const ANY_CLAIM_IN_IDLE: readonly CommandType[] = [
  'mute',
  'unmute',
  'freeze',
  'serve',
  'supersede',
  'settleStatus',
  'retire',
];

const ofThisHandoff = ({ state, claim }: Handoff, command: Command): boolean =>
  command.claim === claim ||
  (state === 'idle' ? ANY_CLAIM_IN_IDLE.includes(command.type) : claim === '' && state === 'mute') ||
  // The next handoff of the pod, too early: not stale, but refused below.
  (state === 'live' && (command.type === 'mute' || command.type === 'freeze'));

/** Raises the epoch, or throws SHADOW_E_STALE. */
export const heed = (handoff: Handoff, command: Command): Handoff => {
  if (command.epoch < handoff.epoch)
    throw new ShadowError('SHADOW_E_STALE', `epoch ${command.epoch}, seen ${handoff.epoch}`);
  return { ...handoff, epoch: command.epoch };
};

/** Throws a ShadowError when the command is not for this handoff or not for this state. */
export const judge = (handoff: Handoff, command: Command): Verdict => {
  if (command.type === 'inspect') return 'act';
  if (!ofThisHandoff(handoff, command)) {
    throw new ShadowError('SHADOW_E_STALE', `${command.type} for ${command.claim}, the sidecar is in ${handoff.claim}`);
  }
  // Committed, but the copy's sidecar died since, and its connections with it: it serves anew.
  if (command.type === 'live' && handoff.state === 'mute' && !handoff.session) return 'act';
  if (command.type === 'freeze' && handoff.state === 'mute' && (!handoff.session || handoff.lost !== '')) {
    throw new ShadowError('SHADOW_E_SOURCE_LOST', handoff.lost || 'the sidecar restarted');
  }
  const special = ofRecord(handoff, command);
  if (special) return special;
  const verdict = RULES[command.type][handoff.state] ?? 'SHADOW_E_STALE';
  if (verdict === 'act' || verdict === 'same') return verdict;
  throw new ShadowError(verdict, `${command.type} in state ${handoff.state}`);
};

/** What the record of a source that goes on forbids, and what of it is said twice. */
const ofRecord = (handoff: Handoff, command: Command): Verdict | undefined => {
  const { state, recorded, generation, session } = handoff;
  switch (command.type) {
    case 'freeze':
      checkFreeze(handoff, command.record === true);
      // The cut was made, and the record goes on from it: begun anew it would not be that copy's.
      return state === 'recording' && command.generation === generation ? 'same' : undefined;
    // A copy is made ready by what it is a copy of.
    case 'attach':
      if (state !== 'copy' || !recorded) return undefined;
      throw new ShadowError('SHADOW_E_ATTACH', 'the copy is to replay first');
    case 'replay':
      if (state !== 'copy' || recorded) return undefined;
      throw new ShadowError('SHADOW_E_RECORD', 'the copy is of a source that does not record');
    // Restarted, it has left its Services already.
    case 'retire':
      return state === 'mute' && !session ? 'same' : undefined;
    default:
      return undefined;
  }
};

/** A source freezes either mute, or to record from there on. */
const checkFreeze = ({ state }: Handoff, record: boolean): void => {
  if (record ? state === 'mute' : state === 'idle' || state === 'recording')
    throw new ShadowError('SHADOW_E_FREEZE', `freeze ${record ? 'to record ' : ''}in state ${state}`);
};

/**
 * Whether the pod must not serve: the kubelet takes it out of its Services. A source that recorded stays in them until it is
 * told: its app answers as before, and its copy is to be ready first.
 */
export const unready = ({ state, session, recorded, retired }: Handoff): boolean => {
  if (state === 'idle' || state === 'muting' || state === 'recording' || state === 'live') return false;
  const source = state === 'mute' || state === 'superseded' || state === 'closed';
  return !(source && session && recorded && !retired);
};

const MAY_BE_LOST: readonly SidecarState[] = ['mute', 'recording', 'replaying', 'replayed'];

/** What the controller is told of it at every turn. */
export type Told = Pick<Hello, 'state' | 'claim' | 'lost'>;

export const helloOf = ({ state, claim, session, lost }: Handoff): Told => ({
  state,
  ...(state === 'idle' || claim === '' ? {} : { claim }),
  ...(state === 'mute' && !session ? { lost: 'the sidecar restarted' } : {}),
  ...(lost !== '' && MAY_BE_LOST.includes(state) ? { lost } : {}),
});

/** A pod in them serves nobody. */
const SILENT: readonly SidecarState[] = ['closed', 'copy', 'attached', 'replaying', 'replayed'];

/**
 * Whether nothing of this pod is needed any more. `outstanding`: at a superseded source. A copy before its commit serves nobody:
 * an abort deletes it, and waits for it.
 */
export const isFinished = ({ state, session }: Handoff, outstanding: number): boolean =>
  state === 'superseded' ? outstanding === 0 : !session || SILENT.includes(state);

/** The copy's settlements on their way to the source. `sent` waits for its answer and is sent again after a reconnect. */
export interface Outbox {
  readonly last: number;
  readonly sent: readonly Settle[];
  readonly backlog: readonly Settlement[];
}

export const emptyOutbox: Outbox = { last: 0, sent: [], backlog: [] };

/** Bounds of what is under way: batches, and settlements in one. */
export const WINDOW = 16;
const BATCH = 500;

export const enqueue = (outbox: Outbox, items: readonly Settlement[]): Outbox => ({
  ...outbox,
  backlog: [...outbox.backlog, ...items],
});

/** The batches to send now. What comes while the window is full goes in one later batch. */
export const departing = (outbox: Outbox, claim: string): { outbox: Outbox; batches: Settle[] } => {
  const batches: Settle[] = [];
  let { last, backlog } = outbox;
  while (backlog.length > 0 && outbox.sent.length + batches.length < WINDOW) {
    last += 1;
    batches.push({ type: 'settle', claim, seq: last, settlements: backlog.slice(0, BATCH) });
    backlog = backlog.slice(BATCH);
  }
  return { outbox: { last, backlog, sent: [...outbox.sent, ...batches] }, batches };
};

export const answered = (outbox: Outbox, seq: number): Outbox => ({
  ...outbox,
  sent: outbox.sent.filter((batch) => batch.seq > seq),
});

export const isEmpty = (outbox: Outbox): boolean => outbox.sent.length === 0 && outbox.backlog.length === 0;

/** The source's side: each batch is handed to the relay once, in order of seq (invariant 2: a tag settled twice kills its channel). */
export interface Inbox {
  /** Highest handed to the relay. */
  readonly taken: number;
  /** Highest proven by a barrier. */
  readonly proven: number;
  readonly waiting: ReadonlyMap<number, readonly Settlement[]>;
}

export const emptyInbox: Inbox = { taken: 0, proven: 0, waiting: new Map() };

/** `again`: it was proven before, its answer got lost. Beyond the copy's window nothing is kept: it will be sent again. */
export const receive = (inbox: Inbox, { seq, settlements }: Settle): { inbox: Inbox; again: boolean } => {
  if (seq <= inbox.taken || seq > inbox.taken + WINDOW) return { inbox, again: seq <= inbox.proven };
  return { inbox: { ...inbox, waiting: new Map(inbox.waiting).set(seq, settlements) }, again: false };
};

/** The next batch in order, if it is here; it counts as taken from now on, whatever comes of it. */
export const take = (inbox: Inbox): { inbox: Inbox; batch: { seq: number; items: Settlement[] } } | undefined => {
  const seq = inbox.taken + 1;
  const items = inbox.waiting.get(seq);
  if (items === undefined) return undefined;
  const waiting = new Map(inbox.waiting);
  waiting.delete(seq);
  return { inbox: { ...inbox, taken: seq, waiting }, batch: { seq, items: [...items] } };
};

export const proved = (inbox: Inbox, seq: number): Inbox => ({ ...inbox, proven: Math.max(inbox.proven, seq) });
