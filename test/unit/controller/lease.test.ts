import { describe, expect, it } from 'vitest';
import { claimLease, Election, GIVE_UP_MS, LEASE_SECONDS, type Lease } from '../../../webhook/controller/lease.ts';
import { ApiError } from '../../../webhook/controller/rest.ts';

/** One stored lease, with conflicts; two candidates with their own clocks. */
const stage = () => {
  let version = 0;
  let stored: Lease | undefined;
  let down = false;
  const store = {
    read: async () => {
      if (down) throw new Error('no connection');
      return structuredClone(stored);
    },
    create: async (lease: Lease) => {
      stored = { ...lease, metadata: { ...lease.metadata, resourceVersion: `${++version}` } };
      return stored;
    },
    update: async (lease: Lease) => {
      if (down) throw new Error('no connection');
      if (lease.metadata?.resourceVersion !== stored?.metadata?.resourceVersion)
        throw new ApiError(409, 'Conflict', '');
      stored = { ...lease, metadata: { ...lease.metadata, resourceVersion: `${++version}` } };
      return stored;
    },
  };
  let time = 0;
  const candidate = (identity: string) =>
    new Election({
      store,
      identity,
      now: () => time,
      sleep: async (ms) => {
        time += ms;
      },
      onError: () => {},
    });
  return {
    candidate,
    pass: (ms: number) => {
      time += ms;
    },
    fail: () => {
      down = true;
    },
    now: () => time,
  };
};

describe('the lease', () => {
  it('has one holder, whose epoch rises at every change of hands', async () => {
    const { candidate, pass } = stage();
    const [a, b] = [candidate('a/1'), candidate('b/1')];
    const first = await a.attempt();
    // Made anew, it counts on from the clock: above any epoch that sidecars still running have seen.
    expect(first).toBeGreaterThan(Date.now() / 1000 - 60);
    expect(await b.attempt()).toBeUndefined();
    pass(LEASE_SECONDS * 1_000 - 1);
    expect(await a.attempt()).toBe(first);
    pass(2_000);
    expect(await b.attempt()).toBeUndefined();
    pass(LEASE_SECONDS * 1_000 + 1);
    expect(await b.attempt()).toBe(first! + 1);
    expect(await a.attempt()).toBeUndefined();
  });

  it('counts expiry from when it saw the lease, never from the other one’s clock', () => {
    const lease: Lease = {
      spec: { holderIdentity: 'a/1', renewTime: '1970-01-01T00:00:00.000000Z', leaseTransitions: 1 },
    };
    expect(claimLease({ lease, at: 100 }, 'b/1', 101, Date.now())).toBeUndefined();
  });

  it('is taken at once by the next process of the same pod, under a new epoch, and after a release', async () => {
    const { candidate } = stage();
    const first = await candidate('a/1').attempt();
    const again = candidate('a/2');
    expect(await again.attempt()).toBe(first! + 1);
    await again.release();
    expect(await candidate('b/1').attempt()).toBe(first! + 2);
  });

  it('is given up before another may take it, when it cannot be renewed', async () => {
    const { candidate, fail, now } = stage();
    const a = candidate('a/1');
    await a.attempt();
    fail();
    await a.keep();
    expect(now()).toBeGreaterThan(GIVE_UP_MS);
    expect(now()).toBeLessThanOrEqual(LEASE_SECONDS * 1_000);
  });
});
