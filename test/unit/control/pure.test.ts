import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Command, type CommandType, type Settlement, SidecarState } from '../../../webhook/api/control.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { tokenReviewer } from '../../../webhook/controller/hub/authenticate.ts';
import { backoff } from '../../../webhook/sidecar/control.ts';
import { waited } from '../../../webhook/sidecar/freeze.ts';
import * as handoff from '../../../webhook/sidecar/handoff.ts';
import { settingsOf } from '../../../webhook/sidecar/sidecar.ts';

const command = (type: CommandType, claim = 'm-0', epoch = 1): Command =>
  ({ type, claim, epoch, id: 1, timeoutMs: 1, generation: 1, deadlineMs: 1 }) as Command;
const record = (generation: number): Command => ({ ...command('freeze'), record: true, generation }) as Command;
const TYPES: CommandType[] = [
  'mute',
  'freeze',
  'unmute',
  'serve',
  'replay',
  'attach',
  'live',
  'supersede',
  'settleStatus',
  'retire',
];
const inState = (state: SidecarState, more: Partial<handoff.Handoff> = {}): handoff.Handoff => ({
  ...handoff.fresh,
  state,
  claim: 'm-0',
  ...more,
});
const verdict = (of: handoff.Handoff, asked: Command): string => {
  try {
    return handoff.judge(of, asked);
  } catch (error) {
    return error instanceof ShadowError ? error.code : 'bug';
  }
};

test('each state carries out what the protocol allows there, and nothing else', () => {
  const acts = Object.fromEntries(
    SidecarState.options.map((state) => [
      state,
      TYPES.filter((type) => verdict(inState(state), command(type)) === 'act'),
    ]),
  );
  expect(acts).toEqual({
    idle: ['mute'],
    recording: ['mute', 'unmute', 'serve'],
    muting: ['serve'],
    mute: ['freeze', 'unmute', 'serve', 'supersede'],
    copy: ['attach'],
    replaying: [],
    replayed: ['live'],
    attached: ['attach', 'live'],
    live: [],
    superseded: ['settleStatus', 'retire'],
    closed: ['retire'],
  });
});

test('a record begins where its copy was cut, and nowhere else', () => {
  const freezes = SidecarState.options.filter((state) => verdict(inState(state), record(2)) === 'act');
  expect(freezes).toEqual(['idle', 'recording']);
  // The cut of that generation was made: a record begun anew would be none of its copy's.
  const recording = inState('recording', { recorded: true, generation: 2 });
  expect(verdict(recording, record(2))).toBe('same');
  expect(verdict(recording, record(3))).toBe('act');
  // A copy is made ready by what it is a copy of.
  const twin = inState('copy', { recorded: true });
  expect(verdict(twin, command('replay'))).toBe('act');
  expect(verdict(twin, command('attach'))).toBe('SHADOW_E_ATTACH');
  expect(verdict(inState('copy'), command('replay'))).toBe('SHADOW_E_RECORD');
  // Its sidecar was restarted meanwhile: what it was a copy of is gone.
  expect(verdict(handoff.restarted('m-0'), command('replay'))).toBe('SHADOW_E_RECORD');
  expect(verdict(inState('replaying'), command('live'))).toBe('SHADOW_E_ATTACH');
});

test('a source that recorded leaves its Services when it is told to, not before; any other when it is mute', () => {
  const ready = (recorded: boolean, retired = false): SidecarState[] =>
    SidecarState.options.filter((state) => !handoff.unready(inState(state, { recorded, retired })));
  expect(ready(false)).toEqual(['idle', 'recording', 'muting', 'live']);
  expect(ready(true)).toEqual(['idle', 'recording', 'muting', 'mute', 'live', 'superseded', 'closed']);
  expect(ready(true, true)).toEqual(['idle', 'recording', 'muting', 'live']);
  // Its app is connected to nothing.
  expect(handoff.unready({ ...handoff.restarted('m-0'), recorded: true })).toBe(true);
});

