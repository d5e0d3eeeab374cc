import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hierarchies } from '../../../scripts/playground/cgroups.ts';
import { containerdToml, kubeletConfig } from '../../../scripts/playground/config.ts';
import { API_SERVICE, NODES, nodeAddress, nodeCgroup, podCidr } from '../../../scripts/playground/layout.ts';
import { writePki } from '../../../scripts/playground/pki.ts';
import { parseStat } from '../../../scripts/playground/state.ts';
import { residentMegabytes } from '../../../scripts/playground/status.ts';

test('certificates: signed by the CA, for the right names, ours alone to read, serials all different', {
  timeout: 60_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'pki-'));
  try {
    await writePki(dir);
    const cert = (name: string) => new X509Certificate(readFileSync(join(dir, `${name}.crt`)));
    const ca = cert('ca');
    expect(ca.ca).toBe(true);
    const names = ['apiserver', 'admin', 'scheduler', 'coredns', ...NODES];
    for (const name of names) {
      expect(cert(name).verify(ca.publicKey)).toBe(true);
      expect(cert(name).ca).toBe(false);
      expect(statSync(join(dir, `${name}.key`)).mode & 0o077).toBe(0);
    }
    expect(cert('apiserver').checkIP(API_SERVICE)).toBe(API_SERVICE);
    expect(cert('node-1').checkIP(nodeAddress('node-1'))).toBe(nodeAddress('node-1'));
    expect(cert('node-1').checkIP(nodeAddress('node-2'))).toBeUndefined();
    expect(cert('node-2').subject).toBe('CN=system:node:node-2\nO=system:nodes');
    // A caller's certificate must not pass for a server.
    expect(cert('scheduler').subjectAltName).toBeUndefined();
    expect(cert('scheduler').keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(new Set([...names, 'ca'].map((name) => cert(name).serialNumber)).size).toBe(names.length + 1);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('containerd knows nothing of us before the agent comes; oom scores only where allowed', () => {
  const toml = containerdToml({ sysResource: false });
  expect(toml).not.toContain('shadow');
  expect(toml).toContain('restrict_oom_score_adj = true');
  expect(containerdToml({ sysResource: true })).toContain('restrict_oom_score_adj = false');
});

test('nodes share neither address, pods, cgroup nor certificate', () => {
  for (const of of [nodeAddress, podCidr, nodeCgroup, kubeletConfig])
    expect(new Set(NODES.map(of)).size).toBe(NODES.length);
});

test('cgroup hierarchies of v1, v2 and both are told apart', () => {
  const mounts = [
    'tmpfs /sys/fs/cgroup tmpfs rw 0 0',
    'cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0',
    'cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0',
    'cgroup /tmp/elsewhere/memory cgroup rw,memory 0 0',
  ].join('\n');
  expect(hierarchies(mounts)).toEqual([
    { path: '/sys/fs/cgroup/memory', version: 1 },
    { path: '/sys/fs/cgroup/unified', version: 2 },
  ]);
  expect(hierarchies('cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n')).toEqual([{ path: '/sys/fs/cgroup', version: 2 }]);
});

test('a process is known by its start time, whatever its name looks like', () => {
  const fields = (name: string) => `42 (${name}) Z 1 42 42 0 -1 4194560 100 0 0 0 5 3 0 0 20 0 1 0 987654 1000 10 x`;
  for (const name of ['sh', 'a) R (b', ':-) 1 2 3'])
    expect(parseStat(fields(name))).toEqual({ state: 'Z', since: '987654' });
  expect(parseStat('')).toBeUndefined();
});

test('resident memory is given in MB', () => {
  expect(residentMegabytes('Name:\tetcd\nVmHWM:\t   90000 kB\nVmRSS:\t   48128 kB\n')).toBe(47);
  expect(residentMegabytes('Name:\tkthreadd\n')).toBe(0);
});
