import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assetFiles } from '../../../scripts/release/executable.ts';
import { dropSignature } from '../../../scripts/release/pe.ts';

test.each([
  ['release/main.ts', ['--platforms', 'linux-riscv64', '--out', '/nowhere'], 'linux-riscv64: none of linux-amd64, '],
  ['release/main.ts', ['--platforms', 'linux-amd64'], 'a part in the place of the whole'],
  ['release/main.ts', ['--out', ''], '--out: a directory is missing'],
  ['release/main.ts', ['--nosuch'], '--nosuch'],
  ['bench/startup.ts', ['--runs', '0'], '--runs 0'],
  ['bench/startup.ts', ['--nosuch'], '--nosuch'],
])('%s %j is wrong usage, and nothing is built', (script, args, why) => {
  const path = fileURLToPath(new URL(`../../../scripts/${script}`, import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [path, ...args], { encoding: 'utf8' });
  expect(stderr).toContain(why);
  expect(stderr).toContain('[SHADOW_E_USAGE]');
  expect(status).toBe(2);
});

test('the executable has all manifests in it, by the paths the plugin asks for', () => {
  expect(Object.keys(assetFiles())).toEqual(
    expect.arrayContaining(['package.json', 'manifests/kustomization.yaml', 'manifests/examples/consumer.yaml']),
  );
});

test('what is no executable of Windows is left as it is', () => {
  const file = Buffer.alloc(1024, 1);
  file.writeUInt32LE(64, 0x3c);
  expect(() => dropSignature(file)).toThrow(expect.objectContaining({ code: 'SHADOW_E_BUILD' }));
  expect(file.readUInt32LE(64 + 24 + 112 + 32)).toBe(0x01010101);
});
