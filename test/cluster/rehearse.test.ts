/** Rehearsals of a real app under load: what they find, that nothing of them is left, and that none is ever committed. */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Result } from '../../plugin/check/evaluate.ts';
import { listMigrations } from '../../scripts/demonstration/kube.ts';
import { PLUGIN } from '../../scripts/demonstration/migrate.ts';
import { until } from '../../scripts/demonstration/until.ts';
import {
  API_VERSION,
  GROUP,
  isEnded,
  KIND,
  PLURAL,
  type StatefulMigration,
  VERSION,
} from '../../webhook/api/migration.ts';
import type { Rehearsal } from '../../webhook/api/rehearsal.ts';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  instances,
  migrateAway,
  nodeOf,
  openBed,
  openLoad,
  plugin,
  removeApp,
  type Spec,
} from './support/bed.ts';
import { leader } from './support/faults.ts';
import { leftovers } from './support/leftovers.ts';
import { EXACT, type Load } from './support/load.ts';
import { startPostgres } from './support/postgres.ts';
import { stateOf, whileAsked } from './support/serving.ts';
import { atMoment } from './support/watch.ts';

let bed: Bed;
/** What somebody else has left on the nodes before. */
let known: ReadonlySet<string>;
beforeAll(async () => {
  bed = await openBed('shadow-test-rehearse');
  known = new Set(await leftovers(bed));
});
/** The last traces may go a moment after the rehearsal has ended. */
const left = async (): Promise<string[]> => {
  for (const deadline = performance.now() + 10_000; ; ) {
    const found = (await leftovers(bed)).filter((line) => !known.has(line));
    if (found.length === 0 || performance.now() > deadline) return found;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
};
afterAll(() => closeBed(bed));

interface Rehearsed {
  exit: number;
  checks: Result[];
  rehearsal: Rehearsal & { strategy: string; error?: { code: string; message: string } };
}

const rehearse = async (pod: string, ...args: string[]): Promise<Rehearsed> => {
  const { exit, stdout, stderr } = await plugin(bed, 'check', `pod/${pod}`, '--rehearse', '-o', 'json', ...args);
  expect(stdout, stderr).not.toBe('');
  return { exit, ...JSON.parse(stdout) };
};
const told = ({ checks }: Rehearsed, id: string): Result => checks.find((one) => one.id === id)!;

const where = () => ({ group: GROUP, version: VERSION, namespace: bed.namespace, plural: PLURAL });
const nameOf = ({ metadata: { name } }: StatefulMigration): { name: string } => ({ name });

const rehearsals = async (): Promise<StatefulMigration[]> =>
  (await listMigrations(bed.kube, bed.namespace)).filter(({ spec }) => spec.rehearse);

describe('a deterministic app under load', () => {
  const SPEC: Spec = { topic: 'play', mode: 'sequential', prefetch: 50 };
  const POD = 'play-0';
  let load: Load;
  let process: string[];
  let before: object;

  beforeAll(async () => {
    await deployApp(bed, SPEC);
    process = await instances(bed, SPEC);
    load = await openLoad(bed, SPEC, { rate: 50 });
    load.start();
    await load.flowing();
    before = await stateOf(bed, POD);
  });

  const asBefore = async (): Promise<void> => {
    await load.flowing();
    expect(await left()).toEqual([]);
    expect(await stateOf(bed, POD)).toEqual(before);
    expect(await instances(bed, SPEC)).toEqual(process);
  };

  it('is safe to replay; it served throughout, and is as before', async () => {
    const [rehearsed, { requests, failed }] = await whileAsked(bed, POD, () => rehearse(POD));
    expect(rehearsed.rehearsal).toMatchObject({ verdict: 'Safe', strategy: 'ShadowPodSwap', diverged: 0 });
    expect({ exit: rehearsed.exit, failed }).toEqual({ exit: 0, failed: [] });
    expect(requests).toBeGreaterThan(50);
    const { matched, frozenMs, bytes, sourceRate, copyRate, caughtUpMs, estimate, steps } = rehearsed.rehearsal;
    expect(matched).toBeGreaterThan(50);
    for (const number of [frozenMs, bytes, sourceRate, copyRate, caughtUpMs, estimate?.wholeMs])
      expect(number).toBeGreaterThan(0);
    expect(estimate).toMatchObject({ pause: 'Measured', pauseMs: frozenMs });
    expect(steps?.Replaying).toBeGreaterThanOrEqual(3_000);
    console.log(JSON.stringify({ ...rehearsed.rehearsal, checks: rehearsed.checks.slice(-5) }));
    expect(await rehearsals()).toEqual([]);
    await asBefore();
  });

  /** What breaks it off comes when the copy plays. */
  const brokenOff = async (act: () => void, send?: NodeJS.Signals): Promise<number | null> => {
    const child = spawn(PLUGIN, ['check', `pod/${POD}`, '--rehearse', '--for', '30s', '-n', bed.namespace], {
      stdio: 'ignore',
      env: { ...globalThis.process.env, KUBECONFIG: bed.kubeconfig },
    });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const armed = await atMoment(bed, { pod: POD, handoff: 0, step: 'Replaying' }, () => {
      act();
      if (send) child.kill(send);
    });
    try {
      return await ended;
    } finally {
      armed.disarm();
      expect(armed.fired()).toBeDefined();
    }
  };

  it('broken off by Ctrl-C is put back before the plugin ends', async () => {
    expect(await brokenOff(() => undefined, 'SIGINT')).toBe(130);
    expect(await rehearsals()).toEqual([]);
    await asBefore();
  });

  it('whose plugin is killed ends by itself; what is left of it says what it was, and goes with its pod', async () => {
    await brokenOff(() => undefined, 'SIGKILL');
    const running = await plugin(bed, 'list');
    expect(running.stdout).toMatch(/shadow-rehearsal-.*Rehears/);
    const ended = await until('the rehearsal to end', 60_000, async () => (await rehearsals()).find(isEnded));
    expect(ended.status).toMatchObject({ phase: 'Rehearsed', rehearsal: { verdict: 'Safe' } });
    expect(ended.metadata.finalizers ?? []).toEqual([]);
    expect(ended.metadata).toMatchObject({ ownerReferences: [{ kind: 'Pod', name: POD }] });
    await bed.kube.custom.deleteNamespacedCustomObject({ ...where(), ...nameOf(ended) });
    await asBefore();
  });

  it('whose leading controller is killed comes to its end by the next one, and is put back', async () => {
    const victim = await leader(bed);
    const exit = await brokenOff(() => victim.kill());
    await victim.replace();
    expect([0, 1]).toContain(exit);
    expect(await rehearsals()).toEqual([]);
    await asBefore();
  });

  it('migrates right after a rehearsal', async () => {
    expect((await rehearse(POD, '--for', '5s')).exit).toBe(0);
    const { exit, stderr, target, migration } = await migrateAway(bed, POD, 'ShadowPodSwap');
    expect({ exit, stderr }).toMatchObject({ exit: 0 });
    console.log(JSON.stringify({ took: migration?.status?.phaseTimings, handoffs: migration?.status?.handoffs }));
    expect(await nodeOf(bed, POD)).toBe(target);
  });

  it('and after all of this the oracle agrees', async () => {
    expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
    expect(await instances(bed, SPEC)).toEqual(process);
    await removeApp(bed, SPEC);
  });
});

describe('an app that tells the time of day', () => {
  const SPEC: Spec = { topic: 'dated', mode: 'clock', prefetch: 20 };
  const POD = 'dated-0';

  it('is found unsafe, with the place where its copy did otherwise, and goes on exactly', async () => {
    await deployApp(bed, SPEC);
    const load = await openLoad(bed, SPEC, { rate: 20 });
    load.start();
    await load.flowing();
    const before = await stateOf(bed, POD);
    const rehearsed = await rehearse(POD);
    expect({ exit: rehearsed.exit, rehearsal: rehearsed.rehearsal }).toMatchObject({
      exit: 1,
      rehearsal: { verdict: 'Diverged', strategy: 'ShadowPodSwap', error: { code: 'SHADOW_E_DIVERGED' } },
    });
    expect(told(rehearsed, 'rehearsal-replay')).toMatchObject({
      ...{ outcome: 'fail', doc: 'docs/errors.md#shadow_e_diverged' },
      message: expect.stringMatching(/SHADOW_E_DIVERGED.*exchange 'dated\.ticks'/),
    });
    console.log(JSON.stringify(rehearsed.checks.slice(-5)));
    await load.flowing();
    expect(await left()).toEqual([]);
    expect(await stateOf(bed, POD)).toEqual(before);
    expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
    await removeApp(bed, SPEC);
  });
});

describe('an app with a database', () => {
  it('is rehearsed fenced off: no row is written twice, and it is told what that means', async () => {
    const database = await startPostgres();
    try {
      await database.query('create table applied (seq int, consumer text)');
      const spec: Spec = { topic: 'rows', mode: 'database', env: { DATABASE_URL: database.url } };
      await deployApp(bed, spec);
      const load = await openLoad(bed, spec, { rate: 20 });
      load.start();
      await load.flowing();
      const before = await stateOf(bed, 'rows-0');
      const rehearsed = await rehearse('rows-0', '--for', '20s');
      expect({ exit: rehearsed.exit, rehearsal: rehearsed.rehearsal }).toMatchObject({
        exit: 0,
        rehearsal: { verdict: 'Diverged', strategy: 'StopAndCopy', estimate: { pause: 'Estimated' } },
      });
      expect(told(rehearsed, 'rehearsal-copy').message).toContain('fenced off');
      expect(told(rehearsed, 'rehearsal-replay')).toMatchObject({
        ...{ outcome: 'warn', message: expect.stringContaining('A migration takes StopAndCopy') },
      });
      console.log(JSON.stringify(rehearsed.checks.slice(-5)));
      await load.flowing();
      expect(await left()).toEqual([]);
      expect(await stateOf(bed, 'rows-0')).toEqual(before);
      const finding = await finish(bed, spec, load);
      expect(finding).toMatchObject(EXACT);
      const [rows] = await database.query('select count(*)::int as n, count(distinct seq)::int as each from applied');
      expect(rows).toEqual({ n: finding.confirmed, each: finding.confirmed });
      await removeApp(bed, spec);
    } finally {
      await database.stop();
    }
  });
});

describe('the API server itself', () => {
  const create = (name: string, spec: object): Promise<StatefulMigration> =>
    bed.kube.custom.createNamespacedCustomObject({
      ...where(),
      body: { apiVersion: API_VERSION, kind: KIND, metadata: { name }, spec },
    }) as Promise<StatefulMigration>;

  it('refuses a commit of a rehearsal, by whomever, and that one becomes a migration', async () => {
    const made = await create('by-hand', { sourcePod: 'nobody-0', rehearse: true });
    const ended = await until('it to end', 30_000, async () =>
      (await rehearsals()).find((each) => each.metadata.name === 'by-hand' && isEnded(each)),
    );
    expect(ended.status).toMatchObject({ phase: 'Rehearsed', error: { code: 'SHADOW_E_POD_NOT_FOUND' } });
    const side = { name: 'nobody-0', node: 'node-1' };
    const handoff = {
      ...{ index: 0, claim: 'c', source: side, copy: side, step: 'Committed', entered: {}, attempt: 1 },
      decision: { verdict: 'commit', at: new Date().toISOString(), epoch: 1 },
    };
    const status = (verdict: string) =>
      bed.kube.custom.replaceNamespacedCustomObjectStatus({
        ...{ ...where(), ...nameOf(made) },
        body: {
          ...ended,
          status: { ...ended.status, handoffs: [{ ...handoff, decision: { ...handoff.decision, verdict } }] },
        },
      });
    await expect(status('commit')).rejects.toThrow(/a rehearsal is never committed/);
    await expect(
      bed.kube.custom.patchNamespacedCustomObject({
        ...{ ...where(), ...nameOf(made) },
        body: [{ op: 'replace', path: '/spec/rehearse', value: false }],
      }),
    ).rejects.toThrow(/rehearse cannot be changed/);
    // It is the verdict that is refused.
    await status('abort');
    await bed.kube.custom.deleteNamespacedCustomObject({ ...where(), ...nameOf(made) });
  });

  it('refuses one that is to be a dry run too, or to play for too long', async () => {
    const both = create('both', { sourcePod: 'nobody-0', rehearse: true, dryRun: true });
    await expect(both).rejects.toThrow(/exclude each other/);
    const long = create('long', { sourcePod: 'nobody-0', rehearse: true, rehearseSeconds: 61 });
    await expect(long).rejects.toThrow(/rehearseSeconds/);
  });
});
