/** Probes a URL at a fixed rhythm, each probe on a connection of its own, whatever became of the one before. */
import { get } from 'node:http';

export interface Probe {
  /** performance.now() when it was sent. */
  at: number;
  ok: boolean;
  /** Of one that failed. */
  why?: string;
}

export interface ProbeReport {
  probes: number;
  failed: number;
  /** From the first failed probe of the longest failed run to the next good one (or the last), ms. */
  longestFailureMs: number;
}

/**
 * Ports that probes come from, one after the other: each is used again only after minutes (282 s at 100 probes a second). The nodes
 * remember a connection, and the pod it went to, for two; the kernel chooses a port again much earlier.
 */
const PORTS = { first: 32_768, count: 28_232 } as const;
let turn = Math.floor(Math.random() * PORTS.count);
const nextPort = (): number => PORTS.first + (turn++ % PORTS.count);

const isTaken = (error: Error): boolean => 'code' in error && error.code === 'EADDRINUSE';

/** Why it failed; undefined: it did not. */
const probe = (url: URL, timeoutMs: number): Promise<string | undefined> =>
  new Promise((resolve) => {
    const fail = (error: Error): void =>
      resolve(isTaken(error) ? probe(url, timeoutMs) : error.message.replace(/ - Local.*/, ''));
    const { hostname: host, port, pathname: path } = url;
    const request = get({ host, port, path, agent: false, localPort: nextPort() }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode === 200 ? undefined : `HTTP ${response.statusCode}`));
      response.on('error', fail);
    });
    request.on('error', fail);
    // One timer, no AbortSignal: that costs half as much again, and what is probed shares our cores.
    const late = setTimeout(() => {
      const connecting = request.socket?.connecting !== false;
      request.destroy(new Error(connecting ? 'not connected in time' : 'no answer in time'));
    }, timeoutMs);
    request.on('close', () => clearTimeout(late));
  });

export interface Prober {
  readonly probes: readonly Probe[];
  /** Resolves when the last probe is answered. */
  stop(): Promise<void>;
}

export const startProber = (url: string, everyMs = 10, timeoutMs = 1000): Prober => {
  const probes: Probe[] = [];
  const open = new Set<Promise<void>>();
  const to = new URL(url);
  const timer = setInterval(() => {
    const entry: Probe = { at: performance.now(), ok: false };
    probes.push(entry);
    const running = probe(to, timeoutMs).then((why) => {
      entry.ok = why === undefined;
      if (why !== undefined) entry.why = why;
      open.delete(running);
    });
    open.add(running);
  }, everyMs);
  return {
    probes,
    async stop() {
      clearInterval(timer);
      await Promise.all(open);
    },
  };
};

export const sentWithin = (probes: readonly Probe[], from: number, to: number): Probe[] =>
  probes.filter(({ at }) => at >= from && at <= to);

/** Of the probes sent in [from, to]. */
export const probeReport = (probes: readonly Probe[], from: number, to: number): ProbeReport => {
  const window = sentWithin(probes, from, to);
  let longestFailureMs = 0;
  let failingSince: number | undefined;
  for (const { at, ok } of window) {
    if (!ok) failingSince ??= at;
    if (failingSince !== undefined) longestFailureMs = Math.max(longestFailureMs, at - failingSince);
    if (ok) failingSince = undefined;
  }
  return { probes: window.length, failed: window.filter(({ ok }) => !ok).length, longestFailureMs };
};
