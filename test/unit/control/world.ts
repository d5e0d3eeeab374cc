/** A hub, sidecars and what they need, on loopback: real TLS, real WebSockets, a stand-in for the relay. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import forge from 'node-forge';
import { pino } from 'pino';
import { CONTROL_PATH, type Settlement } from '../../../webhook/api/control.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { CONTROLLER, NAMESPACE, serviceHost } from '../../../webhook/api/names.ts';
import type { Authenticate } from '../../../webhook/controller/hub/authenticate.ts';
import { createHub, type Hub } from '../../../webhook/controller/hub/hub.ts';
import { type Sidecar, type StoppableRelay, startSidecar } from '../../../webhook/sidecar/sidecar.ts';

/** Of the controller's certificate. */
export const SERVER_NAME = serviceHost(CONTROLLER, NAMESPACE);

export const log = pino({ level: process.env.TEST_LOG ?? 'silent' });

export const until = async (what: string, condition: () => boolean, withinMs = 15_000): Promise<void> => {
  const deadline = Date.now() + withinMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Authority {
  pem: string;
  issue(name: string): { cert: string; key: string };
}

export const createAuthority = (): Authority => {
  const { pki, md } = forge;
  const keys = pki.rsa.generateKeyPair(2048);
  const subject = [{ name: 'commonName', value: 'shadow-ca' }];
  let serial = 1;
  const make = (name: typeof subject, publicKey: forge.pki.PublicKey, extensions: object[]): string => {
    const cert = pki.createCertificate();
    cert.publicKey = publicKey;
    cert.serialNumber = `0${serial++}`;
    cert.validity.notBefore = new Date(Date.now() - 60_000);
    cert.validity.notAfter = new Date(Date.now() + 3_600_000);
    cert.setSubject(name);
    cert.setIssuer(subject);
    cert.setExtensions(extensions);
    cert.sign(keys.privateKey, md.sha256.create());
    return pki.certificateToPem(cert);
  };
  return {
    pem: make(subject, keys.publicKey, [{ name: 'basicConstraints', cA: true, critical: true }]),
    issue: (name) => {
      const own = pki.rsa.generateKeyPair(2048);
      return {
        cert: make([{ name: 'commonName', value: name }], own.publicKey, [
          { name: 'subjectAltName', altNames: [{ type: 2, value: name }] },
          { name: 'extKeyUsage', serverAuth: true },
        ]),
        key: pki.privateKeyToPem(own.privateKey),
      };
    },
  };
};

/** Passes bytes between sidecars and hub, and can cut all connections at once. */
export const createWire = async (
  target: () => number,
): Promise<{ port: number; accepted(): number; cut(): void; close(): void }> => {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = createServer((client) => {
    accepted += 1;
    const upstream = connect(target(), '127.0.0.1');
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    cut,
    close: () => {
      server.close();
      cut();
    },
  };
};

export interface StandIn extends StoppableRelay {
  calls: string[];
  settled: Settlement[];
  left: number;
  carried: number;
  failing: string | undefined;
  settleMs: number;
  /** As after live: its consumers are to wait. */
  waiting: boolean;
  emit(items: Settlement[]): void;
  lose(why: string): void;
}

export const createStandIn = (calls: string[] = []): StandIn => {
  let onSettlements: (items: Settlement[]) => void = () => {};
  let onLost: (why: string) => void = () => {};
  const called = async (name: string): Promise<void> => {
    calls.push(name);
    if (relay.failing === name) throw new Error(`${name} fails`);
  };
  const relay: StandIn = {
    calls,
    settled: [],
    left: 0,
    carried: 0,
    failing: undefined,
    settleMs: 0,
    waiting: false,
    emit: (items) => onSettlements(items),
    lose: (why) => onLost(why),
    start: () => called('start'),
    stop: (graceMs) => called(`stop ${graceMs > 0 ? 'gently' : 'now'}`),
    report: () => ({ connections: [], hazards: [], delivered: 7, published: 3 }),
    reattached: () => ({ severed: 1, hidden: 5, givenUp: 2 }),
    mute: async () => {
      await called('mute');
      return { carried: 3 };
    },
    unmute: () => called('unmute'),
    becomeCopy: () => void called('becomeCopy'),
    attach: () => called('attach'),
    live: () => {
      relay.waiting = true;
      return called('live');
    },
    consume: () => {
      if (relay.waiting) void called('consume');
      relay.waiting = false;
    },
    consuming: () => !relay.waiting,
    supersede: () => void called('supersede'),
    settle: async (items) => {
      await pause(relay.settleMs);
      relay.settled.push(...items);
      relay.left -= items.length;
    },
    outstanding: () => relay.left,
    close: () => called('close'),
    carriedOutstanding: () => relay.carried,
    quiescent: () => true,
    onSettlements: (callback) => {
      onSettlements = callback;
    },
    onLost: (callback) => {
      onLost = callback;
    },
    replay: {
      halt: () => called('halt'),
      halted: () => true,
      load: () => ({ saturated: undefined, held: 0 }),
      record: () => void called('record'),
      goOn: () => void called('goOn'),
      stopRecording: () => void called('stopRecording'),
      handOut: () => undefined,
      onChange: () => undefined,
      rehearsals: () => [],
      play: () => void called('play'),
      playOn: () => undefined,
      stage: () => called('stage'),
      staged: () => true,
    },
  };
  return relay;
};

export const writeIdentity = (dir: string, uid: string, ca?: string): void => {
  mkdirSync(dir, { recursive: true });
  const files = { uid, name: `pod-${uid}`, namespace: 'shop', token: `token-${uid}`, ...(ca ? { 'ca.crt': ca } : {}) };
  for (const [file, content] of Object.entries(files)) writeFileSync(join(dir, file), `${content}\n`);
};

/** Tokens are `token-<uid>`; all others are forged. */
const authenticate: Authenticate = async (token) => {
  const uid = /^token-(.+)$/.exec(token)?.[1];
  if (uid === undefined) throw new ShadowError('SHADOW_E_FORBIDDEN', 'forged');
  return { namespace: 'shop', pod: `pod-${uid}`, uid };
};

export interface Pod {
  env: NodeJS.ProcessEnv;
  idDir: string;
  runDir: string;
}

export const createWorld = async (keepaliveMs = 10_000) => {
  const root = mkdtempSync(join(tmpdir(), 'shadow-control-'));
  const authority = createAuthority();
  const tlsDir = join(root, 'tls');
  mkdirSync(tlsDir);
  const serve = (name: string, by = authority): void => {
    const { cert, key } = by.issue(name);
    writeFileSync(join(tlsDir, 'tls.crt'), cert);
    writeFileSync(join(tlsDir, 'tls.key'), key);
  };
  serve(SERVER_NAME);
  const world = { epoch: 1 };
  const open = (): Hub =>
    createHub({ tlsDir, authenticate, epoch: () => world.epoch, log, keepaliveMs, certificateMs: 50 });
  let hub = open();
  await hub.listen(0);
  const hubPort = hub.port();
  const wire = await createWire(() => hubPort);
  const sidecars: Sidecar[] = [];

  const pod = (uid: string): Pod => {
    const idDir = join(root, uid, 'id');
    const runDir = join(root, uid, 'run');
    writeIdentity(idDir, uid, authority.pem);
    mkdirSync(runDir);
    const env = {
      ...process.env,
      SHADOW_ID_DIR: idDir,
      SHADOW_RUN_DIR: runDir,
      SHADOW_BROKERS: '[{"host":"rabbitmq","port":5672,"listen":"127.0.0.1"}]',
      SHADOW_CONTROLLER_URL: `wss://127.0.0.1:${wire.port}${CONTROL_PATH}`,
      SHADOW_HEALTH_PORT: '0',
      SHADOW_GRACE_SECONDS: '2',
    };
    return { env, idDir, runDir };
  };

  return Object.assign(world, {
    pod,
    serve,
    wire,
    authority,
    hub: () => hub,
    restartHub: async () => {
      await hub.close();
      hub = open();
      await hub.listen(hubPort);
    },
    stopHub: () => hub.close(),
    start: async (uid: string, at: Pod = pod(uid)) => {
      const relay = createStandIn();
      const sidecar = await startSidecar(at.env, () => relay, log);
      sidecars.push(sidecar);
      return { relay, sidecar, ...at };
    },
    connected: (uid: string) => until(`${uid} connects`, () => hub.session(uid) !== undefined),
    close: async () => {
      for (const sidecar of sidecars) await sidecar.stop();
      await hub.close();
      wire.close();
      rmSync(root, { recursive: true, force: true });
    },
  });
};
export type World = Awaited<ReturnType<typeof createWorld>>;
