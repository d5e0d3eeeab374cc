/** Carries out the controller's commands: asks handoff.ts what is allowed, acts on the relay, answers. */
import type {
  Answer,
  Command,
  FromController,
  Hello,
  MuteResult,
  RetireResult,
  SessionReport,
  Settlement,
  SidecarState,
  StateChange,
} from '../api/control.ts';
import { asShadowError, type ErrorCode } from '../api/errors.ts';
import type { Log } from '../log.ts';
import type { Control } from './control.ts';
import { createForwarder, type Forwarder } from './forward.ts';
import { freeze } from './freeze.ts';
import * as pure from './handoff.ts';
import type { Paths } from './identity.ts';
import { putMarker, removeMarker } from './marker.ts';
import type { Losses } from './relay-api.ts';
import type { ReplayRelay } from './replay/relay-replay.ts';
import { createReplay } from './replay/replay.ts';
import { createSettleThrough } from './settle.ts';
import { createStandstill } from './standstill.ts';

/** What the handoff needs of the relay. */
export interface RelayLike {
  readonly replay: ReplayRelay;
  start(): Promise<void>;
  report(): SessionReport;
  reattached(): Losses;
  mute(timeoutMs: number): Promise<MuteResult>;
  unmute(): Promise<void>;
  becomeCopy(): void;
  attach(timeoutMs: number): Promise<void>;
  live(): void | Promise<void>;
  consume(): void;
  consuming(): boolean;
  supersede(): void;
  /** Resolves when the settlements are proven by a barrier. */
  settle(items: Settlement[]): Promise<void>;
  outstanding(): number;
  close(): Promise<void>;
  carriedOutstanding(): number;
  quiescent(): boolean;
  onSettlements(callback: (items: Settlement[]) => void): void;
  onLost(callback: (why: string) => void): void;
}

export interface CommandsOptions {
  readonly relay: RelayLike;
  readonly control: () => Pick<Control, 'connection' | 'send' | 'flush' | 'redial'>;
  /** Connections of our own that must not be open while frozen. */
  readonly health: { rest(): Promise<void> };
  /** How the process stands still; freeze.ts if not given. */
  readonly freeze?: typeof freeze;
  /** Of a source that passes on who still comes to it; forward.ts if not given. */
  readonly forwarder?: Forwarder;
  readonly paths: Paths;
  readonly uid: string;
  readonly handoff: pure.Handoff;
  /** Ends the process: it can't tell any more who it is. */
  readonly die: (why: string) => void;
  readonly log: Pick<Log, 'info' | 'warn' | 'error' | 'debug'>;
}

export interface Commands {
  state(): pure.Handoff;
  hello(): Pick<Hello, 'state' | 'claim' | 'lost'>;
  /** The connection is open and hello is said. */
  opened(): void;
  handle(message: FromController, connection: number): void;
  /** live → idle and superseded → closed also come about without a message: call it now and then. */
  check(): void;
  /** How a record grows, or is played. */
  replay(): Pick<StateChange, 'record' | 'play'> & { swallowed: number };
  /** Whether nothing of this pod is needed any more, so that a SIGTERM is heeded at once. */
  finished(): boolean;
  /** On SIGTERM, once that is heeded: a source that passes on who comes to it stays for as long as it was told. */
  linger(): Promise<void>;
}

/** What a failure of the command means when the relay does not say. */
const FAILURE: Partial<Record<Command['type'], ErrorCode>> = {
  mute: 'SHADOW_E_MUTE',
  freeze: 'SHADOW_E_FREEZE',
  attach: 'SHADOW_E_ATTACH',
  live: 'SHADOW_E_ATTACH',
  replay: 'SHADOW_E_RECORD',
  serve: 'SHADOW_E_RECORD',
};

/** A pod in them serves nobody. */
const SILENT: readonly SidecarState[] = ['closed', 'copy', 'attached', 'replaying', 'replayed'];
const MAY_BE_LOST: readonly SidecarState[] = ['mute', 'recording', 'replaying', 'replayed'];

