/** A superseded source without the sidecar, in its real network: who still comes is the copy's, its app acts no more. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer as createHttpServer, get, type Server as HttpServer } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Calls } from '../../webhook/agent/calls.ts';
import { containersOf, pidsOf } from '../../webhook/agent/containers.ts';
import { isPaused } from '../../webhook/agent/freezer.ts';
import { claimOf } from '../../webhook/api/names.ts';
import { agentOn } from './agents.ts';
import { Lab, sh, type TestContainer, type TestNode, type TestPod, TOOL_PATH, until } from './harness.ts';

const CLAIM = { claim: claimOf('0e0e0e0e-2222', 0), epoch: 1 };
const CONTAINERS = [{ name: 'app', sidecar: false }];
const PORT = 9002;
/** Served by the app, but sent to by no Service. */
const OTHER = 9003;
const BROKER = 7788;
/** Below what Linux takes for outgoing connections. */
const FIRST_OF_LOAD = 20_000;
const [AT6, TO6] = ['fd5a::2', 'fd5a::1'];

/** Answers by HTTP, and counts into a connection it holds to the broker, which it would open anew. */
const APP = `
const net=require('net'),http=require('http');let n=0;
const dial=()=>{const s=net.connect(${BROKER},process.env.PEER,()=>s.write('hello '));s.setNoDelay(true);
s.on('error',()=>0);s.on('close',()=>setTimeout(dial,5));const t=setInterval(()=>s.destroyed?clearInterval(t):s.write((n++)+' '),5)};dial();
process.on('SIGTERM',()=>process.exit(0));
for(const p of [${PORT},${OTHER}])http.createServer((q,r)=>r.end('the app')).listen(p,'::');`;

let lab: Lab;
let on: TestNode;
let agent: Calls;
let pod: TestPod;
let app: TestContainer;
let copy: HttpServer;
let broker: Server;
const heard: { text: string; ended: string }[] = [];

const request = (host = pod.ip, port = PORT, localPort = 0): Promise<string> =>
  new Promise((resolve) => {
    const options = { host, port, localPort, agent: false, signal: AbortSignal.timeout(1_500) };
    get(options, (response) => {
      let text = '';
      response.on('data', (data) => {
        text += data;
      });
      response.on('end', () => resolve(text));
    }).on('error', (error) => resolve(error.message));
  });
const tables = (): string => sh(`nsenter --net=${pod.netns} nft list tables`);
const inPod = (script: string): string => sh(`nsenter --net=${pod.netns} sh -ec '${script}'`);
const divert = () =>
  agent.divert({ ...CLAIM, pod, at: [pod.ip, AT6], to: [TO6, pod.gateway, '10.1.2.3'], ports: [PORT] });
const still = () => agent.still({ ...CLAIM, pod, containers: CONTAINERS });

beforeAll(async () => {
  lab = new Lab();
  on = lab.node('a');
  agent = agentOn(on);
  pod = lab.pod(on, 'bare-0');
  const link = pod.netns.replace('/run/netns/', 'v');
  sh(`ip addr add ${TO6}/64 dev ${link} nodad`);
  inPod(`ip addr add ${AT6}/64 dev eth0 nodad`);
  broker = createServer((socket) => {
    const one = { text: '', ended: '' };
    heard.push(one);
    socket.on('data', (data) => {
      one.text += data;
    });
    socket.on('error', ({ message }) => {
      one.ended = message;
    });
    socket.on('end', () => {
      one.ended = 'end';
    });
  });
  await new Promise<void>((resolve) => broker.listen(BROKER, pod.gateway, resolve));
  app = lab.container(on, pod, 'app', APP);
  for (const verb of ['create', 'start'] as const)
    if ((await lab.oci(on, 'runc', verb, app)) !== 0) throw new Error(lab.log(app));
  await until(async () => (await request()) === 'the app');
  copy = createHttpServer((_request, response) => response.end('the copy'));
});
afterAll(() => {
  copy?.closeAllConnections();
  copy?.close();
  broker?.close();
  lab?.close();
});

test('nothing is sent on to a copy that does not answer, and no request notices that it was tried', async () => {
  const asking = Array.from({ length: 20 }, async (_, n) => {
    await sleep(10 * n);
    return request();
  });
  const refused = { code: 'SHADOW_E_UNSUPPORTED', message: expect.stringMatching(/ECONNREFUSED/) };
  await expect(divert()).rejects.toMatchObject(refused);
  expect(new Set(await Promise.all(asking))).toEqual(new Set(['the app']));
  expect(tables()).toBe('');
  // and an app that is not diverted is not held still
  expect(await still()).toEqual({ still: false });
  expect(await request()).toBe('the app');
});

