/** One run of the evaluation, as npm run eval makes it: the paper's consumer with the sidecar, moved under its load. */
import { connect } from 'amqplib';
import { afterAll, expect, it } from 'vitest';
import { listMigrations } from '../../scripts/demonstration/kube.ts';
import { runOnce } from '../../scripts/eval/run.ts';
import { podsOf, remove } from '../../scripts/eval/workload.ts';
import { NAMESPACE } from '../../scripts/eval/workload-names.ts';
import { brokerUrl } from '../../scripts/playground/lib.ts';
import { type Bed, closeBed, openBed } from './support/bed.ts';

let bed: Bed | undefined;
afterAll(() => closeBed(bed));

it('a run is measured, and nothing of it is left', async () => {
  bed = await openBed('shadow-test-eval');
  const { kube } = bed;
  const site = { kube, brokerUrl: brokerUrl(), log: console.error, signal: new AbortController().signal };
  const outcome = await runOnce(site, { app: 'node', workMs: 10, config: 'ShadowPodSwap', rate: 20, run: 1 });
  expect(outcome, JSON.stringify(outcome)).toMatchObject({
    ...{ outcome: 'measured', strategy: 'ShadowPodSwap', pods: 1, reconnects: 0, stateMatches: true },
    ...{ lost: 0, duplicated: 0, reordered: 0, outputsLost: 0, outputsDuplicated: 0, failedProbes: 0 },
  });
  if (outcome.outcome !== 'measured') return;
  expect(outcome.from).not.toBe(outcome.to);
  // A burst each second, three before it and three after.
  expect(outcome.confirmed).toBeGreaterThanOrEqual(6 * 20);
  expect(outcome.bytes).toBeGreaterThan(2 ** 20);
  expect(outcome.phaseSeconds.Replaying).toBeGreaterThan(0);
  // The two handoffs do not go without a pause.
  expect(outcome.gapMs).toBeGreaterThan(10);
  expect(outcome.gapMs).toBeLessThan(outcome.totalSeconds * 1000);
  const broker = await connect(brokerUrl());
  const channel = await broker.createChannel();
  await remove(kube, channel);
  expect(await podsOf(kube)).toEqual([]);
  expect(await listMigrations(kube, NAMESPACE)).toEqual([]);
  await broker.close();
});
