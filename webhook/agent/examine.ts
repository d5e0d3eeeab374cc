/** What keeps this node from checkpointing and restoring, for `kubectl shadow check`. Nothing is changed. */
import type { AgentResponse } from '../api/agent.ts';
import { facts } from './facts.ts';
import { namesIn } from './files.ts';
import { CommandError, type Node } from './node.ts';
import { hasHandler } from './setup/config.ts';
import { dump, findContainerd } from './setup/containerd.ts';

const TOOL_MS = 10_000;
const TEXT_LIMIT = 500;

/** Of a tool's complaints those that say why, on one line. Pure. */
export const complaint = (output: string): string => {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  const errors = lines.filter((line) => /\berror\b/i.test(line));
  return (errors.length > 0 ? errors : lines).join(' | ').slice(0, TEXT_LIMIT);
};

const criuCheck = async (node: Node): Promise<string> => {
  try {
    await node.run('criu', ['check'], { timeoutMs: TOOL_MS });
    return '';
  } catch (error) {
    if (error instanceof CommandError) return complaint(error.stderr) || error.message.slice(0, TEXT_LIMIT);
    throw error;
  }
};

/** As set-up judges it, of the containerd that runs; undefined: it could not be asked. */
const handlerConfigured = async (node: Node): Promise<boolean | undefined> => {
  try {
    return hasHandler(await dump(node, await findContainerd(node), { timeoutMs: TOOL_MS }));
  } catch {
    return undefined;
  }
};

/** One that is being removed has a dot before its name (files.ts). */
const claims = async (node: Node): Promise<string[]> => {
  const { staged, checkpoints } = node.layout;
  const names = await Promise.all([staged, checkpoints].map((directory) => namesIn(node.at(directory))));
  return [...new Set(names.flat())].filter((name) => !name.startsWith('.'));
};

/** `checkpointApi`: why the kubelet's checkpoint API can't be used; empty: it can. */
export const examine = async (node: Node, checkpointApi: () => Promise<string>): Promise<AgentResponse<'examine'>> => {
  const [known, criu, handler, kubelet, held] = await Promise.all([
    facts(node),
    criuCheck(node),
    handlerConfigured(node),
    checkpointApi(),
    claims(node),
  ]);
  return {
    ...known,
    // Without CRIU there is nothing it could say of itself.
    criuCheck: known.criu === '' ? '' : criu,
    ...(handler === undefined ? {} : { handlerConfigured: handler }),
    checkpointApi: kubelet.slice(0, TEXT_LIMIT),
    claims: held,
    now: Date.now(),
  };
};
