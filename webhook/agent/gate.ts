/**
 * A checkpoint started ahead: runc has looked at the container and CRIU is about to, but it waits at a gate (runtime/criu-gate)
 * until the container stands still. What is started before the pause is not waited for within it.
 */
import { constants } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exists } from './files.ts';
import type { Node } from './node.ts';

/** Directory of the gate's `criu` under the node's bin. */
export const GATE_BIN = 'gate';

const READY_MS = 3000;
const LOOK_MS = 4;

export interface Gate {
  /** Lets it go; resolves when it has ended. Rejects with CommandError. */
  open(): Promise<void>;
  /** It ends without having touched the container. */
  close(): Promise<void>;
}

/** Past a gate that is not there the dump would be made at once, of an app that runs. */
const requireGate = async (node: Node, before: string): Promise<void> => {
  const found = (await node.run('sh', ['-c', 'command -v criu'], { before })).trim();
  if (found !== join(before, 'criu')) throw new Error(`criu is ${found}`);
};

/** `directory`: the gate's own, on the node. Resolves when the command stands at the gate; rejects when it does not get there. */
export const atGate = async (
  node: Node,
  directory: string,
  command: string,
  args: readonly string[],
): Promise<Gate> => {
  const before = join(node.layout.bin, GATE_BIN);
  const fifo = join(directory, 'go');
  await mkdir(node.at(directory), { recursive: true });
  await Promise.all([requireGate(node, before), node.run('mkfifo', ['-m', '600', fifo])]);
  // Both ends: opening does not wait for the other side, and when this process dies the reader sees the end.
  const file = await open(node.at(fifo), constants.O_RDWR | constants.O_NONBLOCK);
  const env = { SHADOW_GATE: directory };
  let ended = false;
  const running = node.run(command, args, { urgent: true, before, env }).finally(async () => {
    ended = true;
    await file.close();
  });
  running.catch(() => undefined);
  const say = async (word: string): Promise<unknown> => (ended ? undefined : file.write(`${word}\n`));
  const gate: Gate = {
    open: async () => {
      await say('go');
      await running;
    },
    close: async () => {
      await say('no');
      await running.catch(() => undefined);
    },
  };
  const end = performance.now() + READY_MS;
  while (!(await exists(node.at(join(directory, 'ready'))))) {
    if (ended) await running;
    if (ended || performance.now() > end) {
      await gate.close();
      throw new Error(`${command} did not get to the gate`);
    }
    await sleep(LOOK_MS);
  }
  return gate;
};
