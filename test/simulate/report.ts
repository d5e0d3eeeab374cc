/** What is printed: progress, the schedule and the last events of a seed that failed, and what was exercised in all. */
import type { Schedule } from './schedule.ts';
import type { World } from './world.ts';

const LAST = Number(process.env.SIM_TRACE ?? 25);

/** For people: what is as everywhere is left out. */
const describe = (schedule: Schedule): string => JSON.stringify(schedule, null, 1).replace(/\n\s+/g, ' ');

export const printFailure = (world: World): void => {
  const { schedule, oracle } = world;
  const lines = [`\nseed ${schedule.seed} FAILED`, `schedule: ${describe(schedule)}`];
  for (const { invariant, what } of oracle.violations.slice(0, 10)) lines.push(`violated: ${invariant}: ${what}`);
  for (const [part, events] of oracle.traces) {
    lines.push(`-- ${part}`);
    for (const event of events.slice(-LAST)) lines.push(`   ${event}`);
  }
  lines.push(`again: npm run simulate -- --seed ${schedule.seed}\n`);
  process.stdout.write(`${lines.join('\n')}\n`);
};

/** What a schedule has in it, for the summary. */
const featuresOf = ({ app, rival, quorum, queues, handoffs, losses }: Schedule): string[] => {
  const consumers = app.channels.flatMap((channel) => channel.consumers);
  const has = (what: string, holds: boolean): string[] => (holds ? [`with ${what}`] : []);
  return [
    ...has('a quorum queue', quorum),
    ...has('two queues', queues.length > 1),
    ...has('a rival', rival !== undefined),
    ...has('two connections', app.connections > 1),
    ...has('a late connection', app.late > 0),
    ...has(
      'confirms',
      app.channels.some(({ confirm }) => confirm),
    ),
    ...has('returns', app.habits.unroutable > 0),
    ...has('calls', app.habits.call > 0),
    ...has('nacks', app.habits.refuse + app.habits.reject > 0),
    ...has(
      'multiples',
      consumers.some(({ settle }) => settle === 'every'),
    ),
    ...has(
      'acks by timer',
      consumers.some(({ settle }) => settle === 'timer'),
    ),
    ...has(
      'handlers out of order',
      consumers.some(({ order }) => order === 'free'),
    ),
    ...has(
      'acks before publishes',
      consumers.some(({ done }) => done === 'first'),
    ),
    ...has(
      'acks after confirms',
      consumers.some(({ done }) => done === 'confirmed'),
    ),
    ...has(
      'a global prefetch',
      app.channels.some(({ global }) => global),
    ),
    ...has(
      'consumers made anew',
      consumers.some(({ renew }) => renew > 0),
    ),
    ...has(
      'requests',
      consumers.some(({ ask }) => ask > 0),
    ),
    ...has(
      'polled queues',
      consumers.some(({ polled }) => polled),
    ),
    ...has(
      'channels of one message',
      consumers.some(({ side }) => side > 0),
    ),
    ...has('losses between handoffs', losses.length > 0),
    ...has('ticks', app.ticks.count > 0),
    ...has('acks of all', app.acksAll),
    ...has('state by time', app.racy),
    ...has('handoffs in a row', handoffs.length > 1),
    ...has(
      'a direct link',
      handoffs.some(({ mode, direct }) => mode === 'replay' && direct),
    ),
    ...has(
      'divergence reported only',
      handoffs.some(({ onDivergence }) => onDivergence === 'Report'),
    ),
  ];
};

export class Summary {
  failed = 0;
  private readonly total: number;
  private readonly seeds = new Map<string, number>();
  private readonly counts = new Map<string, number>();
  private readonly began = Date.now();
  private done = 0;
  private readonly failures: number[] = [];
  private told = 0;

  constructor(total: number) {
    this.total = total;
  }

  add({ schedule, oracle }: World): void {
    this.done += 1;
    if (oracle.violations.length > 0) {
      this.failed += 1;
      this.failures.push(schedule.seed);
    }
    for (const what of featuresOf(schedule)) this.seeds.set(what, (this.seeds.get(what) ?? 0) + 1);
    for (const [what, count] of oracle.counts) {
      this.seeds.set(what, (this.seeds.get(what) ?? 0) + 1);
      this.counts.set(what, (this.counts.get(what) ?? 0) + count);
    }
    if (Date.now() - this.told < 2000 && this.done < this.total) return;
    this.told = Date.now();
    const seconds = (Date.now() - this.began) / 1000;
    process.stdout.write(
      `${this.done}/${this.total} seeds, ${this.failed} failed, ${(this.done / seconds).toFixed(1)} seeds/s\n`,
    );
  }

  print(): void {
    const rows = [...this.seeds].sort(([a], [b]) => (a < b ? -1 : 1));
    process.stdout.write('\nexercised                                     seeds      times\n');
    for (const [what, seeds] of rows)
      process.stdout.write(
        `  ${what.padEnd(42)}${String(seeds).padStart(7)}${String(this.counts.get(what) ?? '').padStart(11)}\n`,
      );
    const seconds = Math.round((Date.now() - this.began) / 1000);
    process.stdout.write(
      this.failed === 0
        ? `\n${this.done} seeds in ${seconds} s, no violation\n`
        : `\n${this.done} seeds in ${seconds} s, ${this.failed} FAILED: ${this.failures.join(' ')}\n`,
    );
  }
}
