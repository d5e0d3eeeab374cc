import { expect, test } from 'vitest';
import { mirrorOf, missingPackages } from '../../../scripts/playground/build/debian.ts';
import { type Facts, lacking } from '../../../scripts/playground/host.ts';

const fit: Facts = {
  uid: 0,
  capabilities: (1n << 41n) - 1n,
  filesystems: 'nodev\toverlay\n\text4\n',
  namespaces: ['net', 'mnt', 'pid', 'uts', 'ipc'],
  kernelConfig: undefined,
  fileSystemType: 0xef53,
  freeGigabytes: 8,
  cgroup: true,
  apt: true,
};

test('a fit machine lacks nothing, whether or not its kernel shows its configuration', () => {
  expect(lacking(fit)).toEqual([]);
  const options = ['OVERLAY_FS', 'NF_TABLES', 'INET_DIAG_DESTROY', 'VETH', 'BRIDGE', 'CHECKPOINT_RESTORE'];
  const kernelConfig = options.map((name, index) => `CONFIG_${name}=${index % 2 === 0 ? 'y' : 'm'}`).join('\n');
  expect(lacking({ ...fit, kernelConfig })).toEqual([]);
});

test.each([
  ['disk', { freeGigabytes: 7.9 }, /8 GB/],
  ['CAP_SYS_ADMIN', { capabilities: 1n << 24n }, /CAP_SYS_ADMIN/],
  ['a namespace', { namespaces: ['net', 'mnt', 'uts', 'ipc'] }, /^pid namespaces/],
  ['overlay on overlay', { fileSystemType: 0x794c7630 }, /not itself an overlay/],
  ['cgroups', { cgroup: false }, /cgroups/],
  ['apt', { apt: false }, /apt-get/],
] satisfies [string, Partial<Facts>, RegExp][])('a lack of %s is named, and nothing else', (_, lack, named) => {
  const missing = lacking({ ...fit, ...lack });
  expect(missing).toHaveLength(1);
  expect(missing[0]).toMatch(named);
});

test('a kernel option that is commented out is missing; one that only begins alike does not count', () => {
  const kernelConfig = [
    'CONFIG_OVERLAY_FS=y',
    'CONFIG_NF_TABLES=m',
    '# CONFIG_INET_DIAG_DESTROY is not set',
    'CONFIG_VETH=y',
    'CONFIG_BRIDGE_NETFILTER=y',
    'CONFIG_CHECKPOINT_RESTORE=y',
  ].join('\n');
  expect(lacking({ ...fit, kernelConfig })).toEqual([
    'CONFIG_INET_DIAG_DESTROY in the kernel',
    'CONFIG_BRIDGE in the kernel',
  ]);
});

test('a package counts as there only when it is installed, under any architecture', () => {
  const listing = 'gcc installed\nlibnet1:amd64 installed\nnftables config-files\nmake half-installed\n';
  expect(missingPackages(['gcc', 'libnet1', 'nftables', 'make', 'patch'], listing)).toEqual([
    'nftables',
    'make',
    'patch',
  ]);
});

test("the mirror is the machine's Debian, not its security updates and not another vendor", () => {
  const targets = [
    'https://vendor.example/apt/\tVendor\tVendor',
    'http://mirror.example/debian-security/\tDebian\tDebian-Security',
    'http://mirror.example/debian/\tDebian\tDebian',
  ].join('\n');
  expect(mirrorOf(targets)).toBe('http://mirror.example/debian/');
  expect(mirrorOf('https://vendor.example/apt/\tVendor\tVendor\n')).toBeUndefined();
});
