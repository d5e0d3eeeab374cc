/**
 * Who leads: one Lease. The epoch is its count of transitions, raised at every change of hands, so that what an older leader
 * still has under way is refused by sidecars and agents. `claimLease` is pure.
 */
import type { V1Lease } from '@kubernetes/client-node';
import { LEASE } from '../api/names.ts';
import { isStatus, type Rest } from './rest.ts';

export const LEASE_SECONDS = 8;
export const RENEW_MS = 2_000;
/** Not renewed for so long, a leader stops: well before another may take over. */
export const GIVE_UP_MS = 6_000;

/** As the API gives it: times are text. */
export type Lease = Omit<V1Lease, 'spec'> & {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    leaseTransitions?: number;
    acquireTime?: string;
    renewTime?: string;
  };
};

/** A lease as first seen in this state, by our own clock: clocks of two machines are never compared. */
export interface Seen {
  lease: Lease;
  /** Milliseconds, monotonic. */
  at: number;
}

/** Every process of a pod has its own identity; the part before the slash is the pod. */
const podOf = (identity: string): string => identity.split('/')[0] ?? '';

const micro = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z');

/**
 * The lease to write to hold it, or undefined: it is another's, and alive. A process of our own pod before us is dead for
 * certain: its lease is taken at once.
 */
export const claimLease = (seen: Seen, me: string, now: number, wallClock: number): Lease | undefined => {
  const { spec = {} } = seen.lease;
  const holder = spec.holderIdentity ?? '';
  const expired = now - seen.at > (spec.leaseDurationSeconds ?? LEASE_SECONDS) * 1_000;
  const mine = holder === me;
  if (!mine && holder !== '' && !expired && podOf(holder) !== podOf(me)) return undefined;
  return {
    ...seen.lease,
    spec: {
      holderIdentity: me,
      leaseDurationSeconds: LEASE_SECONDS,
      // A Lease made anew (uninstalled, installed again) must count on above all that running sidecars have ever seen.
      leaseTransitions: (spec.leaseTransitions ?? Math.floor(wallClock / 1000)) + (mine ? 0 : 1),
      acquireTime: mine ? (spec.acquireTime ?? micro(wallClock)) : micro(wallClock),
      renewTime: micro(wallClock),
    },
  };
};

export interface LeaseStore {
  read(): Promise<Lease | undefined>;
  create(lease: Lease): Promise<Lease>;
  /** With the resourceVersion of what is given. */
  update(lease: Lease): Promise<Lease>;
}

export const leaseStore = (rest: Rest, namespace: string): LeaseStore => {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const timeoutMs = 2_000;
  return {
    read: () =>
      rest.call<Lease>('GET', `${path}/${LEASE}`, { timeoutMs }).catch((error: unknown) => {
        if (isStatus(error, 404)) return undefined;
        throw error;
      }),
    create: (body) => rest.call<Lease>('POST', path, { body, timeoutMs }),
    update: (body) => rest.call<Lease>('PUT', `${path}/${LEASE}`, { body, timeoutMs }),
  };
};

const EMPTY: Lease = {
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: LEASE },
  spec: {},
};

export interface ElectionOptions {
  store: LeaseStore;
  identity: string;
  /** Milliseconds, monotonic. */
  now?: () => number;
  sleep?: (ms: number) => Promise<void>;
  onError: (error: unknown) => void;
}

export class Election {
  private readonly store: LeaseStore;
  private readonly identity: string;
  private readonly now: () => number;
  private readonly sleep: (ms: number) => Promise<void>;
  private readonly onError: (error: unknown) => void;
  private seen: Seen | undefined;
  private stopped = false;

  constructor({ store, identity, now, sleep, onError }: ElectionOptions) {
    this.store = store;
    this.identity = identity;
    this.now = now ?? (() => performance.now());
    this.sleep = sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms)));
    this.onError = onError;
  }

  /** One try to take or keep it. The epoch when it is ours now. */
  async attempt(): Promise<number | undefined> {
    const begun = this.now();
    const stored = await this.store.read();
    if (stored === undefined) {
      const made = await this.store.create({ ...EMPTY, metadata: { name: LEASE } });
      this.seen = { lease: made, at: begun };
    } else if (stored.metadata?.resourceVersion !== this.seen?.lease.metadata?.resourceVersion)
      this.seen = { lease: stored, at: begun };
    if (this.seen === undefined) return undefined;
    const wanted = claimLease(this.seen, this.identity, begun, Date.now());
    if (wanted === undefined) return undefined;
    try {
      this.seen = { lease: await this.store.update(wanted), at: begun };
    } catch (error) {
      if (isStatus(error, 409)) return undefined;
      throw error;
    }
    return wanted.spec?.leaseTransitions;
  }

  /** Resolves with the epoch once we lead; undefined when stopped before. */
  async acquire(): Promise<number | undefined> {
    while (!this.stopped) {
      const epoch = await this.attempt().catch((error: unknown) => {
        this.onError(error);
        return undefined;
      });
      if (epoch !== undefined) return epoch;
      await this.sleep(1_000);
    }
    return undefined;
  }

  /** Resolves when it is lost: another has it, or it could not be renewed in time. */
  async keep(): Promise<void> {
    let renewed = this.now();
    while (!this.stopped) {
      await this.sleep(RENEW_MS);
      if (this.stopped) return;
      const begun = this.now();
      try {
        if ((await this.attempt()) === undefined) return;
        renewed = begun;
      } catch (error) {
        this.onError(error);
      }
      if (this.now() - renewed > GIVE_UP_MS) return;
    }
  }

  /** Gives it away at once: the next leader need not wait for it to expire. */
  async release(): Promise<void> {
    this.stopped = true;
    const held = this.seen?.lease;
    if (held?.spec?.holderIdentity !== this.identity) return;
    await this.store.update({ ...held, spec: { ...held.spec, holderIdentity: '' } }).catch(this.onError);
  }
}
