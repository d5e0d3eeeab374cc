/** What must hold in a world when all that came is served (invariants 1 to 4). Throws what does not. */
import { ok, deepStrictEqual as same } from 'node:assert/strict';
import type { AppOptions, ModelApp } from './app.ts';
import type { World } from './world.ts';

const counts = (names: readonly string[]): Map<string, number> => {
  const found = new Map<string, number>();
  for (const name of names) found.set(name, (found.get(name) ?? 0) + 1);
  return found;
};

const publishedBy = (apps: readonly ModelApp[]): Map<string, number> =>
  counts(apps.flatMap((app) => [...app.sent.slice(1), ...app.extrasSent.map((body) => `extra ${body}`)]));

/** No process has died: each once, and what was published is what the broker has got. */
const exact = (world: World): void => {
  const { broker } = world;
  const { app } = world.pair;
  const done = counts(app.done);
  for (const body of world.bodies) same([body, done.get(body)], [body, 1]);
  for (const [body, count] of done) same([body, count], [body, 1]);
  for (const [body, count] of broker.settled) same([body, count], [body, 1]);
  for (const body of app.done) same([body, broker.settled.get(body)], [body, 1]);
  same(world.got(), publishedBy([app]));
  const back = broker.outputs.filter(({ returned }) => returned).map(({ body }) => body);
  same(app.returned.toSorted(), back.toSorted());
};

/** Some have: at least once, settled once by whoever came to it, and nothing at the broker that nobody with a voice said. */
const atLeast = (world: World): void => {
  const apps = [...world.dead, world.pair.app];
  const done = counts(apps.flatMap((app) => app.done));
  for (const body of world.bodies) {
    const times = done.get(body) ?? 0;
    ok(times >= 1 && times <= apps.length + world.lostHalves, `${body} was done ${times} times by ${apps.length} apps`);
    same([body, world.broker.settled.get(body)], [body, 1]);
  }
  const published = publishedBy(apps);
  for (const [name, count] of world.got())
    ok(
      count <= (published.get(name) ?? 0),
      `the broker got '${name}' ${count} times, said ${published.get(name)} times`,
    );
};

/** Each publish was told once, what the broker said of it. */
const told = ({ broker, pair: { app } }: World): void => {
  same(app.acked.length + app.nacked.length, app.published);
  for (const [list, ack] of [
    [app.acked, true],
    [app.nacked, false],
  ] as const)
    for (const seq of list) {
      const said = broker.said.get(app.sent[seq]!)!;
      same([seq, app.sent[seq], said.includes(ack)], [seq, app.sent[seq], true]);
    }
};

export const check = (world: World, { confirm, prefetch, ack: how, get }: AppOptions): void => {
  const { app } = world.pair;
  // An app that settles several at once may settle what is still on its way to it, and count otherwise.
  if (prefetch > 0 && (how === 'each' || (how === 'every' && get === 0)))
    ok(app.most <= prefetch, `it held ${app.most}, prefetch ${prefetch}`);
  if (world.dead.length + world.lostHalves === 0) exact(world);
  else atLeast(world);
  if (confirm) told(world);
};
