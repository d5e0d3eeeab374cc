/**
 * Makes the record: one order for the whole pod, the order in which things took effect in the source's sessions. A copy's
 * sessions, fed the same from the same cut on, become the same. Pure: what it says goes into a byte stream.
 */
import type { Channel } from '../channel.ts';
import { FRAME, type Piece } from '../frames.ts';
import { ARGUMENTS, METHOD, methodOf, readTag, type Settle } from '../methods.ts';
import type { Tap } from '../tap.ts';
import { progress } from '../wires.ts';
import { PublishDigest, requestDigest } from './content.ts';
import { type Entry, lags, sizeOf, writeEntry } from './entries.ts';
import { Memory } from './memory.ts';
import { KEPT_BYTES, RecordStream } from './stream.ts';

export class Recorder {
  readonly stream = new RecordStream();
  entries = 0;
  /** Those that count as lag of a copy. */
  owed = 0;
  /** Deliveries among them, how many of those the app has been handed, and how many it has settled. */
  deliveries = 0;
  handed = 0;
  settled = 0;
  ended = false;
  /** Why it can't be played, in words for people. */
  lost: string | undefined;
  private readonly keep: number;

  /** `keep`: most bytes kept for a copy that does not take them. */
  constructor(keep = KEPT_BYTES) {
    this.keep = keep;
  }

  /** What one session is to be tapped with. */
  tap(connection: number): Tap {
    return new SessionRecorder(this, connection);
  }

  add(entry: Entry): void {
    if (this.ended || this.lost !== undefined) return;
    const { stream } = this;
    const size = sizeOf(entry);
    const at = stream.room(size);
    writeEntry(entry, size, stream.target, at);
    this.entries += 1;
    if (lags(entry)) this.owed += 1;
    if (stream.kept > this.keep) this.lose(`more than ${this.keep >> 20} MiB wait for the copy`);
  }

  lose(why: string): void {
    this.lost ??= why;
  }

  /** The source is mute: nothing follows. */
  end(): void {
    this.add({ kind: 'end', entries: this.entries });
    this.ended = true;
  }
}

/** The publishes of one channel, one after the other. */
interface Upload {
  seq: number;
  readonly digest: PublishDigest;
  /** Of the one under way. */
  content: { left: number | undefined } | undefined;
}
const UNIT_BYTES = 4 << 10;
/** One that is larger is not kept for the next. */
const KEPT_UNIT_BYTES = 256 << 10;

interface Download {
  /** Its raw bytes so far. */
  readonly unit: Memory;
  readonly content: { left: number | undefined };
  /** Of a delivery; 0: it is none. */
  readonly tag: number;
  readonly delivery: boolean;
  /** What the app has settled meanwhile. */
  readonly settled: Entry[];
}

const BEGINS_CONTENT: readonly number[] = [METHOD.basicDeliver, METHOD.basicGetOk, METHOD.basicReturn];
/** Nothing a mute source may be told matters to its copy but what takes a delivery or a channel from it. */
const AFTER_END: readonly number[] = [METHOD.connectionBlocked, METHOD.connectionUnblocked, METHOD.basicCancel];

class SessionRecorder implements Tap {
  private readonly recorder: Recorder;
  private readonly connection: number;
  private readonly uploads = new Map<number, Upload>();
  private readonly downloads = new Map<number, Download>();
  private spare: Memory | undefined;

  constructor(recorder: Recorder, connection: number) {
    this.recorder = recorder;
    this.connection = connection;
  }

  // ---- the app

  publish({ id }: Channel, method: Buffer, seq: number): void {
    const known = this.uploads.get(id);
    if (!known) {
      this.uploads.set(id, { seq, digest: new PublishDigest(method), content: { left: undefined } });
      return;
    }
    known.seq = seq;
    known.digest.begin(method);
    known.content = { left: undefined };
  }

  content({ id }: Channel, piece: Piece): void {
    const upload = this.uploads.get(id);
    if (!upload?.content) return;
    upload.digest.add(piece);
    if (!progress(upload.content, piece)) return;
    upload.content = undefined;
    const { connection } = this;
    const { exchange, key, mandatory } = upload.digest.address;
    const { digest, body, correlation } = upload.digest.done();
    const { seq } = upload;
    this.recorder.add({
      kind: 'publish',
      connection,
      channel: id,
      seq,
      exchange,
      key,
      mandatory,
      digest,
      body,
      correlation,
    });
  }

