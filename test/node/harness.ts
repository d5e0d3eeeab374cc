/**
 * A node without Kubernetes: real runc, CRIU, overlay, cgroups and network namespaces under the names containerd and the
 * kubelet give them. Two of them and a pod each make a handoff. Fails, never skips, where a tool is missing.
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GATE_BIN } from '../../webhook/agent/gate.ts';
import { LAYOUT, type Layout, type Node, nodeOf } from '../../webhook/agent/node.ts';
import type { PodId } from '../../webhook/api/agent.ts';
import { SIDECAR } from '../../webhook/api/names.ts';
import { APP, SIDECAR_APP } from './programs.ts';

const REPO = join(import.meta.dirname, '../..');
export const HANDLER = join(REPO, 'webhook/agent/runtime/shadow-runc');

/** SHADOW_TEST_BIN, or what the playground has built. */
const toolDirs = (): string[] => {
  const cache = join(homedir(), '.cache/kubectl-shadow');
  const cached = existsSync(cache) ? readdirSync(cache).filter((name) => /^(runc|criu)-\d/.test(name)) : [];
  return [
    ...(process.env.SHADOW_TEST_BIN ?? '').split(':').filter(Boolean),
    ...cached.flatMap((name) => [join(cache, name), join(cache, name, 'bin')]),
  ];
};

export const TOOL_PATH = [...toolDirs(), process.env.PATH ?? ''].join(':');

export const requireTools = (): void => {
  if (process.getuid?.() !== 0) throw new Error('test/node needs root');
  for (const tool of ['runc', 'criu', 'nft', 'ip', 'ss', 'nsenter', 'tar']) {
    try {
      execFileSync('sh', ['-c', `command -v ${tool}`], { env: { PATH: TOOL_PATH } });
    } catch {
      throw new Error(`test/node needs ${tool}: run npm run playground -- up once, or set SHADOW_TEST_BIN`);
    }
  }
};

export const sh = (script: string): string =>
  execFileSync('sh', ['-ec', script], {
    env: { PATH: TOOL_PATH },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });

const nodeBinary = join(REPO, 'node_modules/node/bin/node');

/** The node binary with its libraries, and files for the app to change. */
const makeImage = (image: string): void => {
  const libraries = sh(`ldd ${nodeBinary}`).match(/\/[^\s:]+\.so[^\s:]*/g) ?? [];
  for (const library of libraries) {
    mkdirSync(join(image, library, '..'), { recursive: true });
    copyFileSync(library, join(image, library));
  }
  for (const directory of ['usr/bin', 'tmp', 'proc', 'dev', 'sys', 'etc', 'data', 'opt/again', 'shadow/run'])
    mkdirSync(join(image, directory), { recursive: true });
  copyFileSync(nodeBinary, join(image, 'usr/bin/node'));
  writeFileSync(join(image, 'data/gone'), 'of the image');
  writeFileSync(join(image, 'opt/again/old'), 'of the image');
  for (const path of ['data', 'data/gone', 'opt', 'opt/again', 'opt/again/old'])
    chownSync(join(image, path), 1000, 1000);
};

export interface TestContainer {
  name: string;
  id: string;
  bundle: string;
}

export interface TestPod extends PodId {
  netns: string;
  ip: string;
  gateway: string;
}

export interface TestNode {
  node: Node;
  layout: Layout;
  base: string;
}

