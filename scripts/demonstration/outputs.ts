/** Reads the example's outputs straight from the broker, and when each came. */
import type { Channel } from 'amqplib';
import { OUTPUTS, type Output } from '../../manifests/examples/broker.ts';
import type { SeenOutput } from './oracle.ts';

/** Consumer tag, to stop it by. */
export const collectorOf = (queue: string): string => `collects ${queue}`;

/** Returns the growing list, `seen` if one is given. Times are those of performance.now(). */
export const collectOutputs = async (
  channel: Channel,
  queue: string = OUTPUTS.queue,
  seen: SeenOutput[] = [],
): Promise<SeenOutput[]> => {
  await channel.consume(
    queue,
    (message) => {
      if (!message) return;
      const output = JSON.parse(message.content.toString()) as Output;
      seen.push({ ...output, at: performance.now() });
    },
    { noAck: true, consumerTag: collectorOf(queue) },
  );
  return seen;
};
