/** How the checkpoint travels, and who restores it. Pure. */
import { parseRepository } from '../../api/image.ts';
import type { Handoff, MigrationSpec, TransferMode } from '../../api/migration.ts';

export const modeOfTransfer = ({ transferMode }: MigrationSpec): TransferMode => transferMode || 'Agent';

/** A handoff on one node moves files there, whatever the mode. */
export const travelsBy = (spec: MigrationSpec, { source, copy }: Pick<Handoff, 'source' | 'copy'>): TransferMode =>
  source.node === copy.node ? 'Agent' : modeOfTransfer(spec);

/** What can be said without asking anybody. Throws SHADOW_E_REPOSITORY. */
export const checkTransfer = (spec: MigrationSpec): void => {
  if (modeOfTransfer(spec) === 'Registry') parseRepository(spec.checkpointImageRepository);
};

/** What a node is to have twice (preflight/node.ts) for a checkpoint of so many bytes: Direct needs it once more, in the image store. */
export const roomFor = (spec: MigrationSpec, bytes: number): number =>
  modeOfTransfer(spec) === 'Direct' ? 1.5 * bytes : bytes;

/**
 * Whether this containerd restores a container that the CRI asks for by a checkpoint's image: off by default from 2.2.7 and 2.3.4
 * on (a checkpoint could name what the pod may not have), gone in 2.4.
 */
export const criRestore = (containerd: string): 'allowed' | 'off' | 'gone' => {
  const [major = 0, minor = 0, patch = 0] = (/\d+(\.\d+)*/.exec(containerd)?.[0] ?? '').split('.').map(Number);
  if (major > 2 || (major === 2 && minor >= 4)) return 'gone';
  const first = { 2: 7, 3: 4 }[minor];
  return major === 2 && first !== undefined && patch >= first ? 'off' : 'allowed';
};

const WHY = {
  gone: 'has no restore through the CRI any more',
  off: 'has the restore through the CRI off by default',
  allowed: 'may restore through the CRI, but one container at a time, and these were cloned at one instant',
} as const;

/** One line for status.transferReason. */
export const transferReason = (spec: MigrationSpec, node: string, containerd: string): string | undefined => {
  const mode = modeOfTransfer(spec);
  if (mode === 'Agent') return undefined;
  const way =
    mode === 'Registry'
      ? `by an image in ${spec.checkpointImageRepository}`
      : 'by an image in the image store of the node';
  return `${way}, restored by our runtime handler: containerd ${containerd} on ${node} ${WHY[criRestore(containerd)]}`;
};