export const createCommands = (options: CommandsOptions): Commands => {
  const { relay, control, paths, log } = options;
  let { handoff, uid } = options;
  let queue: Promise<void> = Promise.resolve();
  let copyMarker: Promise<void> = Promise.resolve();
  let closing: Promise<void> | undefined;
  const forwarder = options.forwarder ?? createForwarder();
  let lingerMs = 0;

  const outstanding = (): number => (handoff.session && handoff.state === 'superseded' ? relay.outstanding() : 0);

  const hello = (): Pick<Hello, 'state' | 'claim' | 'lost'> => ({
    state: handoff.state,
    ...(handoff.state === 'idle' || handoff.claim === '' ? {} : { claim: handoff.claim }),
    ...(handoff.state === 'mute' && !handoff.session ? { lost: 'the sidecar restarted' } : {}),
    ...(handoff.lost !== '' && MAY_BE_LOST.includes(handoff.state) ? { lost: handoff.lost } : {}),
  });

  const tell = (): void => {
    const { state } = handoff;
    const left = state === 'superseded' || state === 'closed' ? { outstanding: outstanding() } : {};
    control().send({ type: 'state', ...hello(), ...left, ...replay.report() });
  };

  const enter = (state: SidecarState, change: Partial<pure.Handoff> = {}): void => {
    log.info({ from: handoff.state, to: state, claim: change.claim ?? handoff.claim }, 'state');
    handoff = { ...handoff, ...change, state };
    tell();
  };

  const check = (): void => {
    const { state } = handoff;
    if ((state === 'live' || state === 'idle') && through.sourceClosed()) relay.consume();
    const settled = through.answered() && relay.carriedOutstanding() === 0;
    if (state === 'live' && settled && relay.consuming()) enter('idle');
    void closeIfSettled();
  };

  const closeIfSettled = (): Promise<void> => {
    if (handoff.state !== 'superseded' || relay.outstanding() > 0 || through.busy())
      return closing ?? Promise.resolve();
    closing ??= relay
      .close()
      .catch((error: unknown) => log.warn({ err: error }, 'closing the upstream connections'))
      // The hub passes it on to the copy, which waits for it.
      .then(() => enter('closed'));
    return closing;
  };

  const through = createSettleThrough({
    handoff: () => handoff,
    control,
    settle: (items) => relay.settle(items),
    outstanding,
    progressed: check,
    log,
  });

  const replay = createReplay({
    relay: relay.replay,
    control,
    handoff: () => handoff,
    tell,
    lose: (why) => {
      handoff = { ...handoff, lost: why };
      tell();
    },
    replayed: () => {
      if (handoff.state === 'replaying') enter('replayed');
    },
    log,
  });

  const mute = async ({ claim, timeoutMs }: Extract<Command, { type: 'mute' }>): Promise<MuteResult> => {
    const before = handoff.state;
    enter('muting', before === 'recording' ? {} : { claim, lost: '', recorded: false, retired: false });
    through.reset();
    closing = undefined;
    let muted = false;
    try {
      const { carried } = await relay.mute(timeoutMs);
      muted = true;
      // Nothing follows: the copy may play to the end while the disk takes its time.
      replay.end();
      await putMarker(paths.runDir, { podUid: uid, claim });
      enter('mute', { carried });
      return { carried };
    } catch (error) {
      await removeMarker(paths.runDir).catch((left: unknown) => log.error({ err: left }, 'removing the mute marker'));
      if (muted) await backToIdle();
      else enter(before);
      throw error;
    }
  };

  const backToIdle = async (): Promise<void> => {
    replay.stop();
    await relay.unmute();
    enter('idle', { recorded: false, generation: 0, lost: '' });
  };

  /** Begins to relay after a restart that was mute: the app connects anew. */
  const comeBack = async (): Promise<void> => {
    await relay.start();
    await removeMarker(paths.runDir);
    enter('idle', { session: true });
  };

  const unmute = async (): Promise<void> => {
    if (!handoff.session) return comeBack();
    await removeMarker(paths.runDir);
    await backToIdle();
  };

  const attach = async (timeoutMs: number): Promise<void> => {
    // From here on this pod has a voice upstream; a restart of its sidecar must be mute for sure.
    await copyMarker;
    await relay.attach(timeoutMs);
    enter('attached');
  };

  const live = async (): Promise<void> => {
    if (!handoff.session) return comeBack();
    // Committed: whatever happens now, this pod is to serve. Not waited for, since the app is waiting.
    removeMarker(paths.runDir).catch((error: unknown) => log.error({ err: error }, 'removing the mute marker'));
    await relay.live();
    replay.stop();
    enter('live', { recorded: false, generation: 0, lost: '' });
    check();
  };

  const supersede = (): void => {
    replay.stop();
    if (handoff.session) {
      relay.supersede();
      enter('superseded');
    } else {
      enter('closed');
    }
    through.begin();
    check();
  };

  const becomeCopy = (newUid: string): void => {
    replay.stop();
    relay.becomeCopy();
    uid = newUid;
    through.reset();
    handoff = { ...handoff, state: 'copy', lost: '' };
    copyMarker = putMarker(paths.runDir, { podUid: uid, claim: handoff.claim });
    copyMarker.catch((error: unknown) => log.error({ err: error }, 'writing the mute marker'));
    control().redial();
  };

  const standstill = createStandstill({
    relay,
    replay,
    control,
    health: options.health,
    freeze: options.freeze ?? freeze,
    paths,
    handoff: () => handoff,
    change: (change) => {
      handoff = { ...handoff, ...change };
    },
    tell,
    uid: () => uid,
    becomeCopy,
    die: options.die,
    log,
  });

  const status = (): { outstanding: number } => ({ outstanding: outstanding() });

  const retire = async ({ forward }: Extract<Command, { type: 'retire' }>): Promise<RetireResult> => {
    handoff = { ...handoff, retired: true };
    if (forward === undefined) return {};
    try {
      const forwards = await forwarder.open(forward.host, forward.dialMs);
      lingerMs = forward.lingerMs;
      return { forwards };
    } catch (error) {
      const why = asShadowError(error).message;
      log.warn({ err: error }, 'nobody can be passed on to the copy');
      return { why };
    }
  };

  const startReplay = async (command: Extract<Command, { type: 'replay' }>): Promise<void> => {
    await copyMarker;
    enter('replaying');
    await replay.follow(command);
  };

  const act = async (command: Exclude<Command, { type: 'freeze' }>): Promise<unknown> => {
    switch (command.type) {
      case 'inspect':
        return relay.report();
      case 'mute':
        return mute(command);
      case 'unmute':
        return unmute().then(() => ({}));
      case 'attach':
        return attach(command.timeoutMs).then(() => ({}));
      case 'replay':
        return startReplay(command).then(() => ({}));
      case 'serve':
        return { port: await replay.serve(command.tls) };
      case 'live':
        return live().then(() => ({}));
      case 'supersede':
        supersede();
        return status();
      case 'settleStatus':
        await closeIfSettled();
        return status();
      case 'retire':
        return retire(command);
    }
  };

  const same = ({ type }: Command): unknown => {
    if (type === 'mute') return { carried: handoff.carried };
    return type === 'supersede' || type === 'settleStatus' ? status() : {};
  };

  const carryOut = async (command: Command): Promise<unknown> => {
    handoff = pure.heed(handoff, command);
    const verdict = pure.judge(handoff, command);
    // A marker that could not be read named no claim: the first command that concerns it does.
    if (handoff.claim === '' && command.type !== 'inspect') handoff = { ...handoff, claim: command.claim };
    if (verdict === 'same') return same(command);
    return command.type === 'freeze' ? standstill.freeze(command) : act(command);
  };

  const answer = async (command: Command, connection: number): Promise<void> => {
    // Asked by a connection that is gone: whoever leads now knows our state from hello and asks for what it wants.
    if (control().connection() !== connection) return;
    let reply: Answer;
    try {
      const result = await carryOut(command);
      if (result === undefined) return;
      reply = { type: 'answer', id: command.id, ok: true, result };
    } catch (error) {
      const { code, message, retryable } = asShadowError(error, FAILURE[command.type]);
      log.warn({ command: command.type, code, err: error }, 'command failed');
      reply = { type: 'answer', id: command.id, ok: false, error: { code, message, retryable } };
    }
    if (control().connection() === connection) control().send(reply);
  };

  relay.onSettlements(through.enqueue);
  relay.onLost((why) => {
    log.warn({ why, state: handoff.state }, 'a broker connection is lost');
    if (handoff.state === 'mute' || handoff.state === 'muting') handoff = { ...handoff, lost: why };
    if (handoff.state === 'mute') tell();
    replay.lost(why);
    check();
  });

  return {
    state: () => handoff,
    hello,
    opened: () => {
      through.resend();
      replay.opened();
      if (handoff.state === 'superseded' || handoff.state === 'closed') tell();
    },
    handle: (message, connection) => {
      if (message.type === 'settle') through.onSettle(message);
      else if (message.type === 'settled') through.onSettled(message);
      else if (message.type === 'wanted') replay.wanted(message);
      else if (message.type === 'recorded') replay.recorded(message);
      else if (message.type === 'inspect') void answer(message, connection);
      else queue = queue.then(() => answer(message, connection));
    },
    check,
    replay: () => ({ ...replay.report(), swallowed: replay.swallowed() }),
    finished: () => {
      const { state, session } = handoff;
      if (state === 'superseded') return relay.outstanding() === 0;
      // A copy before its commit serves nobody: an abort deletes it, and waits for it.
      return !session || SILENT.includes(state);
    },
    linger: () => forwarder.linger(lingerMs),
  };
};
