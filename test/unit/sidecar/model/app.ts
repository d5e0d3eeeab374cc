/**
 * A small AMQP app on raw frames, a plain object that can be forked. It takes numbers from `in`, keeps a state by them, and says
 * what it makes of each; the order in which its handlers end is up to whoever steps it.
 */
import { FRAME, type Piece, Splitter } from '../../../../webhook/sidecar/frames.ts';
import { encode, METHOD, methodOf, PROTOCOL_HEADER, readTag } from '../../../../webhook/sidecar/methods.ts';
import { Assembly, content, long, longText, method, octet, short, text } from './frames.ts';

export interface AppOptions {
  readonly prefetch: number;
  /** each: one by one. every: so many at once. all: ack(0, multiple) now and then, by count. */
  readonly ack: 'each' | 'every' | 'all';
  readonly batch: number;
  /** How many of those that may end next are looked at. */
  readonly jitter: number;
  readonly confirm: boolean;
  /** Calls somebody within the handler. */
  readonly calls: boolean;
  /** Publishes to its own queue; to nobody (mandatory); refuses first: every so many-th. 0: never. */
  readonly echo: number;
  readonly lost: number;
  readonly nack: number;
  /** Asks for a message by basic.get after so many. */
  readonly get: number;
  /** Opens and closes a channel of its own for each so many-th message. */
  readonly channel: number;
  /** Settles a message only when its output is confirmed. */
  readonly safe?: boolean;
  /** Before the names of all queues. */
  readonly prefix?: string;
  /** Part of every output: an app that does otherwise than its copy. */
  flavour?: string;
}

export interface Handling {
  readonly tag: number;
  readonly body: string;
  readonly redelivered: boolean;
  /** Of its call. */
  call: 'none' | 'asked' | 'answered';
}

const IN = 1;
const OUT = 2;
const EXTRA = 3;

export class ModelApp {
  readonly out: Buffer[] = [];
  /** Bodies in the order they came. */
  readonly seen: string[] = [];
  readonly done: string[] = [];
  readonly returned: string[] = [];
  readonly acked: number[] = [];
  readonly nacked: number[] = [];
  published = 0;
  /** What it has published, by number. */
  readonly sent: string[] = [];
  /** What it has become by what it saw. */
  state = 0;
  readonly options: AppOptions;
  private readonly splitter = new Splitter();
  private readonly downs = new Map<number, Assembly>();
  private handling: Handling[] = [];
  private held: number[] = [];
  private extra: 'none' | 'opening' | 'open' | 'closing' = 'none';
  private extras: string[] = [];
  readonly extrasSent: string[] = [];
  /** Tags of its consumer that it has not settled, and most of them at once. */
  private readonly unsettled = new Set<number>();
  most = 0;
  /** Messages that wait for the confirm of an output, by its number. */
  private readonly unsafe = new Map<number, Handling>();
  ready = 0;

  constructor(options: AppOptions) {
    this.options = options;
  }

  open(): void {
    this.say(PROTOCOL_HEADER);
  }

  private say(...frames: Buffer[]): void {
    this.out.push(...frames);
  }

  receive(bytes: Buffer): void {
    for (const piece of this.splitter.push(bytes)) this.piece(piece);
  }

  private piece(piece: Piece): void {
    if (piece.type === FRAME.heartbeat) return;
    if (piece.type !== FRAME.method) {
      const down = this.downs.get(piece.channel);
      if (!down) throw new Error('a content without its method');
      if (down.add(Buffer.from(piece.bytes), piece.first, piece.last)) this.content(piece.channel, down);
      return;
    }
    const bytes = Buffer.from(piece.bytes);
    const id = methodOf(bytes);
    if (this.downs.has(piece.channel)) throw new Error('a method within a content');
    if (id === METHOD.basicDeliver || id === METHOD.basicReturn || id === METHOD.basicGetOk)
      this.downs.set(piece.channel, new Assembly(bytes));
    else this.method(piece.channel, id, bytes);
  }

