/** All sessions of a copy get another upstream, or none does. */
import type net from 'node:net';
import { asShadowError, ShadowError } from '../api/errors.ts';
import { attachOver } from './attach.ts';
import type { Connection } from './connection.ts';

/** Its upstream is left behind, unread. */
export const forsake = (connection: Connection): void => {
  connection.abandonUpstream();
  if (!connection.parked) connection.guard(() => connection.session.detach());
};

/** Rejects with SHADOW_E_ATTACH; may be tried again. */
export const attachAll = async (
  connections: readonly Connection[],
  dial: (connection: Connection) => Promise<net.Socket>,
  timeoutMs: number,
): Promise<void> => {
  if (connections.every(({ session, upstream }) => session.phase === 'attached' && upstream)) return;
  const over = new AbortController();
  const late = setTimeout(() => over.abort(new Error(`not within ${timeoutMs} ms`)), timeoutMs);
  const attachOne = async (connection: Connection): Promise<void> => {
    forsake(connection);
    const attachment = connection.session.attachment();
    const upstream = await attachOver(() => dial(connection), attachment, over.signal);
    if (over.signal.aborted) upstream.destroy();
    else connection.adopt(attachment, upstream);
  };
  try {
    await Promise.all(connections.map(attachOne));
  } catch (error) {
    over.abort(error);
    for (const connection of connections) forsake(connection);
    throw asShadowError(error, 'SHADOW_E_ATTACH');
  } finally {
    clearTimeout(late);
  }
};

/** Throws SHADOW_E_ATTACH when one has lost the upstream it had. */
export const checkAttached = (connections: Iterable<Connection>): void => {
  for (const { session } of connections)
    if (session.phase === 'detached')
      throw new ShadowError('SHADOW_E_ATTACH', `connection ${session.id} is not attached`);
};
