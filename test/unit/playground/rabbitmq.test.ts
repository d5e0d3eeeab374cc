import { expect, test } from 'vitest';
import { unpackOrder } from '../../../scripts/playground/build/rabbitmq.ts';
import { inRoot, installation, isSeries } from '../../../scripts/playground/rabbitmq.ts';

test('the package that makes the links into /usr is unpacked before those that would make directories there', () => {
  const archives = ['adduser_3.deb', 'base-files_13_amd64.deb', 'base-passwd_3.deb', 'libc6_2.deb'];
  expect(unpackOrder(archives)).toEqual([
    'base-files_13_amd64.deb',
    'adduser_3.deb',
    'base-passwd_3.deb',
    'libc6_2.deb',
  ]);
});

test('the machine’s own is called by its path and lives where it is put; there is no third series', async () => {
  const { inside, call } = await installation('3');
  expect(inside('/tmp/own')).toBe('/tmp/own');
  expect(call('/tmp/own', 'rabbitmqctl', '-q', 'status')).toEqual([
    '/usr/lib/rabbitmq/bin/rabbitmqctl',
    '-q',
    'status',
  ]);
  expect(call('/tmp/own', 'epmd')).toEqual(['/usr/bin/epmd']);
  expect([isSeries('3'), isSeries('4'), isSeries('5'), isSeries(undefined)]).toEqual([true, true, false, false]);
});

/** The guard of the broker tests puts each word into single quotes and has a shell read it. */
test('the call into a root survives a shell that quotes its words', () => {
  for (const word of inRoot('/cache/rabbitmq').call('/tmp/own', 'epmd', '-kill')) expect(word).not.toContain("'");
});
