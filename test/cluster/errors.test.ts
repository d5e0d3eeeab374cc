/**
 * What goes wrong around a migration, as a user meets it: an old API server, a time that is over, a broker that refuses the
 * copy, a target node that dies. Code, exit, place and hint are told, and the source is as it was. Refusals are in refusals.test.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listMigrations } from '../../scripts/demonstration/kube.ts';
import { runPlugin } from '../../scripts/demonstration/migrate.ts';
import { type NodeName, powerCut, powerOn, rabbitmqctl } from '../../scripts/playground/lib.ts';
import type { ErrorCode } from '../../webhook/api/errors.ts';
import type { StatefulMigration, Step, Strategy } from '../../webhook/api/migration.ts';
import { BROKER } from './support/apps.ts';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  installed,
  instances,
  migrateAway,
  nodeOf,
  openBed,
  openLoad,
  plugin,
  type Spec,
} from './support/bed.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { EXACT, type Load } from './support/load.ts';
import { oldServer } from './support/old-server.ts';
import { spread } from './support/spread.ts';
import { expectFailure, type Traces, tracesOf } from './support/untouched.ts';
import { atMoment } from './support/watch.ts';

const POD = 'errs-0';
/** The app's own account at the broker. */
const USER = 'shadow-test-errors';
const PASSWORD = 'first';
const SPEC: Spec = {
  topic: 'errs',
  mode: 'sequential',
  prefetch: 20,
  declares: true,
  env: { AMQP_URL: BROKER.replace('shadow:shadow', `${USER}:${PASSWORD}`) },
};
let bed: Bed;
let load: Load;
let scratch: string;
let before: string[];

const ctl = async (...args: string[]): Promise<void> => {
  const { code, stderr, stdout } = await rabbitmqctl(['-q', ...args]);
  expect(code, `${stdout}${stderr}`).toBe(0);
};
const allow = (): Promise<void> => ctl('set_permissions', USER, '.*', '.*', '.*');

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'shadow-errors-'));
  bed = await openBed('shadow-test-errors');
  await rabbitmqctl(['-q', 'delete_user', USER]);
  await ctl('add_user', USER, PASSWORD);
  await allow();
  await deployApp(bed, SPEC);
  before = await instances(bed, SPEC);
  load = await openLoad(bed, SPEC, { rate: 40 });
  load.start();
  await load.flowing();
});
afterAll(async () => {
  for (const node of ['node-1', 'node-2'] as const) await powerOn(node);
  if (bed) await installed(bed.kube);
  await closeBed(bed);
  await rabbitmqctl(['-q', 'delete_user', USER]);
  rmSync(scratch, { recursive: true, force: true });
});

/** The app is the process it was, where it was, on the broker connection it had, and serves; nothing else is left. */
const goesOn = async (had: Traces, withinMs?: number): Promise<void> => {
  expect(await settledLeftovers(bed, withinMs)).toEqual([]);
  expect(await tracesOf(bed, POD)).toEqual(had);
  expect(await instances(bed, SPEC)).toEqual(before);
  await load.flowing();
};

const expectUndone = (migration: StatefulMigration | undefined, code: ErrorCode): void => {
  const { phase, error, handoffs } = migration?.status ?? {};
  expect({ phase, code: error?.code }).toEqual({ phase: 'Failed', code });
  expect(handoffs).toHaveLength(1);
  expect(handoffs?.[0]?.decision).toMatchObject({ verdict: 'abort', code });
};

describe('an old API server (a stand-in before the real one)', () => {
  it('has nothing installed on it, and check and migrate say why', async () => {
    const old = await oldServer(bed, 'v1.27.3', scratch);
    const had = await tracesOf(bed, POD);
    const typed = (...args: string[]) => runPlugin([...args, '-n', bed.namespace], old);
    try {
      expectFailure(await typed('migrate', POD), 'SHADOW_E_NOT_INSTALLED');
      for (const more of [[], ['--dry-run=server']]) {
        const refused = await runPlugin(['install', ...more], old);
        expectFailure(refused, 'SHADOW_E_API_VERSION', 'Kubernetes v1.27.3 is older than 1.30', /1\.30 or later/);
        expect(refused.stdout).toBe('');
      }
      const { exit, stdout } = await typed('check', '-o', 'json');
      const { checks } = JSON.parse(stdout) as { checks: { id: string; outcome: string; message: string }[] };
      expect(exit).toBe(1);
      expect(checks.find(({ id }) => id === 'api-version')).toMatchObject({
        outcome: 'fail',
        message: 'Kubernetes v1.27.3 is older than 1.30',
      });
      expect(old.writes).toEqual([]);
    } finally {
      await old.close();
    }
    await goesOn(had);
  });
});

