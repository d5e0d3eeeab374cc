/** What can be judged only when all is quiet. */
import type { App } from './app/app.ts';
import { decide, isUnroutable } from './app/config.ts';
import type { Entry } from './app/memory.ts';
import { keyOf, type Oracle } from './oracle.ts';
import { chained } from './random.ts';

const few = (list: readonly string[]): string =>
  `${list.slice(0, 8).join(', ')}${list.length > 8 ? ` and ${list.length - 8} more` : ''}`;

/** By queue: how often each number was applied, by all apps together. */
const timesApplied = (apps: readonly App[]): Map<string, number> => {
  const times = new Map<string, number>();
  for (const { memory } of apps)
    for (const entry of memory.log)
      if (entry.what === 'applied') times.set(keyOf(entry), (times.get(keyOf(entry)) ?? 0) + 1);
  return times;
};

/** Invariants 1 and 2: each confirmed input applied once, by one of the lines. */
const judgeInputs = (oracle: Oracle, apps: readonly App[], confirmed: ReadonlyMap<string, number>): void => {
  const times = timesApplied(apps);
  for (const [queue, last] of confirmed) {
    const all = Array.from({ length: last }, (_, index) => `${queue}/${index + 1}`);
    const missing = all.filter((key) => !times.has(key));
    const twice = all.filter((key) => (times.get(key) ?? 0) > 1 && !oracle.crashed.has(key));
    if (missing.length > 0) oracle.wrong('nothing lost', `never applied: ${few(missing)}`);
    if (twice.length > 0) oracle.wrong('nothing twice', `applied by two: ${few(twice)}`);
  }
  for (const { memory, config } of apps)
    for (const entry of memory.log)
      if (entry.what === 'again' && !oracle.crashed.has(keyOf(entry)) && (oracle.called.get(entry.item) ?? 0) < 2)
        oracle.wrong('nothing twice', `${config.name} was handed ${keyOf(entry)} again`);
};

/** Invariant 3: what the app saw of a queue, in the order in which the broker gave it to its line. */
const judgeOrder = (oracle: Oracle, app: App, classic: boolean): void => {
  const { name } = app.config;
  const queues = new Set(app.memory.log.map(({ queue }) => queue));
  for (const queue of queues) {
    const given = oracle.givenTo.get(`${name} ${queue}`) ?? [];
    let at = 0;
    for (const { item } of app.memory.log.filter((entry) => entry.queue === queue)) {
      while (at < given.length && given[at]!.item !== item) at += 1;
      if (at === given.length) {
        oracle.wrong('order kept', `${name} saw ${queue}/${item} out of the order in which the broker gave it`);
        break;
      }
      at += 1;
    }
    const fresh = given.filter(({ redelivered }) => !redelivered).map(({ item }) => Number(item));
    const early = fresh.findIndex((n, index) => n <= (fresh[index - 1] ?? 0));
    if (classic && early > 0 && !queue.includes('reply'))
      oracle.wrong('order kept', `the broker gave ${name} ${queue}/${fresh[early - 1]} before ${fresh[early]}`);
  }
};

/** The state is the replay of what was applied, and that is what was seen. */
const judgeState = (oracle: Oracle, app: App): void => {
  const chains = new Map<string, string>();
  for (const { queue, item } of app.memory.linked) chains.set(queue, chained(chains.get(queue) ?? '', item));
  for (const [queue, chain] of app.memory.chains)
    if (chains.get(queue) !== chain)
      oracle.wrong('nothing lost', `the state of ${queue} is not the replay of its list`);
  if (app.config.racy) return;
  const applied = (list: readonly { queue: string; item: string }[], of: string): string =>
    list
      .filter(({ queue }) => queue === of)
      .map(({ item }) => item)
      .join();
  for (const queue of chains.keys())
    if (
      applied(app.memory.linked, queue) !==
      applied(
        app.memory.log.filter(({ what }) => what === 'applied'),
        queue,
      )
    )
      oracle.wrong('order kept', `the state of ${queue} is not of what was seen, in its order`);
};

