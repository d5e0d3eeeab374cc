import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import type { PlayReport, RecordReport } from '../../../webhook/api/control.ts';
import { isReadyIn, publishesAlways, selecting } from '../../../webhook/controller/endpoints.ts';
import { hasCaughtUp, replayOf } from '../../../webhook/controller/steps/replaying.ts';
import { podSpec } from './world.ts';

const record = (entries: number): RecordReport => ({ bytes: 0, entries, rate: 60, throttle: 0.8 });
const play = (change: Partial<PlayReport>): PlayReport => ({
  ...{ link: 'direct', received: 100, played: 98, lag: 2, matched: 50, waiting: 0, rate: 0, diverged: 0 },
  ...{ attached: true, ended: false },
  ...change,
});

describe('a copy has caught up', () => {
  it.each<[string, boolean, Partial<PlayReport>, number]>([
    ['with a few left', true, { lag: 3 }, 100],
    ['not with one more at a slow pace', false, { lag: 4 }, 100],
    ['with a tenth of a second left at its pace', true, { lag: 24, rate: 240 }, 100],
    ['not with more', false, { lag: 25, rate: 240 }, 100],
    ['never before its connections are open', false, { lag: 0, attached: false }, 100],
    ['not while much of the record has not reached it', false, { lag: 0 }, 121],
    ['with what is told at different moments', true, { lag: 0, rate: 240 }, 220],
    ['not with more than that', false, { lag: 0, rate: 240 }, 221],
  ])('%s: %s', (_text, expected, change, entries) => {
    expect(hasCaughtUp({ record: record(entries) }, { play: play(change) })).toBe(expected);
  });

  it('as far as it can, once its lag has not become less for five seconds: two seconds at its pace', () => {
    const told = { play: play({ lag: 40, rate: 20 }) };
    expect(hasCaughtUp({ record: record(100) }, told, 4_999)).toBe(false);
    expect(hasCaughtUp({ record: record(100) }, told, 5_000)).toBe(true);
    expect(hasCaughtUp({ record: record(100) }, { play: play({ lag: 41, rate: 20 }) }, 60_000)).toBe(false);
  });

  it('not while either says nothing', () => {
    expect(hasCaughtUp({ record: undefined }, { play: play({}) })).toBe(false);
    expect(hasCaughtUp({ record: record(100) }, { play: undefined })).toBe(false);
  });
});

it('what is told of a replay counts what has not reached the copy as lag', () => {
  expect(replayOf({ record: record(130) }, { play: play({ divergence: 'x' }) }, 0)).toEqual({
    ...{ at: '1970-01-01T00:00:00.000Z', link: 'direct', sourceRate: 60, throttle: 0.8, recorded: 130, played: 98 },
    ...{ lag: 32, matched: 50, waiting: 0, diverged: 0, divergence: 'x' },
  });
  // The source's last word may be older than the copy's.
  expect(replayOf({ record: record(90) }, { play: play({}) }, 0)).toMatchObject({ recorded: 100, lag: 2 });
  expect(replayOf({ record: record(90) }, { play: undefined }, 0)).toBeUndefined();
});

describe('Services', () => {
  const pod = podSpec();
  pod.metadata!.uid = 'u1';
  const service = (name: string, selector?: Record<string, string>): V1Service => ({
    metadata: { name },
    spec: selector === undefined ? {} : { selector },
  });
  const slice = (of: string, ...endpoints: [string, boolean | undefined][]): V1EndpointSlice => ({
    metadata: { name: `${of}-x`, labels: { 'kubernetes.io/service-name': of } },
    addressType: 'IPv4',
    endpoints: endpoints.map(([uid, ready]) => ({
      addresses: ['10.0.0.1'],
      targetRef: { kind: 'Pod', uid },
      ...(ready === undefined ? {} : { conditions: { ready } }),
    })),
  });

  it('that select the pod are those whose whole selector it has', () => {
    const name = {
      ...service('name', { app: 'consumer' }),
      spec: { type: 'ExternalName', selector: { app: 'consumer' } },
    };
    const [fits, more, none, empty] = [
      service('fits', { app: 'consumer' }),
      service('more', { app: 'consumer', tier: 'gold' }),
      service('none'),
      service('empty', {}),
    ];
    expect(selecting([fits, more, none, empty, name], pod)).toEqual([fits]);
  });

  it('send to it when any of their own slices says so', () => {
    const fits = service('fits', { app: 'consumer' });
    expect(isReadyIn([slice('fits', ['u0', true]), slice('fits', ['u1', true])], fits, pod)).toBe(true);
    expect(isReadyIn([slice('fits', ['u1', undefined])], fits, pod)).toBe(true);
    expect(isReadyIn([slice('fits', ['u1', false])], fits, pod)).toBe(false);
    expect(isReadyIn([slice('other', ['u1', true]), slice('fits', ['u0', true])], fits, pod)).toBe(false);
    expect(publishesAlways({ spec: { publishNotReadyAddresses: true } })).toBe(true);
    expect(publishesAlways(fits)).toBe(false);
  });
});