test('where others turn connections, or no address fits, we do not', async () => {
  inPod('nft add table ip nat');
  await expect(divert()).rejects.toMatchObject({ code: 'SHADOW_E_UNSUPPORTED' });
  inPod('nft delete table ip nat');
  const apart = agent.divert({ ...CLAIM, pod, at: [pod.ip], to: [TO6], ports: [PORT] });
  await expect(apart).rejects.toMatchObject({ code: 'SHADOW_E_UNSUPPORTED' });
});

const connected = async (port = PORT): Promise<Socket> => {
  const socket = connect(port, pod.ip);
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return socket;
};
const endOf = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    socket.on('error', (error) => resolve(error.message));
    socket.on('end', () => resolve('end'));
  });

test('under load none is refused while it is diverted and held still: all that come after are the copy’s', async () => {
  await new Promise<void>((resolve) => copy.listen(PORT, '::', resolve));
  const early = await connected();
  const idle = await connected(OTHER);
  const ends = Promise.all([endOf(early), endOf(idle)]);
  const answers: string[] = [];
  let [turned, over] = [Number.POSITIVE_INFINITY, false];
  // From few ports, again and again: one whose end the kernel had missed would count as open still, and be turned nowhere.
  const load = [pod.ip, pod.ip, AT6, AT6].map(async (host, of) => {
    for (let n = 0; !over; n++) {
      const at = performance.now();
      const text = await request(host, PORT, FIRST_OF_LOAD + 100 * of + (n % 30));
      if (at > turned) expect(text).toBe('the copy');
      answers.push(text);
      await sleep(2);
    }
  });
  await sleep(300);
  await divert();
  turned = performance.now();
  await divert();
  // who came before is still served by the app
  let said = '';
  early.on('data', (data) => {
    said += data;
  });
  early.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => said.includes('the app'));
  const before = heard.at(-1);
  expect(before?.ended).toBe('');
  await sleep(150);
  const from = performance.now();
  expect(await still()).toEqual({ still: true });
  expect(performance.now() - from).toBeLessThan(1_000);
  // the broker is told at once, as are clients; what it holds back is free again
  await until(() => before?.ended !== '', 500);
  expect(before?.ended).toMatch(/ECONNRESET/);
  expect(await ends).toEqual([expect.stringMatching(/ECONNRESET/), expect.stringMatching(/ECONNRESET/)]);
  expect(await still()).toEqual({ still: true });
  await sleep(700);
  over = true;
  await Promise.all(load);
  expect(answers.filter((text) => text !== 'the app' && text !== 'the copy')).toEqual([]);
  expect(answers.filter((text) => text === 'the app').length).toBeGreaterThan(10);
  expect(answers.filter((text) => text === 'the copy').length).toBeGreaterThan(10);
  // not one more instruction: it would have connected again
  expect(heard).toHaveLength(1);
  expect(tables()).not.toContain('trial');
});

test('what no Service sends to is refused at once; nothing of the app is heard any more', async () => {
  const from = performance.now();
  expect(await request(pod.ip, OTHER)).toMatch(/ECONNREFUSED/);
  expect(performance.now() - from).toBeLessThan(500);
  expect(inPod('ss -Htn state connected exclude time-wait')).toBe('');
});

test('asked to end it stays as it is, and passes on; killed then by the runtime, nothing is left of it', async () => {
  const [container] = await containersOf(on.node, pod.uid);
  const runc = (...args: string[]): string =>
    execFileSync('runc', ['--root', on.layout.runcRoot, ...args], { env: { PATH: TOOL_PATH }, encoding: 'utf8' });
  runc('kill', app.id, 'TERM');
  await sleep(500);
  expect(await isPaused(on.node, container!)).toBe(true);
  expect((await pidsOf(on.node, container!)).length).toBeGreaterThan(0);
  expect(await request()).toBe('the copy');
  runc('kill', app.id, 'KILL');
  await until(() => !existsSync(`/proc/${container?.pid}/exe`), 3_000);
  expect(heard).toHaveLength(1);
  runc('delete', app.id);
  expect(existsSync(on.node.at(container!.cgroup))).toBe(false);
});
