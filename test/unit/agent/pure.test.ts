import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { disagreement, isSafePath } from '../../../webhook/agent/archive.ts';
import { startTimeOf } from '../../../webhook/agent/containers.ts';
import { cpuFlags, versionIn } from '../../../webhook/agent/facts.ts';
import { boundToPod, descriptorHazard, dialled, unixHazards } from '../../../webhook/agent/inspect.ts';
import { layerRemovals } from '../../../webhook/agent/kubelet-driver.ts';
import { fenceRules } from '../../../webhook/agent/network.ts';
import { removalList, upperOf } from '../../../webhook/agent/overlay.ts';
import { errorLines } from '../../../webhook/agent/runc-driver.ts';
import { addressOf, parseTcp, protocolsInUse, unixPairs } from '../../../webhook/agent/sockets.ts';
import { withNetworkLock } from '../../../webhook/agent/start.ts';

const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1628 00000000:0000 0A 00000000:00000002 00:00000000 00000000 64646        0 101 1 x 100 0 0 10 0
   1: 0500F40A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 102 1 x 100 0 0 10 0
   2: 0500F40A:A2B4 0700600A:1538 01 00000000:00000000 00:00000000 00000000  1000        0 103 1 x 100 0 0 10 0
   3: 0500F40A:1F90 0900600A:C350 01 00000000:00000000 00:00000000 00000000  1000        0 104 1 x 100 0 0 10 0
   4: 0100007F:A2B6 0100007F:1628 01 00000000:00000000 00:00000000 00000000  1000        0 105 1 x 100 0 0 10 0`;

describe('the sockets of a pod', () => {
  const rows = parseTcp(TCP);
  test('peers are those the app dialled: no loopback, no client of its own port, no socket of another', () => {
    expect(dialled(rows, new Set([102, 103, 104, 105]))).toEqual(['10.96.0.7:5432']);
    expect(dialled(rows, new Set([105]))).toEqual([]);
  });
  test("a listener on the pod's own address is named; on loopback its backlog is known", () => {
    expect(boundToPod(rows, '10.244.0.5')).toEqual([expect.stringContaining('10.244.0.5:8080')]);
    expect(boundToPod(rows, '10.244.0.6')).toEqual([]);
    expect(rows[0]).toMatchObject({ localAddress: '127.0.0.1', localPort: 5672, backlog: 2, listening: true });
  });
  test('addresses of both families, mapped ones as IPv4', () => {
    expect(addressOf('00000000000000000000000001000000')).toBe('::1');
    expect(addressOf('0000000000000000FFFF00000500F40A')).toBe('10.244.0.5');
    expect(addressOf('000080FE00000000FF005450B6AD1DFE')).toBe('fe80::5054:ff:fe1d:adb6');
  });
  test('protocols and pairs of unix sockets', () => {
    expect(protocolsInUse('protocol  size sockets  memory\nMPTCP 1 2 3 no\nTCP 1 9 3 no').get('MPTCP')).toBe(2);
    const pairs = unixPairs(
      'u_str ESTAB 0 0 * 11 * 12\nu_str LISTEN 0 5 /run/x 13 * 0\nu_str ESTAB 0 0 /run/x 12 * 11',
    );
    expect(pairs).toEqual([
      [11, 12],
      [12, 11],
    ]);
    expect(
      unixHazards(
        pairs,
        new Map([
          [11, 'a'],
          [12, 'a'],
        ]),
      ),
    ).toEqual([]);
    expect(
      unixHazards(
        pairs,
        new Map([
          [11, 'a'],
          [12, 'b'],
        ]),
      ),
    ).toHaveLength(2);
    expect(unixHazards(pairs, new Map([[11, 'a']]))).toEqual([expect.stringContaining('outside of the pod')]);
  });
});

test('open files: what CRIU dumps passes, what it cannot is named', () => {
  for (const fine of [
    'anon_inode:[eventpoll]',
    'anon_inode:inotify',
    'anon_inode:[eventfd]',
    '/dev/null',
    '/dev/pts/0',
    '/data/x',
    'pipe:[3]',
  ])
    expect(descriptorHazard(fine)).toBeUndefined();
  expect(descriptorHazard('anon_inode:[io_uring]')).toMatch(/io_uring.*RuntimeDefault/);
  expect(descriptorHazard('anon_inode:[userfaultfd]')).toMatch(/userfaultfd/);
  expect(descriptorHazard('/dev/nvidia0')).toMatch(/nvidia0/);
});

describe('changed files', () => {
  const line = (point: string, options: string) => `9 1 0:5 / ${point} rw - overlay overlay rw,${options}`;
  test('the upper directory of the overlay mounted last', () => {
    const info = [
      line('/a/rootfs', 'lowerdir=/l,upperdir=/u/one,workdir=/w'),
      line('/a/rootfs', 'lowerdir=/l,upperdir=/u/t\\040wo,workdir=/w'),
    ];
    expect(upperOf(info.join('\n'), '/a/rootfs')).toBe('/u/t wo');
    expect(upperOf(info.join('\n'), '/b/rootfs')).toBeUndefined();
    expect(upperOf('9 1 0:5 / /a/rootfs rw - ext4 /dev/x rw', '/a/rootfs')).toBeUndefined();
  });
  test('parents are removed before what is below them', () => {
    const path = fc
      .array(fc.constantFrom('a', 'b', 'c-1', '.x'), { minLength: 1, maxLength: 4 })
      .map((parts) => `./${parts.join('/')}`);
    fc.assert(
      fc.property(fc.array(path), fc.array(path), (whiteouts, opaque) => {
        const list = removalList(whiteouts, opaque).split('\0').slice(0, -1);
        expect(new Set(list)).toEqual(new Set([...whiteouts, ...opaque]));
        for (const [index, item] of list.entries())
          for (const later of list.slice(index + 1)) expect(item.startsWith(`${later}/`)).toBe(false);
      }),
    );
  });
  test("an OCI layer's marks become the same list", () => {
    expect(layerRemovals(['etc/', 'etc/.wh.gone', './opt/again/.wh..wh..opq', 'opt/again/new', '.wh.top'])).toBe(
      './etc/gone\0./opt/again\0./top\0',
    );
  });
});

test('a manifest agrees with exactly its files', () => {
  const file = fc.record({
    path: fc.constantFrom('a', 'b', 'c', 'd'),
    size: fc.nat(3),
    sha256: fc.constantFrom('x', 'y'),
  });
  const files = fc.uniqueArray(file, { selector: ({ path }) => path });
  const key = (list: readonly { path: string }[]) =>
    JSON.stringify([...list].sort((a, b) => (a.path < b.path ? -1 : 1)));
  fc.assert(
    fc.property(files, files, (sent, got) => {
      expect(disagreement({ files: sent }, got) === undefined).toBe(key(sent) === key(got));
    }),
  );
});

test('paths that leave their directory are refused', () => {
  for (const bad of ['', '/etc/x', '../x', 'a/../../x', 'a//b', './a', 'a/.', 'a\0b'])
    expect(isSafePath(bad)).toBe(false);
  expect(isSafePath('app/checkpoint/pages-1.img')).toBe(true);
});

test('the handler and the agent hold the same fence', () => {
  const handler = readFileSync(
    join(import.meta.dirname, '../../../webhook/agent/runtime/shadow-runc'),
    'utf8',
  ).replaceAll('$SIDECAR_UID', '64646');
  const words = (text: string) => text.replace(/\s+/g, ' ');
  expect(words(handler)).toContain(words(fenceRules()).trim());
});

test('versions, flags, start times, CRIU errors as the tools print them', () => {
  expect(versionIn('containerd github.com/containerd/containerd/v2 v2.3.7 abcdef')).toBe('2.3.7');
  expect(versionIn('runc version 1.4.3\nspec: 1.3.0')).toBe('1.4.3');
  expect(cpuFlags('processor: 0\nflags\t\t: sse2 avx\n')).toEqual(['avx', 'sse2']);
  expect(startTimeOf(`12 (a) b) S ${Array.from({ length: 18 }, (_, index) => index).join(' ')} 777 0`)).toBe('777');
  expect(errorLines('(0.1) ok\n(0.2) Error (criu/x.c:1): no\n(0.3) Error (criu/y.c:2): never')).toBe(
    '(0.2) Error (criu/x.c:1): no | (0.3) Error (criu/y.c:2): never',
  );
});

test("the owner's CRIU settings stay, ours is there once", () => {
  expect(withNetworkLock(undefined)).toBe('network-lock skip\n');
  const mended = withNetworkLock('ghost-limit 10M\nnetwork-lock iptables\n');
  expect(mended).toBe('ghost-limit 10M\nnetwork-lock skip\n');
  expect(withNetworkLock(mended)).toBe(mended);
});
