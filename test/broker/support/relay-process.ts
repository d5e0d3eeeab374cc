/** A relay in a process of its own: `port` of the broker as its argument; says what it has in memory when asked. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createRelay } from '../../../webhook/sidecar/relay.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const quiet = (): void => undefined;

const relay = createRelay({
  brokers: [{ host: '127.0.0.1', port: Number(process.argv[2]), listen: '127.0.0.3' }],
  blindPorts: [],
  log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
});
await relay.start();
process.on('message', () => {
  collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  process.send?.({ kept: heapUsed + external, rss });
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