test('past the commit an abort is refused, before it a copy does not go live unattached (invariants 4, 5)', () => {
  for (const state of ['superseded', 'closed'] as const) {
    for (const type of ['mute', 'unmute', 'freeze'] as const) {
      expect(verdict(inState(state), command(type))).toBe('SHADOW_E_COMMITTED');
    }
  }
  expect(verdict(inState('copy'), command('live'))).toBe('SHADOW_E_ATTACH');
  // The sidecar that was to be cut is not the one that runs.
  const restarted = handoff.restarted('m-0');
  expect(verdict(restarted, command('freeze'))).toBe('SHADOW_E_SOURCE_LOST');
  expect(verdict(restarted, command('attach'))).toBe('SHADOW_E_ATTACH');
  expect(verdict(restarted, command('live'))).toBe('act');
});

test("another claim's commands never act on a handoff", () => {
  for (const state of SidecarState.options.filter((name) => name !== 'idle')) {
    for (const type of TYPES) {
      expect(verdict(inState(state), command(type, 'm-1')), `${type} in ${state}`).toMatch(/^SHADOW_E_/);
    }
  }
  // The marker could not be read: any claim's controller may decide.
  expect(verdict(handoff.restarted(''), command('unmute', 'm-9'))).toBe('act');
});

const ack = (tag: number): Settlement => ({ connection: 1, channel: 1, tag, kind: 'ack', requeue: false });

test('however the wire loses, repeats and delays, the source takes each settlement once, in order (invariant 2)', () => {
  const step = fc.constantFrom('settle', 'carry', 'carryLast', 'drop', 'repeat', 'prove', 'answer', 'dropAnswer');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      let outbox = handoff.emptyOutbox;
      let inbox = handoff.emptyInbox;
      let tags = 0;
      const wire: import('../../../webhook/api/control.ts').Settle[] = [];
      const answers: number[] = [];
      const applied: number[] = [];
      const depart = (): void => {
        const next = handoff.departing(outbox, 'm-0');
        outbox = next.outbox;
        wire.push(...next.batches);
      };
      const arrive = (batch = wire.shift()): void => {
        if (batch === undefined) return;
        const received = handoff.receive(inbox, batch);
        inbox = received.inbox;
        if (received.again) answers.push(inbox.proven);
      };
      const prove = (): void => {
        const next = handoff.take(inbox);
        if (next === undefined) return;
        applied.push(...next.batch.items.map(({ tag }) => tag));
        inbox = handoff.proved(next.inbox, next.batch.seq);
        answers.push(next.batch.seq);
      };
      const answer = (): void => {
        const seq = answers.shift();
        if (seq === undefined) return;
        outbox = handoff.answered(outbox, seq);
        depart();
      };
      const moves: Record<string, () => void> = {
        settle: () => {
          tags += 1;
          outbox = handoff.enqueue(outbox, [ack(tags)]);
          depart();
        },
        carry: arrive,
        carryLast: () => arrive(wire.pop()),
        drop: () => void wire.shift(),
        repeat: () => void wire.push(...outbox.sent),
        prove,
        answer,
        dropAnswer: () => void answers.shift(),
      };
      for (const name of steps) moves[name]?.();
      // The wire holds from now on: all arrives within as many rounds as there are batches.
      for (let round = 0; !handoff.isEmpty(outbox) && round <= tags; round += 1) {
        wire.push(...outbox.sent);
        while (wire.length > 0) arrive();
        for (let i = 0; i < handoff.WINDOW; i += 1) prove();
        while (answers.length > 0) answer();
      }
      expect(handoff.isEmpty(outbox)).toBe(true);
      expect(applied).toEqual(Array.from({ length: tags }, (_, i) => i + 1));
    }),
    // The last answer lost, with nothing after it to tell.
    { numRuns: 300, examples: [[['settle', 'carry', 'prove', 'dropAnswer']]] },
  );
});

test('neither a jump of the clock nor a pause ends a freeze early', () => {
  expect(waited(100, 5000, 5003)).toBe(103);
  expect(waited(100, 5000, 9_000_000)).toBeLessThanOrEqual(150);
  expect(waited(100, 5000, 10)).toBe(100);
});

