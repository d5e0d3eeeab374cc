/**
 * One handoff as the controller carries it out (webhook/controller/steps), with what befalls it. The decision is one write:
 * whoever comes first, commit or abort, has made it.
 */
import type { CommandType } from '../../webhook/api/control.ts';
import { asShadowError, type ErrorCode, isErrorCode, ShadowError } from '../../webhook/api/errors.ts';
import type { CommandOf, CommandResult, Session } from '../../webhook/controller/hub/session.ts';
import type { linkPair } from '../../webhook/controller/link.ts';
import { hasCaughtUp } from '../../webhook/controller/steps/replaying.ts';
import { Asking, type AskingWorld } from './asking.ts';
import { befall, type Victim } from './faults.ts';
import type { Pod } from './pod.ts';
import type { HandoffPlan, HandoffStep } from './schedule.ts';

/** What a handoff needs of the world. */
export interface HandoffWorld extends AskingWorld {
  /** Certificates for the direct way of a record. */
  readonly tls: ReturnType<typeof linkPair>;
  /** Resolves when it holds: looked at in every tick. Rejects when the world has failed. */
  when(holds: () => boolean, what: string): Promise<void>;
  /** So many ticks from now. */
  later(ticks: number, act: () => void): void;
  restore(source: Pod): Pod;
  /** It is aborted. */
  failed(mode: string, code: ErrorCode, why: string): void;
  now: number;
  /** So many outputs of a copy that is committed were made otherwise; the source's word stands. */
  reported(outputs: number): void;
}

const MUTE_MS = 8000;
const ATTACH_MS = 12_000;
const STALL_MS = 5000;
const FROZEN_MS = 1000;
/** Users wait for it: bounded, though not by the clock alone on a busy machine. */
const LAST_OF_RECORD = { ms: 10_000, ticks: 2000 };

const codeOf = (code: string | undefined, otherwise: ErrorCode): ErrorCode =>
  code !== undefined && isErrorCode(code) ? code : otherwise;

export class Handoff implements Victim {
  readonly claim: string;
  readonly source: Pod;
  copy: Pod | undefined;
  decision: 'commit' | 'abort' | undefined;
  wantsAbort: string | undefined;
  private readonly world: HandoffWorld;
  private readonly plan: HandoffPlan;
  private readonly asking: Asking;
  private generation = 1;
  private over = false;

  constructor(world: HandoffWorld, plan: HandoffPlan, source: Pod, claim: string) {
    this.world = world;
    this.plan = plan;
    this.source = source;
    this.claim = claim;
    this.asking = new Asking(world);
  }

  /** The pod that serves in the end. */
  async run(): Promise<Pod> {
    const { world, source } = this;
    try {
      const copy = this.plan.mode === 'stop' ? await this.stopAndCopy() : await this.replay();
      await this.pause();
      this.check();
      this.there(copy);
    } catch (error) {
      const { code, message } = asShadowError(error);
      world.oracle.trace('controller', `aborts: ${message}`);
      world.oracle.count(`aborted (${this.plan.mode}): ${code}`);
      world.failed(this.plan.mode, code, message);
      await this.abort();
      return source;
    }
    this.decide();
    await this.complete(this.copy!);
    this.over = true;
    return this.copy!;
  }

  private enter(step: HandoffStep): void {
    this.world.oracle.trace('controller', `enters ${step}`);
    for (const fault of this.plan.faults)
      if (fault.at === step)
        this.world.later(fault.after, () => {
          if (!this.over) befall(this.world, fault, this);
        });
  }

  // ---- before the commit

  private async stopAndCopy(): Promise<Pod> {
    await this.mute();
    this.enter('cutting');
    await this.cut(false);
    const copy = await this.restore();
    this.enter('attaching');
    await this.until(copy, () => this.stateOf(copy) !== undefined);
    await this.ask(copy, { type: 'attach', claim: this.claim, timeoutMs: ATTACH_MS });
    return copy;
  }

  private async replay(): Promise<Pod> {
    const { world, source, claim } = this;
    this.enter('cutting');
    await this.cut(true);
    await world.ticks(world.random.between(0, this.plan.pace));
    source.paused = false;
    const copy = await this.restore();
    this.enter('replaying');
    world.hub.routes.set(claim, source.options.uid, copy.options.uid);
    await this.until(copy, () => this.stateOf(copy) !== undefined);
    await this.follow(copy);
    await this.until(copy, () => this.caughtUp(copy));
    await this.mute();
    this.enter('attaching');
    const [began, first] = [Date.now(), world.now];
    await this.until(copy, () => {
      if (Date.now() - began > LAST_OF_RECORD.ms && world.now - first > LAST_OF_RECORD.ticks)
        throw new ShadowError('SHADOW_E_RECORD', 'the copy had not played all up to the end in time');
      return this.stateOf(copy) === 'replayed' && this.stateOf(source) === 'mute';
    });
    return copy;
  }

  private async mute(): Promise<void> {
    this.enter('muting');
    await this.pause();
    await this.ask(this.source, { type: 'mute', claim: this.claim, timeoutMs: MUTE_MS });
  }

  private async cut(record: boolean): Promise<void> {
    for (;;) {
      this.generation += 1;
      const { source, claim, generation } = this;
      source.snapshot = undefined;
      source.sidecar.prepareThaw(generation);
      await this.pause();
      await this.ask(source, { type: 'freeze', claim, generation, deadlineMs: FROZEN_MS, record });
      await this.world.ticks(3);
      if (source.snapshot) return;
      this.check();
    }
  }

  private async restore(): Promise<Pod> {
    this.enter('transferring');
    await this.pause();
    this.copy = this.world.restore(this.source);
    return this.copy;
  }

