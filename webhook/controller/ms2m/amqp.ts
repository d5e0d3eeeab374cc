/** The broker over AMQP 0-9-1. A channel for each operation: one that fails takes no other with it. */
import amqp, { type Channel, type ChannelModel, type GetMessage, type Options } from 'amqplib';
import { ShadowError } from '../../api/errors.ts';
import { type Broker, digestOf } from './broker.ts';

const NOT_FOUND = 404;
const PRECONDITION_FAILED = 406;
const DIAL_MS = 5_000;
/** Dropped in one acknowledgement, and so held in memory, at most. */
const DROPPED_AT_ONCE = 1_000;

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code;

const unless404 = (error: unknown): undefined => {
  if (codeOf(error) === NOT_FOUND) return undefined;
  throw error;
};

const failed = (error: unknown): ShadowError => {
  if (error instanceof ShadowError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  // A refusal by name stays one; a connection that broke can be made again.
  const refused = typeof codeOf(error) === 'number' && [403, PRECONDITION_FAILED].includes(codeOf(error) as number);
  return new ShadowError('SHADOW_E_QUEUE', detail, { cause: error, retryable: !refused });
};

/** Throws SHADOW_E_QUEUE. The URL, which holds a password, is in no text. */
export const connectBroker = async (url: string, onClose: () => void = () => undefined): Promise<Broker> => {
  let connection: ChannelModel;
  try {
    connection = await amqp.connect(url, {
      timeout: DIAL_MS,
      clientProperties: { connection_name: 'shadow-controller' },
    });
  } catch (error) {
    throw failed(error);
  }
  // What breaks is told by the call that was under way, or by the next one.
  connection.on('error', () => undefined);
  connection.once('close', onClose);

  const on = async <T>(work: (channel: Channel) => Promise<T>): Promise<T> => {
    let channel: Channel | undefined;
    try {
      channel = await connection.createChannel();
      channel.on('error', () => undefined);
      return await work(channel);
    } catch (error) {
      throw codeOf(error) === NOT_FOUND ? error : failed(error);
    } finally {
      // One that the broker has closed throws.
      await Promise.resolve(channel)
        .then((open) => open?.close())
        .catch(() => undefined);
    }
  };
  const done = (work: (channel: Channel) => Promise<unknown>): Promise<void> =>
    on(work).then(() => undefined, unless404);
  /** Its absence is an error. */
  const must = (work: (channel: Channel) => Promise<unknown>): Promise<void> =>
    on(work).then(
      () => undefined,
      (error: unknown) => {
        throw failed(error);
      },
    );

  /** The acknowledgement has reached the queue when the queue answers to what is asked after it. */
  const take = (queue: string, count: number): Promise<void> =>
    must(async (channel) => {
      let last: GetMessage | undefined;
      for (let taken = 0; taken < count; taken++) {
        const message = await channel.get(queue, { noAck: false });
        if (message === false) throw new ShadowError('SHADOW_E_QUEUE', `${queue} has fewer than ${count} messages`);
        last = message;
      }
      if (last !== undefined) channel.ack(last, true);
      await channel.checkQueue(queue);
    });

  return {
    declareQueue: (name) => must((channel) => channel.assertQueue(name, { durable: true })),
    declareExchange: (name, alternate) =>
      must((channel) =>
        channel.assertExchange(name, 'fanout', {
          durable: true,
          internal: true,
          ...(alternate === undefined ? {} : { alternateExchange: alternate }),
        }),
      ),
    depth: (queue) =>
      on(async (channel) => {
        const { messageCount, consumerCount } = await channel.checkQueue(queue);
        return { ready: messageCount, consumers: consumerCount };
      }).catch(unless404),
    // The broker compares what is declared with what is there, and refuses what differs.
    isQuorum: (queue) =>
      on(async (channel) => {
        await channel.checkQueue(queue);
        await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
        return true;
      }).catch((error: unknown) => {
        if (codeOf(error) === NOT_FOUND || codeOf((error as Error).cause) === PRECONDITION_FAILED) return false;
        throw error;
      }),
    bindQueue: (queue, { exchange, key }) => must((channel) => channel.bindQueue(queue, exchange, key)),
    unbindQueue: (queue, { exchange, key }) => done((channel) => channel.unbindQueue(queue, exchange, key)),
    bindExchange: (destination, { exchange, key }) =>
      must((channel) => channel.bindExchange(destination, exchange, key)),
    unbindExchange: (destination, { exchange, key }) =>
      done((channel) => channel.unbindExchange(destination, exchange, key)),
    peek: (queue, skip, count) =>
      on(async (channel) => {
        const digests: string[] = [];
        for (let seen = 0; seen < skip + count; seen++) {
          const message = await channel.get(queue, { noAck: false });
          if (message === false) break;
          if (seen >= skip) digests.push(digestOf(message));
        }
        channel.nackAll(true);
        await channel.checkQueue(queue);
        return digests;
      }),
    drop: async (queue, count) => {
      for (let left = count; left > 0; left -= DROPPED_AT_ONCE) await take(queue, Math.min(left, DROPPED_AT_ONCE));
    },
    pour: async (from, into) => {
      try {
        const channel = await connection.createConfirmChannel();
        channel.on('error', () => undefined);
        for (let message = await channel.get(from, {}); message !== false; message = await channel.get(from, {})) {
          channel.sendToQueue(into, message.content, message.properties as Options.Publish);
          await channel.waitForConfirms();
          channel.ack(message);
        }
        await channel.close();
      } catch (error) {
        throw failed(error);
      }
    },
    purge: (queue) => done((channel) => channel.purgeQueue(queue)),
    deleteQueue: (queue) => done((channel) => channel.deleteQueue(queue)),
    deleteExchange: (exchange) => done((channel) => channel.deleteExchange(exchange)),
    send: async (queue, message) => {
      try {
        const channel = await connection.createConfirmChannel();
        channel.on('error', () => undefined);
        const options = { persistent: true, contentType: 'application/json' };
        channel.sendToQueue(queue, Buffer.from(JSON.stringify(message)), options);
        await channel.waitForConfirms();
        await channel.close();
      } catch (error) {
        throw failed(error);
      }
    },
    close: () => connection.close().catch(() => undefined),
  };
};
