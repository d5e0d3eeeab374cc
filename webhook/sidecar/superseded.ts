/**
 * The upstream half of a session whose app is served elsewhere: of a source after its commit, or the old connection after
 * an un-mute. Its channels stay open only to settle what that app settles. Pure, as the session is.
 */
import type { Settlement } from '../api/control.ts';
import type { Channel } from './channel.ts';
import { FRAME, type Outlet, type Piece, type Splitter } from './frames.ts';
import { ARGUMENTS, encode, HEARTBEAT, METHOD, methodOf, readTag } from './methods.ts';

/** What is left of a channel. */
export interface OldChannel {
  readonly id: number;
  /** Tags not settled, in the app's numbering. */
  readonly unsettled: Set<number>;
  /** By how much the app's numbering is ahead of this channel's. */
  readonly offset: number;
  /** flow-ok to come: each proves all that was said before it. */
  barriers: number;
}

/** All but the app's part of it. A channel that is not open settles nothing any more. */
export const oldChannel = ({ id, deliveries, expected }: Channel): OldChannel => ({
  id,
  unsettled: new Set(deliveries.tags()),
  offset: deliveries.offset,
  barriers: expected.filter(({ reply }) => reply === METHOD.channelFlowOk).length,
});

export class Superseded {
  readonly id: number;
  private readonly broker: string;
  private readonly channels: Map<number, OldChannel>;
  private readonly splitter: Splitter;
  private readonly toBroker: Outlet;
  private closing = false;
  private lost: string | undefined;
  /** The broker has said close-ok. */
  closed = false;

  constructor(
    { id, broker }: { readonly id: number; readonly broker: string },
    channels: readonly OldChannel[],
    stream: { readonly splitter: Splitter; readonly toBroker: Outlet },
  ) {
    this.id = id;
    this.broker = broker;
    this.channels = new Map(channels.map((channel) => [channel.id, channel]));
    this.splitter = stream.splitter;
    this.toBroker = stream.toBroker;
  }

  /** `lost`: deliveries that can't be settled any more, in words for people. */
  take(): { readonly toBroker: Buffer[]; readonly lost: string | undefined } {
    const { lost } = this;
    this.lost = undefined;
    return { toBroker: this.toBroker.take(), lost };
  }

  /** Deliveries that are not settled. */
  get outstanding(): number {
    let sum = 0;
    for (const { unsettled } of this.channels.values()) sum += unsettled.size;
    return sum;
  }

  /** A barrier is under way. */
  get settling(): boolean {
    for (const { barriers } of this.channels.values()) if (barriers > 0) return true;
    return false;
  }

  /** Once per tag (invariant 2): what is no longer unsettled has been done, or the broker has it back. */
  settle(items: readonly Settlement[]): void {
    const touched = new Set<OldChannel>();
    for (const { channel: id, tag, kind, requeue } of items) {
      const channel = this.channels.get(id);
      if (!channel?.unsettled.delete(tag)) continue;
      this.toBroker.inject(encode.settle(id, kind, tag - channel.offset, false, requeue));
      touched.add(channel);
    }
    for (const channel of touched) {
      channel.barriers += 1;
      this.toBroker.inject(encode.flow(channel.id));
    }
  }

  close(): void {
    if (this.closing) return;
    this.closing = true;
    this.toBroker.inject(encode.connectionClose());
  }

  /** Every half heartbeat interval. */
  tick(): void {
    this.toBroker.inject(HEARTBEAT);
  }

  fromBroker(chunk: Buffer): void {
    this.splitter.split(chunk, (piece) => {
      if (piece.type === FRAME.method) this.method(piece);
    });
  }

  private method(piece: Piece): void {
    const channel = this.channels.get(piece.channel);
    switch (methodOf(piece.bytes)) {
      case METHOD.channelFlowOk:
        if (channel) channel.barriers -= 1;
        return;
      case METHOD.basicDeliver: {
        // Nobody has seen it, so nothing is lost by giving it back.
        const tag = readTag(piece.bytes, ARGUMENTS + 1 + piece.bytes[ARGUMENTS]!);
        this.toBroker.inject(encode.settle(piece.channel, 'reject', tag, false, true));
        return;
      }
      case METHOD.channelClose:
        this.toBroker.inject(encode.channelCloseOk(piece.channel));
        this.lose(`the broker closed channel ${piece.channel}`, channel?.unsettled.size ?? 0);
        this.channels.delete(piece.channel);
        return;
      case METHOD.connectionClose:
        this.toBroker.inject(encode.connectionCloseOk());
        return;
      case METHOD.connectionCloseOk:
        this.closed = true;
    }
  }

  private lose(what: string, count: number): void {
    this.lost ??= `connection ${this.id} to ${this.broker}: ${what}; ${count} deliveries are handed out again`;
  }

  /** The socket is gone. */
  ended(): void {
    const { outstanding } = this;
    if (outstanding > 0) this.lose('the upstream connection is lost', outstanding);
    this.channels.clear();
  }
}