  /** As long as the copy and the source are the processes that were cut. */
  private async until(copy: Pod, holds: () => boolean): Promise<void> {
    while (!holds()) {
      this.check();
      this.there(copy);
      const [theirs, own] = [this.session(this.source), this.session(copy)];
      if (theirs && own && theirs.process !== own.process)
        throw new ShadowError('SHADOW_E_ATTACH', 'not the restored one');
      await this.world.ticks(1);
    }
  }

  private async follow(copy: Pod): Promise<void> {
    const { claim } = this;
    const { direct, onDivergence } = this.plan;
    const command = { type: 'replay', claim, onDivergence, stallMs: STALL_MS, attachMs: ATTACH_MS } as const;
    if (!direct) {
      await this.ask(copy, command);
      return;
    }
    const { port } = await this.ask(this.source, { type: 'serve', claim, tls: this.world.tls.source });
    await this.ask(copy, { ...command, direct: { host: '127.0.0.1', port, tls: this.world.tls.copy } });
  }

  private caughtUp(copy: Pod): boolean {
    const [theirs, own] = [this.session(this.source), this.session(copy)];
    return theirs !== undefined && own !== undefined && hasCaughtUp(theirs, own);
  }

  /** A step's work in the cluster takes its time. */
  private async pause(): Promise<void> {
    await this.world.ticks(this.world.random.between(0, this.plan.pace));
    if (this.decision === undefined) this.check();
  }

  private there(copy: Pod): void {
    if (copy.gone) throw new ShadowError('SHADOW_E_COPY_LOST', 'it is gone');
  }

  private check(): void {
    if (this.wantsAbort) throw new ShadowError('SHADOW_E_ABORTED', this.wantsAbort);
    const source = this.session(this.source);
    if (source?.lost !== undefined) throw new ShadowError(codeOf(source.code, 'SHADOW_E_SOURCE_LOST'), source.lost);
    const copy = this.plan.mode === 'replay' && this.copy ? this.session(this.copy) : undefined;
    if (copy?.lost !== undefined) throw new ShadowError(codeOf(copy.code, 'SHADOW_E_RECORD'), copy.lost);
  }

  private ask<T extends CommandType>(pod: Pod, command: { type: T } & CommandOf<T>): Promise<CommandResult<T>> {
    return this.asking.until(pod, command, () => this.check());
  }

  private session(pod: Pod): Session | undefined {
    return this.world.hub.sessions.get(pod.options.uid);
  }

  private stateOf(pod: Pod): string | undefined {
    return this.session(pod)?.state;
  }

  private async abort(): Promise<void> {
    const { world, source, copy } = this;
    this.decision = 'abort';
    this.over = true;
    world.later(world.random.between(0, this.plan.pace), () => copy?.kill());
    await this.pause();
    source.paused = false;
    await this.asking.insist(() => this.asking.once(source, { type: 'unmute', claim: this.claim }));
    world.hub.routes.remove(this.claim);
  }

  // ---- the commit, and after it

  private decide(): void {
    this.decision = 'commit';
    const diverged = this.session(this.copy!)?.play?.diverged ?? 0;
    if (diverged > 0) this.world.reported(diverged);
    this.copy!.sidecar.voice = 'full';
    this.source.sidecar.voice = 'settling';
    this.world.oracle.trace('controller', 'COMMIT');
    this.world.oracle.count(`committed (${this.plan.mode})`);
  }

  private async complete(copy: Pod): Promise<void> {
    const { world, source, claim, asking } = this;
    this.enter('committed');
    world.hub.routes.set(claim, source.options.uid, copy.options.uid);
    await Promise.all([this.goLive(copy), this.onSource('supersede')]);
    this.enter('settling');
    while (!(await asking.insist(() => this.settled(copy)))) await this.pause();
    if (source.gone) this.answerForGone(copy);
    if (this.plan.mode === 'replay') await this.onSource('retire');
    await this.pause();
    source.kill();
    this.answerForGone(copy);
    await world.when(() => copy.sidecar.commands.state().state === 'idle', 'the copy is idle again');
    world.hub.routes.remove(claim);
  }

  private answerForGone(copy: Pod): void {
    this.world.hub.routes.set(this.claim, this.source.options.uid, copy.options.uid);
    this.world.hub.routes.abandon(this.claim);
  }

  private async goLive(copy: Pod): Promise<void> {
    await this.pause();
    await this.asking.insist(async () => {
      const state = this.stateOf(copy);
      if (state !== 'live' && state !== 'idle') await this.asking.once(copy, { type: 'live', claim: this.claim });
    });
  }

  private async onSource(type: 'supersede' | 'retire'): Promise<void> {
    await this.pause();
    await this.asking.insist(async () => {
      // Started anew since the commit was told, it is mute, and has nothing to retire from.
      const anew = type === 'retire' && this.stateOf(this.source) === 'mute';
      if (!this.source.gone && !anew) await this.asking.once(this.source, { type, claim: this.claim });
    });
  }

  private async settled(copy: Pod): Promise<boolean> {
    const { source, claim } = this;
    if (source.gone) return true;
    this.world.hub.routes.set(claim, source.options.uid, copy.options.uid);
    // Its sidecar was started anew since, and knows of no commit.
    const type = this.stateOf(source) === 'mute' ? 'supersede' : 'settleStatus';
    const { outstanding } = await this.asking.once(source, { type, claim });
    if (outstanding === 0) return true;
    // A copy that is idle settles none of them any more: its sidecar was started anew, too.
    if (this.stateOf(copy) !== 'idle') return false;
    if (!this.world.oracle.breaking)
      this.world.oracle.wrong('nothing lost', `the copy is done, the source has ${outstanding} deliveries unsettled`);
    return true;
  }
}
