/** The connection a command works on. The API library loads here, when a command first needs the server. */
import { type Common, durationMs } from './options.ts';
import type { Connection } from './rest.ts';

export const connectTo = async (flags: Common): Promise<Connection> => {
  const requestTimeoutMs = durationMs('request-timeout', flags.requestTimeout);
  const { connect } = await import('./rest.ts');
  const connection = connect({ ...flags, requestTimeoutMs });
  return { api: connection.api, namespace: flags.namespace ?? connection.namespace };
};
