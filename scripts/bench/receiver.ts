/**
 * The other end of a record: what a copy's sidecar does to have it, over the same link and with the same stream and decoder.
 * It plays nothing (there is no app here to play to) and says that it lags by nothing, so that the source is not throttled.
 * Its own process, told by one line of JSON on standard input; it ends with its parent.
 */
import { createInterface } from 'node:readline';
import * as z from 'zod';
import { DirectLink } from '../../webhook/api/control.ts';
import { Decoder, lags } from '../../webhook/sidecar/replay/entries.ts';
import { dialLink, type Link } from '../../webhook/sidecar/replay/link.ts';
import { Received } from '../../webhook/sidecar/replay/stream.ts';

const Told = z.object({ claim: z.string(), direct: DirectLink });

/** As often as a copy asks (following.ts). */
const ASK_MS = 40;
const DIAL_MS = 5000;

const receive = async ({ claim, direct }: z.infer<typeof Told>): Promise<void> => {
  const received = new Received();
  const decoder = new Decoder();
  let played = 0;
  const events = {
    wanted: () => undefined,
    recorded: (chunk: { offset: number; bytes: Buffer }) => {
      const fresh = received.take(chunk);
      if (fresh) for (const entry of decoder.push(fresh)) if (lags(entry)) played += 1;
    },
    drained: () => undefined,
    // The bench sees that the record is lost, or is stopping.
    closed: () => process.exit(1),
  };
  const link: Link = await dialLink(direct, events, DIAL_MS);
  const ask = (): void =>
    link.wanted({
      type: 'wanted',
      claim,
      received: received.offset,
      lag: 0,
      played,
      ...(received.gap ? { again: true } : {}),
    });
  ask();
  setInterval(ask, ASK_MS);
  process.stdout.write('ready\n');
};

createInterface({ input: process.stdin })
  .once('line', (line) => {
    receive(Told.parse(JSON.parse(line))).catch((error: unknown) => {
      console.error(error);
      process.exit(1);
    });
  })
  .once('close', () => process.exit(0));
