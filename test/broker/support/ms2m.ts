/** A handoff the MS2M way without Kubernetes: the real steps, a real broker, apps in this process, a controller that may die. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChannelModel, ConfirmChannel } from 'amqplib';
import { connectBroker } from '../../../webhook/controller/ms2m/amqp.ts';
import type { Broker } from '../../../webhook/controller/ms2m/broker.ts';
import {
  following,
  type Ms2mStep,
  type Progress,
  type TakeOver,
  undoing,
} from '../../../webhook/controller/ms2m/plan.ts';
import { exchangesOf, queuesOf } from '../../../webhook/controller/ms2m/queues.ts';
import { perform, type Scene } from '../../../webhook/controller/ms2m/steps.ts';
import { CountingApp, type CountingOptions } from '../../cluster/apps/ms2m/counting.ts';

export const QUEUE = 'app.events';
export const EXCHANGE = 'app.fanout';

export class Crash extends Error {}

export type Strike = (call: string, when: 'before' | 'after') => void;

/** Every call may be cut short before or after it took effect. */
const struck = (broker: Broker, strike: () => Strike): Broker =>
  new Proxy(broker, {
    get: (target, name: keyof Broker) =>
      name === 'close'
        ? target.close
        : async (...args: unknown[]) => {
            strike()(name, 'before');
            const result = await (target[name] as (...given: unknown[]) => Promise<unknown>)(...args);
            strike()(name, 'after');
            return result;
          },
  });

export interface Load {
  /** Numbers published so far, by producer. */
  readonly published: Record<string, number>;
  stop(): Promise<void>;
}

/** Producers that publish one, or a few at once, at random moments; each waits for its confirms. */
export const produce = async (client: ChannelModel, producers: number, meanMs: number): Promise<Load> => {
  const published: Record<string, number> = {};
  let over = false;
  const run = async (producer: string, channel: ConfirmChannel): Promise<void> => {
    while (!over) {
      const burst = Math.random() < 0.2 ? 5 : 1;
      for (let count = 0; count < burst; count++) {
        const n = (published[producer] ?? 0) + 1;
        published[producer] = n;
        channel.publish(EXCHANGE, '', Buffer.from(JSON.stringify({ producer, n })), { persistent: true });
      }
      await channel.waitForConfirms();
      const next = Date.now() + Math.random() * 2 * meanMs * burst;
      while (!over && Date.now() < next) await sleep(Math.max(1, Math.min(20, next - Date.now())));
    }
  };
  const runs: Promise<void>[] = [];
  for (let index = 0; index < producers; index++) runs.push(run(`p${index}`, await client.createConfirmChannel()));
  return {
    published,
    stop: async () => {
      over = true;
      await Promise.all(runs);
    },
  };
};

export interface Setting {
  url: string;
  takeOver: TakeOver;
  replayMode?: Scene['replayMode'];
  cutoffMs?: number;
  delayMs?: number;
}

export class Handoff {
  readonly source: CountingApp;
  copy: CountingApp | undefined;
  progress: Progress | undefined = { step: 'Binding' };
  strike: Strike = () => undefined;
  /** After a step was done and before that is on record. */
  onDone: (step: Ms2mStep) => void = () => undefined;
  crashes = 0;
  readonly steps: string[] = [];
  private readonly setting: Setting;
  private entered = Date.now();
  private broker: Broker | undefined;
  private memory: Scene['memory'] = { told: new Map() };

  constructor(setting: Setting) {
    this.setting = setting;
    this.source = new CountingApp(this.options('consumer-0'));
  }

  private options(pod: string): CountingOptions {
    const { url, delayMs = 1 } = this.setting;
    const where = { queue: QUEUE, exchange: EXCHANGE, key: '' };
    return { url, ...where, prefetch: 10, workMs: delayMs, reconnectMs: 100, pod: () => pod };
  }

  /** Who is to have it all in the end. */
  get survivor(): CountingApp {
    return this.undone || this.copy === undefined ? this.source : this.copy;
  }
  undone = false;

  abort(): void {
    const back = this.progress && undoing(this.progress, this.setting.takeOver);
    if (back === undefined || this.undone) return;
    this.undone = true;
    this.copy?.kill();
    this.enter(back);
  }

  private enter(progress: Progress | undefined): void {
    if (progress?.step === 'Releasing' && this.copy === undefined) {
      this.copy = new CountingApp(this.options('consumer-0-shadow'), structuredClone(this.source.state));
    }
    if (progress?.step === 'Calling') void this.copy?.run();
    if (progress?.step === 'Stopping') this.source.kill();
    this.progress = progress;
    this.entered = Date.now();
  }

  private async scene(): Promise<Scene> {
    this.broker ??= await connectBroker(this.setting.url);
    const { replayMode = 'Drain', cutoffMs = 0 } = this.setting;
    return {
      broker: struck(this.broker, () => this.strike),
      queues: queuesOf(QUEUE),
      exchanges: exchangesOf(QUEUE),
      binding: { exchange: EXCHANGE, key: '' },
      ...{ source: 'consumer-0', copy: 'consumer-0-shadow', undoing: this.progress?.undoing === true },
      ...{ replayMode, cutoffMs, elapsedMs: Date.now() - this.entered, settleMs: 100, pause: sleep },
      ...{ now: Date.now, memory: this.memory },
    };
  }

  private async die(): Promise<void> {
    this.crashes++;
    this.memory = { told: new Map() };
    await this.broker?.close();
    this.broker = undefined;
  }

  private async turn({ step, undoing: back }: Progress): Promise<void> {
    const outcome = await perform(step, await this.scene());
    if (outcome.kind === 'wait') return sleep(10);
    if (this.steps.at(-1) !== step) this.steps.push(step);
    this.onDone(step);
    // An abort may have come meanwhile.
    if (this.progress?.step !== step || this.progress.undoing !== back) return;
    const detour = outcome.kind === 'goto' ? { ...this.progress, step: outcome.step } : undefined;
    this.enter(detour ?? following(this.progress, this.setting.takeOver));
  }

  /** Until all is done, or until a step before it is entered. */
  async run(before?: Ms2mStep): Promise<void> {
    const end = Date.now() + 30_000;
    while (this.progress !== undefined && this.progress.step !== before) {
      if (Date.now() > end) throw new Error(`${this.progress.step} does not end; so far ${this.steps.join(' ')}`);
      try {
        await this.turn(this.progress);
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        await this.die();
      }
    }
  }

  async close(): Promise<void> {
    this.source.kill();
    this.copy?.kill();
    await this.broker?.close();
  }
}
