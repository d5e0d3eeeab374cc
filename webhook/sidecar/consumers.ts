/** Requests of our own: consumers away and back. Their replies never reach the app. */
import type { Channel } from './channel.ts';
import { encode, METHOD } from './methods.ts';
import { resumedArguments } from './streams.ts';
import type { Wires } from './wires.ts';

export const request = (wires: Wires, channel: Channel, frame: Buffer, reply: number, tag?: string): void => {
  wires.injectUp(channel, frame);
  channel.expected.push(tag === undefined ? { reply, ours: true } : { reply, ours: true, tag });
};

export const qos = (wires: Wires, channel: Channel, prefetch: number, global: boolean): void =>
  request(wires, channel, encode.qos(channel.id, prefetch, global), METHOD.basicQosOk);

export const suspendConsumers = (wires: Wires, channel: Channel): void => {
  for (const consumer of channel.consumers.values()) {
    if (consumer.suspended) continue;
    consumer.suspended = true;
    request(
      wires,
      channel,
      encode.cancel(channel.id, consumer.upstreamTag),
      METHOD.basicCancelOk,
      consumer.upstreamTag,
    );
  }
};

/**
 * Each consumer with the qos it was made with: basic.qos counts for consumers made after it. `fresh`: the channel is a new
 * one, which has never heard of them.
 */
export const resumeConsumers = (wires: Wires, channel: Channel, fresh: boolean): void => {
  let inForce = channel.prefetch;
  for (const consumer of channel.consumers.values()) {
    if (!consumer.suspended) continue;
    consumer.suspended = false;
    if (consumer.prefetch !== inForce) qos(wires, channel, consumer.prefetch, false);
    inForce = consumer.prefetch;
    const tag = fresh ? consumer.tag : channel.alias(consumer.tag);
    consumer.upstreamTag = tag;
    const fields = { ...consumer, tag, arguments: resumedArguments(consumer) };
    request(wires, channel, encode.consume(channel.id, fields), METHOD.basicConsumeOk, tag);
  }
  if (inForce !== channel.prefetch) qos(wires, channel, channel.prefetch, false);
};
