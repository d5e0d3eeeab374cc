/** How the controller asks sidecars: once, until they answer, or until it goes through. */
import type { CommandType } from '../../webhook/api/control.ts';
import { asShadowError, ShadowError } from '../../webhook/api/errors.ts';
import type { CommandOf, CommandResult } from '../../webhook/controller/hub/session.ts';
import type { Hub } from './hub.ts';
import type { Oracle } from './oracle.ts';
import type { Pod } from './pod.ts';
import type { Random } from './random.ts';

export interface AskingWorld {
  readonly hub: Hub;
  readonly oracle: Oracle;
  readonly random: Random;
  ticks(count: number): Promise<void>;
}

export class Asking {
  private readonly world: AskingWorld;
  constructor(world: AskingWorld) {
    this.world = world;
  }

  async once<T extends CommandType>(pod: Pod, command: { type: T } & CommandOf<T>): Promise<CommandResult<T>> {
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

  /** Until it is answered, or refused for good; `check` throws when it is not worth it any more. */
  async until<T extends CommandType>(
    pod: Pod,
    command: { type: T } & CommandOf<T>,
    check: () => void,
  ): Promise<CommandResult<T>> {
    for (;;) {
      check();
      try {
        return await this.once(pod, command);
      } catch (error) {
        const { code, retryable } = asShadowError(error);
        if (!retryable && code !== 'SHADOW_E_STALE') throw error;
      }
      await this.world.ticks(this.world.random.between(1, 10));
    }
  }

  /** Decided: a step is done again, from what is seen then, until it goes through. */
  async insist<T>(act: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof ShadowError)) throw error;
      }
      await this.world.ticks(this.world.random.between(1, 10));
    }
  }
}
