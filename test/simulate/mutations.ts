/**
 * Deliberate faults in the sidecar's state machines, put in from outside: each must be found, or the oracle is blind to it.
 * A mutation replaces a method of a class for the time of a run.
 */
import { Channel } from '../../webhook/sidecar/channel.ts';
import { Deliveries, type Settled } from '../../webhook/sidecar/deliveries.ts';
import { encode } from '../../webhook/sidecar/methods.ts';
import { Muting } from '../../webhook/sidecar/muting.ts';
import { OldUpstreams } from '../../webhook/sidecar/old-upstreams.ts';
import { SessionRelay } from '../../webhook/sidecar/relay.ts';
import { Settles } from '../../webhook/sidecar/replay/expectations.ts';
import { Gates } from '../../webhook/sidecar/replay/gates.ts';
import { Player } from '../../webhook/sidecar/replay/player.ts';
import { Publishes } from '../../webhook/sidecar/replay/publishes.ts';
import { Recorder } from '../../webhook/sidecar/replay/recorder.ts';
import { Session } from '../../webhook/sidecar/session.ts';
import { Severed } from '../../webhook/sidecar/severed.ts';
import type { Wires } from '../../webhook/sidecar/wires.ts';

export interface Mutation {
  readonly name: string;
  /** Returns what undoes it. */
  install(): () => void;
}

type Method = (this: unknown, ...args: never[]) => unknown;

/** Replaces a method: `make` is given the true one. */
const method = (prototype: object, name: string, make: (original: Method) => Method): (() => void) => {
  const holder = prototype as Record<string, Method>;
  const original = holder[name];
  if (typeof original !== 'function') throw new Error(`there is no ${name} to mutate any more`);
  holder[name] = make(original);
  return () => {
    holder[name] = original;
  };
};

const getter = (prototype: object, name: string, value: (self: never) => unknown): (() => void) => {
  const original = Object.getOwnPropertyDescriptor(prototype, name);
  if (!original?.get) throw new Error(`there is no ${name} to mutate any more`);
  Object.defineProperty(prototype, name, {
    ...original,
    get(this: never) {
      return value(this);
    },
  });
  return () => Object.defineProperty(prototype, name, original);
};

/** True at every so manieth call. */
const every = (times: number): (() => boolean) => {
  let calls = 0;
  return () => {
    calls += 1;
    return calls % times === 0;
  };
};

const mutation = (name: string, install: () => () => void): Mutation => ({ name, install });

/** All but the first of what a method lists. */
const dropFirst = (prototype: object, name: string): (() => void) =>
  method(
    prototype,
    name,
    (original) =>
      function (...args) {
        return (original.apply(this, args) as unknown[]).slice(1);
      },
  );

export const MUTATIONS: readonly Mutation[] = [
  mutation('a settlement for the source is dropped', () =>
    method(
      OldUpstreams.prototype,
      'settle',
      (original) =>
        function (...args) {
          const [items] = args as unknown as [readonly unknown[]];
          return original.apply(this, [items.slice(1)] as never[]);
        },
    ),
  ),
  mutation('a settlement the copy made alone is dropped', () => dropFirst(Settles.prototype, 'takeAhead')),
  mutation('a publish the copy made alone is dropped', () => dropFirst(Publishes.prototype, 'waitingOn')),
  mutation('a publish the copy made alone is sent twice', () =>
    method(
      Publishes.prototype,
      'waitingOn',
      (original) =>
        function (...args) {
          const made = original.apply(this, args) as unknown[];
          return [...made.slice(0, 1), ...made];
        },
    ),
  ),
  mutation('the copy goes live before its commit', () =>
    method(
      SessionRelay.prototype,
      'attach',
      (original) =>
        async function (this: unknown, ...args) {
          await original.apply(this, args);
          const relay = this as SessionRelay;
          await relay.live();
          relay.consume();
        },
    ),
  ),
  mutation('the copy calls itself replayed before END', () =>
    getter(Player.prototype, 'done', (self: Player) => self.received > 0 && self.failure === undefined),
  ),
  mutation('the confirm of another publish is passed on', () => {
    let before: unknown;
    return method(
      Publishes.prototype,
      'outcome',
      (original) =>
        function (...args) {
          const told = original.apply(this, args);
          if (typeof told !== 'object') return told;
          const given = before;
          before = told;
          return given;
        },
    );
  }),
  mutation('confirms after a handoff are numbered one off', () =>
    method(
      Channel.prototype,
      'carry',
      (original) =>
        function (this: unknown, ...args) {
          original.apply(this, args);
          (this as Channel).confirmBase += 1;
        },
    ),
  ),
  mutation('a mute waits for no cancel-ok and no barrier', () => method(Muting.prototype, 'owed', () => () => false)),
  mutation('the record ends without END', () =>
    method(
      Recorder.prototype,
      'end',
      () =>
        function (this: unknown) {
          (this as Recorder).ended = true;
        },
    ),
  ),
  mutation('an entry of the record is lost', () => {
    const now = every(40);
    return method(
      Recorder.prototype,
      'add',
      (original) =>
        function (...args) {
          const [entry] = args as unknown as [{ readonly kind: string }];
          return entry.kind === 'down' && now() ? undefined : original.apply(this, args);
        },
    );
  }),
  mutation('a multiple settles one more', () =>
    method(
      Deliveries.prototype,
      'settle',
      (original) =>
        function (this: unknown, ...args) {
          const settled = original.apply(this, args) as Settled;
          const { highest, offset } = this as Deliveries;
          const upstream = settled.upstream.map(({ tag, multiple }) => ({
            tag: multiple ? Math.min(tag + 1, highest - offset) : tag,
            multiple,
          }));
          return { ...settled, upstream };
        },
    ),
  ),
  mutation('deliveries are played before their time', () => method(Gates.prototype, 'gated', () => () => false)),
  mutation('tags begin anew with another upstream', () =>
    method(Deliveries.prototype, 'forsake', () => () => undefined),
  ),
  mutation('publishes without an outcome are called confirmed when their upstream is lost', () =>
    method(
      Severed.prototype,
      'refuse',
      () =>
        function (this: unknown, ...args) {
          const [channel] = args as unknown as [Channel];
          const { wires } = this as { readonly wires: Wires };
          for (const seq of channel.doomed()) wires.toApp.inject(encode.outcome(channel.id, true, seq));
        },
    ),
  ),
  mutation('an app is told of a loss that was to be hidden', () =>
    method(
      SessionRelay.prototype,
      'mayHide',
      (original) =>
        function (this: unknown, ...args) {
          // Asked by whoever foretells it, and then by the loss itself.
          return original.apply(this, args) === true && !new Error().stack!.includes('loseUpstream');
        },
    ),
  ),
  mutation('a mute source speaks', () => {
    const reads = getter(
      Session.prototype,
      'wantsApp',
      (self: Session) => self.phase !== 'detached' && self.phase !== 'attached',
    );
    const passes = method(
      Session.prototype,
      'holds',
      (original) =>
        function (this: unknown, ...args) {
          return (this as Session).phase === 'mute' ? false : original.apply(this, args);
        },
    );
    return () => {
      reads();
      passes();
    };
  }),
];
