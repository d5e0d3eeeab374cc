import { describe, expect, it } from 'vitest';
import { lull } from '../../../webhook/sidecar/lull.ts';
import { Watch } from '../../../webhook/sidecar/watch.ts';

const tried = () => {
  const watch = new Watch();
  const state = { outstanding: 3, over: false };
  const begun = performance.now();
  const ended = lull(() => state.outstanding, watch).then(() => {
    state.over = true;
    return performance.now() - begun;
  });
  const becomes = async (outstanding: number): Promise<void> => {
    state.outstanding = outstanding;
    watch.changed();
    await new Promise(setImmediate);
  };
  return { state, ended, becomes };
};

describe('the moment to fall silent', () => {
  it('is when something is settled, not when something is delivered', async () => {
    const { state, ended, becomes } = tried();
    await becomes(3);
    await becomes(5);
    expect(state.over).toBe(false);
    await becomes(4);
    expect(state.over).toBe(true);
    expect(await ended).toBeLessThan(150);
  });

  it('is at once where there is nothing to settle, and was nothing for a while', async () => {
    const took = async (outstanding: number, idleMs: number) => {
      const begun = performance.now();
      await lull(() => outstanding, new Watch(), idleMs);
      return performance.now() - begun;
    };
    expect(await took(0, 300)).toBeLessThan(100);
    expect(await took(1, 300)).toBeGreaterThan(150);
    expect(await took(0, 100)).toBeGreaterThan(150);
  });

  it('comes anyway, soon, when nothing is settled', async () => {
    const { ended, becomes } = tried();
    await becomes(4);
    const waited = await ended;
    expect(waited).toBeGreaterThan(150);
    expect(waited).toBeLessThan(1000);
  });
});
