/**
 * A consumer that follows the control protocol of docs/ms2m.md, to be moved without the sidecar: JSON `{type, payload: {queue}}`
 * on the durable queue `ms2m.control.<hostname of the pod>` says where it consumes. What it leaves it has worked off or returned.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import amqp, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';

export const controlQueue = (pod: string): string => `ms2m.control.${pod}`;

/** The queue to consume from, by a control message. undefined: it is none of ours. Pure. */
export const turnOf = (body: string, own: string): string | undefined => {
  let message: { type?: unknown; payload?: { queue?: unknown } | null } | null;
  try {
    message = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (message?.type === 'END_REPLAY') return own;
  const queue = message?.type === 'START_REPLAY' ? message.payload?.queue : undefined;
  return typeof queue === 'string' && queue !== '' ? queue : undefined;
};

/** What a copy remembers of its source. */
export interface Ms2mMemory {
  /** It was told to consume from. */
  queue: string;
}

export interface Ms2mOptions {
  url: string;
  /** Its own. */
  queue: string;
  prefetch: number;
  /** Work a message, milliseconds. */
  workMs: number;
  /** From the loss of a connection to the next. */
  reconnectMs: number;
  /** Asked anew for each connection: a copy has another one. */
  pod(): string;
  /** Whatever must be there before it consumes, once a connection. */
  declare(channel: Channel): Promise<unknown>;
  /** A message is worked off. Called in one turn with its ack, so that a checkpoint has both or none. */
  apply(message: ConsumeMessage, channel: Channel): void;
  log?(line: string): void;
}

export class Ms2mApp {
  readonly memory: Ms2mMemory;
  /** So far. */
  connections = 0;
  readonly #options: Ms2mOptions;
  #connection: ChannelModel | undefined;
  #stopped = false;
  /** Called when it has been told another queue. */
  #turn: () => void = () => undefined;

  constructor(options: Ms2mOptions, memory: Ms2mMemory = { queue: options.queue }) {
    this.#options = options;
    this.memory = memory;
  }

  /** Until it is killed. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      await this.#serve().catch((error: Error) => this.#log(`connection lost: ${error.message}`));
      if (!this.#stopped) await sleep(this.#options.reconnectMs);
    }
  }

  /** As a process that is killed. */
  kill(): void {
    this.#stopped = true;
    this.drop();
  }

  /** The connection is lost. */
  drop(): void {
    (this.#connection as unknown as { connection: { stream: { destroy(): void } } })?.connection.stream.destroy();
  }

  #log(line: string): void {
    this.#options.log?.(line);
  }

  /** Resolves when the connection is gone. */
  async #serve(): Promise<void> {
    const connection = await amqp.connect(this.#options.url, { timeout: 5_000, noDelay: true });
    connection.on('error', (error: Error) => this.#log(error.message));
    this.#connection = connection;
    if (this.#stopped) return this.drop();
    this.connections += 1;
    let open = true;
    const gone = new Promise<void>((resolve) => connection.once('close', resolve)).then(() => {
      open = false;
    });
    try {
      const channel = await this.#open(connection);
      while (open && !this.#stopped) {
        const { queue } = this.memory;
        const leave = await this.#consume(channel, queue);
        this.#log(`consuming ${queue}`);
        while (open && this.memory.queue === queue)
          await Promise.race([gone, new Promise<void>((resolve) => (this.#turn = resolve))]);
        if (open) await leave();
      }
    } finally {
      await connection.close().catch(() => undefined);
    }
  }

  /** A copy must not consume beside its source: what it was told comes before what it consumes. */
  async #open(connection: ChannelModel): Promise<Channel> {
    const { prefetch, pod, declare } = this.#options;
    const commands = await this.#channelOf(connection);
    const control = controlQueue(pod());
    await commands.assertQueue(control, { durable: true });
    for (let told = await commands.get(control); told; told = await commands.get(control)) this.#obey(commands, told);
    await commands.consume(control, (told) => told && this.#obey(commands, told));
    const channel = await this.#channelOf(connection);
    await declare(channel);
    await channel.prefetch(prefetch);
    return channel;
  }

  /** Without one of its channels a connection is of no use. */
  async #channelOf(connection: ChannelModel): Promise<Channel> {
    const channel = await connection.createChannel();
    channel.on('error', (error: Error) => this.#log(error.message));
    channel.on('close', () => connection.close().catch(() => undefined));
    return channel;
  }

  #obey(commands: Channel, told: amqp.Message): void {
    const queue = turnOf(told.content.toString(), this.#options.queue);
    if (queue === undefined) this.#log(`unknown control message: ${told.content}`);
    else this.memory.queue = queue;
    commands.ack(told);
    this.#turn();
  }

  /** Returns what ends it: the message under way is worked off, the rest returned. */
  async #consume(channel: Channel, queue: string): Promise<() => Promise<void>> {
    const waiting: ConsumeMessage[] = [];
    let working: Promise<void> | undefined;
    let leaving = false;
    const work = async (): Promise<void> => {
      for (let message = waiting.shift(); message && !leaving; message = waiting.shift()) {
        await sleep(this.#options.workMs);
        if (this.#stopped) return;
        this.#options.apply(message, channel);
        channel.ack(message);
      }
      working = undefined;
    };
    const { consumerTag } = await channel.consume(queue, (message) => {
      if (message === null) return;
      waiting.push(message);
      working ??= work().catch((error: Error) => this.#log(error.message));
    });
    return async () => {
      leaving = true;
      await channel.cancel(consumerTag);
      await working;
      channel.nackAll(true);
    };
  }
}
