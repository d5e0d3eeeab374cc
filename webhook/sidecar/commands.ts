/** Carries out the controller's commands: asks handoff.ts what is allowed, acts on the relay, answers. */
import type { Command, FromController, MuteResult, SidecarState, StateChange } from '../api/control.ts';
import type { Log } from '../log.ts';
import { answerTo } from './answers.ts';
import type { Control } from './control.ts';
import type { Forwarder } from './forward.ts';
import { freeze } from './freeze.ts';
import * as pure from './handoff.ts';
import type { Paths } from './identity.ts';
import { putMarker, removeMarker } from './marker.ts';
import type { RelayLike } from './relay-api.ts';
import { createReplay } from './replay/replay.ts';
import { createRetiring } from './retiring.ts';
import { createSettleThrough } from './settle.ts';
import { createStandstill } from './standstill.ts';

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
  hello(): pure.Told;
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

export const createCommands = (options: CommandsOptions): Commands => {
  const { relay, control, paths, log } = options;
  let { handoff, uid } = options;
  let queue: Promise<void> = Promise.resolve();
  let copyMarker: Promise<void> = Promise.resolve();
  let closing: Promise<void> | undefined;
  const retiring = createRetiring(log, options.forwarder);

  const outstanding = (): number => (handoff.session && handoff.state === 'superseded' ? relay.outstanding() : 0);

  const hello = (): pure.Told => pure.helloOf(handoff);

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
    try {
      // The app is still served while the disk takes its time. A restart from here on is mute, until the controller says otherwise.
      await putMarker(paths.runDir, { podUid: uid, claim });
      const { carried } = await relay.mute(timeoutMs);
      // Nothing follows: the copy may play to the end.
      replay.end();
      enter('mute', { carried });
      return { carried };
    } catch (error) {
      await removeMarker(paths.runDir).catch((left: unknown) => log.error({ err: left }, 'removing the mute marker'));
      enter(before);
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
        await copyMarker;
        enter('replaying');
        await replay.follow(command);
        return {};
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
        if (!command.stay) handoff = { ...handoff, retired: true };
        return retiring.retire(command);
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
    const reply = await answerTo(command, carryOut, log);
    if (reply && control().connection() === connection) control().send(reply);
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
    finished: () => pure.isFinished(handoff, outstanding()),
    linger: retiring.linger,
  };
};
