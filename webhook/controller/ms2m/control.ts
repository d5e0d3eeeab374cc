/** The control protocol: an app is told which queue to consume from, and the numbers of consumers say whether it does. */
import type { Broker } from './broker.ts';
import { controlQueueOf, type Queues } from './queues.ts';

/** An app looks at its control queue every now and then; one that has been told is not told again for so long. */
const AGAIN_MS = 5_000;

/** Of one handoff, by this process alone. */
export interface Memory {
  /** When whom was last told what. */
  readonly told: Map<string, { queue: string; at: number }>;
  /** CatchingUp: how near the copy has come to its source, in messages, and when that was. */
  nearest?: { lag: number; at: number };
}

export interface Telling {
  broker: Broker;
  queues: Queues;
  now(): number;
  memory: Memory;
}

/** The payload names the queue in full, as the reference's does. END_REPLAY: back to the app's own. */
export const commandFor = (queue: string, { primary }: Queues): { type: string; payload: { queue: string } } => ({
  type: queue === primary ? 'END_REPLAY' : 'START_REPLAY',
  payload: { queue },
});

/**
 * Only the last command counts: what an app has not read yet goes first, or it would obey it after this one. Told twice, an
 * app stays where it is.
 */
export const tell = async (
  { broker, queues, now, memory: { told } }: Telling,
  pod: string,
  queue: string,
): Promise<void> => {
  const last = told.get(pod);
  if (last?.queue === queue && now() - last.at < AGAIN_MS) return;
  const control = controlQueueOf(pod);
  await broker.declareQueue(control);
  await broker.purge(control);
  await broker.send(control, commandFor(queue, queues));
  told.set(pod, { queue, at: now() });
};
