/** What the example's parts agree on: exchanges, queues and the form of their messages. */
import type { Channel } from 'amqplib';

export const EVENTS = { exchange: 'app.fanout', queue: 'app.events' } as const;
export const OUTPUTS = { exchange: 'app.outputs', queue: 'app.outputs' } as const;

/** An input: one message to apply. */
export interface Event {
  /** From 1, counted up by the producer. */
  seq: number;
  /** RFC 3339 with milliseconds. */
  sentAt: string;
  payload: string;
}

/** One output per input applied. */
export interface Output {
  /** Which replica, by the name it started under. */
  consumer: string;
  seq: number;
  /** The n-th message this replica applied, from 1. */
  index: number;
}

/** Declares everything, idempotently: whoever comes first makes it. */
export const declare = async (channel: Channel): Promise<void> => {
  for (const { exchange, queue } of [EVENTS, OUTPUTS]) {
    await channel.assertExchange(exchange, 'fanout', { durable: true });
    await channel.assertQueue(queue, { durable: true });
    await channel.bindQueue(queue, exchange, '');
  }
};
