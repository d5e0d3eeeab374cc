/** An AMQP client on raw frames: what the usual ones never send, and the very bytes of what comes back. */
import { once } from 'node:events';
import net from 'node:net';
import { FRAME, type Piece, Splitter } from '../../../webhook/sidecar/frames.ts';
import {
  ARGUMENTS,
  Arguments,
  encode,
  HEARTBEAT,
  METHOD,
  methodOf,
  PROTOCOL_HEADER,
  readTune,
  type Tune,
} from '../../../webhook/sidecar/methods.ts';
import {
  Assembly,
  type Content,
  content,
  long,
  longText,
  method,
  octet,
  short,
  text,
} from '../../unit/sidecar/model/frames.ts';
import { until } from './harness.ts';

export interface RawOptions {
  readonly mechanism?: string;
  readonly response?: Buffer;
  /** Answers to connection.secure, in order. */
  readonly answers?: readonly string[];
  /** What to agree to; as offered if not given. */
  readonly tune?: Partial<Tune>;
  /** Client properties: a table, with its length. */
  readonly properties?: Buffer;
}

export interface Got {
  readonly channel: number;
  readonly method: number;
  readonly bytes: Buffer;
  content?: Content;
}

/** One key of a table whose value is a table of booleans, true each. */
export const capabilities = (...names: string[]): Buffer => {
  const inner = Buffer.concat(names.flatMap((name) => [text(name), Buffer.from('t\x01', 'latin1')]));
  const outer = Buffer.concat([text('capabilities'), Buffer.from('F'), long(inner.length), inner]);
  return Buffer.concat([long(outer.length), outer]);
};

export class Raw {
  readonly socket: net.Socket;
  readonly got: Got[] = [];
  heartbeats = 0;
  offered: Tune = { channelMax: 0, frameMax: 0, heartbeat: 0 };
  tune: Tune = this.offered;
  mechanisms = '';
  ended = false;
  private readonly splitter = new Splitter();
  private readonly downs = new Map<number, { got: Got; assembly: Assembly }>();

  private constructor(socket: net.Socket) {
    this.socket = socket;
    this.splitter.maxMethod = 1 << 24;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.ended = true;
    });
    socket.on('data', (chunk: Buffer) => {
      for (const piece of this.splitter.push(chunk)) this.piece(piece);
    });
  }

  static async connect(host: string, port: number): Promise<Raw> {
    const socket = net.connect({ host, port, noDelay: true });
    await once(socket, 'connect');
    return new Raw(socket);
  }

  /** A whole handshake. A connection.close in it is left in `got`. */
  static async open(host: string, port: number, options: RawOptions = {}): Promise<Raw> {
    const raw = await Raw.connect(host, port);
    await raw.handshake(options);
    return raw;
  }

  async handshake(options: RawOptions = {}): Promise<void> {
    this.send(PROTOCOL_HEADER);
    const start = new Arguments((await this.next(METHOD.connectionStart)).bytes);
    start.short();
    start.table();
    this.mechanisms = start.table().toString('latin1', 4);
    const response = options.response ?? Buffer.from('\0guest\0guest');
    const { mechanism = 'PLAIN', properties = long(0) } = options;
    const says = [properties, text(mechanism), long(response.length), response, text('en_US')];
    this.send(method(0, METHOD.connectionStartOk, ...says));
    for (const answer of options.answers ?? []) {
      await this.next(METHOD.connectionSecure);
      this.send(method(0, METHOD.connectionSecureOk, longText(answer)));
    }
    const next = await this.nextOf([METHOD.connectionTune, METHOD.connectionClose]);
    if (next.method === METHOD.connectionClose) {
      this.got.unshift(next);
      return;
    }
    this.offered = readTune(next.bytes);
    const { channelMax, frameMax, heartbeat } = { ...this.offered, ...options.tune };
    this.tune = { channelMax, frameMax, heartbeat };
    this.send(method(0, METHOD.connectionTuneOk, short(channelMax), long(frameMax), short(heartbeat)));
    this.send(method(0, METHOD.connectionOpen, text('/'), text(''), octet(0)));
    const last = await this.nextOf([METHOD.connectionOpenOk, METHOD.connectionClose]);
    if (last.method === METHOD.connectionClose) this.got.unshift(last);
  }

  send(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** Sends a request and awaits its reply. */
  async ask(frame: Buffer, reply: number): Promise<Got> {
    this.send(frame);
    return await this.next(reply);
  }

  channel(id: number): Promise<Got> {
    return this.ask(encode.channelOpen(id), METHOD.channelOpenOk);
  }

  /** basic.publish by the default exchange. */
  publish(channel: number, key: string, body: string, mandatory = false): void {
    this.send(
      method(channel, METHOD.basicPublish, short(0), text(''), text(key), octet(mandatory ? 1 : 0)),
      ...content(channel, { correlation: '', body }, (this.tune.frameMax || 1 << 20) - 8),
    );
  }

  private piece(piece: Piece): void {
    if (piece.type === FRAME.heartbeat) {
      this.heartbeats += 1;
      this.socket.write(HEARTBEAT);
      return;
    }
    const bytes = Buffer.from(piece.bytes);
    if (piece.type === FRAME.method) {
      const got: Got = { channel: piece.channel, method: methodOf(bytes), bytes };
      const carries = [METHOD.basicDeliver, METHOD.basicGetOk, METHOD.basicReturn] as number[];
      if (carries.includes(got.method)) this.downs.set(piece.channel, { got, assembly: new Assembly(bytes) });
      else this.got.push(got);
      return;
    }
    const down = this.downs.get(piece.channel);
    if (!down) throw new Error('a content without its method');
    if (!down.assembly.add(bytes, piece.first, piece.last)) return;
    this.downs.delete(piece.channel);
    down.got.content = down.assembly.content;
    this.got.push(down.got);
  }

  next(method: number): Promise<Got> {
    return this.nextOf([method]);
  }

  /** Takes the first of these that came, or comes. */
  async nextOf(methods: readonly number[], timeoutMs = 10_000): Promise<Got> {
    const find = (): number => this.got.findIndex((each) => methods.includes(each.method));
    const names = methods.map((each) => `${each >> 16}.${each & 0xffff}`).join(' or ');
    await until(() => find() >= 0 || this.ended, timeoutMs, `${names} of ${this.got.map((each) => each.method)}`);
    const [found] = this.got.splice(find() < 0 ? this.got.length : find(), 1);
    if (!found) throw new Error(`the connection ended before ${names}`);
    return found;
  }

  /** Code and text of a close. */
  static closeOf({ bytes }: Got): { code: number; text: string } {
    const args = new Arguments(bytes);
    return { code: args.short(), text: args.shortString() };
  }

  static tagOf({ method: of, bytes }: Got): number {
    const at = of === METHOD.basicDeliver ? ARGUMENTS + 1 + bytes[ARGUMENTS]! : ARGUMENTS;
    return Number(bytes.readBigUInt64BE(at));
  }

  destroy(): void {
    this.socket.destroy();
  }
}
