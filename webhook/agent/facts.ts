/** What this node is, for preflight. */
import { arch, release } from 'node:os';
import { join } from 'node:path';
import type { AgentResponse } from '../api/agent.ts';
import { freeBytes } from './claims.ts';
import { exists } from './files.ts';
import { type Node, textOf } from './node.ts';

/** The first thing in a tool's output that looks like a version: "containerd github.com/… v2.3.7 abc" → 2.3.7. Pure. */
export const versionIn = (output: string): string => /\bv?(\d+\.\d+(?:\.\d+)?(?:[-+~][\w.]+)?)/.exec(output)?.[1] ?? '';

/** Sorted, so that two nodes compare. Pure. */
export const cpuFlags = (cpuinfo: string): string[] =>
  (/^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '').split(/\s+/).filter(Boolean).sort();

/** Empty: the tool is not there or does not start. */
const versionOf = async (node: Node, tool: string): Promise<string> => {
  try {
    return versionIn(await node.run(tool, ['--version'], { timeoutMs: 10_000 }));
  } catch {
    return '';
  }
};

const HANDLER = 'shadow-runc';

export const facts = async (node: Node): Promise<AgentResponse<'node'>> => {
  const [containerd, runc, criu, cpuinfo, free, handlerInstalled] = await Promise.all([
    versionOf(node, 'containerd'),
    versionOf(node, node.layout.runc),
    versionOf(node, 'criu'),
    textOf(join(node.layout.proc, 'cpuinfo')),
    freeBytes(node),
    exists(node.at(join(node.layout.bin, HANDLER))),
  ]);
  return {
    ...{ node: node.name, arch: arch(), kernel: release(), containerd, runc, criu },
    ...{ cpuFlags: cpuFlags(cpuinfo ?? ''), freeBytes: free, handlerInstalled },
  };
};
