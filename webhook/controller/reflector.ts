/**
 * One kind, mirrored: list, then watch from there. Relists on every error (410 and the rest), with backoff; a watch that
 * the server ends in peace goes on from the last resourceVersion. What a callback throws ends the watch, never silently.
 */
import type { WatchEvent } from './rest.ts';

export interface Meta {
  metadata?: {
    name?: string | undefined;
    namespace?: string | undefined;
    uid?: string | undefined;
    resourceVersion?: string | undefined;
  };
}

export interface Source<T extends Meta> {
  list(): Promise<{ items: T[]; resourceVersion: string }>;
  /** Resolves when the server ends the watch. */
  watch(resourceVersion: string, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void>;
}

export const keyOf = (namespace: string | undefined, name: string | undefined): string =>
  `${namespace ?? ''}/${name ?? ''}`;

const versionOf = (object: Meta): bigint => BigInt(object.metadata?.resourceVersion ?? '0');

/** The backoff of the n-th failure in a row, milliseconds: 50, 100, … 5000. */
export const backoff = (failures: number): number => Math.min(5_000, 50 * 2 ** Math.min(failures, 10));

class Gone extends Error {}

export class Reflector<T extends Meta> {
  private readonly source: Source<T>;
  private readonly onChange: (object: T) => void;
  private readonly sleep: (ms: number) => Promise<void>;
  private readonly store = new Map<string, T>();
  private readonly stopped = new AbortController();

  constructor(
    source: Source<T>,
    onChange: (object: T) => void,
    sleep: (ms: number) => Promise<void> = (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref()),
  ) {
    this.source = source;
    this.onChange = onChange;
    this.sleep = sleep;
  }

  get(namespace: string, name: string): T | undefined {
    return this.store.get(keyOf(namespace, name));
  }

  all(): T[] {
    return [...this.store.values()];
  }

  /** What a write of our own returned: seen at once, not only when the watch tells. */
  learn(object: T): void {
    this.put(object);
  }

  stop(): void {
    this.stopped.abort();
  }

  /** Resolves when the first list is in; goes on mirroring until stop. */
  async start(onError: (error: unknown) => void): Promise<void> {
    await new Promise<void>((resolve) => {
      this.run(resolve, onError);
    });
  }

  private async run(onListed: () => void, onError: (error: unknown) => void): Promise<void> {
    let failures = 0;
    while (!this.stopped.signal.aborted) {
      try {
        let version = await this.relist();
        onListed();
        for (;;) {
          const before = version;
          await this.source.watch(
            version,
            (event) => {
              version = this.take(event) ?? version;
              failures = 0;
            },
            this.stopped.signal,
          );
          if (this.stopped.signal.aborted) return;
          // A server that ends watches at once must not be asked in a tight loop.
          if (version === before) await this.sleep(backoff(0));
        }
      } catch (error) {
        if (this.stopped.signal.aborted) return;
        if (!(error instanceof Gone)) onError(error);
        await this.sleep(backoff(failures++));
      }
    }
  }

  private async relist(): Promise<string> {
    const { items, resourceVersion } = await this.source.list();
    const listed = new Set(items.map((item) => keyOf(item.metadata?.namespace, item.metadata?.name)));
    for (const [key, known] of this.store) {
      // learned after the list was made: keep it
      if (listed.has(key) || versionOf(known) > BigInt(resourceVersion)) continue;
      this.store.delete(key);
      this.onChange(known);
    }
    for (const item of items) this.put(item);
    return resourceVersion;
  }

  /** The resourceVersion to go on from. */
  private take(event: WatchEvent): string | undefined {
    const object = event.object as T;
    if (event.type === 'ERROR') {
      const status = event.object as { code?: number; message?: string };
      if (status.code === 410) throw new Gone();
      throw new Error(status.message ?? 'watch error');
    }
    if (event.type === 'DELETED') {
      const key = keyOf(object.metadata?.namespace, object.metadata?.name);
      const known = this.store.get(key);
      if (known === undefined || versionOf(known) <= versionOf(object)) {
        this.store.delete(key);
        this.onChange(object);
      }
    } else if (event.type !== 'BOOKMARK') this.put(object);
    return object.metadata?.resourceVersion;
  }

  private put(object: T): void {
    const key = keyOf(object.metadata?.namespace, object.metadata?.name);
    const known = this.store.get(key);
    if (known !== undefined && versionOf(known) >= versionOf(object)) return;
    this.store.set(key, object);
    this.onChange(object);
  }
}
