/** The record on its way through the hub, where the sidecars can't reach one another. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { CONTROL_PATH, RECORD_CHUNK } from '../../../webhook/api/control.ts';
import { createWorld, pause, SERVER_NAME, until, type World } from './world.ts';

vi.setConfig({ testTimeout: 30_000 });

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const CLAIM = 'm-0';
const wanted = (received: number) => ({ type: 'wanted', claim: CLAIM, received, lag: 2, played: 7 }) as const;
const recorded = (offset: number, bytes = 'AAAA') => ({ type: 'recorded', claim: CLAIM, offset, bytes }) as const;

interface Peer {
  ws: WebSocket;
  got: { type: string; offset?: number; received?: number }[];
  /** The reason the hub gave. */
  closed: Promise<string>;
  say(message: object): void;
}

const dial = async (uid: string, state: string): Promise<Peer> => {
  const ws = new WebSocket(`wss://127.0.0.1:${world.hub().port()}${CONTROL_PATH}`, {
    ca: world.authority.pem,
    headers: { authorization: `Bearer token-${uid}` },
    ...{ servername: SERVER_NAME },
  });
  const got: Peer['got'] = [];
  ws.on('message', (data) => got.push(JSON.parse(String(data))));
  const closed = new Promise<string>((resolve) => ws.on('close', (_code, reason) => resolve(String(reason))));
  await new Promise((resolve) => ws.on('open', resolve));
  const say = (message: object): void => ws.send(JSON.stringify(message));
  say({ type: 'hello', version: '1', process: 'p', state, claim: CLAIM });
  await world.connected(uid);
  return { ws, got, closed, say };
};

test('passes each way between the two of the claim, as it was sent', async () => {
  const source = await dial('source', 'recording');
  const copy = await dial('copy', 'replaying');
  world.hub().route(CLAIM, 'source', 'copy');
  copy.say(wanted(0));
  await until('wanted', () => source.got.length === 1);
  expect(source.got).toEqual([wanted(0)]);
  source.say(recorded(0, 'BBBB'));
  source.say(recorded(3, 'CCCC'));
  await until('recorded', () => copy.got.length === 2);
  expect(copy.got).toEqual([recorded(0, 'BBBB'), recorded(3, 'CCCC')]);
  expect(source.got).toHaveLength(1);
});

test('is dropped without a route or a peer, and goes on when the copy asks again', async () => {
  const source = await dial('source', 'recording');
  const copy = await dial('copy', 'replaying');
  copy.say(wanted(0));
  source.say(recorded(0));
  await pause(100);
  world.hub().route(CLAIM, 'source', 'copy');
  // Nothing was kept: what was said before there was a way is not said now.
  await pause(100);
  expect([source.got, copy.got]).toEqual([[], []]);
  source.ws.close();
  await until('gone', () => world.hub().session('source') === undefined);
  copy.say(wanted(1));
  await pause(50);
  const again = await dial('source', 'recording');
  copy.say(wanted(2));
  await until('asked again', () => again.got.length === 1);
  expect(again.got).toEqual([wanted(2)]);
  world.hub().unroute(CLAIM);
  again.say(recorded(2));
  await pause(100);
  expect(copy.got).toEqual([]);
});

test('only the copy may want it, only the source may tell it', async () => {
  world.hub().route(CLAIM, 'source', 'copy');
  const [source, copy, other] = [
    await dial('source', 'recording'),
    await dial('copy', 'replaying'),
    await dial('x', 'idle'),
  ];
  other.say(recorded(0));
  expect(await other.closed).toBe('not the source of that claim');
  const another = await dial('x', 'idle');
  another.say(wanted(0));
  expect(await another.closed).toBe('not the copy of that claim');
  source.say(wanted(0));
  expect(await source.closed).toBe('not the copy of that claim');
  copy.say(recorded(0));
  expect(await copy.closed).toBe('not the source of that claim');
  expect([source.got, copy.got]).toEqual([[], []]);
});

test('a copy that does not read is not sent more than a few MiB; what it gets has no hole before the first that is missing', async () => {
  world.hub().route(CLAIM, 'source', 'copy');
  const source = await dial('source', 'recording');
  const copy = await dial('copy', 'replaying');
  copy.ws.pause();
  const chunk = Buffer.alloc(RECORD_CHUNK, 7).toString('base64');
  const count = 120;
  for (let index = 0; index < count; index++) {
    source.say(recorded(index * RECORD_CHUNK, chunk));
    await pause(2);
  }
  // An answer behind them all: the hub has taken the last.
  source.say({
    type: 'state',
    state: 'recording',
    claim: CLAIM,
    record: { bytes: 1, entries: 2, rate: 3, throttle: 1 },
  });
  await until('taken', () => world.hub().session('source')?.record !== undefined);
  copy.ws.resume();
  await until('something', () => copy.got.length > 8);
  await pause(500);
  expect(copy.got.length).toBeLessThan(count / 2);
  const offsets = copy.got.map(({ offset }) => offset);
  expect(offsets.slice(0, 8)).toEqual(Array.from({ length: 8 }, (_, index) => index * RECORD_CHUNK));
  // It has room again.
  source.say(recorded(1));
  await until('goes on', () => copy.got.at(-1)?.offset === 1);
});

test('what the two report is seen with the session, and ends with the state it belongs to', async () => {
  const copy = await dial('copy', 'copy');
  const play = {
    ...{ link: 'relay', received: 9, played: 8, lag: 1, matched: 4, waiting: 0, rate: 12.5, diverged: 1 },
    ...{ divergence: 'a nack for an ack', attached: true, ended: false },
  } as const;
  const told: string[] = [];
  world.hub().onChange((uid) => told.push(uid));
  copy.say({
    type: 'state',
    state: 'replaying',
    claim: CLAIM,
    play,
    lost: 'a nack for an ack',
    code: 'SHADOW_E_DIVERGED',
  });
  await until('told', () => told.length > 0);
  expect(world.hub().session('copy')).toMatchObject({ state: 'replaying', play, code: 'SHADOW_E_DIVERGED' });
  copy.say({ type: 'state', state: 'live', claim: CLAIM });
  await until('told', () => world.hub().session('copy')?.state === 'live');
  for (const key of ['play', 'record', 'lost', 'code']) expect(world.hub().session('copy')).not.toHaveProperty(key);
});

test('each command of the replay has its own answer', async () => {
  const source = await dial('source', 'recording');
  source.ws.on('message', (data) => {
    const { id, type } = JSON.parse(String(data));
    source.say({ type: 'answer', id, ok: true, result: type === 'serve' ? { port: 4711 } : {} });
  });
  const tls = { cert: 'c', key: 'k', peer: 'p' };
  expect(await world.hub().command('source', { type: 'serve', claim: CLAIM, tls })).toEqual({ port: 4711 });
  expect(await world.hub().command('source', { type: 'retire', claim: CLAIM })).toEqual({});
  const replay = { type: 'replay', claim: CLAIM, onDivergence: 'Abort', stallMs: 1, attachMs: 1 } as const;
  expect(await world.hub().command('source', replay)).toEqual({});
});
