/** Packages: the machine's own by apt-get, and single ones of another Debian suite, unpacked, never installed. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { must, run } from '../run.ts';
import type { Workshop } from './cache.ts';

/** For CRIU, its build and what it runs with, and for the other programs in our image. */
export const IMAGE_PACKAGES: readonly string[] = [
  // run time
  'ca-certificates',
  'libnet1',
  'libnftables1',
  'libnl-3-200',
  'libprotobuf-c1',
  'nftables',
  'util-linux',
  // build time
  'gcc',
  'libaio-dev',
  'libbsd-dev',
  'libc6-dev',
  'libcap-dev',
  'libgnutls28-dev',
  'libnet1-dev',
  'libnftables-dev',
  'libnl-3-dev',
  'libprotobuf-c-dev',
  'libprotobuf-dev',
  'make',
  'patch',
  'pkg-config',
  'protobuf-c-compiler',
  'protobuf-compiler',
  'python3-protobuf',
  'uuid-dev',
  'xz-utils',
];

export const PACKAGES: readonly string[] = [
  ...IMAGE_PACKAGES,
  'conntrack',
  'containernetworking-plugins',
  'iproute2',
  'iptables',
  'libseccomp2',
  // For a test: an app with effects outside of its broker.
  'postgresql',
  'rabbitmq-server',
  // build time
  'libseccomp-dev',
];

/** Those of `wanted` that `dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n'` does not list as installed. */
export const missingPackages = (wanted: readonly string[], listing: string): string[] => {
  const installed = new Set(
    listing
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.slice(0, line.indexOf(' ')).replace(/:.*/, '')),
  );
  return wanted.filter((name) => !installed.has(name));
};

/** Installs what is missing. Services of new packages are not started: a policy-rc.d for the time of the call. */
export const installPackages = async (
  wanted: readonly string[],
  log: string,
  say: (line: string) => void,
): Promise<void> => {
  const format = '$' + '{binary:Package} $' + '{db:Status-Status}\n';
  const { stdout } = await run(['dpkg-query', '-W', '-f', format, ...wanted]);
  const missing = missingPackages(wanted, stdout);
  if (missing.length === 0) return;
  say(`installing ${missing.length} packages: ${missing.join(' ')}`);
  // A policy the machine has stays; ours goes with the call.
  const script = `set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then trap 'rm -f $policy' EXIT; printf '#!/bin/sh\\nexit 101\\n' >$policy; chmod 755 $policy; fi
apt-get update -q
apt-get install -q -y --no-install-recommends "$@"`;
  try {
    await must(['sh', '-c', script, 'sh', ...missing], { env: { DEBIAN_FRONTEND: 'noninteractive' }, log });
  } catch (error) {
    throw new ShadowError('SHADOW_E_HOST', `apt-get could not install ${missing.join(' ')}, log ${log}`, {
      cause: error,
    });
  }
};

/** One archive of `apt-get indextargets`: REPO_URI and SUITE, tab between. The machine's own Debian mirror. */
export const mirrorOf = (targets: string): string | undefined =>
  targets
    .split('\n')
    .map((line) => line.split('\t'))
    .find(([uri, origin, label]) => uri !== undefined && origin === 'Debian' && label === 'Debian')?.[0];

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** apt-get with lists, cache and sources of its own in `dir`: it reads the other suite, the machine's state stays. */
const aptOf = (dir: string): string[] => [
  'apt-get',
  '-q',
  '-o',
  `Dir::Etc::SourceList=${dir}/sources.list`,
  '-o',
  'Dir::Etc::SourceParts=/dev/null',
  '-o',
  `Dir::State::Lists=${dir}/lists`,
  '-o',
  `Dir::Cache=${dir}/cache`,
  '-o',
  'APT::Sandbox::User=root',
];

/** Sets `dir` up for a suite of the machine's own mirror and gives the apt-get call that reads it. */
export const openSuite = async (suite: string, { work, step }: Workshop): Promise<string[]> => {
  const dir = join(work, `apt-${suite}`);
  mkdirSync(join(dir, 'lists/partial'), { recursive: true });
  mkdirSync(join(dir, 'cache/archives/partial'), { recursive: true });
  const format = '$(REPO_URI)\t$(ORIGIN)\t$(LABEL)';
  const mirror = mirrorOf(await must(['apt-get', 'indextargets', '--format', format, 'Created-By: Packages']));
  if (mirror === undefined) throw new ShadowError('SHADOW_E_HOST', 'apt has no Debian source on this machine');
  const source = `[signed-by=${KEYRING}] ${mirror} ${suite} main`;
  writeFileSync(join(dir, 'sources.list'), `deb ${source}\ndeb-src ${source}\n`);
  const apt = aptOf(dir);
  await step([...apt, 'update']);
  return apt;
};