/** What the surviving apps have published: id and the states it was made in. */
const expectedOf = (apps: readonly App[]): Map<string, Set<string>> => {
  const expected = new Map<string, Set<string>>();
  const expect = (output: string, chain: string): void => {
    expected.set(output, (expected.get(output) ?? new Set()).add(chain));
  };
  for (const { config, ticked, memory } of apps) {
    for (let tick = 1; tick <= ticked; tick++) expect(`tick/${config.name}/${tick}`, '-');
    for (const { queue, item, what } of memory.log) {
      if (what !== 'applied' || queue === config.replyQueue) continue;
      for (const output of decide(config, queue, Number(item)).outputs)
        expect(output, memory.stateOf(queue, item) ?? '?');
    }
  }
  return expected;
};

const judgeCalls = (oracle: Oracle, { config, memory }: App): void => {
  for (const { queue, item, what } of memory.log) {
    if (what !== 'applied' || queue === config.replyQueue || !decide(config, queue, Number(item)).call) continue;
    const correlation = `${config.name}/${queue}/${item}`;
    // A message that was taken from under its hands may have been another's to handle.
    if (!oracle.called.has(correlation) && !oracle.crashed.has(`${queue}/${item}`))
      oracle.wrong('nothing lost', `call ${correlation} was never made`);
  }
};

/** Whether all that must come out of the broker has. */
export const allOut = (oracle: Oracle, apps: readonly App[]): boolean => {
  for (const output of expectedOf(apps).keys())
    if (!oracle.collected.has(output) && !oracle.perhapsLost.has(output) && !isUnroutable(apps[0]!.config, output))
      return false;
  return true;
};

/** Invariants 1 and 2 for what the apps published. */
const judgeOutputs = (oracle: Oracle, apps: readonly App[]): void => {
  const expected = expectedOf(apps);
  const { config } = apps[0]!;
  for (const [output, chains] of expected) {
    const collected = oracle.collected.get(output);
    const reached = oracle.reached.get(output) ?? 0;
    if (!collected && oracle.perhapsLost.has(output)) continue;
    if (reached === 0) oracle.wrong('nothing lost', `output ${output} never went to the broker`);
    if (reached > 1 && !oracle.mayRepeat(output))
      oracle.wrong('nothing twice', `output ${output} went ${reached} times`);
    if (isUnroutable(config, output)) continue;
    if (!collected) oracle.wrong('nothing lost', `output ${output} never came out`);
    else if (!oracle.diverged && ![...collected.chains].every((chain) => chains.has(chain)))
      oracle.wrong('order kept', `output ${output} was made in another state than the surviving one`);
  }
  for (const output of oracle.collected.keys())
    if (!expected.has(output)) oracle.wrong('nothing twice', `output ${output} came from nowhere`);
};

/** What a source's app saw, the app that was cloned from it at `fork` (length of its log) and went on has seen, too. */
export const judgePrefix = (
  oracle: Oracle,
  source: readonly Entry[],
  copy: readonly Entry[],
  { fork, who }: { readonly fork: number; readonly who: string },
): void => {
  const broken = Math.min(...oracle.brokenAt.filter((at) => at >= fork));
  const of = (log: readonly Entry[], queue: string) =>
    log.map((entry, index) => ({ ...entry, index })).filter((entry) => entry.queue === queue);
  for (const queue of new Set(source.map((entry) => entry.queue))) {
    const [first, second] = [of(source, queue), of(copy, queue)];
    const at = first.findIndex(({ item, what }, index) => second[index]?.item !== item || second[index].what !== what);
    if (at < 0 || (second[at]?.index ?? copy.length) >= broken) continue;
    const seen = second[at] ? `${second[at].item} ${second[at].what}` : 'nothing';
    oracle.wrong(
      'order kept',
      `${who}: as number ${at + 1} of ${queue} the source saw ${first[at]!.item}, the copy ${seen}`,
    );
  }
};

export const judge = (
  oracle: Oracle,
  apps: readonly App[],
  confirmed: ReadonlyMap<string, number>,
  classic: boolean,
): void => {
  judgeInputs(oracle, apps, confirmed);
  for (const app of apps) {
    judgeOrder(oracle, app, classic);
    judgeState(oracle, app);
  }
  for (const app of apps) judgeCalls(oracle, app);
  judgeOutputs(oracle, apps);
};
