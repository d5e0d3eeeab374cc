/** What the workers use of two packages that are not among the development dependencies; to be removed with their arrival there. */
declare module 'rabbitmq-client' {
  import type { EventEmitter } from 'node:events';

  interface Message {
    body: unknown;
    redelivered?: boolean;
  }
  interface ConsumerProps {
    queue: string;
    qos?: { prefetchCount?: number };
    concurrency?: number;
  }
  export class Connection extends EventEmitter {
    constructor(url: string);
    createConsumer(props: ConsumerProps, handle: (message: Message) => Promise<void>): EventEmitter;
    createPublisher(props: { confirm?: boolean; maxAttempts?: number }): {
      send(envelope: { exchange: string; routingKey: string; durable?: boolean }, body: unknown): Promise<void>;
    };
  }
}

declare module 'amqp-connection-manager' {
  import type { EventEmitter } from 'node:events';
  import type { ConsumeMessage, Options } from 'amqplib';

  interface Channel extends EventEmitter {
    waitForConnect(): Promise<void>;
    publish(exchange: string, key: string, content: unknown, options?: Options.Publish): Promise<boolean>;
    consume(queue: string, take: (message: ConsumeMessage) => void, options?: { prefetch?: number }): Promise<unknown>;
    ack(message: ConsumeMessage): void;
  }
  interface Manager extends EventEmitter {
    createChannel(options?: { json?: boolean }): Channel;
  }
  export function connect(urls: string[]): Manager;
}
