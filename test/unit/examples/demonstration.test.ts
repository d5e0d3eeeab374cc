import { describe, expect, it } from 'vitest';
import { due } from '../../../manifests/examples/producer/producer.ts';
import { goSeconds } from '../../../scripts/demonstration/migrate.ts';
import { probeReport } from '../../../scripts/demonstration/prober.ts';
import { comparison, joined, type MigrationProof, proofOf, table } from '../../../scripts/demonstration/report.ts';
import { until } from '../../../scripts/demonstration/until.ts';

const good: MigrationProof = {
  pod: 'consumer-0',
  from: 'a',
  to: 'b',
  strategy: 'StopAndCopy',
  rate: 60,
  totalSeconds: 8,
  longestGapMs: 2000,
  failedProbes: 300,
  confirmed: 100,
  applied: 100,
  lost: 0,
  duplicated: 0,
  reordered: 0,
  outputsLost: 0,
  outputsDuplicated: 0,
  stateMatches: true,
  reconnects: 0,
  phaseSeconds: {},
};

describe('the proof', () => {
  it('holds only when every migration is without a fault', () => {
    expect(proofOf([good, good]).ok).toBe(true);
    expect(proofOf([]).ok).toBe(false);
    const faults: Partial<MigrationProof>[] = [
      { lost: 1 },
      { duplicated: 1 },
      { reordered: 1 },
      { outputsLost: 1 },
      { outputsDuplicated: 1 },
      { stateMatches: false },
      { reconnects: 1 },
      { error: 'exit 1' },
      { confirmed: 0 },
    ];
    for (const fault of faults) expect(proofOf([good, { ...good, ...fault }]).ok, JSON.stringify(fault)).toBe(false);
  });

  it('of two runs holds only when both do, and shows them side by side', () => {
    const swap = proofOf([10, 30, 20].map((longestGapMs) => ({ ...good, strategy: 'ShadowPodSwap', longestGapMs })));
    const stop = proofOf([good, { ...good, lost: 1 }]);
    expect(joined([swap, proofOf([good])]).ok).toBe(true);
    expect(joined([swap, stop])).toMatchObject({ ok: false, migrations: { length: 5 } });
    expect(joined([]).ok).toBe(false);
    const lines = comparison([swap, stop]).split('\n');
    expect(lines.find((line) => line.includes('longest gap'))).toMatch(/20 \/ 30.*2000 \/ 2000/);
    expect(lines.find((line) => line.includes('exact'))).toMatch(/yes.*NO/);
  });

  it('shows the phases in the order of their course', () => {
    const shown = table(proofOf([{ ...good, phaseSeconds: { Finalizing: 3, Checkpointing: 1, Pending: 2 } }]));
    expect(shown).toMatch(/Pending 2\.00[\s\S]*Checkpointing 1\.00[\s\S]*Finalizing 3\.00/);
  });

  it('reads Go durations, and no others', () => {
    expect(goSeconds('1.25s')).toBe(1.25);
    expect(goSeconds('1m2.5s')).toBe(62.5);
    expect(goSeconds('350ms')).toBeCloseTo(0.35);
    expect(goSeconds('0')).toBe(0);
    expect(goSeconds('12')).toBeNaN();
    expect(goSeconds('1s and more')).toBeNaN();
  });
});

describe('the prober', () => {
  it('counts within the window, and the longest failure from its first failed probe to the next good one', () => {
    const probes = [true, false, true, false, false, false, true, false].map((ok, index) => ({ at: index * 10, ok }));
    expect(probeReport(probes, 0, 100)).toEqual({ probes: 8, failed: 5, longestFailureMs: 30 });
    expect(probeReport(probes, 0, 20)).toEqual({ probes: 3, failed: 1, longestFailureMs: 10 });
  });
});

describe('the producer', () => {
  it('owes whole bursts at the average rate', () => {
    expect(due({ rate: 10, burst: 1 }, 0)).toBe(1);
    expect(due({ rate: 10, burst: 1 }, 999)).toBe(10);
    expect(due({ rate: 60, burst: 30 }, 499)).toBe(30);
    expect(due({ rate: 60, burst: 30 }, 500)).toBe(60);
    expect(due({ rate: 0, burst: 1 }, 5000)).toBe(0);
  });
});

describe('until', () => {
  it('asks again after failures, gives what it got, and says what it waited for', async () => {
    let asked = 0;
    const ask = async (): Promise<number | undefined> => {
      asked += 1;
      if (asked === 1) throw new Error('not there');
      return asked === 2 ? undefined : 0;
    };
    expect(await until('zero', 1000, ask, 1)).toBe(0);
    const never = until('a word', 20, () => Promise.reject(new Error('gone')), 5);
    await expect(never).rejects.toThrow(/waited 0 s for a word: gone/);
  });
});
