/** What the controller is told of sessions, and what of them can't be handed over exactly. */
import type { SessionReport } from '../api/control.ts';
import type { Channel, Consumer } from './channel.ts';
import { movingPlace } from './streams.ts';
import type { Wires } from './wires.ts';

export type ConnectionReport = SessionReport['connections'][number];
type ChannelReport = ConnectionReport['channels'][number];

export const REPLY_TO = 'amq.rabbitmq.reply-to';

const channelReport = (channel: Channel): ChannelReport => ({
  channel: channel.id,
  consumers: [...channel.consumers.values()].map(({ tag, queue, noAck, exclusive }) => ({
    tag,
    queue,
    noAck,
    exclusive,
  })),
  unsettled: channel.deliveries.size,
  confirm: channel.confirm,
});

export const connectionReport = (id: number, broker: string, vhost: string, wires: Wires): ConnectionReport => ({
  id,
  broker,
  vhost,
  channels: [...wires.channels.values()].map(channelReport),
});

/** Queue → what lives with a connection that has declared it. */
export type Traits = ReadonlyMap<string, readonly string[]>;

/** What all connections to one virtual host have declared: who consumes need not be who declared. */
export const declaredBy = (all: readonly Wires[]): Traits => new Map(all.flatMap(({ queues }) => [...queues]));

/** A queue that the broker named, declared by a connection of which nothing is known. */
export const isForeignServerNamed = (queue: string, declared: Traits): boolean =>
  queue.startsWith('amq.gen-') && !declared.has(queue);

const consumerHazards = (consumer: Consumer, wires: Wires, declared: Traits): string[] => {
  const queue = `queue ${consumer.queue}`;
  const hazards: string[] = [];
  if (consumer.queue.startsWith(REPLY_TO)) return [`consumes ${REPLY_TO}`];
  if (consumer.exclusive) hazards.push(`exclusive consumer on ${queue}`);
  for (const trait of declared.get(consumer.queue) ?? [])
    if (trait !== 'exclusive') hazards.push(`consumes ${queue}, which is ${trait}`);
  const moving = movingPlace(consumer, wires.queueTypes.get(consumer.queue) === 'stream');
  if (moving !== undefined) hazards.push(`consumes ${queue} from '${moving}' on, and has had nothing of it yet`);
  if (isForeignServerNamed(consumer.queue, declared)) hazards.push(`consumes ${queue}, which is server-named`);
  return hazards;
};

/** `spoken`: of a connection that is relayed blind, what it does. */
export const hazardsOf = (id: number, spoken: string | undefined, wires: Wires, declared: Traits): string[] => {
  if (spoken !== undefined) return [`connection ${id}: ${spoken}`];
  const hazards: string[] = [];
  if (wires.renewedSecret) hazards.push(`connection ${id}: renewed its secret, so its handshake can't be repeated`);
  for (const [queue, traits] of wires.queues)
    if (traits.includes('exclusive')) hazards.push(`connection ${id}: declared queue ${queue}, which is exclusive`);
  for (const channel of wires.channels.values()) {
    const found = [...channel.consumers.values()].flatMap((each) => consumerHazards(each, wires, declared));
    if (channel.transactional) found.push('uses transactions');
    hazards.push(...found.map((text) => `connection ${id}, channel ${channel.id}: ${text}`));
  }
  return hazards;
};

/** A session as far as it can tell of itself. */
export interface Reporting {
  readonly handshake: { readonly vhost: string };
  readonly wires: Wires;
  report(): ConnectionReport;
  hazards(declared: Traits): string[];
}

/** `blind`: of what is not read. `gone`: counts of connections that are. */
export const podReport = (
  sessions: readonly Reporting[],
  blind: readonly string[],
  gone: { readonly delivered: number; readonly published: number },
): SessionReport => {
  const { delivered, published } = gone;
  const report: SessionReport = { connections: [], hazards: [...blind], delivered, published };
  const declared = new Map<string, Traits>();
  for (const [vhost, group] of Map.groupBy(sessions, ({ handshake }) => handshake.vhost))
    declared.set(vhost, declaredBy(group.map(({ wires }) => wires)));
  for (const session of sessions) {
    report.delivered += session.wires.delivered;
    report.published += session.wires.published;
    report.hazards.push(...session.hazards(declared.get(session.handshake.vhost)!));
    report.connections.push(session.report());
  }
  return report;
};
