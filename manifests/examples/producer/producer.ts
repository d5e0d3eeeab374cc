/** Publishes events at a steady rate or in bursts, with publisher confirms, and remembers what the broker confirmed. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConfirmChannel } from 'amqplib';
import { EVENTS, type Event } from '../broker.ts';

export interface Pace {
  /** Messages a second, on average. */
  rate: number;
  /** Messages at once; 1 is even. */
  burst: number;
}

/** How many messages should have been sent after `elapsedMs`: whole bursts, the first at once. */
export const due = (pace: Pace, elapsedMs: number): number =>
  pace.rate <= 0 ? 0 : (Math.floor((elapsedMs * pace.rate) / (1000 * pace.burst)) + 1) * pace.burst;

export class Producer {
  /** Body by sequence number, of every message sent. */
  readonly bodies = new Map<number, Buffer>();
  /** Sequence numbers the broker confirmed. */
  readonly confirmed = new Set<number>();
  #channel: ConfirmChannel;
  readonly #pace: Pace;
  readonly #payload: string;
  readonly #exchange: string;
  #refused = 0;
  #running = true;

  constructor(channel: ConfirmChannel, pace: Pace, payloadBytes = 64, exchange: string = EVENTS.exchange) {
    this.#channel = channel;
    this.#pace = pace;
    this.#payload = 'x'.repeat(payloadBytes);
    this.#exchange = exchange;
  }

  get sent(): number {
    return this.bodies.size;
  }

  /** Messages the broker refused (basic.nack): not confirmed, so nobody owes them. */
  get refused(): number {
    return this.#refused;
  }

  /** Resolves after stop() and when every message sent is confirmed or refused. */
  async run(): Promise<void> {
    const start = performance.now();
    const before = this.sent;
    while (this.#running) {
      const target = before + due(this.#pace, performance.now() - start);
      while (this.sent < target) this.#publish();
      await sleep(2);
    }
    await this.#channel.waitForConfirms().catch(() => undefined);
  }

  stop(): void {
    this.#running = false;
  }

  /** May run again, over another channel, with the numbers that follow. After run() has ended. */
  moveTo(channel: ConfirmChannel): void {
    this.#channel = channel;
    this.#running = true;
  }

  #publish(): void {
    const seq = this.sent + 1;
    const event: Event = { seq, sentAt: new Date().toISOString(), payload: this.#payload };
    const body = Buffer.from(JSON.stringify(event));
    this.bodies.set(seq, body);
    const options = { persistent: true, contentType: 'application/json' };
    this.#channel.publish(this.#exchange, '', body, options, (error) => {
      if (error) this.#refused += 1;
      else this.confirmed.add(seq);
    });
  }
}
