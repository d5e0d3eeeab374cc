/**
 * One handoff as the controller carries it out (webhook/controller/steps), with what befalls it. The decision is one write:
 * whoever comes first, commit or abort, has made it.
 */
import type { CommandType } from '../../webhook/api/control.ts';
import { asShadowError, ShadowError } from '../../webhook/api/errors.ts';
import type { CommandOf, CommandResult } from '../../webhook/controller/hub/session.ts';
import type { Hub } from './hub.ts';
import type { Oracle } from './oracle.ts';
import type { Pod } from './pod.ts';
import type { Random } from './random.ts';
import type { Fault, HandoffPlan, HandoffStep } from './schedule.ts';

/** What a handoff needs of the world. */
export interface HandoffWorld {
  readonly hub: Hub;
  readonly oracle: Oracle;
  readonly random: Random;
  /** Resolves when it holds: looked at in every tick. Rejects when the world has failed. */
  when(holds: () => boolean, what: string, ms?: number): Promise<void>;
  ticks(count: number): Promise<void>;
  /** So many ticks from now. */
  later(ticks: number, act: () => void): void;
  restore(source: Pod): Pod;
}

const MUTE_MS = 8000;
const ATTACH_MS = 12_000;

export class Handoff {
  readonly claim: string;
  readonly source: Pod;
  copy: Pod | undefined;
  decision: 'commit' | 'abort' | undefined;
  private readonly world: HandoffWorld;
  private readonly plan: HandoffPlan;
  private wantsAbort: string | undefined;
  private generation = 1;
  private over = false;

  constructor(world: HandoffWorld, plan: HandoffPlan, source: Pod, claim: string) {
    this.world = world;
    this.plan = plan;
    this.source = source;
    this.claim = claim;
  }

  /** The pod that serves in the end. */
  async run(): Promise<Pod> {
    const { world, source } = this;
    try {
      await this.prepare();
    } catch (error) {
      const { code, message } = asShadowError(error);
      world.oracle.trace('controller', `aborts: ${message}`);
      world.oracle.count(`aborted: ${code}`);
      await this.abort();
      return source;
    }
    this.decide();
    await this.complete(this.copy!);
    this.over = true;
    return this.copy!;
  }

  // ---- what befalls it

  private enter(step: HandoffStep): void {
    this.world.oracle.trace('controller', `enters ${step}`);
    for (const fault of this.plan.faults)
      if (fault.at === step) this.world.later(fault.after, () => this.befall(fault));
  }

  private befall({ what }: Fault): void {
    const { world, source, copy } = this;
    if (this.over) return;
    if (!this.applies(what)) return;
    world.oracle.trace('controller', `FAULT: ${what}`);
    world.oracle.count(`fault: ${what}`);
    switch (what) {
      case 'abort':
        this.wantsAbort ??= 'the user aborts';
        return;
      case 'copy dies':
        copy!.kill();
        return;
      case 'source power cut':
        world.oracle.breaking = true;
        source.kill();
        return;
      case 'source sidecar dies':
        world.oracle.breaking = true;
        if (this.decision !== 'commit') world.oracle.breaks(source.app);
        source.restartSidecar((mute) => (mute || this.decision === 'commit' ? 'silent' : 'full'));
        return;
      case 'copy sidecar dies':
        world.oracle.breaking = true;
        world.oracle.breaks(copy!.app);
        copy!.restartSidecar(() => 'full');
        return;
      case 'source loses broker':
        world.oracle.breaking = true;
        if (this.decision !== 'commit') world.oracle.breaks(source.app);
        for (const upstream of [...source.sidecar.upstreams].slice(0, 1)) upstream.cut();
        return;
      case 'links drop':
        world.hub.epoch += 1;
        for (const pod of [source, copy]) pod?.sidecar.link.drop(world.random.between(1, 40));
    }
  }

  private applies(what: Fault['what']): boolean {
    const { source, copy, decision } = this;
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
  }

  // ---- before the commit

  private async prepare(): Promise<void> {
    this.enter('muting');
    await this.pause();
    await this.ask(this.source, { type: 'mute', claim: this.claim, timeoutMs: MUTE_MS });
    this.enter('cutting');
    await this.cut();
    this.enter('transferring');
    await this.pause();
    this.copy = this.world.restore(this.source);
    const { copy } = this;
    this.enter('attaching');
    await this.world.when(() => copy.gone || this.world.hub.sessions.has(copy.options.uid), 'the copy says hello');
    const theirs = this.world.hub.sessions.get(this.source.options.uid);
    const own = this.world.hub.sessions.get(copy.options.uid);
    if (theirs && own && theirs.process !== own.process)
      throw new ShadowError('SHADOW_E_ATTACH', 'not the restored one');
    await this.ask(copy, { type: 'attach', claim: this.claim, timeoutMs: ATTACH_MS });
    await this.pause();
    this.check();
    if (copy.gone) throw new ShadowError('SHADOW_E_COPY_LOST', 'it is gone');
  }

