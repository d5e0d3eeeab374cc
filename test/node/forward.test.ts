/** A superseded source in its real network: who still comes to its address is served by the copy. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, get, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Calls } from '../../webhook/agent/calls.ts';
import { Forward } from '../../webhook/api/control.ts';
import { claimOf, SIDECAR } from '../../webhook/api/names.ts';
import { agentOn, CONTAINERS } from './agents.ts';
import { ask, Lab, sh, type TestNode, type TestPod, until } from './harness.ts';

const APP_PORT = 9002;
const CLAIM = { claim: claimOf('0f0f0f0f-2222', 0), epoch: 1 };
const COPY = 'the copy';

let lab: Lab;
let agent: Calls;
let on: TestNode;
let pod: TestPod;
let copy: Server;
let early: Socket;
let forwarder: ChildProcess;
let forwards: Forward[];

beforeAll(async () => {
  lab = new Lab();
  on = lab.node('a');
  agent = agentOn(on);
  ({ pod } = await lab.source(on));
  copy = createServer((_request, response) => response.end(COPY));
  await new Promise<void>((resolve) => copy.listen(APP_PORT, pod.gateway, resolve));
  early = connect(APP_PORT, pod.ip);
  await new Promise<void>((resolve) => early.once('connect', resolve));
  // Only from here on the kernel tracks connections.
  await agent.fence({ ...CLAIM, pod });
  const script = join(import.meta.dirname, 'forwarder.ts');
  forwarder = spawn('nsenter', [`--net=${pod.netns}`, process.execPath, script, pod.gateway]);
  let said = '';
  forwarder.stdout?.on('data', (data) => {
    said += data;
  });
  forwarder.stderr?.pipe(process.stderr);
  await until(() => said.includes('\n'));
  forwards = Forward.array().parse(JSON.parse(said));
});
afterAll(() => {
  early?.destroy();
  forwarder?.kill('SIGKILL');
  copy?.closeAllConnections();
  copy?.close();
  lab?.close();
});

/** On a connection of its own; the error's code if there is none to be had. */
const request = (): Promise<string> =>
  new Promise((resolve) => {
    const options = { host: pod.ip, port: APP_PORT, agent: false, signal: AbortSignal.timeout(2_000) };
    get(options, (response) => {
      let text = '';
      response.on('data', (data) => {
        text += data;
      });
      response.on('end', () => resolve(text));
      response.on('error', (error) => resolve(error.message));
    }).on('error', (error) => resolve(error.message));
  });
const isApp = (text: string): boolean => text.includes('echoed');

test('what the app serves is found in the pod itself: not what the sidecar does, nor what is on loopback', () => {
  expect(forwards).toEqual([{ port: APP_PORT, to: expect.any(Number) }]);
});

test('where others turn connections we do not', async () => {
  sh(`nsenter --net=${pod.netns} nft add table ip nat`);
  await expect(agent.forward({ ...CLAIM, pod, forwards })).rejects.toMatchObject({ code: 'SHADOW_E_UNSUPPORTED' });
  sh(`nsenter --net=${pod.netns} nft delete table ip nat`);
  expect(isApp(await request())).toBe(true);
});

test('under load none is refused while connections are turned, all that follow are the copy’s, none under way is moved', async () => {
  const answers: string[] = [];
  let turned = Number.POSITIVE_INFINITY;
  const end = performance.now() + 1_500;
  const load = Array.from({ length: 8 }, async () => {
    while (performance.now() < end) {
      const at = performance.now();
      const text = await request();
      if (at > turned) expect(text).toBe(COPY);
      answers.push(text);
    }
  });
  await sleep(500);
  const { open } = await agent.forward({ ...CLAIM, pod, forwards });
  // The early one, and of the load at most one each.
  expect(open).toBeGreaterThanOrEqual(1);
  expect(open).toBeLessThanOrEqual(1 + load.length);
  turned = performance.now();
  // idempotent, also under load
  await agent.forward({ ...CLAIM, pod, forwards });
  await Promise.all(load);
  expect(answers.filter((text) => !isApp(text) && text !== COPY)).toEqual([]);
  expect(answers.filter(isApp).length).toBeGreaterThan(10);
  expect(answers.filter((text) => text === COPY).length).toBeGreaterThan(10);
  let text = '';
  early.on('data', (data) => {
    text += data;
  });
  early.end('GET /state HTTP/1.0\r\n\r\n');
  await until(() => isApp(text));
  expect(await agent.forward({ ...CLAIM, pod, forwards })).toEqual({ open: 0 });
  // the kubelet's probes of the sidecar still reach it
  expect(await ask(pod, '/healthz')).toMatch(/^\d+$/);
});

