/**
 * Checkpoints by the kubelet's checkpoint API (KEP-2008), the paper's way. It cannot pause across containers, so loopback TCP
 * of the pod is locked while they are dumped; the connection's both ends then agree.
 */
import { createReadStream } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { dirname, join } from 'node:path';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import * as z from 'zod';
import { ShadowError } from '../api/errors.ts';
import type { Driver, Dump } from './drivers.ts';
import { namesIn, settleAll } from './files.ts';
import { applyRules, LOCK_TABLE, lockRules, removeTable } from './network.ts';
import type { Node } from './node.ts';
import { removalList } from './overlay.ts';

export interface KubeletAccess {
  host: string;
  port: number;
  /** Names the serving certificate may have: the node's name, its address. */
  names: readonly string[];
  token: () => Promise<string>;
  /** The cluster's CA, and the kubelet's own self-signed certificate read from its node. */
  ca: () => Promise<string[]>;
}

const Items = z.object({ items: z.array(z.string()).min(1) });

const identityOf =
  (names: readonly string[]) =>
  (_: string, certificate: PeerCertificate): Error | undefined => {
    const refusals = names.map((name) => checkServerIdentity(name, certificate));
    return refusals.includes(undefined) ? undefined : refusals[0];
  };

interface Reply {
  status: number;
  body: string;
}

const post = async (access: KubeletAccess, path: string, timeout: number): Promise<Reply> => {
  const [token, ca] = await Promise.all([access.token(), access.ca()]);
  return new Promise((resolve, reject) => {
    const call = request(
      {
        ...{ host: access.host, port: access.port, path, method: 'POST', ca, timeout },
        headers: { authorization: `Bearer ${token.trim()}` },
        checkServerIdentity: identityOf(access.names),
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => {
          text += part;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        response.on('error', reject);
      },
    );
    call.on('timeout', () => call.destroy(new Error('the kubelet does not answer')));
    call.on('error', reject).end();
  });
};

/** Asks for one checkpoint; the archive's path on the node. */
export const requestCheckpoint = async (access: KubeletAccess, path: string): Promise<string> => {
  const { status, body } = await post(access, path, 60_000);
  if (status !== 200) throw new Error(`the kubelet answered ${status}: ${body.trim().slice(0, 500)}`);
  const [archive = ''] = Items.parse(JSON.parse(body)).items;
  return archive;
};

/** Names of a pod and a container that nobody has: `~` is in no name. */
const NOBODY = '/checkpoint/default/~/~';

/**
 * Why the kubelet would make no checkpoint; empty: it would. Asked for one of a pod that nobody has it answers 404 and that
 * there is no such pod; with the feature off the path itself is unknown to it (kubelet/server.go, InstallDefaultHandlers).
 */
export const checkpointRefusal = async (access: KubeletAccess): Promise<string> => {
  try {
    const { status, body } = await post(access, NOBODY, 5_000);
    if (status === 404 && /pod does not exist/i.test(body)) return '';
    if (status === 404) return 'the kubelet has no checkpoint API (feature gate ContainerCheckpoint)';
    return `the kubelet answered ${status}: ${body.trim().slice(0, 200)}`;
  } catch (error) {
    return `the kubelet was not reached: ${error instanceof Error ? error.message : String(error)}`;
  }
};

/** An OCI layer's marks of removed names: `.wh.<name>`, and `.wh..wh..opq` for a directory made anew. */
export const layerRemovals = (names: readonly string[]): string => {
  const whiteouts: string[] = [];
  const opaque: string[] = [];
  for (const raw of names) {
    const path = `./${raw.replace(/^\.?\//, '').replace(/\/$/, '')}`;
    const base = path.slice(path.lastIndexOf('/') + 1);
    if (base === '.wh..wh..opq') opaque.push(dirname(path));
    else if (base.startsWith('.wh.')) whiteouts.push(join(dirname(path), base.slice(4)).replace(/^(?!\.\/)/, './'));
  }
  return removalList(whiteouts, opaque);
};

const isGzip = async (file: string): Promise<boolean> => {
  for await (const chunk of createReadStream(file, { end: 1 })) return chunk[0] === 0x1f && chunk[1] === 0x8b;
  return false;
};

const namesInLayer = async (file: string): Promise<string[]> => {
  const unpack = extract();
  const raw = createReadStream(file);
  ((await isGzip(file)) ? raw.pipe(createGunzip()) : raw).pipe(unpack);
  const names: string[] = [];
  for await (const entry of unpack) {
    names.push(entry.header.name);
    entry.resume();
  }
  return names;
};

const unpackArchive = async (node: Node, archive: string, dump: Dump, container: string): Promise<void> => {
  const work = join(dump.work, container);
  const images = join(dump.images, container);
  await Promise.all([mkdir(node.at(work), { recursive: true }), mkdir(node.at(images), { recursive: true })]);
  await node.run('tar', ['--xattrs', '-C', work, '-xf', archive]);
  await rm(node.at(archive), { force: true });
  await rename(node.at(join(work, 'checkpoint')), node.at(join(images, 'checkpoint')));
  const layer = node.at(join(work, 'rootfs-diff.tar'));
  if (!(await namesIn(node.at(work))).includes('rootfs-diff.tar')) return;
  await writeFile(node.at(join(images, 'removed')), layerRemovals(await namesInLayer(layer)));
  await rename(layer, node.at(join(images, 'rootfs.tar')));
};

const dumpAll = async (node: Node, access: KubeletAccess, dump: Dump): Promise<void> => {
  const netns = dump.containers[0]?.netns ?? '';
  const { namespace, name } = dump.pod;
  await applyRules(node, netns, lockRules());
  try {
    await settleAll(
      dump.containers.map(async (container) => {
        try {
          const archive = await requestCheckpoint(access, `/checkpoint/${namespace}/${name}/${container.name}`);
          await unpackArchive(node, archive, dump, container.name);
        } catch (error) {
          const detail = error instanceof Error ? error.message : String(error);
          throw new ShadowError('SHADOW_E_CHECKPOINT', `container ${container.name}: ${detail}`, { cause: error });
        }
      }),
    );
  } finally {
    await removeTable(node, netns, LOCK_TABLE);
  }
};

export const kubeletDriver = (node: Node, access: KubeletAccess): Driver => ({
  paused: false,
  // The kubelet starts its tools itself.
  arm: async (dump) => ({ dump: () => dumpAll(node, access, dump), drop: async () => undefined }),
});
