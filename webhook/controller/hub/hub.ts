/** The controller's end of the sidecars' connections: who is there, in which state, and what it answers. */
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import {
  CONTROL_PATH,
  type CommandType,
  FromSidecar,
  type PlayReport,
  type RecordReport,
  type SidecarState,
} from '../../api/control.ts';
import { ShadowError } from '../../api/errors.ts';
import type { Log } from '../../log.ts';
import type { Authenticate, PodIdentity } from './authenticate.ts';
import { createRoutes, type Refusal } from './routes.ts';
import { type CommandOf, type CommandResult, createSession, type Session } from './session.ts';

export interface SidecarSession {
  readonly state: SidecarState;
  readonly claim?: string;
  /** Random per sidecar process; a copy has its source's. */
  readonly process: string;
  readonly version?: string;
  readonly protocol?: number;
  /** Superseded or closed: carried deliveries not settled yet. */
  readonly outstanding?: number;
  /** Mute, recording, replaying: why it can't be cut or replayed any more; its code, if it is one of the catalogue's. */
  readonly lost?: string;
  readonly code?: string;
  /** As last told. */
  readonly record?: RecordReport;
  readonly play?: PlayReport;
}

export interface Hub {
  session(podUid: string): SidecarSession | undefined;
  /**
   * Rejects with SHADOW_E_SIDECAR_UNREACHABLE (retryable) when the sidecar is not connected, its connection drops or it does
   * not answer in time; else with the sidecar's own code.
   */
  command<T extends CommandType>(podUid: string, command: { type: T } & CommandOf<T>): Promise<CommandResult<T>>;
  /** Hello, a change of state or of what is outstanding, gone. */
  onChange(callback: (podUid: string) => void): void;
  /** Until `unroute`, settlements and the record of the claim pass between the two; safe to repeat. */
  route(claim: string, sourceUid: string, copyUid: string): void;
  unroute(claim: string): void;
  /**
   * The routed source is gone for good (node or sidecar died): the broker has requeued what it held. The copy's settlements,
   * those under way and all to come, are answered as settled, so that it becomes idle.
   */
  abandon(claim: string): void;
  listen(port: number): Promise<void>;
  port(): number;
  close(): Promise<void>;
}

export interface HubOptions {
  /** Directory with tls.crt and tls.key; read again when they change. */
  readonly tlsDir: string;
  readonly authenticate: Authenticate;
  /** The leader's: transitions of the Lease. */
  readonly epoch: () => number;
  readonly log: Pick<Log, 'info' | 'warn' | 'debug'>;
  /** Default 10 s. */
  readonly keepaliveMs?: number;
  /** How often the certificate is looked at; default 10 s. */
  readonly certificateMs?: number;
}

const HELLO_WITHIN_MS = 5000;
/** Keepalives without a byte before a sidecar counts as gone. A frozen one is silent for as long as its dump takes. */
const SILENT_TICKS = 3;
const MAX_MESSAGE_BYTES = 4 << 20;

const bearer = (request: IncomingMessage): string | undefined =>
  /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];

const refuse = (socket: Duplex, status: string): void => {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
};

const parse = (data: string): FromSidecar | undefined => {
  try {
    return FromSidecar.parse(JSON.parse(data));
  } catch {
    return undefined;
  }
};

