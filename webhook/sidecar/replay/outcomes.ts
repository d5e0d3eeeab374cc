/**
 * In which order a copy's app is told of its publishes: as its source's app was. A broker may confirm out of order; an outcome that
 * came after one of a later publish waits until the copy has made that one, too. Those that came in order wait for nothing: what
 * a copy publishes by the clock, and so later than its source, holds up nobody. Pure.
 */
interface Turn<T> {
  readonly item: T;
  /** Of the publish among all the source has made. */
  readonly order: number;
  /** Of the outcome among all. */
  readonly at: number;
  /** That of a later publish was here before. */
  readonly overtaken: boolean;
}

interface Place<T> {
  /** Outcomes of publishes that the copy has not made yet. */
  readonly early: Map<T, Turn<T>>;
  /** Of such as it has made, by `at`; the first waits for one that is early. */
  held: Turn<T>[];
  /** The latest publish that has an outcome, by `order`. */
  latest: number;
}

export class Outcomes<T> {
  private count = 0;
  private readonly places = new Map<string, Place<T>>();

  /**
   * The outcome of a publish on a channel (`place`) has come; `order`: of the publish among the source's, 0: of before the cut.
   * Returns what the copy's app is told now, in this order.
   */
  came(place: string, order: number, item: T, made: boolean): T[] {
    this.count += 1;
    const at = this.place(place);
    const turn = { item, order, at: this.count, overtaken: order < at.latest };
    at.latest = Math.max(at.latest, order);
    if (made) return told(at, turn);
    at.early.set(item, turn);
    return [];
  }

  /** The copy has made one whose outcome was here before. */
  made(place: string, item: T): T[] {
    const at = this.place(place);
    const turn = at.early.get(item);
    if (!turn) return [item];
    at.early.delete(item);
    return told(at, turn);
  }

  /** The copy may never make it: nothing waits for it. */
  writeOff(place: string, item: T): T[] {
    const at = this.place(place);
    at.early.delete(item);
    return release(at);
  }

  private place(name: string): Place<T> {
    const known = this.places.get(name);
    if (known) return known;
    const place: Place<T> = { early: new Map(), held: [], latest: 0 };
    this.places.set(name, place);
    return place;
  }
}

const blocked = <T>({ early }: Place<T>, { order, at, overtaken }: Turn<T>): boolean => {
  if (!overtaken) return false;
  for (const other of early.values()) {
    // In the order in which the outcomes came.
    if (other.at > at) return false;
    if (other.order > order) return true;
  }
  return false;
};

const release = <T>(place: Place<T>): T[] => {
  const { held } = place;
  const first = held.findIndex((turn) => blocked(place, turn));
  const free = held.splice(0, first < 0 ? held.length : first);
  return free.map(({ item }) => item);
};

const told = <T>(place: Place<T>, turn: Turn<T>): T[] => {
  const { held } = place;
  const behind = held.findIndex(({ at }) => at > turn.at);
  held.splice(behind < 0 ? held.length : behind, 0, turn);
  return release(place);
};