const SECCOMP = {
  defaultAction: 'SCMP_ACT_ALLOW',
  architectures: ['SCMP_ARCH_X86_64'],
  syscalls: [
    { names: ['io_uring_setup', 'io_uring_enter', 'io_uring_register'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
  ],
};
const MOUNTS = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  {
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
  },
];

let labs = 0;

export class Lab {
  readonly base = join(tmpdir(), `shadow-node-${randomBytes(3).toString('hex')}`);
  readonly #tag = randomBytes(2).toString('hex');
  /** No two labs of a run share addresses: those of one before may still be known to the kernel. 10.244 is the playground's. */
  readonly #subnet = 200 + ((process.pid + labs++) % 44);
  readonly #undo: (() => void)[] = [];
  #pods = 0;

  constructor() {
    requireTools();
    makeImage(join(this.base, 'image'));
    writeFileSync(join(this.base, 'criu.conf'), 'network-lock skip\n');
  }

  node(name: string): TestNode {
    const base = join(this.base, name);
    const under = (path: string): string => join(base, path);
    const layout: Layout = {
      ...LAYOUT,
      ...{ root: '', runcRoot: under('runc'), tasks: under('tasks'), bin: under('bin'), kubelet: under('kubelet') },
      ...{ staged: under('shadow/staged'), checkpoints: under('shadow/checkpoints'), taken: under('shadow/taken') },
      ...{ epochs: under('shadow/epochs'), criuConfig: under('criu.conf'), network: '/proc/self/ns/net' },
    };
    for (const directory of [
      layout.runcRoot,
      layout.tasks,
      layout.staged,
      layout.checkpoints,
      layout.taken,
      layout.epochs,
    ])
      mkdirSync(directory, { recursive: true });
    mkdirSync(join(layout.kubelet, 'pods'), { recursive: true });
    mkdirSync(join(layout.bin, GATE_BIN), { recursive: true });
    copyFileSync(join(REPO, 'webhook/agent/runtime/criu-gate'), join(layout.bin, GATE_BIN, 'criu'));
    return { node: nodeOf(name, layout, [], TOOL_PATH), layout, base };
  }

  /** Network namespace with a veth to this one, and emptyDirs. */
  pod(on: TestNode, name: string): TestPod {
    const index = ++this.#pods;
    const netns = `sh${this.#tag}${index}`;
    const subnet = `10.${this.#subnet}.${index}`;
    sh(`ip netns add ${netns}; ip link add v${netns} type veth peer name eth0 netns ${netns}
      ip addr add ${subnet}.1/24 dev v${netns}; ip link set v${netns} up
      ip -n ${netns} link set lo up; ip -n ${netns} addr add ${subnet}.2/24 dev eth0; ip -n ${netns} link set eth0 up
      ip -n ${netns} route add default via ${subnet}.1`);
    this.#undo.push(() => sh(`ip netns del ${netns} || true; ip link del v${netns} 2>/dev/null || true`));
    const uid = randomUUID();
    for (const volume of ['tmp', SIDECAR.runVolume]) {
      mkdirSync(this.volume(on, uid, volume), { recursive: true });
      chmodSync(this.volume(on, uid, volume), 0o777);
    }
    return { namespace: 'default', name, uid, netns: `/run/netns/${netns}`, ip: `${subnet}.2`, gateway: `${subnet}.1` };
  }

  volume(on: TestNode, uid: string, volume: string): string {
    return join(on.layout.kubelet, 'pods', uid, 'volumes/kubernetes.io~empty-dir', volume);
  }

  /** The bundle as containerd makes it: config.json with its annotations, an overlay mounted at rootfs. */
  container(
    on: TestNode,
    pod: TestPod,
    name: string,
    program: string,
    annotations: Record<string, string> = {},
  ): TestContainer {
    const id = randomBytes(16).toString('hex');
    const bundle = join(on.layout.tasks, id);
    const overlay = join(on.base, 'overlay', id);
    for (const directory of [join(bundle, 'rootfs'), join(overlay, 'upper'), join(overlay, 'work')])
      mkdirSync(directory, { recursive: true });
    sh(
      `mount -t overlay overlay -o lowerdir=${this.base}/image,upperdir=${overlay}/upper,workdir=${overlay}/work ${bundle}/rootfs`,
    );
    const uid = name === SIDECAR.container ? SIDECAR.uid : 1000;
    const bind = (volume: string, destination: string) => ({
      ...{ destination, type: 'bind', source: this.volume(on, pod.uid, volume), options: ['rbind', 'rprivate', 'rw'] },
    });
    const volume = name === SIDECAR.container ? bind(SIDECAR.runVolume, SIDECAR.runDir) : bind('tmp', '/tmp');
    const config = {
      ociVersion: '1.2.0',
      process: {
        ...{ terminal: false, user: { uid, gid: uid }, cwd: '/', noNewPrivileges: true, capabilities: {} },
        args: ['/usr/bin/node', '-e', program],
        env: ['PATH=/usr/bin', `PEER=${pod.gateway}`],
      },
      root: { path: 'rootfs', readonly: false },
      hostname: pod.name,
      mounts: [...MOUNTS, volume],
      annotations: {
        'io.kubernetes.cri.container-name': name,
        'io.kubernetes.cri.container-type': 'container',
        'io.kubernetes.cri.sandbox-name': pod.name,
        'io.kubernetes.cri.sandbox-namespace': pod.namespace,
        'io.kubernetes.cri.sandbox-uid': pod.uid,
        'org.criu.config': join(this.base, 'criu.conf'),
        ...annotations,
      },
      linux: {
        cgroupsPath: `/shadow-test-${this.#tag}/${id}`,
        namespaces: [...['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })), { type: 'network', path: pod.netns }],
        maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'],
        readonlyPaths: ['/proc/bus', '/proc/sys'],
        seccomp: SECCOMP,
      },
    };
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
    this.#undo.push(() => {
      sh(`runc --root ${on.layout.runcRoot} delete --force ${id} 2>/dev/null || true; umount ${bundle}/rootfs || true`);
    });
    return { name, id, bundle };
  }

  /** As the shim calls it: standard streams are pipes, the log is JSON. Resolves with the exit status. */
  async oci(
    on: TestNode,
    program: string,
    verb: 'create' | 'start',
    container: TestContainer,
    wait = 90,
    more: Record<string, string> = {},
  ): Promise<number> {
    const { bundle, id } = container;
    const status = join(bundle, `${verb}.status`);
    rmSync(status, { force: true });
    const args = ['--root', on.layout.runcRoot, '--log', join(bundle, 'log.json'), '--log-format', 'json', verb];
    const own = verb === 'create' ? ['--bundle', bundle, '--pid-file', join(bundle, 'init.pid'), id] : [id];
    const script = `{ "$@" </dev/null 2>&1; echo $? >${status}.new; mv ${status}.new ${status}; } | cat >>${bundle}/output`;
    const env = {
      PATH: TOOL_PATH,
      SHADOW_DIR: join(on.base, 'shadow'),
      SHADOW_WAIT: String(wait),
      SHADOW_RESTORE: '3',
      ...more,
    };
    spawn('sh', ['-c', script, 'oci', program, ...args, ...own], { stdio: 'ignore', detached: true, env }).unref();
    while (!existsSync(status)) await sleep(2);
    return Number(readFileSync(status, 'utf8'));
  }

  log(container: TestContainer): string {
    const text = (file: string): string =>
      existsSync(join(container.bundle, file)) ? readFileSync(join(container.bundle, file), 'utf8') : '';
    return text('log.json') + text('output');
  }

  /** A pod of a sidecar and an app, running. */
  async source(
    on: TestNode,
    name = 'consumer-0',
  ): Promise<{ pod: TestPod; sidecar: TestContainer; app: TestContainer }> {
    const pod = this.pod(on, name);
    const sidecar = this.container(on, pod, SIDECAR.container, SIDECAR_APP);
    const app = this.container(on, pod, 'app', APP);
    for (const container of [sidecar, app]) {
      for (const verb of ['create', 'start'] as const) {
        const status = await this.oci(on, 'runc', verb, container);
        if (status !== 0) throw new Error(`${verb} ${container.name}: ${this.log(container)}`);
      }
      await until(() => ask(pod, container.name === 'app' ? '/state' : '/healthz').then(Boolean, () => false));
    }
    return { pod, sidecar, app };
  }

  close(): void {
    for (const undo of this.#undo.reverse()) {
      try {
        undo();
      } catch {
        // The rest still has to go.
      }
    }
    sh(`for d in /sys/fs/cgroup/*/shadow-test-${this.#tag} /sys/fs/cgroup/shadow-test-${this.#tag}; do
      if [ -d $d ]; then find $d -depth -type d -exec rmdir {} + || true; fi; done`);
    rmSync(this.base, { recursive: true, force: true });
  }
}

/** The app answers on 9002, the sidecar on 15055. */
export const ask = async (pod: TestPod, path: string): Promise<string> => {
  const port = path.startsWith('/state') ? 9002 : 15055;
  const response = await fetch(`http://${pod.ip}:${port}${path}`, {
    signal: AbortSignal.timeout(1000),
    headers: { connection: 'close' },
  });
  return response.text();
};

export interface AppState {
  sent: number;
  echoed: number;
  bad: number;
  closed: string;
  external: string;
  files: Record<string, string>;
}
export const stateOf = async (pod: TestPod): Promise<AppState> => JSON.parse(await ask(pod, '/state')) as AppState;

export const until = async (condition: () => Promise<boolean> | boolean, ms = 20_000): Promise<void> => {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${condition}`);
    await sleep(10);
  }
};
