/** A sidecar as a pod has it, its bundle run as a process of its own, connected to a hub; and how it is made to record. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { issue, newCA } from '../../webhook/admission/ca/authority.ts';
import { CONTROL_PATH, type SessionReport } from '../../webhook/api/control.ts';
import { RUN_FILE } from '../../webhook/api/names.ts';
import { createHub, type Hub } from '../../webhook/controller/hub/hub.ts';
import { linkPair } from '../../webhook/controller/link.ts';
import { type Running, start } from './processes.ts';

const UID = 'bench';
const TOKEN = 'bench';
const CLAIM = 'bench-0';
const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

const REACH_MS = 20_000;
const FREEZE_MS = 5000;
/** A pod may be between contents of no moment when it is asked to stand still. */
const CUTS = 10;

export interface PodOptions {
  /** dist/sidecar.cjs, as the image holds it. */
  readonly bundle: string;
  readonly dir: string;
  readonly broker: { readonly host: string; readonly port: number; readonly listen: string };
}

const until = async <T>(what: string, ms: number, ask: () => T | undefined | Promise<T | undefined>): Promise<T> => {
  for (const end = performance.now() + ms; performance.now() < end; await sleep(20)) {
    const answer = await ask();
    if (answer !== undefined) return answer;
  }
  throw new Error(`${what}: not within ${ms} ms`);
};

export class Pod {
  readonly running: Running;
  private readonly hub: Hub;
  private readonly runDir: string;
  private receiver: Running | undefined;
  /** The record is under way, and nothing is held back for it any more. */
  private steady = false;
  /** The least share the app was throttled to since. */
  private throttled = 1;

  private constructor(running: Running, hub: Hub, runDir: string) {
    this.running = running;
    this.hub = hub;
    this.runDir = runDir;
    hub.onChange(() => {
      const { record } = this.hub.session(UID) ?? {};
      if (this.steady && record) this.throttled = Math.min(this.throttled, record.throttle);
    });
  }

  static async start({ bundle, dir, broker }: PodOptions): Promise<Pod> {
    const [tlsDir = '', idDir = '', runDir = ''] = ['tls', 'id', 'run'].map((name) => join(dir, name));
    for (const each of [tlsDir, idDir, runDir]) mkdirSync(each, { recursive: true });
    const ca = newCA(Date.now());
    const { cert, key } = issue(ca, 'controller', Date.now());
    writeFileSync(join(tlsDir, 'tls.crt'), cert);
    writeFileSync(join(tlsDir, 'tls.key'), key, { mode: 0o600 });
    const identity = { uid: UID, name: 'bench-0', namespace: 'bench', token: TOKEN, 'ca.crt': ca.cert };
    for (const [file, content] of Object.entries(identity)) writeFileSync(join(idDir, file), content);
    const authenticate = async () => ({ namespace: 'bench', pod: 'bench-0', uid: UID });
    const hub = createHub({ tlsDir, authenticate, epoch: () => 1, log });
    await hub.listen(0);
    const running = start([process.execPath, bundle], {
      env: {
        SHADOW_BROKERS: JSON.stringify([broker]),
        SHADOW_BLIND_PORTS: '',
        SHADOW_CONTROLLER_URL: `wss://127.0.0.1:${hub.port()}${CONTROL_PATH}`,
        SHADOW_HEALTH_PORT: '0',
        SHADOW_GRACE_SECONDS: '1',
        SHADOW_ID_DIR: idDir,
        SHADOW_RUN_DIR: runDir,
        SHADOW_LOG: 'warn',
      },
    });
    const pod = new Pod(running, hub, runDir);
    try {
      await until('the sidecar connects to its hub', REACH_MS, () => hub.session(UID));
    } catch (error) {
      await pod.stop();
      throw new Error(`${String(error)}\n${running.said()}`);
    }
    return pod;
  }

  /** What is open now is recorded from the next content boundary on, and streamed to another process. */
  async record(connections: number): Promise<void> {
    const flowing = async (): Promise<SessionReport | undefined> => {
      const report = await this.hub.command(UID, { type: 'inspect', claim: '' });
      return report.connections.length >= connections && report.delivered > 0 ? report : undefined;
    };
    const { hazards } = await until('all clients are connected and served', REACH_MS, flowing);
    if (hazards.length > 0) throw new Error(`not fit to be recorded: ${hazards.join('; ')}`);
    await this.cut();
    const { source, copy } = linkPair(Date.now());
    const { port } = await this.hub.command(UID, { type: 'serve', claim: CLAIM, tls: source });
    let ready = false;
    const receiver = start([process.execPath, join(import.meta.dirname, 'receiver.ts')], {
      leash: true,
      onLine: () => {
        ready = true;
      },
    });
    this.receiver = receiver;
    receiver.child.stdin?.write(
      `${JSON.stringify({ claim: CLAIM, direct: { host: '127.0.0.1', port, tls: copy } })}\n`,
    );
    await until('the record is received', REACH_MS, () => ready || undefined);
    // Braced or not, its word that nothing lags comes with its next reports.
    await until('the app is not held back', REACH_MS, () => this.hub.session(UID)?.record?.throttle === 1 || undefined);
    this.steady = true;
  }

  private async cut(): Promise<void> {
    for (let generation = 1; generation <= CUTS; generation += 1) {
      const freeze = { type: 'freeze', claim: CLAIM, generation, deadlineMs: FREEZE_MS, record: true } as const;
      try {
        await this.hub.command(UID, freeze);
        await until('the sidecar stands still', 1000, () => this.frozen(generation) || undefined);
      } catch {
        continue;
      }
      writeFileSync(join(this.runDir, RUN_FILE.thaw), `${generation}`);
      await until('the sidecar records', REACH_MS, () => this.hub.session(UID)?.state === 'recording' || undefined);
      return;
    }
    throw new Error(`the sidecar did not stand still in ${CUTS} tries\n${this.running.said()}`);
  }

  private frozen(generation: number): boolean {
    try {
      return readFileSync(join(this.runDir, RUN_FILE.frozen), 'utf8').trim() === `${generation}`;
    } catch {
      return false;
    }
  }

  /** Throws when the record has not been whole, or its app held back for it: then the figures are of something else. */
  assertRecording(): void {
    const session = this.hub.session(UID);
    if (session?.lost !== undefined) throw new Error(`the record is lost: ${session.lost}`);
    if (session?.state !== 'recording' || !this.receiver)
      throw new Error('the window was over before the record began');
    if (this.throttled < 1) throw new Error(`the app was held back, to ${this.throttled} of the receiver's pace`);
  }

  async stop(): Promise<void> {
    await this.receiver?.stop();
    await this.running.stop();
    await this.hub.close();
  }
}