export const createHub = (options: HubOptions): Hub => {
  const { tlsDir, authenticate, epoch, log } = options;
  const sessions = new Map<string, Session>();
  const callbacks: ((podUid: string) => void)[] = [];
  const routes = createRoutes((uid) => sessions.get(uid));
  const changed = (uid: string): void => {
    for (const callback of callbacks) callback(uid);
  };

  const certificate = (): { cert: string; key: string } => ({
    cert: readFileSync(join(tlsDir, 'tls.crt'), 'utf8'),
    key: readFileSync(join(tlsDir, 'tls.key'), 'utf8'),
  });
  let current = certificate();
  const server = createServer(current);
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false });

  // A Secret's files are swapped by symlink, which watching a file does not see.
  const renew = (): void => {
    try {
      const next = certificate();
      if (next.cert === current.cert && next.key === current.key) return;
      server.setSecureContext(next);
      current = next;
      log.info('certificate renewed');
    } catch (error) {
      log.warn({ err: error }, 'reading the certificate; the old one stays');
    }
  };

  const receive = (session: Session, message: FromSidecar): Refusal => {
    switch (message.type) {
      case 'hello':
        return { refused: 'hello twice' };
      case 'answer':
        session.answered(message);
        return undefined;
      case 'settle':
        return routes.settle(session, message);
      case 'settled': {
        const refusal = routes.settled(session, message);
        changed(session.identity.uid);
        return refusal;
      }
      case 'wanted':
        return routes.wanted(session, message);
      case 'recorded':
        return routes.recorded(session, message);
      case 'state':
        session.state = message.state;
        session.claim = message.claim;
        session.outstanding = message.outstanding;
        session.lost = message.lost;
        session.code = message.code;
        session.record = message.record;
        session.play = message.play;
        routes.stateChanged(session);
        changed(session.identity.uid);
        return undefined;
    }
  };

  const arrive = (ws: WebSocket, identity: PodIdentity, message: FromSidecar | undefined): Session | undefined => {
    if (message?.type !== 'hello') {
      ws.close(1008, 'hello expected');
      return undefined;
    }
    const session = createSession(ws, identity, message);
    const older = sessions.get(identity.uid);
    sessions.set(identity.uid, session);
    older?.end('it connected anew');
    older?.close(4001, 'replaced');
    log.info({ ...identity, state: message.state, claim: message.claim, version: message.version }, 'sidecar is here');
    routes.arrived(identity.uid);
    changed(identity.uid);
    return session;
  };

  const attend = (ws: WebSocket, identity: PodIdentity): void => {
    let session: Session | undefined;
    let silent = 0;
    const hurry = setTimeout(() => ws.close(1008, 'no hello'), HELLO_WITHIN_MS);
    const keepalive = setInterval(() => {
      silent += 1;
      if (silent > SILENT_TICKS) ws.terminate();
      else ws.ping();
    }, options.keepaliveMs ?? 10_000);
    ws.on('pong', () => {
      silent = 0;
    });
    ws.on('message', (data) => {
      silent = 0;
      clearTimeout(hurry);
      // One that was replaced has no word any more.
      if (session !== undefined && sessions.get(identity.uid) !== session) return;
      const message = parse(String(data));
      if (session === undefined) {
        session = arrive(ws, identity, message);
        return;
      }
      const refusal = message === undefined ? { refused: 'not a message of the protocol' } : receive(session, message);
      if (refusal === undefined) return;
      log.warn({ ...identity, reason: refusal.refused }, 'closing a connection');
      ws.close(1008, refusal.refused);
    });
    ws.on('error', (error) => log.debug({ ...identity, err: error }, 'connection'));
    ws.on('close', () => {
      clearTimeout(hurry);
      clearInterval(keepalive);
      session?.end('the connection dropped');
      if (session === undefined || sessions.get(identity.uid) !== session) return;
      sessions.delete(identity.uid);
      log.info({ ...identity }, 'sidecar is gone');
      changed(identity.uid);
    });
  };

  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const token = bearer(request);
    if ((request.url ?? '').split('?')[0] !== CONTROL_PATH) return refuse(socket, '404 Not Found');
    if (token === undefined) return refuse(socket, '401 Unauthorized');
    let identity: PodIdentity;
    try {
      identity = await authenticate(token);
    } catch (error) {
      const forged = error instanceof ShadowError && error.code === 'SHADOW_E_FORBIDDEN';
      log.warn({ err: error }, forged ? 'refused a token' : 'a token could not be reviewed');
      return refuse(socket, forged ? '401 Unauthorized' : '503 Service Unavailable');
    }
    (socket as Socket).setNoDelay(true);
    sockets.handleUpgrade(request, socket, head, (ws) => attend(ws, identity));
  };

  /** All there are, in whichever stage: one that is just being upgraded must not keep `close` waiting. */
  const connections = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', (error) => log.debug({ err: error }, 'connection'));
    void upgrade(request, socket, head);
  });
  server.on('request', (_request, response) => {
    response.writeHead(426, { connection: 'close' });
    response.end();
  });

  let renewing: NodeJS.Timeout | undefined;
  return {
    session: (podUid) => {
      const found = sessions.get(podUid);
      if (found === undefined) return undefined;
      const { state, claim, process, version, protocol, outstanding, lost, code, record, play } = found;
      return {
        state,
        process,
        ...(claim === undefined ? {} : { claim }),
        ...(version === undefined ? {} : { version }),
        ...(protocol === undefined ? {} : { protocol }),
        ...(outstanding === undefined ? {} : { outstanding }),
        ...(lost === undefined ? {} : { lost }),
        ...(code === undefined ? {} : { code }),
        ...(record === undefined ? {} : { record }),
        ...(play === undefined ? {} : { play }),
      };
    },
    command: async (podUid, command) => {
      const session = sessions.get(podUid);
      if (session === undefined) {
        throw new ShadowError('SHADOW_E_SIDECAR_UNREACHABLE', 'it is not connected', { retryable: true });
      }
      return session.request(command, epoch());
    },
    onChange: (callback) => {
      callbacks.push(callback);
    },
    route: routes.set,
    unroute: routes.remove,
    abandon: routes.abandon,
    listen: async (port) => {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, resolve);
      });
      renewing = setInterval(renew, options.certificateMs ?? 10_000);
    },
    port: () => (server.address() as AddressInfo).port,
    close: async () => {
      clearInterval(renewing);
      for (const ws of sockets.clients) ws.terminate();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of connections) socket.destroy();
      });
    },
  };
};
