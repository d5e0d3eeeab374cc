/** The app without the sidecar, with a memory that shows what came otherwise than one after the other. */
import type { ConsumeMessage } from 'amqplib';
import { Ms2mApp, type Ms2mMemory, type Ms2mOptions } from '../../../../manifests/examples/ms2m/app.ts';

export interface Ms2mState extends Ms2mMemory {
  processed: number;
  /** Producer → number of its last message. */
  last: Record<string, number>;
  violations: string[];
}

export interface CountingOptions extends Omit<Ms2mOptions, 'declare' | 'apply'> {
  exchange: string;
  key: string;
}

const count = (state: Ms2mState, { content }: ConsumeMessage): void => {
  state.processed++;
  const { producer, n } = JSON.parse(content.toString()) as { producer?: string; n?: number };
  if (producer === undefined || n === undefined) return;
  const expected = (state.last[producer] ?? 0) + 1;
  if (n !== expected) state.violations.push(`${producer}: ${n} instead of ${expected}`);
  state.last[producer] = Math.max(n, expected);
};

export class CountingApp extends Ms2mApp {
  readonly state: Ms2mState;

  constructor({ exchange, key, ...options }: CountingOptions, state?: Ms2mState) {
    const memory = state ?? { processed: 0, last: {}, violations: [], queue: options.queue };
    const { queue } = options;
    super(
      {
        ...options,
        declare: async (channel) => {
          await channel.assertExchange(exchange, 'fanout', { durable: true });
          await channel.assertQueue(queue, { durable: true });
          await channel.bindQueue(queue, exchange, key);
        },
        apply: (message) => count(memory, message),
      },
      memory,
    );
    this.state = memory;
  }
}
