/**
 * The contract of a client's worker, and what those in Node.js share. The ones in other languages keep it in their own words.
 *
 * It consumes `<TOPIC>.in` with PREFETCH and manual acks, one message at a time: works on it for WORK_MS, puts it into its
 * memory, publishes its output to the exchange `<TOPIC>.out`, again as often as the broker refuses it, waits for the broker's
 * confirm, acks. The test declares both.
 * On PORT, GET / answers 200 once it consumes and not before, GET /state all it remembers (`WorkerSnapshot`). It goes by
 * AMQP_URL, and does about its connection whatever its client does by itself: reconnect, and count that in `reconnects`, or
 * end with code 1.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Snapshot, State } from '../../manifests/examples/consumer/state.ts';

export interface WorkerSnapshot extends Snapshot {
  /** Sequence numbers in the order the client handed them over. */
  received: number[];
  /** Connections beyond the first, as far as its client tells. */
  reconnects: number;
  /** It publishes nothing by the clock; here because the oracle of the other apps asks. */
  ticks: 0;
}

export interface Input {
  readonly body: Buffer;
  readonly redelivered: boolean;
}

export interface Output {
  consumer: string;
  seq: number;
  index: number;
  instance: string;
}

export const settings = {
  url: process.env.AMQP_URL ?? 'amqp://localhost',
  input: `${process.env.TOPIC ?? 'app'}.in`,
  output: `${process.env.TOPIC ?? 'app'}.out`,
  prefetch: Number(process.env.PREFETCH ?? 20),
  port: Number(process.env.PORT ?? 8080),
  workMs: Number(process.env.WORK_MS ?? 5),
} as const;

const AGAIN_MS = 20;

export const exit = (why: string, code: number): never => {
  console.log(JSON.stringify({ at: new Date().toISOString(), why }));
  process.exit(code);
};

const consumer = hostname();
const instance = randomUUID();
const state = new State({ consumer, instance, startedAt: new Date().toISOString() });
const received: number[] = [];
let connections = 0;
let consuming = false;

/** To be called with every connection the client makes. */
export const connected = (): void => {
  connections += 1;
};

/** From now on it is ready. */
export const started = (): void => {
  consuming = true;
  console.log(JSON.stringify({ at: new Date().toISOString(), why: 'consuming', consumer }));
};

const seqOf = ({ body }: Input): number => (JSON.parse(body.toString()) as { seq: number }).seq;

/** To be called at once with whatever the client hands over. */
export const take = (input: Input): void => {
  received.push(seqOf(input));
};

/** The work on one message; the client's part is to publish what it returns, and to ack after the confirm. */
export const work = async (input: Input): Promise<Output> => {
  await sleep(settings.workMs);
  const seq = seqOf(input);
  return { consumer, seq, index: state.apply(seq, input.body, input.redelivered), instance };
};

/** `publish` fails when the broker refuses: what it says after a loss of what it may not have had. */
export const confirmed = async (publish: () => Promise<unknown>): Promise<void> => {
  for (;;) {
    const error = await publish().then(
      () => undefined,
      (refused: Error) => refused,
    );
    if (error === undefined) return;
    console.log(`published again: ${error.message}`);
    await sleep(AGAIN_MS);
  }
};

/** One after the other, in the order of the calls; a failure ends the process. */
export const inOrder = <T>(handle: (message: T) => Promise<void>): ((message: T) => void) => {
  let tail: Promise<unknown> = Promise.resolve();
  return (message) => {
    tail = tail.then(() => handle(message)).catch((error: Error) => exit(`failed: ${error.stack}`, 1));
  };
};

const snapshot = (): WorkerSnapshot => ({
  ...state.snapshot(),
  received,
  reconnects: Math.max(0, connections - 1),
  ticks: 0,
});

createServer((request, response) => {
  const body = request.url === '/state' ? snapshot() : state.summary();
  response.writeHead(consuming ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}).listen(settings.port, '0.0.0.0');

process.on('SIGTERM', () => exit('terminated', 0));
