/** The sidecar's metrics. Loaded at the first scrape: what is in memory is in every checkpoint, and the app waits for that. */
import { Counter, Gauge, type Metric, Registry } from 'prom-client';
import { type SessionReport, SidecarState, type StateChange } from '../api/control.ts';

import { BOUNDS, type Latency, latency } from './latency.ts';
import type { Losses } from './relay-api.ts';

export interface MetricsSource {
  readonly state: () => SidecarState;
  readonly report: () => SessionReport;
  readonly reattached: () => Losses;
  readonly outstanding: () => { carried: number; settling: number };
  /** Of a source that records, of a copy that replays. */
  readonly replay: () => Pick<StateChange, 'record' | 'play'> & { swallowed: number };
}

/** Kept by the relay itself, which must not wait for this module. */
const addedLatency = {
  name: 'shadow_sidecar_added_latency_seconds',
  help: 'Time bytes spent in this process, of one chunk in 64, by where they went',
  type: 'histogram',
  aggregator: 'sum',
  get: async () => ({
    ...addedLatency,
    values: [...histogram('app', latency.toApp), ...histogram('broker', latency.toBroker)],
  }),
} as unknown as Metric & { get(): Promise<unknown> };

const histogram = (to: string, { counts, sum: total, count }: Latency) => {
  const { name } = addedLatency as unknown as { name: string };
  let below = 0;
  const buckets = [...BOUNDS, '+Inf'].map((le, bucket) => {
    below += counts[bucket]!;
    return { metricName: `${name}_bucket`, labels: { le, to }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels: { to }, value: total },
    { metricName: `${name}_count`, labels: { to }, value: count },
  ];
};

const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);

export const createSidecarRegistry = ({ state, report, reattached, outstanding, replay }: MetricsSource): Registry => {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, value: () => number): void => {
    new Gauge({
      name: `shadow_sidecar_${name}`,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  };
  const counter = (name: string, help: string, value: () => number): void => {
    new Counter({
      name: `shadow_sidecar_${name}_total`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  };
  const channels = (): SessionReport['connections'][number]['channels'] =>
    report().connections.flatMap((c) => c.channels);
  gauge('connections', 'AMQP connections of the app', () => report().connections.length);
  gauge('channels', 'AMQP channels of the app', () => channels().length);
  gauge('unsettled', 'Deliveries handed to the app and not settled', () => sum(channels().map((c) => c.unsettled)));
  gauge('carried_outstanding', 'Carried deliveries this copy has not settled', () => outstanding().carried);
  gauge('settling_outstanding', 'Carried deliveries this superseded source keeps open', () => outstanding().settling);
  counter('delivered', 'Messages delivered to the app', () => report().delivered);
  counter('published', 'Messages published by the app', () => report().published);
  gauge('severed', 'AMQP connections of the app that wait for the broker', () => reattached().severed);
  counter('losses_hidden', 'Lost broker connections that no app has seen', () => reattached().hidden);
  counter(
    'losses_given_up',
    'Lost broker connections that the app was told of after a while',
    () => reattached().givenUp,
  );
  gauge('record_entries', 'Entries recorded for the copy', () => replay().record?.entries ?? 0);
  gauge('record_bytes', 'Bytes recorded that the copy has not acknowledged', () => replay().record?.bytes ?? 0);
  gauge('record_throttle', "Share of the copy's pace at which deliveries reach this source's app", () => {
    return replay().record?.throttle ?? 1;
  });
  gauge('play_lag', 'Recorded outputs and deliveries this copy is behind by', () => replay().play?.lag ?? 0);
  gauge('play_played', 'Entries of the record this copy has played or matched', () => replay().play?.played ?? 0);
  gauge('play_matched', 'Recorded outputs this copy has made, too', () => replay().play?.matched ?? 0);
  gauge('play_swallowed', 'Outputs of this copy that went nowhere', () => replay().swallowed);
  gauge('play_waiting', 'Outputs of this copy that its source has not made (yet)', () => replay().play?.waiting ?? 0);
  gauge('play_diverged', 'Outputs that source and copy made differently', () => replay().play?.diverged ?? 0);
  new Gauge({
    name: 'shadow_sidecar_state',
    help: '1 for the state of the sidecar in a handoff, 0 for the others',
    labelNames: ['state'],
    registers,
    collect() {
      for (const name of SidecarState.options) this.set({ state: name }, name === state() ? 1 : 0);
    },
  });
  registry.registerMetric(addedLatency);
  return registry;
};