describe('a time that is over', () => {
  it('ends the waiting alone: the migration goes on, and how it ended is told by what the hint names', async () => {
    const known = (await listMigrations(bed.kube, bed.namespace)).length;
    const late = await plugin(bed, 'migrate', POD, '--timeout', '1s');
    expectFailure(late, 'SHADOW_E_TIMEOUT', new RegExp(`${POD}-\\w+ after 1s, phase \\w+`), 'kubectl shadow status');
    const name = /\b(errs-0-\w+) after 1s/.exec(late.stderr)?.[1] ?? '';
    const { exit, stderr } = await plugin(bed, 'status', name, '--watch');
    expect({ exit, stderr }).toMatchObject({ exit: 0 });
    const all = await listMigrations(bed.kube, bed.namespace);
    expect(all).toHaveLength(known + 1);
    expect(all.find(({ metadata }) => metadata.name === name)?.status?.phase).toBe('Completed');
    expect(await instances(bed, SPEC)).toEqual(before);
    expect(await settledLeftovers(bed)).toEqual([]);
  });
});

describe('a broker that refuses the copy', () => {
  const REFUSALS: readonly { what: string; strategy: Strategy; withdraw: () => Promise<void>; said: RegExp }[] = [
    {
      what: 'the password was changed since the app connected',
      strategy: 'StopAndCopy',
      withdraw: () => ctl('change_password', USER, 'second'),
      said: /403 ACCESS_REFUSED/,
    },
    {
      what: 'its permissions were taken away since the app connected',
      strategy: 'ShadowPodSwap',
      withdraw: () => ctl('clear_permissions', USER),
      said: /530 NOT_ALLOWED/,
    },
  ];
  it.each(REFUSALS)('$what, $strategy: undone before the commit', async ({ strategy, withdraw, said }) => {
    const had = await tracesOf(bed, POD);
    await withdraw();
    try {
      const { migration, ...result } = await migrateAway(bed, POD, strategy);
      expectFailure(result, 'SHADOW_E_ATTACH', said, /the source goes on; .*sidecar/);
      expectUndone(migration, 'SHADOW_E_ATTACH');
      await goesOn(had);
    } finally {
      await ctl('change_password', USER, PASSWORD);
      await allow();
    }
  });

  it('and when that is mended, the same pod migrates', async () => {
    const { exit, stderr, target } = await migrateAway(bed, POD);
    expect({ exit, stderr }).toMatchObject({ exit: 0 });
    expect(await nodeOf(bed, POD)).toBe(target);
    expect(await instances(bed, SPEC)).toEqual(before);
  });
});

describe("the target node's power is cut before the commit", () => {
  const CUTS: readonly { step: Step; strategy: Strategy; code: RegExp }[] = [
    { step: 'Transferring', strategy: 'StopAndCopy', code: /^SHADOW_E_(TRANSFER|AGENT_UNREACHABLE|RESTORE)$/ },
    { step: 'Replaying', strategy: 'ShadowPodSwap', code: /^SHADOW_E_SIDECAR_UNREACHABLE$/ },
  ];
  it.each(CUTS)('in $step: the source goes on, and the migration ends while the node is dark', async (cut) => {
    await spread(bed);
    const had = await tracesOf(bed, POD);
    let dark: Promise<void> | undefined;
    let node: NodeName | undefined;
    const armed = await atMoment(bed, { pod: POD, handoff: 0, step: cut.step }, ({ status }) => {
      node = status?.targetNode as NodeName;
      dark = powerCut(node);
    });
    try {
      const { migration, target, ...result } = await migrateAway(bed, POD, cut.strategy);
      armed.disarm();
      await dark;
      expect(node, result.stderr).toBe(target);
      const { code } = migration?.status?.error ?? {};
      expect(code, result.stderr).toMatch(cut.code);
      expectFailure(result, code!);
      expectUndone(migration, code!);
      console.log(JSON.stringify({ cut: cut.step, code, seconds: Math.round((result.to - result.from) / 1000) }));
      // Whoever names the dead node is refused by it.
      expectFailure(await plugin(bed, 'migrate', POD, '--to', target), 'SHADOW_E_NODE_UNFIT', target);
      expect(await tracesOf(bed, POD)).toEqual(had);
    } finally {
      if (node !== undefined) await powerOn(node);
    }
    await goesOn(had, 30_000);
  });
});

it('after all of this the oracle agrees', async () => {
  await installed(bed.kube);
  expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
  expect(await instances(bed, SPEC)).toEqual(before);
});