  private method(channel: number, id: number, bytes: Buffer): void {
    const { prefetch, confirm } = this.options;
    switch (id) {
      case METHOD.connectionStart:
        this.say(
          method(0, METHOD.connectionStartOk, long(0), text('PLAIN'), longText('\0guest\0guest'), text('en_US')),
        );
        return;
      case METHOD.connectionTune:
        this.say(
          method(0, METHOD.connectionTuneOk, short(2047), long(131072), short(60)),
          method(0, METHOD.connectionOpen, text('/'), text(''), octet(0)),
        );
        return;
      case METHOD.connectionOpenOk:
        this.say(encode.channelOpen(IN), encode.qos(IN, prefetch, false), this.consume('in'));
        this.say(encode.channelOpen(OUT));
        if (this.options.calls) this.say(this.consume('replies', OUT));
        if (confirm) this.say(encode.confirmSelect(OUT));
        return;
      case METHOD.channelOpenOk:
        if (channel === EXTRA) {
          this.extra = 'open';
          this.useExtra();
        }
        return;
      case METHOD.channelCloseOk:
        if (this.extra !== 'closing') throw new Error('close-ok to no close');
        this.extra = 'none';
        if (this.extras.length > 0) this.openExtra();
        return;
      case METHOD.basicQosOk:
      case METHOD.confirmSelectOk:
      case METHOD.basicGetEmpty:
        return;
      case METHOD.basicConsumeOk:
        this.ready += 1;
        return;
      case METHOD.basicAck:
      case METHOD.basicNack:
        this.outcome(id === METHOD.basicAck, readTag(bytes, 11), (bytes[19]! & 1) !== 0);
        return;
      default:
        throw new Error(`the app is sent ${id >> 16}.${id & 0xffff} on channel ${channel}`);
    }
  }

  private consume(queue: string, channel = IN): Buffer {
    return encode.consume(channel, {
      tag: queue,
      queue: this.name(queue),
      noLocal: false,
      noAck: queue === 'replies',
      exclusive: false,
      arguments: Buffer.alloc(4),
    });
  }

  private name(queue: string): string {
    return `${this.options.prefix ?? ''}${queue}`;
  }

  private outcome(ack: boolean, seq: number, multiple: boolean): void {
    const list = ack ? this.acked : this.nacked;
    const known = (each: number): boolean => this.acked.includes(each) || this.nacked.includes(each);
    if (seq > this.published) throw new Error(`the outcome of publish ${seq}, of ${this.published}`);
    if (known(seq)) throw new Error(`publish ${seq} was told twice`);
    for (let each = multiple ? 1 : seq; each <= seq; each++) {
      if (known(each)) continue;
      list.push(each);
      const safe = this.unsafe.get(each);
      this.unsafe.delete(each);
      if (safe) this.ack(safe.tag, safe.body);
    }
  }

  private content(channel: number, down: Assembly): void {
    this.downs.delete(channel);
    const { body, correlation } = down.content;
    const id = methodOf(down.method);
    if (id === METHOD.basicReturn) {
      const said = this.sent.filter((each) => each === `nowhere ${body}`).length;
      if (this.returned.filter((each) => each === body).length >= said) throw new Error(`${body} back before it went`);
      this.returned.push(body);
      return;
    }
    if (channel === OUT) {
      const call = this.handling.find((each) => each.call === 'asked' && each.body === correlation);
      if (!call) throw new Error(`an answer to ${correlation}, which was not asked`);
      call.call = 'answered';
      return;
    }
    const at = id === METHOD.basicDeliver ? 12 + down.method[11]! : 11;
    const tag = readTag(down.method, at);
    this.seen.push(body);
    this.state = (Math.imul(this.state, 31) + Buffer.from(body).reduce((sum, each) => sum * 7 + each, 1)) | 0;
    if (body.startsWith('e') && !this.sent.includes(`echo ${body}`)) throw new Error(`${body} before it was said`);
    this.handling.push({ tag, body, redelivered: down.method[at + 8] === 1, call: 'none' });
    if (id !== METHOD.basicDeliver) return;
    this.unsettled.add(tag);
    this.most = Math.max(this.most, this.unsettled.size);
  }

