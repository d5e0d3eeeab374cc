/** What a copy has not done as its source did, in words for people. */
import type { Requests, Settles } from './expectations.ts';
import type { Publishes } from './publishes.ts';

/** 60.20, as the specification numbers methods. */
export const methodName = (method: number): string => `${method >> 16}.${method & 0xffff}`;

export const difference = (publishes: Publishes, settles: Settles, requests: Requests): string => {
  const mismatch = publishes.mismatch();
  if (mismatch) return `both published to exchange '${mismatch.exchange}' by key '${mismatch.key}', but not the same`;
  const publish = publishes.anyMissing();
  if (publish) return `stalled: the copy has not published to exchange '${publish.exchange}' by key '${publish.key}'`;
  const settle = settles.anyMissing();
  if (settle) {
    const { connection, channel, tag } = settle;
    return `stalled: connection ${connection}, channel ${channel}: delivery ${tag} is not settled`;
  }
  const request = requests.anyMissing();
  if (!request) return 'stalled';
  const { connection, channel, method } = request;
  return `stalled: connection ${connection}, channel ${channel}: ${methodName(method)} is not asked`;
};
