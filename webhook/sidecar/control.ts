/**
 * The sidecar's end of the control connection: one WebSocket, dialled again whenever it is gone. Nothing of the traffic
 * waits for it (invariant 6): without a controller the sidecar relays as ever, and keeps its state in a handoff.
 */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { type ClientOptions, WebSocket } from 'ws';
import { FromController, type FromSidecar, type Hello } from '../api/control.ts';
import type { Log } from '../log.ts';
import type { Credentials } from './identity.ts';

const KEEPALIVE_MS = 10_000;
/** Ticks of KEEPALIVE_MS without a byte from the controller before it counts as gone. */
const SILENT_TICKS = 2;
const MAX_MESSAGE_BYTES = 4 << 20;

export interface ControlOptions {
  readonly url: string;
  /** The name in the controller's certificate, whatever address is dialled. */
  readonly serverName: string;
  readonly credentials: () => Credentials | undefined;
  readonly hello: () => Hello;
  /** A handoff is going on: every millisecond without the controller is in somebody's pause. */
  readonly urgent: () => boolean;
  readonly onOpen: () => void;
  readonly onMessage: (message: FromController, connection: number) => void;
  readonly log: Pick<Log, 'info' | 'warn' | 'debug'>;
}

export interface Control {
  start(): void;
  /** Number of the connection now open; 0: none. An answer goes only to the connection that asked. */
  connection(): number;
  send(message: FromSidecar): void;
  /** Resolves when the message has left this process; false when it could not. */
  flush(message: FromSidecar): Promise<boolean>;
  /** Throws the connection away unread and dials at once, as whoever this process is now. */
  redial(): void;
  stop(): void;
}

/** So many dials of a handoff follow at once (some seconds); a controller away for longer is not to be stormed. */
const URGENT_DIALS = 50;

/** Pause before the next dial, ms: 0.2-5 s with jitter; next to none in a handoff. `random` in [0, 1). */
export const backoff = (failures: number, urgent: boolean, random: number): number =>
  urgent && failures < URGENT_DIALS
    ? 20 + 80 * random
    : 200 + Math.min(4800, 300 * 2 ** Math.min(failures, 10)) * random;

const parse = (data: string): FromController | undefined => {
  try {
    return FromController.parse(JSON.parse(data));
  } catch {
    return undefined;
  }
};

export const createControl = (options: ControlOptions): Control => {
  const { url, serverName, credentials, hello, urgent, onOpen, onMessage, log } = options;
  let socket: WebSocket | undefined;
  let number = 0;
  let open = false;
  let failures = 0;
  let silent = 0;
  let redialTimer: NodeJS.Timeout | undefined;
  let keepalive: NodeJS.Timeout | undefined;
  /** Where the controller was found last: spares the copy's first dial a DNS query. The certificate is verified by name all the same. */
  let known: LookupAddress | undefined;

  const lookup: LookupFunction = (hostname, asked, callback) => {
    // Every other try by DNS: a known address may have become wrong.
    if (known === undefined || failures % 2 === 1) return dnsLookup(hostname, asked, callback);
    if (asked.all) callback(null, [known]);
    else callback(null, known.address, known.family);
  };

  const later = (): void => {
    clearTimeout(redialTimer);
    redialTimer = setTimeout(dial, backoff(failures, urgent(), Math.random()));
    failures += 1;
  };

  const lost = (ws: WebSocket, why: string): void => {
    if (ws !== socket) return;
    // Said once, then quietly: a cluster without a controller must not fill the pod's log.
    log[open ? 'info' : 'debug']({ why }, 'controller is away');
    socket = undefined;
    open = false;
    later();
  };

  function dial(): void {
    const secrets = credentials();
    if (secrets === undefined) {
      log.debug('no CA or token yet');
      later();
      return;
    }
    const how: ClientOptions & Pick<ConnectionOptions, 'servername' | 'lookup'> = {
      headers: { authorization: `Bearer ${secrets.token}` },
      ca: secrets.ca,
      servername: serverName,
      lookup,
      handshakeTimeout: urgent() ? 1000 : 5000,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
    };
    const ws = new WebSocket(url, how);
    socket = ws;
    let remote: TLSSocket | undefined;
    ws.on('upgrade', (response) => {
      remote = response.socket as TLSSocket;
      remote.setNoDelay(true);
    });
    ws.on('open', () => {
      if (ws !== socket) return;
      if (remote?.remoteAddress)
        known = { address: remote.remoteAddress, family: remote.remoteFamily === 'IPv6' ? 6 : 4 };
      open = true;
      number += 1;
      failures = 0;
      silent = 0;
      ws.send(JSON.stringify(hello()));
      log.info({ state: hello().state }, 'controller is here');
      onOpen();
    });
    ws.on('message', (data) => {
      if (ws !== socket) return;
      silent = 0;
      const message = parse(String(data));
      if (message === undefined) ws.close(1008, 'not a message of the protocol');
      else onMessage(message, number);
    });
    ws.on('ping', () => {
      silent = 0;
    });
    ws.on('pong', () => {
      silent = 0;
    });
    ws.on('error', (error) => lost(ws, error.message));
    ws.on('close', (code, reason) => lost(ws, `${code} ${String(reason)}`));
  }

  // Counted in ticks, not by the clock: a tick overdue after a freeze counts once, however long the thread stood still.
  const tick = (): void => {
    if (!open || socket === undefined) return;
    if (silent >= SILENT_TICKS) {
      const ws = socket;
      lost(ws, 'silent');
      ws.terminate();
      return;
    }
    silent += 1;
    socket.ping();
  };

  const flush = (message: FromSidecar): Promise<boolean> => {
    const ws = socket;
    if (ws === undefined || !open) return Promise.resolve(false);
    return new Promise((resolve) => {
      const drained = (): void => {
        if (ws !== socket || ws.readyState !== WebSocket.OPEN) resolve(false);
        else if (ws.bufferedAmount > 0) setImmediate(drained);
        else resolve(true);
      };
      ws.send(JSON.stringify(message), (error) => (error ? resolve(false) : drained()));
    });
  };

  const drop = (): void => {
    const ws = socket;
    socket = undefined;
    open = false;
    clearTimeout(redialTimer);
    ws?.terminate();
  };

  return {
    start: () => {
      keepalive = setInterval(tick, KEEPALIVE_MS);
      dial();
    },
    connection: () => (open ? number : 0),
    send: (message) => {
      if (open && socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    },
    flush,
    redial: () => {
      drop();
      failures = 0;
      dial();
    },
    stop: () => {
      clearInterval(keepalive);
      drop();
    },
  };
};