  settled({ id }: Channel, tags: readonly number[], { kind: how, requeue }: Settle, all: boolean): void {
    const download = this.downloads.get(id);
    // It may settle the very delivery that is under way: that is an entry only when it is whole, and comes first.
    const waits = download !== undefined && (download.settled.length > 0 || tags.includes(download.tag));
    this.recorder.settled += tags.length;
    for (const tag of all ? [0, ...tags] : tags) {
      const entry: Entry = { kind: 'settle', connection: this.connection, channel: id, tag, how, requeue, all };
      if (waits) download.settled.push(entry);
      else this.recorder.add(entry);
    }
  }

  request(channel: number, method: Buffer): void {
    const unsaid = this.downloads.get(channel)?.settled.length ?? 0;
    if (unsaid > 0 && methodOf(method) === METHOD.channelClose)
      this.recorder.lose('a channel was closed that had settled what was half delivered');
    const { connection } = this;
    const digest = requestDigest(method);
    this.recorder.add({ kind: 'request', connection, channel, method: methodOf(method), digest });
  }

  // ---- the broker

  fromBroker(piece: Piece, channel: Channel | undefined): void {
    if (piece.type === FRAME.heartbeat) return;
    if (piece.type !== FRAME.method) {
      this.download(piece, channel);
      return;
    }
    const { method } = piece;
    if (this.ofOurs(method, piece, channel)) return;
    if (method === METHOD.connectionClose) this.recorder.lose('the broker closed a connection');
    if (this.recorder.ended && !AFTER_END.includes(method))
      this.recorder.lose('the broker sent something after the end');
    if (!BEGINS_CONTENT.includes(method)) {
      this.down(piece.channel, false, piece.bytes);
      return;
    }
    const unit = this.spare ?? new Memory(UNIT_BYTES);
    this.spare = undefined;
    unit.used = 0;
    unit.append(piece.chunk, piece.start, piece.end);
    this.downloads.set(piece.channel, {
      unit,
      content: { left: undefined },
      tag: method === METHOD.basicReturn ? 0 : tagOf(method, piece.bytes) + (channel?.deliveries.offset ?? 0),
      delivery: method === METHOD.basicDeliver,
      settled: [],
    });
  }

  /** Outcomes are entries of their own; replies to our own requests are nobody's. */
  private ofOurs(method: number, piece: Piece, channel: Channel | undefined): boolean {
    if (piece.channel === 0 || !channel) return false;
    return method === METHOD.basicAck || method === METHOD.basicNack || channel.owesUs(method, piece.bytes);
  }

  private download(piece: Piece, channel: Channel | undefined): void {
    const download = this.downloads.get(piece.channel);
    if (!download) {
      this.recorder.lose('a content without its method');
      return;
    }
    download.unit.append(piece.chunk, piece.start, piece.end);
    if (!progress(download.content, piece)) return;
    this.downloads.delete(piece.channel);
    const withheld = channel?.filling !== undefined;
    if (download.delivery) {
      this.recorder.deliveries += 1;
      if (!withheld) this.recorder.handed += 1;
    }
    this.down(piece.channel, withheld, download.unit.bytes);
    if (download.unit.all.length <= KEPT_UNIT_BYTES) this.spare = download.unit;
    for (const entry of download.settled) this.recorder.add(entry);
  }

  /** The bytes are copied at once. */
  private down(channel: number, withheld: boolean, bytes: Buffer): void {
    this.recorder.add({ kind: 'down', connection: this.connection, channel, withheld, bytes });
  }

  outcome({ id }: Channel, seqs: readonly number[], ack: boolean): void {
    const { connection } = this;
    for (const seq of seqs) this.recorder.add({ kind: 'outcome', connection, channel: id, seq, ack });
  }

  shown({ id }: Channel, tag: number): void {
    this.recorder.handed += 1;
    this.recorder.add({ kind: 'shown', connection: this.connection, channel: id, tag });
  }
}

/** The upstream channel's tag in basic.deliver or basic.get-ok. */
const tagOf = (method: number, bytes: Buffer): number =>
  readTag(bytes, method === METHOD.basicDeliver ? ARGUMENTS + 1 + bytes[ARGUMENTS]! : ARGUMENTS);
