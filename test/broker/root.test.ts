/** What a RabbitMQ in a root of its own is run by, tried with a shell that has just what it is linked to. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { librariesOf } from '../../scripts/images/ours.ts';
import { inRoot } from '../../scripts/playground/rabbitmq.ts';

const SHELL = '/bin/sh';

const put = (root: string, path: string): void => {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  copyFileSync(path, join(root, path));
};

it('has the pid of its call, writes to its own directory only, and leaves no mount', () => {
  const dir = mkdtempSync(join(tmpdir(), 'root-'));
  const [root, own] = [join(dir, 'root'), join(dir, 'own')];
  const bin = join(root, 'usr/lib/rabbitmq/bin');
  try {
    for (const path of ['proc', 'dev', 'tmp', 'srv']) mkdirSync(join(root, path), { recursive: true });
    mkdirSync(bin, { recursive: true });
    mkdirSync(own);
    for (const path of [SHELL, ...librariesOf(spawnSync('ldd', [SHELL]).stdout.toString())]) put(root, path);
    const script = 'echo $$; echo ours >/srv/file; echo no >/usr/file || echo refused; echo "$1"';
    writeFileSync(join(bin, 'told'), `#!${SHELL}\n${script}\n`, { mode: 0o755 });
    const [program = '', ...args] = inRoot(root).call(own, 'told', 'two words');
    const { pid, stdout, stderr } = spawnSync(program, args);
    expect(stderr.toString()).toMatch(/usr\/file: Read-only/);
    expect(stdout.toString().split('\n')).toEqual([String(pid), 'refused', 'two words', '']);
    expect(readFileSync(join(own, 'file'), 'utf8')).toBe('ours\n');
    expect(existsSync(join(root, 'srv/file'))).toBe(false);
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