  private async cut(): Promise<void> {
    for (;;) {
      this.generation += 1;
      this.source.snapshot = undefined;
      this.source.sidecar.prepareThaw(this.generation);
      await this.pause();
      await this.ask(this.source, {
        type: 'freeze',
        claim: this.claim,
        generation: this.generation,
        deadlineMs: 1000,
      });
      await this.world.ticks(3);
      if (this.source.snapshot) return;
      this.check();
    }
  }

  /** A step's work in the cluster takes its time. */
  private async pause(): Promise<void> {
    await this.world.ticks(this.world.random.between(0, this.plan.pace));
    if (this.decision !== 'commit') this.check();
  }

  private check(): void {
    if (this.wantsAbort) throw new ShadowError('SHADOW_E_ABORTED', this.wantsAbort);
    const lost = this.world.hub.sessions.get(this.source.options.uid)?.lost;
    if (lost !== undefined) throw new ShadowError('SHADOW_E_SOURCE_LOST', lost);
  }

  private async command<T extends CommandType>(
    pod: Pod,
    command: { type: T } & CommandOf<T>,
  ): Promise<CommandResult<T>> {
    const { oracle, hub } = this.world;
    if (pod.gone) throw new ShadowError('SHADOW_E_COPY_LOST', `${pod.options.name} is gone`);
    try {
      oracle.trace('controller', `asks ${pod.options.name} to ${command.type}`);
      return await hub.command(pod.options.uid, command);
    } catch (error) {
      oracle.trace('controller', `${command.type}: ${asShadowError(error).message}`);
      throw error;
    }
  }

  /** Before the commit: until it is answered, or refused for good. */
  private async ask<T extends CommandType>(pod: Pod, command: { type: T } & CommandOf<T>): Promise<CommandResult<T>> {
    for (;;) {
      if (this.decision === undefined) this.check();
      try {
        return await this.command(pod, command);
      } catch (error) {
        const { code, retryable } = asShadowError(error);
        if (!retryable && code !== 'SHADOW_E_STALE') throw error;
      }
      await this.world.ticks(this.world.random.between(1, 10));
    }
  }

  /** Decided: the step is done again, from what is seen then, until it goes through. */
  private async insist<T>(act: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof ShadowError)) throw error;
      }
      await this.world.ticks(this.world.random.between(1, 10));
    }
  }

  private async abort(): Promise<void> {
    const { world, source, copy } = this;
    this.decision = 'abort';
    this.over = true;
    world.later(world.random.between(0, this.plan.pace), () => copy?.kill());
    await world.ticks(world.random.between(0, this.plan.pace));
    source.paused = false;
    await this.insist(() => this.command(source, { type: 'unmute', claim: this.claim }));
  }

  // ---- the commit, and after it

  private decide(): void {
    this.decision = 'commit';
    this.copy!.sidecar.voice = 'full';
    this.source.sidecar.voice = 'settling';
    this.world.oracle.trace('controller', 'COMMIT');
    this.world.oracle.count(`committed (${this.plan.mode})`);
  }

  private async complete(copy: Pod): Promise<void> {
    const { world, source, claim } = this;
    this.enter('committed');
    world.hub.routes.set(claim, source.options.uid, copy.options.uid);
    await Promise.all([this.goLive(copy), this.supersede()]);
    this.enter('settling');
    while (!(await this.insist(() => this.settled(copy)))) await this.pause();
    if (source.gone) this.answerForGone(copy);
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
    await this.insist(async () => {
      const state = this.stateOf(copy);
      if (state !== 'live' && state !== 'idle') await this.command(copy, { type: 'live', claim: this.claim });
    });
  }

  private async supersede(): Promise<void> {
    await this.pause();
    await this.insist(async () => {
      if (!this.source.gone) await this.command(this.source, { type: 'supersede', claim: this.claim });
    });
  }

  private async settled(copy: Pod): Promise<boolean> {
    const { source, claim } = this;
    if (source.gone) return true;
    this.world.hub.routes.set(claim, source.options.uid, copy.options.uid);
    // Its sidecar was started anew since, and knows of no commit.
    const type = this.stateOf(source) === 'mute' ? 'supersede' : 'settleStatus';
    const { outstanding } = await this.command(source, { type, claim });
    // A copy that is idle settles none of them any more: its sidecar was started anew, too.
    return outstanding === 0 || this.stateOf(copy) === 'idle';
  }

  private stateOf(pod: Pod): string | undefined {
    return this.world.hub.sessions.get(pod.options.uid)?.state;
  }
}