  private settled(upTo: number, multiple: boolean): void {
    for (const tag of this.unsettled)
      if (multiple ? upTo === 0 || tag <= upTo : tag === upTo) this.unsettled.delete(tag);
  }

  private publish(key: string, body: string, correlation = '', mandatory = false): void {
    this.published += 1;
    this.sent[this.published] = `${key} ${body}`;
    this.say(
      method(OUT, METHOD.basicPublish, short(0), text(''), text(this.name(key)), octet(mandatory ? 1 : 0)),
      ...content(OUT, { correlation, body }),
    );
  }

  /** Ends one of the handlers that may end; false: none may. */
  step(random: () => number): boolean {
    const { able } = this;
    const next = able[Math.floor(random() * able.length)];
    if (!next) return false;
    if (this.options.calls && next.call === 'none') {
      next.call = 'asked';
      this.publish('rpc', `call ${next.body}`, next.body);
      return true;
    }
    this.handling = this.handling.filter((each) => each !== next);
    this.finish(next);
    return true;
  }

  get able(): readonly Handling[] {
    return this.handling.slice(0, this.options.jitter).filter(({ call }) => call !== 'asked');
  }

  private finish({ tag, body, redelivered }: Handling): void {
    const { echo, lost, nack, get, channel } = this.options;
    const n = Number(body.replace(/\D/g, ''));
    const nth = (every: number): boolean => every > 0 && n % every === 0;
    if (nth(nack) && !redelivered && this.options.ack !== 'all') {
      this.settled(tag, false);
      this.say(encode.settle(IN, 'nack', tag, false, true));
      return;
    }
    this.done.push(body);
    this.publish('out', `${body}${this.options.flavour ?? ''}`);
    const output = this.published;
    if (nth(lost)) this.publish('nowhere', body, '', true);
    if (nth(echo) && !body.startsWith('e')) this.publish('echo', `e${body}`);
    if (nth(channel)) this.openExtra(body);
    if (this.options.safe) this.unsafe.set(output, { tag, body, redelivered, call: 'none' });
    else this.ack(tag, body);
    if (nth(get)) this.say(method(IN, METHOD.basicGet, short(0), text(this.name('more')), octet(0)));
  }

  private openExtra(body?: string): void {
    if (body !== undefined) this.extras.push(body);
    if (this.extra !== 'none') return;
    this.extra = 'opening';
    this.say(encode.channelOpen(EXTRA));
  }

  private useExtra(): void {
    const body = this.extras.shift() ?? '';
    this.extrasSent.push(body);
    this.say(
      method(EXTRA, METHOD.basicPublish, short(0), text(''), text(this.name('extra')), octet(0)),
      ...content(EXTRA, { correlation: '', body }),
      method(EXTRA, METHOD.channelClose, short(200), text('done'), short(0), short(0)),
    );
    this.extra = 'closing';
  }

  private ack(tag: number, body: string): void {
    const { ack, batch } = this.options;
    this.held.push(tag);
    if (ack === 'each') {
      this.held = [];
      this.settled(tag, false);
      this.say(encode.settle(IN, Number(body.replace(/\D/g, '')) % 3 === 0 ? 'reject' : 'ack', tag, false, false));
    } else if (this.held.length >= batch) this.flush();
  }

  /** Settles what it has done. */
  flush(): void {
    if (this.options.ack === 'all') {
      this.flushAll();
      return;
    }
    // Only what all before is done may be settled with it.
    const unfinished = [...this.handling, ...this.unsafe.values()];
    const open = Math.min(...unfinished.map((each) => each.tag), Number.POSITIVE_INFINITY);
    const settled = this.held.filter((each) => each < open);
    const highest = Math.max(...settled);
    if (settled.length === 0) return;
    this.held = this.held.filter((each) => each > open);
    this.settled(highest, true);
    this.say(encode.settle(IN, 'ack', highest, true, false));
  }

  /** Settles all there is, seen or not. */
  private flushAll(): void {
    this.held = [];
    this.settled(0, true);
    this.say(encode.settle(IN, 'ack', 0, true, false));
  }

  get idle(): boolean {
    return this.handling.length === 0 && this.unsafe.size === 0;
  }
}
