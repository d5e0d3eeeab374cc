/**
 * The record's direct way, sidecar to sidecar: TLS 1.3, each side trusting the other's very certificate and no other. Messages
 * are u32 length, u8 kind, then JSON (wanted), or u48 offset and raw bytes (recorded).
 */
import { X509Certificate } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { type DirectLink, type LinkTls, RECORD_CHUNK, Wanted } from '../../api/control.ts';
import type { Chunk } from './stream.ts';

const WANTED = 1;
const RECORDED = 2;
const HEAD = 5;
const OFFSET = 6;
const MAX_BYTES = HEAD + OFFSET + RECORD_CHUNK;

export interface LinkEvents {
  wanted(message: Wanted, link: Link): void;
  recorded(chunk: Chunk, link: Link): void;
  /** The socket has room again. */
  drained(link: Link): void;
  closed(link: Link): void;
}

/** Memory of messages kept to be written into again. */
const SPARE = 4;

const headed = (message: Buffer, kind: number): Buffer => {
  message.writeUInt32BE(message.length - 4);
  message[4] = kind;
  return message;
};

export class Link {
  private readonly socket: TLSSocket;
  private readonly events: LinkEvents;
  /** What has come of the next messages, and how much of it there must be to go on. */
  private pieces: Buffer[] = [];
  private length = 0;
  private needed = HEAD;
  /** Of the message that is made now; and what may be used for the next ones. */
  private memory: Buffer | undefined;
  private readonly spare: Buffer[] = [];

  constructor(socket: TLSSocket, events: LinkEvents) {
    this.socket = socket;
    this.events = events;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 1000);
    socket.on('data', (chunk: Buffer) => this.read(chunk));
    socket.on('drain', () => events.drained(this));
    socket.on('error', () => undefined);
    socket.on('close', () => events.closed(this));
  }

  get congested(): boolean {
    return this.socket.writableNeedDrain;
  }

  wanted(wanted: Wanted): void {
    const payload = Buffer.from(JSON.stringify(wanted));
    const message = Buffer.allocUnsafe(HEAD + payload.length);
    payload.copy(message, HEAD);
    this.socket.write(headed(message, WANTED));
  }

  /** Where the bytes of a chunk go that is `recorded` next. */
  room(bytes: number): Buffer {
    this.memory ??= this.spare.pop() ?? Buffer.allocUnsafeSlow(MAX_BYTES);
    return this.memory.subarray(HEAD + OFFSET, HEAD + OFFSET + bytes);
  }

  /** A chunk in the `room` that was given for it. */
  recorded({ offset, bytes }: Chunk): void {
    const { memory } = this;
    if (memory?.buffer !== bytes.buffer) throw new RangeError('a chunk in memory of its own');
    this.memory = undefined;
    memory.writeUIntBE(offset, HEAD, OFFSET);
    // Written over only when the socket has done with it.
    this.socket.write(headed(memory.subarray(0, HEAD + OFFSET + bytes.length), RECORDED), () => {
      if (this.spare.length < SPARE) this.spare.push(memory);
    });
  }

  close(): void {
    this.socket.destroy();
  }

  /** A message comes in many pieces: they are put together once, when it is whole. */
  private read(chunk: Buffer): void {
    this.pieces.push(chunk);
    this.length += chunk.length;
    if (this.length < this.needed) return;
    let bytes = this.pieces.length === 1 ? chunk : Buffer.concat(this.pieces);
    try {
      for (this.needed = HEAD; bytes.length >= HEAD; this.needed = HEAD) {
        this.needed = 4 + bytes.readUInt32BE(0);
        if (this.needed > MAX_BYTES) throw new RangeError(`message of ${this.needed} bytes`);
        if (bytes.length < this.needed) break;
        this.take(bytes.subarray(HEAD, this.needed), bytes[4]!);
        bytes = bytes.subarray(this.needed);
      }
    } catch {
      this.socket.destroy();
    }
    this.pieces = [bytes];
    this.length = bytes.length;
  }

  private take(payload: Buffer, kind: number): void {
    if (kind === WANTED) this.events.wanted(Wanted.parse(JSON.parse(payload.toString())), this);
    else if (kind === RECORDED)
      this.events.recorded({ offset: payload.readUIntBE(0, OFFSET), bytes: payload.subarray(OFFSET) }, this);
    else throw new RangeError(`message of kind ${kind}`);
  }
}

/** The handshake proves that the peer has the key of the certificate it shows; this, that it is the one named. */
const isPeer = (socket: TLSSocket, pem: string): boolean => {
  const shown = socket.getPeerX509Certificate();
  return shown?.raw.equals(new X509Certificate(pem).raw) === true;
};

/** No authority is asked, and no name or date: isPeer compares the certificate itself. */
const options = ({ cert, key }: LinkTls) => ({ cert, key, minVersion: 'TLSv1.3', rejectUnauthorized: false }) as const;

export interface LinkServer {
  readonly port: number;
  /** Closes the listener and all its connections at once. */
  close(): void;
}

/** Listens on any free port of the pod. */
export const serveLink = async (how: LinkTls, events: LinkEvents): Promise<LinkServer> => {
  const links = new Set<TLSSocket>();
  const server = tls.createServer({ ...options(how), requestCert: true, handshakeTimeout: 5000 }, (socket) => {
    if (!isPeer(socket, how.peer)) {
      socket.destroy();
      return;
    }
    links.add(socket);
    socket.on('close', () => links.delete(socket));
    new Link(socket, events);
  });
  // Whoever fails the handshake is nobody.
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      for (const socket of links) socket.destroy();
    },
  };
};

/** Rejects when there is no link within `withinMs`. */
export const dialLink = ({ host, port, tls: how }: DirectLink, events: LinkEvents, withinMs: number): Promise<Link> =>
  new Promise((resolve, reject) => {
    const socket = tls.connect({ host, port, ...options(how) });
    const fail = (why: string): void => {
      clearTimeout(late);
      socket.destroy();
      reject(new Error(why));
    };
    const late = setTimeout(() => fail(`no link within ${withinMs} ms`), withinMs);
    socket.on('error', (error) => fail(error.message));
    socket.once('secureConnect', () => {
      if (!isPeer(socket, how.peer)) {
        fail('another certificate than the one named');
        return;
      }
      clearTimeout(late);
      resolve(new Link(socket, events));
    });
  });
