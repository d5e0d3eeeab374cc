/** A source after its commit: its channels stay open only to settle what its copy's app settles. */
import type { Settlement } from '../api/control.ts';
import type { Channel } from './channel.ts';
import type { Piece } from './frames.ts';
import { ARGUMENTS, encode, METHOD, readTag } from './methods.ts';
import type { Wires } from './wires.ts';

/** Once per tag: what is no longer unsettled has been done (or its channel is gone, and the broker has it back). */
export const settleFrames = (wires: Wires, items: readonly Settlement[]): void => {
  const touched = new Set<Channel>();
  for (const item of items) {
    const channel = wires.channels.get(item.channel);
    if (!channel?.deliveries.remove(item.tag)) continue;
    const tag = item.tag - channel.deliveries.offset;
    wires.injectUp(channel, encode.settle(channel.id, item.kind, tag, false, item.requeue));
    touched.add(channel);
  }
  for (const channel of touched) {
    wires.injectUp(channel, encode.flow(channel.id));
    channel.expected.push({ reply: METHOD.channelFlowOk, ours: true });
  }
};

/** A frame of the broker that no app will see; says what was lost, if anything was. */
export const silent = (wires: Wires, method: number, piece: Piece): string | undefined => {
  const channel = wires.channels.get(piece.channel);
  switch (method) {
    case METHOD.basicDeliver: {
      // Nobody has seen it, so nothing is lost by giving it back.
      const tag = readTag(piece.bytes, ARGUMENTS + 1 + piece.bytes[ARGUMENTS]!);
      wires.toBroker.inject(encode.settle(piece.channel, 'reject', tag, false, true));
      return undefined;
    }
    case METHOD.channelClose: {
      wires.toBroker.inject(encode.channelCloseOk(piece.channel));
      const count = channel?.deliveries.size ?? 0;
      channel?.dismantle();
      wires.channels.delete(piece.channel);
      return `the broker closed channel ${piece.channel} of connection ${wires.connection}; it hands out ${count} deliveries again`;
    }
    case METHOD.connectionClose: {
      wires.toBroker.inject(encode.connectionCloseOk());
      wires.closing = 'broker';
      return undefined;
    }
    default:
      if (method !== 0) (channel ?? wires.control).answer(method);
      return undefined;
  }
};