test('reconnecting takes 0.2 to 5 s, in a handoff far less, and never storms', () => {
  for (const random of [0, 0.5, 0.999]) {
    for (const failures of [0, 3, 1000]) {
      const ms = backoff(failures, false, random);
      expect(ms).toBeGreaterThanOrEqual(200);
      expect(ms).toBeLessThanOrEqual(5000);
    }
    expect(backoff(5, true, random)).toBeLessThanOrEqual(100);
    expect(backoff(1000, true, random)).toBeGreaterThanOrEqual(200);
  }
});

test('a token counts only when reviewed for our audience and bound to a pod', async () => {
  const user = {
    username: 'system:serviceaccount:shop:default',
    extra: {
      'authentication.kubernetes.io/pod-name': ['consumer-0'],
      'authentication.kubernetes.io/pod-uid': ['u-1'],
    },
  };
  const good = { authenticated: true, audiences: ['shadow.ms2m.io'], user };
  let asked = 0;
  let status: object = good;
  let now = 0;
  const authenticate = tokenReviewer(
    {
      createTokenReview: async ({ body }) => {
        asked += 1;
        expect(body.spec.audiences).toEqual(['shadow.ms2m.io']);
        return { spec: body.spec, status };
      },
    },
    () => now,
  );
  expect(await authenticate('t')).toEqual({ namespace: 'shop', pod: 'consumer-0', uid: 'u-1' });
  await authenticate('t');
  expect(asked).toBe(1);
  const bad = [
    { ...good, authenticated: false },
    { ...good, audiences: ['https://kubernetes.default.svc'] },
    { ...good, audiences: undefined },
    { ...good, user: { ...user, extra: {} } },
    { ...good, user: { ...user, username: 'system:node:n1' } },
  ];
  now = 61_000;
  for (const each of bad) {
    status = each;
    await expect(authenticate('t')).rejects.toMatchObject({ code: 'SHADOW_E_FORBIDDEN' });
  }
});

test('the environment is checked and named', () => {
  const SHADOW_BROKERS = '[{"host":"rabbitmq.rabbitmq.svc","port":5672,"listen":"127.0.0.1"}]';
  expect(settingsOf({ SHADOW_BROKERS, SHADOW_BLIND_PORTS: '[15672, 1883]' })).toMatchObject({
    brokers: [{ host: 'rabbitmq.rabbitmq.svc', port: 5672, listen: '127.0.0.1' }],
    blindPorts: [15672, 1883],
    controllerUrl: 'wss://shadow-controller.shadow-system.svc:8444/v1/sidecar',
    graceMs: 25_000,
    reattachMs: 60_000,
  });
  expect(settingsOf({ SHADOW_BROKERS, SHADOW_NAMESPACE: 'tools' })).toMatchObject({
    controllerUrl: 'wss://shadow-controller.tools.svc:8444/v1/sidecar',
    controllerName: 'shadow-controller.tools.svc',
  });
  expect(settingsOf({ SHADOW_BROKERS, SHADOW_REATTACH_SECONDS: '0' }).reattachMs).toBe(0);
  expect(() => settingsOf({ SHADOW_BROKERS, SHADOW_REATTACH_SECONDS: '-1' })).toThrow(/SHADOW_REATTACH_SECONDS/);
  expect(settingsOf({ SHADOW_BROKERS, SHADOW_BLIND_PORTS: '' }).blindPorts).toEqual([]);
  const full = { listenToo: '::1', tls: true, others: [{ host: 'fd00::7', port: 5671 }] };
  const [broker] = JSON.parse(SHADOW_BROKERS) as object[];
  const with_ = (more: object) => settingsOf({ SHADOW_BROKERS: JSON.stringify([{ ...broker, ...more }]) }).brokers;
  expect(with_(full)).toEqual([{ ...broker, ...full }]);
  for (const [field, value] of Object.entries({ listenToo: '127.0.0.2', tls: 'yes', others: ['mq:5672'] }))
    expect(() => with_({ [field]: value }), field).toThrow(/SHADOW_BROKERS/);
  expect(() => settingsOf({})).toThrow(/SHADOW_BROKERS/);
  expect(() => settingsOf({ SHADOW_BROKERS: 'nonsense' })).toThrow(/SHADOW_BROKERS/);
  expect(() => settingsOf({ SHADOW_BROKERS, SHADOW_BLIND_PORTS: 'x' })).toThrow(/SHADOW_BLIND_PORTS/);
});
