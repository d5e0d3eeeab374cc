/** The opening of a connection, remembered byte for byte: attach repeats it with another broker connection. */
import { Arguments, METHOD, PROTOCOL_HEADER, readTune, type Tune, tuneHolds } from './methods.ts';

/** The broker's connection.close, before it was open. */
export class Refused extends Error {
  readonly code: number;
  readonly text: string;
  constructor(code: number, text: string) {
    super(`the broker refuses the connection: ${code} ${text}`);
    this.code = code;
    this.text = text;
  }
}

export class Handshake {
  /** Bytes of the protocol header the app has sent so far. */
  header: Buffer = Buffer.alloc(0);
  private startOk: Buffer | undefined;
  private readonly secureOks: Buffer[] = [];
  private tuneOk: Buffer | undefined;
  private open: Buffer | undefined;
  tune: Tune = { channelMax: 0, frameMax: 0, heartbeat: 0 };
  vhost = '';
  /** The broker said open-ok. */
  done = false;
  /** How many challenges of an attach are answered. */
  private answered = 0;

  /**
   * Takes the protocol header from the first chunks: what follows it, undefined while it is incomplete, 'other' for
   * another protocol.
   */
  takeHeader(chunk: Buffer): Buffer | undefined | 'other' {
    const missing = PROTOCOL_HEADER.length - this.header.length;
    this.header = Buffer.concat([this.header, chunk.subarray(0, missing)]);
    if (!PROTOCOL_HEADER.subarray(0, this.header.length).equals(this.header)) return 'other';
    return this.header.length < PROTOCOL_HEADER.length ? undefined : chunk.subarray(missing);
  }
  get headerTaken(): boolean {
    return this.header.length === PROTOCOL_HEADER.length;
  }
  /** The app has sent all that it sends before open-ok. */
  get asked(): boolean {
    return this.open !== undefined;
  }

  /** A method of the app on channel 0, before open-ok. */
  fromApp(method: number, bytes: Buffer): void {
    const copy = Buffer.from(bytes);
    if (method === METHOD.connectionStartOk) this.startOk = copy;
    else if (method === METHOD.connectionSecureOk) this.secureOks.push(copy);
    else if (method === METHOD.connectionTuneOk) {
      this.tuneOk = copy;
      this.tune = readTune(bytes);
    } else if (method === METHOD.connectionOpen) {
      this.open = copy;
      this.vhost = new Arguments(bytes).shortString();
    }
  }

  begin(): Buffer {
    this.answered = 0;
    return PROTOCOL_HEADER;
  }

  /**
   * What to answer to the new broker: frames to send, 'open' when it is open; throws what is wrong, in words for people.
   */
  answer(method: number, bytes: Buffer): Buffer[] | 'open' {
    const recorded = (frame: Buffer | undefined): Buffer => {
      if (!frame) throw new Error('the broker asks for more than the app once answered');
      return frame;
    };
    switch (method) {
      case METHOD.connectionStart:
        return [recorded(this.startOk)];
      case METHOD.connectionSecure:
        this.answered += 1;
        return [recorded(this.secureOks[this.answered - 1])];
      case METHOD.connectionTune:
        if (!tuneHolds(this.tune, readTune(bytes)))
          throw new Error('the broker now offers a smaller frame_max or channel_max than the app was given');
        return [recorded(this.tuneOk), recorded(this.open)];
      case METHOD.connectionOpenOk:
        return 'open';
      case METHOD.connectionClose: {
        const args = new Arguments(bytes);
        throw new Refused(args.short(), args.shortString());
      }
      default:
        throw new Error(`the broker sent method ${method >> 16}.${method & 0xffff} in the handshake`);
    }
  }
}
