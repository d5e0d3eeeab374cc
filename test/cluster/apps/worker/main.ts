/** The apps of the cluster tests, one kind each; MODE says which. None knows of kubectl-shadow, none reconnects. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsumeMessage } from 'amqplib';
import { Pool } from 'pg';
import { type App, start } from './app.ts';

const workMs = Number(process.env.WORK_MS ?? 5);

const sequential = async (app: App): Promise<void> => {
  const work = async (message: ConsumeMessage): Promise<void> => {
    await sleep(workMs);
    await app.apply(message);
    app.channel.ack(message);
  };
  await app.consume(app.oneAtATime(work));
};

/** All at once, each done after its own time: acks and outputs out of order. */
const jitter = async (app: App): Promise<void> => {
  const work = async (message: ConsumeMessage): Promise<void> => {
    await sleep(1 + Math.random() * 60);
    await app.apply(message);
    app.channel.ack(message);
  };
  await app.consume((message) => void work(message));
};

/** After the ack the broker has forgotten it: only this memory has it. */
const ackFirst = async (app: App): Promise<void> => {
  const later = app.oneAtATime(async (message) => {
    await sleep(workMs);
    await app.apply(message);
  });
  await app.consume((message) => {
    app.channel.ack(message);
    later(message);
  });
};

/** `multiple` after every ten; what is left, by a timer. */
const ackBatch = async (app: App): Promise<void> => {
  let unacked: ConsumeMessage[] = [];
  const flush = (): void => {
    const last = unacked.at(-1);
    if (last) app.channel.ack(last, true);
    unacked = [];
  };
  setInterval(flush, Number(process.env.FLUSH_MS ?? 700));
  const work = async (message: ConsumeMessage): Promise<void> => {
    await app.apply(message);
    unacked.push(message);
    if (unacked.length >= 10) flush();
  };
  await app.consume(app.oneAtATime(work));
};

/** Publishes by the clock, too, whether messages come or not. */
const ticker = async (app: App): Promise<void> => {
  setInterval(() => {
    app.ticks += 1;
    void app.publish(`${app.topic}.ticks`, { tick: app.ticks });
  }, 50);
  await sequential(app);
};

/** Beside its output it tells the time of day: no copy of it would say the same. */
const clock = async (app: App): Promise<void> => {
  const work = async (message: ConsumeMessage): Promise<void> => {
    await sleep(workMs);
    await app.apply(message);
    app.ticks += 1;
    await app.publish(`${app.topic}.ticks`, { tick: app.ticks, at: Date.now() });
    app.channel.ack(message);
  };
  await app.consume(app.oneAtATime(work));
};

/** Asks another service over the broker before it applies a message; the answers come to a durable queue of its own. */
const rpc = async (app: App): Promise<void> => {
  const replies = `${app.topic}.replies.${app.name}`;
  await app.channel.assertQueue(replies, { durable: true });
  const waiting = new Map<string, () => void>();
  await app.channel.consume(replies, (reply) => {
    if (!reply) return;
    const id: string = reply.properties.correlationId;
    const answered = waiting.get(id);
    waiting.delete(id);
    if (!answered) console.log(JSON.stringify({ why: 'an answer nobody waits for', id }));
    app.channel.ack(reply);
    answered?.();
  });
  const call = (seq: number): Promise<void> =>
    new Promise((resolve) => {
      const correlationId = `${app.name}:${seq}`;
      waiting.set(correlationId, resolve);
      app.channel.publish('', `${app.topic}.calls`, Buffer.from(String(seq)), { replyTo: replies, correlationId });
    });
  const work = async (message: ConsumeMessage): Promise<void> => {
    await call(app.seqOf(message));
    await app.apply(message);
    app.channel.ack(message);
  };
  await app.consume(app.oneAtATime(work));
};

const noAck = async (app: App): Promise<void> => {
  const work = async (message: ConsumeMessage): Promise<void> => {
    await sleep(workMs);
    await app.apply(message);
  };
  await app.consume(app.oneAtATime(work), { noAck: true });
};

/**
 * One row for each message, over a connection of its own; lost, it opens another, and writes what was not confirmed again.
 * IDEMPOTENT: a row that is there is left as it is.
 */
const database = async (app: App): Promise<void> => {
  const again = process.env.IDEMPOTENT ? ' on conflict do nothing' : '';
  const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 1 });
  pool.on('error', (error) => console.log(error.message));
  const write = async (seq: number): Promise<void> => {
    for (;;) {
      try {
        await pool.query(`insert into applied (seq, consumer) values ($1, $2)${again}`, [seq, app.name]);
        return;
      } catch (error) {
        console.log(String(error));
        await sleep(200);
      }
    }
  };
  const work = async (message: ConsumeMessage): Promise<void> => {
    await write(app.seqOf(message));
    await app.apply(message);
    app.channel.ack(message);
  };
  await app.consume(app.oneAtATime(work));
};

/** Beside its work it holds a queue that lives with its connection. */
const exclusive = async (app: App): Promise<void> => {
  await app.channel.assertQueue(`${app.topic}.own`, { exclusive: true });
  await sequential(app);
};

const MODES: Readonly<Record<string, (app: App) => Promise<void>>> = {
  sequential,
  jitter,
  'ack-first': ackFirst,
  'ack-batch': ackBatch,
  ticker,
  clock,
  rpc,
  'no-ack': noAck,
  database,
  exclusive,
};

const mode = MODES[process.env.MODE ?? 'sequential'];
if (!mode) throw new Error(`no such mode: ${process.env.MODE}`);
await start(mode);
