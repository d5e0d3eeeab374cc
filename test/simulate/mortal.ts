/** A process that dies takes its timers along. These the sidecar's code never gives out, since its process never ends before. */
import { Following } from '../../webhook/sidecar/replay/following.ts';
import { Giving } from '../../webhook/sidecar/replay/giving.ts';

interface Timed {
  readonly options: { readonly relay: object };
  stop(): void;
}
const living = new WeakMap<object, Set<Timed>>();

const follow = (prototype: { begin(): void }): void => {
  const begin = prototype.begin;
  prototype.begin = function (this: Timed & { begin(): void }): void {
    const { relay } = this.options;
    living.set(relay, (living.get(relay) ?? new Set()).add(this));
    begin.call(this);
  };
};
follow(Following.prototype);
follow(Giving.prototype);

/** `relay`: the dead process's part in record and play. */
export const bury = (relay: object): void => {
  for (const timed of living.get(relay) ?? []) timed.stop();
};