test('the fence holds meanwhile: the app itself reaches nobody', () => {
  const dial = (uid: number): string =>
    sh(
      `nsenter --net=${pod.netns} setpriv --reuid ${uid} --clear-groups timeout 1 bash -c '</dev/tcp/${pod.gateway}/${APP_PORT}' 2>/dev/null && echo reached || echo no`,
    ).trim();
  expect([dial(1000), dial(SIDECAR.uid)]).toEqual(['no', 'reached']);
});

test('to no port: the app is asked again', async () => {
  await agent.forward({ ...CLAIM, pod, forwards: [] });
  await agent.forward({ ...CLAIM, pod, forwards: [] });
  expect(isApp(await request())).toBe(true);
  await agent.forward({ ...CLAIM, pod, forwards });
  expect(await request()).toBe(COPY);
});

test('killed, its address is still answered; when the sidecar ends, who holds a connection is told', async () => {
  await agent.kill({ ...CLAIM, pod, containers: CONTAINERS });
  expect(await request()).toBe(COPY);
  const idle = connect(APP_PORT, pod.ip);
  let ended = 0;
  idle.on('end', () => {
    ended = performance.now();
  });
  idle.on('error', () => undefined);
  await new Promise<void>((resolve) => idle.once('connect', resolve));
  const told = performance.now();
  process.kill(Number(forwarder.pid), 'SIGTERM');
  await sleep(150);
  expect(await request()).toBe(COPY);
  await until(() => ended > 0, 3_000);
  expect(ended - told).toBeGreaterThan(280);
  await until(() => forwarder.exitCode !== null, 3_000);
});

/** Says something half a second after it was asked. */
const SLOW = `require('net').createServer(s=>{s.on('error',()=>0);s.on('data',()=>setTimeout(()=>s.write('late'),500))}).listen(9100,()=>console.log('up'))`;

test('a request that is under way when the fence comes is answered, since connections are tracked from the cut on', async () => {
  const { pod: source } = await lab.source(on, 'consumer-1');
  const claim = { claim: claimOf('0f0f0f0f-2222', 1), epoch: 1 };
  await ask(source, '/?freeze=1');
  const { netns, ip: podIP } = source;
  await agent.cut({
    ...{ ...claim, pod: source, podIP, containers: CONTAINERS },
    ...{ freezeGeneration: 1, driver: 'runc', resume: true },
  });
  const slow = spawn('nsenter', [`--net=${netns}`, 'setpriv', '--reuid', '1000', process.execPath, '-e', SLOW]);
  let up = false;
  slow.stdout?.on('data', () => {
    up = true;
  });
  await until(() => up);
  const client = connect(9100, podIP, () => client.write('now'));
  let said = '';
  client.on('data', (data) => {
    said += data;
  });
  await sleep(200);
  await agent.fence({ ...claim, pod: source });
  await until(() => said === 'late', 3_000);
  client.destroy();
  slow.kill('SIGKILL');
  const tables = () => sh(`nsenter --net=${netns} nft list tables`);
  expect(tables()).toContain('shadow_track');
  // undone, nothing of it is left
  await agent.resume({ ...claim, pod: source, containers: CONTAINERS });
  expect(tables()).not.toContain('shadow');
});
