/**
 * The broker as the steps see it. Each method is one operation, or a look; all may be repeated: what is there already, or gone
 * already, is as it should be.
 */
import { createHash } from 'node:crypto';

export interface Depth {
  /** Messages nobody has been handed. */
  ready: number;
  consumers: number;
}

export interface Binding {
  exchange: string;
  key: string;
}

export interface Broker {
  /** Durable, classic. */
  declareQueue(name: string): Promise<void>;
  /** Durable, fanout, nobody can publish to it. `alternate`: where that goes which it can't pass on. */
  declareExchange(name: string, alternate?: string): Promise<void>;
  /** undefined: there is no such queue. */
  depth(queue: string): Promise<Depth | undefined>;
  isQuorum(queue: string): Promise<boolean>;
  bindQueue(queue: string, from: Binding): Promise<void>;
  unbindQueue(queue: string, from: Binding): Promise<void>;
  bindExchange(exchange: string, from: Binding): Promise<void>;
  unbindExchange(exchange: string, from: Binding): Promise<void>;
  /** Digests of up to `count` messages behind the first `skip`; all stay where they are. */
  peek(queue: string, skip: number, count: number): Promise<string[]>;
  /** Takes so many messages from the head, up to a thousand in one acknowledgement. Throws if there are fewer. */
  drop(queue: string, count: number): Promise<void>;
  /** Message by message to the end of the other queue; at least once, should the broker or we die within. */
  pour(from: string, into: string): Promise<void>;
  purge(queue: string): Promise<void>;
  deleteQueue(queue: string): Promise<void>;
  deleteExchange(exchange: string): Promise<void>;
  /** Confirmed, persistent, JSON. */
  send(queue: string, message: object): Promise<void>;
  close(): Promise<void>;
}

interface Delivered {
  fields: { routingKey: string };
  properties: object;
  content: Buffer;
}

/** What the broker adds to a message that has been handed out before. */
const COUNTED = new Set(['x-delivery-count', 'x-acquired-count']);

const sorted = (value: unknown): unknown => {
  if (Buffer.isBuffer(value)) return value.toString('base64');
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => !COUNTED.has(key));
  return entries.sort(([a], [b]) => a.localeCompare(b)).map(([key, one]) => [key, sorted(one)]);
};

/** The same for both deliveries of one message, from whichever queue. Pure. */
export const digestOf = ({ fields, properties, content }: Delivered): string =>
  createHash('sha256')
    .update(JSON.stringify([fields.routingKey, sorted(properties)]))
    .update('\0')
    .update(content)
    .digest('base64');
